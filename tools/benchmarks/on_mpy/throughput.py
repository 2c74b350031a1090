# mypy: ignore-errors
# ruff: noqa: ASYNC230, PTH123, UP031
"""Writes one file to the inactive slot in three ways, again and again. Runs as main.py of a simulated chip."""

import asyncio
import gc
import json
from time import ticks_diff, ticks_us

import esp32
import processor
import requests

from firmware import http, sources
from firmware.journal import Journal
from firmware.transfer import PIECE, Transfer
from hw.connection import Dialer
from hw.slots import Slots

_SECTOR = 4096


class Store:
    """Keeps nothing: NVS is not what is measured."""

    def get(self, key):
        return None

    def set(self, key, value):
        pass


class Parts:
    """What a transfer works with; nobody charges, and nobody wants to know."""

    charging = False

    def log(self, text):
        pass

    def progress(self, status, percent):
        pass

    def forget(self, *names):
        pass


class Timed(Transfer):
    """Tells when the download is over and the reading back begins."""

    async def read_back(self, function):
        if function == "verify":
            self.watch.tell("streamed")
        return await super().read_back(function)


def _plain(url, partition, buffer):
    """The plain way of MicroPython; returns the number of blocks."""
    response = requests.get(url, stream=True)
    block = 0
    while True:
        count = response.raw.readinto(buffer)
        if not count:
            break
        for i in range(count, _SECTOR):
            buffer[i] = 0xFF
        partition.writeblocks(block, buffer)
        block += 1
    response.close()
    return block


async def _streamed(dialer, address, slots, slot, watch):
    """The firmware's way."""
    journal = Journal(Store(), lambda: None)
    journal.begin(location="", date=None, retries=None, interval=None)

    def open_source(location, **options):
        return http.open(address, dialer.dial, log=parts.log, **options)

    async def open_package(header):
        return None

    parts = Parts()
    parts.slots, parts.journal, parts.station = slots, journal, parts
    parts.open_source, parts.open_package = open_source, open_package
    transfer = Timed(parts, slot, memoryview(bytearray(PIECE)))
    transfer.watch = watch
    await transfer.run()


class Watch:
    """Stops the time: of the processor, of a real flash, on the wall; all in us."""

    def __init__(self):
        self._flash = 0
        esp32.flash._sleep_us = self._take
        self.start()

    def _take(self, duration):
        self._flash += duration

    def start(self):
        gc.collect()
        self._flash = 0
        self._wall = ticks_us()
        self._used = processor.used()

    def tell(self, name):
        print("@" + name, processor.used() - self._used, self._flash, ticks_diff(ticks_us(), self._wall))


async def _main():
    settings = json.load(open("throughput.json"))  # noqa: SIM115
    url = settings["url"]
    with open("/ca.pem", "rb") as file:
        dialer = Dialer(file.read())
    slots = Slots()
    slot = slots.begin()
    partition = slot.partition
    buffer = bytearray(_SECTOR)
    watch = Watch()
    gc.threshold(1024)  # as in main.py
    for _ in range(settings["times"]):
        watch.start()
        await _streamed(dialer, sources.parse_url(url), slots, slot, watch)
        watch.tell("verified")
        watch.start()
        blocks = _plain(url, partition, buffer)
        watch.tell("plain")
        if blocks != settings["blocks"]:
            raise OSError("requests got %d blocks of %d" % (blocks, settings["blocks"]))
        watch.start()
        for block in range(blocks):
            partition.writeblocks(block, buffer)
        watch.tell("bare")
    print("@done 1")


asyncio.run(_main())
