"""The partition table in flash (ESP-IDF, "Partition Tables"). Runs on CPython and on MicroPython."""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.flash import Cells

    Partition = tuple[int, int, int, int, str, bool]  # type, subtype, address, size, label, encrypted

ADDRESS = 0x8000
SIZE = 0xC00
ENTRY = struct.calcsize("<HBBII16sI")
MAGIC = 0x50AA

APP = 0
DATA = 1
FACTORY = 0  # subtype of an app that no update replaces
FIRST_OTA = 0x10  # subtype of ota_0
OTADATA = 0  # subtype
ANY = 0xFF


def entries(flash: "Cells") -> "Iterator[Partition]":
    """Yield (type, subtype, address, size, label, encrypted) of each partition, in the order of the table."""
    entry = bytearray(ENTRY)
    for position in range(ADDRESS, ADDRESS + SIZE, ENTRY):
        flash.read(position, entry)
        magic, kind, subtype, address, size, label, _ = struct.unpack("<HBBII16sI", entry)
        if magic != MAGIC:
            return
        yield kind, subtype, address, size, label.rstrip(b"\0").decode(), False


def find(flash: "Cells", kind: int, subtype: int = ANY, label: str | None = None) -> "list[Partition]":
    """Return the list of partitions that match."""
    return [
        entry
        for entry in entries(flash)
        if entry[0] == kind and subtype in (ANY, entry[1]) and label in (None, entry[4])
    ]


def ota_slots(flash: "Cells") -> "list[Partition]":
    """Return the OTA slots, ota_0 first, as far as they are contiguous."""
    found: list[Partition] = []
    while True:
        slot = find(flash, APP, FIRST_OTA + len(found))
        if not slot:
            return found
        found.append(slot[0])
