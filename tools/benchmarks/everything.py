"""A charger's life in a minute: what of its work goes deepest, and what reckons with the largest numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import packages_keys
from benchmarks.setting import updated_while_charging
from desk import Desk

PERIODS = 24  # as many as ChargingScheduleMaxPeriods

# For the desk: all measurands.
OPTIONS: dict[str, Any] = {
    "tls": True,
    "connectors": 1,
    "configuration": {
        "UpdateWhileCharging": "download",
        "MeterValueSampleInterval": 5,
        "ClockAlignedDataInterval": 5,
        "MeterValuesSampledData": "Current.Import,Current.Offered,Energy.Active.Import.Interval,"
        "Energy.Active.Import.Register,Power.Active.Import,Power.Offered,Voltage",
        "StopTxnSampledData": "Energy.Active.Import.Register",
    },
}


def key() -> packages_keys.PrivateKey:
    """What the update is signed with."""
    return packages_keys.make_key("ecdsa")


async def everything(desk: Desk) -> None:
    """Have everything done that a central system may ask for, last an update with a signed, compressed package."""
    await desk.registered()

    async def ask(action: str, **payload: Any) -> Any:
        return await desk.central.call(desk.identity, action, payload)

    month = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%S.123456789+01:00")
    info = {"status": "Accepted", "parentIdTag": "GROUP", "expiryDate": month}
    people = [{"idTag": f"TAG{number:017}", "idTagInfo": info} for number in range(20)]
    await ask("SendLocalList", listVersion=2_000_000_000, updateType="Full", localAuthorizationList=people)
    await ask("ReserveNow", connectorId=1, reservationId=2_000_000_001, idTag="OTHER", expiryDate=month)
    await ask("CancelReservation", reservationId=2_000_000_001)
    for purpose, unit, most in (("ChargePointMaxProfile", "W", 11000.7), ("TxDefaultProfile", "A", 13.3)):
        await ask("SetChargingProfile", connectorId=0, csChargingProfiles=_profile(purpose, unit, most))
    for unit in "AW":
        for number in (0, 1):
            await ask("GetCompositeSchedule", connectorId=number, duration=604_800, chargingRateUnit=unit)
    await ask("GetConfiguration")
    await ask("ChangeConfiguration", key="HeartbeatInterval", value="3600")
    await ask("TriggerMessage", requestedMessage="MeterValues")
    await ask("GetDiagnostics", location=desk.web.url("logs/"), startTime=month)
    await desk.central.wait_for("DiagnosticsStatusNotification", lambda payload: payload["status"] == "Uploaded")
    await updated_while_charging(desk, "compressed")


def _profile(purpose: str, unit: str, most: float) -> dict[str, Any]:
    """A ChargingProfile with as much in it as may be."""
    periods = [{"startPeriod": 1800 * i, "limit": most - 0.1 * i, "numberPhases": 3} for i in range(PERIODS)]
    schedule = {
        "startSchedule": "2026-01-01T00:00:00.123456789+14:00",
        "duration": 86400,
        "chargingRateUnit": unit,
        "minChargingRate": 0.1,
        "chargingSchedulePeriod": [{**period, "limit": round(period["limit"], 1)} for period in periods],
    }
    return {
        "chargingProfileId": 2_000_000_000 + len(purpose),
        "stackLevel": 8,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Recurring",
        "recurrencyKind": "Daily",
        "validFrom": "2026-01-01T00:00:00Z",
        "validTo": "2037-12-31T23:59:59Z",
        "chargingSchedule": schedule,
    }
