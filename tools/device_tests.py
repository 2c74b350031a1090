"""The tests on a board, for tools/test.py --device PORT: what runs on it by itself, then the whole charger.

Everything that is changed is put back in the end, also after Ctrl-C: config.json and which slot starts. Only what the
slot that doesn't run has held is lost. If the cable is pulled, the next run puts the rest back first.
"""

from __future__ import annotations

import functools
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Self

from device import on_board
from device.bench import KEPT, Bench
from device.charger import Charger
from device.service import Failed, Progress
from environment import ProgressLine
from flashing import show
from flashing.board import ScriptError
from flashing.errors import FlashError
from unit_tests import Outcome

Test = Callable[[Progress], Outcome]
Told = Callable[[Progress], list[str]]

# In this order; what memory finds is what the refused update has left of it.
TESTS = (
    *("partition", "nvs", "image", "times", "restart"),
    *("wifi", "registration", "refusal", "memory", "rollback", "update"),
)
SERVICE = ("wifi", "registration", "refusal", "rollback", "update")
OVERWRITING = ("partition", "times", "refusal", "rollback", "update")  # the slot that doesn't run
NEEDS = {"refusal": "registration", "rollback": "registration", "update": "registration", "registration": "wifi"}
MARK = b"kept over a reset"

SET = f"""
import esp32
nvs = esp32.NVS("test")
nvs.set_blob("restart", {MARK!r})
nvs.commit()
with open("/device_tests/kept", "wb") as f:
    f.write({MARK!r})
"""
GET = """
import esp32
nvs, value = esp32.NVS("test"), bytearray(64)
value = bytes(value[:nvs.get_blob("restart", value)])
nvs.erase_key("restart")
nvs.commit()
with open("/device_tests/kept", "rb") as f:
    print([value, f.read(), esp32.Partition(esp32.Partition.RUNNING).info()[4]])
"""


def chosen(names: list[str]) -> list[str]:
    """Return the tests that `names` ask for, all if there are none, with those that they need; ValueError."""
    unknown = set(names) - set(TESTS)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: on a board there are {', '.join(TESTS)}")
    wanted = set(names or TESTS)
    for name in (*SERVICE[::-1], *SERVICE[::-1]):
        if name in wanted and name in NEEDS:
            wanted.add(NEEDS[name])
    return [name for name in TESTS if name in wanted]


class Session:
    """The tests on one board. Use it with `with`. options: of the command line. FlashError if there is no board."""

    def __init__(self, port: str, names: list[str], options: Namespace) -> None:
        self.names = chosen(names)
        self.options = options
        self.board = Bench(port)
        self.charger = Charger(self.board, options)
        self.reasons: dict[str, str] = {}  # to skip tests

    def __enter__(self) -> Self:
        self.board.open()
        try:
            self._look_around()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _look_around(self) -> None:
        with show.step("Board") as line:
            self.board.tell = line.show
            remark = self.board.start()
            self.board.tell = lambda _: None
            line.end(self.board.facts.describe())
        if remark:
            show.say(remark)
        found = self.board.facts
        reason = "" if len(found.slots) == 2 else f"{len(found.slots)} OTA slots, two are needed"
        if not reason and set(self.names) & set(OVERWRITING):
            reason = self._consent()
        other = next(iter(found.slots.keys() - {found.running}), "")
        self.board.keep("" if reason or not set(self.names) & set(OVERWRITING) else other)
        charger = self.charger.reason_to_skip() if set(self.names) & set(SERVICE) else ""
        for name in self.names:
            if name in OVERWRITING and reason:
                self.reasons[name] = reason
            elif name in SERVICE and charger:
                self.reasons[name] = charger

    def _consent(self) -> str:
        """Ask whether the other slot may be written over; return why not."""
        other = next(label for label in self.board.facts.slots if label != self.board.facts.running)
        question = f"{other}, the slot that does not run, is written over: what an update left there is lost. Go on?"
        if not self.options.yes and not sys.stdin.isatty():
            return f"it writes over {other}, and there is no terminal to ask you: --yes agrees"
        try:
            show.agree(question, yes=self.options.yes)
        except FlashError:
            return f"it writes over {other}, and you did not agree"
        return ""

    def tests(self) -> Iterator[tuple[str, Test]]:
        """Give each test: its name, and what runs it."""
        for name in self.names:
            yield name, functools.partial(self._run, name)

    def _run(self, name: str, progress: Progress) -> Outcome:
        """Run a test; return its outcome. A connection that is lost fails it, and the tests behind it are skipped."""
        needed = NEEDS.get(name, "")
        reason = self.reasons.get(name) or (f"no {needed}" if needed in self.reasons else "")
        if reason:
            self.reasons[name] = reason
            return Outcome(name, 0, 0, 1, "", f"  skipped: {reason}\n")
        try:
            if name in SERVICE:
                told: Told = getattr(self.charger, name)
                return passed(name, told(progress))
            self.charger.pause()
            if name == "memory" and self.charger.service:
                self.board.enter()
            return (
                passed(name, self._restart())
                if name == "restart"
                else on_board.run(self.board, f"test_{name}", progress)
            )
        except (Failed, ScriptError) as error:
            self.reasons[name] = f"{name} failed"
            return failed(name, str(error))
        except FlashError as error:
            for other in self.names:
                self.reasons.setdefault(other, "the board can't be reached any more")
            return failed(name, str(error))

    def _restart(self) -> list[str]:
        """What was written has to be there after a reset."""
        running = self.board.facts.running
        self.board.enter()
        self.board.run(SET)
        self.board.restart()
        found = self.board.run(GET).strip()
        if found != repr([MARK, MARK, running]):
            raise Failed(f"NVS, file and running slot after a reset are {found}, and not {[MARK, MARK, running]}")
        return []

    def _leave(self) -> None:
        """Put back what was changed, and let the charger start."""
        try:
            self.charger.close()
            if not self.board.is_changed:
                self.board.abandon()
                return
            line = ProgressLine("Putting back config.json and otadata")
            try:
                self.board.enter()
                self.board.put_back()
            except (FlashError, KeyboardInterrupt) as error:
                line.end("failed")
                raise FlashError(
                    f"{error or 'Interrupted'}\nThe board still has what the tests put there. Run this again: it puts "
                    f"everything back first.\nThe charger's own config.json is {KEPT} on the board, if that is there."
                ) from None
            else:
                line.end("done; the board restarts")
        finally:
            self.board.close()


def passed(name: str, told: list[str]) -> Outcome:
    """A test that has passed, with what it has to tell."""
    return Outcome(name, 1, 0, 0, "", "".join(f"  {line}\n" for line in told))


def failed(name: str, text: str) -> Outcome:
    """A test that has failed."""
    return Outcome(name, 0, 1, 0, text, f"  {text.rstrip()}\n")
