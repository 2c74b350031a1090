"""Frames for a charge point that is fuzzed: each is made of a seed and its number alone, the same at all times.

Some are calls as the official schemas have them, most are such calls after an accident or two, and some are no calls.
`python3 tests/e2e/fuzz_calls.py SEED NUMBER` shows one.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from ocpp.messages import get_validator
from ocpp.v16.enums import Action

from fuzz_oracle import FROM_CHARGE_POINT, PROFILES, is_valid

ACTIONS = sorted(action.value for action in Action)
SERVED = " ".join(PROFILES.values()).split()
TO_CHARGE_POINT = SERVED * 3 + [action for action in ACTIONS if action not in FROM_CHARGE_POINT]
RESTARTING = ("Reset", "UpdateFirmware")  # once they are valid they do what a test of their own is about
AGAIN = "again"  # the id of many calls
LONGEST = 15_000  # bytes; the charger closes a connection with a message of more than 16 KiB
LARGE = 6_000

LIMITS = (0, 1, -1, 9999, 10_000, 2**15, 2**16, 2**30, 2**31 - 1, 2**31, -(2**31), 2**32, 2**63, 2**64, 10**40)
FLOATS = (0.1, -0.1, 16.25, 1e-9, 1.0, 1e15, 1e39, -1e300)
STRINGS = (
    "",
    " ",
    "\0",
    "\n\r\t",
    "\x7f\u2028\ufeff",
    '"\\/',
    "ÀÉĳŉ",
    "߿ࠀ￿",
    "\U0001f600\U0010ffff",
    "\ud83d",
    "\ude00\ud83d",
    "e\u0301\u202e\u200b",
    "&lt;&gt;&#34;&#39;&amp;",
    "&amp;amp;&#0;&bogus;&",
    "%s%d{}{0}",
    "../../config.json",
    "null",
    "Accepted",
    "TRUE",
    "-1",
    "__class__",
    "2026-08-21T12:00:00Z",
    "2026-02-30T12:00:00Z",
    "2026-08-21",
    "9999-12-31T23:59:59.999999999999Z",
    "0000-00-00T00:00:00Z",
    "2026-08-21T12:00:60Z",
    "2026-08-21T12:00:00+99:99",
)
NAMES = ("", "x", "status", "idTag", "IDTAG", "connectorid", "connectorId ", "é", "\U0001f600", "__init__", "a" * 100)
DATES = (
    "2099-01-01T00:00:00Z",
    "2099-12-31T23:59:59.999+01:00",
    "2020-02-29T12:00:00.000Z",
    "2020-01-01T00:00:00-03:30",
)
TAGS = ("04A2B3C4", "0004A2B3C4", "A", "fuzz-tag-of-20-chars", "é", "<&>")
VALUES = ("", " ", *"0 1 5 30 300 86400 86401 -1 1.5 0x10 true false True stop wait".split())
MORE_VALUES = (
    *"Voltage Voltage,Voltage Energy.Active.Import.Register,Voltage 1.RST,2.RTS".split(),
    "00" * 16,
    "zz" * 16,
)
# What comes into JSON and breaks it, if it does.
BROKEN_WORDS = (
    *"[ ] { } \" , : null NaN -Infinity 1e999 - +1 0 01 .5 \\ \\u12 \\x41 ' /**/ // é nu".split(),
    *"\0\n\ufeff",
)
KEYS = (
    "AllowOfflineTxForUnknownId AuthorizationCacheEnabled AuthorizationKey AuthorizeRemoteTxRequests BlinkRepeat "
    "ChargeProfileMaxStackLevel ChargingScheduleMaxPeriods ClockAlignedDataInterval ConnectionTimeOut "
    "ConnectorPhaseRotation FirmwareDownloadTimeout GetConfigurationMaxKeys HeartbeatInterval LightIntensity "
    "LocalAuthListEnabled LocalAuthListMaxLength LocalAuthorizeOffline LocalPreAuthorize MaxEnergyOnInvalidId "
    "MeterValueSampleInterval MeterValuesAlignedData MeterValuesSampledData MinimumStatusDuration NumberOfConnectors "
    "ResetRetries SendLocalListMaxLength StopTransactionOnEVSideDisconnect StopTransactionOnInvalidId "
    "StopTxnAlignedData StopTxnSampledData SupportedFeatureProfiles TransactionMessageAttempts "
    "TransactionMessageRetryInterval TrialDeadline UnlockConnectorOnEVSideDisconnect UpdateProgressDataTransfer "
    "UpdateWhileCharging WebSocketPingInterval heartbeatInterval Unknown"
).split()
# What would make the charger so busy, or so slow, that nothing else could be seen.
TOO_LIVELY = {
    "ClockAlignedDataInterval": ("1", "5"),
    "HeartbeatInterval": ("1", "5"),
    "MeterValueSampleInterval": ("1", "5"),
    "MinimumStatusDuration": ("30", "300"),
    "WebSocketPingInterval": ("1", "5", "30"),
}

# What a field is filled with, as far as its schema allows that.
FILLINGS: dict[str, Sequence[Any]] = {
    "chargingProfileId": (0, 1, 2, 3, 4, 5, 6, 7),
    "chargingSchedulePeriod": (),
    "connectorId": (0, 0, 1, 1, 1, 2, 2, 2, 3, 9),
    "data": ("", "fuzz", *STRINGS),
    "duration": (1, 60, 3600, 86_400),
    "id": (0, 1, 2, 3, 4, 5, 6, 7),
    "idTag": TAGS,
    "key": KEYS,
    "limit": (0, 0.1, 5.9, 6, 6.5, 10, 16, 16.1, 32, 3680, 11_000.5),
    "listVersion": (0, 1, 2, 3, 4, 5, 10, 100),
    # Nobody listens there.
    "location": ("http://127.0.0.1:9/", "ftp://127.0.0.1:9/log?a&amp;b", "https://127.0.0.1:9/", "gopher://x", "", "é"),
    "messageId": ("Diagnosis", "diagnosis", "x", ""),
    "minChargingRate": (0, 6, 6.1),
    "numberPhases": (1, 2, 3),
    "parentIdTag": ("FAMILY", "family", "A"),
    "reservationId": (0, 1, 2, 3, 4, 5, -1),
    "retries": (0, 1, 2),
    "retryInterval": (0, 1, 2),
    "stackLevel": (0, 1, 2, 8, 9),
    "startPeriod": (0, 60, 600, 3600),
    "transactionId": (1, 2, 3, 4, 5, 100),
    "value": VALUES + MORE_VALUES,
    "vendorId": ("Arus", "arus", "com.example", ""),
}


def frame(seed: int, number: int) -> str:
    """The text of a frame."""
    return Maker(random.Random(f"{seed} {number}"), number).frame()


class Maker:
    """Makes one frame."""

    def __init__(self, rng: random.Random, number: int) -> None:
        self.rng = rng
        self.number = number

    def frame(self) -> str:
        """A valid call, one after an accident, one with another payload, one out of form, or no call at all."""
        (kind,) = self.rng.choices(
            (self.valid, self.damaged, self.foreign, self.formless, self.broken), (25, 45, 6, 14, 10)
        )
        while True:
            text = kind()
            if len(text.encode()) <= LONGEST:
                return text

    def valid(self) -> str:
        action = self.rng.choice([action for action in TO_CHARGE_POINT if action not in RESTARTING])
        return self.text([2, self.id(), action, self.payload(action)])

    def damaged(self) -> str:
        action = self.rng.choice(TO_CHARGE_POINT * 5 + ACTIONS)
        while True:
            payload = self.payload(action)
            for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
                payload = self.accident(payload)
            if self.harmless(action, payload):
                return self.text([2, self.id(), action, payload])

    def foreign(self) -> str:
        """A payload that has nothing to do with the action."""
        action = self.rng.choice(ACTIONS)
        while True:
            payload = self.rng.choice((self.anything, lambda: self.payload(self.rng.choice(ACTIONS))))()
            if self.harmless(action, payload):
                return self.text([2, self.id(), action, payload])

    def formless(self) -> str:
        """JSON in which the message itself is wrong."""
        rng = self.rng
        action = rng.choice([action for action in TO_CHARGE_POINT if action not in RESTARTING])
        payload = self.payload(action)
        message: list[Any] = [2, self.id(), action, payload]
        what = rng.randrange(9)
        if what == 0:
            message[0] = rng.choice((0, 1, 5, -2, 22, 2.0, 2.5, "2", None, True, [2], {}, 10**20, 3, 4))
        elif what == 1:
            message[1] = rng.choice((None, 0, 7, 1.5, True, [], {}, [message[1]]))
        elif what == 2:
            message[1] = rng.choice(("", "i" * 36, "i" * 37, "i" * 300, *STRINGS))
        elif what == 3:
            odd = (action.lower(), action + " ", action + "Request", "ocpp.core", "__init__", "", "x" * 2000, *STRINGS)
            message[2] = rng.choice((*odd, None, 2, {}, [action], 1.5, False))
        elif what == 4:
            message[3] = rng.choice((None, None, [], [payload], "", "{}", json.dumps(payload), 0, -1.5, True, False))
        elif what == 5:
            message = rng.choice(
                (message[:1], message[:2], message[:3], [*message, {}], [*message, None], [], [message])
            )
        elif what == 6:  # the answer to no call
            result: Any = rng.choice(({}, {"status": "Accepted"}, None, [], "x", self.anything()))
            error = [4, self.id(), rng.choice(("GenericError", "", "x" * 300, None, 4)), "", {}]
            message = rng.choice(([3, self.id(), result], error, error[:3], [3, self.id()], [4, self.id()], [3], [4]))
        elif what == 7:
            message[3] = self.nested()
        else:
            return self.text(rng.choice((self.anything(), {}, {"2": message}, "", 2, None)))
        return self.text(message)

    def broken(self) -> str:
        """Text that was JSON before an accident."""
        rng = self.rng
        text = self.valid()
        while any(key in text for key in TOO_LIVELY):  # a lenient parser might read less of the value than there is
            text = self.valid()
        text = text.replace(AGAIN, f"f{self.number}")  # that it is answered can't be relied on: it must not be mixed up
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(len(text) + 1)
            end = min(len(text), at + rng.choice((1, 1, 2, 10, 100)))
            words = BROKEN_WORDS
            text = rng.choice(
                (
                    text[:at] + text[end:],
                    text[:at],
                    text[at:],
                    text[:at] + rng.choice(words) + text[at:],
                    text[:at] + rng.choice(words) + text[end:],
                    text[:end] + text[at:],
                    text + rng.choice((text, *words)),
                    rng.choice(words) + text,
                )
            )
        return text

    # ---- parts of a message

    def id(self) -> str:
        """The id of a call: most have one of their own, which nothing else has."""
        return AGAIN if self.rng.random() < 0.02 else f"f{self.number}"

    def text(self, message: Any) -> str:
        """JSON in one of the forms that it can have."""
        rng = self.rng
        separators = rng.choice((None, None, (",", ":"), (" , ", " : ")))
        text = json.dumps(message, separators=separators, ensure_ascii=rng.random() < 0.5)
        try:
            text.encode()
        except UnicodeEncodeError:  # half a pair can only be written as an escape
            text = json.dumps(message)
        return f"\n\t {text} \r\n" if rng.random() < 0.05 else text

    def payload(self, action: str) -> Any:
        """A payload as its schema has it, and mostly one that makes sense."""
        payload = self.instance(schema_of(action), "", schema_of(action))
        schedules = [
            payload.get(name, {}).get("chargingSchedule") for name in ("csChargingProfiles", "chargingProfile")
        ]
        for schedule in schedules:
            if schedule:  # its periods come in order, the first one at 0
                starts = sorted(period["startPeriod"] for period in schedule["chargingSchedulePeriod"])
                starts[:1] = [0] * bool(starts)
                for period, start in zip(schedule["chargingSchedulePeriod"], starts, strict=True):
                    period["startPeriod"] = start
        if payload.get("value") in TOO_LIVELY.get(
            payload.get("key", "") if action == "ChangeConfiguration" else "", ()
        ):
            payload["value"] = "0"
        return payload

    def instance(self, schema: dict[str, Any], name: str, root: dict[str, Any]) -> Any:
        """A value that a schema allows."""
        rng = self.rng
        if "$ref" in schema:
            schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
        kind = schema.get("type")
        if kind == "object":
            required = schema.get("required", ())
            names = [key for key in schema.get("properties", {}) if key in required or rng.random() < 0.5]
            rng.shuffle(names)
            return {key: self.instance(schema["properties"][key], key, root) for key in names}
        if kind == "array":
            count = rng.choice((0, 1, 1, 2, 3, 5))
            if name == "chargingSchedulePeriod":
                count = rng.choice((1, 1, 2, 3, 24))
            return [self.instance(schema["items"], name, root) for _ in range(max(count, schema.get("minItems", 0)))]
        if "enum" in schema:
            return rng.choice(schema["enum"])
        if schema.get("format") == "date-time":
            return rng.choice(DATES)
        if name in FILLINGS and rng.random() < 0.95:
            return rng.choice(FILLINGS[name])
        if kind == "integer":
            return rng.choice((0, 1, 2, rng.randrange(100), rng.randrange(10_000)))
        if kind == "number":
            return rng.randrange(1000) / 10
        if kind == "boolean":
            return rng.random() < 0.5
        longest = min(schema.get("maxLength", 40), 500)
        return rng.choice(("x", "x" * longest, rng.choice(STRINGS)[:longest]))

    # ---- accidents

    def accident(self, payload: Any) -> Any:
        """The payload after something has happened to one place in it."""
        rng = self.rng
        places = list(walk(payload))
        name, value, put = rng.choice(places)
        objects = [place for place in places if isinstance(place[1], dict)]
        what = rng.randrange(10)
        new: Any
        if what == 0 and objects:  # a field is missing
            _, value, _ = rng.choice(objects)
            if value:
                del value[rng.choice(list(value))]
            return payload
        if what == 1 and objects:  # there is one more
            _, value, _ = rng.choice(objects)
            value[rng.choice(NAMES)] = rng.choice((1, "x", None, {}, [], self.anything()))
            return payload
        if what == 2:
            new = rng.choice(LIMITS + FLOATS)
        elif what == 3:
            new = rng.choice(STRINGS)
        elif what == 4:
            new = rng.choice(("x", "é", "&lt;", "\U0001f600", "\0")) * rng.choice(
                (8, 20, 21, 25, 50, 51, 255, 256, 500, 501)
            )
        elif what == 5:
            new = None
        elif what == 6:
            new = self.nested()
        elif what == 7 and isinstance(value, list):
            count = rng.choice((1, 20, 25, 61, 200)) if value else 0
            new = (value * count)[: LARGE // (1 + len(json.dumps(value)) // max(1, len(value)))]
        elif what == 8 and isinstance(value, str):
            new = rng.choice((value.upper(), value.lower(), value + " ", value * 2, value + "\0", value[:-1]))
        else:  # another type
            new = rng.choice(
                (True, False, 0, 1.5, "1", "", [], {}, [value], {name: value}, str(value)[:500], self.anything())
            )
        return put(new, payload)

    def nested(self) -> Any:
        """Something deep."""
        new: Any = self.rng.choice((1, "x", [], {}))
        name = self.rng.choice(("key", "idTagInfo", "x", ""))
        is_list = self.rng.random() < 0.5
        for _ in range(self.rng.choice((1, 5, 50, 400))):
            new = [new] if is_list else {name: new}
        return new

    def anything(self, depth: int = 0) -> Any:
        """Any JSON."""
        rng = self.rng
        kind = rng.randrange(8 if depth < 3 else 5)
        if kind < 2:
            return rng.choice((None, True, False, *LIMITS, *FLOATS))
        if kind < 5:
            return rng.choice((*STRINGS, *NAMES, *TAGS))
        items = [self.anything(depth + 1) for _ in range(rng.randrange(5))]
        return items if kind == 5 else {rng.choice((*NAMES, *FILLINGS)): item for item in items}

    def harmless(self, action: str, payload: Any) -> bool:
        """Whether a call would not restart the charger, nor keep it too busy."""
        if action in RESTARTING:
            return not is_valid(action, {} if payload is None else payload)
        if action == "ChangeConfiguration" and isinstance(payload, dict) and isinstance(payload.get("key"), str):
            lively = TOO_LIVELY.get(payload["key"], ())
            return not lively or payload.get("value") in ("0", *VALUES) and payload["value"] not in lively
        return True


def walk(value: Any, name: str = "", put: Callable[[Any, Any], Any] = lambda new, _: new) -> Any:
    """Every place in a payload: its name, what is there, and put(new, payload), which returns the payload it is in."""
    yield name, value, put
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):

        def put_here(new: Any, payload: Any, key: Any = key) -> Any:
            value[key] = new
            return payload

        yield from walk(item, str(key) if isinstance(key, str) else name, put_here)


def schema_of(action: str) -> dict[str, Any]:
    """The official schema of the payload of a call."""
    schema: dict[str, Any] = get_validator(2, action, "1.6", parse_float=Decimal).schema
    return schema


if __name__ == "__main__":
    print(frame(int(sys.argv[1]), int(sys.argv[2])))
