"""How fast the firmware is: throughput of a download, stalls of the event loop, calls, its start."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import build
from benchmarks.row import Row, Show
from benchmarks.setting import (
    ALGORITHMS,
    CAR,
    CASES,
    answer,
    application,
    key_for,
    on_micropython,
    probed,
    probed_desk,
    script,
    server_tls,
    updated,
    updated_while_charging,
)
from central_system import SUBPROTOCOL, Frame
from desk import FILE, NEW, Desk
from simulator.chip import Timing
from simulator.interpreter import Interpreter
from webserver import Fault, WebServer

KIB = 1024
ROOMY = 200 * KIB
HEAP = 120 * KIB  # for the parts of the firmware without the rest
FLASH = Timing(erase_ms=60, erase_64k_ms=200, write_ms_per_4k=6)
IDLE, CHARGING = FLASH.erase_64k_ms + 10, FLASH.erase_ms + 10  # ms that the event loop may stand still
SPEED = 10
SECTOR = 4 * KIB
DOWNLOAD = 1200 * KIB
TIMES = 7  # of each way of downloading
CALLS, ROUNDS = 300, 5
STARTS = 5
STALLS = 3
LIFE = 1  # the speed at which the wall's time means something


async def throughput(interpreter: Interpreter, show: Show) -> list[Row]:
    """Throughput of a download into the partition of the simulated chip, with http and with https.

    In one process, in turns, 7 times: firmware/transfer.py (from the request to the last byte on flash, with all its
    checks), the plain way of MicroPython (blocking `requests`, which checks no certificate, raw.readinto of 4 KiB,
    Partition.writeblocks) and writeblocks alone. What counts is the time that the processor spends on this process, so
    that the web server and other work on the machine don't, and the time that a real flash would take (60 ms to erase a
    sector, 200 ms for 64 KiB, 6 ms to write 4 KiB), during which the next bytes arrive. The slot holds a file;
    ours erases it in blocks. Medians; with a ratio above 1 ours is faster. The flash's time hides what the code takes;
    so that is told too, the simulated flash's own in it, and the ratio on the wall when the flash takes no time.
    """
    rows = []
    for scheme in ("http", "https"):
        show(scheme)
        code, real, wall, blocks = await _downloads(interpreter, scheme == "https")
        name = f"throughput.{scheme}"
        rows += [
            Row(name, f"download, {scheme}", 1e6 * SECTOR * blocks / 1000 / real["streamed"], "kB/s"),
            Row(f"{name}.plain", "  times the plain way", real["plain"] / real["streamed"], "x", 1, False),
            Row(f"{name}.bare", "  times writeblocks alone", real["bare"] / real["streamed"], "x"),
            Row(f"{name}.wall", "  times the plain way if flash took no time", wall["plain"] / wall["streamed"], "x"),
            Row(f"{name}.code", "  code per 4 KiB block", code["streamed"] / blocks, "µs"),
            Row(f"{name}.code.verified", "    with reading back", code["verified"] / blocks, "µs"),
            Row(f"{name}.code.plain", "    the plain way", code["plain"] / blocks, "µs"),
            Row(f"{name}.code.bare", "    writeblocks alone", code["bare"] / blocks, "µs"),
        ]
    return rows


Times = dict[str, float]


async def _downloads(interpreter: Interpreter, is_tls: bool) -> tuple[Times, Times, Times, int]:
    """Return what each way took in us (the code; with a real flash; on the wall without), and the number of blocks."""
    file = build.update_file(build.made_image(DOWNLOAD), build.bundle(build.application(NEW), NEW))
    blocks = len(file) // SECTOR
    async with WebServer({FILE: file}, [Fault(FILE, piece=16 * KIB)], tls=server_tls() if is_tls else None) as server:
        extra = {
            "main.py": b"import throughput\n",
            "throughput.mpy": script("throughput"),
            "processor.mpy": script("processor"),
            "throughput.json": json.dumps({"url": server.url(FILE), "times": TIMES, "blocks": blocks}).encode(),
        }
        async with probed_desk(interpreter, extra, heap=HEAP, timing=FLASH, tls=True) as desk:
            await desk.result("done")
            told = {way: desk.results(way) for way in ("streamed", "verified", "plain", "bare")}

    def medians(measured: Callable[[int, int, int], int]) -> Times:
        return {way: median(measured(*map(int, words)) for words in times) for way, times in told.items()}

    code = medians(lambda used, flash, wall: used)
    real = medians(lambda used, flash, wall: used + flash)
    wall = medians(lambda used, flash, wall: wall)
    return code, real, wall, blocks


async def stalls(interpreter: Interpreter, show: Show) -> list[Row]:
    """The longest stall of the event loop from the start to the end of an update over wss and https, of each kind.

    On the simulated chip a task that is always ready measures how long the others keep it waiting: the time that the
    processor spends on this process, and what a real flash would take (60 ms to erase a sector, 200 ms for 64 KiB, 6 ms
    to write 4 KiB). What blocks by nature is counted apart: DNS, a TLS handshake's arithmetic, set_boot's check of the
    image. Medians of the longest of 3 runs with a plain file; the other kinds run once, ten times as fast. On the wall,
    other work on the machine adds to it; a call that sleeps would show there only.

    The goal is one flash operation and 10 ms: the erase of 64 KiB while nobody charges; that of a sector during a
    transaction, with UpdateWhileCharging=download, from power-on to where the transaction ends after the download.
    """
    longest: dict[str, list[tuple[int, int]]] = {"other": [], "wall": [], "DNS": [], "TLS": [], "set_boot": []}
    for run in range(STALLS):
        show(f"update {run + 1} of {STALLS}")
        told = await _stalls(interpreter, "plain", "", speed=LIFE)
        for cause, found in longest.items():
            found.append(told.get(cause, (0, 0)))
    flash = median(in_flash for _, in_flash in longest["other"])
    took = {cause: median(us for us, _ in found) / 1000 for cause, found in longest.items()}
    rows = [
        Row("stall.longest", "longest stall of the event loop, plain file", took["other"], "ms", IDLE),
        Row("stall.flash", "  the flash's part of it", flash / 1000, "ms"),
        Row("stall.wall", "  longest on the wall", took["wall"], "ms"),
        *(Row(f"stall.{cause}", f"  apart: {cause}", took[cause], "ms") for cause in ("DNS", "TLS", "set_boot")),
    ]
    for name, what, charging, limit in (
        ("", "longest stall, ", False, IDLE),
        (".charging", "longest stall while charging, ", True, CHARGING),
    ):
        for kind, algorithm in CASES:
            if kind == "plain" and not charging:
                continue
            show(f"{what}{kind} {algorithm}")
            us = (await _stalls(interpreter, kind, algorithm, speed=SPEED, charging=charging))["other"][0]
            case = f"{kind}.{algorithm}".rstrip(".")
            rows.append(Row(f"stall{name}.{case}", f"{what}{kind}{ALGORITHMS[algorithm]}", us / 1000, "ms", limit))
    return rows


async def _stalls(
    interpreter: Interpreter, kind: str, algorithm: str, *, speed: float, charging: bool = False
) -> dict[str, tuple[int, int]]:
    """Cause → the longest stall that it made in an update, in us, and what of that is the flash's."""
    extra = {**probed("probe_stalls"), "processor.mpy": script("processor")}
    options: dict[str, Any] = {"heap": ROOMY, "timing": FLASH, "tls": True, "speed": speed, "key": key_for(algorithm)}
    async with probed_desk(interpreter, extra, **(CAR if charging else {}), **options) as desk:
        await (updated_while_charging if charging else updated)(desk, kind)
        longest: dict[str, tuple[int, int]] = {}
        for cause, us, in_flash in desk.results("stall"):
            longest[cause] = max(longest.get(cause, (0, 0)), (int(us), int(in_flash)))
        return longest


async def calls(interpreter: Interpreter, show: Show) -> list[Row]:
    """Calls per second and latency of a call, one after the other, beside a station on CPython.

    300 Heartbeats over ws on loopback after 50 to warm up: ocpp/rpc.py and ocpp/websocket.py on the unix port, and the
    packages `ocpp` and `websockets` on this Python (with their check of the schemas, as they come). They take turns, 5
    times each, at one server, which does nothing but answer. Median of the rounds.
    """
    ours: list[str] = []
    theirs: list[str] = []
    with application() as folder:
        async with serve(_answer_calls, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL]) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/CP1"
            station = Path(__file__).with_name("cpython_station.py")
            for turn in range(ROUNDS):
                show(f"round {turn + 1} of {ROUNDS}")
                ours.append(await on_micropython(interpreter, folder, HEAP, "station", url, str(CALLS)))
                theirs.append(await answer([sys.executable, "-P", str(station), url, str(CALLS)], folder, {}))
    rows = []
    reference: dict[str, float] = {}
    for name, who, told in (("cpython", "CPython station", theirs), ("calls", "our station", ours)):
        rounds = [json.loads(line) for line in told]
        latency = median(median(latencies) for latencies in rounds)
        slowest = median(quantiles(latencies, n=20)[-1] for latencies in rounds)
        rate = median(1e6 * len(latencies) / sum(latencies) for latencies in rounds)
        rows += [
            Row(f"{name}.latency", f"latency of a call, {who}", latency, "µs", reference.get("latency")),
            Row(f"{name}.slowest", "  of 19 in 20", slowest, "µs", reference.get("slowest")),
            Row(f"{name}.rate", f"calls per second, {who}", rate, "1/s", reference.get("rate"), False),
        ]
        reference = {"latency": latency, "slowest": slowest, "rate": rate}
    return rows


async def _answer_calls(websocket: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        async for text in websocket:
            await websocket.send(f'[3, "{json.loads(text)[1]}", {{"currentTime": "2026-01-01T00:00:00Z"}}]')


async def start(interpreter: Interpreter, show: Show) -> list[Row]:
    """Real time from power-on to BootNotification over wss, on the simulated chip at the speed of life.

    300 ms of it are the simulated Wi-Fi's. Median of 5 starts.
    """
    took = []
    for run in range(STARTS):
        show(f"{run + 1} of {STARTS}")
        began: list[float] = []
        registered: list[float] = []

        def on_line(line: str, began: list[float] = began) -> None:
            if line.startswith("rst:"):
                began.append(time.monotonic())

        def on_frame(frame: Frame, registered: list[float] = registered) -> None:
            if frame.asks("BootNotification"):
                registered.append(time.monotonic())

        with tempfile.TemporaryDirectory() as folder:
            async with Desk(Path(folder), interpreter, tls=True, serial=on_line) as desk:
                desk.central.observers.append(on_frame)
                await desk.central.wait_for("BootNotification")
        took.append(1000 * (registered[0] - began[0]))
    return [Row("start", "power-on to BootNotification, wss", median(took), "ms")]
