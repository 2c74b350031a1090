"""Where the interpreter looks for a KeyboardInterrupt that is to be raised. Needed at the start only.

The unix port raises it right where a signal finds it, be it in the midst of the garbage collector; an ESP32 notes it,
and raises it between two bytecodes. The interpreter can do that, too: the desk writes to where it is noted. Both
addresses are those of static memory, and are found by what is there. (0, 0) if that fails; the desk then does without.
"""

import struct
import sys

import ffi
import micropython
import uctypes

_SIGINT = 2
_SIGUSR1 = 10
_BEFORE = 1024  # bytes: the state of the main thread is so close before the exception
_FURTHER = 3  # words from the dict of globals to the exception that is to be raised

WORD = "<Q" if sys.maxsize >> 32 else "<I"


def find():
    """Return the addresses of what is noted, and of the KeyboardInterrupt; (0, 0) when they are not where expected."""
    libc = ffi.open(None)
    micropython.kbd_intr(3)
    exception = 0
    try:
        libc.func("i", "raise", "i")(_SIGINT)
    except KeyboardInterrupt as error:
        exception = _address(error)
    size = struct.calcsize(WORD)
    memory = uctypes.bytearray_at(exception - _BEFORE, _BEFORE)
    known = struct.pack(WORD, _address(globals()))
    for offset in range(0, _BEFORE - _FURTHER * size, size):
        noted = offset + _FURTHER * size
        if memory[offset : offset + size] == known and not any(memory[noted : noted + size]):
            try:
                struct.pack_into(WORD, memory, noted, exception)
                for _ in range(2):
                    pass
                struct.pack_into(WORD, memory, noted, 0)
            except KeyboardInterrupt:
                _be_woken(libc)
                return exception - _BEFORE + noted, exception
    return 0, 0


def traceback(exception):
    """Return the address of an exception's traceback, 0 there for none."""
    return exception + 2 * struct.calcsize(WORD)


def _address(thing):
    """Return where something is; id() loses a bit of addresses from 1 GiB to 2 GiB."""
    number = id(thing)
    return number if number >= 0 else number + (1 << 31)


def _be_woken(libc):
    """Let a signal do nothing but end the system call that the interpreter waits in."""
    libc.func("P", "signal", "iP")(_SIGUSR1, libc.addr("abs"))
    libc.func("i", "siginterrupt", "ii")(_SIGUSR1, 1)
