"""What stands in front of a package: a signed header that says what it is and for which chargers (UPDATE_FILES.md)."""

import asyncio
import struct
from hashlib import sha256

from micropython import const

from .errors import ImageError, refuse
from .signature import verify

_FORMAT = const(1)
_KEY_ID = const(104)
_SIGNED = const(256)  # bytes that the signature covers; it follows them
_PIECE = const(1024)


async def check(header, charger, running):
    """Check whether a package is for this charger, before anything is erased for it.

    header: memoryview of its 640 bytes, the first 8 known. charger: product (str), hardware, chip_id and floor (ints),
    and key, the DER SubjectPublicKeyInfo that packages are signed with, or None. running: the slot that a delta is
    applied to; the other one is as large.
    Returns what the rest of the update needs, as it goes into the journal: `length` and `sha256` (hex) of the update
    file, bytes of all `frames` and of the `base` (0: none), `release`, and the `floor` that holds when it is confirmed.
    Raises ImageError, whose text says what does not fit and what to do.
    """
    layout, _, chip_id, oldest, newest, _, release, floor, length, frames, base, digest, base_digest, _, product = (
        struct.unpack_from("<HHHHHHIIIII32s32s8s32s", header, 8)
    )
    if layout != _FORMAT:
        raise ImageError("a package of format %d, this charger takes format %d" % (layout, _FORMAT))
    if chip_id != charger.chip_id:
        refuse("chip", chip_id, charger.chip_id)
    product = _text(product)
    if product != charger.product:
        raise ImageError("made for product %s, this charger is %s" % (product, charger.product))
    if not oldest <= charger.hardware <= newest:
        raise ImageError("made for hardware %d to %d, this charger has %d" % (oldest, newest, charger.hardware))
    await _prove(header, charger.key)
    if release < charger.floor:
        raise ImageError("release %d is too old: this charger takes %d and later" % (release, charger.floor))
    if not 0 < length <= running.capacity:
        raise ImageError("the update file has %d bytes, the OTA slot %d" % (length, running.capacity))
    if base and (base > running.capacity or await _digest(running, base) != base_digest):
        raise ImageError("a delta to another firmware than the one that runs here: send the full package")
    return {
        "length": length,
        "frames": frames,
        "sha256": digest.hex(),
        "base": base,
        "release": release,
        "floor": floor,
    }


def _text(field):
    """Make text of what nobody has vouched for yet, fit for a log."""
    return "".join([chr(byte) if 0x20 <= byte <= 0x7E else "?" for byte in field.rstrip(b"\0")])


async def _prove(header, key):
    """Raise ImageError unless the header is signed with this key."""
    if not key:
        raise ImageError("signed, but this charger has no public key to check it with: give it one")
    key_id = bytes(header[_KEY_ID : _KEY_ID + 8])
    own_id = sha256(key).digest()[:8]
    if key_id != own_id:
        raise ImageError("signed with another key: %s, this charger knows %s" % (key_id.hex(), own_id.hex()))
    if not await verify(key, header[10], sha256(header[:_SIGNED]).digest(), header[_SIGNED:]):
        raise ImageError("wrong signature, the header is damaged or forged: build or upload the package again")


async def _digest(running, length):
    digest = sha256()
    piece = bytearray(_PIECE)
    for position in range(0, length, _PIECE):
        running.read(position, piece)
        digest.update(memoryview(piece)[: length - position])
        await asyncio.sleep_ms(0)
    return digest.digest()
