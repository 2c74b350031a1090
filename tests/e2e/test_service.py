"""Safe mode, maintenance, and what Ctrl-C at the serial console leaves behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mpremote.transport_serial import SerialTransport

from desk import CONNECTORS, FILE, OLD, Desk
from environment import REPOSITORY
from simulator.interpreter import Interpreter

SPEED = 20
HEAP = 256 * 1024  # a module that is compiled on the chip needs it
CRASH = "raise RuntimeError('made to crash')"


class CrashingDesk(Desk):
    """Version OLD has an EVSE that crashes as soon as it runs."""

    def update_file(self, version: str = "2.0.0", extra: dict[str, bytes] | None = None) -> bytes:
        evse = (REPOSITORY / "hw" / "evse.py").read_text()
        assert evse.count("    async def run(self):\n") == 1
        evse = evse.replace("    async def run(self):\n", f"    async def run(self):\n        {CRASH}\n")
        return super().update_file(
            version, {**(extra or {}), **({"hw/evse.py": evse.encode()} if version == OLD else {})}
        )


async def test_a_charger_that_crashes_again_and_again_can_still_be_updated(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with CrashingDesk(tmp_path, interpreter, speed=SPEED, heap=HEAP, connectors=2) as desk:
        await desk.logged("[OCPP] registered")
        await desk.until(lambda: len(desk.central.calls("StatusNotification")) >= 3, "three StatusNotifications")
        assert [line for line in desk.lines if "made to crash" in line] == ["RuntimeError: made to crash"] * 3
        assert len(desk.chip.boots) == 4
        assert any("[MAIN] safe mode" in line for line in desk.lines)
        assert [line for line in desk.lines if "reset cause" in line] == [
            "[MAIN] reset cause: power on",
            *["[MAIN] reset cause: hard reset"] * 3,
        ]
        for frame in desk.central.calls("StatusNotification"):
            assert frame.payload["status"] == "Faulted"
            assert (frame.payload["errorCode"], frame.payload["info"]) == ("InternalError", "safe mode")
        assert not desk.chip.level(CONNECTORS[0]["contactor"])

        desk.web.files = {FILE: desk.update_file()}
        await desk.update()
        await desk.ended()
        assert desk.story[-1].payload["status"] == "Installed"
        assert len(desk.chip.boots) == 5
        assert not any("safe mode" in line for line in desk.lines[-20:])
        assert not desk.central.violations


async def test_a_reset_by_the_operator_ends_safe_mode(tmp_path: Path, interpreter: Interpreter) -> None:
    async with CrashingDesk(tmp_path, interpreter, speed=SPEED, heap=HEAP, connectors=1) as desk:
        await desk.logged("[OCPP] registered")
        await desk.central.call(desk.identity, "Reset", {"type": "Soft"})
        await desk.until(lambda: len([line for line in desk.lines if "made to crash" in line]) == 4, "a fourth crash")


async def test_ctrl_c_opens_the_contactor_and_gives_the_prompt_for_an_hour(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    """As mpremote does it: Ctrl-C, the raw REPL by way of a soft reset, and a long command."""
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, connectors=1) as desk:
        await desk.registered()
        desk.chip.plug()
        desk.chip.card("04A2B3C4")
        await desk.until(lambda: desk.chip.power() > 0, "a car that charges")
        async with desk.chip.serial_port() as port:
            transport = await asyncio.to_thread(SerialTransport, port)
            try:
                await asyncio.to_thread(transport.enter_raw_repl, soft_reset=False)
                assert not desk.chip.contactor()
                assert any(line.startswith("[MAIN] stopped") for line in desk.lines)
                await asyncio.to_thread(transport.enter_raw_repl)
                printed = await asyncio.to_thread(transport.exec, "import time; time.sleep(70); print('still here')")
            finally:
                await asyncio.to_thread(transport.close)
        assert printed == b"still here\r\n"
        assert [boot.end for boot in desk.chip.boots] == ["soft reset", ""]


async def test_a_pin_held_at_the_start_gives_the_prompt(tmp_path: Path, interpreter: Interpreter) -> None:
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, others={"maintenance": 0}) as desk:
        await desk.registered()
        desk.chip.hold_pin(0, 0)
        await desk.central.call(desk.identity, "Reset", {"type": "Hard"})
        await desk.logged("[MAIN] stopped")
        desk.chip.hold_pin(0, None)
        seen = len(desk.lines)
        async with desk.chip.serial_port() as port:
            transport = await asyncio.to_thread(SerialTransport, port)
            await asyncio.to_thread(transport.enter_raw_repl, soft_reset=False)
            await asyncio.to_thread(transport.exec_raw_no_follow, "import machine; machine.reset()")
            await desk.until(lambda: any("registered" in line for line in desk.lines[seen:]), "the charger is back", 60)
            await asyncio.to_thread(transport.close)


async def test_the_status_led_tells_what_is_missing(tmp_path: Path, interpreter: Interpreter) -> None:
    """Steady while registered; without Wi-Fi one flash of 200 ms in 1.6 s."""
    async with Desk(tmp_path, interpreter, heap=HEAP, others={"led": 2}) as desk:
        await desk.registered()
        await desk.until(lambda: desk.chip.level(2) == 1, "the LED is on")
        desk.chip.set_link(up=False, ends=True)
        await desk.logged("lost after")
        await desk.until(lambda: desk.chip.level(2) == 0, "the LED is off")
