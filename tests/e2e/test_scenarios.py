"""Each scenario of tools/scenarios.py ends as an operator would want."""

from __future__ import annotations

import itertools
from http import HTTPStatus
from pathlib import Path

import pytest

from desk import SLOT, Desk
from scenarios import KINDS, SCENARIOS
from simulator.interpreter import Interpreter


@pytest.mark.parametrize("name", SCENARIOS)
async def test_scenario(name: str, tmp_path: Path, interpreter: Interpreter) -> None:
    scenario = SCENARIOS[name]
    async with Desk(tmp_path, interpreter, speed=20, **scenario.options()) as desk:
        problems = await scenario.play(desk)
        assert not problems, "\n".join([*problems, "", *desk.lines])
        if name.startswith("wrong-") or name in ("too-large", "unsigned"):
            assert other_slot(tmp_path) == desk.slot1.ljust(SLOT, b"\xff"), "something was written"
        if name in ("server-dies", "power-cut"):
            assert desk.web.requests[-1].status == HTTPStatus.PARTIAL_CONTENT


ANY_KIND = [name for name, scenario in SCENARIOS.items() if scenario.any_kind]


# One kind for each: what each kind does to an update is in test_package_updates.py.
@pytest.mark.parametrize(("name", "kind"), list(zip(ANY_KIND, itertools.cycle(list(KINDS)[1:]), strict=False)))
async def test_a_package_goes_the_same_way(name: str, kind: str, tmp_path: Path, interpreter: Interpreter) -> None:
    scenario = SCENARIOS[name]
    async with Desk(tmp_path, interpreter, speed=20, **scenario.options(kind)) as desk:
        problems = await scenario.play(desk, kind)
        assert not problems, "\n".join([*problems, "", *desk.lines])


def other_slot(folder: Path) -> bytes:
    return (folder / "flash.bin").read_bytes()[0x190000:][:SLOT]
