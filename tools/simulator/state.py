"""What the desk and the running chip tell each other: a page of memory in a file, and how a run of the chip ended.

Runs on CPython and on MicroPython. The desk writes the wiring and reads back what survives a reset.
"""

import io
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIZE = 4096  # what is wired to the pins begins at wiring.FIRST

# Fields: (offset in the page, format).
RUNNING = (0, "<I")  # flash address of the slot that runs
CAUSE = (4, "<B")  # of the last reset, as machine.reset_cause() gives it
LINK = (5, "<B")  # 1 while the access point is in the air; 2: it is not, and the chip's connections end
REFUSAL = (6, "<B")  # why the access point refuses the chip (wifi_err_reason_t of ESP-IDF), 0: it does not
ASSOCIATED = (7, "<B")  # 1: the station is connected; it stays so over a soft reset
SPEED = (8, "<I")  # thousandths: how many times faster than real the chip's time runs
WATCHDOG = (12, "<I")  # ms of the running watchdog, 0 = none
CLOCK = (16, "<d")  # seconds: the interpreter's time minus the chip's wall clock, which counts from EPOCH
ERASE_US = (24, "<I")  # of a sector
ERASE_BLOCK_US = (28, "<I")  # of a block of 64 KiB
WRITE_US = (32, "<I")  # of 4 KiB
UNIQUE_ID = (36, "<6s")
SSID = (44, "<32s")
KEY = (76, "<64s")
INTERRUPTS = (140, "<B")  # 1: a program runs, and Ctrl-C on the serial console interrupts it
RAW = (141, "<B")  # 1: the prompt is that of the raw REPL
BUSY = (142, "<B")  # not 0: in the midst of what Ctrl-C would not interrupt on the chip
EPOCH = (144, "<I")  # of the chip's clock: seconds after 1970
HOSTNAME = (148, "<32s")
DHCP_NAME = (180, "<32s")  # the name that the DHCP server was told
NOTED = (216, "<Q")  # address of the exception that the interpreter is to raise, see modules/interrupts.py
INTERRUPT = (224, "<Q")  # address of the KeyboardInterrupt for it
WIRED = (296, "<i")  # how many connectors, see wiring.py
USES_PINS = (348, "<i")  # 1: the firmware uses pins, see wiring.py
MEMORY_LENGTH = (1024, "<H")  # of the RTC's memory
MEMORY = 1026  # where it is
MEMORY_SIZE = 2048
SETTINGS = (3200, "<192s")  # what was given to WLAN.config()

# Exit statuses of the interpreter. Any other one, except death by SIGALRM (the watchdog), is a fault of the simulator.
RESET = 64
SOFT_RESET = 65
PANIC = 66
POWER_CUT = 67


class State:
    """The page; `file` is open for reading and writing without buffering. longest: bytes of a field."""

    def __init__(self, file: io.FileIO, longest: int = 64) -> None:
        self.file = file
        self._field = bytearray(longest)

    def get(self, field: "tuple[int, str]") -> "Any":
        """Return a field's value: a number or bytes."""
        self.file.seek(field[0])
        self.file.readinto(self._field)
        return struct.unpack_from(field[1], self._field)[0]

    def set(self, field: "tuple[int, str]", value: "Any") -> None:
        """Change one field."""
        self.file.seek(field[0])
        self.file.write(struct.pack(field[1], value))
