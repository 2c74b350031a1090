"""The production build without ESP-IDF: boards, tables, settings and manifest fit together."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

import build
import image_command
from boards import BOARD_FILES
from environment import REPOSITORY
from flashing import table
from simulator import manufacture

BOARDS = image_command.boards()
FLASH_SIZE = {"ARUS_ESP32": 4 << 20, "ARUS_ESP32_S3": 8 << 20}


@pytest.mark.parametrize("board", BOARDS)
def test_a_table_fits_the_flash_the_bootloader_and_what_the_firmware_looks_for(board: str) -> None:
    rows = image_command.partitions(board)
    assert rows[0].address == 0x9000  # right behind the table itself
    assert all(row.end == following.address for row, following in pairwise(rows)), "gaps or overlaps"
    assert rows[-1].end == FLASH_SIZE[board]
    for row in rows:
        step = 0x10000 if row.type == table.APP else 0x1000
        assert (row.address % step, row.size % 0x1000, row.size > 0) == (0, 0, True), row
    first, second = table.slots(rows)
    assert (first.label, second.label) == ("ota_0", "ota_1")
    assert (first.subtype, second.subtype) == (0x10, 0x11)
    assert first.size == second.size >= manufacture.OTA_4MIB[3][4], "a file for a stock slot has to fit"
    kinds = {row.label: (row.type, row.subtype) for row in rows if row.type == table.DATA}
    assert kinds == {
        "nvs": (1, 2),
        "otadata": (1, 0),
        "phy_init": (1, 1),
        "config": (1, 0x40),
        "vfs": (1, 0x81),
    }
    assert next(row.size for row in rows if row.label == "otadata") == 0x2000


@pytest.mark.parametrize("board", BOARDS)
def test_a_table_can_be_made_and_read_again(board: str) -> None:
    rows = image_command.partitions(board)
    assert (
        table.read(manufacture.partition_table(tuple((r.label, r.type, r.subtype, r.address, r.size) for r in rows)))
        == rows
    )


def settings(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert path.read_text().endswith("\n"), "cmake joins the files as they are"
    found = dict(line.split("=", 1) for line in lines)
    assert len(found) == len(lines), "a key is set twice"
    assert all(re.fullmatch(r"CONFIG_[A-Z0-9_]+", key) for key in found)
    return found


@pytest.mark.parametrize("board", BOARDS)
def test_the_settings_say_what_a_charger_needs(board: str) -> None:
    shared, own = settings(BOARD_FILES / "sdkconfig.arus"), settings(BOARD_FILES / board / "sdkconfig.board")
    assert not shared.keys() & own.keys()
    found = shared | own
    wanted = {
        "APP_EXCLUDE_PROJECT_VER_VAR": "n",
        "APP_EXCLUDE_PROJECT_NAME_VAR": "n",
        "BOOTLOADER_APP_ROLLBACK_ENABLE": "y",
        "BOOTLOADER_SKIP_VALIDATE_IN_DEEP_SLEEP": "n",
        "BOOTLOADER_WDT_ENABLE": "y",
        "ESP_SYSTEM_PANIC_PRINT_REBOOT": "y",
        "ESP_TASK_WDT_PANIC": "y",
        "ESP_BROWNOUT_DET": "y",
        "MBEDTLS_DYNAMIC_BUFFER": "y",
        "MBEDTLS_SSL_PROTO_DTLS": "n",  # ESP-IDF has dynamic buffers only without it
        "MBEDTLS_DYNAMIC_FREE_CONFIG_DATA": "n",
        "MBEDTLS_SSL_IN_CONTENT_LEN": "16384",
        f"ESPTOOLPY_FLASHSIZE_{FLASH_SIZE[board] >> 20}MB": "y",
    }
    assert {key: found.get(f"CONFIG_{key}") for key in wanted} == wanted
    sizes = [key for key, value in found.items() if "FLASHSIZE" in key and value == "y"]
    speeds = [key for key, value in found.items() if "COMPILER_OPTIMIZATION_" in key and value == "y"]
    assert (len(sizes), len(speeds) <= 1) == (1, True)
    assert int(found["CONFIG_ESP_WIFI_RX_BA_WIN"]) <= 2 * int(found["CONFIG_ESP_WIFI_STATIC_RX_BUFFER_NUM"])


@pytest.mark.parametrize("board", BOARDS)
def test_what_cmake_is_told_to_read_is_there(board: str) -> None:
    text = (BOARD_FILES / board / "mpconfigboard.cmake").read_text()
    assert image_command.target(board) in image_command.TARGETS
    assert "boards/sdkconfig.base" in text
    assert text.rstrip().endswith("include(${MICROPY_BOARD_DIR}/../arus.cmake)")
    shared = (BOARD_FILES / "arus.cmake").read_text()
    named = re.findall(r"\$\{MICROPY_BOARD_DIR\}(/[\w./]+)", text + shared)
    assert {"/partitions.csv", "/sdkconfig.board", "/../sdkconfig.arus", "/../app_name", "/../manifest.py"} <= set(
        named
    )
    assert [name for name in named if not (BOARD_FILES / board / name[1:]).exists()] == []
    header = (BOARD_FILES / board / "mpconfigboard.h").read_text()
    assert {"MICROPY_HW_BOARD_NAME", "MICROPY_HW_MCU_NAME"} <= set(re.findall(r"#define (\w+)", header))
    assert f'PROJECT_NAME "{build.PROJECT}"' in (BOARD_FILES / "app_name" / "project_include.cmake").read_text()


def frozen_files(monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """What the manifest freezes: name -> file. It is run as MicroPython's tools/manifestfile.py does, in its folder."""
    found: dict[str, Path] = {}
    included: list[str] = []

    def freeze(path: str, script: str | list[str] | None = None, opt: int | None = None) -> None:
        folder = Path(path).resolve()
        names = [script] if isinstance(script, str) else script
        for name in names or sorted(file.name for file in folder.iterdir() if file.suffix == ".py"):
            assert name not in found, f"{name} is frozen twice"
            found[name] = folder / name
            assert opt == 2, "line numbers are kept"

    monkeypatch.chdir(BOARD_FILES)
    exec((BOARD_FILES / "manifest.py").read_text(), {"freeze": freeze, "include": included.append})
    assert included == ["$(MPY_DIR)/extmod/asyncio"]
    return found


def test_the_manifest_freezes_every_file_of_the_firmware_and_none_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = frozen_files(monkeypatch)
    assert [name for name, path in found.items() if not path.is_file()] == []
    folders = ("firmware", "hw", "ocpp")
    firmware = {f"{folder}/{path.name}" for folder in folders for path in (REPOSITORY / folder).glob("*.py")}
    modules = {path.name for path in (BOARD_FILES / "modules").glob("*.py")}
    assert found.keys() == (firmware - {build.LOADER}) | modules | {"application.py"}
    assert {"_boot.py", "boot.py", "main.py", "version.py"} <= modules
    assert found["application.py"].read_bytes() == (REPOSITORY / "main.py").read_bytes()


def test_what_is_tested_on_the_desk_is_what_the_manifest_freezes(monkeypatch: pytest.MonkeyPatch) -> None:
    image = build.frozen_image("1.0.0")
    start = 288 + build.FROZEN_HEADER.size
    _, _, number, length, loader = build.FROZEN_HEADER.unpack_from(image, 288)
    inside = build.contents(image[start + loader : start + loader + length], number)
    names = {name for name, path in frozen_files(monkeypatch).items() if path.read_bytes().strip()}
    assert {name.replace(".mpy", ".py") for name in inside} == names
