"""machine: what the firmware uses of it. A reset ends the process; the desk starts the next one."""

from array import array

import clock
import soc
from state import CAUSE, MEMORY, MEMORY_LENGTH, MEMORY_SIZE, RESET, SPEED, UNIQUE_ID, WATCHDOG

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_ON_PINS = "Pin", "PWM", "ADC", "UART"


def reset():
    """Reset the chip. Nothing of the program runs any more."""
    soc.leave(RESET)


def soft_reset():
    """Start MicroPython anew, without the bootloader."""
    raise SystemExit


def reset_cause():
    """Return why the chip was reset."""
    return soc.state.get(CAUSE)


def unique_id():
    """Return the MAC address."""
    return soc.state.get(UNIQUE_ID)


class WDT:
    """The watchdog: a timer of the desk's kernel whose signal kills the process, whatever that is doing."""

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        soc.state.set(WATCHDOG, timeout)
        microseconds = timeout * 1000000 // soc.state.get(SPEED)  # the kernel's time is not sped up
        self._timer = array("l", (0, 0, microseconds // 1000000, microseconds % 1000000))
        self._set_timer = soc.libc.func("i", "setitimer", "iPP")
        self.feed()

    def feed(self):
        """Start the timer again."""
        self._set_timer(0, self._timer, None)


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

    def memory(self, data=None):
        """Return or set at most 2048 bytes, which survive everything but a loss of power."""
        if data is None:
            return bytes(soc.page[MEMORY : MEMORY + soc.state.get(MEMORY_LENGTH)])
        if len(data) > MEMORY_SIZE:
            raise ValueError("buffer too long")
        soc.page[MEMORY : MEMORY + len(data)] = data
        soc.state.set(MEMORY_LENGTH, len(data))


def __getattr__(name):
    if name not in _ON_PINS:
        raise AttributeError(name)
    load_pins()
    return globals()[name]


def load_pins():
    """Load Pin, PWM, ADC and UART, which take room on the heap."""
    pins = soc.load("pins")
    for name in _ON_PINS:
        globals()[name] = getattr(pins, name)
