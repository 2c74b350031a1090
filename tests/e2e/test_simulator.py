"""The simulated chip runs programs, resets, and loses power as an ESP32 does."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

import build
import desk
import environment
from simulator import manufacture
from simulator.chip import Chip, SimulatorError, Timing
from simulator.flash import Cells
from simulator.interpreter import Interpreter
from simulator.recording import Recording

IMAGE = build.made_image(2048)
SLOT1 = 0x190000
VFS, VFS_SIZE = 0x310000, 0xF0000
SECTOR = 4096
REPL = 'Type "help()" for more information.'

IMAGES = Path(__file__).resolve().parents[3] / "shared" / "images"
COMBINED = IMAGES / "ESP32_GENERIC-OTA-20250415-v1.25.0.bin"
needs_real_images = pytest.mark.skipif(not IMAGES.exists(), reason="the real MicroPython images are not at hand")

# Names that the programs below may use.
PRELUDE = """
import machine, os, time
from esp32 import NVS, Partition
RUNNING = Partition(Partition.RUNNING)
OTHER = RUNNING.get_next_update()
SLOT = RUNNING.info()[4]
CAUSE = machine.reset_cause()
def copy():
    block = bytearray(4096)
    RUNNING.readblocks(0, block)
    OTHER.writeblocks(0, block)
"""

Start = Callable[..., "Charger"]


class Charger:
    """A chip with a program, and what its serial console said."""

    def __init__(self, folder: Path, interpreter: Interpreter, main: str, **settings: Any) -> None:
        self.lines: list[str] = []
        self.files = {"main.py": (PRELUDE + main).encode(), **settings.pop("files", {})}
        self.image = settings.pop("image", IMAGE)
        self.chip = Chip(folder, interpreter, serial=self.lines.append, **settings)
        self.chip.manufacture(self.image, self.files)

    async def until(self, end: str = "END") -> list[str]:
        """Run until the console says `end`; return the lines up to there that no bootloader wrote."""
        task = asyncio.create_task(self.chip.run())
        try:
            await self.says(end, task)
        finally:
            await self.chip.power_off()
            await task
        lines = self.lines[: self.lines.index(end) + 1]
        return [line for line in lines if not line.startswith(("I boot", "E boot", "rst:", "E esp_image"))]

    async def says(self, end: str, task: asyncio.Task[None] | None = None) -> None:
        async with asyncio.timeout(20):
            while end not in self.lines and not (task and task.done()):
                await asyncio.sleep(0.002)

    @property
    def boots(self) -> list[tuple[str, str]]:
        return [(boot.slot, boot.cause) for boot in self.chip.boots]

    @property
    def states(self) -> list[tuple[int | None, str]]:
        return [(record.sequence, record.state) for record in self.chip.otadata()]


@pytest.fixture
def charger(tmp_path: Path, interpreter: Interpreter) -> Start:
    def make(main: str, **settings: Any) -> Charger:
        return Charger(tmp_path, interpreter, main, **settings)

    return make


# ------------------------------------------------------------------------------------------- what the chip's modules do


@pytest.mark.parametrize("word_bits", [32, 64])
@pytest.mark.parametrize("name", ["test_partition", "test_nvs"])
async def test_the_tests_of_a_board(tmp_path: Path, word_bits: int, name: str) -> None:
    try:
        interpreter = environment.interpreter(word_bits)
    except environment.SetupError as error:
        pytest.skip(str(error))
    sources = {
        "unittest": environment.micropython_unittest(),
        name: environment.REPOSITORY / "tests" / "device" / f"{name}.py",
    }
    environment.compile_mpy(sources, tmp_path / "mpy")
    main = f"""
import {name}, unittest
try:
    unittest.main({name})
except SystemExit as result:
    print("PASSED" if result.args == (False,) else "FAILED")
print("END")
"""
    files = {f"lib/{module}.mpy": (tmp_path / "mpy" / f"{module}.mpy").read_bytes() for module in sources}
    lines = await Charger(
        tmp_path / "chip", interpreter, main, heap=None, files=files, image=build.made_image(32 * 1024)
    ).until()
    assert "PASSED" in lines, "\n".join(lines)


async def test_a_full_nvs_refuses_new_values_keeps_the_old_and_recovers(charger: Start) -> None:
    chip = charger("""
nvs = NVS("test")
count = 0
try:
    while True:
        nvs.set_blob("key%d" % count, bytes((count,)) * 1000)
        count += 1
except OSError as error:
    print(error.args)
def check(first):
    buffer = bytearray(1000)
    for i in range(first, count):
        nvs.get_blob("key%d" % i, buffer)
        assert buffer == bytes((i,)) * 1000
    print("kept")
check(0)
nvs.erase_key("key0")
nvs.erase_key("key1")
nvs.set_blob("new", bytes(1000))
check(2)
print("END")
""")
    assert await chip.until() == ["(-4357, 'ESP_ERR_NVS_NOT_ENOUGH_SPACE')", "kept", "kept", "END"]


async def test_with_a_single_slot_the_next_update_is_the_running_one(charger: Start) -> None:
    chip = charger("print(OTHER.info() == RUNNING.info())\nprint('END')")
    table = tuple(row for row in manufacture.OTA_4MIB if row[0] != "ota_1")
    chip.chip.insert(manufacture.flash(IMAGE, chip.files, table))
    assert await chip.until() == ["True", "END"]


async def test_a_table_for_a_larger_flash_and_one_that_knows_no_updates(charger: Start) -> None:
    program = "print(RUNNING.info(), os.statvfs('/')[2], 'boot.py' in os.listdir())\nprint('END')"
    chip = charger(program)
    mib = 0x100000
    slots = (("ota_0", 0, 0x10, 0x10000, 2 * mib), ("ota_1", 0, 0x11, 0x210000, 2 * mib))
    large = (*manufacture.OTA_4MIB[:3], *slots, ("vfs", 1, 0x81, 0x410000, 8 * mib - 0x410000))
    chip.chip.insert(manufacture.flash(IMAGE, chip.files, large, flash_size=8 * mib))
    assert await chip.until() == ["(0, 16, 65536, 2097152, 'ota_0', False) 1008 False", "END"]
    chip = charger(program.replace("RUNNING.info()", "SLOT"))
    small = (manufacture.OTA_4MIB[0], ("factory", 0, 0, 0x10000, 0x1F0000), ("vfs", 1, 0x81, 0x200000, 2 * mib))
    chip.files["main.py"] = chip.files["main.py"].replace(b"OTHER = RUNNING.get_next_update()", b"")
    chip.chip.insert(manufacture.flash(IMAGE, chip.files, small))
    assert await chip.until() == ["factory 512 False", "END"]
    assert chip.boots == [("factory", "power on")]


async def test_a_write_to_the_running_partition_is_a_panic(charger: Start) -> None:
    chip = charger("if CAUSE == 1: RUNNING.writeblocks(0, bytes(4096))\nprint(CAUSE)\nprint('END')")
    lines = await chip.until()
    assert lines[0].startswith("abort() was called")
    assert lines[1:] == ["2", "END"]
    assert chip.boots == [("ota_0", "power on"), ("ota_0", "panic")]


async def test_the_wall_clock_starts_in_2000_survives_a_reset_and_not_a_power_cut(charger: Start) -> None:
    chip = charger("""
print(time.gmtime(0)[:3], time.gmtime()[:3], len(time.localtime()), time.mktime((2000, 1, 2, 0, 0, 0, 0, 0)))
if time.time() < 1000:
    machine.RTC().datetime((2026, 8, 21, 0, 12, 5, 0, 0))
    print(machine.RTC().datetime()[:7])
    machine.reset()
print("END")
time.sleep(1000)
""")
    task = asyncio.create_task(chip.chip.run())
    await chip.says("END")
    chip.chip.cut_power()
    while chip.lines.count("END") < 2:
        await asyncio.sleep(0.002)
    await chip.chip.power_off()
    await task
    lines = [line for line in chip.lines if line.startswith("(")]
    unset = "(2000, 1, 1) (2000, 1, 1) 8 86400"
    kept = "(2000, 1, 1) (2026, 8, 21) 8 86400"
    assert lines == [unset, "(2026, 8, 21, 4, 12, 5, 0)", kept, unset, "(2026, 8, 21, 4, 12, 5, 0)", kept]


async def test_the_station_connects_after_a_moment_and_loses_the_link(charger: Start) -> None:
    chip = charger(
        """
import network
station = network.WLAN(network.STA_IF)
station.active(True)
def connect(*to):
    before = station.status()
    station.connect(*to)
    while station.status() in (before, network.STAT_CONNECTING): time.sleep_ms(10)
    result = station.status(), station.isconnected(), station.ifconfig()[0]
    if not result[1]: station.disconnect()
    return result
def refused(function, *arguments, **settings):
    try: print(function(*arguments, **settings))
    except (OSError, ValueError) as error: print(error)
print(network.hostname(), station.status())
network.hostname("charger-7")
print(connect("nobody", "secret"))
station.connect("desk", "wrong")
refused(station.connect, "desk", "secret")
station.disconnect()
print(connect("desk", "wrong"))
refused(station.status, "rssi")
station.config(reconnects=0, pm=network.WLAN.PM_NONE)
refused(station.config, key="secret")
refused(station.config, speed=1)
print(connect("desk", "secret"), station.status("rssi"), station.config("ssid"), station.config("reconnects"))
print("LINK")
while station.isconnected(): time.sleep_ms(10)
print(station.status())
print("END")
""",
        air=("desk", "secret"),
        speed=10,
    )
    task = asyncio.create_task(chip.chip.run())
    await chip.says("LINK")
    assert (chip.chip.hostname, chip.chip.wifi_settings) == ("charger-7", {"reconnects": 0, "pm": 0})
    chip.chip.set_link(up=False)
    await chip.says("END")
    await chip.chip.power_off()
    await task
    assert chip.lines[chip.lines.index("mpy-esp32 1000") + 1 : chip.lines.index("END")] == [
        "(201, False, '0.0.0.0')",
        "Wifi Internal State Error",
        "(202, False, '0.0.0.0')",
        "Wifi Not Connected",
        "AP required",
        "unknown config param",
        "(1010, True, '127.0.0.1') -55 desk 0",
        "LINK",
        "200",
    ]


async def test_the_station_tells_why_it_is_refused_and_stays_connected_over_a_soft_reset(charger: Start) -> None:
    chip = charger(
        """
import network
station = network.WLAN()
def wait(*statuses):
    while station.status() not in statuses: time.sleep_ms(10)
    print(station.status())
if CAUSE == 5:
    print(station.active(), station.isconnected(), network.hostname(), station.config("mac"))
    print("END")
    time.sleep(100)
station.active(True)
station.connect("Arus", "charging")
wait(201)
print("REFUSED")
wait(1001)
station.disconnect()
station.config(reconnects=1)
station.connect()
wait(203)
print("LINK")
station.disconnect()
station.connect()
wait(1010)
network.hostname("seven")
machine.soft_reset()
""",
        speed=10,
    )
    chip.chip.set_link(up=False)
    task = asyncio.create_task(chip.chip.run())
    await chip.says("201")
    chip.chip.set_link(up=True, refusal=203)
    await chip.says("LINK")
    chip.chip.set_link(up=True)
    await chip.says("END")
    await chip.chip.power_off()
    await task
    mac = "True True seven b'$\\n\\xc4\\x00\\x00\\x01'"
    assert chip.lines[4:] == ["201", "REFUSED", "1001", "203", "LINK", "1010", "MPY: soft reboot", mac, "END"]


async def test_the_memory_of_the_clock_survives_all_but_a_power_cut(charger: Start) -> None:
    chip = charger(
        """
rtc = machine.RTC()
print(CAUSE, rtc.memory())
if not rtc.memory():
    try: rtc.memory(bytes(2049))
    except ValueError as error: print(error)
    rtc.memory(bytes(2048))
    rtc.memory(b"a")
    machine.reset()
rtc.memory(rtc.memory() + b"b")
length = len(rtc.memory())
if length == 2: machine.soft_reset()
if length == 3: RUNNING.writeblocks(0, bytes(4096))
if length == 4: machine.WDT(timeout=100)
if length == 5: print("END")
time.sleep(1000)
""",
        speed=10,
    )
    task = asyncio.create_task(chip.chip.run())
    await chip.says("END")
    chip.chip.cut_power()
    while chip.lines.count("1 b''") < 2:
        await asyncio.sleep(0.002)
    await chip.chip.power_off()
    await task
    told = [line for line in chip.lines if line[1:4] == " b'"]
    assert told[:6] == ["1 b''", "2 b'a'", "5 b'ab'", "2 b'abb'", "3 b'abbb'", "1 b''"]
    assert "buffer too long" in chip.lines


async def test_the_clock_may_count_from_another_year_for_a_test(charger: Start) -> None:
    for epoch in (1970, 2000):
        chip = charger(
            """
print(time.gmtime(0)[:3], time.localtime()[:3], time.mktime((2000, 1, 1, 0, 0, 0, 0, 0)), type(time.time()))
machine.RTC().datetime((2026, 8, 21, 0, 12, 5, 0, 0))
print(time.gmtime()[:5], time.time() // 60, machine.RTC().datetime()[:4])
print("END")
""",
            epoch=epoch,
        )
        since = 0 if epoch == 2000 else 946684800
        assert await chip.until() == [
            f"({epoch}, 1, 1) ({epoch}, 1, 1) {since} <class 'int'>",
            f"(2026, 8, 21, 12, 5) {(840629100 + since) // 60} (2026, 8, 21, 4)",
            "END",
        ]


async def test_any_pin_can_be_held_and_looked_at(charger: Start) -> None:
    chip = charger(
        """
from machine import Pin
button = Pin(4, Pin.IN, Pin.PULL_UP)
led = Pin(2, Pin.OUT, value=1)
print(button.value(), led.value())
while button.value(): pass
led.value(0)
print("LOW")
while not button.value(): pass
print("END")
"""
    )
    task = asyncio.create_task(chip.chip.run())
    await chip.says("1 1")
    assert chip.chip.level(2) == 1
    chip.chip.hold_pin(4, 0)
    await chip.says("LOW")
    assert chip.chip.level(2) == 0
    chip.chip.hold_pin(4, None)
    await chip.says("END")
    await chip.chip.power_off()
    await task
    with pytest.raises(ValueError, match="no pin 40"):
        chip.chip.hold_pin(40, 1)


async def test_the_heap_of_a_board_does_not_depend_on_how_many_pins_it_uses(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    free = []
    program = b"""
import gc
from machine import Pin
pin = Pin(2, Pin.OUT)
gc.collect()
print(gc.mem_free())
print("END")
"""
    for config in ({"led": 2}, {"led": 2, "maintenance": 0}, {"connectors": desk.CONNECTORS[:1]}):
        lines: list[str] = []
        chip = Chip(tmp_path, interpreter, serial=lines.append)
        chip.wire(config)
        chip.manufacture(IMAGE, {"main.py": program})
        task = asyncio.create_task(chip.run())
        async with asyncio.timeout(10):
            while "END" not in lines:
                await asyncio.sleep(0.002)
        await chip.power_off()
        await task
        free.append(int(lines[lines.index("END") - 1]))
    assert max(free) - min(free) < 2048
    assert 76 * 1024 < min(free) < max(free) < 84 * 1024


async def test_nothing_of_the_desk_is_within_reach(charger: Start) -> None:
    chip = charger("""
import sys
print(sys.path, sys.argv, os.getcwd(), sorted(os.listdir("/")))
print(sys.platform, sys.implementation._machine, sys.implementation[0], sys.implementation.version > (1, 24))
for name in ("soc", "flash", "state", "launcher", "otadata"):
    try:
        __import__(name)
        print(name)
    except ImportError: pass
try: open("/etc/hostname")
except OSError as error: print(error.errno)
print("END")
""")
    assert await chip.until() == [
        "['', '.frozen', '/lib'] [] / ['main.py']",
        "esp32 Generic ESP32 module with ESP32 micropython True",
        "2",
        "END",
    ]


# ----------------------------------------------------------------------------------------------- starting and resetting


async def test_main_py_is_that_of_the_directory_where_boot_py_ended(charger: Start) -> None:
    chip = charger(
        "print('the wrong main.py')",
        files={
            "boot.py": b"import os\nos.chdir('/app')\nfrom_boot = 1",
            "app/main.py": b"import part\nprint(__name__, from_boot, part.x)\nprint('END')",
            "app/part.py": b"x = 2",
        },
    )
    assert await chip.until() == ["__main__ 1 2", "END"]


async def test_an_error_ends_in_a_dead_repl_with_the_watchdog_running(charger: Start) -> None:
    chip = charger("print(CAUSE)\nif CAUSE == 1:\n    machine.WDT(timeout=1000)\n    nowhere\nprint('END')", speed=10)
    lines = await chip.until()
    assert lines[0] == "1"
    assert "NameError: name 'nowhere' isn't defined" in lines
    assert lines[-5:] == [REPL, ">>> ", "E task_wdt: Task watchdog got triggered", "3", "END"]
    assert chip.boots == [("ota_0", "power on"), ("ota_0", "watchdog")]


async def test_an_error_in_boot_py_keeps_main_py_from_running(charger: Start) -> None:
    chip = charger("print('main')", files={"boot.py": b"1 / 0"})
    lines = await chip.until(REPL)
    assert "ZeroDivisionError: divide by zero" in lines
    assert "main" not in lines


async def test_a_hang_is_ended_by_the_watchdog_and_by_nothing_else(charger: Start) -> None:
    chip = charger(
        """
if CAUSE != 1: print("END")
machine.WDT(timeout=500)
try:
    while True: pass
finally: print("finally")
""",
        speed=10,
    )
    assert await chip.until() == ["E task_wdt: Task watchdog got triggered", "END"]


async def test_a_watchdog_that_is_fed_does_not_bite(charger: Start) -> None:
    chip = charger(
        """
watchdog = machine.WDT(timeout=5000)
for _ in range(40):
    time.sleep_ms(250)
    watchdog.feed()
print(CAUSE)
print("END")
""",
        speed=20,
    )
    assert await chip.until() == ["1", "END"]


async def test_a_reset_ends_everything_at_once(charger: Start) -> None:
    chip = charger("""
print(CAUSE)
try:
    if CAUSE == 1: machine.reset()
finally: print("END")
""")
    assert await chip.until() == ["1", "2", "END"]
    assert chip.boots == [("ota_0", "power on"), ("ota_0", "reset")]
    assert [boot.end for boot in chip.chip.boots] == ["reset", "power off"]


async def test_system_exit_is_a_soft_reset_that_the_watchdog_survives(charger: Start) -> None:
    chip = charger(
        """
print(CAUSE)
if CAUSE == 1:
    machine.WDT(timeout=1000)
    raise SystemExit
while CAUSE == 5: pass
print("END")
""",
        speed=10,
    )
    lines = await chip.until()
    assert lines == ["1", "MPY: soft reboot", "5", "E task_wdt: Task watchdog got triggered", "3", "END"]


async def test_a_blank_vfs_is_formatted(charger: Start) -> None:
    chip = charger("")
    chip.chip.insert(manufacture.flash(IMAGE, None))
    performed, banner, _ = await chip.until(REPL)
    assert performed == "Performing initial setup"
    assert banner.startswith("MicroPython v1.") and banner.endswith("; Generic ESP32 module with ESP32")


async def test_a_corrupt_vfs_is_complained_about_for_ever(charger: Start) -> None:
    chip = charger("")
    chip.chip.insert(manufacture.flash(IMAGE, None, vfs=manufacture.CORRUPT))
    complaint = "The filesystem appears to be corrupted."
    assert set(await chip.until(complaint)) == {complaint}


async def test_the_heap_is_as_large_as_said(tmp_path: Path, interpreters: list[Interpreter]) -> None:
    for interpreter in interpreters:
        main = """
import gc
gc.collect()
print(gc.mem_free())
try: bytearray(100 * 1024)
except MemoryError: print("MemoryError")
print("END")
"""
        chip = Charger(tmp_path, interpreter, main, heap=80 * 1024)
        free, *lines = await chip.until()
        assert lines == ["MemoryError", "END"]
        # Not exact: the garbage collector has its tables, and names go into tables that grow by leaps.
        assert 72 * 1024 < int(free) < 88 * 1024
        assert 0 < chip.chip.simulator_heap() < 96 * 1024


async def test_the_speed_is_that_of_all_the_chip_s_time(charger: Start) -> None:
    chip = charger(
        """
import asyncio
async def wait(): await asyncio.sleep(30)
started, ticks = time.time(), time.ticks_ms()
time.sleep(30)
asyncio.run(wait())
print(time.time() - started >= 60, time.ticks_diff(time.ticks_ms(), ticks) >= 60000)
print("END")
""",
        speed=500,
    )
    assert await chip.until() == ["True True", "END"]


async def test_flash_operations_last(charger: Start) -> None:
    chip = charger(
        """
def lasting(function, *arguments):
    started = time.ticks_ms()
    function(*arguments)
    return time.ticks_diff(time.ticks_ms(), started)
data = bytearray(65536)
print(lasting(OTHER.ioctl, 6, 0) >= 50)
print(lasting(OTHER.writeblocks, 0, data[:2048], 0) >= 3)
print(lasting(OTHER.writeblocks, 0, data[:4096]) >= 56)
print(lasting(OTHER.writeblocks, 0, data) >= 200 + 16 * 6)
print("END")
""",
        timing=Timing(erase_ms=50, erase_64k_ms=200, write_ms_per_4k=6),
        heap=None,
        speed=10,
    )
    assert await chip.until() == ["True"] * 4 + ["END"]


async def test_a_fault_of_the_simulator_is_not_taken_for_a_reset(charger: Start) -> None:
    chip = charger("os.system('kill -TERM $PPID')\ntime.sleep(1000)")
    with pytest.raises(SimulatorError, match="status -15"):
        await chip.until()


async def test_cancelling_switches_off(charger: Start) -> None:
    chip = charger("print('END')\ntime.sleep(1000)")
    task = asyncio.create_task(chip.chip.run())
    await chip.says("END")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await chip.chip.power_off()


DESK = """
import asyncio, sys
from pathlib import Path
from simulator.chip import Chip
from simulator.interpreter import Interpreter
def serial(line): print(line, flush=True)
asyncio.run(Chip(Path(sys.argv[1]), Interpreter(tuple(sys.argv[2:]), 32, None, ()), serial=serial).run())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a process that was killed")
async def test_a_desk_that_is_killed_leaves_no_chip_running(charger: Start, interpreter: Interpreter) -> None:
    chip = charger("import ffi\nprint('pid', ffi.open(None).func('i', 'getpid', '')())\ntime.sleep(1000)")
    desk = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DESK, str(chip.chip.folder), *interpreter.command),
        cwd=environment.REPOSITORY / "tools",
        stdout=asyncio.subprocess.PIPE,
    )
    assert desk.stdout
    async with asyncio.timeout(20):
        while not (line := await desk.stdout.readline()).startswith(b"pid "):
            assert line
        desk.kill()
        await desk.wait()
        while is_running(int(line.split()[1])):
            await asyncio.sleep(0.002)


def is_running(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


# ------------------------------------------------------------------------------------------------- trials and rollbacks

# The firmware of these tests is the same in both slots. It counts its runs and resets after each one.
TRIAL = """
nvs = NVS("test")
try: run = nvs.get_i32("run") + 1
except OSError: run = 1
nvs.set_i32("run", run)
print(run, SLOT)
if run == 1:
    copy()
    OTHER.set_boot()
    {before}
if run == 2:
    {trial}
if run > 3: print("END")
machine.reset()
"""


async def test_a_firmware_that_is_not_confirmed_comes_back(charger: Start) -> None:
    chip = charger(TRIAL.format(before="", trial="pass"))
    assert (await chip.until())[:4] == ["1 ota_0", "2 ota_1", "3 ota_0", "4 ota_0"]
    assert chip.states == [(1, "VALID"), (2, "ABORTED")]


async def test_a_firmware_that_is_confirmed_stays(charger: Start) -> None:
    chip = charger(TRIAL.format(before="", trial="Partition.mark_app_valid_cancel_rollback()"))
    assert (await chip.until())[:4] == ["1 ota_0", "2 ota_1", "3 ota_1", "4 ota_1"]
    assert chip.states == [(1, "VALID"), (2, "VALID")]


async def test_confirming_before_the_reset_confirms_the_firmware_that_never_ran(charger: Start) -> None:
    chip = charger(TRIAL.format(before="Partition.mark_app_valid_cancel_rollback()", trial="pass"))
    assert (await chip.until())[:4] == ["1 ota_0", "2 ota_1", "3 ota_1", "4 ota_1"]
    assert chip.states == [(1, "VALID"), (2, "VALID")]


async def test_an_update_while_on_trial_writes_over_the_only_confirmed_firmware(charger: Start) -> None:
    chip = charger(TRIAL.format(before="", trial="OTHER.writeblocks(0, bytes(4096))"))
    lines = await chip.until()
    assert lines[:4] == ["1 ota_0", "2 ota_1", "3 ota_1", "4 ota_1"]  # for want of anything else
    assert "E boot: OTA app partition slot 0 is not bootable" in chip.lines


async def test_confirming_after_the_bootloader_fell_back_confirms_the_broken_slot(charger: Start) -> None:
    chip = charger(
        TRIAL.format(before="OTHER.ioctl(6, 0)", trial="print(SLOT); Partition.mark_app_valid_cancel_rollback()")
    )
    assert (await chip.until())[:5] == ["1 ota_0", "2 ota_0", "ota_0", "3 ota_0", "4 ota_0"]
    assert chip.states == [(1, "VALID"), (2, "VALID")]


@pytest.mark.parametrize(("operation", "how"), [(1, "before"), (1, "middle"), (2, "before"), (2, "middle")])
async def test_a_power_cut_while_confirming_goes_back_silently(
    charger: Start, operation: int, how: Literal["before", "middle"]
) -> None:
    confirm = "print('READY'); time.sleep_ms(50); Partition.mark_app_valid_cancel_rollback()"
    chip = charger(TRIAL.format(before="", trial=confirm))
    task = asyncio.create_task(chip.chip.run())
    await chip.says("READY")
    chip.chip.cut_power(operation, how)
    await chip.says("END")
    await chip.chip.power_off()
    await task
    assert chip.boots[2] == ("ota_0", "power on")
    assert ("ota_1", "reset") not in chip.boots[2:]


@needs_real_images
async def test_set_boot_on_real_images(charger: Start) -> None:
    real = build.app_image(COMBINED.read_bytes())
    chip = charger(
        """
def refused():
    try: OTHER.set_boot()
    except OSError as error: return error.args
if SLOT == "ota_0" and CAUSE == 1:
    print(refused())
    block = bytearray(4096)
    OTHER.readblocks(100, block)
    block[0] ^= 1
    OTHER.writeblocks(100, block)
    print(refused(), Partition(Partition.BOOT).info()[4])
    block[0] ^= 1
    OTHER.writeblocks(100, block)
    OTHER.set_boot()
    machine.reset()
print(SLOT)
print("END")
"""
    )
    flash = bytearray((chip.chip.folder / "flash.bin").read_bytes())
    flash[SLOT1 : SLOT1 + len(real)] = real
    chip.chip.insert(bytes(flash))
    assert await chip.until() == ["None", "(-5379, 'ESP_ERR_OTA_VALIDATE_FAILED') ota_1", "ota_1", "END"]
    combined = COMBINED.read_bytes()
    flash[SLOT1 : SLOT1 + len(combined)] = combined
    chip.chip.insert(bytes(flash))
    chip.lines.clear()
    assert await chip.until() == ["None", "None ota_1", "ota_0", "END"]  # that block is none of the bootloader's image


# ----------------------------------------------------------------------------------------------------------- power cuts


@pytest.mark.parametrize(
    ("operation", "how", "left"),
    [
        (1, "before", "00 00 00"),  # of the erase
        (1, "middle", "ff 55 55"),
        (2, "before", "ff ff ff"),  # of the programming
        (2, "middle", "12 1f ff"),
    ],
)
async def test_a_power_cut_leaves_half_of_an_operation(
    charger: Start, operation: int, how: Literal["before", "middle"], left: str
) -> None:
    chip = charger("""
block = bytearray(4096)
OTHER.readblocks(0, block)
print(" ".join("%02x" % block[i] for i in (2047, 2048, 2049)))
OTHER.writeblocks(0, b"\\x12" * 4096)
print("END")
""")
    flash = bytearray((chip.chip.folder / "flash.bin").read_bytes())
    flash[SLOT1 : SLOT1 + SECTOR] = bytes(SECTOR)
    chip.chip.insert(bytes(flash))
    chip.chip.cut_power(2 + operation, how)  # the bootloader's first record takes two
    lines = await chip.until()
    assert lines == ["00 00 00", left, "END"]
    assert chip.boots == [("ota_0", "power on"), ("ota_0", "power on")]


async def test_operations_are_counted_across_resets_and_in_the_bootloader(charger: Start) -> None:
    chip = charger("if CAUSE == 1:\n    OTHER.ioctl(6, 0)\n    machine.reset()\nOTHER.ioctl(6, 0)\nprint('END')")
    await chip.until()
    assert chip.chip.operations == 4


async def test_a_power_cut_can_hit_the_bootloader(charger: Start) -> None:
    chip = charger("print('END')")
    chip.chip.cut_power(2, "middle")
    await chip.until()
    assert chip.lines.count("rst:0x1 (POWERON_RESET)") == 2
    assert chip.boots == [("ota_0", "power on")]


STORING = """
nvs = NVS("test")
def stored():
    buffer = bytearray(3000)
    try: return bytes(buffer[: nvs.get_blob("key", buffer)])
    except OSError: return b""
value = stored()
assert value == value[:1] * len(value), value
number = value[0] - 64 if value else 0
print("stored", number)
if CAUSE == 1 and number:
    print(nvs.get_i32("kept"))
    nvs.set_blob("key", b"!")
    print(stored())
    print("END")
nvs.set_i32("kept", 42)
for number in range(1, 17):
    nvs.set_blob("key", bytes((64 + number,)) * 1500)
print("END")
"""


async def test_nvs_holds_the_old_value_or_the_new_one_whatever_the_power_does(charger: Start, everything: bool) -> None:
    first = charger(STORING, record=True)
    await first.until()
    recording = Recording(first.chip.folder)
    erases = [number for number, operation in enumerate(recording.operations, 1) if not operation.data]
    assert len(erases) > 3  # the bootloader's, and pages that were used again
    near_an_erase = {number + i for number in erases for i in (-1, 0, 1)}
    chip = charger(STORING)
    stored = 0
    for cut in recording.power_cuts(None if everything else near_an_erase):
        chip.lines.clear()
        chip.chip.insert(cut.flash)
        lines = await chip.until()
        previous, stored = stored, int(lines[0].removeprefix("stored "))
        if stored:
            assert lines[1:] == ["42", "b'!'", "END"], (cut.operation, cut.how)
        assert stored >= previous
        assert stored - previous <= 1 or not everything
    assert stored > 10


async def test_a_recording_gives_the_flash_back(charger: Start) -> None:
    chip = charger("copy()\nos.mkdir('new')\nprint('END')", record=True)
    await chip.until()
    recording = Recording(chip.chip.folder)
    last = chip.chip.operations
    before, _ = recording.power_cuts([last])
    flash = io.BytesIO(before.flash)
    recording.operations[-1].apply(Cells(flash))
    assert flash.getvalue() == (chip.chip.folder / "flash.bin").read_bytes()


async def test_a_recorded_power_cut_leaves_what_a_real_one_leaves(
    charger: Start, tmp_path: Path, interpreter: Interpreter
) -> None:
    recorded = charger("copy()\nprint('END')", record=True)
    await recorded.until()
    cuts = list(Recording(recorded.chip.folder).power_cuts())
    assert len(cuts) == 2 * (2 + 2)  # of the bootloader and of copy()
    for cut in cuts:
        flashes: list[bytes] = []

        def serial(line: str, flashes: list[bytes] = flashes) -> None:
            if line == "rst:0x1 (POWERON_RESET)":
                flashes.append((tmp_path / "flash.bin").read_bytes())

        chip = Chip(tmp_path, interpreter, serial=serial)
        chip.manufacture(IMAGE, recorded.files)
        chip.cut_power(cut.operation, cut.how)
        task = asyncio.create_task(chip.run())
        async with asyncio.timeout(20):
            while len(flashes) < 2:
                await asyncio.sleep(0.002)
        await chip.power_off()
        await task
        assert flashes[1] == cut.flash, (cut.operation, cut.how)
