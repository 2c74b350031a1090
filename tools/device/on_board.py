"""Runs the files of tests/device on a board, each after a soft reset, and reads their outcome."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import environment
import unit_tests
from device.bench import FOLDER, Bench
from unit_tests import Outcome

TESTS = environment.REPOSITORY / "tests" / "device"
SILENCE = 180  # seconds that one test may take

# unittest ends with SystemExit, which would restart MicroPython.
RUN = """
import sys
sys.path.insert(0, {folder!r})
import unittest
try:
    unittest.main({name!r})
except SystemExit as result:
    print("STATUS", int(bool(result.args[0])))
"""


def compiled() -> dict[str, bytes]:
    """Return what goes onto the board, name of a module -> its .mpy: the tests, and unittest."""
    sources = {path.stem: path for path in TESTS.glob("test_*.py")}
    sources["unittest"] = environment.micropython_unittest()
    folder = environment.CACHE / "mpy" / "device"
    environment.compile_mpy(sources, folder)
    return {name: Path(folder, f"{name}.mpy").read_bytes() for name in sources}


def run(board: Bench, name: str, progress: Callable[[int, int], None]) -> Outcome:
    """Run one file, copied before if it is not there yet."""
    modules = compiled()
    if name != "test_memory":  # which looks at what has been since the last reset
        board.enter()
    for module in ("unittest", name):
        path, content = f"{FOLDER}/{module}.mpy", modules[module]
        if board.run(f"try:\n print(sha({path!r}))\nexcept OSError:\n pass").strip() != _digest(content):
            board.write(path, content)
    count = len(set(re.findall(rb"test_\w+", modules[name])))
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        done = sum(" ..." in line for line in lines)
        progress(min(done, count), max(1, count))

    board.stream(RUN.format(folder=FOLDER, name=name), take, SILENCE)
    return judge(name, lines)


def judge(name: str, lines: list[str]) -> Outcome:
    """Return the outcome of a file: with its figures and reasons to skip, after a failure with all that it printed."""
    status = 1
    if lines and re.fullmatch(r"STATUS [01]", lines[-1]):
        status = int(lines.pop()[-1])
    outcome = unit_tests.judge(name, status, "\n".join(lines))
    if outcome.trouble:
        return outcome
    told = [line[2:] for line in lines if line.startswith("# ")]
    told += [f"skipped: {line.partition(' skipped: ')[2]}" for line in lines if " skipped: " in line]
    return Outcome(name, outcome.passed, outcome.failed, outcome.skipped, "", "".join(f"  {line}\n" for line in told))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
