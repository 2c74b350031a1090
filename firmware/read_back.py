"""Reading an update file back from the slot: what an interrupted download left, and whether all of it is right."""

import asyncio
from binascii import hexlify
from hashlib import sha256

from .image import Image, ImageError


async def resume(transfer):
    """Check what an earlier Transfer left on flash, so that run() fetches only the rest."""
    journal = transfer.journal
    written = transfer.written = journal.get("written", 0)  # that much is to be erased if it does not count
    try:
        await _feed(transfer, transfer.image)
    except ImageError:
        transfer.start_over()
        return
    transfer.taken = journal.get("taken", written)
    transfer.eraser.end = written


async def verify(transfer):
    """Check the whole file as it is on flash; ImageError when it is not what was sent."""
    image = Image(transfer.parts.slots.chip_id, transfer.slot.capacity)
    digest = sha256()
    await _feed(transfer, image, digest)
    image.finish()
    package = transfer.journal.get("package")
    if package and hexlify(digest.digest()).decode() != package["sha256"]:
        raise ImageError("what the package gave is not what was signed: build it again")


async def _feed(transfer, image, digest=None):
    """Give `image` and `digest` what the journal says is written."""
    view = transfer.view
    written = transfer.journal.get("written", 0)
    for position in range(0, written, len(view)):
        transfer.slot.read(position, view)
        piece = view[: min(len(view), written - position)]
        image.feed(piece)
        if digest:
            digest.update(piece)
        await asyncio.sleep_ms(0)
