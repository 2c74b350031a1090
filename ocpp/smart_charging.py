"""The SmartCharging profile (OCPP 1.6, 3.13): what the charging profiles allow each connector.

charging_profiles.py keeps them, schedules.py computes. Decisions where the standard leaves room:
- Without startSchedule a schedule begins with the transaction, or with SetChargingProfile for a ChargePointMaxProfile.
- A ChargePointMaxProfile is shared equally by the connectors with a transaction; where there aren't 6 A for each, by
  the oldest of them that there are 6 A for, and the others wait. So the sum never exceeds it.
- Power counts for the voltage and the phases of the outlet in config.json, whatever numberPhases says (errata 3.34).
- While the time isn't known, profiles that depend on it count with their lowest limit, all the time.
"""

from micropython import const

from . import schedules
from .rpc import CallError

_HORIZON = const(3600)  # seconds between two looks at the profiles, at most
_SOON = const(60)  # the same while the time isn't known
_LONGEST = const(604800)  # seconds of a composite schedule
_ANY = const(0x7FFFFFFF)


# ----------------------------------------------------------------------------------------- what changes what is allowed


def resume(charge_point):
    """After a reset: find out what is allowed."""
    for connector in charge_point.connectors:
        connector.profiles = None  # lines of its TxProfiles
    apply(charge_point)


def check(charge_point, profile):
    """Raise the CallError that is due if this isn't a ChargingProfile (7.8)."""
    from . import charging_profiles

    charging_profiles.check(profile)


def begin_profile(charge_point, connector, profile):
    """Take the chargingProfile of a RemoteStartTransaction, which check() has let pass, for the transaction to come.

    Return False if it can't be used. If the transaction doesn't begin after all, and when it ends, connector.profiles
    becomes None.
    """
    from . import charging_profiles

    connector.profiles = None
    return charging_profiles.install(charge_point, connector, profile, True)


def _set_charging_profile(charge_point, payload):
    from . import charging_profiles

    charging_profiles.check(payload["csChargingProfiles"])
    number = payload["connectorId"]
    if number >= len(charge_point.connectors):
        raise CallError("PropertyConstraintViolation", "there is no such connectorId")  # errata 3.39
    connector = charge_point.connectors[number]
    if not charging_profiles.install(charge_point, connector, payload["csChargingProfiles"]):
        return {"status": "Rejected"}
    return {"status": "Accepted"}, lambda: charge_point.event("smart_charging", "apply")


def _clear_charging_profile(charge_point, payload):
    from . import charging_profiles

    if not charging_profiles.clear(charge_point, payload):
        return {"status": "Unknown"}
    return {"status": "Accepted"}, lambda: charge_point.event("smart_charging", "apply")


# ------------------------------------------------------------------------------------------------------ what they allow


def apply(charge_point):
    """Set the limit of each connector as it is now, and do so again when it changes.

    It is due whenever a transaction has begun, too: that is one more to share a ChargePointMaxProfile.
    """
    charge_point.after(_SOON, "smart_charging", "apply")
    changed = []
    try:
        wait = _update(charge_point, changed)
    except (OSError, MemoryError) as error:  # what called must get on with its work, such as to end a transaction
        charge_point.log("The charging profiles can't be read, they are tried again in a minute: %s" % error)
    else:
        charge_point.cancel("smart_charging", "apply")
        if wait:
            charge_point.after(wait, "smart_charging", "apply")
    for number in changed:
        charge_point.call("connectors", "limited", number)


def _update(charge_point, changed):
    """Set the limits; append the numbers to `changed` where it is a new one, return how long it lasts or None."""
    wait = _SOON if charge_point.clock.now() is None else _HORIZON
    for connector in charge_point.connectors[1:]:
        timeline = _allowed(charge_point, connector, wait, "A")
        wait = timeline[1][0]
        limit = timeline[0][1]
        if limit is not None:
            limit /= 10
        if limit != connector.limit:
            connector.limit = limit
            changed.append(connector.number)
            text = "anything" if limit is None else "%.1f A" % limit
            charge_point.log("Connector %d: the charging profiles allow %s" % (connector.number, text))
    there_are = schedules.FILE in charge_point.files.names() or any(one.profiles for one in charge_point.connectors)
    return wait if there_are else None


def _allowed(charge_point, connector, length, unit):
    """Return the timeline of what the profiles allow a connector, in tenths of an A or W."""
    queue = [other for other in charge_point.connectors if other.transaction]
    queue.sort(key=lambda other: (other.transaction.began, other.number))
    if connector not in queue:
        queue.append(connector)  # as if it began to charge now
    weights = [_volts(other) for other in queue]
    total = _total(charge_point, weights, queue.index(connector), length, unit)
    return schedules.combine(_own(charge_point, connector, length, unit), total, schedules.lower)


def _total(charge_point, weights, place, length, unit):
    """Return the timeline of the part of the ChargePointMaxProfiles that the outlet at a place of the queue gets."""
    timeline = schedules.flat(length)
    for _, record in schedules.parsed(_lines(charge_point, True)):
        _lay(charge_point, timeline, record, 0, weights, place, unit)
    return timeline


def _own(charge_point, connector, length, unit):
    """Return the timeline of a connector's TxProfiles and TxDefaultProfiles."""
    age = 0  # before a transaction it is as if one began now
    if connector.transaction:
        age = charge_point.clock.uptime() - connector.transaction.began
    timeline = schedules.flat(length)
    weights = [_volts(connector)]
    for lines in (_lines(charge_point, False), connector.profiles):
        for _, record in schedules.parsed(lines):
            if record[2] in (0, connector.number):
                _lay(charge_point, timeline, record, age, weights, 0, unit)
    return timeline


def _lines(charge_point, shared):
    """The lines of the ChargePointMaxProfiles, or those of the TxDefaultProfiles; to parse one takes a while."""
    for line in charge_point.files.lines(schedules.FILE):
        if (line[:2] == "[0") == shared:
            yield line


def _lay(charge_point, timeline, record, age, weights, place, unit):
    gain = weights[place] if unit == "W" else 1
    if record[9] == "A":
        weights = [1] * len(weights)

    def convert(limit):
        return schedules.part(limit, weights, place, gain)

    schedules.lay(timeline, record, charge_point.clock.now(), age, convert)


def _volts(connector):
    """The power of one A in a connector's outlet, in W."""
    return getattr(connector.outlet, "voltage", 230) * getattr(connector.outlet, "phases", 1)


# -------------------------------------------------------------------------------------------------- composite schedules


def _get_composite_schedule(charge_point, payload):
    number = payload["connectorId"]
    if number >= len(charge_point.connectors):
        return {"status": "Rejected"}
    unit = payload.get("chargingRateUnit", "A")
    length = min(max(payload["duration"], 1), _LONGEST)
    if number:
        connector = charge_point.connectors[number]
        timeline = _expected(connector, _allowed(charge_point, connector, length, unit), unit)
    else:  # what the whole charge point may draw, if there is a car at every connector
        timeline = schedules.flat(length, 0)
        for connector in charge_point.connectors[1:]:
            own = _expected(connector, _own(charge_point, connector, length, unit), unit)
            timeline = schedules.combine(timeline, own, lambda limit, other: limit + other)
        connector = charge_point.connectors[1]
        total = _total(charge_point, [_volts(connector)], 0, length, unit)
        timeline = schedules.combine(timeline, total, schedules.lower)
    phases = getattr(connector.outlet, "phases", 1)
    most = charge_point.configuration.get("ChargingScheduleMaxPeriods")
    periods = [
        {"startPeriod": start, "limit": limit / 10, "numberPhases": phases} for start, limit in timeline[:-1][:most]
    ]
    schedule = {
        "duration": timeline[len(periods)][0],  # less than was asked for if there are too many periods
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": periods,
    }
    answer = {"status": "Accepted", "connectorId": number, "chargingSchedule": schedule}
    now = charge_point.clock.now()
    if now is not None:
        from .timestamps import format_time

        answer["scheduleStart"] = schedule["startSchedule"] = format_time(now)
    return answer


def _expected(connector, timeline, unit):
    """Return the timeline with the outlet's own limit, as there is always one."""
    limit = int(getattr(connector.outlet, "maximum", 32) * 10)
    local = schedules.flat(timeline[-1][0], limit * _volts(connector) if unit == "W" else limit)
    return schedules.combine(timeline, local, schedules.lower)


HANDLERS = {
    "ClearChargingProfile": (
        {
            "id": (int, None, False),
            "connectorId": (int, None, False),
            "chargingProfilePurpose": (str, schedules.PURPOSES, False),
            "stackLevel": (int, None, False),
        },
        _clear_charging_profile,
    ),
    "GetCompositeSchedule": (
        {
            "connectorId": (int, _ANY, True),
            "duration": (int, _ANY, True),
            "chargingRateUnit": (str, ("A", "W"), False),
        },
        _get_composite_schedule,
    ),
    "SetChargingProfile": (
        {"connectorId": (int, _ANY, True), "csChargingProfiles": (dict, None, True)},
        _set_charging_profile,
    ),
}
