import unittest

import update_files
from firmware.errors import ImageError
from firmware.image import Image


def check(data, piece=4096, chip_id=0, capacity=update_files.CAPACITY, frozen=False):
    """Feed `data` in pieces; return the Image that accepted it."""
    image = Image(chip_id, capacity, frozen)
    view = memoryview(data)
    for start in range(0, len(view), piece):
        image.feed(view[start : start + piece])
    image.finish()
    return image


class TestImage(unittest.TestCase):
    def refuse(self, data, words, **keywords):
        try:
            check(data, **keywords)
        except ImageError as error:
            self.assertTrue(words in str(error), str(error))
        else:
            self.assertTrue(False, "accepted; expected: " + words)

    def test_a_file_is_accepted_in_pieces_of_any_size(self):
        data = update_files.update_file()
        for piece in (1, 7, 512, 4095, 4096, 4097, len(data)):
            self.assertEqual(check(data, piece).version, "2.0")

    def test_headers_may_lie_across_blocks(self):
        for body in range(3500, 4200, 4):
            self.assertEqual(check(update_files.update_file(body=body)).version, "2.0")

    def test_an_image_with_the_application_frozen_in_needs_no_bundle(self):
        frozen = update_files.image(project=b"Arus", version=b"2.1")
        for piece in (1, 7, 4096, len(frozen)):
            self.assertEqual(check(frozen, piece).version, "2.1")
        self.assertEqual(check(frozen + b"\xff" * (-len(frozen) % 4096)).version, "2.1")
        self.assertEqual(check(frozen, frozen=True).version, "2.1")

    def test_an_image_without_an_application_is_refused(self):
        self.refuse(update_files.image(), "no application")
        for project in (b"Arusian", b"arus", b"Aru"):
            self.refuse(update_files.image(project=project, version=b"2.1"), "no application")

    def test_a_frozen_charger_refuses_an_image_that_is_not_from_its_first_bytes(self):
        for piece in (1, 2048, 4096):
            image = Image(0, update_files.CAPACITY, True)
            with self.assertRaises(ImageError):
                view = memoryview(update_files.update_file())[:4096]
                for start in range(0, 4096, piece):
                    image.feed(view[start : start + piece])
        self.refuse(update_files.update_file(), "tools/build.py image", frozen=True)

    def test_a_truncated_frozen_image_is_refused_wherever_it_ends(self):
        data = update_files.image(project=b"Arus", version=b"2.1")
        for end in range(len(data)):
            with self.assertRaises(ImageError):
                check(data[:end])

    def test_what_is_no_image_is_refused_with_its_first_bytes(self):
        page = b"<!DOCTYPE html><title>404</title>"
        with self.assertRaises(ImageError):
            Image(0, update_files.CAPACITY).feed(memoryview(page))
        self.refuse(page, "web page")

    def test_an_image_for_another_chip_is_refused_by_name(self):
        self.refuse(update_files.update_file(chip_id=9), "built for ESP32-S3")
        self.refuse(update_files.update_file(chip_id=77), "chip id 77")
        self.assertEqual(check(update_files.update_file(chip_id=9), chip_id=9).version, "2.0")

    def test_a_bootloader_in_front_is_refused(self):
        self.refuse(update_files.update_file(descriptor=0), "combined file")

    def test_an_image_without_its_digest_is_refused(self):
        self.refuse(update_files.update_file(has_digest=0), "damaged image header")

    def test_a_file_larger_than_the_slot_is_refused(self):
        self.refuse(update_files.update_file(), "larger than the OTA slot", capacity=12 * 1024 - 1)
        self.refuse(update_files.image(body=5000), "larger than the OTA slot", capacity=4096)

    def test_a_segment_longer_than_the_slot_is_refused_from_its_header(self):
        data = bytearray(update_files.update_file())
        data[24 + 4 : 24 + 8] = b"\xff\xff\xff\x7f"
        self.refuse(data[:4096], "larger than the OTA slot")

    def test_a_truncated_file_is_refused_wherever_it_ends(self):
        data = update_files.update_file()
        for end in range(0, len(data), 97):
            with self.assertRaises(ImageError):
                check(data[:end])
        self.refuse(data[:-1], "ends too early")

    def test_bytes_behind_the_bundle_are_refused(self):
        self.refuse(update_files.update_file() + b"\xff", "after the end")

    def test_a_file_changed_at_any_byte_is_refused(self):
        image = update_files.image()
        padding = range(len(image), 4096)  # what lies between image and bundle means nothing
        data = bytearray(update_files.join(image, update_files.bundle()))
        for position in range(0, len(data), 5):
            if position not in padding:
                data[position] ^= 0x10
                with self.assertRaises(ImageError):
                    check(data)
                data[position] ^= 0x10
        check(data)

    def test_a_version_that_would_garble_a_log_is_refused(self):
        for version in (b"", b"1\n2", b"\xc3\xa4"):
            self.refuse(update_files.join(update_files.image(), update_files.bundle(version)), "version")
            self.refuse(update_files.image(project=b"Arus", version=version), "version")


if __name__ == "__main__":
    unittest.main()
