"""esp32: Partition and NVS, with the checks, errors and aborts of MicroPython's port and of ESP-IDF below it."""

import image
import otadata
import partitions
import uctypes
from nvs import NVS  # noqa: F401
from soc import flash, panic, state, whole
from state import RUNNING

_SECTOR = 4096
_running = state.get(RUNNING)


def _invalid_argument():
    raise OSError(-258, "ESP_ERR_INVALID_ARG")


def _invalid_size():
    raise OSError(-260, "ESP_ERR_INVALID_SIZE")


def _otadata_address():
    found = partitions.find(flash, partitions.DATA, partitions.OTADATA)
    if not found:
        raise OSError(-261, "ESP_ERR_NOT_FOUND")
    return found[0][2]


def _boot_slot():
    """Return what the otadata stand for, whatever is in that slot (esp_ota_get_boot_partition)."""
    slots = partitions.ota_slots(flash)
    active = otadata.active(otadata.read(flash, _otadata_address()))
    return slots[otadata.slot(active.sequence, len(slots)) if active else 0]


class Partition:
    """A partition of the flash. `which` is BOOT, RUNNING or a label."""

    BOOT = 0
    RUNNING = 1
    TYPE_APP = partitions.APP
    TYPE_DATA = partitions.DATA

    def __init__(self, which, block_size=_SECTOR):
        if isinstance(which, tuple):  # from find() and get_next_update()
            found = [which]
        elif isinstance(which, str):
            found = partitions.find(flash, partitions.APP, label=which)
            found += partitions.find(flash, partitions.DATA, label=which)
        elif which == self.BOOT:
            found = [_boot_slot()]
        elif which == self.RUNNING:
            found = [slot for slot in partitions.find(flash, partitions.APP) if slot[2] == _running]
        else:
            raise ValueError
        if not found:
            raise OSError(2)
        self._info = found[0]
        self._block_size = block_size

    @staticmethod
    def find(type=partitions.APP, subtype=partitions.ANY, label=None, block_size=_SECTOR):
        """Return the list of partitions that match."""
        return [Partition(entry, block_size) for entry in partitions.find(flash, type, subtype, label)]

    def info(self):
        """Return (type, subtype, address, size, label, encrypted)."""
        return self._info

    def readblocks(self, block, buffer, offset=0):
        """Fill a buffer of any length."""
        with whole:
            offset += block * self._block_size
            self._check(offset, len(buffer))
            flash.read(self._info[2] + offset, buffer)

    def writeblocks(self, block, data, offset=None):
        """Without `offset` erase what is written over; with it only clear bits."""
        with whole:
            start = block * self._block_size + (offset or 0)
            if offset is None:
                if self._block_size >= _SECTOR:
                    self._erase(start, len(data))
                else:
                    self._erase_part(start, start + len(data))
            self._write(start, data)

    def ioctl(self, command, argument):
        """Be a block device; -22 for an erase with another block size than the sector's."""
        with whole:
            if command == 4:
                return self._info[3] // self._block_size
            if command == 5:
                return self._block_size
            if command == 6:
                if self._block_size != _SECTOR:
                    return -22
                self._erase(argument * _SECTOR, _SECTOR)
            return 0 if command in (1, 2, 3, 6) else None

    def set_boot(self):
        """Have the next reset boot this slot, if the image in it is sound (esp_ota_set_boot_partition)."""
        with whole:
            try:
                image.verify(flash, self._info[2], self._info[3])
            except ValueError as error:
                print("E esp_image:", error)
                raise OSError(-5379, "ESP_ERR_OTA_VALIDATE_FAILED") from None
            slots = partitions.ota_slots(flash)
            index = self._info[1] & 0xF
            if self._info[0] != partitions.APP or index >= len(slots):
                _invalid_argument()
            records = otadata.read(flash, _otadata_address())
            active = otadata.active(records)
            if active is None:
                records[0].write(otadata.NEW, index + 1)
            else:
                following = records[1] if active is records[0] else records[0]
                following.write(otadata.NEW, otadata.next_sequence(active.sequence, index, len(slots)))

    def get_next_update(self):
        """Return the OTA slot after this one; it may be the running one."""
        slots = partitions.ota_slots(flash)
        return Partition(slots[(slots.index(self._info) + 1) % len(slots)] if self._info in slots else slots[0])

    @staticmethod
    def mark_app_valid_cancel_rollback():
        """Make the active record of the otadata VALID, whichever slot runs."""
        with whole:
            active = otadata.active(otadata.read(flash, _otadata_address()))
            if active is None:
                raise OSError(1, "ESP_FAIL")
            if active.state != otadata.VALID:
                active.write(otadata.VALID)

    def _check(self, offset, length):
        if not 0 <= offset <= self._info[3]:
            _invalid_argument()
        if offset + length > self._info[3]:
            _invalid_size()

    def _protect(self):
        if self._info[2] == _running:
            panic("abort() was called: a write to the running partition")

    def _erase(self, offset, length):
        self._check(offset, length)
        if length % _SECTOR:
            _invalid_size()
        if offset % _SECTOR:
            _invalid_argument()
        self._protect()
        flash.erase(self._info[2] + offset, length)

    def _write(self, offset, data):
        self._check(offset, len(data))
        self._protect()
        if not uctypes.addressof(data):
            _invalid_argument()
        flash.program(self._info[2] + offset, data)

    def _erase_part(self, start, end):
        """Erase from `start` to `end` and keep the rest of their sectors: for block sizes below a sector's."""
        kept = bytearray(_SECTOR)
        view = memoryview(kept)
        for sector in range(start // _SECTOR * _SECTOR, end, _SECTOR):
            self._check(sector, _SECTOR)
            flash.read(self._info[2] + sector, kept)
            self._erase(sector, _SECTOR)
            self._write(sector, view[: max(start - sector, 0)])
            if end < sector + _SECTOR:
                self._write(end, view[end - sector :])
