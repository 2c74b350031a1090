# ruff: noqa: SIM115
"""What the modules of the simulated chip share: the C library, the page shared with the desk, the flash.

The files are opened here, before the launcher takes the desk's file system away.
"""

import os
import time

import ffi
from flash import SECTOR, Flash
from state import ERASE_BLOCK_US, ERASE_US, PANIC, POWER_CUT, WRITE_US, State

libc = ffi.open(None)
leave = libc.func("v", "_exit", "i")  # ends the process at once: no `finally`, nothing flushed


def memory(size):
    """Return memory from outside MicroPython's heap."""
    return memoryview(ffi.as_bytearray(libc.func("P", "malloc", "L")(size), size))


def panic(text):
    """Reset as ESP-IDF does after a fatal error."""
    print(text)
    leave(PANIC)


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


_end_with_the_desk()
state = State(open("state", "r+b", 0))
flash = _open_flash()
