"""Reading an update file back from the slot: what an interrupted download left, and whether all of it is right."""

import asyncio
from binascii import hexlify
from hashlib import sha256

from .errors import ImageError


def _new_image(transfer):
    from .image import Image

    transfer.parts.forget("firmware.image")
    slots = transfer.parts.slots
    return Image(slots.chip_id, transfer.slot.capacity, slots.frozen)


async def resume(transfer):
    """After a reset, take what an earlier Transfer left on flash, if it is right, so that only the rest is fetched."""
    journal = transfer.journal
    transfer.written = journal.get("written", 0)
    try:
        if not journal.get("package"):
            await image(transfer)
    except ImageError:
        transfer.start_over()
        return
    transfer.taken = journal.get("taken", 0)
    transfer.erased = transfer.written


async def image(transfer):
    """Return an Image that has seen what is written. ImageError when that is wrong."""
    found = _new_image(transfer)
    await feed(transfer, found)
    return found


async def verify(transfer):
    """Check the whole file as it is on flash, return its version; ImageError when it is not what was sent."""
    transfer.written = transfer.journal.get("written", 0)
    found = _new_image(transfer)
    digest = sha256()
    await feed(transfer, found, digest)
    found.finish()
    package = transfer.journal.get("package")
    if package and hexlify(digest.digest()).decode() != package["sha256"]:
        raise ImageError("what the package gave is not what was signed: build it again")
    return found.version


async def feed(transfer, found, digest=None):
    view = transfer.view
    written = transfer.written
    for position in range(0, written, len(view)):
        transfer.slot.read(position, view)
        piece = view[: min(len(view), written - position)]
        found.feed(piece)
        if digest:
            digest.update(piece)
        await asyncio.sleep_ms(0)
