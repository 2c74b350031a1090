"""Update files: other people's tools accept what tools/build.py makes, and it refuses what can't become one."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import build
from simulator import manufacture

IMAGES = Path(__file__).resolve().parents[3] / "shared" / "images"
COMBINED = IMAGES / "ESP32_GENERIC-OTA-20250415-v1.25.0.bin"

needs_real_image = pytest.mark.skipif(not COMBINED.exists(), reason="the real MicroPython images are not at hand")


def esptool(path: Path) -> str:
    command = [sys.executable, "-m", "esptool", "--chip", "esp32", "image-info", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return build.application("1.2.3")


def test_esptool_accepts_the_made_image(tmp_path: Path) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(build.made_image())
    report = esptool(path)
    assert "Checksum" in report
    assert "invalid" not in report
    assert report.count("(valid)") == 2


def test_esptool_accepts_an_update_file(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = tmp_path / "update.bin"
    path.write_bytes(build.update_file(build.made_image(), build.bundle(files, "1.2.3")))
    assert esptool(path).count("(valid)") == 2


def test_the_archive_is_as_update_files_md_has_it(files: dict[str, bytes]) -> None:
    payload = build.bundle(files, "1.2.3")[build.SECTOR :]
    assert len(payload) % build.SECTOR == 0
    records = [struct.unpack_from("<40sII", payload, 48 * i) for i in range(len(files))]
    found = {path.rstrip(b"\0").decode(): payload[start : start + length] for path, start, length in records}
    assert found == files
    assert [path for path, _, _ in records] == sorted(path for path, _, _ in records)
    ends = [48 * len(files), *(start + length for _, start, length in records)]
    assert [start for _, start, _ in records] == ends[:-1]
    assert payload[ends[-1] :] == b"\xff" * (len(payload) - ends[-1])
    assert len(payload) - ends[-1] < build.SECTOR


def test_the_files_of_an_archive_come_out_as_they_went_in(files: dict[str, bytes]) -> None:
    odd = {**files, "empty.py": b"", "a/b/c.py": b"deep", "a.py": b"", "a-b": b"1", "p" * 39: b"2"}
    assert build.contents(build.archive(odd), len(odd)) == odd


@pytest.mark.parametrize("path", ["", "p" * 40, "ä" * 20, "a//b", "/a", "a/", "a\0b", "parts"])
def test_a_path_that_no_charger_would_find_is_refused(path: str) -> None:
    with pytest.raises(build.BuildError, match="application"):
        build.archive({path: b"", "parts/one.py": b""})


def test_the_bundles_header_says_what_it_holds(files: dict[str, bytes]) -> None:
    data = build.bundle(files, "1.2.3")
    magic, layout, number, length, version, digest = build.BUNDLE_HEADER.unpack_from(data)
    assert (magic, layout, number, length) == (b"ARUSAPP\0", 2, len(files), len(data) - 4096)
    assert version.rstrip(b"\0") == b"1.2.3"
    assert digest == hashlib.sha256(data[4096:]).digest()
    assert data[80:4064].rstrip(b"\xff") == (build.REPOSITORY / "firmware" / "archive.py").read_bytes()
    assert data[4064:4096] == hashlib.sha256(data[:4064]).digest()


def test_code_that_does_not_fit_the_header_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "archive.py").write_bytes(b"#" * 3985)
    monkeypatch.setattr(build, "REPOSITORY", tmp_path)
    with pytest.raises(build.BuildError, match="3984"):
        build.bundle({"main.py": b""}, "1")


def test_the_same_application_makes_the_same_file(files: dict[str, bytes]) -> None:
    assert build.bundle(files, "1.2.3") == build.bundle(build.application("1.2.3"), "1.2.3")


def test_the_application_is_compiled_but_for_one_line(files: dict[str, bytes]) -> None:
    assert {name: text for name, text in files.items() if name.endswith(".py")} == {"main.py": b"import application\n"}
    assert "firmware/archive.mpy" not in files
    assert {
        "application.mpy",
        "version.mpy",
        "ocpp/websocket.mpy",
        "firmware/update.mpy",
        "hw/slots.mpy",
    } <= files.keys()


@needs_real_image
def test_the_application_image_is_found_in_a_combined_file() -> None:
    image = build.app_image(COMBINED.read_bytes())
    assert len(image) == 1_429_744
    assert build.app_image(image) == image


@pytest.mark.parametrize("start", [0x1000, 0, 0x2000], ids=["ESP32, S2", "S3, C3, C6", "C5"])
def test_the_image_is_found_wherever_the_bootloader_of_the_chip_begins(start: int) -> None:
    image = build.made_image(8192)
    flash = bytearray(b"\xff" * 0x10000) + image
    table = manufacture.partition_table(manufacture.OTA_4MIB)
    flash[0x8000 : 0x8000 + len(table)] = table
    assert build.is_combined(bytes(flash[start:]))
    assert build.app_image(bytes(flash[start:])) == image


@needs_real_image
def test_an_update_file_of_the_real_image_fits_the_stock_slot(files: dict[str, bytes]) -> None:
    image = build.app_image(COMBINED.read_bytes())
    assert len(build.update_file(image, build.bundle(files, "1.2.3"))) <= 0x180000


@pytest.mark.parametrize("version", ["", "1 2", 'x"y', "1\n", "v" * 33, "ä"])
def test_a_version_that_would_garble_a_log_is_refused(version: str) -> None:
    with pytest.raises(build.BuildError, match="version"):
        build.application(version)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html>" * 100, "first byte"),
        (b"\xe9" + bytes(500), "descriptor"),
        (build.made_image()[:-1], "download it again"),
        (build.made_image()[:300], "download it again"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_do(data: bytes, words: str) -> None:
    with pytest.raises(build.BuildError, match=words):
        build.app_image(data)


def test_a_module_that_does_not_compile_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "archive.py").touch()
    (tmp_path / "main.py").touch()
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "broken.py").write_text("def (")
    monkeypatch.setattr(build, "REPOSITORY", tmp_path)
    with pytest.raises(build.BuildError, match=r"hw/broken\.py"):
        build.application("1")
