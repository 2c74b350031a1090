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
        self.version = None  # of the bundle, as soon as its header has passed
        self._chip_id = chip_id
        self._capacity = capacity
        self._seen = 0  # bytes of the file so far
        self._bundle_missing = False  # True between the end of the image and the bundle's header
        self._field = bytearray(80)  # the header being collected
        self._expect(24, self._on_image_header, collect=True, digest=sha256())

    @property
    def complete(self):
        """Whether the file may end here: behind the bundle, or behind an image that has the application frozen in."""
        return not self._left or (self._bundle_missing and self._is_frozen and not self._collected)

    def feed(self, view):
        """Check the next bytes of the file (a memoryview); raise ImageError when they can't belong to a firmware."""
        if self._seen + len(view) > self._capacity:
            raise ImageError("the file is larger than the OTA slot of %d bytes" % self._capacity)
        while len(view):
            if not self._left:
                raise ImageError("there are bytes after the end of the bundle: build the file again")
            part = view[: self._left]
            if self._collect:
                start = self._collected
                self._field[start : start + len(part)] = part
                self._collected += len(part)
            if self._digest:
                self._digest.update(part)
            self._seen += len(part)
            self._left -= len(part)
            view = view[len(part) :]
            if not self._left and self._then:
                self._then()

    def finish(self):
        """Raise ImageError unless the file is complete."""
        if not self.complete:
            if self._bundle_missing:
                raise ImageError("the image carries no application: make the update file with tools/build.py")
            raise ImageError("the file ends too early, at byte %d: build or upload it again" % self._seen)

    def _expect(self, length, then, collect=False, digest=None):
        """Take the next `length` bytes as one part of the file and call `then` when they have passed."""
        self._left = length
        self._then = then
        self._collect = collect
        self._collected = 0
        self._digest = digest
        if not length and then:
            then()

    def _on_image_header(self):
        magic, self._segments = self._field[0], self._field[1]
        if magic != _IMAGE_MAGIC:
            raise ImageError("no ESP32 image (first byte 0x%02x, not 0xe9): does the location show a web page?" % magic)
        chip_id = self._field[12] | self._field[13] << 8
        if chip_id != self._chip_id:
            raise ImageError("built for %s, this charger has an %s" % (_chip_name(chip_id), _chip_name(self._chip_id)))
        if not 1 <= self._segments <= _MAX_SEGMENTS or self._field[23] != 1:
            raise ImageError("damaged image header: build or upload the file again")
        self._expect(8, self._on_first_segment, collect=True, digest=self._digest)

    def _segment_length(self):
        length = struct.unpack_from("<I", self._field, 4)[0]
        if self._seen + length > self._capacity:
            raise ImageError("the image does not fit the OTA slot of %d bytes, or is damaged" % self._capacity)
        self._segments -= 1
        return length

    def _on_first_segment(self):
        self._first_length = self._segment_length()
        if self._first_length < 80:
            raise ImageError("no application descriptor: this is no application image")
        self._expect(80, self._on_descriptor, collect=True, digest=self._digest)

    def _on_descriptor(self):
        if struct.unpack_from("<I", self._field)[0] != _DESCRIPTOR_MAGIC:
            raise ImageError("no application descriptor: is it the combined file for flashing by USB?")
        self._is_frozen = self._field[48:53] == b"arus\0"
        self._expect(self._first_length - 80, self._on_segment_data, digest=self._digest)

    def _on_segment_data(self):
        if self._segments:
            self._expect(8, self._on_segment, collect=True, digest=self._digest)
        else:  # the checksum is the last byte of a multiple of 16; it is covered by the hash
            self._expect(16 - self._seen % 16, self._on_checksum, digest=self._digest)

    def _on_segment(self):
        self._expect(self._segment_length(), self._on_segment_data, digest=self._digest)

    def _on_checksum(self):
        self._sum = self._digest.digest()
        self._expect(32, self._on_image_digest, collect=True)

    def _check_sum(self, what):
        if self._field[:32] != self._sum:
            raise ImageError("the %s is damaged (its SHA-256 differs): build or upload the file again" % what)

    def _on_image_digest(self):
        self._check_sum("image")
        self._bundle_missing = True
        self._expect(-self._seen % _SECTOR, self._on_padding)

    def _on_padding(self):
        self._expect(80, self._on_bundle_start, collect=True, digest=sha256())

    def _on_bundle_start(self):
        magic, layout, _, length, version, digest = struct.unpack_from("<8sHHI32s32s", self._field)
        if magic != _BUNDLE_MAGIC or layout != _BUNDLE_FORMAT:
            raise ImageError("no application bundle of format 1 behind the image: make the file with tools/build.py")
        self._bundle_missing = False
        self._bundle = length, digest, version.rstrip(b"\0")
        self._expect(_SECTOR - 80 - 32, self._on_bundle_header, digest=self._digest)

    def _on_bundle_header(self):
        self._sum = self._digest.digest()
        self._expect(32, self._on_bundle_header_digest, collect=True)

    def _on_bundle_header_digest(self):
        self._check_sum("bundle's header")
        length, self._sum, version = self._bundle
        if not version or min(version) < 0x20 or max(version) > 0x7E:
            raise ImageError("the bundle's version is no printable ASCII: build the file again")
        self.version = version.decode()
        self._expect(length, self._on_bundle, digest=sha256())

    def _on_bundle(self):
        self._field[:32] = self._digest.digest()
        self._then = None
        self._check_sum("bundle")
