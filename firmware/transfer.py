"""Copies one file from its source into an OTA slot, checking it on the way, and goes on after an interruption."""

import asyncio

from micropython import const

from .errors import ImageError, Interrupted

PIECE = 2048  # bytes that are read, checked and written at a time: all the buffer that an update needs
CHECKPOINT = 64 * 1024  # the journal notes what is on flash this often: 24 times for a 1.5 MB file
_HEADER = const(640)  # bytes that tell what a file is: a package's header
_MAGIC = b"ARUSPKG\0"
_WORTH_A_BLOCK = const(16384)  # bytes that are still to come, for which erasing 64 KiB is faster than sectors


class Transfer:
    """The file of the update in the journal on its way into `slot`.

    parts: of update.py's Updater. How far the flash is written is in the journal, so a new Transfer after a reset goes
    on with what is there. buffer: a memoryview of PIECE bytes to use.

    Positions on flash count the bytes of the update file, `taken` those of the file on the server, which is the same
    thing unless that is a package.
    """

    def __init__(self, parts, slot, buffer):
        self.parts = parts
        self.slot = slot
        self.journal = parts.journal
        self.view = buffer
        self.erased = 0  # all below is erased, or was and is written by now
        self.written = self.taken = self._shown = 0
        self.image = self._eraser = None  # while a connection is open

    def start_over(self):
        """Forget what is on flash."""
        if self.written:
            self.erased = 0
        self.written = self.taken = self._shown = 0

    async def read_back(self, function):
        """Call a function of read_back.py."""
        from . import read_back  # for the moment only

        self.parts.forget("firmware.read_back")
        return await getattr(read_back, function)(self)

    async def run(self):
        """Fetch the file to its end over as many connections as bring it forward.

        Raises Interrupted when a connection brought nothing (what is on flash is kept for the next call) and ImageError
        when the file is no firmware for this charger; then nothing more is read.
        """
        while not self._is_complete():
            before = self.written
            try:
                await self._fetch()
                break
            except Interrupted as error:
                if self.written <= before:
                    raise
                self.parts.log("Connection lost at byte %d, resuming: %s" % (self.taken, error))
        self.journal.note(written=self.written, taken=self.taken)
        version = await self.read_back("verify")
        if version:
            self.parts.log("New version: %s" % version)

    def _is_complete(self):
        """Whether an earlier Transfer has written all of the file."""
        package = self.journal.get("package")
        total = package["length"] if package else self.journal.get("length")
        return self.written and self.written == total

    async def _fetch(self):
        """Take what one connection gives."""
        validator = self.journal.get("validator")
        try:
            source = await self.parts.open_source(
                self.journal.get("location"),
                offset=self.taken if validator else 0,
                validator=validator,
                expected_length=self.journal.get("length"),
            )
        except (OSError, MemoryError) as error:  # such as a redirect to a URL of 4 KB
            raise Interrupted(error)
        try:
            if source.offset != self.taken:
                self.parts.log("The server sends the file from its start: starting over")
                self.start_over()
            filled = 0 if self.taken else await self.begin(source)
            # Not before: opening a connection and a package takes much of the heap, and so do these. A package is
            # signed; what comes out of it is checked when all of it is there.
            if not self.journal.get("package"):
                self.image = await self.read_back("image")
            self._eraser = self.new_eraser()
            await self.copy(source, filled)
        except MemoryError as error:  # the next time there may be enough
            raise Interrupted(error)
        finally:
            source.close()
            if self._eraser:
                self.erased = self._eraser.end
            self.image = self._eraser = None

    def new_eraser(self):
        """Return an Eraser that goes on at `erased`."""
        from .erase import Eraser

        self.parts.forget("firmware.erase")
        return Eraser(self.slot, self.journal.get("cut"), self.erased)

    async def begin(self, source):
        """Read what tells whether the file is for this charger; return how many bytes of a plain file that were."""
        filled = await self.fill(source, self.view[:_HEADER], 0)
        is_package = self.view[: min(filled, len(_MAGIC))] == _MAGIC
        if is_package and filled < _HEADER:
            raise Interrupted(OSError("the connection closed too early"))
        package = await self.parts.open_package(self.view[:_HEADER] if is_package else None)
        length = source.length
        if is_package:
            self.taken = _HEADER
            filled = 0
            if length not in (None, _HEADER + package["frames"]):
                raise ImageError("the package has not the length that it tells: upload it again")
        elif length is not None and length > self.slot.capacity:
            raise ImageError("the file has %d bytes, the OTA slot %d" % (length, self.slot.capacity))
        self.journal.note(written=0, taken=0, length=length, validator=source.validator, package=package)
        if length is not None:
            self.parts.log("Firmware size: %d bytes" % length)
        self.parts.log("Downloading firmware...")
        return filled

    async def copy(self, source, filled):
        """Bring what comes to flash, piece by piece."""
        package = self.journal.get("package")
        taken = self.taken
        total = source.length
        if package:
            total = package["length"]
            frames = await self.parts.frames(source, package["base"])
        length = PIECE
        while length == PIECE:
            if package:
                length = min(PIECE, total - self.written)
                await self._unpack(frames, self.view[:length])
            else:
                length = await self.fill(source, self.view, filled)
                filled = 0
            await self._write(length, total)
            self.taken = taken + frames.taken if package else self.written
            if length and self.written % CHECKPOINT == 0:
                self.journal.note(written=self.written, taken=self.taken)
            self._show_progress(total)
        if total is None and self.image.incomplete:
            if length:
                self._eraser.end = 0
                self.start_over()  # nothing can be written behind a part of a piece
            raise Interrupted(OSError("the connection closed too early"))

    async def _unpack(self, frames, view):
        """Fill `view` with what the next frame gives."""
        try:
            if len(view):
                await frames.readinto(view)
        except OSError as error:
            raise Interrupted(error)

    async def fill(self, source, view, filled):
        """Fill `view`, of which so many bytes are there, as far as the file goes; return how many there are then."""
        try:
            while filled < len(view):
                count = await source.readinto(view[filled:] if filled else view)
                if not count:
                    break
                filled += count
        except OSError as error:
            raise Interrupted(error)
        return filled

    async def _write(self, length, total):
        """Check what is in the buffer and write it behind what is on flash."""
        if not length:
            return
        if self.image:
            self.image.feed(self.view if length == PIECE else self.view[:length])
        for start in range(length, PIECE):
            self.view[start] = 0xFF
        while self._eraser.end <= self.written:
            much = total is None or total - self.written >= _WORTH_A_BLOCK
            await self._eraser.step(much and not self.parts.station.charging)
        self.slot.write(self.written, self.view)
        self.written += length
        await asyncio.sleep_ms(0)

    def _show_progress(self, total):
        if total:
            tenth = 10 * self.written // total
            if tenth > self._shown:
                self._shown = tenth
                self.parts.log("Progress: %d0%%" % tenth)
                self.parts.progress("Downloading", 10 * tenth)
