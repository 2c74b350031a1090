"""The small parts of hw/ on the simulated chip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.interpreter import Interpreter
from slots import Flash, switch_on, with_modules

AIR = ("depot", "12345678")
BOARD = [
    "hw/board.py",
    "hw/evse.py",
    "hw/certificate_error.py",
    "hw/clock.py",
    "hw/connection.py",
    "hw/dialing.py",
    "hw/otadata.py",
    "hw/slots.py",
    "hw/store.py",
    "hw/wifi.py",
]
CONFIG = {"csms": "ws://host/", "id": "CP1", "vendor": "Arus", "model": "Desk", "wifi": {"ssid": AIR[0], "key": AIR[1]}}


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
        (json.dumps({**CONFIG, "connectors": [{"contactor": 99}]}).encode(), 'wrong "connectors"'),
        (json.dumps({**CONFIG, "connectors": [{"contactor": 34}]}).encode(), "pin can only be input"),
        (json.dumps({**CONFIG, "connectors": [{"contactor": "26"}]}).encode(), 'wrong "connectors"'),
        (json.dumps({**CONFIG, "connectors": [26]}).encode(), 'wrong "connectors"'),
        (json.dumps({**CONFIG, "connectors": 26}).encode(), 'wrong "connectors"'),
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


async def test_contactors_are_open_at_first_and_switched_one_by_one(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import machine
pins = {}
class Pin(machine.Pin):
    def value(self, level=None):
        pins[id(self)] = int(level)
        return super().value(level)
machine.Pin = Pin
from hw import evse
contactor = evse.build([{"contactor": 26}, {}, {"contactor": 27}], print)
print(sorted(pins.values()))
for connector, closed in ((1, True), (3, True), (2, True), (4, True), (1, False)):
    contactor(connector, closed)
    print(sorted(pins.values()))
"""
    lines = await run(tmp_path, interpreter, program, "hw/evse.py")
    assert lines == [
        "[0, 0]",
        "Connector 1: contactor closed",
        "[0, 1]",
        "Connector 3: contactor closed",
        "[1, 1]",
        "Connector 2: there is no contactor in config.json that would be closed",
        "[1, 1]",
        "Connector 4: there is no contactor in config.json that would be closed",
        "[1, 1]",
        "Connector 1: contactor open",
        "[0, 1]",
    ]


async def test_a_good_configuration_gives_all_parts(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
from hw import board
config = board.load_config()
print([type(part).__name__ for part in board.build(config, lambda tag: print, print)])
"""
    lines = await run(tmp_path, interpreter, program, *BOARD, files={"config.json": json.dumps(CONFIG).encode()})
    assert lines == ["['Clock', 'Store', 'Slots', 'Wifi', 'Dialer', 'closure']"]
