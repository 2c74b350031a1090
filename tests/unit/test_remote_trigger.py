import json
import unittest

from ocpp.calls import answer
from ocpp.charge_point import ChargePoint
from ocpp.outbox import Outbox
from ocpp.rpc import CallError
from scripted import Clock


class Session:
    """Records what is to be sent."""

    boot_payload = {"chargePointVendor": "Arus", "chargePointModel": "Desk"}

    def __init__(self):
        self.takes_requests = True
        self.requests = []

    def request(self, action, payloads):
        self.requests += [(action, payload) for payload in payloads]


class Updater:
    status = "Idle"


class TriggerMessage(unittest.TestCase):
    def setUp(self):
        self.session = Session()
        self.updater = Updater()
        self.charge_point = ChargePoint(2, Outbox(), Clock())
        self.charge_point.session = self.session
        self.charge_point.updater = self.updater

    def call(self, payload):
        return answer(self.charge_point, "TriggerMessage", json.loads(payload))

    def sent(self, payload):
        """Return what is sent after the answer, which has to be Accepted and to come first."""
        answer, after = self.call(payload)
        self.assertEqual((answer, self.session.requests), ({"status": "Accepted"}, []))
        after()
        return self.session.requests

    def refused(self, payload):
        """Return the status of an answer that nothing follows."""
        answer, after = self.call(payload)
        self.assertIsNone(after)
        return answer["status"]

    def test_boot_notification(self):
        self.assertEqual(
            self.sent('{"requestedMessage":"BootNotification"}'), [("BootNotification", Session.boot_payload)]
        )

    def test_heartbeat(self):
        self.assertEqual(self.sent('{"requestedMessage":"Heartbeat"}'), [("Heartbeat", {})])

    def test_status_notification_of_one_connector(self):
        sent = self.sent('{"requestedMessage":"StatusNotification","connectorId":1}')
        self.assertEqual(
            sent, [("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"})]
        )

    def test_status_notification_of_every_connector(self):
        self.charge_point.hold()
        sent = self.sent('{"requestedMessage":"StatusNotification"}')
        self.assertEqual([payload["connectorId"] for _, payload in sent], [0, 1, 2])
        self.assertEqual([payload["status"] for _, payload in sent], ["Unavailable"] * 3)

    def test_firmware_status_is_idle_only_when_there_is_no_update(self):
        payload = '{"requestedMessage":"FirmwareStatusNotification"}'
        for status, sent in (("Idle", "Idle"), ("Downloading", "Downloading"), ("SignatureVerified", "Downloaded")):
            self.session.requests = []
            self.updater.status = status
            self.assertEqual(self.sent(payload), [("FirmwareStatusNotification", {"status": sent})])

    def test_unknown_connector_is_rejected(self):
        for message in ("StatusNotification", "Heartbeat"):
            self.assertEqual(self.refused('{"requestedMessage":"%s","connectorId":3}' % message), "Rejected")

    def test_message_that_is_not_there_is_not_implemented(self):
        for message in ("MeterValues", "LogStatusNotification", "Foo"):
            self.assertEqual(self.refused('{"requestedMessage":"%s"}' % message), "NotImplemented")

    def test_nothing_is_triggered_when_nothing_may_be_sent(self):
        self.session.takes_requests = False
        self.assertEqual(self.refused('{"requestedMessage":"Heartbeat"}'), "Rejected")

    def test_bad_fields_are_refused(self):
        for payload in ("{}", '{"requestedMessage":7}', '{"requestedMessage":"Heartbeat","connectorId":-1}'):
            with self.assertRaises(CallError):
                self.call(payload)


if __name__ == "__main__":
    unittest.main()
