"""What is around a charger: cars with their drivers and cards, and the faults that electricity can have.

All of it lives in the page that the desk shares with the chip; see wiring.py, and modules/car.py for how it behaves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from simulator import wiring
from simulator.state import State

FAULTS = {
    "GroundFailure": wiring.LEAKING,
    "OverCurrentFailure": wiring.OVERLOADED,
    "PowerSwitchFailure": wiring.WELDED,  # the contacts of the contactor are welded
    "EVCommunicationError": wiring.SHORTED,  # the pilot is
}
EMERGENCY_STOP = "EmergencyStop"
PLAIN_PINS = ("led", "maintenance")  # fields of config.json


class Surroundings:
    """The part of a Chip that people touch. Connectors count from 1."""

    folder: Path
    _wires: Mapping[int, int] = {}  # word -> value
    _used_pins: tuple[int, ...] = ()  # of these the firmware makes objects
    _reader = "serial"

    # ----------------------------------------------------------------------------------------------------------- wiring

    def wire(self, config: Mapping[str, Any]) -> None:
        """Wire what this config.json names: "connectors", "reader", "emergency_stop". Call it before manufacture().

        Of "led" and "maintenance" nothing but the heap of the pins is prepared; see hold_pin() and level().

        The firmware finds an electric car's pilot, a meter, a contactor … at those pins.
        """
        connectors = config.get("connectors", ())[: wiring.CONNECTORS]
        reader = config.get("reader", {})
        self._reader = reader.get("type")
        self._wires = {
            wiring.WIRED: len(connectors),
            wiring.USES_PINS: int(bool(connectors) or any(config.get(part) is not None for part in PLAIN_PINS)),
            wiring.READER: _pin(reader.get("rx")),
            wiring.BAUDRATE: reader.get("baudrate", 9600),
            wiring.STOP: _pin(config.get("emergency_stop")),
        }
        for number, connector in enumerate(connectors):
            pilot, meter = connector.get("pilot", {}), connector.get("meter", {})
            low, high = pilot.get("mv", (300, 3000))
            words = {
                wiring.PWM_PIN: _pin(pilot.get("pwm")),
                wiring.ADC_PIN: _pin(pilot.get("adc")),
                wiring.CONTACTOR: _pin(connector.get("contactor")),
                wiring.FEEDBACK: _pin(connector.get("feedback")),
                wiring.GROUND_FAULT: _pin(connector.get("ground_fault")),
                wiring.OVERCURRENT: _pin(connector.get("overcurrent")),
                wiring.METER: _pin(meter.get("pin")),
                wiring.LED: _pin(connector.get("led")),
                wiring.LOCK: _pin(connector.get("lock")),
                wiring.LOW: low,
                wiring.HIGH: high,
                wiring.PULSES: meter.get("pulses_per_kwh", 0),
                wiring.VOLTAGE: connector.get("voltage", 230),
                wiring.PHASES: connector.get("phases", 1),
            }
            first = wiring.CONNECTOR + number * wiring.LENGTH
            self._wires = {**self._wires, **{first + word: value for word, value in words.items()}}
        plain = [config[part] for part in PLAIN_PINS if type(config.get(part)) is int]
        self._used_pins = (*self._wired_pins(), *plain)

    def _connect_wires(self) -> None:
        """Write the wiring into a new page."""
        with self._state() as page:
            for word, value in self._wires.items():
                page.set(_field(word), value)

    def _drop_outputs(self) -> None:
        """Put all output pins low, as without power or in a reset."""
        with self._state() as page:
            page.set((wiring.LEVELS, f"{wiring.PINS}s"), b"")
            for number in range(self._connectors):
                page.set(_field(wiring.CONNECTOR + number * wiring.LENGTH + wiring.OFFERED), 0)

    # ------------------------------------------------------------------------------------------------------ single pins

    def hold_pin(self, number: int, level: int | None) -> None:
        """Hold an input pin high (1) or low (0), whatever is wired to it; None lets go. A new flash lets go, too."""
        with self._state() as page:
            page.set((wiring.HELD + _gpio(number), "<B"), 0 if level is None else 2 if level else 1)

    def level(self, number: int) -> int:
        """The level of an output pin."""
        with self._state() as page:
            return int(page.get((wiring.LEVELS + _gpio(number), "<B")))

    # --------------------------------------------------------------------------------------------------- cars and cards

    def plug(
        self,
        connector: int = 1,
        *,
        wants: int | None = None,
        amps: float = 32,
        stubborn: bool = False,
        ventilation: bool = False,
    ) -> None:
        """Plug in a car.

        wants: Wh, None: it never has enough. amps: what it takes at most. stubborn: it goes on when the pilot says
        stop. ventilation: it asks for ventilation.
        """
        if self.is_plugged(connector):
            raise ValueError(f"there is a car at connector {connector} already")
        self._set(connector, wiring.WANTS, -1 if wants is None else wants)
        self._set(connector, wiring.AMPS, round(amps * 100))
        self._set(connector, wiring.HABITS, wiring.STUBBORN * stubborn | wiring.VENTILATED * ventilation)
        self._set(connector, wiring.PLUG, self._get(connector, wiring.PLUG) + 1)

    def unplug(self, connector: int = 1) -> None:
        """Pull the plug out."""
        if not self.is_plugged(connector):
            raise ValueError(f"there is no car at connector {connector}")
        self._set(connector, wiring.PLUG, self._get(connector, wiring.PLUG) + 1)

    def card(self, tag: str) -> None:
        """Hold a card at the reader for half a second.

        tag: 1 to 20 printable characters, or up to ten hexadecimal digits for an RDM6300.
        """
        if self._wires.get(wiring.READER, -1) < 0:
            raise ValueError("there is no card reader")
        frame = _frame(tag) if self._reader == "rdm6300" else _line(tag)
        with self._state() as page:
            page.set((wiring.FIRST + 4 * wiring.FRAME, "<24s"), frame)
            page.set(_field(wiring.FRAME_LENGTH), len(frame))
            page.set(_field(wiring.CARDS), page.get(_field(wiring.CARDS)) + 1)

    # ----------------------------------------------------------------------------------------------------------- faults

    def fault(self, code: str, connector: int = 1) -> None:
        """Let something break: one of FAULTS, or EMERGENCY_STOP for the whole charger."""
        if code == EMERGENCY_STOP:
            self._press(1)
        elif code in FAULTS:
            self._set(connector, wiring.FAULTS, self._get(connector, wiring.FAULTS) | FAULTS[code])
        else:
            raise ValueError(f"there is no fault {code}, but {', '.join((*FAULTS, EMERGENCY_STOP))}")

    def clear(self, connector: int = 1) -> None:
        """Repair everything at a connector, and pull the emergency stop's button out."""
        self._set(connector, wiring.FAULTS, 0)
        if self._wires[wiring.STOP] >= 0:
            self._press(0)

    def _press(self, is_pressed: int) -> None:
        if self._wires.get(wiring.STOP, -1) < 0:
            raise ValueError("there is no emergency stop")
        with self._state() as page:
            page.set(_field(wiring.PRESSED), is_pressed)

    # ------------------------------------------------------------------------------------------------- what can be seen

    def is_plugged(self, connector: int = 1) -> bool:
        """Whether there is a car."""
        return bool(self._get(connector, wiring.PLUG) & 1)

    def asks(self, connector: int = 1) -> bool:
        """Whether the car asks for energy (states C and D)."""
        return bool(self._get(connector, wiring.S2))

    def contactor(self, connector: int = 1) -> bool:
        """Whether the contacts of the contactor are closed, be it that they are welded."""
        return bool(self._get(connector, wiring.FAULTS) & wiring.WELDED) or self._level(connector, wiring.CONTACTOR)

    def lock(self, connector: int = 1) -> bool:
        """Whether the pin of the lock is high."""
        return self._level(connector, wiring.LOCK)

    def led(self, connector: int = 1) -> bool:
        """Whether the LED is lit."""
        return self._level(connector, wiring.LED)

    def offered(self, connector: int = 1) -> float:
        """Amperes that the duty cycle of the pilot offers, 0 for none."""
        return self._get(connector, wiring.OFFERED) / 100

    def power(self, connector: int = 1) -> float:
        """W that the car draws."""
        if not (self.asks(connector) and self.contactor(connector)):
            return 0
        amps, offered = self._get(connector, wiring.AMPS) / 100, self.offered(connector)
        if offered:
            amps = min(amps, offered)
        elif not self._get(connector, wiring.HABITS) & wiring.STUBBORN:
            return 0
        return amps * self._get(connector, wiring.VOLTAGE) * self._get(connector, wiring.PHASES)

    def energy(self, connector: int = 1) -> float:
        """Wh that went through the connector since the charger was made."""
        return self._get(connector, wiring.ENERGY) / 1000

    def taken(self, connector: int = 1) -> float:
        """Wh that the car has taken since it was plugged in, or the last car that was."""
        return self._get(connector, wiring.TAKEN) / 1000

    # -------------------------------------------------------------------------------------------------------- internals

    @property
    def _connectors(self) -> int:
        return self._wires.get(wiring.WIRED, 0)

    def _wired_pins(self) -> list[int]:
        """The pins that the firmware makes objects of."""
        words = [wiring.STOP]
        for number in range(self._connectors):
            first = wiring.CONNECTOR + number * wiring.LENGTH
            words += range(first + wiring.PWM_PIN, first + wiring.LOCK + 1)
        return [self._wires[word] for word in words if self._wires[word] >= 0]

    def _level(self, connector: int, role: int) -> bool:
        pin = self._get(connector, role)
        if pin < 0:
            return False
        with self._state() as page:
            return bool(page.get((wiring.LEVELS + pin, "<B")))

    def _get(self, connector: int, word: int) -> int:
        with self._state() as page:
            return int(page.get(self._word(connector, word)))

    def _set(self, connector: int, word: int, value: int) -> None:
        with self._state() as page:
            page.set(self._word(connector, word), value)

    def _word(self, connector: int, word: int) -> tuple[int, str]:
        if not 1 <= connector <= self._connectors:
            raise ValueError(f"there is no connector {connector}, but {self._connectors} of them")
        return _field(wiring.CONNECTOR + (connector - 1) * wiring.LENGTH + word)

    @contextlib.contextmanager
    def _state(self) -> Iterator[State]:
        with (self.folder / "state").open("r+b", buffering=0) as file:
            yield State(file, longest=256)


def _field(word: int) -> tuple[int, str]:
    """A word as a field of the page."""
    return wiring.FIRST + 4 * word, "<i"


def _gpio(number: int) -> int:
    if not 0 <= number < wiring.PINS:
        raise ValueError(f"there is no pin {number}")
    return number


def _pin(number: object) -> int:
    """A pin of config.json, -1 for none; the firmware is who complains about a wrong one."""
    return number if isinstance(number, int) and 0 <= number < wiring.PINS else -1


def _line(tag: str) -> bytes:
    """What a reader sends for a card that sends lines."""
    if not (0 < len(tag) <= 20 and tag.isascii() and tag.isprintable()):
        raise ValueError(f"a card has 1 to 20 printable characters, which {tag} has not")
    return tag.encode() + b"\r\n"


def _frame(tag: str) -> bytes:
    """What an RDM6300 sends for a card: STX, ten hexadecimal digits, the exclusive or of their five bytes, ETX."""
    try:
        if not 0 < len(tag) <= 10:
            raise ValueError
        number = int(tag, 16).to_bytes(5, "big")
    except (ValueError, OverflowError):
        raise ValueError(f"a card has up to ten hexadecimal digits, which {tag} does not") from None
    checksum = 0
    for byte in number:
        checksum ^= byte
    return b"\x02%s%02X\x03" % (number.hex().upper().encode(), checksum)
