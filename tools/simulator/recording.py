"""What a chip with `record` did to its flash: gives the flash that a power cut at any operation would have left.

And reads what such a flash says, independently of the chip's own code: NVS, and whether a firmware is on trial.
"""

from __future__ import annotations

import io
import struct
from binascii import crc32
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simulator import otadata, partitions
from simulator.flash import ENTRY, ERASE, HALF, SECTOR, Cells


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


def slot_on_trial(flash: bytes) -> int | None:
    """Return the index of the slot whose firmware is on trial, None if none is."""
    cells = Cells(io.BytesIO(flash))
    slots = len(partitions.ota_slots(cells))
    active = otadata.active(otadata.read(cells, partitions.find(cells, partitions.DATA, partitions.OTADATA)[0][2]))
    return otadata.slot(active.sequence, slots) if active and active.state == otadata.PENDING else None


def blob(flash: bytes, namespace: str, key: str) -> bytes | None:
    """Return a value of NVS, or None; modules/nvs.py describes the layout."""
    name = f"{namespace}\0{key}".encode()
    latest: dict[bytes, bytes] = dict(_records(flash))
    if not latest.get(name):
        return None
    length, version, chunks = struct.unpack("<IBB", latest[name])
    value = b"".join(latest[name + bytes((0, version, number))] for number in range(chunks))
    assert len(value) == length, (name, value, length)
    return value


def _records(flash: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, value) of every sound record in NVS, the oldest first; a value of b"" was erased."""
    _, _, address, size, _, _ = partitions.find(Cells(io.BytesIO(flash)), partitions.DATA, label="nvs")[0]
    pages = []
    for start in range(address, address + size, SECTOR):
        sequence, crc = struct.unpack_from("<4sI", flash, start)
        if crc == crc32(sequence, 1):
            pages.append((int.from_bytes(sequence, "little"), start))
    for _, start in sorted(pages):
        position, end = start + 8, start + SECTOR
        while position + 8 <= end:
            crc, _, name_length, length = struct.unpack_from("<IBBH", flash, position)
            following = position + 8 + name_length + length
            if following > end or crc != crc32(flash[position + 4 : following]):
                break
            value = position + 8 + name_length
            yield flash[position + 8 : value], flash[value:following]
            position = following
