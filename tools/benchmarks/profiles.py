"""What the feature profiles take, and the EVSE: its modules, and a turn of its loop."""

from __future__ import annotations

import json
from statistics import median

import build
from benchmarks.row import Row, Show
from benchmarks.setting import BenchError, application, on_micropython
from desk import CONNECTORS, OLD, SHARED
from simulator.interpreter import Interpreter

HEAP = 512 * 1024  # for all modules of a profile at once, and for garbage that nobody collects
TURNS = 1000

# Each module of ocpp/ and firmware/, and those of hw/ that the EVSE is made of. A folder: all of it that has no line.
MODULES = {
    "Core": "ocpp.authorization ocpp.charging ocpp.connector_status ocpp.connectors ocpp.core ocpp.data_transfer "
    "ocpp.id_tags ocpp.identification ocpp.keys ocpp.metering ocpp.transaction_messages ocpp.transaction_record "
    "ocpp.transactions",
    "FirmwareManagement": "ocpp.diagnostics ocpp.firmware_management ocpp.firmware_status ocpp.update_progress",
    "LocalAuthListManagement": "ocpp.local_auth_list",
    "Reservation": "ocpp.reservation",
    "SmartCharging": "ocpp.charging_profiles ocpp.schedules ocpp.smart_charging",
    "RemoteTrigger": "ocpp.remote_trigger",
    "the updater": "firmware",
    "what all profiles share": "ocpp",
    "EVSE": "hw.evse hw.led hw.line_reader hw.meter hw.pilot hw.rdm6300 hw.reader hw.safety",
    "EVSE, putting it together": "hw.fitting",
}
KEYS = {
    "the updater": "updater",
    "what all profiles share": "shared",
    "EVSE": "evse",
    "EVSE, putting it together": "fitting",
}


def parts(files: dict[str, bytes]) -> dict[str, list[str]]:
    """Return MODULES with the folders replaced by what no other line has."""
    present = {name.removesuffix(".mpy").replace("/", ".") for name in files if "/" in name}
    named = {module for modules in MODULES.values() for module in modules.split()}
    found = {}
    for what, modules in MODULES.items():
        if "." not in modules:
            found[what] = sorted(name for name in present - named if name.startswith(modules + "."))
        else:
            found[what] = modules.split()
    missing = {name for names in found.values() for name in names} - present
    if missing:
        raise BenchError(f"the application has no {', '.join(sorted(missing))} any more: see benchmarks/profiles.py")
    return found


async def profiles(interpreter: Interpreter, show: Show) -> list[Row]:
    """Bytes of .mpy of each feature profile, and the heap that its modules take while they are loaded.

    In a process each, on the unix port: the modules are imported, with what they import of others', then dropped and
    imported once more; the second time gc.mem_alloc() after a gc.collect() tells what they add. Their names don't count
    (they stay; see `names`), nor do modules of another line. Of the profiles it is never all at once: what one event
    needs is loaded for that event. The EVSE's modules stay, one of the two kinds of readers at most.
    """
    files = build.application(OLD)
    rows = []
    with application() as folder:
        for what, modules in parts(files).items():
            show(what)
            size = sum(len(files[name.replace(".", "/") + ".mpy"]) for name in modules)
            taken = int(await on_micropython(interpreter, folder, HEAP, "modules", *modules))
            key = KEYS.get(what, what)
            rows += [
                Row(f"profile.{key}.mpy", f"{what}, .mpy", size, "B"),
                Row(f"profile.{key}.heap", "  heap while all of it is loaded", taken, "B"),
            ]
    return rows


async def evse_loop(interpreter: Interpreter, show: Show) -> list[Row]:
    """Time of a turn of the EVSE's loop with 1, 2 and 3 connectors, its garbage, and how often it reads the ADC.

    hw/fitting.py puts it together on the unix port, as the desk's config.json has it, with the least that can stand for
    the pins: two to three instructions each, but Python's. Medians of 1000 turns, while nobody is plugged in and while
    all charge with 16 A; the garbage is the mean of 1000 turns with gc.disable(), pulses of the meters among them. On
    an ESP32 each read of the ADC takes 30 to 100 us besides. A turn is due every 50 ms.
    """
    rows = []
    with application() as folder:
        for count in range(1, len(CONNECTORS) + 1):
            plural = "s" * (count > 1)
            show(f"{count} connector{plural}")
            config = {"connectors": CONNECTORS[:count], **SHARED}
            (folder / "config.json").write_text(json.dumps(config))
            told = json.loads(await on_micropython(interpreter, folder, HEAP, "evse_loop", "config.json", str(TURNS)))
            if not told["closed"]:
                raise BenchError("the loop has opened a contactor for no reason")
            name = f"evse.{count}"
            idle, charging = median(told["idle"]), median(told["charging"])
            rows += [
                Row(f"{name}.turn", f"turn of the EVSE's loop, {count} connector{plural}", charging, "µs"),
                Row(f"{name}.idle", "  while nobody charges", idle, "µs"),
                Row(f"{name}.garbage", "  garbage of a turn", told["garbage"], "B", 0),
                Row(f"{name}.reads", "  reads of the ADC in a turn", told["reads"], "reads"),
            ]
    return rows
