"""Copies one file from its source into an OTA slot, checking it on the way, and goes on after an interruption."""

import asyncio

from micropython import const

from .image import Image, ImageError

PIECE = 2048  # bytes that are read, checked and written at a time: all the buffer that an update needs
CHECKPOINT = 64 * 1024  # the journal notes what is on flash this often: 24 times for a 1.5 MB file
_SECTOR = const(4096)


class Interrupted(Exception):
    """The file could not be had, or not to its end. `permanent`: trying the same location again can't help."""

    def __init__(self, error):
        super().__init__(str(error.args[-1]) if error.args else repr(error))
        self.permanent = getattr(error, "permanent", False)


class Transfer:
    """The file of the update in `journal` on its way into `slot`.

    open_source(offset=, validator=, expected_length=) gives a Source of source.py. How far the flash is written is in
    the journal, so a new Transfer after a reset goes on with what is there. buffer: a memoryview of PIECE bytes to use.
    """

    def __init__(self, slot, chip_id, journal, open_source, log, buffer):
        self._slot = slot
        self._chip_id = chip_id
        self._journal = journal
        self._open_source = open_source
        self._log = log
        self._view = buffer
        self._start_over()

    def _start_over(self):
        self._image = Image(self._chip_id, self._slot.capacity)
        self._written = 0
        self._shown = 0

    async def resume(self):
        """Check what an earlier Transfer left on flash, so that run() fetches only the rest."""
        try:
            await self._read_back(self._image, self._journal.get("written", 0))
            self._written = self._journal.get("written", 0)
        except ImageError:
            self._start_over()

    async def verify(self):
        """Check the whole file as it is on flash; ImageError when it is not what was sent."""
        image = Image(self._chip_id, self._slot.capacity)
        await self._read_back(image, self._journal.get("written"))
        image.finish()

    async def _read_back(self, image, length):
        for position in range(0, length, PIECE):
            self._slot.read(position, self._view)
            image.feed(self._view[: min(PIECE, length - position)])
            await asyncio.sleep_ms(0)

    async def run(self):
        """Fetch the file to its end over as many connections as bring it forward.

        Raises Interrupted when a connection brought nothing (what is on flash is kept for the next call) and ImageError
        when the file is no firmware for this charger; then nothing more is read.
        """
        while True:
            before = self._written
            try:
                await self._fetch()
                break
            except Interrupted as error:
                if self._written <= before:
                    raise
                self._log("Connection lost at byte %d, resuming: %s" % (self._written, error))
        self._image.finish()
        self._journal.note(written=self._written)
        await self.verify()
        if self._image.version:
            self._log("New version: %s" % self._image.version)

    async def _fetch(self):
        """Take what one connection gives."""
        validator = self._journal.get("validator")
        try:
            source = await self._open_source(
                offset=self._written if validator else 0,
                validator=validator,
                expected_length=self._journal.get("length"),
            )
        except (OSError, MemoryError) as error:  # such as a redirect to a URL of 4 KB
            raise Interrupted(error)
        try:
            self._accept(source)
            length = PIECE
            while length == PIECE:
                length = await self._fill(source)
                await self._write(length)
                self._show_progress(source.length)
            if source.length is None and self._image.incomplete:
                if length:
                    self._start_over()  # nothing can be written behind a part of a piece
                raise Interrupted(OSError("the connection closed too early"))
        finally:
            source.close()

    def _accept(self, source):
        """Compare the answer with what is already on flash."""
        if source.length is not None and source.length > self._slot.capacity:
            raise ImageError("the file has %d bytes, the OTA slot %d" % (source.length, self._slot.capacity))
        if source.offset != self._written:
            self._log("The server sends the file from its start: starting over")
            self._start_over()
        if not self._written:
            self._journal.note(written=0, length=source.length, validator=source.validator)
            if source.length is not None:
                self._log("Firmware size: %d bytes" % source.length)
            self._log("Downloading firmware...")

    async def _fill(self, source):
        """Fill the buffer as far as the file goes; return the number of bytes."""
        filled = 0
        try:
            while filled < PIECE:
                count = await source.readinto(self._view[filled:] if filled else self._view)
                if not count:
                    break
                filled += count
        except (OSError, MemoryError) as error:
            raise Interrupted(error)
        return filled

    async def _write(self, length):
        """Check what is in the buffer and write it behind what is on flash."""
        if not length:
            return
        self._image.feed(self._view if length == PIECE else self._view[:length])
        for start in range(length, PIECE):
            self._view[start] = 0xFF
        if self._written % _SECTOR == 0:
            self._slot.erase(self._written)
            await asyncio.sleep_ms(0)  # one flash operation at a time: the loop runs in between
        self._slot.write(self._written, self._view)
        self._written += length
        if self._written % CHECKPOINT == 0:
            self._journal.note(written=self._written)
        await asyncio.sleep_ms(0)

    def _show_progress(self, total):
        if total:
            tenth = 10 * self._written // total
            if tenth > self._shown:
                self._shown = tenth
                self._log("Progress: %d0%%" % tenth)
