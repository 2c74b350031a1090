import unittest

from hw.safety import CLOSE, HOLD, OPEN, RULES, judge

SAMPLES = "ABCDEFX"  # X: a car without a diode
FAULTS = (  # in the order of their bits
    ("OtherError", "EmergencyStop"),
    ("GroundFailure", None),
    ("OverCurrentFailure", None),
    ("OverCurrentFailure", "Car draws more than it is offered"),
    ("PowerSwitchFailure", "Contactor is closed and should be open"),
    ("PowerSwitchFailure", "Contactor is open and should be closed"),
)
FIRST = (0, 1, 4, 5, 2, 3)  # which of several faults is told


def expected_contactor(sample, state, steady, ventilation, permitted, leaving, resting, faults):
    # Written from the standard and the README, not from the table.
    asks = sample == "C" or (sample == "D" and ventilation)
    if faults or not asks or state in "EFX" or (state == "D" and not ventilation):
        return OPEN
    if permitted:
        return CLOSE if steady and not resting else HOLD
    return HOLD if leaving else OPEN


def expected_error(state, ventilation, faults):
    for i in FIRST:
        if faults >> i & 1:
            return FAULTS[i]
    if state in "EFX":
        return (
            "EVCommunicationError",
            {"E": "Pilot at 0 V", "F": "Pilot negative", "X": "Car without a diode"}[state],
        )
    if state == "D" and not ventilation:
        return "NoError", "Car needs ventilation"
    return "NoError", None


class Test(unittest.TestCase):
    def test_every_combination_of_inputs_has_the_contactor_and_the_error_that_it_has_to_have(self):
        wrong = []
        for sample in range(7):
            for state in range(7):
                for bits in range(32):
                    steady, ventilation, permitted, leaving, resting = [bool(bits >> i & 1) for i in range(5)]
                    for faults in range(64):
                        case = SAMPLES[sample], SAMPLES[state], steady, ventilation, permitted, leaving, resting, faults
                        rule = judge(sample, state, *case[2:])
                        if rule[1] != expected_contactor(*case) or rule[2:] != expected_error(
                            case[1], ventilation, faults
                        ):
                            wrong.append((case, rule))
        self.assertEqual(wrong[:5], [])

    def test_the_currents_that_are_permitted_are_numbers_too(self):
        self.assertEqual(judge(2, 2, True, False, 16, False, False, 0)[1], CLOSE)
        self.assertEqual(judge(2, 2, True, False, 0, False, False, 0)[1], OPEN)

    def test_every_rule_is_within_what_the_protocol_can_say(self):
        errors = "NoError OtherError GroundFailure PowerSwitchFailure OverCurrentFailure EVCommunicationError".split()
        for _, contactor, error, info in RULES:
            self.assertTrue(contactor in (OPEN, HOLD, CLOSE) and error in errors and len(info or "") <= 50)
            self.assertTrue(error == "NoError" or contactor == OPEN)


if __name__ == "__main__":
    unittest.main()
