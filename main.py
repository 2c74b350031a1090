"""The application: builds the parts, ties them together and runs them. Whatever ends it, a reset follows."""

import asyncio
import gc
import sys
import time

import machine

gc.threshold(1024)  # keeps what stays on the heap together at its start: it must not end up in a thousand holes

from firmware.journal import Journal
from firmware.update import Updater
from hw import watchdog
from ocpp import core, firmware_management, remote_trigger, websocket
from ocpp.charge_point import ChargePoint
from ocpp.configuration import Configuration
from ocpp.outbox import Outbox
from ocpp.session import Session, station_url
from version import VERSION


def logger(tag):
    """Return a function that writes one line to the serial console."""
    prefix = "[" + tag + "]"
    return lambda *words: print(prefix, *words)


def forget(*names):
    """Drop modules that have done their part, for the heap's sake. Frozen into an image they take none."""
    for name in names:
        if sys.modules.pop(name, None):
            package, _, module = name.rpartition(".")
            delattr(sys.modules[package], module)


async def run():
    """Run the charger until one of its parts ends, which none of them should."""
    log, log_firmware = logger("OCPP"), logger("FW-OCPP")
    from hw import board

    config = board.load_config()
    clock, store, slots, wifi, dialer = board.build(config, logger("WIFI"))
    del board
    forget("hw.board")
    log("Arus", VERSION, "on", slots.running.label)

    configuration = Configuration(store, config.get("configuration", {}), log)
    outbox = Outbox(log)
    charge_point = ChargePoint(configuration.get("NumberOfConnectors"), outbox, clock)
    journal = Journal(store, outbox.wake)

    async def connect():
        await wifi.connected()
        password = configuration.get("AuthorizationKey") or config.get("password", "").encode()
        url = station_url(config["csms"], config["id"])
        return await websocket.connect(url, dialer.dial, user=config["id"] if password else None, password=password)

    boot = {"chargePointVendor": config["vendor"], "chargePointModel": config["model"], "firmwareVersion": VERSION}
    session = Session(connect, charge_point.dispatch, core.boot_notification(boot), configuration, clock, log)
    session.on_accepted += [charge_point.report_all, outbox.wake]

    async def open_source(location, **options):
        from firmware import sources  # only to open a file, not to read it: several KB of heap less in between

        timeout = 1000 * configuration.get("FirmwareDownloadTimeout")
        try:
            return await sources.open_source(location, dialer.dial, timeout=timeout, log=log_firmware, **options)
        finally:
            forget("firmware.sources", "firmware.http")

    updater = Updater(slots, journal, open_source, clock, charge_point, machine.reset, log_firmware)
    core.register(charge_point, configuration, lambda kind: machine.reset())
    firmware_management.register(charge_point, outbox, updater, journal)
    remote_trigger.register(charge_point, session, updater)

    async def update():
        from firmware import trial

        deadline = configuration.get("TrialDeadline")
        await trial.run(slots, journal, session.accepted, deadline, machine.reset, log_firmware)
        forget("firmware.trial")
        await updater.run()

    await asyncio.gather(watchdog.run(), wifi.run(), session.run(), outbox.run(session), update())


try:
    asyncio.run(run())
except Exception as error:
    sys.print_exception(error)
print("[MAIN] restarting in 10 seconds; Ctrl-C gives a prompt")
time.sleep(10)
machine.reset()
