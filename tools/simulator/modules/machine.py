"""machine: what the firmware uses of it. A reset ends the process; the desk starts the next one."""

import sys
from array import array

import clock
import vfs
from soc import leave, libc, state
from state import CAUSE, RESET, SPEED, UNIQUE_ID, WATCHDOG

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_ON_PINS = "Pin", "PWM", "ADC", "UART"
_desk = vfs.VfsPosix(sys.path[1])  # where the modules of the simulated chip are


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


def __getattr__(name):
    if name not in _ON_PINS:
        raise AttributeError(name)
    load_pins()
    return globals()[name]


def load_pins():
    """Load Pin, PWM, ADC and UART, which take room on the heap, whether the launcher has taken the desk away or not."""
    path = sys.path[:]
    vfs.mount(_desk, "/desk")
    sys.path[:] = ("/desk",)
    try:
        from pins import ADC, PWM, UART, Pin

        globals().update({"Pin": Pin, "PWM": PWM, "ADC": ADC, "UART": UART})
    finally:
        sys.path[:] = path
        vfs.umount("/desk")
        for name in ("pins", "car", "wiring"):
            sys.modules.pop(name, None)
