"""The control pilot of IEC 61851-1, Annex A: what the charger offers, and in which state the car is.

The charger's oscillator gives +12 V, or a square wave of 1 kHz between +12 V and -12 V whose duty cycle says how much
current there is. The car loads the positive half with its resistors, behind a diode, so that the negative one stays.
"""

from micropython import const

# What read() returns; STATES gives the letters.
NO_DIODE = const(6)
STATES = "ABCDEFE"

LEAST = const(6)  # A; less can't be offered

_STEADY = const(65535)  # duty cycle of a steady +12 V: nothing is offered
_READS = const(32)  # of the ADC, 30 to 100 us each: more than one period of the square wave
_BURSTS = const(4)  # how often, at most, until both halves were met: the shortest is 40 us


class Pilot:
    """One pilot. pwm: at 1 kHz, high for +12 V. adc: read_uv() follows the pilot's voltage, linearly.

    low, high: mV that the ADC has for -12 V and for +12 V. `amps`: what is offered, 0 for nothing.
    """

    def __init__(self, pwm, adc, low, high):
        self.duty_u16 = pwm.duty_u16
        self.read_uv = adc.read_uv  # bound once, which would else take memory each time
        # Table A.2 has 12, 9, 6, 3 and 0 V within 1 V or less: states begin in the middle. The voltage of the negative
        # half is -12 V, -9 V or more if a car without a diode loads it too.
        self.limits = tuple((low * 24 + (high - low) * (half + 24) // 2) * 125 // 3 for half in (21, 15, 9, 3, -3))
        self.diode = (low * 24 + (high - low) * 3 // 2) * 125 // 3  # -10.5 V
        self.state = 0
        self.offer(0)

    def offer(self, amps):
        """Offer a current of 6 to 80 A from the next period of 1 ms on, or none: anything below 6 A."""
        self.amps = amps = amps if amps >= LEAST else 0
        # Table A.7: the duty cycle is amps / 0.6 % up to 51 A, then amps / 2.5 + 64 %.
        if not amps:
            duty = _STEADY
        elif amps <= 51:
            duty = amps * _STEADY / 60
        else:
            duty = (amps / 2.5 + 64) * _STEADY / 100
        self.duty_u16(int(duty))

    def read(self, state=0):
        """Return what the car says now: 0 to 5 for the states A to F, or NO_DIODE. `state`: what it was taken for.

        The highest voltage of a burst of reads counts. Noise makes it higher, which is to the safe side.
        """
        read = self.read_uv
        top = bottom = read()
        for _ in range(_BURSTS):
            for _ in range(_READS):
                value = read()
                if value > top:
                    top = value
                elif value < bottom:
                    bottom = value
            if not self.amps or (top >= self.limits[3] and bottom <= self.diode):
                break
        found = 0
        for limit in self.limits:
            if top >= limit:
                break
            found += 1
        if 0 < found < 4 and (bottom > self.diode if self.amps else state == NO_DIODE):
            return NO_DIODE  # without the square wave nobody can tell: it stays until there is one, or no car
        return found
