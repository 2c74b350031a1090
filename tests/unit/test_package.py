import asyncio
import struct
import unittest
from hashlib import sha256

import signatures
from firmware import package
from firmware.errors import ImageError

CAPACITY = 64 * 1024
RUNNING = bytes(i * i % 251 for i in range(5000))
BASE_DIGEST = sha256(RUNNING[:4500]).digest()


class Charger:
    product = "Arus One"
    hardware = 3
    chip_id = 9
    key = signatures.ECDSA_KEY
    floor = 20


class Slot:
    capacity = CAPACITY

    def __init__(self, data=RUNNING):
        self.data = data
        self.reads = 0

    def read(self, position, buffer):
        self.reads += 1
        piece = self.data[position : position + len(buffer)]
        buffer[:] = piece + b"\xff" * (len(buffer) - len(piece))


def header(
    layout=1,
    algorithm=2,
    chip_id=9,
    hardware=(2, 4),
    release=21,
    floor=19,
    length=40000,
    base=0,
    base_digest=bytes(32),
    key=signatures.ECDSA_KEY,
    product=b"Arus One",
):
    fields = struct.pack(
        "<8sHBBHHHHIIIII",
        b"ARUSPKG\0",
        layout,
        algorithm,
        0,
        chip_id,
        *hardware,
        0,
        release,
        floor,
        length,
        30000,
        base,
    )
    fields += struct.pack(
        "<32s32s8s32s32s80s", b"\xab" * 32, base_digest, sha256(key).digest()[:8], product, b"2.1", b""
    )
    return fields + signatures.sign(sha256(fields).digest())


def check(data, slot=None, **attributes):
    charger = Charger()
    for name, value in attributes.items():
        setattr(charger, name, value)
    asyncio.new_event_loop()
    return asyncio.run(package.check(memoryview(data), charger, slot or Slot()))


class TestPackage(unittest.TestCase):
    def refuse(self, data, words, slot=None, **attributes):
        try:
            check(data, slot, **attributes)
        except ImageError as error:
            self.assertTrue(words in str(error), str(error))
        else:
            self.assertTrue(False, "accepted; expected: " + words)

    def test_a_package_for_this_charger_is_accepted(self):
        self.assertEqual(
            check(header()),
            {"length": 40000, "frames": 30000, "sha256": "ab" * 32, "base": 0, "release": 21, "floor": 19},
        )

    def test_a_package_signed_with_rsa_is_accepted(self):
        data = signatures.RSA_HEADER
        self.assertEqual(check(data, key=signatures.RSA_KEY)["release"], 21)
        changed = bytearray(data)
        changed[639] ^= 1
        self.refuse(changed, "wrong signature", key=signatures.RSA_KEY)

    def test_a_delta_to_what_runs_is_accepted(self):
        slot = Slot()
        self.assertEqual(check(header(base=4500, base_digest=BASE_DIGEST), slot)["base"], 4500)
        self.assertEqual(slot.reads, 5)

    def test_a_delta_to_something_else_is_refused(self):
        data = header(base=4500, base_digest=BASE_DIGEST)
        for index in (0, 1023, 1024, 4499):
            other = bytearray(RUNNING)
            other[index] ^= 1
            self.refuse(data, "delta to another firmware", Slot(other))
        check(data, Slot(RUNNING[:4500] + b"anything"))
        self.refuse(header(base=4501, base_digest=BASE_DIGEST), "delta to another firmware")

    def test_a_base_larger_than_a_slot_is_not_even_read(self):
        slot = Slot()
        for base in (CAPACITY + 1, 0xFFFFFFFF):
            self.refuse(header(base=base, base_digest=BASE_DIGEST), "delta to another firmware", slot)
            self.refuse(header(base=base, base_digest=sha256(b"").digest()), "delta to another firmware", slot)
        self.assertEqual(slot.reads, 0)

    def test_another_format_is_refused(self):
        self.refuse(header(layout=2), "format 2")
        self.refuse(header(layout=0), "format 0")

    def test_another_chip_is_refused_by_name(self):
        self.refuse(header(chip_id=0), "built for ESP32, this charger has an ESP32-S3")
        self.refuse(header(chip_id=77), "chip id 77")

    def test_another_product_is_refused_by_name(self):
        for product in (
            b"Arus Two",
            b"Arus One+",
            b"Arus On",
            b"",
            b"Arus One\0x",
            b"32 characters, as many as there are",
        ):
            self.refuse(header(product=product), "made for product")
        self.refuse(header(product=b"Arus Two"), "made for product Arus Two, this charger is Arus One")
        self.assertEqual(check(header(product=b"P" * 32), product="P" * 32)["length"], 40000)

    def test_what_is_not_printable_is_not_printed(self):
        self.refuse(header(product=b"a\x1b[2J\n\xff"), "made for product a?[2J??, this")

    def test_other_hardware_is_refused(self):
        for hardware in ((0, 2), (4, 9), (4, 2)):
            self.refuse(header(hardware=hardware), "made for hardware %d to %d, this charger has 3" % hardware)
        for hardware in ((3, 3), (0, 3), (3, 9)):
            check(header(hardware=hardware))

    def test_a_charger_without_a_key_takes_no_package(self):
        self.refuse(header(), "no public key", key=None)

    def test_another_key_is_refused_by_its_id(self):
        other = signatures.OTHER_ECDSA_KEY
        self.refuse(header(key=other), "signed with another key")
        self.refuse(header(), "signed with another key", key=other)
        self.refuse(header(key=other), "wrong signature", key=other)  # only claims to be signed with it

    def test_another_algorithm_than_the_keys_is_refused(self):
        for algorithm in (0, 1, 3, 255):
            self.refuse(header(algorithm=algorithm), "wrong signature")

    def refuse_each_byte(self, data, key):
        """Change one bit of each byte of the header and of the signature."""
        data = bytearray(data)
        self.assertEqual(len(data), 640)
        self.assertEqual(check(data, key=key)["release"], 21)
        for index in range(640):
            data[index] ^= 1 << index % 8
            with self.assertRaises(ImageError):
                check(data, key=key)
                print("accepted: byte", index)
            data[index] ^= 1 << index % 8

    def test_a_header_changed_at_any_byte_is_refused(self):
        self.refuse_each_byte(header(), signatures.ECDSA_KEY)

    def test_a_header_signed_with_rsa_changed_at_any_byte_is_refused(self):
        self.refuse_each_byte(signatures.RSA_HEADER, signatures.RSA_KEY)

    def test_a_release_below_the_chargers_floor_is_refused(self):
        self.refuse(header(release=19), "release 19 is too old: this charger takes 20 and later")
        self.assertEqual(check(header(release=20))["release"], 20)
        self.assertEqual(check(header(release=0xFFFFFFFF, floor=0xFFFFFFFE))["floor"], 0xFFFFFFFE)

    def test_a_file_that_does_not_fit_is_refused(self):
        self.refuse(header(length=CAPACITY + 1), "the OTA slot 65536")
        self.refuse(header(length=0), "0 bytes")
        self.assertEqual(check(header(length=CAPACITY))["length"], CAPACITY)

    def test_nothing_is_read_from_flash_before_the_signature_is_right(self):
        slot = Slot()
        data = bytearray(header(base=4500, base_digest=BASE_DIGEST))
        data[300] ^= 1
        self.refuse(data, "wrong signature", slot)
        self.assertEqual(slot.reads, 0)


if __name__ == "__main__":
    unittest.main()
