"""tools/flash.py, run as a user runs it, against the console of the simulated board: from a blank one to a charger."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import serial

import build
from central_system import CentralSystem
from desk import CERTIFICATES, WIFI
from flash_bench import (
    HEAP,
    IMAGE,
    SPEED,
    VERSION,
    Bench,
    Port,
    Socket,
    application,
    bench,
    blank,
    config,
    installed,
    on_vfs,
    relay,
    set_up,
)  # fmt: skip
from flashing.board import Board
from flashing.errors import FlashError
from flashing.silence import why_silent
from rom_loader import RomLoader
from simulator import manufacture
from simulator.chip import Chip
from simulator.interpreter import Interpreter
from test_flash_image import combined

NOT_OURS = {
    "data/transactions": b"1\n",
    "lib/own.py": b"own = True\n",
    "notes.txt": b"mine\n",
}
STALE = {"ocpp/rpc.py": b"stale\n", "hw/gone.mpy": b"stale\n", "version.py": b"stale\n", "main.py.new": b"sta"}


async def test_from_an_empty_flash_to_a_charger_in_service_and_again(tmp_path: Path, interpreter: Interpreter) -> None:
    """The board at the port is one from the bag; all that comes onto its flash is flash.py's work."""
    chip = Chip(tmp_path / "chip", interpreter, heap=HEAP, speed=SPEED, air=WIFI)
    image = tmp_path / "firmware.bin"
    image.write_bytes(combined())
    async with CentralSystem() as central, chip.serial_port() as console:
        with RomLoader() as rom:
            async with Socket(chip, rom, console) as socket:
                here = Bench(chip, central, socket.port)
                wanted = here.config
                given = [f"--{name}={wanted[name]}" for name in ("csms", "id", "vendor", "model", "ntp")]
                given += ["--ssid=desk", "--wifi-key=simulated"]
                first = await here.run("--micropython", str(image), *given)
                assert first.status == 0, first.output
                assert first.output.splitlines()[-1] == f"CP1 is registered at {central.url}."
                assert "wifi.key         ********" in first.output
                assert "simulated" not in first.output
                assert central.calls("BootNotification")[-1].payload["firmwareVersion"] == VERSION
                vfs = here.vfs()
                assert {path: vfs.get(path) for path in application()} == application()
                assert json.loads(vfs["config.json"]) == wanted

                writes = len(rom.writes)
                again = await here.flash("--micropython", str(image))
                assert again.status == 0, again.output
                assert "1.26.1 is there already" in again.output
                assert "Application ... as it should be" in again.output
                assert "nothing had to be changed" in again.output
                assert len(rom.writes) == writes
                kept = (*application(), "config.json")
                assert {path: here.vfs()[path] for path in kept} == {path: vfs[path] for path in kept}


async def test_an_empty_flash_is_told_as_such(tmp_path: Path, interpreter: Interpreter) -> None:
    assert "write MicroPython first" in why_silent(b"rst:0x10\r\ninvalid header: 0xffffffff\r\n" * 9, "COM3")


async def test_what_is_no_longer_part_of_the_application_goes_and_all_else_stays(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    old = {**application(dev=True), "main.py": b"print('an older one')\n", "application.bin": b"older"}
    async with bench(tmp_path, interpreter, {**old, **STALE, **NOT_OURS}) as here:
        result = await here.flash("--only-app", "--no-watch")
        assert result.status == 0, result.output
        assert "Application ... application.bin copied and read back" in result.output
        assert {path: held for path, held in here.vfs().items() if path[:4] != "log_"} == {**application(), **NOT_OURS}


async def test_a_cable_that_is_pulled_costs_nothing_and_the_next_run_goes_on(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    old = build.bundle(build.application("0.9.0"), "0.9.0")

    def content(central: CentralSystem) -> bytes:
        return manufacture.flash(IMAGE, {**set_up(central), "application.bin": old})

    async with bench(tmp_path, interpreter, content) as here:
        for room in (4_000, 100_000):
            async with Cable(here.port, room) as cable:
                result = await here.flash("--only-app", "--no-watch", port=cable.port)
            assert result.status == 1, result.output
            assert "the connection to the board was lost" in result.output
            assert here.vfs()["application.bin"] == old
        result = await here.flash()
        assert result.status == 0, result.output
        assert {path: here.vfs().get(path) for path in application()} == application()
        assert "application.bin.new" not in here.vfs()


async def test_a_developers_copy_that_is_cut_off_is_no_mixture(tmp_path: Path, interpreter: Interpreter) -> None:
    new = application(dev=True)
    older = b"print('an older one')\n"

    def content(central: CentralSystem) -> bytes:
        changed = {path: held + b"old" for path, held in new.items() if path > "ocpp/s" and path != "version.mpy"}
        return manufacture.flash(IMAGE, {**set_up(central), **new, **changed, "main.py": older, "dev": b""})

    async with bench(tmp_path, interpreter, content) as here:
        reached = []
        for room in (4_000, 20_000):
            async with Cable(here.port, room) as cable:
                result = await here.flash("--only-app", "--no-watch", port=cable.port)
            assert result.status == 1, result.output
            vfs = here.vfs()
            reached.append(len([path for path, held in new.items() if vfs.get(path) == held]))
            assert vfs.get("main.py", older) == older
        assert reached[0] < reached[1] < len(new) - 1
        result = await here.flash()
        assert result.status == 0, result.output
        assert {path: here.vfs().get(path) for path in new} == new


class Cable(Port):
    """A cable in the way of another one, that breaks after some bytes to the board."""

    def __init__(self, port: str, room: int) -> None:
        self._far = port
        self._room = room

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay(reader, writer, await reader.read(1), self._far, self._room)
        writer.close()


async def test_a_dry_run_touches_nothing_and_tells_the_commands(tmp_path: Path, interpreter: Interpreter) -> None:
    async with bench(tmp_path, interpreter) as here:
        await here.off()  # so that it does nothing by itself
        before = (tmp_path / "flash.bin").read_bytes(), here.chip.operations
        result = await here.flash("--dry-run", "--id=CP7", "--csms=ws://host/ocpp", "--wifi-key=simulated", "--dev")
        assert result.status == 0, result.output
        assert before == ((tmp_path / "flash.bin").read_bytes(), here.chip.operations)
        for words in (
            "/ocpp/rpc.mpy  ",
            "/main.py  ",
            "id               CP7",
            "wifi.key         ********",
            "create /dev",
        ):
            assert words in result.output
        assert "simulated" not in result.output


WRONG = (
    ("--wifi-key=another key", "refuses the key", "the key of the Wi-Fi desk is wrong"),
    ("--ssid=elsewhere", "No network elsewhere in reach", "the charger sees no Wi-Fi network elsewhere"),
    ("--password=not this one", "HTTP 401", "the central system refuses identity or password"),
    ("--id=unknown", "HTTP 404", "with exactly this identity as ChargeBox ID"),
)


async def test_what_keeps_a_charger_from_registering_is_told(tmp_path: Path, interpreter: Interpreter) -> None:
    def content(central: CentralSystem) -> bytes:
        return installed(central, password="right")

    async with bench(tmp_path, interpreter, content, password="right", identities=["CP1"]) as here:
        right = ["--ssid=desk", "--wifi-key=simulated", "--password=right", "--id=CP1", f"--csms={here.central.url}"]
        for wrong, words, advice in WRONG:
            result = await here.run("--only-config", *right, wrong, until="  ! ")
            assert result.status == 1, result.output
            assert words in result.output
            assert any(advice in one for one in result.advice), result.output
            assert advice in result.output.splitlines()[-1]
            assert "registered at" not in result.output
        # And what it says when nobody presses Ctrl-C.
        result = await here.flash("--only-config", *right, "--csms=ws://127.0.0.1:1/ocpp", "--timeout=2")
        assert result.status == 1, result.output
        assert "the charger is not registered: nothing answers at 127.0.0.1:1" in result.output


async def test_a_certificate_of_another_ca_is_told_and_the_right_one_helps(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with bench(tmp_path, interpreter, installed, tls=True) as here:
        wrong = await here.run("--only-config", "--ca", str(CERTIFICATES / "other_ca.pem"), until="  ! ")
        assert (wrong.status, "comes from another CA" in wrong.advice[0]) == (1, True), wrong.output
        right = await here.flash("--only-config", "--ca", str(CERTIFICATES / "ca.pem"))
        assert right.status == 0, right.output
        assert "ca.pem: written and read back" in right.output


async def test_a_board_without_two_ota_slots_is_refused(tmp_path: Path, interpreter: Interpreter) -> None:
    table = tuple(row for row in manufacture.OTA_4MIB if row[0] != "ota_1")
    async with bench(tmp_path, interpreter, lambda _: manufacture.flash(IMAGE, {}, table)) as here:
        result = await here.flash("--only-app")
        assert result.status == 1, result.output
        assert "has no two OTA slots" in result.output
        assert not on_vfs((tmp_path / "flash.bin").read_bytes())


async def test_a_full_file_system_is_told_before_anything_is_changed_and_can_be_made_anew(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    own = {"junk": bytes(860_000), "ca.pem": (CERTIFICATES / "ca.pem").read_bytes()}

    def content(central: CentralSystem) -> bytes:
        settings = {**config(central), "ca": "ca.pem"}
        return manufacture.flash(IMAGE, {**own, "config.json": json.dumps(settings).encode()})

    async with bench(tmp_path, interpreter, content, tls=True) as here:
        before = here.vfs()
        result = await here.flash()
        assert result.status == 1, result.output
        assert "the file system of the board is full" in result.output
        assert here.vfs() == before
        result = await here.flash("--format", "--csms=")
        assert (result.status, '"csms" is missing' in result.output) == (1, True), result.output
        assert here.vfs() == before
        result = await here.flash("--format")
        assert result.status == 0, result.output
        vfs = here.vfs()
        assert "junk" not in vfs
        assert vfs["ca.pem"] == own["ca.pem"]
        assert json.loads(vfs["config.json"]) == {**config(here.central), "ca": "ca.pem"}


async def test_an_application_in_the_slot_runs_in_front_unless_a_developer_wants_it_otherwise(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    def content(central: CentralSystem) -> bytes:
        slot = build.update_file(IMAGE, build.bundle(build.application("0.9.0"), "0.9.0"))
        return manufacture.flash(slot, set_up(central))

    async with bench(tmp_path, interpreter, content) as here:
        result = await here.flash("--only-app")
        assert result.status == 0, result.output
        assert "ota_0 holds application 0.9.0, which runs in front" in result.output
        assert f"Application 0.9.0 runs, of ota_0, and not {VERSION}" in result.output
        result = await here.flash("--only-app", "--dev")
        assert result.status == 0, result.output
        assert "[BOOT] /dev: the copy on the VFS runs" in result.output
        assert f"[OCPP] Arus {VERSION} on ota_0" in result.output
        vfs = here.vfs()
        assert {path: vfs.get(path) for path in application(dev=True)} == application(dev=True)
        result = await here.flash("--only-app", "--no-dev")
        assert "/dev is removed" in result.output
        assert "[OCPP] Arus 0.9.0 on ota_0" in result.output
        vfs = here.vfs()
        assert not set(vfs) & ({*application(dev=True), "dev"} - {"boot.py"})
        assert vfs["application.bin"] == application()["application.bin"]


async def test_a_production_image_needs_no_copy_and_no_leftovers_of_one(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    def content(central: CentralSystem) -> bytes:
        return manufacture.flash(build.frozen_image("2.0.0"), {**set_up(central), **NOT_OURS})

    async with bench(tmp_path, interpreter, content) as here:
        result = await here.flash("--serial=7")
        assert result.status == 0, result.output
        assert "Application ... it is in the image" in result.output
        assert "[OCPP] Arus 2.0.0 on ota_0" in result.output
        vfs = here.vfs()
        assert set(vfs) & set(application()) == {"boot.py"}
        assert {path: vfs.get(path) for path in NOT_OURS} == NOT_OURS


async def test_a_password_that_is_given_anew_counts_again(tmp_path: Path, interpreter: Interpreter) -> None:
    async with bench(
        tmp_path, interpreter, lambda central: installed(central, password="first"), password="first"
    ) as here:
        assert (await here.flash("--only-config")).status == 0
        key = {"key": "AuthorizationKey", "value": b"given by the office".hex()}
        await here.central.call("CP1", "ChangeConfiguration", key)
        here.central.password = "third"
        result = await here.flash("--only-config", "--password=third")
        assert result.status == 0, result.output
        assert "AuthorizationKey, which the central system had set, is removed" in result.output


async def test_wrong_or_missing_fields_are_told_before_anything_is_changed(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with bench(tmp_path, interpreter) as here:
        result = await here.flash("--id=CP 1")
        assert (result.status, '"id" is "CP 1"' in result.output) == (1, True), result.output
        result = await here.flash("--id=CP1")
        assert result.status == 1, result.output
        assert '"csms" is missing: URL of the central system' in result.output
        assert '"wifi.ssid" is missing' in result.output
        assert set(here.vfs()) <= {"boot.py"}


async def test_a_port_that_is_busy_or_not_there_is_told(tmp_path: Path, interpreter: Interpreter) -> None:
    async with bench(tmp_path, interpreter) as here:
        result = await here.flash(port="/dev/ttyNOWHERE")
        assert (result.status, "there is no port /dev/ttyNOWHERE" in result.output) == (1, True), result.output
        result = await here.flash(port="socket://127.0.0.1:1")
        assert (result.status, "Is the board, or what simulates it, switched on?" in result.output) == (1, True)


async def test_over_a_serial_device(tmp_path: Path, interpreter: Interpreter) -> None:
    async with bench(tmp_path, interpreter, installed, cable="pty") as here:
        with serial.Serial(here.port, exclusive=True):
            result = await here.flash("--only-config")
            assert result.status == 1, result.output
            assert f"{here.port} is in use by" in result.output
        result = await here.flash("--only-config", "--serial=7")
        assert result.status == 0, result.output


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import time\nwhile True:\n try:\n  time.sleep(1)\n except BaseException:\n  print('no')\n", "be interrupted"),
        ("import machine\nmachine.reset()\n", "resets again and again"),
        (None, "nothing comes from the board"),
    ],
    ids=("stubborn", "resetting", "silent"),
)
async def test_a_board_that_does_not_come_to_its_prompt(
    tmp_path: Path, interpreter: Interpreter, program: str | None, words: str
) -> None:
    async with bench(tmp_path, interpreter, {"main.py": (program or "").encode()}, ready="rst:") as here:
        if not program:
            await here.off()

        def enter() -> None:
            with Board(here.port) as board:
                board.enter(1)

        with pytest.raises(FlashError, match=words):
            await asyncio.to_thread(enter)


async def test_a_damaged_file_system_is_told(tmp_path: Path, interpreter: Interpreter) -> None:
    flash = bytearray(blank())
    address = next(row[3] for row in manufacture.OTA_4MIB if row[0] == "vfs")
    flash[address : address + 8192] = b"\x55" * 8192
    async with bench(tmp_path, interpreter, lambda _: bytes(flash), ready="The filesystem") as here:
        result = await here.flash("--only-app")
        assert result.status == 1, result.output
        assert "the file system of this board is damaged" in result.output
