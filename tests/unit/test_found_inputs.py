"""Inputs that the property-based tests (tests/e2e/test_properties_*.py) found to do harm, kept for good."""

import asyncio
import gc
import json
import struct
import unittest
from hashlib import sha256

import update_files
from charger import Charger
from firmware.errors import ImageError
from firmware.image import Image
from firmware.source import SourceError
from firmware.sources import parse_url
from ocpp.rpc import Rpc


class Link:
    """A WebSocket that brings one message and keeps what is sent as it travels."""

    def __init__(self, text):
        self.text = text
        self.sent = b""

    async def receive(self):
        if self.sent:
            raise OSError("that was all")
        return self.text

    async def send(self, text):
        self.sent = bytes(memoryview(text))


def answer(text):
    """Return what travels in answer to a call whose payload is given back."""
    link = Link(text)
    try:
        asyncio.run(Rpc(link, lambda action, payload: (payload, None), log=lambda line: None).run())
    except OSError:
        pass
    return link.sent


class TestImage(unittest.TestCase):
    def test_a_bundle_longer_than_a_slice_can_be_is_refused(self):
        # with words of 32 bits it was an OverflowError, which nothing catches: a reset, and the same again after it
        for length in (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            header = bytearray(update_files.bundle()[: 4096 - 32])
            struct.pack_into("<I", header, 12, length)
            data = update_files.join(update_files.image(), bytes(header) + sha256(header).digest() + bytes(100))
            image = Image(0, update_files.CAPACITY)
            with self.assertRaises(ImageError):
                image.feed(memoryview(data))


class TestLocation(unittest.TestCase):
    def test_the_characters_of_a_refused_location_take_no_memory_afterwards(self):
        # MicroPython interns each character of a str that is looked at singly, and never gives one back
        def refuse(first):
            data = b"".join(
                [bytes([0xE0 | i >> 12, 0x80 | i >> 6 & 63, 0x80 | i & 63]) for i in range(first, first + 500)]
            )
            try:
                parse_url("http://" + str(data, "utf-8"))
            except SourceError:
                pass
            gc.collect()
            return gc.mem_alloc()

        refuse(0x3000)
        before = refuse(0x4000)
        self.assertTrue(refuse(0x5000) <= before + 128)


class TestTransfer(unittest.TestCase):
    def test_an_answer_that_takes_more_memory_than_there_is_ends_an_attempt_and_no_more(self):
        # a redirect to a URL of 3000 characters: nothing caught the MemoryError, the charger was reset, and again
        charger = Charger()
        charger.server.refusals = [MemoryError("memory allocation failed, allocating 3063 bytes")]
        self.assertFalse(charger.update(retries=2))
        self.assertEqual(charger.told, ["Downloading", "Downloaded", "Installing"])
        self.assertTrue(charger.slots.flash.boots)


class TestRpc(unittest.TestCase):
    def test_characters_beyond_16_bits_go_back_as_they_came(self):
        # MicroPython makes two characters of an escaped pair, and three bytes of each, which no WebSocket may carry
        for text in ("\\ud83d\\ude00", "\\ud800", "a\\uDFFFb", "\\ud7ff", "\\ue000", "í 힣"):
            sent = answer('[2,"%s","X",{"a":"%s"}]' % (text, text))
            for at in range(len(sent)):
                self.assertFalse(sent[at] == 0xED and sent[at + 1] >= 0xA0)
            self.assertEqual(json.loads(sent), json.loads('[3,"%s",{"a":"%s"}]' % (text, text)))


if __name__ == "__main__":
    unittest.main()
