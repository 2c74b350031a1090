"""Copies one file from its source into an OTA slot, checking it on the way, and goes on after an interruption."""

import asyncio
from binascii import hexlify
from hashlib import sha256

from micropython import const

from .erase import Eraser
from .image import Image, ImageError

PIECE = 2048  # bytes that are read, checked and written at a time: all the buffer that an update needs
CHECKPOINT = 64 * 1024  # the journal notes what is on flash this often: 24 times for a 1.5 MB file
_HEADER = const(640)  # bytes that tell what a file is: a package's header
_MAGIC = b"ARUSPKG\0"
_WORTH_A_BLOCK = const(16384)  # bytes that are still to come, for which erasing 64 KiB is faster than sectors


class Interrupted(Exception):
    """The file could not be had, or not to its end. `permanent`: trying the same location again can't help."""

    def __init__(self, error):
        super().__init__(str(error.args[-1]) if error.args else repr(error))
        self.permanent = getattr(error, "permanent", False)


class Transfer:
    """The file of the update in the journal on its way into `slot`.

    parts: of update.py's Updater. How far the flash is written is in the journal, so a new Transfer after a reset goes
    on with what is there. buffer: a memoryview of PIECE bytes to use.

    Positions on flash count the bytes of the update file, `taken` those of the file on the server, which is the same
    thing unless that is a package.
    """

    def __init__(self, parts, slot, buffer):
        self._parts = parts
        self._slot = slot
        self._journal = parts.journal
        self._view = buffer
        self._eraser = Eraser(slot, parts.journal.get("cut"))
        self._written = 0
        self._start_over()

    def _start_over(self):
        self._image = Image(self._parts.slots.chip_id, self._slot.capacity)
        if self._written:
            self._eraser.end = 0
        self._written = self._taken = 0
        self._shown = 0

    async def resume(self):
        """Check what an earlier Transfer left on flash, so that run() fetches only the rest."""
        written = self._journal.get("written", 0)
        self._written = written  # what is there is to be erased if it does not count
        try:
            await self._read_back(self._image, written)
        except ImageError:
            self._start_over()
            return
        self._taken = self._journal.get("taken", written)
        self._eraser.end = written

    async def erase_ahead(self):
        """Erase what a second's work erases, to save that time later."""
        for _ in range(4):
            if self._eraser.end < self._slot.capacity and not self._parts.station.charging:
                await self._eraser.step(True)

    async def verify(self):
        """Check the whole file as it is on flash; ImageError when it is not what was sent."""
        image = Image(self._parts.slots.chip_id, self._slot.capacity)
        digest = sha256()
        await self._read_back(image, self._journal.get("written"), digest)
        image.finish()
        package = self._journal.get("package")
        if package and hexlify(digest.digest()).decode() != package["sha256"]:
            raise ImageError("what the package gave is not what was signed: build it again")

    async def _read_back(self, image, length, digest=None):
        for position in range(0, length, PIECE):
            self._slot.read(position, self._view)
            piece = self._view[: min(PIECE, length - position)]
            image.feed(piece)
            if digest:
                digest.update(piece)
            await asyncio.sleep_ms(0)

    async def run(self):
        """Fetch the file to its end over as many connections as bring it forward.

        Raises Interrupted when a connection brought nothing (what is on flash is kept for the next call) and ImageError
        when the file is no firmware for this charger; then nothing more is read.
        """
        while not self._is_complete():
            before = self._written
            try:
                await self._fetch()
                break
            except Interrupted as error:
                if self._written <= before:
                    raise
                self._parts.log("Connection lost at byte %d, resuming: %s" % (self._taken, error))
        self._image.finish()
        self._journal.note(written=self._written, taken=self._taken)
        await self.verify()
        if self._image.version:
            self._parts.log("New version: %s" % self._image.version)

    def _is_complete(self):
        """Whether an earlier Transfer has written all of the file."""
        package = self._journal.get("package")
        total = package["length"] if package else self._journal.get("length")
        return self._written and self._written == total

    async def _fetch(self):
        """Take what one connection gives."""
        validator = self._journal.get("validator")
        try:
            source = await self._parts.open_source(
                self._journal.get("location"),
                offset=self._taken if validator else 0,
                validator=validator,
                expected_length=self._journal.get("length"),
            )
        except (OSError, MemoryError) as error:  # such as a redirect to a URL of 4 KB
            raise Interrupted(error)
        try:
            if source.offset != self._taken:
                self._parts.log("The server sends the file from its start: starting over")
                self._start_over()
            filled = 0 if self._taken else await self._begin(source)
            await self._copy(source, filled)
        finally:
            source.close()

    async def _begin(self, source):
        """Read what tells whether the file is for this charger; return how many bytes of a plain file that were."""
        filled = await self._fill(source, self._view[:_HEADER], 0)
        is_package = filled == _HEADER and self._view[: len(_MAGIC)] == _MAGIC
        package = await self._parts.open_package(self._view[:_HEADER] if is_package else None)
        length = source.length
        if is_package:
            self._taken = _HEADER
            filled = 0
            if length not in (None, _HEADER + package["frames"]):
                raise ImageError("the package has not the length that it tells: upload it again")
        elif length is not None and length > self._slot.capacity:
            raise ImageError("the file has %d bytes, the OTA slot %d" % (length, self._slot.capacity))
        self._journal.note(written=0, length=length, validator=source.validator, package=package)
        if length is not None:
            self._parts.log("Firmware size: %d bytes" % length)
        self._parts.log("Downloading firmware...")
        return filled

    async def _copy(self, source, filled):
        """Bring what comes to flash, piece by piece."""
        package = self._journal.get("package")
        taken = self._taken
        total = source.length
        if package:
            total = package["length"]
            frames = await self._parts.frames(source, package["base"])
        length = PIECE
        while length == PIECE:
            if package:
                length = min(PIECE, total - self._written)
                await self._unpack(frames, self._view[:length])
            else:
                length = await self._fill(source, self._view, filled)
                filled = 0
            await self._write(length, total)
            self._taken = taken + frames.taken if package else self._written
            if length and self._written % CHECKPOINT == 0:
                self._journal.note(written=self._written, taken=self._taken)
            self._show_progress(total)
        if total is None and self._image.incomplete:
            if length:
                self._start_over()  # nothing can be written behind a part of a piece
            raise Interrupted(OSError("the connection closed too early"))

    async def _unpack(self, frames, view):
        """Fill `view` with what the next frame gives."""
        try:
            if len(view):
                await frames.readinto(view)
        except (OSError, MemoryError) as error:
            raise Interrupted(error)

    async def _fill(self, source, view, filled):
        """Fill `view`, of which so many bytes are there, as far as the file goes; return how many there are then."""
        try:
            while filled < len(view):
                count = await source.readinto(view[filled:] if filled else view)
                if not count:
                    break
                filled += count
        except (OSError, MemoryError) as error:
            raise Interrupted(error)
        return filled

    async def _write(self, length, total):
        """Check what is in the buffer and write it behind what is on flash."""
        if not length:
            return
        self._image.feed(self._view if length == PIECE else self._view[:length])
        for start in range(length, PIECE):
            self._view[start] = 0xFF
        while self._eraser.end <= self._written:
            much = total is None or total - self._written >= _WORTH_A_BLOCK
            await self._eraser.step(much and not self._parts.station.charging)
        self._slot.write(self._written, self._view)
        self._written += length
        await asyncio.sleep_ms(0)

    def _show_progress(self, total):
        if total:
            tenth = 10 * self._written // total
            if tenth > self._shown:
                self._shown = tenth
                self._parts.log("Progress: %d0%%" % tenth)
                self._parts.progress("Downloading", 10 * tenth)
