"""What a chip with `record` did to its flash: gives the flash that a power cut at any operation would have left."""

from __future__ import annotations

import io
import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simulator.flash import ENTRY, ERASE, HALF, Cells


@dataclass(frozen=True)
class Operation:
    """One operation on the flash: programming `data`, or an erase if there is none."""

    address: int
    length: int
    data: bytes

    def apply(self, cells: Cells) -> None:
        """Do it again."""
        if self.data:
            cells.program(self.address, self.data)
        else:
            cells.erase(self.address, self.length)

    def apply_half(self, cells: Cells) -> None:
        """Do it again, with the power failing in its middle."""
        if self.data:
            cells.program_half(self.address, self.data)
        else:
            cells.erase_half(self.address, self.length)


@dataclass(frozen=True)
class PowerCut:
    """A power cut before or in the middle of an operation (the first one is number 1), and the flash that it leaves."""

    operation: int
    how: Literal["before", "middle"]
    flash: bytes


class Recording:
    """All operations on a chip's flash since it was manufactured. The chip may go on; this stays as it is."""

    def __init__(self, folder: Path) -> None:
        self._base = (folder / "flash.base").read_bytes()
        log = (folder / "operations").read_bytes()
        data = io.BytesIO((folder / "data").read_bytes())
        self.operations = []
        for position in range(ENTRY, len(log), ENTRY):
            address, kind_and_length = struct.unpack_from("<II", log, position)
            kind, length = kind_and_length >> 24, kind_and_length & 0xFFFFFF
            programmed = b"" if kind & ~HALF == ERASE else data.read(length)
            self.operations.append(Operation(address, length, programmed))

    def power_cuts(self, chosen: Container[int] | None = None) -> Iterator[PowerCut]:
        """Yield both power cuts of every operation, or of those whose number is in `chosen`."""
        current = io.BytesIO(self._base)
        for number, operation in enumerate(self.operations, 1):
            if chosen is None or number in chosen:
                before = current.getvalue()
                yield PowerCut(number, "before", before)
                half = io.BytesIO(before)
                operation.apply_half(Cells(half))
                yield PowerCut(number, "middle", half.getvalue())
            operation.apply(Cells(current))
