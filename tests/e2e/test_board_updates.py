"""Updates of chargers with the application frozen into their image."""

from __future__ import annotations

from pathlib import Path

import build
from desk import FILE, NEW, OLD, Desk, chapter
from scenarios import SUCCESS
from simulator.interpreter import Interpreter


class FrozenDesk(Desk):
    """A desk whose charger has the real application frozen into its image."""

    def update_file(self, version: str = NEW, extra: dict[str, bytes] | None = None) -> bytes:
        return build.frozen_image(version, extra)

    async def fetch(self, data: bytes) -> str:
        """Have it updated by a file; return what became of it."""
        seen = len(self.story)
        self.web.files = {FILE: data}
        await self.update()
        await self.ended(seen)
        return " ".join(chapter(frame) for frame in self.story[seen:])


async def test_a_frozen_charger_is_updated_comes_back_and_refuses(tmp_path: Path, interpreter: Interpreter) -> None:
    async with FrozenDesk(tmp_path, interpreter, speed=20, heap=120 * 1024) as desk:
        await desk.registered()
        assert desk.version == OLD
        assert await desk.fetch(desk.update_file()) == SUCCESS.partition(" ")[2]
        assert desk.version == NEW
        assert f"[FW-OCPP] New version: {NEW}" in desk.lines[-80:] or any(
            f"New version: {NEW}" in line for line in desk.lines
        )

        broken = desk.update_file("3.0.0", {"application.py": b"import machine\nmachine.reset()\n"})
        assert (await desk.fetch(broken)).split()[-1] == "InstallationFailed"
        assert desk.version == NEW

        operations = desk.chip.operations
        bundle = build.update_file(build.made_image(), build.bundle(build.application("4.0.0"), "4.0.0"))
        assert (await desk.fetch(bundle)).split() == ["Downloading", "Downloaded", "InstallationFailed"]
        assert any("no application is frozen into this image" in line for line in desk.lines)
        assert desk.chip.operations - operations < 100, "nothing was erased for it but records"
        assert desk.central.violations == []


async def test_a_stock_charger_becomes_a_frozen_one(tmp_path: Path, interpreter: Interpreter) -> None:
    async with Desk(tmp_path, interpreter, speed=20, heap=120 * 1024) as desk:
        await desk.registered()
        desk.web.files = {FILE: build.frozen_image(NEW)}
        await desk.update()
        await desk.ended()
        assert " ".join(chapter(frame) for frame in desk.story) == SUCCESS
        assert f"[BOOT] ota_1: application {NEW}" in desk.lines
