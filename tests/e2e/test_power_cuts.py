"""The power fails before and in the middle of flash operations of an update, and comes back."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Literal

import pytest

from desk import FILE, NEW, OLD, Desk, chapter
from simulator.interpreter import Interpreter

SPEED = 20
STATUSES = ["Downloading", "Downloaded", "Installing", "Installed"]
EVERY = 13  # the suite tries one cut in so many; a prime, so that operations of each kind have their turn

How = Literal["before", "middle"]


def statuses(desk: Desk) -> list[str]:
    """Return the statuses that the central system got; one in flight at the cut may have come twice, identical."""
    told = [chapter(frame) for frame in desk.story if frame.asks("FirmwareStatusNotification")]
    assert len(told) <= len(STATUSES) + 1, told
    return [status for status, _ in groupby(told)]


async def operations_of_an_update(folder: Path, interpreter: Interpreter) -> int:
    """Return how many flash operations an update takes, from the request to the last acknowledgement."""
    async with Desk(folder, interpreter, speed=SPEED, heap=120 * 1024) as desk:
        desk.web.files = {FILE: desk.update_file()}
        await desk.registered()
        start = desk.chip.operations
        await desk.update()
        await desk.ended()
        assert statuses(desk) == STATUSES
        return desk.chip.operations - start


async def check_cut(folder: Path, interpreter: Interpreter, at: int, how: How) -> None:
    """Cut the power once during an update, and see what the central system makes of it all."""
    async with Desk(folder, interpreter, speed=SPEED, heap=120 * 1024) as desk:
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
        if not answered and not statuses(desk):
            # The request may not have been on flash yet; then the charger knows of none, and says so.
            await desk.central.call(desk.identity, "TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"})
            await desk.until(lambda: statuses(desk) != [], "the triggered status")
            if statuses(desk) == ["Idle"]:
                assert desk.version == OLD
                return
        await desk.ended()
        *course, outcome = statuses(desk)
        assert course == STATUSES[:-1]
        if outcome == "InstallationFailed":
            # Without power a firmware on trial is given up: only then is that the truth.
            assert ("ota_1", "power on") in [(boot.slot, boot.end) for boot in desk.chip.boots]
        else:
            assert outcome == "Installed"
        running, version = ("ota_1", NEW) if outcome == "Installed" else ("ota_0", OLD)
        assert (desk.chip.boots[-1].slot, desk.version) == (running, version)
        assert "VALID" in [record.state for record in desk.chip.otadata()]
        assert not desk.central.violations


async def test_a_power_cut_never_costs_the_firmware_or_a_status(
    tmp_path: Path, interpreter: Interpreter, everything: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    operations = await operations_of_an_update(tmp_path / "uncut", interpreter)
    cuts: list[tuple[int, How]] = [(at, how) for at in range(1, operations + 1) for how in ("before", "middle")]
    chosen = cuts if everything else cuts[::EVERY]
    for at, how in chosen:
        try:
            await check_cut(tmp_path / f"{at}-{how}", interpreter, at, how)
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"power cut {how} flash operation {at} of {operations}: {error}") from error
    with capsys.disabled():
        print(f"\npower cuts: {len(chosen)} of {len(cuts)} ({operations} flash operations)")
