"""Whether the charger's own image check, and boot.py's, accept what runs on this board.

They read what MicroPython's own tools have made, so this proves their idea of an image on the real one.
"""

import os
import unittest

try:
    os.stat("/boot.py")
    from esp32 import Partition

    from firmware.errors import ImageError
    from firmware.image import Image
except (ImportError, OSError):
    Partition = None

OnCharger = unittest.TestCase if Partition else object  # unittest runs the classes of the first kind
SECTOR = 4096


def walk():
    """Return boot.py's functions: what stands above its start()."""
    with open("/boot.py") as file:
        text = file.read()
    names = {}
    exec(text[: text.index("\ntry:\n    start()")], names)
    return names


def running():
    return Partition(Partition.RUNNING)


def chip_id():
    head = bytearray(24)
    running().readblocks(0, head, 0)
    return head[12] | head[13] << 8


def feed(image, length, flipped=-1):
    """Show the first bytes of the running slot to an Image; flipped: one of which a bit is not as it is there."""
    buffer = memoryview(bytearray(SECTOR))
    for start in range(0, length, SECTOR):
        part = buffer[: min(SECTOR, length - start)]
        running().readblocks(start // SECTOR, part)
        if start <= flipped < start + SECTOR:
            part[flipped - start] ^= 1
        image.feed(part)


class ChipTest(unittest.TestCase):
    @unittest.skipUnless(Partition, "no application, or no boot.py, which a production image has inside")
    def test_there_is_an_application(self):
        pass


class ImageTest(OnCharger):
    def setUp(self):
        self.names = walk()
        self.length = self.names["image_end"](running())
        self.image = Image(chip_id(), running().info()[3])

    def test_boot_finds_the_end_of_the_image_where_its_sha_256_stands(self):
        expected = bytearray(32)
        covered = self.length - 32
        running().readblocks(covered // SECTOR, expected, covered % SECTOR)
        self.assertEqual(self.names["sha256"](running(), 0, covered), expected)

    def test_boot_finds_the_running_slot_in_otadata(self):
        slots = sum(p.info()[1] >> 4 == 1 for p in Partition.find(Partition.TYPE_APP))
        states, active = self.names["slot_states"](slots)
        self.assertTrue(active in (None, running().info()[1] - 0x10), (states, active, running().info()))

    def test_the_running_image_is_accepted(self):
        feed(self.image, self.length)
        # It ends where an image may end; whether it may come without an application is another matter.
        self.assertTrue(self.image.incomplete in ("", "application"), self.image.incomplete)

    def test_one_flipped_bit_is_noticed(self):
        try:
            feed(self.image, self.length, self.length // 2)
        except ImageError:
            return
        self.assertTrue(False, "accepted")


if __name__ == "__main__":
    unittest.main()
