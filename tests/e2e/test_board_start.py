"""The first code of a frozen charger: its file system, what it needs to connect, its trial, and what shadows what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boards import CONFIG, GARBAGE, GOOD, NAMES, ON_TRIAL, PLACE, SAY, Board, frozen
from environment import REPOSITORY
from simulator import manufacture
from simulator.chip import Chip
from simulator.interpreter import Interpreter
from slots import application


@pytest.fixture
def board(tmp_path: Path, interpreter: Interpreter) -> Board:
    lines: list[str] = []
    return Board(Chip(tmp_path, interpreter, serial=lines.append, speed=40, heap=None), lines)


async def test_a_blank_file_system_is_made_and_the_watchdog_runs(board: Board) -> None:
    board.make(GOOD)
    assert await board.run() == [
        "[BOOT] there is no file system yet: making one",
        "[BOOT] ota_0: application 1.0.0",
        "1.0.0 of ota_0 []",
    ]
    assert board.watchdog == 3600_000


def garbage(board: Board) -> None:
    board.place("vfs", GARBAGE)


def superblock(board: Board) -> None:
    """Both copies of it, and nothing else, have a wrong checksum."""
    for sector in range(2):
        content = bytearray(board.content("vfs")[4096 * sector : 4096 * sector + 64])
        content[20] ^= 4
        board.place("vfs", bytes(content), 4096 * sector)


def erased(board: Board) -> None:
    board.place("vfs", b"\xff" * PLACE["vfs"].size)


@pytest.mark.parametrize("damage", [garbage, superblock, erased])
async def test_a_file_system_that_is_lost_is_made_anew_with_what_is_needed_to_connect(
    board: Board, damage: Callable[[Board], None]
) -> None:
    board.make(GOOD, files={**CONFIG, "data/transactions": b"lost"})
    assert (await board.run())[:2] == ["[BOOT] ota_0: application 1.0.0", "[BOOT] config.json: copy renewed"]
    damage(board)
    lines = await board.run()
    assert "[BOOT] put back from the copy: certs/ca.pem, key.pem, config.json" in lines
    assert lines[-1] == f"1.0.0 of ota_0 {NAMES}"
    assert ("[BOOT] formatting it; transactions and log are lost" in lines) == (damage is not erased)
    assert await board.run() == ["[BOOT] ota_0: application 1.0.0", f"1.0.0 of ota_0 {NAMES}"]
    # What came back is what there was: so the copy has not been renewed.
    assert board.chip.boots[-1].cause == "power on"


async def test_without_a_copy_it_is_formatted_all_the_same_and_the_application_runs(board: Board) -> None:
    board.make(GOOD, files={})
    garbage(board)
    lines = await board.run()
    assert lines[0].startswith("[BOOT] the file system can't be read (error ")
    assert lines[1:] == [
        "[BOOT] formatting it; transactions and log are lost",
        "[BOOT] ota_0: application 1.0.0",
        "1.0.0 of ota_0 []",
    ]


async def test_a_firmware_on_trial_formats_nothing_and_goes_back(board: Board) -> None:
    """Here neither can read it; the one before may well do, if it is the new one's driver that is wrong."""
    board.make(GOOD, frozen(version="2.0.0"), records=ON_TRIAL, files=CONFIG)
    garbage(board)
    lines = await board.run()
    assert lines[1] == ("[BOOT] a firmware on trial does not format it: going back to the firmware before this one")
    assert lines[-1] == "1.0.0 of ota_0 []"
    assert [(boot.slot, boot.cause) for boot in board.chip.boots] == [("ota_1", "power on"), ("ota_0", "reset")]


@pytest.mark.parametrize("how", ["before", "middle"])
async def test_a_power_cut_while_the_copy_is_put_back_loses_nothing(board: Board, how: Any) -> None:
    board.make(GOOD, files=CONFIG)
    await board.run()
    copy = board.content("config")
    erased(board)
    before = board.chip.operations
    await board.run()
    operations = board.chip.operations - before
    for at in range(1, operations + 1, max(1, operations // 5)):
        erased(board)
        boots = len(board.chip.boots)
        board.chip.cut_power(at, how)
        assert (await board.run())[-1] == f"1.0.0 of ota_0 {NAMES}"
        assert len(board.chip.boots) == boots + 2, "the power has not failed"
    assert board.content("config") == copy


async def test_a_config_that_can_not_be_read_does_not_replace_the_copy(board: Board) -> None:
    board.make(GOOD, files=CONFIG)
    await board.run()
    copy = board.content("config")
    row = PLACE["vfs"]
    for broken in (CONFIG["config.json"][:-1], b"[]", b"\xff", b'{"csms": "ws://x"}'):
        board.place("vfs", manufacture.littlefs({"config.json": broken}, row.size))
        await board.run()
        assert board.content("config") == copy
    board.place("vfs", manufacture.littlefs({"config.json": CONFIG["config.json"].replace(b"x", b"z")}, row.size))
    assert "[BOOT] config.json: copy renewed" in await board.run()
    assert board.content("config") != copy


STALE = dict.fromkeys(
    ("boot.py", "_boot.py", "main.py", "version.py", "application.py", "starting.py", "hw/slots.py", "lib/ocpp/rpc.py"),
    b"print('stale')\nVERSION = 'stale'\n",
) | dict.fromkeys(("ocpp/rpc.py", "ocpp/extra.py", "application.bin"), b"print('stale')\n")
IMPORTING = "import ocpp.rpc, hw.slots\ntry:\n    import ocpp.extra\nexcept ImportError:\n    pass\n" + SAY


async def test_files_on_the_file_system_never_shadow_what_is_frozen(board: Board) -> None:
    board.make(frozen(IMPORTING), files=STALE)
    lines = await board.run()
    assert "stale" not in " ".join(lines)
    assert lines[-1].startswith("1.0.0 of ota_0")


async def test_a_developers_copy_is_put_in_front_on_purpose_and_the_log_says_so(board: Board) -> None:
    files = {**STALE, "dev": b"", "main.py": b"import ocpp.rpc\nprint('END')\n"}
    board.make(frozen(IMPORTING), files=files)
    assert await board.run() == ["[BOOT] /dev: the copy on the VFS runs, whatever ota_0 holds", "stale"]


async def test_a_firmware_on_trial_is_not_replaced_by_a_developers_copy(board: Board) -> None:
    board.make(GOOD, frozen(version="2.0.0"), records=ON_TRIAL, files={"dev": b"", "main.py": b"print('END')\n"})
    assert (await board.run())[-1] == "2.0.0 of ota_1 ['dev', 'main.py']"
    assert board.watchdog == 60_000


ENDS = {
    "hang": ("while True:\n    pass\n", "watchdog"),
    "crash": ("raise ValueError('broken')\n", "watchdog"),
    "reset": ("import machine\nmachine.reset()\n", "reset"),
    "soft reset": ("import machine\nmachine.soft_reset()\n", "reset"),
}


@pytest.mark.parametrize("end", ENDS)
async def test_however_a_frozen_firmware_on_trial_ends_the_one_before_is_back(board: Board, end: str) -> None:
    main, cause = ENDS[end]
    board.make(GOOD, frozen(main, "2.0.0"), records=ON_TRIAL, files={})
    assert (await board.run())[-1] == "1.0.0 of ota_0 []"
    assert (board.chip.boots[-1].slot, board.chip.boots[-1].cause) == ("ota_0", cause)
    assert [record.state for record in board.chip.otadata()] == ["VALID", "ABORTED"]


async def test_after_a_soft_reset_a_person_at_the_prompt_has_an_hour(board: Board) -> None:
    main = "import machine\nif machine.reset_cause() == 5:\n    print('END')\nelse:\n"
    main += "    machine.WDT(timeout=60000)\n    machine.soft_reset()\n"
    board.make(frozen(main), files={})
    await board.run()
    assert [boot.cause for boot in board.chip.boots] == ["power on", "soft reset"]
    assert board.watchdog == 3600_000


async def test_out_of_a_stock_firmware_a_frozen_one_starts_on_trial(board: Board) -> None:
    boot = (REPOSITORY / "boot.py").read_bytes()
    board.make(application("print('END')\n"), GOOD, records=ON_TRIAL, files={"boot.py": boot, **CONFIG})
    assert (await board.run())[0] == "[BOOT] ota_1: application 1.0.0"
    assert board.content("config") == b"\xff" * PLACE["config"].size, (
        "only a firmware that has proved itself keeps a copy"
    )
