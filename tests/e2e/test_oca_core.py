"""Starting, configuring, resetting and unlocking a charge point, its availability, its faults and its triggers.

OCA.md says which cases of the OCA's list are proved here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from central_system import Payload
from oca import SPEED, STRANGER, TAG, TRANSACTIONS, Charger
from simulator.interpreter import Interpreter

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What each profile must have (9): the standard leaves it open whether those in the second group can be changed.
CHANGEABLE = (
    "ClockAlignedDataInterval ConnectionTimeOut ConnectorPhaseRotation HeartbeatInterval LocalAuthorizeOffline "
    "LocalPreAuthorize MeterValuesAlignedData MeterValuesSampledData MeterValueSampleInterval ResetRetries "
    "StopTransactionOnInvalidId StopTxnAlignedData StopTxnSampledData TransactionMessageAttempts "
    "TransactionMessageRetryInterval UnlockConnectorOnEVSideDisconnect LocalAuthListEnabled"
)
EITHER = "AuthorizeRemoteTxRequests StopTransactionOnEVSideDisconnect"
READ_ONLY = (
    "GetConfigurationMaxKeys NumberOfConnectors SupportedFeatureProfiles LocalAuthListMaxLength SendLocalListMaxLength "
    "ReserveConnectorZeroSupported ChargeProfileMaxStackLevel ChargingScheduleAllowedChargingRateUnit "
    "ChargingScheduleMaxPeriods MaxChargingProfilesInstalled"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> AsyncIterator[Charger]:
    async with Charger(tmp_path_factory.mktemp("oca"), interpreter) as charger:
        yield charger


@pytest_asyncio.fixture(loop_scope="module")
async def charger(shared: Charger) -> AsyncIterator[Charger]:
    async with shared.scenario():
        yield shared


# ------------------------------------------------------------------------------------------------------------- starting


def gap(charger: Charger, first: int, second: int, action: str) -> float:
    """Seconds of the charger's time between two calls of it, as the central system saw them."""
    times = [frame.time for frame in charger.central.frames[charger.mark :] if frame.asks(action)]
    return (times[second] - times[first]).total_seconds() * SPEED


async def test_a_cold_boot_is_repeated_after_the_interval_until_it_is_accepted(charger: Charger) -> None:
    charger.central.boot_status, charger.central.boot_interval = "Rejected", 10
    charger.chip.cut_power()
    await charger.message("BootNotification")
    charger.central.boot_status, charger.central.boot_interval = "Accepted", 5
    await charger.restarted(2)
    assert charger.story()[:2] == ["BootNotification", "BootNotification"]
    assert gap(charger, 0, 1, "BootNotification") > 9
    assert sorted(charger.story("StatusNotification")) == ["0 Available", "1 Available"]
    boot = charger.messages("BootNotification")[0]
    assert (boot["chargePointVendor"], boot["chargePointModel"], boot["firmwareVersion"]) == ("Arus", "Desk", "1.0.0")
    await charger.message("Heartbeat", 3)
    assert gap(charger, 0, 1, "Heartbeat") > 4
    assert gap(charger, 1, 2, "Heartbeat") > 4


async def test_while_its_registration_is_pending_a_charger_is_configured_and_sends_only_what_it_is_asked_for(
    charger: Charger,
) -> None:
    charger.central.boot_status, charger.central.boot_interval = "Pending", 60
    charger.chip.cut_power()
    await charger.message("BootNotification")
    charger.chip.plug()
    await charger.configure(MeterValueSampleInterval=77)
    [entry] = (await charger.call("GetConfiguration", key=["MeterValueSampleInterval"]))["configurationKey"]
    assert entry["value"] == "77"
    await charger.ask("RemoteStartTransaction", "Rejected", idTag=TAG, connectorId=1)
    await charger.ask("TriggerMessage", requestedMessage="StatusNotification", connectorId=1)
    await charger.message("StatusNotification")
    charger.central.boot_status, charger.central.boot_interval = "Accepted", 14400
    await charger.ask("TriggerMessage", requestedMessage="BootNotification")
    await charger.restarted(2)
    assert charger.story()[:3] == ["BootNotification", "1 Preparing", "BootNotification"]


@pytest.mark.parametrize("kind", ["Hard", "Soft"])
async def test_a_reset_without_transaction_keeps_a_connector_out_of_service(charger: Charger, kind: str) -> None:
    await charger.ask("ChangeAvailability", connectorId=1, type="Inoperative")
    await charger.until_status("Unavailable")
    await charger.ask("Reset", type=kind)
    await charger.restarted()
    since = charger.story().index("BootNotification")
    assert sorted(charger.story()[since + 1 :]) == ["0 Available", "1 Unavailable"]
    assert charger.chip.boots[-1].cause == "reset"
    await charger.ask("ChangeAvailability", connectorId=1, type="Operative")
    await charger.until_status("Available")


@pytest.mark.parametrize("kind", ["Hard", "Soft"])
async def test_a_reset_ends_a_transaction(charger: Charger, kind: str) -> None:
    await charger.charge()
    await charger.ask("Reset", type=kind)
    await charger.restarted()
    stop = await charger.message("StopTransaction")
    charger.check(charger.messages("StartTransaction")[0], stop, reason=f"{kind}Reset")
    if kind == "Soft":
        assert charger.story().index("Stop SoftReset") < charger.story().index("BootNotification")
    await charger.settled()
    assert charger.statuses()[-1] in ("Finishing", "Preparing")
    assert len(charger.messages("StopTransaction")) == 1


async def test_a_transaction_that_the_power_failed_in_ends_with_the_last_known_meter_value(charger: Charger) -> None:
    await charger.charge()
    charger.chip.cut_power()
    await charger.restarted()
    stop = await charger.message("StopTransaction")
    start = charger.messages("StartTransaction")[0]
    assert (stop["reason"], "idTag" in stop) == ("PowerLoss", False)
    assert charger.central.transactions[stop["transactionId"]] == start
    drawn = charger.chip.energy() - charger.energy[1]
    assert start["meterStart"] <= stop["meterStop"] <= start["meterStart"] + drawn + 1
    assert charger.seconds(start["timestamp"]) <= charger.seconds(stop["timestamp"])
    await charger.settled()
    assert charger.statuses()[-1] in ("Finishing", "Preparing")
    assert len(charger.messages("StopTransaction")) == 1


async def test_a_charge_point_that_is_out_of_service_stays_so_over_a_power_failure(charger: Charger) -> None:
    await charger.ask("ChangeAvailability", connectorId=0, type="Inoperative")
    await charger.until_status("Unavailable")
    await charger.until_status("Unavailable", 0)
    charger.chip.cut_power()
    await charger.restarted()
    assert sorted(charger.story("StatusNotification")[-2:]) == ["0 Unavailable", "1 Unavailable"]


# -------------------------------------------------------------------------------------------------------- configuration


async def test_every_key_of_the_profiles_is_there_and_can_be_changed_or_not_as_the_standard_says(
    charger: Charger,
) -> None:
    answer = await charger.call("GetConfiguration", key=["SupportedFeatureProfiles"])
    assert not answer.get("unknownKey")
    profiles = set(answer["configurationKey"][0]["value"].split(","))
    assert profiles == {
        "Core",
        "FirmwareManagement",
        "LocalAuthListManagement",
        "Reservation",
        "SmartCharging",
        "RemoteTrigger",
    }
    everything = (await charger.call("GetConfiguration"))["configurationKey"]
    readonly = {entry["key"]: entry["readonly"] for entry in everything}
    assert {key for key in CHANGEABLE.split() if readonly[key]} == set()
    assert {key for key in READ_ONLY.split() if not readonly[key]} == set()
    assert readonly.keys() >= set(EITHER.split())
    assert {entry["key"]: entry.get("value") for entry in everything}["NumberOfConnectors"] == "1"
    some = await charger.call("GetConfiguration", key=["HeartbeatInterval", "NoSuchKey"])
    assert [entry["key"] for entry in some["configurationKey"]] == ["HeartbeatInterval"]
    assert some["unknownKey"] == ["NoSuchKey"]


async def test_a_key_that_is_changed_has_its_new_value_also_after_a_power_failure(charger: Charger) -> None:
    await charger.configure(MeterValueSampleInterval=123)
    for _ in range(2):
        [entry] = (await charger.call("GetConfiguration", key=["MeterValueSampleInterval"]))["configurationKey"]
        assert entry == {"key": "MeterValueSampleInterval", "readonly": False, "value": "123"}
        charger.chip.cut_power()
        await charger.restarted()


async def test_a_key_is_not_changed_to_what_it_cannot_be(charger: Charger) -> None:
    for key, value, status in (
        ("Testing", "true", "NotSupported"),
        ("MeterValueSampleInterval", "-1", "Rejected"),
        ("MeterValueSampleInterval", "soon", "Rejected"),
        ("LocalPreAuthorize", "perhaps", "Rejected"),
        ("MeterValuesSampledData", "Energy.Active.Import.Register,Happiness", "Rejected"),
        ("NumberOfConnectors", "2", "Rejected"),
    ):
        before = await charger.call("GetConfiguration", key=[key])
        await charger.ask("ChangeConfiguration", status, key=key, value=value)
        assert await charger.call("GetConfiguration", key=[key]) == before


# ------------------------------------------------------------------------------------------------------------ unlocking


async def test_a_connector_is_unlocked_with_and_without_a_transaction(charger: Charger) -> None:
    opens = charger.lock_opens()
    await charger.ask("UnlockConnector", "Unlocked", connectorId=1)
    assert await opens
    assert charger.story() == []
    await charger.charge()
    opens = charger.lock_opens()
    await charger.ask("UnlockConnector", "Unlocked", connectorId=1)
    assert await opens
    stop = await charger.message("StopTransaction")
    charger.check(charger.messages("StartTransaction")[0], stop, reason="UnlockCommand")
    await charger.until_status("Finishing")
    await charger.unplug()
    assert charger.statuses() == ["Preparing", "Charging", "Finishing", "Available"]


async def weld(charger: Charger) -> None:
    """Have the contactor's contacts weld while a car charges; that is noticed when they should open."""
    await charger.charge()
    charger.chip.fault("PowerSwitchFailure")
    await charger.card()
    await charger.until_status("Faulted")
    assert charger.chip.contactor()


async def repair(charger: Charger) -> None:
    """Change the contactor; the charger is switched off meanwhile, and it would not trust the old one again before."""
    charger.chip.unplug()
    charger.chip.clear()
    await charger.settled()
    assert charger.statuses()[-1] == "Faulted"
    await charger.ask("Reset", type="Hard")
    await charger.until_status("Available")


async def test_a_lock_that_must_not_open_says_unlock_failed(charger: Charger) -> None:
    """The contactor's contacts are welded: what is plugged in has mains voltage."""
    await weld(charger)
    await charger.ask("UnlockConnector", "UnlockFailed", connectorId=1)
    await repair(charger)


async def test_a_connector_that_is_not_there_cannot_be_unlocked(charger: Charger) -> None:
    await charger.ask("UnlockConnector", "NotSupported", connectorId=9)


async def test_a_fixed_cable_cannot_be_unlocked(tmp_path: Path, interpreter: Interpreter) -> None:
    async with Charger(tmp_path, interpreter, fixed_cables=True) as charger:
        await charger.ask("UnlockConnector", "NotSupported", connectorId=1)
        await charger.charge()
        await charger.ask("UnlockConnector", "NotSupported", connectorId=1)
        await charger.draws()
        assert charger.story(*TRANSACTIONS) == [f"Start {TAG}"]


# --------------------------------------------------------------------------------------------------------- availability


async def test_a_connector_goes_out_of_service_and_back_at_once_when_nobody_charges(charger: Charger) -> None:
    for number in (1, 0):
        charger.begin()
        for kind, status in (("Inoperative", "Unavailable"), ("Operative", "Available")):
            await charger.ask("ChangeAvailability", connectorId=number, type=kind)
            await charger.until_status(status)
            await charger.ask("ChangeAvailability", connectorId=number, type=kind)
        await charger.settled()
        assert charger.statuses() == ["Unavailable", "Available"]
        assert charger.statuses(0) == ([] if number else ["Unavailable", "Available"])
    await charger.ask("ChangeAvailability", "Rejected", connectorId=2, type="Inoperative")


@pytest.mark.parametrize("number", [0, 1])
async def test_with_a_transaction_it_goes_out_of_service_when_that_has_ended(charger: Charger, number: int) -> None:
    await charger.charge()
    await charger.ask("ChangeAvailability", "Scheduled", connectorId=number, type="Inoperative")
    await charger.draws()
    assert charger.statuses() == ["Preparing", "Charging"]
    await charger.card()
    stop = await charger.message("StopTransaction")
    charger.check(charger.messages("StartTransaction")[0], stop)
    await charger.until_status("Unavailable")
    charger.chip.unplug()
    await charger.ask("RemoteStartTransaction", "Rejected", idTag=TAG, connectorId=1)
    await charger.ask("ChangeAvailability", connectorId=number, type="Operative")
    await charger.until_status("Available")
    assert "Available" not in charger.statuses()[:-1]


# --------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("code", ["GroundFailure", "OverCurrentFailure"])
async def test_a_fault_ends_a_transaction_and_nobody_charges_until_it_is_repaired(charger: Charger, code: str) -> None:
    await charger.charge()
    charger.chip.fault(code)
    stop = await charger.stop_by_fault("Other")
    charger.check(charger.messages("StartTransaction")[0], stop, reason="Other")
    assert f"1 Faulted {code}" in charger.story("StatusNotification")
    await charger.ask("RemoteStartTransaction", "Rejected", idTag=TAG, connectorId=1)
    await charger.card(STRANGER)
    await charger.logged("no connector is free")
    assert charger.story(*TRANSACTIONS) == [f"Start {TAG}", "Stop Other"]
    charger.chip.clear()
    charger.chip.unplug()
    await charger.until_status("Available")


async def test_a_contactor_that_does_not_open_is_a_fault_until_it_is_repaired(charger: Charger) -> None:
    await weld(charger)
    stop = await charger.message("StopTransaction")
    assert (stop["idTag"], stop.get("reason", "Local")) == (TAG, "Local")
    assert charger.story("StatusNotification")[-1] == "1 Faulted PowerSwitchFailure"
    await repair(charger)


async def test_the_emergency_stop_ends_a_transaction(charger: Charger) -> None:
    await charger.charge()
    charger.chip.fault("EmergencyStop")
    stop = await charger.stop_by_fault("EmergencyStop")
    charger.check(charger.messages("StartTransaction")[0], stop, reason="EmergencyStop")
    notification = charger.messages("StatusNotification", status="Faulted")[0]
    assert (notification["errorCode"], notification["info"]) == ("OtherError", "EmergencyStop")
    charger.chip.clear()
    await charger.until(lambda: charger.statuses()[-1] != "Faulted", "the fault is gone")
    assert not charger.chip.contactor()
    assert charger.statuses()[-1] in ("Finishing", "Preparing")


async def test_a_shorted_pilot_is_a_warning_that_interrupts_a_transaction(charger: Charger) -> None:
    await charger.charge()
    charger.chip.fault("EVCommunicationError")
    await charger.until(lambda: not charger.chip.contactor(), "the contactor is open")
    await charger.message("StatusNotification", errorCode="EVCommunicationError")
    assert "Available" not in charger.statuses()
    assert charger.statuses()[-1] in ("SuspendedEV", "SuspendedEVSE")
    charger.chip.clear()
    await charger.until_status("Charging")
    assert charger.messages("StatusNotification")[-1]["errorCode"] == "NoError"
    stop = await charger.stop()
    charger.check(charger.messages("StartTransaction")[0], stop)


async def test_a_faulted_charger_starts_nothing(charger: Charger) -> None:
    charger.chip.fault("GroundFailure")
    await charger.until_status("Faulted")
    charger.chip.plug()
    await charger.card()
    await charger.logged("no connector is free")
    await charger.ask("RemoteStartTransaction", "Rejected", idTag=TAG)
    assert charger.story(*TRANSACTIONS) == []
    assert not charger.chip.contactor()


async def test_a_status_that_does_not_last_is_not_reported(charger: Charger) -> None:
    await charger.configure(MinimumStatusDuration=10)
    charger.chip.plug()
    await charger.passes(3)
    charger.chip.unplug()
    await charger.passes(3)
    charger.chip.plug()
    await charger.until_status("Preparing")
    assert charger.story() == ["1 Preparing"]


# ---------------------------------------------------------------------------------------------------- triggers and data


async def test_each_message_can_be_triggered(charger: Charger) -> None:
    await charger.plug()
    for requested, expected in (
        ("MeterValues", {"connectorId": 1}),
        ("Heartbeat", {}),
        ("StatusNotification", {"connectorId": 1, "status": "Preparing", "errorCode": "NoError"}),
        ("DiagnosticsStatusNotification", {"status": "Idle"}),
        ("FirmwareStatusNotification", {"status": "Idle"}),
        ("BootNotification", {"chargePointVendor": "Arus"}),
    ):
        charger.begin()
        where: Payload = {"connectorId": 1} if "connectorId" in expected else {}
        await charger.ask("TriggerMessage", **where, requestedMessage=requested)
        payload = await charger.message(requested)
        assert {name: payload.get(name) for name in expected} == expected
        if requested == "MeterValues":
            [value] = payload["meterValue"]
            charger.seconds(value["timestamp"])
            assert {sample["context"] for sample in value["sampledValue"]} == {"Trigger"}
            assert "transactionId" not in payload
    await charger.settled()  # all is reported after BootNotification
    charger.begin()
    await charger.ask("TriggerMessage", requestedMessage="StatusNotification")
    await charger.message("StatusNotification", 2)
    assert charger.story() == ["0 Available", "1 Preparing"]


async def test_meter_values_triggered_in_a_transaction_belong_to_it(charger: Charger) -> None:
    transaction = await charger.charge()
    await charger.ask("TriggerMessage", requestedMessage="MeterValues", connectorId=1)
    assert (await charger.message("MeterValues"))["transactionId"] == transaction


async def test_a_trigger_for_a_connector_that_is_not_there_is_rejected(charger: Charger) -> None:
    await charger.ask("TriggerMessage", "Rejected", requestedMessage="MeterValues", connectorId=2)
    await charger.settled()
    assert charger.story() == []


async def test_data_that_nobody_here_knows_is_not_accepted(charger: Charger) -> None:
    await charger.ask("DataTransfer", "UnknownVendorId", vendorId="com.example", messageId="Party", data="now")
    await charger.ask("DataTransfer", "UnknownMessageId", vendorId="Arus", messageId="Party")
    answer = await charger.ask("DataTransfer", vendorId="Arus", messageId="Diagnosis")
    assert json.loads(answer["data"])["unsentTransactionMessages"] == 0
