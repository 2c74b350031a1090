# mypy: ignore-errors
# ruff: noqa: PTH123
"""Downloads a file into memory without collecting garbage. Arguments: its URL, the CA certificate's file."""

import asyncio
import gc
import json
import sys
from array import array

from firmware import http, sources
from firmware.journal import Journal
from firmware.transfer import PIECE, Transfer
from hw.connection import Dialer

_SECTOR = 4096
_CAPACITY = 0x80000
_RECORD = 16  # blocks from one record of the journal to the next


class Slot:
    """An OTA slot in memory that notes, block by block, how much of the heap is in use; its own part is taken off."""

    capacity = _CAPACITY
    label = "memory"
    chip_id = 0
    frozen = False

    def __init__(self):
        self.used = array("l", bytes(4 * (_CAPACITY // _SECTOR)))
        self.content = memoryview(bytearray(_CAPACITY))
        self.own = 0

    def erase(self, position):
        self.used[position // _SECTOR] = gc.mem_alloc() - self.own

    def erase_block(self, position):
        return 0

    def write(self, position, data):
        before = gc.mem_alloc()
        self.content[position : position + len(data)] = data
        self.own += gc.mem_alloc() - before

    def read(self, position, buffer):
        buffer[:] = self.content[position : position + len(buffer)]


class Parts:
    """What a transfer works with; nobody charges, and nobody wants to know."""

    charging = False

    def progress(self, status, percent):
        pass

    def forget(self, *names):
        pass


class Store:
    """Keeps nothing."""

    def get(self, key):
        return None

    def set(self, key, value):
        pass


def main():
    url, ca = sys.argv[1:]
    with open(ca, "rb") as file:
        dialer = Dialer(file.read())
    address = sources.parse_url(url)

    def open_source(location, **options):
        return http.open(address, dialer.dial, log=print, **options)

    async def open_package(header):
        return None

    slot = Slot()
    journal = Journal(Store(), lambda: None)
    journal.begin(location=url, date=None, retries=None, interval=None)
    parts = Parts()
    parts.slots, parts.journal, parts.station, parts.log = slot, journal, parts, print
    parts.open_source, parts.open_package = open_source, open_package
    transfer = Transfer(parts, slot, memoryview(bytearray(PIECE)))
    gc.collect()
    gc.disable()
    asyncio.run(transfer.run())
    blocks = journal.get("written") // _SECTOR
    first, last = _RECORD, blocks // _RECORD * _RECORD - _RECORD  # neither the connection's begin nor its end
    mean = (slot.used[last] - slot.used[first]) / (last - first)
    print(json.dumps({"mean": mean}))


main()
