"""The messages of transactions: none is lost, none comes twice, and they come in order, whatever disturbs them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from ocpp.exceptions import InternalError

from central_system import Frame, Payload, answer, no_answer, refuse
from oca import SPEED, TAG, TRANSACTIONS, Charger
from simulator.interpreter import Interpreter

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST, SECOND, THIRD = "first", "second", "third"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> AsyncIterator[Charger]:
    async with Charger(tmp_path_factory.mktemp("charging"), interpreter) as charger:
        yield charger


@pytest_asyncio.fixture(loop_scope="module")
async def charger(shared: Charger) -> AsyncIterator[Charger]:
    async with shared.scenario():
        yield shared


async def begin(charger: Charger, tag: str = TAG) -> None:
    """Have the car that is there charge, by a remote start."""
    await charger.ask("RemoteStartTransaction", idTag=tag, connectorId=1)
    await charger.logged(f"transaction of {tag} begins")
    await charger.draws()


def frames(charger: Charger, action: str) -> list[Frame]:
    return [frame for frame in charger.central.frames[charger.mark :] if frame.asks(action)]


def seconds_between(charger: Charger, action: str) -> list[float]:
    """Seconds of the charger's time between its calls with this action."""
    times = [frame.time for frame in frames(charger, action)]
    return [(later - former).total_seconds() * SPEED for former, later in itertools.pairwise(times)]


@pytest.mark.parametrize("at", [1, 5, 13])
async def test_a_power_cut_while_a_transaction_is_recorded(charger: Charger, at: int) -> None:
    """Whatever was started is stopped, once and in order; what is repeated is identical."""
    await charger.plug()
    boots = len(charger.chip.boots)
    charger.chip.cut_power(at, "middle")
    while len(charger.chip.boots) == boots:
        await asyncio.sleep(0.01)  # while it is not connected a call fails at once, and nothing else would get its turn
        with suppress(OSError, TimeoutError):
            await charger.call("RemoteStartTransaction", idTag=TAG, connectorId=1)
            await charger.passes(4)
            if charger.central.transactions:
                await charger.call("RemoteStopTransaction", transactionId=max(charger.central.transactions))
            await charger.passes(2)
    await charger.restarted()
    await charger.settled()
    await begin(charger, "after")
    await charger.message("StartTransaction", idTag="after")
    messages: list[Payload] = []
    for frame in charger.central.frames[charger.mark :]:
        if (frame.asks("StartTransaction") or frame.asks("StopTransaction")) and frame.payload not in messages[-1:]:
            messages.append(frame.payload)
    assert [("idTag" if "meterStart" in message else "reason") for message in messages] == [
        *(["idTag", "reason"] * (len(messages) // 2)),
        "idTag",
    ]
    for start, stop in zip(messages[::2], messages[1::2], strict=False):
        assert charger.central.transactions[stop["transactionId"]] == start
        assert start["meterStart"] <= stop["meterStop"]


async def test_messages_that_an_outage_holds_up_come_in_order(charger: Charger) -> None:
    """A transaction is started and stopped, and another started, with no answer to the first StartTransaction."""
    charger.answers("StartTransaction", no_answer)
    await charger.plug()
    await begin(charger, FIRST)
    await charger.message("StartTransaction")
    await charger.ask("Reset", type="Hard")
    await charger.restarted()
    await charger.message("StartTransaction", 2)
    await begin(charger, SECOND)
    charger.go_offline()
    charger.answers("StartTransaction", charger.take_transaction)
    charger.go_online()
    await charger.message("StartTransaction", idTag=SECOND)
    repeated = charger.messages("StartTransaction", idTag=FIRST)
    assert charger.story(*TRANSACTIONS) == [f"Start {FIRST}"] * len(repeated) + ["Stop HardReset", f"Start {SECOND}"]
    assert all(payload == repeated[0] for payload in repeated)
    stop = charger.messages("StopTransaction")[0]
    assert charger.central.transactions[stop["transactionId"]] == repeated[0]


async def test_a_start_that_the_central_system_cannot_take_now_is_tried_again_later(charger: Charger) -> None:
    await charger.configure(TransactionMessageAttempts=4, TransactionMessageRetryInterval=5)
    charger.answers("StartTransaction", refuse(InternalError("no database")))
    await charger.plug()
    await begin(charger)
    await charger.message("StartTransaction", 2)
    charger.answers("StartTransaction", charger.take_transaction)
    await charger.message("StartTransaction", 3)
    first, second = seconds_between(charger, "StartTransaction")
    assert first > 4
    assert second > 9
    starts = charger.messages("StartTransaction")
    assert starts[0] == starts[1] == starts[2]
    assert charger.chip.contactor()
    stop = await charger.stop()
    charger.check(starts[0], stop)


async def test_a_start_that_was_refused_to_the_last_attempt_is_no_transaction(charger: Charger) -> None:
    await charger.configure(TransactionMessageAttempts=2, TransactionMessageRetryInterval=5)
    charger.answers("StartTransaction", refuse(InternalError("no database")))
    await charger.plug()
    await begin(charger)
    await charger.until_status("Finishing")
    assert not charger.chip.contactor()
    assert charger.story(*TRANSACTIONS) == [f"Start {TAG}"] * 2
    charger.answers("StartTransaction", charger.take_transaction)
    await charger.unplug()
    charger.weigh()
    await charger.plug()
    await begin(charger)
    stop = await charger.stop()
    charger.check(charger.messages("StartTransaction")[2], stop)
    assert len(charger.messages("StopTransaction")) == 1


async def test_a_stop_that_was_refused_to_the_last_attempt_holds_up_nothing(charger: Charger) -> None:
    await charger.configure(TransactionMessageAttempts=2, TransactionMessageRetryInterval=5)
    await charger.plug()
    await begin(charger, FIRST)
    charger.answers("StopTransaction", refuse(InternalError("no database")))
    await charger.ask("RemoteStopTransaction", transactionId=max(charger.central.transactions))
    await charger.until_status("Finishing")
    await begin(charger, SECOND)
    await charger.message("StartTransaction", idTag=SECOND)
    assert charger.story(*TRANSACTIONS) == [f"Start {FIRST}", "Stop Remote", "Stop Remote", f"Start {SECOND}"]
    stops = charger.messages("StopTransaction")
    assert stops[0] == stops[1]


async def test_answers_of_any_shape_leave_the_charger_in_service(charger: Charger) -> None:
    charger.answers("StartTransaction", answer(transactionId=-1, idTagInfo={"status": "Accepted"}))
    charger.answers("StopTransaction", answer())
    for number in (1, 2):
        await charger.plug()
        await begin(charger)
        await charger.ask("RemoteStopTransaction", transactionId=-1)
        await charger.message("StopTransaction", number, transactionId=-1)
        await charger.unplug()


async def test_the_progress_of_an_update_by_data_transfer(charger: Charger) -> None:
    await charger.configure(UpdateProgressDataTransfer=True)
    charger.desk.web.files = {}
    await charger.desk.update(retries=1)
    payload = await charger.message("DataTransfer")
    assert payload["vendorId"] == "Arus"
    assert '"DownloadFailed"' in payload["data"]
