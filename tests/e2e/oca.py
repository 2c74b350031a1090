"""A charger with EVSEs, its drivers and its central system, as the scenarios of OCA.md see them.

One charger plays many scenarios, one after the other. Each begins with no car, no fault, nobody authorized and every
connector Available, and with the configuration that the charger began with; whatever it leaves behind is undone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from central_system import Answer, CallFailed, Payload
from desk import CONNECTORS, Desk
from simulator.interpreter import Interpreter

SPEED = 20
HEAP = 160 * 1024  # what the scenarios show is behaviour; heap is what tests of an update are about
TAG, FRIEND, STRANGER = "0004A2B3C4", "00000F4D11", "0000BADC0D"  # as the reader gives them
PARENT = "FAMILY"
TRANSACTIONS = ("StartTransaction", "StopTransaction")
AMPS = 16  # what the desk's outlets bear
SLACK = 60  # seconds of the charger's time; a clock is set by an answer that takes a moment
SAME_CARD = 5  # seconds after which a card that was away counts as presented again, most of the time
PATIENCE = 15  # seconds of the desk's time


class Charger:
    """A Desk whose central system lives in the charger's time: its clock runs as fast as the chip's.

    `mark` is where the frames of the present scenario begin; most of what looks at frames begins there.
    """

    def __init__(
        self,
        folder: Path,
        interpreter: Interpreter,
        connectors: int = 1,
        *,
        fixed_cables: bool = False,
    ) -> None:
        self.desk = Desk(
            folder,
            interpreter,
            speed=SPEED,
            heap=HEAP,
            connectors=connectors,
            configuration={"ConnectionTimeOut": 600, "MeterValueSampleInterval": 0},
        )
        if fixed_cables:
            self.desk._config["connectors"] = [{**outlet, "lock": None} for outlet in CONNECTORS[:connectors]]
        self.chip, self.central, self.lines = self.desk.chip, self.desk.central, self.desk.lines
        self.connectors = range(1, connectors + 1)
        self.parents: dict[str, str] = {}
        self.mark = self.line = 0
        self.begun = 0.0
        self.energy: dict[int, float] = {}
        self._started = time.time()
        self._defaults: dict[str, str] = {}
        self._changed: set[str] = set()
        self._undo: dict[str, Payload] = {}
        self._presented: dict[str, float] = {}
        self._flash = b""
        self._is_spoilt = False
        self._start_transaction = self.central.answers["StartTransaction"]
        self._answers = {
            **self.central.answers,
            "BootNotification": self._boot,
            "Heartbeat": lambda _: {"currentTime": self.timestamp()},
            "Authorize": lambda payload: self.id_tag_info(payload["idTag"]),
            "StartTransaction": self.take_transaction,
        }
        self.central.answers.update(self._answers)

    async def __aenter__(self) -> Charger:
        await self.desk.__aenter__()
        self._flash = (self.chip.folder / "flash.bin").read_bytes()
        try:
            await self._until_in_service()
        except BaseException:
            await self.desk.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.desk.__aexit__()

    # --------------------------------------------------------------------------------------------------------- the time

    def now(self) -> float:
        """Unix seconds of the charger's time."""
        return self._started + (time.time() - self._started) * self.desk.speed

    def timestamp(self, ahead: float = 0) -> str:
        """Now, or so many seconds ahead."""
        text = datetime.fromtimestamp(self.now() + ahead, UTC).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z")

    async def passes(self, seconds: float) -> None:
        """Wait so many seconds of the charger's time."""
        end = self.now() + seconds
        await self.until(lambda: self.now() >= end, "the time")

    # ---------------------------------------------------------------------------------------------- a scenario begins …

    @asynccontextmanager
    async def scenario(self) -> AsyncIterator[Charger]:
        """What one scenario happens in."""
        if self._is_spoilt:
            await self._start_anew()
        self._is_spoilt = True
        self.begin()
        yield self
        await self.tidy()
        self._is_spoilt = False
        violations = list(self.central.violations)
        self.central.violations.clear()
        assert violations == []

    def begin(self) -> None:
        """Forget what was seen so far."""
        self.mark, self.line = len(self.central.frames), len(self.lines)
        self.begun = self.now()
        self.weigh()

    def weigh(self) -> None:
        """Note what has gone through each connector; no car may be charging."""
        self.energy = {connector: self.chip.energy(connector) for connector in self.connectors}

    async def _start_anew(self) -> None:
        """The last scenario failed: begin with a new flash."""
        self._reset_answers()
        self.central.transactions.clear()
        self.central.violations.clear()
        self._changed.clear()
        self._undo.clear()
        await self.desk.start_from(self._flash)
        self.mark = self.line = 0
        await self._until_in_service()

    def _reset_answers(self) -> None:
        self.go_online()
        self.central.boot_status, self.central.boot_interval = "Accepted", 14400
        self.central.answers.update(self._answers)
        self.central.id_tags.clear()
        self.parents.clear()

    # ----------------------------------------------------------------------------------------------- … and is tidied up

    async def tidy(self) -> None:
        """Undo whatever the scenario has left behind."""
        self._reset_answers()
        for connector in self.connectors:
            self.chip.clear(connector)
        await self._clear_cache()
        for key in list(self._changed):
            await self.ask("ChangeConfiguration", key=key, value=self._defaults[key])
        self._changed.clear()
        for action, payload in list(self._undo.items()):
            with contextlib.suppress(CallFailed):
                await self.call(action.partition(" ")[0], **payload)
        self._undo.clear()
        for connector in self.connectors:
            if self.chip.is_plugged(connector):
                self.chip.unplug(connector)
            elif self.status(connector) == "Preparing":  # somebody is authorized; it ends like this
                await self.call("ChangeAvailability", connectorId=connector, type="Inoperative")
                await self.call("ChangeAvailability", connectorId=connector, type="Operative")
        await self.settled()
        if running := set(self.central.transactions) - self._stopped():
            for transaction in running:
                await self.call("RemoteStopTransaction", transactionId=transaction)
            await self.settled()
        await self._until_in_service()

    async def _clear_cache(self) -> None:
        """Have the cache forgotten, as soon as the charger is connected again."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                await self.call("ClearCache")
                return
            await self.passes(1)
        raise self._in_vain("the charger connects again")

    def _stopped(self) -> set[int]:
        return {frame.payload["transactionId"] for frame in self.central.calls("StopTransaction")}

    async def _until_in_service(self) -> None:
        await self.until(lambda: self.desk.in_service, "every connector is Available")

    # ----------------------------------------------------------------------------------------------- the central system

    def _boot(self, _: Payload) -> Payload:
        central = self.central
        return {"status": central.boot_status, "currentTime": self.timestamp(), "interval": central.boot_interval}

    def id_tag_info(self, tag: str) -> Payload:
        """What the central system says of an idTag."""
        info = {"status": self.central.id_tags.get(tag, "Accepted")}
        if tag in self.parents:
            info["parentIdTag"] = self.parents[tag]
        return {"idTagInfo": info}

    def take_transaction(self, payload: Payload) -> Payload:
        """Answer StartTransaction."""
        return {**(self._start_transaction(payload) or {}), **self.id_tag_info(payload["idTag"])}

    def answers(self, action: str, function: Answer) -> None:
        """Have the central system answer this action so until the end of the scenario."""
        self.central.answers[action] = function

    async def call(self, action: str, **payload: Any) -> Payload:
        """Have the central system call the charger; return the answer."""
        answer = await self.central.call(self.desk.identity, action, payload)
        if action == "ReserveNow":
            number = payload["reservationId"]
            self._undo[f"CancelReservation {number}"] = {"reservationId": number}
        elif action == "SetChargingProfile":
            self._undo["ClearChargingProfile"] = {}
        elif action == "SendLocalList":
            self._undo["SendLocalList"] = {"listVersion": 1, "updateType": "Full"}
        elif action == "ChangeAvailability":
            self._undo[f"ChangeAvailability {payload['connectorId']}"] = {**payload, "type": "Operative"}
        return answer

    async def ask(self, action: str, status: str = "Accepted", **payload: Any) -> Payload:
        """The same, and the answer has to have this status."""
        answer = await self.call(action, **payload)
        assert answer["status"] == status, (action, payload, answer)
        return answer

    async def verdict(self, action: str, **payload: Any) -> str:
        """The same; return the status, or the error code of a CALLERROR."""
        try:
            return str((await self.call(action, **payload))["status"])
        except CallFailed as error:
            return error.code

    async def configure(self, **keys: object) -> None:
        """Change these configuration keys until the end of the scenario."""
        if not self._defaults:
            entries = (await self.call("GetConfiguration"))["configurationKey"]
            self._defaults = {entry["key"]: entry.get("value", "") for entry in entries}
        for key, value in keys.items():
            self._changed.add(key)
            text = str(value).lower() if isinstance(value, bool) else str(value)
            await self.ask("ChangeConfiguration", key=key, value=text)

    def go_offline(self) -> None:
        """Cut the connection; the central system can't be reached until go_online()."""
        self.central.refusal = HTTPStatus.SERVICE_UNAVAILABLE
        self.central.drop(self.desk.identity)

    def go_online(self) -> None:
        """Let the charger connect again."""
        self.central.refusal = None

    async def offline(self) -> None:
        """Cut the connection, and wait until the charger has noticed."""
        line = len(self.lines)
        self.go_offline()
        await self.until(lambda: any("connecting again" in text for text in self.lines[line:]), "it is noticed")

    async def settled(self) -> None:
        """Wait until the charger has looked at its connectors and has nothing more to tell."""
        await self.passes(1)
        end = time.monotonic() + PATIENCE
        while await self._unsent():
            if time.monotonic() > end:
                raise self._in_vain("nothing is unsent any more")
            await self.passes(0.5)
        await self.heartbeat()  # one may have been on its way

    async def _unsent(self) -> int:
        """How many messages wait to be sent."""
        figures = json.loads((await self.call("DataTransfer", vendorId="Arus", messageId="Diagnosis"))["data"])
        return int(figures["unsentStatuses"] + figures["unsentTransactionMessages"])

    async def heartbeat(self) -> None:
        """Have a Heartbeat sent, and wait for it."""
        count = len(self.messages("Heartbeat"))
        await self.ask("TriggerMessage", requestedMessage="Heartbeat")
        await self.until(lambda: len(self.messages("Heartbeat")) > count, "Heartbeat")

    async def restarted(self, boots: int = 1) -> None:
        """Wait until the charger has registered so many times in this scenario, and reported its connectors."""
        await self.until(lambda: len(self.messages("BootNotification")) >= boots, "BootNotification")
        last = self.central.calls("BootNotification")[-1]
        since = self.central.frames.index(last)

        def reported() -> set[int]:
            frames = self.central.frames[since:]
            return {frame.payload["connectorId"] for frame in frames if frame.asks("StatusNotification")}

        await self.until(lambda: reported() == {0, *self.connectors}, "StatusNotification of each connector")

    # ------------------------------------------------------------------------------------------- drivers and their cars

    async def card(self, tag: str = TAG) -> None:
        """Hold a card at the reader, again and again until the charger takes note of it, as its log tells."""
        line = len(self.lines)

        def noted() -> bool:
            return any("Card " in text or "the transaction ends" in text for text in self.lines[line:])

        end = time.monotonic() + PATIENCE
        while not noted():
            if time.monotonic() > end:
                raise self._in_vain("the card is noted")
            await self.passes(self._presented.get(tag, 0) + SAME_CARD - self.now())
            self.chip.card(tag)
            self._presented[tag] = self.now()
            await self.until(lambda: noted() or self.now() >= self._presented[tag] + SAME_CARD, "the card is noted")

    async def plug(self, connector: int = 1, **car: Any) -> None:
        """Plug a car in, and wait until the central system knows."""
        self.chip.plug(connector, **car)
        await self.until_status("Preparing", connector)

    async def unplug(self, connector: int = 1) -> None:
        """Unplug it; the connector becomes Available."""
        self.chip.unplug(connector)
        await self.until_status("Available", connector)

    async def charge(self, tag: str = TAG, connector: int = 1, **car: Any) -> int:
        """Plug in, identify, charge; return the transactionId."""
        await self.plug(connector, **car)
        await self.card(tag)
        await self.until_status("Charging", connector)
        await self.draws(connector)
        return max(self.central.transactions)

    async def draws(self, connector: int = 1, wh: float = 1) -> None:
        """Wait until the car has drawn some Wh more."""
        enough = self.chip.energy(connector) + wh
        await self.until(lambda: self.chip.energy(connector) >= enough, f"a car at connector {connector} draws {wh} Wh")

    async def stop(self, tag: str = TAG, connector: int = 1) -> Payload:
        """Identify again: the transaction ends. Return StopTransaction."""
        count = len(self.messages("StopTransaction"))
        await self.card(tag)
        await self.until_status("Finishing", connector)
        return await self.message("StopTransaction", count + 1)

    def lock_opens(self, connector: int = 1) -> asyncio.Task[bool]:
        """Watch for the current in the lock's motor, which is short: in a thread, as this one may be busy."""

        def watch() -> bool:
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end and not self.chip.lock(connector):
                time.sleep(0.001)
            return time.monotonic() < end

        return asyncio.create_task(asyncio.to_thread(watch))

    async def stop_by_fault(self, reason: str, connector: int = 1) -> Payload:
        """Wait until a fault has ended the transaction. Return StopTransaction."""
        await self.until_status("Faulted", connector)
        return await self.message("StopTransaction", reason=reason)

    # ------------------------------------------------------------------------------------------------- what can be seen

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition; AssertionError with what was told so far if it doesn't come."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise self._in_vain(what)
            await asyncio.sleep(0.003)

    def _in_vain(self, what: str) -> AssertionError:
        told, log = "\n".join(self.story()), "\n".join(self.lines[self.line :])
        return AssertionError(f"in vain: {what}\nSo far:\n{told}\nThe serial log:\n{log}")

    async def logged(self, words: str) -> None:
        """Wait for words on the serial console."""
        await self.until(lambda: any(words in text for text in self.lines[self.line :]), f'"{words}" in the log')

    def messages(self, action: str, **fields: object) -> list[Payload]:
        """The payloads of the charger's calls with this action and these fields."""
        payloads = [frame.payload for frame in self.central.frames[self.mark :] if frame.asks(action)]
        return [payload for payload in payloads if all(payload.get(name) == fields[name] for name in fields)]

    async def message(self, action: str, number: int = 1, **fields: object) -> Payload:
        """Wait for the number-th such call, and return its payload."""
        await self.until(lambda: len(self.messages(action, **fields)) >= number, f"{action} {number} {fields}")
        return self.messages(action, **fields)[number - 1]

    def statuses(self, connector: int = 1) -> list[str]:
        """What has been reported of a connector."""
        return [payload["status"] for payload in self.messages("StatusNotification", connectorId=connector)]

    def status(self, connector: int = 1) -> str:
        """What was reported of it last, be it before this scenario."""
        calls = self.central.calls("StatusNotification")
        return [str(frame.payload["status"]) for frame in calls if frame.payload["connectorId"] == connector][-1]

    async def until_status(self, status: str, connector: int = 1) -> None:
        """Wait until this is what was reported last."""
        await self.until(lambda: self.statuses(connector)[-1:] == [status], f"connector {connector} is {status}")

    def story(self, *actions: str) -> list[str]:
        """The charger's calls in short, in their order: all but Heartbeats, or those with these actions."""
        frames = [frame for frame in self.central.frames[self.mark :] if frame.incoming and frame.kind == "Call"]
        chosen = [frame for frame in frames if frame.action in (actions or {frame.action} - {"Heartbeat"})]
        return [word(frame.action, frame.payload) for frame in chosen]

    # ---------------------------------------------------------------------------------------------- what has to be true

    def seconds(self, text: str) -> float:
        """Unix seconds of a timestamp, which has to be one of this scenario."""
        moment = datetime.fromisoformat(text).timestamp()
        assert self.begun - SLACK <= moment <= self.now() + SLACK, (text, self.timestamp())
        return moment

    def check(
        self,
        start: Payload,
        stop: Payload,
        *,
        tag: str = TAG,
        reason: str = "Local",
        stopped_by: str | None = None,
        connector: int = 1,
    ) -> None:
        """A transaction that has ended: idTags, reason, times, and the energy that the car really drew."""
        assert (start["connectorId"], start["idTag"]) == (connector, tag)
        assert self.central.transactions[stop["transactionId"]] == start
        assert stop.get("reason", "Local") == reason
        assert stop.get("idTag") == (stopped_by or (tag if reason == "Local" else None))
        assert self.seconds(start["timestamp"]) <= self.seconds(stop["timestamp"])
        drawn = self.chip.energy(connector) - self.energy[connector]
        assert abs(stop["meterStop"] - start["meterStart"] - drawn) <= 1, (start, stop, drawn)
        assert not self.chip.contactor(connector)


def word(action: str, payload: Payload) -> str:
    """A call in short."""
    if action == "StatusNotification":
        error = payload["errorCode"]
        return f"{payload['connectorId']} {payload['status']}" + (f" {error}" if error != "NoError" else "")
    if action in TRANSACTIONS:
        return f"{action.removesuffix('Transaction')} {payload.get('reason') or payload.get('idTag')}"
    return f"{action} {payload.get('idTag') or payload.get('status') or payload.get('connectorId', '')}".strip()
