"""ESP-IDF's second-stage bootloader with rollback: chooses an OTA slot and checks its image (bootloader_utility.c)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

from simulator import image, otadata, partitions
from simulator.flash import Cells
from simulator.manufacture import MD5_MARK

# Where an application's segments may be loaded to, and what of it the bootloader itself occupies.
LOADABLE = (
    range(0x3FFAE000, 0x40000000),  # data
    range(0x40080000, 0x400AA000),  # instructions
    range(0x3FF80000, 0x3FF82000),  # fast memory of the real-time clock, as data
    range(0x400C0000, 0x400C2000),  # the same, as instructions
    range(0x50000000, 0x50002000),  # its slow memory
)
OCCUPIED = (
    range(0x3FFDB000, 0x3FFE3F20),  # stack
    range(0x3FFF0000, 0x3FFF6000),  # data
)
NOT_LOADED = range(0x10000000)  # padding


class NotBootableError(Exception):
    """No slot has an image that boots: the charger is a brick until it is flashed by USB."""


def boot(flash: Cells, log: Callable[[str], None]) -> partitions.Partition:
    """Return the slot to start, with its image checked. Writes otadata as the bootloader does."""
    _check_table(flash)
    records_at = partitions.find(flash, partitions.DATA, partitions.OTADATA)
    if not records_at:
        return _boot_factory(flash, log)
    slots = partitions.ota_slots(flash)
    records = otadata.read(flash, records_at[0][2])
    first, is_first_boot = _select(records, len(slots), log)
    for index in itertools.chain(range(first, -1, -1), range(first + 1, len(slots))):
        address, size = slots[index][2:4]
        try:
            image.verify(flash, address, size, _check_segment)
        except ValueError as error:
            log(f"E esp_image: {error}")
            log(f"E boot: OTA app partition slot {index} is not bootable")
            continue
        log(f"I boot: Loaded app from partition at offset 0x{address:x}")
        if is_first_boot:
            log(f"I boot: Set actual ota_seq={index + 1} in otadata[0]")
            records[0].write(otadata.VALID, index + 1)
        return slots[index]
    log("E boot: No bootable app partitions in the partition table")
    raise NotBootableError("no bootable app partition")


def _boot_factory(flash: Cells, log: Callable[[str], None]) -> partitions.Partition:
    """Start the one app of a table that knows no updates."""
    for app in partitions.find(flash, partitions.APP, partitions.FACTORY):
        try:
            image.verify(flash, app[2], app[3], _check_segment)
        except ValueError as error:
            log(f"E esp_image: {error}")
            log("E boot: Factory app partition is not bootable")
            break
        log(f"I boot: Loaded app from partition at offset 0x{app[2]:x}")
        return app
    log("E boot: No bootable app partitions in the partition table")
    raise NotBootableError("no bootable app partition")


def _check_table(flash: Cells) -> None:
    table = bytearray(partitions.SIZE)
    flash.read(partitions.ADDRESS, table)
    end = table.find(MD5_MARK)
    if end < 0 or table[end + 16 : end + 32] != hashlib.md5(table[:end]).digest():
        raise NotBootableError("the partition table is damaged")


def _select(records: list[otadata.Record], slots: int, log: Callable[[str], None]) -> tuple[int, bool]:
    """Return the index of the slot to try first (-1: none in particular), and whether otadata were never written."""
    for record in records:
        if record.state == otadata.PENDING:
            log("I boot: the app was not confirmed, marking it ABORTED")
            record.write(otadata.ABORTED)
    if all(record.is_invalid() for record in records):
        log("I boot: No factory image, trying OTA 0")
        return 0, not any(record.checks() for record in records)
    active = otadata.active(records)
    if not active:
        log("E boot: ota data partition invalid and no factory, will try all partitions")
        return -1, False
    if active.state == otadata.NEW:
        log("I boot: a new app, marking it PENDING_VERIFY")
        active.write(otadata.PENDING)
    return otadata.slot(active.sequence, slots), False


def _check_segment(load_address: int, length: int) -> None:
    """Refuse a segment that would be loaded to where nothing is, or onto the bootloader."""
    if not length or load_address in NOT_LOADED or image.is_mapped(load_address):
        return
    last = load_address + length - 1
    if not any(load_address in area and last in area for area in LOADABLE):
        raise ValueError(f"segment 0x{load_address:x}-0x{last + 1:x} invalid: bad load address range")
    if any(load_address < area.stop and last >= area.start for area in OCCUPIED):
        raise ValueError(f"segment 0x{load_address:x}-0x{last + 1:x} invalid: overlaps the bootloader")
