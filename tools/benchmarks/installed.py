"""What the application takes of the heap, by the way in which it is installed, and what that leaves of an ESP32's."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Self

import build
from benchmarks import memory
from benchmarks.chip import left
from benchmarks.row import Row, Show
from benchmarks.setting import BenchError, ProbedDesk, changed_main, probed, probed_desk
from desk import OLD
from environment import REPOSITORY
from simulator import manufacture
from simulator.interpreter import Interpreter

SPEED = 10
HEAP = memory.ROOMY
WHERE = {"bundle": ".mpy in a slot's bundle", "vfs": ".mpy on the VFS"}
CASES = tuple((connectors, tls) for connectors in (0, 1) for tls in (False, True))


class Reading(NamedTuple):
    """What is there when a charger is registered and at rest."""

    used: int  # bytes of the heap, the probe's as well
    modules: set[str]
    names: int  # bytes that they have come to take since the start


class InstalledDesk(ProbedDesk):
    """A desk whose charger has the application on the VFS, as tools/flash.py leaves it, and no bundle in any slot."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        files = {
            **build.application(OLD, self._extra),
            "boot.py": (REPOSITORY / "boot.py").read_bytes(),
            "config.json": json.dumps(self._config).encode(),
            **({"ca.pem": self._ca} if self._ca else {}),
        }
        await self.until(lambda: bool(self.lines), "the chip is on")  # one that is not can't be switched off
        await self.start_from(manufacture.flash(self.image, files))
        return self


async def installed(interpreter: Interpreter, show: Show) -> list[Row]:
    """Heap in use when the charger is registered and at rest, and what that leaves of a stock ESP32's without PSRAM.

    All of the application runs on the simulated chip, with and without an EVSE, over ws and wss: installed as .mpy
    files on the VFS, as tools/flash.py does, and as .mpy in the bundle of its slot, as an update leaves it. As if
    frozen: what freezing takes off, as for `heap`. What the simulator and the probe take is not counted. What is left
    is the heap that stock MicroPython 1.25 has on an ESP32 with Wi-Fi connected, less that; TLS sessions take their
    memory from it. Below 16 KiB, what the largest message takes, is too little. Where more than 54 KiB are in use
    MicroPython has doubled its heap, at the cost of ESP-IDF's: a second TLS session, as for an update over https, fails
    then. On an emulated ESP32, with .mpy on the VFS, wss and no EVSE, that was so, and gc.mem_free() gave what is told
    here but for 3,000 bytes.
    """
    show("the probe")
    imported = []
    for files in (probed("probe_heap"), {"main.py": changed_main([memory.UNTOUCHED])}):
        async with probed_desk(interpreter, files, heap=HEAP) as desk:
            imported.append(int((await desk.result("imported"))[0]))
    probe = imported[0] - imported[1]
    rows = []
    for connectors, tls in CASES:
        case = f"{'an EVSE' if connectors else 'no EVSE'}, {'wss' if tls else 'ws'}"
        name = f"installed.{'evse' if connectors else 'bare'}.{'wss' if tls else 'ws'}"
        for where, words in WHERE.items():
            show(f"{case}, {words}")
            kind = ProbedDesk if where == "bundle" else InstalledDesk
            found = await _reading(interpreter, kind, tls=tls, connectors=connectors)
            used = found.used - probe
            rows += [Row(f"{name}.{where}", f"in use, {case}, {words}", used, "B"), *left(f"{name}.{where}", tls, used)]
        show(f"{case}, what freezing takes off")
        used -= await memory.taken_off_by_freezing(interpreter, found.modules - {"probe"}, found.names)
        rows += [Row(f"{name}.frozen", f"in use, {case}, as if frozen", used, "B"), *left(f"{name}.frozen", tls, used)]
    return rows


async def _reading(interpreter: Interpreter, kind: type[ProbedDesk], **options: Any) -> Reading:
    """Start a charger; return what there is at rest."""
    with tempfile.TemporaryDirectory() as folder:
        async with kind(Path(folder), interpreter, probed("probe_heap"), heap=HEAP, speed=SPEED, **options) as desk:
            await desk.registered()
            places = [line for line in desk.lines if "the copy on the VFS" in line]
            if bool(places) != (kind is InstalledDesk):
                raise BenchError("the application does not run where it was installed")
            before = len(desk.results("now"))
            await desk.until(lambda: len(desk.results("now")) > before + 2, "the heap has come to rest")
            used, modules = desk.results("now")[-1]
            names = memory.names_taken(desk.lines)
            simulator = desk.chip.simulator_heap() * 32 // 33
            return Reading(int(used) - simulator, set(modules.split(",")), names[-1][1] - names[0][1])
