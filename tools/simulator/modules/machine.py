"""machine: what the firmware uses of it. A reset ends the process; the desk starts the next one."""

from array import array

import clock
from soc import leave, libc, state
from state import CAUSE, RESET, SPEED, UNIQUE_ID, WATCHDOG

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5


def reset():
    """Reset the chip. Nothing of the program runs any more."""
    leave(RESET)


def soft_reset():
    """Start MicroPython anew, without the bootloader."""
    raise SystemExit


def reset_cause():
    """Return why the chip was reset."""
    return state.get(CAUSE)


def unique_id():
    """Return the MAC address."""
    return state.get(UNIQUE_ID)


class WDT:
    """The watchdog: a timer of the desk's kernel whose signal kills the process, whatever that is doing."""

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        state.set(WATCHDOG, timeout)
        microseconds = timeout * 1000000 // state.get(SPEED)  # the kernel's time is not sped up
        self._timer = array("l", (0, 0, microseconds // 1000000, microseconds % 1000000))
        self._set_timer = libc.func("i", "setitimer", "iPP")
        self.feed()

    def feed(self):
        """Start the timer again."""
        self._set_timer(0, self._timer, None)


class Pin:
    """An output; nothing is wired to it."""

    OUT = 3

    def __init__(self, id, mode=-1, pull=-1, *, value=0):
        if id not in b"\0\1\2\3\4\5\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x15\x16\x17\x19\x1a\x1b\x20\x21":
            raise ValueError("invalid pin" if id not in b"\x22\x23\x24\x27" else "pin can only be input")
        self.value(value)

    def value(self, level=None):
        """Return the level, or set it by the truth of what is given."""
        if level is None:
            return self._level
        self._level = bool(level) + 0


class RTC:
    """The wall clock."""

    def datetime(self, date=None):
        """Return or set (year, month, day, weekday, hours, minutes, seconds, microseconds)."""
        if date is None:
            now = clock.seconds()
            year, month, day, hours, minutes, seconds, weekday, _ = clock.gmtime(int(now))
            return year, month, day, weekday, hours, minutes, seconds, int(now % 1 * 1000000)
        year, month, day, _, hours, minutes, seconds, microseconds = date
        clock.set_seconds(clock.mktime((year, month, day, hours, minutes, seconds, 0, 0)) + microseconds / 1000000)
