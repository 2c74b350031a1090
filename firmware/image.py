"""What an update file is: an ESP32 application image, and behind it the application bundle.

The file is checked as a stream, in pieces of any size, with no more memory than the largest header. The layout is that
of ESP-IDF's "App Image Format" and of tools/build.py (the bundle).
"""

import struct
from hashlib import sha256

from micropython import const

_IMAGE_MAGIC = const(0xE9)
_DESCRIPTOR_MAGIC = const(0xABCD5432)
_BUNDLE_MAGIC = b"ARUSAPP\0"
_BUNDLE_FORMAT = const(1)
_SECTOR = const(4096)
_MAX_SEGMENTS = const(16)

_DAMAGED = "the %s is damaged (its SHA-256 differs): build or upload the file again"
_TOO_EARLY = "the file ends too early: build or upload it again"
_NO_APPLICATION = "the image carries no application: make the update file with tools/build.py"
_CHIPS = {0: "ESP32", 2: "ESP32-S2", 5: "ESP32-C3", 9: "ESP32-S3", 13: "ESP32-C6"}


class ImageError(Exception):
    """The file is no firmware for this charger; the text says why and what to do."""


def _chip_name(chip_id):
    return _CHIPS.get(chip_id, "chip id %d" % chip_id)


class Image:
    """Checks one update file while it streams past.

    chip_id is that of the running image's header, capacity the size of the slot in bytes. The first 4096 bytes tell
    whether this is an application image for this chip, so nothing needs to be erased for a wrong file.
    """

    def __init__(self, chip_id, capacity):
        self.version = None  # of the bundle, once its header has passed
        self.incomplete = _TOO_EARLY  # why the file may not end here, "" where it may
        self._capacity = capacity
        self._seen = 0  # bytes of the file so far
        self._digest = None  # takes what passes, if there is one
        self._field = bytearray(80)  # the first bytes of the part that passes
        self._parts = self._layout(chip_id)
        self._part = self._left = next(self._parts)

    def feed(self, view):
        """Check the next bytes of the file (a memoryview); raise ImageError when they can't belong to a firmware."""
        self._check_room(len(view))
        while len(view):
            piece = view[: self._left]
            start = self._part - self._left
            if start < len(self._field):
                end = min(start + len(piece), len(self._field))
                self._field[start:end] = piece[: end - start]
            if self._digest:
                self._digest.update(piece)
            self._seen += len(piece)
            self._left -= len(piece)
            view = view[len(piece) :]
            while not self._left:
                self._part = self._left = next(self._parts)

    def _check_room(self, length):
        if self._seen + length > self._capacity:
            raise ImageError("damaged, or larger than the OTA slot of %d bytes" % self._capacity)

    def finish(self):
        """Raise ImageError unless the file is complete."""
        if self.incomplete:
            raise ImageError(self.incomplete)

    def _layout(self, chip_id):
        """Yield the length of each part of the file in turn. When this goes on, the part is in _field and _digest."""
        field = self._field
        self._digest = sha256()
        yield 24
        if field[0] != _IMAGE_MAGIC:
            raise ImageError("no ESP32 image (first byte 0x%02x, not 0xe9): is the location a web page?" % field[0])
        file_chip_id = field[12] | field[13] << 8
        if file_chip_id != chip_id:
            raise ImageError("built for %s, this charger has an %s" % (_chip_name(file_chip_id), _chip_name(chip_id)))
        segments = field[1]
        if not 1 <= segments <= _MAX_SEGMENTS or field[23] != 1:
            raise ImageError("damaged image header: build or upload the file again")
        for segment in range(segments):
            yield 8
            length = struct.unpack_from("<I", field, 4)[0]
            self._check_room(length)
            if segment == 0:
                yield 80
                length -= 80
                if length < 0 or struct.unpack_from("<I", field)[0] != _DESCRIPTOR_MAGIC:
                    raise ImageError("no application descriptor: is it the combined file for flashing by USB?")
                frozen = field[48:53] == b"arus\0"
            yield length
        yield 16 - self._seen % 16  # ends in the checksum, which the digest covers
        yield from self._compare("image")
        self.incomplete = "" if frozen else _NO_APPLICATION
        yield -self._seen % _SECTOR
        yield from self._bundle()

    def _bundle(self):
        field = self._field
        self._digest = sha256()
        yield 80
        magic, layout, _, length, version, digest = struct.unpack_from("<8sHHI32s32s", field)
        if magic != _BUNDLE_MAGIC or layout != _BUNDLE_FORMAT:
            raise ImageError("no application bundle of format 1 behind the image: make the file with tools/build.py")
        self.incomplete = _TOO_EARLY
        version = version.rstrip(b"\0")
        if not version or min(version) < 0x20 or max(version) > 0x7E:
            raise ImageError("the bundle's version is no printable ASCII: build the file again")
        yield _SECTOR - 80 - 32
        yield from self._compare("bundle's header")
        self._check_room(length)  # what a header says may also be more than a slice can take
        self.version = version.decode()
        self._digest = sha256()
        yield length
        if self._digest.digest() != digest:
            raise ImageError(_DAMAGED % "bundle")
        self.incomplete = ""
        self._digest = None
        yield 1
        raise ImageError("there are bytes after the end of the bundle: build the file again")

    def _compare(self, what):
        """Take the SHA-256 that stands in the file behind what it covers."""
        digest = self._digest.digest()
        self._digest = None
        yield 32
        if self._field[:32] != digest:
            raise ImageError(_DAMAGED % what)
