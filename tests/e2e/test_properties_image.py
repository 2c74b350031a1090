"""Properties of the check of update files: whatever arrives, nothing is accepted but what the hashes were made of."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import pytest
from hypothesis import strategies as st

import build
from properties import Firmware, compiled_firmware, hold, mutations
from simulator.interpreter import Interpreter

CAPACITY = 32 * 1024
VERSION = "1.2.0"
CODE = f"""
from firmware.errors import ImageError
from firmware.image import Image

async def answer(options, data):
    image = Image(options["chip"], {CAPACITY})
    splits = options["splits"]
    turn = position = 0
    try:
        while position < len(data):
            end = position + splits[turn % len(splits)]
            image.feed(data[position:end])
            position = end
            turn += 1
        image.finish()
    except ImageError as error:
        return {{"refused": str(error)}}
    return {{"version": image.version}}
"""

PLAIN = build.made_image(2048)
BUNDLE = build.bundle({"main.py": b"pass"}, VERSION)
UPDATE = build.update_file(PLAIN, BUNDLE)
GAP = (len(PLAIN), -(-len(PLAIN) // build.SECTOR) * build.SECTOR)  # what no hash covers
SEGMENT_LENGTHS = (28, 28 + 8 + struct.unpack_from("<I", PLAIN, 28)[0])


def frozen_in(image: bytes) -> bytes:
    """The image as if it carried the application itself."""
    image = image[:48] + VERSION.encode().ljust(32, b"\0") + b"Arus".ljust(32, b"\0") + image[112:-32]
    return image + hashlib.sha256(image).digest()


FROZEN = frozen_in(PLAIN)

pieces = st.lists(st.one_of(st.sampled_from((1, 2048, 4096)), st.integers(1, 5000)), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def firmware(interpreter: Interpreter) -> Iterator[Firmware]:
    firmware = Firmware(interpreter, compiled_firmware(), CODE, most=CAPACITY + 8192)
    yield firmware
    firmware.stop()


def feed(firmware: Firmware, data: bytes, splits: list[int], chip: int = 0) -> bool:
    """Return whether the firmware accepts a file; afterwards a good one is still accepted."""
    result = firmware.ask(data, splits=splits, chip=chip).result

    def good() -> None:
        assert firmware.ask(UPDATE, splits=[2048], chip=0).result["version"] == VERSION

    firmware.rest(good)
    return "refused" not in result


def same(data: bytes, valid: bytes) -> bool:
    """Whether two files are the same in what hashes cover, and end where files may end."""
    if valid is FROZEN:
        return data[: len(FROZEN)] == FROZEN and len(data) <= GAP[1]
    start, end = GAP
    return len(data) == len(valid) and data[:start] == valid[:start] and data[end:] == valid[end:]


def test_arbitrary_bytes_are_never_accepted(firmware: Firmware, everything: bool) -> None:
    image_like = st.builds(lambda tail: PLAIN[:24] + tail, st.binary(max_size=6000))

    def check(case: tuple[bytes, list[int]]) -> None:
        assert not feed(firmware, *case)

    hold(st.tuples(st.one_of(st.binary(max_size=6000), image_like), pieces), check, 250, everything)


@pytest.mark.parametrize("valid", [UPDATE, FROZEN], ids=["with a bundle", "frozen in"])
def test_a_changed_file_is_accepted_only_if_no_hash_covers_the_change(
    firmware: Firmware, everything: bool, valid: bytes
) -> None:
    words = (b"\xe9", b"\xff" * 16, bytes(16), b"ARUSAPP\0", b"\xff\xff\xff\xff", b"\xff" * 4096)

    def check(case: tuple[bytes, list[int]]) -> None:
        data, splits = case
        assert feed(firmware, data, splits) == same(data, valid)

    hold(st.tuples(mutations([valid], words), pieces), check, 200, everything)


def test_a_file_changed_at_one_byte_is_refused(firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[int, int]) -> None:
        at, bits = case
        data = UPDATE[:at] + bytes([UPDATE[at] ^ bits]) + UPDATE[at + 1 :]
        assert feed(firmware, data, [2048]) == (GAP[0] <= at < GAP[1])

    hold(st.tuples(st.sampled_from(range(len(UPDATE))), st.integers(1, 255)), check, 150, everything)


def test_swapped_sectors_are_refused(firmware: Firmware, everything: bool) -> None:
    sectors = [UPDATE[at : at + 4096] for at in range(0, len(UPDATE), 4096)]

    def check(order: list[bytes]) -> None:
        data = b"".join(order)
        assert feed(firmware, data, [4096]) == same(data, UPDATE)

    hold(st.permutations(sectors), check, 40, everything)


@st.composite
def forged(draw: st.DrawFn) -> bytes:
    """An update file whose headers lie while its hashes are right, as from someone who wants to do harm."""
    image = bytearray(PLAIN[:-32])
    wild = st.one_of(st.sampled_from((0, 1, 79, 80, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)), st.integers(0, 2**32 - 1))
    whole = draw(st.booleans())
    for _ in range(0 if whole else draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(("segments", "length", "any")))
        if kind == "segments":
            image[1] = draw(st.integers(0, 255))
        elif kind == "length":
            struct.pack_into("<I", image, draw(st.sampled_from(SEGMENT_LENGTHS)), draw(wild))
        else:
            image[draw(st.integers(0, 200))] = draw(st.integers(0, 255))
    data = bytes(image)
    data += hashlib.sha256(data).digest()
    header = bytearray(BUNDLE[: 4096 - 32])
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(("length", "version", "any")))
        if kind == "length":
            struct.pack_into("<I", header, 12, draw(wild))
        elif kind == "version":
            header[16:48] = draw(st.binary(max_size=32)).ljust(32, b"\0")
        else:
            header[draw(st.integers(0, 100))] = draw(st.integers(0, 255))
    payload = BUNDLE[4096:] if draw(st.booleans()) else b""
    return build.update_file(data, bytes(header) + hashlib.sha256(header).digest() + payload)


def test_headers_that_lie_with_right_hashes_do_no_harm(firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[bytes, list[int], int]) -> None:
        feed(firmware, *case)

    hold(st.tuples(forged(), pieces, st.sampled_from((0, 0, 0, 0, 0, 0, 9, 65535))), check, 250, everything)
