"""Properties of the WebSocket: whatever a server sends, it is read as RFC 6455 has it, however it is cut."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st

from properties import Firmware, compiled_firmware, hold, mutations, splits
from simulator.interpreter import Interpreter

MAX_SIZE = 4096
ACCEPT = b"ACCEPT".ljust(28, b"-")  # the right value takes its place
# A case is an answer to the upgrade and frames. Each message is sent back, so that the server sees what arrived.
CODE = f"""
from binascii import b2a_base64
from hashlib import sha1
from hw.connection import Connection
from ocpp.handshake import HandshakeError, connect
from ocpp.websocket import ConnectionClosed

async def answer(options, data):
    peers = []
    asked = []

    def hear(said):
        if asked:
            return sent(said)
        asked.append(bytes(said))
        key = asked[0].partition(b"Key: ")[2].partition(b"\\r")[0] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = b2a_base64(sha1(key).digest()).strip()
        at = _case.find({ACCEPT!r})
        while at >= 0:
            _case[at : at + {len(ACCEPT)}] = accept
            at = _case.find({ACCEPT!r})
        peers[0].data = data

    async def dial(host, port, secure, *, timeout):
        peers.append(Peer(b"", options["splits"], hear))
        return Connection(peers[0], host, 5000)

    result = {{"opened": False, "kinds": ""}}
    try:
        websocket = await connect("ws://host/CP1", dial, max_size={MAX_SIZE}, timeout=5000)
        result["opened"] = True
        while True:
            message = await websocket.receive()
            result["kinds"] += "t" if isinstance(message, str) else "b"
            await websocket.send(message)
    except ConnectionClosed as error:
        result["code"] = error.code
        result["reason"] = error.reason
    except HandshakeError as error:
        result["status"] = error.status
    except OSError as error:
        result["error"] = str(error)
    for _ in range(5):
        await asyncio.sleep_ms(0)
    result["open"] = peers[0].open
    return result
"""

HEAD = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)
CLOSE = 8
PING = 9
PONG = 10
CLOSED_NORMALLY = b"\x88\x02\x03\xe8"


@dataclass
class Heard:
    """What of a stream of frames a client has to understand (RFC 6455, 5): messages, pings, and the code of its end."""

    messages: list[bytes] = field(default_factory=list)
    kinds: str = ""
    pings: list[bytes] = field(default_factory=list)
    code: int = 1006
    said: list[tuple[int, bytes]] = field(default_factory=list)  # in answer, without the Close


def understand(data: bytes) -> Heard:
    heard = Heard()
    heard.code = _understand(data, heard)
    return heard


def _understand(data: bytes, heard: Heard) -> int:
    message = b""
    kind = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    while len(data) >= 2:
        first, length = data[0], data[1]
        opcode = first & 15
        if first & 0x70 or opcode not in (0, 1, 2, CLOSE, PING, PONG) or length & 0x80:
            return 1002
        if opcode >= CLOSE and (first < 0x80 or length > 125):
            return 1002
        start = {126: 4, 127: 10}.get(length, 2)
        if len(data) < start:
            return 1006
        if length > 125:
            length = int.from_bytes(data[2:start], "big")
            if length < (126 if start == 4 else 65536) or length >= 2**63:
                return 1002
        if opcode < CLOSE and (opcode == 0) != (kind != 0):
            return 1002
        if opcode < CLOSE and len(message) + length > MAX_SIZE:
            return 1009
        payload = data[start : start + length]
        data = data[start + length :]
        if opcode < CLOSE:
            kind = kind or opcode
            try:
                if kind == 1:
                    decoder.decode(payload, final=first >= 0x80 and len(payload) == length)
            except UnicodeDecodeError:
                return 1007
        if len(payload) < length:
            return 1006
        if opcode == PING:
            heard.said.append((PONG, payload))
        elif opcode == CLOSE:
            return _close_code(payload)
        elif opcode != PONG:
            message += payload
            if first >= 0x80:
                heard.kinds += "tb"[kind - 1]
                heard.messages.append(message)
                heard.said.append((1, message))
                message, kind = b"", 0
    return 1006


def _close_code(payload: bytes) -> int:
    if not payload:
        return 1005
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (code in (*range(1000, 1004), *range(1007, 1015)) or 3000 <= code < 5000):
        return 1002
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return 1007
    return code


def frame(opcode: int, payload: bytes = b"", final: bool = True, flags: int = 0, form: int = 0, mask: int = 0) -> bytes:
    """A server's frame. form: at least which of the three forms its length has."""
    length = len(payload)
    form = max(form, (length > 125) + (length > 65535))
    size = [bytes([length & 127]), b"\x7e" + length.to_bytes(2, "big"), b"\x7f" + length.to_bytes(8, "big")][form]
    return bytes([final << 7 | flags << 4 | opcode, size[0] | mask << 7]) + size[1:] + payload


def said(sent: bytes) -> list[tuple[int, bytes]]:
    """The frames of a client, each of which is final and masked, with the shortest length."""
    found = []
    while sent:
        assert sent[0] & 0xF0 == 0x80 and sent[1] & 0x80
        length = sent[1] & 127
        start = {126: 4, 127: 10}.get(length, 2)
        if start > 2:
            length = int.from_bytes(sent[2:start], "big")
            assert length > (125 if start == 4 else 65535)
        mask, payload = sent[start : start + 4], sent[start + 4 : start + 4 + length]
        assert len(payload) == length
        found.append((sent[0] & 15, bytes(a ^ b for a, b in zip(payload, itertools.cycle(mask), strict=False))))
        sent = sent[start + 4 + length :]
    return found


@pytest.fixture(scope="module")
def firmware(interpreter: Interpreter) -> Iterator[Firmware]:
    firmware = Firmware(interpreter, compiled_firmware(), CODE, most=20 * 1024)
    yield firmware
    firmware.stop()


def talk(firmware: Firmware, data: bytes, splits: Sequence[int]) -> None:
    """Send this after the upgrade; check that it is understood as the standard has it, and a good session after it."""
    _talk(firmware, data, splits)
    firmware.rest(lambda: _talk(firmware, frame(1, b"[2]") + CLOSED_NORMALLY, [1 << 20]))


def _talk(firmware: Firmware, data: bytes, splits: Sequence[int]) -> None:
    answer = firmware.ask(HEAD + data, splits=splits)
    heard = understand(data)
    result = answer.result
    assert not result["open"], "the connection was left open"
    assert result["code"] == heard.code, result
    frames = said(answer.sent)
    if frames and frames[-1][0] == CLOSE:
        code = int.from_bytes(frames.pop()[1][:2] or (1005).to_bytes(2, "big"), "big")
        assert code == heard.code
    else:
        assert heard.code == 1006, "no Close"
    assert result["kinds"] == heard.kinds
    assert frames == heard.said


texts = st.text(max_size=300).map(lambda text: text.encode())
BAD_TEXTS = (
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xe0\x80\x80",
    b"\xe2\x82",
    b"\xac",
)
payloads = st.one_of(
    texts,
    st.binary(max_size=130),
    st.integers(0, 5000).map(lambda length: b"x" * length),
    st.sampled_from((b"\x03\xe8", b"\x03\xed", b"\x03\xe8\xff", b"\x03", b"\xe2\x82", b"\xac")),
)
nearly_text = st.tuples(texts, st.sampled_from(BAD_TEXTS), texts).map(b"".join)
good_frames = st.builds(frame, st.sampled_from((1, 1, 2, 0, PING, PONG)), texts, st.booleans())
any_frames = st.builds(
    frame,
    st.one_of(st.sampled_from((0, 1, 2, CLOSE, PING, PONG)), st.integers(0, 15)),
    payloads,
    st.booleans(),
    st.sampled_from((0,) * 9 + (1, 2, 4)),
    st.sampled_from((0,) * 9 + (1, 2)),
    st.sampled_from((0,) * 9 + (1,)),
)
bad_texts = st.builds(frame, st.sampled_from((1, 0)), nearly_text, st.booleans())
long_messages = st.lists(st.sampled_from((0, 1, 1000, 2000, 4096)), min_size=2, max_size=4).map(
    lambda lengths: b"".join(
        frame(0 if at else 1, b"x" * lengths[at], at == len(lengths) - 1) for at in range(len(lengths))
    )
)
WORDS = (b"\x81", b"\x01", b"\x80\x00", b"\x7e", b"\x7f", b"\xff" * 8, CLOSED_NORMALLY, b"\x89\x00", b"\xe2\x82")


def test_arbitrary_frames_are_read_as_the_standard_has_it(firmware: Firmware, everything: bool) -> None:
    streams = st.lists(
        st.one_of(good_frames, good_frames, any_frames, any_frames, bad_texts, long_messages), max_size=6
    ).map(lambda parts: b"".join(parts)[: 1 << 14])
    cases = st.tuples(st.one_of(st.binary(max_size=200), streams, streams), splits)
    hold(cases, lambda case: talk(firmware, *case), 400, everything)


def test_changed_frames_are_read_as_the_standard_has_it(firmware: Firmware, everything: bool) -> None:
    valid = (
        frame(1, b'[2,"1","Reset",{"type":"Soft"}]') + frame(PING, b"ping") + frame(1, b"[]") + CLOSED_NORMALLY,
        frame(1, "€uro".encode()[:2], final=False) + frame(PING) + frame(0, "€uro".encode()[2:]) + CLOSED_NORMALLY,
        frame(2, bytes(range(256))) + frame(1, b"x" * 126) + frame(PONG, b"a") + frame(CLOSE, b"\x03\xe9bye"),
    )
    cases = st.tuples(mutations(valid, WORDS), splits)
    hold(cases, lambda case: talk(firmware, *case), 300, everything)


@st.composite
def cut_messages(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """Texts and the frames that carry them, with pings and pongs in between."""
    messages = draw(st.lists(st.text(max_size=400), min_size=1, max_size=4))
    stream = b""
    for message in messages:
        data = message.encode()
        places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
        edges = [0, *places, len(data)]
        for number, (start, end) in enumerate(itertools.pairwise(edges)):
            stream += frame(1 if number == 0 else 0, data[start:end], final=number == len(places))
            if draw(st.booleans()):
                stream += frame(draw(st.sampled_from((PING, PONG))), draw(st.binary(max_size=125)))
    return messages, stream + CLOSED_NORMALLY


def test_a_text_arrives_identical_however_it_is_cut(firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[tuple[list[str], bytes], list[int]]) -> None:
        (messages, stream), splits = case
        answer = firmware.ask(HEAD + stream, splits=splits)
        echoes = [payload.decode() for opcode, payload in said(answer.sent) if opcode == 1]
        assert (echoes, answer.result["code"]) == (messages, 1000)
        firmware.rest(lambda: _talk(firmware, frame(1, b"[2]") + CLOSED_NORMALLY, [1 << 20]))

    hold(st.tuples(cut_messages(), splits), check, 200, everything)


HEAD_WORDS = (
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b" ",
    b",",
    b":",
    b"\0",
    b"\xff",
    b"\t",
    b"HTTP/1.1 101 \r\n",
    b"Upgrade: WebSocket\r\n",
    b"Connection: keep-alive, Upgrade\r\n",
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
    b"X: " + b"a" * 5000 + b"\r\n",
    b"A: b\r\n" * 300,
)


def test_an_upgrade_with_another_value_in_a_header_is_refused(firmware: Firmware, everything: bool) -> None:
    lines = HEAD.split(b"\r\n")[1:5]
    word = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map(lambda text: text.encode())

    def check(case: tuple[int, bytes, int, int, bytes]) -> None:
        number, other, at, cut, by = case
        name, _, value = lines[number].partition(b": ")
        at = min(at, len(value))
        value = other if other else value[:at] + by + value[at + cut :]  # something missing, added or replaced
        head = HEAD.replace(lines[number], name + b": " + value)
        answer = firmware.ask(head + CLOSED_NORMALLY, splits=[1 << 20])
        tokens = [token.strip().lower() for token in value.split(b",")]
        right = (
            value.strip().lower() == b"websocket",
            b"upgrade" in tokens,
            value.strip() == ACCEPT,
            value.strip() == b"ocpp1.6",
        )[number]
        assert answer.result["opened"] == right
        firmware.rest(lambda: _talk(firmware, frame(1, b"[2]") + CLOSED_NORMALLY, [1 << 20]))

    numbers = st.integers(0, 3)
    cases = st.tuples(
        numbers, st.one_of(st.just(b""), word), st.integers(0, 9), st.integers(0, 3), st.one_of(st.just(b""), word)
    )
    hold(cases, check, 150, everything)


def test_an_upgrade_opens_only_if_its_answer_says_so(firmware: Firmware, everything: bool) -> None:
    refusal = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    rest = frame(1, b"[]") + CLOSED_NORMALLY

    def check(case: tuple[bytes, list[int]]) -> None:
        head, splits = case
        answer = firmware.ask(head + rest, splits=splits)
        result = answer.result
        assert not result["open"], "the connection was left open"
        if head == HEAD:
            assert (result["opened"], result["kinds"], result["code"]) == (True, "t", 1000)
        if result["opened"]:
            assert head.startswith(b"HTTP/1.") and head[9:12] == b"101"
            folded = head.lower()
            assert all(
                name in folded
                for name in (b"upgrade", b"connection", b"sec-websocket-accept", ACCEPT.lower(), b"ocpp1.6")
            )
        else:
            assert "status" in result or "error" in result
            assert answer.sent == b"", "something was said to a server that did not upgrade"
        firmware.rest(lambda: _talk(firmware, frame(1, b"[2]") + CLOSED_NORMALLY, [1 << 20]))

    cases = st.one_of(st.binary(max_size=300), mutations([HEAD, HEAD, HEAD, refusal], HEAD_WORDS))
    hold(st.tuples(cases, splits), check, 300, everything)
