"""What a charger's flash holds when it leaves the factory."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

from littlefs import LittleFS

from simulator import partitions
from simulator.flash import SECTOR, SIZE

# MicroPython's partitions-4MiB-ota.csv: (label, type, subtype, address, size).
OTA_4MIB = (
    ("nvs", partitions.DATA, 0x02, 0x9000, 0x4000),
    ("otadata", partitions.DATA, partitions.OTADATA, 0xD000, 0x2000),
    ("phy_init", partitions.DATA, 0x01, 0xF000, 0x1000),
    ("ota_0", partitions.APP, partitions.FIRST_OTA, 0x10000, 0x180000),
    ("ota_1", partitions.APP, partitions.FIRST_OTA + 1, 0x190000, 0x180000),
    ("vfs", partitions.DATA, 0x81, 0x310000, 0xF0000),
)
CORRUPT = bytes(2 * SECTOR)  # the start of a file system that is none
MD5_MARK = b"\xeb\xeb" + b"\xff" * 14


def flash(
    slot0: bytes,
    files: Mapping[str, bytes] | None,
    table: tuple[tuple[str, int, int, int, int], ...] = OTA_4MIB,
    *,
    slot1: bytes = b"",
    vfs: bytes = b"",
    flash_size: int = SIZE,
) -> bytes:
    """Return a flash with `slot0` and `slot1` in the OTA slots and `files` (path -> content) on the VFS.

    files: None leaves the VFS as it is after an erase; MicroPython makes a file system of that. vfs: what is there in
    their place, such as CORRUPT. `slot0` goes into a "factory" partition, too.
    """
    content = bytearray(b"\xff" * flash_size)

    def place(address: int, size: int, data: bytes) -> None:
        if len(data) > size:
            raise ValueError(f"{len(data)} bytes don't fit the {size} bytes at 0x{address:x}")
        content[address : address + len(data)] = data

    place(partitions.ADDRESS, partitions.SIZE, partition_table(table))
    for label, kind, subtype, address, size in table:
        if kind == partitions.APP and subtype in (partitions.FACTORY, partitions.FIRST_OTA):
            place(address, size, slot0)
        elif kind == partitions.APP and subtype == partitions.FIRST_OTA + 1:
            place(address, size, slot1)
        elif label == "vfs":
            place(address, size, vfs or (b"" if files is None else littlefs(files, size)))
    return bytes(content)


def partition_table(rows: tuple[tuple[str, int, int, int, int], ...]) -> bytes:
    """Return the table as the bootloader reads it, with its MD5."""
    table = b"".join(
        struct.pack("<HBBII16sI", partitions.MAGIC, kind, subtype, address, size, label.encode(), 0)
        for label, kind, subtype, address, size in rows
    )
    return table + MD5_MARK + hashlib.md5(table).digest()


def littlefs(files: Mapping[str, bytes], size: int) -> bytes:
    """Return a file system as MicroPython's VfsLfs2 makes it on ESP32."""
    filesystem = LittleFS(
        block_size=SECTOR, block_count=size // SECTOR, read_size=32, prog_size=32, cache_size=128, lookahead_size=32
    )
    for name, data in files.items():
        folder = name.strip("/").rpartition("/")[0]
        if folder:
            filesystem.makedirs(folder, exist_ok=True)
        with filesystem.open(name, "wb") as file:
            file.write(data)
    return bytes(filesystem.context.buffer)
