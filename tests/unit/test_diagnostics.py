import asyncio
import json
import unittest

from ocpp.calls import answer
from ocpp.charge_point import ChargePoint
from ocpp.diagnostics import of
from ocpp.outbox import Outbox
from ocpp.rpc import CallError
from scripted import Clock, ended, run

PAYLOAD = '{"location":"https://u:p@h/logs?a=1&amp;b=&#39;2&#39;"}'
LOCATION = "https://u:p@h/logs?a=1&b='2'"
NOW = 1787313900


class GetDiagnostics(unittest.TestCase):
    def setUp(self):
        self.length = 100
        self.uploads = []
        self.reports = []
        self.clock = Clock(NOW)
        self.charge_point = ChargePoint([None], Outbox(), self.clock)
        self.charge_point.identity = "CP 1/é"
        self.charge_point.open_log = lambda: (self.length, None)
        self.charge_point.upload = self.upload
        self.diagnostics = of(self.charge_point)

    async def upload(self, location, name, retries, interval, report):
        self.uploads.append((location, name, retries, interval))
        self.reports.append(report)
        await asyncio.Event().wait()

    def call(self, **fields):
        payload = json.loads(PAYLOAD)
        payload.update(fields)
        return answer(self.charge_point, "GetDiagnostics", payload)

    def code(self, **fields):
        try:
            self.call(**fields)
        except CallError as error:
            return error.code

    def sent(self):
        """Answer all that the queue has; return the statuses."""
        sent = []
        while self.diagnostics.peek():
            action, payload = self.diagnostics.peek()
            self.assertEqual((action, list(payload)), ("DiagnosticsStatusNotification", ["status"]))
            sent.append(payload["status"])
            self.diagnostics.pop({})
        return sent

    def test_upload_starts_after_the_answer(self):
        async def test():
            payload, start = self.call(retries=3, retryInterval=60)
            await asyncio.sleep_ms(1)
            self.assertEqual(self.uploads, [])
            self.assertEqual(payload, {"fileName": "CP_1__-2026-08-21T120500Z.log"})
            start()
            await asyncio.sleep_ms(1)
            self.assertEqual(self.uploads, [(LOCATION, payload["fileName"], 3, 60)])

        run(test())

    def test_file_has_a_name_without_a_clock_too(self):
        self.clock.seconds = None
        self.charge_point.identity = "CP-1_a"
        self.assertEqual(self.call()[0], {"fileName": "CP-1_a.log"})

    def test_name_is_no_longer_than_the_standard_allows(self):
        self.charge_point.identity = "x" * 300
        self.assertTrue(len(self.call()[0]["fileName"]) <= 255)

    def test_without_a_log_there_is_no_name_and_no_upload(self):
        self.length = 0
        self.assertEqual(self.call(), ({}, None))

    def test_second_request_supersedes_the_first(self):
        async def test():
            self.call(location="http://h/first")[1]()
            await asyncio.sleep_ms(1)
            task = self.diagnostics._task
            self.call(location="http://h/second")[1]()
            await ended(task)
            await asyncio.sleep_ms(1)
            self.assertEqual([upload[0] for upload in self.uploads], ["http://h/first", "http://h/second"])
            self.assertFalse(self.diagnostics._task.done())

        run(test())

    def test_status_tells_whether_an_upload_runs(self):
        statuses = [self.diagnostics.status]
        for status in ("Uploading", "Uploaded", "Uploading", "UploadFailed"):
            self.diagnostics.report(status)
            statuses.append(self.diagnostics.status)
        self.assertEqual(statuses, ["Idle", "Uploading", "Idle", "Uploading", "Idle"])

    def test_statuses_are_sent_in_order_and_the_last_one_always(self):
        for status in ("Uploading", "UploadFailed"):
            self.diagnostics.report(status)
        self.assertEqual(self.sent(), ["Uploading", "UploadFailed"])
        for status in ("Uploading", "UploadFailed", "Uploading", "Uploaded"):
            self.diagnostics.report(status)
            self.assertEqual(self.diagnostics.peek(), self.diagnostics.peek())
        self.assertEqual(self.sent(), ["Uploading", "Uploaded"])

    def test_trigger_gets_the_status(self):
        class Session:
            takes_requests = True
            requests = ()

            def request(self, *request):
                self.requests += (request,)

        session = self.charge_point.session = Session()
        for status in ("Uploading", "UploadFailed"):
            self.diagnostics.report(status)
            payload = {"requestedMessage": "DiagnosticsStatusNotification"}
            self.assertEqual(answer(self.charge_point, "TriggerMessage", payload)[0], {"status": "Accepted"})
            answer(self.charge_point, "TriggerMessage", payload)[1]()
        action = "DiagnosticsStatusNotification"
        self.assertEqual(session.requests, ((action, [{"status": "Uploading"}]), (action, [{"status": "Idle"}])))

    def test_fields_are_checked(self):
        self.assertEqual(self.code(startTime="2026-08-21T12:00:00Z", stopTime="2026-08-22T12:00:00.000Z"), None)
        self.assertEqual(self.code(startTime="yesterday"), "PropertyConstraintViolation")
        self.assertEqual(self.code(stopTime="2026-13-21T12:00:00Z"), "PropertyConstraintViolation")
        self.assertEqual(self.code(location="http://h/" + "x" * 2048), "PropertyConstraintViolation")
        self.assertEqual(self.code(location=None), "TypeConstraintViolation")
        self.assertEqual(self.code(retries=-1), "PropertyConstraintViolation")
        self.assertEqual(self.code(retrieveDate="2026-08-21T12:00:00Z"), "FormationViolation")
        with self.assertRaises(CallError):
            answer(self.charge_point, "GetDiagnostics", {})


if __name__ == "__main__":
    unittest.main()
