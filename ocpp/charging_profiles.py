"""The charging profiles that there are (OCPP 1.6, 5.16 and 5.5); smart_charging.py says what they allow.

ChargePointMaxProfile and TxDefaultProfile are in a file, one record of schedules.py a line, in the order in which they
are laid over each other. TxProfiles end with their transaction, and that ends with a reset: they are in memory, as
such lines in Connector.profiles, since an erase of flash would stall the charger while a car is charging.
"""

import json

from micropython import const

from . import calls, schedules
from .rpc import CallError

_MOST_TEXT = const(2000)  # characters of a connector's TxProfiles, which are in memory
_ANY = const(0x7FFFFFFF)
_TX = const(2)  # in PURPOSES

_PERIOD = {
    "startPeriod": (int, _ANY, True),
    "limit": (float, 1000000, True),
    "numberPhases": (int, (1, 3), False),
}
_SCHEDULE = {
    "duration": (int, _ANY, False),
    "startSchedule": (str, "date-time", False),
    "chargingRateUnit": (str, ("A", "W"), True),
    "chargingSchedulePeriod": (list, (dict, _PERIOD, 1000), True),
    "minChargingRate": (float, 1000000, False),
}
_PROFILE = {
    "chargingProfileId": (int, _ANY, True),
    "transactionId": (int, None, False),
    "stackLevel": (int, _ANY, True),
    "chargingProfilePurpose": (str, schedules.PURPOSES, True),
    "chargingProfileKind": (str, ("Absolute", "Recurring", "Relative"), True),
    "recurrencyKind": (str, ("Daily", "Weekly"), False),
    "validFrom": (str, "date-time", False),
    "validTo": (str, "date-time", False),
    "chargingSchedule": (dict, _SCHEDULE, True),
}


def check(profile):
    """Raise the CallError that is due if this isn't a ChargingProfile (7.8)."""
    calls.check(profile, _PROFILE)
    schedule = profile["chargingSchedule"]
    periods = schedule["chargingSchedulePeriod"]
    if not periods:
        raise CallError("OccurenceConstraintViolation", "chargingSchedulePeriod is empty")
    for limit in [period["limit"] for period in periods] + [schedule.get("minChargingRate", 0)]:
        if abs(limit * 10 - round(limit * 10)) > 0.05:  # floats are single on a chip
            raise CallError("PropertyConstraintViolation", "a limit has more than one decimal")


def install(charge_point, connector, profile, coming=False):
    """Take a ChargingProfile that check() has let pass for a connector; return whether that is possible.

    coming: it is the chargingProfile of a RemoteStartTransaction (5.11), for the transaction that is to begin there.
    """
    try:
        _suit(charge_point, connector, profile, coming)
        now = charge_point.clock.now()
        new = schedules.record(connector.number, profile, now)

        def replaced(record):
            expired = now is not None and record[7] is not None and record[7] <= now
            return expired or record[3] == new[3] or record[:3] == new[:3]

        change(charge_point, replaced, new)
    except (ValueError, OSError) as error:
        charge_point.log("Charging profile %d rejected: %s" % (profile["chargingProfileId"], error))
        return False
    return True


def _suit(charge_point, connector, profile, coming):
    """ValueError if the profile is not one for this connector as it is, or for this charge point."""
    purpose = schedules.PURPOSES.index(profile["chargingProfilePurpose"])
    transaction = connector.transaction
    if purpose == 0 and connector.number:
        raise ValueError("it is one for connectorId 0")
    if coming and purpose != _TX:
        raise ValueError("only a TxProfile can come with a RemoteStartTransaction")
    if purpose == _TX and not coming:
        if not transaction:
            raise ValueError("there is no transaction")
        if profile.get("transactionId", transaction.id) != transaction.id:
            raise ValueError("the transaction there is another one")
    get = charge_point.configuration.get
    if profile["stackLevel"] > get("ChargeProfileMaxStackLevel"):
        raise ValueError("its stackLevel is above ChargeProfileMaxStackLevel")
    if len(profile["chargingSchedule"]["chargingSchedulePeriod"]) > get("ChargingScheduleMaxPeriods"):
        raise ValueError("it has more periods than ChargingScheduleMaxPeriods")


def change(charge_point, matches, new=None):
    """Remove the records that match and add one; return how many were removed.

    ValueError if there are too many, OSError if they can't be written; then they are as they were.
    """
    added = json.dumps(new) if new else None
    files, connectors = charge_point.files, charge_point.connectors
    found = removed = kept = 0
    same = False
    for line, record in schedules.parsed(files.lines(schedules.FILE)):
        found += matches(record)
        kept += not matches(record)
        same = same or line == added
    left = kept
    for connector in connectors:
        for _, record in schedules.parsed(connector.profiles):
            removed += matches(record)
            kept += not matches(record)
    if new and kept >= charge_point.configuration.get("MaxChargingProfilesInstalled"):
        raise ValueError("there are as many as MaxChargingProfilesInstalled")
    owner = connectors[new[2]] if new and new[0] == _TX else None
    if owner:
        ours = list(_changed(owner.profiles, matches, new))
        if sum([len(line) for line in ours]) > _MOST_TEXT:
            raise ValueError("the profiles of this transaction are too long")
    # A profile that comes again as it is wears no flash.
    if found > same or new and not (owner or same):
        if left or new and not owner:
            lines = _changed(files.lines(schedules.FILE), matches, None if owner else new)
            files.write(schedules.FILE, (line + "\n" for line in lines))
        else:
            files.remove(schedules.FILE)
    for connector in connectors:
        if connector is owner:
            connector.profiles = ours
        elif connector.profiles:
            connector.profiles = list(_changed(connector.profiles, matches))
    return found + removed


def _changed(lines, matches, new=None):
    """The lines without those that match, and with a new one in its place."""
    for line, record in schedules.parsed(lines):
        if new and new[:3] < record[:3]:
            yield json.dumps(new)
            new = None
        if not matches(record):
            yield line
    if new:
        yield json.dumps(new)


def clear(charge_point, payload):
    """Remove what a ClearChargingProfile.req (6.3) means; return how many there were."""

    def matches(record):
        if "id" in payload:
            return payload["id"] == record[3]  # all others are ignored then (errata 3.26)
        purpose = schedules.PURPOSES[record[0]]
        return (
            payload.get("connectorId", record[2]) == record[2]
            and payload.get("chargingProfilePurpose", purpose) == purpose
            and payload.get("stackLevel", record[1]) == record[1]
        )

    return change(charge_point, matches)
