"""From the VFS as flash.py leaves it: three updates in a row, one of them broken, and then each kind of damage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import build
from desk import WIFI
from flash_bench import HEAP, IMAGE, SPEED, VERSION, VFS, Bench, bench, on_vfs
from simulator import manufacture
from simulator.chip import Chip
from simulator.interpreter import Interpreter
from slots import OTADATA, SLOTS
from webserver import WebServer

FIRST, BROKEN, LAST = "2.0.0", "3.0.0", "4.0.0"
CRASH = {"main.py": b"raise RuntimeError('made to crash')\n"}
CALL = {"retrieveDate": "2026-01-01T00:00:00Z", "retries": 1}
PATIENCE = 30  # s

Change = Callable[[bytearray], None]


async def update(here: Bench, web: WebServer, version: str, extra: dict[str, bytes] | None = None) -> list[str]:
    """Have the charger updated; return the statuses and versions that the central system was told."""
    web.files = {"new.bin": build.update_file(IMAGE, build.bundle(build.application(version, extra), version))}
    seen = len(here.central.frames)
    await here.central.update_firmware("CP1", web.url("new.bin"), None, 1, None)
    told: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while not told or told[-1] not in ("Installed", "InstallationFailed"):
            await asyncio.sleep(0.01)
            payloads = [
                frame.payload
                for frame in here.central.frames[seen:]
                if frame.asks("FirmwareStatusNotification") or frame.asks("BootNotification")
            ]
            told = [payload.get("status") or payload["firmwareVersion"] for payload in payloads]
    return told


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> bytes:
    """The flash of a charger that flash.py has set up and that was updated three times; what came of that is tested."""
    folder = tmp_path_factory.mktemp("used")

    async def use() -> bytes:
        async with bench(folder, interpreter) as here, WebServer({}) as web:
            config = here.config
            given = [f"--{name}={config[name]}" for name in ("csms", "id", "vendor", "model", "ntp")]
            result = await here.flash(*given, f"--ssid={WIFI[0]}", f"--wifi-key={WIFI[1]}")
            assert result.status == 0, result.output
            assert {"boot.py", "application.bin", "config.json"} <= here.vfs().keys()
            assert not {"main.py", "ocpp/rpc.mpy"} & here.vfs().keys()
            assert "[BOOT] /application.bin: application 1.0.0" in here.lines
            steps = ["Downloading", "Downloaded", "Installing"]
            assert await update(here, web, FIRST) == [*steps, FIRST, "Installed"]
            back = await update(here, web, BROKEN, CRASH)
            assert back == [*steps, FIRST, "InstallationFailed"]
            assert await update(here, web, LAST) == [*steps, LAST, "Installed"]
            assert [boot.slot for boot in here.chip.boots[-4:]] == ["ota_1", "ota_0", "ota_1", "ota_0"]
            await here.off()
        return (folder / "flash.bin").read_bytes()

    return asyncio.run(use())


def flip(address: int) -> Change:
    """Change a bit at an address of the flash."""

    def change(cells: bytearray) -> None:
        cells[address] ^= 1

    return change


def bundle_of(slot: int) -> int:
    """Return where the bundle of a slot begins."""
    return SLOTS[slot] + len(IMAGE) + -len(IMAGE) % 4096


def erase(address: int, size: int) -> Change:
    """Erase a part of the flash."""

    def change(cells: bytearray) -> None:
        cells[address : address + size] = b"\xff" * size

    return change


def files(change: Callable[[dict[str, bytes]], object]) -> Change:
    """Change what is on the VFS."""

    def rewrite(cells: bytearray) -> None:
        found = on_vfs(bytes(cells))
        change(found)
        address, size = VFS
        cells[address : address + size] = manufacture.littlefs(found, size)

    return rewrite


def without_half_of_the_copy(found: dict[str, bytes]) -> None:
    found["application.bin"] = found["application.bin"][:60_000]


STALE = dict.fromkeys(
    ("main.py", "ocpp/rpc.py", "hw/board.py", "version.py", "lib/ocpp/session.py"), b"stale = 1 / 0\n"
)
BOTH = (flip(bundle_of(0) + 9000), flip(bundle_of(1) + 9000))
NOBODY = "[BOOT] no application that can run"

# What is damaged, and what the console says then: the application that runs, or that there is none.
DAMAGE: dict[str, tuple[tuple[Change, ...], str]] = {
    "nothing": ((), f"[OCPP] Arus {LAST} on ota_0"),
    "the application": ((flip(bundle_of(0) + 9000),), f"[OCPP] Arus {FIRST} on ota_1"),
    "its header": ((flip(bundle_of(0) + 30),), f"[OCPP] Arus {FIRST} on ota_1"),
    "the code in its header": ((flip(bundle_of(0) + 200),), f"[OCPP] Arus {FIRST} on ota_1"),
    "the image": ((flip(SLOTS[0] + 400),), f"[OCPP] Arus {FIRST} on ota_1"),
    "the whole slot": ((erase(SLOTS[0], 0x180000),), f"[OCPP] Arus {FIRST} on ota_1"),
    "the other slot": ((erase(SLOTS[1], 0x180000),), f"[OCPP] Arus {LAST} on ota_0"),
    "otadata": ((erase(OTADATA, 0x2000),), f"[OCPP] Arus {LAST} on ota_0"),
    "both applications": (BOTH, f"[OCPP] Arus {VERSION} on ota_0"),
    "both applications and the copy's end": ((*BOTH, files(without_half_of_the_copy)), NOBODY),
    "both applications and no copy": ((*BOTH, files(lambda found: found.pop("application.bin"))), NOBODY),
    "the copy": ((files(without_half_of_the_copy),), f"[OCPP] Arus {LAST} on ota_0"),
    "stale files on the VFS": ((files(lambda found: found.update(STALE)),), f"[OCPP] Arus {LAST} on ota_0"),
    "no config.json": ((files(lambda found: found.pop("config.json")),), "there is no /config.json"),
    "no boot.py": ((files(lambda found: found.pop("boot.py")),), 'Type "help()" for more information.'),
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_each_kind_of_damage_leaves_what_still_can_run(
    used: bytes, tmp_path: Path, interpreter: Interpreter, what: str
) -> None:
    changes, words = DAMAGE[what]
    cells = bytearray(used)
    for change in changes:
        change(cells)
    lines: list[str] = []
    chip = Chip(tmp_path, interpreter, heap=HEAP, speed=SPEED, serial=lines.append, air=WIFI)
    chip.insert(bytes(cells))
    running = asyncio.create_task(chip.run())
    try:
        async with asyncio.timeout(PATIENCE):
            while not any(words in line for line in lines):
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"it never said {words!r}:\n" + "\n".join(lines)) from None
    finally:
        await chip.power_off()
        await running
    assert len(chip.boots) <= 2
