"""A board on the bench: what it has, and how it gets back what the tests change."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from flashing import facts
from flashing.board import BROKEN, Board, ScriptError
from flashing.config import fingerprint
from flashing.errors import FlashError

FOLDER = "/device_tests"
CONFIG = "/config.json"
KEPT = f"{FOLDER}/config.json"  # the charger's own, as long as the tests have put another in its place
BEFORE = f"{FOLDER}/before.json"  # how it was: {"otadata": records, "running": label, "overwritten": label or ""}

# What MicroPython brings; the application that boot.py has found; messages that the central system has not had yet.
LOOK = """
import json, os
from esp32 import Partition
otadata = []
for i in range(2):
    record = bytearray(32)
    Partition("otadata").readblocks(i, record)
    otadata.append(binascii.hexlify(record).decode())
def names(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []
waiting = sum(name.isdigit() for name in names("/data/tx"))
print(json.dumps({"otadata": otadata, "folder": os.getcwd(), "waiting": waiting}))
"""

# The board does each of these two by itself: a cable that is pulled meanwhile does no harm.

# A slot that runs can't be cleared. So the one that ran before runs again, and the other one's record says that its
# trial has failed: boot.py would else start the application there, if the running slot has none.
GO_BACK = f"""
import binascii, json, os, struct
from esp32 import Partition
names = os.listdir("{FOLDER}")
if "config.json" in names:
    os.rename("{KEPT}", "{CONFIG}")
before = {{}}
if "before.json" in names:
    with open("{BEFORE}") as f:
        before = json.load(f)
if before and Partition(Partition.RUNNING).info()[4] != before["running"]:
    sequence = 4 + int(before["running"][-1]) - 1
    for i, state in enumerate((2, 3)):  # VALID, INVALID
        number = struct.pack("<I", sequence - i)
        crc = struct.pack("<II", state, binascii.crc32(number, 0xFFFFFFFF))
        Partition("otadata").writeblocks(i, number + bytes((255,)) * 20 + crc + bytes((255,)) * 4064)
    print("reset")
"""

PUT_BACK = f"""
if before.get("overwritten"):
    Partition(before["overwritten"]).ioctl(6, 0)
for i, record in enumerate(before.get("otadata", ())):
    record, there = binascii.unhexlify(record), bytearray(32)
    Partition("otadata").readblocks(i, there)
    if there != record:
        Partition("otadata").writeblocks(i, record + bytes((255,)) * 4064)
for name in names:
    if name not in ("config.json", "before.json"):
        os.remove("{FOLDER}/" + name)
if "before.json" in names:
    os.remove("{BEFORE}")
os.rmdir("{FOLDER}")
"""


class Bench(Board):
    """A board that tests run on.

    After start(): `facts`; `folder` that boot.py has left ("/": no application); `waiting` transaction messages.
    """

    facts: facts.Facts
    folder = ""
    waiting = 0
    is_changed = False  # there is something to put back
    _otadata: Sequence[str] = ()

    def start(self) -> str:
        """Enter the prompt, put back what an earlier run has left changed, look around; return what there is to say."""
        self.enter()
        self.facts = facts.ask(self)
        remark = ""
        if FOLDER[1:] in self.facts.names:
            self.put_back(restart=False)
            self.restart()
            self.facts = facts.ask(self)
            remark = "an earlier run was cut off: the board's config.json and otadata are put back as they were"
        found: dict[str, Any] = json.loads(self.run(LOOK))
        self.folder, self.waiting = found["folder"], found["waiting"]
        self._otadata = found["otadata"]
        return remark

    def keep(self, overwritten: str) -> None:
        """Note on the board what put_back() needs. overwritten: label of the slot that will be, "": none."""
        self.is_changed = True
        before = {"otadata": self._otadata, "running": self.facts.running, "overwritten": overwritten}
        self.write(BEFORE, json.dumps(before).encode())

    def restart(self) -> None:
        """Reset the board as its button does, and enter the prompt again."""
        self.reset()
        try:
            self._until(5, b"rst:")  # what the chip's ROM says; an earlier Ctrl-C would prevent the reset
        except BROKEN:
            self._open_again(time.monotonic() + 15)  # a USB port that is the chip's own
        self.enter()

    def write(self, path: str, content: bytes) -> None:
        """Write a file, read it again, and let it take the place of the one before it."""
        self.put(path, content, fingerprint(content))

    def configure(self, fields: dict[str, Any]) -> None:
        """Put a config.json in the place of the charger's own, which is kept beside until put_back()."""
        assert self.facts.config is not None
        self.write(KEPT, self.facts.config.encode())
        self.write(CONFIG, json.dumps(fields).encode())

    def put_back(self, *, restart: bool = True) -> None:
        """Undo everything, from the prompt, and reset the board unless others do. The other slot is empty then."""
        if self.run(GO_BACK, 30).strip() == "reset":
            self.restart()
            if self.run(GO_BACK, 30).strip():
                raise FlashError("the board does not go back to the slot that ran before")
        self.run(PUT_BACK, 30)
        self.is_changed = False
        if restart:
            self.reset()

    def stream(self, script: str, show: Callable[[str], None], silence: float = 60) -> None:
        """Run a script and hand on its lines as they come; ScriptError. silence: s that may pass between two bytes."""
        assert self._link
        try:
            self._link.exec_raw_no_follow(script)
            output, errors = self._lines(show, silence), self._until(10, b"\x04")
        except BROKEN as error:
            raise self._lost(error) from None
        if not errors.endswith(b"\x04"):
            raise FlashError(f"the board has said nothing for {silence:.0f} s, after: {output or 'nothing'}")
        if errors != b"\x04":
            raise ScriptError(errors[:-1].decode(errors="replace"))

    def _lines(self, show: Callable[[str], None], silence: float) -> str:
        """Hand on what comes up to the end of the output; return the last line of it."""
        rest, last, heard = b"", "", time.monotonic()
        while time.monotonic() < heard + silence:
            while not rest.endswith(b"\x04") and self._serial.in_waiting:
                rest += self._serial.read(1)
                heard = time.monotonic()
                if rest.endswith(b"\n"):
                    break
            if not rest.endswith((b"\n", b"\x04")):
                time.sleep(0.002)
                continue
            last = rest.rstrip(b"\r\n\x04").decode(errors="replace")
            if last:
                show(last)
            if rest.endswith(b"\x04"):
                break
            rest = b""
        return last
