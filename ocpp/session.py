"""The session with the central system: connect, register, stay alive, and do it all again when the link is lost."""

import asyncio
import errno
import os
import time

from micropython import const

from .rpc import CallError, Rpc
from .timestamps import parse_time

_FIRST_PAUSE = const(2)  # seconds before the first attempt to reconnect; doubles up to
_LONGEST_PAUSE = const(120)
_BOOT_INTERVAL = const(60)  # seconds to the next BootNotification when the central system leaves it to us
_LONGEST_INTERVAL = const(86400)
_ANSWER_TIMEOUT = const(30)  # seconds
_MOST_REQUESTS = const(16)
_GOING_AWAY = const(1001)  # of RFC 6455, 7.4.1


class NotRegistered(OSError):
    """Nothing can be sent before the central system has accepted the registration."""


class Session:
    """The one owner of the connection.

    connect: async function that returns a new WebSocket. dispatch: see Rpc. boot_payload: of BootNotification.req.
    clock.set(Unix seconds) is called with the central system's time. second: ms, less than 1000 only in tests.
    """

    def __init__(self, connect, dispatch, boot_payload, configuration, clock, log=print, second=1000):
        self.boot_payload = boot_payload
        self.accepted = asyncio.Event()  # set while the registration is accepted
        self.on_accepted = []  # functions called at each acceptance
        self._connect = connect
        self._dispatch = dispatch
        self._configuration = configuration
        self._clock = clock
        self._log = log
        self._second = second
        self._pause = _FIRST_PAUSE
        self._websocket = None
        self._rpc = None
        self._status = None  # RegistrationStatus (7.39) on this connection
        self._due = 0  # ticks of the next BootNotification or Heartbeat
        self._requests = []  # what the central system has triggered: (action, payload)
        self._wake = asyncio.Event()  # for the task that sends
        self._ping_changed = asyncio.Event()
        configuration.on_change("HeartbeatInterval", self._heartbeat_changed)
        configuration.on_change("WebSocketPingInterval", self._ping_changed.set)

    @property
    def registered(self):
        """Whether the central system has accepted the registration on this connection."""
        return self.accepted.is_set()

    @property
    def takes_requests(self):
        """Whether request() may be called: what is triggered may be sent also while the registration is Pending."""
        return self._status in ("Accepted", "Pending") and len(self._requests) < _MOST_REQUESTS

    async def call(self, action, payload):
        """Call the central system, as Rpc.call(); NotRegistered when there is no accepted registration."""
        if not self.registered:
            raise NotRegistered(errno.ENOTCONN, "not registered")
        return await self._rpc.call(action, payload)

    def request(self, action, payloads):
        """Send what the central system has triggered: calls of this action, one for each payload, soon."""
        self._requests += [(action, payload) for payload in payloads]
        self._wake.set()

    async def close(self):
        """Take leave of the central system before a reset, which would otherwise take the charger for connected."""
        if self._websocket:
            await self._websocket.close(_GOING_AWAY)

    async def run(self):
        """Keep up the session for ever."""
        while True:
            try:
                await self._serve()
            except (OSError, MemoryError) as error:
                self._log("no connection: %s" % error)
            pause = self._pause * self._second
            pause += pause * os.urandom(1)[0] // 512  # so that not all charge points of a site come at once
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            if self._status in ("Pending", "Rejected"):
                pause = max(pause, time.ticks_diff(self._due, time.ticks_ms()))  # no BootNotification before that
            self._status = None
            self._log("connecting again in %d s" % (pause // self._second))
            await asyncio.sleep_ms(pause)

    async def _serve(self):
        """Connect, and keep up that connection until it is lost. Raises what ended it."""
        ended = asyncio.Event()
        reasons = []
        tasks = []

        async def watched(coroutine):
            try:
                await coroutine
            except (OSError, MemoryError) as error:
                reasons.append(error)
            finally:
                ended.set()

        websocket = self._websocket = await self._connect()
        try:
            self._log("connected")
            self._rpc = Rpc(websocket, self._dispatch, timeout=_ANSWER_TIMEOUT * self._second, log=self._log)
            self._requests.clear()
            self._due = time.ticks_ms()
            for coroutine in (self._rpc.run(), self._send(), self._ping(websocket)):
                tasks.append(asyncio.create_task(watched(coroutine)))
            await ended.wait()
        finally:
            self.accepted.clear()
            self._rpc = self._websocket = None
            for task in tasks:
                task.cancel()
            websocket.abort()
            # Not by awaiting them: a cancellation of this task would be taken for theirs.
            while not all(task.done() for task in tasks):
                await asyncio.sleep_ms(0)
        if reasons:
            raise reasons[0]

    async def _send(self):
        """Send BootNotification until it is accepted, then Heartbeats, and in between what was triggered.

        A central system that doesn't answer one of these in time is taken for dead: the OSError ends the connection.
        """
        while True:
            action, payload = await self._next()
            try:
                answer = await self._rpc.call(action, payload)
            except CallError as error:
                self._log("%s was answered with %s" % (action, error))
                answer = {}
            self._set_clock(answer)
            if action == "BootNotification":
                self._register(answer.get("status"), answer.get("interval"))
            elif action == "Heartbeat":
                self._heartbeat_changed()

    async def _next(self):
        """Wait for the time to send something; return it as (action, payload)."""
        while not self._requests:
            wait = time.ticks_diff(self._due, time.ticks_ms())
            if wait <= 0:
                return ("Heartbeat", {}) if self.registered else ("BootNotification", self.boot_payload)
            await _until(self._wake, wait)
        return self._requests.pop(0)

    def _register(self, status, interval):
        """Act upon a BootNotification.conf (4.2); what makes no sense counts as Rejected."""
        if type(interval) is not int or interval <= 0:
            interval = 0
        if status == "Accepted":
            if interval:
                self._configuration.set("HeartbeatInterval", str(interval))
            interval = self._configuration.get("HeartbeatInterval")
            self._log("registered, heartbeat every %d s" % interval)
            self._pause = _FIRST_PAUSE
            self.accepted.set()
            for function in self.on_accepted:
                function()
        else:
            interval = min(interval or _BOOT_INTERVAL, _LONGEST_INTERVAL)
            self.accepted.clear()
            if status != "Pending":
                status = "Rejected"
                self._requests.clear()
            self._log("registration %s, asking again in %d s" % (status, interval))
        self._status = status
        self._schedule(interval)

    def _heartbeat_changed(self):
        if self.registered:
            self._schedule(self._configuration.get("HeartbeatInterval"))

    def _schedule(self, seconds):
        self._due = time.ticks_add(time.ticks_ms(), seconds * self._second)
        self._wake.set()

    def _set_clock(self, answer):
        text = answer.get("currentTime")
        if isinstance(text, str):
            try:
                self._clock.set(parse_time(text))
            except (ValueError, OverflowError) as error:
                self._log("the central system's time is %s" % error)

    async def _ping(self, websocket):
        """Ping each WebSocketPingInterval; OSError when nothing at all comes back."""
        while True:
            interval = self._configuration.get("WebSocketPingInterval") * self._second
            patience = min(interval, _ANSWER_TIMEOUT * self._second)
            if await _until(self._ping_changed, interval - patience if interval else None):
                continue
            sent = time.ticks_ms()
            await websocket.ping()
            await asyncio.sleep_ms(patience)
            if time.ticks_diff(websocket.last_received, sent) < 0:
                raise OSError(errno.ETIMEDOUT, "the central system is silent")


async def _until(event, ms):
    """Wait for the event, no longer than ms (None: for ever). Return whether it came, and clear it."""
    try:
        await asyncio.wait_for_ms(event.wait(), ms)
    except asyncio.TimeoutError:
        return False
    event.clear()
    return True
