"""The first moments of a trial, or no application at all: boot.py ends what can't work, and never resets in circles."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

import build
from environment import REPOSITORY
from simulator import state
from simulator.chip import Chip
from simulator.interpreter import Interpreter
from slots import ABORTED, END, IMAGE, NEW, PENDING, REPL, VALID, Flash, Outcome, application, switch_on, with_modules

BOOT = (REPOSITORY / "boot.py").read_text()
SAY = "import os, esp32\nprint('application of', esp32.Partition(1).info()[4], 'in', os.getcwd())\nprint('END')\n"
GOOD = application(SAY)
DAMAGED = application(SAY, damaged=True)
ON_VFS = {"main.py": b"print('the copy')\nprint('END')\n"}
ON_TRIAL = ((0, VALID), (1, NEW))
NO_COPY = "[BOOT] /application.bin: [Errno 2] ENOENT"
WENT_BACK = "application of ota_0 in /app"


def changed(text: str, *, by: str) -> dict[str, bytes]:
    """Return boot.py on the VFS with some other text in one place."""
    assert BOOT.count(text) == 1
    return {"boot.py": BOOT.replace(text, by).encode()}


def cut(at: int, how: Literal["before", "middle"]) -> Callable[[Chip], None]:
    """Have the power fail at a flash operation, the bootloader's included."""
    return lambda chip: chip.cut_power(at, how)


CUTS = pytest.mark.parametrize("how", ["before", "middle"])


async def test_the_watchdog_runs_before_boot_py_looks_at_the_application(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    files = changed("    for number, slot in", by="    while on_trial:\n        pass\n    for number, slot in")
    outcome = await switch_on(tmp_path, interpreter, Flash((GOOD, GOOD), ON_TRIAL, files))
    assert outcome.boots == [("ota_1", "power on"), ("ota_0", "watchdog")]
    assert outcome.states == ["VALID", "ABORTED"]


async def test_a_crash_before_the_watchdog_goes_back(tmp_path: Path, interpreter: Interpreter) -> None:
    """As the new MicroPython might, long before it comes to boot.py."""
    crash = "import esp32, machine\nif esp32.Partition(1).info()[4] == 'ota_1':\n    machine.reset()\n"
    outcome = await switch_on(
        tmp_path, interpreter, Flash((GOOD, GOOD), ON_TRIAL, {"boot.py": (crash + BOOT).encode()})
    )
    assert outcome.boots == [("ota_1", "power on"), ("ota_0", "reset")]


async def test_a_micropython_that_lacks_what_boot_py_needs_goes_back(tmp_path: Path, interpreter: Interpreter) -> None:
    lacking = """
import builtins, esp32
def find(name, *rest, real=__import__):
    if name in ("vfs", "hashlib") and esp32.Partition(1).info()[4] == "ota_1":
        raise ImportError("no module named '%s'" % name)
    return real(name, *rest)
builtins.__import__ = find
"""
    files = {"boot.py": (lacking + BOOT).encode()}
    outcome = await switch_on(tmp_path, interpreter, Flash((GOOD, GOOD), ON_TRIAL, files))
    assert outcome.lines[0] == "[BOOT] ota_1: no module named 'hashlib'"
    assert outcome.boots == [("ota_1", "power on"), ("ota_0", "reset")]


ENDS = {
    # how the new firmware ends: (its main.py, the boots behind the first one)
    "reset": ("import machine\nmachine.reset()\n", [("ota_0", "reset")]),
    "soft reset": ("import machine\nmachine.soft_reset()\n", [("ota_1", "soft reset"), ("ota_0", "reset")]),
    "sys.exit": ("import sys\nsys.exit()\n", [("ota_1", "soft reset"), ("ota_0", "reset")]),
    "panic": ("import esp32\nesp32.Partition(1).writeblocks(0, bytes(4096))\n", [("ota_0", "panic")]),
    "end of its main.py": ("pass\n", [("ota_0", "watchdog")]),
}


@pytest.mark.parametrize("end", ENDS)
async def test_however_a_firmware_on_trial_ends_the_old_one_is_back(
    tmp_path: Path, interpreter: Interpreter, end: str
) -> None:
    main, boots = ENDS[end]
    outcome = await switch_on(tmp_path, interpreter, Flash((GOOD, application(main)), ON_TRIAL))
    assert outcome.boots == [("ota_1", "power on"), *boots]
    assert outcome.states == ["VALID", "ABORTED"]
    assert outcome.lines[-2:] == [WENT_BACK, END]


# ----------------------------------------------------------------------------------------------- power fails in a trial


@CUTS
@pytest.mark.parametrize("at", [1, 2])
async def test_power_lost_during_the_rollback_itself_ends_on_the_old_firmware(
    tmp_path: Path, interpreter: Interpreter, at: int, how: Literal["before", "middle"]
) -> None:
    flash = Flash((GOOD, application("print('again')\n")), ((0, VALID), (1, PENDING)))
    outcome = await switch_on(tmp_path, interpreter, flash, prepare=cut(at, how))
    assert outcome.boots == [("ota_0", "power on")]
    assert outcome.lines[-2:] == [WENT_BACK, END]


@CUTS
@pytest.mark.parametrize("at", [1, 2])
async def test_power_lost_while_the_trial_begins_leaves_a_charger_that_runs(
    tmp_path: Path, interpreter: Interpreter, at: int, how: Literal["before", "middle"]
) -> None:
    outcome = await switch_on(tmp_path, interpreter, Flash((GOOD, GOOD), ON_TRIAL), prepare=cut(at, how))
    assert outcome.boots == [("ota_1" if (at, how) == (1, "before") else "ota_0", "power on")]


@CUTS
@pytest.mark.parametrize("at", [3, 4])
async def test_power_lost_during_mark_valid_is_back_on_the_old_firmware(
    tmp_path: Path, interpreter: Interpreter, at: int, how: Literal["before", "middle"]
) -> None:
    """Operations 1 and 2 are the bootloader's: NEW becomes PENDING."""
    confirm = "from hw.slots import Slots\nslots = Slots()\nif slots.unconfirmed():\n    slots.confirm()\n"
    content = with_modules(confirm + SAY, "hw/slots.py", "hw/otadata.py")
    flash = Flash((content, content), ON_TRIAL)
    outcome = await switch_on(tmp_path, interpreter, flash, prepare=cut(at, how), heap=None)
    assert outcome.boots == [("ota_1", "power on"), ("ota_0", "power on")]
    assert outcome.lines[-2:] == [WENT_BACK, END]
    assert outcome.states[0] == "VALID"


async def test_with_no_record_left_that_counts_a_trial_is_still_a_trial(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    """Both firmwares were given up once: ESP-IDF falls back on the first slot."""
    main = (
        "from hw.slots import Slots\nslots = Slots()\nimport machine\nfrom hw.otadata import _records\n"
        "if slots.running.index:\n    print('failing')\n    machine.reset()\n"
        "if _records()[0][2] == 4 and len(_records()) == 2 and not failed:\n"
        "    slots.begin().set_boot()\n    machine.reset()\n"
    )
    main = main.replace("not failed", "machine.reset_cause() == machine.PWRON_RESET") + SAY
    content = with_modules(main, "hw/slots.py", "hw/otadata.py")
    flash = Flash((content, content), ((0, ABORTED), (1, ABORTED)))
    outcome = await switch_on(tmp_path, interpreter, flash, heap=None)
    assert [slot for slot, _ in outcome.boots] == ["ota_0", "ota_1", "ota_0"]
    assert outcome.lines[-2:] == [WENT_BACK, END]


# -------------------------------------------------------------------------------------------------- no loop, a prompt


def image_that_only_set_boot_takes() -> bytes:
    """An image that is whole, but has to be loaded to where the bootloader itself is, which only that minds."""
    image = bytearray(IMAGE[:-32])
    at = image.rindex(struct.pack("<II", 0x40080000, 64))
    image[at : at + 4] = struct.pack("<I", 0x3FFF0000)
    return bytes(image) + hashlib.sha256(image).digest()


async def test_an_image_that_only_the_bootloader_refuses_does_not_make_a_circle(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    refused = image_that_only_set_boot_takes() + application(SAY)[len(IMAGE) :]
    outcome = await switch_on(tmp_path, interpreter, Flash((DAMAGED, refused), ((0, VALID),), ON_VFS))
    assert outcome.boots == [("ota_0", "power on"), ("ota_0", "reset")]
    assert outcome.lines[-5:] == [
        "[BOOT] ota_1: failed its trial",
        NO_COPY,
        "[BOOT] using the copy on the VFS",
        "the copy",
        END,
    ]


async def test_the_other_slot_takes_over_for_good_if_it_has_proved_itself(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    """A trial could only fail: there is nothing to go back to, and the central system may be away."""
    flash = Flash((DAMAGED, GOOD), ((1, VALID), (0, VALID)))
    outcome = await switch_on(tmp_path, interpreter, flash)
    assert outcome.boots == [("ota_0", "power on"), ("ota_1", "reset")]
    assert outcome.states == ["VALID", "VALID"]


SLOTS = {
    # what both slots hold: (contents, records, what boot.py says of each)
    "damaged": ((DAMAGED, DAMAGED), ((0, VALID),), ("damaged application", "damaged application")),
    "nothing": ((IMAGE, b""), (), ("no application", "no image")),
    "failed": ((DAMAGED, GOOD), ((0, VALID), (1, ABORTED)), ("damaged application", "failed its trial")),
    "cut off": ((GOOD[: len(IMAGE)], GOOD[:8300]), ((0, VALID),), ("no application", "damaged application")),
}


@pytest.mark.parametrize("what", SLOTS)
async def test_without_one_there_is_a_prompt_that_says_what_was_found_and_what_to_do(
    tmp_path: Path, interpreter: Interpreter, what: str
) -> None:
    slots, records, (first, second) = SLOTS[what]
    outcome = await switch_on(tmp_path, interpreter, Flash(slots, records), REPL)
    assert outcome.boots == [("ota_0", "power on")]
    told = [f"[BOOT] ota_0: {first}", f"[BOOT] ota_1: {second}", NO_COPY, "[BOOT] no application that can run"]
    assert outcome.lines[:4] == told
    with (tmp_path / "state").open("r+b", buffering=0) as page:
        assert state.State(page).get(state.WATCHDOG) == 0


async def test_out_of_a_trial_the_prompt_comes_after_one_reset(tmp_path: Path, interpreter: Interpreter) -> None:
    outcome = await switch_on(tmp_path, interpreter, Flash((DAMAGED, DAMAGED), ON_TRIAL), REPL)
    assert outcome.boots == [("ota_1", "power on"), ("ota_0", "reset")]
    assert "[BOOT] no application that can run" in outcome.lines


async def test_when_only_the_image_on_trial_boots_it_does_not_reset_for_ever(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    unbootable = bytearray(GOOD)
    unbootable[100] ^= 1
    outcome = await switch_on(tmp_path, interpreter, Flash((bytes(unbootable), DAMAGED), ON_TRIAL), REPL)
    assert outcome.boots == [("ota_1", "power on"), ("ota_1", "reset")]
    told = [line for line in outcome.lines if line.startswith("[BOOT]")]
    assert told[-3:] == [
        "[BOOT] ota_0: (-5379, 'ESP_ERR_OTA_VALIDATE_FAILED')",
        NO_COPY,
        "[BOOT] no application that can run",
    ]


async def test_whatever_fails_in_boot_py_it_returns(tmp_path: Path, interpreter: Interpreter) -> None:
    files = changed("slot_states(sum(", by="1 // (0 * sum(") | ON_VFS
    outcome = await switch_on(tmp_path, interpreter, Flash((GOOD,), files=files))
    assert len(outcome.boots) == 1
    assert outcome.lines[1:] == ["[BOOT] using the copy on the VFS", "the copy", END]


ARCHIVE = build.archive({"main.py": SAY.encode()})
LOADER = (REPOSITORY / "firmware" / "archive.py").read_bytes()


def header(
    files: int = 1,
    length: int | None = None,
    version: bytes = b"1",
    layout: int = 2,
    payload: bytes = ARCHIVE,
    loader: bytes = LOADER,
) -> bytes:
    """A bundle whose header is sound and says this."""
    digest = hashlib.sha256(payload).digest()
    length = len(payload) if length is None else length
    start = struct.pack("<8sHHI32s32s", b"ARUSAPP\0", layout, files, length, version, digest)
    start = (start + loader).ljust(4064, b"\xff")
    return start + hashlib.sha256(start).digest() + payload


def index(path: bytes = b"main.py", position: int = 48, length: int = len(SAY)) -> bytes:
    """A bundle whose hashes are right and whose one record says this."""
    return header(payload=struct.pack("<40sII", path, position, length) + ARCHIVE[48:])


NONSENSE = {
    "no archive": header(payload=bytes(8192)),
    "no files": header(files=0),
    "more files than there are": header(files=2),
    "more files than there could be": header(files=0xFFFF),
    "no path": index(path=b""),
    "a path without an end": index(path=b"p" * 40),
    "a file in the index": index(position=0),
    "a file behind the slot": index(position=0xFFFFFFFF),
    "a file longer than the archive": index(length=len(ARCHIVE)),
    "a file longer than the flash": index(length=0xFFFFFFFF),
    "no code": header(loader=b""),
    "code that is none": header(loader=b"def (\n"),
    "code that fails": header(loader=b"1 // 0\n"),
    "code for something else": header(loader=b"class Archive:\n    pass\n"),
    "code that fails late": header(loader=LOADER.replace(b"def chdir", b"def other")),
    "no main.py": index(path=b"main.pz"),
    "another format": header(layout=1),
    "no length": header(length=0),
    "endless": header(length=0xFFFFFFFF),
    "no text": header(version=b"\xff" * 32),
    "header cut off": header()[:1000],
}


@pytest.mark.parametrize("what", NONSENSE)
async def test_nonsense_in_both_slots_gives_way_to_the_copy_on_the_vfs(
    tmp_path: Path, interpreter: Interpreter, what: str
) -> None:
    content = build.update_file(IMAGE, NONSENSE[what])
    outcome = await switch_on(tmp_path, interpreter, Flash((content, content), ((0, VALID), (1, VALID)), ON_VFS))
    assert len(outcome.boots) <= 3
    assert outcome.lines[-3:] == ["[BOOT] using the copy on the VFS", "the copy", END]


@pytest.mark.parametrize("what", [index(position=0), index(length=len(ARCHIVE)), header(files=2), header(loader=b"")])
async def test_nonsense_with_the_right_hash_is_a_damaged_application(
    tmp_path: Path, interpreter: Interpreter, what: bytes
) -> None:
    flash = Flash((GOOD, build.update_file(IMAGE, what)), ON_TRIAL)
    outcome = await switch_on(tmp_path, interpreter, flash)
    assert outcome.lines[0] == "[BOOT] ota_1: damaged application"
    assert outcome.boots == [("ota_1", "power on"), ("ota_0", "reset")]


async def test_segments_without_end_are_no_image(tmp_path: Path, interpreter: Interpreter) -> None:
    """The bootloader would not start it, but boot.py looks at it in the other slot."""
    endless = b"\xe9\xff" + bytes(22) + struct.pack("<II", 0, 0x10) * 255
    outcome: Outcome = await switch_on(tmp_path, interpreter, Flash((DAMAGED, endless), ((0, VALID),), ON_VFS))
    assert len(outcome.boots) == 1
    assert outcome.lines[-2:] == ["the copy", END]
