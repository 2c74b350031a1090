import unittest

from ocpp.calls import answer, check
from ocpp.charge_point import ChargePoint
from ocpp.outbox import Outbox
from ocpp.rpc import CallError
from scripted import Clock


def code_of(function, *arguments):
    """Return the code of the CallError that a call raises, or None."""
    try:
        function(*arguments)
    except CallError as error:
        return error.code


class Answer(unittest.TestCase):
    def setUp(self):
        self.charge_point = ChargePoint(1, Outbox(), Clock())

    def code(self, action, payload):
        return code_of(answer, self.charge_point, action, payload)

    def test_payload_is_checked_before_the_handler_runs(self):
        self.assertEqual(self.code("Reset", {}), "OccurenceConstraintViolation")

    def test_handler_may_name_what_follows_the_answer(self):
        kinds = []
        self.charge_point.reset = kinds.append
        result, after = answer(self.charge_point, "Reset", {"type": "Soft"})
        self.assertEqual((result, kinds), ({"status": "Accepted"}, []))
        after()
        self.assertEqual(kinds, ["Soft"])

    def test_standard_action_without_a_handler_is_not_supported(self):
        for action in ("ClearCache", "GetLocalListVersion", "ExtendedTriggerMessage", "SignedUpdateFirmware", "GetLog"):
            self.assertEqual(self.code(action, {}), "NotSupported", action)

    def test_other_action_is_not_implemented(self):
        for action in (
            "Foo",
            "",
            "clearcache",
            "Heartbeat",
            "FirmwareStatusNotification",
            "ClearCache DataTransfer",
            "x" * 9999,
        ):
            self.assertEqual(self.code(action, {}), "NotImplemented", action)


FIELDS = {
    "text": (str, 5, True),
    "kind": (str, ("Hard", "Soft"), False),
    "number": (int, 100, False),
    "texts": (list, (str, 5), False),
}


class Check(unittest.TestCase):
    def code(self, **payload):
        payload.setdefault("text", "x")
        return code_of(check, payload, FIELDS)

    def test_what_fits_passes(self):
        self.assertIsNone(self.code(text="", kind="Soft", number=0, texts=[]))
        self.assertIsNone(self.code(text="12345", kind="Hard", number=100, texts=["", "12345"]))

    def test_missing_field(self):
        self.assertEqual(code_of(check, {"kind": "Soft"}, FIELDS), "OccurenceConstraintViolation")

    def test_unknown_field(self):
        self.assertEqual(self.code(other=1), "FormationViolation")
        for name in (None, 7, "x" * 9999):
            self.assertEqual(code_of(check, {"text": "x", name: 1}, FIELDS), "FormationViolation")

    def test_wrong_type(self):
        for value in (None, 1, True, 1.5, [], {}):
            self.assertEqual(self.code(text=value), "TypeConstraintViolation")
        for value in (None, "1", True, 1.0, [], {}):
            self.assertEqual(self.code(number=value), "TypeConstraintViolation")
        for value in (None, "x", {}, [1], ["x", None], [[]]):
            self.assertEqual(self.code(texts=value), "TypeConstraintViolation")

    def test_out_of_bounds(self):
        for payload in ({"text": "123456"}, {"kind": "soft"}, {"kind": ""}, {"texts": ["x", "123456"]}):
            self.assertEqual(self.code(**payload), "PropertyConstraintViolation")
        for number in (-1, 101, 1 << 80):
            self.assertEqual(self.code(number=number), "PropertyConstraintViolation")


if __name__ == "__main__":
    unittest.main()
