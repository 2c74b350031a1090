"""`tools/build.py image`: MicroPython with the application frozen into it, for the boards in tools/board/.

MicroPython's own build does the work (make, idf.py); this checks what goes in and what comes out. tools/board/README.md
has the whole of it.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build
import packages_plain
from build import BuildError
from environment import CACHE, REPOSITORY, ProgressLine, bar
from flashing import table
from flashing.table import Row

BOARDS = REPOSITORY / "tools" / "board"
DEFAULT = "ARUS_ESP32"
OLDEST = (1, 25)
MAX_VERSION = 31  # characters that the application descriptor has room for
# IDF_TARGET -> chip id in an image's header, flash address of the bootloader, with which a file for USB begins.
TARGETS = {"esp32": (0, 0x1000), "esp32s2": (2, 0x1000), "esp32c3": (5, 0), "esp32s3": (9, 0), "esp32c6": (13, 0)}
TYPES = {"app": table.APP, "data": table.DATA}
SUBTYPES = {"ota": table.OTADATA, "phy": 0x01, "nvs": 0x02, "fat": 0x81}
PROGRESS = re.compile(r"\[(\d+)/(\d+)\]")  # what ninja says


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser], help_text: str) -> None:
    """Add the command `image` to the command line of build.py."""
    parser = commands.add_parser("image", help=help_text)
    parser.add_argument(
        "--micropython", type=Path, required=True, metavar="DIR", help="MicroPython's source, with ESP-IDF"
    )
    parser.add_argument("--version", required=True, help="version of the application, as BootNotification will tell it")
    parser.add_argument(
        "--board", default=DEFAULT, choices=boards(), help=f"a folder of tools/board/ (default: {DEFAULT})"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="update file (default: arus-VERSION-BOARD.bin)"
    )
    parser.set_defaults(run=run)


def boards() -> list[str]:
    """Return the names of the boards."""
    return sorted(path.parent.name for path in BOARDS.glob("*/mpconfigboard.cmake"))


def partitions(board: str) -> table.Table:
    """Return the partition table of a board."""
    rows = []
    for line in (BOARDS / board / "partitions.csv").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            label, kind, subtype, address, size = (field.strip() for field in line.split(",")[:5])
            number = table.FIRST_OTA + int(subtype[4:]) if subtype.startswith("ota_") else SUBTYPES.get(subtype)
            rows.append(
                Row(label, TYPES[kind], int(subtype, 0) if number is None else number, int(address, 0), int(size, 0))
            )
    return tuple(rows)


def target(board: str) -> str:
    """Return what ESP-IDF calls the chip of a board."""
    found = re.search(r"set\(IDF_TARGET (\w+)\)", (BOARDS / board / "mpconfigboard.cmake").read_text())
    if not found:
        raise BuildError(f"{BOARDS / board / 'mpconfigboard.cmake'} sets no IDF_TARGET")
    return found[1]


def command(micropython: Path, board: str, version: str, folder: Path) -> list[str]:
    """Return the command that builds the image of a board into `folder`."""
    return [
        "make",
        "-C",
        str(micropython / "ports" / "esp32"),
        f"BOARD_DIR={BOARDS / board}",
        f"FROZEN_MANIFEST={BOARDS / 'manifest.py'}",
        f"BUILD={folder}",
        f"CMAKE_ARGS=-DARUS_VERSION={version}",
    ]


def run(arguments: argparse.Namespace) -> None:
    """Build the image; write the update file and, beside it, the file for USB."""
    version, board = arguments.version, arguments.board
    if not re.fullmatch(rf"[A-Za-z0-9._+~-]{{1,{MAX_VERSION}}}", version):
        raise BuildError(f"version {version!r}: 1 to {MAX_VERSION} letters, digits and . _ + ~ - please")
    micropython = arguments.micropython.resolve()
    _check_micropython(micropython)
    _check_tools(micropython, board)
    folder = CACHE / "board" / f"{board}-{hashlib.sha256(str(micropython).encode()).hexdigest()[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    # Else ESP-IDF would go on with the settings of an earlier build. What has been compiled stays.
    for name in ("sdkconfig", "CMakeCache.txt"):
        (folder / name).unlink(missing_ok=True)
    _build(command(micropython, board, version, folder), folder)
    image, combined = (_product(folder / name) for name in ("micropython.bin", "firmware.bin"))
    room = check(image, combined, board, version)
    output = arguments.output or Path(f"arus-{version}-{board}.bin")
    by_usb = output.with_name(f"{output.stem}-usb.bin")
    output.write_bytes(image)
    by_usb.write_bytes(combined)
    print(f"{output}: {len(image):,} bytes, {room:,} less than a slot has, SHA-256 {hashlib.sha256(image).hexdigest()}")
    print("    the update file: for UpdateFirmware as it is, or for build.py package and build.py delta")
    print(f"{by_usb}: {len(combined):,} bytes")
    print(f"    for a new board: python3 tools/flash.py --micropython {by_usb}")


def check(image: bytes, combined: bytes, board: str, version: str) -> int:
    """Return how many bytes of a slot the image leaves; BuildError if it is not what a charger takes."""
    chip_id, start = TARGETS[target(board)]
    rows = partitions(board)
    room = min(slot.size for slot in table.slots(rows)) - len(image)
    plain = packages_plain.read(image)
    if plain.chip_id != chip_id:
        raise BuildError(
            f"the build made an image for {packages_plain.chip_name(plain.chip_id)}, not for the {board}'s chip"
        )
    if (plain.project, plain.image_version) != (build.PROJECT, version):
        raise BuildError(
            f"the image calls itself {plain.project!r}, version {plain.image_version!r}, and no charger would take it: "
            "did the build read tools/board/arus.cmake? Its log tells"
        )
    if plain.problems:
        raise BuildError(plain.problems[0])
    if room < 0:
        raise BuildError(
            f"the image has {len(image):,} bytes, {-room:,} more than a slot of the {board}: leave something out in "
            "sdkconfig.board or mpconfigboard.h; chargers in the field can't be given larger slots"
        )
    first = table.slots(rows)[0].address - start
    if combined[first : first + len(image)] != image or table.read(combined[table.ADDRESS - start :]) != rows:
        raise BuildError(f"the build's firmware.bin has not the partition table of {board}/partitions.csv: see its log")
    return room


def _check_micropython(micropython: Path) -> None:
    header = micropython / "py" / "mpconfig.h"
    if not header.is_file() or not (micropython / "ports" / "esp32" / "Makefile").is_file():
        raise BuildError(
            f"{micropython} is no MicroPython: give the folder of its source, with py/ and ports/esp32/ in it"
        )
    parts = dict(re.findall(r"#define MICROPY_VERSION_(MAJOR|MINOR) (\d+)", header.read_text()))
    found = int(parts.get("MAJOR", 0)), int(parts.get("MINOR", 0))
    if found < OLDEST:
        raise BuildError(f"{micropython} is MicroPython {found[0]}.{found[1]}, and 1.25 is the oldest that will do")


def _check_tools(micropython: Path, board: str) -> None:
    if not os.environ.get("IDF_PATH") or not shutil.which("idf.py"):
        raise BuildError(
            "this shell does not know ESP-IDF (no IDF_PATH, or no idf.py): run `. ESP-IDF/export.sh` first; "
            "tools/board/README.md says which version goes with which MicroPython"
        )
    if not shutil.which("make"):
        raise BuildError("there is no make: install it (Debian: apt install make)")
    for path in (micropython, REPOSITORY):
        if re.search(r"\s", str(path)):
            raise BuildError(f"{path}: the build takes no folder with a space in its name")
    if not (micropython / "lib" / "micropython-lib" / "README.md").exists():
        raise BuildError(
            f"MicroPython's submodules are missing: make -C {micropython / 'ports' / 'esp32'} submodules "
            f"BOARD_DIR={BOARDS / board}"
        )


def _build(words: list[str], folder: Path) -> None:
    """Run the build, show how far it is; what it says goes to a file beside its folder."""
    log = folder.with_suffix(".log")
    last: collections.deque[str] = collections.deque(maxlen=25)
    line = ProgressLine("Building", sys.stderr)
    with (
        log.open("w") as file,
        subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout
        for text in process.stdout:
            file.write(text)
            last.append(text)
            found = PROGRESS.match(text)
            line.show(bar(int(found[1]), int(found[2])) if found else text.strip())
    line.end("failed" if process.returncode else "done")
    if process.returncode:
        raise BuildError(f"the build failed; all it said is in {log}, and last this:\n{''.join(last).rstrip()}")


def _product(path: Path) -> bytes:
    if not path.exists():
        raise BuildError(f"the build made no {path}: see {path.parent.with_suffix('.log')}")
    return path.read_bytes()
