"""The module `time` as on ESP32: the wall clock counts from an epoch, 2000, and starts there when the power comes.

The monotonic clock is the interpreter's own: asyncio's C code reads that one.
"""

from time import *  # noqa: F403
from time import gmtime as _gmtime
from time import mktime as _mktime
from time import time as _time

from soc import state as _state
from state import CLOCK as _CLOCK
from state import EPOCH as _EPOCH

_epoch = _state.get(_EPOCH)
_offset = _state.get(_CLOCK)


def seconds():
    """Return the wall clock with its fraction of a second (for machine.RTC)."""
    return _time() - _offset


def set_seconds(value):
    """Set the wall clock (for machine.RTC)."""
    global _offset
    _offset = _time() - value
    _state.set(_CLOCK, _offset)


def time():
    """Return the whole seconds since the epoch."""
    return int(_time() - _offset)


def time_ns():
    """Return the nanoseconds since then."""
    return int(seconds() * 1000000) * 1000


def gmtime(seconds=None):
    """Return (year, month, mday, hour, minute, second, weekday, yearday)."""
    return _gmtime((time() if seconds is None else seconds) + _epoch)[:8]


localtime = gmtime


def mktime(date):
    """Return the seconds since the epoch of a tuple as gmtime() gives it."""
    return int(_mktime(date)) - _epoch
