"""The small parts of hw/ on the simulated chip."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from desk import CONNECTORS, SHARED
from simulator.chip import Chip
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
    "hw/joining.py",
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
    folder: Path,
    interpreter: Interpreter,
    program: str,
    *modules: str,
    files: dict[str, bytes] | None = None,
    air: tuple[str, str] = AIR,
    react: Callable[[Chip, str], None] | None = None,
    epoch: int = 2000,
) -> list[str]:
    """Run a program with some modules of hw/; return what it printed. react(chip, line) is called with each line."""

    def prepare(chip: Chip) -> None:
        if react:
            serial, chip._serial = chip._serial, lambda line: (serial(line), react(chip, line))[0]

    content = with_modules(f"{program}\nprint('END')\n", *modules)
    flash = Flash((content,), files=files or {})
    outcome = await switch_on(folder, interpreter, flash, prepare=prepare, heap=None, air=air, epoch=epoch)
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


@pytest.mark.parametrize("epoch", [1970, 2000])
async def test_the_clock_counts_from_1970_and_knows_when_it_was_never_set(
    tmp_path: Path, interpreter: Interpreter, epoch: int
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
    lines = await run(tmp_path, interpreter, program, "hw/clock.py", epoch=epoch)
    assert lines == ["None", "None", "True (2026, 8, 21)"]


async def test_the_uptime_goes_on_whatever_is_done_to_the_clock(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import time
from hw.clock import Clock
clock = Clock()
time.sleep(30)
for seconds in (1787313600, 4102444799 - 2 ** 31, 1, 1704067200):
    print(clock.set(seconds))
    assert 30 <= clock.uptime() < 120
"""
    assert await run(tmp_path, interpreter, program, "hw/clock.py") == ["True", "True", "False", "True"]


class TimeServer(asyncio.DatagramProtocol):
    """An NTP server whose time is `seconds`, Unix time."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        count = (self.seconds + 2208988800) % 2**32
        self.transport.sendto(struct.pack(">BB22x8sQII", 0x24, 1, data[40:], 0, count, 0), addr)


@pytest.mark.parametrize(
    ("seconds", "text", "epoch"),
    [(1795243800, "2026-11-21T06:50:00Z", 2000), (2085978500, "2036-02-07T06:28:20Z", 1970)],
)
async def test_ntp_sets_the_clock_of_the_chip(
    tmp_path: Path, interpreter: Interpreter, seconds: int, text: str, epoch: int
) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: TimeServer(seconds), local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    program = f"""
import asyncio
from hw import ntp
from hw.clock import Clock
clock = Clock()
print(clock.now(), asyncio.run(ntp.sync("127.0.0.1:{port}", clock, print, 40000)))
print(0 <= clock.now() - {seconds} < 60)
"""
    try:
        lines = await run(tmp_path, interpreter, program, "hw/clock.py", "hw/ntp.py", epoch=epoch)
    finally:
        transport.close()
    assert lines == [f"Clock set by NTP: {text}", "None True", "True"]


WIFI = """
import asyncio, hw, network, sys
from hw.wifi import Wifi
async def main():
    ended = asyncio.Event()
    def log(text):
        print(text)
        if text.startswith(END):
            ended.set()
    def forget(name):
        del sys.modules[name], hw.joining
    wifi = Wifi(SSID, KEY, log, "CP*1", forget)
    task = asyncio.create_task(wifi.run())
    await ended.wait()
asyncio.run(main())
"""


async def on_wifi(
    folder: Path,
    interpreter: Interpreter,
    air: tuple[str, str] = AIR,
    ssid: str = AIR[0],
    key: str | None = AIR[1],
    end: str = "Connected",
    more: str = "",
    react: Callable[[Chip, str], None] | None = None,
) -> list[str]:
    """Run the Wi-Fi until it says `end`, then `more`; return what was printed."""
    program = f"SSID, KEY, END = {ssid!r}, {key!r}, {end!r}\n{WIFI}{more}"
    return await run(folder, interpreter, program, "hw/wifi.py", "hw/joining.py", air=air, react=react)


async def test_wifi_connects_with_a_host_name(tmp_path: Path, interpreter: Interpreter) -> None:
    lines = await on_wifi(tmp_path, interpreter, more="print(network.hostname())")
    assert lines == ["Connecting to depot", "Connected, address 127.0.0.1, signal -55 dBm", "CP-1"]


async def test_wifi_takes_an_open_network(tmp_path: Path, interpreter: Interpreter) -> None:
    lines = await on_wifi(tmp_path, interpreter, air=("cafe", ""), ssid="cafe", key=None)
    assert lines == ["Connecting to cafe", "Connected, address 127.0.0.1, signal -55 dBm"]


async def test_wifi_comes_back_when_the_access_point_does(tmp_path: Path, interpreter: Interpreter) -> None:
    def react(chip: Chip, line: str) -> None:
        if line.startswith("Connected") and "without" not in line:
            chip.set_link(up=False)
        elif line.startswith("No network"):
            chip.set_link(up=True)

    lines = await on_wifi(tmp_path, interpreter, end="Connected, address 127.0.0.1, signal -55 dBm, ", react=react)
    assert [line.partition(" after ")[0] for line in lines] == [
        "Connecting to depot",
        "Connected, address 127.0.0.1, signal -55 dBm",
        "Connection to depot lost",
        "Connecting to depot",
        "No network depot in reach: check its name and the distance (ESP32 has 2.4 GHz only)",
        "Connected, address 127.0.0.1, signal -55 dBm,",
    ]


async def test_wifi_with_a_wrong_key_says_what_to_check(tmp_path: Path, interpreter: Interpreter) -> None:
    lines = await on_wifi(tmp_path, interpreter, key="87654321", end="depot")
    assert lines == ["Connecting to depot", 'depot refuses the key: check "key" in /config.json']


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
