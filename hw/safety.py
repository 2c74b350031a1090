"""When a contactor may be closed: the rules as a table, and the function that applies it. No hardware, no state."""

from micropython import const

# What a rule makes of the contactor.
OPEN = const(0)
HOLD = const(1)  # it stays as it is: a car that still draws may finish, one that asks has to wait
CLOSE = const(2)

# Facts. The first six are faults, in one number with the bits that hw/evse.py gives them.
_EMERGENCY = const(1)
_GROUND = const(2)
_OVERCURRENT = const(4)
_OVERLOAD = const(8)
_WELDED = const(16)
_STUCK = const(32)
_SHORT = const(64)  # the pilot for three samples: state E, or F, or without the car's diode
_NEGATIVE = const(128)
_NO_DIODE = const(256)
_UNVENTILATED = const(512)  # a car in state D where there is no ventilation
_IDLE = const(1024)  # this very sample of the pilot asks for no energy: A, B, E, F, or without the car's diode
_WITHHELD = const(2048)  # nothing is permitted, and the car's time to stop is over
_LEAVING = const(4096)  # nothing is permitted any more, and the car has time to stop
_UNSTEADY = const(8192)  # the samples differ
_RESTING = const(16384)  # the contactor opened a moment ago

# The first rule that any of the facts is in applies: (facts, contactor, ChargePointErrorCode, info).
RULES = (
    (_EMERGENCY, OPEN, "OtherError", "EmergencyStop"),
    (_GROUND, OPEN, "GroundFailure", None),
    (_WELDED, OPEN, "PowerSwitchFailure", "Contactor is closed and should be open"),
    (_STUCK, OPEN, "PowerSwitchFailure", "Contactor is open and should be closed"),
    (_OVERCURRENT, OPEN, "OverCurrentFailure", None),
    (_OVERLOAD, OPEN, "OverCurrentFailure", "Car draws more than it is offered"),
    (_SHORT, OPEN, "EVCommunicationError", "Pilot at 0 V"),
    (_NEGATIVE, OPEN, "EVCommunicationError", "Pilot negative"),
    (_NO_DIODE, OPEN, "EVCommunicationError", "Car without a diode"),
    (_UNVENTILATED, OPEN, "NoError", "Car needs ventilation"),
    (_IDLE, OPEN, "NoError", None),
    (_WITHHELD, OPEN, "NoError", None),
    (_LEAVING, HOLD, "NoError", None),
    (_UNSTEADY, HOLD, "NoError", None),
    (_RESTING, HOLD, "NoError", None),
    (-1, CLOSE, "NoError", None),
)

# By the number that hw/pilot.py gives what it reads: A, B, C, D, E, F, no diode.
_SAMPLE = (_IDLE, _IDLE, 0, _UNVENTILATED, _IDLE, _IDLE, _IDLE)
_STATE = (0, 0, 0, _UNVENTILATED, _SHORT, _NEGATIVE, _NO_DIODE)


def judge(sample, state, steady, ventilation, permitted, leaving, resting, faults):
    """Return the rule of RULES that applies.

    sample: what the pilot says now, state: what it said three times running the last time it did (hw/pilot.py's
    numbers); steady: whether the last three samples are the same. ventilation: the place has it. permitted: the
    protocol lets the car draw; leaving: it did until a moment ago. resting: the contactor opened a moment ago.
    faults: a number with a bit for each.
    """
    facts = _STATE[state]
    if ventilation:
        facts &= ~_UNVENTILATED
    facts |= faults
    if _SAMPLE[sample] and not (sample == 3 and ventilation):
        facts |= _IDLE
    if not permitted:
        facts |= _LEAVING if leaving else _WITHHELD
    if not steady:
        facts |= _UNSTEADY
    if resting:
        facts |= _RESTING
    for rule in RULES:
        if facts & rule[0]:
            return rule
    return RULES[-1]
