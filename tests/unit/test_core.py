import json
import unittest

from ocpp import core
from ocpp.calls import answer
from ocpp.charge_point import ChargePoint
from ocpp.configuration import Configuration
from ocpp.keys import KEYS
from ocpp.outbox import Outbox
from ocpp.rpc import CallError
from scripted import Clock, Store

# As SteVe sends them.
CHANGE_CONFIGURATION = '{"key":"HeartbeatInterval","value":"60"}'
GET_CONFIGURATION = '{"key":[]}'
GET_ONE = '{"key":["HeartbeatInterval"]}'
RESET = '{"type":"Soft"}'


class Core(unittest.TestCase):
    def setUp(self):
        self.resets = []
        self.configuration = Configuration(Store(), {}, lambda text: None)
        self.charge_point = ChargePoint(1, Outbox(), Clock())
        self.charge_point.configuration = self.configuration
        self.charge_point.reset = self.resets.append

    def call(self, action, payload):
        """Return the answer and what is to follow it; payload as text or dict."""
        return answer(self.charge_point, action, json.loads(payload) if isinstance(payload, str) else payload)

    def code(self, action, payload):
        try:
            self.call(action, payload)
        except CallError as error:
            return error.code

    def test_get_configuration_gives_all_keys_for_none(self):
        for payload in (GET_CONFIGURATION, "{}"):
            answer, after = self.call("GetConfiguration", payload)
            self.assertEqual([item["key"] for item in answer["configurationKey"]], sorted(KEYS))
            self.assertEqual((answer["unknownKey"], after), ([], None))
            for item in answer["configurationKey"]:
                self.assertIsInstance(item["readonly"], bool)
                if item["key"] == "AuthorizationKey":
                    self.assertFalse("value" in item)
                else:
                    self.assertTrue(isinstance(item["value"], str) and len(item["value"]) <= 500)

    def test_get_configuration_gives_the_keys_asked_for_and_names_unknown_ones(self):
        answer, _ = self.call("GetConfiguration", GET_ONE)
        item = {"key": "HeartbeatInterval", "readonly": False, "value": "14400"}
        self.assertEqual(answer, {"configurationKey": [item], "unknownKey": []})
        answer, _ = self.call("GetConfiguration", {"key": ["Foo", "HeartbeatInterval", "Bar"]})
        self.assertEqual(answer, {"configurationKey": [item], "unknownKey": ["Foo", "Bar"]})

    def test_get_configuration_with_too_many_keys_or_bad_ones_is_refused(self):
        self.assertIsNone(self.code("GetConfiguration", {"key": ["x"] * 50}))
        self.assertEqual(self.code("GetConfiguration", {"key": ["x"] * 51}), "OccurenceConstraintViolation")
        self.assertEqual(self.code("GetConfiguration", {"key": "HeartbeatInterval"}), "TypeConstraintViolation")
        self.assertEqual(self.code("GetConfiguration", {"key": ["x" * 51]}), "PropertyConstraintViolation")

    def test_change_configuration_changes_and_says_what_became_of_it(self):
        self.assertEqual(self.call("ChangeConfiguration", CHANGE_CONFIGURATION), ({"status": "Accepted"}, None))
        self.assertEqual(self.configuration.get("HeartbeatInterval"), 60)
        for key, value, status in (
            ("Foo", "1", "NotSupported"),
            ("NumberOfConnectors", "2", "Rejected"),
            ("HeartbeatInterval", "often", "Rejected"),
        ):
            self.assertEqual(self.call("ChangeConfiguration", {"key": key, "value": value})[0], {"status": status})

    def test_change_configuration_checks_its_fields(self):
        self.assertEqual(self.code("ChangeConfiguration", {"key": "HeartbeatInterval"}), "OccurenceConstraintViolation")
        self.assertEqual(self.code("ChangeConfiguration", {"key": "x", "value": 60}), "TypeConstraintViolation")
        self.assertEqual(
            self.code("ChangeConfiguration", {"key": "x", "value": "x" * 501}), "PropertyConstraintViolation"
        )

    def test_reset_is_answered_first(self):
        answer, after = self.call("Reset", RESET)
        self.assertEqual((answer, self.resets), ({"status": "Accepted"}, []))
        after()
        self.call("Reset", {"type": "Hard"})[1]()
        self.assertEqual(self.resets, ["Soft", "Hard"])

    def test_reset_of_another_kind_is_refused(self):
        self.assertEqual(self.code("Reset", {"type": "soft"}), "PropertyConstraintViolation")


class BootNotification(unittest.TestCase):
    def test_fields_have_the_standards_lengths(self):
        config = {"vendor": "v" * 30, "model": "m" * 30, "serial": "s" * 30, "id": "CP1"}
        self.assertEqual(
            core.boot_notification(config, "f" * 60),
            {
                "chargePointVendor": "v" * 20,
                "chargePointModel": "m" * 20,
                "chargePointSerialNumber": "s" * 25,
                "firmwareVersion": "f" * 50,
            },
        )

    def test_a_charger_without_a_serial_number_sends_none(self):
        payload = core.boot_notification({"vendor": "Arus", "model": "Desk"}, "1.0")
        self.assertEqual(payload, {"chargePointVendor": "Arus", "chargePointModel": "Desk", "firmwareVersion": "1.0"})


if __name__ == "__main__":
    unittest.main()
