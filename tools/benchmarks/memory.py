"""The firmware's memory: heap in use, the smallest heap, garbage, stack."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import build
from benchmarks import everything
from benchmarks.chip import left
from benchmarks.row import Row, Show
from benchmarks.setting import (
    ALGORITHMS,
    CA,
    CAR,
    CASES,
    BenchError,
    ProbedDesk,
    application,
    changed_main,
    countable,
    key_for,
    on_micropython,
    probed,
    probed_desk,
    script,
    server_tls,
    updated,
    updated_while_charging,
)
from desk import FILE, FINAL, NEW, Desk, chapter
from environment import REPOSITORY
from scenarios import KINDS
from simulator.chip import SimulatorError
from simulator.interpreter import Interpreter
from webserver import Fault, WebServer

KIB = 1024
ROOMY = 200 * KIB  # for the firmware with a probe in it
LEAST, MOST = 64, 128  # KiB, between which the smallest heap is looked for
PASSES = 3  # of as many
SPEED = 10
# The heap after import without a probe.
UNTOUCHED = ("asyncio.run(", "(gc.collect(), print('@imported', gc.mem_alloc()), asyncio.run)[-1](")
GARBAGE_HEAP = 1536 * KIB  # takes a whole download's garbage
GARBAGE_IMAGE = 256 * KIB
NAMES = {"all": "deepest", "running": "running"}
STACK = 12 * KIB  # of the 16 KiB that an ESP32 has, see tests/e2e/test_limits.py
IN_BULK: dict[str, Any] = {"piece": 16 * KIB}
IN_PACKETS: dict[str, Any] = {"piece": 1440, "drip": 0.002}


async def heap(interpreter: Interpreter, show: Show) -> list[Row]:
    """Heap in use while the firmware runs on the simulated chip and updates itself over wss and https.

    The update is a plain file; then the peak with each kind of package is told as well.

    A probe in main.py takes gc.mem_alloc() after a gc.collect(), at every turn of the event loop and whenever modules
    are about to be dropped, which is when most is loaded. What the simulator and the probe take is not counted, what
    boot.py leaves behind is.

    As if frozen: frozen code, constants and names are in flash, but what a module's statements make (functions,
    classes, dicts) is on the heap all the same. So the modules that were loaded at the peak are loaded once more, in a
    fresh chip, which takes L bytes; then each is compiled from source, and executing that (without compiling) takes E
    bytes in all. Freezing takes off L - E, all that compiling main.py takes, and the names of the modules that had been
    dropped by then, which stay (micropython.qstr_info() at the peak, less what L has of them).
    """
    show("import")
    untouched = changed_main([UNTOUCHED])
    async with probed_desk(interpreter, {"main.py": untouched}, heap=ROOMY, **CAR) as desk:
        own = -int((await desk.result("imported"))[0])
    readings = {}
    for kind, algorithm in CASES:
        show(f"{kind} {algorithm}")
        readings[kind, algorithm] = await _readings(interpreter, kind, algorithm, own)
    imported, connected, plain, modules, names = readings.pop(("plain", ""))
    show("what freezing takes off")
    frozen = await taken_off_by_freezing(interpreter, set(modules.split(",")) - {"probe"}, names)
    return [
        Row("heap.imported", "heap in use after import", imported, "B"),
        Row("heap.connected", "heap in use when connected", connected, "B"),
        Row("heap.peak", "heap in use at the peak of an update", plain, "B"),
        *left("heap.peak", 2, plain),
        Row("heap.freezing", "what freezing would take off that", frozen, "B"),
        Row("heap.frozen", "at the peak as if frozen", plain - frozen, "B", 48 * KIB),
        *left("heap.frozen", 2, plain - frozen),
        *(
            Row(f"heap.peak.{kind}.{algorithm}", f"at the peak, {kind}{ALGORITHMS[algorithm]}", peak, "B")
            for (kind, algorithm), (_, _, peak, _, _) in readings.items()
        ),
    ]


async def _readings(interpreter: Interpreter, kind: str, algorithm: str, own: int) -> tuple[int, int, int, str, int]:
    """Heap in use after import, when connected and at the peak of an update; the modules loaded then, and the names.

    own: what main.py without a probe takes, negative.
    """
    options: dict[str, Any] = {"heap": ROOMY, "speed": SPEED, "tls": True, "key": key_for(algorithm), **CAR}
    async with probed_desk(interpreter, probed("probe_heap"), **options) as desk:
        await desk.registered()
        before = len(desk.results("now"))
        await desk.until(lambda: len(desk.results("now")) > before + 2, "the heap has come to rest")
        connected = int(desk.results("now")[-1][0])
        await updated_while_charging(desk, kind)
        imported = int(desk.results("imported")[0][0])
        taken = desk.chip.simulator_heap() * 32 // 33 + own + imported
        peak, modules = max((int(used), names) for used, names in desk.results("peak"))
        told = names_taken(desk.lines)
        line = next(i for i, line in enumerate(desk.lines) if line.startswith(f"@peak {peak} "))
        names = next(total for i, total in told if i > line) - told[0][1]
        return imported - taken, connected - taken, peak - taken, modules, names


def names_taken(lines: list[str]) -> list[tuple[int, int]]:
    """What micropython.qstr_info() has told: the number of the line, and the bytes that names took."""
    told = [(i, re.search(r"n_total_bytes=(\d+)", line)) for i, line in enumerate(lines)]
    return [(i, int(found[1])) for i, found in told if found]


async def taken_off_by_freezing(interpreter: Interpreter, modules: set[str], names: int) -> int:
    """What freezing would take off the heap while these modules are loaded, and the names (bytes); see heap()."""
    sources = {name: REPOSITORY / f"{name.replace('.', '/')}.py" for name in modules}
    ours = sorted(name for name, path in sources.items() if path.is_file())
    lists = {"ours": ours, "others": sorted(modules - set(ours))}
    extra = {
        "main.py": b"import frozen\n",
        "frozen.mpy": script("frozen"),
        "frozen.json": json.dumps(lists).encode(),
        "source/main.py": (REPOSITORY / "main.py").read_bytes(),
        **{f"source/{name}.py": sources[name].read_bytes() for name in ours},
    }
    async with probed_desk(interpreter, extra, heap=None) as desk:
        loaded, executed, main = map(int, await desk.result("frozen"))
        (_, before), (_, after) = names_taken(desk.lines)[:2]
    return loaded - executed + main + max(0, names - (after - before))


async def names(interpreter: Interpreter, show: Show) -> list[Row]:
    """How many names (qstrs) an update brings that the interpreter doesn't have in flash.

    A signed package (RSA) comes over wss and https to the simulated chip, and a probe in main.py notes which modules
    are loaded, if only for a moment, from a power-on or reset to the next. Those are loaded into the unix port, boot.py
    and main.py are compiled, and micropython.qstr_info() counts them. What the script itself brings is taken off, and
    so is what an ESP32 has in flash and the unix port has not. That is done for the start that downloads and for the
    one on trial; the larger number counts. Beside it that of all modules, some of which (upload.py, ftp.py) take no
    part.

    Names stay on the heap when a module is dropped. MicroPython keeps them in tables of 20, 40, 80, 160, 320, 640 and
    1,280: the 621st takes 4.5 KB, the 1,261st 9 KB.
    """
    show("an update")
    options: dict[str, Any] = {"heap": ROOMY, "speed": SPEED, "tls": True, "key": key_for("rsa")}
    async with probed_desk(interpreter, probed("probe_names"), **options) as desk:
        await updated(desk, "package")
        starts = "\n".join(desk.lines).split("@start")[1:]
    loaded = [{line.split()[1] for line in start.splitlines() if line.startswith("@module ")} for start in starts]
    show("counting")
    with application() as folder:
        ours = {".".join(path.relative_to(folder).with_suffix("").parts) for path in folder.glob("*/*.mpy")}
        counts = [await _names(interpreter, folder, ours & (modules | {"version"})) for modules in (*loaded, ours)]
    return [
        Row("names", "names that an update brings", max(counts[:-1]), "names", 1260),
        Row("names.all", "names of all modules", counts[-1], "names", 1260),
    ]


# Names of the firmware's that MicroPython 1.25 and 1.26 for ESP32 have in flash, and the unix port hasn't.
IN_FLASH = """BOOT Partition Pin RTC RUNNING SOFT_RESET STA_IF TYPE_APP TYPE_DATA WDT WLAN Z block block_size boot
commit datetime feed get_blob get_next_update i ifconfig isconnected label mark_app_valid_cancel_rollback network nvs
opcode p password reset_cause set_blob set_boot slot true w wifi"""


async def _names(interpreter: Interpreter, folder: Path, modules: set[str]) -> int:
    sources = [str(REPOSITORY / name) for name in ("boot.py", "main.py", "firmware/archive.py")]
    (folder / "in_flash.txt").write_text(IN_FLASH)
    counts = []
    for arguments in ((), (*sources, *sorted(modules))):  # the script's own, and all
        told = await on_micropython(interpreter, folder, GARBAGE_HEAP, "names", *arguments)
        counts.append(int(told.partition("n_qstr=")[2].partition(",")[0]))
    return counts[1] - counts[0]


async def smallest_heap(interpreter: Interpreter, show: Show) -> list[Row]:
    """The smallest heap (in KiB, what the simulator takes added) with which a whole update over wss and https passes.

    Of each kind: a package has to pass with RSA and with ECDSA. Found by halving; then the one found, or the next one
    up, has to pass 3 times of 3. An update that ran out of memory somewhere and got over it has not passed.
    """
    rows = []
    for kind in KINDS:
        name = "heap.smallest" if kind == "plain" else f"heap.smallest.{kind}"
        what = "smallest heap for an update, wss and https" if kind == "plain" else f"smallest heap, {kind}"
        rows.append(Row(name, what, await _smallest(interpreter, kind, show), "KiB", 80))
    return rows


async def _smallest(interpreter: Interpreter, kind: str, show: Show) -> int:
    failing, passing = LEAST, MOST
    while passing - failing > 1:
        middle = (failing + passing) // 2
        show(f"{kind}, {middle} KiB")
        if await _kind_passes(interpreter, kind, middle):
            passing = middle
        else:
            failing = middle
    passes = 1 if passing < MOST else 0
    while passes < PASSES:
        if passing > MOST:
            raise BenchError(f"the update does not pass with {MOST} KiB either")
        show(f"{kind}, {passing} KiB, {passes} of {PASSES}")
        if await _kind_passes(interpreter, kind, passing):
            passes += 1
        else:
            passing, passes = passing + 1, 0
    return passing


async def _kind_passes(interpreter: Interpreter, kind: str, kib: int) -> bool:
    for case, algorithm in CASES:
        if case == kind and not await _update_passes(interpreter, kind, algorithm, kib):
            return False
    return True


async def _update_passes(interpreter: Interpreter, kind: str, algorithm: str, kib: int) -> bool:
    options: dict[str, Any] = {"heap": kib * KIB, "speed": SPEED, "tls": True, "key": key_for(algorithm)}
    with TemporaryDirectory() as folder:
        async with Desk(Path(folder), interpreter, **options) as desk:
            desk.web.files = {FILE: KINDS[kind](desk, desk.update_file(NEW))}

            def has_failed() -> bool:
                return any("memory" in line.lower() or "[MAIN] restarting" in line for line in desk.lines)

            try:
                await desk.until(lambda: desk.in_service or has_failed(), "in service", 100)
                if not has_failed():
                    await desk.update()
                    await desk.until(lambda: chapter(desk.story[-1]) in FINAL or has_failed(), "the update's end", 100)
            except (TimeoutError, ConnectionError, SimulatorError):
                return False
            return bool(desk.story) and chapter(desk.story[-1]) == "Installed" and not has_failed()


async def garbage(interpreter: Interpreter, show: Show) -> list[Row]:
    """What a download leaves to the garbage collector for every 4 KiB of the file, over http and https on loopback.

    firmware/transfer.py with firmware/http.py, hw/connection.py and firmware/journal.py copies a file to a slot in
    memory, on the unix port with gc.disable(). gc.mem_alloc() is taken when a block is about to be written; what the
    slot itself takes is not counted. A record of the journal every 64 KiB is part of it. Twice the bytes are there
    before they are asked for, as they are after an erase; once they come in packets of 1,440 every 2 ms, so that nearly
    each read has to wait.
    """
    file = build.update_file(build.made_image(GARBAGE_IMAGE), build.bundle(build.application(NEW), NEW))
    rows = []
    with application() as folder:
        for name, what, tls, flow in (
            ("http", "http", None, IN_BULK),
            ("https", "https", server_tls(), IN_BULK),
            ("packets", "http, packet by packet", None, IN_PACKETS),
        ):
            show(what)
            async with WebServer({FILE: file}, [Fault(FILE, **flow)], tls=tls) as server:
                told = await on_micropython(interpreter, folder, GARBAGE_HEAP, "garbage", server.url(FILE), str(CA))
            rows.append(
                Row(
                    f"garbage.{name}",
                    f"garbage per 4 KiB block, {what}",
                    json.loads(told)["mean"],
                    "B",
                    KIB if flow is IN_BULK else None,
                )
            )
    return rows


async def stack(interpreter: Interpreter, show: Show) -> list[Row]:
    """The deepest stack in a charger's life over wss and https on the simulated chip, as an ESP32 counts it.

    micropython.stack_use() is taken on entry to what ends the chains of calls: the flash, NVS, files, JSON, hashes,
    the clock, printing, and so on. What the functions in C take below that is not included: TLS above all. What the
    unix port takes more of the stack than an ESP32 is taken off, see on_mpy/probe_stack.py. While a module is imported
    from the bundle the stack is deepest; a frozen application has none of that. An ESP32 has 16 KiB for all of it.
    """
    show("everything once")
    rows = []
    for kind, (used, where) in (await deepest(interpreter)).items():
        imports = "while a module is imported" if kind == "all" else "without imports"
        rows.append(Row(f"stack.{NAMES[kind]}", f"deepest stack {imports}, in {where}", used, "B", STACK))
    return rows


async def deepest(
    interpreter: Interpreter, first: Callable[[ProbedDesk], Awaitable[None]] | None = None
) -> dict[str, tuple[int, str]]:
    """Return how deep the stack gets, and at which function: "all", while a module is imported, and "running".

    first: what else is to happen.
    """
    probe = {**probed("probe_stack"), **{f"{name}.mpy": script(name) for name in ("probe_level_1", "probe_level_2")}}
    files = {**countable(), **probe}
    options: dict[str, Any] = {**everything.OPTIONS, "heap": 4 * ROOMY, "speed": SPEED, "key": everything.key()}
    async with probed_desk(interpreter, files, **options) as desk:
        if first:
            await desk.registered()
            await first(desk)
        await everything.everything(desk)
        told = [(words[0], int(words[1]), words[2]) for words in desk.results("stack")]
    return {kind: max((used, where) for one, used, where in told if one == kind) for kind in NAMES}
