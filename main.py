"""The application: builds the parts, ties them together and runs them. Whatever ends it, a reset follows."""

import asyncio
import sys
import time

import machine

from firmware import trial
from firmware.journal import Journal
from firmware.sources import open_source
from firmware.update import Updater
from hw import watchdog
from hw.board import Board, load_config
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


async def run():
    """Run the charger until one of its parts ends, which none of them should."""
    config = load_config()
    board = Board(config, logger("WIFI"))
    log, log_firmware = logger("OCPP"), logger("FW-OCPP")
    log("Arus", VERSION, "on", board.slots.running.label)

    configuration = Configuration(board.store, config.get("configuration", {}), log)
    outbox = Outbox(log)
    charge_point = ChargePoint(configuration.get("NumberOfConnectors"), outbox, board.clock)
    journal = Journal(board.store, outbox.wake)

    async def connect():
        await board.wifi.connected()
        password = configuration.get("AuthorizationKey") or config.get("password", "").encode()
        url = station_url(config["csms"], config["id"])
        user = config["id"] if password else None
        return await websocket.connect(url, board.dialer.dial, user=user, password=password)

    boot = {"chargePointVendor": config["vendor"], "chargePointModel": config["model"], "firmwareVersion": VERSION}
    session = Session(connect, charge_point.dispatch, core.boot_notification(boot), configuration, board.clock, log)
    session.on_accepted += [charge_point.report_all, outbox.wake]

    def open_firmware(location, **options):
        timeout = 1000 * configuration.get("FirmwareDownloadTimeout")
        return open_source(location, board.dialer.dial, timeout=timeout, log=log_firmware, **options)

    updater = Updater(board.slots, journal, open_firmware, board.clock, charge_point, machine.reset, log_firmware)
    core.register(charge_point, configuration, lambda kind: machine.reset())
    firmware_management.register(charge_point, outbox, updater, journal)
    remote_trigger.register(charge_point, session, updater)

    async def update():
        deadline = configuration.get("TrialDeadline")
        await trial.run(board.slots, journal, session.accepted, deadline, machine.reset, log_firmware)
        await updater.run()

    await asyncio.gather(watchdog.run(), board.wifi.run(), session.run(), outbox.run(session), update())


try:
    asyncio.run(run())
except Exception as error:
    sys.print_exception(error)
print("[MAIN] restarting in 10 seconds; Ctrl-C gives a prompt")
time.sleep(10)
machine.reset()
