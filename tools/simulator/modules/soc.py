# ruff: noqa: SIM115
"""What the modules of the simulated chip share: the C library, the page shared with the desk, the flash, the console.

The files are opened here, before the launcher takes the desk's file system away.
"""

import io
import os
import struct
import sys
import time

import ffi
import uctypes
import vfs
from interrupts import WORD, find, traceback
from state import BUSY, ERASE_BLOCK_US, ERASE_US, INTERRUPT, NOTED, PANIC, POWER_CUT, SIZE, SOFT_RESET, WRITE_US, State

from flash import SECTOR, Flash

_OURS = 'File "tools/simulator/'  # in a traceback; on the chip all this is C and has no lines there

MACHINE = "Generic ESP32 module with ESP32"

libc = ffi.open(None)
leave = libc.func("v", "_exit", "i")  # ends the process at once: no `finally`, nothing flushed


def memory(size):
    """Return memory from outside MicroPython's heap."""
    return memoryview(ffi.as_bytearray(libc.func("P", "malloc", "L")(size), size))


def panic(text):
    """Reset as ESP-IDF does after a fatal error."""
    print(text)
    leave(PANIC)


def soft_reset():
    """Start MicroPython anew."""
    print("MPY: soft reboot")
    leave(SOFT_RESET)


def report(error):
    """Print an exception that nobody has caught."""
    try:
        text = io.StringIO()
        sys.print_exception(error, text)
        for line in text.getvalue().split("\n"):
            if line and _OURS not in line:
                print(line)
    except (MemoryError, UnicodeError):  # a name that is no UTF-8 may be in it
        sys.print_exception(error)


class _Whole:
    """Keeps Ctrl-C away from what it would not interrupt on the chip, as that is C there. The desk minds BUSY."""

    _late = False  # it came right before BUSY was set

    def __enter__(self):
        page[BUSY[0]] += 1
        try:
            if page:  # any jump: there the interpreter looks what it has to raise
                return
        except KeyboardInterrupt:
            self._late = True

    def __exit__(self, kind, error, traceback):
        page[BUSY[0]] -= 1
        if self._late and not page[BUSY[0]]:
            self._late = False
            struct.pack_into(WORD, _traceback, 0, 0)
            struct.pack_into(WORD, _noted, 0, _interrupt)


def load(name):
    """Return a module of the simulated chip that is in memory only if needed, be the desk's files away or not."""
    path = sys.path[:]
    known = set(sys.modules)
    vfs.mount(_desk, "/desk")
    sys.path[:] = ("/desk",)
    try:
        return __import__(name)
    finally:
        sys.path[:] = path
        vfs.umount("/desk")
        for loaded in set(sys.modules) - known:
            del sys.modules[loaded]


def _end_with_the_desk():
    """Have the kernel kill this process when the desk's ends, however that comes about. Linux can do that."""
    try:
        libc.func("i", "prctl", "iL")(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    except OSError:
        pass


def _power_fails():
    leave(POWER_CUT)


def _open_flash():
    data = open("data", "ab", 0) if "data" in os.listdir() else None
    files = open("flash.bin", "r+b", 0), open("operations", "r+b", 0), data
    opened = Flash(*files, _power_fails, time.sleep_us, memory(2 * SECTOR))
    opened.erase_us = state.get(ERASE_US)
    opened.erase_block_us = state.get(ERASE_BLOCK_US)
    opened.write_us = state.get(WRITE_US)
    return opened


def _map():
    """Return the page as bytes; the desk sees what is written there at once."""
    map_file = libc.func("P", "mmap", "PLiiil")
    return uctypes.bytearray_at(map_file(0, SIZE, 3, 1, state.file.fileno(), 0), SIZE)  # for all, shared


def _open_noted():
    """Tell the desk where a KeyboardInterrupt is noted; return that place, what is written there, and its traceback."""
    address, interrupt = find()
    state.set(INTERRUPT, interrupt)
    state.set(NOTED, address)
    if not address:
        return bytearray(8), 0, bytearray(8)
    return uctypes.bytearray_at(address, 8), interrupt, uctypes.bytearray_at(traceback(interrupt), 8)


_end_with_the_desk()
_desk = vfs.VfsPosix(sys.path[1])  # where the modules of the simulated chip are
state = State(open("state", "r+b", 0))
page = _map()
whole = _Whole()
_noted, _interrupt, _traceback = _open_noted()
flash = _open_flash()
