"""Wall-clock time. MicroPython counts from 2000 on ESP32 and from 1970 on a desk; here it is always Unix time.

All of it is integers: a float of single precision, as ESP32 has them, tells times of today to two minutes.
"""

import time

import machine
from micropython import const

_FROM_1970_TO_2000 = const(946684800)
_START_OF_2024 = const(1704067200)  # an earlier time means that nobody has set the clock yet


class Clock:
    """The real-time clock.

    The chip keeps it across machine.reset(), soft resets, panics and watchdog resets. It is lost without power and by
    the button EN, which is the same to the chip: it counts from 2000 then, which now() takes for "not set". The uptime
    begins anew with each reset.
    """

    def __init__(self):
        self._epoch = _FROM_1970_TO_2000 if time.gmtime(0)[0] == 2000 else 0
        self.ticks = time.ticks_ms()
        self.seconds = 0

    def now(self):
        """Return the time in whole seconds since 1970 UTC, or None while the clock has not been set."""
        seconds = int(time.time()) + self._epoch
        return seconds if seconds >= _START_OF_2024 else None

    def uptime(self):
        """Return whole seconds since this was made, whatever is done to the clock. To be called once in six days."""
        passed = time.ticks_diff(time.ticks_ms(), self.ticks) // 1000
        self.ticks = time.ticks_add(self.ticks, passed * 1000)
        self.seconds += passed
        return self.seconds

    def set(self, unix_seconds):
        """Set the clock; return whether that was done: times before 2024 are refused, since nobody means them."""
        if unix_seconds < _START_OF_2024:
            return False
        year, month, day, hour, minute, second, weekday, _ = time.gmtime(unix_seconds - self._epoch)
        machine.RTC().datetime((year, month, day, weekday, hour, minute, second, 0))
        return True
