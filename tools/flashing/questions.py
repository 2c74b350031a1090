"""Asking for what config.json still lacks, on a terminal."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flashing.config import REMOVE, Given, attach
from flashing.errors import FlashError
from flashing.fields import BY_PATH, FIELDS, STEVE, Field, masked

ASK = "?"  # what an option for a secret has when it is given without a value
Reader = Callable[[str], str]


def secrets(wanted: Given, read: Reader = getpass.getpass) -> None:
    """Ask for the secrets whose options have no value, without echo."""
    for path, value in wanted.fields.items():
        entry = BY_PATH[path]
        if entry.secret and value == ASK:
            wanted.fields[path] = _until_right(entry, f"{entry.question or entry.path}: ", read)


def ask(
    fields: Mapping[str, Any], wanted: Given, *, everything: bool, show: Callable[[str], None] = print,
    read: Reader = input, read_secret: Reader = getpass.getpass,
) -> None:  # fmt: skip
    """Ask for what is missing, or with `everything` for all that has a question; Enter takes what is in brackets.

    fields: what the charger would have without asking. wanted gets the answers.
    """
    if not everything and all(entry.path in fields for entry in FIELDS if entry.needed):
        return
    show("The charger's config.json; Enter takes what is in [brackets].")
    for entry in FIELDS:
        if not entry.question or (entry.path in fields and not everything):
            continue
        csms = wanted.fields.get("csms", fields.get("csms", ""))
        if entry.path == "ca":
            if str(csms).startswith("wss:"):
                _file(wanted, fields, show, read)
            continue
        _field(entry, wanted, fields, read_secret if entry.secret else read)


def _field(entry: Field, wanted: Given, fields: Mapping[str, Any], read: Reader) -> None:
    default = fields.get(entry.path, "" if entry.default == STEVE else entry.default)
    example = f", such as {STEVE}" if entry.default == STEVE and not default else ""
    shown = f" [{masked(entry.path, default)}]" if default else ""
    answer = _until_right(entry, f"  {entry.question}{example}{shown}: ", read, str(default))
    if answer == "" and entry.path != "wifi.key":
        if entry.path in fields:
            wanted.fields[entry.path] = REMOVE
    elif answer != fields.get(entry.path):
        wanted.fields[entry.path] = answer


def _until_right(entry: Field, question: str, read: Reader, default: str = "") -> str:
    """Ask until the answer can be taken."""
    while True:
        answer = read(question).strip("\r\n") or default
        if not answer and not entry.needed:
            return ""
        wrong = entry.check(answer) if answer else "this one is needed"
        if not wrong:
            return answer
        print(f"    {wrong}")


def _file(wanted: Given, fields: Mapping[str, Any], show: Callable[[str], None], read: Reader) -> None:
    entry = BY_PATH["ca"]
    if "ca" in wanted.fields:
        return
    while True:
        shown = f" [the one on the charger, {fields['ca']}]" if "ca" in fields else ""
        answer = read(f"  {entry.question}{shown}: ").strip()
        if not answer and "ca" in fields:
            return
        try:
            if not answer:
                raise FlashError("wss needs one")
            attach(wanted, "ca", Path(answer).expanduser())
            return
        except FlashError as error:
            show(f"    {error}")
