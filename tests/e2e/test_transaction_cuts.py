"""The power fails at the flash operations of transactions; and how much these wear the flash.

A scripted hour is recorded once, with how many flash operations there were by each event. Each cut then starts from the
flash that it would have left, with a program that delivers what is there.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from simulator.chip import Chip
from simulator.flash import SECTOR
from simulator.interpreter import Interpreter
from simulator.recording import PowerCut, Recording
from slots import SLOTS, Flash, with_modules

EVERY = 7  # the suite tries the cuts at one operation in so many; a prime
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
from ocpp import transactions
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
    head = do("tell", transactions.peek)
    if head:
        answer = {"idTagInfo": {"status": "Accepted"}}
        if head[0] == "StartTransaction":
            answer["transactionId"] = 7 - head[1]["meterStart"]
        do("refuse" if refused else "pop", transactions.pop, None if refused else answer)
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
do("tell", transactions.peek)
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
WEEK = (
    SURROUNDINGS
    + """
clock.seconds = NOON
do("resume", transactions.resume)
for number in range(COUNT):
    begin(1, "04A2B3C4D5E6F7")
    deliver()
    for _ in range(SAMPLES):
        passes(60)
        if WITH_DATA:
            sample(1)
        else:
            do("add", transactions.meter_values, point.connectors[1], value(point.connectors[1].outlet.energy))
        deliver()
    end(1, "Local", "04A2B3C4D5E6F7")
    deliver()
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


async def run(chip: Chip, lines: list[str]) -> list[Event]:
    """Switch on until the program has ended; return what it did. The chip's serial log goes to `lines`."""
    lines.clear()
    running = asyncio.create_task(chip.run())
    try:
        async with asyncio.timeout(PATIENCE):
            while "END" not in lines:
                await asyncio.sleep(0.005)
                assert not any(line.startswith("Traceback") for line in lines), lines
    finally:
        await chip.power_off()
        await running
    said = [json.loads(line) for line in lines if line.startswith('["') and not line.startswith('["log')]
    return [Event(*words) for words in said]


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
    in_flight = [event.result for event in started if event.kind == "tell" and event.result][-1:]
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


async def test_a_power_cut_costs_no_message_of_a_transaction(
    tmp_path: Path, interpreter: Interpreter, everything: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    chip = Chip(tmp_path, interpreter, heap=None, serial=lines.append, record=True)
    chip.insert(Flash((with_modules(HOUR, *MODULES),)).content())
    hour = await run(chip, lines)
    recording = Recording(tmp_path)
    begun = next(event.before for event in hour if event.kind == "add")
    chosen = range(begun + 1, len(recording.operations) + 1, 1 if everything else EVERY)
    recovery = with_modules(RECOVERY, *MODULES)
    for cut in recording.power_cuts(chosen):
        flash = bytearray(cut.flash)
        flash[SLOTS[0] : SLOTS[0] + len(recovery)] = recovery
        chip.insert(bytes(flash))
        try:
            check(hour, cut, await run(chip, lines))
        except (AssertionError, TimeoutError) as error:
            log = "\n".join(lines)
            raise AssertionError(f"power cut {cut.how} flash operation {cut.operation}: {error}\n{log}") from error
    with capsys.disabled():
        print(f"\npower cuts, transactions: {2 * len(chosen)} of {2 * (len(recording.operations) - begun)}")
