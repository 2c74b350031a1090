"""Each scenario of tools/scenarios.py ends as an operator would want."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk import Desk
from scenarios import SCENARIOS

from simulator.interpreter import Interpreter


@pytest.mark.parametrize("name", SCENARIOS)
async def test_scenario(name: str, tmp_path: Path, interpreter: Interpreter) -> None:
    async with Desk(tmp_path, interpreter, speed=20) as desk:
        problems = await SCENARIOS[name].play(desk)
        assert not problems, "\n".join([*problems, "", *desk.lines])
