"""Size of the application."""

from __future__ import annotations

import build
from benchmarks.row import Row, Show
from desk import OLD
from simulator.interpreter import Interpreter

BUNDLE = 33 * 4096  # bytes that the application bundle has to stay below


async def size(interpreter: Interpreter, show: Show) -> list[Row]:
    """Bytes of each file of the application, as tools/build.py puts it into an update file (mpy-cross -O3)."""
    files = build.application(OLD)
    rows = [Row(f"size.{name}", name, len(files[name]), "B") for name in sorted(files)]
    compiled = sum(len(content) for name, content in files.items() if name.endswith(".mpy"))
    rows.append(Row("size.mpy", "all .mpy", compiled, "B"))
    rows.append(Row("size.bundle", "application bundle", len(build.bundle(files, OLD)), "B", BUNDLE - 1))
    return rows
