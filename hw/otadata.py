"""Which slot boots, and whether it is on trial: the records in the partition "otadata". Loaded for moments only.

`set_boot` and the bootloader keep two records (ESP-IDF, "Over The Air Updates"). MicroPython can't ask for a slot's
state, so they are read here. The guards are those that keep a charger from ever being left without a firmware that
boots; each OSError says what was refused.
"""

import struct
from binascii import crc32
from errno import EPERM

from esp32 import Partition
from micropython import const

# States of a record.
_PENDING = const(1)
_INVALID = const(3)
_ABORTED = const(4)

_BLANK = const(0xFFFFFFFF)
_FIRST_OTA_SUBTYPE = const(0x10)
_OTADATA_SUBTYPE = const(0)


def _records():
    """Return [(sequence number, slot index, state)] of the sound records, the newest first."""
    otadata = Partition.find(Partition.TYPE_DATA, _OTADATA_SUBTYPE)[0]
    slots = sum(1 for found in Partition.find(Partition.TYPE_APP) if found.info()[1] >= _FIRST_OTA_SUBTYPE)
    record = bytearray(32)
    records = []
    for block in range(2):
        otadata.readblocks(block, record)
        sequence, _, state, crc = struct.unpack("<I20sII", record)
        if sequence != _BLANK and crc == crc32(record[:4], 0xFFFFFFFF):
            records.append((sequence, (sequence - 1) % slots, state))
    records.sort(reverse=True)
    return records


def has_record(index):
    """Slots.has_record."""
    return any(found == index for _, found, _ in _records())


def unconfirmed(running):
    """Slots.unconfirmed. running: the running Slot, here as below."""
    for _, index, state in _records():
        if state not in (_INVALID, _ABORTED):
            return index == running.index and state == _PENDING
    return False


def confirm(running):
    """Slots.confirm."""
    # ESP-IDF would confirm the active record, whichever slot runs.
    if unconfirmed(running):
        Partition.mark_app_valid_cancel_rollback()
        if not unconfirmed(running):
            return
    raise OSError(EPERM, "the running firmware could not be confirmed")


def begin(running):
    """Return the Partition for Slots.begin."""
    target = running.partition.get_next_update()
    if target.info() == running.partition.info():
        raise OSError(EPERM, "the flash has one OTA slot only: flash MicroPython's OTA variant by USB")
    if unconfirmed(running):
        raise OSError(EPERM, "the running firmware is still on trial: try again when it is confirmed")
    if Partition(Partition.BOOT).info() != running.partition.info():
        # The bootloader fell back to this slot without changing the records. Put them right, this one confirmed.
        running.set_boot()
        Partition.mark_app_valid_cancel_rollback()
    return target
