"""Each scenario of tools/scenarios.py ends as an operator would want."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pytest

from desk import SLOT, Desk
from scenarios import SCENARIOS
from simulator.interpreter import Interpreter


@pytest.mark.parametrize("name", SCENARIOS)
async def test_scenario(name: str, tmp_path: Path, interpreter: Interpreter) -> None:
    async with Desk(tmp_path, interpreter, speed=20) as desk:
        problems = await SCENARIOS[name].play(desk)
        assert not problems, "\n".join([*problems, "", *desk.lines])
        if name.startswith("wrong-file") or name == "too-large":
            assert other_slot(tmp_path) == desk.slot1.ljust(SLOT, b"\xff"), "something was written"
        if name in ("server-dies", "power-cut"):
            assert desk.web.requests[-1].status == HTTPStatus.PARTIAL_CONTENT


def other_slot(folder: Path) -> bytes:
    return (folder / "flash.bin").read_bytes()[0x190000:][:SLOT]
