"""Hostile networks and the whole charger: it goes on answering, says what happened, and finds back by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import hostile
from central_system import PATH
from desk import FILE, NEW, Desk, chapter
from hostile import Proxy, Stream, head, peer
from simulator.interpreter import Interpreter
from webserver import Fault

SPEED = 20


@asynccontextmanager
async def desk_behind(proxy: Proxy, folder: Path, interpreter: Interpreter, **options: Any) -> AsyncIterator[Desk]:
    """A desk whose charger reaches its central system through the proxy."""
    desk = Desk(folder, interpreter, speed=SPEED, csms=f"ws://127.0.0.1:{proxy.port}{PATH[:-1]}", **options)
    await desk.central.start()
    proxy.target = desk.central.port
    async with desk:
        await desk.registered()
        yield desk


async def registered_again(desk: Desk, connections: int, proxy: Proxy) -> None:
    """Wait for a registration over a later connection than that."""
    boots = len(desk.central.calls("BootNotification"))
    await desk.until(lambda: len(desk.central.calls("BootNotification")) > boots, "the charger registers again")
    assert proxy.connections > connections
    assert [boot.cause for boot in desk.chip.boots] == ["power on"]
    assert desk.central.violations == []


async def test_a_silent_central_system_is_noticed_by_ping(tmp_path: Path, interpreter: Interpreter) -> None:
    async with Proxy() as proxy, desk_behind(proxy, tmp_path, interpreter) as desk:
        proxy.freeze_existing()
        await desk.logged("no connection: [Errno 110] ETIMEDOUT: the central system is silent")
        await registered_again(desk, 1, proxy)


async def test_a_central_system_that_drips_is_left(tmp_path: Path, interpreter: Interpreter) -> None:
    """Each byte is a sign of life: it is the message as a whole that takes too long."""
    async with Proxy() as proxy, desk_behind(proxy, tmp_path, interpreter) as desk:
        ask = {"key": ["HeartbeatInterval"]}
        await desk.central.call(desk.identity, "GetConfiguration", ask)  # whatever was on its way is there then
        proxy.drip = 5 / SPEED
        await desk.central.call(desk.identity, "GetConfiguration", ask)  # comes in one piece still
        call = asyncio.create_task(desk.central.call(desk.identity, "GetConfiguration", ask))
        await desk.logged("timed out: too slow or silent")
        await asyncio.gather(call, return_exceptions=True)
        proxy.drip = 0
        await registered_again(desk, 1, proxy)


async def test_a_link_that_dies_in_mid_download_is_made_anew(tmp_path: Path, interpreter: Interpreter) -> None:
    async with Proxy() as proxy, Desk(tmp_path, interpreter, speed=SPEED) as desk:
        desk.web.files = {FILE: desk.update_file()}
        proxy.target = desk.web.port
        proxy.freeze_after = 60_000
        await desk.registered()
        location = f"http://127.0.0.1:{proxy.port}/{FILE}"
        await desk.central.update_firmware(desk.identity, location, retries=1)
        await desk.logged("Connection lost at byte")
        proxy.freeze_after = None
        await desk.ended()
        assert desk.version == NEW
        assert any("resuming" in line and "timed out" in line for line in desk.lines)
        assert desk.web.requests[1].headers["range"].startswith("bytes=")


async def drip(stream: Stream) -> None:
    await stream.request()
    await stream.say(head("200 OK", "Content-Length: 200000"))
    await stream.drip(b"\xe9" * 200_000, 0.05)


async def endless_headers(stream: Stream) -> None:
    await stream.request()
    await stream.say(b"HTTP/1.1 200 OK\r\n")
    await stream.drip(b"X-More: and more\r\n" * 10_000, 0.004, 180)


async def endless_redirects(stream: Stream) -> None:
    where = (await stream.request()).split(" ")[1] + "x"
    await asyncio.sleep(2 / SPEED)
    await stream.say(head("302 Found", f"Location: {where}"))


async def half_open(stream: Stream) -> None:
    await stream.hold()


DOWNLOADS = {
    # what: (behaviour of the server, over TLS, words in the log)
    "drip": (drip, False, "timed out: too slow"),
    "endless headers": (endless_headers, False, "no proper HTTP (too long)"),
    "endless redirects": (endless_redirects, False, "too many redirects"),
    "half-open": (half_open, False, "timed out"),
    "TLS handshake stalls": (half_open, True, "TLS handshake timed out"),
    "endless body": (None, False, "there are bytes after the end of the bundle"),
}


def descriptors(desk: Desk) -> int:
    """Count what the charger's MicroPython has open."""
    process = desk.chip._process
    assert process
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


@pytest.mark.parametrize("what", DOWNLOADS)
async def test_the_charger_answers_while_a_download_is_hostile(
    tmp_path: Path, interpreter: Interpreter, what: str
) -> None:
    behave, secure, words = DOWNLOADS[what]
    ca = (hostile.CERTIFICATES / "ca.pem").read_bytes() if secure else None
    settings = {"FirmwareDownloadTimeout": 20}
    async with (
        peer(behave or half_open) as port,
        Desk(tmp_path, interpreter, speed=SPEED, ca=ca, configuration=settings) as desk,
    ):
        desk.web.files = {FILE: desk.update_file()}
        desk.web.faults = [Fault(FILE, endless_body=True, drip=0.01)]
        await desk.registered()
        before = descriptors(desk)
        location = f"http{'s' * secure}://127.0.0.1:{port}/{FILE}" if behave else desk.web.url(FILE)
        await desk.central.update_firmware(desk.identity, location, retries=1)
        await desk.logged("Starting firmware download")
        answers = 0
        async with asyncio.timeout(60):
            while not any(words in line for line in desk.lines):
                trigger = {"requestedMessage": "Heartbeat"}
                assert await desk.central.call(desk.identity, "TriggerMessage", trigger) == {"status": "Accepted"}
                answers += 1
                await asyncio.sleep(0.02)
        assert answers > 3
        await desk.ended()
        assert chapter(desk.story[-1]) == ("DownloadFailed" if behave else "InstallationFailed")
        assert descriptors(desk) == before
        assert len(desk.chip.boots) == 1
        assert desk.central.violations == []
