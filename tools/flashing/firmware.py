"""A MicroPython file as micropython.org offers it: read, and checked before anything is written to a board.

The file is what goes to flash in one piece: bootloader, partition table at flash address 0x8000, application. Where in
flash it begins depends on the chip.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import build
from flashing import mistaken
from flashing import table as partitions
from flashing.mistaken import TAKE, FirmwareError, aligned
from flashing.table import Row, Table

# The chips of MicroPython's port that have Wi-Fi: id in an image's header -> (name as esptool has it, address of the
# bootloader).
CHIPS = {
    0: ("esp32", 0x1000),
    2: ("esp32s2", 0x1000),
    5: ("esp32c3", 0),
    9: ("esp32s3", 0),
    12: ("esp32c2", 0),
    13: ("esp32c6", 0),
    20: ("esp32c61", 0),
    23: ("esp32c5", 0x2000),
}
OLDEST = (1, 25, 0)
PROJECT = "Arus"

MIB = 1 << 20
SLOT_ALIGNMENT = 0x10000
LEAST_VFS = 0x40000

BANNER = re.compile(rb"MicroPython v(\d+)\.(\d+)(?:\.(\d+))?([-+.\w]*) on \d{4}-\d\d-\d\d")
MACHINE = re.compile(rb"; ([ -~]{1,80}) with ESP32[ -~]{0,20}\0")


class Part(NamedTuple):
    """Something to be written to flash."""

    title: str
    address: int
    data: bytes


@dataclass(frozen=True)
class Firmware:
    """A file that is in order."""

    path: Path
    data: bytes = field(repr=False)
    chip: str  # as esptool has it
    offset: int  # the flash address where the file begins
    flash_size: int  # bytes, as the bootloader believes
    table: Table
    version: tuple[int, int, int]
    version_text: str
    name: str  # of the board, "" if MicroPython does not tell
    project: str  # "" or PROJECT
    project_version: str
    parts: tuple[Part, ...] = field(repr=False)  # bootloader, partition table, MicroPython

    @property
    def app(self) -> Part:
        """The application image: MicroPython itself."""
        return self.parts[2]

    @property
    def app_size(self) -> int:
        """Its length in bytes."""
        return len(self.app.data)

    @property
    def slots(self) -> Table:
        return partitions.slots(self.table)

    @property
    def vfs(self) -> Row | None:
        """Where files are kept."""
        return partitions.labelled(self.table, "vfs")

    @property
    def application_room(self) -> int:
        """How many bytes a bundle may have, its header included; below 0 if not even the image fits."""
        return min((row.size for row in self.slots), default=0) - aligned(self.app_size, build.SECTOR)

    @property
    def production(self) -> bool:
        """Whether this is the production build: the application is frozen in, only config.json is to be copied."""
        return self.project == PROJECT

    def describe(self) -> str:
        """Return a line for people."""
        board = f" ({self.name})" if self.name else ""
        slots = f"OTA slots {len(self.slots)} x {kib(self.slots[0].size)}" if self.slots else "no OTA slots"
        what = f"Arus {self.project_version} with MicroPython" if self.production else "MicroPython"
        flash = f"{self.flash_size // MIB} MiB flash"
        return f"{what} {self.version_text} for {title(self.chip)}{board}, {flash}, {slots}"


def read(path: Path) -> Firmware:
    """Read a file; FirmwareError if it is not one that a board can start from, or too old."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FirmwareError(f"{path} can't be read: {error.strerror}") from None
    try:
        return _read(path, data)
    except FirmwareError as error:
        raise FirmwareError(f"{path.name}: {error}") from None


def _read(path: Path, data: bytes) -> Firmware:
    chip, offset = _chip(data)
    table_data = data[partitions.ADDRESS - offset :][: partitions.SIZE]
    try:
        table = partitions.read(table_data)
    except ValueError as error:
        raise FirmwareError(f"{error}: the file is damaged, download it again") from None
    if not table:
        raise FirmwareError(f"there is no partition table in this file: a bootloader alone, perhaps; {TAKE}")
    app = next((row for row in table if row.type == partitions.APP), None)
    if app is None:
        raise FirmwareError(f"its partition table has no place for an application; {TAKE}")
    if offset + len(data) > app.end:
        raise FirmwareError(f"it goes on behind the application: the copy of a whole flash, perhaps; {TAKE}")
    bootloader = _image(data, "bootloader")
    image = _image(data[app.address - offset :], "application")
    version, text = _version(image)
    descriptor = build.APP_DESCRIPTOR.unpack_from(image, build.IMAGE_HEADER.size + build.SEGMENT_HEADER.size)
    machine = MACHINE.search(image)
    return Firmware(
        path=path,
        data=data,
        chip=chip,
        offset=offset,
        flash_size=MIB << (data[3] >> 4),
        table=table,
        version=version,
        version_text=text,
        name=machine[1].decode() if machine else "",
        project=_text(descriptor[4]),
        project_version=_text(descriptor[3]),
        parts=(
            Part("bootloader", offset, bootloader),
            Part("partition table", partitions.ADDRESS, table_data),
            Part("MicroPython", app.address, image),
        ),
    )


def _chip(data: bytes) -> tuple[str, int]:
    """Return chip and flash address of a combined file; FirmwareError if it is something else."""
    mistaken.check(data)
    number = struct.unpack_from("<H", data, 12)[0]
    if number not in CHIPS:
        raise FirmwareError(f"it is for a chip (id {number}) that has no Wi-Fi or is not known here; {TAKE}")
    return CHIPS[number]


def _image(data: bytes, what: str) -> bytes:
    """Return the image that `data` begins with; FirmwareError if it is damaged."""
    if len(data) < 288 or data[0] != 0xE9:
        raise FirmwareError(f"there is no {what} where it should be: the file is damaged, download it again")
    if what == "application" and struct.unpack_from("<I", data, 32)[0] != build.APP_DESCRIPTOR_MAGIC:
        raise FirmwareError(f"its application has no descriptor: the file is damaged or not MicroPython; {TAKE}")
    try:
        image = data[: build.image_length(data)]
    except build.BuildError as error:
        raise FirmwareError(f"the {what} is cut off: {error}") from None
    if not image[23] or hashlib.sha256(image[:-32]).digest() != image[-32:]:
        raise FirmwareError(f"the {what}'s SHA-256 is wrong: the file is damaged, download it again")
    return image


def _version(image: bytes) -> tuple[tuple[int, int, int], str]:
    found = BANNER.search(image)
    if not found:
        raise FirmwareError(f"it is not MicroPython (nothing in it says so): another project's firmware; {TAKE}")
    version = int(found[1]), int(found[2]), int(found[3] or 0)
    text = ".".join(map(str, version)) + found[4].decode()
    if version < OLDEST or (version == OLDEST and found[4].startswith(b"-preview")):
        raise FirmwareError(f"MicroPython {text} is too old, 1.25.0 is the oldest that will do; {TAKE}")
    return version, text


def check(firmware: Firmware, chip: str, flash_size: int) -> None:
    """FirmwareError if this file is for another chip than `chip`, or more than `flash_size` bytes of flash can hold."""
    name = firmware.path.name
    if firmware.chip != chip:
        raise FirmwareError(f"{name} is for {title(firmware.chip)}, this board has an {title(chip)}; {TAKE}")
    slot = aligned(firmware.app_size, SLOT_ALIGNMENT)
    needed = SLOT_ALIGNMENT + 2 * slot + LEAST_VFS
    if needed > flash_size:
        raise FirmwareError(
            f"{name}: this board has {kib(flash_size)} of flash, and two slots for MicroPython ({kib(slot)} each) with "
            f"what else is needed make {kib(needed)}; take a board with 4 MiB or more"
        )


def needs_layout(firmware: Firmware, application_size: int, flash_size: int = 0) -> str:
    """Return why this file's partition table won't do, "" if it will.

    `application_size`: of the bundle, with its header; 0 if the application is frozen in. `flash_size`: of the board.
    """
    slots = firmware.slots
    if len(slots) < 2 or not partitions.otadata(firmware.table):
        return "its partition table has no OTA slots, so the charger could not update itself"
    if firmware.app.address != slots[0].address:
        return "its partition table puts MicroPython outside the OTA slots"
    if firmware.vfs is None:
        return "its partition table has no place for files (vfs)"
    if firmware.application_room < application_size:
        needed = aligned(firmware.app_size, build.SECTOR) + application_size
        return (
            f"its OTA slots of {kib(min(row.size for row in slots))} are too small: MicroPython and the application "
            f"need {kib(needed)}"
        )
    end = max(firmware.flash_size, *(row.end for row in firmware.table))
    if flash_size and end > flash_size:
        return f"it is laid out for {end // MIB} MiB of flash, and this board has {flash_size // MIB} MiB"
    return ""


def kib(size: int) -> str:
    return f"{-(-size // 1024)} KiB"


def title(chip: str) -> str:
    """Return how Espressif writes a chip's name: ESP32-S3 for esp32s3."""
    return re.sub(r"^ESP32(?=.)", "ESP32-", chip.upper())


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode(errors="replace")
