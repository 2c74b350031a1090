"""The power fails before and in the middle of flash operations of a charger in use, and comes back.

The hour of charging_hour.py is recorded once, with what the central system and the cars knew at each flash operation.
Each cut then starts from the flash that it would have left, so that only the recovery runs: every message of a
transaction has to arrive once and in order, be it that the one in flight is repeated, with the energy that the cars
have drawn; everything else that is durable is as it was before or after the change that the cut came into; cars charge.

What a power cut may cost: of a transaction that ran, what was drawn since its energy was noted last. The charger notes
it with each of its messages and samples (transactions.py), which bounds it by the energy between two of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio

from central_system import Payload
from charging_hour import CONNECTORS, MESSAGES, SAMPLE_INTERVAL, BusyCharger, Hour, is_known, look, undo, until_cut
from oca import AMPS, FRIEND, TAG, Charger
from simulator.interpreter import Interpreter
from simulator.recording import PowerCut, Recording

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The suite tries the cuts at one operation in so many; primes, so that operations of each kind have their turn.
EVERY = 29
EVERY_LIVE = 401
EVERY_LIVE_OF_ALL = 29  # ... with --all
WATTS = AMPS * 230

Message = tuple[str, Payload]
How = Literal["before", "middle"]


@dataclass(frozen=True)
class Uncut:
    """The hour that nothing disturbed."""

    recording: Recording
    begun: int  # the flash operations before it
    hour: Hour
    transactions: dict[int, Payload]

    def drawn(self, cut: PowerCut) -> tuple[float, float]:
        """Wh that the cars had drawn at that cut: at least, and at most."""
        least = max(moment.before for moment in self.hour.moments if moment.operations < cut.operation)
        later = [moment.after for moment in self.hour.moments if moment.operations >= cut.operation]
        return least, min(later, default=self.hour.moments[-1].after)

    def values(self, name: str, cut: PowerCut) -> list[Any]:
        """What something durable may be after that cut."""
        values = [self.hour.first[name]]
        for change in self.hour.changes:
            if change.name == name and change.began < cut.operation:
                values = [change.value] if change.done < cut.operation else [*values, change.value]
        return values


async def record(charger: Charger) -> Uncut:
    """Play the hour and return its recording."""
    hour = Hour(charger)
    await charger.settled()
    begun = charger.chip.operations
    async with hour.noted():
        await hour.play()
    assert not charger.central.violations
    await charger.chip.power_off()  # nothing is written any more
    return Uncut(Recording(charger.chip.folder), begun, hour, dict(charger.central.transactions))


# ---------------------------------------------------------------------------------------------------- the transactions


def check_messages(uncut: Uncut, cut: PowerCut, told: list[Message]) -> list[Message]:
    """Compare what the central system got after a cut with the hour; return all that it knows in the end."""
    story = [(message.action, message.payload) for message in uncut.hour.told]
    received = sum(message.operations < cut.operation for message in uncut.hour.told)
    lost = [message for message in told if message[1].get("reason") == "PowerLoss"]
    kept = told[: len(told) - len(lost)]
    assert told == kept + lost, "PowerLoss comes last"
    first = received - 1 if received and kept[:1] == [story[received - 1]] else received
    last = first + len(kept)
    assert kept == story[first:last], "a message is lost, repeated or invented"
    # What had been recorded by then has arrived.
    last = max(last, received)
    known = story[:last]
    begun, ended = max(
        ((begun, ended) for done, begun, ended in uncut.hour.made if done < cut.operation), default=(0, 0)
    )
    actions = [action for action, _ in known]
    assert actions.count("StartTransaction") >= begun, "a transaction is lost"
    assert actions.count("StopTransaction") >= ended, "the end of a transaction is lost"
    check_energy(uncut, cut, known, story[last:], [payload for _, payload in lost])
    dates = [moment(message) for message in known]
    assert dates == sorted(dates)
    for message in lost:
        assert moment(message) >= max(
            moment(other) for other in known if is_of(uncut, message[1]["transactionId"], other)
        )
    return known + lost


def check_energy(uncut: Uncut, cut: PowerCut, known: list[Message], later: list[Message], lost: list[Payload]) -> None:
    """Each transaction that ran has ended, once, with no less than was told of it; and the energy of all is right."""
    running = {number for number, start in uncut.transactions.items() if ("StartTransaction", start) in known}
    running -= {payload["transactionId"] for action, payload in known if action == "StopTransaction"}
    assert sorted(payload["transactionId"] for payload in lost) == sorted(running), "what ran ends with PowerLoss"
    arrived = sum(
        payload["meterStop"] - uncut.transactions[payload["transactionId"]]["meterStart"]
        for payload in [*lost, *(payload for action, payload in known if action == "StopTransaction")]
    )
    cost = 0
    for payload in lost:
        number = payload["transactionId"]
        noted = energies(uncut, number, known)[-1]
        assert payload["meterStop"] >= noted, "less than was told before"
        cost += max(energies(uncut, number, later)[0] - noted, 1)
    least, most = uncut.drawn(cut)
    # Each meter has whole Wh; what is left over of one is in the next transaction.
    cost += len(CONNECTORS)
    assert least - cost <= arrived <= most, f"{arrived} Wh of {least} to {most}, where the cut may cost {cost}"


def energies(uncut: Uncut, number: int, messages: list[Message]) -> list[int]:
    """What these messages say of the register of a transaction."""
    found = []
    for action, payload in messages:
        if not is_of(uncut, number, (action, payload)):
            continue
        if action == "MeterValues":
            samples = payload["meterValue"][0]["sampledValue"]
            found += [int(sample["value"]) for sample in samples if sample["measurand"].endswith("Register")]
        else:
            found.append(payload["meterStart" if action == "StartTransaction" else "meterStop"])
    return found


def is_of(uncut: Uncut, number: int, message: Message) -> bool:
    """Whether a message belongs to that transaction."""
    return message[1] == uncut.transactions[number] or message[1].get("transactionId") == number


def moment(message: Message) -> str:
    """When it was."""
    payload = message[1]
    return str(payload["timestamp"] if "timestamp" in payload else payload["meterValue"][0]["timestamp"])


# --------------------------------------------------------------------------------------------------------- the recovery


async def check_recovery(charger: Charger, uncut: Uncut, cut: PowerCut) -> None:
    """Switch the charger on after a cut and see what the central system makes of it all."""
    await charger.desk.start_from(cut.flash)
    charger.mark = charger.line = 0
    charger.central.transactions.clear()
    charger.central.transactions.update(uncut.transactions)
    await charger.restarted()
    await charger.settled()
    known = check_messages(uncut, cut, messages(charger))
    values = await look(charger)
    for name, value in values.items():
        possible = uncut.values(name, cut)
        assert value in possible, f"{name} is {value}, it should be one of {possible}"
    await check_service(charger, uncut, cut, values["list"], known)
    assert not charger.central.violations


async def check_service(charger: Charger, uncut: Uncut, cut: PowerCut, version: int, known: list[Message]) -> None:
    """Cars charge at each connector; idTags are known as they should be, and what is new has energies after the old."""
    await charger.ask("ChangeAvailability", connectorId=0, type="Operative")
    answered = {payload.get("idTag") for _, payload in messages(charger)}
    cached, listed = await is_known(charger, TAG, 1), await is_known(charger, FRIEND, 2)
    cached_before = uncut.values("cached", cut)
    assert cached in cached_before or (cached and TAG in answered), f"cached: {cached} of {cached_before}"
    # By then the other one may be in the cache.
    assert listed or version < 2, "the local list is not what its version says"
    last: dict[int, int] = {}
    for number, start in uncut.transactions.items():
        last[start["connectorId"]] = max([last.get(start["connectorId"], 0), *energies(uncut, number, known)])
    count = len(charger.messages("StopTransaction"))
    for start in charger.messages("StartTransaction")[-2:]:
        assert start["meterStart"] >= last.get(start["connectorId"], 0), "the register has gone back"
    for connector in CONNECTORS:
        await charger.draws(connector)
        charger.chip.unplug(connector)
    await charger.message("StopTransaction", count + 2)


def messages(charger: Charger) -> list[Message]:
    """The messages of transactions that have come."""
    frames = charger.central.frames[charger.mark :]
    return [(frame.action, frame.payload) for frame in frames if any(frame.asks(action) for action in MESSAGES)]


def failed(charger: Charger, what: str, error: BaseException) -> AssertionError:
    log = "\n".join(charger.lines[charger.line :])
    return AssertionError(f"power cut {what}: {error}\nTold:\n{messages(charger)}\nThe serial log:\n{log}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def charger(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> AsyncIterator[Charger]:
    folder = tmp_path_factory.mktemp("recorded")
    async with BusyCharger(folder, interpreter, record=True) as charger:
        yield charger


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def uncut(charger: Charger) -> Uncut:
    return await record(charger)


async def test_a_power_cut_costs_a_charger_nothing_but_the_energy_since_its_last_note(
    charger: Charger, uncut: Uncut, everything: bool, tell: Callable[[str], None]
) -> None:
    operations = len(uncut.recording.operations)
    chosen = range(uncut.begun + 1, operations + 1, 1 if everything else EVERY)
    for cut in uncut.recording.power_cuts(chosen):
        try:
            await check_recovery(charger, uncut, cut)
        except (AssertionError, TimeoutError, OSError) as error:
            raise failed(charger, f"{cut.how} flash operation {cut.operation} of {operations}", error) from error
    tell(f"power cuts of a charger in use: {2 * len(chosen)} of {2 * (operations - uncut.begun)}")


# ---------------------------------------------------------------------------------------------------------------- live


async def check_live_cut(charger: Charger, stage: int, at: int, how: How) -> None:
    """Cut the power once while people charge, and see what the central system makes of it all."""
    async with charger.scenario():
        hour = Hour(charger)
        drawn = hour.drawn()
        charger.chip.cut_power(at, how)
        await until_cut(charger, hour.stages[stage])
        charger.go_online()
        boots = len(charger.messages("BootNotification"))
        await charger.until(lambda: len(charger.messages("BootNotification")) > boots, "BootNotification")
        await charger.restarted(boots + 1)
        await charger.settled()
        told = [message for message, _ in groupby(messages(charger))]
        assert len(messages(charger)) <= len(told) + 1, "more than the message in flight was repeated"
        arrived = check_pairs(charger, told)
        lost = [payload for _, payload in told if payload.get("reason") == "PowerLoss"]
        # What is drawn in two intervals of samples: one, and what the desk may be late.
        cost = 2 * WATTS * SAMPLE_INTERVAL // 3600 * len(lost) + len(CONNECTORS)
        drawn = hour.drawn() - drawn
        assert drawn - cost <= arrived <= drawn + 1, f"{arrived} Wh of {drawn}"
        await undo(charger)


def check_pairs(charger: Charger, told: list[Message]) -> int:
    """Each transaction begins once, then ends once, with what belongs to it in between. Return the Wh of all."""
    open_ones: dict[int, int] = {}  # transactionId -> meterStart
    arrived = 0
    for action, payload in told:
        if action == "StartTransaction":
            number = next(number for number, start in charger.central.transactions.items() if start == payload)
            assert number not in open_ones
            open_ones[number] = payload["meterStart"]
        elif action == "StopTransaction":
            arrived += payload["meterStop"] - open_ones.pop(payload["transactionId"])
        else:
            assert payload["transactionId"] in open_ones
    assert not open_ones, f"never ended: {open_ones}"
    return arrived


async def test_a_power_cut_while_people_charge_does_what_the_recorded_ones_do(
    tmp_path: Path, interpreter: Interpreter, uncut: Uncut, everything: bool, tell: Callable[[str], None]
) -> None:
    cuts: list[tuple[int, int, How]] = []
    for stage, length in enumerate(uncut.hour.lengths):
        cuts += [(stage, at, how) for at in range(1, length) for how in ("before", "middle")]
    every = EVERY_LIVE_OF_ALL if everything else EVERY_LIVE
    chosen = cuts[every // 2 :: every]
    async with BusyCharger(tmp_path, interpreter) as charger:
        for stage, at, how in chosen:
            try:
                await check_live_cut(charger, stage, at, how)
            except (AssertionError, TimeoutError, OSError) as error:
                name = Hour(charger).stages[stage].__name__
                raise failed(charger, f"{how} flash operation {at} of {name}", error) from error
    tell(f"power cuts of a charger in use, live: {len(chosen)} of {len(cuts)}")
