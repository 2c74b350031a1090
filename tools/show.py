"""What tools/simulate.py shows: the events on a desk as they happen, and what came of them."""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from datetime import datetime
from pathlib import Path

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

import board_command
import build
import environment
import packages
import packages_inspect
import story
from central_system import CallFailed, Frame, Payload
from desk import CHARGING_HEAP, FILE, HEAP, KEY_FILE, NEW, OLD, TRIAL_DEADLINE, Desk
from drive import ConfigError, Lines, read_config
from packages_frames import PackageError
from packages_keys import PrivateKey
from scenarios import KINDS, SCENARIOS, UPDATE, Scenario
from simulator.chip import SimulatorError, Timing
from simulator.manufacture import OTA_4MIB
from webserver import Request

# What sectors of 4 KiB take on the flash of an ESP32 module.
ERASE_MS = 60
ERASE_64K_MS = 200
WRITE_MS = 6


class Screen:
    """A line for each event, and below them on a terminal a bar while a download runs."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        columns = (TextColumn("  {task.description}"), BarColumn(bar_width=None), TaskProgressColumn())
        self._bar = Progress(*columns, console=self.console)
        self._task = self._bar.add_task("Download", total=100, visible=False)
        self._charging = Progress(SpinnerColumn(), TextColumn("{task.description}"), console=self.console)
        self._says = ""
        self._car = self._charging.add_task("", total=None)
        self._live = Live(console=self.console, transient=True, get_renderable=self._shown)

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.be_still()

    def be_still(self) -> None:
        """No more lines that move: they and what somebody types would be in each other's way."""
        self._live.stop()

    def live(self, text: str) -> None:
        """A line that stays at the bottom of a terminal, until there is another one."""
        self._says = text

    def _shown(self) -> Group:
        shown: list[Progress] = []
        if self._says:
            self._charging.update(self._car, description=self._says)
            shown.append(self._charging)
        if self._bar.tasks[0].visible:
            shown.append(self._bar)
        return Group(*shown)

    def event(self, who: str, text: str, style: str = "", at: datetime | None = None) -> None:
        """One line; on a terminal long ones are wrapped, in a file they stay whole."""
        moment = clock(at or datetime.now())
        if not self.console.is_terminal:
            print(f"{moment}  {who:<14}  {text}", flush=True)
            return
        row = Table.grid(padding=(0, 2))
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True, width=14)
        row.add_column(overflow="fold")
        row.add_row(Text(moment, "dim"), Text(who, style or "dim"), Text(text, style))
        self.console.print(row)

    def say(self, text: str, style: str = "") -> None:
        """A sentence or two."""
        self.console.print(Text(text, style), soft_wrap=not self.console.is_terminal)

    def serial(self, line: str) -> None:
        """A line of the charger's serial console."""
        self.event("charger", line)
        if found := re.search(r"\[FW-OCPP\] Progress: (\d+)%", line):
            self._bar.update(self._task, completed=int(found[1]), visible=True)
        elif "[FW-OCPP] Firmware download completed" in line or "Failed: " in line:
            self._bar.update(self._task, visible=False)

    def frame(self, frame: Frame) -> None:
        """A message at the central system, if it tells something of a transaction or an update."""
        payload, text, style = frame.payload, "", "cyan"
        if frame.action == "UpdateFirmware" and not frame.incoming:
            text = f"UpdateFirmware {payload['location']}"
        elif frame.asks("BootNotification"):
            text = f"BootNotification, version {payload['firmwareVersion']}"
        elif frame.asks("StatusNotification"):
            wrong = [payload[key] for key in ("errorCode", "info") if payload.get(key, "NoError") != "NoError"]
            text = ", ".join((f"StatusNotification, connector {payload['connectorId']}: {payload['status']}", *wrong))
            style = "bold red" if wrong else style
        elif frame.asks("Authorize"):
            text = f"Authorize {payload['idTag']}"
        elif frame.asks("StartTransaction"):
            text = (
                f"StartTransaction, connector {payload['connectorId']}: {payload['idTag']}, {payload['meterStart']} Wh"
            )
            style = "bold green"
        elif frame.asks("StopTransaction"):
            reason = payload.get("reason", "Local")
            text = f"StopTransaction {payload['transactionId']}: {reason}, {payload['meterStop']} Wh"
            style = "bold green"
        elif frame.asks("MeterValues"):
            text = f"MeterValues, connector {payload['connectorId']}: {measured(payload)}"
        elif frame.asks("FirmwareStatusNotification"):
            text = f"FirmwareStatusNotification: {payload['status']}"
            style = "bold red" if payload["status"].endswith("Failed") else "bold green"
        if text:
            self.event("central system", text, style, frame.time.astimezone())

    def request(self, request: Request) -> None:
        """A request at the web server."""
        wanted = f" from {request.headers['range']}" if "range" in request.headers else ""
        self.event("web server", f"{request.method} {request.path}{wanted}: {request.status}, {request.sent:,} bytes")

    def package(self, file: bytes, packed: bytes, key: PrivateKey | None, base: bytes) -> None:
        """What the update file is packed in, if it is."""
        if key:
            self.event("desk", f"A signing key was made. The charger has its public half, {KEY_FILE} on its VFS.")
        if not packages.is_package(packed):
            return
        share = f"{len(packed):,} bytes, {100 * len(packed) / len(file):.1f} % of that"
        self.event("desk", f"The plain update file would be {len(file):,} bytes. The package: {share}.", "bold green")
        self.event("desk", "tools/build.py inspect says of it:")
        public_key = key.public_key() if key else None
        for line in str(packages_inspect.inspect(packed, public_key, base)).splitlines():
            self.event("desk", f"  {line}", "bold red" if "WRONG" in line else "")

    def table(self, frames: list[Frame], began: datetime) -> None:
        """What the central system received, and when."""
        table = Table(box=box.SIMPLE_HEAD, title="What the central system received", title_justify="left")
        table.add_column("At")
        table.add_column("After", justify="right")
        table.add_column("Message")
        for frame in frames:
            seconds = (frame.time - began).total_seconds()
            table.add_row(clock(frame.time.astimezone()), f"{seconds:.1f} s" if seconds > 0 else "", message(frame))
        self.console.print(table)


def measured(payload: Payload) -> str:
    """The last values of a MeterValues in a few words."""
    samples = payload["meterValue"][-1]["sampledValue"]
    return ", ".join(f"{sample['value']} {sample.get('unit', 'Wh')}" for sample in samples)


def clock(moment: datetime) -> str:
    """The time of day to a hundredth of a second."""
    return f"{moment:%H:%M:%S.%f}"[:11]


def message(frame: Frame) -> str:
    """A frame of the story as a line of the table."""
    if frame.action == "BootNotification":
        return f"BootNotification, version {frame.payload['firmwareVersion']}"
    return str(frame.payload["status"])


def running_slot(desk: Desk) -> bytes:
    """What is in the OTA slot that runs."""
    label = desk.chip.boots[-1].slot
    address, size = next((address, size) for name, _, _, address, size in OTA_4MIB if name == label)
    return (desk.chip.folder / "flash.bin").read_bytes()[address:][:size]


def checks(desk: Desk, file: bytes, packed: bytes) -> Table:
    """What was checked of a package, and when."""
    header = packages.parse(packed)
    table = Table(box=box.SIMPLE_HEAD, title="What was checked", title_justify="left")
    table.add_column("When", no_wrap=True)
    table.add_column("What")
    base = f", that version {OLD} runs, to which this is the difference" if header.base_length else ""
    table.add_row("before anything was erased", f"signature, product, hardware, chip, release, size{base}")
    table.add_row("while it came", "length and CRC-32 of each frame, before any of it was written")
    table.add_row("when all was written", f"flash read back: SHA-256 {header.sha256.hex()[:16]}…, as signed")
    table.add_row(
        "here, at the desk", f"all {len(file):,} bytes of the plain file are in slot {desk.chip.boots[-1].slot}"
    )
    return table


async def play(desk: Desk, screen: Screen, scenario: Scenario, kind: str, key: PrivateKey | None) -> bool:
    """Play a scenario; return whether all was as it should be."""
    began = time.monotonic()
    desk.central.observers.append(screen.frame)
    shown: list[bytes] = []

    def show(file: bytes, packed: bytes) -> None:
        shown[:] = file, packed
        screen.package(file, packed, key, desk.update_file(OLD))

    problems = await scenario.play(desk, kind, show)
    request = next(frame for frame in desk.central.frames if frame.action == "UpdateFirmware")
    screen.table(desk.story, request.time)
    file, packed = shown
    if kind != "plain" and desk.version == NEW:
        if running_slot(desk)[: len(file)] == file:
            screen.console.print(checks(desk, file, packed))
        else:
            problems.append("What is in the slot that runs is not the plain update file")
    for problem in problems:
        screen.say(problem, "bold red")
    if problems:
        return False
    screen.say(f"As it should be: {scenario.proves}", "bold green")
    screen.say(
        f"Version {desk.version} is running. {len(desk.central.frames)} OCPP messages, all valid by the official "
        f"schemas. {time.monotonic() - began:.1f} s."
    )
    return True


async def attend(desk: Desk, screen: Screen, kind: str, key: PrivateKey | None) -> bool:
    """Keep the charger at another central system until Ctrl-C, `quit`, or the end of a script's commands."""
    file = desk.update_file()
    packed = KINDS[kind](desk, file)
    desk.web.files = {FILE: packed}
    screen.package(file, packed, key, desk.update_file(OLD))
    screen.event("web server", f"version {NEW} for an UpdateFirmware: {desk.web.url(FILE)}", "bold green")
    screen.event("", "Ctrl-C switches the charger off; help tells what else can be typed.")
    await story.drive(desk, screen, Lines(), is_own=False)
    return True


async def run(arguments: argparse.Namespace) -> bool:
    """Set up a desk and shows what was asked for."""
    is_update = arguments.scenario or arguments.kind or arguments.tls
    kind = arguments.kind or "plain"
    connectors = arguments.connectors or (0 if is_update and not arguments.csms else 1)
    scenario = SCENARIOS[arguments.scenario] if arguments.scenario else UPDATE
    interpreter = environment.interpreters()[0]
    if arguments.speed and not interpreter.faketime:
        raise environment.SetupError("--speed needs libfaketime: apt install libfaketime")
    # A watchdog takes a minute.
    speed = arguments.speed or (10 if arguments.scenario and interpreter.faketime else 1)
    timing = Timing(erase_ms=ERASE_MS, erase_64k_ms=ERASE_64K_MS, write_ms_per_4k=WRITE_MS)
    if arguments.board:
        with Screen() as screen:
            return await board_command.run(arguments, interpreter, timing, screen)
    try:
        image = build.app_image(arguments.micropython.read_bytes()) if arguments.micropython else None
    except build.BuildError as error:
        raise build.BuildError(f"{arguments.micropython}: {error}") from None
    runs = environment.CACHE / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    with Screen() as screen, tempfile.TemporaryDirectory(dir=runs) as folder:
        if is_update and not arguments.csms:
            screen.say(f"{arguments.scenario or 'update'}: {scenario.proves}", "bold")
        elif not arguments.csms and arguments.plays:
            screen.say(story.PROVES, "bold")
        heap = round(arguments.heap * 1024) if arguments.heap else CHARGING_HEAP if connectors else HEAP
        version = ".".join(map(str, interpreter.version))
        faster = f", time {speed:g} times as fast" if speed != 1 else ""
        screen.event(
            "charger",
            f"a simulated ESP32: MicroPython {version} with {interpreter.word_bits}-bit words, "
            f"{heap // 1024} KiB of heap{faster}",
        )
        keys: dict[str, int | str] = {"TrialDeadline": 600 if arguments.csms else TRIAL_DEADLINE}
        if connectors:
            keys |= story.KEYS
        if arguments.config:
            keys |= read_config(arguments.config)
        options = scenario.options(kind, **keys)
        desk = Desk(
            Path(folder),
            interpreter,
            image=image,
            heap=heap,
            speed=speed,
            timing=timing,
            tls=arguments.tls,
            ca=arguments.ca.read_bytes() if arguments.ca else None,
            csms=arguments.csms,
            identity=arguments.id,
            password=arguments.password,
            connectors=connectors,
            **options,
            serial=screen.serial,
            request=screen.request,
        )
        async with desk:
            if arguments.csms:
                return await attend(desk, screen, kind, options["key"])
            if is_update:
                return await play(desk, screen, scenario, kind, options["key"])
            return await story.charge(desk, screen, plays=arguments.plays)


def list_scenarios() -> None:
    """Tell the names of the scenarios, and what each proves."""
    width = min(shutil.get_terminal_size().columns, 120)
    for name, scenario in SCENARIOS.items():
        print(textwrap.fill(f"{name:<23}{scenario.proves}", width, subsequent_indent=" " * 23))


def main(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit status."""
    if arguments.list:
        list_scenarios()
        return 0
    if arguments.scenario and arguments.scenario not in SCENARIOS:
        sys.exit(f"simulate.py: there is no scenario {arguments.scenario}; --list tells what there is")
    if arguments.kind not in (None, "plain") and arguments.scenario and not SCENARIOS[arguments.scenario].any_kind:
        kinds = ", ".join(name for name, scenario in SCENARIOS.items() if scenario.any_kind)
        sys.exit(f"simulate.py: {arguments.scenario} brings a file of its own; --kind goes with {kinds}")
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: the charger must not stay behind
        signal.signal(number, signal.default_int_handler)
    try:
        return 0 if asyncio.run(run(arguments)) else 1
    except KeyboardInterrupt:
        print("Switched off.")
        return 0 if arguments.csms or arguments.board else 130
    except (
        build.BuildError,
        environment.SetupError,
        PackageError,
        SimulatorError,
        CallFailed,
        ConfigError,
        OSError,
    ) as error:
        sys.exit(f"simulate.py: {error}")
