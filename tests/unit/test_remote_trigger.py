import unittest

from ocpp.calls import answer
from ocpp.rpc import CallError
from station import Station


class TriggerMessage(unittest.TestCase):
    def setUp(self):
        self.station = Station(connectors=2)
        self.session = self.station.session

    def sent(self, message, **payload):
        """Return the payloads of what is sent after the answer, which has to be Accepted and to come first."""
        result, after = answer(self.station.point, "TriggerMessage", dict(payload, requestedMessage=message))
        self.assertEqual((result, self.session.requests), ({"status": "Accepted"}, []))
        after()
        self.assertEqual([action for action, _ in self.session.requests], [message] * len(self.session.requests))
        payloads = [payload for _, payload in self.session.requests]
        self.session.requests = []
        return payloads

    def refused(self, message, **payload):
        """Return the status of an answer that nothing follows."""
        result, after = answer(self.station.point, "TriggerMessage", dict(payload, requestedMessage=message))
        self.assertIsNone(after)
        return result["status"]

    def test_boot_notification(self):
        self.assertEqual(self.sent("BootNotification"), [self.session.boot_payload])

    def test_heartbeat(self):
        self.assertEqual(self.sent("Heartbeat"), [{}])

    def test_status_notification_of_one_connector(self):
        self.station.outlets[0].becomes(error="GroundFailure", info="the input is on")
        payload = {
            "connectorId": 1,
            "errorCode": "GroundFailure",
            "status": "Faulted",
            "info": "the input is on",
            "timestamp": "2026-08-21T12:00:00Z",
        }
        self.assertEqual(self.sent("StatusNotification", connectorId=1), [payload])
        self.assertEqual(self.sent("StatusNotification", connectorId=0)[0]["status"], "Available")

    def test_status_notification_of_every_connector(self):
        self.station.point.hold()
        sent = self.sent("StatusNotification")
        self.assertEqual([payload["connectorId"] for payload in sent], [0, 1, 2])
        self.assertEqual([payload["status"] for payload in sent], ["Unavailable"] * 3)

    def test_meter_values_of_one_connector(self):
        self.station.charge(2)
        self.station.deliver()
        (payload,) = self.sent("MeterValues", connectorId=2)
        self.assertEqual((payload["connectorId"], payload["transactionId"]), (2, 1))
        (value,) = payload["meterValue"]
        self.assertEqual(value["timestamp"], "2026-08-21T12:00:00Z")
        self.assertEqual(
            [(sample["measurand"], sample["value"], sample["context"]) for sample in value["sampledValue"]],
            [("Energy.Active.Import.Register", "0", "Trigger"), ("Power.Active.Import", "3680", "Trigger")],
        )

    def test_meter_values_of_every_connector(self):
        sent = self.sent("MeterValues")
        self.assertEqual([payload["connectorId"] for payload in sent], [1, 2])
        self.assertFalse("transactionId" in sent[0])

    def test_meter_values_are_rejected_where_there_are_none(self):
        self.assertEqual(self.refused("MeterValues", connectorId=0), "Rejected")
        self.station.point.configuration.set("MeterValuesSampledData", "")
        self.assertEqual(self.refused("MeterValues"), "Rejected")

    def test_firmware_status_is_idle_only_when_there_is_no_update(self):
        for status, sent in (("Idle", "Idle"), ("Downloading", "Downloading"), ("SignatureVerified", "Downloaded")):
            self.station.point.updater.status = status
            self.assertEqual(self.sent("FirmwareStatusNotification"), [{"status": sent}])

    def test_unknown_connector_is_rejected(self):
        for message in ("StatusNotification", "MeterValues", "Heartbeat"):
            self.assertEqual(self.refused(message, connectorId=3), "Rejected")

    def test_message_that_is_not_there_is_not_implemented(self):
        for message in ("Authorize", "LogStatusNotification", "Foo", ""):
            self.assertEqual(self.refused(message), "NotImplemented")

    def test_nothing_is_triggered_when_nothing_may_be_sent(self):
        self.session.takes_requests = False
        self.assertEqual(self.refused("Heartbeat"), "Rejected")

    def test_bad_fields_are_refused(self):
        for payload in (
            {},
            {"requestedMessage": 7},
            {"requestedMessage": "x" * 51},
            {"requestedMessage": "Heartbeat", "connectorId": -1},
        ):
            with self.assertRaises(CallError):
                self.station.call("TriggerMessage", **payload)


if __name__ == "__main__":
    unittest.main()
