"""An energy meter with a pulse output (S0, IEC 62053-31), counted by interrupts.

What another meter has to have (hw/fitting.py makes them): current(now), begun, rest(), energy(), values(now), keep().
`begun` is when (ticks_ms) the time began that current() tells of, which may be long for a coarse meter.
"""

from time import ticks_diff, ticks_ms

from micropython import const

_WINDOW = const(3000)  # ms that the power is measured over, or the time between two pulses if that is longer
_LEAST = const(20)  # W; less takes too long to measure and is nothing that a car draws


class Meter:
    """Energy by pulses; power from the time between them. The voltage is the nominal one, and the phases share equally.

    count: pulses so far. pulses: a kWh has. store, key: where keep() leaves the count.
    """

    def __init__(self, count, pulses, phases, voltage, store, key):
        self.count = self.kept = count
        self.per_kwh = pulses
        self.phases = phases
        self.voltage = voltage
        self.store = store
        self.key = key
        self.factor = 3600000000 // pulses  # W times ms of one pulse
        self.since = self.begun = self.span = 0
        self.rest()

    def rest(self):
        """The contactor is open: there is no power."""
        self.new = -1  # pulses of this window; its beginning is a pulse too
        self.pulses = 0  # of the window before, which lasted `span` ms; 0: unknown

    def pulse(self, pin):
        """Interrupt: one pulse. It takes no memory."""
        now = ticks_ms()
        self.count += 1
        self.new += 1
        if not self.new:
            self.since = now
            return
        span = ticks_diff(now, self.since)
        if span >= _WINDOW:
            self.pulses = self.new
            self.span = span
            self.begun = self.since
            self.since = now
            self.new = 0

    def power(self, now):
        """Return W. It falls as the next pulse fails to come. now: ticks_ms."""
        if self.new < 0:
            return 0
        passed = ticks_diff(now, self.since)
        most = self.factor * (self.new + 1) // passed if passed > _WINDOW else self.factor
        if most < _LEAST:
            self.rest()
            return 0
        return min(self.factor * self.pulses // self.span, most) if self.pulses else 0

    def current(self, now):
        """Return mA of each phase."""
        return self.power(now) * 1000 // (self.voltage * self.phases)

    def energy(self):
        """Return Wh in all."""
        return self.count * 1000 // self.per_kwh

    def values(self, now):
        """Return {measurand: value}, see Outlet.values."""
        return {
            "Energy.Active.Import.Register": self.energy(),
            "Power.Active.Import": self.power(now),
            "Current.Import": self.current(now) / 1000,
            "Voltage": self.voltage,
        }

    def keep(self):
        """Make the count durable if it changed."""
        count = self.count
        if count != self.kept:
            self.store.set(self.key, b"%d %d" % (count, self.per_kwh))
            self.kept = count
