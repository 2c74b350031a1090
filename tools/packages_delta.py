"""What of a file stands, as it is or alike, in an older one: bsdiff's matching, cut into frames."""

from __future__ import annotations

from collections.abc import Iterator

from packages_frames import FRAME, Piece


def pieces(base: bytes, file: bytes) -> Iterator[list[Piece]]:
    """Yield for each frame of the file the pieces that it consists of."""
    frame: list[Piece] = []
    for start, length, position in _matches(base, file):
        while length:
            step = min(length, FRAME - start % FRAME)
            frame.append((start, step, position))
            start, length = start + step, length - step
            position = None if position is None else position + step
            if start % FRAME == 0:
                yield frame
                frame = []
    if frame:
        yield frame


def _matches(base: bytes, file: bytes) -> Iterator[Piece]:
    """Yield the pieces of the whole file, in turn."""
    from bsdiff4 import core

    control = core.diff(base, file)[0]
    start = position = 0
    for entry in range(0, len(control), 24):
        alike, new, seek = (core.decode_int64(control[entry + field : entry + field + 8]) for field in (0, 8, 16))
        if alike:
            yield start, alike, position
        if new:
            yield start + alike, new, None
        start += alike + new
        position += alike + seek
