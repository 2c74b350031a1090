"""Charging: with a card and from afar, interrupted and stopped in every way, online and offline, and what is measured.

OCA.md says which cases of the OCA's list are proved here.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from central_system import Payload
from oca import FRIEND, PARENT, STRANGER, TAG, TRANSACTIONS, Charger
from simulator.interpreter import Interpreter

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGISTER = "Energy.Active.Import.Register"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> AsyncIterator[Charger]:
    async with Charger(tmp_path_factory.mktemp("oca"), interpreter) as charger:
        yield charger


@pytest_asyncio.fixture(loop_scope="module")
async def charger(shared: Charger) -> AsyncIterator[Charger]:
    async with shared.scenario():
        yield shared


# ---------------------------------------------------------------------------------------------------------- with a card


async def test_plug_first_then_identify(charger: Charger) -> None:
    charger.chip.plug()
    await charger.until_status("Preparing")
    await charger.card()
    await charger.until_status("Charging")
    assert charger.story("Authorize", *TRANSACTIONS) == [f"Authorize {TAG}", f"Start {TAG}"]
    await charger.draws(wh=5)
    opens = charger.lock_opens()
    stop = await charger.stop()
    assert await opens
    charger.check(charger.messages("StartTransaction")[0], stop)
    await charger.unplug()
    assert charger.statuses() == ["Preparing", "Charging", "Finishing", "Available"]
    assert charger.story("Authorize", *TRANSACTIONS) == [f"Authorize {TAG}", f"Start {TAG}", f"Stop {stop_word(stop)}"]


def stop_word(stop: Payload) -> str:
    return str(stop.get("reason") or stop["idTag"])


async def test_identify_first_then_plug(charger: Charger) -> None:
    await charger.card()
    await charger.until_status("Preparing")
    charger.chip.plug()
    await charger.until_status("Charging")
    stop = await charger.stop()
    charger.check(charger.messages("StartTransaction")[0], stop)
    assert charger.statuses() == ["Preparing", "Charging", "Finishing"]
    assert len(charger.messages("Authorize")) == 1


async def test_identified_and_no_car_in_time(charger: Charger) -> None:
    await charger.configure(ConnectionTimeOut=5)
    await charger.card()
    await charger.until_status("Available")
    assert charger.statuses() == ["Preparing", "Available"]
    charger.chip.plug()
    await charger.until_status("Preparing")
    assert charger.messages("StartTransaction") == []


async def test_plugged_in_and_nobody_identifies_in_time(charger: Charger) -> None:
    await charger.configure(ConnectionTimeOut=5)
    charger.chip.plug()
    await charger.until_status("Finishing")
    await charger.unplug()
    assert charger.statuses() == ["Preparing", "Finishing", "Available"]


async def test_the_same_card_takes_an_identification_back(charger: Charger) -> None:
    await charger.card()
    await charger.until_status("Preparing")
    await charger.card()
    await charger.until_status("Available")
    assert charger.messages("StartTransaction") == []


@pytest.mark.parametrize("status", ["Invalid", "Blocked", "Expired"])
async def test_a_refused_card_starts_nothing(charger: Charger, status: str) -> None:
    charger.central.id_tags[TAG] = status
    await charger.card()
    await charger.logged(f"{TAG} is refused: {status}")
    charger.chip.plug()
    await charger.until_status("Preparing")
    await charger.settled()
    assert charger.story() == [f"Authorize {TAG}", "1 Preparing"]


async def test_the_card_that_started_a_transaction_stops_it_and_another_does_not(charger: Charger) -> None:
    await charger.charge()
    await charger.card(STRANGER)
    await charger.logged(f"{STRANGER}: no connector is free")
    assert charger.messages("StopTransaction") == []
    assert charger.chip.contactor()
    stop = await charger.stop()
    charger.check(charger.messages("StartTransaction")[0], stop)
    assert len(charger.messages("Authorize", idTag=TAG)) == 1


async def test_a_card_of_the_same_group_stops_a_transaction(charger: Charger) -> None:
    charger.parents.update({TAG: PARENT, FRIEND: PARENT})
    await charger.charge()
    stop = await charger.stop(FRIEND)
    charger.check(charger.messages("StartTransaction")[0], stop, stopped_by=FRIEND)
    assert [payload["idTag"] for payload in charger.messages("Authorize")] == [TAG, FRIEND]


async def test_a_car_that_is_full_suspends_the_transaction(charger: Charger) -> None:
    await charger.plug(wants=5)
    await charger.card()
    await charger.until_status("SuspendedEV")
    assert not charger.chip.contactor()
    stop = await charger.stop()
    charger.check(charger.messages("StartTransaction")[0], stop)
    assert 4 <= stop["meterStop"] - charger.messages("StartTransaction")[0]["meterStart"] <= 6
    assert charger.statuses() == ["Preparing", "Charging", "SuspendedEV", "Finishing"]


# ---------------------------------------------------------------------------------------------------- a car that leaves


@pytest.mark.parametrize("unlocks", [True, False])
async def test_unplugging_ends_a_transaction_where_it_is_configured_to(charger: Charger, unlocks: bool) -> None:
    await charger.configure(StopTransactionOnEVSideDisconnect=True, UnlockConnectorOnEVSideDisconnect=unlocks)
    await charger.charge()
    opens = charger.lock_opens()
    charger.chip.unplug()
    stop = await charger.message("StopTransaction")
    charger.check(charger.messages("StartTransaction")[0], stop, reason="EVDisconnected")
    await charger.until_status("Available")
    assert charger.statuses() == ["Preparing", "Charging", "Available"]
    if not unlocks:
        await charger.settled()
        assert not opens.done()
        await charger.ask("UnlockConnector", "Unlocked", connectorId=1)
    assert await opens


async def test_unplugging_suspends_a_transaction_where_it_is_configured_to(charger: Charger) -> None:
    await charger.configure(StopTransactionOnEVSideDisconnect=False, UnlockConnectorOnEVSideDisconnect=False)
    transaction = await charger.charge()
    charger.chip.unplug()
    await charger.until_status("SuspendedEV")
    assert not charger.chip.contactor()
    charger.chip.plug()
    await charger.until_status("Charging")
    await charger.draws()
    charger.chip.unplug()
    await charger.until_status("SuspendedEV")
    await charger.ask("RemoteStopTransaction", transactionId=transaction)
    stop = await charger.message("StopTransaction")
    charger.check(charger.messages("StartTransaction")[0], stop, reason="Remote")
    await charger.until_status("Available")
    assert len(charger.messages("StartTransaction")) == 1


# ------------------------------------------------------------------------------------------------------------ from afar


@pytest.mark.parametrize("authorizes", [True, False])
async def test_a_remote_start_with_the_car_there_and_a_remote_stop(charger: Charger, authorizes: bool) -> None:
    await charger.configure(AuthorizeRemoteTxRequests=authorizes)
    await charger.plug()
    await charger.ask("RemoteStartTransaction", idTag=TAG, connectorId=1)
    await charger.until_status("Charging")
    await charger.draws()
    assert charger.story("Authorize", *TRANSACTIONS) == [f"Authorize {TAG}"] * authorizes + [f"Start {TAG}"]
    await charger.ask("RemoteStopTransaction", transactionId=max(charger.central.transactions))
    stop = await charger.message("StopTransaction")
    charger.check(charger.messages("StartTransaction")[0], stop, reason="Remote")
    await charger.until_status("Finishing")
    assert charger.statuses() == ["Preparing", "Charging", "Finishing"]


@pytest.mark.parametrize("authorizes", [True, False])
async def test_a_remote_start_before_the_car_is_there(charger: Charger, authorizes: bool) -> None:
    await charger.configure(AuthorizeRemoteTxRequests=authorizes)
    await charger.ask("RemoteStartTransaction", idTag=TAG)
    await charger.until_status("Preparing")
    charger.chip.plug()
    await charger.until_status("Charging")
    assert charger.story("Authorize", *TRANSACTIONS) == [f"Authorize {TAG}"] * authorizes + [f"Start {TAG}"]
    assert charger.statuses() == ["Preparing", "Charging"]


async def test_a_remote_start_and_no_car_in_time(charger: Charger) -> None:
    await charger.configure(ConnectionTimeOut=5)
    await charger.ask("RemoteStartTransaction", idTag=TAG, connectorId=1)
    await charger.until_status("Available")
    assert charger.statuses() == ["Preparing", "Available"]
    assert charger.messages("StartTransaction") == []


async def test_a_remote_start_of_an_idtag_that_the_central_system_then_refuses(charger: Charger) -> None:
    await charger.configure(AuthorizeRemoteTxRequests=True)
    charger.central.id_tags[TAG] = "Blocked"
    await charger.plug()
    await charger.ask("RemoteStartTransaction", idTag=TAG, connectorId=1)
    await charger.logged(f"{TAG} is refused: Blocked")
    assert charger.messages("StartTransaction") == []


async def test_remote_starts_and_stops_that_are_not_possible_are_rejected(charger: Charger) -> None:
    await charger.ask("RemoteStartTransaction", "Rejected", idTag=TAG, connectorId=0)
    await charger.ask("RemoteStartTransaction", "Rejected", idTag=TAG, connectorId=2)
    transaction = await charger.charge()
    await charger.ask("RemoteStartTransaction", "Rejected", idTag=FRIEND, connectorId=1)
    await charger.ask("RemoteStartTransaction", "Rejected", idTag=FRIEND)
    await charger.ask("RemoteStopTransaction", "Rejected", transactionId=transaction + 1)
    assert charger.story(*TRANSACTIONS) == [f"Start {TAG}"]
    assert charger.chip.contactor()


async def test_a_car_that_goes_on_drawing_is_cut_off(charger: Charger) -> None:
    transaction = await charger.charge(stubborn=True)
    await charger.ask("RemoteStopTransaction", transactionId=transaction)
    stop = await charger.message("StopTransaction")
    charger.check(charger.messages("StartTransaction")[0], stop, reason="Remote")


# ------------------------------------------------------------------------------------------ idTags refused at the start


async def test_a_transaction_of_a_refused_idtag_ends_at_once(charger: Charger) -> None:
    await charger.configure(StopTransactionOnInvalidId=True)
    charger.central.id_tags[TAG] = "Invalid"
    await charger.plug()
    await charger.ask("RemoteStartTransaction", idTag=TAG, connectorId=1)
    stop = await charger.message("StopTransaction")
    charger.check(charger.messages("StartTransaction")[0], stop, reason="DeAuthorized")
    await charger.until_status("Finishing")


# -------------------------------------------------------------------------------------------------------------- offline


async def test_meter_values_of_an_outage_come_in_order_when_it_is_over(charger: Charger) -> None:
    await charger.configure(MeterValueSampleInterval=5, MeterValuesSampledData=REGISTER)
    transaction = await charger.charge()
    await charger.offline()
    await charger.passes(17)
    charger.go_online()
    await charger.message("BootNotification")
    await charger.message("MeterValues", 5)
    values = sampled(charger, transaction)[:5]
    start = charger.seconds(charger.messages("StartTransaction")[0]["timestamp"])
    assert [int(moment - start + 1) // 5 for moment, _ in values] == [1, 2, 3, 4, 5]
    energies = [int(samples[REGISTER]) for _, samples in values]
    assert energies == sorted(energies)
    assert energies[-1] > energies[0]


async def test_a_transaction_begins_while_offline(charger: Charger) -> None:
    await charger.configure(AllowOfflineTxForUnknownId=True)
    await charger.offline()
    charger.chip.plug()
    await charger.card()
    await charger.draws()
    charger.go_online()
    await charger.until_status("Charging")
    start = await charger.message("StartTransaction")
    stop = await charger.stop()
    charger.check(start, stop)
    assert charger.messages("Authorize") == []


@pytest.mark.parametrize("stops", [True, False])
async def test_a_transaction_that_began_offline_with_a_refused_idtag(charger: Charger, stops: bool) -> None:
    await charger.configure(AllowOfflineTxForUnknownId=True, StopTransactionOnInvalidId=stops)
    charger.central.id_tags[TAG] = "Invalid"
    await charger.offline()
    charger.chip.plug()
    await charger.card()
    await charger.draws()
    charger.go_online()
    start = await charger.message("StartTransaction")
    if stops:
        stop = await charger.message("StopTransaction")
        charger.check(start, stop, reason="DeAuthorized")
        await charger.until_status("Finishing")
        return
    await charger.until_status("SuspendedEVSE")
    await charger.until(lambda: not charger.chip.contactor(), "the contactor is open")
    assert charger.messages("StopTransaction") == []
    stop = await charger.stop()
    charger.check(start, stop)


async def test_an_unknown_card_starts_nothing_while_offline(charger: Charger) -> None:
    await charger.configure(AllowOfflineTxForUnknownId=False, AuthorizationCacheEnabled=False)
    await charger.offline()
    charger.chip.plug()
    await charger.card()
    await charger.logged(f"{TAG} is refused")
    charger.go_online()
    await charger.until_status("Preparing")
    await charger.settled()
    assert charger.story(*TRANSACTIONS) == []


async def test_a_transaction_ends_while_offline(charger: Charger) -> None:
    await charger.charge()
    await charger.offline()
    await charger.card()
    await charger.until(lambda: not charger.chip.contactor(), "the contactor is open")
    charger.go_online()
    stop = await charger.message("StopTransaction")
    charger.check(charger.messages("StartTransaction")[0], stop)
    await charger.until_status("Finishing")


async def test_a_whole_transaction_while_offline(charger: Charger) -> None:
    await charger.configure(AllowOfflineTxForUnknownId=True)
    await charger.offline()
    charger.chip.plug()
    await charger.card()
    await charger.draws()
    await charger.card()
    await charger.until(lambda: not charger.chip.contactor(), "the contactor is open")
    charger.chip.unplug()
    charger.go_online()
    stop = await charger.message("StopTransaction")
    charger.check(charger.messages("StartTransaction")[0], stop)
    await charger.until_status("Available")
    assert [line.split()[0] for line in charger.story(*TRANSACTIONS)] == ["Start", "Stop"]


# ----------------------------------------------------------------------------------------------------- what is measured


def sampled(charger: Charger, transaction: int, context: str = "Sample.Periodic") -> list[tuple[float, dict[str, str]]]:
    """(Unix seconds, {measurand: value}) of the MeterValues of a transaction, which have this context."""
    values = []
    for payload in charger.messages("MeterValues"):
        assert (payload["connectorId"], payload["transactionId"]) == (1, transaction)
        for value in payload["meterValue"]:
            samples = value["sampledValue"]
            assert {sample.get("context", "Sample.Periodic") for sample in samples} == {context}
            assert all(sample.get("format", "Raw") == "Raw" for sample in samples)
            measurands = {sample.get("measurand", REGISTER): sample["value"] for sample in samples}
            assert len(measurands) == len(samples)
            values.append((charger.seconds(value["timestamp"]), measurands))
    return values


async def test_meter_values_are_sampled_as_configured(charger: Charger) -> None:
    wanted = f"{REGISTER},Power.Active.Import,Current.Import,Voltage,Current.Offered"
    await charger.configure(MeterValueSampleInterval=5, MeterValuesSampledData=wanted)
    transaction = await charger.charge()
    await charger.message("MeterValues", 3)
    values = sampled(charger, transaction)[:3]
    start = charger.messages("StartTransaction")[0]
    begun = charger.seconds(start["timestamp"])
    assert [int(moment - begun + 1) // 5 for moment, _ in values] == [1, 2, 3]
    assert all(set(samples) == set(wanted.split(",")) for _, samples in values)
    stop = await charger.stop()
    charger.check(start, stop)
    energies = [start["meterStart"], *(int(samples[REGISTER]) for _, samples in values), stop["meterStop"]]
    assert energies == sorted(energies)
    assert float(values[-1][1]["Voltage"]) == 230
    assert float(values[-1][1]["Current.Offered"]) == 16
    assert float(values[-1][1]["Power.Active.Import"]) > 0
    count = len(charger.messages("MeterValues"))
    await charger.passes(10)
    assert len(charger.messages("MeterValues")) == count


async def test_meter_values_by_the_clock(charger: Charger) -> None:
    await charger.configure(ClockAlignedDataInterval=10, MeterValuesAlignedData=f"{REGISTER},Power.Active.Import")
    transaction = await charger.charge()
    charger.begin()
    await charger.message("MeterValues", 3)
    values = sampled(charger, transaction, "Sample.Clock")
    assert all(moment % 10 <= 5 for moment, _ in values)
    assert {int(later[0] - former[0] + 5) // 10 for former, later in itertools.pairwise(values)} == {1}
    assert all(set(samples) == {REGISTER, "Power.Active.Import"} for _, samples in values)


async def test_meter_values_by_the_clock_without_a_transaction_belong_to_none(charger: Charger) -> None:
    await charger.configure(ClockAlignedDataInterval=10, MeterValuesAlignedData=REGISTER)
    payload = await charger.message("MeterValues")
    assert "transactionId" not in payload
    await charger.configure(ClockAlignedDataInterval=0)
    count = len(charger.messages("MeterValues"))
    await charger.passes(15)
    assert len(charger.messages("MeterValues")) == count


async def test_the_data_of_a_transaction_comes_with_its_end(charger: Charger) -> None:
    await charger.configure(
        MeterValueSampleInterval=5,
        MeterValuesSampledData="Voltage",
        StopTxnSampledData=REGISTER,
        ClockAlignedDataInterval=10,
        MeterValuesAlignedData="",
        StopTxnAlignedData=REGISTER,
    )
    await charger.charge()
    await charger.message("MeterValues", 3)
    stop = await charger.stop()
    start = charger.messages("StartTransaction")[0]
    charger.check(start, stop)
    data = [(charger.seconds(value["timestamp"]), value["sampledValue"]) for value in stop["transactionData"]]
    assert [moment for moment, _ in data] == sorted(moment for moment, _ in data)
    assert all([sample.get("measurand", REGISTER) for sample in samples] == [REGISTER] for _, samples in data)
    contexts = [samples[0]["context"] for _, samples in data]
    assert (contexts[0], contexts[-1]) == ("Transaction.Begin", "Transaction.End")
    assert set(contexts[1:-1]) == {"Sample.Periodic", "Sample.Clock"}
    energies = [int(samples[0]["value"]) for _, samples in data]
    assert energies == sorted(energies)
    assert (energies[0], energies[-1]) == (start["meterStart"], stop["meterStop"])
