"""The power fails at the flash operations of transactions; and how much these wear the flash.

A scripted hour is recorded once, with how many flash operations there were by each event. Each cut then starts from the
flash that it would have left, with a program that delivers what is there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from simulator.chip import Chip
from simulator.flash import SECTOR
from simulator.interpreter import Interpreter
from simulator.recording import PowerCut, Recording
from slots import REPL, SLOTS, Flash, with_modules

EVERY = 11  # the suite tries the cuts at one operation in so many; a prime
EVERY_OF_FILES = 29
PATIENCE = 60
MODULES = [
    "hw/files.py",
    "ocpp/charge_point.py",
    "ocpp/rpc.py",
    "ocpp/timestamps.py",
    "ocpp/transaction_messages.py",
    "ocpp/transaction_record.py",
    "ocpp/transactions.py",
]
# The charge point with everything around it scripted. All that is said is a line of JSON that begins with the kind of
# event and the numbers of flash operations before and after it.
SURROUNDINGS = """
import esp32
import json
from hw.files import Files
from ocpp import transaction_messages, transactions
from ocpp.charge_point import ChargePoint

NOON = 1787313600

class Clock:
    passed = 0
    now = lambda self: None if self.seconds is None else self.seconds + self.passed
    uptime = lambda self: self.passed

class Outlet:
    energy = 0
    keep = lambda self: None

class Outbox:
    add = lambda self, queue: None
    wake = lambda self: None

class Configuration:
    get = lambda self, key: {"TransactionMessageAttempts": 3, "TransactionMessageRetryInterval": 0}[key]

class Point(ChargePoint):
    def event(self, *call): pass
    def after(self, *call): pass

clock = Clock()
point = Point([Outlet(), Outlet()], Outbox(), clock)
point.files = Files("/data")
point.configuration = Configuration()
point.log = lambda text: print(json.dumps(["log", text]))

def do(event, function, *arguments):
    before = esp32.flash.count
    result = function(point, *arguments)
    print(json.dumps([event, before, esp32.flash.count, result]))
    return result

def deliver(refused=False):
    head = do("tell", transaction_messages.peek)
    if head:
        answer = {"idTagInfo": {"status": "Accepted"}}
        if head[0] == "StartTransaction":
            answer["transactionId"] = 7 - head[1]["meterStart"]
        do("refuse" if refused else "pop", transaction_messages.pop, None if refused else answer)
    return head

def value(energy):
    return {"sampledValue": [
        {"value": str(energy), "context": "Sample.Periodic", "measurand": "Energy.Active.Import.Register",
         "unit": "Wh"},
        {"value": "3680", "context": "Sample.Periodic", "measurand": "Power.Active.Import", "unit": "W"}]}

def passes(seconds):
    clock.passed += seconds
    for connector in point.connectors[1:]:
        if connector.transaction:
            connector.outlet.energy += seconds

def begin(number, tag, reservation=None):
    assert do("add", transactions.begin, point.connectors[number], tag, None, reservation)

def end(number, reason, tag=None):
    do("add", transactions.end, point.connectors[number], reason, tag)

def sample(number):
    connector = point.connectors[number]
    do("keep", transactions.transaction_data, connector, value(connector.outlet.energy))
    do("add", transactions.meter_values, connector, value(connector.outlet.energy))
"""
HOUR = (
    SURROUNDINGS
    + """
clock.seconds = None
point.connectors[2].outlet.energy = 50000
do("resume", transactions.resume)
begin(1, "04A2B3C4D5E6F7")
passes(60)
sample(1)
do("tell", transaction_messages.peek)
clock.seconds = NOON
deliver(refused=True)
begin(2, "TAG")
for _ in range(3):
    passes(300)
    deliver()
    do("note", transactions.note)
    sample(1)
    sample(2)
deliver(refused=True)
end(1, "Local", "04A2B3C4D5E6F7")
passes(60)
begin(1, "OTHER", 5)
while deliver():
    pass
for _ in range(20):
    passes(60)
    sample(1)
end(1, "EVDisconnected")
for _ in range(18):
    deliver()
end(2, "Remote")
passes(60)
begin(2, "LAST")
while deliver():
    pass
end(2, "SoftReset")
while deliver():
    pass
print("END")
"""
)
RECOVERY = (
    SURROUNDINGS
    + """
clock.seconds = NOON + 7200
do("resume", transactions.resume)
while deliver():
    pass
begin(1, "NEXT")
deliver()
end(1, "Local")
deliver()
print("END")
"""
)
OUTAGE = (
    SURROUNDINGS
    + """
import os
clock.seconds = NOON
do("resume", transactions.resume)
print(json.dumps(["free", 0, 0, os.statvfs("/")[3]]))
begin(2, "LONG")
connector = point.connectors[1]
while do("add", transactions.begin, connector, "TAG", None):
    for _ in range(SAMPLES):
        passes(60)
        transactions.meter_values(point, connector, value(connector.outlet.energy))
    end(1, "Local")
end(2, "Remote")
print(json.dumps(["free", 0, 0, os.statvfs("/")[3]]))
do("resume", transactions.resume)
while deliver():
    pass
print(json.dumps(["free", 0, 0, os.statvfs("/")[3]]))
print("END")
"""
)
FULL = (
    SURROUNDINGS
    + """
clock.seconds = NOON
do("resume", transactions.resume)
begin(2, "LONG")
for size in (16384, 1024):
    try:
        number = 0
        while True:
            number += 1
            with open("/%d_%d" % (size, number), "w") as file:
                file.write("x" * size)
    except OSError:
        pass
while do("add", transactions.begin, point.connectors[1], "TAG", None):
    do("add", transactions.meter_values, point.connectors[1], value(5))
    end(1, "Local")
end(2, "Remote")
while deliver():
    pass
print("END")
"""
)
WEAR = (
    SURROUNDINGS
    + """
clock.seconds = NOON
do("resume", transactions.resume)
for number in range(COUNT):
    begin(1, "04A2B3C4D5E6F7")
    deliver()
    for _ in range(SAMPLES):
        passes(60)
        do("add", transactions.meter_values, point.connectors[1], value(point.connectors[1].outlet.energy))
        deliver()
    end(1, "Local", "04A2B3C4D5E6F7")
    deliver()
print("END")
"""
)


WRITING = (
    SURROUNDINGS
    + """
def pieces(number, count):
    for _ in range(count):
        yield "%d piece\\n" % number

def write(point, number):
    # small and large, as it is and in pieces
    count = 5 if number & 1 else 800
    text = "%d whole\\n" % number * count
    point.files.write("folder/text", pieces(number, count) if number & 2 else text)

for number in range(12):
    do("write", write, number)
do("remove", lambda point: point.files.remove("folder/text"))
print("END")
"""
)
READING = (
    SURROUNDINGS
    + """
print(json.dumps(["names", 0, 0, point.files.names("folder")]))
lines = list(point.files.lines("folder/text"))
print(json.dumps(["text", 0, 0, [sorted(set(lines)), len(lines)]]))
print("END")
"""
)


@dataclass(frozen=True)
class Event:
    """Something that the charge point did: between which flash operations, and what came of it."""

    kind: str
    before: int
    after: int
    result: Any


@dataclass(frozen=True)
class Run:
    """What a program did, and the serial log."""

    events: list[Event]
    lines: list[str]


async def run(folder: Path, interpreter: Interpreter, flash: bytes, *, record: bool = False) -> Run:
    """Switch a charger on until its program has ended."""
    lines: list[str] = []
    ended = asyncio.Event()

    def serial(line: str) -> None:
        lines.append(line)
        if line in ("END", REPL):
            ended.set()

    chip = Chip(folder, interpreter, heap=None, serial=serial, record=record)
    chip.insert(flash)
    running = asyncio.create_task(chip.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
    finally:
        await chip.power_off()
        await running
    assert "END" in lines, "\n".join(lines)
    said = [json.loads(line) for line in lines if line.startswith('["') and not line.startswith('["log')]
    return Run([Event(*words) for words in said], lines)


def program(text: str) -> bytes:
    """Return a flash with a program that uses the transactions."""
    return Flash((with_modules(text, *MODULES),)).content()


def undated(message: Any) -> Any:
    """Return a message without its timestamps."""
    if isinstance(message, dict):
        return {key: undated(value) for key, value in message.items() if key != "timestamp"}
    return [undated(item) for item in message] if isinstance(message, list) else message


def check(hour: list[Event], cut: PowerCut, recovery: list[Event]) -> None:
    """Compare what the central system gets after a cut with what was recorded before it."""
    done = cut.operation - 1
    story: list[Any] = []  # all messages, in order
    for event in hour:
        if event.kind == "tell" and event.result and event.result not in story[-1:]:
            story.append(event.result)
    started = [event for event in hour if event.before < cut.operation]
    first = {sum(event.kind == "pop" and event.after <= done for event in hour)}
    first.add(sum(event.kind == "pop" for event in started))
    last = {sum(event.kind == "add" and event.after <= done for event in hour)}
    last.add(sum(event.kind == "add" for event in started))
    told = [event.result for event in recovery if event.kind == "tell" and event.result]
    rest, (start, stop) = told[:-2], told[-2:]
    assert (start[0], start[1]["idTag"], stop[1]["reason"]) == ("StartTransaction", "NEXT", "Local")

    lost = [message for message in rest if message[1].get("reason") == "PowerLoss"]
    kept = [message for message in rest if message not in lost]
    assert rest == kept + lost, "PowerLoss comes last"
    expected = [story[i:j] for i in first for j in last]
    assert undated(kept) in [undated(messages) for messages in expected], "a message is lost, repeated or invented"
    # What was in flight is the same again, with its time.
    in_flight = [event.result for event in hour if event.kind == "tell" and event.result and event.after <= done][-1:]
    if in_flight and kept and undated(kept[0]) == undated(in_flight[0]):
        assert kept[0] == in_flight[0]
    # Each transaction that had begun and not ended does so with what was known.
    recorded = story[: story.index(kept[-1]) + 1] if kept and kept[-1] in story else story[: max(first | last)]
    check_power_loss(recorded, lost, max(last))
    times = [message[1].get("timestamp") or message[1]["meterValue"][0]["timestamp"] for message in kept]
    assert all(earlier <= later for earlier, later in pairwise(times)), times


def check_power_loss(recorded: list[Any], lost: list[Any], most: int) -> None:
    """Each transaction that runs is ended once, with no less energy than was told of it."""
    identifiers = [message[1]["transactionId"] for message in lost]
    assert len(identifiers) == len(set(identifiers))
    energies: dict[int, int] = {}
    for action, payload in recorded:
        if action == "StartTransaction":
            energies[7 - payload["meterStart"]] = payload["meterStart"]
        elif action == "StopTransaction":
            energies.pop(payload["transactionId"])
        elif payload["transactionId"] in energies:
            energies[payload["transactionId"]] = int(payload["meterValue"][0]["sampledValue"][0]["value"])
    # An end that was being recorded may be there or not.
    assert len(energies) - 1 <= len(lost) <= len(energies) + 1, (energies, lost, most)
    for message in lost:
        if message[1]["transactionId"] in energies:
            assert message[1]["meterStop"] >= energies[message[1]["transactionId"]]


def after_cuts(recording: Recording, chosen: range, text: str) -> Iterator[tuple[PowerCut, bytes]]:
    """Yield the chosen power cuts, each with its flash, that has another program in its slot."""
    slot = with_modules(text, *MODULES)
    for cut in recording.power_cuts(chosen):
        flash = bytearray(cut.flash)
        flash[SLOTS[0] : SLOTS[0] + len(slot)] = slot
        yield cut, bytes(flash)


async def test_a_power_cut_leaves_a_file_as_it_was_or_as_it_was_to_be(
    tmp_path: Path, interpreter: Interpreter, everything: bool
) -> None:
    writes = (await run(tmp_path, interpreter, program(WRITING), record=True)).events
    recording = Recording(tmp_path)
    chosen = range(writes[0].before + 1, len(recording.operations) + 1, 1 if everything else EVERY_OF_FILES)
    for cut, flash in after_cuts(recording, chosen, READING):
        names, text = (await run(tmp_path, interpreter, flash)).events
        event = next(event for event in writes if event.before < cut.operation <= event.after)
        number = writes.index(event)
        expected = [content(number - 1), content(number)]
        assert text.result in expected, f"{cut.how} {cut.operation}: {text.result} instead of {expected}"
        assert names.result in ([], ["text"])


def content(number: int) -> list[Any]:
    """Return the different lines of the file of WRITING, and how many lines it has; the last step removes it."""
    if not 0 <= number < 12:
        return [[], 0]
    return [[f"{number} {'piece' if number & 2 else 'whole'}"], 5 if number & 1 else 800]


async def test_a_power_cut_costs_no_message_of_a_transaction(
    tmp_path: Path, interpreter: Interpreter, everything: bool, tell: Callable[[str], None]
) -> None:
    hour = (await run(tmp_path, interpreter, program(HOUR), record=True)).events
    recording = Recording(tmp_path)
    begun = next(event.before for event in hour if event.kind == "add")
    chosen = range(begun + 1, len(recording.operations) + 1, 1 if everything else EVERY)
    for cut, flash in after_cuts(recording, chosen, RECOVERY):
        outcome = await run(tmp_path, interpreter, flash)
        try:
            check(hour, cut, outcome.events)
        except AssertionError as error:
            log = "\n".join(outcome.lines)
            raise AssertionError(f"power cut {cut.how} flash operation {cut.operation}: {error}\n{log}") from error
    tell(f"power cuts, transactions: {2 * len(chosen)} of {2 * (len(recording.operations) - begun)}")


async def test_hundreds_of_transactions_of_an_outage_are_told_in_order(
    tmp_path: Path, interpreter: Interpreter, everything: bool
) -> None:
    for samples in (0, 1, 8, 60) if everything else (8,):
        text = OUTAGE.replace("SAMPLES", str(samples))
        check_outage((await run(tmp_path, interpreter, program(text))).events, samples)


def check_outage(events: list[Event], samples: int) -> None:
    """Check what is told after an outage with so many samples in each of its transactions."""
    count = sum(event.kind == "add" and event.result is True for event in events)
    assert count == 300 if not samples else count >= 200
    told = [event.result for event in events if event.kind == "tell" and event.result]
    acts = [action for action, _ in told if action != "MeterValues"]
    starts_and_stops = ["StartTransaction", *["StartTransaction", "StopTransaction"] * (count - 1), "StopTransaction"]
    assert acts == starts_and_stops
    # The first of them keep all their meter values, the last ones none, and each is within its transaction.
    assert [action for action, _ in told].index("StopTransaction") == 2 + samples
    assert [action for action, _ in told[-3:]] == ["StartTransaction", "StopTransaction", "StopTransaction"]
    open_ones = set()
    for action, payload in told:
        if action == "StartTransaction":
            open_ones.add(7 - payload["meterStart"])
        elif action == "StopTransaction":
            open_ones.discard(payload["transactionId"])
        else:
            assert payload["transactionId"] in open_ones
    free = [event.result for event in events if event.kind == "free"]
    assert free[0] - free[1] <= 90, "blocks of 4 KiB for 600 messages"
    assert free[0] - free[2] <= 8


async def test_transactions_end_also_when_the_file_system_is_full(tmp_path: Path, interpreter: Interpreter) -> None:
    events, lines = vars(await run(tmp_path, interpreter, program(FULL))).values()
    begun = sum(event.kind == "add" and event.result is True for event in events)
    assert "file system is full" in "".join(lines)
    told = [event.result[0] for event in events if event.kind == "tell" and event.result]
    assert begun < 240
    assert (told.count("StartTransaction"), told.count("StopTransaction")) == (begun, begun)


async def test_wear(tmp_path: Path, interpreter: Interpreter, tell: Callable[[str], None]) -> None:
    """Erases are what wears flash: 100,000 of each of the 240 blocks."""
    for count, samples in ((100, 0), (5, 60)):
        text = WEAR.replace("COUNT", str(count)).replace("SAMPLES", str(samples))
        events = (await run(tmp_path, interpreter, program(text), record=True)).events
        start = next(event.before for event in events if event.kind == "add")
        operations = Recording(tmp_path).operations[start:]
        messages = sum(event.kind == "pop" for event in events)
        assert messages == count * (samples + 2)
        erases = sum(operation.length // SECTOR for operation in operations if not operation.data) / messages
        programs = sum(bool(operation.data) for operation in operations) / messages
        size = sum(len(operation.data) for operation in operations) / messages
        assert erases < 0.2
        text = f"a message of transactions with {samples} MeterValues: "
        tell(text + f"{erases:.3f} erases, {programs:.1f} programs, {size:.0f} bytes")
