"""The development central system itself: finds what breaks a schema, and behaves like SteVe where that matters."""

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import pytest
from ocpp.exceptions import InternalError
from ocpp.messages import Call
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode
from websockets.typing import Subprotocol

from central_system import PATH, CallFailed, CentralSystem, no_answer, refuse, schema_error

OCPP = [Subprotocol("ocpp1.6")]
BOOT = {"chargePointVendor": "Arus", "chargePointModel": "Desk"}


@pytest.fixture
async def central() -> AsyncIterator[CentralSystem]:
    async with CentralSystem() as system:
        yield system


class Raw:
    """A charge point that sends whatever a test wants; the GetConfiguration of the start is read and not answered."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket

    async def ask(self, *message: Any) -> list[Any]:
        await self.send(list(message))
        return await self.receive()

    async def send(self, message: Any) -> None:
        await self.websocket.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    async def receive(self) -> list[Any]:
        message: list[Any] = json.loads(await asyncio.wait_for(self.websocket.recv(), 5))
        return message

    async def closed_with(self) -> int | None:
        with pytest.raises(ConnectionClosed):
            await self.receive()
        return self.websocket.close_code


@pytest.fixture
async def raw(central: CentralSystem) -> AsyncIterator[Raw]:
    async with connect(f"{central.url}/CP1", subprotocols=OCPP) as websocket:
        charger = Raw(websocket)
        assert (await charger.receive())[2:] == ["GetConfiguration", {"key": []}]
        yield charger


class Charger(ChargePoint):  # type: ignore[misc]
    """A well-behaved charge point, by the `ocpp` package."""

    location = ""

    @on("GetConfiguration")  # type: ignore[untyped-decorator]
    def on_get_configuration(self, **_: Any) -> call_result.GetConfiguration:
        return call_result.GetConfiguration(configuration_key=[], unknown_key=[])

    @on("ChangeConfiguration")  # type: ignore[untyped-decorator]
    def on_change_configuration(self, **_: Any) -> call_result.ChangeConfiguration:
        return call_result.ChangeConfiguration(status="Accepted")

    @on("UpdateFirmware")  # type: ignore[untyped-decorator]
    def on_update_firmware(self, location: str, **_: Any) -> call_result.UpdateFirmware:
        self.location = location
        return call_result.UpdateFirmware()


@pytest.fixture
async def charger(central: CentralSystem) -> AsyncIterator[Charger]:
    async with connect(f"{central.url}/CP1", subprotocols=OCPP) as websocket:
        charger = Charger("CP1", websocket)
        task = asyncio.create_task(charger.start())
        yield charger
        task.cancel()


async def test_a_well_behaved_charge_point_has_no_violations(central: CentralSystem, charger: Charger) -> None:
    boot = await charger.call(call.BootNotification("Desk", "Arus", firmware_version="1.2.0"))
    assert (boot.status, boot.interval) == ("Accepted", 14400)
    await charger.call(call.StatusNotification(0, "NoError", "Available", timestamp="2026-08-21T12:00:00Z"))
    await charger.call(call.FirmwareStatusNotification("Downloading"))
    await charger.call(call.Heartbeat())
    assert central.violations == []
    frame = await central.wait_for("BootNotification", lambda payload: payload["firmwareVersion"] == "1.2.0")
    assert frame.identity == "CP1"


async def test_update_firmware_comes_html_encoded_and_with_a_date_in_whole_minutes(
    central: CentralSystem, charger: Charger
) -> None:
    await central.update_firmware("CP1", "http://h/f?a=1&b='<\">", retries=3, retry_interval=60)
    assert charger.location == "http://h/f?a=1&amp;b=&#39;&lt;&#34;&gt;"
    sent = next(frame.payload for frame in central.frames if frame.action == "UpdateFirmware")
    assert sent["retrieveDate"].endswith(":00.000Z")
    assert (sent["retries"], sent["retryInterval"]) == (3, 60)


async def test_the_configuration_is_asked_for_again_after_an_accepted_change(
    central: CentralSystem, charger: Charger
) -> None:
    await charger.call(call.BootNotification("Desk", "Arus"))
    await central.call("CP1", "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"})
    await charger.call(call.Heartbeat())
    assert [frame.action for frame in central.frames if not frame.incoming].count("GetConfiguration") == 2


async def test_several_calls_are_sent_without_waiting_for_an_answer(central: CentralSystem, raw: Raw) -> None:
    trigger = asyncio.create_task(central.call("CP1", "TriggerMessage", {"requestedMessage": "Heartbeat"}))
    clear = asyncio.create_task(central.call("CP1", "ClearCache", {}))
    first, second = await raw.receive(), await raw.receive()
    assert (first[2], second[2]) == ("TriggerMessage", "ClearCache")
    await raw.send([3, second[1], {"status": "Accepted"}])
    await raw.send([4, first[1], "NotSupported", "no", {}])
    assert await clear == {"status": "Accepted"}
    with pytest.raises(CallFailed, match="TriggerMessage was answered with NotSupported: no"):
        await trigger
    assert central.violations == []


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"connectorId": 1, "errorCode": "NoError"}, "OccurenceConstraintViolation"),
        ({"connectorId": "1", "errorCode": "NoError", "status": "Available"}, "TypeConstraintViolation"),
        ({"connectorId": 1, "errorCode": "NoError", "status": "Free"}, "PropertyConstraintViolation"),
        ({"connectorId": 1, "errorCode": "NoError", "status": "Available", "x": 1}, "FormationViolation"),
        (
            {"connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": "2026-08-21T12:00Z"},
            "PropertyConstraintViolation",
        ),
        (
            {"connectorId": 1, "errorCode": "NoError", "status": "Available", "info": "x" * 51},
            "PropertyConstraintViolation",
        ),
    ],
)
async def test_a_call_that_breaks_its_schema_is_recorded_and_answered_with_the_right_code(
    central: CentralSystem, raw: Raw, payload: dict[str, Any], code: str
) -> None:
    await raw.ask(2, "1", "BootNotification", BOOT)
    kind, unique_id, got, description, details = await raw.ask(2, "2", "StatusNotification", payload)
    assert (kind, unique_id, got, details) == (4, "2", code, {})
    assert len(central.violations) == 1 and description in central.violations[0]


async def test_an_unknown_action_is_not_implemented(central: CentralSystem, raw: Raw) -> None:
    for action in ("Foo", "UpdateFirmware", "../v201/schemas/Reset"):
        assert (await raw.ask(2, action, action, {}))[2] == "NotImplemented"
    assert len(central.violations) == 3


async def test_a_message_id_used_twice_gets_a_protocol_error(central: CentralSystem, raw: Raw) -> None:
    assert (await raw.ask(2, "1", "BootNotification", BOOT))[0] == 3
    assert (await raw.ask(2, "1", "Heartbeat", {}))[2] == "ProtocolError"
    assert "message id '1'" in central.violations[0]


@pytest.mark.parametrize(
    "provocation",
    [
        "[2,",
        "{}",
        [],
        [9, "1", {}],
        [2, "1"],
        [2, 1, "Heartbeat", {}],
        [2, "x" * 37, "Heartbeat", {}],
        [3, "unknown", {}],
        [4, "unknown", "GenericError", "", {}],
    ],
)
async def test_what_makes_steve_close_with_1011_does_so_here(
    central: CentralSystem, raw: Raw, provocation: Any
) -> None:
    await raw.send(provocation)
    assert await raw.closed_with() == 1011
    assert len(central.violations) == 1


@pytest.mark.parametrize(
    "answer",
    [
        [4, "Nonsense", "", {}],
        [4, "GenericError", "without details"],
        [3, {"configurationKey": [{"key": "no readonly"}]}],
        [3, {"configurationKey": [{"key": "k", "readonly": True, "value": "x" * 501}]}],
    ],
)
async def test_an_invalid_answer_closes_with_1011(central: CentralSystem, answer: list[Any]) -> None:
    async with connect(f"{central.url}/CP1", subprotocols=OCPP) as websocket:
        charger = Raw(websocket)
        _, unique_id, *_ = await charger.receive()
        await charger.send([answer[0], unique_id, *answer[1:]])
        assert await charger.closed_with() == 1011
    assert "GetConfiguration" in central.violations[0]


async def test_an_answer_given_twice_or_too_late_closes_with_1011() -> None:
    async with (
        CentralSystem(answer_timeout=0.05) as central,
        connect(f"{central.url}/CP1", subprotocols=OCPP) as websocket,
    ):
        charger = Raw(websocket)
        _, unique_id, *_ = await charger.receive()
        with pytest.raises(TimeoutError):
            await central.call("CP1", "ClearCache", {})
        await charger.receive()
        await charger.send([3, unique_id, {}])
        assert await charger.closed_with() == 1011


async def test_a_binary_message_closes_with_1003(central: CentralSystem, raw: Raw) -> None:
    await raw.send(b"[]")
    assert await raw.closed_with() == 1003
    assert central.violations == ["CP1: a binary message"]


async def test_nothing_but_boot_notification_before_the_registration_is_accepted(
    central: CentralSystem, raw: Raw
) -> None:
    central.boot_status = "Pending"
    assert (await raw.ask(2, "1", "BootNotification", BOOT))[2]["status"] == "Pending"
    triggered = asyncio.create_task(central.call("CP1", "TriggerMessage", {"requestedMessage": "Heartbeat"}))
    await raw.send([3, (await raw.receive())[1], {"status": "Accepted"}])
    await triggered
    await raw.ask(2, "2", "Heartbeat", {})
    assert central.violations == []
    await raw.ask(2, "3", "FirmwareStatusNotification", {"status": "Idle"})
    assert central.violations == ["CP1: FirmwareStatusNotification before the registration was accepted"]


async def test_the_ping_says_ping() -> None:
    pings = asyncio.Queue[bytes]()

    class Connection(ClientConnection):
        def process_event(self, event: Any) -> None:
            if getattr(event, "opcode", None) == Opcode.PING:
                pings.put_nowait(bytes(event.data))
            super().process_event(event)

    async with (
        CentralSystem(ping_interval=0.01) as central,
        connect(f"{central.url}/CP1", subprotocols=OCPP, create_connection=Connection),
    ):
        assert await asyncio.wait_for(pings.get(), 5) == b"ping"


async def test_policy_can_leave_a_message_unanswered_or_answer_an_error(central: CentralSystem, raw: Raw) -> None:
    await raw.ask(2, "1", "BootNotification", BOOT)
    central.answers["FirmwareStatusNotification"] = no_answer
    await raw.send([2, "2", "FirmwareStatusNotification", {"status": "Downloading"}])
    central.answers["Heartbeat"] = refuse(InternalError("Internal services failed"))
    assert await raw.ask(2, "3", "Heartbeat", {}) == [4, "3", "InternalError", "Internal services failed", {}]
    assert len(central.calls("FirmwareStatusNotification")) == 1


async def test_a_call_whose_connection_breaks_ends_at_once(central: CentralSystem, raw: Raw) -> None:
    running = asyncio.create_task(central.call("CP1", "ClearCache", {}))
    await raw.receive()
    central.drop("CP1")
    with pytest.raises(ConnectionError, match="CP1 disconnected"):
        await running


async def test_it_stops_and_starts_again_on_the_same_port(central: CentralSystem, raw: Raw) -> None:
    port = central.port
    await central.stop()
    assert await raw.closed_with() == 1001
    with pytest.raises(OSError):
        await connect(f"{central.url}/CP1", subprotocols=OCPP)
    await central.start()
    assert central.port == port
    async with connect(f"{central.url}/CP1", subprotocols=OCPP):
        pass


async def test_a_message_over_64_kib_comes_in_fragments(central: CentralSystem, raw: Raw) -> None:
    call = asyncio.create_task(central.call("CP1", "DataTransfer", {"vendorId": "x", "data": "y" * 200_000}))
    assert sum([len(part) async for part in raw.websocket.recv_streaming()]) > 200_000
    call.cancel()


@pytest.mark.parametrize(
    ("path", "protocols", "status"),
    [
        ("/elsewhere/CP1", OCPP, HTTPStatus.NOT_FOUND),
        (f"{PATH}CP1/CP1", OCPP, HTTPStatus.NOT_FOUND),
        (f"{PATH}", OCPP, HTTPStatus.BAD_REQUEST),
        (f"{PATH}a%3Db", OCPP, HTTPStatus.BAD_REQUEST),
        (f"{PATH}CP9", OCPP, HTTPStatus.NOT_FOUND),
        (f"{PATH}CP1", None, HTTPStatus.BAD_REQUEST),
        (f"{PATH}CP1", ["ocpp2.0.1"], HTTPStatus.NOT_FOUND),
    ],
)
async def test_an_upgrade_is_refused_as_steve_refuses_it(path: str, protocols: Any, status: HTTPStatus) -> None:
    async with CentralSystem(identities={"CP1"}) as central:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{central.port}{path}", subprotocols=protocols)
    assert refused.value.response.status_code == status


@pytest.mark.parametrize("credentials", ["", "CP1:wrong@", "CP2:secret%20of%2016%20chars@"])
async def test_wrong_credentials_are_unauthorized_without_a_challenge(credentials: str) -> None:
    async with CentralSystem(password="secret of 16 chars") as central:
        endpoint = f"127.0.0.1:{central.port}{PATH}CP1"
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{credentials}{endpoint}", subprotocols=OCPP)
        await (await connect(f"ws://CP1:secret%20of%2016%20chars@{endpoint}", subprotocols=OCPP)).close()
    assert refused.value.response.status_code == HTTPStatus.UNAUTHORIZED
    assert "WWW-Authenticate" not in refused.value.response.headers


async def test_upgrades_can_be_refused_for_a_while(central: CentralSystem) -> None:
    central.refusal = HTTPStatus.SERVICE_UNAVAILABLE
    with pytest.raises(InvalidStatus):
        await connect(f"{central.url}/CP1", subprotocols=OCPP)
    central.refusal = None
    await (await connect(f"{central.url}/CP1", subprotocols=OCPP)).close()


async def test_a_value_with_one_decimal_is_a_multiple_of_a_tenth() -> None:
    def profile(limit: float) -> Call:
        schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}]}
        kind = {"chargingProfilePurpose": "TxProfile", "chargingProfileKind": "Absolute"}
        payload = {"chargingProfileId": 1, "stackLevel": 0, "chargingSchedule": schedule, **kind}
        return Call("1", "SetChargingProfile", {"connectorId": 1, "csChargingProfiles": payload})

    assert schema_error(profile(4.1)) is None
    assert schema_error(profile(4.11)) is not None
