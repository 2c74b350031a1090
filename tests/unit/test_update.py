import errno
import unittest

from charger import FILE, URL, Charger
from firmware import transfer
from firmware.source import SourceError


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

    def test_a_lack_of_memory_is_an_interruption(self):
        charger = Charger()
        lacking = [True]
        read_back = transfer.Transfer.read_back

        async def lack(self, function):
            if function == "image" and lacking and lacking.pop():
                raise MemoryError("allocating 2048 bytes")
            return await read_back(self, function)

        transfer.Transfer.read_back = lack
        try:
            charger.update(retries=2, interval=0)
        finally:
            transfer.Transfer.read_back = read_back
        self.assertEqual(
            charger.log[0:3:2], ["Firmware size: 12288 bytes", "Attempt 1 of 2 failed: allocating 2048 bytes"]
        )
        self.assertTrue(charger.slots.flash.boots)

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
        data = bytearray(memoryview(FILE)[:4096])
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
        charger = Charger()
        charger.server.flip = len(FILE) - 1
        self.refuse(charger, "damaged")

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

    def test_without_a_record_there_is_no_update_and_no_reset(self):
        charger = Charger()
        whole, failing = charger.store.set, [3]

        def full(key, value):
            failing[0] -= 1
            if failing[0] < 0:
                raise OSError(errno.EIO, "NVS is full")
            whole(key, value)

        charger.store.set = full
        charger.online = False
        charger.update(until=lambda: charger.log and "record" in charger.log[-1])
        self.assertEqual(charger.log[-1], "The update can't go on, its record can't be written: NVS is full")
        self.assertFalse(charger.slots.flash.boots)
        with self.assertRaises(OSError):
            charger.updater.request(URL, None, None, None)

    def test_a_record_that_fails_behind_set_boot_does_not_call_failed_what_the_next_reset_starts(self):
        charger = Charger()
        whole = charger.store.set

        def failing(key, value):
            if charger.slots.flash.boots:
                raise OSError(errno.EIO, "NVS is full")
            whole(key, value)

        charger.store.set = failing
        charger.update()
        self.assertEqual(charger.told, ["Downloading", "Downloaded", "Installing"])
        self.assertEqual(charger.log[-1], "RESET")
        self.assertTrue(charger.station.held)

    def test_a_guard_of_the_slots_ends_the_update(self):
        charger = Charger()

        def begin():
            raise OSError(errno.EPERM, "one OTA slot only")

        charger.slots.begin = begin
        charger.update()
        self.assertEqual(charger.told, ["InstallationFailed"])


if __name__ == "__main__":
    unittest.main()
