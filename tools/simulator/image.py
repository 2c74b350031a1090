"""Checking an application image in flash as ESP-IDF does (esp_image_format.c): set_boot and the bootloader.

Runs on CPython and on MicroPython.
"""

import hashlib
import struct
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.flash import Cells

MAGIC = 0xE9
CHIP_ID = 0  # ESP32
CHIP_REVISION = 301  # v3.1
MAX_SEGMENTS = 16
PAGE = 0x10000  # of the flash cache, which maps code and constants into the address space

_chunk = array("H", bytes(1024))


def verify(flash: "Cells", address: int, size: int, check_segment: "Callable[[int, int], None] | None" = None) -> int:
    """Return the length of the image at `address` in a partition of `size` bytes; ValueError says what is wrong.

    check_segment(load address, length): what only the bootloader checks.
    """
    header = _read(flash, address, 24)
    _check_header(header, address)
    digest = hashlib.sha256(header)
    checksum = 0xEF
    position = address + 24
    for _ in range(header[1]):
        segment = _read(flash, position, 8)
        digest.update(segment)
        position += 8
        load_address, length = struct.unpack("<II", segment)
        if length & 3 or position + length > address + size:
            raise ValueError(f"invalid segment length 0x{length:x}")
        if is_mapped(load_address) and load_address % PAGE != position % PAGE:
            raise ValueError(f"segment load address 0x{load_address:x} doesn't match data 0x{position:x}")
        if check_segment:
            check_segment(load_address, length)
        checksum ^= _digest_segment(flash, position, length, digest)
        position += length
    padding = _read(flash, position, 16 - (position - address) % 16)
    digest.update(padding)
    if padding[-1] != (checksum ^ checksum >> 8) & 0xFF:
        raise ValueError("checksum failed")
    position += len(padding)
    has_digest = header[23] == 1
    if has_digest:
        if _read(flash, position, 32) != digest.digest():
            raise ValueError("image hash failed - image is corrupt")
        position += 32
    if position - address > size:
        raise ValueError(f"image length {position - address} doesn't fit in partition length {size}")
    return position - address


def is_mapped(load_address: int) -> bool:
    """Return whether a segment stays in flash and is mapped into the address space."""
    return 0x3F400000 <= load_address < 0x3F800000 or 0x400D0000 <= load_address < 0x40400000


def _check_header(header: bytearray, address: int) -> None:
    if header[0] != MAGIC:
        raise ValueError(f"image at 0x{address:x} has invalid magic byte (nothing flashed here?)")
    chip_id, _, oldest, newest = struct.unpack_from("<HBHH", header, 12)
    if chip_id != CHIP_ID:
        raise ValueError(f"mismatch chip ID, expected {CHIP_ID}, found {chip_id}")
    if oldest > CHIP_REVISION or (newest not in (0, 0xFFFF) and newest < CHIP_REVISION):
        raise ValueError(f"image is for chip revisions {oldest} to {newest}, chip is {CHIP_REVISION}")
    if header[1] > MAX_SEGMENTS:
        raise ValueError(f"segment count {header[1]} exceeds max {MAX_SEGMENTS}")


def _read(flash: "Cells", position: int, length: int) -> bytearray:
    buffer = bytearray(length)
    flash.read(position, buffer)
    return buffer


def _digest_segment(flash: "Cells", position: int, length: int, digest: "hashlib._Hash") -> int:
    """Feed a segment's data to `digest`; return the exclusive or of its 16-bit words."""
    checksum = 0
    view = memoryview(_chunk)
    while length:
        if length < len(_chunk) * 2:
            view = view[: length // 2]
        flash.read(position, view)
        digest.update(view)
        for word in view:
            checksum ^= word
        position += len(view) * 2
        length -= len(view) * 2
    return checksum
