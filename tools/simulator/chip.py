"""A simulated ESP32: its flash in a folder, its power switch, its serial console.

chip = Chip(folder, interpreter, serial=print)
chip.manufacture(image_and_bundle, {"boot.py": ..., "config.json": ...})
await chip.run()
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import functools
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import environment
from simulator import bootloader, manufacture, otadata, partitions, state, uart, wiring
from simulator.flash import BEFORE, ENTRY, MIDDLE, Cells, Flash
from simulator.interpreter import Interpreter
from simulator.surroundings import Surroundings

HERE = Path(__file__).parent
SHARED_MODULES = ("flash", "image", "otadata", "partitions", "state", "wiring")
CACHE = environment.CACHE / "simulator"
EPOCHS = {1970: 0, 2000: 946684800}
UNLIMITED_HEAP = 32 * 1024 * 1024

# Why a chip starts -> what machine.reset_cause() says.
CAUSES = {"power on": 1, "reset": 2, "panic": 2, "watchdog": 3, "soft reset": 5}

# How the interpreter ended -> why the chip starts again.
ENDS = {
    state.RESET: "reset",
    state.SOFT_RESET: "soft reset",
    state.PANIC: "panic",
    state.POWER_CUT: "power on",
    -signal.SIGALRM: "watchdog",
    -signal.SIGKILL: "power on",
}


class SimulatorError(Exception):
    """The simulator itself failed."""


class PowerCut(BaseException):
    """The power fails during a flash operation of the bootloader."""


@dataclass(frozen=True)
class Timing:
    """How long flash operations take, in ms of the chip's time."""

    erase_ms: float = 0  # a sector
    erase_64k_ms: float = 0  # a block
    write_ms_per_4k: float = 0


@dataclass
class Boot:
    """One start of the chip."""

    slot: str  # label
    cause: str  # one of CAUSES
    end: str = ""  # why it started again, "power off", or "" while it runs


@dataclass(frozen=True)
class OtaRecord:
    """One record of otadata."""

    sequence: int | None  # None: blank
    state: str
    sound: bool  # its checksum is right


class Chip(Surroundings):
    """A charger's ESP32. Everything it remembers is in `folder`; so is what is around it."""

    def __init__(
        self,
        folder: Path,
        interpreter: Interpreter,
        *,
        heap: int | None = 80 * 1024,
        speed: float = 1.0,
        timing: Timing = Timing(),
        serial: Callable[[str], None] = lambda line: None,
        record: bool = False,
        air: tuple[str, str] = ("Arus", "charging"),
        epoch: Literal[1970, 2000] = 2000,
        unique_id: bytes = b"\x24\x0a\xc4\x00\x00\x01",
        cache: Path = CACHE,
    ) -> None:
        """heap: bytes for the firmware, None = plenty. speed: of the chip's time. air: the Wi-Fi network and its key.

        epoch: where the chip's clock counts from; an ESP32's from 2000.
        record: keep what recording.py needs. cache: a folder for the compiled modules.
        """
        if speed != 1 and not interpreter.faketime:
            raise ValueError("another speed than 1 needs libfaketime")
        self.folder = folder
        self.boots: list[Boot] = []
        self._interpreter = interpreter
        self._heap = heap
        self._speed = speed
        self._timing = timing
        self._serial = serial
        self._record = record
        self._air = air
        self._epoch = EPOCHS[epoch]
        self._unique_id = unique_id
        self._cache = cache
        self._process: asyncio.subprocess.Process | None = None
        self._is_doomed = False
        self._started = 0.0  # real time of the last start
        self._is_on = False
        self._stopped = asyncio.Event()
        self._uart = uart.Uart(self._state)

    # ---------------------------------------------------------------------------------------------------------- factory

    def manufacture(self, slot0: bytes, files: dict[str, bytes], slot1: bytes = b"") -> None:
        """Make a new flash: `slot0` (image and bundle) in the first OTA slot, `files` (path -> content) on the VFS.

        slot1: what an earlier update left in the other slot.
        """
        self.insert(manufacture.flash(slot0, files, slot1=slot1))

    def insert(self, flash: bytes) -> None:
        """Give the chip a flash with this content; its operations count from 0, and no car is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "flash.bin").write_bytes(flash)
        (self.folder / "operations").write_bytes(bytes(ENTRY))
        (self.folder / "state").write_bytes(bytes(state.SIZE))
        self._connect_wires()
        self.set_link(up=True)
        for name, content in (("flash.base", flash), ("data", b"")):
            (self.folder / name).unlink(missing_ok=True)
            if self._record:
                (self.folder / name).write_bytes(content)

    # ------------------------------------------------------------------------------------------------------------ power

    async def run(self) -> None:
        """Switch on; start again after every reset and power cut. Returns after power_off().

        bootloader.NotBootableError when no slot boots any more.
        """
        environment.compile_mpy(_modules(), self._cache, optimisation=3)
        self._is_on = True
        self._stopped.clear()
        self._uart.open()
        cause = "power on"
        try:
            while self._is_on:
                cause = await self._run_until_reset(cause)
        finally:
            self._is_on = False
            self._uart.close()
            self._stopped.set()

    async def power_off(self) -> None:
        """Switch off for good."""
        if self._is_on:
            self._is_on = False
            self._kill()
            await self._stopped.wait()

    def cut_power(self, at: int = 0, how: Literal["before", "middle"] = "before") -> None:
        """Cut the power at the at-th flash operation from now, or at once (0). It comes back by itself."""
        if at:
            self._arm_power_cut(self.operations + at, BEFORE if how == "before" else MIDDLE)
        else:
            self._kill()

    def set_link(self, *, up: bool, ends: bool = False, refusal: int = 0) -> None:
        """Put the access point into the air or take it away.

        ends: its TCP connections end when the chip notices, as they do when the chip has lost its address.
        refusal: why it refuses this chip, a reason of ESP-IDF's wifi_err_reason_t (203: it is full …).
        """
        with self._state() as page:
            page.set(state.REFUSAL, refusal)
            page.set(state.LINK, 1 if up else 2 if ends else 0)

    # --------------------------------------------------------------------------------------------------- serial console

    def serial_port(self, port: int = 0) -> contextlib.AbstractAsyncContextManager[str]:
        """Connect a cable to the console that ends at a TCP port; gives its URL ("socket://…").

        Only one cable of either kind at a time. It stays in place across resets.
        """
        return uart.serial_port(self._uart, port)

    def serial_pty(self) -> contextlib.AbstractAsyncContextManager[str]:
        """Connect a cable that ends at a pseudo-terminal; gives its path."""
        return uart.serial_pty(self._uart)

    def _print(self, line: str) -> None:
        """Print what the interpreter does not print itself."""
        self._uart.print(f"{line}\n".encode())
        self._serial(line)

    # ------------------------------------------------------------------------------------------------------- inspection

    @property
    def operations(self) -> int:
        """How many flash operations there were since the flash was made."""
        return (self.folder / "operations").stat().st_size // ENTRY - 1

    def otadata(self) -> list[OtaRecord]:
        """Return both records of otadata."""
        names = {otadata.BLANK: "UNDEFINED"} | dict(enumerate(("NEW", "PENDING", "VALID", "INVALID", "ABORTED")))
        with (self.folder / "flash.bin").open("rb", buffering=0) as file:
            flash = Cells(file)
            records = otadata.read(flash, partitions.find(flash, partitions.DATA, partitions.OTADATA)[0][2])
        return [
            OtaRecord(
                None if record.sequence == otadata.BLANK else record.sequence,
                names.get(record.state, str(record.state)),
                record.checks(),
            )
            for record in records
        ]

    @property
    def hostname(self) -> str:
        """The name that the DHCP server was told when the chip connected last."""
        with self._state() as page:
            return str(page.get(state.DHCP_NAME).rstrip(b"\0").decode())

    @property
    def wifi_settings(self) -> dict[str, object]:
        """What the firmware has set by WLAN.config(), and what it has not set of the usual ones."""
        with self._state() as page:
            settings = ast.literal_eval(page.get(state.SETTINGS).rstrip(b"\0").decode() or "{}")
        return dict(settings)

    def simulator_heap(self) -> int:
        """Return how many bytes of the heap the simulator takes before boot.py; they are added to `heap`."""
        return _simulator_heap(self._interpreter, self._cache, tuple(self._wires.items()), self._used_pins)

    # -------------------------------------------------------------------------------------------------------- internals

    async def _run_until_reset(self, cause: str) -> str:
        """Start once; return why the chip starts again."""
        self._set_scene(cause)
        if cause == "soft reset":
            slot = self.boots[-1].slot
        else:
            self._uart.forget()
            self._print(f"rst:{'0x1 (POWERON_RESET)' if cause == 'power on' else '0xc (SW_CPU_RESET)'}")
            try:
                slot = self._boot()
            except PowerCut:
                return "power on"
        boot = Boot(slot, cause)
        self.boots.append(boot)
        try:
            status = await self._execute()
        finally:
            self._drop_outputs()
        if not self._is_on:
            boot.end = "power off"
        elif status in ENDS:
            boot.end = ENDS[status]
        else:
            raise SimulatorError(f"the interpreter ended with status {status}; the serial console may tell why")
        if status == state.POWER_CUT:
            self._arm_power_cut(0, 0)
        if boot.end == "watchdog":
            self._print("E task_wdt: Task watchdog got triggered")
        return boot.end

    def _set_scene(self, cause: str) -> None:
        """Write what the chip finds when it starts. Its wall clock goes on, except without power."""
        now = time.time()
        with self._state() as page:
            clock = 0.0
            if cause != "power on":
                clock = self._started + (now - self._started) * self._speed - page.get(state.CLOCK)
            self._started = now
            page.set(state.CLOCK, now - clock)
            page.set(state.CAUSE, CAUSES[cause])
            if cause != "soft reset":
                page.set(state.WATCHDOG, 0)
                page.set(state.RAW, 0)
                page.set(state.ASSOCIATED, 0)
                page.set(state.HOSTNAME, b"mpy-esp32")
                page.set(state.DHCP_NAME, b"")
                page.set(state.SETTINGS, b"")
            if cause == "power on":
                page.set(state.MEMORY_LENGTH, 0)
            page.set(state.INTERRUPTS, 0)
            page.set(state.BUSY, 0)
            page.set(state.NOTED, 0)
            page.set(state.EPOCH, self._epoch)
            page.set(state.SPEED, round(self._speed * 1000))
            page.set(state.ERASE_US, round(self._timing.erase_ms * 1000))
            page.set(state.ERASE_BLOCK_US, round(self._timing.erase_64k_ms * 1000))
            page.set(state.WRITE_US, round(self._timing.write_ms_per_4k * 1000))
            page.set(state.UNIQUE_ID, self._unique_id)
            page.set(state.SSID, self._air[0].encode())
            page.set(state.KEY, self._air[1].encode())

    def _boot(self) -> str:
        """Run the bootloader; return the label of the slot to start."""
        with contextlib.ExitStack() as stack:
            names = ("flash.bin", "operations", *(("data",) if self._record else ()))
            files = [stack.enter_context((self.folder / name).open("r+b", buffering=0)) for name in names]
            if self._record:
                files[2].seek(0, 2)
            flash = Flash(files[0], files[1], files[2] if self._record else None, self._power_fails)
            _, _, address, _, label, _ = bootloader.boot(flash, self._print)
        with self._state() as page:
            page.set(state.RUNNING, address)
        return label

    def _power_fails(self) -> None:
        self._arm_power_cut(0, 0)
        raise PowerCut

    def _arm_power_cut(self, operation: int, how: int) -> None:
        with (self.folder / "operations").open("r+b", buffering=0) as log:
            log.write(struct.pack("<II", operation, how))

    async def _execute(self) -> int:
        """Run the interpreter until it ends; return its exit status."""
        heap = UNLIMITED_HEAP if self._heap is None else self._heap + self.simulator_heap()
        environ = {"MICROPYPATH": f"{self._cache}:.frozen", "TZ": "UTC"}
        if self._speed != 1:
            environ |= {"LD_PRELOAD": str(self._interpreter.faketime), "FAKETIME": f"+0 x{self._speed}"}
            environ["FAKETIME_DISABLE_SHM"] = "1"  # a process that is killed would leave it behind
        self._is_doomed = False
        process = await asyncio.create_subprocess_exec(
            *_command(self._interpreter, heap),
            cwd=self.folder,
            env=environ,
            stdin=self._uart.stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._process = self._uart.process = process
        try:
            if self._is_doomed:
                self._kill()
            await self._relay(process)
            return await process.wait()
        finally:
            self._kill()
            self._process = self._uart.process = None
            await process.communicate()  # wait() alone would not return while output waits to be read

    async def _relay(self, process: asyncio.subprocess.Process) -> None:
        """Hand the serial console on, line by line."""
        assert process.stdout
        rest = b""
        while received := await process.stdout.read(4096):
            self._uart.print(received)
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                self._serial(line.decode(errors="replace").rstrip("\r"))
        if rest:
            self._serial(rest.decode(errors="replace"))

    def _kill(self) -> None:
        """End the interpreter, also the one that is just being started."""
        self._is_doomed = True
        if self._process and self._process.returncode is None:
            self._process.kill()


def _modules() -> dict[str, Path]:
    """Return the sources of what runs on the chip's side."""
    files = [*(HERE / f"{name}.py" for name in SHARED_MODULES), *(HERE / "modules").glob("*.py")]
    return {file.stem: file for file in files}


def _command(interpreter: Interpreter, heap: int) -> list[str]:
    return [*interpreter.command, "-X", f"heapsize={heap}", "-m", "launcher"]


# MicroPython keeps names in tables, each twice as large as the one before. A firmware brings about 600 names; those of
# the simulator may be what makes it open the next table. So both sides are measured with as many.
# The pins are objects on this heap; on an ESP32 they are in ROM.
HEAP_IN_USE = """
import gc
{pins}
for number in range(600):
    getattr(gc, "name%d" % number, None)
gc.collect()
print(gc.mem_alloc())
"""
PINS = """
from machine import Pin
pins = []
for id in {}:
    pins.append(Pin(id, Pin.IN))
    pins[-1].irq()
"""


@functools.cache
def _simulator_heap(
    interpreter: Interpreter, cache: Path, wires: tuple[tuple[int, int], ...], pins: tuple[int, ...]
) -> int:
    environment.compile_mpy(_modules(), cache, optimisation=3)

    def heap_in_use(*arguments: str) -> int:
        command = [*interpreter.command, "-X", f"heapsize={UNLIMITED_HEAP}", *arguments]
        environ = {"MICROPYPATH": f"{cache}:.frozen"}
        answer = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise SimulatorError(f"the launcher failed: {answer.stdout}{answer.stderr}")
        return int(answer.stdout)

    with tempfile.TemporaryDirectory() as folder:
        chip = Chip(Path(folder), interpreter, cache=cache)
        chip._wires = dict(wires)
        program = PINS.format(pins) if chip._wires.get(wiring.USES_PINS) else ""
        chip.manufacture(b"", {"heap.py": HEAP_IN_USE.replace("{pins}", program).encode()})
        chip._set_scene("power on")
        taken = heap_in_use("-m", "launcher", "heap.py") - heap_in_use("-c", HEAP_IN_USE.replace("{pins}", ""))
    return taken + taken // 32  # and its part of the garbage collector's tables
