"""What tools/simulate.py plays by itself: a car charges, and in the middle of it the charger is updated."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from desk import FILE, FINAL, NEW, Desk
from drive import Driver, Lines, look

if TYPE_CHECKING:
    from show import Screen

PROVES = "A driver charges a car; an update in the middle of it ends the transaction properly; then charging goes on."
CARD = "04A2B3C4"
CHARGES = 12  # s of the chip's time
STARTS = 20  # s of the chip's time that the charger may take to be registered
KEYS: dict[str, int | str] = {"MeterValueSampleInterval": 5}


async def watch(desk: Desk, screen: Screen) -> None:
    """Show what the cars draw, for ever: a line when that changes, and a live one on a terminal."""
    numbers = range(1, desk.connectors + 1)
    drawn = dict.fromkeys(numbers, 0.0)
    while True:
        for number in numbers:
            watts = desk.chip.power(number)
            if watts != drawn[number]:
                screen.event(f"car {number}", look(desk, number), "bold yellow")
                drawn[number] = watts
        charging = [number for number in numbers if drawn[number]]
        screen.live(f"Connector {charging[0]}: {look(desk, charging[0])}" if charging else "")
        await asyncio.sleep(0.2)


class Story:
    """The course of it, on a desk with one connector."""

    def __init__(self, desk: Desk, screen: Screen, packed: bytes) -> None:
        self.desk = desk
        self.screen = screen
        self.packed = packed

    async def play(self) -> list[str]:
        """Play it; return what went wrong, in sentences."""
        desk, chip = self.desk, self.desk.chip
        await desk.registered()
        await self.charge()
        self.tell("In the middle of it the operator sends UpdateFirmware.")
        desk.web.files = {FILE: self.packed}
        await desk.update()
        await self.until(lambda: self.status_of("FirmwareStatusNotification") in FINAL, "the end of the update")
        self.tell("The driver pulls the plug out.")
        chip.unplug()
        await desk.registered()
        self.tell("The next driver comes.")
        await self.charge()
        self.tell("That's enough: the card again, and the plug out.")
        chip.card(CARD)
        await self.until(lambda: len(desk.central.calls("StopTransaction")) > 1, "StopTransaction")
        chip.unplug()
        await desk.registered()
        return self.problems()

    async def charge(self) -> None:
        """Plug in, hold the card to the reader, and charge for a while."""
        chip = self.desk.chip
        self.tell("A driver plugs in a car.")
        chip.plug()
        await self.until(lambda: self.status_of("StatusNotification") == "Preparing", "the connector is Preparing")
        self.tell(f"The driver holds card {CARD} to the reader.")
        chip.card(CARD)
        await self.until(lambda: chip.power() > 0, "the car draws energy")
        await asyncio.sleep(CHARGES / self.desk.speed)

    def problems(self) -> list[str]:
        """Compare what happened with what should have."""
        desk = self.desk
        problems = [f"The central system recorded a violation: {text}" for text in desk.central.violations]
        starts, stops = desk.central.calls("StartTransaction"), desk.central.calls("StopTransaction")
        reasons = [frame.payload.get("reason", "Local") for frame in stops]
        if len(starts) != 2 or reasons != ["Reboot", "Local"]:
            problems.append(
                f"There were {len(starts)} transactions that ended with {reasons}, not 2 with Reboot and Local"
            )
        if desk.version != NEW:
            problems.append(f"Version {desk.version} runs, not {NEW}")
        return problems

    def tell(self, text: str) -> None:
        self.screen.event("", text, "bold")

    def status_of(self, action: str) -> str:
        """The last status that was notified."""
        calls = self.desk.central.calls(action)
        return str(calls[-1].payload["status"]) if calls else ""

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await self.desk.until(condition, what)


def local(timestamp: str) -> str:
    """The time of day of a timestamp."""
    return f"{datetime.fromisoformat(timestamp).astimezone():%H:%M:%S}"


def transactions(desk: Desk) -> Table:
    """The transactions that the central system knows."""
    table = Table(box=box.SIMPLE_HEAD, title="Transactions", title_justify="left")
    for title in ("Transaction", "Connector", "Card", "Began", "Energy", "Ended"):
        table.add_column(title, justify="right" if title == "Energy" else "left")
    stops = {frame.payload["transactionId"]: frame for frame in desk.central.calls("StopTransaction")}
    for number, start in desk.central.transactions.items():
        stop = stops.get(number)
        energy = f"{stop.payload['meterStop'] - start['meterStart']} Wh" if stop else ""
        ended = f"{local(stop.payload['timestamp'])}, {stop.payload.get('reason', 'Local')}" if stop else "not yet"
        connector, began = str(start["connectorId"]), local(start["timestamp"])
        table.add_row(str(number), connector, start["idTag"], began, energy, ended)
    return table


async def drive(desk: Desk, screen: Screen, lines: Lines, *, is_own: bool = True) -> None:
    """Obey commands."""
    screen.be_still()
    driver = Driver(desk, screen, is_own=is_own, echo=not lines.is_terminal)
    with contextlib.suppress(TimeoutError):  # a script is told to begin then; without a central system it may, too
        await desk.until(lambda: registered(desk) or lines.is_terminal, "registration", STARTS)
    watching = asyncio.create_task(watch(desk, screen))
    driving, running = asyncio.create_task(driver.run(lines)), asyncio.create_task(desk.until_off())
    try:
        await asyncio.wait((driving, running), return_when=asyncio.FIRST_COMPLETED)
        (driving if driving.done() else running).result()
    finally:
        for task in (watching, driving, running):
            task.cancel()


async def charge(desk: Desk, screen: Screen, *, plays: bool) -> bool:
    """Play the story until somebody has commands of their own; return whether all was as it should be."""
    desk.central.observers.append(screen.frame)
    packed = desk.update_file()
    desk.web.files = {FILE: packed}
    lines = Lines()
    if plays and not lines.is_terminal:
        await desk.until(lambda: registered(desk), "registration")  # a script has spoken by then
    if plays and not lines.any.is_set():
        if lines.is_terminal:
            screen.say("Type a command, such as help, and the charger is yours.")
        if (problems := await _story_unless(lines, desk, screen, packed)) is not None:
            is_well = _report(desk, screen, problems)
            if is_well:
                screen.say(f"As it should be: {PROVES}", "bold green")
            if not lines.is_terminal or not is_well:
                return is_well
            screen.say("Now it's your turn: help tells what there is, quit ends it.", "bold")
    else:
        screen.event("", "The charger does what you say: help tells what there is, quit ends it.")
    await drive(desk, screen, lines)
    return _report(
        desk, screen, [f"The central system recorded a violation: {text}" for text in desk.central.violations]
    )


def registered(desk: Desk) -> bool:
    """Whether the charger has said so."""
    return any("[OCPP] registered" in line for line in desk.lines)


async def _story_unless(lines: Lines, desk: Desk, screen: Screen, packed: bytes) -> list[str] | None:
    """Play the story; return what went wrong in it, None if somebody took over."""
    playing = asyncio.create_task(Story(desk, screen, packed).play())
    watching = asyncio.create_task(watch(desk, screen))
    taking_over = asyncio.create_task(lines.any.wait())
    try:
        await asyncio.wait((playing, watching, taking_over), return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        return playing.result() if playing.done() else None
    finally:
        for task in (playing, watching, taking_over):
            task.cancel()
        screen.live("")


def _report(desk: Desk, screen: Screen, problems: list[str]) -> bool:
    screen.console.print(transactions(desk))
    if requests := [frame for frame in desk.central.frames if frame.action == "UpdateFirmware"]:
        screen.table(desk.story, requests[0].time)
    for problem in problems:
        screen.say(problem, "bold red")
    if not problems:
        count = len(desk.central.frames)
        screen.say(f"Version {desk.version} is running. {count} OCPP messages, all valid by the official schemas.")
    return not problems
