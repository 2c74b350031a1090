import json
import unittest

from ocpp.configuration import Configuration
from ocpp.update_progress import UpdateProgress
from scripted import Store

KEY = "UpdateProgressDataTransfer"


class Journal:
    """firmware.journal.Journal as far as it matters here."""

    def __init__(self):
        self.busy = False
        self.fields = {}

    def get(self, field, default=None):
        return self.fields.get(field, default)

    def note(self, **fields):
        self.fields.update(fields)

    def finish(self, status, reason=""):
        self.busy = False
        self.fields = {"last": status, "reason": reason}


class Outbox:
    def __init__(self):
        self.queues = []
        self.woken = 0

    def add(self, queue):
        self.queues.append(queue)

    def wake(self):
        self.woken += 1


class Fixture:
    def __init__(self, on=True):
        self.configuration = Configuration(Store(), {KEY: on}, lambda text: None)
        self.journal = Journal()
        self.reset()

    def reset(self):
        self.outbox = Outbox()
        self.queue = UpdateProgress(self.configuration.get, self.journal, self.outbox)

    def message(self):
        """The (status, percent, reason) that is told now, or None."""
        head = self.queue.peek()
        if head is None:
            return None
        assert self.queue.peek() is head
        action, payload = head
        assert action == "DataTransfer"
        assert (payload["vendorId"], payload["messageId"]) == ("Arus", "FirmwareUpdate")
        data = json.loads(payload["data"])
        return data["status"], data["percent"], data["reason"]

    def pop(self, answer):
        self.queue.pop(answer)


ACCEPTED = {"status": "Accepted"}


class Progress(unittest.TestCase):
    def test_it_is_told_once(self):
        fixture = Fixture()
        self.assertEqual((fixture.outbox.queues, fixture.message()), ([fixture.queue], None))
        fixture.queue.progress("Downloading", 10)
        self.assertEqual((fixture.outbox.woken, fixture.message()), (1, ("Downloading", 10, None)))
        fixture.pop(ACCEPTED)
        self.assertIsNone(fixture.message())

    def test_the_last_value_wins_and_no_more_than_one_waits(self):
        fixture = Fixture()
        for percent in (10, 20, 30):
            fixture.queue.progress("Downloading", percent)
        self.assertEqual(fixture.message(), ("Downloading", 30, None))
        for percent in (40, 50):  # one is on its way
            fixture.queue.progress("Downloading", percent)
        self.assertEqual(fixture.message(), ("Downloading", 30, None))
        fixture.pop(None)
        self.assertEqual(fixture.message(), ("Downloading", 50, None))
        fixture.pop(ACCEPTED)
        self.assertIsNone(fixture.message())

    def test_nothing_is_told_while_it_is_switched_off(self):
        fixture = Fixture(on=False)
        fixture.queue.progress("Downloading", 10)
        fixture.journal.finish("DownloadFailed", "no route")
        self.assertIsNone(fixture.message())
        fixture.configuration.set(KEY, "true")
        self.assertEqual(fixture.message(), ("DownloadFailed", 10, "no route"))
        fixture.configuration.set(KEY, "false")
        self.assertIsNone(fixture.message())


class Failure(unittest.TestCase):
    def test_reason_comes_before_what_is_left_of_the_progress_and_names_how_far_it_was(self):
        fixture = Fixture()
        fixture.queue.progress("Downloading", 40)
        fixture.journal.finish("DownloadFailed", "connection reset")
        self.assertEqual(fixture.message(), ("DownloadFailed", 40, "connection reset"))
        fixture.pop(ACCEPTED)
        self.assertIsNone(fixture.message())

    def test_it_is_kept_across_resets_until_it_was_answered(self):
        fixture = Fixture()
        fixture.journal.finish("InstallationFailed", "bad hash")
        for _ in range(2):
            fixture.reset()
            self.assertEqual(fixture.message(), ("InstallationFailed", None, "bad hash"))
        fixture.pop(None)
        self.assertIsNone(fixture.message())
        fixture.reset()
        self.assertIsNone(fixture.message())

    def test_success_has_no_reason(self):
        fixture = Fixture()
        fixture.journal.finish("Installed")
        self.assertIsNone(fixture.message())

    def test_a_new_failure_while_the_old_one_is_on_its_way_is_not_forgotten(self):
        fixture = Fixture()
        fixture.journal.finish("DownloadFailed", "one")
        self.assertEqual(fixture.message()[2], "one")
        fixture.journal.finish("DownloadFailed", "two")
        fixture.pop(ACCEPTED)
        self.assertEqual(fixture.message()[2], "two")

    def test_the_reason_of_an_update_in_hand_waits_for_its_end(self):
        fixture = Fixture()
        fixture.journal.finish("DownloadFailed", "one")
        fixture.message()
        fixture.journal.busy = True
        fixture.journal.fields = {"reason": "not accepted"}
        fixture.pop(ACCEPTED)
        self.assertIsNone(fixture.message())
        fixture.journal.finish("InstallationFailed", "not accepted")
        self.assertEqual(fixture.message(), ("InstallationFailed", None, "not accepted"))


if __name__ == "__main__":
    unittest.main()
