import json
import unittest

from ocpp.rpc import CallError
from station import Station


class DataTransfer(unittest.TestCase):
    def setUp(self):
        self.station = Station()

    def call(self, **payload):
        return self.station.call("DataTransfer", **payload)

    def test_diagnosis_tells_how_the_charger_fares(self):
        self.station.advance(90)
        self.station.point.report(1)
        self.station.point.cause = "watchdog"
        answer = self.call(vendorId="Arus", messageId="Diagnosis")
        self.assertEqual(answer["status"], "Accepted")
        found = json.loads(answer["data"])
        self.assertTrue(found.pop("heapFree") > 0)
        counts = {"uptime": 90, "unsentStatuses": 1, "unsentTransactionMessages": 0}
        counts.update({"firmwareStatus": "Idle", "resetCause": "watchdog"})
        self.assertEqual(found, counts)

    def test_case_does_not_matter(self):
        self.assertEqual(self.call(vendorId="ARUS", messageId="diagnosis")["status"], "Accepted")

    def test_what_the_handler_does_not_take_is_rejected(self):
        answer = self.call(vendorId="Arus", messageId="Diagnosis", data="everything")
        self.assertEqual(answer, {"status": "Rejected", "data": "Diagnosis takes no data"})
        self.assertEqual(self.call(vendorId="Arus", messageId="Diagnosis", data="")["status"], "Accepted")

    def test_an_unknown_vendor(self):
        for payload in ({}, {"messageId": "Diagnosis"}, {"messageId": "x" * 50, "data": "x" * 5000}):
            self.assertEqual(self.call(vendorId="Foo", **payload), {"status": "UnknownVendorId"})
        self.assertEqual(self.call(vendorId=""), {"status": "UnknownVendorId"})

    def test_an_unknown_message(self):
        for payload in ({}, {"messageId": ""}, {"messageId": "Foo"}):
            self.assertEqual(self.call(vendorId="Arus", **payload), {"status": "UnknownMessageId"})

    def test_fields_have_the_standards_types_and_lengths(self):
        for payload in ({}, {"vendorId": "x" * 256}, {"vendorId": "Arus", "data": {}}):
            with self.assertRaises(CallError):
                self.call(**payload)


if __name__ == "__main__":
    unittest.main()
