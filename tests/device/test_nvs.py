"""What esp32.NVS promises, and the charger's store (hw/store.py) on top of it.

tests/e2e/test_simulator.py runs this on the simulated chip, tools/test.py --device PORT on a board: they must agree.
"""

import gc
import unittest

try:
    from esp32 import NVS
except ImportError:
    NVS = None

try:
    from hw.store import Store
except ImportError:
    Store = None

OnChip = unittest.TestCase if NVS else object  # unittest runs the classes of the first kind
OnCharger = unittest.TestCase if Store else object


class ChipTest(unittest.TestCase):
    @unittest.skipUnless(NVS, "no ESP32 here: tools/test.py --device PORT runs this file on one")
    def test_there_is_a_chip(self):
        pass


class NvsTest(OnChip):
    def setUp(self):
        gc.collect()  # the large blobs want their memory in one piece
        self.nvs = NVS("test")
        self.tearDown()

    def tearDown(self):
        for key in ("a", "b", "fifteen letters"):
            self.error_of(self.nvs.erase_key, key)
        self.error_of(NVS("test2").erase_key, "a")
        self.nvs.commit()

    def error_of(self, function, *arguments):
        try:
            function(*arguments)
        except OSError as error:
            return error.args
        return None

    def get_blob(self, key, size=8000):
        buffer = bytearray(size)
        return buffer[: self.nvs.get_blob(key, buffer)]

    def test_a_missing_key_is_not_found(self):
        for attempt in (self.nvs.get_i32, self.get_blob, self.nvs.erase_key):
            self.assertEqual(self.error_of(attempt, "a"), (-4354, "ESP_ERR_NVS_NOT_FOUND"))

    def test_numbers_are_signed_32_bits(self):
        for number in (0, 1, -1, 0x7FFFFFFF, -0x7FFFFFFF):
            self.nvs.set_i32("a", number)
            self.assertEqual(self.nvs.get_i32("a"), number)
        for number in (0x80000000, -0x80000000):  # MicroPython's own conversion takes one less than 32 bits can hold
            self.assertRaises(OverflowError, self.nvs.set_i32, "a", number)

    def test_blobs_of_any_length(self):
        for length in (0, 1, 511, 512, 513, 4000, 5000):
            blob = bytes(i * 7 & 0xFF for i in range(length))
            self.nvs.set_blob("a", blob)
            self.assertTrue(self.get_blob("a") == blob, length)

    def test_blobs_come_from_any_buffer(self):
        for blob in (b"bytes", bytearray(b"bytearray"), memoryview(b"a memoryview")[2:]):
            self.nvs.set_blob("a", blob)
            self.assertEqual(self.get_blob("a"), bytes(blob))

    def test_a_small_buffer_is_refused_and_a_large_one_filled_in_part(self):
        self.nvs.set_blob("a", b"12345")
        self.assertEqual(self.error_of(self.get_blob, "a", 4), (-4364, "ESP_ERR_NVS_INVALID_LENGTH"))
        buffer = bytearray(b"........")
        self.assertEqual(self.nvs.get_blob("a", buffer), 5)
        self.assertEqual(buffer, b"12345...")

    def test_a_blob_is_no_number(self):
        self.nvs.set_blob("a", b"1234")
        self.assertEqual(self.error_of(self.nvs.get_i32, "a"), (-4354, "ESP_ERR_NVS_NOT_FOUND"))

    def test_an_erased_key_is_gone_and_can_come_back(self):
        self.nvs.set_blob("a", b"1")
        self.nvs.erase_key("a")
        self.assertEqual(self.error_of(self.get_blob, "a"), (-4354, "ESP_ERR_NVS_NOT_FOUND"))
        self.nvs.set_blob("a", b"2")
        self.assertEqual(self.get_blob("a"), b"2")

    def test_keys_have_at_most_15_characters(self):
        self.nvs.set_i32("fifteen letters", 15)
        self.assertEqual(self.nvs.get_i32("fifteen letters"), 15)
        self.assertEqual(self.error_of(self.nvs.set_i32, "sixteen letters!", 16), (-4361, "ESP_ERR_NVS_KEY_TOO_LONG"))

    def test_namespaces_are_apart(self):
        NVS("test2").set_i32("a", 2)
        self.nvs.set_i32("a", 1)
        self.assertEqual((NVS("test2").get_i32("a"), NVS("test").get_i32("a")), (2, 1))

    def test_what_is_written_over_makes_room_again(self):
        self.nvs.set_i32("b", 42)
        for number in range(120):
            self.nvs.set_blob("a", b"%03d" % number * 100)
        self.nvs.commit()
        self.assertEqual(self.get_blob("a"), b"119" * 100)
        self.assertEqual(self.nvs.get_i32("b"), 42)

    def test_a_blob_larger_than_the_partition_is_refused(self):
        try:
            blob = bytes(20000)
        except MemoryError:
            raise unittest.SkipTest("no 20,000 bytes of memory in one piece")
        self.assertEqual(self.error_of(self.nvs.set_blob, "a", blob), (-4366, "ESP_ERR_NVS_VALUE_TOO_LONG"))


class StoreTest(OnCharger):
    def setUp(self):
        self.store = Store("test")

    def tearDown(self):
        try:
            NVS("test").erase_key("record")
        except OSError:
            pass

    def test_what_was_never_set_is_none(self):
        self.assertEqual(self.store.get("record"), None)

    def test_what_was_set_is_there_for_whoever_asks_next(self):
        for value in (b"first", b"", b"x" * 513):
            self.store.set("record", value)
            self.assertEqual(Store("test").get("record"), value)

    def test_a_key_that_is_too_long_is_an_error_and_changes_nothing(self):
        self.store.set("record", b"kept")
        self.assertRaises(OSError, self.store.set, "record with a long name", b"lost")
        self.assertEqual(self.store.get("record"), b"kept")


if __name__ == "__main__":
    unittest.main()
