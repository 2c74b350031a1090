"""Connecting, updating, going back and reconnecting in a loop: heap, descriptors and tasks end where they began.

The chip's time is sped up: the hour that `--all` takes is three minutes. The suite's loops are shorter.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from desk import Desk, chapter
from environment import REPOSITORY
from scenarios import UNREACHABLE
from simulator.interpreter import Interpreter
from simulator.recording import blob
from webserver import Fault

SPEED = 20
HOUR = 3600  # seconds of the chip's time
SHORT = 240
HEAP = 140 * 1024  # the probe needs some
QUIET = 5  # probes after a registration; the first ping comes after fifteen
BLOCK = 16  # bytes: the least that anything takes of the heap
SPREAD = 2048  # bytes of the heap by which one start differs from another; in one run nothing differs

# Inside the charger: tells every two seconds, while it is registered, what is in use.
PROBE = b"""
import asyncio, gc
import ffi

tasks = []

def counting(create_task):
    def create_and_count(coroutine):
        task = create_task(coroutine)
        tasks.append(task)
        return task
    return create_and_count

asyncio.create_task = asyncio.core.create_task = counting(asyncio.core.create_task)
fcntl = ffi.open(None).func("i", "fcntl", "ii")

async def run(session):
    while True:
        await asyncio.sleep(2)
        tasks[:] = [task for task in tasks if not task.done()]
        if session.registered:
            descriptors = sum(fcntl(number, 1) >= 0 for number in range(256))
            gc.collect()
            print("[PROBE]", gc.mem_alloc(), descriptors, len(tasks))
"""
GATHER = b"await asyncio.gather("


class Use(NamedTuple):
    """What a charger has in use."""

    heap: int
    descriptors: int
    tasks: int


class ProbedDesk(Desk):
    """A desk whose charger tells what it has in use, with files on its web server that go wrong in several ways."""

    def update_file(self, version: str = "2.0.0", extra: dict[str, bytes] | None = None) -> bytes:
        main = (REPOSITORY / "main.py").read_bytes()
        assert main.count(GATHER) == 1
        main = b"import probe\n" + main.replace(GATHER, GATHER + b"probe.run(session), ")
        return super().update_file(version, {"main.py": main, "probe.py": PROBE, **(extra or {})})

    async def ready(self) -> None:
        """Put the files on the web server and wait for the charger."""
        unreachable = self.update_file("3.0.0", {"main.py": UNREACHABLE + (REPOSITORY / "main.py").read_bytes()})
        damaged = bytearray(unreachable)
        damaged[-1] ^= 1
        names = ("damaged.bin", "damaged-and-cut.bin", "silent.bin")
        self.web.files = {"unreachable.bin": unreachable, **{name: bytes(damaged) for name in names}}
        self.web.faults = [Fault("damaged-and-cut.bin", cut_after=30_000), Fault("silent.bin", stall_after=30_000)]
        await self.registered()

    async def start_of_download(self, path: str) -> None:
        requests = len(self.web.requests)
        await self.update(path, retries=1)
        await self.until(lambda: len(self.web.requests) > requests, f"a request for {path}")

    async def fetch(self, *paths: str, story: str) -> None:
        """Have these files fetched, each in place of the one before, and compare what is told."""
        seen = len(self.story)
        for path in paths:
            await self.start_of_download(path)
        await self.ended(seen)
        told = " ".join(chapter(frame) for frame in self.story[seen:])
        assert told == story, f"{told}\n" + "\n".join(self.lines[-60:])

    async def use(self) -> Use:
        """Have the connection lost, the next one refused; return what is in use ten seconds after the one then."""
        seen = len(self.lines)
        self.central.refusal = HTTPStatus.SERVICE_UNAVAILABLE
        self.central.drop(self.identity)
        await self.until(lambda: any("503" in line for line in self.lines[seen:]), "a refused connection")
        self.central.refusal = None
        await self.until(lambda: len(self.probes(seen)) >= QUIET, "what is in use")
        await self.registered()
        return self.probes(seen)[QUIET - 1]

    def probes(self, since: int) -> list[Use]:
        """Return what was in use since the charger registered; since: a line before that."""
        _, registered, lines = "\n".join(self.lines[since:]).rpartition("[OCPP] registered")
        probes = [line.split()[1:] for line in lines.split("\n") if line.startswith("[PROBE]")]
        return [Use(*map(int, probe)) for probe in probes if registered]

    def kept(self) -> object:
        """Return the record of the updates that is on flash."""
        return json.loads(blob((self.chip.folder / "flash.bin").read_bytes(), "arus", "update") or b"null")


async def test_reconnects_and_failed_downloads_leave_nothing_behind(
    tmp_path: Path, interpreter: Interpreter, everything: bool, tell: Callable[[str], None]
) -> None:
    """In one run of the firmware."""
    async with ProbedDesk(tmp_path, interpreter, speed=SPEED, heap=HEAP) as desk:
        await desk.ready()
        uses: list[Use] = []
        end = time.monotonic() + (HOUR if everything else SHORT) / SPEED
        while time.monotonic() < end or len(uses) < 7:
            await desk.fetch("missing.bin", story="Downloading DownloadFailed")
            await desk.fetch("damaged-and-cut.bin", story="Downloading Downloaded InstallationFailed")
            superseded = "Downloading Downloading Downloaded InstallationFailed"
            await desk.fetch("silent.bin", "damaged.bin", story=superseded)
            uses.append(await desk.use())
        assert len(desk.chip.boots) == 1
        assert {use[1:] for use in uses} == {uses[0][1:]}
        del uses[0]  # what comes once, with the first of all, is no leak
        # A block a time would be a leak. The least of half of them: a message or a timer may be on its way just then.
        half = len(uses) // 2
        growth = min(use.heap for use in uses[half:]) - min(use.heap for use in uses[:half])
        assert growth < BLOCK * half, uses
        assert not desk.central.violations
    tell(f"endurance, one run: {len(uses)} times; {uses[0]} became {uses[-1]}")


async def test_updates_and_going_back_leave_nothing_behind(
    tmp_path: Path, interpreter: Interpreter, everything: bool, tell: Callable[[str], None]
) -> None:
    """And the update after one that went back is installed."""
    async with ProbedDesk(tmp_path, interpreter, speed=SPEED, heap=HEAP) as desk:
        await desk.ready()
        files = {version: desk.update_file(version) for version in ("2.0.0", "2.0.1")}
        uses: list[tuple[Use, Use]] = []
        kept = []
        end = time.monotonic() + (HOUR if everything else SHORT) / SPEED
        while time.monotonic() < end or len(uses) < 3:
            version = ("2.0.0", "2.0.1")[len(uses) % 2]
            desk.web.files = {**desk.web.files, "good.bin": files[version]}  # type: ignore[dict-item]
            await desk.fetch("good.bin", story=f"Downloading Downloaded Installing {version} Installed")
            before = await desk.use()
            story = f"Downloading Downloaded Installing {version} InstallationFailed"
            await desk.fetch("unreachable.bin", story=story)
            uses.append((before, await desk.use()))
            kept.append(desk.kept())
        assert {use[1:] for pair in uses for use in pair} == {uses[0][0][1:]}
        for first, last in zip(uses[0], uses[-1], strict=True):
            assert abs(last.heap - first.heap) < SPREAD, uses
        assert kept[-1] == kept[0]
        assert not desk.central.violations
    tell(f"endurance, updates and going back: {len(uses)} times; {uses[0]} became {uses[-1]}")
