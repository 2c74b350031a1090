"""Measure the firmware: size, memory, speed, beside other ways of doing the same. It takes about three minutes.

  tools/bench.py                   everything
  tools/bench.py heap calls        these measures; --list names them and says how each is taken
  tools/bench.py --json FILE       keep the figures
  tools/bench.py --compare FILE    what has changed since those
  tools/bench.py --micropython FILE wire duration
                                   with a real MicroPython for ESP32 in the update files

All of it runs on the 32-bit unix port of MicroPython, whose objects take as much of the heap as on an ESP32; most runs
on the simulated chip. Other work on the machine shows in the figures about time. The exit status is 1 if a goal is
missed.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import inspect
import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import environment

if TYPE_CHECKING:
    from benchmarks.row import Measure, Row
    from simulator.interpreter import Interpreter


def measures() -> dict[str, Measure]:
    """Return what can be measured, in the order in which it is."""
    from benchmarks import installed, memory, profiles, sizes, speed, updates

    functions = (
        sizes.size,
        profiles.profiles,
        installed.installed,
        memory.heap,
        memory.smallest_heap,
        memory.names,
        memory.garbage,
        memory.stack,
        speed.throughput,
        speed.stalls,
        speed.calls,
        profiles.evse_loop,
        speed.start,
        updates.wire,
        updates.duration,
    )
    return {function.__name__.replace("_", "-"): function for function in functions}


def take(interpreter: Interpreter, chosen: dict[str, Measure]) -> list[Row]:
    """Take the measures, telling how far they are."""
    rows: list[Row] = []
    for name, measure in chosen.items():
        line = environment.ProgressLine(name)
        try:
            rows += asyncio.run(measure(interpreter, line.show))
        except BaseException:
            line.end("failed")
            raise
        line.end("done")
    return rows


def report(interpreter: Interpreter, rows: list[Row]) -> dict[str, object]:
    """Return the figures, and what has to be known to judge them, as they go into a file."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "micropython": ".".join(map(str, interpreter.version)),
        "word_bits": interpreter.word_bits,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "rows": {
            row.name: {"what": row.what, "value": row.value, "unit": row.unit, "goal": row.goal, "holds": row.holds}
            for row in rows
        },
    }


def show_table(title: str, rows: list[Row], earlier: dict[str, float] | None) -> None:
    """Print the figures, beside the earlier ones if there are any."""
    from rich.console import Console
    from rich.table import Table

    from benchmarks.row import number

    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("", "unit", "goal", *(("before", "change") if earlier is not None else ())):
        table.add_column(heading, justify="left" if heading == "unit" else "right", no_wrap=True)
    for row in rows:
        style = "" if row.holds else "red"
        cells = [row.what, number(row.value), row.unit, row.goal + ("" if row.holds else " missed")]
        if earlier is not None:
            before = earlier.get(row.name)
            cells += ["", "new"] if before is None else [number(before), change(before, row.value)]
        table.add_row(*cells, style=style, end_section=row is rows[-1])
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def change(before: float, after: float) -> str:
    """Return what became of a figure, in percent."""
    if before == after:
        return "="
    return f"{100 * (after - before) / before:+.1f} %" if before else "was 0"


def load(path: Path) -> dict[str, float]:
    """Return the figures in a file of --json."""
    try:
        return {name: float(row["value"]) for name, row in json.loads(path.read_text())["rows"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"bench.py: {path} has no figures of --json: {error!r}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to measure (default: everything)")
    parser.add_argument("--list", action="store_true", help="name the measures and say how each is taken")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there")
    parser.add_argument("--compare", metavar="FILE", type=Path, help="figures of an earlier --json")
    parser.add_argument("--micropython", metavar="FILE", type=Path, help="an image for wire and duration")
    return parser.parse_args()


def set_image(path: Path) -> None:
    """Have updates measured with this MicroPython in them."""
    import build
    from benchmarks import updates

    try:
        updates.micropython = build.app_image(path.read_bytes())
    except (build.BuildError, OSError) as error:
        sys.exit(f"bench.py: {path}: {error}")


def main() -> int:
    """Run the command; return the exit status."""
    from benchmarks.setting import BenchError
    from build import BuildError

    arguments = parse()
    if arguments.micropython:
        set_image(arguments.micropython)
    known = measures()
    if arguments.list:
        for name, measure in known.items():
            print(f"{name}\n    {(inspect.getdoc(measure) or '').replace(chr(10), chr(10) + '    ')}\n")
        return 0
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        sys.exit(f"bench.py: there is no {' '.join(unknown)}; there are {' '.join(known)}")
    earlier = load(arguments.compare) if arguments.compare else None
    try:
        interpreter = environment.interpreters()[0]
        rows = take(interpreter, {name: known[name] for name in arguments.names or known})
    except (environment.SetupError, BenchError, BuildError, TimeoutError) as error:
        sys.exit(f"bench.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    figures = report(interpreter, rows)
    title = f"MicroPython {figures['micropython']}, {interpreter.word_bits} bits; {figures['machine']}"
    show_table(title, rows, earlier)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    missed = [row.what.strip() for row in rows if not row.holds]
    if missed:
        print(f"{len(missed)} goals missed: {'; '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    environment.ensure()
    sys.exit(main())
