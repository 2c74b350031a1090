"""A scripted hour of a charger that has everything which it records happen once; in short, as intervals are short.

Its stages can be played alone, too. What the central system, the cars and the flash had seen at each time is noted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from central_system import Frame, Payload
from oca import FRIEND, STRANGER, TAG, Charger
from simulator.interpreter import Interpreter

CONNECTORS = (1, 2)
MONTH = 30 * 86400  # seconds
SAMPLE_INTERVAL = 10  # seconds
AWAY = 12  # seconds that a card is away before it is presented again
CONFIGURATION = {
    "MeterValueSampleInterval": SAMPLE_INTERVAL,
    "StopTxnSampledData": "Energy.Active.Import.Register",
    "AllowOfflineTxForUnknownId": "true",
    "LocalPreAuthorize": "true",
    "AuthorizeRemoteTxRequests": "true",
}
KEYS = ("ConnectionTimeOut", "ResetRetries")
GUEST = "00000ADA01"
MESSAGES = ("StartTransaction", "MeterValues", "StopTransaction")


class BusyCharger(Charger):
    """A charger for the hour."""

    def __init__(self, folder: Path, interpreter: Interpreter, *, record: bool = False) -> None:
        super().__init__(folder, interpreter, len(CONNECTORS))
        configuration = self.desk._config["configuration"]
        assert isinstance(configuration, dict)
        configuration.update(CONFIGURATION)
        self.chip._record = record

    async def card(self, tag: str = TAG) -> None:
        """Hold a card at the reader until the charger takes note of it; on a busy desk it looks seldom."""
        line = len(self.lines)

        def noted() -> bool:
            return any(f"Card {tag}" in text or "the transaction ends, Local" in text for text in self.lines[line:])

        while not noted():
            again = self._presented.get(tag, 0) + AWAY
            await self.until(lambda again=again: self.now() >= again, "the card is away")  # type: ignore[misc]
            self.chip.card(tag)
            self._presented[tag] = self.now()
            await self.until(lambda: noted() or self.now() >= self._presented[tag] + AWAY, "the card is noted")


def profile(number: int, amps: int) -> Payload:
    """A TxDefaultProfile, whose stackLevel is its number."""
    return {
        "chargingProfileId": number,
        "stackLevel": number,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": amps}]},
    }


@dataclass(frozen=True)
class Moment:
    """What the cars had drawn in all (Wh) before and after the flash operations were counted."""

    before: float
    operations: int
    after: float


@dataclass(frozen=True)
class Told:
    """A message of a transaction, and how many flash operations there were when it had come."""

    operations: int
    action: str
    payload: Payload


@dataclass(frozen=True)
class Change:
    """Something durable got another value after `began` flash operations, and `done` at the latest."""

    name: str
    began: int
    done: int
    value: Any


class Hour:
    """The hour, stage by stage, with what is noted of it.

    `first` is what the central system finds out of durable things before the hour, see look() and is_known(). `made` is
    (flash operations, how many transactions had been begun and ended by then).
    """

    def __init__(self, charger: Charger) -> None:
        self.charger, self.chip = charger, charger.chip
        self.moments: list[Moment] = []
        self.told: list[Told] = []
        self.changes: list[Change] = []
        self.made: list[tuple[int, int, int]] = []
        self.begun = self.ended = 0
        self.lengths: list[int] = []  # flash operations of each stage
        self.first: dict[str, Any] = {
            "ConnectionTimeOut": "600",
            "ResetRetries": "3",
            "unavailable": frozenset(),
            "reservations": frozenset(),
            "list": 0,
            "listed": False,
            "cached": False,
            "limit": 16,
        }

    @asynccontextmanager
    async def noted(self) -> AsyncIterator[None]:
        """Note what happens meanwhile."""

        def note(frame: Frame) -> None:
            if any(frame.asks(action) for action in MESSAGES):
                self.told.append(Told(self.chip.operations, frame.action, frame.payload))

        async def watch() -> None:
            while True:
                before = self.drawn()
                operations = self.chip.operations
                self.moments.append(Moment(before, operations, self.drawn()))
                await asyncio.sleep(0.005)

        self.charger.central.observers.append(note)
        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            self.charger.central.observers.remove(note)

    def drawn(self) -> float:
        """Wh that all cars have drawn."""
        return sum(self.chip.energy(connector) for connector in CONNECTORS)

    @asynccontextmanager
    async def change(self, **values: Any) -> AsyncIterator[None]:
        """These durable things get these values meanwhile."""
        began = self.chip.operations
        yield
        self.changes += [Change(name, began, self.chip.operations, value) for name, value in values.items()]

    def count(self, begun: int = 0, ended: int = 0) -> None:
        """So many more transactions have begun and ended, and that has been recorded."""
        self.begun += begun
        self.ended += ended
        self.made.append((self.chip.operations, self.begun, self.ended))

    # ------------------------------------------------------------------------------------------------------- the stages

    @property
    def stages(self) -> list[Callable[[], Awaitable[None]]]:
        """All of them, in order."""
        return [self.settings, self.by_card, self.reserved, self.outage, self.two_cars, self.availability, self.reset]

    async def play(self) -> None:
        """Play all of them."""
        for stage in self.stages:
            begun = self.chip.operations
            await stage()
            self.lengths.append(self.chip.operations - begun)

    async def settings(self) -> None:
        """ChangeConfiguration, SendLocalList, SetChargingProfile."""
        charger = self.charger
        for key, value in (("ResetRetries", "4"), ("ConnectionTimeOut", "500"), ("ResetRetries", "5")):
            async with self.change(**{key: value}):
                await charger.configure(**{key: value})
        everyone = [{"idTag": tag, "idTagInfo": {"status": "Accepted"}} for tag in (GUEST, FRIEND)]
        async with self.change(list=1):
            await charger.ask("SendLocalList", listVersion=1, updateType="Full", localAuthorizationList=everyone[:1])
        async with self.change(list=2, listed=True):
            changed = [*everyone[1:], {"idTag": GUEST}]
            await charger.ask("SendLocalList", listVersion=2, updateType="Differential", localAuthorizationList=changed)
        for number, amps in ((1, 8), (2, 12)):
            async with self.change(limit=amps):
                await charger.ask("SetChargingProfile", connectorId=0, csChargingProfiles=profile(number, amps))

    async def by_card(self) -> None:
        """A transaction by card, in which the profiles change and the other connector goes out of service and back."""
        charger = self.charger
        async with self.change(cached=True):
            await charger.charge()
            await charger.settled()
        self.count(begun=1)
        await charger.message("MeterValues", 1)
        async with self.change(limit=8):
            await charger.ask("ClearChargingProfile", id=2)
        async with self.change(unavailable=frozenset({2})):
            await charger.ask("ChangeAvailability", connectorId=2, type="Inoperative")
        await charger.message("MeterValues", 2)
        async with self.change(unavailable=frozenset()):
            await charger.ask("ChangeAvailability", connectorId=2, type="Operative")
        async with self.change(limit=16):
            await charger.ask("ClearChargingProfile")
        await charger.message("MeterValues", 3)
        await charger.stop()
        self.count(ended=1)
        await charger.unplug()

    async def reserved(self) -> None:
        """Reservations: one is cancelled, one is used by a transaction, which is stopped from afar."""
        charger = self.charger
        charger.begin()
        expiry = charger.timestamp(MONTH)
        async with self.change(reservations=frozenset({5})):
            await charger.ask("ReserveNow", connectorId=1, reservationId=5, idTag=FRIEND, expiryDate=expiry)
        async with self.change(reservations=frozenset({5, 6})):
            await charger.ask("ReserveNow", connectorId=2, reservationId=6, idTag=TAG, expiryDate=expiry)
        async with self.change(reservations=frozenset({5})):
            await charger.ask("CancelReservation", reservationId=6)
        self.chip.plug()
        await charger.passes(1)
        async with self.change(reservations=frozenset()):
            await charger.ask("RemoteStartTransaction", idTag=FRIEND, connectorId=1)
            await charger.until_status("Charging")
            await charger.draws()
        self.count(begun=1)
        await charger.message("MeterValues", 2)
        await charger.ask("RemoteStopTransaction", transactionId=max(charger.central.transactions))
        await charger.until_status("Finishing")
        await charger.message("StopTransaction")
        self.count(ended=1)
        await charger.unplug()

    async def outage(self) -> None:
        """While offline one transaction begins and ends, and another one begins; all is delivered later."""
        charger = self.charger
        charger.begin()
        await charger.offline()
        charger.chip.plug()
        await charger.card()
        await charger.draws(wh=15)
        self.count(begun=1)
        await charger.card()
        await charger.until(lambda: not self.chip.contactor(), "the contactor is open")
        await charger.passes(3)
        self.count(ended=1)
        self.chip.unplug()
        await charger.passes(1)
        self.chip.plug(2)
        await charger.passes(1)
        await charger.card(STRANGER)
        await charger.draws(2, wh=12)
        self.count(begun=1)
        charger.go_online()
        await charger.until_status("Charging", 2)
        await charger.message("StartTransaction", 2)
        await charger.settled()
        await charger.stop(STRANGER, 2)
        self.count(ended=1)
        await charger.unplug(2)

    async def two_cars(self) -> None:
        """Two transactions at once; one car leaves. Then the cache is cleared."""
        charger = self.charger
        charger.begin()
        await charger.charge(FRIEND)
        self.count(begun=1)
        await charger.charge(TAG, 2)
        self.count(begun=1)
        await charger.message("MeterValues", 3)
        self.chip.unplug(1)
        await charger.message("StopTransaction")
        self.count(ended=1)
        await charger.stop(TAG, 2)
        self.count(ended=1)
        await charger.unplug(2)
        await charger.settled()
        async with self.change(cached=False):
            await charger.ask("ClearCache")

    async def availability(self) -> None:
        """The whole charger is to go out of service while a car charges."""
        charger = self.charger
        charger.begin()
        await charger.charge(FRIEND)
        self.count(begun=1)
        async with self.change(unavailable=frozenset({0, 1, 2})):
            await charger.ask("ChangeAvailability", "Scheduled", connectorId=0, type="Inoperative")
        await charger.message("MeterValues", 1)
        await charger.card(FRIEND)
        await charger.message("StopTransaction")
        self.count(ended=1)
        self.chip.unplug()
        async with self.change(unavailable=frozenset()):
            await charger.ask("ChangeAvailability", connectorId=0, type="Operative")
        await charger.until_status("Available")

    async def reset(self) -> None:
        """Reset, with a transaction."""
        charger = self.charger
        charger.begin()
        async with self.change(cached=True):
            await charger.charge()
            await charger.settled()
        self.count(begun=1)
        await charger.message("MeterValues", 1)
        await charger.ask("Reset", type="Soft")
        await charger.restarted()
        self.count(ended=1)
        await charger.settled()


async def look(charger: Charger) -> dict[str, Any]:
    """Return what durable things are after a reset, without cars; reservations end by that."""
    entries = (await charger.call("GetConfiguration", key=list(KEYS)))["configurationKey"]
    values: dict[str, Any] = {entry["key"]: entry["value"] for entry in entries}
    statuses = {number: charger.status(number) for number in (0, *CONNECTORS)}
    values["unavailable"] = frozenset(number for number in statuses if statuses[number] == "Unavailable")
    values["list"] = (await charger.call("GetLocalListVersion"))["listVersion"]
    schedule = await charger.ask("GetCompositeSchedule", connectorId=1, duration=60, chargingRateUnit="A")
    limits = {period["limit"] for period in schedule["chargingSchedule"]["chargingSchedulePeriod"]}
    assert len(limits) == 1, schedule
    values["limit"] = limits.pop()
    there = [await charger.verdict("CancelReservation", reservationId=number) for number in (5, 6)]
    values["reservations"] = frozenset(number for number, word in zip((5, 6), there, strict=True) if word == "Accepted")
    reserved = {number for number in statuses if statuses[number] == "Reserved"}
    assert reserved == {number - 4 for number in values["reservations"]}, (reserved, values)
    return values


async def is_known(charger: Charger, tag: str, connector: int) -> bool:
    """Have a transaction begin from afar; return whether the charger knew the idTag without asking."""
    asked = len(charger.messages("Authorize"))
    starts = len(charger.messages("StartTransaction"))
    charger.chip.plug(connector)
    await charger.until_status("Preparing", connector)
    await charger.ask("RemoteStartTransaction", idTag=tag, connectorId=connector)
    await charger.message("StartTransaction", starts + 1)
    return len(charger.messages("Authorize")) == asked


async def until_cut(charger: Charger, stage: Callable[[], Awaitable[None]]) -> None:
    """Play a stage until the power fails; if it does not, as fewer flash operations did, right after it."""
    boots = len(charger.chip.boots)

    async def play() -> None:
        await stage()
        while True:
            for number in (1, 2):
                await charger.configure(ResetRetries=number)

    playing = asyncio.create_task(play())
    try:
        await charger.until(
            lambda: "power on" in [boot.cause for boot in charger.chip.boots[boots:]], "the power fails"
        )
    finally:
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError, AssertionError, OSError):
            await playing


async def undo(charger: Charger) -> None:
    """Undo what a stage may have done whose answer was never seen."""
    for number in (5, 6):
        await charger.call("CancelReservation", reservationId=number)
    await charger.ask("SendLocalList", listVersion=1, updateType="Full")
    await charger.call("ClearChargingProfile")
    await charger.ask("ChangeAvailability", connectorId=0, type="Operative")
