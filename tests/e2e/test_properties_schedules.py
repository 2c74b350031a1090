"""Properties of smart charging: whatever the profiles are, at any instant the limit is what the standard says.

An oracle that knows one instant only, and has nothing in common with the firmware's timelines, says what that is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import strategies as st
from ocpp.messages import CallResult

from central_system import schema_error
from properties import Firmware, compiled_firmware, hold
from simulator.interpreter import Interpreter

NOW = 1787313600  # 2026-08-21T12:00:00Z
DAY = 86400
KEYS = {"ChargeProfileMaxStackLevel": 4, "ChargingScheduleMaxPeriods": 24, "MaxChargingProfilesInstalled": 6}
PURPOSES = ("ChargePointMaxProfile", "TxDefaultProfile", "TxProfile")
MOST = 24 * 1024  # bytes of a case

# A charge point with what smart_charging.py needs of it. A case is a list of calls; between them its time may change.
CODE = """
from ocpp import calls, charging_profiles, schedules, smart_charging, timestamps
from ocpp.charge_point import Connector, Transaction

class Thing:
    def __init__(self, **attributes):
        for name, value in attributes.items():
            setattr(self, name, value)

class Files:
    def __init__(self):
        self.text = {}

    def lines(self, name):
        for line in self.text.get(name, "").split("\\n"):
            if line:
                yield line

    def write(self, name, pieces):
        self.text[name] = "".join(list(pieces))

    def remove(self, name):
        self.text.pop(name, None)

    def names(self):
        return list(self.text)

class ChargePoint:
    def __init__(self, options):
        self.time = options["now"]
        self.files = Files()
        self.configuration = Thing(get=options["keys"].get)
        self.clock = Thing(now=lambda: self.time, uptime=lambda: 1000000)
        self.connectors = [Connector(0, None)]
        for maximum, phases, age in options["outlets"]:
            connector = Connector(len(self.connectors), Thing(maximum=maximum, voltage=230, phases=phases))
            if age is not None:
                connector.transaction = Transaction(connector.number, "TAG", None, 0, 1000000 - age)
                connector.transaction.id = connector.number
            self.connectors.append(connector)

    def log(self, text):
        pass

    def call(self, module, function, *arguments):
        pass

    def after(self, seconds, *what):
        self.wait = seconds

    def cancel(self, *what):
        self.wait = None

    def event(self, module, function):
        getattr(smart_charging, function)(self)

async def answer(options, data):
    charge_point = ChargePoint(options)
    smart_charging.resume(charge_point)
    answers = []
    for action, payload in json.loads(bytes(data)):
        if action == "time":
            charge_point.time = payload
            continue
        result, after = calls.answer(charge_point, action, payload)
        if after:
            after()
        answers.append(result)
    smart_charging.apply(charge_point)
    limits = [connector.limit for connector in charge_point.connectors[1:]]
    return {"answers": answers, "limits": limits, "wait": charge_point.wait}
"""

Profile = dict[str, Any]


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def text(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Outlet:
    """What the oracle knows of a connector; age: of its transaction, None without one."""

    maximum: int
    phases: int
    age: int | None

    @property
    def watts(self) -> int:
        return 230 * self.phases


@dataclass
class Oracle:
    """The profiles that are installed, each with its connector and the time of its SetChargingProfile."""

    outlets: list[Outlet]
    installed: list[tuple[int, Profile, int]] = field(default_factory=list)

    def set(self, number: int, profile: Profile, now: int) -> str:
        """Install a profile; return the status that is due."""
        purpose = profile["chargingProfilePurpose"]
        if purpose == "ChargePointMaxProfile" and number:
            return "Rejected"
        if purpose == "TxProfile" and (number == 0 or self.outlets[number - 1].age is None):
            return "Rejected"
        if purpose == "TxProfile" and profile.get("transactionId", number) != number:
            return "Rejected"
        if profile["stackLevel"] > KEYS["ChargeProfileMaxStackLevel"]:
            return "Rejected"
        kept = [
            entry
            for entry in self.installed
            if entry[1]["chargingProfileId"] != profile["chargingProfileId"]
            and (entry[0], entry[1]["stackLevel"], entry[1]["chargingProfilePurpose"])
            != (number, profile["stackLevel"], purpose)
            and ("validTo" not in entry[1] or seconds(entry[1]["validTo"]) > now)
        ]
        if len(kept) >= KEYS["MaxChargingProfilesInstalled"]:
            return "Rejected"
        self.installed = [*kept, (number, profile, now)]
        return "Accepted"

    def clear(self, criteria: dict[str, Any]) -> str:
        """Remove profiles; return the status that is due."""

        def matches(number: int, profile: Profile) -> bool:
            if "id" in criteria:
                return bool(profile["chargingProfileId"] == criteria["id"])
            is_so = {"connectorId": number} | profile
            return all(is_so[name] == value for name, value in criteria.items())

        kept = [entry for entry in self.installed if not matches(*entry[:2])]
        removed = len(self.installed) - len(kept)
        self.installed = kept
        return "Accepted" if removed else "Unknown"

    def prevailing(self, purpose: str, number: int, time: int, began: int) -> tuple[Fraction, str] | None:
        """The limit of a purpose at an instant, with its unit."""
        best: tuple[tuple[int, bool], Fraction, str] | None = None
        for owner, profile, installed in self.installed:
            if profile["chargingProfilePurpose"] != purpose or owner not in (0, number):
                continue
            rank = (profile["stackLevel"], owner != 0)
            limit = at(profile, time, installed if purpose == "ChargePointMaxProfile" else began)
            if limit is not None and (best is None or rank > best[0]):
                best = rank, limit, profile["chargingSchedule"]["chargingRateUnit"]
        return best[1:] if best else None

    def own(self, number: int, now: int, time: int, unit: str) -> Fraction | None:
        """What the profiles for a connector's transaction allow it."""
        outlet = self.outlets[number - 1]
        began = now - (outlet.age or 0)
        found = self.prevailing("TxProfile", number, time, began) or self.prevailing(
            "TxDefaultProfile", number, time, began
        )
        return tenths(found[0], found[1], unit, outlet.watts) if found else None

    def share(self, number: int, time: int, unit: str) -> Fraction | None:
        """A connector's share of the limit of the charge point."""
        found = self.prevailing("ChargePointMaxProfile", 0, time, 0)
        if not found:
            return None
        limit, given = found
        queue = sorted(
            (i + 1 for i, outlet in enumerate(self.outlets) if outlet.age is not None),
            key=lambda i: (-(self.outlets[i - 1].age or 0), i),
        )
        if number not in queue:
            queue.append(number)
        weight = {i: self.outlets[i - 1].watts if given == "W" else 1 for i in queue}
        served = max([n for n in range(1, len(queue) + 1) if sum(weight[i] for i in queue[:n]) * 6 <= limit] or [1])
        if number not in queue[:served]:
            return Fraction(0)
        amps = limit / sum(weight[i] for i in queue[:served])
        return floor(amps * self.outlets[number - 1].watts if unit == "W" else amps)

    def limit(self, number: int, now: int, time: int, unit: str) -> Fraction | None:
        """What all profiles together allow a connector."""
        limits = [self.own(number, now, time, unit), self.share(number, time, unit)]
        return min((limit for limit in limits if limit is not None), default=None)

    def composite(self, number: int, now: int, time: int, unit: str) -> Fraction:
        """What GetCompositeSchedule has to say of an instant."""
        if number:
            limit = self.limit(number, now, time, unit)
            local = self.local(number, unit)
            return local if limit is None else min(limit, local)
        total = Fraction(0)
        for i in range(1, len(self.outlets) + 1):
            limit = self.own(i, now, time, unit)
            total += self.local(i, unit) if limit is None else min(limit, self.local(i, unit))
        found = self.prevailing("ChargePointMaxProfile", 0, time, 0)
        return min(total, tenths(found[0], found[1], unit, self.outlets[0].watts)) if found else total

    def local(self, number: int, unit: str) -> Fraction:
        outlet = self.outlets[number - 1]
        return Fraction(outlet.maximum * (outlet.watts if unit == "W" else 1))


def floor(value: Fraction) -> Fraction:
    return Fraction(value * 10 // 1, 10)


def tenths(limit: Fraction, given: str, unit: str, watts: int) -> Fraction:
    """A limit in the other unit, if it is that, rounded down to what a message can say."""
    if given == unit:
        return limit
    return floor(limit / watts if unit == "A" else limit * watts)


def at(profile: Profile, time: int, began: int) -> Fraction | None:
    """The limit of one profile at an instant; began: of charging."""
    if "validFrom" in profile and time < seconds(profile["validFrom"]):
        return None
    if "validTo" in profile and time >= seconds(profile["validTo"]):
        return None
    schedule = profile["chargingSchedule"]
    if "startSchedule" in schedule and profile["chargingProfileKind"] != "Relative":
        began = seconds(schedule["startSchedule"])
    elapsed = time - began
    if elapsed < 0:
        return None
    if profile["chargingProfileKind"] == "Recurring":
        elapsed %= DAY if profile["recurrencyKind"] == "Daily" else 7 * DAY
    if "duration" in schedule and elapsed >= schedule["duration"]:
        return None
    begun = [period for period in schedule["chargingSchedulePeriod"] if period["startPeriod"] <= elapsed]
    return Fraction(str(begun[-1]["limit"]))


# ---------------------------------------------------------------------------------------------------------------- cases

times = st.integers(-40 * 24, 48).map(lambda hours: NOW + hours * 3600) | st.integers(NOW - 3 * DAY, NOW + 2 * DAY)
amps = st.integers(0, 200).map(lambda limit: limit / 10) | st.integers(6, 64)
watts = st.integers(0, 230000).map(lambda limit: limit / 10)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """A ChargingProfile that makes sense."""
    unit = draw(st.sampled_from("AAW"))
    spaces = draw(st.lists(st.sampled_from((1, 60, 900, 3600, 6 * 3600, DAY)), max_size=5))
    starts = [sum(spaces[:i]) for i in range(len(spaces) + 1)]
    limits = draw(st.lists(amps if unit == "A" else watts, min_size=len(starts), max_size=len(starts)))
    schedule: dict[str, Any] = {
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [
            {"startPeriod": start, "limit": limit} for start, limit in zip(starts, limits, strict=True)
        ],
    }
    profile: Profile = {
        "chargingProfileId": draw(st.integers(1, 8)),
        "stackLevel": draw(st.integers(0, 5)),
        "chargingProfilePurpose": draw(st.sampled_from(PURPOSES)),
        "chargingProfileKind": draw(st.sampled_from(("Absolute", "Recurring", "Relative"))),
        "chargingSchedule": schedule,
    }
    if draw(st.booleans()):
        schedule["duration"] = draw(st.sampled_from((0, 1, 1800, 7200, DAY, 3 * DAY, 9 * DAY)))
    if draw(st.integers(0, 3)):
        schedule["startSchedule"] = text(draw(times))
    if profile["chargingProfileKind"] == "Recurring":
        profile["recurrencyKind"] = draw(st.sampled_from(("Daily", "Weekly")))
    if draw(st.integers(0, 3)) == 0:
        profile["validFrom"] = text(draw(times))
    if draw(st.integers(0, 3)) == 0:
        profile["validTo"] = text(draw(times))
        if profile.get("validFrom", "") >= profile["validTo"]:
            profile.pop("validFrom", None)
    if profile["chargingProfilePurpose"] == "TxProfile" and draw(st.booleans()):
        profile["transactionId"] = draw(st.integers(1, 3))
    return profile


criteria = st.fixed_dictionaries(
    {},
    optional={
        "connectorId": st.integers(0, 3),
        "chargingProfilePurpose": st.sampled_from(PURPOSES),
        "stackLevel": st.integers(0, 3),
    },
) | st.fixed_dictionaries({"id": st.integers(1, 8)}, optional={"connectorId": st.integers(0, 3)})


@dataclass
class Case:
    outlets: list[Outlet]
    calls: list[tuple[str, dict[str, Any]]]
    asked: list[tuple[int, str, int]]  # connector, unit, duration
    now: int
    instants: list[int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    age = st.none() | st.integers(0, 3 * DAY)
    outlet = st.builds(Outlet, st.sampled_from((16, 32, 63)), st.sampled_from((1, 3)), age)
    outlets = draw(st.lists(outlet, min_size=1, max_size=3))
    calls: list[tuple[str, dict[str, Any]]] = []
    for one in draw(st.lists(profiles(), min_size=1, max_size=10)):
        if draw(st.integers(0, 9)) == 0:
            calls.append(("ClearChargingProfile", draw(criteria)))
        number = 0 if one["chargingProfilePurpose"] == "ChargePointMaxProfile" else draw(st.integers(0, len(outlets)))
        calls.append(("SetChargingProfile", {"connectorId": number, "csChargingProfiles": one}))
    durations = st.sampled_from((1, 3600, DAY, 5 * DAY, 7 * DAY))
    asked = draw(
        st.lists(st.tuples(st.integers(0, len(outlets)), st.sampled_from("AW"), durations), min_size=2, max_size=4)
    )
    now = NOW + draw(st.sampled_from((0, 0, 1, 1799, 5 * 3600, DAY, 3 * DAY)))
    return Case(outlets, calls, asked, now, draw(st.lists(st.integers(0, 7 * DAY), min_size=8, max_size=8)))


@pytest.fixture(scope="module")
def firmware(interpreter: Interpreter) -> Iterator[Firmware]:
    firmware = Firmware(interpreter, compiled_firmware(), CODE, most=MOST)
    yield firmware
    firmware.stop()


def ask(firmware: Firmware, case: Case, calls: list[tuple[str, Any]]) -> dict[str, Any]:
    outlets = [(outlet.maximum, outlet.phases, outlet.age) for outlet in case.outlets]
    return firmware.ask(json.dumps(calls).encode(), now=NOW, keys=KEYS, outlets=outlets).result


def installed(case: Case, answers: list[dict[str, Any]]) -> Oracle:
    """An oracle with the profiles of a case; each answer to these has to be what is due."""
    oracle = Oracle(case.outlets)
    for (action, payload), answer in zip(case.calls, answers, strict=True):
        if action == "SetChargingProfile":
            status = oracle.set(payload["connectorId"], payload["csChargingProfiles"], NOW)
        else:
            status = oracle.clear(payload)
        assert answer == {"status": status}, (action, payload)
    return oracle


def test_the_limit_is_at_any_instant_what_the_profiles_say(firmware: Firmware, everything: bool) -> None:
    def check(case: Case) -> None:
        schedules = [
            ("GetCompositeSchedule", {"connectorId": number, "chargingRateUnit": unit, "duration": duration})
            for number, unit, duration in case.asked
        ]
        result = ask(firmware, case, [*case.calls, ("time", case.now), *schedules])
        answers = result["answers"]
        oracle = installed(case, answers[: len(case.calls)])
        # Now, and as long as that is said to last.
        for number, limit in enumerate(result["limits"], 1):
            for time in (0, *(instant for instant in (1, 60, 900, 3599) if instant < (result["wait"] or 3600))):
                expected = oracle.limit(number, case.now, case.now + time, "A")
                assert limit == (None if expected is None else float(expected)), (number, time)
        for (number, unit, duration), answer in zip(case.asked, answers[len(case.calls) :], strict=True):
            check_composite(case, oracle, number, unit, duration, answer)

    hold(cases(), check, 150, everything)


def check_composite(case: Case, oracle: Oracle, number: int, unit: str, duration: int, answer: dict[str, Any]) -> None:
    assert schema_error(CallResult("1", answer, "GetCompositeSchedule")) is None, answer
    schedule = answer["chargingSchedule"]
    periods = schedule["chargingSchedulePeriod"]
    end = schedule["duration"]
    assert (answer["connectorId"], answer["scheduleStart"]) == (number, text(case.now))
    assert 0 < end <= duration and 0 < len(periods) <= KEYS["ChargingScheduleMaxPeriods"]
    starts = [period["startPeriod"] for period in periods]
    assert starts[0] == 0 and starts == sorted(set(starts)) and starts[-1] < end
    edges = [start + step for start in [*starts, end] for step in (-1, 0, 1)]
    for instant in sorted({time for time in [*edges, *case.instants] if 0 <= time < end}):
        said = [period["limit"] for period in periods if period["startPeriod"] <= instant][-1]
        expected = oracle.composite(number, case.now, case.now + instant, unit)
        assert said == float(expected), (number, unit, instant)


def test_while_the_time_is_unknown_the_limit_is_never_higher_than_at_any_time(
    firmware: Firmware, everything: bool
) -> None:
    def check(case: Case) -> None:
        result = ask(firmware, case, [*case.calls, ("time", None)])
        oracle = installed(case, result["answers"])
        for number, limit in enumerate(result["limits"], 1):
            for instant in case.instants:
                expected = oracle.limit(number, NOW + instant, NOW + instant, "A")
                assert expected is None or (limit is not None and limit <= float(expected)), (number, instant)

    hold(cases(), check, 50, everything)


def test_the_connectors_together_never_exceed_the_limit_of_the_charge_point(
    firmware: Firmware, everything: bool
) -> None:
    def check(case: Case) -> None:
        result = ask(firmware, case, [*case.calls, ("time", case.now)])
        found = installed(case, result["answers"]).prevailing("ChargePointMaxProfile", 0, case.now, 0)
        if found:
            limit, unit = found
            total = Fraction(0)
            for outlet, amps in zip(case.outlets, result["limits"], strict=True):
                assert amps is not None
                total += Fraction(str(amps)) * (outlet.watts if unit == "W" else 1) if outlet.age is not None else 0
            assert total <= limit

    hold(cases(), check, 50, everything)
