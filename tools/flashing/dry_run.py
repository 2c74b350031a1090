"""What tools/flash.py would do, told without touching the board."""

from __future__ import annotations

import shlex
from argparse import Namespace

from flashing import chip, firmware, layout, micropython
from flashing.board import BAUDRATE
from flashing.config import REMOVE, Given
from flashing.fields import masked
from flashing.files import FOLDERS, MARKER, application, bundle

UNKNOWN_FLASH = 4 << 20  # bytes: what an ESP32 module has at least


def tell(arguments: Namespace, port: str, version: str, wanted: Given | None) -> None:
    """Tell every step and the exact commands. version: of the application, "" if it stays as it is."""
    print("This is what would be done; nothing is touched, nor is the board asked what is on it.")
    if arguments.micropython:
        _micropython(arguments, port, len(bundle(version)))
    print(
        f"- at {port}, {BAUDRATE} baud: Ctrl-C, Ctrl-A, Ctrl-D: MicroPython's raw prompt, with no application running"
    )
    if arguments.format:
        print("- make a new file system on the partition vfs; config.json and the files that it names are kept")
    if version:
        _application(version, arguments)
    if wanted:
        _config(wanted)
    print("- machine.reset()")
    if not arguments.no_watch:
        print(f"- read the serial log until the charger is registered, for {arguments.timeout:g} s at most")


def _micropython(arguments: Namespace, port: str, size: int) -> None:
    image = firmware.read(arguments.micropython)
    print(f"- {image.path}: {image.describe()}")
    size = 0 if image.production else size
    if reason := firmware.needs_layout(image, size):
        target = micropython.copy_of(image.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        print(f"- lay it out anew: {reason}")
        _command(layout.command(image, target, image.flash_size or UNKNOWN_FLASH, size))
        image = layout.with_ota_slots(image, target, image.flash_size or UNKNOWN_FLASH, size)
        print(f"  giving {image.describe()}")
    print(
        f"- ask the chip; it has to be an {image.chip} with at least {image.flash_size >> 20} MiB; write what differs:"
    )
    for command in chip.commands(port, image, baud=arguments.baud):
        _command(command)


def _command(words: list[str]) -> None:
    print(f"    {shlex.join(words)}")


def _application(version: str, arguments: Namespace) -> None:
    print(f"- application {version}: copy what differs by its SHA-256, each as PATH.new, read again, then renamed:")
    wanted = application(version, dev=bool(arguments.dev))
    for path, content in wanted.items():
        print(f"    /{path}  {len(content):,}")
    others = "what else there is in" if arguments.dev else "what there is of a developer's copy: files at the root,"
    print(f"- remove {others} {', '.join(f'/{folder}' for folder in FOLDERS)}")
    if arguments.dev is not None:
        print(f"- {'create' if arguments.dev else 'remove'} /{MARKER}")


def _config(wanted: Given) -> None:
    for name, content in wanted.files.items():
        print(f"- write /{name}, {len(content):,} bytes")
    if wanted.fields:
        print("- config.json: the fields that are on the board, and these:")
        for path, value in wanted.fields.items():
            print(f"    {path:<16} {'(removed)' if value is REMOVE else masked(path, value)}")
    else:
        print("- config.json stays as it is; what it lacks is asked for")
