"""The session with the central system: connect, register, stay alive, and do it all again when the link is lost."""

import asyncio
import errno
import os
import time

from micropython import const

from .rpc import CallError, Rpc, until

_FIRST_PAUSE = const(2)  # seconds before the first attempt to reconnect; doubles up to
_LONGEST_PAUSE = const(120)
_ANSWER_TIMEOUT = const(30)  # seconds
_MOST_REQUESTS = const(16)
_FAR = const(0x0FFFFFFF)  # ms
_GOING_AWAY = const(1001)  # of RFC 6455, 7.4.1


class Session:
    """The one owner of the connection. What registration.py uses as well has names without an underscore.

    connect: async function that returns a new WebSocket. dispatch: see Rpc. boot_payload: of BootNotification.req.
    clock.set(Unix seconds) is called with the central system's time. second: ms, less than 1000 only in tests.
    forget(module name) is called when a module has done its part.
    """

    def __init__(
        self, connect, dispatch, boot_payload, configuration, clock, log=print, second=1000, forget=lambda name: None
    ):
        self.boot_payload = boot_payload
        self.accepted = asyncio.Event()  # set while the registration is accepted
        self.on_accepted = []  # functions called at each acceptance
        self.configuration = configuration
        self.clock = clock
        self.log = log
        self.status = None  # RegistrationStatus (7.39) on this connection
        self.pause = _FIRST_PAUSE  # seconds to the next attempt to reconnect
        self.waiting = []  # what the central system has triggered: (action, payload)
        self._connect = connect
        self.dispatch = dispatch
        self.second = second
        self.forget = forget
        self.rpc = None
        self._due = 0  # ticks of the next BootNotification or Heartbeat
        self._pinged = 0  # ticks of the last ping
        self.wake = asyncio.Event()  # for the task that sends
        configuration.on_change("HeartbeatInterval", self.schedule)
        configuration.on_change("WebSocketPingInterval", self.wake.set)

    @property
    def registered(self):
        """Whether the central system has accepted the registration on this connection."""
        return self.accepted.is_set()

    @property
    def takes_requests(self):
        """Whether request() may be called: what is triggered may be sent also while the registration is Pending."""
        return self.status in ("Accepted", "Pending") and len(self.waiting) < _MOST_REQUESTS

    async def call(self, action, payload):
        """Call the central system, as Rpc.call(); OSError also when there is no accepted registration."""
        if not self.registered:
            raise OSError(errno.ENOTCONN, "not registered")
        return await self.rpc.call(action, payload)

    def request(self, action, payloads):
        """Send what the central system has triggered: calls of this action, one for each payload, soon."""
        for payload in payloads:
            self.waiting.append((action, payload))
        self.wake.set()

    def schedule(self, seconds=None):
        """Send the next BootNotification in so many seconds; without: the next Heartbeat after the interval for it."""
        if not seconds:
            if not self.registered:
                return
            seconds = self.configuration.get("HeartbeatInterval")
        self._due = time.ticks_add(time.ticks_ms(), seconds * self.second)
        self.wake.set()

    async def close(self):
        """Take leave of the central system before a reset, which would otherwise take the charger for connected."""
        if self.rpc:
            await self.rpc.websocket.close(_GOING_AWAY)

    async def run(self):
        """Keep up the session for ever."""
        while True:
            try:
                await self._serve()
            except (OSError, MemoryError) as error:
                self.log("no connection: %s" % error)
            pause = self.pause * self.second
            pause += pause * os.urandom(1)[0] // 512  # so that not all charge points of a site come at once
            self.pause = min(self.pause * 2, _LONGEST_PAUSE)
            if self.status in ("Pending", "Rejected"):
                pause = max(pause, time.ticks_diff(self._due, time.ticks_ms()))  # no BootNotification before that
            self.status = None
            self.log("connecting again in %d s" % (pause // self.second))
            await asyncio.sleep_ms(pause)

    async def _serve(self):
        """Connect, and keep up that connection until it is lost. Raises what ended it."""
        reasons = []

        async def read():
            try:
                await self.rpc.run()
            except (OSError, MemoryError) as error:
                reasons.append(error)
            finally:
                self.wake.set()

        websocket = await self._connect()
        reader = None
        try:
            self.log("connected")
            self.rpc = Rpc(websocket, self.dispatch, timeout=_ANSWER_TIMEOUT * self.second, log=self.log)
            self.waiting.clear()
            self._due = time.ticks_ms()
            self._pinged = websocket.last_received
            reader = asyncio.create_task(read())
            await self._send(websocket, reader)
        except (OSError, MemoryError) as error:
            reasons.append(error)  # the reader's comes first: it is the cause then
        finally:
            self.accepted.clear()
            self.rpc = None
            websocket.abort()
            if reader:
                reader.cancel()
                # Not by awaiting it: a cancellation of this task would be taken for its own.
                while not reader.done():
                    await asyncio.sleep_ms(0)
        if reasons:
            raise reasons[0]

    async def _send(self, websocket, reader):
        """Send BootNotification until it is accepted, then Heartbeats, in between what was triggered, and pings."""
        while not reader.done():
            wait = time.ticks_diff(self._due, time.ticks_ms())
            if self.waiting:
                await self._deliver(*self.waiting.pop(0))
            elif wait > 0:
                await until(self.wake, min(wait, await self._ping(websocket)))
            elif self.registered:
                await self._deliver("Heartbeat", {})
            else:
                await self._deliver("BootNotification", self.boot_payload)

    async def _deliver(self, action, payload):
        """Make one of these calls and act upon the answer.

        A central system that doesn't answer it in time is taken for dead: the OSError ends the connection.
        """
        try:
            answer = await self.rpc.call(action, payload)
        except CallError as error:
            self.log("%s was answered with %s" % (action, error))
            answer = {}
        if action in ("BootNotification", "Heartbeat"):
            try:
                from . import registration

                registration.answered(self, action, answer)
            finally:
                self.forget("ocpp.registration")
                self.forget("ocpp.timestamps")

    async def _ping(self, websocket):
        """Ping if it is time to: each WebSocketPingInterval. OSError when nothing at all has come since the last ping.

        Return ms until it wants to be called again.
        """
        interval = self.configuration.get("WebSocketPingInterval") * self.second
        if not interval:
            self._pinged = websocket.last_received
            return _FAR
        patience = min(interval, _ANSWER_TIMEOUT * self.second)
        passed = time.ticks_diff(time.ticks_ms(), self._pinged)
        if passed >= patience and time.ticks_diff(websocket.last_received, self._pinged) < 0:
            raise OSError(errno.ETIMEDOUT, "the central system is silent")
        if passed >= interval:
            self._pinged = time.ticks_ms()
            passed = 0
            await websocket.ping()
        return (patience if passed < patience else interval) - passed
