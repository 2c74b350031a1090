"""What is put on a charger's VFS, from MicroPython's prompt: application, config.json, marker."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from flashing import config, facts, files, ports, questions, rules
from flashing.board import Board
from flashing.errors import FlashError
from flashing.facts import Facts
from flashing.fields import flat
from flashing.show import percent, say, step


class Charger:
    """A board that becomes a charger. version: of the application, "" if it stays as it is; wanted: None, likewise.

    `changed`: something was. `fields`: of its config.json, in the end.
    """

    def __init__(
        self,
        board: Board,
        arguments: Namespace,
        version: str,
        wanted: config.Given | None,
    ) -> None:
        self.board = board
        self.arguments = arguments
        self.version = version
        self.wanted = wanted
        self.changed = False
        self.fields: dict[str, Any] = {}

    def set_up(self) -> None:
        """Put everything on the VFS, from MicroPython's prompt."""
        with step("Board") as line:
            self.board.tell = line.show
            self.board.enter()
            found = facts.ask(self.board)
            line.end(found.describe())
        size = len(files.bundle(self.version)) if self.version else 0
        for remark in facts.judge(found, size, formats=self.arguments.format):
            say(remark)
        existing = read_existing(found)
        if self.wanted:
            self.fields = self.complete(found, existing, self.wanted)
            if self.arguments.format:
                found = self.format(self.wanted)
        if self.version:
            self.put_application(found, self.version)
        if self.wanted:
            self.put_config(found, existing, self.wanted)

    def format(self, wanted: config.Given) -> Facts:
        """Make a new file system. config.json and the files that it names are kept."""
        for path in ("ca", "firmware_key"):
            name = self.fields.get(path)
            if name and name not in wanted.files:
                wanted.files[name] = self.board.get(f"/{name}")
        with step("File system") as line:
            self.board.run(facts.FORMAT, 60)
            found = facts.ask(self.board)
            line.end("new and empty")
        self.changed = True
        return found

    def put_application(self, found: Facts, version: str) -> None:
        """Copy what differs, remove what is left of another application."""
        dev = self._is_developers(found)
        is_frozen = found.is_production and not dev
        wanted = {} if is_frozen else files.application(version, dev=dev)
        keep = ("boot.py",) if is_frozen else (files.WHOLE,) if dev else ()
        if self.arguments.dev is False:
            self.remove_marker(found)
        with step("Application") as line:
            todo = files.plan(wanted, files.listed(self.board), found.free, keep)
            files.carry_out(self.board, todo, wanted, lambda done, total: line.show(percent(done, total)), found.free)
            if not todo.is_done:
                again = files.plan(wanted, files.listed(self.board), found.free, keep)
                if not again.is_done:
                    raise FlashError(f"not all is as it was written: {', '.join(again.write[:5])}. Run this again")
            line.end(described(todo, wanted))
        self.changed |= not todo.is_done
        if dev:
            self.put_marker(found)
        elif found.in_front:
            say(
                f"{found.running} holds application {found.in_front}, which runs in front of what was copied: that is "
                "only the last resort now. Update the charger over the air to run this one, or put it in front: --dev"
            )

    def complete(self, found: Facts, existing: Mapping[str, Any], wanted: config.Given) -> dict[str, Any]:
        """Return the fields that the charger will have; ask for what is missing."""
        fields = config.merged(existing, wanted)
        if sys.stdin.isatty():
            questions.ask(fields, wanted, everything=self.arguments.ask)
            fields = config.merged(existing, wanted)
        for remark in [*config.check(fields, found.names, wanted), *rules.check(fields, found.chip)]:
            say(remark)
        host = str(fields["csms"]).partition("://")[2]
        if ports.is_real(self.board.port) and host.startswith(("localhost", "127.")):
            say(f"csms is {fields['csms']}: to the charger that is itself. Take this computer's address in its network")
        return fields

    def put_config(self, found: Facts, existing: Mapping[str, Any], wanted: config.Given) -> None:
        """Write config.json and the files that it names, if they differ."""
        files_of_it = dict(wanted.files)
        before = flat(existing)
        if before != self.fields or found.config is None:
            files_of_it["config.json"] = config.text(self.fields)
        digests = {path: config.fingerprint(content) for path, content in files_of_it.items()}
        with step("config.json") as line:
            there = files.listed(self.board, tuple(files_of_it)) if files_of_it else {}
            write = [path for path, digest in digests.items() if there.get(path, ("",))[0] != digest]
            for path in write:
                self.board.put(f"/{path}", files_of_it[path], digests[path])
            if "config.json" in write and facts.ask(self.board).config != files_of_it["config.json"].decode():
                raise FlashError("config.json reads otherwise than it was written: run this again")
            line.end(f"{', '.join(write)}: written and read back" if write else "as it should be")
        for change in config.changes(before, self.fields):
            say(change)
        if found.keyed and "password" in wanted.fields:
            self.board.run(facts.FORGET_KEY)
            say("AuthorizationKey, which the central system had set, is removed: the password counts again")
        self.changed |= bool(write) or (found.keyed and "password" in wanted.fields)

    def put_marker(self, found: Facts) -> None:
        """Put the marker of a developer's copy, if it is not there."""
        if files.MARKER not in found.names:
            self.board.run(f'open("/{files.MARKER}", "w").close()')
            self.changed = True
        say("/dev is there: these files run in front of what the slots hold (--no-dev removes both)")

    def remove_marker(self, found: Facts) -> None:
        """Remove it before the files that it stands for."""
        if files.MARKER in found.names:
            self.board.run(f'os.remove("/{files.MARKER}")')
            self.changed = True
            say("/dev is removed: what the slots hold runs in front again")

    def _is_developers(self, found: Facts) -> bool:
        """Whether a developer's copy will run in front of what the slots hold."""
        return bool(self.arguments.dev) or (files.MARKER in found.names and self.arguments.dev is None)


def described(todo: files.Plan, wanted: Mapping[str, bytes]) -> str:
    """Return what was done, in a line."""
    if not wanted:
        done = "it is in the image"
    elif not todo.write:
        done = "as it should be"
    else:
        done = f"{', '.join(todo.write) if len(todo.write) < 3 else f'{len(todo.write)} files'} copied and read back"
    return f"{done}; {todo.removed} older file{'s' * (todo.removed > 1)} removed" if todo.removed else done


def read_existing(found: Facts) -> dict[str, Any]:
    """Return the config.json of the board, {} if it is none."""
    try:
        existing = json.loads(found.config or "{}")
    except ValueError:
        existing = None
    if isinstance(existing, dict):
        return existing
    say("The config.json on the board is no JSON object: nothing of it is kept")
    return {}
