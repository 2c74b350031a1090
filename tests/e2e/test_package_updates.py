"""Signed packages, whole, compressed or as a delta, on the simulated charger."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import packages
import packages_keys
from desk import FILE, OLD, SLOT, Desk, chapter
from packages_keys import PrivateKey
from scenarios import KINDS, REFUSED, SUCCESS
from simulator.interpreter import Interpreter
from webserver import Fault

SPEED = 20
HEAP = 120 * 1024
RSA, ECDSA = (packages_keys.make_key(kind) for kind in ("rsa", "ecdsa"))

Make = Callable[[Desk], bytes]
NOISE = {"noise.bin": random.Random(1).randbytes(40_000)}  # makes a delta long
FRAME = 2054  # bytes at most


async def course(desk: Desk, file: bytes, retries: int = 3) -> str:
    """Send an update with this file; return what the central system got of it."""
    await desk.registered()
    desk.web.files = {FILE: file}
    await desk.update(retries=retries, retry_interval=1)
    await desk.ended()
    assert not desk.central.violations
    return " ".join(chapter(frame) for frame in desk.story)


def changed(file: bytes, at: int) -> bytes:
    """Return the file with one bit of this byte changed."""
    return file[:at] + bytes([file[at] ^ 1 << at % 8]) + file[at + 1 :]


def told(desk: Desk, words: str) -> bool:
    return bool(re.search(words, "\n".join(desk.lines)))


@pytest.mark.parametrize("key", (RSA, ECDSA), ids=("rsa", "ecdsa"))
@pytest.mark.parametrize("kind", list(KINDS)[1:])
async def test_a_package_is_installed(kind: str, key: PrivateKey, tmp_path: Path, interpreter: Interpreter) -> None:
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, key=key) as desk:
        file = KINDS[kind](desk, desk.update_file())
        assert await course(desk, file) == SUCCESS, desk.lines
        assert desk.web.requests[-1].sent == len(file)
        slot = (tmp_path / "flash.bin").read_bytes()[0x190000:][:SLOT]
        plain = desk.update_file()
        assert slot[: len(plain)] == plain
        if kind == "delta":
            assert len(file) < len(plain) // 2


@pytest.mark.parametrize("key", (RSA, ECDSA), ids=("rsa", "ecdsa"))
@pytest.mark.parametrize("kind", list(KINDS)[1:])
async def test_a_package_over_wss_and_https_in_the_heap_of_a_board_without_evse(
    kind: str, key: PrivateKey, tmp_path: Path, interpreter: Interpreter
) -> None:
    async with Desk(tmp_path, interpreter, speed=10, tls=True, key=key) as desk:
        assert await course(desk, KINDS[kind](desk, desk.update_file())) == SUCCESS, "\n".join(desk.lines)


REFUSALS: dict[str, tuple[Make, str]] = {
    "unsigned": (lambda desk: desk.update_file(), "not signed, and RequireSignedFirmware is on"),
    "another key": (
        lambda desk: packages.package(desk.update_file(), ECDSA, product="Desk", release=2),
        "signed with another key",
    ),
    "another product": (lambda desk: desk.package(product="Other"), "made for product Other"),
    "another hardware": (lambda desk: desk.package(hardware=(3, 5)), "made for hardware 3 to 5, this charger has 0"),
    "another base": (
        lambda desk: desk.package(base=desk.update_file("1.0.1")),
        "a delta to another firmware than the one that runs here",
    ),
    "one bit of the header": (
        lambda desk: changed(desk.package(), 150),
        "wrong signature",
    ),
    "another length": (lambda desk: desk.package() + b"more", "has not the length that it tells"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_package_for_others_is_refused_before_anything_is_erased(
    name: str, tmp_path: Path, interpreter: Interpreter
) -> None:
    make, words = REFUSALS[name]
    async with Desk(
        tmp_path, interpreter, speed=SPEED, heap=HEAP, key=RSA, configuration={"RequireSignedFirmware": "true"}
    ) as desk:
        assert await course(desk, make(desk)) == REFUSED, desk.lines
        assert told(desk, f"InstallationFailed: .*{words}"), desk.lines
        slot = (tmp_path / "flash.bin").read_bytes()[0x190000:][:SLOT]
        assert slot == desk.slot1.ljust(SLOT, b"\xff"), "something was written"


async def test_a_charger_with_a_key_takes_unsigned_files_only_if_it_is_told_so(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with Desk(tmp_path / "silent", interpreter, speed=SPEED, heap=HEAP, key=ECDSA) as desk:
        assert await course(desk, desk.update_file()) == REFUSED
    told = {"RequireSignedFirmware": "false"}
    async with Desk(tmp_path / "told", interpreter, speed=SPEED, heap=HEAP, key=ECDSA, configuration=told) as desk:
        assert await course(desk, desk.update_file()) == SUCCESS


async def test_without_a_key_no_package_is_taken(tmp_path: Path, interpreter: Interpreter) -> None:
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP) as desk:
        desk._key = RSA
        assert await course(desk, desk.package()) == REFUSED
        assert told(desk, "InstallationFailed: signed, but this charger has no public key")


async def test_after_a_release_with_a_floor_no_older_one_is_taken(tmp_path: Path, interpreter: Interpreter) -> None:
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, key=ECDSA) as desk:
        assert await course(desk, desk.package(release=7, floor=7)) == SUCCESS
        seen = len(desk.story)
        desk.web.files = {FILE: desk.package(desk.update_file("1.5.0"), release=6)}
        await desk.update()
        await desk.ended(seen)
        assert [chapter(frame) for frame in desk.story[seen:]] == ["Downloading", "Downloaded", "InstallationFailed"]
        assert told(desk, "release 6 is too old: this charger takes 7 and later")


async def refused(desk: Desk, good: bytes, at: int) -> None:
    """Send an update with one bit of this package changed."""
    seen = len(desk.story)
    await desk.registered()
    desk.web.files = {FILE: changed(good, at)}
    await desk.update(retries=1)
    await desk.ended(seen)
    assert chapter(desk.story[-1]) in ("InstallationFailed", "DownloadFailed"), (at, desk.lines[-10:])


def assert_old_version_runs(desk: Desk) -> None:
    assert {boot.slot for boot in desk.chip.boots} == {"ota_0"}
    assert desk.version == OLD
    assert not desk.central.violations


@pytest.mark.parametrize("kind", list(KINDS)[1:])
async def test_a_payload_changed_at_any_place_is_refused(kind: str, tmp_path: Path, interpreter: Interpreter) -> None:
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, key=ECDSA) as desk:
        good = KINDS[kind](desk, desk.update_file())
        frames = len(good) - 640
        for at in (*range(640, 647), 650, 640 + frames // 3, 640 + frames * 2 // 3, len(good) - 2, len(good) - 1):
            await refused(desk, good, at)
        assert_old_version_runs(desk)


@pytest.mark.parametrize("key", (RSA, ECDSA), ids=("rsa", "ecdsa"))
async def test_a_header_changed_at_any_place_is_refused(
    key: PrivateKey, tmp_path: Path, interpreter: Interpreter, everything: bool
) -> None:
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, key=key) as desk:
        good = desk.package()
        for at in range(640) if everything else (*range(0, 256, 23), *range(256, 640, 61), 639):
            await refused(desk, good, at)
        assert_old_version_runs(desk)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cut_every_4_kib_costs_less_than_a_frame_each(
    kind: str, tmp_path: Path, interpreter: Interpreter, tell: Callable[[str], None]
) -> None:
    """The connection is cut at every 4 KiB of the file, the server restarting in between."""
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, key=None if kind == "plain" else ECDSA) as desk:
        file = KINDS[kind](desk, desk.update_file(extra=NOISE))
        cuts = len(file) // 4096 - 1
        # Each answer goes on where the one before ended, or up to a frame before that.
        desk.web.faults = [Fault(FILE, times=1, cut_after=4096, down=0.05) for _ in range(2 * cuts)]
        assert await course(desk, file, retries=1000) == SUCCESS, desk.lines[-20:]
        sent = sum(request.sent for request in desk.web.requests)
        connections = len(desk.web.requests)
        assert connections > cuts
        assert sent - len(file) < FRAME * (connections - 1)
    tell(f"cuts, {kind}: {connections - 1}, {sent - len(file)} bytes beyond the {len(file)} of the file")


@pytest.mark.parametrize("kind", list(KINDS)[1:])
async def test_a_package_that_changes_on_the_server_starts_over(
    kind: str, tmp_path: Path, interpreter: Interpreter
) -> None:
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=HEAP, key=RSA) as desk:
        first = KINDS[kind](desk, desk.update_file(extra=NOISE))
        second = desk.package(version="2.0.0-again", compress=True)
        desk.web.faults = [Fault(FILE, times=1, cut_after=len(first) // 2)]
        desk.web.log = lambda _: setattr(desk.web, "files", {FILE: second})
        assert await course(desk, first) == SUCCESS, desk.lines[-20:]
        assert told(desk, "The server sends the file from its start: starting over")
