"""Run every check and test of the project, the fast ones first.

  tools/test.py              everything
  tools/test.py unit e2e     these stages; there are ruff, codespell, mypy, unit, e2e
  tools/test.py test_http    the test files with this in their name, in tests/unit and in tests/e2e
  tools/test.py --all        everything, and where a suite takes samples, every case of it
  tools/test.py --device PORT [NAME …]
                             only these, on a board with MicroPython and, for most, the application: partition nvs image
                             times restart wifi registration refusal memory rollback update. PORT is /dev/ttyUSB0, COM3
                             or socket://HOST:PORT. The slot that doesn't run is written over; the rest is put back

What that needs is downloaded into .cache once. The last line counts, and the exit status is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import environment
import unit_tests
from environment import CACHE, REPOSITORY, SetupError
from flashing.errors import FlashError

FIRMWARE = ("boot.py", "main.py", "ocpp", "firmware", "hw")
# The firmware has no annotations: mypy takes an attribute's first value for its type and would complain of the next.
GUESSES = ("assignment", "call-overload", "has-type", "union-attr", "var-annotated")
STUBS = environment.VENV / "micropython-types"
PYTHON_M = (sys.executable, "-P", "-m")  # -P: the current folder's `ocpp` must not hide the package of that name

# Files of end-to-end tests in which a person or a central system acts while the chip's time runs many times as fast as
# real: on a machine that has something else to do they would come too late.
ALONE = ("test_charging.", "test_endurance.", "test_oca_", "test_service.", "test_simulate_command.")

COUNTS = ("passed", "failed", "skipped")


@dataclass
class Result:
    """What came of a stage; a check that is no test counts as one."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    output: str = ""
    seconds: float = 0


Progress = Callable[[int, int], None]  # done, of how many
Stage = Callable[[Progress], Result]


# ------------------------------------------------------------------------------------------------------------- stages


def check(*commands: list[str], folder: Path = REPOSITORY, **settings: str) -> Result:
    """Run Python modules as commands; keep what those print that don't end with 0."""
    output = ""
    for command in commands:
        done = subprocess.run(
            [*PYTHON_M, *command],
            check=False,
            cwd=folder,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            output += f"$ {' '.join(command)}\n{done.stdout}"
    return Result(failed=1, output=output) if output else Result(passed=1)


def ruff(_: Progress) -> Result:
    """Check style, likely mistakes and formatting."""
    briefly = ["--quiet", "--output-format=concise"]
    return check(["ruff", "check", *briefly], ["ruff", "format", "--check", *briefly])


def codespell(_: Progress) -> Result:
    """Check the spelling of every file."""
    return check(["codespell_lib"])


def mypy(_: Progress) -> Result:
    """Check the types: strictly of what runs on the desk, and of the firmware as far as mypy can work them out."""
    make_stubs()
    # Not from the repository's folder: `import ocpp` on the desk means the package of that name, not ours.
    strictly = ["--strict", "--config-file=../pyproject.toml", f"--cache-dir={CACHE}/mypy-desk"]
    desk = check(["mypy", *strictly, ".", "../tests/e2e"], folder=REPOSITORY / "tools")
    types = [f"--custom-typeshed-dir={STUBS}", "--no-site-packages", f"--cache-dir={CACHE}/mypy-firmware"]
    leniently = ["--allow-redefinition", *(f"--disable-error-code={code}" for code in GUESSES)]
    firmware = check(["mypy", *types, *leniently, *FIRMWARE], MYPYPATH=str(STUBS))
    output = desk.output + firmware.output
    return Result(failed=1, output=output) if output else Result(passed=1)


def make_stubs() -> None:
    """Lay out MicroPython's types as mypy wants those of a standard library."""
    with environment.lock():
        if STUBS.exists():
            return
        with environment.fresh_folder("types") as fresh:
            for distribution in ("micropython-esp32-stubs", "micropython-stdlib-stubs"):
                for file in importlib.metadata.files(distribution) or ():
                    if file.suffix == ".pyi" or file.name == "VERSIONS":
                        target = fresh / file
                        target.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy(file.locate(), target)
            (fresh / "version.pyi").write_text("VERSION: str\n")  # tools/build.py makes this module
            fresh.rename(STUBS)


CHECKS: dict[str, Stage] = {"ruff": ruff, "codespell": codespell, "mypy": mypy}


def unit(word_bits: int, files: list[Path], everything: bool, progress: Progress) -> Result:
    """Run unit tests on MicroPython with words of 32 or 64 bits."""
    try:
        interpreter = environment.interpreter(word_bits)
    except environment.Unavailable as error:
        return Result(skipped=1, output=f"Skipped: {error}\n")
    result = Result()
    compiled = unit_tests.compile_tests()
    outcomes = unit_tests.run(interpreter, compiled, [file.stem for file in files], everything)
    for number, outcome in enumerate(outcomes, 1):
        progress(number, len(files))
        result.passed += outcome.passed
        result.failed += outcome.failed
        result.skipped += outcome.skipped
        if outcome.trouble:
            result.output += f"--- {outcome.name}, {word_bits}-bit: {outcome.trouble}\n{outcome.output}\n"
    return result


def e2e(files: list[Path], everything: bool, _: Progress) -> Result:
    """Run end-to-end tests with pytest, which shows its own progress: on all cores, and then those that need one."""
    alone = [file for file in files if file.name.startswith(ALONE)]
    others = [file for file in files if file not in alone]
    print(flush=True)
    result = Result()
    if others:
        cores = [f"--numprocesses={os.cpu_count()}", "--dist=loadfile"] if len(others) > 1 else []
        _pytest([*cores, *map(str, others)], everything, result)
    if alone:
        _pytest([*map(str, alone)], everything, result)
    return result


def _pytest(arguments: list[str], everything: bool, result: Result) -> None:
    """Run pytest and add what came of it to `result`."""
    failed = result.failed
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        options = ["--all", "--override-ini=faulthandler_timeout=7200"] if everything else []
        command = [*PYTHON_M, "pytest", "--no-header", f"--junitxml={report}", *options, *arguments]
        status = subprocess.run(command, check=False, cwd=REPOSITORY).returncode
        for suite in ElementTree.parse(report).iter("testsuite") if report.exists() else ():
            count = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
            result.skipped += count["skipped"]
            result.failed += count["failures"] + count["errors"]
            result.passed += count["tests"] - count["failures"] - count["errors"] - count["skipped"]
    if status and result.failed == failed:
        result.failed += 1
        result.output += f"pytest ended with exit status {status}.\n"


def device(arguments: argparse.Namespace) -> dict[str, Result]:
    """Run the tests on a board, by its name; return what came of them."""
    import device_tests  # needs packages

    with device_tests.Session(arguments.device, arguments.names, arguments) as session:
        return {name: run(name, functools.partial(on_device, test)) for name, test in session.tests()}


def on_device(test: Callable[[Progress], unit_tests.Outcome], progress: Progress) -> Result:
    """Run one of them as a stage."""
    outcome = test(progress)
    return Result(outcome.passed, outcome.failed, outcome.skipped, outcome.output)


# --------------------------------------------------------------------------------------------------------------- main


def plan(names: list[str], everything: bool) -> dict[str, Stage]:
    """Return the stages that `names` ask for, all if there are none; ValueError if a name means nothing."""
    stages: dict[str, Stage] = {name: stage for name, stage in CHECKS.items() if not names or name in names}
    parts = [Path(name).stem for name in names if name not in (*CHECKS, "unit", "e2e")]
    chosen = {}
    for kind in ("unit", "e2e"):
        files = sorted((REPOSITORY / "tests" / kind).glob("test_*.py"))
        whole = not names or kind in names
        chosen[kind] = [file for file in files if whole or any(part in file.stem for part in parts)]
    for part in parts:
        if not any(part in file.stem for files in chosen.values() for file in files):
            raise ValueError(f"{part}: there is no such stage, and no test file with this in its name")
    if chosen["unit"]:
        for word_bits in (32, 64):
            stages[f"unit, {word_bits}-bit"] = functools.partial(unit, word_bits, chosen["unit"], everything)
    if chosen["e2e"]:
        stages["e2e"] = functools.partial(e2e, chosen["e2e"], everything)
    return stages


def run(name: str, stage: Stage) -> Result:
    """Run one stage and show how it goes; what it has to say about failures stands below it."""
    line = environment.ProgressLine(name)
    try:
        result = stage(lambda done, steps: line.show(environment.bar(done, steps)))
    except SetupError as error:
        result = Result(failed=1, output=f"{error}\n")
    result.seconds = line.seconds
    line.end(", ".join(f"{getattr(result, key)} {key}" for key in COUNTS if getattr(result, key)))
    print(result.output, end="", flush=True)
    return result


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a stage, or a part of the name of test files")
    parser.add_argument("--all", action="store_true", help="no sampling: suites try each and every case (takes long)")
    board = parser.add_argument_group("on a board (--device)")
    board.add_argument("--device", metavar="PORT", help="the board's serial port")
    board.add_argument("--yes", action="store_true", help="don't ask before the slot that doesn't run is written over")
    board.add_argument("--address", help="of this machine, as the board reaches it; default: found out")
    board.add_argument(
        "--micropython", type=Path, metavar="FILE", help="what updates bring; default: the board's own, over the cable"
    )
    arguments = parser.parse_args()
    environment.ensure()
    try:
        if arguments.device:
            return show(device(arguments))
        stages = plan(arguments.names, arguments.all)
        if stages.keys() - CHECKS.keys():
            environment.interpreters()  # now, so that a download does not happen in the middle of a test
    except ValueError as error:
        parser.error(str(error))
    except (SetupError, FlashError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")

    return show({name: run(name, stage) for name, stage in stages.items()})


def show(results: dict[str, Result]) -> int:
    """Show the table; return the exit status."""
    print(f"\n{'':<13}{'passed':>9}{'failed':>9}{'skipped':>9}{'seconds':>9}")
    for name, result in results.items():
        print(f"{name:<13}{result.passed:>9}{result.failed:>9}{result.skipped:>9}{result.seconds:>9.1f}")
    passed, failed, skipped = (sum(getattr(result, key) for result in results.values()) for key in COUNTS)
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted")
