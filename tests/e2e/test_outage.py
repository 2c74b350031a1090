"""The central system can't be reached for a week, with several transactions a day and a power cut each day.

The week is that of the firmware's clock: the charge point, its files, its records and its meter are the real ones, on
the flash of the simulated chip; the time, the car and the card are those of a script, which goes from event to event.
The whole charger with its time sped up would take hours for it: the loop of its EVSE has twelve million turns a week.

A charger without a battery has no time after a power cut. Here the time comes back with the power, as from a central
system that answers BootNotification with Pending and takes no messages (4.2); once it is hours late, in the middle of a
transaction, and once it doesn't come before the next power cut.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ocpp.messages import Call

import build
from central_system import Payload, schema_error
from environment import REPOSITORY
from simulator import manufacture
from simulator.chip import Chip
from simulator.flash import ENTRY, ERASE, HALF, SECTOR
from simulator.interpreter import Interpreter
from slots import IMAGE, REPL, Flash

WATTS = 3680
INTERVAL = 300  # seconds between two MeterValues
OFF = 600  # seconds without power after a cut
DAY = 86400
# (hours, minutes of charging, idTag, how it ends)
SESSIONS = [
    (1, 92, "AA", "Local"),
    (7.5, 47, "BB", "EVDisconnected"),
    (12, 123, "CC", "Local"),
    (18.5, 151, "DD", "Local"),
]
# (day, hours, at which flash operation from then on, in its middle?)
CUTS = [
    (0, 2.0, 3, 1),
    (1, 12.0, 5, 1),  # a transaction begins
    (2, 21.01, 2, 1),  # one ends
    (3, 19.3, 8, 0),
    (4, 3.0, 1, 1),  # the next one begins
    (5, 7.9, 11, 1),
    (6, 13.01, 6, 0),
    (7, 0, 150, 1),  # while the messages are delivered
]
# After that cut (the first is 1): hours until the time is known.
LATE = {3: 15.95, 4: 1000}
NO_TIME = (4,)
BEGIN = 1787270400  # 2026-08-21T00:00:00Z
PATIENCE = 100
ENDURANCE = 100_000  # erases that a sector of the flash bears
YEARS = 10

MODULES = (
    "hw/files.py",
    "hw/meter.py",
    "hw/store.py",
    *(f"ocpp/{path.name}" for path in (REPOSITORY / "ocpp").glob("*.py")),
)
WEEK = """
import json
import struct

import esp32
import machine
import station
from hw.files import Files
from hw.meter import Meter
from hw.store import Store
from ocpp import transactions

# What is around the charger is in the page that the desk shares with the chip: no power cut changes it.
NOW, DRAWN, BOOTS, NEXT = (800, "<I"), (808, "<Q"), (816, "<I"), (820, "<I")  # Unix s, Ws, starts, the next cut
state = machine.soc.state


def say(*words):
    print(json.dumps(words))


def here():
    return state.get(NOW), state.get(DRAWN) / 3600


class Clock:
    seconds = None

    def __init__(self):
        self.began = state.get(NOW)

    def now(self):
        return state.get(NOW) if self.seconds else None

    def uptime(self):
        return state.get(NOW) - self.began


class Outlet(station.Outlet):
    def __init__(self):
        store = Store("arus")
        count = int((store.get("meter") or b"0 1000").split()[0])
        self.meter = Meter(count, 1000, 1, 230, store, "meter")
        super().__init__()

    energy = property(lambda self: self.meter.energy(), lambda self, value: None)

    def keep(self):
        self.meter.keep()


class Charger(station.Station):
    def reset(self, clock=True):
        self.store, self.files, self.clock = Store("arus"), Files("/data"), Clock()
        super().reset()
        self.session.registered = False
        self.point.log = lambda *words: say("log", *[str(word) for word in words])


station.Outlet = Outlet
station.forget = lambda: None


def passes(seconds):
    now, drawn = state.get(NOW), state.get(DRAWN)
    if outlet.closed:
        outlet.meter.count += (drawn + seconds * WATTS) // 3600 - drawn // 3600
        state.set(DRAWN, drawn + seconds * WATTS)
    state.set(NOW, now + seconds)


def until(moment):
    while state.get(NOW) < moment:
        wait = point.fire()
        if wait:
            passes(min(wait, moment - state.get(NOW)))
    charger.settle()


def cut():
    "Have the power fail at one of the next flash operations."
    number = state.get(NEXT)
    state.set(NEXT, number + 1)
    log = esp32.flash._log
    log.seek(0)
    log.write(struct.pack("<II", esp32.flash.count + CUTS[number][2], 1 + CUTS[number][3]))


def plug(tag, minutes):
    say("plug", tag, *here())
    outlet.becomes("B")
    charger.card(tag)
    outlet.becomes("C")
    say("begun", *here())


def unplug(tag, reason):
    say("ending", reason, *here())
    if reason == "Local" and point.connectors[1].transaction:
        charger.card(tag)
        outlet.becomes("B")
    outlet.becomes("A")
    say("ended", *here())


def clock_comes():
    charger.clock.seconds = True


def deliver():
    charger.session.registered = True
    if state.get(NEXT) == len(CUTS) - 1:
        cut()
    while True:
        head = point.peek()
        if not head:
            return
        say("tell", *head)
        answer = {"idTagInfo": {"status": "Accepted"}}
        if head[0] == "StartTransaction":
            answer["transactionId"] = 1 + head[1]["meterStart"]
        point.pop(answer if head[0] != "MeterValues" else {})
        charger.settle()


boots = state.get(BOOTS)
state.set(BOOTS, boots + 1)
if boots:
    say("failed", *here())
    state.set(NOW, state.get(NOW) + OFF)
else:
    state.set(NOW, BEGIN)
charger = Charger(1, MeterValueSampleInterval=INTERVAL, StopTxnSampledData="Energy.Active.Import.Register",
    AllowOfflineTxForUnknownId="true")
point, outlet = charger.point, charger.outlets[0]
say("on", *here())
say("policy", [transactions._every(waiting) for waiting in range(600)])

plan = [(state.get(NOW) + int(LATE.get(str(boots), 0) * 3600), clock_comes, ())]
for day in range(7):
    for hours, minutes, tag, reason in SESSIONS:
        start = BEGIN + day * 86400 + int(hours * 3600)
        plan.append((start, plug, (tag, minutes)))
        plan.append((start + minutes * 60, unplug, (tag, reason)))
for day, hours, _, _ in CUTS[state.get(NEXT) : -1]:
    plan.append((BEGIN + day * 86400 + int(hours * 3600), cut, ()))
plan.sort(key=lambda entry: entry[0])
for moment, function, arguments in plan:
    if moment >= state.get(NOW) and moment < BEGIN + 7 * 86400:
        until(moment)
        function(*arguments)
until(BEGIN + 7 * 86400)
deliver()
say("END")
"""


@dataclass
class Charge:
    """What happened at the plug: in Unix seconds, and Wh that the car had drawn by then."""

    tag: str
    boot: int
    begin: float
    drawn: float
    end: float = 0
    drawn_by_the_end: float = 0
    reasons: tuple[str, ...] = ()
    is_certain: bool = True  # False: the power failed while its begin was being recorded

    def ends(self, now: float, drawn: float, *reasons: str) -> None:
        self.end, self.drawn_by_the_end, self.reasons = now, drawn, (*self.reasons, *reasons)


def charges(said: list[Any]) -> list[Charge]:
    """Return what happened at the plug, in order."""
    found: list[Charge] = []
    charging = False
    boot = 0
    for kind, *words in said:
        if kind == "plug":
            found.append(Charge(words[0], boot, words[1], words[2], is_certain=False))
            charging = True
        elif kind == "begun":
            found[-1].is_certain = True
        elif kind == "ending" and charging:
            found[-1].ends(*words[1:], words[0])
        elif kind == "ended":
            charging = False
        elif kind == "failed":
            if charging:
                found[-1].ends(*words, "PowerLoss")
            charging = False
            boot += 1
    return found


@dataclass(frozen=True)
class Transaction:
    """What the central system got of one: its messages."""

    position: int  # of its first message in the queue
    start: Payload
    values: list[tuple[float, int]]  # (Unix seconds, Wh)
    stop: Payload


def transactions(told: list[Any]) -> list[Transaction]:
    """Put the messages together; there was one connector, so that they come transaction by transaction."""
    found: list[Transaction] = []
    number: int | None = None
    for position, (action, payload) in enumerate(told):
        if action == "StartTransaction":
            assert number is None, "the last one has not ended"
            number = 1 + payload["meterStart"]
            found.append(Transaction(position, payload, [], {}))
            continue
        assert payload["transactionId"] == number
        if action == "StopTransaction":
            found[-1].stop.update(payload)
            number = None
            continue
        (value,) = payload["meterValue"]
        energies = [sample["value"] for sample in value["sampledValue"] if sample["measurand"].endswith("Register")]
        found[-1].values.append((seconds(value["timestamp"]), int(energies[0])))
    assert number is None
    return found


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def due(transaction: Transaction, end: float, policy: list[int]) -> list[int]:
    """Return which MeterValues of a transaction the charger keeps; the first one that is due is number 1.

    policy: of how many it keeps one, 0 for none, by the number of messages that wait; nothing is delivered meanwhile.
    """
    numbers: list[int] = []
    for number in range(1, int(end - 1) // INTERVAL + 1):
        step = policy[transaction.position + 1 + len(numbers)]
        if step and number % step == 0:
            numbers.append(number)
    return numbers


def check(transaction: Transaction, charge: Charge, policy: list[int]) -> None:
    """Compare what was told of a transaction with what happened."""
    start, stop = transaction.start, transaction.stop
    begin, end = seconds(start["timestamp"]), seconds(stop["timestamp"])
    assert (start["connectorId"], start["idTag"]) == (1, charge.tag)
    assert stop["reason"] in charge.reasons
    lost = stop["reason"] == "PowerLoss"
    if charge.boot in NO_TIME:
        # As late as can be: as if the charger had been without power for no time at all.
        assert 0 <= begin - charge.begin <= DAY
    else:
        assert abs(begin - charge.begin) <= 1
        assert end - 1 <= charge.end
    # What a power cut costs is no more than what was drawn since the last sample.
    cost = INTERVAL if lost else 1
    assert charge.end - charge.begin - cost <= end - begin <= charge.end - charge.begin + 1
    drawn = charge.drawn_by_the_end - charge.drawn
    assert drawn - WATTS * (cost if lost else 0) / 3600 - 1 <= stop["meterStop"] - start["meterStart"] <= drawn + 1
    assert stop.get("idTag") == (charge.tag if stop["reason"] == "Local" else None)
    kept = [round((moment - begin) / INTERVAL) for moment, _ in transaction.values]
    expected = due(transaction, charge.end - charge.begin, policy)
    assert kept == expected or lost and kept == expected[:-1], f"{kept} instead of {expected}"
    for moment, energy in transaction.values:
        assert abs(energy - start["meterStart"] - (moment - begin) * WATTS / 3600) <= 1.01
    data = [int(value["sampledValue"][0]["value"]) for value in stop.get("transactionData", [])]
    assert data == sorted(data)


def erases(folder: Path) -> Counter[int]:
    """Return how often each sector of the flash has been erased."""
    log = (folder / "operations").read_bytes()
    counts: Counter[int] = Counter()
    for address, kind_and_length in struct.iter_unpack("<II", log[ENTRY:]):
        if kind_and_length >> 24 & ~HALF == ERASE:
            length = kind_and_length & 0xFFFFFF
            counts.update(range(address // SECTOR, (address + length) // SECTOR))
    return counts


def partition(sector: int) -> str:
    return next(label for label, _, _, start, size in manufacture.OTA_4MIB if start <= sector * SECTOR < start + size)


async def run(folder: Path, interpreter: Interpreter) -> list[Any]:
    """Let the week pass; return what the program has said."""
    folders = {f"{name.rpartition('/')[0]}/__init__.py": b"" for name in MODULES}
    files = {name: (REPOSITORY / name).read_bytes() for name in MODULES}
    files |= {name: (REPOSITORY / "tests/unit" / name).read_bytes() for name in ("station.py", "scripted.py")}
    values = {"BEGIN": BEGIN, "WATTS": WATTS, "INTERVAL": INTERVAL, "OFF": OFF, "CUTS": CUTS, "SESSIONS": SESSIONS}
    values["LATE"] = {str(boot): hours for boot, hours in LATE.items()}
    settings = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    program = build.bundle({"main.py": (settings + WEEK).encode(), **folders, **files}, "1")
    said: list[Any] = []
    lines: list[str] = []
    ended = asyncio.Event()

    def serial(line: str) -> None:
        lines.append(line)
        if line.startswith('["'):
            said.append(json.loads(line))
        if line in (REPL, '["END"]'):
            ended.set()

    chip = Chip(folder, interpreter, heap=None, serial=serial)
    chip.insert(Flash((build.update_file(IMAGE, program),)).content())
    running = asyncio.create_task(chip.run())
    try:
        async with asyncio.timeout(PATIENCE):
            waiting = asyncio.create_task(ended.wait())
            await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
    finally:
        await chip.power_off()
        await running
    assert ["END"] in said, "\n".join(lines[-50:])
    return said


def delivered(said: list[Any]) -> list[Any]:
    """Return the messages of transactions; the one in flight at the power cut may have come twice, identical."""
    told = [words[1:] for words in said if words[0] == "tell" and words[1] != "StatusNotification"]
    repeated = [position for position in range(1, len(told)) if told[position] == told[position - 1]]
    assert len(repeated) <= 1
    return [message for position, message in enumerate(told) if position not in repeated]


async def test_a_week_without_the_central_system_costs_nothing(
    tmp_path: Path, interpreter: Interpreter, tell: Callable[[str], None]
) -> None:
    said = await run(tmp_path, interpreter)
    assert sum(words[0] == "failed" for words in said) == len(CUTS)
    told = delivered(said)
    for action, payload in told:
        assert not schema_error(Call("1", action, payload))
    found = transactions(told)
    (policy,) = next(words for kind, *words in said if kind == "policy")
    happened = charges(said)
    for transaction in found:
        while transaction.start["idTag"] != happened[0].tag:
            assert not happened.pop(0).is_certain, "a transaction is lost"
        check(transaction, happened.pop(0), policy)
    assert not happened
    dates = [payload.get("timestamp") or payload["meterValue"][0]["timestamp"] for _, payload in told]
    assert dates == sorted(dates)
    counts = erases(tmp_path)
    sector, most = counts.most_common(1)[0]
    assert most * 52 * YEARS <= ENDURANCE, f"sector {sector} of {partition(sector)} would not last {YEARS} years"
    values = sum(len(transaction.values) for transaction in found)
    text = f"a week's outage: {len(found)} transactions, {values} MeterValues, {len(CUTS)} power cuts; "
    for name in ("nvs", "vfs"):
        these = [counts[number] for number in counts if partition(number) == name]
        text += f"{sum(these)} erases of {name}, {max(these)} of its most worn sector; "
    tell(text + f"at that rate a sector bears it for {ENDURANCE // (52 * most)} years")
