"""A central system at the WebSocket's boundary that does what the test says, and what all tests of ocpp/ need."""

import asyncio
import json
import time


class ConnectionClosed(OSError):
    pass


class CentralSystem:
    """Both ends of one connection: the WebSocket that the charge point uses, and the script's side of it."""

    def __init__(self):
        self.sent = []  # every message of the charge point, decoded
        self.pings = 0
        self.answers_pings = True
        self.aborted = False
        self.last_received = time.ticks_ms()
        self._read = 0
        self._incoming = []
        self._news = asyncio.Event()
        self._reason = None

    # ---- the WebSocket

    async def receive(self):
        while not self._incoming:
            if self._reason:
                raise self._reason
            self._news.clear()
            await self._news.wait()
        self.last_received = time.ticks_ms()
        return self._incoming.pop(0)

    async def send(self, text):
        await asyncio.sleep_ms(0)  # a real one lets others run
        if self._reason:
            raise self._reason
        self.sent.append(json.loads(text))
        self._news.set()

    async def ping(self, payload=b""):
        self.pings += 1
        if self.answers_pings:
            self.last_received = time.ticks_ms()

    async def close(self, code=1000, reason=""):
        self.abort()

    def abort(self):
        self.aborted = True
        self.drop()

    # ---- the script

    def say(self, message):
        """Send a message (a list, or text as it is)."""
        self._incoming.append(message if isinstance(message, (str, bytes)) else json.dumps(message))
        self._news.set()

    def drop(self):
        """The connection is lost."""
        self._reason = ConnectionClosed(1006, "connection lost")
        self._news.set()

    async def next(self):
        """The charge point's next message."""
        while len(self.sent) <= self._read:
            await asyncio.sleep_ms(1)
        self._read += 1
        return self.sent[self._read - 1]

    async def expect(self, action):
        """The charge point's next message is this call: return its id and payload."""
        message = await self.next()
        assert message[0] == 2 and message[2] == action, "%r instead of %s" % (message, action)
        return message[1], message[3]

    async def answer(self, action, payload):
        """Answer the charge point's next message, which is this call; return the call's payload."""
        unique_id, request = await self.expect(action)
        self.say([3, unique_id, payload])
        return request

    async def accept(self, interval=14400):
        """Accept the charge point's BootNotification."""
        return await self.answer("BootNotification", boot_answer("Accepted", interval))

    async def call(self, action, payload, unique_id="6b8d6a8e-6d5d-4a0c-9a53-3a0e4e1d2f10"):
        """Call the charge point; return the answer, which has to be its next message."""
        self.say([2, unique_id, action, payload])
        message = await self.next()
        assert message[0] in (3, 4) and message[1] == unique_id, "%r is no answer to %s" % (message, action)
        return message[2]

    async def quiet(self, ms=30):
        """Nothing is said by the charge point for a while."""
        await asyncio.sleep_ms(ms)
        assert len(self.sent) == self._read, "unexpected %r" % self.sent[self._read :]


def boot_answer(status, interval=14400):
    return {"status": status, "currentTime": "2026-08-21T12:00:00.123Z", "interval": interval}


class Clock:
    """A clock that stands still."""

    def __init__(self, seconds=None):
        self.seconds = seconds

    def now(self):
        return self.seconds

    def set(self, seconds):
        self.seconds = seconds


class Store:
    """Records in memory."""

    def __init__(self, **records):
        self.records = records
        self.writes = 0
        self.full = False

    def get(self, key):
        return self.records.get(key)

    def set(self, key, value):
        assert len(key) <= 15 and isinstance(value, bytes)
        if self.full:
            raise OSError(28, "no space")
        self.writes += 1
        self.records[key] = value


async def ended(task):
    """Wait for the end of a task that was cancelled."""
    while not task.done():
        await asyncio.sleep_ms(0)


def run(coroutine):
    """Run one test in an event loop of its own; a test that hangs fails."""
    asyncio.new_event_loop()
    return asyncio.run(asyncio.wait_for(coroutine, 10))
