"""Packages: an update file signed, and on request compressed or as the difference to an older one.

The layout stands in UPDATE_FILES.md. Here are the header, the signature and the whole; the frames are in
packages_frames.py, the matching with an older file in packages_delta.py.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

import packages_delta
import packages_frames
import packages_keys
import packages_plain
from packages_frames import FRAME, PackageError
from packages_keys import PrivateKey, PublicKey

MAGIC = b"ARUSPKG\0"
FORMAT = 1
HEADER = 640
# magic, format, algorithm, chip, hardware from, to, release, floor, lengths of file, frames and base, SHA-256 of file
# and base, key, product, version
FIELDS = struct.Struct("<8sHBxHHH2xIIIII32s32s8s32s32s80x")
RESERVED = (11, 18, 19, *range(176, FIELDS.size))

Progress = Callable[[int, int], None]  # frames done, of how many


@dataclass
class Header:
    """The header of a package, field by field as in UPDATE_FILES.md."""

    algorithm: int
    chip_id: int
    hardware: tuple[int, int]
    release: int
    floor: int
    length: int
    frames: int
    base_length: int
    sha256: bytes
    base_sha256: bytes
    key_id: bytes
    product: str
    version: str
    signed: bytes
    signature: bytes


# ------------------------------------------------------------------------------------------------------------- packing


def package(
    file: bytes,
    key: PrivateKey,
    *,
    product: str,
    hardware: tuple[int, int] = (0, 0xFFFF),
    release: int = 0,
    floor: int = 0,
    version: str | None = None,
    chip_id: int | None = None,
    base: bytes | None = None,
    compress: bool = False,
    progress: Progress = lambda _, __: None,
) -> bytes:
    """Return the package of an update file, signed with `key`; PackageError if that can't be.

    `hardware`: the first and the last revision it is for. `base`: the update file that runs on the charger, for a
    package that only brings what differs (and is compressed too). `version` and `chip_id` are otherwise
    those of the file.
    """
    first, last = hardware
    if not 0 <= first <= last <= 0xFFFF:
        raise PackageError(f"hardware {first}-{last}: from 0 to 65535, the lower one first, please")
    if not 0 <= floor <= release <= 0xFFFFFFFF:
        raise PackageError(f"release {release}, floor {floor}: 0 to {0xFFFFFFFF}, the floor not above the release")
    if not file or base == b"":
        raise PackageError("the file is empty")
    if chip_id is None or version is None:
        plain = packages_plain.read(file)
        chip_id = plain.chip_id if chip_id is None else chip_id
        version = plain.version if version is None else version
    algorithm = packages_keys.algorithm(key)
    texts = _text("product", product), _text("version", version)
    frames = _frames(file, base, compress, progress)  # last, for it may take a while
    signed = FIELDS.pack(
        MAGIC,
        FORMAT,
        algorithm,
        chip_id,
        first,
        last,
        release,
        floor,
        len(file),
        len(frames),
        len(base or b""),
        hashlib.sha256(file).digest(),
        hashlib.sha256(base).digest() if base else b"",
        packages_keys.key_id(key.public_key()),
        *texts,
    )
    return signed + packages_keys.sign(key, signed) + frames


def _frames(file: bytes, base: bytes | None, compress: bool, progress: Progress) -> bytes:
    frames = []
    starts = range(0, len(file), FRAME)
    found = iter(packages_delta.pieces(base, file)) if base else None
    for number, start in enumerate(starts, 1):
        lists = packages_frames.operation_lists(next(found), file, base) if found and base else ()
        frames.append(packages_frames.encode(file[start : start + FRAME], compress or base is not None, lists))
        progress(number, len(starts))
    return b"".join(frames)


def _text(what: str, text: str) -> bytes:
    if not re.fullmatch(r"[ -~]{1,32}", text):
        raise PackageError(f"{what} {text!r}: 1 to 32 printable ASCII characters, please")
    return text.encode()


# ----------------------------------------------------------------------------------------------------------- unpacking


def is_package(data: bytes) -> bool:
    """Whether this says that it is a package."""
    return data[: len(MAGIC)] == MAGIC


def parse(data: bytes) -> Header:
    """Return the header of a package, its signature unchecked; PackageError if it is none of this format."""
    if not is_package(data) or len(data) < HEADER:
        raise PackageError("this is no package, or only the beginning of one")
    _, layout, algorithm, chip, *numbers, sha256, base_sha256, key, product, version = FIELDS.unpack_from(data)
    if layout != FORMAT:
        raise PackageError(f"format {layout} of a package is not known here: take a newer tools/build.py")
    first, last, release, floor, length, frames, base_length = numbers
    return Header(
        algorithm,
        chip,
        (first, last),
        release,
        floor,
        length,
        frames,
        base_length,
        sha256,
        base_sha256,
        key,
        packages_plain.text(product),
        packages_plain.text(version),
        data[: FIELDS.size],
        data[FIELDS.size : HEADER],
    )


def signature_problems(header: Header, key: PublicKey) -> list[str]:
    """Return what is wrong with a package for a charger that has this key."""
    if header.key_id != packages_keys.key_id(key) or header.algorithm != packages_keys.algorithm(key):
        return ["it is signed with another key"]
    if not packages_keys.verified(key, header.signed, header.signature):
        return ["its signature is wrong: the header was changed after it was signed"]
    return []


def problems(data: bytes, header: Header) -> list[str]:
    """Return what is wrong with a package, as far as its header and its size tell."""
    first, last = header.hardware
    size = HEADER + header.frames
    wrong = {
        "the algorithm of its signature is not known": header.algorithm not in packages_keys.ALGORITHMS,
        "bytes of the header that have to be zero are not": any(header.signed[i] for i in RESERVED),
        "there is no hardware it is for": first > last,
        "its release is below its floor": header.release < header.floor,
        "it gives an empty file": not header.length,
        f"it has {len(data):,} bytes and should have {size:,}: build or download it again": len(data) != size,
    }
    return [problem for problem, is_wrong in wrong.items() if is_wrong]


def unpack(data: bytes, base: bytes = b"", public_key: PublicKey | None = None) -> bytes:
    """Return the update file in a package, checked as a charger checks it; PackageError if something is wrong."""
    header = parse(data)
    wrong = problems(data, header) + (signature_problems(header, public_key) if public_key else [])
    if wrong:
        raise PackageError(wrong[0])
    base = base[: header.base_length]
    if header.base_length and hashlib.sha256(base).digest() != header.base_sha256:
        raise PackageError("it is the difference to another base")
    file = packages_frames.decode(data[HEADER:], header.length, base)
    if hashlib.sha256(file).digest() != header.sha256:
        raise PackageError("it is damaged: what it gives has another SHA-256")
    return file
