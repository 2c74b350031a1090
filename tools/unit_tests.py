"""Runs the tests in tests/unit on MicroPython, each file in a process of its own with a heap as small as a chip's."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import environment

if TYPE_CHECKING:
    from simulator.interpreter import Interpreter

HEAP = {32: 160 * 1024, 64: 320 * 1024}  # a word of 64 bits takes twice the room
TIMEOUT = 120  # seconds for one file; far more than any needs
TIMEOUT_EVERYTHING = 7200
APPLICATION = ("*.py", "ocpp/*.py", "firmware/*.py", "hw/*.py")
TESTS = "tests/unit"


@dataclass(frozen=True)
class Outcome:
    """How a test file went; `trouble` says what is wrong with it, if anything."""

    name: str
    passed: int
    failed: int
    skipped: int
    trouble: str
    output: str


def compile_tests(repository: Path = environment.REPOSITORY) -> Path:
    """Compile the application, the tests and unittest; return the folder with the .mpy files."""
    sources = {
        path.relative_to(repository).with_suffix("").as_posix(): path
        for pattern in (*APPLICATION, f"{TESTS}/*.py")
        for path in repository.glob(pattern)
    }
    sources["unittest"] = environment.micropython_unittest()
    compiled = repository / ".cache" / "mpy" / "unit"
    environment.compile_mpy(sources, compiled)  # with assert, which unittest is built on, and with line numbers
    return compiled


def run(
    interpreter: Interpreter, compiled: Path, names: Iterable[str], everything: bool = False, timeout: float = 0
) -> Iterator[Outcome]:
    """Run test files, as many at a time as there are cores; yield each one's outcome as it ends.

    `everything`: tests find ARUS_ALL in their environment. `timeout`: of one file, in seconds.
    """
    settings = {**os.environ, "MICROPYPATH": f"{compiled}:{compiled / TESTS}:.frozen"}
    if everything:
        settings["ARUS_ALL"] = "1"
    timeout = timeout or (TIMEOUT_EVERYTHING if everything else TIMEOUT)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for future in as_completed([pool.submit(_run, interpreter, name, settings, timeout) for name in names]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # of use after Ctrl-C


def _run(interpreter: Interpreter, name: str, settings: dict[str, str], timeout: float) -> Outcome:
    command = [*interpreter.command, "-X", f"heapsize={HEAP[interpreter.word_bits]}", "-m", name]
    # MicroPython looks for modules in the current folder first, so that one is empty
    with tempfile.TemporaryDirectory() as empty:
        process = subprocess.Popen(
            command,
            cwd=empty,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            return Outcome(name, 0, 1, 0, f"still running after {timeout:.0f} s, stopped", output)
    return judge(name, process.returncode, output)


def judge(name: str, status: int, output: str) -> Outcome:
    """Read the outcome of a test file from its exit status and from what unittest printed at the end."""
    ran = _number(r"^Ran (\d+) tests$", output)
    failed = _number(r"^FAILED \(failures=(\d+), errors=\d+\)$", output)
    skipped = _number(r"^OK \((\d+) skipped\)$", output)
    trouble = ""
    if failed:
        trouble = f"{failed} of {ran} tests failed"
    elif status < 0:
        trouble = f"killed by signal {-status}"
    elif status:
        trouble = f"ended with exit status {status}"
    elif not ran:
        trouble = "ran no test: are there any, and does unittest.main() stand at its end?"
    if trouble:
        failed = max(failed, 1)
    output = re.sub(r"^\w+ \(\w+\) \.\.\. ok\n", "", output, flags=re.MULTILINE)  # the tests that passed
    return Outcome(name, max(ran - failed - skipped, 0), failed, skipped, trouble, output)


def _number(pattern: str, output: str) -> int:
    found = re.findall(pattern, output, re.MULTILINE)
    return int(found[-1]) if found else 0
