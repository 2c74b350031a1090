import asyncio
import unittest

import bench
from firmware import trial
from firmware.journal import Journal


class Charger:
    """A charger right after a reset, with an update in its journal."""

    def __init__(self, running=1, on_trial=False, tried=True, journal=True, reason=None):
        self.slots = bench.Slots()
        self.slots.running.index = running
        self.slots.on_trial = on_trial
        self.store = bench.Store()
        self.journal = Journal(self.store, lambda: None)
        if journal:
            self.journal.begin(location="http://host/fw.bin")
            self.journal.report("Installing", slot=1)
            self.journal.pop()
            if tried:
                self.journal.note(tried=True)
            if reason:
                self.journal.note(reason=reason)
        self.log = []
        self.resets = 0

    async def reset(self):
        self.resets += 1

    def run(self, accepted, deadline=60):
        async def main():
            event = asyncio.Event()
            if accepted:
                event.set()
            await trial.run(self.slots, self.journal, event, deadline, self.reset, self.log.append)

        asyncio.run(main())
        return self.journal.peek()


class TestTrial(unittest.TestCase):
    def test_a_new_firmware_that_is_accepted_is_confirmed_and_installed(self):
        charger = Charger(on_trial=True)
        self.assertEqual(charger.run(accepted=True), "Installed")
        self.assertTrue(charger.slots.confirmed)
        self.assertFalse(charger.journal.busy)

    def test_a_new_firmware_that_is_not_accepted_in_time_goes_back_and_leaves_the_reason(self):
        charger = Charger(on_trial=True)
        self.assertEqual(charger.run(accepted=False, deadline=0), None)
        self.assertEqual(charger.resets, 1)
        self.assertFalse(charger.slots.confirmed)
        self.assertTrue("within 0 s" in Journal(charger.store, None).get("reason"))

    def test_back_on_the_old_firmware_the_failure_is_told_with_its_reason(self):
        charger = Charger(running=0, reason="no central system")
        self.assertEqual(charger.run(accepted=False), "InstallationFailed")
        self.assertEqual(charger.log, ["InstallationFailed: no central system"])
        self.assertFalse(charger.slots.confirmed)

    def test_a_new_firmware_that_could_not_leave_a_reason_is_told_as_not_proven(self):
        charger = Charger(running=0)
        self.assertEqual(charger.run(accepted=False), "InstallationFailed")
        self.assertTrue("back on the old one" in charger.log[0])

    def test_a_power_cut_between_confirming_and_telling_still_tells_installed(self):
        charger = Charger(on_trial=False)
        self.assertEqual(charger.run(accepted=False), "Installed")

    def test_a_power_cut_before_set_boot_leaves_the_update_to_the_updater(self):
        charger = Charger(running=0, tried=False)
        self.assertEqual(charger.run(accepted=False), None)
        self.assertTrue(charger.journal.busy)

    def test_a_power_cut_right_behind_set_boot_does_not_hide_the_new_firmware(self):
        charger = Charger(on_trial=True, tried=False)
        self.assertEqual(charger.run(accepted=True), "Installed")

    def test_a_power_cut_that_costs_the_record_of_set_boot_leaves_the_update_to_the_updater(self):
        charger = Charger(running=0)
        charger.slots.record_lost = True
        self.assertEqual(charger.run(accepted=False), None)
        self.assertTrue(charger.journal.busy)

    def test_an_end_that_cannot_be_recorded_is_tried_again_and_resets_nothing(self):
        self.fail_to_record(1, "Installed")
        self.fail_to_record(0, "InstallationFailed")

    def fail_to_record(self, running, status):
        charger = Charger(running=running)
        whole, slept = charger.store.set, []

        def full(key, value):
            if len(slept) < 2:
                raise OSError(5, "NVS is full")
            whole(key, value)

        async def sleep(seconds):
            slept.append(seconds)

        charger.store.set = full
        real, asyncio.sleep = asyncio.sleep, sleep
        try:
            self.assertEqual(charger.run(accepted=False), status)
        finally:
            asyncio.sleep = real
        self.assertEqual((slept, charger.resets), ([60, 60], 0))

    def test_a_firmware_that_cannot_be_confirmed_is_left_to_a_reset(self):
        charger = Charger(on_trial=True)

        def confirm():
            raise OSError(1, "could not be confirmed")

        charger.slots.confirm = confirm
        with self.assertRaises(OSError):  # which ends main.py
            charger.run(accepted=True)
        self.assertEqual(charger.journal.peek(), None)

    def test_a_firmware_flashed_by_usb_is_confirmed_and_nothing_is_told(self):
        charger = Charger(on_trial=True, journal=False)
        self.assertEqual(charger.run(accepted=True), None)
        self.assertTrue(charger.slots.confirmed)

    def test_without_an_update_nothing_happens(self):
        charger = Charger(journal=False)
        self.assertEqual(charger.run(accepted=False), None)
        self.assertEqual(charger.log, [])
        self.assertFalse(charger.slots.confirmed)


class TestJournal(unittest.TestCase):
    def test_a_record_that_cannot_be_read_is_as_good_as_none(self):
        for content in (b"", b"{", b"[]", b"{}", b'{"unsent": 1}', b"\xff\xfe", b"null", b'"x"'):
            store = bench.Store()
            store.set("update", content)
            journal = Journal(store, lambda: None)
            self.assertEqual((journal.busy, journal.peek()), (False, None))

    def test_each_step_is_one_record(self):
        store = bench.Store()
        writes = []
        store.set = lambda key, value: writes.append(value)
        journal = Journal(store, lambda: None)
        journal.begin(location="http://host/")
        journal.report("Downloading", attempt=1)
        journal.note(written=4096)
        journal.finish("DownloadFailed", "refused")
        journal.pop()
        journal.pop()
        self.assertEqual(len(writes), 6)


if __name__ == "__main__":
    unittest.main()
