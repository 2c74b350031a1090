"""Pin, PWM, ADC and UART of the module machine: what the firmware uses of them, by the rules of an ESP32's pins."""

import time

from car import cars, page, words
from wiring import (
    ADC_PIN,
    BAUDRATE,
    CARDS,
    CONTACTOR,
    FAULTS,
    FEEDBACK,
    FIRST,
    FRAME,
    FRAME_LENGTH,
    GROUND_FAULT,
    HELD,
    LEAKING,
    LEVELS,
    METER,
    OVERCURRENT,
    OVERLOADED,
    PRESSED,
    PWM_PIN,
    READER,
    STOP,
    WIRED,
)

# Those of GPIO 0-39 that exist and are not connected to the flash.
_PINS = b"\0\1\2\3\4\5\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x15\x16\x17\x19\x1a\x1b\x20\x21\x22\x23\x24\x25\x26\x27"
_INPUT_ONLY = 34  # and above
_ADC1 = 32  # and above
_ADC2 = b"\0\2\4\x0c\x0d\x0e\x0f\x19\x1a\x1b"
_ADC_MIN, _ADC_MAX = 142000, (1100000, 1500000, 2200000, 3149000)  # µV, by attenuation
_FRAME_EVERY = 100  # ms
_CARD_STAYS = 500  # ms


class Pin:
    """A GPIO."""

    IN = 1
    OUT = 3
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2

    def __init__(self, id, mode=-1, pull=-1, *, value=None):
        if id not in _PINS:
            raise ValueError("invalid pin")
        if mode == Pin.OUT and id >= _INPUT_ONLY:
            raise ValueError("pin can only be input")
        self.id = id
        self._mode = mode
        self._idle = 1 if pull == Pin.PULL_UP and id < _INPUT_ONLY else 0  # the others have no such resistors
        self._car = self._role = None
        for car in cars:
            for role in (CONTACTOR, FEEDBACK, GROUND_FAULT, OVERCURRENT, METER):
                if words[car.first + role] == id:
                    self._car, self._role = car, role
        if value is not None:
            self.value(value)

    def value(self, level=None):
        """Return the level, or set it by the truth of what is given."""
        if level is None:
            return page[LEVELS + self.id] if self._mode == Pin.OUT else self._read()
        level = bool(level) + 0
        if self._role == CONTACTOR:
            self._car.switch(level)
        elif self.id < _INPUT_ONLY:
            page[LEVELS + self.id] = level
        return None

    def _read(self):
        held = page[HELD + self.id]
        if held:
            return held - 1
        role = self._role
        if role == FEEDBACK:
            return self._car.feedback()
        if role == GROUND_FAULT:
            return 1 if words[self._car.first + FAULTS] & LEAKING else 0
        if role == OVERCURRENT:
            return 1 if words[self._car.first + FAULTS] & OVERLOADED else 0
        if words[WIRED] and words[STOP] == self.id:
            return 0 if words[PRESSED] else 1
        return 0 if role == METER else self._idle

    def irq(self, handler=None, trigger=3):
        """Have handler(pin) called at edges: while the firmware reads an ADC, as nothing runs besides it here."""
        self._handler, self._trigger, self._level = handler, trigger, self._read()
        if self._role == METER:
            self._car.meter = self
        elif self not in _watched:
            _watched.append(self)

    def look(self):
        """Interrupt if the level has changed."""
        level = self._read()
        if level != self._level:
            self._level = level
            self.interrupt(level)

    def interrupt(self, level):
        """Call the handler, if it is for an edge to this level."""
        if self._handler and self._trigger & (1 if level else 2):
            self._handler(self)


_watched = []  # pins that interrupt when something happens to them


def _wired(pin, role):
    """Return the car whose connector has this pin in that role, or None."""
    for car in cars:
        if words[car.first + role] == pin.id:
            return car
    return None


class PWM:
    """A square wave on a pin."""

    def __init__(self, pin, freq=5000, duty_u16=32768):
        if pin.id >= _INPUT_ONLY:
            raise ValueError("pin can only be input")
        self._car = _wired(pin, PWM_PIN)
        self._frequency = freq
        self.duty_u16(duty_u16)

    def duty_u16(self, duty=None):
        """Return or set how much of the time it is high, in 65535ths."""
        if duty is None:
            return self._duty
        if not 0 <= duty <= 65535:
            raise ValueError("duty_u16 must be from 0 to 65535")
        self._duty = duty
        if self._car:
            self._car.modulate(self._frequency, duty)
        return None

    def deinit(self):
        """Stop; the pin is low."""
        self.duty_u16(0)


class ADC:
    """A voltage at a pin."""

    ATTN_0DB = 0
    ATTN_2_5DB = 1
    ATTN_6DB = 2
    ATTN_11DB = 3

    def __init__(self, pin, *, atten=0):
        if pin.id in _ADC2:
            raise ValueError("pin %d is one of ADC2, which does not work with Wi-Fi on" % pin.id)
        if pin.id < _ADC1:
            raise ValueError("invalid Pin for ADC")
        self._max = _ADC_MAX[atten]
        self._car = _wired(pin, ADC_PIN)

    def read_uv(self):
        """Return the voltage of this moment in µV; a converter is never quite exact."""
        car = self._car
        if not car:
            return _ADC_MIN
        now = time.ticks_ms()
        if now != car.last:
            car.update(now)
            for pin in _watched:
                pin.look()
        # By the golden ratio, any number of reads meets high and low in the proportion of the duty cycle.
        car.phase = phase = (car.phase + 40503) & 65535
        duty = car.duty
        level = car.high if phase < duty or duty == 65535 else car.low
        return min(max(level + ((phase >> 3 & 15) - 8) * 700, _ADC_MIN), self._max)


class UART:
    """A serial line: only that of the card reader ever brings anything."""

    def __init__(self, id, baudrate=115200, *, rx=None, tx=None, rxbuf=256):
        if id not in (1, 2):
            raise ValueError("UART(%d) is not free" % id)
        if rxbuf <= 128:
            raise OSError(-1, "ESP_FAIL")  # ESP-IDF wants more than the hardware's own 128 bytes
        rx = rx if rx is not None else 9 if id == 1 else 16
        self._works = words[WIRED] and words[READER] == rx and words[BAUDRATE] == baudrate
        self._size = rxbuf
        self._card = words[CARDS]
        self._since = 0
        self._taken = _CARD_STAYS // _FRAME_EVERY * words[FRAME_LENGTH]

    def any(self):
        """Return how many bytes wait to be read: one more every ms while a frame comes."""
        if not self._works:
            return 0
        now = time.ticks_ms()
        if words[CARDS] != self._card:
            self._card = words[CARDS]
            self._since = now
            self._taken = 0
        held = min(time.ticks_diff(now, self._since), _CARD_STAYS)
        if held < 0:
            return 0
        length = words[FRAME_LENGTH]
        came = held // _FRAME_EVERY * length + min(held % _FRAME_EVERY, length)
        return min(max(came - self._taken, 0), self._size)

    def readinto(self, buffer, length=None):
        """Fill a buffer with what is there; return how many bytes that are, None for none."""
        count = min(self.any(), len(buffer) if length is None else length)
        for i in range(count):
            buffer[i] = page[FIRST + FRAME * 4 + self._taken % words[FRAME_LENGTH]]
            self._taken += 1
        return count or None
