"""A whole charger whose servers are given by IPv6 address: ws and wss, http and https, certificates included."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from desk import FILE, NEW, Desk, chapter
from scenarios import SUCCESS
from simulator.interpreter import Interpreter
from test_ftp_source import FtpServer

HOST = "::1"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((HOST, 0))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


class Ipv6Desk(Desk):
    """A desk all of whose servers listen on ::1 only."""

    async def __aenter__(self) -> Ipv6Desk:
        self.web.host = HOST
        self.central.host = HOST
        await self.central.start()
        self._csms = self.central.url.replace(HOST, f"[{HOST}]")
        await super().__aenter__()
        return self


@pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
async def test_an_update_over_ipv6(scheme: str, tmp_path: Path, interpreter: Interpreter) -> None:
    """Over https the WebSocket is one over TLS too."""
    async with Ipv6Desk(tmp_path / "desk", interpreter, speed=20, tls=scheme == "https") as desk:
        file = desk.update_file()
        desk.web.files = {FILE: file}
        await desk.registered()
        with FtpServer(tmp_path / "served", host=HOST) as server:
            (server.folder / FILE).write_bytes(file)
            url = server.url(FILE) if scheme == "ftp" else desk.web.url(FILE, f"[{HOST}]")
            assert url.startswith(f"{scheme}://")
            await desk.central.update_firmware(desk.identity, url, retries=1)
            await desk.ended()
        assert " ".join(chapter(frame) for frame in desk.story) == SUCCESS, "\n".join(desk.lines)
        assert desk.version == NEW
        if scheme != "ftp":
            assert desk.web.requests[0].headers["host"] == f"[{HOST}]:{desk.web.port}"
