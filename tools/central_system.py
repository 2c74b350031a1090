"""A central system for the desk: OCPP 1.6J over ws or wss, as strict as the schemas and as particular as SteVe.

Every message, both ways, is validated against the official schemas that the `ocpp` package carries. Whatever breaks a
schema or the protocol is kept in `CentralSystem.violations`, so that a run with one can be failed. Towards the charge
point it behaves like SteVe: the endpoint, HTML-encoded strings, GetConfiguration right after the upgrade, several
calls at once, and a close with 1011 where SteVe closes with 1011.
"""

import asyncio
import base64
import binascii
import hmac
import json
import re
import ssl
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import ocpp.exceptions as ocpp_errors
from jsonschema import FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from ocpp.messages import Call, CallError, CallResult, get_validator, unpack
from ocpp.v16.enums import Action
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

PATH = "/steve/websocket/CentralSystemService/"
SUBPROTOCOL = Subprotocol("ocpp1.6")
ACTIONS = {action.value for action in Action}
# The ten codes of OCPP-J 1.6, 4.2.3; two are misspelt in the standard.
ERROR_CODES = set(
    "NotImplemented NotSupported InternalError ProtocolError SecurityError FormationViolation GenericError "
    "PropertyConstraintViolation OccurenceConstraintViolation TypeConstraintViolation".split()
)
MAX_MESSAGE = 8 * 1024 * 1024
FRAGMENT = 64 * 1024

Payload = dict[str, Any]


class CallFailed(Exception):
    """The charge point answered a call with a CALLERROR: `code`, `description`."""

    def __init__(self, action: str, code: str, description: str) -> None:
        super().__init__(f"{action} was answered with {code}: {description}")
        self.code = code
        self.description = description


@dataclass(frozen=True)
class Frame:
    """One message as it crossed the wire. `action` of a CALLRESULT or CALLERROR is that of the call it answers."""

    time: datetime
    identity: str
    incoming: bool
    kind: str  # "Call", "CallResult" or "CallError"
    action: str
    payload: Any
    unique_id: str

    def asks(self, action: str) -> bool:
        """Whether this is a charge point's call with that action."""
        return self.incoming and self.kind == "Call" and self.action == action


Answer = Callable[[Payload], Payload | None]


def answer(**payload: Any) -> Answer:
    """An entry for `CentralSystem.answers` that always gives `payload`."""
    return lambda _: payload


def no_answer(_: Payload) -> None:
    """An entry for `CentralSystem.answers`: the charge point waits in vain."""


def refuse(error: ocpp_errors.OCPPError) -> Answer:
    """An entry for `CentralSystem.answers` that answers with this CALLERROR."""

    def raise_error(_: Payload) -> None:
        raise error

    return raise_error


@dataclass
class _Station:
    """One connection of one charge point."""

    identity: str
    websocket: ServerConnection
    calls: dict[str, tuple[str, asyncio.Future[Payload]]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    triggered: set[str] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class CentralSystem:
    """Listens from `start()` to `stop()`, on the same port when started again; or use it with `async with`.

    Policy, to be changed at any time:
    `answers`      action → function of the payload that returns the answer's payload, None for no answer at all,
                   or raises an `ocpp.exceptions.OCPPError` to be sent as CALLERROR
    `boot_status`  the status in the answer to BootNotification; `boot_interval` its interval in seconds
    `refusal`      an HTTP status with which every upgrade is refused, or None
    `password`     of every charge point, for Basic authentication; None: not checked
    `id_tags`      idTag → AuthorizationStatus; those that are not in it are Accepted
    `parents`      idTag → parentIdTag; those that are not in it have none
    `takes`        is shown each text that comes, before anything else; True: it was an answer to what send_raw() sent

    `transactions` are those that were started, by their ids, which are given from 1 on.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        identities: Collection[str] | None = None,
        password: str | None = None,
        answer_timeout: float = 30,
        ping_interval: float = 900,
    ) -> None:
        self.host = host
        self.port = port
        self.frames: list[Frame] = []
        self.violations: list[str] = []
        self.observers: list[Callable[[Frame], None]] = []
        self.takes: Callable[[str], bool] | None = None
        self.boot_status = "Accepted"
        self.boot_interval = 14400
        self.refusal: HTTPStatus | None = None
        self.answers: dict[str, Answer] = {
            "Authorize": lambda payload: self._id_tag_info(payload["idTag"]),
            "BootNotification": self._boot,
            "DataTransfer": _data_transfer,
            "Heartbeat": lambda _: {"currentTime": timestamp()},
            "SignCertificate": answer(status="Accepted"),
            "StartTransaction": self._start_transaction,
            "StopTransaction": self._stop_transaction,
            **{
                action: answer()
                for action in (
                    "DiagnosticsStatusNotification FirmwareStatusNotification LogStatusNotification MeterValues "
                    "SecurityEventNotification SignedFirmwareStatusNotification StatusNotification"
                ).split()
            },
        }
        self.id_tags: dict[str, str] = {}
        self.parents: dict[str, str] = {}
        self.transactions: dict[int, Payload] = {}
        self._tls = tls
        self._identities = identities
        self.password = password
        self._answer_timeout = answer_timeout
        self._ping_interval = ping_interval
        self._server: Server | None = None
        self._stations: dict[str, _Station] = {}
        self._boot_statuses: dict[str, str] = {}
        self._news = asyncio.Event()

    @property
    def url(self) -> str:
        """What a charge point is configured with; its identity comes behind it as one more path segment."""
        return f"{'wss' if self._tls else 'ws'}://{self.host}:{self.port}{PATH[:-1]}"

    async def start(self) -> None:
        """Listen; a port of 0 becomes the one that the system chose."""
        self._server = await serve(
            self._serve,
            self.host,
            self.port,
            ssl=self._tls,
            process_request=self._check_upgrade,
            subprotocols=[SUBPROTOCOL],
            ping_interval=None,
            max_size=MAX_MESSAGE,
            close_timeout=1,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection with 1001 and listen no more."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def call(self, identity: str, action: str, payload: Payload) -> Payload:
        """Send a call as SteVe does, without waiting for earlier ones; return the payload of its CALLRESULT.

        Raises CallFailed for a CALLERROR, ConnectionError if the charge point isn't or is no longer connected,
        TimeoutError without an answer in time.
        """
        station = self._stations.get(identity)
        if not station:
            raise ConnectionError(f"Charge point {identity} is not connected")
        message = Call(str(uuid.uuid4()), action, html_encoded(payload))
        future = asyncio.get_running_loop().create_future()
        station.calls[message.unique_id] = (action, future)
        if action in ("TriggerMessage", "ExtendedTriggerMessage"):
            station.triggered.add(payload["requestedMessage"])
        try:
            await self._send(station, message, action)
            async with asyncio.timeout(self._answer_timeout):
                result: Payload = await future
        except TimeoutError:
            raise TimeoutError(f"{identity} didn't answer {action} within {self._answer_timeout} s") from None
        finally:
            station.calls.pop(message.unique_id, None)
        return result

    async def send_raw(self, identity: str, text: str) -> None:
        """Send a text message as it is, whatever it is, unchecked and unrecorded; for its answer see `takes`."""
        await self._stations[identity].websocket.send(text)

    async def update_firmware(
        self,
        identity: str,
        location: str,
        retrieve_date: datetime | None = None,
        retries: int | None = None,
        retry_interval: int | None = None,
    ) -> None:
        """UpdateFirmware as SteVe's form sends it: whole minutes, in UTC; without a date the present one: at once."""
        date = (retrieve_date or datetime.now(UTC)).astimezone(UTC)
        payload: Payload = {"retrieveDate": date.strftime("%Y-%m-%dT%H:%M:00.000Z"), "location": location}
        if retries is not None:
            payload["retries"] = retries
        if retry_interval is not None:
            payload["retryInterval"] = retry_interval
        await self.call(identity, "UpdateFirmware", payload)

    async def wait_for(
        self,
        action: str,
        predicate: Callable[[Payload], bool] = lambda _: True,
        *,
        since: int = 0,
        timeout: float = 30,
    ) -> Frame:
        """A charge point's first call with that action and such a payload, in `frames[since:]` or still to come."""
        position = since
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for frame in self.frames[position:]:
                        if frame.asks(action) and predicate(frame.payload):
                            return frame
                    position = len(self.frames)
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            actions = " ".join(frame.action for frame in self.frames[since:] if frame.incoming) or "nothing"
            raise TimeoutError(f"No such {action} within {timeout} s, but {actions}") from None

    def drop(self, identity: str) -> None:
        """Break the charge point's TCP connection without a closing handshake."""
        self._stations[identity].websocket.transport.abort()

    def calls(self, action: str) -> list[Frame]:
        """Every call with that action that came from a charge point."""
        return [frame for frame in self.frames if frame.asks(action)]

    # ---- the upgrade

    def _check_upgrade(self, websocket: ServerConnection, request: Request) -> Response | None:
        """SteVe's refusals: an HTTP answer, or None to go on."""
        refusal = self.refusal or self._refusal(request)
        return websocket.respond(refusal, f"{refusal.phrase}\n") if refusal else None

    def _refusal(self, request: Request) -> HTTPStatus | None:
        identity = _identity(request.path)
        if identity is None:
            return HTTPStatus.NOT_FOUND
        if not identity or re.search(r"[=/()<>]", identity):
            return HTTPStatus.BAD_REQUEST
        if self._identities is not None and identity not in self._identities:
            return HTTPStatus.NOT_FOUND
        if self.password is not None and not _authorized(request, identity, self.password):
            return HTTPStatus.UNAUTHORIZED
        offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).replace(" ", "")
        if not offered:
            return HTTPStatus.BAD_REQUEST
        return None if SUBPROTOCOL in offered.split(",") else HTTPStatus.NOT_FOUND

    # ---- one connection

    async def _serve(self, websocket: ServerConnection) -> None:
        assert websocket.request
        identity = _identity(websocket.request.path) or ""
        station = self._stations[identity] = _Station(identity, websocket)
        self._background(station, self._configuration(station))
        self._background(station, self._pings(station))
        try:
            async for text in websocket:
                if isinstance(text, bytes):
                    await self._provoked(station, "a binary message", 1003)
                else:
                    await self._receive(station, text)
        except (ConnectionClosed, ConnectionError):
            pass
        finally:
            if self._stations.get(identity) is station:
                del self._stations[identity]
            for task in station.tasks:
                task.cancel()
            for action, future in station.calls.values():
                if not future.done():
                    future.set_exception(ConnectionError(f"{identity} disconnected before it answered {action}"))

    def _background(self, station: _Station, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        station.tasks.add(task)
        task.add_done_callback(station.tasks.discard)

    async def _configuration(self, station: _Station) -> None:
        """SteVe asks for the whole configuration at once on every connection, and after each change it made."""
        with suppress(CallFailed, OSError):
            await self.call(station.identity, "GetConfiguration", {"key": []})

    async def _pings(self, station: _Station) -> None:
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self._ping_interval)
                await station.websocket.ping("ping")

    async def _receive(self, station: _Station, text: str) -> None:
        if self.takes and self.takes(text):
            return None
        try:
            message = unpack(text)
        except ocpp_errors.OCPPError as error:
            return await self._provoked(station, f"{error.details['cause']}: {text[:200]}")
        if not isinstance(message.unique_id, str) or not 0 < len(message.unique_id) <= 36:
            return await self._provoked(station, f"Message id is not a string of 1 to 36 characters: {text[:200]}")
        if isinstance(message, Call):
            await self._answer(station, message)
        else:
            await self._take(station, message)

    async def _answer(self, station: _Station, call: Call) -> None:
        action = str(call.action)
        self._record(station, True, call, action)
        try:
            self._check_call(station, call, action)
            payload = self.answers[action](call.payload)
        except ocpp_errors.OCPPError as error:
            return await self._send(station, call.create_call_error(error), action)
        if payload is not None:
            await self._send(station, CallResult(call.unique_id, payload, action), action)
            if action == "BootNotification":
                self._boot_statuses[station.identity] = payload["status"]

    def _check_call(self, station: _Station, call: Call, action: str) -> None:
        """Raise the OCPPError with which this call has to be answered."""
        if call.unique_id in station.seen:
            self._violated(station, f"message id {call.unique_id!r} was used before on this connection")
            raise ocpp_errors.ProtocolError("A CALL with this messageId was already received on this connection")
        station.seen.add(call.unique_id)
        if action not in self.answers:
            self._violated(station, f"{action} is no action of a charge point")
            raise ocpp_errors.NotImplementedError(f"The action '{action}' you are looking for is not found")
        if error := schema_error(call):
            self._violated(station, f"{action}: {error.message}")
            raise ocpp_error(error)
        # OCPP 1.6, 4.2: before it is accepted a charge point sends nothing else, unless it was triggered to.
        status = self._boot_statuses.get(station.identity)
        if action != "BootNotification" and status != "Accepted" and action not in station.triggered:
            self._violated(station, f"{action} before the registration was accepted")

    async def _take(self, station: _Station, message: CallResult | CallError) -> None:
        """The answer to one of our calls."""
        action, future = station.calls.pop(message.unique_id, ("", None))
        self._record(station, True, message, action)
        if not future or future.done():
            return await self._provoked(station, f"Answer to an unknown or answered call {message.unique_id!r}")
        if isinstance(message, CallError):
            if message.error_code not in ERROR_CODES or not isinstance(message.error_details, dict):
                return await self._provoked(station, f"{action}: not a CALLERROR of OCPP 1.6J: {message.to_json()}")
            return future.set_exception(CallFailed(action, message.error_code, message.error_description))
        message.action = action
        if error := schema_error(message):
            future.set_exception(CallFailed(action, "schema", error.message))
            return await self._provoked(station, f"{action}: {error.message}")
        future.set_result(message.payload)
        if action == "ChangeConfiguration" and message.payload["status"] == "Accepted":
            self._background(station, self._configuration(station))

    async def _provoked(self, station: _Station, text: str, code: int = 1011) -> None:
        """What makes SteVe close the connection."""
        self._violated(station, text)
        await station.websocket.close(code)

    async def _send(self, station: _Station, message: Call | CallResult | CallError, action: str) -> None:
        if not isinstance(message, CallError) and (error := schema_error(message)):
            raise ValueError(f"The central system's own {type(message).__name__} for {action}: {error.message}")
        self._record(station, False, message, action)
        text = message.to_json()
        parts = [text[start : start + FRAGMENT] for start in range(0, len(text), FRAGMENT)]
        try:
            await station.websocket.send(parts if len(parts) > 1 else text)
        except ConnectionClosed as error:
            raise ConnectionError(f"{station.identity} disconnected: {error}") from None

    def _record(self, station: _Station, incoming: bool, message: Any, action: str) -> None:
        kind = type(message).__name__
        payload = message.error_code if isinstance(message, CallError) else message.payload
        frame = Frame(datetime.now(UTC), station.identity, incoming, kind, action, payload, message.unique_id)
        self.frames.append(frame)
        self._news.set()
        for observer in self.observers:
            observer(frame)

    def _violated(self, station: _Station, text: str) -> None:
        self.violations.append(f"{station.identity}: {text}")

    def _boot(self, _: Payload) -> Payload:
        return {"status": self.boot_status, "currentTime": timestamp(), "interval": self.boot_interval}

    def _id_tag_info(self, tag: str) -> Payload:
        parent = {"parentIdTag": self.parents[tag]} if tag in self.parents else {}
        return {"idTagInfo": {"status": self.id_tags.get(tag, "Accepted"), **parent}}

    def _start_transaction(self, payload: Payload) -> Payload:
        """The same one again, identical, is a repetition: its transaction is known already."""
        known = [transaction for transaction, start in self.transactions.items() if start == payload]
        transaction = known[0] if known else len(self.transactions) + 1
        self.transactions[transaction] = payload
        return {"transactionId": transaction, **self._id_tag_info(payload["idTag"])}

    def _stop_transaction(self, payload: Payload) -> Payload:
        if payload["transactionId"] not in self.transactions:
            self.violations.append(f"StopTransaction of an unknown transaction {payload['transactionId']}")
        return self._id_tag_info(payload["idTag"]) if "idTag" in payload else {}


def _data_transfer(payload: Payload) -> Payload:
    return {"status": "Accepted" if payload["vendorId"] == "Arus" else "UnknownVendorId"}


def timestamp() -> str:
    """Now, as SteVe writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def html_encoded(value: Any) -> Any:
    """Every string in a payload as SteVe encodes it since 3.5.0."""
    if isinstance(value, str):
        return value.translate({38: "&amp;", 39: "&#39;", 34: "&#34;", 60: "&lt;", 62: "&gt;"})
    if isinstance(value, dict):
        return {key: html_encoded(item) for key, item in value.items()}
    return [html_encoded(item) for item in value] if isinstance(value, list) else value


def _is_timestamp(text: object) -> bool:
    """RFC 3339 with seconds, as SteVe demands; fraction and offset may be absent."""
    if not isinstance(text, str):
        return True
    datetime.fromisoformat(text)
    return bool(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text))


_formats = FormatChecker(formats=())
_formats.checks("date-time", ValueError)(_is_timestamp)


def schema_error(message: Call | CallResult) -> ValidationError | None:
    """What is most wrong with the payload by its official schema, or None."""
    if message.action not in ACTIONS:
        return ValidationError(f"unknown action {message.action!r}")
    # With binary floats a value such as 4.1 would be no multiple of the schemas' 0.1.
    validator = get_validator(message.message_type_id, message.action, "1.6", parse_float=Decimal)
    payload = json.loads(json.dumps(message.payload), parse_float=Decimal)
    return best_match(validator.evolve(format_checker=_formats).iter_errors(payload))


def ocpp_error(error: ValidationError) -> ocpp_errors.OCPPError:
    """The error of OCPP-J 1.6, 4.2.3, for a violation of a schema."""
    kinds = {
        "type": ocpp_errors.TypeConstraintViolationError,
        "required": ocpp_errors.OccurenceConstraintViolationError,
        "additionalProperties": ocpp_errors.FormationViolationError,
    }
    return kinds.get(error.validator, ocpp_errors.PropertyConstraintViolationError)(error.message)


def _identity(path: str) -> str | None:
    """The charge point's identity from the path of the upgrade; None if it isn't SteVe's endpoint."""
    path = urlsplit(path).path
    if not path.startswith(PATH) or "/" in path[len(PATH) :]:
        return None
    return unquote(path[len(PATH) :])


def _authorized(request: Request, identity: str, password: str) -> bool:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    try:
        decoded = base64.b64decode(credentials, validate=True)
    except binascii.Error:
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(decoded, f"{identity}:{password}".encode())
