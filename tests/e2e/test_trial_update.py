"""Whole updates that go wrong in the ways that the field knows: always a charger that runs, always the truth."""

from __future__ import annotations

import json
import signal
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import build
from desk import FILE, HEAP, NEW, OLD, Desk, chapter
from environment import REPOSITORY
from packages_keys import make_key
from scenarios import DOWNLOAD_FAILED, KINDS, ROLLED_BACK, SUCCESS
from simulator import manufacture
from simulator.chip import Timing
from simulator.interpreter import Interpreter
from webserver import Fault, Request

SPEED = 20
SOON = {"TrialDeadline": 20}  # for a new firmware that has to fail its trial
RESETS_AT_ONCE = b"import machine\nmachine.reset()\n"


def make_desk(folder: Path, interpreter: Interpreter, **options: Any) -> Desk:
    return Desk(folder, interpreter, **{"speed": SPEED, **options})


def story(desk: Desk, since: int = 0) -> str:
    return " ".join(chapter(frame) for frame in desk.story[since:])


def main_py(version: str, before: str) -> dict[str, bytes]:
    """The application's main.py with something in front of it."""
    return {"main.py": before.encode() + build.application(version)["main.py"]}


async def bring(desk: Desk, file: bytes, **request: Any) -> None:
    """Offer this file, send UpdateFirmware and follow that to its end."""
    desk.web.files = {FILE: file}
    seen = len(desk.story)
    await desk.update(**request)
    await desk.ended(seen)


def boots(desk: Desk) -> list[tuple[str, str]]:
    return [(boot.slot, boot.cause) for boot in desk.chip.boots]


# ----------------------------------------------------------------------------------------------- the new firmware fails

NO_DNS = """
import socket, sys
class Names:
    SOCK_STREAM, socket = socket.SOCK_STREAM, socket.socket
    def getaddrinfo(*_):
        raise OSError(-2)
sys.modules["socket"] = Names
"""
FAILING = {
    # what is wrong with the new firmware: (its changed files, words in the log, boots behind the update's reset)
    "DNS is gone": (main_py(NEW, NO_DNS), "host name not found", [("ota_0", "reset")]),
    "it ends": ({"main.py": b"import sys\nsys.exit()\n"}, "soft", [("ota_1", "soft reset"), ("ota_0", "reset")]),
    "import error": (
        {"firmware/update.mpy": b"M\x01 of another MicroPython"},
        "",
        [("ota_0", "watchdog")],
    ),
    "panic": (main_py(NEW, "import esp32\nesp32.Partition(1).ioctl(6, 0)\n"), "abort()", [("ota_0", "panic")]),
}


@pytest.mark.parametrize("what", FAILING)
async def test_a_new_firmware_that_fails_is_gone_after_one_way_back(
    tmp_path: Path, interpreter: Interpreter, what: str
) -> None:
    extra, words, way_back = FAILING[what]
    async with make_desk(tmp_path, interpreter, speed=25, configuration=SOON) as desk:
        await desk.registered()
        await bring(desk, desk.update_file(extra=extra))
        assert story(desk) == ROLLED_BACK
        assert boots(desk) == [("ota_0", "power on"), ("ota_1", "reset"), *way_back]
        assert [record.state for record in desk.chip.otadata()] == ["VALID", "ABORTED"]
        assert any(words in line for line in desk.lines)


async def test_without_wifi_in_the_trial_the_old_firmware_is_back_and_tells_when_it_can(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with make_desk(tmp_path, interpreter, speed=25, configuration=SOON) as desk:

        def serial(line: str) -> None:
            if "Firmware ready" in line:
                desk.chip.set_link(up=False)

        desk._show = serial
        desk.web.files = {FILE: desk.update_file()}
        await desk.registered()
        await desk.update()
        await desk.logged("InstallationFailed: the new firmware was not accepted by the central system within 20 s")
        assert boots(desk) == [("ota_0", "power on"), ("ota_1", "reset"), ("ota_0", "reset")]
        assert [record.state for record in desk.chip.otadata()] == ["VALID", "ABORTED"]
        desk.chip.set_link(up=True)
        await desk.ended()
        assert story(desk) == ROLLED_BACK


async def test_updates_after_a_rollback_and_to_the_same_version_go_their_way(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        await desk.registered()
        for _ in range(2):
            seen = len(desk.story)
            await bring(desk, desk.update_file(extra={"main.py": RESETS_AT_ONCE}))
            assert f"{OLD} {story(desk, seen)}" == ROLLED_BACK
        seen = len(desk.story)
        await bring(desk, desk.update_file())
        assert f"{OLD} {story(desk, seen)}" == SUCCESS
        seen = len(desk.story)
        await bring(desk, desk.update_file())
        assert f"{OLD} {story(desk, seen)}" == SUCCESS
        assert [boot.slot[-1] for boot in desk.chip.boots] == ["0", "1", "0", "1", "0", "1", "0"]
        assert desk.version == NEW


# ----------------------------------------------------------------------------------------------- resets and power cuts

RESETS = {"power on": signal.SIGKILL, "watchdog": signal.SIGALRM}


def reset_at(desk: Desk, kind: str, marks: list[str]) -> None:
    """Reset the charger whenever its log says the next of these words, at that very moment."""

    def serial(line: str) -> None:
        process = desk.chip._process
        if marks and marks[0] in line and process and process.returncode is None:
            marks.pop(0)
            process.send_signal(RESETS[kind])

    desk._show = serial


@pytest.mark.parametrize(
    ("kind", "packed"), [*((kind, "plain") for kind in RESETS), *(("power on", packed) for packed in list(KINDS)[1:])]
)
async def test_a_reset_at_every_state_of_an_update_costs_nothing(
    tmp_path: Path, interpreter: Interpreter, kind: str, packed: str
) -> None:
    """But for the state in which the new firmware is on trial, which the next test is for."""
    key = None if packed == "plain" else make_key("ecdsa")
    marks = [
        "Firmware download scheduled",
        "Starting firmware download",
        "Progress: 50%",
        "Firmware download completed",
        "Installing firmware",
        "Firmware ready",
        "New firmware confirmed",
    ]
    async with make_desk(tmp_path, interpreter, speed=25, configuration={"TrialDeadline": 600}, key=key) as desk:
        reset_at(desk, kind, marks)
        desk.web.files = {FILE: KINDS[packed](desk, desk.update_file())}
        await desk.registered()
        date = datetime.now(UTC) + timedelta(minutes=2)
        await desk.central.update_firmware(desk.identity, desk.web.url(FILE), date)
        await desk.ended()
        assert marks == [], "\n".join(desk.lines)
        told = [word for word in story(desk).split() if word not in (OLD, NEW)]
        once = [word for at, word in enumerate(told) if word not in told[:at]]
        assert once == ["Downloading", "Downloaded", "Installing", "Installed"]
        assert told == sorted(told, key=once.index)  # one that was in flight may come again
        assert desk.version == NEW
        assert len(desk.chip.boots) <= 1 + 7 + 1
        assert desk.central.violations == []


@pytest.mark.parametrize("kind", RESETS)
async def test_a_reset_in_the_trial_goes_back(tmp_path: Path, interpreter: Interpreter, kind: str) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        reset_at(desk, kind, ["New firmware on trial"])
        await desk.registered()
        await bring(desk, desk.update_file())
        assert story(desk).replace(f"{NEW} ", "") == ROLLED_BACK
        assert boots(desk) == [("ota_0", "power on"), ("ota_1", "reset"), ("ota_0", kind)]


async def test_a_hard_reset_in_mid_download_costs_nothing(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        desk.web.files = {FILE: desk.update_file()}
        desk.web.faults = [Fault(FILE, stall_after=60_000, times=1)]
        await desk.registered()
        await desk.update()
        await desk.logged("Progress: 10%")
        await desk.central.call(desk.identity, "Reset", {"type": "Hard"})
        await desk.ended()
        assert story(desk) == SUCCESS.replace("Downloading", f"Downloading {OLD}")


def operations(folder: Path, since: int) -> list[int]:
    """Return the addresses of the flash operations behind the first so many."""
    entries = struct.iter_unpack("<II", (folder / "operations").read_bytes())
    return [address for address, _ in list(entries)[1 + since :]]


OTADATA = range(0xD000, 0xF000)


@pytest.mark.parametrize("how", ["before", "middle"])
@pytest.mark.parametrize("at", [1, 2])
async def test_power_lost_during_mark_valid_costs_one_more_trial_at_most(
    tmp_path: Path, interpreter: Interpreter, at: int, how: Any
) -> None:
    """Or during what else is written at that moment; test_trial_boot.py cuts exactly there."""
    async with make_desk(tmp_path, interpreter) as desk:
        armed: list[int] = []
        accept = desk.central.answers["BootNotification"]

        def answer(payload: dict[str, Any]) -> Any:
            if payload["firmwareVersion"] == NEW and not armed:
                armed.append(desk.chip.operations)
                desk.chip.cut_power(at, how)
            return accept(payload)

        desk.central.answers["BootNotification"] = answer
        await desk.registered()
        await bring(desk, desk.update_file())
        ends = [word for word in story(desk).split() if word.startswith("Install") and word != "Installing"]
        assert ends in (["Installed"], ["InstallationFailed"])
        assert desk.version == (NEW if ends == ["Installed"] else OLD)
        assert len(desk.chip.boots) <= 5


@pytest.mark.parametrize("how", ["before", "middle"])
async def test_power_lost_during_the_rollback_ends_back_on_the_old_firmware(
    tmp_path: Path, interpreter: Interpreter, how: Any
) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        armed: list[int] = []

        def serial(line: str) -> None:
            if line == "failing" and not armed:
                armed.append(desk.chip.operations)
                desk.chip.cut_power(2, how)

        desk._show = serial
        failing = b"import machine, time\nprint('failing')\ntime.sleep(5)\nmachine.reset()\n"
        await desk.registered()
        await bring(desk, desk.update_file(extra={"main.py": failing}))
        assert operations(tmp_path, armed[0])[0] in OTADATA
        assert story(desk).split()[-1] == "InstallationFailed"
        assert desk.version == OLD
        assert len(desk.chip.boots) <= 5


# ---------------------------------------------------------------------------------------------- the course of an update


async def test_heartbeats_go_on_while_a_slow_flash_is_written_and_the_watchdog_is_content(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    """600 ms an erase is the longest that ESP-IDF's driver waits."""
    timing = Timing(erase_ms=600, erase_64k_ms=4100, write_ms_per_4k=20)
    async with make_desk(tmp_path, interpreter, timing=timing) as desk:
        desk.central.boot_interval = 4
        file = desk.update_file()
        assert len(file) > HEAP
        await desk.registered()
        await bring(desk, file)
        assert story(desk) == SUCCESS
        frames = desk.central.frames
        told = [at for at, frame in enumerate(frames) if frame.asks("FirmwareStatusNotification")]
        beats = [at for at, frame in enumerate(frames) if frame.asks("Heartbeat") and told[0] < at < told[1]]
        assert len(beats) >= 2
        assert [cause for _, cause in boots(desk)] == ["power on", "reset"]


async def test_stale_files_on_the_vfs_do_not_shadow_the_new_code(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        stale = b"raise RuntimeError('stale')\n"
        names = ("main.py", "version.py", "ocpp/__init__.py", "ocpp/session.py", "lib/firmware/update.py", "hw.py")
        files = dict.fromkeys(names, stale)
        files |= {"boot.py": (REPOSITORY / "boot.py").read_bytes(), "config.json": json.dumps(desk._config).encode()}
        await desk.registered()
        await desk.start_from(manufacture.flash(desk.update_file(OLD), files))
        await desk.registered()
        await bring(desk, desk.update_file())
        assert story(desk) == SUCCESS
        assert not any("stale" in line for line in desk.lines)


class Handicapped(Desk):
    """A desk whose old firmware has something in front of its main.py."""

    before = ""

    def update_file(self, version: str = NEW, extra: dict[str, bytes] | None = None) -> bytes:
        return super().update_file(version, main_py(OLD, self.before) if version == OLD else extra)


class SecondSessionLacksMemory(Handicapped):
    before = """
import hw.connection
sessions = []
async def dial(self, *rest, real=hw.connection.Dialer.dial, **options):
    import hw.dialing  # anew each time, as the firmware drops it
    start_tls = hw.dialing.start_tls
    async def failing(*arguments):
        sessions.append(1)
        if 2 <= len(sessions) <= 3:
            raise MemoryError
        await start_tls(*arguments)
    hw.dialing.start_tls = failing
    return await real(self, *rest, **options)
hw.connection.Dialer.dial = dial
"""


async def test_a_heap_too_fragmented_for_a_second_tls_session_delays_an_update(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with SecondSessionLacksMemory(tmp_path, interpreter, speed=SPEED, tls=True, heap=2 * HEAP) as desk:
        await desk.registered()
        await bring(desk, desk.update_file())
        assert story(desk) == SUCCESS
        assert any("Attempt 2 of 3 failed" in line and "out of memory" in line for line in desk.lines)


TRUNCATED: dict[str, dict[str, Any]] = {
    "no length": {"no_length": True},
    "chunked": {"chunked": True},
    "length": {},
    "200 to a range request": {"ignore_range": True},
}


@pytest.mark.parametrize("what", TRUNCATED)
async def test_a_download_that_always_ends_early_is_never_taken_for_complete(
    tmp_path: Path, interpreter: Interpreter, what: str
) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        desk.web.faults = [Fault(FILE, cut_after=20_000, times=1, **TRUNCATED[what])]
        desk.web.faults.append(Fault(FILE, cut_after=0))
        await desk.registered()
        await bring(desk, desk.update_file(), retries=2, retry_interval=1)
        assert story(desk) == DOWNLOAD_FAILED
        assert boots(desk) == [("ota_0", "power on")]
        assert [record.state for record in desk.chip.otadata()] == ["VALID", "UNDEFINED"]
        assert desk.in_service


async def test_a_206_from_another_file_does_not_get_mixed_in(tmp_path: Path, interpreter: Interpreter) -> None:
    """A server that takes no notice of If-Range and calls both files by the same ETag: the hashes tell."""
    async with make_desk(tmp_path, interpreter) as desk:
        other = bytearray(desk.update_file())
        other[-3000:] = bytes(3000)
        same: dict[str, Any] = {"headers": {"ETag": '"always"'}, "ignore_if_range": True}
        desk.web.faults = [Fault(FILE, cut_after=60_000, times=1, **same), Fault(FILE, **same)]
        await desk.registered()

        def replace(_: Request) -> None:
            desk.web.files = {FILE: bytes(other)}

        desk.web.log = replace
        await bring(desk, desk.update_file(), retries=1)
        assert story(desk) == f"{OLD} Downloading Downloaded InstallationFailed"
        assert boots(desk) == [("ota_0", "power on")]
