import asyncio
import unittest

from charger import URL, Charger, Reset
from firmware import transfer
from firmware.update import Busy


class TestScheduling(unittest.TestCase):
    def test_a_date_in_the_past_means_now(self):
        charger = Charger()
        charger.update(date=1_700_000_000)
        self.assertEqual(charger.slept, [2])

    def test_a_date_in_the_future_is_waited_for(self):
        charger = Charger()
        start = charger.clock.time
        charger.update(date=start + 60, until=lambda: charger.server.requests)
        self.assertEqual(charger.clock.time, start + 60)
        self.assertEqual(charger.told[0], "DownloadScheduled")

    def test_a_date_in_the_future_survives_a_reset(self):
        charger = Charger()
        start = charger.clock.time
        charger.update(date=start + 60, until=lambda: charger.clock.time > start + 10)
        charger.reset()
        charger.run(until=lambda: charger.server.requests)
        self.assertEqual(charger.clock.time, start + 60)
        self.assertEqual(charger.told.count("DownloadScheduled"), 1)

    def test_without_a_clock_the_date_counts_as_come_after_five_minutes(self):
        charger = Charger()
        charger.clock.time = None
        charger.update(date=1_900_000_000, until=lambda: charger.server.requests)
        self.assertEqual(sum(charger.slept), 300)

    def test_a_clock_that_is_set_late_is_used(self):
        charger = Charger()
        charger.clock.time = None

        def set_late():
            if len(charger.slept) == 100 and charger.clock.time is None:
                charger.clock.time = 1_800_000_000
            return charger.server.requests

        charger.update(date=1_800_000_050, until=set_late)
        self.assertEqual(charger.clock.time, 1_800_000_050)


class TestSuperseding(unittest.TestCase):
    def test_a_second_request_supersedes_the_first_while_it_waits(self):
        charger = Charger()
        charger.updater.request(URL, charger.clock.time + 10**6, None, None)
        charger.run(until=lambda: charger.slept)
        charger.reset()
        charger.update()
        self.assertTrue(charger.slots.flash.boots)

    def test_a_second_request_supersedes_the_first_in_the_middle_of_its_download(self):
        charger = Charger()
        second = []

        async def main():
            central_system = asyncio.create_task(charger._central_system())
            charger.updater.request(URL, None, None, None)
            task = asyncio.create_task(charger.updater.run())
            while charger.slots.flash.operations < 3:
                await asyncio.sleep(0)
            charger.updater.request(URL + "&second", None, None, None)
            second.append(charger.journal.get("location"))
            try:
                await task
            finally:
                central_system.cancel()

        with self.assertRaises(Reset):
            asyncio.run(main())
        self.assertEqual(second, [URL + "&second"])
        self.assertTrue("Superseded by a new request" in charger.log)
        self.assertEqual(charger.told, ["Downloading", "Downloading", "Downloaded", "Installing"])
        self.assertEqual(charger.server.requests, [0, 0])
        self.assertTrue(charger.slots.flash.boots)

    def test_a_request_during_the_installation_is_refused(self):
        charger = Charger()
        charger.update(until=lambda: charger.updater.status == "Installing")
        with self.assertRaises(Busy):
            charger.updater.request(URL, None, None, None)


class TestPowerCuts(unittest.TestCase):
    def test_after_a_cut_only_what_is_not_on_flash_is_fetched(self):
        charger = Charger()
        transfer.CHECKPOINT = 2 * 4096
        charger.slots.flash.cut_at = 8
        self.assertFalse(charger.update())
        charger.reset()
        charger.run()
        self.assertEqual(charger.server.requests, [0, 2 * 4096])
        self.assertTrue(charger.slots.flash.holds(charger.server.data))
        self.assertEqual(charger.told, ["Downloading", "Downloaded", "Installing"])

    def test_a_cut_at_any_flash_operation_ends_in_the_new_firmware(self):
        operations = 3 * 3 + 1
        for cut_at in range(1, operations + 1):
            charger = Charger()
            charger.slots.flash.cut_at = cut_at
            charger.update()
            self.assertFalse(charger.slots.flash.boots)
            charger.reset()
            charger.run()
            self.assertTrue(charger.slots.flash.boots)
            self.assertEqual(charger.told, ["Downloading", "Downloaded", "Installing"])

    def test_an_update_that_keeps_resetting_the_charger_is_given_up(self):
        charger = Charger()
        charger.updater.request(URL, None, None, None)
        for _ in range(25):
            charger.slots.flash.cut_at = charger.slots.flash.operations + 1
            charger.run()
            charger.reset()
        self.assertEqual(charger.told, ["Downloading", "DownloadFailed"])
        self.assertEqual(charger.log[-1], "DownloadFailed: interrupted by 20 resets")


if __name__ == "__main__":
    unittest.main()
