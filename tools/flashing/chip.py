"""The chip at the port: what it is, what is on its flash, and writing MicroPython to it, with esptool.

All that is written is compared by its MD5 before (what is there already is not written again) and after.
"""

from __future__ import annotations

import hashlib
import re
import struct
from binascii import crc32
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import build
import environment
from flashing import table as partitions
from flashing.firmware import MIB, Firmware, Part
from flashing.loader import BAUD, SAFE_BAUD, ChipError, NoChip, WriteFailed, run
from flashing.loader import command as esptool
from flashing.mistaken import aligned
from flashing.table import Table

FOLDER = environment.CACHE / "flash"
LOW = (partitions.ADDRESS, 0x10000 - partitions.ADDRESS)  # partition table, and all that lies before the applications
BLANK_VFS = 0x10000  # what is erased of it for MicroPython to make a new one
RECORD = struct.Struct("<I20sII")
NEVER = (3, 4)  # states INVALID and ABORTED of an OTA record
WRITING = re.compile(r"^Writing at 0x([0-9a-f]+)")


class Chip(NamedTuple):
    """What is at the port."""

    name: str  # as esptool has it: "esp32s3"
    description: str
    revision: str
    flash_size: int  # bytes
    mac: str

    def __str__(self) -> str:
        return f"{self.description} {self.revision}, {self.flash_size // MIB} MiB of flash, MAC {self.mac}"


class State(NamedTuple):
    """What is on its flash."""

    table: Table = ()  # none if there is no table, or a damaged one
    same: frozenset[str] = frozenset()  # titles of the parts of a firmware that are there as they should be
    # if not all parts are there:
    active: int | None = None  # the OTA slot that otadata names; None: it is blank, and ota_0 starts
    updated: bool = False  # whether there has been an update over the air


class Plan(NamedTuple):
    """What is to be written, and what that destroys, in words for people."""

    blanks: tuple[Part, ...] = ()  # first of all: a run that was interrupted later finds parts missing, and repeats it
    parts: tuple[Part, ...] = ()
    losses: tuple[str, ...] = ()

    @property
    def writes(self) -> tuple[Part, ...]:
        """All of it, in order; none if there is nothing to do."""
        return self.blanks + self.parts


# ------------------------------------------------------------------------------------------------------- what is there


def detect(port: str, baud: int = BAUD) -> Chip:
    """Return what chip is at the port; it waits in its loader afterwards. ChipError if there is none."""
    output = "\n".join(run(port, _detect(port, baud)))
    name = _found(r"^Connected to (\S+) on ", output)
    flash = re.search(r"^Detected flash size: (\d+)(MB|KB)", output, re.MULTILINE)
    if not name or not flash:
        raise NoChip(f"{port}: the chip {name or 'there'} does not tell its flash size: is the flash in order?")
    return Chip(
        name=name.lower().replace("-", ""),
        description=_found(r"^Chip type: +(.+?) \(revision", output) or name,
        revision=_found(r"\(revision (v[\d.]+)\)", output),
        flash_size=int(flash[1]) * (MIB if flash[2] == "MB" else 1024),
        mac=_found(r"^MAC: +([0-9A-Fa-f:]+)", output),
    )


def state(port: str, firmware: Firmware, baud: int = BAUD) -> State:
    """Return what is on the flash, and which parts of `firmware` are there. ChipError if the chip does not answer."""
    lines = run(port, _verify(port, firmware, baud), may_end="Verification failed")
    results = [" successful" in line for line in lines if line.startswith("Verification ")]
    if len(results) != len(firmware.parts):
        raise ChipError(f"{port}: esptool does not tell what is on the flash; run this again")
    same = frozenset(part.title for part, found in zip(firmware.parts, results, strict=True) if found)
    if all(results):
        return State(firmware.table, same)
    low = _low(port, firmware, baud)
    try:
        table = partitions.read(low[: partitions.SIZE])
    except ValueError:
        table = ()
    sequence, slots = _sequence(low, table), len(partitions.slots(table))
    return State(table, same, (sequence - 1) % slots if sequence and slots else None, sequence > 1)


def _low(port: str, firmware: Firmware, baud: int) -> bytes:
    """Return what is in flash from the partition table to the applications."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    copy = FOLDER / f"read-{hashlib.sha256(port.encode()).hexdigest()[:8]}.bin"
    try:
        run(port, _read(port, firmware, copy, baud))
        return copy.read_bytes()
    finally:
        copy.unlink(missing_ok=True)


def _sequence(low: bytes, table: Table) -> int:
    """Return the number in otadata that says which slot starts: 1 from the first start on, one more by each update."""
    row = partitions.otadata(table)
    if row is None or row.end > sum(LOW):
        return 0
    found = [0]
    for position in (row.address - LOW[0], row.address - LOW[0] + build.SECTOR):
        sequence, _, condition, crc = RECORD.unpack_from(low, position)
        if crc == crc32(struct.pack("<I", sequence), 0xFFFFFFFF) and condition not in NEVER:
            found.append(sequence)
    return max(found)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else ""


# ------------------------------------------------------------------------------------------------------ what is to do


def plan(firmware: Firmware, found: State, *, anew: bool = False) -> Plan:
    """Return what has to be written for this firmware to run. `anew`: all of it, as on a board with other partitions.

    With MicroPython, what could start in its place is made blank: the record of the OTA slots, an application behind
    the image, and the other slot. NVS and files stay unless the partitions change.
    """
    blanks = _blank_slots(firmware)
    if anew or found.table != firmware.table:
        vfs = firmware.vfs
        if vfs:
            blanks = (*blanks, Part("blank files", vfs.address, b"\xff" * min(vfs.size, BLANK_VFS)))
        losses = ("everything that is on the board",) if found.table else ()
        return Plan(blanks, (Part("the whole file", firmware.offset, firmware.data),), losses)
    parts = tuple(part for part in firmware.parts if part.title not in found.same)
    if firmware.app not in parts:
        return Plan((), parts)
    otadata = partitions.otadata(firmware.table)
    if otadata:
        blanks = (Part("blank otadata", otadata.address, b"\xff" * otadata.size), *blanks)
    return Plan(blanks, parts, ("the updates that this charger got over the air",) if found.updated else ())


def _blank_slots(firmware: Firmware) -> tuple[Part, ...]:
    """Return what keeps boot.py from finding the applications of earlier days in the OTA slots."""
    behind = firmware.app.address + aligned(firmware.app_size, build.SECTOR)
    inside = any(row.address <= behind < row.end for row in firmware.slots)
    starts = [row.address for row in firmware.slots if row.address != firmware.app.address]
    return tuple(
        Part("blank slot", address, b"\xff" * build.SECTOR) for address in [*([behind] if inside else []), *starts]
    )


# ------------------------------------------------------------------------------------------------------------- writing


def write(port: str, firmware: Firmware, todo: Plan, progress: Callable[[int, int], None], baud: int = BAUD) -> None:
    """Write what is to be written and start the chip; progress(bytes done, all bytes). ChipError if it fails."""
    total = sum(len(part.data) for part in todo.writes)
    before = done = 0  # bytes: of the commands before, and in all
    parts: Sequence[Part] = ()
    erased = False

    def seen(line: str) -> None:
        nonlocal done, erased
        erased = erased or line.startswith("Flash will be erased")
        match = WRITING.match(line)
        if match:
            done = max(done, before + _bytes_before(parts, int(match[1], 16)))
            progress(done, total)

    try:
        for parts, command in _writing(port, firmware, todo, baud):
            run(port, command, seen)
            before += sum(len(part.data) for part in parts)
    except ChipError as error:
        if not erased:
            raise
        raise WriteFailed(
            f"writing stopped after {100 * done // total} %: {error}. The board does not start like this, and is not "
            f"broken: run this again; if it stops again, take another cable or USB port, or --baud {SAFE_BAUD}"
        ) from None
    progress(total, total)


def _bytes_before(writes: Sequence[Part], address: int) -> int:
    return sum(min(max(address - part.address, 0), len(part.data)) for part in writes)


def reset(port: str, baud: int = BAUD) -> None:
    """Start the chip, which waits in its loader after detect() and state()."""
    run(port, esptool(port, "read-mac", baud=baud, after="hard-reset"))


def commands(port: str, firmware: Firmware, todo: Plan | None = None, baud: int = BAUD) -> list[list[str]]:
    """Return the commands of detect(), state() and write(), to be shown; those of a blank board if `todo` is None."""
    todo = plan(firmware, State()) if todo is None else todo
    asking = [_detect(port, baud), _verify(port, firmware, baud), _read(port, firmware, FOLDER / "read.bin", baud)]
    return [*asking, *(command for _, command in _writing(port, firmware, todo, baud))]


def _detect(port: str, baud: int) -> list[str]:
    return esptool(port, "flash-id", baud=baud)


def _read(port: str, firmware: Firmware, target: Path, baud: int) -> list[str]:
    area = (f"0x{number:x}" for number in LOW)
    return esptool(port, "read-flash", *area, str(target), chip=firmware.chip, baud=baud)


def _verify(port: str, firmware: Firmware, baud: int) -> list[str]:
    return esptool(port, "verify-flash", *_files(firmware, firmware.parts), chip=firmware.chip, baud=baud)


def _writing(port: str, firmware: Firmware, todo: Plan, baud: int) -> list[tuple[tuple[Part, ...], list[str]]]:
    """Return what each command writes, and the command; the last one starts the chip."""
    steps = [parts for parts in (todo.blanks, todo.parts) if parts]
    commands = []
    for parts in steps:
        after = "hard-reset" if parts is steps[-1] else "no-reset"
        files = _files(firmware, parts)
        commands.append((parts, esptool(port, "write-flash", *files, chip=firmware.chip, baud=baud, after=after)))
    return commands


def _files(firmware: Firmware, parts: Sequence[Part]) -> list[str]:
    """Return addresses and files for esptool; what is not a file yet becomes one."""
    folder = FOLDER / hashlib.sha256(firmware.data).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    arguments = []
    for part in parts:
        if part.data is firmware.data:
            path = firmware.path.resolve()
        else:
            path = folder / f"{part.title.replace(' ', '-').lower()}-{len(part.data)}.bin"
            path.write_bytes(part.data)
        arguments += [f"0x{part.address:x}", str(path)]
    return arguments
