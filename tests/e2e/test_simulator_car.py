"""The simulated electric car, meter, contactor and card reader behave as real ones do at the chip's pins."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import build
from desk import CONNECTORS, SHARED
from simulator.chip import Chip
from simulator.interpreter import Interpreter
from simulator.surroundings import EMERGENCY_STOP

IMAGE = build.made_image(2048)
SPEED = 50
WIRES = {"connectors": CONNECTORS[:1], **SHARED}

# A charger of a few lines: it tells changes of what it sees, and closes its contactor when the car asks.
CHARGER = """
import machine, time, gc
from machine import ADC, PWM, UART, Pin
pilot = PWM(Pin(25), freq=1000, duty_u16=65535 * {amps} // 60)
adc = ADC(Pin(34), atten=ADC.ATTN_11DB)
contactor = Pin(26, Pin.OUT, value=0)
inputs = [Pin(id, Pin.IN) for id in (27, 32, 33, 36)]
pulses = 0
def pulse(pin):
    global pulses
    pulses += 1
meter = Pin(35, Pin.IN)
meter.irq(pulse, Pin.IRQ_RISING)
reader = UART(2, 9600, rx=16, rxbuf=256)
received = bytearray(14)

def volts():
    "The voltages that 32 reads find, and how many of them are high."
    high = low = count = 0
    for _ in range(32):
        level = (adc.read_uv() - 300000) / 2700000 * 24 - 12
        if level > -6:
            high += level
            count += 1
        else:
            low += level
    return count and round(high / count), count < 32 and round(low / (32 - count)), count

def changes(obey=True):
    seen = None
    while True:
        *plateaus, count = volts()
        if obey:
            contactor.value(plateaus[0] in (3, 6))
        now = plateaus, [pin.value() for pin in inputs]
        if now != seen:
            print(*now)
            seen = now
        count = reader.readinto(received)
        if count:
            print("received", bytes(received[:count]))
        time.sleep_ms(50)
"""


class Charger:
    def __init__(self, folder: Path, interpreter: Interpreter, speed: float = SPEED) -> None:
        self.lines: list[str] = []
        self.chip = Chip(folder, interpreter, serial=self.lines.append, speed=speed)

    def manufacture(self, program: str, wires: dict[str, Any], amps: int) -> None:
        self.chip.wire(wires)
        self.chip.manufacture(IMAGE, {"main.py": (CHARGER.replace("{amps}", str(amps)) + program).encode()})

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.002)

    async def says(self, line: str) -> None:
        await self.until(lambda: line in self.lines)

    async def result(self) -> str:
        """What it says last before END."""
        await self.says("END")
        return self.lines[self.lines.index("END") - 1]

    @property
    def received(self) -> bytes:
        """What came from the card reader."""
        pieces = (line.partition(" ")[2] for line in self.lines if line.startswith("received "))
        return b"".join(map(ast.literal_eval, pieces))

    @property
    def said(self) -> list[str]:
        return [line for line in self.lines if not line.startswith(("I boot", "rst:"))]


Start = Callable[..., contextlib.AbstractAsyncContextManager[Charger]]


@pytest.fixture
def start(tmp_path: Path, interpreter: Interpreter) -> Start:
    @contextlib.asynccontextmanager
    async def switched_on(
        program: str = "changes()", *, wires: dict[str, Any] = WIRES, amps: int = 16
    ) -> AsyncIterator[Charger]:
        charger = Charger(tmp_path, interpreter)
        charger.manufacture(program, wires, amps)
        running = asyncio.create_task(charger.chip.run())
        try:
            await charger.until(lambda: charger.lines)
            yield charger
        finally:
            await charger.chip.power_off()
            await running

    return switched_on


async def test_a_car_goes_through_the_states_and_charges(start: Start) -> None:
    async with start() as charger:
        await charger.says("[12, -12] [0, 0, 0, 1]")
        charger.chip.plug(wants=50)
        await charger.says("[9, -12] [0, 0, 0, 1]")
        await charger.says("[6, -12] [1, 0, 0, 1]")
        assert charger.chip.contactor()
        assert charger.chip.offered() == 16
        await charger.until(lambda: charger.chip.power())
        assert charger.chip.power() == 16 * 230
        await charger.until(lambda: charger.chip.taken() == 50)
        await charger.until(lambda: charger.said[-1] == "[9, -12] [0, 0, 0, 1]")
        assert (charger.chip.asks(), charger.chip.contactor(), charger.chip.power()) == (False, False, 0)
        charger.chip.unplug()
        await charger.until(lambda: charger.said[-1] == "[12, -12] [0, 0, 0, 1]")
        assert charger.chip.energy() == 50


@pytest.mark.parametrize("amps", [0, 6, 10, 16, 32, 48])
async def test_the_duty_cycle_is_what_a_burst_of_reads_finds(start: Start, amps: int) -> None:
    async with start("print([volts()[2] for _ in range(20)])\nprint('END')", amps=amps) as charger:
        counts = json.loads(await charger.result())
        assert sum(counts) / len(counts) == pytest.approx(32 * amps / 60, abs=0.2)
        assert max(counts) - min(counts) <= 3


async def test_a_meter_gives_a_pulse_for_each_wh(start: Start) -> None:
    program = """
while pulses < 50: volts(); contactor.value(1); time.sleep_ms(50)
contactor.value(0)
print(pulses)
print("END")
"""
    async with start(program) as charger:
        charger.chip.plug(amps=10)
        assert int(await charger.result()) == int(charger.chip.energy())


async def test_pulses_of_a_moment_without_a_look_are_not_lost(start: Start) -> None:
    program = """
while volts()[0] != 6: time.sleep_ms(50)
contactor.value(1)
time.sleep(60)
volts()
contactor.value(0)
print(pulses)
print("END")
"""
    async with start(program) as charger:
        charger.chip.plug()
        assert 60 <= int(await charger.result()) <= 70  # 3.68 kW for a minute


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("GroundFailure", "[12, -12] [0, 1, 0, 1]"),
        ("OverCurrentFailure", "[12, -12] [0, 0, 1, 1]"),
        ("PowerSwitchFailure", "[12, -12] [1, 0, 0, 1]"),
        ("EVCommunicationError", "[0, False] [0, 0, 0, 1]"),
        (EMERGENCY_STOP, "[12, -12] [0, 0, 0, 0]"),
    ],
)
async def test_a_fault_shows_and_can_be_cleared(start: Start, code: str, line: str) -> None:
    async with start() as charger:
        well = "[12, -12] [0, 0, 0, 1]"
        await charger.says(well)
        charger.chip.fault(code)
        await charger.says(line)
        assert charger.chip.contactor() == (code == "PowerSwitchFailure")
        charger.chip.clear()
        await charger.until(lambda: charger.said[-1] == well)


async def test_faults_interrupt(start: Start) -> None:
    program = """
inputs[1].irq(lambda pin: print("leak"), Pin.IRQ_RISING)
inputs[2].irq(lambda pin: print("overload", pin.value()), Pin.IRQ_RISING | Pin.IRQ_FALLING)
inputs[3].irq(lambda pin: print("stop"), Pin.IRQ_FALLING)
while True: adc.read_uv()
"""
    async with start(program) as charger:
        await asyncio.sleep(0.1)
        for code, line in (("GroundFailure", "leak"), ("OverCurrentFailure", "overload 1"), (EMERGENCY_STOP, "stop")):
            charger.chip.fault(code)
            await charger.says(line)
        charger.chip.clear()
        await charger.says("overload 0")
        assert charger.said == ["leak", "overload 1", "stop", "overload 0"]


STOPPING = """
while volts()[0] != 6: time.sleep_ms(50)
contactor.value(1)
time.sleep(5)
pilot.duty_u16(65535)
for _ in range(20): volts(); time.sleep_ms(100)
print(volts()[0])
print("END")
time.sleep(1000)
"""


@pytest.mark.parametrize(("stubborn", "volts"), [(False, "9"), (True, "6")])
async def test_only_a_stubborn_car_goes_on_without_the_pilot(start: Start, stubborn: bool, volts: str) -> None:
    async with start(STOPPING) as charger:
        charger.chip.plug(stubborn=stubborn)
        assert await charger.result() == volts
        assert (charger.chip.power() > 0) == stubborn


async def test_a_car_may_want_ventilation(start: Start) -> None:
    async with start() as charger:
        charger.chip.plug(ventilation=True)
        await charger.says("[3, -12] [1, 0, 0, 1]")


async def test_a_power_cut_opens_the_contactor_and_leaves_the_car(start: Start) -> None:
    async with start("if machine.reset_cause() == 1 and not adc: pass\nchanges()") as charger:
        charger.chip.plug()
        await charger.until(lambda: charger.chip.taken() > 10)
        charger.chip.cut_power()
        await charger.until(lambda: len(charger.chip.boots) == 2)
        taken = charger.chip.taken()
        assert taken > 10
        await charger.until(lambda: charger.chip.taken() > taken + 10)
        assert charger.chip.is_plugged()
        assert charger.said.count("[9, -12] [0, 0, 0, 1]") == 2


async def test_outputs_are_low_after_a_reset(start: Start) -> None:
    program = """
if machine.reset_cause() == machine.PWRON_RESET:
    contactor.value(1)
    print("ON")
    while inputs[3].value(): pass
    machine.reset()
print("END")
"""
    async with start(program) as charger:
        await charger.says("ON")
        assert charger.chip.contactor()
        charger.chip.fault(EMERGENCY_STOP)
        await charger.says("END")
        assert not charger.chip.contactor()


RDM6300 = {**WIRES, "reader": {"type": "rdm6300", "uart": 2, "rx": 16}}


@pytest.mark.parametrize(
    ("wires", "tag", "frame"),
    [
        (RDM6300, "04A2B3C4", b"\x020004A2B3C4D1\x03"),
        (WIRES, "04a2B3c4", b"04a2B3c4\r\n"),
        (WIRES, "7", b"7\r\n"),
        (WIRES, "DE*ABC*12345 ~/a!&#2", b"DE*ABC*12345 ~/a!&#2\r\n"),
    ],
)
async def test_a_card_is_read_several_times_in_half_a_second(
    start: Start, wires: dict[str, Any], tag: str, frame: bytes
) -> None:
    async with start(wires=wires) as charger:
        await charger.says("[12, -12] [0, 0, 0, 1]")
        charger.chip.card(tag)
        await charger.until(lambda: charger.received.count(frame) == 5)
        charger.chip.card(tag[::-1])
        await charger.until(lambda: len(charger.received) == 10 * len(frame))


async def test_a_reader_of_another_baud_rate_is_not_understood(start: Start) -> None:
    wires = {**WIRES, "reader": {"type": "serial", "uart": 2, "rx": 16, "baudrate": 19200}}
    async with start(wires=wires) as charger:
        await charger.says("[12, -12] [0, 0, 0, 1]")
        charger.chip.card("04A2B3C4")
        charger.chip.plug()
        await charger.says("[6, -12] [1, 0, 0, 1]")
        assert not charger.received


@pytest.mark.parametrize(
    ("wires", "tag", "words"),
    [
        (RDM6300, "nobody", "a card has up to ten hexadecimal digits, which nobody does not"),
        (RDM6300, "12345678901", "up to ten hexadecimal digits"),
        (WIRES, "", "a card has 1 to 20 printable characters, which  has not"),
        (WIRES, "x" * 21, "1 to 20 printable characters"),
        (WIRES, "Köln", "1 to 20 printable characters"),
        (WIRES, "a\n", "1 to 20 printable characters"),
    ],
)
async def test_a_card_that_its_reader_does_not_know_is_a_clear_error(
    tmp_path: Path, interpreter: Interpreter, wires: dict[str, Any], tag: str, words: str
) -> None:
    charger = Charger(tmp_path, interpreter)
    charger.chip.wire(wires)
    with pytest.raises(ValueError, match=words):
        charger.chip.card(tag)


async def test_what_a_person_cannot_do_is_a_clear_error(start: Start) -> None:
    async with start(wires={"connectors": CONNECTORS[:1]}) as charger:
        chip = charger.chip
        wrong: tuple[tuple[Callable[[], None], str], ...] = (
            (chip.unplug, "there is no car at connector 1"),
            (lambda: chip.plug(2), "there is no connector 2, but 1 of them"),
            (lambda: chip.fault("Rain"), "there is no fault Rain, but GroundFailure"),
            (lambda: chip.card("04A2B3C4"), "there is no card reader"),
            (lambda: chip.fault(EMERGENCY_STOP), "there is no emergency stop"),
        )
        for action, words in wrong:
            with pytest.raises(ValueError, match=words):
                action()


REFUSED = """
def refused(function, *arguments, **options):
    try:
        function(*arguments, **options)
        print("taken")
    except (ValueError, OSError) as error:
        print(error)
refused(Pin, 34, Pin.OUT)
refused(Pin, 6)
refused(Pin, 24)
refused(PWM, Pin(35))
refused(ADC, Pin(25))
refused(ADC, Pin(5))
refused(UART, 0)
refused(UART, 2, rxbuf=64)
led = Pin(2, Pin.OUT, value=1)
print(led.value(), Pin(5, Pin.IN, Pin.PULL_UP).value(), Pin(39, Pin.IN, Pin.PULL_UP).value())
print("END")
"""


@pytest.mark.parametrize("wires", [WIRES, {}], ids=["wired", "bare"])
async def test_pins_are_as_those_of_an_esp32(start: Start, wires: dict[str, Any]) -> None:
    async with start(REFUSED, wires=wires) as charger:
        await charger.result()
        assert charger.said[:10] == [
            "pin can only be input",
            "invalid pin",
            "invalid pin",
            "pin can only be input",
            "pin 25 is one of ADC2, which does not work with Wi-Fi on",
            "invalid Pin for ADC",
            "UART(0) is not free",
            "(-1, 'ESP_FAIL')",
            "1 1 0",
            "END",
        ]


async def test_looking_at_the_pins_makes_no_garbage(start: Start) -> None:
    program = """
contactor.value(1)
adc.read_uv(); contactor.value(0)
gc.collect(); gc.disable()
before = gc.mem_alloc()
for _ in range(1000):
    adc.read_uv(); contactor.value(1); contactor.value(0); reader.any()
    inputs[0].value(); inputs[1].value(); inputs[2].value(); inputs[3].value()
print(gc.mem_alloc() - before)
print("END")
"""
    async with start(program) as charger:
        charger.chip.plug()
        assert int(await charger.result()) < 100


async def test_the_surroundings_cost_nothing_where_nothing_is_wired(tmp_path: Path, interpreter: Interpreter) -> None:
    bare, wired = Charger(tmp_path / "bare", interpreter), Charger(tmp_path / "wired", interpreter)
    wired.chip.wire(WIRES)
    assert bare.chip.simulator_heap() + 1024 < wired.chip.simulator_heap() < bare.chip.simulator_heap() + 16 * 1024
