"""How config.json's parts are put together, and what is said about wrong ones."""

import sys
import unittest

from electrics import Line


class Pin(Line):
    """A pin of an ESP32."""

    IN, OUT, PULL_DOWN = 1, 3, 1
    made = {}

    def __init__(self, number, mode=-1, pull=-1, value=None):
        if number > 39 or number in (20, 24, 28, 29, 30, 31):
            raise ValueError("invalid pin")
        if mode == Pin.OUT and number >= 34:
            raise ValueError("pin can only be input")
        super().__init__(value)
        self.number, self.mode, self.pull = number, mode, pull
        self.made[number] = self


class Part:
    """PWM, ADC, UART."""

    ATTN_11DB = 3

    def __init__(self, *arguments, **options):
        self.arguments, self.options = arguments, options
        self.duties = []

    def duty_u16(self, duty):
        self.duties.append(duty)

    def read_uv(self):
        return 3000000

    def any(self):
        return 0


class Machine:
    Pin, PWM, ADC, UART = Pin, Part, Part, Part


sys.modules["machine"] = Machine

from hw import fitting  # noqa: E402


class Store:
    def __init__(self, value=None):
        self.value = value
        self.key = None

    def get(self, key):
        self.key = key
        return self.value

    def set(self, key, value):
        self.value = value


def connector(**changes):
    """A connector of config.json; None takes a field away."""
    fields = {
        "pilot": {"pwm": 25, "adc": 34, "mv": [300, 3000]},
        "contactor": 26,
        "feedback": 27,
        "ground_fault": 32,
        "overcurrent": 33,
        "meter": {"type": "pulse", "pin": 35, "pulses_per_kwh": 1000},
        "led": 2,
        "lock": 14,
        "max_current": 16,
        "phases": 3,
        "voltage": 230,
        "ventilation": True,
    }
    fields.update(changes)
    return {field: value for field, value in fields.items() if value is not None}


SECOND = {"pilot": {"pwm": 18, "adc": 39, "mv": [0, 3300]}, "contactor": 19, "max_current": 32}


def pilot(**changes):
    fields = {"pwm": 25, "adc": 34, "mv": [300, 3000]}
    fields.update(changes)
    return connector(pilot=fields)


def meter(**changes):
    fields = {"type": "pulse", "pin": 35, "pulses_per_kwh": 1000}
    fields.update(changes)
    return connector(meter=fields)


class Test(unittest.TestCase):
    def setUp(self):
        Pin.made.clear()

    def build(self, *connectors, chip=0, store=None, **others):
        config = {"connectors": list(connectors)}
        config.update(others)
        return fitting.build(config, chip, store or Store(), print)

    def assertRefused(self, text, *connectors, **others):
        try:
            self.build(*connectors, **others)
        except ValueError as error:
            self.assertTrue(text in str(error), (text, str(error)))
        else:
            self.fail("not refused: " + text)

    def test_everything_is_where_it_belongs(self):
        evse = self.build(connector(), SECOND, reader={"type": "rdm6300", "uart": 2, "rx": 16}, emergency_stop=36)
        first, second = evse.outlets
        self.assertEqual((first.number, first.maximum, first.ventilation), (1, 16, True))
        self.assertEqual((second.number, second.maximum, second.ventilation), (2, 32, False))
        pins = first.contactor, first.feedback, first.ground_fault, first.overcurrent, first.led.pin, first.lock
        self.assertEqual([pin.number for pin in pins], [26, 27, 32, 33, 2, 14])
        self.assertEqual((first.meter.phases, first.meter.voltage, first.meter.per_kwh), (3, 230, 1000))
        self.assertTrue(first.emergency is second.emergency is Pin.made[36])
        self.assertEqual(evse.reader.uart.arguments, (2,))
        self.assertEqual(evse.reader.uart.options, {"baudrate": 9600, "rx": 16, "rxbuf": 256})
        self.assertTrue(second.meter is second.led is second.lock is second.feedback is None)

    def test_a_serial_reader_has_a_baud_rate(self):
        for settings, baudrate in (({}, 9600), ({"baudrate": 19200}, 19200)):
            fields = {"type": "serial", "uart": 2, "rx": 16}
            fields.update(settings)
            reader = self.build(SECOND, reader=fields).reader
            self.assertEqual(type(reader).__name__, "LineReader")
            self.assertEqual(reader.uart.options, {"baudrate": baudrate, "rx": 16, "rxbuf": 256})

    def test_contactors_are_open_and_pilots_at_12_volts_at_first(self):
        self.build(connector(), SECOND)
        self.assertEqual([Pin.made[number].level for number in (26, 19, 25, 18, 14, 2)], [0, 0, 1, 1, 0, 0])

    def test_inputs_are_low_if_a_wire_breaks_where_the_chip_can_do_that(self):
        self.build(connector(), emergency_stop=36)
        for number in (27, 32, 33):
            self.assertEqual((Pin.made[number].mode, Pin.made[number].pull), (Pin.IN, Pin.PULL_DOWN))
        self.assertEqual((Pin.made[36].mode, Pin.made[36].pull), (Pin.IN, -1))

    def test_faults_open_the_contactors_by_interrupt(self):
        first, second = self.build(connector(), SECOND, emergency_stop=36).outlets
        for number, level, outlets in ((32, 1, [first]), (33, 1, [first]), (36, 0, [first, second])):
            Pin.made[number].level = not level
            for outlet in outlets:
                outlet.switch(True)
            Pin.made[number].set(level)
            for outlet in outlets:
                self.assertEqual((outlet.closed, outlet.contactor.level), (False, 0))

    def test_a_meter_goes_on_where_it_was(self):
        for record, pulses, energy in (
            (None, 1000, 0),
            (b"4711 1000", 1000, 4711),
            (b"4711 1000", 500, 4710),  # another meter
            (b"nonsense", 1000, 0),
            (b"4711 0", 1000, 0),
            (b"-5 1000", 1000, 0),
        ):
            store = Store(record)
            outlet = self.build(meter(pulses_per_kwh=pulses), store=store).outlets[0]
            self.assertEqual((outlet.energy, store.key), (energy, "meter1"))
            for _ in range(pulses):
                Pin.made[35].set(1)
                Pin.made[35].set(0)
            outlet.keep()
            self.assertEqual(self.build(meter(pulses_per_kwh=pulses), store=store).outlets[0].energy, energy + 1000)

    def test_what_is_wrong_is_named(self):
        for settings, text in (
            (26, "connector 1 is no object {…}"),
            (connector(contactor=None), 'connector 1 lacks "contactor"'),
            (connector(pilot=None), 'connector 1 lacks "pilot"'),
            (connector(max_current=None), 'connector 1 lacks "max_current"'),
            (connector(contactor=34), 'connector 1: "contactor" is pin 34, which can only be an input'),
            (connector(led=36), 'connector 1: "led" is pin 36, which can only be an input'),
            (connector(contactor=99), 'connector 1: "contactor" is wrong: invalid pin'),
            (connector(contactor=20), 'connector 1: "contactor" is wrong: invalid pin'),
            (connector(feedback=99), 'connector 1: "feedback" is wrong: invalid pin'),
            (connector(contactor="26"), 'connector 1: "contactor" is 26, right is the number of a pin'),
            (connector(contactor=True), 'connector 1: "contactor" is True, right is the number of a pin'),
            (connector(contactor=-1), 'connector 1: "contactor" is -1, right is the number of a pin'),
            (connector(led=[2]), 'connector 1: "led" is [2], right is the number of a pin'),
            (connector(contactor=6), 'connector 1: "contactor" takes pin 6, which the flash needs'),
            (connector(led=26), 'connector 1: "led" takes pin 26, which is taken: connector 1, contactor'),
            (connector(max_current=5), '"max_current" is 5, right is a whole number from 6 to 80'),
            (connector(max_current=81), '"max_current" is 81, right is'),
            (connector(max_current=16.5), '"max_current" is 16.5, right is'),
            (connector(max_current="16"), '"max_current" is 16, right is a whole number'),
            (connector(phases=2), 'connector 1: "phases" is 2, right is 1 or 3'),
            (connector(phases=4), '"phases" is 4, right is'),
            (connector(voltage=0), '"voltage" is 0, right is'),
            (connector(ventilation=1), '"ventilation" is 1, right is true or false'),
            (connector(max_curent=16), '"max_curent" means nothing; there are contactor, '),
            (pilot(pwm=None), 'connector 1, pilot lacks "pwm"'),
            (pilot(adc=None), 'connector 1, pilot lacks "adc"'),
            (pilot(mv=None), 'connector 1, pilot lacks "mv"'),
            (pilot(pwm=35), 'connector 1, pilot: "pwm" is pin 35, which can only be an input'),
            (pilot(adc=4), 'connector 1, pilot: "adc" is pin 4, right is one of ADC1: 32 to 39'),
            (pilot(adc=25), 'connector 1, pilot: "adc" takes pin 25, which is taken: connector 1, pilot, pwm'),
            (pilot(mv=3000), 'connector 1, pilot: "mv" is 3000, right are the mV'),
            (pilot(mv=[3000, 300]), 'connector 1, pilot: "mv" is [3000, 300], right is from 0 to 3300'),
            (pilot(mv=[0, 900]), "at least 1000 apart"),
            (pilot(mv=[0, 3301]), "at least 1000 apart"),
            (pilot(mv=[-1, 3000]), "at least 1000 apart"),
            (pilot(mv=[0, "3000"]), "right are the mV"),
            (connector(pilot=25), "connector 1, pilot is no object {…}"),
            (connector(meter=35), "connector 1, meter is no object {…}"),
            (meter(type=None), 'connector 1, meter lacks "type"'),
            (meter(type="modbus"), 'connector 1, meter: "type" is modbus, there are pulse'),
            (meter(type=["pulse"]), "connector 1, meter: \"type\" is ['pulse'], there are pulse"),
            (meter(pin=None), 'connector 1, meter lacks "pin"'),
            (meter(pin=26), 'connector 1, meter: "pin" takes pin 26, which is taken'),
            (meter(pin=36), 'connector 1, meter: "pin" is pin 36, where an ESP32 sees pulses that nobody sent'),
            (meter(pin=39), 'connector 1, meter: "pin" is pin 39, where an ESP32 sees pulses that nobody sent'),
            (meter(pulses_per_kwh=9), '"pulses_per_kwh" is 9, right is'),
            (meter(pulses_per_kwh=None), 'connector 1, meter lacks "pulses_per_kwh"'),
            (meter(baudrate=9600), 'connector 1, meter: "baudrate" means nothing'),
        ):
            self.assertRefused(text, settings)

    def test_a_chip_whose_adc_can_not_be_read_is_told_at_the_start(self):
        def fails(adc):
            raise OSError(-258, "ESP_ERR_INVALID_ARG")

        works = Part.read_uv
        Part.read_uv = fails
        try:
            self.assertRefused('connector 1, pilot: "adc" can\'t be read: the maker of this chip', connector())
        finally:
            Part.read_uv = works

    def test_what_is_wrong_outside_the_connectors_is_named_too(self):
        for others, text in (
            ({"emergency_stop": "36"}, 'the charger: "emergency_stop" is 36, right is the number of a pin'),
            ({"emergency_stop": 26}, 'connector 1: "contactor" takes pin 26, which is taken: the charger, emerg'),
            ({"reader": 2}, "the charger, reader is no object {…}"),
            ({"reader": {}}, 'the charger, reader lacks "type"'),
            ({"reader": {"type": "mfrc522"}}, '"type" is mfrc522, there are rdm6300, serial'),
            ({"reader": {"type": "rdm6300", "uart": 0, "rx": 16}}, '"uart" is 0, right is a whole number from 1'),
            ({"reader": {"type": "rdm6300", "uart": 2}}, 'the charger, reader lacks "rx"'),
            ({"reader": {"type": "rdm6300", "uart": 2, "rx": 26}}, '"rx" takes pin 26, which is taken: connector 1,'),
            ({"reader": {"type": "rdm6300", "uart": 1, "rx": 16}}, '"uart" takes pin 10, which the flash needs'),
            ({"reader": {"type": "rdm6300", "uart": 2, "rx": 16, "tx": 4}}, '"tx" means nothing'),
            ({"reader": {"type": "rdm6300", "uart": 2, "rx": 16, "baudrate": 9600}}, '"baudrate" means nothing'),
            ({"reader": {"type": "serial", "uart": 2, "rx": 16, "baudrate": 300}}, '"baudrate" is 300, right is a'),
            ({"reader": {"type": "serial", "uart": 2, "rx": 16, "baudrate": "9600"}}, '"baudrate" is 9600, right is'),
            ({"reader": {"type": "serial", "uart": 3, "rx": 16}}, '"uart" is 3, right is a whole number from 1 to 2'),
            ({"reader": {"type": "serial", "uart": 2}}, 'the charger, reader lacks "rx"'),
            ({"connectors": 26}, '"connectors" is no list'),
            ({"connectors": [connector(), connector()]}, 'connector 2: "contactor" takes pin 26, which is taken: conn'),
        ):
            self.assertRefused(text, connector(), **others)

    def test_another_chip_has_other_pins(self):
        self.assertRefused("right is one of ADC1: 1 to 10", connector(), chip=9)
        evse = self.build(pilot(adc=1), chip=9, reader={"type": "rdm6300", "uart": 1, "rx": 11})
        self.assertEqual(evse.reader.uart.arguments, (1,))


if __name__ == "__main__":
    unittest.main()
