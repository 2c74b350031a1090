"""Peers that do wrong, and a driver that meets them with the firmware's WebSocket and its download."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import environment
from simulator.interpreter import Interpreter

CERTIFICATES = environment.REPOSITORY / "tests" / "certificates"
SPEED = 50
HEAP = 80 * 1024
PATIENCE = 60  # real seconds until a driver counts as hanging; they end after three
DIAL_TIMEOUT = 30_000  # ms, the firmware's own
STALL_TIMEOUT = 60_000  # ms without a byte, FirmwareDownloadTimeout's default

# Does what main.py does with the network: opens a WebSocket and receives, or fetches a file. A task beside it ticks.
DRIVER = """
import asyncio, gc, json, os, sys, time
from asyncio import core
import hw.dialing
from hw.connection import Dialer

tasks = []
create_task = core.create_task

def create(coroutine):
    task = create_task(coroutine)
    tasks.append(task)
    return task

core.create_task = asyncio.create_task = create

class Names:
    def __init__(self, real, answer):
        self._real, self._answer, self.asked = real, answer, 0
        self.socket, self.SOCK_STREAM = real.socket, real.SOCK_STREAM

    def getaddrinfo(self, host, port, *hints):
        self.asked += 1
        if self._answer is None:
            raise OSError(-2)
        time.sleep_ms(self._answer)
        return self._real.getaddrinfo("127.0.0.1", port, *hints)

async def websocket(url, dial):
    from ocpp import handshake
    socket = await handshake.connect(url, dial)
    try:
        while True:
            await socket.receive()
    finally:
        socket.abort()

async def download(url, dial, offset, validator, length):
    from firmware import http, sources
    options = {"offset": offset, "validator": validator, "expected_length": length, "log": told.append}
    source = await http.open(sources.parse_url(url), dial, **options)
    told.append("from %d" % source.offset)
    try:
        view = memoryview(bytearray(2048))
        size = 0
        while True:
            count = await source.readinto(view)
            if not count:
                return "complete, %d bytes" % size
            size += count
            await asyncio.sleep_ms(0)
    finally:
        source.close()

def descriptors():
    return len(os.listdir("/proc/self/fd"))

async def tick():
    while True:
        await asyncio.sleep_ms(100)
        ticks[0] += 1

async def main():
    ticking = create_task(tick())
    dial = Dialer(order["ca"].encode()).dial
    before = descriptors()
    began = time.ticks_ms()
    try:
        if order["websocket"]:
            result = await websocket(order["url"], dial)
        else:
            result = await download(order["url"], dial, **order["resume"])
    except OSError as error:
        result = str(error.args[-1])
        code = getattr(error, "code", None)
    else:
        code = None
    took = time.ticks_diff(time.ticks_ms(), began)
    for _ in range(5):
        await asyncio.sleep_ms(0)
    ticking.cancel()
    print(json.dumps({
        "reason": result, "code": code, "took": took, "ticks": ticks[0], "log": told,
        "descriptors": descriptors() - before,
        "tasks": len([task for task in tasks if not task.done() and task is not core.cur_task]),
    }))

order = json.loads(sys.stdin.readline())
if order["names"] is not True:
    hw.dialing.socket = Names(hw.dialing.socket, order["names"])
told = []
ticks = [0]
gc.collect()
gc.threshold(1024)  # as main.py does, for a heap in one piece
asyncio.run(main())
"""


@dataclass
class Outcome:
    """How a connection ended; `took` in seconds of the charger's time, `code` that of a closed WebSocket."""

    reason: str
    code: int | None
    took: float
    ticks: int
    log: list[str]


@dataclass(frozen=True)
class Charger:
    """The network parts of the firmware, compiled, on a MicroPython with little heap whose time runs fast."""

    interpreter: Interpreter
    compiled: Path

    async def meets(
        self,
        url: str,
        *,
        names: int | bool | None = True,
        resume: tuple[int, str | None, int | None] = (0, None, None),
    ) -> Outcome:
        """Connect to `url`, ws:// or wss:// for a WebSocket, and stay until the end; nothing may be left open then.

        names: how the system resolves names; True: as it is, a number: everything to 127.0.0.1 after so many ms, None:
        nothing. resume: offset, validator and length that a download goes on with.
        """
        order = {
            "url": url,
            "websocket": url.startswith("ws"),
            "ca": (CERTIFICATES / "ca.pem").read_text(),
            "names": names,
            "resume": dict(zip(("offset", "validator", "length"), resume, strict=True)),
        }
        environ = {"LD_PRELOAD": str(self.interpreter.faketime), "FAKETIME": f"+0 x{SPEED}"}
        process = await asyncio.create_subprocess_exec(
            *self.interpreter.command,
            *("-X", f"heapsize={HEAP}", "-c", DRIVER),
            env={**os.environ, **environ, "FAKETIME_DISABLE_SHM": "1", "MICROPYPATH": f"{self.compiled}:.frozen"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(order).encode() + b"\n")
            async with asyncio.timeout(PATIENCE):
                output = await process.stdout.read()
                status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert status == 0, output.decode()
        told = json.loads(output.splitlines()[-1])
        assert (told["descriptors"], told["tasks"]) == (0, 0), told
        # The loop went on: of ten ticks a second two are enough, as the desk may be busy, and TLS arithmetic blocks.
        took = told["took"] / 1000
        blocked = names / 1000 if names and names is not True else 0
        assert told["ticks"] >= 2 * (took - blocked) - 40, told
        return Outcome(told["reason"], told["code"], took, told["ticks"], told["log"])


class Stream:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> str:
        """Read the head of the request."""
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def upgrade(self) -> None:
        """Read the request of a WebSocket and accept it."""
        self.writer.write(accept(await self.request()))

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes, pause: float, piece: int = 1) -> None:
        """Say it piece by piece, with pauses of so many (real) seconds."""
        for at in range(0, len(data), piece):
            await self.say(data[at : at + piece])
            await asyncio.sleep(pause)

    async def silence(self) -> None:
        """Say nothing until the other side gives up, whatever it says."""
        while await self.reader.read(4096):
            pass

    async def hold(self) -> None:
        """Neither read nor write nor close."""
        await asyncio.Event().wait()

    def reset(self) -> None:
        """End the connection by a TCP reset."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behave = Callable[[Stream], Awaitable[None]]


@asynccontextmanager
async def peer(behave: Behave, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server whose every connection is dealt with by `behave`, then closed; gives its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await behave(Stream(reader, writer))
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            tasks.discard(task)

    patience = 0.01 if tls else None
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls, ssl_shutdown_timeout=patience)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Proxy:
    """A link to a server on this machine that can fall silent, drip or break; use it with `async with`."""

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        self.freeze_after: int | None = None  # bytes to the client on one connection, then it is dead; nobody closes
        self.drip = 0.0  # real seconds between single bytes to the client
        self._frozen = 0  # the connections up to this one
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze_existing(self) -> None:
        """From now on nothing gets through on the connections of today, and nobody is told."""
        self._frozen = self.connections

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            up = asyncio.create_task(self._carry(number, reader, far_writer))
            with suppress(OSError):
                await self._carry(number, far_reader, writer, self)
            up.cancel()
            far_writer.close()
            writer.close()
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _carry(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        faults: Proxy | None = None,
    ) -> None:
        """Carry one direction of a connection until it ends."""
        carried = 0
        with suppress(OSError):
            while data := await reader.read(1 if faults and faults.drip else 4096):
                if number <= self._frozen:
                    await asyncio.Event().wait()
                if faults:
                    await asyncio.sleep(faults.drip)
                    if faults.freeze_after is not None and carried + len(data) >= faults.freeze_after:
                        writer.write(data[: faults.freeze_after - carried])
                        await asyncio.Event().wait()
                carried += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()


def tls(certificate: str = "server") -> ssl.SSLContext:
    """A server's TLS with this certificate of tests/certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{certificate}.pem", CERTIFICATES / "server_key.pem")
    return context


def accept(request: str, **other: str) -> bytes:
    """The answer to a WebSocket's upgrade, some of its headers replaced."""
    key = next(line.split(": ")[1] for line in request.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Protocol": "ocpp1.6",
        "Sec-WebSocket-Accept": base64.b64encode(digest).decode(),
    } | {name.replace("_", "-"): value for name, value in other.items()}
    return head("101 Switching Protocols", *(f"{name}: {value}" for name, value in headers.items()))


def head(status: str, *headers: str) -> bytes:
    """The head of an HTTP answer."""
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, "\r\n")).encode()


def frame(opcode: int, length: int, payload: bytes = b"", final: bool = True) -> bytes:
    """A server's WebSocket frame that claims to carry `length` bytes."""
    first = bytes([(0x80 if final else 0) | opcode])
    if length < 126:
        return first + bytes([length]) + payload
    if length < 65536:
        return first + b"\x7e" + length.to_bytes(2, "big") + payload
    return first + b"\x7f" + length.to_bytes(8, "big") + payload


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def network_modules() -> dict[str, Path]:
    """The sources of what the driver needs."""
    return {
        path.relative_to(environment.REPOSITORY).with_suffix("").as_posix(): path
        for name in ("ocpp", "firmware", "hw")
        for path in (environment.REPOSITORY / name).glob("*.py")
    }
