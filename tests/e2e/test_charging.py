"""Charging in its plain form: remote start and stop, and what becomes of it in outages and power cuts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ocpp.exceptions import InternalError

from central_system import Frame, Payload, answer, no_answer, refuse
from desk import FILE, Desk
from simulator.interpreter import Interpreter

SPEED = 20
TOLD = ("StartTransaction", "StopTransaction", "StatusNotification")
TAG = "04A2B3C4"


@pytest.fixture
async def desk(tmp_path: Path, interpreter: Interpreter) -> AsyncIterator[Desk]:
    async with Desk(tmp_path, interpreter, speed=SPEED) as desk:
        await desk.registered()
        yield desk
        assert desk.central.violations == []


def told(desk: Desk, since: int) -> list[str]:
    """What the charger has told of its transactions: reasons, statuses, starts."""
    return [word(frame) for frame in desk.central.frames[since:] if any(frame.asks(action) for action in TOLD)]


def word(frame: Frame) -> str:
    status = str(frame.payload.get("status") or frame.payload.get("reason") or frame.payload.get("idTag"))
    if frame.action == "StatusNotification":
        return f"{frame.payload['connectorId']} {status}"
    return f"{frame.action.removesuffix('Transaction')} {status}"


async def call(desk: Desk, action: str, **payload: Any) -> str:
    return str((await desk.central.call(desk.identity, action, payload))["status"])


async def charge(desk: Desk, tag: str = TAG) -> int:
    """Start a transaction; return its id when the contactor is closed."""
    since = len(desk.central.frames)
    assert await call(desk, "RemoteStartTransaction", idTag=tag, connectorId=1) == "Accepted"
    await desk.until(lambda: "1 Charging" in told(desk, since), "Charging")
    return max(desk.central.transactions)


async def cut_power(desk: Desk, at: int) -> None:
    """Cut the power at a flash operation of some call's, and switch on again."""
    desk.chip.cut_power(at, "middle")
    with pytest.raises((OSError, TimeoutError)):
        for seconds in range(100, 200):
            await call(desk, "ChangeConfiguration", key="TrialDeadline", value=str(seconds))


async def test_remote_start_and_stop(desk: Desk) -> None:
    since = len(desk.central.frames)
    transaction = await charge(desk)
    assert await call(desk, "RemoteStopTransaction", transactionId=transaction + 1) == "Rejected"
    assert await call(desk, "RemoteStartTransaction", idTag="X", connectorId=1) == "Rejected"
    assert await call(desk, "RemoteStopTransaction", transactionId=transaction) == "Accepted"
    await desk.registered()
    assert told(desk, since) == [
        "1 Preparing",
        f"Start {TAG}",
        "1 Charging",
        "1 Finishing",
        "Stop Remote",
        "1 Available",
    ]
    stop = desk.central.calls("StopTransaction")[0].payload
    start = desk.central.calls("StartTransaction")[0].payload
    assert stop["transactionId"] == transaction
    assert datetime.fromisoformat(stop["timestamp"]) >= datetime.fromisoformat(start["timestamp"])
    assert [line.partition("] ")[2] for line in desk.lines if line.startswith("[EVSE]")] == [
        "Connector 1: there is no contactor in config.json that would be closed",
        "Connector 1: there is no contactor in config.json that would be open",
    ]


async def test_an_unknown_tag_is_not_charged(desk: Desk) -> None:
    since = len(desk.central.frames)
    desk.central.id_tags[TAG] = "Invalid"
    assert await call(desk, "RemoteStartTransaction", idTag=TAG) == "Accepted"
    await desk.until(lambda: "1 Available" in told(desk, since), "the connector is Available again")
    assert told(desk, since) == ["1 Preparing", f"Start {TAG}", "1 Finishing", "Stop DeAuthorized", "1 Available"]


async def test_a_power_cut_in_a_transaction(desk: Desk) -> None:
    transaction = await charge(desk)
    since = len(desk.central.frames)
    await cut_power(desk, 1)
    await desk.until(lambda: "Stop PowerLoss" in told(desk, since), "the transaction is stopped")
    await desk.registered()
    assert desk.central.calls("StopTransaction")[0].payload["transactionId"] == transaction
    assert [line for line in told(desk, since) if line[0] == "S"] == ["Stop PowerLoss"]
    await charge(desk)


@pytest.mark.parametrize("at", [1, 4, 8, 13, 20])
async def test_a_power_cut_while_a_transaction_is_recorded(desk: Desk, at: int) -> None:
    """Whatever was started is stopped, once and in order; what is repeated is identical."""
    desk.chip.cut_power(at, "middle")
    with suppress(OSError, TimeoutError):
        for _ in range(50):
            await call(desk, "RemoteStartTransaction", idTag=TAG)
            if desk.central.transactions:
                await call(desk, "RemoteStopTransaction", transactionId=max(desk.central.transactions))
            await asyncio.sleep(0.05)
    await desk.until(lambda: len(desk.central.calls("BootNotification")) > 1, "the charger is back")
    since = desk.central.frames.index(desk.central.calls("BootNotification")[1])
    await desk.until(lambda: "1 Available" in told(desk, since), "the connector is Available")
    await charge(desk, "after")
    messages: list[Payload] = []
    for frame in desk.central.frames:
        is_one = frame.asks("StartTransaction") or frame.asks("StopTransaction")
        if is_one and frame.payload not in messages[-1:]:
            messages.append(frame.payload)
    numbers = [message.get("transactionId") for message in messages]
    expected: list[int | None] = []
    for number in range(1, len(messages) // 2 + 1):
        expected += [None, number]
    assert numbers == [*expected, None]


@pytest.mark.parametrize("kind", ["Soft", "Hard"])
async def test_a_reset_in_a_transaction(desk: Desk, kind: str) -> None:
    await charge(desk)
    since = len(desk.central.frames)
    assert await call(desk, "Reset", type=kind) == "Accepted"
    await desk.until(lambda: len(desk.central.calls("BootNotification")) == 2, "the charger is back")
    await desk.until(lambda: f"Stop {kind}Reset" in told(desk, since), "the transaction is stopped")
    actions = [frame.action for frame in desk.central.frames[since:] if frame.incoming and frame.kind == "Call"]
    if kind == "Soft":
        assert actions.index("StopTransaction") < actions.index("BootNotification")
    assert actions.count("StopTransaction") == 1


async def test_messages_that_an_outage_holds_up_come_in_order(desk: Desk) -> None:
    """A transaction is started and stopped, and another started, with no answer to the first StartTransaction."""
    since = len(desk.central.frames)
    honest = desk.central.answers["StartTransaction"]
    desk.central.answers["StartTransaction"] = no_answer
    assert await call(desk, "RemoteStartTransaction", idTag="first", connectorId=1) == "Accepted"
    await desk.central.wait_for("StartTransaction")
    assert await call(desk, "Reset", type="Hard") == "Accepted"
    await desk.until(lambda: len(desk.central.calls("BootNotification")) == 2, "the charger is back")
    await desk.until(lambda: len(desk.central.calls("StartTransaction")) == 2, "StartTransaction comes again")
    await desk.registered()
    assert await call(desk, "RemoteStartTransaction", idTag="second", connectorId=1) == "Accepted"
    desk.central.drop(desk.identity)
    desk.central.answers["StartTransaction"] = honest
    await desk.until(lambda: told(desk, since)[-1:] == ["1 Charging"], "the second one charges")
    starts = [line for line in told(desk, since) if line[0] == "S"]
    assert starts == ["Start first", "Start first", "Start first", "Stop HardReset", "Start second"]
    frames = desk.central.calls("StartTransaction")
    assert frames[0].payload == frames[1].payload == frames[2].payload
    assert desk.central.calls("StopTransaction")[0].payload["transactionId"] == 1
    assert set(desk.central.transactions) == {1, 2}


async def test_start_answered_with_a_callerror_is_no_transaction(desk: Desk) -> None:
    since = len(desk.central.frames)
    honest = desk.central.answers["StartTransaction"]
    desk.central.answers["StartTransaction"] = refuse(InternalError("no database"))
    assert await call(desk, "RemoteStartTransaction", idTag=TAG) == "Accepted"
    await desk.until(lambda: "1 Available" in told(desk, since), "the connector is Available again")
    assert told(desk, since) == ["1 Preparing", f"Start {TAG}", "1 Available"]
    desk.central.answers["StartTransaction"] = honest
    await charge(desk)


async def test_stop_answered_with_a_callerror_is_not_repeated(desk: Desk) -> None:
    transaction = await charge(desk)
    since = len(desk.central.frames)
    honest = desk.central.answers["StopTransaction"]
    desk.central.answers["StopTransaction"] = refuse(InternalError("no database"))
    assert await call(desk, "RemoteStopTransaction", transactionId=transaction) == "Accepted"
    await desk.until(lambda: "1 Available" in told(desk, since), "the connector is Available again")
    desk.central.answers["StopTransaction"] = honest
    transaction = await charge(desk)
    assert len(desk.central.calls("StopTransaction")) == 1


async def test_answers_of_any_shape_leave_the_charger_in_service(desk: Desk) -> None:
    for payload in ({"transactionId": -1, "idTagInfo": {"status": "Accepted"}},):
        desk.central.answers["StartTransaction"] = answer(**payload)
        desk.central.answers["StopTransaction"] = answer()
        since = len(desk.central.frames)
        assert await call(desk, "RemoteStartTransaction", idTag=TAG) == "Accepted"
        await desk.until(lambda since=since: "1 Charging" in told(desk, since), "Charging")  # type: ignore[misc]
        assert await call(desk, "RemoteStopTransaction", transactionId=-1) == "Accepted"
        await desk.registered()


async def test_the_progress_of_an_update_by_data_transfer(desk: Desk) -> None:
    assert await call(desk, "ChangeConfiguration", key="UpdateProgressDataTransfer", value="true") == "Accepted"
    desk.web.files = {}
    await desk.update(path=FILE, retries=1)
    frame = await desk.central.wait_for("DataTransfer")
    assert frame.payload["vendorId"] == "Arus"
    assert '"DownloadFailed"' in frame.payload["data"]
