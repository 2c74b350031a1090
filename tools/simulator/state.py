"""What the desk and the running chip tell each other: a page of memory in a file, and how a run of the chip ended.

Runs on CPython and on MicroPython. The desk writes the wiring and reads back what survives a reset.
"""

import io
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIZE = 1024  # what is wired to the pins begins at wiring.FIRST

# Fields: (offset in the page, format).
RUNNING = (0, "<I")  # flash address of the slot that runs
CAUSE = (4, "<B")  # of the last reset, as machine.reset_cause() gives it
LINK = (5, "<B")  # 1 while the access point is in the air; 2: it is not, and the chip's connections end
SPEED = (8, "<I")  # thousandths: how many times faster than real the chip's time runs
WATCHDOG = (12, "<I")  # ms of the running watchdog, 0 = none
CLOCK = (16, "<d")  # seconds: the interpreter's time minus the chip's wall clock, which counts from 2000
ERASE_US = (24, "<I")  # of a sector
ERASE_BLOCK_US = (28, "<I")  # of a block of 64 KiB
WRITE_US = (32, "<I")  # of 4 KiB
UNIQUE_ID = (36, "<6s")
SSID = (44, "<32s")
KEY = (76, "<64s")
WIRED = (296, "<i")  # how many connectors, see wiring.py

# Exit statuses of the interpreter. Any other one, except death by SIGALRM (the watchdog), is a fault of the simulator.
RESET = 64
SOFT_RESET = 65
PANIC = 66
POWER_CUT = 67


class State:
    """The page; `file` is open for reading and writing without buffering."""

    def __init__(self, file: io.FileIO) -> None:
        self.file = file
        self._field = bytearray(64)

    def get(self, field: "tuple[int, str]") -> "Any":
        """Return a field's value: a number or bytes."""
        self.file.seek(field[0])
        self.file.readinto(self._field)
        return struct.unpack_from(field[1], self._field)[0]

    def set(self, field: "tuple[int, str]", value: "Any") -> None:
        """Change one field."""
        self.file.seek(field[0])
        self.file.write(struct.pack(field[1], value))
