"""What the header of a package says (tools/UPDATE_FILES.md), compared with this charger."""

import struct
from hashlib import sha256

from micropython import const

from .errors import ImageError, refuse

_FORMAT = const(1)


def check(header, charger, capacity):
    """Return what package.check returns, and the SHA-256 of the base; ImageError when it isn't for this charger.

    capacity: of a slot, in bytes. The signature is not looked at.
    """
    (
        layout,
        _,
        chip_id,
        oldest,
        newest,
        _,
        release,
        floor,
        length,
        frames,
        base,
        digest,
        base_digest,
        key_id,
        product,
    ) = struct.unpack_from("<HHHHHHIIIII32s32s8s32s", header, 8)
    if layout != _FORMAT:
        raise ImageError("a package of format %d, this charger takes format %d" % (layout, _FORMAT))
    if chip_id != charger.chip_id:
        refuse("chip", chip_id, charger.chip_id)
    product = _text(product)
    if product != charger.product:
        raise ImageError("made for product %s, this charger is %s" % (product, charger.product))
    if not oldest <= charger.hardware <= newest:
        raise ImageError("made for hardware %d to %d, this charger has %d" % (oldest, newest, charger.hardware))
    if not charger.key:
        raise ImageError("signed, but this charger has no public key to check it with: give it one")
    own_id = sha256(charger.key).digest()[:8]
    if key_id != own_id:
        raise ImageError("signed with another key: %s, this charger knows %s" % (key_id.hex(), own_id.hex()))
    if release < charger.floor:
        raise ImageError("release %d is too old: this charger takes %d and later" % (release, charger.floor))
    if not 0 < length <= capacity:
        raise ImageError("the update file has %d bytes, the OTA slot %d" % (length, capacity))
    if base > capacity:
        raise ImageError("a delta to another firmware than the one that runs here: send the full package")
    found = {
        "length": length,
        "frames": frames,
        "sha256": digest.hex(),
        "base": base,
        "release": release,
        "floor": floor,
    }
    return found, base_digest


def _text(field):
    """Make text of what nobody has vouched for yet, fit for a log."""
    return "".join([chr(byte) if 0x20 <= byte <= 0x7E else "?" for byte in field.rstrip(b"\0")])
