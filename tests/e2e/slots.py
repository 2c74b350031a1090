"""Chargers for tests: a flash with certain slots and records, and what happens when it is switched on."""

from __future__ import annotations

import asyncio
import struct
from binascii import crc32
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import build
from environment import REPOSITORY
from simulator import manufacture
from simulator.chip import Chip
from simulator.interpreter import Interpreter

IMAGE = build.made_image(2048)
OTADATA = 0xD000
SLOTS = (0x10000, 0x190000)
NEW, PENDING, VALID, INVALID, ABORTED = range(5)
END = "END"
SPEED = 40
REPL = 'Type "help()" for more information.'


def application(main: str, version: str = "1", *, damaged: bool = False) -> bytes:
    """Return the content of a slot whose application is one main.py; damaged: with a flipped bit in it."""
    bundle = bytearray(build.bundle({"main.py": main.encode()}, version))
    if damaged:
        bundle[-1] ^= 1
    return build.update_file(IMAGE, bytes(bundle))


@dataclass
class Flash:
    """What is on the flash. records: (slot, state), the older one first; none: a flash as it leaves the factory."""

    slots: tuple[bytes, ...] = ()
    records: tuple[tuple[int, int], ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    table: tuple[tuple[str, int, int, int, int], ...] = manufacture.OTA_4MIB

    def content(self) -> bytes:
        files = {"boot.py": (REPOSITORY / "boot.py").read_bytes(), **self.files}
        content = bytearray(manufacture.flash(b"", files, self.table))
        for address, data in zip(SLOTS, self.slots, strict=False):
            content[address : address + len(data)] = data
        for number, (slot, state) in enumerate(self.records):
            sequence = 1 + slot + 2 * number
            key = struct.pack("<I", sequence)
            record = key + bytes(20) + struct.pack("<II", state, crc32(key, 0xFFFFFFFF))
            content[OTADATA + 4096 * number : OTADATA + 4096 * number + 32] = record
        return bytes(content)


def with_modules(program: str, *names: str) -> bytes:
    """Return the content of a slot whose application is a program and some modules of the firmware."""
    files = {name: (REPOSITORY / name).read_bytes() for name in names}
    folders = {f"{Path(name).parent}/__init__.py": b"" for name in names}
    return build.update_file(IMAGE, build.bundle({"main.py": program.encode(), **folders, **files}, "1"))


@dataclass
class Outcome:
    """The serial log up to the end without the bootloader's lines, the boots, the states of both records."""

    lines: list[str]
    boots: list[tuple[str, str]]
    states: list[str]


async def switch_on(
    folder: Path,
    interpreter: Interpreter,
    flash: Flash,
    end: str = END,
    prepare: Callable[[Chip], None] = lambda _: None,
    **settings: object,
) -> Outcome:
    """Run a charger until its serial console says `end`. prepare: called right before it is switched on."""
    lines: list[str] = []
    ended = asyncio.Event()

    def serial(line: str) -> None:
        if not line.startswith(("I boot", "E boot", "rst:", "E esp_image", "MicroPython v")):
            lines.append(line)
        if line == end:
            ended.set()

    chip = Chip(folder, interpreter, serial=serial, **{"speed": SPEED, **settings})  # type: ignore[arg-type]
    chip.insert(flash.content())
    prepare(chip)
    running = asyncio.create_task(chip.run())
    try:
        async with asyncio.timeout(30):
            await ended.wait()
    except TimeoutError:
        raise AssertionError(f"the console never said {end!r}: {lines}") from None
    finally:
        await chip.power_off()
        await running
    boots = [(boot.slot, boot.cause) for boot in chip.boots]
    return Outcome(lines[: lines.index(end) + 1], boots, [record.state for record in chip.otadata()])
