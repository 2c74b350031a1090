"""Puts the EVSE together as config.json has it, and says what is wrong there. Loaded for that moment only.

A further meter or card reader is a module of its own, and a function here that makes it, in METERS or READERS.
"""

from machine import ADC, PWM, UART, Pin

from .evse import Evse, Outlet
from .pilot import Pilot

# By chip (of the image header; 0 is the ESP32): the pins of ADC1. ADC2 gives nothing while there is Wi-Fi.
_ADC1 = {0: (32, 39), 2: (1, 10), 5: (0, 4), 9: (1, 10), 13: (0, 6)}
_FLASH = range(6, 12)  # the ESP32's pins for its flash
_INPUT_ONLY = range(34, 40)  # the ESP32's pins with neither output nor pull-down
_DIPS = (36, 39)  # the ESP32's pins whose level dips when ADC or Wi-Fi get power (ESP-IDF: "do not use the interrupt")
_TX = (1, 10, 17)  # the ESP32's UARTs, whether wanted or not


def pulse(part, phases, voltage, store, key):
    """Make a meter with a pulse output: {"type": "pulse", "pin", "pulses_per_kwh"}."""
    from .meter import Meter

    part.know("type", "pin", "pulses_per_kwh")
    pulses = part.number("pulses_per_kwh", 10, 10000)
    count = 0
    try:
        kept, before = [int(word) for word in (store.get(key) or b"0 1").split()]
        count = max(0, kept * pulses // before)  # if another meter was there, its energy stays
    except (ValueError, ZeroDivisionError):
        pass  # no record of ours
    meter = Meter(count, pulses, phases, voltage, store, key)
    pin = part.input("pin", True)
    number = part.settings["pin"]
    if part.chip == 0 and number in _DIPS:
        part.fail("pin", "is pin %d, where an ESP32 sees pulses that nobody sent: take another" % number)
    pin.irq(meter.pulse, Pin.IRQ_RISING)
    return meter


def rdm6300(part):
    """Make a reader: {"type": "rdm6300", "uart", "rx"}."""
    from .rdm6300 import Rdm6300

    part.know("type", "uart", "rx")
    return Rdm6300(_uart(part, 9600))


def serial(part):
    """Make a reader: {"type": "serial", "uart", "rx", "baudrate"}; its baud rate is 9600 if it isn't there."""
    from .line_reader import LineReader

    part.know("type", "uart", "rx", "baudrate")
    return LineReader(_uart(part, part.number("baudrate", 1200, 115200, 9600)))


def _uart(part, baudrate):
    number = part.number("uart", 1, 2)
    rx = part.claim("rx", True)
    if part.chip == 0:
        part.claim("uart", True, _TX[number])
    return part.make("rx", UART, number, baudrate=baudrate, rx=rx, rxbuf=256)


METERS = {"pulse": pulse}
READERS = {"rdm6300": rdm6300, "serial": serial}


class Part:
    """The settings of one part, and the pins that are taken: {pin: what it is}. ValueError says what is wrong."""

    def __init__(self, name, settings, pins, chip):
        self.name = name
        self.settings = settings
        self.pins = pins
        self.chip = chip
        if not isinstance(settings, dict):
            raise ValueError("%s is no object {…}" % name)

    def know(self, *fields):
        """Refuse fields that mean nothing, rather than pass over what was meant."""
        for field in self.settings:
            if field not in fields:
                self.fail(field, "means nothing; there are %s" % ", ".join(fields))

    def fail(self, field, why):
        """Raise ValueError."""
        raise ValueError('%s: "%s" %s' % (self.name, field, why))

    def get(self, field, needed):
        """Return what a field has, None if it is not there."""
        value = self.settings.get(field)
        if value is None and needed:
            raise ValueError('%s lacks "%s"' % (self.name, field))
        return value

    def part(self, field, needed=False):
        """Return the Part in a field, or None."""
        settings = self.get(field, needed)
        return settings if settings is None else Part("%s, %s" % (self.name, field), settings, self.pins, self.chip)

    def number(self, field, least, most, value=None):
        """Return a whole number within limits; `value`: the default, None if it has to be there."""
        if value is None or field in self.settings:
            value = self.get(field, True)
            if type(value) is not int or not least <= value <= most:
                self.fail(field, "is %s, right is a whole number from %d to %d" % (value, least, most))
        return value

    def claim(self, field, needed, number=None):
        """Return the number of a field's pin, which is taken now, or None."""
        if number is None:
            number = self.get(field, needed)
        if number is None:
            return None
        if type(number) is not int or number < 0:
            self.fail(field, "is %s, right is the number of a pin" % number)
        if number in self.pins:
            self.fail(field, "takes pin %d, which is taken: %s" % (number, self.pins[number]))
        if self.chip == 0 and number in _FLASH:
            self.fail(field, "takes pin %d, which the flash needs" % number)
        self.pins[number] = "%s, %s" % (self.name, field)
        return number

    def make(self, field, kind, *arguments, **options):
        """Return kind(…), whose errors are a field's."""
        try:
            return kind(*arguments, **options)
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            self.fail(field, "is wrong: %s" % error)

    def output(self, field, value=0, needed=False):
        """Return the Pin of a field, an output, or None."""
        number = self.claim(field, needed)
        if number is None:
            return None
        if self.chip == 0 and number in _INPUT_ONLY:
            self.fail(field, "is pin %d, which can only be an input" % number)
        return self.make(field, Pin, number, Pin.OUT, value=value)

    def input(self, field, needed=False):
        """Return the Pin of a field, an input that is low if nothing is connected, or None."""
        number = self.claim(field, needed)
        if number is None:
            return None
        if self.chip == 0 and number in _INPUT_ONLY:
            return self.make(field, Pin, number, Pin.IN)
        return self.make(field, Pin, number, Pin.IN, Pin.PULL_DOWN)

    def driver(self, field, drivers):
        """Return (Part, function) for the type of a part, or None."""
        part = self.part(field)
        if part is None:
            return None
        kind = part.get("type", True)
        if not isinstance(kind, str) or kind not in drivers:
            part.fail("type", "is %s, there are %s" % (kind, ", ".join(sorted(drivers))))
        return part, drivers[kind]


def _pilot(part):
    part.know("pwm", "adc", "mv")
    pin = part.output("pwm", 1, True)  # +12 V from the first moment on
    adc = part.claim("adc", True)
    least, most = _ADC1.get(part.chip, (0, adc))
    if not least <= adc <= most:
        part.fail("adc", "is pin %d, right is one of ADC1: %d to %d" % (adc, least, most))
    mv = part.get("mv", True)
    if not isinstance(mv, list) or len(mv) != 2 or not all(type(value) is int for value in mv):
        part.fail("mv", "is %s, right are the mV at the ADC for -12 V and +12 V: [300, 3000]" % mv)
    if not 0 <= mv[0] <= mv[1] - 1000 <= 2300:
        part.fail("mv", "is %s, right is from 0 to 3300, at least 1000 apart" % mv)
    pwm = part.make("pwm", PWM, pin, freq=1000, duty_u16=65535)
    adc = part.make("adc", ADC, part.make("adc", Pin, adc), atten=ADC.ATTN_11DB)
    try:
        adc.read_uv()
    except OSError:  # better now than from the loop
        part.fail("adc", "can't be read: the maker of this chip has not calibrated its ADC, another board is needed")
    return Pilot(pwm, adc, mv[0], mv[1])


def _outlet(number, part, emergency, store):
    fields = "contactor", "pilot", "feedback", "ground_fault", "overcurrent", "meter", "led", "lock", "max_current"
    part.know(*fields, "phases", "voltage", "ventilation")
    contactor = part.output("contactor", 0, True)
    maximum = part.number("max_current", 6, 80)
    phases = part.number("phases", 1, 3, 1)
    if phases == 2:
        part.fail("phases", "is 2, right is 1 or 3")
    voltage = part.number("voltage", 100, 300, 230)
    ventilation = part.settings.get("ventilation", False)
    if not isinstance(ventilation, bool):
        part.fail("ventilation", "is %s, right is true or false" % ventilation)
    outlet = Outlet(number, _pilot(part.part("pilot", True)), contactor, maximum, ventilation)
    outlet.feedback = part.input("feedback")
    outlet.ground_fault = part.input("ground_fault")
    outlet.overcurrent = part.input("overcurrent")
    outlet.emergency = emergency
    outlet.voltage, outlet.phases = voltage, phases
    outlet.lock = part.output("lock")
    led = part.output("led")
    if led:
        from .led import Led

        outlet.led = Led(led)
    meter = part.driver("meter", METERS)
    if meter:
        outlet.meter = meter[1](meter[0], phases, voltage, store, "meter%d" % number)
    if outlet.ground_fault:
        outlet.ground_fault.irq(outlet.trip_ground, Pin.IRQ_RISING)
    if outlet.overcurrent:
        outlet.overcurrent.irq(outlet.trip_overcurrent, Pin.IRQ_RISING)
    return outlet


def build(config, chip, store, log):
    """Return the Evse for config.json's "connectors", "reader" and "emergency_stop"; all contactors are open.

    chip: its id as images have it. store: for the meters' registers. ValueError names the connector and the field.
    """
    whole = Part("the charger", config, {}, chip)
    connectors = whole.get("connectors", True)
    if not isinstance(connectors, list):
        raise ValueError('"connectors" is no list [{…}]')
    emergency = whole.input("emergency_stop")
    outlets = []
    for settings in connectors:
        number = len(outlets) + 1
        outlets.append(_outlet(number, Part("connector %d" % number, settings, whole.pins, chip), emergency, store))
    if emergency:

        def stop(pin):
            for outlet in outlets:
                outlet.trip_emergency(pin)

        emergency.irq(stop, Pin.IRQ_FALLING)
    reader = whole.driver("reader", READERS)
    return Evse(outlets, reader and reader[1](reader[0]), log)
