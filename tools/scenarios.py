"""What can happen to an update, as data: tools/simulate.py shows each, the end-to-end tests prove each."""

from __future__ import annotations

import re
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import build
from desk import FILE, Desk, chapter
from webserver import Fault

SLOT = 0x180000  # of the stock OTA partition table


async def _nothing(_: Desk) -> None:
    pass


@dataclass(frozen=True)
class Scenario:
    """One course of events.

    `story`: what the central system receives, statuses and the versions that register, in this order
    `reason`: a regular expression for what the serial log says about it
    `file`: makes the update file; `faults`: what is wrong with the web server, given that file
    `during`: what happens after UpdateFirmware
    """

    proves: str
    story: str
    reason: str = "New firmware confirmed"
    file: Callable[[Desk], bytes] = Desk.update_file
    faults: Callable[[bytes], list[Fault]] = lambda _: []
    during: Callable[[Desk], Awaitable[None]] = _nothing

    async def play(self, desk: Desk) -> list[str]:
        """Plays it on a desk that was just entered; returns what went wrong, in sentences."""
        await desk.registered()
        file = self.file(desk)
        desk.web.files = {FILE: file}
        desk.web.faults = self.faults(file)
        await desk.update()
        await self.during(desk)
        await desk.ended()
        return self.problems(desk)

    def problems(self, desk: Desk) -> list[str]:
        """Compares what happened with what should have."""
        story = " ".join(chapter(frame) for frame in desk.story)
        problems = [f"The central system recorded a violation: {text}" for text in desk.central.violations]
        if story != self.story:
            problems.append(f"The central system received {story}, not {self.story}")
        if not any(re.search(self.reason, line) for line in desk.lines):
            problems.append(f"The serial log doesn't say {self.reason!r}")
        return problems


SUCCESS = "1.0.0 Downloading Downloaded Installing 2.0.0 Installed"
DOWNLOAD_FAILED = "1.0.0 Downloading DownloadFailed"
REFUSED = "1.0.0 Downloading Downloaded InstallationFailed"
ROLLED_BACK = "1.0.0 Downloading Downloaded Installing 1.0.0 InstallationFailed"


def _corrupt(desk: Desk) -> bytes:
    file = bytearray(desk.update_file())
    file[-1000] ^= 1
    return bytes(file)


def _combined(desk: Desk) -> bytes:
    """The layout of micropython.org's firmware.bin, from flash address 0x1000: bootloader, partitions, application."""
    bootloader = build.IMAGE_HEADER.pack(0xE9, 4, 2, 0x20, 0x40080688, 0xEE, b"", 0, 0, 0, 0xFFFF, b"", 1)
    bootloader += build.SEGMENT_HEADER.pack(0x3FFF0030, 0x5000)
    table = struct.pack("<HBBII16sI", 0x50AA, 0, 0, 0x10000, SLOT, b"factory", 0)
    return bootloader.ljust(0x7000, b"\0") + table.ljust(0x8000, b"\xff") + desk.image


def _other_chip(desk: Desk) -> bytes:
    return build.update_file(build.made_image(chip_id=9), build.bundle(build.application("2.0.0"), "2.0.0"))


def _html(_: Desk) -> bytes:
    return b"<!DOCTYPE html><title>Sign in</title><h1>Sign in to download</h1>" + bytes(8000)


def _too_large(desk: Desk) -> bytes:
    return desk.update_file().ljust(SLOT + 4096, b"\xff")


def _crashing(desk: Desk) -> bytes:
    return desk.update_file(extra={"main.py": b"raise RuntimeError('made to crash')\n"})


def _hanging(desk: Desk) -> bytes:
    return desk.update_file(extra={"main.py": b"while True:\n    pass\n"})


UNREACHABLE = b"""\
import hw.connection

async def nowhere(*_, **__):
    raise OSError(113, "made to reach nobody")

hw.connection.Dialer.dial = nowhere
"""


def _unreachable(desk: Desk) -> bytes:
    main = build.application("2.0.0")["main.py"]
    return desk.update_file(extra={"main.py": UNREACHABLE + main})


async def _cut_power(desk: Desk) -> None:
    await desk.logged("Progress: 50%")
    desk.chip.cut_power(1, "middle")


UPDATE = Scenario("An update over the air changes the running application, and the operator can follow it.", SUCCESS)

SCENARIOS = {
    "file-not-found": Scenario(
        "A wrong location ends in DownloadFailed, once, and the log names the URL and the 404.",
        DOWNLOAD_FAILED,
        "DownloadFailed: .*404",
        faults=lambda _: [Fault(FILE, status=404)],
    ),
    "server-dies": Scenario(
        "A web server that dies half-way and comes back delays the update and doesn't fail it.",
        SUCCESS,
        "Connection lost at byte",
        faults=lambda file: [Fault(FILE, times=1, cut_after=len(file) // 2, down=1)],
    ),
    "corrupt-file": Scenario(
        "One flipped bit in the application is found before the new firmware is started.",
        REFUSED,
        "InstallationFailed: .*SHA-256",
        file=_corrupt,
    ),
    "wrong-file-combined": Scenario(
        "MicroPython's combined firmware.bin, the classic mistake, is refused at its first block.",
        REFUSED,
        "InstallationFailed: .*combined file",
        file=_combined,
    ),
    "wrong-file-other-chip": Scenario(
        "An image for another chip is refused at its first block.",
        REFUSED,
        "InstallationFailed: built for ESP32-S3",
        file=_other_chip,
    ),
    "wrong-file-html": Scenario(
        "A web page with status 200 instead of the file is refused at its first block.",
        REFUSED,
        "InstallationFailed: .*web page",
        file=_html,
    ),
    "too-large": Scenario(
        "A file that is larger than the OTA slot is refused before anything is erased.",
        REFUSED,
        "InstallationFailed: the file has .* the OTA slot",
        file=_too_large,
    ),
    "new-crashes": Scenario(
        "A new firmware that crashes at its start is gone after the watchdog's reset; the old one reports it.",
        ROLLED_BACK,
        "RuntimeError: made to crash",
        file=_crashing,
    ),
    "new-hangs": Scenario(
        "A new firmware that hangs is gone after the watchdog's reset; the old one reports it.",
        ROLLED_BACK,
        "InstallationFailed: the new firmware did not prove itself",
        file=_hanging,
    ),
    "new-unreachable": Scenario(
        "A new firmware that can't reach the central system within TrialDeadline goes back by itself.",
        ROLLED_BACK,
        "InstallationFailed: the new firmware was not accepted by the central system within 20 s",
        file=_unreachable,
    ),
    "power-cut": Scenario(
        "An update goes on where it was after a power failure in mid-download.",
        "1.0.0 Downloading 1.0.0 Downloaded Installing 2.0.0 Installed",
        during=_cut_power,
    ),
}
