"""What people take for a MicroPython file, and what to tell them."""

from __future__ import annotations

import struct

import build
from flashing.errors import FlashError
from packages import MAGIC as PACKAGE_MAGIC

TAKE = (
    "take the .bin of your board from https://micropython.org/download/?port=esp32 "
    '(under "Releases"; the variant "Support for OTA" if there is one)'
)
# What people take for the file: first bytes -> what it is.
OTHER_FILES = (
    (b"UF2\n", "a .uf2 file"),
    (b"\x7fELF", "the .elf file for a debugger"),
    (b"\x1f\x8b", "a compressed file: unpack it"),
    (b"PK\x03\x04", "a .zip file: unpack it"),
    (PACKAGE_MAGIC, "a package for UpdateFirmware"),
    (b"<", "a web page"),
    (b"Archive member", "the .map file of the linker"),
)


class FirmwareError(FlashError):
    """The file can't go onto this board; the text says why and what to do."""


def check(data: bytes) -> None:
    """FirmwareError if `data` is nothing that begins with a bootloader for an ESP32."""
    for start, what in OTHER_FILES:
        if data.lstrip(b"\xef\xbb\xbf \r\n").startswith(start):
            raise FirmwareError(f"this is {what}; {TAKE}")
    if len(data) < 288 or data[0] != 0xE9:
        raise FirmwareError(f"this is no image for an ESP32: it does not begin with 0xE9; {TAKE}")
    if struct.unpack_from("<I", data, 32)[0] == build.APP_DESCRIPTOR_MAGIC:
        raise FirmwareError(_app_only(data))


def _app_only(data: bytes) -> str:
    """Say what a file is that begins with an application image."""
    try:
        end = aligned(build.image_length(data), build.SECTOR)
    except build.BuildError:
        end = len(data)
    if data[end : end + len(build.BUNDLE_MAGIC)] == build.BUNDLE_MAGIC:
        return f"this is an update file, for a charger that runs already (UpdateFirmware, tools/push.py); {TAKE}"
    return f"this is the application alone (micropython.bin, .app-bin), without bootloader and partition table; {TAKE}"


def aligned(size: int, block: int) -> int:
    """Return `size`, rounded up to whole blocks."""
    return -(-size // block) * block
