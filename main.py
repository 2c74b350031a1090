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
    """Return a function that writes one line to the serial console and to the log."""
    prefix = "[" + tag + "]"
    return lambda *words: line(prefix, *words)


def forget(*names):
    """Drop modules that have done their part, for the heap's sake. Frozen into an image they take none."""
    for name in names:
        if sys.modules.pop(name, None):
            package, _, module = name.rpartition(".")
            delattr(sys.modules[package], module)


def start():
    """Start the log; return the function that writes a line."""
    from hw import log, log_files
    from hw.clock import Clock

    forget("hw.log", "hw.log_files")
    return log.start(log_files.begin(machine.reset_cause()), Clock(), forget)


line = start()
del start


class Parts:
    """What the updater works with, as its attributes."""


async def run():
    """Run the charger until one of its parts ends, which none of them should."""
    log, log_firmware = logger("OCPP"), logger("FW-OCPP")
    from hw import board

    config = board.load_config()
    clock, store, slots, wifi, dialer, contactor = board.build(config, logger, forget)
    del board
    forget("hw.board", "hw.evse")
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
            forget("ocpp.diagnostics", "ocpp.transactions")

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
            line()
            machine.reset()

    parts = Parts()
    parts.slots, parts.journal, parts.clock, parts.station = slots, journal, clock, charge_point
    parts.get, parts.log, parts.forget, parts.dial = configuration.get, log_firmware, forget, dialer.dial
    parts.reset, parts.sleep = restart, asyncio.sleep

    def identity():
        from hw import board

        forget("hw.board")
        return board.Identity(config)

    def opening(name):
        async def function(*arguments, **options):
            from firmware import opening

            forget("firmware.opening")
            return await getattr(opening, name)(parts, *arguments, **options)

        return function

    parts.identity = identity
    parts.open_source, parts.open_package, parts.frames = opening("source"), opening("package"), opening("frames")
    updater = Updater(parts)
    charge_point.configuration, charge_point.session, charge_point.updater = configuration, session, updater
    charge_point.reset = lambda kind: asyncio.create_task(charge_point.transactions("reset", kind, restart))
    charge_point.store, charge_point.contactor = store, contactor
    charge_point.log, charge_point.forget = log, forget
    charge_point.transactions("resume")

    told = None

    def progress(status=None, percent=None):
        nonlocal told
        if configuration.get("UpdateProgressDataTransfer"):
            if not told:
                from ocpp import update_progress  # most central systems don't want it

                told = update_progress.UpdateProgress(configuration, journal, outbox)
                del update_progress
                forget("ocpp.update_progress")
            told.progress(status, percent)

    parts.progress = progress
    configuration.on_change("UpdateProgressDataTransfer", progress)
    progress()  # the reason of a failure may wait since before the reset

    def open_log():
        line()
        from hw import log_files

        forget("hw.log_files")
        return log_files.reader()

    def upload(*request):
        from firmware import upload

        forget("firmware.upload", "firmware.http", "firmware.sources")
        timeout = 1000 * configuration.get("FirmwareDownloadTimeout")
        request += open_log, dialer.dial, lambda: updater.status not in ("Idle", "DownloadScheduled"), forget
        return upload.run(*request, timeout=timeout, log=logger("DIAGNOSTICS"))

    charge_point.identity = config["id"]  # type: ignore[attr-defined]
    charge_point.open_log, charge_point.upload = open_log, upload  # type: ignore[attr-defined]

    async def update():
        from firmware import trial

        deadline = configuration.get("TrialDeadline")
        await trial.run(slots, journal, session.accepted, deadline, restart, log_firmware)
        del trial
        forget("firmware.trial")
        await updater.run()

    gc.threshold(4096)
    try:
        await asyncio.gather(watchdog.run(), wifi.run(), session.run(), outbox.run(session), update())
    finally:
        for connector in charge_point.connectors[1:]:
            contactor(connector, False)  # whatever ended it


try:
    asyncio.run(run())
except Exception as error:
    line(error)
print("[MAIN] restarting in 10 seconds; Ctrl-C gives a prompt")
time.sleep(10)
machine.reset()
