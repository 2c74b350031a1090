"""The small parts of hw/ on the simulated chip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from desk import CONNECTORS, SHARED
from simulator.interpreter import Interpreter
from slots import Flash, switch_on, with_modules

AIR = ("depot", "12345678")
BOARD = [
    "hw/board.py",
    "hw/certificate_error.py",
    "hw/clock.py",
    "hw/connection.py",
    "hw/dialing.py",
    "hw/evse.py",
    "hw/fitting.py",
    "hw/led.py",
    "hw/line_reader.py",
    "hw/meter.py",
    "hw/otadata.py",
    "hw/pilot.py",
    "hw/rdm6300.py",
    "hw/reader.py",
    "hw/safety.py",
    "hw/slots.py",
    "hw/store.py",
    "hw/wifi.py",
]
CONFIG = {"csms": "ws://host/", "id": "CP1", "vendor": "Arus", "model": "Desk", "wifi": {"ssid": AIR[0], "key": AIR[1]}}


def wired(*connectors: object, **others: object) -> bytes:
    """A config.json with these connectors."""
    return json.dumps({**CONFIG, "connectors": connectors, **others}).encode()


async def run(
    folder: Path, interpreter: Interpreter, program: str, *modules: str, files: dict[str, bytes] | None = None
) -> list[str]:
    """Run a program with some modules of hw/; return what it printed."""
    content = with_modules(f"{program}\nprint('END')\n", *modules)
    outcome = await switch_on(folder, interpreter, Flash((content,), files=files or {}), heap=None, air=AIR)
    return [line for line in outcome.lines if not line.startswith("[BOOT]")][:-1]


async def test_a_record_survives_a_reset_whatever_its_length(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import machine
from hw.store import Store
store = Store("arus")
for length in (0, 1, 511, 512, 513, 3000):
    value = bytes(i & 255 for i in range(length))
    if machine.reset_cause() == machine.PWRON_RESET:
        store.set("old", b"x" * 100)
        store.set("key%d" % length, value)
    else:
        print(length, store.get("key%d" % length) == value)
if machine.reset_cause() == machine.PWRON_RESET:
    store.set("old", b"new")
    machine.reset()
print(store.get("old"), store.get("nothing"))
"""
    lines = await run(tmp_path, interpreter, program, "hw/store.py")
    assert lines == [f"{length} True" for length in (0, 1, 511, 512, 513, 3000)] + ["b'new' None"]


async def test_the_clock_counts_from_1970_and_knows_when_it_was_never_set(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    program = """
import machine
from hw.clock import Clock
clock = Clock()
if machine.reset_cause() == machine.PWRON_RESET:
    print(clock.now())
    clock.set(1)
    print(clock.now())
    clock.set(1787313600)
    machine.reset()
print(0 <= clock.now() - 1787313600 < 60, machine.RTC().datetime()[:3])
"""
    lines = await run(tmp_path, interpreter, program, "hw/clock.py")
    assert lines == ["None", "None", "True (2026, 8, 21)"]


async def test_wifi_connects_and_connects_again(tmp_path: Path, interpreter: Interpreter) -> None:
    program = f"""
import asyncio, network
from hw.wifi import Wifi
async def main():
    connected = asyncio.Event()
    def log(text):
        print(text)
        if text.startswith("Connected"):
            connected.set()
    wifi = Wifi({AIR[0]!r}, {AIR[1]!r}, log)
    asyncio.create_task(wifi.run())
    await connected.wait()
    connected.clear()
    network.WLAN().disconnect()
    await connected.wait()
    await wifi.connected()
asyncio.run(main())
"""
    lines = await run(tmp_path, interpreter, program, "hw/wifi.py")
    assert lines == ["Connecting to depot", "Connected, address 127.0.0.1"] * 2


async def test_wifi_with_a_wrong_key_says_what_to_check(tmp_path: Path, interpreter: Interpreter) -> None:
    program = f"""
import asyncio
from hw.wifi import Wifi
async def main():
    said = asyncio.Event()
    def log(text):
        print(text)
        if text.startswith("No"):
            said.set()
    asyncio.create_task(Wifi({AIR[0]!r}, "wrong", log).run())
    await said.wait()
asyncio.run(main())
"""
    lines = await run(tmp_path, interpreter, program, "hw/wifi.py")
    assert lines == ["Connecting to depot", "No connection to depot: check its name, key and signal"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "there is no /config.json"),
        (b"nonsense", "no valid JSON object"),
        (b"[1]", "no valid JSON object"),
        (json.dumps({**CONFIG, "csms": ""}).encode(), 'lacks "csms"'),
        (json.dumps({key: value for key, value in CONFIG.items() if key != "wifi"}).encode(), 'lacks "wifi"'),
        (json.dumps({**CONFIG, "wifi": "depot"}).encode(), 'wrong "wifi"'),
        (json.dumps({**CONFIG, "id": 7}).encode(), 'wrong "id"'),
        (json.dumps({**CONFIG, "ca": "root.pem"}).encode(), "no certificate file /root.pem"),
        (wired({"contactor": 99}), 'connector 1: "contactor" is wrong: invalid pin'),
        (wired({"contactor": 34}), 'connector 1: "contactor" is pin 34, which can only be an input'),
        (wired({"contactor": "26"}), 'connector 1: "contactor" is 26, right is the number of a pin'),
        (wired({**CONNECTORS[0], "pilot": {}}), 'connector 1, pilot lacks "pwm"'),
        (wired(CONNECTORS[0], CONNECTORS[0]), 'connector 2: "contactor" takes pin 26, which is taken'),
        (wired(CONNECTORS[0], reader={"type": "serial", "uart": 0, "rx": 16}), 'the charger, reader: "uart" is 0'),
        (wired(26), "connector 1 is no object"),
        (json.dumps({**CONFIG, "connectors": 26}).encode(), '"connectors" is no list'),
    ],
)
async def test_a_wrong_configuration_is_named(
    tmp_path: Path, interpreter: Interpreter, config: bytes | None, words: str
) -> None:
    program = """
from hw import board
try:
    board.build(board.load_config(), lambda tag: print, print)
except board.ConfigError as error:
    print(error)
"""
    files = {"config.json": config} if config is not None else {}
    lines = await run(tmp_path, interpreter, program, *BOARD, files=files)
    assert len(lines) == 1
    assert words in lines[0]


@pytest.mark.parametrize(
    ("config", "evse"),
    [
        ({}, "None []"),
        ({"connectors": CONNECTORS[:1]}, "None ['Outlet']"),
        ({"connectors": CONNECTORS, **SHARED}, "LineReader ['Outlet', 'Outlet', 'Outlet']"),
        (
            {"connectors": CONNECTORS[:2], **SHARED, "reader": {"type": "rdm6300", "uart": 2, "rx": 16}},
            "Rdm6300 ['Outlet', 'Outlet']",
        ),
    ],
    ids=["bare", "one connector", "all", "another reader"],
)
async def test_a_good_configuration_gives_all_parts(
    tmp_path: Path, interpreter: Interpreter, config: dict[str, Any], evse: str
) -> None:
    program = """
from hw import board
def kind(part):
    return type(part).__name__
*parts, evse = board.build(board.load_config(), lambda tag: print, lambda *names: print("Drops", *names))
print([kind(part) for part in parts])
print(evse and evse.reader and kind(evse.reader), [kind(outlet) for outlet in evse.outlets] if evse else [])
"""
    files = {"config.json": json.dumps({**CONFIG, **config}).encode()}
    lines = await run(tmp_path, interpreter, program, *BOARD, files=files)
    assert lines[-2:] == ["['Clock', 'Store', 'Slots', 'Wifi', 'Dialer']", evse]
    assert ("Drops hw.fitting" in lines) == bool(config)
