"""The MicroPython image that the tests' updates bring: from a file, or the one that runs on the board."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

import build
from device.bench import Bench
from environment import CACHE
from flashing.errors import FlashError

BLOCKS = 16  # that go over the cable at once

LENGTH = """
def length(read):
    at = 24
    for _ in range(read(0, 24)[1]):
        at += 8 + int.from_bytes(read(at + 4, 4), "little")
    return (at // 16 + 1) * 16 + 32
from esp32 import Partition
def read(at, n):
    data = bytearray(n)
    running.readblocks(at // 4096, data, at % 4096)
    return data
running = Partition(Partition.RUNNING)
end = length(read)
print(end, binascii.hexlify(read(end - 32, 32)).decode())
"""

READ = """
for block in range({first}, {last}):
    print(binascii.b2a_base64(read(block * 4096, 4096)).decode(), end="")
"""


def of_file(path: Path, chip: int) -> bytes:
    """Return the image in a file; FlashError when it can't be the board's."""
    try:
        image = build.app_image(path.read_bytes())
    except OSError as error:
        raise FlashError(f"--micropython {path}: {error.strerror}") from None
    except build.BuildError as error:
        raise FlashError(f"--micropython {path}: {error}") from None
    found = int.from_bytes(image[12:14], "little")
    if found != chip:
        raise FlashError(f"--micropython {path} is for a chip with the number {found}, the board's is {chip}")
    return image


def of_board(board: Bench, progress: Callable[[int, int], None], cache: Path = CACHE / "device") -> bytes:
    """Return the image that runs on the board, over the cable; what was read once is kept in `cache`."""
    length, mark = board.run(LENGTH).split()
    kept = cache / f"{mark}.bin"
    if kept.exists() and _is_sound(kept.read_bytes()):
        return kept.read_bytes()
    size, image = int(length), b""
    count = -(-size // 4096)
    for first in range(0, count, BLOCKS):
        output = board.run(READ.format(first=first, last=min(count, first + BLOCKS)), 60)
        image += b"".join(base64.b64decode(line) for line in output.split())
        progress(len(image) // 1024, count * 4)
    image = image[:size]
    if not _is_sound(image):
        raise FlashError("the image came damaged over the cable: run this again")
    cache.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_suffix(".new")
    fresh.write_bytes(image)
    fresh.replace(kept)
    return image


def _is_sound(image: bytes) -> bool:
    return hashlib.sha256(image[:-32]).digest() == image[-32:]
