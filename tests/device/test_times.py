"""How long the pieces of work take that hold up everything else: figures, with no judgement.

It writes over the slot that does not run.
"""

import sys
import time
import unittest

import uctypes

try:
    from esp32 import Partition
except ImportError:
    Partition = None

OnChip = unittest.TestCase if Partition else object  # unittest runs the classes of the first kind
SECTOR = 4096
ERASE = 6
ROUNDS = 8


def other():
    return Partition(Partition.RUNNING).get_next_update()


def tell(what, milliseconds, times=1):
    """Print a figure; tools/test.py shows the lines that begin like this."""
    print("\n# %s: %.1f ms" % (what, milliseconds / times))


def taken(function, *arguments):
    """Return how long a call takes, in ms."""
    start = time.ticks_us()
    function(*arguments)
    return time.ticks_diff(time.ticks_us(), start) / 1000


class ChipTest(unittest.TestCase):
    @unittest.skipUnless(Partition, "no ESP32 here: tools/test.py --device PORT runs this file on one")
    def test_there_is_a_chip(self):
        pass


class FlashTest(OnChip):
    def test_sectors(self):
        slot = other()
        data = bytes(SECTOR)
        # What was written first has to be erased then, and is not blank.
        for block in range(ROUNDS):
            slot.writeblocks(block, data)
        tell("erase 4 KiB", sum(taken(slot.ioctl, ERASE, block) for block in range(ROUNDS)), ROUNDS)
        tell("write 4 KiB", sum(taken(slot.writeblocks, block, data, 0) for block in range(ROUNDS)), ROUNDS)
        tell("read 4 KiB", sum(taken(slot.readblocks, block, bytearray(SECTOR)) for block in range(ROUNDS)), ROUNDS)

    def test_a_block_of_64_kib(self):
        slot = other()
        for block in range(16):
            slot.writeblocks(block, bytes(SECTOR))
        nowhere = uctypes.bytearray_at(0, 65536)

        def erase():
            try:
                slot.writeblocks(0, nowhere)
            except OSError:
                pass  # it is erased first, and then this is no place to write from

        tell("erase 64 KiB", taken(erase))

    def test_sha_256_of_a_slot(self):
        from hashlib import sha256

        slot, digest, buffer = Partition(Partition.RUNNING), sha256(), bytearray(SECTOR)
        size = slot.info()[3]

        def read():
            for block in range(size // SECTOR):
                slot.readblocks(block, buffer)
                digest.update(buffer)

        tell("SHA-256 of a slot of %d KiB" % (size // 1024), taken(read))

    def test_set_boot(self):
        tell("set_boot, which checks the image", taken(Partition(Partition.RUNNING).set_boot))
        Partition.mark_app_valid_cancel_rollback()


class ImportTest(OnChip):
    def test_a_module_of_the_application(self):
        sys.modules.pop("ocpp.calls", None)
        try:
            tell("import ocpp.calls", taken(__import__, "ocpp.calls"))
        except ImportError:
            raise unittest.SkipTest("no application on this board: tools/flash.py puts it on")


if __name__ == "__main__":
    unittest.main()
