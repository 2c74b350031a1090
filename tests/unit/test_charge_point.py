import unittest

from ocpp.charge_point import ChargePoint, check
from ocpp.rpc import CallError
from scripted import Clock


class Outbox:
    """Counts how often it is woken."""

    def __init__(self):
        self.queues = []
        self.woken = 0

    def add(self, queue):
        self.queues.append(queue)

    def wake(self):
        self.woken += 1


class Fixture:
    def __init__(self, connectors=1, seconds=None):
        self.outbox = Outbox()
        self.clock = Clock(seconds)
        self.charge_point = ChargePoint(connectors, self.outbox, self.clock)

    def sent(self):
        """Everything that the outbox would send now, as (connectorId, status)."""
        statuses = []
        while self.charge_point.peek():
            action, payload = self.charge_point.peek()
            assert action == "StatusNotification"
            statuses.append((payload["connectorId"], payload["status"]))
            self.charge_point.pop()
        return statuses


def code_of(function, *arguments):
    """The code of the CallError that the function raises."""
    try:
        function(*arguments)
    except CallError as error:
        return error.code
    return None


class Statuses(unittest.TestCase):
    def test_it_is_a_queue_of_the_outbox_that_is_empty_at_first(self):
        fixture = Fixture()
        self.assertEqual(fixture.outbox.queues, [fixture.charge_point])
        self.assertIsNone(fixture.charge_point.peek())

    def test_every_connector_is_reported_after_an_acceptance(self):
        fixture = Fixture(connectors=2)
        fixture.charge_point.report_all()
        self.assertTrue(fixture.outbox.woken > 0)
        self.assertEqual(fixture.sent(), [(0, "Available"), (1, "Available"), (2, "Available")])
        fixture.charge_point.report_all()
        self.assertEqual(len(fixture.sent()), 3)

    def test_payload_is_that_of_the_standard(self):
        fixture = Fixture(seconds=1787313600)
        self.assertEqual(
            fixture.charge_point.status_notification(1),
            {"connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": "2026-08-21T12:00:00Z"},
        )

    def test_there_is_no_timestamp_while_the_clock_is_not_set(self):
        self.assertFalse("timestamp" in Fixture().charge_point.status_notification(0))

    def test_hold_and_release_report_every_connector_once(self):
        fixture = Fixture()
        fixture.charge_point.hold()
        fixture.charge_point.hold()
        self.assertEqual(fixture.sent(), [(0, "Unavailable"), (1, "Unavailable")])
        fixture.charge_point.release()
        fixture.charge_point.release()
        self.assertEqual(fixture.sent(), [(0, "Available"), (1, "Available")])

    def test_hold_lasts_across_an_acceptance(self):
        fixture = Fixture()
        fixture.charge_point.hold()
        fixture.sent()
        fixture.charge_point.report_all()
        self.assertEqual(fixture.sent(), [(0, "Unavailable"), (1, "Unavailable")])

    def test_unchanged_status_is_not_reported(self):
        fixture = Fixture()
        fixture.charge_point.set_status(1, "Available")
        self.assertEqual((fixture.sent(), fixture.outbox.woken), ([], 0))

    def test_head_stays_the_same_until_it_is_popped(self):
        fixture = Fixture(seconds=1787313600)
        fixture.charge_point.set_status(1, "Unavailable")
        head = fixture.charge_point.peek()
        fixture.clock.seconds += 60
        fixture.charge_point.set_status(1, "Available")
        self.assertEqual(fixture.charge_point.peek(), head)
        self.assertEqual(head[1]["status"], "Unavailable")
        self.assertEqual(head[1]["timestamp"], "2026-08-21T12:00:00Z")
        fixture.charge_point.pop()
        self.assertEqual(fixture.sent(), [(1, "Available")])


class Dispatch(unittest.TestCase):
    def setUp(self):
        self.charge_point = Fixture().charge_point
        self.charge_point.handlers["Echo"] = {"text": (str, 5, True)}, lambda payload: payload
        self.charge_point.handlers["Twice"] = {}, lambda payload: ({}, len)

    def test_handler_answers(self):
        self.assertEqual(self.charge_point.dispatch("Echo", {"text": "hello"}), ({"text": "hello"}, None))

    def test_handler_may_name_what_follows_the_answer(self):
        self.assertEqual(self.charge_point.dispatch("Twice", {}), ({}, len))

    def test_payload_is_checked_before_the_handler_runs(self):
        self.assertEqual(code_of(self.charge_point.dispatch, "Echo", {}), "OccurenceConstraintViolation")

    def test_standard_action_without_a_handler_is_not_supported(self):
        for action in ("ClearCache", "GetDiagnostics", "ExtendedTriggerMessage", "SignedUpdateFirmware", "GetLog"):
            self.assertEqual(code_of(self.charge_point.dispatch, action, {}), "NotSupported", action)

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
            self.assertEqual(code_of(self.charge_point.dispatch, action, {}), "NotImplemented", action)


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
