import asyncio
import errno
import gc
import unittest

import bench
import update_files
from firmware import transfer
from firmware.journal import Journal
from firmware.source import SourceError
from firmware.update import Busy, Updater

FILE = update_files.update_file()
URL = "http://operator:secret@host/fw.bin?a=1"


class Reset(BaseException):
    """The charger resets: what ran before is gone."""


class Charger:
    """An Updater with all that surrounds it. reset() builds it anew on the same flash and records."""

    def __init__(self, data=None, **server):
        self.slots = bench.Slots()
        self.store = bench.Store()
        self.server = bench.Server(data or FILE, **server)
        self.clock = bench.Clock()
        self.told = []  # statuses that the central system has got
        self.online = True
        self.log = []
        self.slept = []
        self.reset()

    def reset(self):
        asyncio.new_event_loop()  # forgets the tasks of before
        gc.collect()
        self.station = bench.Station()
        self.journal = Journal(self.store, lambda: None)
        self.updater = Updater(
            self.slots,
            self.journal,
            self.server.open_source,
            self.clock,
            self.station,
            self.restart,
            self.log.append,
            self.sleep,
        )

    async def restart(self):
        self.log.append("RESET")
        raise Reset

    async def sleep(self, seconds):
        self.slept.append(seconds)
        if self.clock.time is not None:
            self.clock.time += seconds
        await asyncio.sleep(0)

    async def _central_system(self):
        while True:
            if self.online and self.journal.peek():
                self.told.append(self.journal.peek())
                self.journal.pop()
            await asyncio.sleep(0)

    def run(self, until=None):
        """Run until nothing is left to do, the charger resets, or until() is true."""

        async def main():
            central_system = asyncio.create_task(self._central_system())
            updater = asyncio.create_task(self.updater.run())
            while (self.journal.busy or self.journal.peek()) and not (until and until()):
                if updater.done():
                    await updater
                await asyncio.sleep(0)
            for task in (updater, central_system):
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    pass

        try:
            asyncio.run(main())
        except (Reset, bench.PowerCut):
            return False
        return True

    def update(self, retries=None, interval=None, date=None, until=None):
        self.updater.request(URL, date, retries, interval)
        return self.run(until)


class TestUpdate(unittest.TestCase):
    def test_a_good_file_is_written_verified_and_booted(self):
        charger = Charger()
        charger.update()
        self.assertEqual(charger.told, ["Downloading", "Downloaded", "Installing"])
        self.assertTrue(charger.slots.flash.holds(charger.server.data))
        self.assertTrue(charger.slots.flash.boots)
        self.assertTrue(charger.station.held)
        self.assertEqual(charger.updater.status, "Installing")

    def test_the_log_tells_the_steps(self):
        charger = Charger()
        charger.update()
        self.assertEqual(
            charger.log,
            ["Firmware size: 12288 bytes", "Downloading firmware..."]
            + ["Progress: 10%", "Progress: 30%", "Progress: 50%", "Progress: 60%", "Progress: 80%", "Progress: 100%"]
            + ["New version: 2.0", "Firmware download completed successfully", "Installing firmware..."]
            + ["Firmware ready, restarting ESP32 in 2 seconds...", "RESET"],
        )

    def test_statuses_are_on_flash_before_they_are_sent_and_until_they_are_acknowledged(self):
        charger = Charger(b"<html>")
        charger.online = False
        charger.update(until=lambda: not charger.journal.busy)
        charger.reset()
        charger.online = True
        charger.run()
        self.assertEqual(charger.told, ["Downloading", "Downloaded", "InstallationFailed"])
        charger.reset()
        charger.run()
        self.assertEqual(len(charger.told), 3)


class TestInterruptions(unittest.TestCase):
    def test_a_lost_connection_is_resumed_within_the_attempt(self):
        charger = Charger()
        charger.server.cuts = [5000, 4096]
        charger.update(retries=1)
        self.assertEqual(charger.server.requests, [0, 4096, 8192])
        self.assertTrue(charger.slots.flash.boots)
        self.assertEqual(charger.slept, [2])

    def test_a_changed_file_starts_over(self):
        charger = Charger()
        charger.server.cuts = [5000]
        request = charger.server.open_source

        async def open_source(*arguments, **keywords):
            if len(charger.server.requests) == 1:
                charger.server.validator = '"2"'
            return await request(*arguments, **keywords)

        charger.server.open_source = open_source
        charger.reset()
        charger.update(retries=1)
        self.assertTrue("The server sends the file from its start: starting over" in charger.log)
        self.assertTrue(charger.slots.flash.boots)

    def test_a_server_without_validator_starts_over(self):
        charger = Charger(validator=None)
        charger.server.cuts = [5000]
        charger.update(retries=1)
        self.assertEqual(charger.server.requests, [0, 0])
        self.assertTrue(charger.slots.flash.boots)

    def test_a_body_without_length_that_ends_early_is_an_interruption(self):
        charger = Charger(length=False)
        whole = charger.server.data
        charger.server.data = memoryview(whole)[:9000]
        charger.update(retries=1)
        self.assertEqual(charger.told, ["Downloading", "DownloadFailed"])
        charger.server.data = whole
        charger.update(retries=1)
        self.assertTrue(charger.slots.flash.boots)

    def test_retries_are_attempts_in_all_and_download_failed_comes_once(self):
        for retries, attempts in ((None, 3), (0, 1), (1, 1), (4, 4)):
            charger = Charger()
            charger.server.refusals = [OSError(errno.ECONNREFUSED, "refused")] * 9
            charger.update(retries=retries, interval=7)
            self.assertEqual(len(charger.server.requests), attempts)
            self.assertEqual(charger.slept, [7] * (attempts - 1))
            self.assertEqual(charger.told, ["Downloading", "DownloadFailed"])
            self.assertEqual(charger.log[-1], "DownloadFailed: refused")
            self.assertFalse(charger.station.held)

    def test_a_location_that_cannot_help_is_asked_once_unless_retries_say_so(self):
        gone = SourceError("host", "404 Not Found", True)
        for retries, attempts in ((None, 1), (2, 2)):
            charger = Charger()
            charger.server.refusals = [gone] * 9
            charger.update(retries=retries, interval=0)
            self.assertEqual(len(charger.server.requests), attempts)

    def test_a_later_attempt_goes_on_with_what_is_on_flash(self):
        charger = Charger()
        charger.server.cuts = [5000, 0]
        charger.update(retries=2, interval=30)
        self.assertEqual(charger.server.requests, [0, 4096, 4096])
        self.assertEqual(charger.slept, [30, 2])
        self.assertTrue(charger.slots.flash.boots)


class TestWrongFiles(unittest.TestCase):
    def refuse(self, charger, words):
        charger.update()
        self.assertEqual(charger.told, ["Downloading", "Downloaded", "InstallationFailed"])
        self.assertTrue(words in charger.log[-1], charger.log[-1])
        self.assertFalse(charger.slots.flash.boots)
        self.assertFalse(charger.station.held)
        self.assertEqual(charger.updater.status, "Idle")

    def test_a_web_page_is_refused_before_the_first_erase(self):
        charger = Charger(b"<html>" * 1000)
        self.refuse(charger, "web page")
        self.assertEqual(charger.slots.flash.operations, 0)

    def test_another_chips_image_is_refused_before_the_first_erase(self):
        data = bytearray(FILE)
        data[12] = 9
        charger = Charger(data)
        self.refuse(charger, "ESP32-S3")
        self.assertEqual(charger.slots.flash.operations, 0)

    def test_a_length_over_the_slots_is_refused_before_the_first_erase(self):
        charger = Charger()
        charger.server.length = 40000
        self.refuse(charger, "40000 bytes, the OTA slot 32768")
        self.assertEqual(charger.slots.flash.operations, 0)

    def test_a_damaged_file_never_reaches_set_boot(self):
        data = bytearray(FILE)
        data[-1] ^= 1
        self.refuse(Charger(data), "damaged")

    def test_flash_that_does_not_hold_what_was_sent_never_reaches_set_boot(self):
        charger = Charger()
        flash = charger.slots.flash
        write = flash.write

        def worn_out(position, data):
            write(position, data)
            flash.pieces[position][100] = 0

        flash.write = worn_out
        self.refuse(charger, "damaged")

    def test_an_image_that_set_boot_refuses_puts_the_connectors_back(self):
        charger = Charger()
        charger.slots.flash.refusal = OSError(-5379, "ESP_ERR_OTA_VALIDATE_FAILED")
        charger.update()
        self.assertEqual(charger.told, ["Downloading", "Downloaded", "Installing", "InstallationFailed"])
        self.assertTrue("ESP_ERR_OTA_VALIDATE_FAILED" in charger.log[-1])
        self.assertFalse(charger.station.held)

    def test_flash_that_fails_ends_the_update_and_not_the_charger(self):
        charger = Charger()

        def broken(position):
            raise OSError(errno.EIO, "erasing block 0 failed")

        charger.slots.flash.erase = broken
        charger.update()
        self.assertEqual(charger.told, ["Downloading", "DownloadFailed"])
        self.assertEqual(charger.log[-1], "DownloadFailed: erasing block 0 failed")

    def test_a_guard_of_the_slots_ends_the_update(self):
        charger = Charger()

        def begin():
            raise OSError(errno.EPERM, "one OTA slot only")

        charger.slots.begin = begin
        charger.update()
        self.assertEqual(charger.told, ["InstallationFailed"])


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
