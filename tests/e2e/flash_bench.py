"""A simulated board and a central system, and tools/flash.py run against them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from littlefs import LittleFS

import build
import flash
from central_system import CentralSystem
from desk import CERTIFICATES, WIFI
from environment import REPOSITORY
from flashing import files, flow
from rom_loader import RomLoader
from simulator import manufacture
from simulator.chip import Chip
from simulator.interpreter import Interpreter

VERSION = "1.0.0"
SPEED = 20
IMAGE = build.made_image()
VFS = next((address, size) for label, _, _, address, size in manufacture.OTA_4MIB if label == "vfs")
HEAP = 120 * 1024


def application(*, dev: bool = False) -> dict[str, bytes]:
    """What flash.py leaves on the VFS."""
    return files.application(VERSION, dev=dev)


@dataclass
class Result:
    """How a run of flash.py ended."""

    status: int | None
    output: str

    @property
    def advice(self) -> list[str]:
        """What it said about the lines of the serial log."""
        return [line[4:] for line in self.output.splitlines() if line.startswith("  ! ")]


@dataclass
class Bench:
    """chip: switched on, its console at `port`. central: what its config.json names."""

    chip: Chip
    central: CentralSystem
    port: str
    lines: list[str] = field(default_factory=list)

    @property
    def config(self) -> dict[str, Any]:
        """The config.json of a charger that finds everything."""
        return config(self.central)

    async def flash(self, *arguments: str, port: str = "") -> Result:
        """Run flash.py, in this process: it starts faster."""
        parsed = flash.parse(["--port", port or self.port, "--version", VERSION, *arguments])
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            status = await asyncio.to_thread(flow.main, parsed)
        return Result(status, output.getvalue())

    async def run(self, *arguments: str, until: str = "\n") -> Result:
        """Run flash.py as a user does. until: words after which Ctrl-C is pressed."""
        command = [sys.executable, str(REPOSITORY / "tools" / "flash.py"), "--port", self.port]
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--version", VERSION, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout
        output = ""
        while line := await process.stdout.readline():
            output += line.decode()
            if until in line.decode() and until != "\n":
                process.send_signal(signal.SIGINT)
        return Result(await process.wait(), output)

    async def off(self) -> None:
        """Switch the board off."""
        while not self.lines:
            await asyncio.sleep(0.01)
        await self.chip.power_off()

    def vfs(self) -> dict[str, bytes]:
        """What is on the board's file system."""
        return on_vfs((self.chip.folder / "flash.bin").read_bytes())


def config(central: CentralSystem) -> dict[str, Any]:
    """The config.json of a charger that finds everything."""
    wifi = {"ssid": WIFI[0], "key": WIFI[1]}
    return {"csms": central.url, "id": "CP1", "wifi": wifi, "vendor": "Arus", "model": "Desk", "ntp": ""}


def on_vfs(cells: bytes) -> dict[str, bytes]:
    """What is on the file system of a flash, path -> content."""
    address, size = VFS
    filesystem = LittleFS(block_size=4096, block_count=size // 4096, mount=False)
    filesystem.context.buffer[:] = cells[address : address + size]
    filesystem.mount()
    found = {}
    for folder, _, names in filesystem.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with filesystem.open(path, "rb") as file:
                found[path[1:]] = file.read()
    return found


@contextlib.asynccontextmanager
async def bench(
    folder: Path,
    interpreter: Interpreter,
    content: Callable[[CentralSystem], bytes] | dict[str, bytes] | None = None,
    *,
    tls: bool = False,
    password: str | None = None,
    identities: Collection[str] | None = None,
    cable: str = "socket",
    ready: str = "[WIFI]",
) -> AsyncIterator[Bench]:
    """Switch a board on. content: its flash, or the files on its VFS; None: the VFS is blank.

    cable: socket or pty. ready: how the line begins after which the board may be interrupted, if it has no prompt.
    """
    lines: list[str] = []
    chip = Chip(folder, interpreter, heap=HEAP, speed=SPEED, serial=lines.append, air=WIFI)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
    if context:
        context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server_key.pem")
    async with CentralSystem(tls=context, password=password, identities=identities) as central:
        if callable(content):
            cells = content(central)
        else:
            cells = blank() if content is None else manufacture.flash(IMAGE, content)
        chip.insert(cells)
        async with chip.serial_pty() if cable == "pty" else chip.serial_port() as port:
            running = asyncio.create_task(chip.run())
            try:
                async with asyncio.timeout(30):
                    while not any(line.startswith(("[WIFI]", ">>>", "Type", ready)) for line in lines):
                        await asyncio.sleep(0.01)
                yield Bench(chip, central, port, lines)
            finally:
                await chip.power_off()
                await running


def blank() -> bytes:
    """A flash with MicroPython and nothing else."""
    cells = bytearray(manufacture.flash(IMAGE, {}))
    address, size = VFS
    cells[address : address + size] = b"\xff" * size
    return bytes(cells)


def installed(central: CentralSystem, **fields: Any) -> bytes:
    """A flash as flash.py leaves it."""
    return manufacture.flash(IMAGE, set_up(central, **fields))


def set_up(central: CentralSystem, **fields: Any) -> dict[str, bytes]:
    """The files of a charger in service."""
    return {**application(), "config.json": json.dumps({**config(central), **fields}).encode()}


class Port:
    """A port on the network, `port`; its kinds differ in what is behind it."""

    port = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = f"socket://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class Socket(Port):
    """Where a board is plugged in: esptool finds its ROM loader there, and whoever else what is on its flash."""

    def __init__(self, chip: Chip, rom: RomLoader, console: str) -> None:
        self._chip = chip
        self._rom = rom
        self._console = console
        self._running: asyncio.Task[None] | None = None

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self._off()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            first = await reader.read(1)
            if first == b"\xc0":  # a frame of esptool: a real board is in its loader then
                await self._off()
                await relay(reader, writer, first, self._rom.port)
            elif first:
                self._on()
                await relay(reader, writer, first, self._console)
        writer.close()

    def _on(self) -> None:
        if not self._running:
            self._chip.insert(bytes(self._rom.flash))
            self._running = asyncio.create_task(self._chip.run())

    async def _off(self) -> None:
        if self._running:
            await self._chip.power_off()
            await self._running
            self._running = None
            self._rom.flash[:] = (self._chip.folder / "flash.bin").read_bytes()


async def relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes, port: str, room: int = 1 << 40
) -> None:
    """Connect two ends until one is closed. first: bytes that were read already. room: bytes until the cable breaks."""
    host, _, number = port.removeprefix("socket://").partition(":")
    far, to_far = await asyncio.open_connection(host, int(number))

    async def back() -> None:
        with contextlib.suppress(ConnectionError):
            while received := await far.read(4096):
                writer.write(received)

    task = asyncio.create_task(back())
    sent = first
    while sent and room > 0:
        to_far.write(sent)
        room -= len(sent)
        sent = await reader.read(min(4096, max(1, room)))
    task.cancel()
    to_far.close()
