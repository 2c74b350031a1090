"""The hardware around an outlet, as small as it can be: pins, a pilot line with a car at its end, a contactor."""

LOW, HIGH = 300, 3000  # mV at the ADC for -12 V and +12 V
VOLTS = {"A": 12, "B": 9, "C": 6, "D": 3, "E": 0, "F": -12}


class Line:
    """A pin. An input's level is set by `set`, which calls the interrupt handler as the chip does."""

    IRQ_RISING = 1
    IRQ_FALLING = 2

    def __init__(self, level=0):
        self.level = level
        self.handler = None

    def value(self, level=None):
        if level is None:
            return self.level
        self.level = 1 if level else 0

    def irq(self, handler, trigger):
        self.handler = handler
        self.trigger = trigger

    def set(self, level):
        was, self.level = self.level, level
        if self.handler and was != level and self.trigger == (self.IRQ_RISING if level else self.IRQ_FALLING):
            self.handler(self)


class Wire:
    """The pilot: PWM and ADC in one, and what the car makes of it. car: "A" to "F". diode: whether it has one."""

    def __init__(self, car="A", diode=True):
        self.car = car
        self.diode = diode
        self.duty = 0
        self.phase = 0
        self.reads = 0
        self.noise = 0

    def duty_u16(self, duty):
        self.duty = duty

    def read_uv(self):
        self.reads += 1
        self.phase = (self.phase + 2412) % 65536  # 37 us
        volts = VOLTS[self.car]
        if self.phase > self.duty and volts > 0:
            volts = -12 if self.diode else -volts
        self.noise = 150000 - self.noise if self.noise else 0
        return LOW * 1000 + (volts + 12) * (HIGH - LOW) * 125 // 3 + self.noise


class Contactor(Line):
    """A contactor with its feedback contact; welded: it never opens, stuck: it never closes. counts its closings."""

    def __init__(self):
        super().__init__()
        self.feedback = Line()
        self.welded = self.stuck = False
        self.closings = 0

    def value(self, level=None):
        if level and not self.level:
            self.closings += 1
        return super().value(level)

    def settle(self):
        """Let it move, and its feedback with it."""
        self.feedback.level = 1 if self.welded or (self.level and not self.stuck) else 0
