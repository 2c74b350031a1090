"""The two OTA slots: which one runs, which one boots next, and writing the other.

`set_boot` and the bootloader keep two records in the partition "otadata" (ESP-IDF, "Over The Air Updates").
MicroPython can't ask for a slot's state, so the records are read here. The guards are those that keep a charger from
ever being left without a firmware that boots; each OSError says what was refused.
"""

import struct
from binascii import crc32
from errno import EPERM

import uctypes
from esp32 import Partition
from micropython import const

_SECTOR = const(4096)  # bytes: what an erase takes
_BLOCK = const(65536)  # bytes: the larger unit of erasing

# States of an otadata record.
_PENDING = const(1)
_INVALID = const(3)
_ABORTED = const(4)

_BLANK = const(0xFFFFFFFF)
_FIRST_OTA_SUBTYPE = const(0x10)
_OTADATA_SUBTYPE = const(0)
_ERASE = const(6)
_INVALID_ARGUMENT = const(-258)


class Slot:
    """One OTA slot. Positions are in bytes. An erase takes 45 ms or more, writing and reading a few."""

    def __init__(self, partition):
        info = partition.info()
        self._partition = partition
        self.index = info[1] - _FIRST_OTA_SUBTYPE
        self.capacity = info[3]
        self.label = info[4]
        self._encrypted = info[5]

    def erase_block(self, position):
        """Erase 64 KiB from `position` in one operation. Return the number of bytes, 0 where that can't be done.

        ESP-IDF erases whole blocks for a write of that size only, and nobody has the memory for one. So the data is at
        address 0: ESP-IDF refuses it, after the erase. The caller has to look whether that came first.
        """
        if position % _BLOCK or position + _BLOCK > self.capacity or self._encrypted:
            return 0
        try:
            self._partition.writeblocks(position // _SECTOR, uctypes.bytearray_at(0, _BLOCK))
        except OSError as error:
            if error.errno != _INVALID_ARGUMENT:
                raise
        return _BLOCK

    def erase(self, position):
        """Erase the sector of 4,096 bytes that begins at `position`; OSError when the flash refuses."""
        if self._partition.ioctl(_ERASE, position // _SECTOR):
            raise OSError(EPERM, "erasing %s at %d failed" % (self.label, position))

    def write(self, position, data):
        """Write a buffer to where it was erased, within a sector."""
        self._partition.writeblocks(position // _SECTOR, data, position % _SECTOR)

    def read(self, position, buffer):
        """Read into a buffer of any length."""
        self._partition.readblocks(position // _SECTOR, buffer, position % _SECTOR)

    def set_boot(self):
        """Make the next reset boot this slot. ESP-IDF checks the whole image first; OSError when it is not sound."""
        self._partition.set_boot()


class Slots:
    """The running slot and the one to update."""

    def __init__(self):
        self._partition = Partition(Partition.RUNNING)
        self.running = Slot(self._partition)
        header = bytearray(24)
        self.running.read(0, header)
        self.chip_id = header[12] | header[13] << 8

    def _records(self):
        """Return [(sequence number, slot index, state)] of the sound otadata records, the newest first."""
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

    def has_record(self, index):
        """Whether set_boot's record of a slot is there: the bootloader rewrites it, and power can fail in between."""
        return any(found == index for _, found, _ in self._records())

    def unconfirmed(self):
        """Whether the running firmware is on trial: its record is the active one and is PENDING."""
        for _, index, state in self._records():
            if state not in (_INVALID, _ABORTED):
                return index == self.running.index and state == _PENDING
        return False

    def confirm(self):
        """End the trial: the bootloader keeps the running firmware. OSError unless it is on trial and now confirmed."""
        # ESP-IDF would confirm the active record, whichever slot runs.
        if self.unconfirmed():
            Partition.mark_app_valid_cancel_rollback()
            if not self.unconfirmed():
                return
        raise OSError(EPERM, "the running firmware could not be confirmed")

    def begin(self):
        """Return the Slot to write an update to; OSError when that could cost the only firmware that works."""
        target = Slot(self._partition.get_next_update())
        if target.label == self.running.label:
            raise OSError(EPERM, "the flash has one OTA slot only: flash MicroPython's OTA variant by USB")
        if self.unconfirmed():
            raise OSError(EPERM, "the running firmware is still on trial: try again when it is confirmed")
        if Partition(Partition.BOOT).info() != self._partition.info():
            # The bootloader fell back to this slot without changing the records. Put them right, this one confirmed.
            self._partition.set_boot()
            Partition.mark_app_valid_cancel_rollback()
        return target
