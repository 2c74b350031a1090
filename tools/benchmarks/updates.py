"""What an update costs: bytes on the wire for each kind of file; its duration with the times of a real charger."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import tempfile
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import build
import packages
from benchmarks.row import Row, Show
from benchmarks.setting import BenchError, ProbedDesk, changed_main, key_for, script
from desk import FILE, NEW, OLD, PRODUCT, SLOT, Desk, chapter
from environment import REPOSITORY
from simulator.chip import Timing
from simulator.interpreter import Interpreter
from simulator.manufacture import OTA_4MIB
from webserver import Fault, Request, WebServer

KIB = 1024
IMAGE = 1400 * KIB  # of the made image: about what MicroPython has
micropython: bytes | None = None  # an image to take in its place

ONE_LINE = ("firmware/prepare.py", "_CLOCK_GRACE = const(300)", "_CLOCK_GRACE = const(240)")
EACH_THIRD = "\n\ndef added(value, limit=%d):\n    return [value + i for i in range(limit) if value %% (i + 1) == 0]\n"
INSERTED = 256

FLASH = Timing(erase_ms=60, erase_64k_ms=200, write_ms_per_4k=6)
RATE = 90_000  # bytes a second: MicroPython over Wi-Fi manages 80 to 100 KB/s
PACKET = 1440
WINDOW = 5744  # bytes on their way at most: the TCP window of an ESP32
SPEED = 4
ROOMY = 160 * KIB
WAIT = 20  # seconds until a scheduled update begins
# Where the charger gets the window of an ESP32 from.
WINDOWED = (("import asyncio\n", "import window\nimport asyncio\n"),)


def _image() -> bytes:
    return micropython or build.made_image(IMAGE)


# ---------------------------------------------------------------------------------------------------- bytes on the wire


async def wire(interpreter: Interpreter, show: Show) -> list[Row]:
    """Bytes that an update brings over the network as a plain file, compressed, and as a delta.

    The file is a made image of 1,400 KiB, or that of --micropython, and the application. One line: a constant in one
    module and the version are other ones, the image is the same. Release: every third module has a function more, and
    the image is linked anew with 256 bytes more in the middle of its largest segment, whatever pointed behind them
    pointing further. (A linker would change calls across that place as well, so a real release takes more.) The made
    image is noise: deflate does nothing for it, and hardly anything in it is a pointer. So what compressed and release
    say counts with a real image only.
    """
    key = key_for("rsa")
    assert key
    image = _image()
    base = build.update_file(image, build.bundle(build.application("1.0.0"), "1.0.0"))
    changes = {
        "line": ("one line", "1.0.1", image, _one_line()),
        "release": ("release", "1.1.0", _relinked(image), _each_third()),
    }
    rows = []
    for name, (what, version, new_image, extra) in changes.items():
        file = build.update_file(new_image, build.bundle(build.application(version, extra), version))
        rows.append(Row(f"wire.{name}.plain", f"{what}: plain file", len(file), "B"))
        options: dict[str, dict[str, Any]] = {"package": {}, "compressed": {"compress": True}, "delta": {"base": base}}
        for kind, how in options.items():
            show(f"{what}, {kind}")
            size = len(await asyncio.to_thread(packages.package, file, key, product=PRODUCT, release=2, **how))
            limit = 3 if (name, kind) == ("line", "delta") else None
            rows += [
                Row(f"wire.{name}.{kind}", f"  {kind}", size, "B"),
                Row(f"wire.{name}.{kind}.share", "    of the plain file", 100 * size / len(file), "%", limit),
            ]
    return rows


def _one_line() -> dict[str, bytes]:
    name, old, new = ONE_LINE
    text = (REPOSITORY / name).read_text()
    if text.count(old) != 1:
        raise BenchError(f"{name} has changed: {old!r} is there {text.count(old)} times")
    return _compiled({name: text.replace(old, new)})


def _each_third() -> dict[str, bytes]:
    modules = [name.replace(".mpy", ".py") for name in sorted(build.application(OLD)) if name.endswith(".mpy")]
    paths = [name for name in modules if (REPOSITORY / name).is_file()]
    return _compiled({name: (REPOSITORY / name).read_text() + EACH_THIRD % len(name) for name in paths[::3]})


def _compiled(sources: dict[str, str]) -> dict[str, bytes]:
    return {name.replace(".py", ".mpy"): build._compile(name, text.encode()) for name, text in sources.items()}


def _relinked(image: bytes) -> bytes:
    """The image with more in the middle of its largest segment, and what points behind that pointing further."""
    head, position, segments = image[: build.IMAGE_HEADER.size], build.IMAGE_HEADER.size, []
    for _ in range(image[1]):
        address, size = build.SEGMENT_HEADER.unpack_from(image, position)
        position += build.SEGMENT_HEADER.size
        segments.append((address, image[position : position + size]))
        position += size
    largest = max(range(len(segments)), key=lambda i: len(segments[i][1]))
    address, data = segments[largest]
    middle = len(data) // 2 & ~3
    moved = range(address + middle, address + len(data))
    inserted = hashlib.shake_128(b"inserted").digest(INSERTED)
    checksum, body = build.CHECKSUM_SEED, b""
    for i, (address, data) in enumerate(segments):
        words = array("I", data)
        data = array("I", [word + INSERTED if word in moved else word for word in words]).tobytes()
        if i == largest:
            data = data[:middle] + inserted + data[middle:]
        body += build.SEGMENT_HEADER.pack(address, len(data)) + data
        for byte in data:
            checksum ^= byte
    image = head + body
    image += bytes(15 - len(image) % 16) + bytes([checksum])
    return image + hashlib.sha256(image).digest()


# ------------------------------------------------------------------------------------------------------------- duration


class Link(WebServer):
    """A web server behind a link of RATE bytes a second, on which a pause of the charger's is lost."""

    speed: float = SPEED

    async def _send(self, request: Request, writer: asyncio.StreamWriter, body: bytes, fault: Fault) -> None:
        writer.transport.set_write_buffer_limits(0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WINDOW // 2)
        due = time.monotonic()
        for at in range(0, len(body), PACKET):
            writer.write(body[at : at + PACKET])
            await writer.drain()
            request.sent += len(body[at : at + PACKET])
            now = time.monotonic()
            # What the event loop is late now it may make up for; what the charger was late, not.
            due = max(due + PACKET / RATE / self.speed, now - 0.004)
            await asyncio.sleep(due - now)


class LinkedDesk(ProbedDesk):
    """A desk whose web server is behind such a link."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.web = Link({})


async def duration(interpreter: Interpreter, show: Show) -> list[Row]:
    """How long an update of 1.5 MB takes with realistic times of flash and network, with and without erasing ahead.

    From Downloading to Installing: all of the file is in the slot, read back and checked. The simulated chip's flash
    takes 60 ms to erase a sector, 200 ms for 64 KiB, 6 ms to write 4 KiB, and its slot holds an older firmware of that
    size. The file comes over http at 90,000 bytes a second, in a TCP window of 5,744 bytes as an ESP32 has it: what is
    lost while the charger does not read isn't made up for. Erasing ahead: the update is scheduled for 20 s later, when
    all of the slot has been erased. The ideal is the larger of the time that the network takes and the time that
    writing takes. All of it 4 times as fast as in reality, so the code counts 4 times.
    """
    rows: list[Row] = []
    for name, what, wait in (("ahead", "erased ahead", WAIT), ("direct", "erased meanwhile", 0)):
        show(what)
        async with _linked(interpreter) as desk:
            file = desk.update_file(NEW)
            network = len(file) / RATE
            program = len(file) / 4096 * FLASH.write_ms_per_4k / 1000
            if not rows:
                rows += [
                    Row("update.bytes", "size of the file", len(file), "B"),
                    Row("update.network", "time of the network", network, "s"),
                    Row("update.program", "time of writing", program, "s"),
                ]
            took = await _timed(desk, file, wait)
        ideal = max(network, program)
        limit = 1.15 if wait else None
        rows += [
            Row(f"update.{name}", f"update, {what}", took, "s"),
            Row(f"update.{name}.ratio", "  times the larger of those", took / ideal, "x", limit),
        ]
    return rows


@asynccontextmanager
async def _linked(interpreter: Interpreter) -> AsyncIterator[LinkedDesk]:
    extra = {"main.py": changed_main(WINDOWED), "window.mpy": script("window")}
    options: dict[str, Any] = {"heap": ROOMY, "speed": SPEED, "timing": FLASH, "image": _image()}
    with tempfile.TemporaryDirectory() as folder:
        async with LinkedDesk(Path(folder), interpreter, extra, **options) as desk:
            yield desk


async def _timed(desk: Desk, file: bytes, wait: float) -> float:
    """Have the charger update itself, so many seconds from now; return what it took in seconds of its time."""
    desk.web.files = {FILE: file}
    await desk.registered()
    beats = len(desk.central.calls("Heartbeat"))
    await desk.central.call(desk.identity, "TriggerMessage", {"requestedMessage": "Heartbeat"})  # sets its clock
    await desk.until(lambda: len(desk.central.calls("Heartbeat")) > beats, "a Heartbeat")
    date = datetime.now(UTC) + timedelta(seconds=wait or -60)
    payload = {"location": desk.web.url(FILE), "retrieveDate": date.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
    await desk.central.call(desk.identity, "UpdateFirmware", payload)
    await desk.until(lambda: _at(desk, "Downloading") is not None, "Downloading")
    address = next(address for label, _, _, address, _ in OTA_4MIB if label == "ota_1")
    flash = (desk.chip.folder / "flash.bin").read_bytes()[address:][:SLOT]
    if wait and any(flash[64 * KIB :].strip(b"\xff")):  # the first bytes of the file may be there already
        raise BenchError(f"not all of the slot was erased in {wait} s")
    await desk.until(lambda: _at(desk, "Installing") is not None, "Installing")
    began, ended = _at(desk, "Downloading"), _at(desk, "Installing")
    assert began and ended
    return (ended - began).total_seconds() * desk.speed


def _at(desk: Desk, status: str) -> datetime | None:
    return next((frame.time for frame in desk.story if chapter(frame) == status), None)
