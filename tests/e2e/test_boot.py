"""boot.py finds the right application whatever the slots hold, and never resets in circles."""

from __future__ import annotations

from pathlib import Path

import pytest

import build
from simulator.interpreter import Interpreter
from slots import ABORTED, IMAGE, NEW, PENDING, REPL, VALID, Flash, application, switch_on

SAY = "import os\nprint('application of', {slot!r}, 'in', os.getcwd())\nprint('END')\n"
GOOD_0 = application(SAY.format(slot="ota_0"), "1")
GOOD_1 = application(SAY.format(slot="ota_1"), "2")
DAMAGED = application(SAY.format(slot="a damaged slot"), "3", damaged=True)
NO_COPY = "[BOOT] /application.bin: [Errno 2] ENOENT"
NO_APPLICATION = "[BOOT] no application that can run"
ON_VFS = {"main.py": SAY.format(slot="the VFS").encode()}


async def test_the_application_of_the_running_slot_runs(tmp_path: Path, interpreter: Interpreter) -> None:
    outcome = await switch_on(tmp_path, interpreter, Flash((GOOD_0, GOOD_1), ((1, VALID),)))
    assert outcome.lines == ["[BOOT] ota_1: application 2", "application of ota_1 in /app", "END"]


async def test_files_on_the_vfs_do_not_shadow_the_application(tmp_path: Path, interpreter: Interpreter) -> None:
    main = "import parts\nprint(parts.NAME)\nprint('END')\n"
    bundle = build.bundle({"main.py": main.encode(), "parts.py": b"NAME = 'new'\n"}, "1")
    stale = {"main.py": b"print('stale')\n", "parts.py": b"NAME = 'stale'\n"}
    outcome = await switch_on(tmp_path, interpreter, Flash((build.update_file(IMAGE, bundle),), files=stale))
    assert outcome.lines[1:] == ["new", "END"]


async def test_an_application_of_many_files_is_imported_and_listed(
    tmp_path: Path, interpreters: list[Interpreter]
) -> None:
    """Every module there is: nothing runs at import but the application itself."""
    files = build.application("1")
    modules = sorted(
        name[:-4].replace("/", ".") for name in files if name.endswith(".mpy") and name != "application.mpy"
    )
    main = (
        f"import os, sys\nfor name in {modules}:\n    __import__(name)\n"
        "    sys.modules.pop(name)\n    package, _, module = name.rpartition('.')\n"
        "    if package:\n        delattr(sys.modules[package], module)\n"
        "print(os.listdir(), len(os.listdir('ocpp')))\nprint('END')\n"
    )
    content = build.update_file(IMAGE, build.bundle({**files, "main.py": main.encode()}, "1"))
    for port in interpreters:
        folder = tmp_path / str(port.word_bits)
        folder.mkdir()
        outcome = await switch_on(folder, port, Flash((content,)), heap=None)
        in_ocpp = len([name for name in files if name.startswith("ocpp/")])
        assert outcome.lines[1:] == [
            f"['application.mpy', 'firmware', 'hw', 'main.py', 'ocpp', 'version.mpy'] {in_ocpp}",
            "END",
        ]


async def test_an_application_may_fill_its_slot_to_the_end(tmp_path: Path, interpreter: Interpreter) -> None:
    files = {"main.py": b"import z\nprint(z.LAST)\nprint('END')\n"}
    empty = build.update_file(IMAGE, build.bundle({**files, "z.py": b""}, "1"))
    files["z.py"] = b"LAST = 'the end'\n".rjust(0x180000 - len(empty.rstrip(b"\xff")), b"\n")
    content = build.update_file(IMAGE, build.bundle(files, "1"))
    assert len(content) == 0x180000
    assert content.endswith(b"the end'\n")
    outcome = await switch_on(tmp_path, interpreter, Flash((content,)))
    assert outcome.lines[1:] == ["the end", "END"]


async def test_a_damaged_application_on_trial_goes_back(tmp_path: Path, interpreter: Interpreter) -> None:
    outcome = await switch_on(tmp_path, interpreter, Flash((GOOD_0, DAMAGED), ((0, VALID), (1, NEW))))
    assert outcome.boots == [("ota_1", "power on"), ("ota_0", "reset")]
    assert outcome.states == ["VALID", "ABORTED"]
    assert outcome.lines[:2] == [
        "[BOOT] ota_1: damaged application",
        "[BOOT] going back to the firmware before this one",
    ]


@pytest.mark.parametrize("missing", [IMAGE, IMAGE[:-1], IMAGE + b"\xff" * 8192])
async def test_a_slot_on_trial_without_an_application_goes_back(
    tmp_path: Path, interpreter: Interpreter, missing: bytes
) -> None:
    outcome = await switch_on(tmp_path, interpreter, Flash((GOOD_0, missing), ((0, VALID), (1, NEW))))
    assert outcome.boots[-1][0] == "ota_0"
    assert "application of ota_0 in /app" in outcome.lines


async def test_a_damaged_application_that_was_confirmed_gives_way_to_the_other_slot(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    outcome = await switch_on(tmp_path, interpreter, Flash((DAMAGED, GOOD_1), ((0, VALID),)))
    assert outcome.boots == [("ota_0", "power on"), ("ota_1", "reset")]
    assert outcome.states == ["VALID", "PENDING"]
    assert "application of ota_1 in /app" in outcome.lines


@pytest.mark.parametrize("other", [b"", IMAGE, DAMAGED])
async def test_when_the_other_slot_is_no_better_the_copy_on_the_vfs_runs(
    tmp_path: Path, interpreter: Interpreter, other: bytes
) -> None:
    outcome = await switch_on(tmp_path, interpreter, Flash((DAMAGED, other), ((0, VALID),), ON_VFS))
    assert len(outcome.boots) == 1
    assert outcome.lines[-3:] == ["[BOOT] using the copy on the VFS", "application of the VFS in /", "END"]


async def test_a_slot_that_failed_its_trial_is_not_tried_again(tmp_path: Path, interpreter: Interpreter) -> None:
    flash = Flash((DAMAGED, GOOD_1), ((0, VALID), (1, ABORTED)), ON_VFS)
    outcome = await switch_on(tmp_path, interpreter, flash)
    assert len(outcome.boots) == 1
    assert "application of the VFS in /" in outcome.lines


async def test_the_way_over_the_other_slot_does_not_become_a_circle(tmp_path: Path, interpreter: Interpreter) -> None:
    failing = application("import machine\nprint('failing')\nmachine.reset()\n")
    outcome = await switch_on(tmp_path, interpreter, Flash((DAMAGED, failing), ((0, VALID),), ON_VFS))
    assert [slot for slot, _ in outcome.boots] == ["ota_0", "ota_1", "ota_0"]
    assert outcome.lines.count("failing") == 1
    assert "application of the VFS in /" in outcome.lines


@pytest.mark.parametrize("slots", [(IMAGE,), (DAMAGED, DAMAGED), (IMAGE, DAMAGED)], ids=["new", "damaged", "mixed"])
async def test_without_one_in_a_slot_the_bundle_on_the_vfs_runs(
    tmp_path: Path, interpreter: Interpreter, slots: tuple[bytes, ...]
) -> None:
    """Which is how tools/flash.py leaves a new charger."""
    main = "import os, parts\nprint(parts.NAME, 'in', os.getcwd())\nprint('END')\n"
    bundle = build.bundle({"main.py": main.encode(), "parts.py": b"NAME = 'new'\n"}, "1.2.0")
    stale = {**ON_VFS, "parts.py": b"NAME = 'stale'\n"}
    outcome = await switch_on(tmp_path, interpreter, Flash(slots, files={**stale, "application.bin": bundle}))
    assert outcome.lines[-3:] == ["[BOOT] /application.bin: application 1.2.0", "new in /app2", "END"]


@pytest.mark.parametrize("end", [0, 50, 4095, 4096, 5000, None], ids=str)
async def test_a_bundle_on_the_vfs_is_checked_too(tmp_path: Path, interpreter: Interpreter, end: int | None) -> None:
    """Cut off there, or with a bit of it flipped."""
    bundle = bytearray(GOOD_0[len(IMAGE) + -len(IMAGE) % 4096 :])
    if end is None:
        bundle[-1] ^= 1
    files = {**ON_VFS, "application.bin": bytes(bundle[:end])}
    outcome = await switch_on(tmp_path, interpreter, Flash((IMAGE,), files=files))
    assert outcome.lines[-4].startswith("[BOOT] /application.bin: ")
    assert outcome.lines[-3:] == ["[BOOT] using the copy on the VFS", "application of the VFS in /", "END"]


async def test_a_developers_copy_is_put_in_front_on_purpose(tmp_path: Path, interpreter: Interpreter) -> None:
    flash = Flash((GOOD_0, GOOD_1), ((0, VALID),), {**ON_VFS, "dev": b""})
    outcome = await switch_on(tmp_path, interpreter, flash)
    assert outcome.lines == [
        "[BOOT] /dev: the copy on the VFS runs, whatever ota_0 holds",
        "[BOOT] using the copy on the VFS",
        "application of the VFS in /",
        "END",
    ]


async def test_a_firmware_on_trial_runs_whatever_a_developer_has_put_in_front(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    flash = Flash((GOOD_0, GOOD_1), ((0, VALID), (1, NEW)), {**ON_VFS, "dev": b""})
    outcome = await switch_on(tmp_path, interpreter, flash)
    assert "application of ota_1 in /app" in outcome.lines


async def test_after_a_soft_reset_the_watchdog_gives_an_hour_and_no_more(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    """Somebody is at the prompt, and may forget the charger there."""
    main = (
        "import machine, time\n"
        "if machine.reset_cause() == machine.PWRON_RESET:\n    machine.WDT(timeout=60000)\n    machine.soft_reset()\n"
        "if machine.reset_cause() == machine.WDT_RESET:\n    print('END')\n"
        "start = time.time()\nwhile time.time() < start + 3000:\n    pass\nprint('3000 s later')\n"
    )
    outcome = await switch_on(tmp_path, interpreter, Flash((application(main),)), speed=1000)
    assert outcome.boots == [("ota_0", "power on"), ("ota_0", "soft reset"), ("ota_0", "watchdog")]
    assert outcome.lines.count("3000 s later") == 1


async def test_without_any_application_it_says_so_and_stays(tmp_path: Path, interpreter: Interpreter) -> None:
    outcome = await switch_on(tmp_path, interpreter, Flash((IMAGE,)), REPL)
    assert len(outcome.boots) == 1
    assert outcome.lines[:4] == ["[BOOT] ota_0: no application", "[BOOT] ota_1: no image", NO_COPY, NO_APPLICATION]


async def test_with_one_ota_slot_only_it_does_not_reset_into_itself(tmp_path: Path, interpreter: Interpreter) -> None:
    table = tuple(row for row in Flash().table if row[0] != "ota_1")
    outcome = await switch_on(tmp_path, interpreter, Flash((DAMAGED,), files=ON_VFS, table=table))
    assert len(outcome.boots) == 1
    assert "application of the VFS in /" in outcome.lines


@pytest.mark.parametrize(
    "main", ["while True:\n    pass\n", "raise ValueError('broken')\n", "import nothing\n", "pass\n"]
)
async def test_an_application_on_trial_that_never_gets_going_is_ended_by_the_watchdog(
    tmp_path: Path, interpreter: Interpreter, main: str
) -> None:
    flash = Flash((GOOD_0, application(main)), ((0, VALID), (1, NEW)))
    outcome = await switch_on(tmp_path, interpreter, flash)
    assert outcome.boots == [("ota_1", "power on"), ("ota_0", "watchdog")]
    assert outcome.states == ["VALID", "ABORTED"]


async def test_outside_a_trial_no_watchdog_disturbs_a_person_at_the_prompt(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    main = "import time\ntime.sleep(100)\nprint('END')\n"
    outcome = await switch_on(tmp_path, interpreter, Flash((application(main),)))
    assert outcome.boots == [("ota_0", "power on")]


async def test_a_trial_that_was_interrupted_by_a_power_cut_is_over(tmp_path: Path, interpreter: Interpreter) -> None:
    outcome = await switch_on(tmp_path, interpreter, Flash((GOOD_0, GOOD_1), ((0, VALID), (1, PENDING))))
    assert outcome.boots == [("ota_0", "power on")]
    assert outcome.states == ["VALID", "ABORTED"]
