import asyncio
import unittest

import signatures
from firmware import ecdsa, rsa_pss
from signatures import BAD_KEYS, DIGEST, ECDSA_BAD, ECDSA_GOOD, ECDSA_INFINITY, ECDSA_KEY, RSA_BAD, RSA_GOOD, RSA_KEY

RSA = rsa_pss
ECDSA = ecdsa


def good(key, algorithm, digest, signature):
    asyncio.new_event_loop()
    return asyncio.run(algorithm.verify(key, digest, memoryview(signature)))


def changed(data, index):
    data = bytearray(data)
    data[index] ^= 1 << index % 8
    return data


class TestRsa(unittest.TestCase):
    def test_what_others_signed_is_accepted(self):
        for signature in RSA_GOOD:
            self.assertTrue(good(RSA_KEY, RSA, DIGEST, signature))

    def test_a_signature_changed_anywhere_is_refused(self):
        for index in range(0, 384, 9):
            self.assertFalse(good(RSA_KEY, RSA, DIGEST, changed(RSA_GOOD[0], index)), index)

    def test_another_digest_is_refused(self):
        for index in range(0, 32, 5):
            self.assertFalse(good(RSA_KEY, RSA, changed(DIGEST, index), RSA_GOOD[0]), index)

    def test_signatures_with_any_other_encoding_are_refused(self):
        for name, signature in RSA_BAD.items():
            self.assertFalse(good(RSA_KEY, RSA, DIGEST, signature), name)

    def test_a_signature_of_another_length_is_refused(self):
        for signature in (b"", RSA_GOOD[0][:-1], RSA_GOOD[0] + b"\0", b"\0" + RSA_GOOD[0]):
            self.assertFalse(good(RSA_KEY, RSA, DIGEST, signature), len(signature))

    def test_another_key_is_refused(self):
        self.assertFalse(good(signatures.OTHER_RSA_KEY, RSA, DIGEST, RSA_GOOD[0]))
        self.assertFalse(good(ECDSA_KEY, RSA, DIGEST, RSA_GOOD[0]))
        for name, key in BAD_KEYS.items():
            self.assertFalse(good(key, RSA, DIGEST, RSA_GOOD[0]), name)

    def test_a_key_with_another_form_is_refused(self):
        for index in list(range(34)) + list(range(417, 422)):
            self.assertFalse(good(changed(RSA_KEY, index), RSA, DIGEST, RSA_GOOD[0]), index)


class TestEcdsa(unittest.TestCase):
    def test_what_others_signed_is_accepted(self):
        for key, digest, signature in ECDSA_GOOD:
            self.assertTrue(good(key, ECDSA, digest, signature))

    def test_a_signature_changed_anywhere_is_refused(self):
        for index in list(range(0, 64, 5)) + list(range(64, 384, 40)):
            self.assertFalse(good(ECDSA_KEY, ECDSA, DIGEST, changed(ECDSA_GOOD[0][2], index)), index)

    def test_another_digest_is_refused(self):
        for index in range(0, 32, 7):
            self.assertFalse(good(ECDSA_KEY, ECDSA, changed(DIGEST, index), ECDSA_GOOD[0][2]), index)

    def test_numbers_out_of_range_are_refused(self):
        for name, signature in ECDSA_BAD.items():
            self.assertFalse(good(ECDSA_KEY, ECDSA, DIGEST, signature), name)

    def test_what_fits_in_spite_of_numbers_out_of_range_is_refused(self):
        for name, (key, digest, signature) in signatures.ECDSA_FORGED.items():
            self.assertFalse(good(key, ECDSA, digest, signature), name)

    def test_a_result_at_infinity_is_refused(self):
        digest, signature = ECDSA_INFINITY
        self.assertFalse(good(ECDSA_KEY, ECDSA, digest, signature))

    def test_a_signature_that_is_cut_is_refused(self):
        for length in (0, 32, 63):
            self.assertFalse(good(ECDSA_KEY, ECDSA, DIGEST, ECDSA_GOOD[0][2][:length]), length)

    def test_another_key_is_refused(self):
        self.assertFalse(good(signatures.OTHER_ECDSA_KEY, ECDSA, DIGEST, ECDSA_GOOD[0][2]))
        self.assertFalse(good(RSA_KEY, ECDSA, DIGEST, ECDSA_GOOD[0][2]))
        for name, key in BAD_KEYS.items():
            self.assertFalse(good(key, ECDSA, DIGEST, ECDSA_GOOD[0][2]), name)

    def test_a_key_with_another_form_is_refused(self):
        for index in range(27):
            self.assertFalse(good(changed(ECDSA_KEY, index), ECDSA, DIGEST, ECDSA_GOOD[0][2]), index)

    def test_the_tests_own_signatures_are_accepted(self):
        self.assertTrue(good(ECDSA_KEY, ECDSA, DIGEST, signatures.sign(DIGEST)))


class TestBoth(unittest.TestCase):
    def test_others_run_while_it_computes(self):
        async def run(key, algorithm, *arguments):
            turns = 0

            async def count():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep_ms(0)

            task = asyncio.create_task(count())
            self.assertTrue(await algorithm.verify(key, *arguments))
            task.cancel()
            return turns

        self.assertTrue(asyncio.run(run(RSA_KEY, RSA, DIGEST, RSA_GOOD[0])) >= 16)
        self.assertTrue(asyncio.run(run(ECDSA_KEY, ECDSA, DIGEST, ECDSA_GOOD[0][2])) >= 256)


if __name__ == "__main__":
    unittest.main()
