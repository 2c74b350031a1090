"""What becomes the charger's config.json: what is on it already, a file, and the command line."""

from __future__ import annotations

import hashlib
import json
from argparse import Namespace
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

import packages_keys
from flashing.errors import FlashError
from flashing.fields import BY_PATH, FIELDS, GROUPS, flat, masked, nested, problems, unknown
from packages_frames import PackageError

LARGEST_CERTIFICATE = 8192  # bytes of a file with certificates: the charger has it in memory
TAKEN = ("boot.py", "main.py", "config.json", "version.mpy", "dev", "data")
REMOVE = None  # what a field is given to be removed


@dataclass
class Given:
    """What the user wants: fields by their paths (REMOVE: take it away), and files for the charger's VFS."""

    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def given(arguments: Namespace) -> Given:
    """Return what --config and the options say; FlashError if a file is not what it has to be."""
    wanted = Given()
    if arguments.config:
        wanted.fields = read(arguments.config)
        for path in ("ca", "firmware_key"):
            name = wanted.fields.get(path)
            source = arguments.config.parent / name if isinstance(name, str) and name else None
            if source and source.is_file():
                attach(wanted, path, source)
    for entry in FIELDS:
        value = getattr(arguments, entry.option[2:].replace("-", "_"), None) if entry.option else None
        if value is None:
            continue
        if value == "" and entry.path not in ("ntp", "wifi.key"):
            wanted.fields[entry.path] = REMOVE
        elif entry.path in ("ca", "firmware_key"):
            attach(wanted, entry.path, Path(value))
        else:
            wanted.fields[entry.path] = value
    return wanted


def read(path: Path) -> dict[str, Any]:
    """Return the fields of a JSON file; null removes a field."""
    try:
        config = json.loads(path.read_text())
    except OSError as error:
        raise FlashError(f"--config {path}: {error.strerror}") from None
    except ValueError as error:
        raise FlashError(f"--config {path} is no JSON: {error}") from None
    if not isinstance(config, dict):
        raise FlashError(f'--config {path} is no JSON object; it looks like {{"csms": "ws://…", "id": "CP1", …}}')
    fields = flat(config)
    strange = [unknown(name) for name in fields if name not in BY_PATH and name not in GROUPS]
    if strange:
        raise FlashError(f"--config {path}: {'; '.join(strange)}")
    return fields


def attach(wanted: Given, path: str, source: Path) -> None:
    """Take a file that goes to the charger, and its name as the field's value."""
    option = BY_PATH[path].option
    try:
        content = source.read_bytes()
    except OSError as error:
        raise FlashError(f"{option} {source}: {error.strerror}") from None
    try:
        content = certificate(content) if path == "ca" else public_key(content)
    except FlashError as error:
        raise FlashError(f"{option} {source}: {error}") from None
    name = wanted.fields.get(path) if source.name == wanted.fields.get(path) else None
    name = name or path + (".pem" if b"-----BEGIN" in content else ".der")
    if name in TAKEN:
        raise FlashError(f"\"{path}\" can't be called {name}, which is another file's name on the charger")
    wanted.fields[path] = name
    wanted.files[name] = content


def certificate(content: bytes) -> bytes:
    """Return what of a file goes to the charger as "ca"; FlashError if it is no certificate of a CA."""
    if b"PRIVATE KEY" in content:
        raise FlashError("there is a private key in it, which must stay where it is: take the certificate alone")
    if b"-----BEGIN CERTIFICATE" not in content and b"-----BEGIN" in content:
        raise FlashError("this is no certificate: one in PEM begins with -----BEGIN CERTIFICATE-----")
    try:
        found = x509.load_pem_x509_certificates(content) if b"-----BEGIN" in content else [_der(content)]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FlashError(f"this is no certificate in PEM or DER: {error}") from None
    if len(content) > LARGEST_CERTIFICATE:
        raise FlashError(
            f"{len(found)} certificates, {len(content):,} bytes, are more than the charger's memory bears "
            f"({LARGEST_CERTIFICATE:,}): take only that of the CA which signed the central system's"
        )
    if not any(_is_authority(one) for one in found):
        raise FlashError("this is a server's own certificate, not that of the CA which signed it: take the CA's")
    late = [one for one in found if one.not_valid_after_utc < datetime.now(UTC)]
    if len(late) == len(found):
        raise FlashError(f"this certificate expired on {late[0].not_valid_after_utc:%Y-%m-%d}: take the one after it")
    return content


def _der(content: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(content)


def _is_authority(one: x509.Certificate) -> bool:
    """Whether a certificate may sign others; one without the extension may, and one signed by itself."""
    try:
        constraints = one.extensions.get_extension_for_class(x509.BasicConstraints).value
        return constraints.ca or one.issuer == one.subject
    except x509.ExtensionNotFound:
        return one.issuer == one.subject
    except ValueError:
        return True  # the charger's own library decides


def public_key(content: bytes) -> bytes:
    """Return what of a file goes to the charger as "firmware_key": never the private half."""
    try:
        return packages_keys.public_pem(packages_keys.load_public(content))
    except PackageError as error:
        raise FlashError(str(error)) from None


def merged(existing: Mapping[str, Any], wanted: Given) -> dict[str, Any]:
    """Return the fields of the charger: those it has, and what is given anew in front of them."""
    fields = {**flat(existing), **wanted.fields}
    return {path: value for path, value in fields.items() if value is not REMOVE}


def check_given(wanted: Given) -> None:
    """FlashError if what is given is wrong in itself; what is missing the charger may have already."""
    refuse(problems({path: value for path, value in wanted.fields.items() if value is not REMOVE}, complete=False))


def check(fields: Mapping[str, Any], on_board: Collection[str], wanted: Given) -> list[str]:
    """FlashError with all that is wrong; return what else the user should know.

    on_board: the files at the root of the charger's VFS.
    """
    strange = [path for path in fields if path not in BY_PATH and path not in GROUPS]
    wrong = problems({path: value for path, value in fields.items() if path not in strange})
    for path in ("ca", "firmware_key"):
        name = fields.get(path)
        if isinstance(name, str) and name not in wanted.files and name not in on_board:
            wrong.append(f'"{path}" names a file that the charger does not have, {name}: {BY_PATH[path].option} FILE')
    if any(" is missing: " in one for one in wrong):
        wrong.append("on a terminal flash.py asks for what is missing")
    refuse(wrong)
    return [f"On the charger: {unknown(path)}" for path in strange]


def refuse(wrong: Collection[str]) -> None:
    """FlashError if there is something wrong."""
    if wrong:
        raise FlashError("config.json can't be like this:\n" + "\n".join(f"  - {one}" for one in wrong))


def text(fields: Mapping[str, Any]) -> bytes:
    """Return config.json, as people like to read it."""
    return json.dumps(nested(fields), indent=1, ensure_ascii=False).encode() + b"\n"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return a line for each field that changes, secrets masked."""
    lines = []
    for path in dict.fromkeys([*after, *before]):
        old, new = before.get(path), after.get(path)
        if path not in before:
            lines.append(f"{path:<16} {masked(path, new)}")
        elif path not in after:
            lines.append(f"{path:<16} {masked(path, old)} -> removed")
        elif old != new:
            hint = " (another one)" if masked(path, old) == masked(path, new) else ""
            lines.append(f"{path:<16} {masked(path, old)} -> {masked(path, new)}{hint}")
    return lines


def fingerprint(content: bytes) -> str:
    """Return what files are compared by."""
    return hashlib.sha256(content).hexdigest()
