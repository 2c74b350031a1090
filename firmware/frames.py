"""What a package carries: frames of at most 2,054 bytes that give 2,048 bytes of the update file each.

UPDATE_FILES.md describes them. A frame depends on no other, so decoding can go on at any of them.
"""

import asyncio
import struct
from binascii import crc32
from io import BytesIO

from deflate import RAW, DeflateIO
from micropython import const

from .errors import ImageError

_LARGEST = const(2048)
_HEAD = const(6)
_LENGTH = const(0x0FFF)
_OPERATIONS = const(0x4000)
_DEFLATED = const(0x8000)
_UNKNOWN = const(0x3000)
_WINDOW_BITS = const(10)

_LITERAL = const(0)
_ADD = const(2)  # and 1 copies
_BREATH = const(16)  # operations without a pause: each may read flash

_PIECE = const(64)

_DAMAGED = const("the package is damaged: build or upload it again")


class Frames:
    """Decodes the frames that come from `source`, a delta's with the first `base` bytes of the slot `running`.

    taken: bytes of complete frames so far, which is where a new Frames can go on after any error.
    """

    def __init__(self, source, running, base):
        self.taken = 0
        self.source = source
        self.running = running
        self.base = base
        self._frame = BytesIO(_LARGEST)
        self.part = bytearray(_PIECE)

    async def readinto(self, view):
        """Fill `view`, a memoryview of 2,048 bytes or of what the last frame gives; return its length.

        Raises ImageError for damaged data, OSError when the connection or the flash fails.
        """
        part = memoryview(self.part)[:_HEAD]
        await self.fill(part)
        head = part[0] | part[1] << 8
        length = head & _LENGTH
        # A frame that would be longer than what it gives is sent as it is. So `view` can hold it for the moment.
        if length > len(view) or head & _UNKNOWN:
            raise ImageError(_DAMAGED)
        data = view[:length]
        await self.fill(data)
        if crc32(data, crc32(part[:2])) != struct.unpack_from("<I", part, 2)[0]:
            raise ImageError(_DAMAGED)
        if head & (_DEFLATED | _OPERATIONS):
            await self._unpack(view, data, head)
        elif length != len(view):
            raise ImageError(_DAMAGED)
        self.taken += _HEAD + length
        return len(view)

    async def fill(self, view):
        """Fill `view` from the source."""
        while len(view):
            count = await self.source.readinto(view)
            if not count:
                raise OSError("the connection closed too early")
            view = view[count:]

    async def _unpack(self, view, data, head):
        """Put what `data`, the beginning of `view`, gives into `view`."""
        frame = source = self._frame
        frame.seek(0)
        frame.write(data)
        frame.seek(0)
        if head & _DEFLATED:
            source = DeflateIO(frame, RAW, _WINDOW_BITS)
        if head & _OPERATIONS:
            await self._apply(source, view)
        else:
            _receive(source, view, len(view))
        if head & _DEFLATED:
            _receive(source, self.part, 1, 0)  # to its end
        if frame.tell() != len(data):  # behind the frame is what is left of a longer one
            raise ImageError(_DAMAGED)

    async def _apply(self, source, view):
        """Fill `view` by the operations that come from `source`."""
        part = self.part
        done = operations = 0
        while done < len(view):
            operations += 1
            if operations % _BREATH == 0:
                await asyncio.sleep_ms(0)
            _receive(source, part, 3)
            code = part[0]
            length = part[1] | part[2] << 8
            piece = view[done : done + length]
            done += length
            if not length or done > len(view) or code > _ADD:
                raise ImageError(_DAMAGED)
            if code == _LITERAL:
                _receive(source, piece, length)
                continue
            _receive(source, part, 4)
            position = struct.unpack_from("<I", part)[0]
            if position + length > self.base:
                raise ImageError(_DAMAGED)
            self.running.read(position, piece)
            if code == _ADD:
                self._add(source, piece)

    def _add(self, source, view):
        """Add the next bytes to those in `view`."""
        part = self.part
        for start in range(0, len(view), _PIECE):
            count = min(_PIECE, len(view) - start)
            _receive(source, part, count)
            for index in range(count):
                if part[index]:  # few are
                    view[start + index] = view[start + index] + part[index] & 0xFF


def _receive(source, buffer, count, length=None):
    """Read `count` bytes; ImageError unless so many come, or `length` if that is another number."""
    try:
        if source.readinto(buffer, count) == (count if length is None else length):
            return
    except (OSError, EOFError):  # of DeflateIO
        pass
    raise ImageError(_DAMAGED)
