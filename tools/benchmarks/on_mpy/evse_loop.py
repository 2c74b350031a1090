# mypy: ignore-errors
# ruff: noqa: PTH123, RUF012
"""Turns of the EVSE's loop, put together by hw/fitting.py on pins that cost as little as can be, a car at each outlet.

Arguments: a config.json, the number of turns. Tells the times of the turns in us while nobody is plugged in and while
all charge; the bytes of garbage that as many leave, and the ADC's reads in each.
"""

import gc
import json
import sys
from array import array
from time import ticks_diff, ticks_us

_PERIOD = 50  # ms
_PULSE = 20  # turns from one pulse of a meter to the next: 3.6 kW
_LOW, _HIGH = 300000, 3000000  # uV at the ADC for -12 V and +12 V, as the desk has it
_WARMING_UP = 20


class Pin:
    """A pin. `made`: all of them by their numbers."""

    IN, OUT, PULL_DOWN, IRQ_RISING, IRQ_FALLING = 1, 3, 1, 1, 2
    made = {}

    def __init__(self, number, mode=1, pull=0, value=0):
        self.level = value
        self.handler = None
        self.made[number] = self

    def value(self, level=None):
        if level is None:
            return self.level
        self.level = level

    def irq(self, handler, trigger):
        self.handler = handler


class Wire:
    """PWM and ADC, the one of a connector made after the other; `volts` is what the cars load their pilots with."""

    ATTN_11DB = 3
    volts = 12
    duty = 65535
    reads = 0

    def __init__(self, *_, **options):
        self.phase = 0
        if "freq" in options:
            Wire.newest = self
        else:
            self.pilot = Wire.newest

    def duty_u16(self, duty):
        self.duty = duty

    def read_uv(self):
        Wire.reads += 1
        self.phase = phase = (self.phase + 2412) & 65535  # 37 us
        volts = Wire.volts if phase <= self.pilot.duty else -12
        return _LOW + (volts + 12) * 112500


class Line:
    """A UART that nothing comes from."""

    def __init__(self, *_, **__):
        pass

    def any(self):
        return 0


class Machine:
    """Stands for the module of that name."""

    Pin, PWM, ADC, UART = Pin, Wire, Wire, Line


class Store:
    """Keeps nothing."""

    def get(self, key):
        return None

    def set(self, key, value):
        pass


class Bench:
    """An EVSE and its time."""

    def __init__(self, config):
        sys.modules["machine"] = Machine
        import hw.evse
        import hw.meter
        from hw import fitting

        self.now = 0
        hw.meter.ticks_ms = hw.evse.ticks_ms = lambda: self.now
        self.evse = fitting.build(config, 0, Store(), print)
        self.evse.on_change = lambda number: None
        self.inputs = [Pin.made[part["meter"]["pin"]] for part in config["connectors"]]
        # A contactor's feedback follows it: one pin for both.
        for outlet in self.evse.outlets:
            if outlet.feedback:
                outlet.feedback = outlet.contactor
        if self.evse.outlets[0].emergency:
            self.evse.outlets[0].emergency.level = 1

    def turns(self, count, took=None):
        """Make some turns, and note their times."""
        turn = self.evse.turn
        for i in range(count):
            self.now += _PERIOD
            if i % _PULSE == 0 and self.evse.outlets[0].closed:
                for pin in self.inputs:
                    pin.handler(pin)
            start = ticks_us()
            turn(self.now)
            end = ticks_us()
            if took:
                took[i] = ticks_diff(end, start)

    def garbage(self, count):
        """Return the bytes that some turns leave to the garbage collector."""
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        self.turns(count)
        after = gc.mem_alloc()
        gc.enable()
        return after - before

    def charge(self):
        """Let all charge."""
        Wire.volts = 9
        self.turns(_WARMING_UP)
        for outlet in self.evse.outlets:
            outlet.permit(16)
        Wire.volts = 6
        self.turns(_WARMING_UP)
        if not all(outlet.closed for outlet in self.evse.outlets):
            raise ValueError("not all charge: %s" % [(outlet.state, outlet.error) for outlet in self.evse.outlets])


def main(name, count):
    with open(name) as file:
        bench = Bench(json.load(file))
    took = array("l", bytes(4 * count))
    bench.turns(_WARMING_UP)
    bench.turns(count, took)
    told = {"idle": list(took)}
    bench.charge()
    bench.turns(count, took)
    told["charging"] = list(took)
    own = bench.garbage(0)
    Wire.reads = 0
    told["garbage"] = (bench.garbage(count) - own) / count
    told["reads"] = Wire.reads / count
    told["closed"] = all(outlet.closed for outlet in bench.evse.outlets)
    print(json.dumps(told))


main(sys.argv[1], int(sys.argv[2]))
