"""The application crashes while a car charges: the contactor opens, and the transaction ends with a reason."""

from __future__ import annotations

from pathlib import Path

from desk import CHARGING_HEAP, OLD, Desk
from environment import REPOSITORY
from simulator.interpreter import Interpreter

BOMB = """
async def bomb():
    if machine.reset_cause() == machine.PWRON_RESET:
        await asyncio.sleep(40)
        raise RuntimeError("made to crash")
    await asyncio.Event().wait()


async def run():
"""


class Bombed(Desk):
    """A desk whose charger's application crashes 40 s after the power came."""

    def update_file(self, version: str = OLD, extra: dict[str, bytes] | None = None) -> bytes:
        main = (REPOSITORY / "main.py").read_text()
        main = main.replace("async def run():\n", BOMB, 1).replace("tasks = [", "tasks = [bomb(), ", 1)
        return super().update_file(version, {"main.py": main.encode(), **(extra or {})})


async def test_a_crash_leaves_no_contactor_closed(tmp_path: Path, interpreter: Interpreter) -> None:
    async with Bombed(tmp_path, interpreter, connectors=1, heap=CHARGING_HEAP, speed=20) as desk:
        await desk.registered()
        desk.chip.plug()
        desk.chip.card("04A2B3C4")
        await desk.until(lambda: desk.chip.contactor(), "the car charges")
        await desk.until(lambda: not desk.chip.contactor(), "the contactor opens")
        assert len(desk.chip.boots) == 1, "it opens before the reset"
        stop = await desk.central.wait_for("StopTransaction")
        assert stop.payload["reason"] == "Reboot"
        assert [boot.cause for boot in desk.chip.boots] == ["power on", "reset"]
        assert desk.central.violations == []
