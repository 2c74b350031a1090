"""What people do at a simulated charger, by commands: one a line, from a terminal or a script."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from central_system import CallFailed
from desk import FILE, Desk

if TYPE_CHECKING:
    from show import Screen

NOISE = ("MeterValues", "Heartbeat")  # what comes all the time
QUIET = 4  # s of the chip's time without anything new: what was begun has come to its end
LONGEST = 30  # s of it that the end of the commands is waited for
PAUSE = 1  # s of it after a command, as people are no faster; a card reader takes longer to see that a card has gone
CARD_PAUSE = 3


class CommandError(Exception):
    """A command that makes no sense; the text says what would."""


class ConfigError(Exception):
    """A file of OCPP keys that is none."""


class Lines:
    """The lines of standard input, as they come. A thread reads them, as files and terminals can't be waited for."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdin is not None and sys.stdin.isatty()
        self.any = asyncio.Event()  # there was a line
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, daemon=True).start()

    async def next(self) -> str | None:
        """The next line, None at the end."""
        line = await self._lines.get()
        if line is None:
            self._lines.put_nowait(None)
        return line

    def _read(self) -> None:
        rest = b""
        try:
            while received := os.read(0, 4096):
                *lines, rest = (rest + received).split(b"\n")
                for line in lines:
                    self._tell(line)
            if rest:
                self._tell(rest)
        except OSError:
            pass  # it is closed
        self._tell(None)

    def _tell(self, line: bytes | None) -> None:
        def take() -> None:
            text = None if line is None else line.decode(errors="replace").partition("#")[0].strip()
            if text is None or text:
                self._lines.put_nowait(text)
            if text:
                self.any.set()

        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(take)


class Driver:
    """Does what the commands say. The first words of their docstrings are what `help` tells."""

    def __init__(self, desk: Desk, screen: Screen, *, is_own: bool = True, echo: bool = True) -> None:
        """is_own: the central system is the desk's own. echo: show what was read."""
        self.desk = desk
        self.screen = screen
        self.is_own = is_own
        self.echo = echo
        self.commands: dict[str, Callable[..., Awaitable[None] | None]] = {
            "plug": self.plug,
            "unplug": self.unplug,
            "card": self.card,
            "fault": self.fault,
            "clear": self.clear,
            "link": self.link,
            "power": self.power,
            "update": self.update,
            "call": self.call,
            "wait": self.wait,
            "status": self.status,
            "help": self.help,
        }

    async def run(self, lines: Lines) -> None:
        """Obey until `quit`, or until the lines end; those of a script may end before the last one has its effect."""
        while (line := await lines.next()) is not None:
            if line == "quit":
                return
            await self.obey(line)
        if not self.is_own and not lines.any.is_set():
            await self.desk.until_off()  # nobody is there who could say quit
        if not lines.is_terminal:
            await self.settled()

    async def obey(self, line: str) -> None:
        """Do one command; what is wrong with it is said, and nothing else happens."""
        name, *words = line.split(None, 2) if line.startswith("call ") else line.split()
        if self.echo:
            self.screen.event("you", line, "bold")
        try:
            command = self.commands.get(name)
            if not command:
                raise CommandError(f"there is no command {name}; help tells what there is")
            try:
                inspect.signature(command).bind(*words)
            except TypeError:
                raise CommandError(f"it is {usage(name, command)}") from None
            pending = command(*words)
            if pending is not None:
                await pending
        except (CommandError, ValueError, CallFailed, OSError) as error:
            self.screen.event("you", f"{line}: {error}", "bold red")

    async def settled(self) -> None:
        """Wait until nothing new happens any more."""

        def news() -> tuple[int, int]:
            frames = sum(frame.action not in NOISE for frame in self.desk.central.frames)
            return frames, len(self.desk.lines)

        seen, quiet, waited = news(), 0.0, 0.0
        while quiet < QUIET and waited < LONGEST:
            await self.seconds(0.5)
            quiet = quiet + 0.5 if news() == seen else 0
            waited += 0.5
            seen = news()

    async def seconds(self, count: float) -> None:
        """Let time pass, the chip's."""
        await asyncio.sleep(count / self.desk.speed)

    # ----------------------------------------------------------------------------------------------------- the commands

    async def plug(self, connector: str = "1", wants: str = "") -> None:
        """[connector] [Wh]: plug in a car, which wants so many Wh, or more than you have time for"""
        self.desk.chip.plug(number(connector), wants=number(wants) if wants else None)
        await self.seconds(PAUSE)

    async def unplug(self, connector: str = "1") -> None:
        """[connector]: pull the plug out"""
        self.desk.chip.unplug(number(connector))
        await self.seconds(PAUSE)

    async def card(self, tag: str, connector: str = "") -> None:
        """TAG [connector]: hold a card at the reader, 1 to 20 printable characters; the charger has one reader"""
        if connector:
            self.desk.chip.is_plugged(number(connector))  # ValueError for a connector that there is not
        self.desk.chip.card(tag)
        await self.seconds(CARD_PAUSE)

    async def fault(self, code: str, connector: str = "1") -> None:
        """CODE [connector]: let something break: GroundFailure, OverCurrentFailure, PowerSwitchFailure (a welded
        contactor), EVCommunicationError (a pilot without voltage), or press the EmergencyStop
        """
        self.desk.chip.fault(code, number(connector))
        await self.seconds(PAUSE)

    async def clear(self, connector: str = "1") -> None:
        """[connector]: repair everything there, and release the emergency stop"""
        self.desk.chip.clear(number(connector))
        await self.seconds(PAUSE)

    def link(self, state: str) -> None:
        """down|up: take the Wi-Fi away, or bring it back"""
        if state not in ("down", "up"):
            raise CommandError("it is link down, or link up")
        self.desk.chip.set_link(up=state == "up", ends=True)
        if state == "down" and self.is_own:
            with contextlib.suppress(KeyError):  # it is not connected
                self.desk.central.drop(self.desk.identity)

    async def power(self, cut: str) -> None:
        """cut: cut the power; it comes back at once"""
        if cut != "cut":
            raise CommandError("it is power cut")
        boots = len(self.desk.chip.boots)
        self.desk.chip.cut_power()
        await self.desk.until(lambda: len(self.desk.chip.boots) > boots, "the charger starts again", 20)
        await self.seconds(CARD_PAUSE)

    async def update(self) -> None:
        """: have the central system send UpdateFirmware"""
        url = self.desk.web.url(FILE)
        if not self.is_own:
            raise CommandError(f"your central system sends it: UpdateFirmware with the location {url}")
        await self.desk.update()
        await self.seconds(PAUSE)

    async def call(self, action: str, payload: str = "{}") -> None:
        """ACTION [JSON]: have the central system send any other call, such as RemoteStopTransaction"""
        if not self.is_own:
            raise CommandError("your central system is who can")
        try:
            content = json.loads(payload)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise CommandError(f"{payload} is no JSON object")
        answer = await self.desk.central.call(self.desk.identity, action, content)
        self.screen.event("charger", f"answers {action}: {json.dumps(answer)}")

    async def wait(self, seconds: str) -> None:
        """SECONDS: let time pass"""
        await self.seconds(number(seconds))

    def status(self) -> None:
        """: what the cars do"""
        for connector in range(1, self.desk.connectors + 1):
            self.screen.event(f"connector {connector}", look(self.desk, connector))

    def help(self) -> None:
        """: this"""
        for name, command in self.commands.items():
            _, _, text = " ".join((inspect.getdoc(command) or "").split()).partition(": ")
            self.screen.say(f"  {usage(name, command):<28} {text}")
        self.screen.say(f"  {'quit':<28} switch the charger off")


def usage(name: str, command: Callable[..., Any]) -> str:
    """How a command is written."""
    return f"{name} {(inspect.getdoc(command) or '').partition(':')[0]}".strip()


def number(word: str) -> int:
    """A number that was typed."""
    if not word.isdecimal():
        raise CommandError(f"{word} is no number")
    return int(word)


def look(desk: Desk, connector: int) -> str:
    """What is to be seen at a connector."""
    chip = desk.chip
    if not chip.is_plugged(connector):
        return "no car"
    watts, amps = chip.power(connector), chip.offered(connector)
    offer = f"offered {amps:.0f} A" if amps else "nothing offered"
    return f"{offer}, the car draws {watts / 1000:.2f} kW, has taken {chip.taken(connector):.1f} Wh"


def read_config(path: Path) -> dict[str, int | str]:
    """OCPP keys from a JSON file."""
    try:
        keys = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from None
    if not isinstance(keys, dict) or any(isinstance(value, dict | list | None) for value in keys.values()):
        raise ConfigError(f'{path} is no JSON object of OCPP keys, such as {{"HeartbeatInterval": 60}}')
    return {key: json.dumps(value) if isinstance(value, bool) else value for key, value in keys.items()}
