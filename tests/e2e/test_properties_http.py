"""Properties of the download over HTTP: whatever a server answers, it ends in a whole file or in a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import strategies as st

from properties import Answer, Firmware, compiled_firmware, hold, mutations, splits
from simulator.interpreter import Interpreter

# What is said and then the file are what the firmware sends in a case; the first has `asked` bytes.
CODE = """
from errno import ECONNREFUSED
from firmware import http, redirect
from firmware.sources import parse_url
from hw.connection import Connection

async def answer(options, data):
    peers, dialled, logged = [], [], []
    parts = options["parts"]

    async def dial(host, port, secure=False, *, timeout=None):
        if len(peers) == len(parts):
            raise OSError(ECONNREFUSED, "nobody is there")
        start = sum(parts[: len(peers)])
        peers.append(Peer(data[start : start + parts[len(peers)]], options["splits"]))
        dialled.append((host, port, secure, _sent_length))
        return Connection(peers[-1], host, 5000)

    result = {"file": 0}
    source = None
    try:
        address = parse_url(options["url"])
        offset = options.get("offset", 0)
        source = await http.open(
            address, dial, offset=offset, validator=options.get("validator"), timeout=5000, log=logged.append)
        result["asked"] = _sent_length
        result["begin"] = source.offset
        result["total"] = source.length
        view = memoryview(bytearray(options.get("view", 512)))
        count = await source.readinto(view)
        while count:
            result["file"] += count
            sent(view[:count])
            count = await source.readinto(view)
        result["complete"] = True
    except (OSError, MemoryError) as error:  # as Transfer has it
        result["error"] = str(error)
        result["memory_error"] = isinstance(error, MemoryError)
    finally:
        if source:
            source.close()
    for _ in range(5):
        await asyncio.sleep_ms(0)
    result.setdefault("asked", _sent_length)
    result["dialled"] = dialled
    result["open"] = sum(peer.open for peer in peers)
    return result
"""

URL = "http://operator:secret@host:8080/dir/fw.bin"
OPERATOR = b"Authorization: Basic b3BlcmF0b3I6c2VjcmV0\r\n"
FILE = bytes(range(256)) * 5
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 1280\r\n\r\n" + FILE
REQUEST = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\nHost: ([!-~]+)\r\nUser-Agent: Arus\r\nAccept-Encoding: identity\r\n"
    rb"Connection: close\r\n(Authorization: Basic [A-Za-z0-9+/=]+\r\n)?(Range: bytes=\d+-\r\n)?"
    rb"(If-Range: [ -~]+\r\n)?\r\n"
)


@pytest.fixture(scope="module")
def firmware(interpreter: Interpreter) -> Iterator[Firmware]:
    firmware = Firmware(interpreter, compiled_firmware(), CODE)
    yield firmware
    firmware.stop()


def fetch(
    firmware: Firmware,
    *answers: bytes,
    url: str = URL,
    splits: tuple[int, ...] | list[int] = (1 << 20,),
    **options: object,
) -> Answer:
    """Download from a server that gives these answers, one for each connection; a good one after it works."""
    answer = ask(firmware, *answers, url=url, splits=splits, **options)

    def good() -> None:
        assert body(ask(firmware, GOOD)) == FILE

    firmware.rest(good)
    return answer


def ask(
    firmware: Firmware,
    *answers: bytes,
    url: str = URL,
    splits: tuple[int, ...] | list[int] = (1 << 20,),
    **options: object,
) -> Answer:
    parts = [len(answer) for answer in answers]
    answer = firmware.ask(b"".join(answers), parts=parts, url=url, splits=list(splits), **options)
    assert answer.result["open"] == 0, "a connection was left open"
    assert ("complete" in answer.result) != ("error" in answer.result)
    assert not answer.result.get("memory_error") or sum(parts) > 3000, "out of memory"
    return answer


def body(answer: Answer) -> bytes | None:
    """The whole file, or None when there was none."""
    return answer.sent[answer.result["asked"] :] if "complete" in answer.result else None


def requests(answer: Answer) -> list[re.Match[bytes]]:
    """The requests, which are well-formed whatever made the firmware send them."""
    said = answer.sent[: answer.result["asked"]]
    found = []
    while said:
        request = REQUEST.match(said)
        assert request, said
        found.append(request)
        said = said[request.end() :]
    return found


def chunked(pieces: list[tuple[bytes, int, bytes]]) -> bytes:
    """A chunked body. pieces: data, number of needless zeros before its length, extension."""
    coded = b"".join(
        b"%s%x%s\r\n%s\r\n" % (b"0" * zeros, len(data), rest, data) for data, zeros, rest in pieces if data
    )
    return coded + b"0\r\n\r\n"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(
    [(FILE[:700], 0, b""), (FILE[700:], 2, b";a=b")]
)
RANGE = (
    b'HTTP/1.1 206 Partial Content\r\nETag: "1"\r\nContent-Range: bytes 280-1279/1280\r\nContent-Length: 1000\r\n\r\n'
)
VALID = (
    GOOD,
    CHUNKED,
    RANGE + FILE[280:],
    b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD,
    b"HTTP/1.0 200 OK\r\nServer: x\r\nLast-Modified: Fri, 21 Aug 2026 12:00:00 GMT\r\n\r\n" + FILE,
    b"HTTP/1.1 302 Found\r\nLocation: /other\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!",
    b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */5\r\n\r\n",
)
WORDS = (
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"Content-Length: 1280\r\n",
    b"Content-Length: 4294967296\r\n",
    b"Content-Length: 9999999999\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Range: bytes 280-1279/1280\r\n",
    b"Content-Range: bytes 280-9999999998/9999999999\r\n",
    b"Location: http://host/\r\n",
    b"Location: \r\n",
    b"Location: " + b"a" * 3000 + b"\r\n",
    b'ETag: "' + b"a" * 200 + b'"\r\n',
    b"X: " + b"a" * 5000 + b"\r\n",
    b"0\r\n\r\n",
    b"fffffff\r\n",
    b"80000000\r\n",
    b" ",
    b":",
    b"\0",
    b"\xff",
)
OFFSETS = st.sampled_from(((0, None), (0, None), (280, '"1"'), (280, None)))


def test_arbitrary_bytes_are_no_file(firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[bytes, list[int]]) -> None:
        assert body(fetch(firmware, case[0], splits=case[1])) is None

    hold(st.tuples(st.binary(max_size=2000), splits), check, 150, everything)


def test_a_changed_answer_ends_in_a_file_or_in_a_reason(firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[bytes, list[int], tuple[int, str | None]]) -> None:
        data, splits, (offset, validator) = case
        answer = fetch(firmware, data, data, data, splits=splits, offset=offset, validator=validator)
        requests(answer)
        result = answer.result
        if "complete" in result and result["total"] is not None:
            assert result["begin"] + result["file"] == result["total"]

    hold(st.tuples(mutations(VALID, WORDS).map(lambda data: data[:8000]), splits, OFFSETS), check, 400, everything)


def test_a_chunked_body_arrives_however_it_is_cut(firmware: Firmware, everything: bool) -> None:
    extension = st.one_of(st.just(b""), st.from_regex(rb"\A ?;[ -~]{0,60}\Z"))
    piece = st.tuples(st.binary(max_size=900), st.integers(0, 3), extension)

    def check(case: tuple[list[tuple[bytes, int, bytes]], list[int], int]) -> None:
        pieces, splits, view = case
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
        answer = fetch(firmware, head + chunked(pieces), splits=splits, view=view)
        assert body(answer) == b"".join(data for data, _, _ in pieces)

    hold(st.tuples(st.lists(piece, max_size=8), splits, st.integers(1, 2048)), check, 150, everything)


def test_a_body_cut_short_is_never_complete(firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[bytes, int, list[int]]) -> None:
        data, missing, splits = case
        # the last CR LF of a chunked body is not waited for: nothing follows on this connection
        end = len(data) - missing - (2 if data is CHUNKED else 0)
        answer = fetch(firmware, data[: max(end, 0)], splits=splits, offset=280, validator='"1"')
        assert body(answer) is None

    cases = st.tuples(st.sampled_from((GOOD, CHUNKED, RANGE + FILE[280:])), st.integers(1, 1500), splits)
    hold(cases, check, 150, everything)


def test_a_range_is_taken_only_if_it_is_the_rest_of_the_same_file(firmware: Firmware, everything: bool) -> None:
    number = st.one_of(st.sampled_from((0, 279, 280, 281, 1279, 1280, 2**31, 2**32, 2**64)), st.integers(0, 10**12))

    def check(case: tuple[int, int, int, int | None, str]) -> None:
        first, last, total, length, tag = case
        lines = [b"HTTP/1.1 206 Partial Content", b"Content-Range: bytes %d-%d/%d" % (first, last, total)]
        lines += [b"Content-Length: %d" % length] if length is not None else []
        lines += [b"ETag: " + tag.encode()] if tag else []
        partial = b"\r\n".join([*lines, b"", b""]) + FILE[280:]
        answer = fetch(firmware, partial, GOOD, offset=280, validator='"1"')
        right = first == 280 and last == total - 1 and total > 280 and length in (None, total - 280)
        # of a weak tag nothing can be told
        right = right and tag in ("", '"1"', 'W/"1"') and total < 10**10
        assert answer.result.get("begin") == (280 if right else 0)
        assert body(answer) == (None if right and total > 1280 else FILE[280:][: total - 280] if right else FILE)

    right = st.sampled_from(((280, 1279, 1280), (280, 1000, 1001)))
    near = st.builds(
        lambda numbers, place, change: [n + change * (place == at) for at, n in enumerate(numbers)],
        right,
        st.integers(0, 2),
        st.sampled_from((-1, 1, 10)),
    )
    ranges = st.one_of(st.tuples(number, number, number), right, near)
    lengths = st.one_of(st.sampled_from((None, 1000, 721)), number)
    tags = st.sampled_from(("", '"1"', '"1"', '"2"', 'W/"1"'))
    cases = st.builds(lambda numbers, length, tag: (*numbers, length, tag), ranges, lengths, tags)
    hold(cases, check, 200, everything)


PLACES = (
    "http:// https:// HTTP:// ftp:// // / .. . ? # @ : a host host:8080 [::1] %41 me:mine@ other //host http://host "
    ":80 :99999 :: \\"
).split()
LOCATION = st.one_of(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60),
    st.lists(st.sampled_from([*PLACES, "a" * 1500]), min_size=1, max_size=6).map("".join),
)


def test_redirects_end_and_take_no_password_along(firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[str, list[str], int]) -> None:
        scheme, locations, status = case
        answers = [b"HTTP/1.1 %d Go\r\nLocation: %s\r\n\r\n" % (status, place.encode()) for place in locations]
        url = f"{scheme}://operator:secret@host:8080/dir/fw.bin?a=1"
        answer = fetch(firmware, *answers, GOOD, url=url)
        if answer.result.get("memory_error"):
            return
        asked = requests(answer)
        dialled = answer.result["dialled"]
        assert len(asked) == len(dialled) <= 6
        assert (body(answer) == FILE) if len(asked) == len(answers) + 1 else "error" in answer.result
        secure = False
        place = url
        for location, (host, port, tls, _) in zip(["", *locations], dialled, strict=False):
            if not re.match(r"(https?:)?//(host|other)(:\d+)?(/|$)|(/|$)(?!/)", location, re.IGNORECASE):
                break  # what is stranger than that Python may take for something else
            place = urljoin(place, location)
            target = urlsplit(place)
            assert (host, port) == (target.hostname, target.port or (443 if tls else 80))
        for request, (host, port, tls, _) in zip(asked, dialled, strict=True):
            assert tls >= secure, "from https to http"
            secure = tls
            target = urlsplit(f"http://{request[2].decode()}")
            assert (target.hostname, target.port or (443 if tls else 80)) == (host, port)
            if (host, port) != ("host", 8080):
                assert request[3] != OPERATOR, "the password went elsewhere"
        assert "secret@" not in answer.result.get("error", "")

    cases = st.tuples(
        st.sampled_from(("http", "https")),
        st.lists(LOCATION.filter(lambda place: len(place) < 3500), min_size=1, max_size=7),
        st.sampled_from((301, 302, 307, 399)),
    )
    hold(cases, check, 250, everything)


def test_an_arbitrary_location_is_asked_for_properly_or_refused(firmware: Firmware, everything: bool) -> None:
    def check(url: str) -> None:
        asked = requests(fetch(firmware, GOOD, url=url))
        assert len(asked) <= 1

    parts = st.sampled_from(
        (
            "http://",
            "https://",
            "a",
            "host",
            ":",
            "@",
            "/",
            "?",
            "#",
            "%41",
            "%4",
            "%",
            "[",
            "]",
            "::1",
            "80",
            "65536",
            "é",
            " ",
            "\r\n",
            "\0",
        )
    )
    hold(st.one_of(st.text(max_size=60), st.lists(parts, max_size=9).map("".join)), check, 250, everything)
