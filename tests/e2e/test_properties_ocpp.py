"""Properties of OCPP-J: whatever the central system says, every call gets one legal answer and the next one as well."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from ocpp.messages import Call, CallResult

from central_system import schema_error
from environment import REPOSITORY
from properties import Answer, Firmware, compiled_firmware, hold, mutations
from simulator.interpreter import Interpreter

HEAP = 160 * 1024  # as the unit tests have it
LATE = " ".join(sorted(path.stem for path in (REPOSITORY / "ocpp").glob("[a-z]*.py")))
# The whole of ocpp/ at the boundary of its WebSocket. LATE: its modules. `answers` are for the charge point's calls, in
# turn; the messages in the case come then, each of `parts` bytes; after each of them a good call, which has to be
# answered.
CODE = """
import time
gc.threshold(8192)  # as in main.py, but that it takes less time
from firmware.journal import Journal
from firmware.update import Updater
from ocpp import registration
from ocpp.charge_point import ChargePoint
from ocpp.configuration import Configuration
from ocpp.firmware_status import FirmwareStatuses
from ocpp.outbox import Outbox
from ocpp.session import Session
from ocpp.timestamps import format_time, parse_time

RESIDENT = "charge_point configuration diagnostics firmware_status outbox registration rpc session timestamps".split()

def tidy():
    # as main.py does it, who keeps less
    for name in list(sys.modules):
        if name[:5] == "ocpp." and name[5:] not in RESIDENT:
            del sys.modules[name]
            delattr(sys.modules["ocpp"], name[5:])

for name in LATE.split():
    __import__("ocpp." + name)  # its names stay
    tidy()

GOOD = '[2,"good","GetConfiguration",{"key":["HeartbeatInterval"]}]'
ACCEPTED = '[3,"ID",{"status":"Accepted","currentTime":"2026-08-21T12:00:00.123Z","interval":14400}]'

class Link:
    def __init__(self, answers):
        self.answers = answers
        self.incoming = []
        self.news = asyncio.Event()
        self.good = asyncio.Event()
        self.aborted = False

    @property
    def last_received(self):
        return time.ticks_ms()

    async def receive(self):
        while not self.incoming:
            if self.aborted:
                raise OSError(104, "lost")
            self.news.clear()
            await self.news.wait()
        return self.incoming.pop(0)

    async def send(self, text):
        await asyncio.sleep_ms(0)
        if self.aborted:
            raise OSError(104, "lost")
        sent(memoryview(text))
        sent(b"\\n")
        message = json.loads(text)
        if message[0] == 2:
            self.say((self.answers.pop(0) if self.answers else ACCEPTED).replace("ID", message[1]))
        elif message[1] == "good":
            self.good.set()

    async def ping(self, payload=b""):
        pass

    def say(self, message):
        self.incoming.append(message)
        self.news.set()

    def abort(self):
        self.aborted = True
        self.news.set()
        self.good.set()

class Store:
    def __init__(self):
        self.records = {}

    def get(self, key):
        return self.records.get(key)

    def set(self, key, value):
        self.records[key] = value

    def delete(self, key):
        self.records.pop(key, None)

class Files:
    # in memory, but for what only takes room
    def __init__(self):
        self.contents = {}

    def lines(self, name):
        return (line for line in self.contents.get(name, "").split("\\n") if line)

    def read(self, name):
        return self.contents[name].encode() if name in self.contents else None

    def write(self, name, pieces):
        self.contents[name] = "" if name == "reserve" else "".join(pieces)

    def remove(self, name):
        self.contents.pop(name, None)

    def names(self):
        return list(self.contents)

class Clock:
    time = None

    def now(self):
        return self.time

    def uptime(self):
        return time.ticks_ms() // 1000

    def set(self, time):
        self.time = time

def decode(data):
    return str(data, "utf-8")

def parsed(text):
    try:
        seconds = parse_time(text)
        return {"seconds": seconds, "formatted": format_time(seconds)}
    except ValueError:
        return {}

class Parts:
    pass

def dispatch(charge_point, action, payload):
    from ocpp import calls
    try:
        return calls.answer(charge_point, action, payload)
    finally:
        tidy()

async def answer(options, data):
    parts = Parts()
    if "time" in options:
        return parsed(options["time"])
    links = []

    async def connect():
        links.append(Link(options["answers"]))
        return links[-1]

    def log(*words):
        pass

    store, clock, resets = Store(), Clock(), []
    configuration = Configuration(store, {}, log)
    outbox = Outbox(log)
    charge_point = ChargePoint([None], outbox, clock)
    journal = Journal(store, outbox.wake)
    outbox.add(FirmwareStatuses(journal))
    session = Session(connect, lambda *call: dispatch(charge_point, *call), {"chargePointVendor": "v",
        "chargePointModel": "m"}, configuration, clock, log, 1)
    session.on_accepted += [charge_point.report_all, outbox.wake]
    charge_point.configuration, charge_point.session = configuration, session
    parts.journal, parts.log, parts.progress = journal, log, log
    charge_point.updater = Updater(parts)
    charge_point.reset = resets.append
    charge_point.store, charge_point.files, charge_point.log, charge_point.forget = store, Files(), log, tidy
    charge_point.identity, charge_point.open_log = "CP1", lambda: (0, None)
    charge_point.call("connectors", "resume")
    tasks = [asyncio.create_task(task) for task in (session.run(), outbox.run(session), charge_point.run())]
    calm = not options["answers"]
    try:
        while not links:
            await asyncio.sleep_ms(0)
        start = 0
        for length in options["parts"] or [0]:
            if calm:
                await session.accepted.wait()
            link = links[-1]
            if length:
                link.say((bytes if options.get("binary") else decode)(data[start : start + length]))
            start += length
            answered = False
            while not answered:
                link = links[-1]
                if link.aborted:
                    await asyncio.sleep_ms(1)
                    continue
                link.good.clear()
                link.say(GOOD)
                await link.good.wait()
                answered = not link.aborted
            sent(b"\\n")
        dead = [task.done() for task in tasks]
        links[-1].abort()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            while not task.done():
                await asyncio.sleep_ms(0)
    return {"dead": dead, "registered": session.status, "links": len(links)}
"""

CODES = set(
    "NotImplemented NotSupported InternalError ProtocolError SecurityError FormationViolation "
    "PropertyConstraintViolation OccurenceConstraintViolation TypeConstraintViolation GenericError".split()
)
VALID: dict[str, dict[str, Any]] = {
    "ChangeConfiguration": {"key": "HeartbeatInterval", "value": "300"},
    "GetConfiguration": {"key": ["HeartbeatInterval", "Unknown"]},
    "Reset": {"type": "Soft"},
    "TriggerMessage": {"requestedMessage": "StatusNotification", "connectorId": 1},
    "UpdateFirmware": {
        "location": "http://host/fw.bin",
        "retrieveDate": "2026-08-21T12:00:00Z",
        "retries": 3,
        "retryInterval": 60,
    },
}
ACTIONS = (
    "Authorize BootNotification ChangeAvailability ChangeConfiguration ClearCache DataTransfer GetConfiguration "
    "Heartbeat MeterValues RemoteStartTransaction RemoteStopTransaction Reset StartTransaction StatusNotification "
    "StopTransaction UnlockConnector GetDiagnostics DiagnosticsStatusNotification UpdateFirmware "
    "FirmwareStatusNotification GetLocalListVersion SendLocalList ReserveNow CancelReservation SetChargingProfile "
    "ClearChargingProfile GetCompositeSchedule TriggerMessage CertificateSigned DeleteCertificate "
    "ExtendedTriggerMessage GetInstalledCertificateIds GetLog InstallCertificate LogStatusNotification "
    "SecurityEventNotification SignCertificate SignedFirmwareStatusNotification SignedUpdateFirmware"
).split()
FIELDS = sorted({name for payload in VALID.values() for name in payload} | {"", "status", "id", "é"})
WORDS = tuple(
    word.encode()
    for word in (
        "[",
        "]",
        "{",
        "}",
        '"',
        ",",
        ":",
        "null",
        "true",
        "1e999",
        "-",
        "0",
        "\\u0000",
        "\\ud83d",
        "\\",
        "é",
        "\n",
    )
)

MESSAGES = "BootNotification Heartbeat StatusNotification FirmwareStatusNotification MeterValues".split()
texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ("", "HeartbeatInterval", "AuthorizationKey", "Accepted", "0", "-1", "a" * 600, "\U0001f600", "\ud800")
    ),
    st.sampled_from([*MESSAGES, "2026-08-21T12:00:00+01:00", "00" * 16, "zz" * 16, "é" * 501]),
)
numbers = st.one_of(
    st.sampled_from((0, 1, -1, 2**30, 2**31, 2**32, 2**63, 2**64, 10**40)),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=10)), inner, max_size=6),
    ),
    max_leaves=12,
)


@st.composite
def payloads(draw: st.DrawFn, action: str) -> Any:
    """A payload of which one or two things are wrong, or all."""
    if draw(st.integers(0, 3)) == 0:
        return draw(values)
    payload: dict[str, Any] = dict(VALID.get(action, {}))
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from([*payload, *payload, *payload, *FIELDS]))
        if draw(st.integers(0, 3)):
            payload[name] = draw(st.one_of(values, texts, numbers, st.booleans()))
        else:
            payload.pop(name, None)
    return payload


@st.composite
def calls(draw: st.DrawFn) -> str:
    """A call with an arbitrary payload, as JSON of one style or another."""
    action = draw(st.one_of(st.sampled_from(sorted(VALID)), st.sampled_from(ACTIONS), texts))
    message = [2, draw(st.one_of(st.just("1"), texts)), action, draw(payloads(action))]
    if draw(st.integers(0, 9)) == 0:
        message[draw(st.integers(0, 3))] = draw(values)
    if draw(st.integers(0, 9)) == 0:
        message = draw(st.sampled_from((message[:2], message[:3], [*message, {}], message[:1], [])))
    return json.dumps(message, ensure_ascii=draw(st.booleans()) or "\\ud" in json.dumps(message))


@pytest.fixture(scope="module")
def firmware(interpreter: Interpreter) -> Iterator[Firmware]:
    code = f"LATE = {LATE!r}\n{CODE}"
    firmware = Firmware(interpreter, compiled_firmware(), code, most=16 * 1024, heap=HEAP)
    yield firmware
    firmware.stop()


def say(firmware: Firmware, *messages: bytes, answers: tuple[str, ...] = (), binary: bool = False) -> list[list[Any]]:
    """Say these to a charge point; return its answers to each. Afterwards a new session does what it ever did."""
    parts = [len(message) for message in messages]
    answer = firmware.ask(b"".join(messages), parts=parts, answers=answers, binary=binary)

    def good() -> None:
        assert not any(answered(firmware.ask(parts=[], answers=[]))), "unexpected answer"

    firmware.rest(good)
    return answered(answer)


def answered(answer: Answer) -> list[list[Any]]:
    """What a charge point answered to each message; its own calls are checked by the schema."""
    assert not any(answer.result["dead"]), "a task has ended"
    found = []
    for part in answer.sent.decode().removesuffix("\n\n").split("\n\n"):
        said = [json.loads(line) for line in part.split("\n")]
        for message in said:
            if message[0] == 2:
                assert schema_error(Call(message[1], message[2], message[3])) is None, message
        answers = [message for message in said if message[0] != 2]
        good = answers.pop()
        assert good[:2] == [3, "good"]
        found.append(answers)
    return found


def legal(answer: list[Any], action: object, request: object) -> None:
    """Check an answer by the standard."""
    if answer[0] == 3:
        assert len(answer) == 3 and isinstance(action, str) and isinstance(request, dict | None)
        if answer[2] != {"status": "NotImplemented"}:  # due also to a message that nobody knows
            assert schema_error(Call(answer[1], action, request or {})) is None, "accepted against the schema"
        assert schema_error(CallResult(answer[1], answer[2], action)) is None, answer
    else:
        kind, _, code, description, details = answer
        assert kind == 4 and code in CODES and isinstance(description, str) and len(description) <= 255
        assert details == {}


def check_answer(text: str, answers: list[Any]) -> None:
    """Check that a message was answered if it has to be, and only then, and with what the standard allows."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        # MicroPython's parser lets some pass that is no JSON: what comes then has to be an answer all the same.
        for answer in answers:
            assert answer[0] in (3, 4) and isinstance(answer[1], str)
        return
    is_call = isinstance(message, list) and len(message) > 1 and message[0] == 2 and isinstance(message[1], str)
    assert len(answers) == is_call, answers or "not answered"
    if is_call:
        assert answers[0][1] == message[1]
        legal(answers[0], *(message[2:4] if len(message) == 4 else (None, None)))


def test_arbitrary_text_is_answered_only_if_it_is_a_call(firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[bytes, bool]) -> None:
        data, binary = case
        answers = say(firmware, data, binary=binary)[0]
        if binary:
            assert answers == []
        else:
            check_answer(data.decode(), answers)

    text = st.text(min_size=1, max_size=300).map(lambda text: text.encode(errors="ignore") or b"x")
    nested = st.tuples(st.sampled_from(("[", '{"a":', "[2,")), st.integers(1, 900)).map(
        lambda case: (case[0] * case[1]).encode()
    )
    hold(st.tuples(st.one_of(text, nested), st.booleans()), check, 150, everything)


def test_a_changed_call_gets_one_legal_answer_or_is_none(firmware: Firmware, everything: bool) -> None:
    valid = [json.dumps([2, "1", action, payload]).encode() for action, payload in VALID.items()]

    def check(data: bytes) -> None:
        text = data.decode(errors="ignore") or " "
        check_answer(text, say(firmware, text.encode())[0])

    hold(mutations(valid, WORDS), check, 300, everything)


def test_any_payload_of_any_action_gets_one_legal_answer(firmware: Firmware, everything: bool) -> None:
    def check(messages: list[str]) -> None:
        answers = say(firmware, *(message.encode() for message in messages))
        for message, found in zip(messages, answers, strict=True):
            check_answer(message, found)

    hold(st.lists(calls(), min_size=1, max_size=3), check, 400, everything)


def test_a_large_call_gets_one_legal_answer(firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[str, str, int]) -> None:
        action, kind, size = case
        payload: Any = dict(VALID[action])
        if kind == "keys":
            payload.update({f"key{number}": number for number in range(size // 20)})
        elif kind == "long":
            payload[next(iter(payload))] = "x" * size
        elif kind == "list":
            payload[next(iter(payload))] = ["y" * 50] * (size // 55)
        text = json.dumps([2, "1", action, payload])
        if kind == "deep":
            text = f'[2,"1","{action}",{{"key":' + "[" * (size // 10) + "]" * (size // 10) + "}]"
        if kind == "id":
            text = json.dumps([2, "i" * size, action, payload])
        answers = say(firmware, text.encode())[0]
        if answers or size < 2000:  # what takes more memory than there is may be passed over
            check_answer(text, answers)

    kinds = st.sampled_from(("keys", "long", "list", "deep", "id"))
    hold(st.tuples(st.sampled_from(sorted(VALID)), kinds, st.integers(1, 12_000)), check, 100, everything)


def test_whatever_a_call_is_answered_with_the_charge_point_goes_on(firmware: Firmware, everything: bool) -> None:
    fields = st.sampled_from(("status", "currentTime", "interval", "idTagInfo", "x"))
    registration = st.fixed_dictionaries(
        {
            "status": st.one_of(st.sampled_from(("Accepted", "Pending", "Rejected")), values),
            "currentTime": st.one_of(st.just("2026-08-21T12:00:00Z"), values),
            "interval": st.one_of(st.integers(1, 100), numbers, values),
        }
    )
    payload = st.one_of(registration, values, st.dictionaries(fields, values))
    code = st.one_of(st.sampled_from(sorted(CODES)), values)
    result = payload.map(lambda payload: json.dumps([3, "ID", payload]))
    error = st.lists(st.one_of(code, values), max_size=4).map(lambda rest: json.dumps([4, "ID", *rest]))
    other = st.one_of(texts.map(lambda text: json.dumps([3, text, {}])), st.just('[3,"ID"]'), st.just("[3]"))
    answer = st.one_of(result, result, error, other).filter(lambda text: len(text) < 1000)
    trigger = [json.dumps([2, "t", "TriggerMessage", {"requestedMessage": name}]).encode() for name in MESSAGES]

    def check(case: tuple[list[str], list[bytes]]) -> None:
        answers, triggers = case
        for found in say(firmware, *triggers, answers=tuple(answers)):
            assert len(found) <= 1

    hold(
        st.tuples(st.lists(answer, min_size=1, max_size=4), st.lists(st.sampled_from(trigger), max_size=3)),
        check,
        250,
        everything,
    )


def test_a_time_means_what_python_takes_it_for(firmware: Firmware, everything: bool) -> None:
    zones = st.sampled_from(("Z", "", "+00:00", "-03:30", "+0530", "+23:59"))
    times = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))
    written = st.builds(lambda time, zone: time.isoformat() + zone, times, zones)

    def check(text: str) -> None:
        result = firmware.ask(time=text).result
        if "seconds" not in result or text[:4] in ("0000", "0001", "9999"):  # beyond those Python knows no time
            return
        moment = datetime.fromisoformat(text[:19])
        if zone := re.search(r"([+-])(\d\d):?(\d\d)$", text[19:]):
            sign, hours, minutes = zone.groups()
            moment -= timedelta(hours=int(sign + hours), minutes=int(sign + minutes))
        assert result["seconds"] == (moment - datetime(1970, 1, 1)) // timedelta(seconds=1)
        assert result["formatted"] == moment.isoformat() + "Z"

    def check_written(text: str) -> None:
        assert "seconds" in firmware.ask(time=text).result, "refused"
        check(text)

    hold(written, check_written, 150, everything)
    changed = mutations([b"2026-08-21T12:00:00.5Z", b"2024-02-29T23:59:59+01:00"], (b"0", b"-", b"T", b"9"), most=2)
    hold(
        st.one_of(st.text(max_size=50), changed.map(lambda data: data.decode(errors="ignore"))), check, 150, everything
    )
