"""The status LED: one colour, so that its rhythm has to tell."""

from micropython import const

_TURNS = const(4)  # of the EVSE's loop, 200 ms, for each of the eight bits of a pattern

# On for each bit that is set, the lowest first.
PATTERNS = {
    "Available": 0xFF,  # steady
    "Preparing": 0x0F,  # slow
    "Charging": 0x3F,  # slow, mostly on
    "SuspendedEV": 0x03,  # slow, mostly off
    "SuspendedEVSE": 0x03,
    "Finishing": 0x0F,
    "Reserved": 0x05,  # twice, then a pause
    "Unavailable": 0,  # off
    "Faulted": 0x55,  # fast
}


class Led:
    """An LED. pin: 1 is on."""

    def __init__(self, pin):
        self.pin = pin
        self.count = 0
        self.show("Available")

    def show(self, status):
        """Show a ChargePointStatus."""
        self.pattern = PATTERNS.get(status, 0)

    def turn(self):
        """Go on, once in each turn of the EVSE's loop."""
        self.count = count = (self.count + 1) % (8 * _TURNS)
        self.pin.value(self.pattern >> count // _TURNS & 1)
