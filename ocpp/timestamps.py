"""The date-time of OCPP's messages."""

import re

from micropython import const

_LONGEST = const(40)
_PATTERN = r"(\d\d\d\d)-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?$"


# The calendar is computed here because time.gmtime and time.mktime differ between the ports (epoch, time zone, 2038).
def parse_time(text):
    """Unix seconds of an ISO 8601 date-time as OCPP sends it; a fraction is dropped, no time zone means UTC.

    ValueError if it is none.
    """
    match = re.match(_PATTERN, text) if len(text) <= _LONGEST else None  # matching recurses
    if match is None:
        raise ValueError("not a date-time")
    year, month, day, hour, minute, second = [int(match.group(i)) for i in range(1, 7)]
    if month < 3:
        year -= 1
        month += 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 719469
    seconds = days * 86400 + hour * 3600 + minute * 60 + second
    # Only a date that exists comes back as it went in.
    if format_time(seconds)[:19] != text[:19]:
        raise ValueError("no such date")
    zone = match.group(7)
    if zone and zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    return seconds


def format_time(seconds):
    """Unix seconds -> "2026-08-21T12:00:00Z"."""
    days, second = divmod(seconds, 86400)
    days += 719468
    era, days = divmod(days, 146097)  # 400 years each; years begin in March, so that a leap day is the last
    year = (days - days // 1460 + days // 36524 - days // 146096) // 365
    days -= 365 * year + year // 4 - year // 100
    month = (5 * days + 2) // 153
    day = days - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year += era * 400 + (month < 3)
    return "%04d-%02d-%02dT%02d:%02d:%02dZ" % (
        year, month, day, second // 3600, second // 60 % 60, second % 60)  # fmt: skip
