"""The power fails before and in the middle of flash operations of an update, and comes back.

An update is recorded once, with what the central system knew at each flash operation. Each cut then starts from the
flash that it would have left, so that only the recovery runs. A few cuts are made live, in the midst of an update.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pytest

import build
from central_system import Frame
from desk import FILE, NEW, OLD, Desk, chapter
from packages_keys import make_key
from scenarios import KINDS, UNREACHABLE
from simulator.flash import BLOCK
from simulator.interpreter import Interpreter
from simulator.recording import PowerCut, Recording, blob, slot_on_trial

SPEED = 20
HEAP = 120 * 1024
STATUSES = ["Downloading", "Downloaded", "Installing", "Installed"]
GONE_BACK = [*STATUSES[:-1], "InstallationFailed"]
# The suite tries the cuts at one operation in so many; primes, so that operations of each kind have their turn.
EVERY = 7
EVERY_OF_A_PACKAGE = 17
EVERY_AHEAD = 5
EVERY_LIVE = 53
EVERY_LIVE_OF_ALL = 11  # ... with --all

How = Literal["before", "middle"]


def statuses(desk: Desk) -> list[str]:
    """Return the firmware statuses that the central system got."""
    return [chapter(frame) for frame in desk.story if frame.asks("FirmwareStatusNotification")]


def failed(how: str, at: int, operations: int, error: Exception, desk: Desk) -> AssertionError:
    log = "\n".join(desk.lines)
    return AssertionError(f"power cut {how} flash operation {at} of {operations}: {error}\n{log}")


# ------------------------------------------------------------------------------------------------------------ recorded


@dataclass(frozen=True)
class Uncut:
    """An update that nothing disturbed, and how many flash operations there were by the time of each event.

    What the central system had got by then was sent before the next operation, with or without a cut. What it got
    later may have been on its way for some operations: only the flash tells whether its answer arrived.
    """

    recording: Recording
    before: dict[str, Any]  # what the journal held then
    started: int  # UpdateFirmware was about to be sent
    accepted: int  # the central system had the answer to UpdateFirmware
    told: list[tuple[int, str]]  # it had got this status

    @property
    def course(self) -> list[str]:
        return [status for _, status in self.told]


def journal(flash: bytes) -> dict[str, Any]:
    """Return the firmware's record of the update."""
    record: dict[str, Any] = json.loads(blob(flash, "arus", "update") or b'{"unsent": []}')
    return record


async def record(desk: Desk, file: bytes, date: datetime | None = None) -> Uncut:
    """Run an update and return its recording."""
    told = []
    accepted = []

    def note(frame: Frame) -> None:
        if frame.asks("FirmwareStatusNotification"):
            told.append((desk.chip.operations, chapter(frame)))
        elif frame.incoming and frame.action == "UpdateFirmware":
            accepted.append(desk.chip.operations)

    desk.web.files = {FILE: file}
    await desk.registered()
    desk.central.observers.append(note)
    before = journal((desk.chip.folder / "flash.bin").read_bytes())
    seen, started = len(desk.story), desk.chip.operations
    await desk.update(date=date)
    await desk.ended(seen)
    desk.central.observers.clear()
    await desk.chip.power_off()  # nothing is written any more
    return Uncut(Recording(desk.chip.folder), before, started, accepted[0], told)


def check_flash(uncut: Uncut, cut: PowerCut) -> list[str]:
    """Compare the journal on flash with what the central system knew by then; return the statuses still to come."""
    record = journal(cut.flash)
    told = [status for operations, status in uncut.told if operations < cut.operation]
    if record == uncut.before:
        assert uncut.accepted >= cut.operation, "the request was accepted, and is not on flash"
        assert told == [] == record["unsent"]
        return []
    status = record.get("last") or record.get("status")
    reported = uncut.course[: uncut.course.index(status) + 1] if status in uncut.course else []
    unsent = [status for status in record["unsent"] if status != "DownloadScheduled"]  # which OCPP 1.6 doesn't know
    acknowledged = reported[: len(reported) - len(unsent)]
    assert acknowledged + unsent == reported, "a status is lost or invented"
    # The power may have failed right behind the last operation, and that may be what made it count as acknowledged.
    answered = [status for operations, status in uncut.told if operations < cut.operation - 1]
    assert answered[: len(acknowledged)] == acknowledged, "it counts as acknowledged before it was"
    assert len(told) <= len(acknowledged) + 1, "more than the message in flight will be repeated"
    to_come = uncut.course[len(acknowledged) :]
    if to_come and slot_on_trial(cut.flash) is not None:
        to_come[-1] = "InstallationFailed"  # without power a firmware on trial is given up
    return to_come


async def check_recovery(desk: Desk, cut: PowerCut, to_come: list[str]) -> None:
    """Switch the charger on after a cut and see what the central system makes of it all."""
    outcome = to_come[-1] if to_come else journal(cut.flash).get("last")
    await desk.start_from(cut.flash)
    await desk.until(lambda: len(statuses(desk)) >= len(to_come), f"the rest of the statuses, {to_come}")
    await desk.registered()
    # Nothing is left to do, and no status follows: the charger says Idle when it is asked, and nothing else.
    await desk.central.call(desk.identity, "TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"})
    await desk.until(lambda: len(statuses(desk)) > len(to_come), "the triggered status")
    assert statuses(desk) == [*to_come, "Idle"], f"{to_come} were to come"
    running, version = ("ota_1", NEW) if outcome == "Installed" else ("ota_0", OLD)
    assert (desk.chip.boots[-1].slot, desk.version) == (running, version)
    assert "VALID" in [record.state for record in desk.chip.otadata()]
    assert not desk.central.violations


async def check_cuts(desk: Desk, uncut: Uncut, first: int, every: int, last: int | None = None) -> str:
    """Examine the flash of each cut in a range of operations; recover from each so-manieth. Return the counts."""
    cuts = tried = 0
    operations = len(uncut.recording.operations)
    for cut in uncut.recording.power_cuts(range(first, (last or operations) + 1)):
        cuts += 1
        try:
            to_come = check_flash(uncut, cut)
            if (cut.operation - first) % every == 0:
                await check_recovery(desk, cut, to_come)
                tried += 1
        except (AssertionError, TimeoutError) as error:
            raise failed(cut.how, cut.operation, operations, error, desk) from error
    return f"{tried} of {cuts}, the flash of all examined"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_power_cut_never_costs_the_firmware_or_a_status(
    kind: str, tmp_path: Path, interpreter: Interpreter, everything: bool, tell: Callable[[str], None]
) -> None:
    key = None if kind == "plain" else make_key("ecdsa")
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, record=True, key=key) as desk:
        uncut = await record(desk, KINDS[kind](desk, desk.update_file()))
        assert uncut.course == STATUSES
        every = EVERY if kind == "plain" else EVERY_OF_A_PACKAGE
        tried = await check_cuts(desk, uncut, uncut.started + 1, 1 if everything else every)
    tell(f"power cuts, {kind}: {tried}")


async def test_a_power_cut_while_the_slot_is_erased_ahead_costs_nothing(
    tmp_path: Path, interpreter: Interpreter, everything: bool, tell: Callable[[str], None]
) -> None:
    """UpdateFirmware comes a minute or two before its retrieveDate."""
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, record=True) as desk:
        uncut = await record(desk, desk.update_file(), datetime.now(UTC) + timedelta(minutes=2))
        assert uncut.course == STATUSES
        blocks = [operation for operation in uncut.recording.operations if operation.length == BLOCK]
        assert [operation.address for operation in blocks] == list(range(0x190000, 0x190000 + len(desk.slot1), BLOCK))
        erased = uncut.recording.operations.index(blocks[-1]) + 1
        tried = await check_cuts(
            desk, uncut, uncut.started + 1, 1 if everything else EVERY_AHEAD, last=min(erased + 1, uncut.told[0][0])
        )
    tell(f"power cuts while erasing ahead: {tried}")


async def test_a_power_cut_while_the_charger_goes_back_leaves_it_on_the_old_firmware(
    tmp_path: Path, interpreter: Interpreter, everything: bool, tell: Callable[[str], None]
) -> None:
    configuration = {"TrialDeadline": 10}
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, record=True, configuration=configuration) as desk:
        main = UNREACHABLE + build.application(NEW)["main.py"]  # never gets to the central system
        uncut = await record(desk, desk.update_file(extra={"main.py": main}))
        assert uncut.course == GONE_BACK
        installing = uncut.told[1][0] + 1  # the first operation after the central system was told Downloaded
        tried = await check_cuts(desk, uncut, installing, 1 if everything else EVERY)
    tell(f"power cuts while going back: {tried}")


async def test_a_power_cut_in_the_update_after_one_that_went_back_costs_nothing_either(
    tmp_path: Path, interpreter: Interpreter, everything: bool, tell: Callable[[str], None]
) -> None:
    """The records of the slots still name the firmware that was given up."""
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, record=True) as desk:
        await record(desk, desk.update_file(extra={"main.py": b"raise RuntimeError('made to crash')\n"}))
        await desk.start_from((desk.chip.folder / "flash.bin").read_bytes())
        uncut = await record(desk, desk.update_file())
        assert uncut.course == STATUSES
        tried = await check_cuts(desk, uncut, uncut.started + 1, 1 if everything else EVERY)
    tell(f"power cuts after going back: {tried}")


# ---------------------------------------------------------------------------------------------------------------- live


def course(desk: Desk) -> list[str]:
    """Return the statuses that the central system got; one in flight at the cut may have come twice, identical."""
    told = statuses(desk)
    assert len(told) <= len(STATUSES) + 1, told
    return [status for status, _ in groupby(told)]


async def operations_of_an_update(folder: Path, interpreter: Interpreter) -> int:
    """Return how many flash operations an update takes, from the request to the last acknowledgement."""
    async with Desk(folder, interpreter, speed=SPEED, heap=HEAP) as desk:
        desk.web.files = {FILE: desk.update_file()}
        await desk.registered()
        start = desk.chip.operations
        await desk.update()
        await desk.ended()
        return desk.chip.operations - start


async def check_live_cut(desk: Desk, at: int, how: How) -> None:
    """Cut the power once during an update, and see what the central system makes of it all."""
    desk.web.files = {FILE: desk.update_file()}
    await desk.registered()
    desk.chip.cut_power(at, how)
    answered = False
    try:
        await desk.update()
        answered = True
    except ConnectionError:
        pass  # the cut came first
    await desk.until(lambda: "power on" in [boot.cause for boot in desk.chip.boots[1:]], "the power cut")
    before = len(desk.central.calls("StatusNotification"))
    await desk.until(lambda: len(desk.central.calls("StatusNotification")) > before, "the registration after it")
    if not answered and not course(desk):
        # The request may not have been on flash yet; then the charger knows of none, and says so.
        await desk.central.call(desk.identity, "TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"})
        await desk.until(lambda: course(desk) != [], "the triggered status")
        if course(desk) == ["Idle"]:
            assert desk.version == OLD
            return
    await desk.ended()
    *rest, outcome = course(desk)
    assert rest == STATUSES[:-1]
    if outcome == "InstallationFailed":
        # Without power a firmware on trial is given up: only then is that the truth.
        assert ("ota_1", "power on") in [(boot.slot, boot.end) for boot in desk.chip.boots]
    else:
        assert outcome == "Installed"
    running, version = ("ota_1", NEW) if outcome == "Installed" else ("ota_0", OLD)
    assert (desk.chip.boots[-1].slot, desk.version) == (running, version)
    assert "VALID" in [record.state for record in desk.chip.otadata()]
    assert not desk.central.violations


async def test_a_power_cut_in_the_midst_of_an_update_does_what_the_recorded_ones_do(
    tmp_path: Path, interpreter: Interpreter, everything: bool, tell: Callable[[str], None]
) -> None:
    operations = await operations_of_an_update(tmp_path / "uncut", interpreter)
    cuts: list[tuple[int, How]] = [(at, how) for at in range(1, operations + 1) for how in ("before", "middle")]
    chosen = cuts[:: EVERY_LIVE_OF_ALL if everything else EVERY_LIVE]
    for at, how in chosen:
        async with Desk(tmp_path / f"{at}-{how}", interpreter, speed=SPEED, heap=HEAP) as desk:
            try:
                await check_live_cut(desk, at, how)
            except (AssertionError, TimeoutError) as error:
                raise failed(how, at, operations, error, desk) from error
    tell(f"power cuts, live: {len(chosen)} of {len(cuts)}")
