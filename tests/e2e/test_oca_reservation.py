"""Reservations of a connector and of the charge point, on a charger with two connectors.

OCA.md says which cases of the OCA's list are proved here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from oca import FRIEND, PARENT, STRANGER, TAG, TRANSACTIONS, Charger
from simulator.interpreter import Interpreter

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = 42


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> AsyncIterator[Charger]:
    async with Charger(tmp_path_factory.mktemp("oca"), interpreter, connectors=2) as charger:
        yield charger


@pytest_asyncio.fixture(loop_scope="module")
async def charger(shared: Charger) -> AsyncIterator[Charger]:
    async with shared.scenario():
        yield shared


async def reserve(
    charger: Charger,
    status: str = "Accepted",
    connector: int = 1,
    *,
    tag: str = TAG,
    parent: str | None = None,
    seconds: float = 3600,
    number: int = NUMBER,
) -> None:
    """Send ReserveNow, which has to be answered with this status."""
    group = {"parentIdTag": parent} if parent else {}
    date = charger.timestamp(seconds)
    await charger.ask(
        "ReserveNow", status, connectorId=connector, expiryDate=date, idTag=tag, reservationId=number, **group
    )


async def close(charger: Charger, connector: int) -> None:
    """Take a connector out of service."""
    await charger.ask("ChangeAvailability", connectorId=connector, type="Inoperative")
    await charger.until_status("Unavailable", connector)


# ------------------------------------------------------------------------------------------------------- of a connector


async def test_a_reserved_connector_is_for_its_card_and_no_other(charger: Charger) -> None:
    await close(charger, 2)
    await reserve(charger)
    await charger.until_status("Reserved")
    await charger.card(STRANGER)
    await charger.logged(f"{STRANGER}: no connector is free")
    assert charger.statuses() == ["Reserved"]
    await charger.card()
    await charger.until_status("Preparing")
    charger.chip.plug()
    await charger.until_status("Charging")
    stop = await charger.stop()
    start = charger.messages("StartTransaction")[0]
    charger.check(start, stop)
    assert start["reservationId"] == NUMBER
    await charger.unplug()
    assert charger.statuses() == ["Reserved", "Preparing", "Charging", "Finishing", "Available"]


@pytest.mark.parametrize("authorizes", [True, False])
async def test_a_reserved_connector_is_for_the_remote_start_of_its_idtag(charger: Charger, authorizes: bool) -> None:
    await charger.configure(AuthorizeRemoteTxRequests=authorizes)
    await reserve(charger)
    await charger.until_status("Reserved")
    await charger.ask("RemoteStartTransaction", "Rejected", idTag=STRANGER, connectorId=1)
    await charger.ask("RemoteStartTransaction", idTag=TAG, connectorId=1)
    await charger.until_status("Preparing")
    charger.chip.plug()
    await charger.until_status("Charging")
    start = charger.messages("StartTransaction")[0]
    assert (start["idTag"], start["reservationId"], start["connectorId"]) == (TAG, NUMBER, 1)


async def test_a_stranger_gets_the_connector_that_is_not_reserved(charger: Charger) -> None:
    await reserve(charger)
    await charger.until_status("Reserved")
    await charger.card(STRANGER)
    await charger.until_status("Preparing", 2)
    charger.chip.plug(2)
    await charger.until_status("Charging", 2)
    start = charger.messages("StartTransaction")[0]
    assert (start["connectorId"], "reservationId" in start) == (2, False)
    assert charger.statuses() == ["Reserved"]


async def test_a_reservation_expires(charger: Charger) -> None:
    await close(charger, 2)
    await reserve(charger, seconds=10)
    await charger.until_status("Reserved")
    await charger.until_status("Available")
    assert charger.statuses() == ["Reserved", "Available"]
    await charger.charge(STRANGER)
    assert "reservationId" not in charger.messages("StartTransaction")[0]


async def test_a_reservation_in_the_past_is_rejected(charger: Charger) -> None:
    await reserve(charger, "Rejected", seconds=-60)


async def test_a_reservation_outlives_a_power_failure(charger: Charger) -> None:
    await reserve(charger)
    await charger.until_status("Reserved")
    charger.chip.cut_power()
    await charger.restarted()
    assert charger.statuses()[-1] == "Reserved"
    await charger.ask("RemoteStartTransaction", "Rejected", idTag=STRANGER, connectorId=1)


async def test_the_same_number_again_takes_the_place_of_a_reservation(charger: Charger) -> None:
    await reserve(charger)
    await charger.until_status("Reserved")
    await reserve(charger, connector=2, tag=FRIEND)
    await charger.until_status("Reserved", 2)
    await charger.until_status("Available")


async def test_a_faulted_connector_cannot_be_reserved(charger: Charger) -> None:
    charger.chip.fault("GroundFailure")
    await charger.until_status("Faulted")
    await reserve(charger, "Faulted")


async def test_an_occupied_connector_cannot_be_reserved(charger: Charger) -> None:
    await charger.plug()
    await reserve(charger, "Occupied")
    await reserve(charger, connector=2)
    await charger.until_status("Reserved", 2)
    await reserve(charger, "Occupied", connector=2, tag=FRIEND, number=NUMBER + 1)


async def test_a_connector_out_of_service_cannot_be_reserved(charger: Charger) -> None:
    await close(charger, 1)
    await reserve(charger, "Unavailable")


async def test_a_fault_ends_a_reservation(charger: Charger) -> None:
    await reserve(charger)
    await charger.until_status("Reserved")
    charger.chip.fault("GroundFailure")
    await charger.until_status("Faulted")
    charger.chip.clear()
    await charger.until_status("Available")
    await charger.ask("CancelReservation", "Rejected", reservationId=NUMBER)


# -------------------------------------------------------------------------------------------------- of the charge point


async def test_a_reservation_of_the_charge_point_keeps_one_connector_for_its_card(charger: Charger) -> None:
    await reserve(charger, connector=0)
    await charger.charge(STRANGER)
    assert "reservationId" not in charger.messages("StartTransaction")[0]
    await charger.card(FRIEND)
    await charger.logged(f"{FRIEND}: no connector is free")
    await charger.charge(TAG, 2)
    start = charger.messages("StartTransaction")[1]
    assert (start["idTag"], start["reservationId"]) == (TAG, NUMBER)


async def test_a_faulted_charge_point_cannot_be_reserved(charger: Charger) -> None:
    charger.chip.fault("EmergencyStop")
    for connector in (1, 2):
        await charger.until_status("Faulted", connector)
    await reserve(charger, "Faulted", connector=0)


async def test_an_occupied_charge_point_cannot_be_reserved(charger: Charger) -> None:
    for connector in (1, 2):
        await charger.plug(connector)
    await reserve(charger, "Occupied", connector=0)


async def test_a_charge_point_out_of_service_cannot_be_reserved(charger: Charger) -> None:
    await close(charger, 0)
    await reserve(charger, "Unavailable", connector=0)


# ------------------------------------------------------------------------------------------------ cancelled, and groups


async def test_a_cancelled_reservation_is_none(charger: Charger) -> None:
    await close(charger, 2)
    await reserve(charger)
    await charger.until_status("Reserved")
    await charger.ask("CancelReservation", "Rejected", reservationId=NUMBER + 1)
    assert charger.statuses() == ["Reserved"]
    await charger.ask("CancelReservation", reservationId=NUMBER)
    await charger.until_status("Available")
    await charger.charge(STRANGER)
    assert "reservationId" not in charger.messages("StartTransaction")[0]


async def test_a_card_of_the_same_group_uses_a_reservation(charger: Charger) -> None:
    charger.parents.update({TAG: PARENT, FRIEND: PARENT})
    await close(charger, 2)
    await reserve(charger, parent=PARENT)
    await charger.until_status("Reserved")
    await charger.card(FRIEND)
    await charger.until_status("Preparing")
    charger.chip.plug()
    await charger.until_status("Charging")
    start = charger.messages("StartTransaction")[0]
    assert (start["idTag"], start["reservationId"]) == (FRIEND, NUMBER)
    assert charger.story("Authorize", *TRANSACTIONS) == [f"Authorize {FRIEND}", f"Start {FRIEND}"]
