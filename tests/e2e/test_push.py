"""tools/push.py as a developer runs it, in a process of its own, against a charger on the desk."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import build
import packages_keys
import push as tool
import push_course
from desk import Desk
from environment import REPOSITORY
from push_line import PushError
from simulator.interpreter import Interpreter

SPEED = 40
KEY = "a key for pushes"
HEAP = 100 * 1024  # in development mode a charger needs some KB more than else
HOST = "127.0.0.1"


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class OpenDesk(Desk):
    """A desk whose charger is in development mode."""

    def __init__(self, folder: Path, interpreter: Interpreter, *, is_open: bool = True, **options: Any) -> None:
        super().__init__(folder, interpreter, **{"speed": SPEED, "heap": HEAP, **options})
        self.port = unused_port()
        if is_open:
            self._config["development"] = {"key": KEY, "port": self.port}

    async def push(self, file: Path, *options: str, key: str = KEY) -> tuple[int | None, str]:
        """Run tools/push.py to its end; return its exit status and its output."""
        return await run(HOST, str(file), "--port", str(self.port), *options, key=key)

    async def greeted(self) -> tuple[dict[str, Any], asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        return json.loads(await reader.readline()), reader, writer


async def run(*arguments: str, key: str = KEY) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(REPOSITORY / "tools" / "push.py"),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "ARUS_PUSH_KEY": key},
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_push_is_installed_and_a_broken_one_comes_back(tmp_path: Path, interpreter: Interpreter) -> None:
    good, bad = tmp_path / "good.bin", tmp_path / "bad.bin"
    async with OpenDesk(tmp_path, interpreter) as desk:
        good.write_bytes(desk.update_file())
        bad.write_bytes(desk.update_file("3.0.0", {"main.py": b"raise RuntimeError('made to crash')\n"}))
        await desk.registered()

        status, output = await desk.push(good, key="another key for it")
        assert (status, "CP1 refuses this key" in output) == (1, True), output
        assert any("[PUSH] 127.0.0.1: refused (wrong key)" in line for line in desk.lines)

        # The one after it has to wait a little, and the tool does.
        status, output = await desk.push(good)
        assert status == 0, output + "\n".join(desk.lines)
        steps = [
            "CP1 at 127.0.0.1 runs 1.0.0; good.bin brings 2.0.0",
            "Downloading ... ",
            "Downloaded and checked.",
            "Installing; the charger restarts.",
            "Installed: 2.0.0 is confirmed.",
        ]
        assert re.search(".*".join(map(re.escape, steps)), output, re.DOTALL), output
        assert desk.version == "2.0.0"

        status, output = await desk.push(bad)
        assert status == 1
        assert re.search(r"push.py: InstallationFailed: the new firmware did not .*runs 2\.0\.0", output), output
        assert not any(KEY in line for line in desk.lines)
        assert not desk.central.violations


async def test_a_line_heard_on_the_network_is_of_no_use(tmp_path: Path, interpreter: Interpreter) -> None:
    async with OpenDesk(tmp_path, interpreter) as desk:
        await desk.logged("[PUSH] Development")
        text = json.dumps({"location": desk.web.url("heard.bin"), "push": True})
        greeting, reader, writer = await desk.greeted()
        mark = hmac.new(KEY.encode(), (greeting["nonce"] + text).encode(), "sha256").hexdigest()
        heard = f"{mark} {text}\n".encode()
        writer.write(heard)
        assert json.loads((await reader.readline())[65:])["update"] is None
        await desk.logged("DownloadFailed")
        fetched = len(desk.web.requests)
        assert fetched == 1

        _, again, replayer = await desk.greeted()
        replayer.write(heard)
        assert json.loads(await again.readline()) == {"error": "wrong key"}
        assert not await again.read()
        assert sum("pushes an update" in line for line in desk.lines) == 1
        for stream in (writer, replayer):
            stream.close()


async def test_only_signed_pushes_where_firmware_has_to_be_signed(tmp_path: Path, interpreter: Interpreter) -> None:
    plain, package = tmp_path / "plain.bin", tmp_path / "package.bin"
    async with OpenDesk(tmp_path, interpreter, key=packages_keys.make_key("ecdsa"), tls=True) as desk:
        plain.write_bytes(desk.update_file())
        package.write_bytes(desk.package(compress=True))
        await desk.registered()
        status, output = await desk.push(plain)
        assert status == 1
        assert "InstallationFailed: it is not signed, and RequireSignedFirmware is on" in output, output
        status, output = await desk.push(package)
        assert (status, desk.version) == (0, "2.0.0"), output + "\n".join(desk.lines)


async def test_development_is_off_unless_config_json_says_otherwise(tmp_path: Path, interpreter: Interpreter) -> None:
    file = tmp_path / "plain.bin"
    async with OpenDesk(tmp_path, interpreter, is_open=False) as desk:
        file.write_bytes(desk.update_file())
        await desk.registered()
        status, output = await desk.push(file)
        assert status == 1
        assert 'its development mode is off. To switch it on put "development": {"key"' in output
        assert not any("[PUSH]" in line for line in desk.lines)


# ----------------------------------------------------------------------------------- what the tool makes of other peers


@contextlib.asynccontextmanager
async def peer(*scripts: list[dict[str, Any]], key: str = KEY) -> AsyncIterator[int]:
    """Listen as a charger would, tell on each connection what a script says, then fall silent; give the port."""
    turns = list(scripts)

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonce = os.urandom(16).hex()
        greeting = {"arus": 1, "id": "CP1", "version": "1.0.0", "nonce": nonce}
        writer.write(json.dumps(greeting).encode() + b"\n")
        mark, _, text = (await reader.readline()).rstrip().partition(b" ")
        assert mark == hmac.new(KEY.encode(), nonce.encode() + text, "sha256").hexdigest().encode()
        for state in turns.pop(0):
            text = json.dumps(state).encode()
            mark = hmac.new(key.encode(), mark + text, "sha256").hexdigest().encode()
            writer.write(mark + b" " + text + b"\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(meet, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def follow(port: int) -> None:
    data = build.update_file(build.made_image(), build.bundle({"main.py": b""}, "2.0.0"))
    arguments = tool._parser().parse_args([HOST, "file.bin", "--port", str(port), "--timeout", "5"])
    await push_course.Push(arguments, data, "2.0.0", KEY.encode()).run()


NEXT = {"version": "1.0.0", "update": "Installing"}
DONE = {"version": "2.0.0", "update": "Installed"}


async def test_a_charger_that_falls_silent_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chip that resets does not close its connections."""
    monkeypatch.setattr(push_course, "SILENCE", 0.3)
    async with peer([{**NEXT, "update": None}, NEXT], [DONE]) as port:
        await follow(port)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"version": "2.1.0", "update": "Installed"}, "2.1.0 is installed: another update took the place"),
        ({"version": "1.0.0", "update": "Superseded"}, "another update took the place"),
        ({"version": "1.0.0", "update": "Idle"}, "knows nothing of this update any more"),
        ({"version": "1.0.0", "update": "DownloadFailed", "reason": "timed out\33[2J"}, r"timed out\?\[2J.*firewall"),
        ({"error": "an update is being installed"}, "refuses: an update is being installed"),
    ],
    ids=str,
)
async def test_why_a_push_failed_is_said(last: dict[str, Any], words: str) -> None:
    async with peer([last]) as port:
        with pytest.raises(PushError, match=f"(?s){words}"):
            await follow(port)


async def test_a_stranger_that_says_installed_is_not_believed() -> None:
    async with peer([DONE], key="not the same key") as port:
        with pytest.raises(PushError, match="does not have the key"):
            await follow(port)


async def test_what_is_no_charger_is_named() -> None:
    async def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        writer.close()

    async with await asyncio.start_server(meet, HOST, 0) as server:
        with pytest.raises(PushError, match="is no charger with this firmware"):
            await follow(server.sockets[0].getsockname()[1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"<html>", "is no update file: this is no ESP32 image"),
        (build.made_image(), "is no update file: the image carries no application"),
        (build.made_image()[:-5], "is no update file: the image "),
    ],
    ids=["missing", "page", "bare", "cut"],
)
def test_a_file_that_no_charger_would_take_is_not_pushed(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "file.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PushError, match=words):
        tool.read(path)


def test_where_the_key_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text("from a file, gr\u00fcn\r\n")
    monkeypatch.delenv(tool.KEY_VARIABLE, raising=False)
    parse = tool._parser().parse_args
    assert tool._key(parse(["host", "file", "--key-file", str(file)])) == "from a file, gr\u00fcn".encode()
    with pytest.raises(PushError, match="no key: give --key-file or ARUS_PUSH_KEY"):
        tool._key(parse(["host", "file"]))
    with pytest.raises(PushError, match="No such file"):
        tool._key(parse(["host", "file", "--key-file", str(tmp_path / "none")]))
    monkeypatch.setenv(tool.KEY_VARIABLE, "from outside")
    assert tool._key(parse(["host", "file"])) == b"from outside"
    assert tool._key(parse(["host", "file", "--key", "from here"])) == b"from here"
