"""Says what a file is, for people: plain update file, package, combined file, key, or nothing of use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import build
import packages
import packages_frames
import packages_keys
import packages_plain
from packages import Header
from packages_frames import PackageError
from packages_keys import PublicKey
from packages_plain import Plain


@dataclass
class Report:
    """What a file is: rows of a name and a value, and what is wrong with it."""

    kind: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        width = max((len(name) for name, _ in self.rows), default=0) + 2
        lines = [self.kind, *(f"  {name:<{width}}{value}" for name, value in self.rows)]
        return "\n".join([*lines, *(f"  WRONG: {problem}" for problem in self.problems)])


def inspect(data: bytes, public_key: PublicKey | None = None, base: bytes | None = None) -> Report:
    """Say what `data` is; a package's signature and its difference to a base are checked with what is given."""
    if packages.is_package(data):
        return _package(data, public_key, base)
    if build.is_combined(data):
        return _combined(data)
    if data.startswith(b"-----BEGIN "):
        return _key(data)
    try:
        return _plain(data)
    except PackageError as error:
        first = data[:8].hex(" ") or "nothing"
        return Report("No update file", [("size", _size(len(data))), ("begins with", first)], [str(error)])


def _plain(data: bytes) -> Report:
    plain = packages_plain.read(data)
    rows = [("size", _size(len(data))), ("SHA-256", hashlib.sha256(data).hexdigest()), *_inside(plain)]
    return Report("Plain update file" if plain.version else "Application image", rows, plain.problems)


def _inside(plain: Plain) -> list[tuple[str, str]]:
    named = " ".join(filter(None, (plain.project, plain.image_version)))
    rows = [
        ("chip", packages_plain.chip_name(plain.chip_id)),
        ("image", f"{_size(plain.image_length)}{f', {named}' if named else ''}"),
    ]
    if plain.bundle_length:
        rows.append(("bundle", f"{_size(plain.bundle_length)}, {plain.files} files in {_size(plain.files_length)}"))
    return [*rows, ("application", plain.version)] if plain.version else rows


def _combined(data: bytes) -> Report:
    report = Report("Combined file (bootloader, partition table, application) for flashing by USB, no update file")
    report.rows.append(("size", _size(len(data))))
    try:
        report.rows += _inside(packages_plain.read(build.app_image(data)))
    except (PackageError, build.BuildError) as error:
        report.problems.append(str(error))
    return report


def _key(data: bytes) -> Report:
    private = b"PRIVATE KEY" in data
    try:
        key = packages_keys.load_public(data)
    except PackageError as error:
        return Report("A file in PEM", problems=[str(error)])
    rows = [
        ("key", packages_keys.key_id(key).hex()),
        ("algorithm", packages_keys.ALGORITHMS[packages_keys.algorithm(key)]),
    ]
    return Report("Private key: keep it secret" if private else "Public key: for the chargers", rows)


def _package(data: bytes, public_key: PublicKey | None, base: bytes | None) -> Report:
    try:
        header = packages.parse(data)
    except PackageError as error:
        return Report("Package", [("size", _size(len(data)))], [str(error)])
    rows = _header(header, len(data))
    report = Report("Package, the difference to a base" if header.base_length else "Package", rows)
    try:
        report.problems += packages.problems(data, header)
        rows.append(("signature", "not checked: name the key with --public"))
        if public_key:
            wrong = packages.signature_problems(header, public_key)
            rows[-1] = ("signature", "wrong" if wrong else "right")
            report.problems += wrong
        rows += [
            (kind, f"{number:,} frames, {_size(size)}")
            for kind, (number, size) in packages_frames.count(data[packages.HEADER :]).items()
        ]
        if header.base_length and base is None:
            rows.append(("file", "to look into it, name the base it needs with --base"))
        else:
            plain = packages_plain.read(packages.unpack(data, base or b""))
            rows.append(("file", "decoded, its SHA-256 is right"))
            report.problems += plain.problems
            if plain.chip_id != header.chip_id:
                report.problems.append("the image in it is for another chip than the header says")
            rows += _inside(plain)
    except PackageError as error:
        if str(error) not in report.problems:
            report.problems.append(str(error))
    return report


def _header(header: Header, size: int) -> list[tuple[str, str]]:
    first, last = header.hardware
    rows = [
        ("size", f"{_size(size)}, {100 * size / max(1, header.length):.1f} % of the file it gives"),
        ("gives", _size(header.length)),
        ("SHA-256 of that", header.sha256.hex()),
        ("product", header.product),
        ("version", header.version),
        ("release", f"{header.release}, and once it is confirmed none below {header.floor}"),
        ("for chip", packages_plain.chip_name(header.chip_id)),
        ("for hardware", "any" if (first, last) == (0, 0xFFFF) else f"{first} to {last}"),
    ]
    if header.base_length:
        rows.append(("base", f"{_size(header.base_length)}, SHA-256 {header.base_sha256.hex()}"))
    algorithm = packages_keys.ALGORITHMS.get(header.algorithm, f"unknown algorithm {header.algorithm}")
    return [*rows, ("signed", f"{algorithm}, key {header.key_id.hex()}")]


def _size(number: int) -> str:
    return f"{number:,} bytes"
