"""tools/build.py image, up to the command that it runs: what stands for ESP-IDF here only hands over files."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import build
import image_command
import packages_command
from boards import BOARD_FILES
from simulator import manufacture

VERSION = "1.2.0"


def made(size: int = 8192, chip_id: int = 0) -> bytes:
    return build.made_image(size, chip_id, build.PROJECT, VERSION)


IMAGE = made()
MAKE = """#!/bin/sh
printf '%s\\n' "$@" > "$PRODUCTS/words"
for word; do case $word in BUILD=*) build=${word#BUILD=};; esac; done
test ! -e "$build/sdkconfig" || exit 3
echo 'Executing action: all'
echo '[1/2] Building C object main.c.obj'
test ! -e "$PRODUCTS/error" || { cat "$PRODUCTS/error"; exit 2; }
cp "$PRODUCTS"/*.bin "$build"
"""
Run = Callable[..., tuple[int | str | None, str]]


def combined(image: bytes, board: str = "ARUS_ESP32") -> bytes:
    """What MicroPython's build calls firmware.bin."""
    _, start = image_command.TARGETS[image_command.target(board)]
    rows = image_command.partitions(board)
    content = bytearray(b"\xff" * (0x10000 - start))
    table = manufacture.partition_table(tuple((r.label, r.type, r.subtype, r.address, r.size) for r in rows))
    content[0x8000 - start : 0x8000 - start + len(table)] = table
    return bytes(content) + image


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def micropython(tmp_path: Path) -> Path:
    """As much of MicroPython's source as is looked at."""
    folder = tmp_path / "micropython"
    for name in ("py/mpconfig.h", "ports/esp32/Makefile", "lib/micropython-lib/README.md"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    (folder / "py" / "mpconfig.h").write_text("#define MICROPY_VERSION_MAJOR 1\n#define MICROPY_VERSION_MINOR 26\n")
    return folder


@pytest.fixture
def products(tmp_path: Path) -> Path:
    folder = tmp_path / "products"
    folder.mkdir()
    (folder / "micropython.bin").write_bytes(IMAGE)
    (folder / "firmware.bin").write_bytes(combined(IMAGE))
    return folder


@pytest.fixture
def run(
    tmp_path: Path,
    products: Path,
    micropython: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs build.py image in an empty folder; gives what it exits with and what it prints."""
    executable(tmp_path / "bin" / "make", MAKE)
    executable(tmp_path / "bin" / "idf.py", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("IDF_PATH", str(tmp_path))
    monkeypatch.setenv("PRODUCTS", str(products))
    monkeypatch.setattr(image_command, "CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int | str | None, str]:
        version = [] if "--version" in words else ["--version", VERSION]
        monkeypatch.setattr(sys, "argv", ["build.py", "image", "--micropython", str(micropython), *version, *words])
        status: int | str | None = 0
        try:
            packages_command.main()
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().out

    return run


def test_the_command_is_makes_and_its_products_are_checked_and_kept(
    run: Run, tmp_path: Path, products: Path, micropython: Path
) -> None:
    status, printed = run()
    assert status == 0
    words = (products / "words").read_text().splitlines()
    (folder,) = (tmp_path / "cache" / "board").glob("ARUS_ESP32-????????")
    assert words == [
        "-C",
        f"{micropython}/ports/esp32",
        f"BOARD_DIR={BOARD_FILES}/ARUS_ESP32",
        f"FROZEN_MANIFEST={BOARD_FILES}/manifest.py",
        f"BUILD={folder}",
        f"CMAKE_ARGS=-DARUS_VERSION={VERSION}",
    ]
    assert (tmp_path / "arus-1.2.0-ARUS_ESP32.bin").read_bytes() == IMAGE
    assert (tmp_path / "arus-1.2.0-ARUS_ESP32-usb.bin").read_bytes() == combined(IMAGE)
    assert hashlib.sha256(IMAGE).hexdigest() in printed
    assert f"{0x1C0000 - len(IMAGE):,} less than a slot has" in printed
    assert "[1/2] Building" in folder.with_suffix(".log").read_text()


def test_a_second_build_does_not_go_on_with_the_settings_of_the_first(run: Run, tmp_path: Path) -> None:
    run()
    (folder,) = (tmp_path / "cache" / "board").glob("ARUS_ESP32-????????")
    for name in ("sdkconfig", "CMakeCache.txt", "object.o"):
        (folder / name).touch()
    assert run("-o", "other.bin")[0] == 0
    assert (tmp_path / "other-usb.bin").exists()
    assert sorted(path.name for path in folder.iterdir()) == ["firmware.bin", "micropython.bin", "object.o"]


def test_the_other_board_is_built_with_its_own_table_and_chip(run: Run, products: Path) -> None:
    image = made(chip_id=9)
    (products / "micropython.bin").write_bytes(image)
    (products / "firmware.bin").write_bytes(combined(image, "ARUS_ESP32_S3"))
    assert run("--board", "ARUS_ESP32_S3")[0] == 0
    assert f"BOARD_DIR={BOARD_FILES}/ARUS_ESP32_S3" in (products / "words").read_text()
    status, _ = run()
    assert "an image for ESP32-S3, not for the ARUS_ESP32's chip" in str(status)


def relabelled(project: bytes, version: bytes) -> bytes:
    image = IMAGE[:48] + version.ljust(32, b"\0") + project.ljust(32, b"\0") + IMAGE[112:-32]
    return image + hashlib.sha256(image).digest()


PRODUCTS = {
    # what is wrong: (micropython.bin, firmware.bin, the words for it)
    "MicroPython's own name": (relabelled(b"micropython", b"1.2.0"), None, "calls itself 'micropython'"),
    "no name": (build.made_image(), None, "calls itself ''"),
    "an older version": (relabelled(b"Arus", b"1.1.0"), None, "version '1.1.0'"),
    "damaged": (IMAGE[:5000] + b"\1" + IMAGE[5001:], None, "is damaged"),
    "no image": (b"<html>" * 100, None, "first byte"),
    "another table": (IMAGE, combined(IMAGE, "ARUS_ESP32_S3")[:0x8000] + IMAGE, "has not the partition table"),
    "nothing": (b"", b"", "has not"),
}


@pytest.mark.parametrize("what", PRODUCTS)
def test_a_build_that_no_charger_would_take_is_refused(run: Run, tmp_path: Path, products: Path, what: str) -> None:
    image, by_usb, words = PRODUCTS[what]
    for name, data in (("micropython.bin", image), ("firmware.bin", by_usb or combined(image))):
        (products / name).write_bytes(data)
    if what == "nothing":
        shutil.rmtree(products)
        products.mkdir()
        (products / "other.bin").touch()
        words = "the build made no"
    status, _ = run()
    assert words in str(status)
    assert not list(tmp_path.glob("arus-*"))


def test_an_image_larger_than_the_slot_is_refused_with_what_can_be_done(run: Run, products: Path) -> None:
    image = made(0x1C0000 + 4096)
    (products / "micropython.bin").write_bytes(image)
    status, _ = run()
    assert f"{len(image) - 0x1C0000:,} more than a slot" in str(status)
    assert "sdkconfig.board" in str(status)


def test_a_build_that_fails_says_why_and_where_the_rest_is(run: Run, products: Path) -> None:
    (products / "error").write_text("main.c:1: error: no such thing\n")
    status, _ = run()
    assert "no such thing" in str(status)
    assert ".log, and last this:" in str(status)


def test_what_is_missing_is_said_before_anything_is_built(
    run: Run, tmp_path: Path, micropython: Path, products: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (micropython / "lib" / "micropython-lib" / "README.md").unlink()
    assert f"make -C {micropython}/ports/esp32 submodules BOARD_DIR=" in str(run()[0])
    (tmp_path / "bin" / "idf.py").unlink()
    assert "export.sh" in str(run()[0])
    executable(tmp_path / "bin" / "idf.py", "")
    monkeypatch.delenv("IDF_PATH")
    assert "export.sh" in str(run()[0])
    (micropython / "py" / "mpconfig.h").write_text(
        "#define MICROPY_VERSION_MAJOR 1\n#define MICROPY_VERSION_MINOR 24\n"
    )
    assert "1.25 is the oldest" in str(run()[0])
    (micropython / "ports" / "esp32" / "Makefile").unlink()
    assert "is no MicroPython" in str(run()[0])
    for version in ("", "1 2", "v" * 32, "ä", "$(x)"):
        assert "1 to 31 letters" in str(run("--version", version)[0])
    assert run("--board", "OTHER")[0] == 2
    assert not (products / "words").exists()


@pytest.mark.parametrize("fragments", [("base", "240mhz", "usb", "spiram_sx"), ("base", "240mhz", "spiram_quad")])
@pytest.mark.parametrize("board", image_command.boards())
def test_cmake_reads_the_board_with_the_fragments_that_this_micropython_has(
    tmp_path: Path, board: str, fragments: tuple[str, ...]
) -> None:
    """MicroPython 1.25, and 1.29, as far as cmake goes without ESP-IDF: both include the board before they need it."""
    cmake = shutil.which("cmake")
    if not cmake:
        pytest.skip("there is no cmake here")
    (tmp_path / "boards").mkdir()
    for name in fragments:
        (tmp_path / "boards" / f"sdkconfig.{name}").write_text(f"CONFIG_{name.upper()}=y\n")
    script = tmp_path / "script.cmake"
    script.write_text(
        'include(${MICROPY_BOARD_DIR}/mpconfigboard.cmake)\nfile(WRITE out "")\n'
        "foreach(name ${SDKCONFIG_DEFAULTS})\n  file(READ ${name} text)\n  file(APPEND out ${text})\nendforeach()\n"
        'file(APPEND out "${IDF_TARGET} ${PROJECT_VER} ${EXTRA_COMPONENT_DIRS} ${MICROPY_FROZEN_MANIFEST}")\n'
    )

    def read(*defines: str) -> subprocess.CompletedProcess[str]:
        words = [cmake, f"-DMICROPY_BOARD_DIR={BOARD_FILES / board}", *defines, "-P", str(script)]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "CMAKE_ARGS=-DARUS_VERSION=1.2.3" in read().stderr
    done = read("-DARUS_VERSION=1.2.0")
    assert done.returncode == 0, done.stderr
    *lines, last = (tmp_path / "out").read_text().splitlines()
    target, version, *paths = last.split()
    assert (target, version) == (image_command.target(board), VERSION)
    assert all(Path(path).exists() for path in paths)
    table = f'CONFIG_PARTITION_TABLE_CUSTOM_FILENAME="{BOARD_FILES / board}/partitions.csv"'
    assert lines.index("CONFIG_BASE=y") < lines.index("CONFIG_MBEDTLS_DYNAMIC_BUFFER=y") < lines.index(table)
    assert ("CONFIG_SPIRAM_QUAD=y" in lines) == (board == "ARUS_ESP32_S3" and "spiram_quad" in fragments)
