"""Whatever the central system sends, the whole charger answers as it should, goes on, and keeps no memory for it.

Frames come from fuzz_calls.py, what is right from fuzz_oracle.py. A failure names the frame: put its text into KNOWN to
try it by itself. Reset and UpdateFirmware come only as calls that must be refused: what they do is shown elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import fuzz_calls
from central_system import Payload
from desk import Desk
from environment import REPOSITORY
from fuzz_oracle import RESULT, ChargePoint, Verdict, fault, judge
from simulator.interpreter import Interpreter

SEED = 1
FRAMES = 5_000
ALL_SEEDS, ALL_FRAMES = range(1, 11), 10_000
ROUND = 1_000  # frames between two looks at the memory
KEPT = 200  # frames before a reset
BATCH = 40  # calls at once
CONNECTORS = 2
SPEED = 5
HEAP = 192 * 1024  # for large messages while cars charge
PATIENCE = 30  # seconds for the answers to a batch
SLACK = 2048  # bytes of the heap in use that may come and go, however many frames there were
TAG = "0004A2B3C4"
PASSWORD = "00" * 16  # as AuthorizationKey is written

# Frames that were too much once, each of these rows sent at once, with a car at connector 1.
KNOWN = (
    (  # a transaction that ends before all is done that begins with it
        '[2,"1","RemoteStartTransaction",{"idTag":"A","connectorId":1}]',
        '[2,"2","UnlockConnector",{"connectorId":1}]',
    ),
    ('[2,"3","Reset",{"type":[' + "[]," * 4500 + "[]]}]",),  # no memory to parse it
)

# The firmware collects garbage so often to keep a small heap in one piece; most of this test's time would go into that.
OFTEN, SELDOM = b"gc.threshold(1024)", b"gc.threshold(16384)\nimport names"
# Names in modules stay in MicroPython's tables once they are loaded, and a table that is full is followed by one twice
# as large. So all are loaded before memory is looked at; ImportError: not a module of the application.
NAMES = """
import sys
for name in %r:
    try:
        __import__(name)
    except ImportError:
        continue
    package, _, module = name.rpartition(".")
    del sys.modules[name]
    delattr(sys.modules[package], module)
"""


class FuzzedDesk(Desk):
    """A desk whose charger collects garbage less often, and has its names from the beginning."""

    def update_file(self, version: str = "2.0.0", extra: dict[str, bytes] | None = None) -> bytes:
        main = (REPOSITORY / "main.py").read_bytes()
        assert main.count(OFTEN) == 1
        paths = [path for package in ("firmware", "ocpp") for path in sorted((REPOSITORY / package).glob("[!_]*.py"))]
        names = NAMES % ([f"{path.parent.name}.{path.stem}" for path in paths],)
        return super().update_file(
            version, {"main.py": main.replace(OFTEN, SELDOM), "names.py": names.encode(), **(extra or {})}
        )


class Fuzzer:
    """A charger and what is sent to it and expected of it."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk = desk
        self.seed = seed
        self.rng = random.Random(seed)
        self.charge_point = ChargePoint("", CONNECTORS)
        self.defaults: dict[str, str] = {}
        self.reservations: set[int] = set()
        self.resets = 0
        self.received: deque[str] = deque()
        self.told: Counter[str] = Counter()
        self.failures: list[str] = []
        self._news = asyncio.Event()
        desk.central.takes = self._take

    def _take(self, text: str) -> bool:
        """Whether this answers none of the desk's own calls."""
        try:
            message = json.loads(text)
        except ValueError:
            return False
        if not isinstance(message, list) or len(message) < 2 or message[0] == 2:
            return False
        if isinstance(message[1], str) and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", message[1]):
            return False
        self.received.append(text)
        self._news.set()
        return True

    async def call(self, action: str, **payload: Any) -> Payload:
        """Have the central system call the charger as it should."""
        return await self.desk.central.call(self.desk.identity, action, payload)

    # ---- frames and answers

    async def send(self, texts: Sequence[str], names: Sequence[str]) -> None:
        """Send these at once, and check what comes back."""
        end = f"end of {names[-1]}"
        identity = self.desk.identity
        for text in (*texts, json.dumps([2, end, "NoSuchAction", {}])):
            try:
                await self.desk.central.send_raw(identity, text)
            except (OSError, KeyError) as error:
                raise AssertionError(self.report("the connection is lost", texts, names)) from error
        answers: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while not answers or json.loads(answers[-1])[1] != end:
            if self.received:
                answers.append(self.received.popleft())
                continue
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), max(0.01, deadline - time.monotonic()))
            except TimeoutError:
                raise AssertionError(self.report(f"after {len(answers)} answers: silence", texts, names)) from None
        assert json.loads(answers.pop())[:3] == [4, end, "NotImplemented"]
        self.check(texts, names, answers)

    def check(self, texts: Sequence[str], names: Sequence[str], answers: list[str]) -> None:
        """Check that each call has its answer, and nothing else has one."""
        by_id: dict[str, deque[str]] = defaultdict(deque)
        for answer in answers:
            by_id[json.loads(answer)[1]].append(answer)
        loose: list[tuple[str, str, Verdict]] = []  # texts that may have an answer, of whatever id
        for text, name in zip(texts, names, strict=True):
            verdict = judge(text, self.charge_point)
            if verdict.unique_id is None:
                loose += [(text, name, verdict)] * max(verdict.counts)
                continue
            found = by_id[verdict.unique_id]
            if not found:
                if 0 not in verdict.counts:
                    self.wrong("not answered", text, name, None, verdict)
                self.told["passed over"] += 1
                continue
            answer = found.popleft()
            if what := fault(answer, verdict):
                self.wrong(what, text, name, answer, verdict)
            self.note(text, verdict, answer)
        rest = [answer for found in by_id.values() for answer in found]
        assert len(rest) <= len(loose), f"{rest} of these: " + self.report("too many answers", texts, names)
        for answer in rest:
            told = "\n".join(text for text, _, _ in loose)
            assert not fault(answer, loose[0][2]), f"{answer} to one of these:\n{told}"
            self.told["answers to what is no JSON"] += 1

    def note(self, text: str, verdict: Verdict, answer: str) -> None:
        """Remember what has to be undone, and count."""
        message = json.loads(answer)
        self.told[message[2] if message[0] == 4 else RESULT] += 1
        if verdict.action == "ReserveNow" and message[2] == {"status": "Accepted"}:
            self.reservations.add(json.loads(text)[3]["reservationId"])

    def wrong(self, what: str, text: str, name: str, answer: str | None, verdict: Verdict) -> None:
        self.failures.append(
            f"{name} of seed {self.seed}: {what}\n{text}\nwas answered with\n{answer}\n"
            f"right: {', '.join(sorted(verdict.outcomes))}"
        )

    def report(self, what: str, texts: Sequence[str], names: Sequence[str]) -> str:
        told = "\n".join(f"{name}: {text}" for name, text in zip(names, texts, strict=True))
        return f"{what}; seed {self.seed}\n{told}\n{self.log()}"

    def log(self) -> str:
        return "\n".join(self.desk.lines[-30:])

    # ---- the charger

    async def begin(self) -> None:
        """Learn what the charger is like, and have it do everything once: what comes into being then stays."""
        entries = (await self.call("GetConfiguration"))["configurationKey"]
        values = {entry["key"]: entry.get("value", PASSWORD) for entry in entries}
        self.charge_point = ChargePoint(values["SupportedFeatureProfiles"], CONNECTORS)
        self.defaults = {entry["key"]: values[entry["key"]] for entry in entries if not entry["readonly"]}
        await self.charge()
        await self.tidy()

    async def fuzz(self, first: int, last: int) -> None:
        """Send the frames from `first` to before `last`, while cars come and go and cards are presented."""
        for start in range(first, last, BATCH):
            numbers = range(start, min(start + BATCH, last))
            await self.stir()
            frames = [(fuzz_calls.frame(self.seed, number), f"frame {number}") for number in numbers]
            at = self.rng.randrange(BATCH)
            frames[at:at] = self.hasty()
            await self.send(*zip(*frames, strict=True))
            assert len(self.desk.chip.boots) == 1 + self.resets, self.log()
            # What fails in an event resets nothing, but is a fault of the firmware all the same.
            assert not any("Traceback" in line for line in self.desk.lines), self.log()
        assert not self.failures, "\n\n".join(self.failures[:10])

    async def stir(self) -> None:
        """Let something happen around the charger, and undo what keeps transactions from beginning."""
        chip, rng = self.desk.chip, self.rng
        connector = rng.randint(1, CONNECTORS)
        if rng.random() < 0.3 and chip.is_plugged(connector):
            chip.unplug(connector)
        elif rng.random() < 0.7 and not chip.is_plugged(connector):
            chip.plug(connector, wants=rng.choice((None, 50)))
        if rng.random() < 0.3:
            chip.card(TAG)
        if rng.random() < 0.5:
            await self.set_free()

    def hasty(self) -> list[tuple[str, str]]:
        """Calls that begin a transaction, and disturb its beginning or what was there before."""
        connector = {"connectorId": self.rng.randint(1, CONNECTORS)}
        calls = [
            ("RemoteStartTransaction", {"idTag": TAG, **connector}),
            ("UnlockConnector", connector),
            ("RemoteStopTransaction", {"transactionId": len(self.desk.central.transactions)}),
            ("ChangeAvailability", {"type": "Inoperative", **connector}),
            ("ClearChargingProfile", {}),
        ]
        chosen = self.rng.choices(calls, (5, 1, 1, 1, 1), k=self.rng.randrange(4))
        texts = [json.dumps([2, f"hasty {number}", *call]) for number, call in enumerate(chosen)]
        return [(text, "a hasty call") for text in texts]

    async def set_free(self) -> None:
        """Have every connector operative and not reserved."""
        for reservation in self.reservations:
            await self.call("CancelReservation", reservationId=reservation)
        self.reservations.clear()
        await self.call("ChangeAvailability", connectorId=0, type="Operative")

    async def charge(self) -> None:
        """Charge a car at each connector."""
        seen = len(self.desk.central.frames)
        for connector in range(1, CONNECTORS + 1):
            self.desk.chip.plug(connector)
            assert await self.call("RemoteStartTransaction", idTag=TAG, connectorId=connector) == {"status": "Accepted"}

            def charges(connector: int = connector) -> bool:
                calls = [frame.payload for frame in self.desk.central.frames[seen:] if frame.asks("StatusNotification")]
                return any(call["connectorId"] == connector and call["status"] == "Charging" for call in calls)

            await self.desk.until(charges, f"connector {connector} is Charging\n{self.log()}")

    async def tidy(self) -> None:
        """Undo what calls, cars and cards have done."""
        chip, central = self.desk.chip, self.desk.central
        self.desk.lines.clear()
        for key, value in self.defaults.items():
            answer = await self.call("ChangeConfiguration", key=key, value=value)
            assert answer == {"status": "Accepted"} or key == "RequireSignedFirmware", (key, value, answer)
        await self.call("ClearChargingProfile")
        await self.call("SendLocalList", listVersion=1, updateType="Full")
        await self.call("ClearCache")
        assert await self.call("GetDiagnostics", location="http://127.0.0.1:9/", retries=1) is not None
        for connector in range(1, CONNECTORS + 1):
            if chip.is_plugged(connector):
                chip.unplug(connector)
        stopped = {frame.payload["transactionId"] for frame in central.calls("StopTransaction")}
        for transaction in set(central.transactions) - stopped:
            await self.call("RemoteStopTransaction", transactionId=transaction)
        await self.call("ChangeAvailability", connectorId=0, type="Inoperative")  # who waits for a car waits no longer
        await self.set_free()
        try:
            await self.desk.until(lambda: self.desk.in_service, "every connector is Available")
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None
        while (unsent := await self.diagnosis())["unsentStatuses"] + unsent["unsentTransactionMessages"]:
            await asyncio.sleep(0.05)
        # What was is over: ids of transactions begin again, so that those in the frames mean some.
        statuses = {frame.payload["connectorId"]: frame for frame in central.calls("StatusNotification")}
        central.frames[:] = statuses.values()
        central.transactions.clear()

    async def reset(self) -> None:
        """Have the charger start again, with whatever it has kept."""
        central = self.desk.central
        self.resets += 1
        assert await self.call("Reset", type="Soft") == {"status": "Accepted"}
        await self.desk.until(lambda: len(self.desk.chip.boots) > self.resets, f"the reset\n{self.log()}")
        seen = len(central.frames)

        def registers() -> bool:
            frames = central.frames[seen:]
            starts = [number for number, frame in enumerate(frames) if frame.asks("BootNotification")]
            return bool(starts) and any(frame.asks("StatusNotification") for frame in frames[starts[-1] :])

        await self.desk.until(registers, f"the charger registers again\n{self.log()}")

    async def diagnosis(self) -> dict[str, Any]:
        """How the charger fares."""
        answer = await self.call("DataTransfer", vendorId="Arus", messageId="Diagnosis")
        found: dict[str, Any] = json.loads(answer["data"])
        return found

    async def in_use(self) -> int:
        """How many bytes of the charger's heap are in use at rest, counted from an arbitrary number on."""
        free: list[int] = []
        for _ in range(5):
            free.append((await self.diagnosis())["heapFree"])
            await asyncio.sleep(0.2)
        return -max(free)


@asynccontextmanager
async def fuzzer(folder: Path, interpreter: Interpreter, seed: int = SEED) -> AsyncIterator[Fuzzer]:
    """A charger that can be fuzzed; it must be as good as before in the end."""
    async with FuzzedDesk(folder, interpreter, speed=SPEED, heap=HEAP, connectors=CONNECTORS) as desk:
        await desk.registered()
        fuzzer = Fuzzer(desk, seed)
        await fuzzer.begin()
        yield fuzzer
        await fuzzer.charge()
        await fuzzer.tidy()
        assert [boot.cause for boot in desk.chip.boots] == ["power on"] + ["reset"] * fuzzer.resets
        assert desk.central.violations == [], desk.central.violations


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", ALL_SEEDS if metafunc.config.getoption("--all") else [SEED])


async def test_a_charger_that_is_fuzzed(
    tmp_path: Path, interpreter: Interpreter, everything: bool, seed: int, tell: Callable[[str], None]
) -> None:
    """Every call is answered once and rightly, nothing resets the charger, and memory is back after each round."""
    count = ALL_FRAMES if everything else FRAMES
    async with fuzzer(tmp_path, interpreter, seed) as running:
        uses = [await running.in_use()]
        for first in range(0, count, ROUND):
            await running.fuzz(first, first + ROUND)
            await running.tidy()
            uses.append(await running.in_use())
        growth = [use - uses[0] for use in uses]
        # What is kept over a reset does no harm either.
        await running.fuzz(count, count + KEPT)
        await running.reset()
        await running.tidy()
        tell(f"fuzzed: {dict(running.told.most_common())}; heap in use after each {ROUND}: {growth}")
        assert growth[-1] <= SLACK, growth


async def test_frames_by_themselves(tmp_path: Path, interpreter: Interpreter) -> None:
    async with fuzzer(tmp_path, interpreter) as running:
        for texts in KNOWN:
            running.desk.chip.plug(1)
            await running.desk.until(lambda: not running.desk.in_service, "the car is noticed")
            await running.send(texts, [text[:50] for text in texts])
            assert not running.failures, "\n\n".join(running.failures)
            assert not any("Traceback" in line for line in running.desk.lines), running.log()
            await running.tidy()
