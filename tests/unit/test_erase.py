"""How the slot is erased before and during an update: no more than needed, in blocks where that is safe."""

import unittest

import bench
from bench import BLOCK
from big_file import LONG
from charger import URL, Charger

CAPACITY = 32 * 1024
DATE = 60  # seconds from now


def big(**server):
    charger = Charger(LONG, **server)
    charger.slots.flash = bench.Flash(CAPACITY)
    return charger


class TestErasing(unittest.TestCase):
    def test_what_an_older_firmware_takes_is_erased_in_blocks_and_the_end_of_the_file_in_sectors(self):
        charger = big()
        charger.update()
        end = (len(LONG) + 4095) // 4096 * 4096
        blocks = [(position, BLOCK) for position in range(0, len(LONG) - 16384 + 1, BLOCK)]
        rest = [(position, 4096) for position in range(BLOCK * len(blocks), end, 4096)]
        self.assertEqual(charger.slots.flash.erased, blocks + rest)
        self.assertTrue(charger.slots.flash.boots)

    def test_what_is_blank_is_not_erased(self):
        charger = big()
        charger.slots.flash.older = 0
        charger.update()
        self.assertEqual(charger.slots.flash.erased, [])
        self.assertTrue(charger.slots.flash.boots)

    def test_one_byte_that_is_not_blank_is_found(self):
        for position in (0, 255, 4095, 8192, 12287):
            charger = big()
            charger.slots.flash.older = 0
            piece = bytearray(b"\xff" * 2048)
            piece[position % 2048] = 0xFE
            charger.slots.flash.pieces[position // 2048 * 2048] = piece
            charger.update()
            self.assertTrue(charger.slots.flash.boots)
            sector = position // 4096 * 4096
            self.assertEqual(charger.slots.flash.erased, [(sector, 4096 if sector else BLOCK)])

    def test_a_micropython_that_does_not_erase_blocks_that_way_erases_sectors(self):
        charger = big()
        charger.slots.flash.has_blocks = False
        charger.update()
        self.assertEqual({size for _, size in charger.slots.flash.erased}, {4096})
        self.assertTrue(charger.slots.flash.boots)

    def test_while_somebody_charges_only_sectors_are_erased(self):
        charger = big()
        charger.policy = "download"
        charger.station.charging = True
        charger.update(until=lambda: charger.updater.status == "InstallScheduled")
        self.assertEqual({size for _, size in charger.slots.flash.erased}, {4096})

    def test_a_file_that_starts_over_is_not_written_over_what_was_written(self):
        charger = big(validator=None)
        charger.server.cuts = [10000]
        charger.update(retries=1)
        self.assertEqual(charger.server.requests, [0, 0])
        self.assertTrue(charger.slots.flash.boots)


class TestAfterAReset(unittest.TestCase):
    """An interrupted erase may leave what reads as blank and does not keep what is written."""

    def cut(self, charger, at):
        charger.slots.flash.cut_at = at
        charger.update()
        charger.reset()
        charger.slots.flash.erased.clear()

    def test_what_reads_as_blank_is_erased(self):
        charger = big()
        charger.slots.flash.older = 0
        self.cut(charger, 5)
        charger.run()
        positions = [position for position, _ in charger.slots.flash.erased]
        self.assertEqual(positions, list(range(0, len(LONG), 4096)))
        self.assertTrue(charger.slots.flash.boots)

    def test_no_block_is_erased_for_that_may_be_what_reset_the_charger(self):
        charger = big()
        self.cut(charger, 1)
        charger.run()
        self.assertEqual({size for _, size in charger.slots.flash.erased}, {4096})
        self.assertTrue(charger.slots.flash.boots)

    def test_the_next_request_knows_of_it_too(self):
        charger = big()
        charger.slots.flash.older = 0
        self.cut(charger, 5)
        charger.run(until=lambda: charger.slots.flash.erased)
        charger.updater.request(URL, None, None, None)
        charger.slots.flash.erased.clear()
        charger.run()
        self.assertEqual(len(charger.slots.flash.erased), (len(LONG) + 4095) // 4096)

    def test_it_is_forgotten_after_an_update_that_came_without(self):
        charger = big()
        self.cut(charger, 5)
        for is_cut in (True, False):
            charger.run()
            charger.reset()
            charger.journal.finish("Installed")
            self.assertEqual(charger.journal.get("cut"), is_cut)
            charger.updater.request(URL, None, None, None)


class TestErasingAhead(unittest.TestCase):
    def test_until_its_date_the_whole_slot_is_erased_and_then_nothing_more(self):
        charger = big()
        date = charger.clock.time + DATE
        charger.update(date=date)
        self.assertEqual(charger.slots.flash.erased, [(position, BLOCK) for position in range(0, CAPACITY, BLOCK)])
        self.assertTrue(charger.slots.flash.boots)

    def test_nothing_is_erased_ahead_while_somebody_charges(self):
        charger = big()
        charger.station.charging = True
        erased = []

        def watch():
            if len(charger.slept) == DATE // 2 and charger.station.charging:
                erased.extend(charger.slots.flash.erased)
                charger.station.end_charging()

        charger.update(date=charger.clock.time + DATE, until=watch)
        self.assertEqual(erased, [])
        self.assertEqual(len(charger.slots.flash.erased), CAPACITY // BLOCK)

    def test_a_power_cut_at_any_erase_ahead_ends_in_the_new_firmware(self):
        for cut_at in range(1, CAPACITY // BLOCK + 1):
            charger = big()
            charger.slots.flash.cut_at = cut_at
            charger.updater.request(URL, charger.clock.time + DATE, None, None)
            charger.run()
            charger.reset()
            charger.run()
            self.assertTrue(charger.slots.flash.boots)
            self.assertEqual(charger.told, ["DownloadScheduled", "Downloading", "Downloaded", "Installing"])


if __name__ == "__main__":
    unittest.main()
