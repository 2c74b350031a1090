"""The frames of a package: pieces of 2,048 bytes of the update file, each decoded by itself (see UPDATE_FILES.md)."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence

FRAME = 2048
HEAD = struct.Struct("<HI")  # flags and length of the body, CRC-32
DEFLATED = 0x8000
OPERATIONS = 0x4000
WINDOW_BITS = 10
LONGEST_LIST = 9 * FRAME  # bytes of operations, more than any can need
LITERAL, COPY, ADD = range(3)

# A run of equal bytes shorter than this is not worth a copy of its own. What is best depends on the frame: try some.
SHORTEST_COPIES = (12, 48, FRAME + 1)

Piece = tuple[int, int, int | None]  # from there in the file, so many bytes; from there in the base, or nothing like it


class PackageError(Exception):
    """This can't be packed, or is no sound package; the text says why and what to do."""


# ------------------------------------------------------------------------------------------------------------- packing


def encode(output: bytes, compress: bool, lists: Sequence[bytes] = ()) -> bytes:
    """Return the smallest frame that gives `output`.

    `compress` allows to deflate it. `lists`: operations that give `output`, to choose from.
    """
    bodies = [(0, output), *((OPERATIONS, operations) for operations in dict.fromkeys(lists))]
    if compress:
        bodies += [(flags | DEFLATED, deflate(body)) for flags, body in bodies]
    flags, body = min((each for each in bodies if len(each[1]) <= FRAME), key=lambda each: len(each[1]))
    return frame(flags, body)


def frame(flags: int, body: bytes) -> bytes:
    """Return the frame with these flags and this body."""
    return HEAD.pack(flags | len(body), _crc32(flags | len(body), body)) + body


def _crc32(word: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(word.to_bytes(2, "little")))


def deflate(data: bytes) -> bytes:
    """Return a whole raw deflate stream that needs a window of 1 KiB."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -WINDOW_BITS, 9)
    return compressor.compress(data) + compressor.flush()


def operation_lists(pieces: Sequence[Piece], file: bytes, base: bytes) -> list[bytes]:
    """Return different lists of operations that all give what `pieces` are of the file."""
    return [
        b"".join(_operations(pieces, file, base, shortest, kind))
        for shortest in SHORTEST_COPIES
        for kind in (ADD, LITERAL)
    ]


def _operations(pieces: Sequence[Piece], file: bytes, base: bytes, shortest: int, kind: int) -> Iterator[bytes]:
    """Yield operations; what is between copies becomes an operation of this kind."""
    literal = b""
    for start, length, position in pieces:
        new = file[start : start + length]
        if position is None:
            literal += new
            continue
        difference = bytes((a - b) & 255 for a, b in zip(new, base[position : position + length], strict=True))
        for first, end, equal in _runs(difference, shortest):
            if not equal and kind == LITERAL:
                literal += new[first:end]
                continue
            if literal:
                yield struct.pack("<BH", LITERAL, len(literal)) + literal
                literal = b""
            yield struct.pack("<BHI", COPY if equal else ADD, end - first, position + first)
            yield b"" if equal else difference[first:end]
    if literal:
        yield struct.pack("<BH", LITERAL, len(literal)) + literal


def _runs(difference: bytes, shortest: int) -> Iterator[tuple[int, int, bool]]:
    """Yield start, end and whether all is zero: runs of at least so many zeros, and what is between them."""
    if not any(difference):
        yield 0, len(difference), True
        return
    done = 0
    for run in re.finditer(rb"\0{%d,}" % shortest, difference):
        if run.start() > done:
            yield done, run.start(), False
        yield run.start(), run.end(), True
        done = run.end()
    if done < len(difference):
        yield done, len(difference), False


# ----------------------------------------------------------------------------------------------------------- unpacking


def decode(frames: bytes, length: int, base: bytes) -> bytes:
    """Return the update file of `length` bytes that the frames give; PackageError if they are damaged."""
    file = bytearray()
    for number, (flags, body) in enumerate(split(frames), 1):
        try:
            file += _output(flags, body, min(FRAME, length - len(file)), base)
        except (ValueError, struct.error, zlib.error) as error:
            raise PackageError(f"frame {number} is damaged: {error}") from error
    if len(file) != length:
        raise PackageError("there are too few frames: build or download the package again")
    return bytes(file)


def split(frames: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the flags and the body of each frame."""
    position = 0
    while position < len(frames):
        if len(frames) - position < HEAD.size:
            raise PackageError("the frames end too early: build or download the package again")
        word, crc32 = HEAD.unpack_from(frames, position)
        if word & 0x3000 or not 1 <= word & 0x0FFF <= FRAME:
            raise PackageError(f"the frame at byte {position:,} of the frames has a wrong head, 0x{word:04x}")
        start = position + HEAD.size
        position = start + (word & 0x0FFF)
        body = frames[start:position]
        if position > len(frames):
            raise PackageError("the frames end too early: build or download the package again")
        if crc32 != _crc32(word, body):
            raise PackageError(f"the frame at byte {start - HEAD.size:,} of the frames is damaged: its CRC-32 differs")
        yield word & (DEFLATED | OPERATIONS), body


def count(frames: bytes) -> dict[str, tuple[int, int]]:
    """Return for each kind of frame, in words, how many there are and how many bytes they have."""
    counts: dict[str, tuple[int, int]] = {}
    for flags, body in split(frames):
        kind = ("delta" if flags & OPERATIONS else "literal") + (", deflated" if flags & DEFLATED else "")
        number, size = counts.get(kind, (0, 0))
        counts[kind] = number + 1, size + HEAD.size + len(body)
    return counts


def _output(flags: int, body: bytes, length: int, base: bytes) -> bytes:
    if len(body) > length:
        raise ValueError(f"it is larger than the {length} bytes that it gives")
    if flags & DEFLATED:
        inflater = zlib.decompressobj(-WINDOW_BITS)
        body = inflater.decompress(body, LONGEST_LIST)
        if not inflater.eof or inflater.unused_data:
            raise ValueError("the deflated data does not end where the frame does")
    output = _operate(body, base) if flags & OPERATIONS else body
    if len(output) != length:
        raise ValueError(f"it gives {len(output)} bytes, not {length}")
    return output


def _operate(operations: bytes, base: bytes) -> bytes:
    output, position = b"", 0
    while position < len(operations):
        operation, length = struct.unpack_from("<BH", operations, position)
        position += 3
        if operation > ADD or not 1 <= length <= FRAME - len(output):
            raise ValueError(f"operation {operation} of {length} bytes")
        piece = bytes(length)
        if operation != LITERAL:
            start = struct.unpack_from("<I", operations, position)[0]
            position += 4
            if start + length > len(base):
                raise ValueError("it copies from behind the end of the base")
            piece = base[start : start + length]
        if operation != COPY:
            data = operations[position : position + length]
            position += length
            piece = bytes((a + b) & 255 for a, b in zip(piece, data, strict=True))
        output += piece
    return output
