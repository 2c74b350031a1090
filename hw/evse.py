"""The EVSE: what switches the energy. Its loop asks nobody and waits for nobody.

The pilot is hw/pilot.py, the rules are hw/safety.py; hw/fitting.py puts the parts together. IEC 61851-1, Annex A, gives
the times: a contactor opens within 100 ms when the car leaves state C or D, and closes within 3 s when it asks; a car
stops within 3 s when the square wave ends, and if it has not after 6 s, it is cut off under load; it has 5 s to follow
another duty cycle.
"""

import asyncio
from time import ticks_diff, ticks_ms

from micropython import const

from .pilot import LEAST, STATES
from .safety import CLOSE, OPEN, RULES, judge

PERIOD = const(50)  # ms between two turns of the loop
_SAME = const(3)  # samples that make a state
_GRACE = const(6000)  # ms for a car to stop by itself
_REST = const(2000)  # ms that a contactor stays open, so that a chattering pilot does not wear it
_OVERLOAD_TIME = const(10000)  # ms; a car has 5 s to follow. What the meter tells has to begin after that
_FEEDBACK = const(4)  # turns that a contactor may take to move, and more than one may lie
_UNLOCK = const(10)  # turns of current for the lock's motor

# Faults, as in hw/safety.py. All but the first are latched.
_EMERGENCY = const(1)
_GROUND = const(2)
_OVERCURRENT = const(4)
_OVERLOAD = const(8)
_WELDED = const(16)
_STUCK = const(32)
_POWER_SWITCH = const(48)


class Outlet:
    """What one connector's energy goes through. Currents are in A.

    number: 1, 2, …. state: "A" to "F", as the car has it for three samples ("E" too if it has no diode). closed: the
    contactor. error, info: ChargePointErrorCode, and what more there is to say, or None. maximum: what the installation
    bears, at `voltage` (nominal, to neutral) on `phases`. permitted: what the car is offered, 0 for nothing.
    changed: state, error, info or closed did.

    The faults end like this: an emergency stop when it is released; ground failure and over-current when no car is
    plugged in and the input is well; a contactor that doesn't obey with clear() or a reset; pilot errors by themselves.

    pilot: Pilot. Pins: contactor; optional: feedback (1: closed), ground_fault and overcurrent (1: there is one),
    emergency (0: pressed), lock (1: opens it). meter, led: see hw/meter.py and hw/led.py, or None.
    """

    def __init__(self, number, pilot, contactor, maximum, ventilation=False):
        self.number = number
        self.pilot = pilot
        self.contactor = contactor
        self.maximum = maximum
        self.ventilation = ventilation
        self.feedback = self.ground_fault = self.overcurrent = self.emergency = None
        self.meter = self.led = self.lock = None
        self.voltage, self.phases = 230, 1
        self.state = "A"
        self.rule = RULES[-1]
        self.error = "NoError"
        self.info = None
        self.permitted = self.most = 0
        self.closed = self.was_closed = self.leaving = self.resting = self.changed = False
        self.sample = self.stable = self.same = self.odd = self.unlocking = 0
        self.faults = self.latched = 0
        self.now = self.left = self.opened = self.within = ticks_ms()
        contactor.value(0)

    def permit(self, amps):
        """Let the car draw up to `amps`, never more than `maximum`; below 6: it has 6 s to stop, then it is cut off.

        Nothing is permitted while there is a fault of the charger: permit again when `error` is gone. Neither that nor
        an emergency stop's release closes a contactor by itself.
        """
        if amps < LEAST or self.faults or self.latched:
            if self.permitted:
                self.leaving = True
                self.left = self.now
            amps = 0
        elif amps > self.maximum:
            amps = self.maximum
        self.permitted = amps
        self.most = int(amps * 1100) + 1000  # mA, the meter's tolerance and the car's
        self.pilot.offer(amps)

    def cut(self):
        """Open the contactor at once, under load if need be, and permit nothing."""
        self.permitted = 0
        self.leaving = False
        self.switch(False)
        self.pilot.offer(0)

    def clear(self):
        """Forget the faults, after somebody has looked. Those that are still there come back."""
        self.latched = 0

    def switch(self, closed):
        """Move the contactor."""
        self.contactor.value(closed)
        if self.closed and not closed:
            self.resting = True
            self.opened = self.now
            if self.meter:
                self.meter.rest()
        self.closed = closed
        self.odd = 0

    def trip_ground(self, pin):
        """Interrupt: a ground fault. The contactor opens whatever else is computed just now; what is short counts."""
        if pin.value():
            self.latched |= _GROUND
            self.cut()

    def trip_overcurrent(self, pin):
        """Interrupt: an over-current."""
        if pin.value():
            self.latched |= _OVERCURRENT
            self.cut()

    def trip_emergency(self, pin):
        """Interrupt: the emergency stop."""
        if not pin.value():
            self.cut()
            self.changed = True  # should it be well again by the next turn, somebody has to permit again

    def turn(self, now):
        """Read everything, judge it, move the contactor. now: ticks_ms. It takes a few ms and no memory."""
        self.now = now
        sample = self.pilot.read(self.stable)
        self.same = self.same + 1 if sample == self.sample else 1
        self.sample = sample
        if self.same >= _SAME and sample != self.stable:
            self.stable = sample
            self.state = STATES[sample]
            self.changed = True
            if not sample:
                self.permit(0)  # the permission was for the car that has gone
        if self.leaving and ticks_diff(now, self.left) >= _GRACE:
            self.leaving = False
        if self.resting and ticks_diff(now, self.opened) >= _REST:
            self.resting = False
        self.faults = self.look(now)
        rule = judge(
            sample,
            self.stable,
            self.same >= _SAME,
            self.ventilation,
            self.permitted,
            self.leaving,
            self.resting,
            self.faults,
        )
        if self.faults and (self.permitted or self.leaving or self.closed):
            self.cut()
        elif rule[1] == OPEN:
            if self.closed:
                self.switch(False)
        elif rule[1] == CLOSE and not self.closed:
            self.switch(True)
            if not self.permitted:
                self.cut()  # an interrupt came in between
        if self.pilot.amps != self.permitted:
            self.pilot.offer(self.permitted)  # the same
        if rule is not self.rule:
            self.rule = rule
            if rule[2] != self.error or rule[3] != self.info:
                self.error, self.info = rule[2], rule[3]
                self.changed = True
        if self.closed != self.was_closed:
            self.was_closed = self.closed
            self.changed = True
        if self.unlocking:
            self.unlocking -= 1
            if not self.unlocking:
                self.lock.value(0)

    def look(self, now):
        """Return the faults there are. What is seen once is latched."""
        latched = 0
        if self.ground_fault and self.ground_fault.value():
            latched = _GROUND
        if self.overcurrent and self.overcurrent.value():
            latched |= _OVERCURRENT
        if not latched and self.same >= _SAME and not self.sample:
            self.latched &= _POWER_SWITCH  # no car, and all is well
        if self.feedback:
            self.odd = 0 if self.feedback.value() == self.closed else self.odd + 1
            if self.odd >= _FEEDBACK:
                latched |= _STUCK if self.closed else _WELDED
        if self.meter:
            # Also while nothing flows: it forgets what is long past.
            if self.meter.current(now) <= self.most or not self.permitted or not self.closed:
                self.within = now
            elif ticks_diff(self.meter.begun, self.within) > _OVERLOAD_TIME:
                latched |= _OVERLOAD
        self.latched |= latched
        if self.emergency and not self.emergency.value():
            return self.latched | _EMERGENCY
        return self.latched

    @property
    def energy(self):
        """The register, Wh; it never goes back, not by a reset either. 0 without a meter."""
        return self.meter.energy() if self.meter else 0

    def values(self):
        """Return what is measured now as {measurand: number in Wh, W, A, V}; without a meter only a register of 0."""
        return self.meter.values(self.now) if self.meter else {"Energy.Active.Import.Register": 0}

    def keep(self):
        """Make the register durable if it changed."""
        if self.meter:
            self.meter.keep()

    def unlock(self):
        """Open the lock of the plug: True; False if there is current that nothing stops; None if there is no lock."""
        if not self.lock:
            return None
        if self.latched & _WELDED:
            return False
        self.cut()  # not under load
        self.lock.value(1)
        self.unlocking = _UNLOCK
        return True

    def show(self, status):
        """Let the LED show a ChargePointStatus."""
        if self.led:
            self.led.show(status)


class Evse:
    """All outlets, and the reader of cards. on_change(number) and on_card(tag) are called from the loop, after it."""

    def __init__(self, outlets, reader, log):
        self.outlets = outlets
        self.reader = reader
        self.log = log
        self.on_change = self.on_card = log

    async def run(self):
        """The loop, for ever. Whatever ends it opens all contactors."""
        try:
            while True:
                self.turn(ticks_ms())
                await asyncio.sleep_ms(PERIOD)
        finally:
            for outlet in self.outlets:
                outlet.contactor.value(0)  # first of all
            for outlet in self.outlets:
                outlet.cut()

    def turn(self, now):
        """One turn: first what is about safety, of all outlets, then the rest. now: ticks_ms."""
        for outlet in self.outlets:
            outlet.turn(now)
        for outlet in self.outlets:
            if outlet.led:
                outlet.led.turn()
            if outlet.changed:
                outlet.changed = False
                self.tell(self.on_change, outlet.number)
        if self.reader:
            tag = self.reader.poll()
            if tag:
                self.tell(self.on_card, tag)

    def tell(self, function, what):
        """Call a function of the protocol's side, whose errors are not ours."""
        try:
            function(what)
        except Exception as error:
            self.log(error)
