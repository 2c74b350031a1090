"""Charging profiles laid out in time (OCPP 1.6, 3.13): what is computed for smart_charging.py, and nothing else.

A record is a profile as it is kept, a list that JSON can hold: [purpose, stackLevel, connectorId, chargingProfileId,
repetition, start, validFrom, validTo, duration, unit, periods]. purpose is an index of PURPOSES; repetition is 0 or the
seconds from one begin to the next; start, validFrom and validTo are Unix seconds or None (start: the transaction's);
duration is seconds or None; periods are [startPeriod, limit, startPeriod, limit, …] with limits in tenths of the unit,
"A" or "W". Sorted, the records stand in the order in which each overrules those before it: TxProfile above
TxDefaultProfile, a higher stackLevel above a lower one, a connector's own profile above the one for all connectors.
(ChargePointMaxProfile has a timeline of its own.)

A timeline is [[0, limit], [start, limit], …, [end, None]]: starts and the end of it in seconds from now, limits in
tenths of an A or W, None for no limit.
"""

import json

from micropython import const

FILE = "profiles"
PURPOSES = ("ChargePointMaxProfile", "TxDefaultProfile", "TxProfile")
_FIELDS = const(11)  # of a record
_REPETITIONS = {"Daily": 86400, "Weekly": 604800}
_MOST = const(48)  # items of a timeline: what would be more makes it end earlier
_LEAST = const(60)  # tenths of an A; with less no car charges (IEC 61851-1)


def record(number, profile, now):
    """Return the record of a ChargingProfile (7.8) whose fields have been checked. ValueError if it makes no sense.

    now: Unix seconds or None. numberPhases and minChargingRate are left out: no outlet here can switch its phases, and
    the limit counts as it is for those that it has (errata 3.34); what is inefficient is left to the car.
    """
    from .timestamps import parse_time

    schedule = profile["chargingSchedule"]
    times = [profile.get("validFrom"), profile.get("validTo"), schedule.get("startSchedule")]
    valid_from, valid_to, start = [text if text is None else parse_time(text) for text in times]
    if valid_from is not None and valid_to is not None and valid_from >= valid_to:
        raise ValueError("it would be valid until before it is valid")
    kind = profile["chargingProfileKind"]
    repetition = 0
    if kind == "Relative":
        start = None
    elif kind == "Recurring":
        repetition = _REPETITIONS.get(profile.get("recurrencyKind"))
        if not repetition:
            raise ValueError("it is Recurring without a recurrencyKind")
    periods = []
    for period in schedule["chargingSchedulePeriod"]:
        if period["startPeriod"] <= periods[-2] if periods else period["startPeriod"]:
            raise ValueError("its periods don't begin at 0, or not one after the other")
        periods += [period["startPeriod"], round(period["limit"] * 10)]
    duration = schedule.get("duration")
    purpose = PURPOSES.index(profile["chargingProfilePurpose"])
    # The charge point as a whole has no start of charging: such a schedule starts now, if it matters when.
    if not purpose and start is None and (duration is not None or len(periods) > 2):
        if now is None:
            raise ValueError("it starts now, but what time it is isn't known")
        start = now
    unit = schedule["chargingRateUnit"]
    place = [purpose, profile["stackLevel"], number, profile["chargingProfileId"]]
    return place + [repetition, start, valid_from, valid_to, duration, unit, periods]


def parsed(lines):
    """(line, record) of lines or None; what isn't one is left out, so that it is gone with the next change."""
    for line in lines or ():
        try:
            # MicroPython's parser doesn't miss a missing end.
            record = json.loads(line) if line[-2:] == "]]" else ()
        except ValueError:
            record = ()
        if len(record) == _FIELDS:
            yield line, record


def flat(length, limit=None):
    """Return a timeline of so many seconds with the same limit all the time."""
    return [[0, limit], [length, None]]


def lay(timeline, record, now, age, convert):
    """Let a record overrule a timeline wherever it has a limit.

    age: seconds since the transaction began. convert(limit) returns what a limit of the record means in the timeline.
    now: Unix seconds. While that is None nobody can tell whether a record is valid and where in its schedule it is:
    its lowest limit counts all the time then, besides that of those below it.
    """
    repetition, start, valid_from, valid_to, duration, _, periods = record[4:]
    if now is None:
        if (start, valid_from, valid_to) != (None, None, None):
            lowest = min([convert(limit) for limit in periods[1::2]])
            for item in timeline[:-1]:
                item[1] = lower(item[1], lowest)
            return
        now = 0  # it isn't needed
    first = 0 if valid_from is None else max(0, valid_from - now)
    last = timeline[-1][0] if valid_to is None else min(timeline[-1][0], valid_to - now)
    start = -age if start is None else start - now
    if repetition:
        duration = repetition if duration is None else min(duration, repetition)  # errata 3.43
        if start < 0:
            start = start % repetition - repetition
    while start < min(last, timeline[-1][0]):
        end = last if duration is None else min(last, start + duration)
        for i in range(0, len(periods), 2):
            until = min(end, timeline[-1][0])  # it may have become shorter
            if i + 2 < len(periods):
                until = min(until, start + periods[i + 2])
            begin = max(first, start + periods[i])
            if begin < until:
                _paint(timeline, begin, until, convert(periods[i + 1]))
        if not repetition:
            break
        start += repetition


def _paint(timeline, start, end, limit):
    i = _cut(timeline, start)
    timeline[i : _cut(timeline, end)] = [[start, limit]]
    while len(timeline) > _MOST:
        timeline.pop()


def _cut(timeline, at):
    """Make an item of the timeline begin at that time; return its index."""
    i = 0
    while timeline[i][0] < at:
        i += 1
    if timeline[i][0] > at:
        timeline.insert(i, [at, timeline[i - 1][1]])
    return i


def combine(first, second, function):
    """Return the timeline of function(limit, other limit) as long as there are both of them."""
    merged = []
    start = i = j = 0
    end = min(first[-1][0], second[-1][0])
    while start < end and len(merged) < _MOST:
        limit = function(first[i][1], second[j][1])
        if not merged or merged[-1][1] != limit:
            merged.append([start, limit])
        start = min(first[i + 1][0], second[j + 1][0])
        i += first[i + 1][0] == start
        j += second[j + 1][0] == start
    merged.append([start, None])
    return merged


def lower(limit, other):
    """Return the lower one of two limits; None is none."""
    if limit is None or other is None:
        return limit if other is None else other
    return min(limit, other)


def part(limit, weights, place, gain):
    """Return the part of a limit that an outlet gets, in tenths of an A, times gain.

    weights: of all outlets that share it, those that come first first: how much of it one A takes. As many of them as
    can have 6 A get the same current, the others none. place: the outlet's, in weights.
    """
    total = served = 0
    for weight in weights:
        if total and (total + weight) * _LEAST > limit:
            break
        total += weight
        served += 1
    return limit * gain // total if place < served else 0
