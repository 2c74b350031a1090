"""A charger in service, for the tests: its log, a central system and a web server of this machine, and updates."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from typing import Any, TypeVar

from central_system import CallFailed, CentralSystem, Frame
from device.bench import Bench
from flashing import watch
from flashing.errors import FlashError
from webserver import WebServer

T = TypeVar("T")
Progress = Callable[[int, int], None]
FILE = "update.bin"
FINAL = ("Installed", "InstallationFailed", "DownloadFailed")
REGISTRATION = 120  # seconds
UPDATE = 900
POLL = 1  # seconds between two questions while it updates: each costs the charger some work

JOIN = """
import network, time
station = network.WLAN(network.STA_IF)
station.active(True)
if not station.isconnected():
    station.connect({ssid!r}, {key!r})
began = time.ticks_ms()
while not station.isconnected() and time.ticks_diff(time.ticks_ms(), began) < 20000:
    time.sleep_ms(50)
joined = station.isconnected()
print(joined, station.ifconfig()[0], station.status("rssi") if joined else station.status())
"""


class Failed(Exception):
    """A promise is not kept; the text tells which."""


class Log(threading.Thread):
    """Reads what a board prints, from start() to stop()."""

    def __init__(self, board: Bench) -> None:
        super().__init__(daemon=True)
        self.board = board
        self.lines: list[str] = []
        self.error: FlashError | None = None
        self._ends = False

    def run(self) -> None:
        """Read lines; the thread ends with the connection."""
        try:
            for line in self.board.lines(lambda: 0 if self._ends else time.monotonic() + 15):
                if line:
                    self.lines.append(line)
        except FlashError as error:
            self.error = error

    def stop(self) -> None:
        """Leave the port to others."""
        self._ends = True
        if self.is_alive():
            self.join()

    def tail(self, count: int = 15) -> str:
        """Return its last lines, and what they mean."""
        known = [advice for advice in map(watch.sign, self.lines[-50:]) if advice]
        advice = f"  ! {known[-1][0]}\n" if known else ""
        return "".join(f"  | {line}\n" for line in self.lines[-count:]) + advice


class Service:
    """Servers at `address`, as the charger reaches this machine, and the charger that uses them."""

    def __init__(self, board: Bench, address: str, identity: str) -> None:
        self.board = board
        self.identity = identity
        self.address = address
        host = address if _is_own(address) else ""  # the address of a router that hands on to this machine
        self.central = CentralSystem(host=host)
        self.web = WebServer({}, host=host)
        self.log = Log(board)
        self.longest = 0.0  # seconds that the charger took for an answer
        self.least_heap = 0

    @property
    def url(self) -> str:
        """Of the central system."""
        self.central.host, host = self.address, self.central.host
        try:
            return self.central.url
        finally:
            self.central.host = host

    async def start(self) -> None:
        """Start the servers."""
        await self.central.start()
        await self.web.start()

    async def stop(self) -> None:
        """Stop the servers."""
        await self.web.stop()
        await self.central.stop()

    def watch(self) -> None:
        """Read the log from now on."""
        self.log = Log(self.board)
        self.log.start()

    async def registered(self, since: int = 0) -> str:
        """Wait until the charger is registered; return the version that it says."""
        boot = await self.wait(self.central.wait_for("BootNotification", since=since, timeout=REGISTRATION))
        return str(boot.payload["firmwareVersion"])

    async def diagnosis(self) -> dict[str, Any]:
        """Ask the charger how it fares."""
        began = time.monotonic()
        request = {"vendorId": "Arus", "messageId": "Diagnosis"}
        answer = await self.central.call(self.identity, "DataTransfer", request)
        self.longest = max(self.longest, time.monotonic() - began)
        figures: dict[str, Any] = json.loads(answer["data"])
        free = int(figures["heapFree"])
        self.least_heap = min(self.least_heap or free, free)
        return figures

    async def update(self, file: bytes, progress: Progress) -> tuple[list[str], float]:
        """Have the charger update itself; return the statuses that it sends, and the seconds until the last one."""
        since, began = len(self.central.frames), time.monotonic()
        self.web.files = {FILE: file}
        self.web.requests.clear()
        self.longest, self.least_heap = 0.0, 0
        location = self.web.url(FILE, host=self.address)
        observer = asyncio.create_task(self._observe(len(file), progress))
        try:
            await self.wait(self.central.update_firmware(self.identity, location, retries=0))
            await self.wait(
                self.central.wait_for(
                    "FirmwareStatusNotification", lambda p: p["status"] in FINAL, since=since, timeout=UPDATE
                )
            )
        finally:
            observer.cancel()
        return [str(frame.payload["status"]) for frame in self.frames(since, "FirmwareStatusNotification")], (
            time.monotonic() - began
        )

    async def _observe(self, size: int, progress: Progress) -> None:
        """Show how far the download is, and ask again and again how the charger fares."""
        while True:
            with suppress(CallFailed, OSError):  # a TimeoutError is one
                await self.diagnosis()
            if self.web.requests:
                progress(self.web.requests[-1].sent // 1024, max(1, size // 1024))
            await asyncio.sleep(POLL)

    def frames(self, since: int, action: str) -> list[Frame]:
        """Return the charger's calls with that action, from a frame on."""
        return [frame for frame in self.central.frames[since:] if frame.asks(action)]

    async def wait(self, coming: Awaitable[T]) -> T:
        """Wait for something; Failed, with the log, if it doesn't come; FlashError when the cable is gone."""
        task = asyncio.ensure_future(coming)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=0.2)
                if self.log.error:
                    raise self.log.error
            return task.result()
        except (TimeoutError, ConnectionError, CallFailed) as error:
            raise Failed(f"{error}; what the charger printed last:\n{self.log.tail()}") from None
        finally:
            task.cancel()


def address_for(board_address: str) -> str:
    """Return the address of this machine that a packet to the board comes from; none is sent."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.connect((board_address, 9))
        return str(probe.getsockname()[0])


def _is_own(address: str) -> bool:
    """Whether this machine has the address."""
    with closing(socket.socket()) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
