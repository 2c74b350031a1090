"""What esp32.Partition promises, on any ESP32 with MicroPython's OTA partition table.

tests/e2e/test_simulator.py runs this on the simulated chip, tools/test.py --device PORT on a board: they must agree.
It writes over the slot that does not run, and leaves the board booting what it booted before.
"""

import struct
import unittest

import uctypes

try:
    from esp32 import Partition
except ImportError:
    Partition = None

OnChip = unittest.TestCase if Partition else object  # unittest runs the classes of the first kind
SECTOR = 4096
BLANK = b"\xff" * SECTOR
ERASE = 6


def other():
    return Partition(Partition.RUNNING).get_next_update()


def read(partition, position, length):
    buffer = bytearray(length)
    partition.readblocks(position // SECTOR, buffer, position % SECTOR)
    return buffer


def error_of(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return error.args
    return None


class ChipTest(unittest.TestCase):
    @unittest.skipUnless(Partition, "no ESP32 here: tools/test.py --device PORT runs this file on one")
    def test_there_is_a_chip(self):
        pass


class FindTest(OnChip):
    def test_info_is_type_subtype_address_size_label_encrypted(self):
        kind, subtype, address, size, label, encrypted = Partition("otadata").info()
        self.assertEqual((kind, subtype, size, label, encrypted), (1, 0, 2 * SECTOR, "otadata", False))
        self.assertEqual(address % SECTOR, 0)

    def test_the_running_partition_is_an_app(self):
        kind, subtype, _, _, label, _ = Partition(Partition.RUNNING).info()
        self.assertEqual((kind, label), (Partition.TYPE_APP, "ota_%d" % (subtype - 0x10)))

    def test_a_label_is_enough(self):
        self.assertEqual(Partition("vfs").info(), Partition.find(Partition.TYPE_DATA, label="vfs")[0].info())

    def test_partitions_are_compared_by_their_info(self):
        self.assertFalse(Partition("vfs") == Partition("vfs"))

    def test_find_takes_type_subtype_label_and_block_size(self):
        self.assertEqual([p.info()[4] for p in Partition.find(Partition.TYPE_DATA, 0)], ["otadata"])
        self.assertEqual([p.info()[4] for p in Partition.find()], ["ota_0", "ota_1"])
        self.assertEqual(Partition.find(1, 0xFF, "vfs", 512)[0].ioctl(5, 0), 512)

    def test_find_without_a_match_is_an_empty_list(self):
        self.assertEqual(Partition.find(Partition.TYPE_APP, label="vfs"), [])

    def test_an_unknown_label_is_enoent(self):
        self.assertEqual(error_of(Partition, "nowhere"), (2,))

    def test_an_unknown_number_is_a_value_error(self):
        self.assertRaises(ValueError, Partition, 2)

    def test_the_next_update_of_each_of_two_slots_is_the_other(self):
        self.assertNotEqual(other().info(), Partition(Partition.RUNNING).info())
        self.assertEqual(other().get_next_update().info(), Partition(Partition.RUNNING).info())


class ReadTest(OnChip):
    def test_any_length_and_any_offset(self):
        whole = read(Partition(Partition.RUNNING), 0, SECTOR + 100)
        self.assertEqual(whole[0], 0xE9)
        self.assertEqual(read(Partition(Partition.RUNNING), 4090, 50), whole[4090:4140])

    def test_a_read_past_the_end_is_an_invalid_size(self):
        otadata = Partition("otadata")
        self.assertEqual(error_of(otadata.readblocks, 1, bytearray(SECTOR + 1)), (-260, "ESP_ERR_INVALID_SIZE"))
        self.assertEqual(error_of(otadata.readblocks, 2, bytearray(1)), (-260, "ESP_ERR_INVALID_SIZE"))

    def test_a_read_from_behind_the_end_is_an_invalid_argument(self):
        self.assertEqual(error_of(Partition("otadata").readblocks, 2, bytearray(1), 1), (-258, "ESP_ERR_INVALID_ARG"))
        self.assertEqual(error_of(Partition("otadata").readblocks, -1, bytearray(1)), (-258, "ESP_ERR_INVALID_ARG"))


class WriteTest(OnChip):
    def setUp(self):
        self.slot = other()
        self.slot.writeblocks(0, bytes(SECTOR))

    def test_a_write_erases_first(self):
        self.slot.writeblocks(0, b"\xa5" * SECTOR)
        self.assertTrue(read(self.slot, 0, SECTOR) == b"\xa5" * SECTOR)

    def test_a_write_of_several_sectors(self):
        self.slot.writeblocks(0, b"\x5a" * (2 * SECTOR))
        self.assertTrue(read(self.slot, 0, 2 * SECTOR) == b"\x5a" * (2 * SECTOR))

    def test_a_write_with_an_odd_length_is_an_invalid_size_and_erases_nothing(self):
        self.assertEqual(error_of(self.slot.writeblocks, 0, b"1234"), (-260, "ESP_ERR_INVALID_SIZE"))
        self.assertTrue(read(self.slot, 0, SECTOR) == bytes(SECTOR))

    def test_a_write_with_an_offset_never_erases_and_clears_bits_only(self):
        self.slot.ioctl(ERASE, 0)
        self.slot.writeblocks(0, b"\xf0\x0f\xff", 100)
        self.slot.writeblocks(0, b"\x3c\x3c\x00", 100)
        self.assertEqual(read(self.slot, 99, 5), b"\xff\x30\x0c\x00\xff")

    def test_a_write_with_an_offset_may_cross_sectors(self):
        self.slot.writeblocks(0, BLANK + BLANK)
        self.slot.writeblocks(0, b"0123456789", SECTOR - 5)
        self.assertEqual(read(self.slot, SECTOR - 6, 12), b"\xff0123456789\xff")

    def test_a_write_past_the_end_is_refused(self):
        blocks = self.slot.ioctl(4, 0)
        self.assertEqual(error_of(self.slot.writeblocks, blocks, BLANK), (-260, "ESP_ERR_INVALID_SIZE"))
        self.assertEqual(error_of(self.slot.writeblocks, blocks + 1, BLANK), (-258, "ESP_ERR_INVALID_ARG"))
        self.assertEqual(error_of(self.slot.writeblocks, blocks - 1, b"ab", SECTOR - 1), (-260, "ESP_ERR_INVALID_SIZE"))

    def test_a_block_of_64_kib_at_address_0_is_erased_and_then_refused(self):
        nowhere = uctypes.bytearray_at(0, 65536)
        self.assertEqual(error_of(self.slot.writeblocks, 0, nowhere), (-258, "ESP_ERR_INVALID_ARG"))
        self.assertTrue(read(self.slot, 0, SECTOR) == BLANK)


class IoctlTest(OnChip):
    def test_block_count_and_size(self):
        self.assertEqual(Partition("otadata").ioctl(4, 0), 2)
        self.assertEqual(Partition("otadata").ioctl(5, 0), SECTOR)
        self.assertEqual(Partition("otadata", 512).ioctl(4, 0), 16)

    def test_an_erase_is_of_one_sector(self):
        slot = other()
        slot.writeblocks(0, bytes(3 * SECTOR))
        self.assertEqual(slot.ioctl(ERASE, 1), 0)
        self.assertTrue(read(slot, SECTOR, SECTOR) == BLANK)
        self.assertEqual((read(slot, SECTOR - 1, 1), read(slot, 2 * SECTOR, 1)), (b"\0", b"\0"))

    def test_an_erase_past_the_end_is_refused(self):
        slot = other()
        self.assertEqual(error_of(slot.ioctl, ERASE, slot.ioctl(4, 0)), (-260, "ESP_ERR_INVALID_SIZE"))

    def test_init_deinit_and_sync_do_nothing(self):
        self.assertEqual([Partition("vfs").ioctl(command, 0) for command in (1, 2, 3)], [0, 0, 0])


class SmallBlocksTest(OnChip):
    def setUp(self):
        other().writeblocks(0, b"\x11" * (2 * SECTOR))
        self.slot = Partition(other().info()[4], 512)

    def test_an_erase_returns_einval(self):
        self.assertEqual(self.slot.ioctl(ERASE, 0), -22)
        self.assertTrue(read(other(), 0, SECTOR) == b"\x11" * SECTOR)

    def test_a_write_keeps_the_rest_of_its_sectors(self):
        self.slot.writeblocks(7, b"\xee" * 1024)
        self.assertEqual(read(other(), 3583, 2), b"\x11\xee")
        self.assertEqual(read(other(), 4607, 2), b"\xee\x11")
        self.assertTrue(read(other(), 0, 3584) + read(other(), 4608, 3584) == b"\x11" * 7168)


class BootTest(OnChip):
    def image_length(self, partition):
        position = 24
        for _ in range(read(partition, 0, 24)[1]):
            position += 8 + struct.unpack("<I", read(partition, position + 4, 4))[0]
        return (position // 16 + 1) * 16 + 32

    def copy_running_image(self):
        running, slot = Partition(Partition.RUNNING), other()
        buffer = bytearray(SECTOR)
        for block in range((self.image_length(running) + SECTOR - 1) // SECTOR):
            running.readblocks(block, buffer)
            slot.writeblocks(block, buffer)
        return slot

    def refusal(self, slot):
        refusal = error_of(slot.set_boot)
        self.assertEqual(Partition(Partition.BOOT).info(), Partition(Partition.RUNNING).info())
        return refusal

    def test_a_slot_without_an_image_is_refused(self):
        slot = other()
        slot.writeblocks(0, BLANK)
        self.assertEqual(self.refusal(slot), (-5379, "ESP_ERR_OTA_VALIDATE_FAILED"))

    def test_an_image_with_one_flipped_bit_is_refused(self):
        slot = self.copy_running_image()
        buffer = bytearray(SECTOR)
        slot.readblocks(3, buffer)
        buffer[77] ^= 4
        slot.writeblocks(3, buffer)
        self.assertEqual(self.refusal(slot), (-5379, "ESP_ERR_OTA_VALIDATE_FAILED"))

    def test_a_sound_image_boots_next_until_another_one_is_chosen(self):
        slot, running = self.copy_running_image(), Partition(Partition.RUNNING)
        slot.set_boot()
        try:
            self.assertEqual(Partition(Partition.BOOT).info(), slot.info())
            self.assertEqual(Partition(Partition.RUNNING).info(), running.info())
        finally:
            running.set_boot()
            Partition.mark_app_valid_cancel_rollback()
        self.assertEqual(Partition(Partition.BOOT).info(), running.info())


if __name__ == "__main__":
    unittest.main()
