"""What an update file is: an ESP32 application image with the application, frozen into it or as a bundle behind it.

The file is checked as a stream, in pieces of any size, with no more memory than the largest header. The layout is that
of ESP-IDF's "App Image Format" and of tools/build.py (the bundle).
"""

import struct
from hashlib import sha256

from micropython import const

from .errors import refuse

_IMAGE_MAGIC = const(0xE9)
_DESCRIPTOR_MAGIC = const(0xABCD5432)
_BUNDLE_MAGIC = b"ARUSAPP\0"
_BUNDLE_FORMAT = const(2)
_SECTOR = const(4096)
_MAX_SEGMENTS = const(16)


class Image:
    """Checks one update file while it streams past.

    chip_id is that of the running image's header, capacity the size of the slot in bytes, frozen whether this charger
    takes only what has the application frozen in. The first 4096 bytes tell whether this is an application image for
    this chip, so nothing needs to be erased for a wrong file.
    """

    def __init__(self, chip_id, capacity, frozen=False):
        self.version = None  # of the application, once its header has passed
        self.incomplete = "early"  # why the file may not end here (refusals.py), "" where it may
        self.capacity = capacity
        self._seen = 0  # bytes of the file so far
        self.digest = None  # takes what passes, if there is one
        self.field = bytearray(80)  # the first bytes of the part that passes
        self.parts = self.layout(chip_id, frozen)
        self.part = self.left = next(self.parts)

    def feed(self, view):
        """Check the next bytes of the file (a memoryview); raise ImageError when they can't belong to a firmware."""
        self._check_room(len(view))
        while len(view):
            piece = view[: self.left]
            start = self.part - self.left
            if start < len(self.field):
                end = min(start + len(piece), len(self.field))
                self.field[start:end] = piece[: end - start]
            if self.digest:
                self.digest.update(piece)
            self._seen += len(piece)
            self.left -= len(piece)
            view = view[len(piece) :]
            while not self.left:
                self.part = self.left = next(self.parts)

    def _check_room(self, length):
        if self._seen + length > self.capacity:
            refuse("room", self.capacity)

    def finish(self):
        """Raise ImageError unless the file is complete."""
        if self.incomplete:
            refuse(self.incomplete)

    def layout(self, chip_id, frozen):
        """Yield the length of each part of the file in turn. When this goes on, the part is in _field and _digest."""
        field = self.field
        self.digest = sha256()
        yield 24
        if field[0] != _IMAGE_MAGIC:
            refuse("magic", field[0])
        file_chip_id = field[12] | field[13] << 8
        if file_chip_id != chip_id:
            refuse("chip", file_chip_id, chip_id)
        segments = field[1]
        if not 1 <= segments <= _MAX_SEGMENTS or field[23] != 1:
            refuse("image header")
        for segment in range(segments):
            yield 8
            length = struct.unpack_from("<I", field, 4)[0]
            self._check_room(length)
            if segment == 0:
                yield 80
                length -= 80
                if length < 0 or struct.unpack_from("<I", field)[0] != _DESCRIPTOR_MAGIC:
                    refuse("descriptor")
                # A frozen charger's file system may lack the boot.py that would find a bundle.
                if field[48:53] == b"Arus\0":
                    self._take_version(field[16:48])
                elif frozen:
                    refuse("frozen")
            yield length
        yield 16 - self._seen % 16  # ends in the checksum, which the digest covers
        yield from self._compare("image")
        self.incomplete = "" if self.version else "application"
        yield -self._seen % _SECTOR
        yield from self.bundle()

    def bundle(self):
        field = self.field
        self.digest = sha256()
        yield 80
        magic, layout, _, length, version, digest = struct.unpack_from("<8sHHI32s32s", field)
        if magic != _BUNDLE_MAGIC or layout != _BUNDLE_FORMAT:
            refuse("format")
        self.incomplete = "early"
        yield _SECTOR - 80 - 32
        yield from self._compare("bundle's header")
        self._check_room(length)  # what a header says may also be more than a slice can take
        self._take_version(version)
        self.digest = sha256()
        yield length
        if self.digest.digest() != digest:
            refuse("damaged", "bundle")
        self.incomplete = ""
        self.digest = None
        yield 1
        refuse("behind")

    def _take_version(self, version):
        version = bytes(version).rstrip(b"\0")
        if not version or min(version) < 0x20 or max(version) > 0x7E:
            refuse("version")
        self.version = version.decode()

    def _compare(self, what):
        """Take the SHA-256 that stands in the file behind what it covers."""
        digest = self.digest.digest()
        self.digest = None
        yield 32
        if self.field[:32] != digest:
            refuse("damaged", what)
