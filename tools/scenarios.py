"""What can happen to an update, as data: tools/simulate.py shows each, the end-to-end tests prove each."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import build
import packages
import packages_keys
from desk import FILE, NEW, OLD, PRODUCT, SLOT, TRIAL_DEADLINE, Desk, chapter
from webserver import Fault

# What an update can come as: how its file is packed for a desk whose charger runs OLD.
KINDS: dict[str, Callable[[Desk, bytes], bytes]] = {
    "plain": lambda _, file: file,
    "package": lambda desk, file: desk.package(file),
    "compressed": lambda desk, file: desk.package(file, compress=True),
    "delta": lambda desk, file: desk.package(file, base=desk.update_file(OLD)),
}


@dataclass(frozen=True)
class Scenario:
    """One course of events.

    `story`: what the central system receives, statuses and the versions that register, in this order
    `reason`: a regular expression for what the serial log says about it, over all its lines
    `file`: makes the update file
    `disturb`: called with that file and what it is packed in, before UpdateFirmware is sent; lets something go wrong
    `any_kind`: it goes the same way whatever the file is packed in, see KINDS
    `has_key`: the charger knows a key, whatever kind it is
    """

    proves: str
    story: str
    reason: str = "New firmware confirmed"
    file: Callable[[Desk], bytes] = Desk.update_file
    disturb: Callable[[Desk, bytes, bytes], None] = lambda *_: None
    any_kind: bool = False
    has_key: bool = False
    configuration: Mapping[str, int | str] = field(default_factory=dict)

    def options(self, kind: str = "plain", **configuration: int | str) -> dict[str, Any]:
        """The options that a Desk for it takes; with more of the charger's configuration."""
        has_key = self.has_key or kind != "plain"
        key = packages_keys.make_key("rsa") if has_key else None
        return {"key": key, "configuration": {**configuration, **self.configuration}}

    async def play(
        self, desk: Desk, kind: str = "plain", show: Callable[[bytes, bytes], None] = lambda *_: None
    ) -> list[str]:
        """Play it on a desk that was just entered; return what went wrong, in sentences.

        show: called with the update file and what it is packed in, when they are ready.
        """
        await desk.registered()
        file = self.file(desk)
        packed = KINDS[kind](desk, file)
        desk.web.files = {FILE: packed}
        show(file, packed)
        self.disturb(desk, file, packed)
        await desk.update()
        await desk.ended()
        return self.problems(desk)

    def problems(self, desk: Desk) -> list[str]:
        """Compare what happened with what should have."""
        story = " ".join(chapter(frame) for frame in desk.story)
        problems = [f"The central system recorded a violation: {text}" for text in desk.central.violations]
        if story != self.story:
            problems.append(f"The central system received {story}, not {self.story}")
        if not re.search(self.reason, "\n".join(desk.lines), re.DOTALL):
            problems.append(f"The serial log doesn't say {self.reason!r}")
        return problems


SUCCESS = f"{OLD} Downloading Downloaded Installing {NEW} Installed"
DOWNLOAD_FAILED = f"{OLD} Downloading DownloadFailed"
REFUSED = f"{OLD} Downloading Downloaded InstallationFailed"
ROLLED_BACK = f"{OLD} Downloading Downloaded Installing {OLD} InstallationFailed"


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
    return build.update_file(build.made_image(chip_id=9), build.bundle(build.application(NEW), NEW))


def _html(_: Desk) -> bytes:
    return b"<!DOCTYPE html><title>Sign in</title><p>Sign in to download.</p>\n" * 100


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
    main = build.application(NEW)["main.py"]
    return desk.update_file(extra={"main.py": UNREACHABLE + main})


def _wrong_key(desk: Desk) -> bytes:
    return packages.package(desk.update_file(), packages_keys.make_key("rsa"), product=PRODUCT, release=2)


def _not_found(desk: Desk, *_: bytes) -> None:
    desk.web.faults = [Fault(FILE, status=404)]


def _die_halfway(desk: Desk, _: bytes, packed: bytes) -> None:
    desk.web.faults = [Fault(FILE, times=1, cut_after=len(packed) // 2, down=6 / desk.speed)]


def _cut_power(desk: Desk, file: bytes, _: bytes) -> None:
    """After three quarters of the download: each 4096 bytes take two operations, but for a few that erase."""
    desk.chip.cut_power(len(file) // 2048 * 3 // 4, "middle")


UPDATE = Scenario(
    "An update over the air changes the running application, and the operator can follow it.", SUCCESS, any_kind=True
)

SCENARIOS = {
    "file-not-found": Scenario(
        "A wrong location ends in DownloadFailed, once, and the log names the URL and the 404.",
        DOWNLOAD_FAILED,
        "Attempt 2 of 3 failed.*DownloadFailed: http://127.0.0.1:.*404",
        disturb=_not_found,
        any_kind=True,
    ),
    "server-dies": Scenario(
        "A web server that dies half-way and comes back delays the update and doesn't fail it.",
        SUCCESS,
        "Connection lost at byte",
        disturb=_die_halfway,
        any_kind=True,
    ),
    "corrupt-file": Scenario(
        "One flipped bit in the application is found before the new firmware is started.",
        REFUSED,
        "InstallationFailed: the bundle is damaged",
        file=_corrupt,
    ),
    "wrong-file-combined": Scenario(
        "MicroPython's combined firmware.bin, the classic mistake, is refused at its first block.",
        REFUSED,
        "InstallationFailed: no application descriptor: is it the combined file",
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
        "InstallationFailed: no ESP32 image.*web page",
        file=_html,
    ),
    "too-large": Scenario(
        "A file that is larger than the OTA slot is refused before anything is erased.",
        REFUSED,
        "InstallationFailed: the file has 1576960 bytes, the OTA slot 1572864",
        file=_too_large,
    ),
    "wrong-key": Scenario(
        "A package that is signed with another key than the charger's is refused before anything is erased.",
        REFUSED,
        "InstallationFailed: signed with another key",
        file=_wrong_key,
        has_key=True,
    ),
    "unsigned": Scenario(
        "With RequireSignedFirmware on, a plain file is refused before anything is erased.",
        REFUSED,
        "InstallationFailed: it is not signed, and RequireSignedFirmware is on",
        has_key=True,
        configuration={"RequireSignedFirmware": "true"},
    ),
    "new-crashes": Scenario(
        "A new firmware that crashes at its start is gone after the watchdog's reset; the old one reports it.",
        ROLLED_BACK,
        "made to crash.*watchdog.*InstallationFailed: the new firmware did not prove itself",
        file=_crashing,
        any_kind=True,
    ),
    "new-hangs": Scenario(
        "A new firmware that hangs is gone after the watchdog's reset; the old one reports it.",
        ROLLED_BACK,
        "watchdog.*InstallationFailed: the new firmware did not prove itself",
        file=_hanging,
        any_kind=True,
    ),
    "new-unreachable": Scenario(
        "A new firmware that can't reach the central system within TrialDeadline goes back by itself.",
        ROLLED_BACK,
        f"InstallationFailed: the new firmware was not accepted by the central system within {TRIAL_DEADLINE} s",
        file=_unreachable,
        any_kind=True,
    ),
    "power-cut": Scenario(
        "An update goes on where it was after a power failure in mid-download.",
        f"{OLD} Downloading {OLD} Downloaded Installing {NEW} Installed",
        disturb=_cut_power,
        any_kind=True,
    ),
}
