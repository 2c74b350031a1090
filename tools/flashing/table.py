"""A partition table as it lies in flash (ESP-IDF, "Partition Tables"), on the board or in a file."""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

ADDRESS = 0x8000
SIZE = 0x1000
MAGIC = b"\xaa\x50"
APP, DATA = 0, 1
OTADATA = 0  # subtype
FIRST_OTA, LAST_OTA = 0x10, 0x1F  # subtypes of ota_0 and ota_15

_ROW = struct.Struct("<2sBB2I16sI")
_MD5_MAGIC = b"\xeb\xeb" + b"\xff" * 14


class Row(NamedTuple):
    """A partition."""

    label: str
    type: int
    subtype: int
    address: int
    size: int

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + self.size


Table = tuple[Row, ...]


def read(data: bytes) -> Table:
    """Return the partitions in `data`, none if it begins with something else; ValueError if the table is damaged."""
    found = []
    for position in range(0, len(data) // _ROW.size * _ROW.size, _ROW.size):
        magic, kind, subtype, address, size, label, _ = _ROW.unpack_from(data, position)
        if magic != MAGIC:
            break
        found.append(Row(label.split(b"\0")[0].decode(errors="replace"), kind, subtype, address, size))
    end = len(found) * _ROW.size
    if found and data[end : end + _ROW.size] != _MD5_MAGIC + hashlib.md5(data[:end]).digest():
        raise ValueError("the partition table's MD5 is wrong")
    return tuple(found)


def slots(table: Table) -> Table:
    """Return the OTA slots, ota_0 first."""
    found = (row for row in table if row.type == APP and FIRST_OTA <= row.subtype <= LAST_OTA)
    return tuple(sorted(found, key=lambda row: row.subtype))


def otadata(table: Table) -> Row | None:
    """Return where it is recorded which slot starts."""
    return next((row for row in table if (row.type, row.subtype) == (DATA, OTADATA)), None)


def labelled(table: Table, label: str) -> Row | None:
    """Return the partition with this label."""
    return next((row for row in table if row.label == label), None)
