"""Boards with our partition table and a frozen image, for tests: what is on their flash, and what they say."""

from __future__ import annotations

import asyncio
import json
import struct
from binascii import crc32
from dataclasses import dataclass, field

import build
import image_command
from environment import REPOSITORY
from simulator import manufacture, state
from simulator.chip import Chip
from slots import NEW, VALID

BOARD_FILES = REPOSITORY / "tools" / "board"
ROWS = image_command.partitions("ARUS_ESP32")
TABLE = tuple((row.label, row.type, row.subtype, row.address, row.size) for row in ROWS)
PLACE = {row.label: row for row in ROWS}

SAY = """
import os, esp32
from version import VERSION
print(VERSION, "of", esp32.Partition(1).info()[4], sorted(n for n in os.listdir("/") if n != ".frozen"))
print("END")
"""
FIELDS = {"csms": "ws://x", "wifi": {"ssid": "y"}, "ca": "certs/ca.pem", "firmware_key": "key.pem"}
CONFIG = {"config.json": json.dumps(FIELDS).encode()}
CONFIG |= {"certs/ca.pem": b"certificate" * 300, "key.pem": b"key"}
NAMES = ["certs", "config.json", "key.pem"]
ON_TRIAL = ((0, VALID), (1, NEW))
GARBAGE = bytes(range(256)) * 64


def frozen(main: str = SAY, version: str = "1.0.0", **files: bytes) -> bytes:
    """An image with a main program of its own in place of the application."""
    return build.frozen_image(version, {"application.py": main.encode(), "application.mpy": b"", **files})


GOOD = frozen()


@dataclass
class Board:
    """A chip with our table, and what it says."""

    chip: Chip
    lines: list[str] = field(default_factory=list)

    def place(self, label: str, data: bytes, at: int = 0) -> None:
        with (self.chip.folder / "flash.bin").open("r+b") as flash:
            flash.seek(PLACE[label].address + at)
            flash.write(data)

    def content(self, label: str) -> bytes:
        row = PLACE[label]
        return (self.chip.folder / "flash.bin").read_bytes()[row.address : row.end]

    def make(
        self, *slots: bytes, records: tuple[tuple[int, int], ...] = (), files: dict[str, bytes] | None = None
    ) -> None:
        self.chip.insert(manufacture.flash(slots[0], files or {}, TABLE, slot1=slots[1] if slots[1:] else b""))
        if files is None:
            self.place("vfs", b"\xff" * PLACE["vfs"].size)
        for number, (slot, mark) in enumerate(records):
            key = struct.pack("<I", 1 + slot + 2 * number)
            self.place("otadata", key + bytes(20) + struct.pack("<II", mark, crc32(key, 0xFFFFFFFF)), 4096 * number)

    async def run(self, end: str = "END") -> list[str]:
        """Switch on, wait for `end`, switch off; return what was said since, without the bootloader's lines."""
        self.lines.clear()
        running = asyncio.create_task(self.chip.run())
        try:
            async with asyncio.timeout(30):
                while not any(line.startswith(end) for line in self.lines):
                    assert not running.done(), running.result()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"the console never said {end!r}: {self.lines}") from None
        finally:
            await self.chip.power_off()
            await running
        said = self.lines[: next(number for number, line in enumerate(self.lines) if line.startswith(end))]
        return [line for line in said if not line.startswith(("I boot", "E boot", "rst:", "E esp_image", "E task"))]

    @property
    def watchdog(self) -> int:
        with (self.chip.folder / "state").open("r+b", buffering=0) as page:
            return int(state.State(page).get(state.WATCHDOG))
