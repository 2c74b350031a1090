"""What is wired to the chip's pins, in the page that it shares with the desk: 32-bit words from FIRST on.

Runs on CPython and on MicroPython. The desk writes the wiring and what a person does with cars, cards and faults;
the chip writes what comes of it.
"""

FIRST = 256  # offset of word 0 in the page
CONNECTORS = 3  # at most

# Bytes: levels of all output pins.
LEVELS = FIRST
PINS = 40
# Bytes, in the page: what a person holds each pin to: 0 nothing, 1 low, 2 high.
HELD = 3400

# Words.
WIRED = 10  # how many connectors: state.WIRED
READER = 11  # pin of the card reader's line, -1 without one
STOP = 12  # pin of the emergency stop's loop, -1 without one
PRESSED = 13  # 1: the loop is open
CARDS = 14  # how many cards were presented so far
BAUDRATE = 15  # of the reader's line
FRAME_LENGTH = 16  # bytes that the reader sends for the last card
FRAME = 17  # these bytes, at most 24
USES_PINS = 23  # 1: the firmware uses pins: state.USES_PINS
CONNECTOR = 24  # the first one's words
LENGTH = 32  # words of each connector

# Words of a connector. By the desk, pins first; -1: not wired.
PWM_PIN = 0
ADC_PIN = 1
CONTACTOR = 2
FEEDBACK = 3
GROUND_FAULT = 4
OVERCURRENT = 5
METER = 6
LED = 7
LOCK = 8
LOW = 9  # mV at the ADC for -12 V
HIGH = 10  # and for +12 V
PULSES = 11  # of the meter for a kWh
VOLTAGE = 12
PHASES = 13
PLUG = 14  # how often the plug was put in or pulled out: odd while it is in
WANTS = 15  # Wh, -1: without end
AMPS = 16  # hundredths: what the car takes at most
HABITS = 17
FAULTS = 18
# By the chip.
SEEN = 19  # PLUG as it was when the chip looked last
S2 = 20  # 1: the car asks for energy
TAKEN = 21  # mWh since it was plugged in
ENERGY = 22  # mWh in all, what a good meter has counted
REST = 23  # W ms that are no mWh yet
PULSE = 24  # millionths of the next pulse
OFFERED = 25  # hundredths of an ampere, by the pilot's duty cycle

# Bits of HABITS.
STUBBORN = 1  # goes on when the pilot says stop
VENTILATED = 2  # asks for ventilation (state D)

# Bits of FAULTS.
LEAKING = 1
OVERLOADED = 2
WELDED = 4
SHORTED = 8
