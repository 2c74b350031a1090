"""Properties of the EVSE: whatever cars, faults and the protocol do in any order, the contactor is safe, and closes.

The model below is written from the promises, not from hw/safety.py. It runs with the loop, in one MicroPython process,
and looks at the contactor's pin after each turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

import environment
from properties import Firmware, compiled_firmware, hold
from simulator.interpreter import Interpreter

ELECTRICS = (environment.REPOSITORY / "tests/unit/electrics.py").read_text()
CODE = (
    ELECTRICS
    + """
from hw.evse import PERIOD, Evse, Outlet
from hw.pilot import Pilot

class Meter:
    milliamps = 0
    def current(self, now):
        self.begun = now
        return self.milliamps
    def rest(self):
        pass

class World:
    # An outlet, all around it, and what is to be expected of it.

    def __init__(self, ventilation, maximum, eager, irq):
        self.wire = Wire()
        self.contactor = Contactor()
        self.outlet = outlet = Outlet(1, Pilot(self.wire, self.wire, LOW, HIGH), self.contactor, maximum, ventilation)
        outlet.feedback = self.contactor.feedback
        outlet.ground_fault, outlet.overcurrent, outlet.emergency = self.inputs = Line(), Line(), Line(1)
        outlet.meter = Meter()
        outlet.lock = Line()
        if irq:
            outlet.ground_fault.irq(outlet.trip_ground, Line.IRQ_RISING)
            outlet.overcurrent.irq(outlet.trip_overcurrent, Line.IRQ_RISING)
            outlet.emergency.irq(outlet.trip_emergency, Line.IRQ_FALLING)
        self.irq = irq
        self.evse = Evse([outlet], None, lambda error: None)
        self.evse.on_change = self.change
        self.eager = eager  # amps that the protocol permits whenever something changes
        self.now = outlet.now
        self.ventilation = ventilation
        self.wrong = []
        self.allowed = 0  # amps
        self.withdrawn = None  # when, if the car may still draw for a moment
        self.latched = False  # a ground failure or an over-current
        self.broken = False  # the contactor
        self.odd = 0  # turns that the contactor does not obey
        self.disobeyed = False  # for some turns, once
        self.cars = []  # as the last turns saw them
        self.well_since = None
        self.high_since = None  # too much current
        self.was_high = False
        self.fell = None
        self.closings = 0
        self.errors = set()

    def change(self, number):
        if self.eager:
            self.permit(self.eager)
        raise RuntimeError("the protocol fails")

    def stopped(self):
        return not self.inputs[2].level

    def tripped(self):
        return self.inputs[0].level or self.inputs[1].level

    def faulted(self):
        return self.latched or self.broken or self.stopped() or self.tripped()

    def permit(self, amps):
        before = self.outlet.permitted
        self.outlet.permit(amps)
        if amps < 6:
            if self.allowed:
                self.withdrawn = self.now
            self.allowed = 0
        elif self.outlet.permitted:
            self.allowed = min(amps, self.outlet.maximum)
            self.withdrawn = None
        elif not self.faulted() and self.outlet.error in ("NoError", "EVCommunicationError"):
            self.wrong.append("a permission was not taken, and there is no fault")
        if self.outlet.permitted > self.outlet.maximum:
            self.wrong.append("more is permitted than the installation bears")

    def cut(self):
        self.outlet.cut()
        self.end()
        if self.contactor.level:
            self.wrong.append("cut left the contactor closed")

    def end(self):
        self.well_since = self.now
        self.allowed = 0
        self.withdrawn = None

    def event(self, what, value):
        if what == "car":
            self.wire.car = value
        elif what == "diode":
            self.wire.diode = value
        elif what == "permit":
            self.permit(value)
        elif what == "cut":
            self.cut()
        elif what == "input":
            self.inputs[value].set(1)
        elif what == "well":
            self.inputs[value].set(0)
        elif what == "pulse" and self.irq:
            self.inputs[value].set(1)
            self.inputs[value].set(0)
            self.latched = True
        elif what == "stop":
            self.inputs[2].set(0)
        elif what == "release":
            self.inputs[2].set(1)
        elif what == "welded":
            self.contactor.welded = value
        elif what == "stuck":
            self.contactor.stuck = value
        elif what == "clear":
            self.outlet.clear()
            self.broken = self.disobeyed = False
            self.latched = bool(self.tripped())
        elif what == "draw":
            self.outlet.meter.milliamps = value
        elif what == "unlock":
            if self.outlet.unlock():
                self.end()
            elif not self.disobeyed:
                self.wrong.append("not unlocked")
        if self.irq and self.faulted():
            self.end()
            if self.contactor.level and (self.tripped() or self.stopped() or what == "pulse"):
                self.wrong.append("an interrupt left the contactor closed")

    def turn(self, period):
        outlet, contactor, wire = self.outlet, self.contactor, self.wire
        contactor.settle()
        self.now = now = (self.now + period) & 0x3FFFFFFF
        # What this turn can know.
        obeyed = bool(contactor.level) == bool(contactor.feedback.level)
        self.odd = 0 if obeyed else self.odd + 1
        self.disobeyed = self.disobeyed or self.odd >= 3
        car = wire.car
        asks = car == "C" or (car == "D" and self.ventilation)
        if not wire.diode and outlet.permitted and car in "BCD":
            asks = False
        self.cars = self.cars[-2:] + [car if wire.diode or car == "A" else car + "-"]
        steady = len(self.cars) == 3 and self.cars[0] == self.cars[1] == self.cars[2]
        if self.tripped():
            self.latched = True
        if self.stopped() or self.latched or self.broken:
            self.end()
        high = outlet.meter.milliamps > self.allowed * 1100 + 1000
        if not (high and self.allowed and contactor.level):
            self.high_since = now
        if steady and car == "A":
            if self.plugged:
                self.plugged = False
                self.end()
            if not self.tripped():
                self.latched = False
            self.lacked = False
        elif steady:
            self.plugged = True
            self.lacked = self.lacked or not wire.diode
        allowed = self.allowed
        self.wave = 0 if wire.duty == 65535 else self.wave + 1
        self.evse.turn(now)
        level = contactor.level
        # Safety.
        if level and not asks:
            self.wrong.append("closed in " + car)
        if level and self.faulted():
            self.wrong.append("closed while faulted")
        if level and not allowed and not self.allowed and (self.withdrawn is None or now - self.withdrawn > 6000 + 300):
            self.wrong.append("closed and nothing is permitted")
        if level and not outlet.permitted and wire.duty != 65535:
            self.wrong.append("current is offered that is not permitted")
        if level and now - self.high_since > 10000 + 300:
            self.wrong.append("closed while the car draws too much")
        if level and not self.was_high:
            self.closings += 1
            if not steady:
                self.wrong.append("closed by a pilot that is not steady")
            if self.fell is not None and now - self.fell < 1700:
                self.wrong.append("closed a moment after it opened")
            if not outlet.permitted:
                self.wrong.append("closed when nothing was permitted")
        if self.was_high and not level:
            self.fell = now
        self.was_high = level
        if bool(level) != outlet.closed:
            self.wrong.append("closed is told and not true")
        # What is found after a moment.
        if self.odd > 5 and outlet.error != "PowerSwitchFailure" and not self.stopped() and not self.latched:
            self.wrong.append("a contactor that does not obey is not told")
        if outlet.error == "PowerSwitchFailure":
            if not self.disobeyed:
                self.wrong.append("a contactor that obeys is accused")
            self.broken = True
        if outlet.info == "Car draws more than it is offered":
            if not self.latched and now - self.high_since < 10000:
                self.wrong.append("a car is accused of drawing too much")
            self.latched = True
        if self.faulted():
            self.end()
            if outlet.error == "NoError":
                self.wrong.append("a fault is not told")
        elif outlet.error not in ("NoError", "EVCommunicationError"):
            self.wrong.append("there is no " + outlet.error)
        # Without the square wave nobody can tell whether the car has a diode now.
        unknown = outlet.info == "Car without a diode" and self.lacked and self.wave < 4
        if not self.faulted() and steady and wire.diode and not unknown:
            if outlet.state != car or (outlet.error != "NoError") != (car in "EF"):
                self.wrong.append("the state of the car is another one: %s, %s" % (outlet.state, outlet.error))
        if bool(outlet.permitted) != bool(self.allowed):
            self.wrong.append("permitted is %s, it should be %s" % (outlet.permitted, self.allowed))
        self.errors.add(outlet.error)
        # Liveness.
        well = asks and wire.diode and self.allowed and not self.faulted() and not contactor.welded
        if not (well and self.cars == [car] * 3) or contactor.stuck:
            self.well_since = now
        elif now - self.well_since > 3000 and not level:
            self.wrong.append("not closed after 3 s")

    plugged = False
    wave = 0  # turns that there has been a square wave for
    lacked = False  # the diode, since the car was plugged in


async def answer(options, data):
    world = World(options["ventilation"], options["maximum"], options["eager"], options["irq"])
    at = 0
    for what, value, turns, late in options["events"]:
        world.event(what, value)
        for i in range(turns):
            world.turn(PERIOD + (late if i % 4 == 0 else 0))
            at += 1
            if world.wrong:
                return {"wrong": "%s (in turn %d, after %s %s)" % (world.wrong[0], at, what, value)}
    return {"closings": world.closings, "errors": sorted(world.errors), "wrong": None}
"""
)

Event = tuple[str, Any, int, int]

events = st.tuples(
    st.one_of(
        st.tuples(st.just("car"), st.sampled_from("AABBCCCCDEF")),
        st.tuples(st.just("car"), st.just("C")),
        st.tuples(st.just("permit"), st.sampled_from([0, 5.9, 6, 7.5, 16, 16, 32, 100])),
        st.tuples(st.sampled_from(["cut", "stop", "release", "release", "clear", "unlock"]), st.none()),
        st.tuples(st.sampled_from(["input", "well", "well", "pulse"]), st.integers(0, 1)),
        st.tuples(st.sampled_from(["welded", "stuck"]), st.sampled_from([False, False, True])),
        st.tuples(st.just("diode"), st.sampled_from([True, True, False])),
        st.tuples(st.just("draw"), st.sampled_from([0, 6000, 16000, 33000])),
    ),
    st.one_of(st.integers(0, 6), st.integers(60, 90), st.integers(0, 250)),
    st.sampled_from([0, 0, 0, 30, 200]),
).map(lambda drawn: (*drawn[0], drawn[1], drawn[2]))

worlds = st.fixed_dictionaries(
    {
        "ventilation": st.booleans(),
        "maximum": st.sampled_from([6, 16, 80]),
        "eager": st.sampled_from([0, 0, 6, 16]),
        "irq": st.booleans(),
        "events": st.tuples(
            st.sampled_from([[], [("car", "B", 5, 0), ("permit", 16, 5, 0), ("car", "C", 10, 0)]]),
            st.lists(events, min_size=8, max_size=30),
        ).map(lambda parts: parts[0] + parts[1]),
    }
)

USUAL: dict[str, Any] = {
    "ventilation": False,
    "maximum": 16,
    "eager": 0,
    "irq": True,
    "events": [
        ("car", "B", 10, 0),
        ("permit", 16, 10, 0),
        ("car", "C", 70, 0),
        ("permit", 0, 140, 0),
        ("permit", 16, 70, 0),
        ("input", 0, 10, 0),
        ("well", 0, 10, 0),
        ("car", "A", 5, 0),
    ],
}


@pytest.fixture(scope="module")
def firmware(interpreter: Interpreter) -> Iterator[Firmware]:
    firmware = Firmware(interpreter, compiled_firmware(), CODE)
    yield firmware
    firmware.stop()


def usual(firmware: Firmware) -> None:
    """Let a car charge, be stopped, charge again and have a ground failure."""
    result = firmware.ask(**USUAL).result
    assert result == {**result, "wrong": None, "closings": 2, "errors": ["GroundFailure", "NoError"]}


def test_the_contactor_is_safe_whatever_happens_and_closes_when_all_is_well(
    firmware: Firmware, everything: bool
) -> None:
    usual(firmware)
    closings: list[int] = []
    errors: set[str] = set()

    def check(world: dict[str, Any]) -> None:
        result = firmware.ask(**world).result
        assert not result["wrong"], result["wrong"]
        closings.append(result["closings"])
        errors.update(result["errors"])
        firmware.rest(lambda: usual(firmware))

    hold(worlds, check, 60, everything)
    # The cases were such that something could go wrong.
    assert sum(closings) >= len(closings) / 2
    assert len(errors) == 6, errors
