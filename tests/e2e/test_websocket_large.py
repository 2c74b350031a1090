"""Messages at the limit and above it, between ocpp/'s WebSocket on MicroPython and the package `websockets`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from simulator.interpreter import Interpreter

LIMIT = 16 * 1024  # the default
MIB = 1024 * 1024
SMALL = 120 * 1024  # of heap
LARGE = 64 * MIB

# Sends back every message until the connection ends, and tells how that was.
DRIVER = """
import asyncio, json, sys
from hw.connection import Dialer
from ocpp.handshake import connect
from ocpp.websocket import ConnectionClosed

async def echo(url, options):
    websocket = await connect(url, Dialer().dial, **options)
    try:
        while True:
            await websocket.send(await websocket.receive())
    except ConnectionClosed as error:
        print(json.dumps([error.code, error.reason]))

asyncio.run(echo(*json.loads(sys.stdin.readline())))
"""

Talk = Callable[[ServerConnection], Awaitable[None]]


@pytest.fixture(params=[0, 1], ids=["first port", "second port"])
def port(request: pytest.FixtureRequest, interpreters: list[Interpreter]) -> Interpreter:
    """Each unix port that this machine has."""
    number: int = request.param
    if number >= len(interpreters):
        pytest.skip("there is only one port here")
    return interpreters[number]


async def converse(port: Interpreter, repository: Path, heap: int, talk: Talk, **options: int) -> tuple[int, str]:
    """Let `talk` speak with the driver; return the code and reason that the driver's connection ended with."""

    subprotocols = [Subprotocol("ocpp1.6")]
    async with serve(talk, "127.0.0.1", 0, subprotocols=subprotocols, max_size=None, compression=None) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/CP1"
        process = await asyncio.create_subprocess_exec(
            *port.command,
            *("-X", f"heapsize={heap * port.word_bits // 32}", "-c", DRIVER),
            env={**os.environ, "MICROPYPATH": f"{repository}:.frozen"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate(json.dumps([url, options]).encode() + b"\n")
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, output.decode()
        code, reason = json.loads(output)
        return code, reason


def text_of(size: int) -> str:
    """Return a text that is `size` bytes of UTF-8, with characters of each length."""
    unit = "Ladesäule €\U0001f600 " + "x" * 1000
    text = unit * (size // len(unit.encode()))
    return text + "." * (size - len(text.encode()))


def fragments(text: str, size: int) -> list[bytes]:
    """Cut a text into fragments, in the middle of characters too."""
    data = text.encode()
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("fragment", [None, 1001, 65_521], ids=["whole", "small fragments", "large fragments"])
async def test_four_mib_pass_both_ways_where_limit_and_memory_allow(
    fragment: int | None, port: Interpreter, repository: Path
) -> None:
    text = text_of(4 * MIB)

    async def talk(websocket: ServerConnection) -> None:
        await websocket.send(fragments(text, fragment) if fragment else text, text=True)
        assert await websocket.recv() == text

    assert await converse(port, repository, LARGE, talk, max_size=4 * MIB) == (1000, "")


@pytest.mark.parametrize("fragment", [None, 100, 5000], ids=["whole", "small fragments", "large fragments"])
async def test_messages_up_to_the_default_limit_pass_in_a_small_heap(
    fragment: int | None, port: Interpreter, repository: Path
) -> None:
    text = text_of(LIMIT)

    async def talk(websocket: ServerConnection) -> None:
        for _ in range(5):
            await websocket.send(fragments(text, fragment) if fragment else text, text=True)
            assert await websocket.recv() == text

    assert await converse(port, repository, SMALL, talk) == (1000, "")


@pytest.mark.parametrize("fragment", [None, 1000], ids=["whole", "fragmented"])
@pytest.mark.parametrize("size", [LIMIT + 1, 4 * MIB], ids=["one byte more", "4 MiB"])
async def test_a_message_above_the_limit_is_refused_with_1009(
    size: int, fragment: int | None, port: Interpreter, repository: Path
) -> None:
    text = "x" * size
    received: list[int] = []

    async def talk(websocket: ServerConnection) -> None:
        try:
            await websocket.send(fragments(text, fragment) if fragment else text, text=True)
            await websocket.recv()
        except ConnectionClosed as closed:
            assert closed.rcvd
            received.append(closed.rcvd.code)

    outcome = await converse(port, repository, SMALL, talk)
    assert outcome == (CloseCode.MESSAGE_TOO_BIG, f"more than {LIMIT} bytes")
    assert received == [CloseCode.MESSAGE_TOO_BIG]
