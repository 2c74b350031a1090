"""OCPP-J 1.6: CALL, CALLRESULT and CALLERROR over one WebSocket connection."""

import asyncio
import errno
import json
import os
from binascii import hexlify

from micropython import const

_CALL = const(2)
_CALLRESULT = const(3)
_CALLERROR = const(4)
_MAX_DESCRIPTION = const(255)  # characters (4.2.3)


class CallError(Exception):
    """A CALLERROR, ours or the central system's. code: one of OCPP-J 1.6, 4.2.3."""

    def __init__(self, code, description=""):
        self.code = code
        self.description = description

    def __str__(self):
        return "%s: %s" % (self.code, self.description)


class Rpc:
    """The calls of both sides over one connection.

    dispatch(action, payload) -> (answer, after) answers a call of the central system at once, or raises CallError.
    after is None or a function to be called when the answer was sent or turned out impossible to send.
    timeout: ms to wait for an answer.
    """

    def __init__(self, websocket, dispatch, *, timeout=30_000, log=print):
        self.websocket = websocket
        self.dispatch = dispatch
        self._timeout = timeout
        self._log = log
        self.prefix = hexlify(os.urandom(4)).decode() + "-"  # no id of an earlier connection comes again
        self._count = 0
        self._turn = asyncio.Lock()  # first come, first served
        self._pending = None  # the id of our call in flight
        self._answer = None
        self._answered = asyncio.Event()
        self._lost = False

    async def call(self, action, payload):
        """Call the central system and return the payload of its answer; calls go out one after the other.

        CallError if the answer is one, or malformed; OSError if there is none in time or the connection is lost.
        """
        async with self._turn:
            self._count += 1
            self._pending = self.prefix + str(self._count)
            self._answer = None
            self._answered.clear()
            if not self._lost:
                await self.websocket.send(encode([_CALL, self._pending, action, payload]))
                # Not cleared since then: the answer may be here already, and so may the end of the connection.
                await until(self._answered, self._timeout)
            answer = self._answer
            self._answer = None
        if answer is None:
            if self._lost:
                raise OSError(errno.ECONNRESET, "connection lost")
            raise OSError(errno.ETIMEDOUT, "no answer to " + action)
        if answer[0] == _CALLRESULT and isinstance(answer[-1], dict):
            return answer[-1]
        if answer[0] == _CALLERROR and len(answer) > 3 and isinstance(answer[2], str) and isinstance(answer[3], str):
            raise CallError(answer[2], answer[3])
        raise CallError("FormationViolation", "malformed answer to " + action)

    async def run(self):
        """Read, and answer at once, until the connection ends; raises the WebSocket's OSError then."""
        try:
            while True:
                message = self.decode(await self.websocket.receive())
                if message is None:
                    self._log("ignored what is no OCPP message")
                elif message[0] == _CALL:
                    await self._answer_call(message)
                elif message[1] == self._pending:
                    self._pending = None  # a second answer would be one too many
                    self._answer = message
                    self._answered.set()
                else:
                    self._log("ignored an answer to no call, or to one that has timed out")
                message = None  # it would take its place until the next one
        finally:
            self._lost = True
            self._answered.set()

    def decode(self, text):
        """A list that begins with a known type and an id, or None."""
        try:
            # MicroPython's parser doesn't miss a missing end.
            message = json.loads(text) if isinstance(text, str) and text.rstrip().endswith("]") else None
        except MemoryError:
            # A call is answered even so, if its id can be seen: it ends in None, which no other does.
            parts = text[:99].split('"')
            is_call = len(parts) > 2 and "".join(parts[0].split()) == "[2," and "\\" not in parts[1]
            return [_CALL, parts[1], None] if is_call else None
        except (ValueError, RuntimeError):  # no JSON, nested too deeply
            return None
        if not isinstance(message, list) or len(message) < 2:
            return None
        if message[0] not in (_CALL, _CALLRESULT, _CALLERROR) or not isinstance(message[1], str):
            return None
        if message[-1] is None:
            message[-1] = {}  # 4.2.1 allows null for an empty payload
        return message

    async def _answer_call(self, message):
        try:
            if message[-1] is None:
                raise MemoryError("no memory for so large a call")
            if len(message) != 4 or not isinstance(message[2], str) or not isinstance(message[3], dict):
                raise CallError("FormationViolation", "a CALL is [2, id, action, payload]")
            answer, after = self.dispatch(message[2], message[3])
            text = encode([_CALLRESULT, message[1], answer])
        except Exception as error:  # whatever it is, the central system waits for one answer and gets it
            after = None
            if not isinstance(error, CallError):
                error = CallError("InternalError", str(error))
            self._log("answered with " + str(error))
            text = encode([_CALLERROR, message[1], error.code, error.description[:_MAX_DESCRIPTION], {}])
        try:
            await self.websocket.send(text)
        finally:
            if after:
                after()


async def until(event, ms):
    """Wait for an event, no longer than ms, and clear it. (wait_for() does that with two more tasks.)"""
    timer = asyncio.create_task(_set_later(event, ms))
    try:
        await event.wait()
    finally:
        timer.cancel()
    event.clear()


async def _set_later(event, ms):
    await asyncio.sleep_ms(ms)
    event.set()


def encode(message):
    r"""JSON as UTF-8. MicroPython decodes each half of \ud83d\ude00 by itself: no UTF-8, so it stays an escape."""
    data = json.dumps(message).encode()  # without a copy
    if b"\xed" not in data:
        return data
    parts = data.split(b"\xed")
    for i in range(1, len(parts)):
        part = parts[i]
        if part[0] < 0xA0:
            parts[i] = b"\xed" + part
        else:
            parts[i] = b"\\ud%03x" % ((part[0] & 0x3F) << 6 | part[1] & 0x3F) + part[2:]
    return b"".join(parts)
