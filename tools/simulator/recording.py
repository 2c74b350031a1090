"""What a chip with `record` did to its flash, to have the flash as of any operation again."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from simulator.flash import ENTRY, ERASE, HALF, Cells


@dataclass(frozen=True)
class Operation:
    """One erase or one programming (then `data` is not empty) of the flash."""

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


def operations(folder: Path) -> list[Operation]:
    """Return the operations of the chip in `folder` since its flash was made; the first one is number 1."""
    log = (folder / "operations").read_bytes()
    data = io.BytesIO((folder / "data").read_bytes())
    result = []
    for position in range(ENTRY, len(log), ENTRY):
        address, kind_and_length = struct.unpack_from("<II", log, position)
        kind, length = kind_and_length >> 24, kind_and_length & 0xFFFFFF
        result.append(Operation(address, length, b"" if kind & ~HALF == ERASE else data.read(length)))
    return result


def power_cuts(folder: Path) -> Iterator[tuple[int, str, bytes]]:
    """Yield (operation, "before" or "middle", the flash that the power cut leaves) for every operation."""
    current = io.BytesIO((folder / "flash.base").read_bytes())
    for number, operation in enumerate(operations(folder), 1):
        before = current.getvalue()
        yield number, "before", before
        half = io.BytesIO(before)
        operation.apply_half(Cells(half))
        yield number, "middle", half.getvalue()
        operation.apply(Cells(current))
