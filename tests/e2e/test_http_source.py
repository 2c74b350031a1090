"""Downloads through firmware/ and hw/connection.py on MicroPython, from a web server with faults."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.interpreter import Interpreter
from webserver import Fault, Request, WebServer

CERTIFICATES = Path(__file__).parent.parent / "certificates"
HEAP = 120 * 1024
FILE = random.Random(1).randbytes(300_000)  # more than the heap holds
TAG = hashlib.sha256(FILE).hexdigest()[:16]

# Downloads as an update does: what breaks off is resumed where it broke off.
DRIVER = """
import asyncio, json, os, sys
from firmware import http
from firmware.sources import parse_url
from hw.connection import Dialer

async def download(url, path, ca, timeout, tries):
    opened, errors, log = [], [], []
    dial = Dialer(ca.encode()).dial
    view = memoryview(bytearray(4096))
    complete = False
    done = 0
    length = validator = None
    with open(path, "wb") as file:
        while tries and not complete:
            tries -= 1
            source = None
            try:
                options = {"validator": validator, "expected_length": length, "timeout": timeout, "log": log.append}
                source = await http.open(parse_url(url), dial, offset=done, **options)
                done, length, validator = source.offset, source.length, source.validator
                opened.append((done, length, validator))
                file.seek(done)
                count = await source.readinto(view)
                while count:
                    file.write(view[:count])
                    done += count
                    count = await source.readinto(view)
                complete = True
            except OSError as error:
                errors.append((error.args[-1], getattr(error, "permanent", None)))
                await asyncio.sleep_ms(20)
            finally:
                if source:
                    source.close()
    return {"opened": opened, "errors": errors, "log": log, "size": done, "complete": complete}

before = len(os.listdir("/proc/self/fd"))
result = asyncio.run(download(**json.loads(sys.stdin.readline())))
result["leaked"] = len(os.listdir("/proc/self/fd")) - before
print(json.dumps(result))
"""


@dataclass
class Result:
    """What came of a download: how each of its connections began, what broke them, the bytes."""

    opened: list[tuple[int, int | None, str | None]]
    errors: list[tuple[str, bool | None]]
    log: list[str]
    complete: bool
    body: bytes


Download = Callable[..., Awaitable[Result]]


@pytest.fixture
def download(interpreter: Interpreter, repository: Path, tmp_path: Path) -> Download:
    async def run(url: str, *, timeout: int = 30_000, tries: int = 1) -> Result:
        target = tmp_path / "downloaded"
        ca = (CERTIFICATES / "ca.pem").read_text()
        options = {"url": url, "path": str(target), "ca": ca, "timeout": timeout, "tries": tries}
        process = await asyncio.create_subprocess_exec(
            *interpreter.command,
            *("-X", f"heapsize={HEAP}", "-c", DRIVER),
            env={**os.environ, "MICROPYPATH": f"{repository}:.frozen"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate(json.dumps(options).encode() + b"\n")
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, output.decode()
        told = json.loads(output)
        assert told["leaked"] == 0
        opened = [tuple(begin) for begin in told["opened"]]
        errors = [tuple(error) for error in told["errors"]]
        return Result(opened, errors, told["log"], told["complete"], target.read_bytes()[: told["size"]])

    return run


@pytest.fixture
async def server() -> AsyncIterator[WebServer]:
    async with WebServer({"fw.bin": FILE}) as server:
        yield server


@pytest.fixture
async def secure_server() -> AsyncIterator[WebServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server_key.pem")
    async with WebServer({"fw.bin": FILE}, tls=context) as server:
        yield server


def ranges(server: WebServer) -> list[str | None]:
    return [request.headers.get("range") for request in server.requests]


async def test_a_file_larger_than_the_heap_arrives_over_http(server: WebServer, download: Download) -> None:
    result = await download(server.url("fw.bin"))
    assert result.complete
    assert result.body == FILE
    assert result.opened == [(0, len(FILE), f'"{TAG}"')]
    assert (server.requests[0].status, server.requests[0].sent) == (200, len(FILE))


async def test_a_file_larger_than_the_heap_arrives_over_https(secure_server: WebServer, download: Download) -> None:
    result = await download(secure_server.url("fw.bin", "localhost"))
    assert (result.complete, result.body == FILE) == (True, True)


@pytest.mark.parametrize(
    "fault", [Fault("fw.bin", chunked=True), Fault("fw.bin", no_length=True)], ids=["chunked", "close"]
)
async def test_a_file_arrives_without_a_length(fault: Fault, server: WebServer, download: Download) -> None:
    server.faults.append(fault)
    result = await download(server.url("fw.bin"))
    assert (result.complete, result.body == FILE) == (True, True)
    assert result.opened[0][1] is None


async def test_what_breaks_off_is_resumed_where_it_broke_off(server: WebServer, download: Download) -> None:
    server.faults.append(Fault("fw.bin", times=2, cut_after=100_000))
    result = await download(server.url("fw.bin"), tries=3)
    assert (result.complete, result.body == FILE) == (True, True)
    assert [begin[:2] for begin in result.opened] == [(0, len(FILE)), (100_000, len(FILE)), (200_000, len(FILE))]
    assert ranges(server) == [None, "bytes=100000-", "bytes=200000-"]
    assert server.requests[1].headers["if-range"] == f'"{TAG}"'
    assert all("before the end" in text and not permanent for text, permanent in result.errors)


async def test_what_breaks_off_is_resumed_over_https_and_in_chunks(
    secure_server: WebServer, download: Download
) -> None:
    secure_server.faults.append(Fault("fw.bin", times=1, cut_after=100_001, chunked=True))
    secure_server.faults.append(Fault("fw.bin", chunked=True))
    result = await download(secure_server.url("fw.bin"), tries=2)
    assert (result.complete, result.body == FILE) == (True, True)
    assert result.opened[1][0] == 100_001


async def test_a_server_that_dies_half_way_and_comes_back_is_waited_for(server: WebServer, download: Download) -> None:
    server.faults.append(Fault("fw.bin", times=1, cut_after=150_000, down=0.2))
    result = await download(server.url("fw.bin"), tries=1000)
    assert (result.complete, result.body == FILE) == (True, True)
    assert len(result.errors) > 1
    assert ranges(server) == [None, "bytes=150000-"]


async def test_a_stalled_download_times_out_and_is_resumed(server: WebServer, download: Download) -> None:
    server.faults.append(Fault("fw.bin", times=1, stall_after=50_000))
    result = await download(server.url("fw.bin"), timeout=300, tries=20)
    assert (result.complete, result.body == FILE) == (True, True)
    assert "timed out" in result.errors[0][0]
    assert "bytes=50000-" in ranges(server)


async def test_a_slow_server_is_no_stalled_one(server: WebServer, download: Download) -> None:
    server.files = {"fw.bin": FILE[:1000]}
    server.faults.append(Fault("fw.bin", drip=0.002, piece=10))
    assert (await download(server.url("fw.bin"))).body == FILE[:1000]


@pytest.mark.parametrize(
    "second",
    [
        Fault("fw.bin", ignore_range=True),
        Fault("fw.bin", times=1, headers={"Content-Range": "bytes 0-299999/300000"}),
        Fault("fw.bin", times=1, headers={"Content-Range": "bytes 100000-199999/200000", "Content-Length": "100000"}),
        Fault("fw.bin", times=1, status=416),
        Fault("fw.bin", headers={"ETag": '"another"'}),
        Fault("fw.bin", headers={"ETag": '"another"'}, ignore_if_range=True),
    ],
    ids=["no ranges", "another range", "another length", "not satisfiable", "another file", "another file's range"],
)
async def test_what_cannot_be_resumed_starts_over(second: Fault, server: WebServer, download: Download) -> None:
    server.faults += [Fault("fw.bin", times=1, cut_after=100_000), second]
    result = await download(server.url("fw.bin"), tries=2)
    assert (result.complete, result.body == FILE) == (True, True)
    assert [begin[0] for begin in result.opened] == [0, 0]


async def test_a_file_replaced_meanwhile_arrives_whole(server: WebServer, download: Download) -> None:
    def replace(request: Request) -> None:
        server.files = {"fw.bin": b"new" + FILE[1000:]}

    server.faults.append(Fault("fw.bin", times=1, cut_after=100_000))
    server.log = replace
    result = await download(server.url("fw.bin"), tries=2)
    assert (result.complete, result.body) == (True, b"new" + FILE[1000:])


async def test_redirects_lead_to_another_host_without_the_password(server: WebServer, download: Download) -> None:
    target = server.url("fw.bin", "localhost") + "?signature=" + "x" * 1500
    server.faults.append(Fault("latest", location=target, headers={"Content-Security-Policy": "x " * 3000}))
    result = await download(server.url("latest").replace("//", "//me:secret@"))
    assert (result.complete, result.body == FILE) == (True, True)
    first, second = server.requests
    assert (first.headers["authorization"], "authorization" in second.headers) == ("Basic bWU6c2VjcmV0", False)
    assert second.headers["host"] == f"localhost:{server.port}"
    assert result.log == [f"Redirected to http://localhost:{server.port}/fw.bin?***"]


async def test_redirects_in_a_circle_end(server: WebServer, download: Download) -> None:
    server.faults += [Fault("a", location="/b"), Fault("b", location="a")]
    result = await download(server.url("a"))
    assert "too many redirects" in result.errors[0][0]
    assert len(server.requests) == 6


async def test_https_does_not_lead_to_http(server: WebServer, secure_server: WebServer, download: Download) -> None:
    secure_server.faults.append(Fault("fw.bin", location=server.url("fw.bin")))
    result = await download(secure_server.url("fw.bin"))
    assert "https to http" in result.errors[0][0]
    assert not server.requests


@pytest.mark.parametrize(
    ("fault", "words", "permanent"),
    [
        (Fault("fw.bin", status=404), "HTTP 404", True),
        (Fault("fw.bin", status=401), "HTTP 401", True),
        (Fault("fw.bin", status=503), "HTTP 503", False),
        (Fault("fw.bin", endless_headers=True), "too long", False),
        (Fault("fw.bin", headers={"Content-Length": "300001"}), "before the end", False),
        (Fault("fw.bin", headers={"Content-Encoding": "gzip"}), "Content-Encoding", True),
        (Fault("fw.bin", chunked=True, headers={"Content-Length": "300000"}), "no proper HTTP", False),
        (Fault("fw.bin", chunked=True, chunk_size="10000000000000000"), "chunk", False),
        (Fault("fw.bin", chunked=True, chunk_size="-1"), "chunk", False),
        (Fault("fw.bin", chunked=True, cut_after=100_000), "before the end", False),
        (Fault("fw.bin", cut_after=0), "before the end", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_read_is_an_error(
    fault: Fault, words: str, permanent: bool, server: WebServer, download: Download
) -> None:
    server.faults.append(fault)
    result = await download(server.url("fw.bin"))
    assert not result.complete
    assert (words in result.errors[0][0], result.errors[0][1]) == (True, permanent)


async def test_a_corrupt_byte_is_nothing_that_http_would_notice(server: WebServer, download: Download) -> None:
    server.faults.append(Fault("fw.bin", corrupt_at=123_456))
    result = await download(server.url("fw.bin"))
    assert result.complete
    assert [at for at in range(len(FILE)) if result.body[at] != FILE[at]] == [123_456]
