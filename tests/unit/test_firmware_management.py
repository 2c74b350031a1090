import json
import unittest

from ocpp.calls import answer
from ocpp.charge_point import ChargePoint
from ocpp.firmware_status import FirmwareStatuses
from ocpp.outbox import Outbox
from ocpp.rpc import CallError
from scripted import Clock

# As SteVe sends them.
PLAIN = '{"retrieveDate":"2026-08-21T12:05:00.000Z","location":"https://example.org/fw.bin"}'
ENCODED = (
    '{"retrieveDate":"2026-08-21T12:05:00.000Z","location":"https://u:p@h.example:8443/fw.bin?dev=1&amp;'
    'sig=a&#39;b&#34;c&lt;d&gt;%20+=","retries":3,"retryInterval":60}'
)
DATE = 1787313900
STATUSES_OF_16 = ("Downloaded", "DownloadFailed", "Downloading", "InstallationFailed", "Installing", "Installed")


class Journal:
    """Statuses in memory."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)

    def peek(self):
        return self.statuses[0] if self.statuses else None

    def pop(self):
        self.statuses.pop(0)


class Updater:
    """Records the requests."""

    def __init__(self):
        self.requests = []

    def request(self, *arguments):
        self.requests.append(arguments)


class UpdateFirmware(unittest.TestCase):
    def setUp(self):
        self.updater = Updater()
        self.charge_point = ChargePoint([None], Outbox(), Clock())
        self.charge_point.updater = self.updater

    def call(self, payload):
        return answer(self.charge_point, "UpdateFirmware", json.loads(payload) if isinstance(payload, str) else payload)

    def code(self, **changed):
        payload = json.loads(PLAIN)
        payload.update(changed)
        try:
            self.call(payload)
        except CallError as error:
            return error.code

    def test_request_reaches_the_updater(self):
        self.assertEqual(self.call(PLAIN), ({}, None))
        self.assertEqual(self.updater.requests, [("https://example.org/fw.bin", DATE, None, None)])

    def test_location_is_decoded_from_html(self):
        self.call(ENCODED)
        location = "https://u:p@h.example:8443/fw.bin?dev=1&sig=a'b\"c<d>%20+="
        self.assertEqual(self.updater.requests, [(location, DATE, 3, 60)])

    def test_location_is_decoded_exactly_once(self):
        self.code(location="http://h/?a=&amp;amp;&amp;lt;&amp;#39;")
        self.assertEqual(self.updater.requests[0][0], "http://h/?a=&amp;&lt;&#39;")

    def test_what_the_updater_refuses_is_not_answered_as_done(self):
        def refuse(*_):
            raise ValueError("busy")

        self.updater.request = refuse
        with self.assertRaises(ValueError):
            self.call(PLAIN)

    def test_retries_of_zero_are_handed_on(self):
        self.code(retries=0, retryInterval=0)
        self.assertEqual(self.updater.requests[0][2:], (0, 0))

    def test_bad_fields_are_refused(self):
        self.assertEqual(self.code(retrieveDate="tomorrow"), "PropertyConstraintViolation")
        self.assertEqual(self.code(retrieveDate="2026-08-21T12:05:00." + "0" * 99 + "Z"), "PropertyConstraintViolation")
        self.assertEqual(self.code(retrieveDate=None), "TypeConstraintViolation")
        self.assertEqual(self.code(location="http://h/" + "x" * 2048), "PropertyConstraintViolation")
        self.assertEqual(self.code(location=7), "TypeConstraintViolation")
        self.assertEqual(self.code(retries="3"), "TypeConstraintViolation")
        self.assertEqual(self.code(retries=-1), "PropertyConstraintViolation")
        self.assertEqual(self.code(retryInterval=10**9), "PropertyConstraintViolation")
        self.assertEqual(self.code(signature="x"), "FormationViolation")
        self.assertEqual(self.updater.requests, [])

    def test_missing_fields_are_refused(self):
        for field in ("location", "retrieveDate"):
            payload = json.loads(PLAIN)
            del payload[field]
            try:
                self.call(payload)
                self.fail("accepted")
            except CallError as error:
                self.assertEqual(error.code, "OccurenceConstraintViolation")


class FirmwareStatusNotification(unittest.TestCase):
    def sent(self, *statuses):
        """Return what is sent for these statuses of the journal."""
        queue = FirmwareStatuses(Journal(*statuses))
        sent = []
        while queue.peek():
            action, payload = queue.peek()
            self.assertEqual(action, "FirmwareStatusNotification")
            sent.append(payload["status"])
            queue.pop()
        return sent

    def test_statuses_of_16_are_sent_as_they_are(self):
        self.assertEqual(self.sent(*STATUSES_OF_16), list(STATUSES_OF_16))

    def test_statuses_that_16_lacks_are_forgotten(self):
        self.assertEqual(
            self.sent(
                "DownloadScheduled", "Downloading", "DownloadPaused", "Downloaded", "SignatureVerified",
                "InstallScheduled", "Installing", "InstallRebooting", "Installed"
            ),
            ["Downloading", "Downloaded", "Installing", "Installed"],
        )  # fmt: skip

    def test_failures_that_16_lacks_are_failed_installations(self):
        self.assertEqual(self.sent("Downloaded", "InvalidSignature"), ["Downloaded", "InstallationFailed"])
        self.assertEqual(self.sent("InstallVerificationFailed"), ["InstallationFailed"])

    def test_head_stays_until_it_is_popped(self):
        journal = Journal("DownloadScheduled", "Downloading", "Downloaded")
        queue = FirmwareStatuses(journal)
        self.assertEqual(queue.peek(), queue.peek())
        self.assertEqual(journal.statuses, ["Downloading", "Downloaded"])
        queue.pop()
        self.assertEqual(journal.statuses, ["Downloaded"])


if __name__ == "__main__":
    unittest.main()
