"""Hostile networks: each ends in a defined time, in little memory, with words that name it; HOSTILE.md has the table.

The firmware's WebSocket and download run on MicroPython, with their own timeouts, in an ESP32-sized heap and in time
that runs fast. Every test checks (in hostile.py) that no descriptor and no task is left and that the loop went on.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import environment
import hostile
from hostile import DIAL_TIMEOUT, STALL_TIMEOUT, Behave, Charger, Proxy, Stream, accept, frame, head, peer, unused_port
from simulator.interpreter import Interpreter

SLACK = 60  # seconds of the charger's time, which is little on a busy desk
DIAL = DIAL_TIMEOUT / 1000
STALL = STALL_TIMEOUT / 1000
BOTH = pytest.mark.parametrize("kind", ["websocket", "download"])
TEXT, PING = 1, 9


@pytest.fixture(scope="session")
def charger(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Charger:
    compiled = tmp_path_factory.mktemp("mpy")
    environment.compile_mpy(hostile.network_modules(), compiled, optimisation=3)
    return Charger(interpreter, compiled)


def url(kind: str, port: int, secure: bool = False, host: str = "127.0.0.1") -> str:
    scheme = {"websocket": "ws", "download": "http"}[kind] + "s" * secure
    return f"{scheme}://{host}:{port}/CP1"


def in_time(took: float, expected: float) -> bool:
    return expected - 1 <= took <= 2 * expected + SLACK


# ---------------------------------------------------------------------------------------- connecting, the same for both


@BOTH
async def test_connection_refused(charger: Charger, kind: str) -> None:
    outcome = await charger.meets(url(kind, unused_port()))
    assert "can't connect (ECONNREFUSED)" in outcome.reason
    assert in_time(outcome.took, 0)


@contextmanager
def listening(backlog: int) -> Iterator[socket.socket]:
    """A socket whose connections the system accepts and no program ever does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        yield listener


@BOTH
async def test_no_answer_to_connecting(charger: Charger, kind: str) -> None:
    with listening(0) as listener:
        queue = [socket.socket() for _ in range(4)]  # more than are kept waiting; the system ignores further ones
        for waiting in queue:
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        outcome = await charger.meets(url(kind, listener.getsockname()[1]))
        for waiting in queue:
            waiting.close()
    limit = {"websocket": DIAL, "download": STALL}[kind]
    assert "connecting timed out" in outcome.reason
    assert in_time(outcome.took, limit)


@BOTH
async def test_half_open(charger: Charger, kind: str) -> None:
    with listening(5) as listener:
        outcome = await charger.meets(url(kind, listener.getsockname()[1]))
    assert "timed out" in outcome.reason
    assert in_time(outcome.took, {"websocket": DIAL, "download": STALL}[kind])


@BOTH
async def test_dns_failure(charger: Charger, kind: str) -> None:
    outcome = await charger.meets(url(kind, 80, host="station.example"), names=None)
    assert "station.example:80: host name not found" in outcome.reason
    assert in_time(outcome.took, 0)


@BOTH
async def test_slow_dns(charger: Charger, kind: str) -> None:
    """The system's resolver blocks everything, so it is asked once; what it finds late is used all the same."""

    async def answer(stream: Stream) -> None:
        await stream.request()
        await stream.say(head("404 Not Found"))

    async with peer(answer) as port:
        outcome = await charger.meets(url(kind, port, host="station.example"), names=20_000)
    assert "HTTP 404" in outcome.reason
    assert in_time(outcome.took, 20)


@BOTH
@pytest.mark.parametrize("after", [0, 3, 100, 500])
async def test_tls_handshake_stalls(charger: Charger, kind: str, after: int) -> None:
    async with peer(Stream.silence, hostile.tls()) as port, Proxy(port) as proxy:
        proxy.freeze_after = after
        outcome = await charger.meets(url(kind, proxy.port, True))
    assert "TLS handshake timed out" in outcome.reason
    assert in_time(outcome.took, {"websocket": DIAL, "download": STALL}[kind])


@BOTH
async def test_tls_handshake_drips(charger: Charger, kind: str) -> None:
    async with peer(Stream.silence, hostile.tls()) as port, Proxy(port) as proxy:
        proxy.drip = 1 / hostile.SPEED
        outcome = await charger.meets(url(kind, proxy.port, True))
    assert "TLS handshake timed out" in outcome.reason
    assert in_time(outcome.took, {"websocket": DIAL, "download": STALL}[kind])


CERTIFICATES = {
    "wrong_name": "issued for another host name than the URL's",
    "expired": "expired, or the clock is wrong",
    "future": "not valid yet, or the clock is not set",
    "untrusted": "not issued by the configured CA",
    "self_signed": "not issued by the configured CA",
    "issued_by_server": "not issued by the configured CA",
    "bad_signature": "not issued by the configured CA",
    "client": "not meant for a server (key usage), or malformed",
    "ca_as_server": "not meant for a server (key usage), or malformed",
}


@BOTH
@pytest.mark.parametrize("certificate", CERTIFICATES)
async def test_certificate_is_wrong(charger: Charger, kind: str, certificate: str) -> None:
    async with peer(Stream.silence, hostile.tls(certificate)) as port:
        outcome = await charger.meets(url(kind, port, True))
    assert outcome.reason == f"127.0.0.1:{port}: certificate refused: {CERTIFICATES[certificate]}"
    assert in_time(outcome.took, 0)


# --------------------------------------------------------------------------------- each in its own way, same principle


async def reset_at_once(stream: Stream) -> None:
    await stream.request()
    stream.reset()


async def close_at_once(stream: Stream) -> None:
    await stream.request()


async def endless_headers(stream: Stream) -> None:
    request = await stream.request()
    await stream.say((accept(request) if "Upgrade" in request else head("200 OK"))[:-2])
    while True:
        await stream.say(b"X-More: and more\r\n" * 10)


async def endless_line(stream: Stream) -> None:
    await stream.request()
    await stream.say(b"HTTP/1.1 101 Switching Protocols\r\nX-Long: ")
    while True:
        await stream.say(b"x" * 1000)


async def endless_redirects(stream: Stream) -> None:
    request = await stream.request()
    where = request.split(" ")[1] + "x"
    await stream.say(head("302 Found", f"Location: {where}", "Content-Length: 0"))


async def drip_the_head(stream: Stream) -> None:
    await stream.request()
    await stream.drip(b"HTTP/1.1 101 Switching Protocols\r\n" + b"X-More: and more\r\n" * 100, 0.1)


async def another_range(stream: Stream) -> None:
    await stream.request()
    await stream.say(head("206 Partial Content", "Content-Range: bytes 0-4/5000", "Content-Length: 5") + b"hello")


def upgraded(data: bytes, then: Behave) -> Behave:
    """A server that accepts the upgrade, says something and then does that."""

    async def behave(stream: Stream) -> None:
        await stream.upgrade()
        await stream.say(data)
        await then(stream)

    return behave


async def drip_a_frame(stream: Stream) -> None:
    await stream.upgrade()
    await stream.drip(frame(TEXT, 1000, b" " * 1000), 0.1)


async def drip_fragments(stream: Stream) -> None:
    await stream.upgrade()
    await stream.say(frame(TEXT, 0, final=False))
    await stream.drip((frame(0, 0, final=False) + frame(PING, 0)) * 1000, 0.1, 4)


async def nothing_more(stream: Stream) -> None:
    pass


async def reset(stream: Stream) -> None:
    await asyncio.sleep(0.05)  # what was said arrives before
    stream.reset()


async def cut(stream: Stream) -> None:
    await asyncio.sleep(0.05)
    stream.writer.transport.abort()  # over TLS: without a close_notify


async def another_key(stream: Stream) -> None:
    await stream.request()
    await stream.say(accept("Sec-WebSocket-Key: bm90IHRoZSByaWdodCBvbmU="))
    await stream.silence()


async def endless_fragments(stream: Stream) -> None:
    await stream.upgrade()
    await stream.say(frame(TEXT, 1000, b"x" * 1000, final=False))
    while True:
        await stream.say(frame(0, 1000, b"x" * 1000, final=False))


WEBSOCKET = {
    # behaviour: (what the server does, words of the reason, seconds until then)
    "reset before the answer": (reset_at_once, "connection lost (ECONNRESET)", 0),
    "closed before the answer": (close_at_once, "connection closed during the upgrade", 0),
    "dead before the answer": (Stream.silence, "timed out", DIAL),
    "drip in the head": (drip_the_head, "timed out: too slow", DIAL),
    "endless headers": (endless_headers, "line too long", 0),
    "endless line": (endless_line, "line too long", 0),
    "endless redirects": (endless_redirects, "HTTP 302: redirected; set the URL to the new address", 0),
    "206": (another_range, "HTTP 206: no WebSocket; check the URL", 0),
    "answer to another request": (another_key, "upgrade with a wrong sec-websocket-accept", 0),
    "reset": (upgraded(frame(TEXT, 100), reset), "connection lost (ECONNRESET)", 0),
    "closed in a frame": (upgraded(frame(TEXT, 100), nothing_more), "closed by the other side", 0),
    "dead in a frame": (upgraded(frame(TEXT, 100, b"half"), Stream.hold), "timed out", DIAL),
    "drip in a frame": (drip_a_frame, "timed out: too slow", DIAL),
    "drip of fragments": (drip_fragments, "timed out: too slow", DIAL),
    "frame shorter than its length": (upgraded(frame(TEXT, 10, b"short"), nothing_more), "closed by the other side", 0),
    "frame longer than its length": (upgraded(frame(TEXT, 2, b"[]xxxxxx"), Stream.silence), "reserved bit", 0),
    "message too long": (upgraded(frame(TEXT, 16_385, b"x" * 16_385), Stream.silence), "more than 16384 bytes", 0),
    "length of a lifetime": (upgraded(frame(TEXT, 2**62), Stream.silence), "more than 16384 bytes", 0),
    "nonsense length": (upgraded(frame(TEXT, 2**63), Stream.silence), "bad length", 0),
    "endless fragments": (endless_fragments, "more than 16384 bytes", 0),
}


@pytest.mark.parametrize("behaviour", WEBSOCKET)
async def test_websocket(charger: Charger, behaviour: str) -> None:
    behave, words, seconds = WEBSOCKET[behaviour]
    async with peer(behave) as port:
        outcome = await charger.meets(url("websocket", port))
    assert words in outcome.reason
    assert in_time(outcome.took, seconds)


PINGS = 5000


async def read_pongs(stream: Stream) -> None:
    await stream.reader.readexactly(PINGS * (2 + 4 + len("ping")))


FLOODS = {
    "pings": frame(PING, 4, b"ping") * PINGS,
    "messages": frame(TEXT, 4, b"[2,3") * 10_000,
    "empty fragments": frame(TEXT, 0, final=False) + frame(0, 0, final=False) * 10_000,
}


@pytest.mark.parametrize("what", FLOODS)
async def test_websocket_is_flooded(charger: Charger, what: str) -> None:
    """The charger is busy with that for seconds, and still the others get their turn."""
    async with peer(upgraded(FLOODS[what], read_pongs if what == "pings" else nothing_more)) as port:
        outcome = await charger.meets(url("websocket", port))
    assert outcome.code == 1006
    assert outcome.ticks > outcome.took > 1


def answered(data: bytes, then: Behave) -> Behave:
    """A server that answers the request with that and then does something."""

    async def behave(stream: Stream) -> None:
        await stream.request()
        await stream.say(data)
        await then(stream)

    return behave


async def drip_the_body(stream: Stream) -> None:
    await stream.request()
    await stream.say(head("200 OK", "Content-Length: 1000000"))
    await stream.drip(bytes(1_000_000), 0.2, 10)


async def drip_chunks(stream: Stream) -> None:
    await stream.request()
    await stream.say(head("200 OK", "Transfer-Encoding: chunked"))
    await stream.drip(b"1\r\nx\r\n" * 100_000, 0.2, 6)


def chunk(line: bytes) -> Behave:
    return answered(head("200 OK", "Transfer-Encoding: chunked") + line + b"\r\nhello world\r\n", Stream.silence)


async def endless_extension(stream: Stream) -> None:
    await stream.request()
    await stream.say(head("200 OK", "Transfer-Encoding: chunked") + b"5;x=")
    while True:
        await stream.say(b"x" * 1000)


PROMISED = head("200 OK", "Content-Length: 5000")
DOWNLOAD = {
    "reset before the answer": (reset_at_once, "connection lost (ECONNRESET)", 0),
    "closed before the answer": (close_at_once, "connection closed before the end", 0),
    "dead before the answer": (Stream.silence, "timed out", STALL),
    "drip in the head": (drip_the_head, "timed out: too slow", 2 * STALL),
    "drip in the body": (drip_the_body, "timed out: too slow", 2 * STALL),
    "drip in chunks": (drip_chunks, "timed out: too slow", 2 * STALL),
    "endless headers": (endless_headers, "no proper HTTP (too long)", 0),
    "endless line": (endless_line, "no proper HTTP (too long)", 0),
    "endless redirects": (endless_redirects, "too many redirects: check the location", 0),
    "206": (another_range, "HTTP 206, check location and server", 0),
    "reset": (answered(PROMISED + bytes(1000), reset), "connection lost (ECONNRESET)", 0),
    "closed in the body": (answered(PROMISED + bytes(1000), nothing_more), "connection closed before the end", 0),
    "dead in the body": (answered(PROMISED + bytes(1000), Stream.hold), "timed out", STALL),
    "body shorter than its length": (answered(PROMISED + bytes(4999), nothing_more), "closed before the end", 0),
    "body longer than its length": (answered(PROMISED + bytes(9000), Stream.silence), "complete, 5000 bytes", 0),
    "nonsense length": (answered(head("200 OK", "Content-Length: -5"), Stream.silence), "no proper HTTP (length)", 0),
    "length of a lifetime": (answered(head("200 OK", "Content-Length: 1" + "0" * 20), Stream.silence), "(length)", 0),
    "negative chunk": (chunk(b"-1"), "no proper HTTP (chunk)", 0),
    "chunk with a prefix": (chunk(b"0x10"), "no proper HTTP (chunk)", 0),
    "chunk of a lifetime": (chunk(b"ffffffffffffffff"), "no proper HTTP (chunk)", 0),
    "chunk without a size": (chunk(b""), "no proper HTTP (chunk)", 0),
    "chunk longer than its size": (chunk(b"5"), "no proper HTTP (chunk)", 0),
    "endless chunk extension": (endless_extension, "no proper HTTP (too long)", 0),
}


@pytest.mark.parametrize("behaviour", DOWNLOAD)
async def test_download(charger: Charger, behaviour: str) -> None:
    behave, words, seconds = DOWNLOAD[behaviour]
    async with peer(behave) as port:
        outcome = await charger.meets(url("download", port))
    assert words in outcome.reason
    assert in_time(outcome.took, seconds)


RESUMED = (2000, '"v1"', 5000)
RANGE = {
    "another range": (0, '"v1"', 5000),
    "another length": (2000, '"v1"', 6000),
    "changed ETag": (2000, '"v2"', 5000),
}


@pytest.mark.parametrize("what", RANGE)
async def test_download_of_another_file_starts_over(charger: Charger, what: str) -> None:
    start, tag, total = RANGE[what]
    requests = itertools.count()

    async def behave(stream: Stream) -> None:
        await stream.request()
        if next(requests):
            await stream.say(head("200 OK", 'ETag: "v2"', "Content-Length: 5000") + bytes(5000))
        else:
            span = f"Content-Range: bytes {start}-{total - 1}/{total}"
            await stream.say(head("206 Partial Content", f"ETag: {tag}", span) + bytes(total - start))

    async with peer(behave) as port:
        outcome = await charger.meets(url("download", port), resume=RESUMED)
    assert outcome.log == ["The server cannot resume here: starting over", "from 0"]
    assert outcome.reason == "complete, 5000 bytes"
    assert in_time(outcome.took, 0)


# ---------------------------------------------------------------------------------------------- the end of a TLS stream


async def test_websocket_is_closed_without_close_notify(charger: Charger) -> None:
    async with peer(upgraded(frame(TEXT, 100), cut), hostile.tls()) as port:
        outcome = await charger.meets(url("websocket", port, True))
    assert "closed by the other side" in outcome.reason
    assert outcome.code == 1006


async def test_download_is_closed_without_close_notify(charger: Charger) -> None:
    async with peer(answered(PROMISED + bytes(1000), cut), hostile.tls()) as port:
        outcome = await charger.meets(url("download", port, True))
    assert "connection closed before the end" in outcome.reason


@pytest.mark.parametrize("end", [nothing_more, cut], ids=["closed", "cut"])
async def test_download_that_only_the_end_of_the_stream_ends(charger: Charger, end: Behave) -> None:
    """Without a length a stream that was cut looks complete: it is the hashes in the file that tell (image.py)."""
    async with peer(answered(head("200 OK") + bytes(1000), end), hostile.tls()) as port:
        outcome = await charger.meets(url("download", port, True))
    assert outcome.reason == "complete, 1000 bytes"


async def test_download_whose_server_ends_tls_and_leaves_tcp_open(charger: Charger) -> None:
    """A limit of MicroPython's tls (see Connection.readinto): without a length this end isn't seen; it times out."""

    async def behave(stream: Stream) -> None:
        await stream.request()
        await stream.say(head("200 OK") + bytes(1000))
        await stream.hold()

    async with peer(behave, hostile.tls()) as port:
        outcome = await charger.meets(url("download", port, True))
    assert "timed out" in outcome.reason
    assert in_time(outcome.took, STALL)


# ------------------------------------------------------------------------------------------------------------ the table


def test_the_table_names_tests_that_exist() -> None:
    folder = Path(__file__).parent
    table = (folder / "HOSTILE.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 16
    files = [*folder.glob("test_hostile_*.py"), *(folder.parent / "unit").glob("test_*.py")]
    sources = [file.read_text() for file in files]
    for name, parameter in re.findall(r"`(test_\w+)(?:\[([^\]]+)\])?`", table):
        source = next((source for source in sources if f"def {name}(" in source), None)
        assert source, f"{name}: no such test"
        for part in re.split(r"-(?=websocket|download)", parameter):
            assert not part or part.isdigit() or f'"{part}"' in source, f"{name}[{parameter}]: no such case"
    for row in rows:
        _, behaviour, websocket, download, _ = row.split("|")
        for cell in (websocket, download):
            assert "`test_" in cell or "—" in cell, f"{behaviour}: {cell}"
