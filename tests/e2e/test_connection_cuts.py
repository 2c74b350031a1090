"""The connection is cut at every byte of an answer's head, at many of its body, and several times in a row.

One MicroPython process carries out one update after the other with the firmware's own updater, HTTP and connections,
into a slot in memory; some updates are those of a whole charger.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import build
from desk import NEW, Desk, chapter
from scenarios import SUCCESS
from simulator.interpreter import Interpreter

PIECE = 2048  # what the firmware takes at a time: less than that of a broken connection is lost
FILE = build.update_file(build.made_image(2048), build.bundle({"main.py": b""}, NEW))
REFUSAL = b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n"
INSTALLED = ["Downloading", "Downloaded", "Installing", "Installed"]
EVERY_OF_BODY = 211  # the suite tries one cut in so many; a prime
ROWS, ROWS_OF_ALL = 50, 2000
DESKS, DESKS_OF_ALL = 3, 30
PATIENCE = 90  # seconds, more than the firmware waits for anything

Framing = Literal["length", "chunked", "close"]
FRAMINGS: tuple[Framing, ...] = ("length", "chunked", "close")


@dataclass(frozen=True)
class Cut:
    """A connection ends when so many bytes of the answer were sent, in the proper way or with a TCP reset."""

    at: int
    reset: bool = False


@dataclass
class Server:
    """A web server with one file, range requests, and a cut for each of the next connections until none is left."""

    file: bytes
    framing: Framing = "length"
    cuts: list[Cut] = field(default_factory=list)
    fetched: list[tuple[int, int]] = field(default_factory=list)  # of each connection: from where, how many bytes
    url: str = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/fw.bin"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def answer(self, start: int) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Return the head of the answer with the file from `start` on, and the body in parts: (framing, data)."""
        if start >= len(self.file):
            return REFUSAL, []
        tag = hashlib.sha256(self.file).hexdigest()[:16]
        head = f'HTTP/1.1 {"206 Partial Content" if start else "200 OK"}\r\nServer: cuts\r\nETag: "{tag}"\r\n'
        if start:
            head += f"Content-Range: bytes {start}-{len(self.file) - 1}/{len(self.file)}\r\n"
        body = self.file[start:]
        parts = [(b"", body)]
        if self.framing == "length":
            head += f"Content-Length: {len(body)}\r\n"
        elif self.framing == "chunked":
            head += "Transfer-Encoding: chunked\r\n"
            chunks = [*(body[at : at + 1000] for at in range(0, len(body), 1000)), b""]
            ends = [b"", *[b"\r\n"] * (len(chunks) - 1)]
            parts = [(end + f"{len(chunk):x}\r\n".encode(), chunk) for end, chunk in zip(ends, chunks, strict=True)]
            parts.append((b"\r\n", b""))
        return f"{head}\r\n".encode(), parts

    def length(self, start: int = 0) -> int:
        """Return how many bytes an answer has in all."""
        head, parts = self.answer(start)
        return len(head) + sum(len(framing) + len(data) for framing, data in parts)

    def head_length(self, start: int = 0) -> int:
        return len(self.answer(start)[0])

    def resumed_at(self, start: int, fetched: int, cut: Cut) -> tuple[int, ...]:
        """Return where a download may go on when a connection brought this: behind the last whole piece."""
        end = start + fetched
        if start >= len(self.file):  # all of it had arrived, and no sign that this was all; the answer says so
            return (start if cut.at < len(REFUSAL) else 0,)
        if self.framing == "close" and not start and not cut.reset and end % PIECE:
            return (0,)  # the file may have ended there; its last piece is on flash, and nothing can be written behind
        whole = end // PIECE * PIECE
        # MicroPython's readinto drops what it has read when it meets a reset before its buffer is full.
        return (whole, max(start, whole - PIECE)) if cut.reset else (whole,)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            _, asked, rest = request.partition("Range: bytes=")
            start = int(rest.partition("-")[0]) if asked else 0
            cut = self.cuts.pop(0) if self.cuts else None
            left = self.length(start) if cut is None else cut.at
            head, parts = self.answer(start)
            fetched = 0
            for framing, data in [(head, b""), *parts]:
                writer.write((framing + data)[:left])
                fetched += len(data[: max(left - len(framing), 0)])
                left = max(left - len(framing) - len(data), 0)
            self.fetched.append((start, fetched))
            await writer.drain()
            if cut and cut.reset:
                # On closing, the system sends a reset at once. What was sent has arrived: this is the same machine.
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()


# Updates from the request to what the new firmware reports, one for each line that comes in. bench.py, of the unit
# tests, has what surrounds the updater; the central system answers at once, pauses take no time.
DRIVER = """
import asyncio, json, os, sys
import bench
from firmware import http, trial
from firmware.journal import Journal
from firmware.sources import parse_url
from firmware.update import Updater
from hw.connection import Dialer

dial = Dialer().dial

async def update(url, retries):
    slots, store, log, told = bench.Slots(), bench.Store(), [], []
    ended = asyncio.Event()

    def acknowledge():
        told.append(journal.peek())
        journal.pop()
        if not journal.busy:
            ended.set()

    async def open_source(location, **options):
        return await http.open(parse_url(location), dial, log=log.append, **options)

    async def reset():
        ended.set()
        await asyncio.Event().wait()

    async def sleep(seconds):
        await asyncio.sleep_ms(0)

    journal = Journal(store, acknowledge)
    class Parts:
        get = progress = forget = lambda *_: None

        async def open_package(self, header):
            pass

    parts = Parts()
    parts.slots, parts.journal, parts.clock, parts.station = slots, journal, bench.Clock(), bench.Station()
    parts.open_source, parts.reset, parts.log, parts.sleep = open_source, reset, log.append, sleep
    updater = Updater(parts)
    updater.request(url, None, retries, None)
    task = asyncio.create_task(updater.run())
    await ended.wait()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    if slots.flash.boots:
        slots.running = slots.flash
        slots.on_trial = True
        journal = Journal(store, acknowledge)
        accepted = asyncio.Event()
        accepted.set()
        await trial.run(slots, journal, accepted, 60, reset, log.append)
    return told, slots.confirmed and slots.flash.holds(FILE), log

with open(sys.argv[1], "rb") as file:
    FILE = file.read()
descriptors = len(os.listdir("/proc/self/fd"))
while True:
    line = sys.stdin.readline()
    if not line:
        break
    told, confirmed, log = asyncio.run(update(**json.loads(line)))
    print(json.dumps((told, confirmed, log, len(os.listdir("/proc/self/fd")) - descriptors)))
"""


class Charger:
    """The MicroPython process that carries out updates."""

    def __init__(self, process: asyncio.subprocess.Process, server: Server) -> None:
        assert process.stdin and process.stdout
        self._in = process.stdin
        self._out = process.stdout
        self._server = server
        self.updates = 0
        self.most_fetched = 0  # bytes of the file in one update
        self.fetched = 0

    async def check(self, cuts: Iterable[Cut], framing: Framing = "length") -> None:
        """Carry out an update with these cuts, and compare what came of it with what should."""
        server = self._server
        cuts = list(cuts)
        server.framing, server.cuts, server.fetched = framing, cuts.copy(), []
        case = f"{framing}, {cuts}"
        self._in.write(json.dumps({"url": server.url, "retries": len(cuts) + 1}).encode() + b"\n")
        try:
            async with asyncio.timeout(PATIENCE):
                line = await self._out.readline()
        except TimeoutError:
            raise AssertionError(f"{case}: no end of it; fetched {server.fetched}") from None
        assert line.startswith(b"["), f"{case}: {(line + await self._out.read()).decode()}"
        told, confirmed, log, leaked = json.loads(line)
        assert (told, confirmed, leaked) == (INSTALLED, True, 0), (
            f"{case}: {told} {leaked}, fetched {server.fetched}, {log}"
        )
        for (start, count), cut, (following, _) in zip(server.fetched, cuts, server.fetched[1:], strict=False):
            assert following in server.resumed_at(start, count, cut), f"{case}: fetched {server.fetched}"
        fetched = sum(count for _, count in server.fetched)
        self.updates += 1
        self.fetched += fetched
        self.most_fetched = max(self.most_fetched, fetched)

    def __str__(self) -> str:
        return (
            f"{self.updates} updates, all Installed; of the file's {len(FILE)} bytes fetched twice: "
            f"{self.fetched / self.updates - len(FILE):.0f} on average, {self.most_fetched - len(FILE)} at most"
        )


@asynccontextmanager
async def charger(interpreter: Interpreter, repository: Path, folder: Path, server: Server) -> AsyncIterator[Charger]:
    (folder / "file").write_bytes(server.file)
    (folder / "driver.py").write_text(DRIVER)
    process = await asyncio.create_subprocess_exec(
        *interpreter.command,
        *("-X", "heapsize=400K", str(folder / "driver.py"), str(folder / "file")),
        env={**os.environ, "MICROPYPATH": f"{repository}:{repository / 'tests' / 'unit'}:.frozen"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Charger(process, server)
    finally:
        process.kill()
        await process.communicate()


def positions(first: int, end: int, every: int) -> list[int]:
    """Return one position in so many, both ends, and those next to where a piece of the file ends."""
    edges = (first + PIECE * number + by for number in range(7) for by in (-1, 0, 1))
    return sorted({*range(first, end, every), end, *(edge for edge in edges if first <= edge < end)})


async def test_the_connection_is_cut_at_every_byte_of_the_head(
    interpreter: Interpreter, repository: Path, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """The head of the first answer, then that of the answer with the rest of the file."""
    cases = [
        (cuts, framing)
        for framing in FRAMINGS
        for reset in (False, True)
        for before in ((), (Cut(6000, True),))
        for at in range(Server(FILE, framing).head_length(PIECE if before else 0) + 1)
        for cuts in ((*before, Cut(at, reset)),)
    ]
    async with Server(FILE) as server, charger(interpreter, repository, tmp_path, server) as tried:
        for cuts, framing in cases:
            await tried.check(cuts, framing)
    tell(f"connection cuts in the head: {tried.updates} of {len(cases)}; {tried}")


async def test_the_connection_is_cut_at_many_bytes_of_the_body(
    interpreter: Interpreter, repository: Path, tmp_path: Path, everything: bool, tell: Callable[[str], None]
) -> None:
    cases = 0
    async with Server(FILE) as server, charger(interpreter, repository, tmp_path, server) as tried:
        for framing in FRAMINGS:
            for reset in (False, True):
                server.framing = framing
                first, end = server.head_length(), server.length()
                cases += end + 1 - first
                for at in positions(first, end, 1 if everything else EVERY_OF_BODY):
                    await tried.check([Cut(at, reset)], framing)
    tell(f"connection cuts in the body: {tried.updates} of {cases}; {tried}")


async def test_the_connection_is_cut_several_times_in_a_row(
    interpreter: Interpreter, repository: Path, tmp_path: Path, everything: bool, tell: Callable[[str], None]
) -> None:
    chance = random.Random(3)
    cuts = 0
    async with Server(FILE) as server, charger(interpreter, repository, tmp_path, server) as tried:
        for _ in range(ROWS_OF_ALL if everything else ROWS):
            row = [
                Cut(chance.randrange(chance.choice((250, 6000))), chance.random() < 0.5)
                for _ in range(chance.randint(2, 7))
            ]
            cuts += len(row)
            await tried.check(row, chance.choice(FRAMINGS))
    tell(f"connection cuts in a row: {cuts}; {tried}")


async def test_a_whole_charger_gets_over_cuts_of_the_connection(
    interpreter: Interpreter, tmp_path: Path, everything: bool, tell: Callable[[str], None]
) -> None:
    chance = random.Random(4)
    rows = DESKS_OF_ALL if everything else DESKS
    more = []
    for number in range(rows):
        async with Desk(tmp_path / str(number), interpreter, speed=20) as desk, Server(desk.update_file()) as server:
            row = [
                Cut(chance.randrange(250)),
                Cut(chance.randrange(250, server.length()), True),
                Cut(chance.randrange(60_000)),
            ]
            server.cuts = row.copy()
            await desk.registered()
            await desk.central.update_firmware(desk.identity, server.url, retries=len(row) + 1, retry_interval=1)
            await desk.ended()
            assert " ".join(chapter(frame) for frame in desk.story) == SUCCESS, f"{row}\n" + "\n".join(desk.lines)
            assert not server.cuts
            more.append(sum(count for _, count in server.fetched) - len(server.file))
            assert more[-1] < 2 * len(row) * PIECE
    tell(f"connection cuts of a whole charger: {3 * rows}; bytes fetched twice in an update: at most {max(more)}")
