"""Putting the application on a board's VFS: as one file that boot.py mounts, or for developers as many.

What differs is copied. Each file is written under another name, read again and then renamed, so that a board whose
cable was pulled has the old one or the new one. Of a developer's copy main.py is taken away before anything else
changes, and comes last: what is in between never looks like an application.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import build
from environment import REPOSITORY
from flashing.board import Board, ScriptError
from flashing.config import fingerprint
from flashing.errors import FlashError

WHOLE = "application.bin"
FOLDERS = ("ocpp", "firmware", "hw")  # all in them is a developer's copy
LAST = ("boot.py", "main.py")
AT_ROOT = ("application", "boot", "main", "version")  # its modules there, compiled or not
MARKER = "dev"
BLOCK = 4096
INLINE = 128  # bytes: smaller files need no block of their own

# A line of JSON, [path, SHA-256, size], for each file at the root that counts, and all in the application's folders.
LIST = """
import json
def look(folder, names):
    for name in names:
        path = folder + "/" + name
        mode, size = os.stat(path)[0], os.stat(path)[6]
        if mode & 0x4000:
            if folder or name in FOLDERS:
                look(path, os.listdir(path))
        elif folder or name in NAMES or name[-4:] == ".new":
            print(json.dumps([path[1:], sha(path), size]))
look("", os.listdir("/"))
"""

REMOVE = """
for path in PATHS:
    os.remove(path)
    folder = path.rpartition("/")[0]
    while folder and not os.listdir(folder):
        os.rmdir(folder)
        folder = folder.rpartition("/")[0]
"""


def default_version() -> str:
    """Return the version of the application in this folder: what git knows of it."""
    command = ["git", "describe", "--tags", "--always", "--dirty"]
    try:
        answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except OSError:
        return "0.0.0-dev"
    words = answer.stdout.strip().removeprefix("v")
    if answer.returncode or not words:
        return "0.0.0-dev"
    version = words if re.match(r"\d+\.\d", words) else f"0.0.0-{words}"  # no tag yet: the commit alone
    return re.sub(r"[^A-Za-z0-9._+~-]", "-", version)[:32]


@functools.cache
def compiled(version: str) -> dict[str, bytes]:
    """Return the application's files, path -> content."""
    try:
        return build.application(version)
    except build.BuildError as error:
        raise FlashError(f"--version: {error}") from None


@functools.cache
def bundle(version: str) -> bytes:
    """Return the application as one file: the same that updates bring behind MicroPython's image."""
    return build.bundle(compiled(version), version)


def application(version: str, *, dev: bool) -> dict[str, bytes]:
    """Return what has to be on the VFS: path -> content, in the order in which it is written. dev: as many files."""
    boot = (REPOSITORY / "boot.py").read_bytes()
    if not dev:
        return {WHOLE: bundle(version), "boot.py": boot}
    files = {**compiled(version), "boot.py": boot}
    return {path: files[path] for path in sorted(files, key=lambda path: (path in LAST, path))}


@dataclass(frozen=True)
class Plan:
    """What has to be done: paths to remove first, to write, in order, and to remove then."""

    before: list[str]
    write: list[str]
    after: list[str]
    needed: int  # bytes of the VFS that it takes in the worst moment

    @property
    def removed(self) -> int:
        """How many files go for good."""
        return len({*self.before, *self.after} - set(self.write))

    @property
    def is_done(self) -> bool:
        """Whether all is as it should be."""
        return not self.write and not self.before and not self.after


def listed(board: Board, names: tuple[str, ...] = ()) -> dict[str, tuple[str, int]]:
    """Return (SHA-256, size) of the files on the VFS that can belong to the application, and of `names` at its root."""
    names = (*names, WHOLE, *(name + suffix for name in AT_ROOT for suffix in (".py", ".mpy")))
    output = board.run(f"NAMES, FOLDERS = {names!r}, {FOLDERS!r}\n{LIST}", 120)
    return {path: (digest, size) for path, digest, size in map(json.loads, output.splitlines())}


def plan(
    wanted: Mapping[str, bytes], found: Mapping[str, tuple[str, int]], free: int, keep: tuple[str, ...] = ()
) -> Plan:
    """Compare. free: bytes. keep: paths that stay though they are not wanted. FlashError if it does not fit."""
    write = [path for path, content in wanted.items() if found.get(path, ("",))[0] != fingerprint(content)]
    stale = sorted(path for path in found if path not in wanted and path not in keep)
    cut_off = [path for path in stale if path.endswith(".new")]  # of a run that was
    if "main.py" in wanted:
        if "main.py" in found and any(path not in LAST for path in [*write, *stale]):
            write = [*(path for path in write if path != "main.py"), "main.py"]
            stale = ["main.py", *stale]
        before, after = stale, []
    elif _needed(write, wanted, cut_off, found) <= free:
        before, after = cut_off, [path for path in stale if path not in cut_off]
    else:  # the old ones have to make room; main.py goes first
        before, after = sorted(stale, key=lambda path: path != "main.py"), []
    needed = _needed(write, wanted, before, found)
    if write and needed > free:
        raise full(needed, free)
    return Plan(before, write, after, needed)


def _needed(
    write: list[str], wanted: Mapping[str, bytes], before: list[str], found: Mapping[str, tuple[str, int]]
) -> int:
    """Return the bytes that are needed beside what is there."""
    new = sum(blocks(len(wanted[path])) for path in write)
    old = sum(blocks(found[path][1]) for path in before)
    replaced = [blocks(found[path][1]) for path in write if path in found and path not in before]
    # Each replaced file is there twice for a moment. Folders take some blocks, and so does what the charger writes.
    return new - old - sum(replaced) + max(replaced, default=0) + 8 * BLOCK


def blocks(size: int) -> int:
    """Return the bytes that a file of this size takes."""
    return 0 if size <= INLINE else -(-size // BLOCK) * BLOCK


def full(needed: int, free: int) -> FlashError:
    """There is no room: what to do."""
    return FlashError(
        f"the file system of the board is full: {needed // 1024} KiB are needed, {free // 1024} KiB are free. See what "
        "is on it with mpremote ls -r : and remove what is not the charger's (mpremote rm :FILE), or make it anew with "
        "--format, which keeps config.json and loses the log and transactions that wait to be sent"
    )


def carry_out(
    board: Board, todo: Plan, wanted: Mapping[str, bytes], progress: Callable[[int, int], None], free: int
) -> None:
    """Do it. progress(bytes done, bytes in all)."""
    total, done = sum(len(wanted[path]) for path in todo.write), 0

    def gone(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    remove(board, todo.before)
    for path in todo.write:
        try:
            board.put("/" + path, wanted[path], fingerprint(wanted[path]), gone)
        except ScriptError as error:
            if error.is_full:
                raise full(todo.needed, free) from None
            raise FlashError(f"{path} could not be written: {error}") from None
    remove(board, todo.after)


def remove(board: Board, paths: Sequence[str]) -> None:
    """Remove files, and folders that are empty then."""
    if paths:
        board.run(f"PATHS = {['/' + path for path in paths]!r}\n{REMOVE}", 60)
