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
from ocpp.charge_point import ChargePoint
from ocpp.configuration import Configuration
from ocpp.firmware_status import FirmwareStatuses
from ocpp.outbox import Outbox
from ocpp.session import Session
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

    configuration = Configuration(store, config.pop("configuration", {}), log, forget)
    outbox = Outbox(log)
    charge_point = ChargePoint(configuration.get("NumberOfConnectors"), outbox, clock)
    journal = Journal(store, outbox.wake)
    outbox.add(FirmwareStatuses(journal))

    def dispatch(action, payload):
        from ocpp import calls  # only to answer: several KB of heap less in between

        try:
            return calls.answer(charge_point, action, payload)
        finally:
            forget("ocpp.calls", "ocpp.core", "ocpp.keys", "ocpp.firmware_management", "ocpp.remote_trigger")

    async def connect():
        await wifi.connected()
        from ocpp import handshake  # likewise

        password = configuration.get("AuthorizationKey") or config.get("password", "").encode()
        url = handshake.station_url(config["csms"], config["id"])
        user = config["id"] if password else None
        try:
            return await handshake.connect(url, dialer.dial, user=user, password=password)
        finally:
            forget("ocpp.handshake")

    from ocpp import core

    boot = core.boot_notification(config, VERSION)
    del core
    forget("ocpp.core", "ocpp.keys")
    session = Session(connect, dispatch, boot, configuration, clock, log)
    session.on_accepted += [charge_point.report_all, outbox.wake]

    async def restart():
        try:
            await session.close()
        finally:
            machine.reset()

    async def open_source(location, **options):
        from firmware import sources  # likewise

        address = sources.parse_url(location)
        forget("firmware.sources")
        from firmware import http

        log_firmware("Starting firmware download from:", http.name_of(address))
        timeout = 1000 * configuration.get("FirmwareDownloadTimeout")
        try:
            return await http.open(address, dialer.dial, timeout=timeout, log=log_firmware, **options)
        finally:
            forget("firmware.http", "firmware.redirect", "firmware.sources")

    updater = Updater(slots, journal, open_source, clock, charge_point, restart, log_firmware)
    charge_point.configuration, charge_point.session, charge_point.updater = configuration, session, updater
    charge_point.reset = lambda kind: asyncio.create_task(restart())

    async def update():
        from firmware import trial

        deadline = configuration.get("TrialDeadline")
        await trial.run(slots, journal, session.accepted, deadline, restart, log_firmware)
        del trial
        forget("firmware.trial")
        await updater.run()

    gc.threshold(4096)
    await asyncio.gather(watchdog.run(), wifi.run(), session.run(), outbox.run(session), update())


try:
    asyncio.run(run())
except Exception as error:
    sys.print_exception(error)
print("[MAIN] restarting in 10 seconds; Ctrl-C gives a prompt")
time.sleep(10)
machine.reset()
