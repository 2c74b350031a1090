"""Reads a plain update file, as tools/build.py makes it: an application image, and the application bundle behind it."""

from __future__ import annotations

import functools
import hashlib
import operator
from dataclasses import dataclass, field

import build
from packages_frames import PackageError

CHIPS = {0: "ESP32", 2: "ESP32-S2", 5: "ESP32-C3", 9: "ESP32-S3", 13: "ESP32-C6"}
DESCRIPTOR = build.IMAGE_HEADER.size + build.SEGMENT_HEADER.size
SHA256 = 32


@dataclass
class Plain:
    """What a plain update file holds, and what is wrong with it (nothing, if a charger would take it)."""

    image_length: int
    chip_id: int
    project: str
    image_version: str
    version: str = ""  # of the application; empty if there is none
    bundle_length: int = 0  # with its header
    files: int = 0  # how many the application has
    files_length: int = 0  # of their archive
    problems: list[str] = field(default_factory=list)


def chip_name(chip_id: int) -> str:
    """Return what the chip with this id in an image's header is called."""
    return CHIPS.get(chip_id, f"chip id {chip_id}")


def read(data: bytes) -> Plain:
    """Read a plain update file; PackageError if it does not begin with an application image."""
    if build.is_combined(data):
        raise PackageError("this is a combined file for flashing by USB: build.py --micropython takes it")
    try:
        length = len(build.app_image(data))
    except build.BuildError as error:
        raise PackageError(str(error)) from error
    _, _, _, version, project, *_ = build.APP_DESCRIPTOR.unpack_from(data, DESCRIPTOR)
    plain = Plain(length, int.from_bytes(data[12:14], "little"), text(project), text(version))
    plain.problems += _image_problems(data, length)
    start = length + -length % build.SECTOR
    if start < len(data):
        _read_bundle(data, start, plain)
    elif plain.project == build.PROJECT:
        plain.version = plain.image_version  # the application is frozen into this image
    else:
        plain.problems.append("the image carries no application: make the update file with build.py")
    return plain


def sound(data: bytes) -> Plain:
    """Read a plain update file; PackageError if a charger would not take it."""
    plain = read(data)
    if plain.problems:
        raise PackageError(plain.problems[0])
    return plain


def text(field_of_text: bytes) -> str:
    """Return the text in a field that zeros follow, fit for a terminal."""
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E else "?" for byte in field_of_text.partition(b"\0")[0])


def _image_problems(data: bytes, length: int) -> list[str]:
    problems = []
    if data[23] != 1:
        problems.append("the image has no SHA-256: build it again")
    elif hashlib.sha256(data[: length - SHA256]).digest() != data[length - SHA256 : length]:
        problems.append("the image is damaged (its SHA-256 differs): build or download it again")
    checksum, position = build.CHECKSUM_SEED, build.IMAGE_HEADER.size
    for _ in range(data[1]):
        size = build.SEGMENT_HEADER.unpack_from(data, position)[1]
        position += build.SEGMENT_HEADER.size
        checksum = functools.reduce(operator.xor, data[position : position + size], checksum)
        position += size
    if data[position // 16 * 16 + 15] != checksum:
        problems.append("the image is damaged (its checksum differs): build or download it again")
    return problems


def _read_bundle(data: bytes, start: int, plain: Plain) -> None:
    header, payload = data[start : start + build.SECTOR], data[start + build.SECTOR :]
    if len(header) < build.SECTOR or header[:8] != build.BUNDLE_MAGIC:
        plain.problems.append("what stands behind the image is no application bundle: make the file with build.py")
        return
    _, layout, files, length, version, digest = build.BUNDLE_HEADER.unpack_from(header)
    plain.version, plain.bundle_length = text(version), build.SECTOR + length
    plain.files, plain.files_length = files, length
    if layout != build.BUNDLE_FORMAT:
        plain.problems.append(f"the bundle's format is {layout}, known is {build.BUNDLE_FORMAT}")
    if hashlib.sha256(header[:-SHA256]).digest() != header[-SHA256:]:
        plain.problems.append("the bundle's header is damaged (its SHA-256 differs): build the file again")
    elif len(payload) != length:
        plain.problems.append(f"the bundle has {len(payload):,} bytes of {length:,}: build or download it again")
    elif hashlib.sha256(payload).digest() != digest:
        plain.problems.append("the bundle is damaged (its SHA-256 differs): build or download it again")
    elif layout == build.BUNDLE_FORMAT:
        try:
            build.contents(payload, files)
        except build.BuildError as error:
            plain.problems.append(str(error))
