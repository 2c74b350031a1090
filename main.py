"""The application: builds the parts, ties them together and runs them.

Whatever ends it, a reset follows, except when somebody presses Ctrl-C or holds the pin for maintenance. When it has
crashed three times in a row soon after the start it leaves out the EVSE, transactions and all that could be the cause:
what is left can be reached over the network, and updated.
"""

import asyncio
import gc
import sys
import time

import machine

gc.threshold(1024)  # keeps what stays on the heap together at its start: else it would end up full of holes

from firmware.journal import Journal
from firmware.update import Updater
from hw import watchdog
from hw.files import Files
from ocpp.charge_point import ChargePoint
from ocpp.configuration import Configuration
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
        if name in sys.modules:
            package, _, module = name.rpartition(".")
            sys.modules[name] = None  # a dictionary keeps the value of what is deleted until it needs the place
            del sys.modules[name]
            setattr(sys.modules[package], module, None)
            delattr(sys.modules[package], module)


def late(module, function, *bound):
    """Return a function, its first arguments bound, of a module that is in memory only while the function runs."""

    def call(*arguments, **options):
        __import__(module)
        run = getattr(sys.modules[module], function)
        forget(module)
        return run(*bound, *arguments, **options)

    return call


def start_log():
    """Start the log; return the function that writes a line."""
    from hw.clock import Clock

    file = late("hw.log_files", "begin")(machine.reset_cause())
    return late("hw.log", "start")(file, Clock(), forget)


line = start_log()
settled = late("hw.starts", "settled")
is_safe_mode = late("hw.starts", "begin")() >= 3
if is_safe_mode and late("hw.slots", "Slots")(forget).unconfirmed():
    is_safe_mode = False  # a trial has to show all of it
    settled()
outlets = []

RESIDENT = ("charge_point", "configuration", "outbox", "rpc", "session", "websocket")


def tidy():
    """Drop what was imported of ocpp/ for one event."""
    for name in list(sys.modules):
        if name[:5] == "ocpp." and name[5:] not in RESIDENT:
            forget(name)


class Parts:
    """What those work with that are in memory only for a moment, as its attributes."""


async def run():
    """Run the charger until one of its parts ends, which none of them should."""
    log, log_firmware = logger("OCPP"), logger("FW-OCPP")
    config = late("hw.board", "load_config")()
    if late("hw.board", "is_stopped")(config):
        raise KeyboardInterrupt
    if is_safe_mode:
        line("[MAIN] safe mode: crashed three times in a row. No charging; update the charger, or Reset tries again")
        connectors = config.pop("connectors", None)
        outlets[:] = [None] * (len(connectors) if isinstance(connectors, list) and connectors else 1)
    clock, store, slots, wifi, dialer, evse = late("hw.board", "build")(config, logger, forget)
    if not outlets:
        outlets[:] = evse.outlets if evse else [None]
    log("Arus", VERSION, "on", slots.running.label)

    attempts = 0
    time_server = config.get("ntp", "pool.ntp.org")
    keys = config.pop("configuration", {})
    if isinstance(keys, dict):
        keys["NumberOfConnectors"] = len(outlets)
    configuration = Configuration(store, keys, log, forget)
    outbox = Outbox(log)
    charge_point = ChargePoint(outlets, outbox, clock, log, tidy)
    journal = Journal(store, outbox.wake)
    statuses = late("ocpp.firmware_status", "FirmwareStatuses", journal)
    queue = Parts()
    queue.peek = lambda: statuses().peek() if journal.unsent else None
    queue.pop = lambda answer: journal.pop()
    outbox.add(queue)
    answer = late("ocpp.calls", "answer", charge_point)
    tell = late("ocpp.update_progress", "tell")
    boot = late("ocpp.core", "boot_notification")(config, VERSION)
    forget("ocpp.keys")

    def dispatch(action, payload):
        try:
            return answer(action, payload)
        finally:
            tidy()

    async def connect():
        nonlocal attempts
        attempts += 1
        if attempts % 8 == 0:
            wifi.renew()  # the driver may take a dead link for a good one
        await wifi.connected()
        if time_server and clock.now() is None:  # TLS needs the time, and so does what happens offline
            await late("hw.ntp", "sync")(time_server, clock, logger("CLOCK"))
        password = configuration.get("AuthorizationKey") or config.get("password", "").encode()
        websocket = await late("ocpp.handshake", "connect_station")(config["csms"], config["id"], password, dialer.dial)
        attempts = 0
        return websocket

    async def restart():
        try:
            await session.close()
        finally:
            settled()
            line()
            machine.reset()

    def progress(status=None, percent=None):
        if configuration.get("UpdateProgressDataTransfer"):
            tell(parts, status, percent)

    def look():
        if is_safe_mode:
            return "safe_mode"
        if updater.status not in ("Idle", "DownloadScheduled"):
            return "update"
        if session.registered:
            return "registered"
        return "no_wifi" if wifi.stale or not wifi.station.isconnected() else "no_csms"

    async def update():
        deadline = configuration.get("TrialDeadline")
        await late("firmware.trial", "run")(slots, journal, session.accepted, deadline, restart, log_firmware)
        try:
            # First things first: what the connection loads and drops should not end up between what an update keeps.
            await asyncio.wait_for(session.accepted.wait(), 60)
        except asyncio.TimeoutError:
            pass  # an update may be what helps
        await updater.run()

    session = Session(connect, dispatch, boot, configuration, clock, log, forget=forget)
    session.on_accepted += [charge_point.report_all, outbox.wake]
    parts = Parts()
    parts.slots, parts.journal, parts.clock, parts.station, parts.outbox = slots, journal, clock, charge_point, outbox
    parts.get, parts.log, parts.forget, parts.dial = configuration.get, log_firmware, forget, dialer.dial
    parts.reset, parts.sleep, parts.progress, parts.told = restart, asyncio.sleep, progress, None
    parts.identity = late("hw.board", "Identity", config)
    parts.open_source = late("firmware.opening", "source", parts)
    parts.open_package = late("firmware.opening", "package", parts)
    parts.frames = late("firmware.opening", "frames", parts)
    parts.open_log = charge_point.open_log = late("hw.log_files", "reader", line)
    parts.log_upload = logger("DIAGNOSTICS")
    parts.updater = updater = Updater(parts)
    charge_point.configuration, charge_point.session, charge_point.updater = configuration, session, updater
    charge_point.reset = lambda kind: charge_point.spawn(charge_point.call("charging", "reset", kind, restart))
    charge_point.store, charge_point.files, charge_point.identity = store, Files("/data"), config["id"]
    charge_point.upload = late("firmware.opening", "upload", parts)
    charge_point.cause = late("hw.log_files", "words")(machine.reset_cause())
    if is_safe_mode:
        for connector in charge_point.connectors:
            connector.error, connector.info = "InternalError", "safe mode"
        charge_point.call("connectors", "refresh_all")
    else:
        has_lost_power = machine.reset_cause() == machine.PWRON_RESET
        charge_point.call("connectors", "resume", "PowerLoss" if has_lost_power else "Reboot")
    tasks = [watchdog.run(None if is_safe_mode else settled), wifi.run(), session.run(), outbox.run(session)]
    tasks += [update(), charge_point.run()]
    if "development" in config:
        from firmware import push
        from hw.connection import Connection

        tasks.append(push.serve(parts, Connection, config, VERSION, logger("PUSH")))
    led = late("hw.board", "pin")(config, "led")
    if led:
        tasks.append(late("hw.status_led", "run")(led, look))
    if evse:
        evse.on_change, evse.on_card = charge_point.on_change, charge_point.card
        tasks.append(evse.run())
    for key in ("MeterValueSampleInterval", "ClockAlignedDataInterval"):
        configuration.on_change(key, lambda: charge_point.event("metering", "resume"))
    configuration.on_change("UpdateProgressDataTransfer", progress)
    progress()  # the reason of a failure may wait since before the reset

    await asyncio.gather(*tasks)


try:
    try:
        asyncio.run(run())
    except Exception as error:
        line(error)
    finally:  # whatever ended it: nobody looks after the contactors any more
        for outlet in outlets:
            if outlet:
                outlet.cut()
    print("[MAIN] restarting in 10 seconds; Ctrl-C gives a prompt")
    time.sleep(10)
    machine.reset()
except KeyboardInterrupt:
    watchdog.leave_an_hour()
    settled()
    line()
    print("[MAIN] stopped; machine.reset() starts the charger again, and so does the watchdog in an hour")
