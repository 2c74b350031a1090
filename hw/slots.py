"""The two OTA slots: which one runs, which one boots next (otadata.py), and writing the other."""

from errno import EPERM

import uctypes
from esp32 import Partition
from micropython import const

_SECTOR = const(4096)  # bytes: what an erase takes
_BLOCK = const(65536)  # bytes: the larger unit of erasing

_FIRST_OTA_SUBTYPE = const(0x10)
_ERASE = const(6)
_INVALID_ARGUMENT = const(-258)


class Slot:
    """One OTA slot. Positions are in bytes. An erase takes 45 ms or more, writing and reading a few."""

    def __init__(self, partition):
        info = partition.info()
        self.partition = partition
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
            self.partition.writeblocks(position // _SECTOR, uctypes.bytearray_at(0, _BLOCK))
        except OSError as error:
            if error.errno != _INVALID_ARGUMENT:
                raise
        return _BLOCK

    def erase(self, position):
        """Erase the sector of 4,096 bytes that begins at `position`; OSError when the flash refuses."""
        if self.partition.ioctl(_ERASE, position // _SECTOR):
            raise OSError(EPERM, "erasing %s at %d failed" % (self.label, position))

    def write(self, position, data):
        """Write a buffer to where it was erased, within a sector."""
        self.partition.writeblocks(position // _SECTOR, data, position % _SECTOR)

    def read(self, position, buffer):
        """Read into a buffer of any length."""
        self.partition.readblocks(position // _SECTOR, buffer, position % _SECTOR)

    def set_boot(self):
        """Make the next reset boot this slot. ESP-IDF checks the whole image first; OSError when it is not sound."""
        self.partition.set_boot()


class Slots:
    """The running slot and the one to update. forget(module name) is called when a module has done its part."""

    def __init__(self, forget=lambda name: None):
        self.forget = forget
        partition = Partition(Partition.RUNNING)
        self.running = Slot(partition)
        header = bytearray(85)
        self.running.read(0, header)
        self.chip_id = header[12] | header[13] << 8
        self.frozen = header[80:] == b"Arus\0"  # the project's name: the application is part of the running image

    def has_record(self, index):
        """Whether set_boot's record of a slot is there: the bootloader rewrites it, and power can fail in between."""
        return self._otadata("has_record", index)

    def unconfirmed(self):
        """Whether the running firmware is on trial: its record is the active one and is PENDING."""
        return self._otadata("unconfirmed", self.running)

    def confirm(self):
        """End the trial: the bootloader keeps the running firmware. OSError unless it is on trial and now confirmed."""
        self._otadata("confirm", self.running)

    def begin(self):
        """Return the Slot to write an update to; OSError when that could cost the only firmware that works."""
        return Slot(self._otadata("begin", self.running))

    def _otadata(self, function, *arguments):
        from . import otadata  # for moments only

        try:
            return getattr(otadata, function)(*arguments)
        finally:
            del otadata
            self.forget("hw.otadata")
