"""A package: a signed header that says what it is and for which chargers, and frames (tools/UPDATE_FILES.md).

Each step of checking the header is in a module of its own: together they would take more of the heap than there is
while the package's connection is open.
"""

import asyncio
from hashlib import sha256

from micropython import const

from .errors import ImageError

_PIECE = const(1024)
_ALGORITHM = const(10)  # where it stands
_RSA = const(1)
_ECDSA = const(2)
_SIGNED = const(256)  # bytes that the signature covers; it follows them


async def check(header, charger, running, forget=lambda *names: None):
    """Check whether a package is for this charger, before anything is erased for it.

    header: memoryview of its 640 bytes, the first 8 known. charger: product (str), hardware, chip_id and floor (ints),
    and key, the DER SubjectPublicKeyInfo that packages are signed with, or None. running: the slot that a delta is
    applied to; the other one is as large. forget(module name) is called when a module has done its part.
    Returns what the rest of the update needs, as it goes into the journal: `length` and `sha256` (hex) of the update
    file, bytes of all `frames` and of the `base` (0: none), `release`, and the `floor` that holds when it is confirmed.
    Raises ImageError, whose text says what does not fit and what to do.
    """
    from . import header as fields

    forget("firmware.header")
    found, base_digest = fields.check(header, charger, running.capacity)
    del fields
    if not await _verified(charger.key, header, forget):
        raise ImageError("wrong signature, the header is damaged or forged: build or upload the package again")
    if found["base"] and await _digest(running, found["base"]) != base_digest:
        raise ImageError("a delta to another firmware than the one that runs here: send the full package")
    return found


async def _verified(key, header, forget):
    if header[_ALGORITHM] == _RSA:
        from . import rsa_pss as scheme
    elif header[_ALGORITHM] == _ECDSA:
        from . import ecdsa as scheme  # type: ignore[no-redef]
    else:
        return False
    forget("firmware.rsa_pss", "firmware.ecdsa")
    return await scheme.verify(key, sha256(header[:_SIGNED]).digest(), header[_SIGNED:])


async def _digest(running, length):
    digest = sha256()
    piece = bytearray(_PIECE)
    for position in range(0, length, _PIECE):
        running.read(position, piece)
        digest.update(memoryview(piece)[: length - position])
        await asyncio.sleep_ms(0)
    return digest.digest()
