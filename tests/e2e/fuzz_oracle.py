"""What a charge point may answer to a text, by OCPP-J 1.6 and the official schemas; the firmware has no part in it.

Where the standard leaves room, or says more than the schemas do, both a result and the errors named here are right.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from jsonschema import FormatChecker
from jsonschema.exceptions import ValidationError
from ocpp.messages import CallResult, get_validator

from central_system import ACTIONS, ERROR_CODES, schema_error

FROM_CHARGE_POINT = set(
    "Authorize BootNotification DiagnosticsStatusNotification FirmwareStatusNotification Heartbeat "
    "LogStatusNotification MeterValues SecurityEventNotification SignCertificate SignedFirmwareStatusNotification "
    "StartTransaction StatusNotification StopTransaction".split()
)
# 9.1.24: what a charge point that has these serves.
PROFILES = {
    "Core": "ChangeAvailability ChangeConfiguration ClearCache DataTransfer GetConfiguration RemoteStartTransaction "
    "RemoteStopTransaction Reset UnlockConnector",
    "FirmwareManagement": "GetDiagnostics UpdateFirmware",
    "LocalAuthListManagement": "GetLocalListVersion SendLocalList",
    "Reservation": "CancelReservation ReserveNow",
    "SmartCharging": "ClearChargingProfile GetCompositeSchedule SetChargingProfile",
    "RemoteTrigger": "TriggerMessage",
}
# 4.2.3; a CALL that is no CALL at all is incomplete (ProtocolError) or not formed as one.
NOT_FORMED = {"FormationViolation", "ProtocolError"}
CODES = {
    "type": "TypeConstraintViolation",
    "required": "OccurenceConstraintViolation",
    "minItems": "OccurenceConstraintViolation",
    "additionalProperties": "FormationViolation",
}
VALUE = "PropertyConstraintViolation"
COUNT = "OccurenceConstraintViolation"
LONGEST_ID = 36
INT_MAX = 2**31 - 1
RESULT = "a result"

# The greatest values that make sense where the schemas have no limit.
GREATEST = {
    "limit": 1_000_000,
    "minChargingRate": 1_000_000,
    "numberPhases": 3,
    "retries": 1000,
    "retryInterval": 86_400,
}
# Configuration keys that limit lists.
MOST = {"key": 60, "localAuthorizationList": 50, "chargingSchedulePeriod": 24}
LARGE = 4000  # bytes; a charger may lack the memory for such a message


@dataclass(frozen=True)
class Verdict:
    """How a text has to be answered: how often, and with what (codes, and RESULT). unique_id: of a call."""

    counts: tuple[int, ...] = (0,)
    outcomes: frozenset[str] = frozenset()
    unique_id: str | None = None
    action: str = ""


@dataclass(frozen=True)
class ChargePoint:
    """What the oracle has to know of the one that answers."""

    profiles: str  # SupportedFeatureProfiles
    connectors: int

    @property
    def serves(self) -> set[str]:
        return {action for name in self.profiles.split(",") for action in PROFILES.get(name, "").split()}


def judge(text: str, charge_point: ChargePoint) -> Verdict:
    """How this text has to be answered."""
    try:
        message = json.loads(text, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError):
        # It is no JSON. A lenient parser may take it for a call nevertheless, and then has to answer it.
        return Verdict((0, 1), frozenset({RESULT, *ERROR_CODES}))
    if not isinstance(message, list) or len(message) < 2 or isinstance(message[0], bool) or message[0] != 2:
        return Verdict()
    kind, unique_id, *rest = message
    if not isinstance(unique_id, str):
        return Verdict()
    outcomes = _outcomes(rest, charge_point)
    counts: tuple[int, ...] = (1,)
    if not 0 < len(unique_id) <= LONGEST_ID:
        outcomes = outcomes | NOT_FORMED | {VALUE}
    if len(text.encode()) > LARGE:
        outcomes = outcomes | {"InternalError"}
        if not re.match(r'\s*\[\s*2\s*,\s*"[^"\\]{,80}"', text):  # without memory to parse it, its id can't be told
            counts = (0, 1)
    if isinstance(kind, Decimal):
        counts = (0, 1)
    action = rest[0] if rest and isinstance(rest[0], str) else ""
    return Verdict(counts, frozenset(outcomes), unique_id, action)


def _outcomes(rest: list[Any], charge_point: ChargePoint) -> set[str]:
    action = rest[0] if rest else None
    outcomes = set()
    is_formed = len(rest) == 2 and isinstance(action, str) and isinstance(rest[1], dict | None)
    if not is_formed:
        outcomes = {*NOT_FORMED, CODES["type"]} if len(rest) == 2 else NOT_FORMED
    if isinstance(action, str):
        if action not in ACTIONS:
            return {*outcomes, "NotImplemented"}
        if action not in charge_point.serves:
            return {*outcomes, "NotImplemented", "NotSupported"}
        if is_formed:
            return _payload_outcomes(action, rest[1] or {}, charge_point)
    return outcomes


def is_valid(action: str, payload: Any) -> bool:
    """Whether a charge point might take this payload."""
    try:
        payload = json.loads(json.dumps(payload), parse_float=Decimal)
        return isinstance(payload, dict) and RESULT in _payload_outcomes(action, payload, ChargePoint("", 9))
    except RecursionError:
        return False


def _payload_outcomes(action: str, payload: dict[str, Any], charge_point: ChargePoint) -> set[str]:
    validator = get_validator(2, action, "1.6", parse_float=Decimal).evolve(format_checker=_formats)
    try:
        errors = list(validator.iter_errors(payload))
    except ArithmeticError:  # a number so large that Decimal can't tell whether it is a multiple of 0.1
        return {VALUE, CODES["type"]}
    # Of another type, it breaks other rules of the schema as well.
    mistyped = [error.absolute_path for error in errors if error.validator == "type"]
    errors = [error for error in errors if error.validator == "type" or error.absolute_path not in mistyped]
    outcomes = {CODES.get(error.validator, VALUE) for error in errors} | set(
        _beyond_schema(action, payload, charge_point)
    )
    if all(_is_disputable(action, error) for error in errors):
        outcomes.add(RESULT)
    return outcomes


def _is_disputable(action: str, error: ValidationError) -> bool:
    """Whether what breaks the schema may be taken nevertheless."""
    value: Any = error.instance
    if error.validator == "enum" and action == "TriggerMessage":
        return isinstance(value, str)  # the answer may be NotImplemented: due to a message that nobody knows (7.49)
    if error.validator == "format":
        return isinstance(value, str) and _is_roughly_a_time(value)
    if error.validator == "maxLength":  # SteVe's &amp; is one character that was meant
        return len(html.unescape(value)) <= int(error.validator_value)
    if error.validator == "multipleOf":  # as good as one, in the floats that there are
        return bool(abs(value * 10 - round(value * 10)) < Decimal("0.1"))
    if error.validator == "type" and error.validator_value == "integer":
        # Later drafts of JSON Schema take 1.0 for one.
        return isinstance(value, Decimal) and value == value.to_integral_value()
    return False


def _beyond_schema(action: str, payload: dict[str, Any], charge_point: ChargePoint) -> Iterator[str]:
    """The errors that are right for what no schema says."""
    for name, value in _fields(payload):
        if isinstance(value, int | Decimal):
            greatest = charge_point.connectors if name == "connectorId" else GREATEST.get(name, INT_MAX)
            if value < 0 or value > greatest:
                yield VALUE
            if isinstance(value, Decimal) and abs(value) > INT_MAX:
                yield CODES["type"]  # it may be infinite
        elif isinstance(value, str):
            # Many count UTF-16's halves of a character; what a location may be is left to the charge point.
            if any(character > "\uffff" for character in value) or name == "location":
                yield VALUE
        elif isinstance(value, list) and (len(value) > MOST.get(name, len(value)) or name == "chargingSchedulePeriod"):
            yield COUNT
            yield VALUE
    if action == "SendLocalList" and payload.get("updateType") == "Full":
        yield COUNT  # 7.4: each idTag needs its idTagInfo then


def _fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    yield name, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _fields(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _fields(item)


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


# ------------------------------------------------------------------------------------------------------------ the times


def _is_time(text: object) -> bool:
    """Whether this is a date-time of RFC 3339, which every charge point has to understand."""
    if not isinstance(text, str):
        return True
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:[0-5]\d)"
    return bool(re.fullmatch(pattern, text, re.ASCII)) and _is_roughly_a_time(text)


def _is_roughly_a_time(text: str) -> bool:
    """Whether this may be taken for a time; RFC 3339 has leap seconds and year 0, ISO 8601 has even 24:00."""
    if not re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", text, re.ASCII):
        return False
    try:
        datetime.fromisoformat(text[:10].replace("0000", "0004", 1))
    except ValueError:
        return False
    return True


_formats = FormatChecker(formats=())
_formats.checks("date-time")(_is_time)


# ---------------------------------------------------------------------------------------------------------- the answers


def fault(answer: str, verdict: Verdict) -> str:
    """What is wrong with a text that answers a call; "" if nothing is."""
    message = json.loads(answer)
    if message[0] == 3:
        if len(message) != 3 or not isinstance(message[2], dict):
            return "no CALLRESULT"
        if RESULT not in verdict.outcomes:
            return "accepted"
        if verdict.action in ACTIONS and (error := schema_error(CallResult(message[1], message[2], verdict.action))):
            return f"against its schema: {error.message}"
        return ""
    if len(message) != 5 or not isinstance(message[3], str) or len(message[3]) > 255 or message[4] != {}:
        return "no CALLERROR"
    if message[2] not in verdict.outcomes:
        return "a wrong code"
    return ""
