"""Charging profiles: set, stacked, cleared, reported, and what the pilot offers the car by them.

OCA.md says which cases of the OCA's list are proved here. The charger's outlets bear 16 A.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio

from central_system import Payload
from oca import AMPS, TAG, Charger
from simulator.interpreter import Interpreter

pytestmark = pytest.mark.asyncio(loop_scope="module")

LENGTH = 4000  # seconds of a composite schedule
EARLY = 1000  # seconds that schedules are older
LONG = LENGTH + EARLY + 1000
SLACK = 200  # seconds that a schedule may differ: the clocks, and what passes between two calls


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> AsyncIterator[Charger]:
    async with Charger(tmp_path_factory.mktemp("oca"), interpreter, connectors=2) as charger:
        yield charger


@pytest_asyncio.fixture(loop_scope="module")
async def charger(shared: Charger) -> AsyncIterator[Charger]:
    async with shared.scenario():
        yield shared


def profile(
    charger: Charger,
    purpose: str,
    periods: dict[int, float],
    *,
    number: int = 1,
    level: int = 0,
    kind: str = "Absolute",
    unit: str = "A",
    duration: int | None = None,
    transaction: int | None = None,
    start: float = -EARLY,
    **fields: Any,
) -> Payload:
    """A ChargingProfile with the limits {second: A or W}; it starts `start` seconds from now."""
    schedule: Payload = {
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [{"startPeriod": second, "limit": limit} for second, limit in periods.items()],
    }
    if kind != "Relative":
        schedule["startSchedule"] = charger.timestamp(start)
    if duration is not None:
        schedule["duration"] = duration
    if transaction is not None:
        fields["transactionId"] = transaction
    return {
        "chargingProfileId": number,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": schedule,
        **fields,
    }


async def install(
    charger: Charger, purpose: str, periods: dict[int, float], connector: int = 1, **options: Any
) -> None:
    """Send SetChargingProfile, which has to be accepted."""
    chosen = profile(charger, purpose, periods, **options)
    await charger.ask("SetChargingProfile", connectorId=connector, csChargingProfiles=chosen)


async def composite(charger: Charger, connector: int = 1, length: int = LENGTH, **unit: str) -> list[tuple[int, float]]:
    """Send GetCompositeSchedule; return [(seconds from now, limit), …]."""
    answer = await charger.ask("GetCompositeSchedule", connectorId=connector, duration=length, **unit)
    schedule = answer["chargingSchedule"]
    assert answer["connectorId"] == connector
    assert (schedule["duration"], schedule["chargingRateUnit"]) == (length, unit.get("chargingRateUnit", "A"))
    begins = datetime.fromisoformat(answer["scheduleStart"]).timestamp()
    assert abs(begins - charger.now()) < 60
    return [(period["startPeriod"], period["limit"]) for period in schedule["chargingSchedulePeriod"]]


def check(periods: list[tuple[int, float]], expected: dict[int, float]) -> None:
    """Limits, one after the other, and when they begin, give or take SLACK."""
    assert [limit for _, limit in periods] == list(expected.values()), periods
    assert periods[0][0] == 0
    for (begin, _), about in zip(periods[1:], list(expected)[1:], strict=True):
        assert abs(begin - about) <= SLACK, (periods, expected)


async def offers(charger: Charger, amps: float, connector: int = 1) -> None:
    """Wait until the pilot offers that much."""
    await charger.until(lambda: abs(charger.chip.offered(connector) - amps) <= 0.2, f"the pilot offers {amps} A")


# --------------------------------------------------------------------------------------------------------- the purposes


async def test_a_default_profile_limits_a_transaction_that_begins(charger: Charger) -> None:
    await install(charger, "TxDefaultProfile", {0: 6, 2000: 8, 3000: 10}, duration=LONG)
    await charger.charge()
    await offers(charger, 6)
    check(await composite(charger), {0: 6, 1000: 8, 2000: 10})


async def test_a_default_profile_for_all_connectors_limits_each(charger: Charger) -> None:
    await install(charger, "TxDefaultProfile", {0: 9}, 0)
    await charger.charge(connector=2)
    await offers(charger, 9, 2)
    check(await composite(charger), {0: 9})


async def test_a_default_profile_that_comes_during_a_transaction_limits_it(charger: Charger) -> None:
    await charger.charge()
    await offers(charger, AMPS)
    await install(charger, "TxDefaultProfile", {0: 7})
    await offers(charger, 7)
    await charger.stop()
    check(await composite(charger), {0: 7})


async def test_a_transaction_profile_limits_its_transaction_and_goes_with_it(charger: Charger) -> None:
    transaction = await charger.charge()
    await install(charger, "TxProfile", {0: 8, 600: 12}, transaction=transaction, kind="Relative")
    await offers(charger, 8)
    await charger.stop()
    await charger.settled()
    check(await composite(charger), {0: AMPS})


async def test_a_transaction_profile_without_its_transaction_is_rejected(charger: Charger) -> None:
    chosen = profile(charger, "TxProfile", {0: 8}, transaction=1)
    verdict = await charger.verdict("SetChargingProfile", connectorId=1, csChargingProfiles=chosen)
    assert verdict in ("Rejected", "PropertyConstraintViolation")
    transaction = await charger.charge()
    chosen = profile(charger, "TxProfile", {0: 8}, transaction=transaction + 1)
    await charger.ask("SetChargingProfile", "Rejected", connectorId=1, csChargingProfiles=chosen)
    check(await composite(charger), {0: AMPS})
    await offers(charger, AMPS)


async def test_a_remote_start_brings_its_profile(charger: Charger) -> None:
    chosen = profile(charger, "TxProfile", {0: 6, 1000: 11}, kind="Relative")
    await charger.plug()
    await charger.ask("RemoteStartTransaction", idTag=TAG, connectorId=1, chargingProfile=chosen)
    await charger.until_status("Charging")
    await offers(charger, 6)
    check(await composite(charger, length=2000), {0: 6, 1000: 11})


@pytest.mark.parametrize("purpose", ["TxDefaultProfile", "ChargePointMaxProfile"])
async def test_a_remote_start_with_another_profile_is_rejected(charger: Charger, purpose: str) -> None:
    chosen = profile(charger, purpose, {0: 6})
    answer = await charger.verdict("RemoteStartTransaction", idTag=TAG, connectorId=1, chargingProfile=chosen)
    assert answer in ("Rejected", "PropertyConstraintViolation")
    await charger.settled()
    assert charger.story() == []


async def test_the_charge_points_limit_is_shared_by_those_that_charge(charger: Charger) -> None:
    await install(charger, "ChargePointMaxProfile", {0: 14}, 0)
    await charger.charge()
    await offers(charger, 14)
    await charger.charge("00000F4D11", 2)
    for connector in (1, 2):
        await offers(charger, 7, connector)
    await charger.stop()
    await offers(charger, 14, 2)


async def test_too_little_for_a_car_suspends_it(charger: Charger) -> None:
    await charger.charge()
    await install(charger, "TxDefaultProfile", {0: 0})
    await charger.until_status("SuspendedEVSE")
    await charger.until(lambda: not charger.chip.contactor(), "the contactor is open")
    await charger.settled()
    await charger.ask("ClearChargingProfile", id=1)
    await charger.until_status("Charging")
    stop = await charger.stop()
    charger.check(charger.messages("StartTransaction")[0], stop)
    statuses = [status for status in charger.statuses() if status != "SuspendedEV"]  # until the car draws again
    assert statuses == ["Preparing", "Charging", "SuspendedEVSE", "Charging", "Finishing"]


# --------------------------------------------------------------------------------------------------------- all together


async def test_the_composite_schedule_is_the_least_of_the_purposes(charger: Charger) -> None:
    await install(charger, "ChargePointMaxProfile", {0: 10}, 0, number=1, duration=86400)
    await install(charger, "TxDefaultProfile", {0: 6, 1600: 10, 2200: 8, 3600: 15}, number=2, duration=LONG)
    transaction = await charger.charge()
    await install(
        charger, "TxProfile", {0: 8, 1500: 16, 2000: 6, 2700: 12}, number=3, duration=3600, transaction=transaction
    )
    # From 2600 s on the TxProfile is over, and the TxDefaultProfile counts again.
    check(await composite(charger), {0: 8, 500: 10, 1000: 6, 1700: 10})
    await offers(charger, 8)


async def test_a_higher_level_of_the_stack_counts_as_long_as_it_lasts(charger: Charger) -> None:
    await install(charger, "TxDefaultProfile", {0: 6, 2000: 8, 3000: 10}, duration=LONG, number=1)
    await install(charger, "TxDefaultProfile", {0: 7, 1500: 9}, level=1, duration=2500, number=2)
    check(await composite(charger), {0: 7, 500: 9, 1500: 8, 2000: 10})


async def test_a_profile_counts_while_it_is_valid(charger: Charger) -> None:
    dates: dict[str, Any] = {"validFrom": charger.timestamp(1000), "validTo": charger.timestamp(2000)}
    await install(charger, "TxDefaultProfile", {0: 6}, **dates)
    check(await composite(charger), {0: AMPS, 1000: 6, 2000: AMPS})


@pytest.mark.parametrize("every", ["Daily", "Weekly"])
async def test_a_recurring_profile_comes_again(charger: Charger, every: str) -> None:
    length = {"Daily": 86400, "Weekly": 604800}[every]
    options: dict[str, Any] = {
        "kind": "Recurring",
        "recurrencyKind": every,
        "duration": 3000,
        "start": -9 * length - EARLY,
    }
    await install(charger, "TxDefaultProfile", {0: 6, 1500: 9}, **options)
    check(await composite(charger), {0: 6, 500: 9, 2000: AMPS})
    await charger.charge()
    await offers(charger, 6)


async def test_a_profile_follows_the_time(charger: Charger) -> None:
    await install(charger, "TxDefaultProfile", {0: 6, 30: 10}, start=0)
    await charger.charge()
    await offers(charger, 6)
    await offers(charger, 10)


async def test_limits_in_watts(charger: Charger) -> None:
    await install(charger, "TxDefaultProfile", {0: 2300}, unit="W")
    check(await composite(charger), {0: 10})
    check(await composite(charger, chargingRateUnit="W"), {0: 2300})
    await charger.charge()
    await offers(charger, 10)


async def test_profiles_outlive_a_power_failure(charger: Charger) -> None:
    await install(charger, "TxDefaultProfile", {0: 6})
    await install(charger, "ChargePointMaxProfile", {0: 9}, 0, number=2)
    charger.chip.cut_power()
    await charger.restarted()
    check(await composite(charger), {0: 6})
    check(await composite(charger, 2), {0: 9})


async def test_a_schedule_of_a_connector_that_is_not_there_is_rejected(charger: Charger) -> None:
    await charger.ask("GetCompositeSchedule", "Rejected", connectorId=3, duration=60)


async def test_profiles_are_cleared_by_their_id_by_what_they_are_and_all_at_once(charger: Charger) -> None:
    await install(charger, "TxDefaultProfile", {0: 6}, number=1, level=1)
    await install(charger, "TxDefaultProfile", {0: 8}, number=2, level=2)
    await install(charger, "TxDefaultProfile", {0: 10}, number=3, level=3)
    await install(charger, "ChargePointMaxProfile", {0: 12}, 0, number=4)
    check(await composite(charger), {0: 10})
    await charger.ask("ClearChargingProfile", id=3)
    check(await composite(charger), {0: 8})
    await charger.ask("ClearChargingProfile", connectorId=1, chargingProfilePurpose="TxDefaultProfile", stackLevel=2)
    check(await composite(charger), {0: 6})
    await charger.ask("ClearChargingProfile", "Unknown", id=3)
    await charger.ask("ClearChargingProfile", "Unknown", connectorId=1, stackLevel=2)
    await charger.ask("ClearChargingProfile", chargingProfilePurpose="TxDefaultProfile")
    check(await composite(charger), {0: 12})
    await charger.ask("ClearChargingProfile")
    check(await composite(charger), {0: AMPS})
    await charger.ask("ClearChargingProfile", "Unknown")


async def test_the_same_id_and_the_same_place_in_the_stack_take_the_place_of_a_profile(charger: Charger) -> None:
    await install(charger, "TxDefaultProfile", {0: 6}, number=1, level=1)
    await install(charger, "TxDefaultProfile", {0: 8}, number=1, level=2)
    check(await composite(charger), {0: 8})
    await install(charger, "TxDefaultProfile", {0: 9}, number=2, level=2)
    check(await composite(charger), {0: 9})
    await charger.ask("ClearChargingProfile", id=2)
    check(await composite(charger), {0: AMPS})
