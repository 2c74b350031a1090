"""Lays out the partitions of a MicroPython file anew: two OTA slots that are large enough, and a place for files.

The work is done by mp-image-tool-esp32; what it made is read back and checked, also by Espressif's own tool.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import build
from flashing import firmware as images
from flashing import table as partitions
from flashing.firmware import LEAST_VFS, MIB, SLOT_ALIGNMENT, Firmware
from flashing.mistaken import FirmwareError, aligned

# NVS lies where it does in MicroPython's own tables with OTA.
FRONT = (("nvs", "nvs", 0x4000), ("otadata", "ota", 0x2000), ("phy_init", "phy", 0x1000))
FIRST_SLOT = 0x10000
# Flash in MiB -> size of a slot: room for years of updates, since a table can't be changed over the air.
SLOTS = {4: 0x1C0000, 8: 0x300000, 16: 0x400000}


def with_ota_slots(firmware: Firmware, target: Path, flash_size: int, application_size: int) -> Firmware:
    """Write `firmware` to `target` with a partition table for `flash_size` bytes of flash, and return that file, read.

    `application_size`: of the bundle, with its header; 0 if the application is frozen in. FirmwareError if the flash
    is too small.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        # The tool wants to write to the file it reads, and takes names like COM.bin for ports.
        source, made = Path(folder, "firmware.bin").resolve(), Path(folder, "made.bin").resolve()
        shutil.copyfile(firmware.path, source)
        _run(_command(source, made, slot_size(firmware, flash_size, application_size), flash_size))
        _check(firmware, made, flash_size, application_size)
        made.replace(target)
    return images.read(target)


def command(firmware: Firmware, target: Path, flash_size: int, application_size: int) -> list[str]:
    """Return the command that does it, to be shown."""
    size = slot_size(firmware, flash_size, application_size)
    return _command(firmware.path.resolve(), target.resolve(), size, flash_size)


def slot_size(firmware: Firmware, flash_size: int, application_size: int) -> int:
    """Return how large each slot becomes, in bytes; FirmwareError if the flash is too small for two of them."""
    first = firmware.app.address
    if first != FIRST_SLOT:
        raise FirmwareError(
            f"{firmware.path.name}: its application is at 0x{first:x} and not at 0x{FIRST_SLOT:x} as in MicroPython's "
            "own files, so its partitions can't be laid out anew; take a file with OTA slots"
        )
    usual = SLOTS.get(min(flash_size // MIB, max(SLOTS)), 0)
    needed = aligned(firmware.app_size, build.SECTOR) + application_size
    size = max(usual, aligned(needed, SLOT_ALIGNMENT))
    if FIRST_SLOT + 2 * size + LEAST_VFS > flash_size:
        raise FirmwareError(
            f"{firmware.path.name}: MicroPython and the application need {images.kib(needed)}, twice, and files "
            f"{images.kib(LEAST_VFS)}: too much for {flash_size // MIB} MiB of flash. Take a smaller MicroPython "
            "(the variant with OTA support) or a board with more flash"
        )
    return size


def _command(source: Path, target: Path, slot: int, flash_size: int) -> list[str]:
    rows = [*FRONT, ("ota_0", "ota_0", slot), ("ota_1", "ota_1", slot), ("vfs", "fat", 0)]  # 0: the rest
    table = ",".join(f"{label}={subtype}:0x{size:x}" for label, subtype, size in rows)
    tool = Path(sys.executable).with_name("mp-image-tool-esp32")
    return [str(tool), str(source), "-o", str(target), "-f", f"{flash_size // MIB}M", "--table", table]


def _run(command: list[str]) -> None:
    """Run a command; FirmwareError with what it says if it fails."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise FirmwareError(
            f"{command[0]} does not run ({error.strerror}): remove .cache/venv, run this again"
        ) from None
    if process.returncode:
        last = " ".join((process.stdout + process.stderr).strip().splitlines()[-3:])
        raise FirmwareError(f"{Path(command[0]).name} could not lay out the partitions: {last}")


def _check(old: Firmware, made: Path, flash_size: int, application_size: int) -> None:
    """FirmwareError if the new file is not the old one with another table and flash size."""
    _run([sys.executable, "-m", "esptool", "--chip", old.chip, "image-info", str(made)])
    new = images.read(made)
    images.check(new, old.chip, flash_size)
    problem = images.needs_layout(new, application_size, flash_size)
    if not problem and new.app != old.app:
        problem = "the application changed"
    if not problem and new.flash_size != flash_size:
        problem = f"the bootloader is made for {new.flash_size // MIB} MiB of flash"
    vfs = partitions.labelled(new.table, "vfs")
    if not problem and (vfs is None or vfs.end != flash_size):
        problem = "the files don't get the rest of the flash"
    if problem:
        raise FirmwareError(f"mp-image-tool-esp32 made a wrong file: {problem}")
