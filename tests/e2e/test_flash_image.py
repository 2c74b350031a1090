"""A MicroPython file on its way to a board: read and checked, laid out anew, written by the real esptool."""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import pty
import struct
import sys
from binascii import crc32
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import build
from flashing import chip, firmware, layout, loader
from flashing import table as partitions
from flashing.errors import FlashError
from flashing.firmware import CHIPS, Firmware
from flashing.mistaken import FirmwareError
from rom_loader import RomLoader
from simulator import manufacture

IMAGES = Path(__file__).resolve().parents[3] / "shared" / "images"
WITH_SLOTS = IMAGES / "ESP32_GENERIC-OTA-20250415-v1.25.0.bin"
WITHOUT_SLOTS = IMAGES / "ESP32_GENERIC-20250911-v1.26.1.bin"
MIB = 1 << 20
APPLICATION = 132 * 1024

needs_real_images = pytest.mark.skipif(
    not (WITH_SLOTS.exists() and WITHOUT_SLOTS.exists()), reason="the real MicroPython images are not at hand"
)

Rows = tuple[tuple[str, int, int, int, int], ...]
OTA: Rows = manufacture.OTA_4MIB
FACTORY: Rows = (
    ("nvs", 1, 2, 0x9000, 0x6000),
    ("phy_init", 1, 1, 0xF000, 0x1000),
    ("factory", 0, 0, 0x10000, 0x1F0000),
)
BANNER = b"MicroPython v1.26.1 on 2025-09-11\0; Generic board with ESP32\0"


def image(content: bytes = BANNER, *, descriptor: bool = True, chip_id: int = 0, project: bytes = b"") -> bytes:
    """Return an image of one segment, with an application's descriptor or without (a bootloader)."""
    packed = build.APP_DESCRIPTOR.pack(0xABCD5432, 0, b"", b"1.2.3", project, b"", b"", b"", b"", b"")
    data = (packed if descriptor else b"") + content
    data += bytes(-len(data) % 4)
    head = build.IMAGE_HEADER.pack(0xE9, 1, 2, 0x20, 0x40080000, 0xEE, b"", chip_id, 0, 0, 0xFFFF, b"", 1)
    made = head + build.SEGMENT_HEADER.pack(0x3F400020, len(data)) + data
    checksum = 0xEF
    for byte in data:
        checksum ^= byte
    made += bytes(15 - len(made) % 16) + bytes([checksum])
    return made + hashlib.sha256(made).digest()


def combined(app: bytes | None = None, table: Rows = OTA, *, chip_id: int = 0) -> bytes:
    """Return a file as micropython.org has them."""
    start = CHIPS[chip_id][1] if chip_id in CHIPS else 0
    boot = image(bytes(600), descriptor=False, chip_id=chip_id)
    data = boot.ljust(0x8000 - start, b"\xff") + manufacture.partition_table(table)
    return data.ljust(0x10000 - start, b"\xff") + (image(chip_id=chip_id) if app is None else app)


@pytest.fixture
def made(tmp_path: Path) -> Callable[[bytes], Firmware]:
    """Reads bytes as a file."""

    def read(data: bytes) -> Firmware:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.bin"
        path.write_bytes(data)
        return firmware.read(path)

    return read


# -------------------------------------------------------------------------------------------------------- firmware.py


@needs_real_images
def test_the_real_files_are_understood() -> None:
    found = firmware.read(WITH_SLOTS)
    assert (found.chip, found.offset, found.flash_size, found.version) == ("esp32", 0x1000, 4 * MIB, (1, 25, 0))
    assert (found.version_text, found.project, found.production) == ("1.25.0", "", False)
    assert found.name == "Generic ESP32 module with OTA"
    assert (found.app_size, found.application_room) == (1_429_744, 139_264)
    assert [(row.label, row.address, row.size) for row in found.slots] == [
        ("ota_0", 0x10000, 0x180000),
        ("ota_1", 0x190000, 0x180000),
    ]
    assert [(part.title, part.address) for part in found.parts] == [
        ("bootloader", 0x1000),
        ("partition table", 0x8000),
        ("MicroPython", 0x10000),
    ]
    assert "1.25.0 for ESP32 (Generic ESP32 module with OTA), 4 MiB flash, OTA slots 2 x 1536 KiB" in found.describe()
    other = firmware.read(WITHOUT_SLOTS)
    assert (other.version, other.slots, other.vfs) == ((1, 26, 1), (), None)
    assert "no OTA slots" in firmware.needs_layout(other, APPLICATION)
    assert "no OTA slots" in other.describe()


def test_the_chips_are_those_that_esptool_knows() -> None:
    chips = importlib.import_module("esptool.targets").CHIP_DEFS  # slow: only here

    known = {name: (kind.IMAGE_CHIP_ID, kind.BOOTLOADER_FLASH_OFFSET) for name, kind in chips.items() if "32" in name}
    assert {name: (number, start) for number, (name, start) in CHIPS.items()}.items() <= known.items()


@pytest.mark.parametrize("chip_id", [0, 9, 23])
def test_where_a_file_begins_depends_on_its_chip(made: Callable[[bytes], Firmware], chip_id: int) -> None:
    found = made(combined(chip_id=chip_id))
    assert (found.chip, found.offset) == CHIPS[chip_id]
    assert found.parts[-1].data == image(chip_id=chip_id)
    assert firmware.needs_layout(found, APPLICATION) == ""


def test_a_production_image_is_known_by_its_project(made: Callable[[bytes], Firmware]) -> None:
    found = made(combined(image(project=b"Arus")))
    assert (found.production, found.project_version) == (True, "1.2.3")
    assert found.describe().startswith("Arus 1.2.3 with MicroPython 1.26.1 for ESP32")


def damaged(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


GOOD = combined()
UPDATE_FILE = build.update_file(image(), build.bundle({"main.py": b""}, "1"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no image for an ESP32"),
        (b"\n<!DOCTYPE html><html>" * 99, "web page"),
        (b"UF2\nWQ]\x9e" + bytes(600), r"\.uf2"),
        (b"\x7fELF" + bytes(600), r"\.elf"),
        (b"PK\x03\x04" + bytes(600), "unpack"),
        (b"ARUSPKG\0" + bytes(600), "package"),
        (image(), r"\.app-bin"),
        (UPDATE_FILE, "update file"),
        (image(bytes(600), descriptor=False), "no partition table"),
        (image(bytes(600), descriptor=False, chip_id=16), "id 16"),
        (combined(table=FACTORY[:2]), "no place for an application"),
        (GOOD + bytes(0x180000), "whole flash"),
        (GOOD[:-1], "cut off"),
        (GOOD[: 0x10000 - 0x1000], "no application where it should be"),
        (damaged(GOOD, 100), "bootloader's SHA-256"),
        (damaged(GOOD, 0x7010), "MD5"),
        (damaged(GOOD, len(GOOD) - 90), "application's SHA-256"),
        (combined(image(descriptor=False, content=bytes(600))), "no descriptor"),
        (combined(image(b"Hello from Arduino")), "not MicroPython"),
        (combined(image(b"MicroPython v1.24.1 on 2024-11-29\0")), r"1\.24\.1 is too old"),
        (combined(image(b"MicroPython v1.25.0-preview.9.gab on 2024-11-29\0")), r"preview\.9\.gab is too old"),
    ],
)
def test_what_is_no_file_for_a_board_is_refused_with_what_to_do(
    made: Callable[[bytes], Firmware], data: bytes, words: str
) -> None:
    with pytest.raises(FirmwareError, match=words) as error:
        made(data)
    assert "0.bin: " in str(error.value)
    assert "download" in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FlashError, match=r"none\.bin can't be read: No such file"):
        firmware.read(tmp_path / "none.bin")


def test_another_board_is_refused(made: Callable[[bytes], Firmware]) -> None:
    found = made(combined())
    firmware.check(found, "esp32", 4 * MIB)
    with pytest.raises(FirmwareError, match="is for ESP32, this board has an ESP32-S3"):
        firmware.check(found, "esp32s3", 8 * MIB)
    with pytest.raises(FirmwareError, match="this board has 256 KiB of flash"):
        firmware.check(found, "esp32", MIB // 4)


@pytest.mark.parametrize(
    ("table", "application", "flash_size", "words"),
    [
        (OTA, APPLICATION, 4 * MIB, ""),
        (OTA, APPLICATION, 16 * MIB, ""),
        (OTA, 0x180000, 4 * MIB, "1536 KiB are too small: MicroPython and the application need 1540 KiB"),
        (OTA, APPLICATION, 2 * MIB, "for 4 MiB of flash, and this board has 2 MiB"),
        (OTA[:4] + OTA[5:], APPLICATION, 0, "no OTA slots"),
        (OTA[:1] + OTA[2:], APPLICATION, 0, "no OTA slots"),
        (OTA[:5], APPLICATION, 0, "no place for files"),
        (FACTORY, 0, 0, "no OTA slots"),
        (
            (*FACTORY[:1], OTA[1], *FACTORY[1:], *((f"ota_{n}", 0, 16 + n, (2 + n) << 20, MIB) for n in (0, 1))),
            0,
            0,
            "outside",
        ),
    ],
)
def test_whether_the_partitions_will_do(
    made: Callable[[bytes], Firmware], table: Rows, application: int, flash_size: int, words: str
) -> None:
    reason = firmware.needs_layout(made(combined(table=table)), application, flash_size)
    assert words in reason
    assert bool(words) == bool(reason)


def test_a_table_in_flash_is_read() -> None:
    data = manufacture.partition_table(OTA)
    assert partitions.read(data.ljust(4096, b"\xff")) == OTA
    assert partitions.read(b"\xff" * 4096) == ()
    with pytest.raises(ValueError, match="MD5"):
        partitions.read(damaged(data, 8))


# ---------------------------------------------------------------------------------------------------------- layout.py


@needs_real_images
def test_a_file_without_slots_gets_them(tmp_path: Path) -> None:
    found = firmware.read(WITHOUT_SLOTS)
    target = tmp_path / "new" / "slots.bin"
    new = layout.with_ota_slots(found, target, 4 * MIB, APPLICATION)
    assert new.path == target
    assert list(target.parent.iterdir()) == [target]
    assert new.table == tuple(
        partitions.Row(*row)
        for row in (
            ("nvs", 1, 2, 0x9000, 0x4000),
            ("otadata", 1, 0, 0xD000, 0x2000),
            ("phy_init", 1, 1, 0xF000, 0x1000),
            ("ota_0", 0, 0x10, 0x10000, 0x1C0000),
            ("ota_1", 0, 0x11, 0x1D0000, 0x1C0000),
            ("vfs", 1, 0x81, 0x390000, 0x70000),
        )
    )
    assert new.parts[2] == found.parts[2]
    assert new.parts[0] == found.parts[0]  # the same flash size: the bootloader stays as it is
    assert new.application_room > APPLICATION
    # what lies between the parts is blank: NVS and otadata begin afresh
    assert set(new.data[0x8000:0xF000]) == {0xFF}


def test_a_larger_flash_is_made_known_to_the_bootloader(made: Callable[[bytes], Firmware], tmp_path: Path) -> None:
    found = made(combined(chip_id=9))
    path = found.path.rename(tmp_path / "COM.bin")
    path.chmod(0o444)
    new = layout.with_ota_slots(replace(found, path=path), tmp_path / "new.bin", 8 * MIB, APPLICATION)
    assert (new.chip, new.flash_size, new.vfs and new.vfs.end) == ("esp32s3", 8 * MIB, 8 * MIB)
    assert [row.size for row in new.slots] == [0x300000, 0x300000]


@pytest.mark.parametrize(
    ("app_size", "flash_size", "slot"),
    [
        (1_672_976, 4 * MIB, 0x1C0000),
        (0x1C0000 - APPLICATION, 4 * MIB, 0x1C0000),
        (0x1C0000 - APPLICATION + 16, 4 * MIB, 0x1D0000),
        (0x1D0000 - APPLICATION + 16, 4 * MIB, 0),
        (1_672_976, 2 * MIB, 0),
        (1_672_976, 8 * MIB, 0x300000),
        (1_672_976, 16 * MIB, 0x400000),
        (1_672_976, 32 * MIB, 0x400000),
    ],
)
def test_slots_are_as_large_as_the_flash_allows(
    made: Callable[[bytes], Firmware], app_size: int, flash_size: int, slot: int
) -> None:
    found = made(combined())
    large = replace(found, parts=(*found.parts[:2], found.app._replace(data=bytes(app_size))))
    if slot:
        assert layout.slot_size(large, flash_size, APPLICATION) == slot
        assert f"ota_1=ota_1:0x{slot:x}" in layout.command(large, Path("new.bin"), flash_size, APPLICATION)[-1]
    else:
        with pytest.raises(FirmwareError, match=f"too much for {flash_size // MIB} MiB of flash"):
            layout.slot_size(large, flash_size, APPLICATION)


def test_a_tool_that_is_missing_is_named(
    made: Callable[[bytes], Firmware], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(FirmwareError, match="mp-image-tool-esp32 does not run"):
        layout.with_ota_slots(made(combined(table=FACTORY)), tmp_path / "new.bin", 4 * MIB, APPLICATION)


# ------------------------------------------------------------------------------------ chip.py, with the real esptool


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(loader, "ATTEMPTS", 1)
    monkeypatch.setattr(chip, "FOLDER", tmp_path_factory.mktemp("flash"))


@pytest.fixture
def rom() -> Iterator[RomLoader]:
    with RomLoader() as chip_in_loader:
        yield chip_in_loader


def otadata(slot: int) -> bytes:
    key = struct.pack("<I", slot + 1)
    return key + bytes(20) + struct.pack("<II", 2, crc32(key, 0xFFFFFFFF))


def test_a_blank_board_gets_everything_and_then_nothing(made: Callable[[bytes], Firmware], rom: RomLoader) -> None:
    found = made(combined())
    for address in (0x11000, 0x190000, 0x310000):
        rom.flash[address : address + 16] = b"of an older day."
    assert str(chip.detect(rom.port)) == "ESP32-D0WDQ6 v0.0, 4 MiB of flash, MAC 3c:71:0a:c4:0a:24"
    todo = chip.plan(found, chip.State())
    assert todo.losses == ()
    steps: list[tuple[int, int]] = []
    chip.write(rom.port, found, todo, lambda done, total: steps.append((done, total)))
    assert rom.flash[0x1000 : 0x1000 + len(found.data)] == found.data
    assert b"older" not in rom.flash
    total = sum(len(part.data) for part in todo.writes)
    assert steps == sorted(steps)
    assert steps[-1] == (total, total)
    state = chip.state(rom.port, found)
    assert (state.table, state.active, len(state.same)) == (found.table, None, 3)
    assert chip.plan(found, state) == chip.Plan()


def test_a_charger_in_service_keeps_what_it_remembers(made: Callable[[bytes], Firmware], rom: RomLoader) -> None:
    old, new = made(combined(image(BANNER + b"old"))), made(combined())
    rom.flash[0x1000 : 0x1000 + len(old.data)] = old.data
    for address, data in ((0x9000, b"NVS"), (0xD000, otadata(1)), (0x310000, b"VFS"), (0x190000, UPDATE_FILE)):
        rom.flash[address : address + len(data)] = data
    state = chip.state(rom.port, new)
    assert (state.active, state.updated) == (1, True)
    assert state.same == {"bootloader", "partition table"}
    todo = chip.plan(new, state)
    assert "got over the air" in todo.losses[0]
    chip.write(rom.port, new, todo, lambda done, total: None)
    assert rom.writes == [(0xD000, 0x2000), (0x11000, 4096), (0x190000, 4096), (0x10000, new.app_size)]
    assert rom.flash[0xD000:0xF000] == b"\xff" * 0x2000
    assert rom.flash[0x10000:][: new.app_size] == new.parts[2].data
    assert rom.flash[0x9000:0x9003] == b"NVS"
    assert rom.flash[0x310000:0x310003] == b"VFS"


def test_what_a_plan_says_it_destroys(made: Callable[[bytes], Firmware]) -> None:
    found = made(combined())
    other = tuple(partitions.Row(*row) for row in FACTORY)
    todo = chip.plan(found, chip.State(table=other))
    assert todo.losses == ("everything that is on the board",)
    assert [(part.title, part.address) for part in todo.writes] == [
        ("blank slot", 0x11000),
        ("blank slot", 0x190000),
        ("blank files", 0x310000),
        ("the whole file", 0x1000),
    ]
    there = chip.State(found.table, frozenset(part.title for part in found.parts), 0)
    older = there._replace(same=there.same - {"MicroPython"})
    assert chip.plan(found, older).losses == ()  # ota_0 is in otadata from the first start on
    assert chip.plan(found, older._replace(updated=True)).losses == ("the updates that this charger got over the air",)
    assert chip.plan(found, there) == chip.Plan()
    assert chip.plan(found, there, anew=True) == todo
    # What has to be blank is so before the first part is there: an interrupted run leaves nothing undone.
    assert (len(todo.blanks), len(todo.parts)) == (3, 1)
    interrupted = there._replace(same=there.same - {"bootloader"})
    assert [part.title for part in chip.plan(found, interrupted).writes] == ["bootloader"]


def test_the_commands_are_shown_as_they_are_run(
    made: Callable[[bytes], Firmware], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "ATTEMPTS", 0)
    found = made(combined())
    detect, verify, read, blank, write = chip.commands("/dev/ttyUSB0", found, baud=115200)
    at = ["--port", "/dev/ttyUSB0", "--baud", "115200", "--after"]

    def begin(kind: str, after: str) -> list[str]:
        return [sys.executable, "-m", "esptool", "--chip", kind, *at, after]

    assert detect == [*begin("auto", "no-reset"), "flash-id"]
    assert read[:-1] == [*begin("esp32", "no-reset"), "read-flash", "0x8000", "0x8000"]
    assert verify[:12] == [*begin("esp32", "no-reset"), "verify-flash"]
    assert verify[12::2] == ["0x1000", "0x8000", "0x10000"]
    assert [Path(path).read_bytes() for path in verify[13::2]] == [part.data for part in found.parts]
    assert blank[:12] == [*begin("esp32", "no-reset"), "write-flash"]
    assert blank[12::2] == ["0x11000", "0x190000", "0x310000"]
    assert [set(Path(path).read_bytes()) for path in blank[13::2]] == [{0xFF}] * 3
    assert write == [*begin("esp32", "hard-reset"), "write-flash", "0x1000", str(found.path)]
    assert chip.commands("/dev/ttyUSB0", found, chip.Plan(), baud=115200) == [detect, verify, read]


@pytest.fixture
def silent() -> Iterator[str]:
    """A port where nobody answers."""
    main, other = pty.openpty()
    yield os.ttyname(other)
    os.close(main)
    os.close(other)


@pytest.fixture
def busy() -> Iterator[str]:
    """A port that another program has."""
    main, other = pty.openpty()
    fcntl.flock(other, fcntl.LOCK_EX)
    yield os.ttyname(other)
    os.close(main)
    os.close(other)


def test_each_failure_is_told_apart(made: Callable[[bytes], Firmware], rom: RomLoader, silent: str, busy: str) -> None:
    found = made(combined())
    todo = chip.plan(found, chip.State())
    rom.blocks_to_failure = 1
    nobody = "socket://127.0.0.1:1"
    with RomLoader(chip="esp32s2") as another, ThreadPoolExecutor() as pool:  # each would take a second
        cases = (
            (pool.submit(chip.detect, "/dev/ttyNONE"), loader.NoPort, "there is no port /dev/ttyNONE"),
            (pool.submit(chip.detect, nobody), loader.NoPort, f"{nobody} can't be opened: Connection refused"),
            (pool.submit(chip.detect, silent), loader.NoChip, "hold the button BOOT"),
            (pool.submit(chip.detect, busy), loader.PortBusy, f"{busy} is in use by"),
            (pool.submit(chip.state, another.port, found), loader.WrongChip, "This chip is ESP32-S2, not ESP32"),
            (
                pool.submit(chip.write, rom.port, found, todo, lambda done, total: None),
                loader.WriteFailed,
                "run this again",
            ),
        )
        for future, kind, words in cases:
            error = future.exception()
            assert type(error) is kind
            assert words in str(error)


FATAL = "ERROR: A fatal error occurred: "


@pytest.mark.parametrize(
    ("output", "kind", "words"),
    [
        (
            f"{FATAL}Could not open /dev/x, the port is busy or doesn't exist.\n([Errno 13] could not open port "
            "/dev/x: [Errno 13] Permission denied: '/dev/x')\n\nHint: Try to add user into dialout or uucp group.\n",
            loader.NoPermission,
            "usermod -aG dialout",
        ),
        (
            f"{FATAL}Could not open /dev/x, the port is busy or doesn't exist.\n(Could not configure port: "
            "(25, 'Inappropriate ioctl for device'))\n\n",
            loader.NoPort,
            "is no serial port",
        ),
        (
            f"{FATAL}Failed to connect to ESP32: Wrong boot mode detected (0x13)! The chip needs to be in download "
            "mode.",
            loader.NoChip,
            "started its program",
        ),
        (
            f"{FATAL}Failed to connect to Espressif device: Invalid head of packet (0x08): Possible serial noise or "
            "corruption.",
            loader.NoChip,
            "something talks",
        ),
        (
            f"{FATAL}'a.bin' requires chip revision v3.0 or higher (this chip is revision v1.0).",
            loader.WrongChip,
            "too old",
        ),
        (
            f"{FATAL}File 'a.bin' (length 9) at offset 0x00001000 will not fit in 1048576 bytes of flash.",
            loader.WrongChip,
            "flash is too small",
        ),
        (
            f"{FATAL}Failed to set baud rate 999999. The driver may not support this rate.",
            loader.NoChip,
            "--baud 115200",
        ),
        (f"WARNING: odd\n{FATAL}Something new.\nMore of it.", loader.ChipError, r"esptool failed: Something new\.$"),
    ],
)
def test_what_esptool_says_is_explained(output: str, kind: type[loader.ChipError], words: str) -> None:
    error = loader.failure("/dev/x", output)
    assert type(error) is kind
    with pytest.raises(loader.ChipError, match=words):
        raise error
