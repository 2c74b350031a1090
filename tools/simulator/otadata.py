"""The partition "otadata": which OTA slot boots, and whether its firmware is on trial (esp_ota_ops.c).

Two sectors with one record each. Runs on CPython and on MicroPython.
"""

import struct
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from simulator.flash import Cells

NEW, PENDING, VALID, INVALID, ABORTED = range(5)
BLANK = 0xFFFFFFFF  # no record, and the state UNDEFINED


class Record:
    """One record; `write` makes it durable."""

    def __init__(self, flash: "Cells", address: int) -> None:
        self._flash = flash
        self._address = address
        data = bytearray(32)
        flash.read(address, data)
        self.sequence, self._label, self.state, self._crc = struct.unpack("<I20sII", data)

    def checks(self) -> bool:
        """Return whether there is a record whose checksum is right."""
        return bool(self.sequence != BLANK and self._crc == crc32(struct.pack("<I", self.sequence), BLANK))

    def is_invalid(self) -> bool:
        """Return whether the record is blank or its firmware was given up (a wrong checksum is something else)."""
        return self.sequence == BLANK or self.state in (INVALID, ABORTED)

    def write(self, state: int, sequence: int | None = None) -> None:
        """Change the record: erase the sector, then program it. Between the two there is no record on flash."""
        self.state = state
        if sequence is not None:
            self.sequence = sequence
            self._crc = crc32(struct.pack("<I", sequence), BLANK)
        self._flash.erase(self._address, 4096)
        self._flash.program(self._address, struct.pack("<I20sII", self.sequence, self._label, state, self._crc))


def read(flash: "Cells", address: int) -> list[Record]:
    """Return both records of the partition at `address`."""
    return [Record(flash, address), Record(flash, address + 4096)]


def active(records: list[Record]) -> Record | None:
    """Return the record that decides, or None: the one with the highest sequence of the sound ones not given up."""
    sound = [record for record in records if record.checks() and not record.is_invalid()]
    return max(sound, key=lambda record: record.sequence) if sound else None


def slot(sequence: int, slots: int) -> int:
    """Return the index of the slot that a sequence number stands for."""
    return (sequence - 1 & 0xFFFFFFFF) % slots


def next_sequence(sequence: int, index: int, slots: int) -> int:
    """Return the lowest sequence number from `sequence` on that stands for the slot `index`."""
    result = (index + 1) % slots
    while result < sequence:
        result += slots
    return result
