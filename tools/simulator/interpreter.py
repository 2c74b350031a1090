"""What the tools need to know of a unix port of MicroPython in order to run it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Interpreter:
    """A unix port of MicroPython; tools/environment.py finds it."""

    command: tuple[str, ...]  # what argv starts with: the program, or a dynamic loader with its options and the program
    word_bits: int  # 32 or 64; with 32 objects take as much of the heap as on ESP32
    faketime: Path | None  # libfaketime for this program (works through LD_PRELOAD), to make its time run faster
    version: tuple[int, ...]  # of MicroPython: (1, 25, 0)
