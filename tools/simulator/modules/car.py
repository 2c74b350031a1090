"""Electric cars at the connectors, as the chip's pins see them; with the meters, the contactors and their faults.

All of it is worked out when the firmware looks at a pin, in the chip's time, and makes no garbage on the heap.
"""

import time

import uctypes
from machine import soc
from wiring import (
    AMPS,
    CONNECTOR,
    CONNECTORS,
    CONTACTOR,
    ENERGY,
    FAULTS,
    FIRST,
    HABITS,
    HIGH,
    LENGTH,
    LEVELS,
    LOW,
    OFFERED,
    PHASES,
    PLUG,
    PULSE,
    PULSES,
    REST,
    S2,
    SEEN,
    SHORTED,
    STUBBORN,
    TAKEN,
    VENTILATED,
    VOLTAGE,
    WANTS,
    WELDED,
    WIRED,
)

_RESOLVES_AFTER = 1000  # ms from the offer of energy until the car asks for it
_GIVES_UP_AFTER = 800  # ms from the end of the offer
_CONTACTOR_MOVES = 30  # ms
_WORDS = CONNECTOR + CONNECTORS * LENGTH

page = soc.page
words = uctypes.struct(uctypes.addressof(page) + FIRST, {"words": (uctypes.ARRAY, uctypes.INT32 | _WORDS)}).words


class Car:
    """A connector with whatever is plugged in there."""

    meter = None  # its pin, if that is to interrupt
    duty = 0  # of the pilot, in 65536ths
    frequency = 0
    was_closed = 0  # the contactor, before it moved
    phase = 0

    def __init__(self, first):
        self.first = first  # word
        self.last = self.since = self.moved = time.ticks_ms()
        if not words[first + HABITS] & STUBBORN:
            words[first + S2] = 0  # without a pilot, while the chip was off
        self.update(self.last)

    def closed(self):
        """Return whether the contacts of the contactor are closed, the moment it needs to move left aside."""
        first = self.first
        return words[first + CONTACTOR] >= 0 and page[LEVELS + words[first + CONTACTOR]] or self.welded()

    def welded(self):
        """Return whether they cannot open."""
        return words[self.first + FAULTS] & WELDED and 1

    def feedback(self):
        """Return what the contactor's auxiliary contact says."""
        if time.ticks_diff(time.ticks_ms(), self.moved) < _CONTACTOR_MOVES:
            return self.was_closed
        return self.closed()

    def switch(self, level):
        """Set the contactor's pin."""
        self.update(time.ticks_ms())
        pin = LEVELS + words[self.first + CONTACTOR]
        if page[pin] != level:
            self.was_closed = self.feedback()
            self.moved = self.last
            page[pin] = level

    def modulate(self, frequency, duty):
        """Set the pilot. IEC 61851-1, table A.8: what a duty cycle offers."""
        self.update(time.ticks_ms())
        self.frequency, self.duty = frequency, duty
        permyriad = duty * 10000 // 65535
        if not 980 <= frequency <= 1020 or not 800 <= permyriad <= 9700:
            offered = 0
        elif permyriad <= 8500:
            offered = max((duty * 6000 + 32767) // 65535, 600)
        else:
            offered = (duty * 25000 + 32767) // 65535 - 16000
        words[self.first + OFFERED] = min(offered, 8000)
        self.update(self.last)

    def update(self, now):
        """Bring everything from when it was looked at last to now."""
        first = self.first
        passed = time.ticks_diff(now, self.last)
        self.last = now
        if words[first + PLUG] != words[first + SEEN]:
            words[first + SEEN] = words[first + PLUG]
            words[first + S2] = words[first + TAKEN] = 0
            self.since = now
        elif words[first + S2] and passed > 0 and self.closed():
            self._charge(passed)
        shorted = words[first + FAULTS] & SHORTED
        wants = words[first + WANTS]
        is_full = 0 <= wants * 1000 <= words[first + TAKEN]
        is_plugged = words[first + PLUG] & 1
        asks = is_plugged and words[first + OFFERED] and not shorted and not is_full and 1 or 0
        if asks == words[first + S2]:
            self.since = now
        elif asks:
            if time.ticks_diff(now, self.since) >= _RESOLVES_AFTER:
                words[first + S2] = 1
        elif is_full or (not words[first + HABITS] & STUBBORN and time.ticks_diff(now, self.since) >= _GIVES_UP_AFTER):
            words[first + S2] = 0
        high = 12
        if words[first + S2]:
            high = 3 if words[first + HABITS] & VENTILATED else 6
        elif is_plugged:
            high = 9
        self.high = self._microvolts(0 if shorted else high)
        self.low = self._microvolts(0 if shorted else -12)

    def _microvolts(self, volts):
        low = words[self.first + LOW]
        return low * 1000 + (volts + 12) * 1000 * (words[self.first + HIGH] - low) // 24

    def _charge(self, passed):
        """Let the car draw for so many ms."""
        first = self.first
        amps = words[first + AMPS]
        if words[first + OFFERED]:
            amps = min(amps, words[first + OFFERED])
        elif not words[first + HABITS] & STUBBORN:
            return
        work = words[first + REST] + amps * words[first + VOLTAGE] * words[first + PHASES] // 100 * passed
        words[first + REST] = work % 3600
        drawn = work // 3600
        if words[first + WANTS] >= 0:
            drawn = min(drawn, words[first + WANTS] * 1000 - words[first + TAKEN])
        words[first + TAKEN] += drawn
        words[first + ENERGY] += drawn
        pulse = words[first + PULSE] + drawn * words[first + PULSES]
        words[first + PULSE] = pulse % 1000000
        if self.meter:
            for _ in range(pulse // 1000000):
                self.meter.interrupt(1)
                self.meter.interrupt(0)


cars = [Car(CONNECTOR + number * LENGTH) for number in range(words[WIRED])]
