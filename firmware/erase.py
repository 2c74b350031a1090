"""Erasing an OTA slot, no more often than needed and in the largest pieces that are safe."""

import asyncio

from micropython import const

_SECTOR = const(4096)
_PROBE = const(128)  # bytes that are looked at at a time


class Eraser:
    """Erases a slot from its start on. All below `end` is erased, or was and is written by now.

    careful: an update was interrupted by a reset. A sector whose erase was interrupted may read as blank and yet lose
    what is written to it, so each is erased then; and should it be the erase of a whole block that resets this chip,
    sectors are the way round it.
    """

    def __init__(self, slot, careful, end):
        self.end = end
        self.slot = slot
        self.careful = careful
        self._probe = bytearray(_PROBE)
        self._blank = b"\xff" * _PROBE

    async def step(self, fast):
        """Go on by a sector, by one flash operation at most; if `fast` by a block of 64 KiB, which takes longer."""
        slot = self.slot
        start = end = self.end
        if not self.careful:
            if self._is_blank(start):
                end += _SECTOR
            elif fast:
                size = slot.erase_block(start)
                while end < start + size and self._is_blank(end):
                    end += _SECTOR
                    await asyncio.sleep_ms(0)
        if end == start:
            slot.erase(start)
            end += _SECTOR
        self.end = end
        await asyncio.sleep_ms(0)

    def _is_blank(self, start):
        for position in range(start, start + _SECTOR, _PROBE):
            self.slot.read(position, self._probe)
            if self._probe != self._blank:
                return False
        return True
