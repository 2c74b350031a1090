"""The chip's flash in a file: NOR cells, a log of operations, durations, and power cuts at any operation.

Runs on CPython (the bootloader, the power-cut tests) and on MicroPython (the running firmware), where it makes next to
no garbage on the heap. An operation erases one sector or block, or programs bytes inside one sector.
"""

import io
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    File = io.FileIO | io.BytesIO

SIZE = 4 * 1024 * 1024
SECTOR = 4096
BLOCK = 65536  # the larger unit of erasing

# Kinds of operations in the log.
PROGRAM = 1
ERASE = 2
HALF = 4  # added to the kind: the power failed in its middle

# Where the power fails.
BEFORE = 1
MIDDLE = 2

# The log: struct (number of the operation at which the power fails or 0, BEFORE or MIDDLE), then one entry for each
# operation, numbered from 1: (address, kind << 24 | length).
ENTRY = 8


class Cells:
    """The memory cells. Programming only clears bits, erasing sets all bits of whole sectors."""

    def __init__(self, file: "File", scratch: memoryview | None = None) -> None:
        """`scratch`: two sectors of memory to work with; on MicroPython they come from outside the heap."""
        scratch = scratch or memoryview(bytearray(2 * SECTOR))
        self._file = file
        self._old = scratch[:SECTOR]
        self._blank = scratch[SECTOR:]
        self._blank[:] = b"\xff" * SECTOR

    def read(self, address: int, buffer: bytearray | memoryview) -> None:
        """Fill `buffer` with what is at `address`."""
        self._file.seek(address)
        self._file.readinto(buffer)

    def erase(self, address: int, length: int) -> None:
        """Set all bits."""
        self._file.seek(address)
        while length > 0:
            self._file.write(self._blank[:length])
            length -= SECTOR

    def program(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Clear the bits that are 0 in `data`, which lies within one sector."""
        length = len(data)
        old = self._old[:length]
        self.read(address, old)
        if old != self._blank[:length]:
            for i in range(length):
                old[i] &= data[i]
            data = old
        self._file.seek(address)
        self._file.write(data)

    def erase_half(self, address: int, length: int) -> None:
        """Leave what a power failure during an erase leaves: here blank, there some more bits set."""
        Cells.erase(self, address, length // 2)
        for start in range(address + length // 2, address + length, SECTOR // 2):
            old = self._old[: SECTOR // 2]
            self.read(start, old)
            for i in range(len(old)):
                old[i] |= 0x55
            self._file.seek(start)
            self._file.write(old)

    def program_half(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Leave what a power failure during programming leaves: half of the data and half of one more byte."""
        half = len(data) // 2
        Cells.program(self, address, data[:half])
        Cells.program(self, address + half, bytes((data[half] | 0x0F,)))


class Flash(Cells):
    """The cells with everything that happens to them: counted, logged, taking time, cut off from power."""

    def __init__(
        self,
        file: "File",
        log: "File",
        data: "File | None",
        power_fails: "Callable[[], None]",
        sleep_us: "Callable[[int], None] | None" = None,
        scratch: memoryview | None = None,
    ) -> None:
        """`data` gets what is programmed, one after the other, if it is a file.

        `power_fails` is called when the power fails and does not return. `sleep_us` makes operations last.
        """
        super().__init__(file, scratch)
        self.erase_us = self.erase_block_us = self.write_us = 0
        self._log = log
        self._data = data
        self._power_fails = power_fails
        self._sleep_us = sleep_us
        self._entry = bytearray(ENTRY)
        self.count = log.seek(0, 2) // ENTRY - 1

    def erase(self, address: int, length: int) -> None:
        """Erase whole sectors, those of a whole block at once, as ESP-IDF's esp_flash_erase_region does."""
        end = address + length
        while address < end:
            step, duration = SECTOR, self.erase_us
            if address % BLOCK == 0 and end - address >= BLOCK:
                step, duration = BLOCK, self.erase_block_us
            if self._fails_in(ERASE, address, step, duration):
                self.erase_half(address, step)
                self._power_fails()
            Cells.erase(self, address, step)
            address += step

    def program(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Program data of any length."""
        view = memoryview(data)
        while len(view):
            part = view[: SECTOR - address % SECTOR]
            length = len(part)
            fails = self._fails_in(PROGRAM, address, length, self.write_us * length // SECTOR)
            if self._data:
                self._data.write(part)
            if fails:
                self.program_half(address, part)
                self._power_fails()
            Cells.program(self, address, part)
            address += length
            view = view[length:]

    def _fails_in(self, kind: int, address: int, length: int, duration: int) -> bool:
        """Log an operation that is about to happen; return whether the power fails in its middle."""
        self.count += 1
        self._log.seek(0)
        self._log.readinto(self._entry)
        failing, how = struct.unpack("<II", self._entry)
        if failing != self.count:
            how = 0
        if how == BEFORE:
            self._power_fails()
        if how:
            kind |= HALF
        if duration and self._sleep_us:
            self._sleep_us(duration)
        struct.pack_into("<II", self._entry, 0, address, kind << 24 | length)
        self._log.seek(ENTRY * self.count)
        self._log.write(self._entry)
        return bool(how)
