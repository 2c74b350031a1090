"""simulate.py --board: an empty simulated board, for whoever wants to try tools/flash.py without one on the desk."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import build
import environment
import story
from desk import CERTIFICATES, CHARGING_HEAP, CONNECTORS, FILE, HEAP, NEW, SHARED, WIFI, Desk
from drive import Driver, Lines
from simulator.chip import Timing

if TYPE_CHECKING:
    from show import Screen
    from simulator.interpreter import Interpreter

PROMPT = ">>> "
RAW = "raw REPL; CTRL-B to exit"


class Console:
    """The serial console on the screen, without what a tool and the board say to each other at the raw prompt."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._is_raw = False

    def serial(self, line: str) -> None:
        """Show a line, if it is for people."""
        if RAW in line:
            if not self._is_raw:
                self._screen.event("board", "a tool has taken over")
            self._is_raw = True
        elif line.startswith(("rst:", "MicroPython v")):
            self._is_raw = False
        if not self._is_raw and line.isprintable() and line != PROMPT:
            self._screen.serial(line)


def flash_command(arguments: argparse.Namespace, desk: Desk, port: int, folder: Path) -> str:
    """What to type next."""
    command = ["python3", "tools/flash.py", "--port", f"socket://localhost:{port}"]
    if arguments.connectors:
        fields = folder / "connectors.json"
        fields.write_text(json.dumps({"connectors": CONNECTORS[: arguments.connectors], **SHARED}, indent=2))
        command += ["--config", str(fields)]
    command += ["--csms", arguments.csms or desk.central.url, "--id", arguments.id]
    if arguments.password:
        command += ["--password", arguments.password]
    if ca := CERTIFICATES / "ca.pem" if arguments.tls else arguments.ca:
        command += ["--ca", str(ca)]
    command += ["--ssid", WIFI[0], "--wifi-key", WIFI[1], "--ntp", "", "--vendor", "Arus", "--model", "Board"]
    return shlex.join(command)


async def run(arguments: argparse.Namespace, interpreter: Interpreter, timing: Timing, screen: Screen) -> bool:
    """Keep the board until Ctrl-C or `quit`."""
    runs = environment.CACHE / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    heap = CHARGING_HEAP if arguments.connectors else HEAP
    with tempfile.TemporaryDirectory(dir=runs) as name:
        folder = Path(name)
        desk = Desk(
            folder / "chip",
            interpreter,
            image=build.app_image(arguments.micropython.read_bytes()) if arguments.micropython else None,
            heap=round(arguments.heap * 1024) if arguments.heap else heap,
            speed=arguments.speed or 1,
            timing=timing,
            tls=arguments.tls,
            ca=arguments.ca.read_bytes() if arguments.ca else None,
            csms=arguments.csms,
            identity=arguments.id,
            password=arguments.password,
            connectors=arguments.connectors or 0,
            is_blank=True,
            serial=Console(screen).serial,
            request=screen.request,
        )
        desk.central.observers.append(screen.frame)
        async with desk.chip.serial_port(arguments.port) as url, desk:
            desk.web.files = {FILE: desk.update_file()}
            port = int(url.rpartition(":")[2])
            screen.say(
                "An empty board: MicroPython and nothing else. Make a charger of it, in another terminal:", "bold"
            )
            screen.say("\n    " + flash_command(arguments, desk, port, folder) + "\n")
            screen.say(f"Its prompt: mpremote connect socket://localhost:{port}")
            screen.say(f"Version {NEW} for an UpdateFirmware: {desk.web.url(FILE)}")
            screen.say("Ctrl-C switches it off; help tells what can be typed here, update for one.\n")
            await _attend(desk, screen, not arguments.csms)
    return True


async def _attend(desk: Desk, screen: Screen, is_own: bool) -> None:
    """Obey commands; without any more of them stay."""
    screen.be_still()
    lines = Lines()
    driver = Driver(desk, screen, is_own=is_own, echo=not lines.is_terminal)
    watching = asyncio.create_task(story.watch(desk, screen))
    try:
        while (line := await lines.next()) is not None:
            if line == "quit":
                return
            await driver.obey(line)
        await desk.until_off()
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
