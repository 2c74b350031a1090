"""A WebSocket client without extensions (RFC 6455, whose sections are named in brackets)."""

import asyncio
import os

from micropython import const

# Opcodes (5.2); from _CLOSE on they are control frames
_CONTINUATION = const(0)
_TEXT = const(1)
_BINARY = const(2)
_CLOSE = const(8)
_PING = const(9)
_PONG = const(10)

# Codes of a close (7.4.1)
_PROTOCOL_ERROR = const(1002)
_NO_CODE = const(1005)  # this one and the next never travel
_LOST = const(1006)
_NOT_UTF8 = const(1007)
_TOO_BIG = const(1009)

_MAX_CONTROL = const(125)  # bytes
_SEND_BUFFER = const(256)
_MAX_CLOSING = const(5000)  # ms


class ConnectionClosed(OSError):
    """The WebSocket has ended. code: from the peer, or for what the peer did wrong; 1006: without a Close frame."""

    def __init__(self, code, reason=""):
        super().__init__("WebSocket closed: %d %s" % (code, reason))
        self.code = code
        self.reason = reason


class WebSocket:
    """An open WebSocket: one task may receive, any may send.

    Whatever ends in the middle of a frame (an error, a time-out, a cancelled receive or send) ends the connection.
    """

    def __init__(self, connection, subprotocol, max_size, patience):
        self.subprotocol = subprotocol
        self.connection = connection
        self.max_size = max_size
        self.patience = min(patience, _MAX_CLOSING)  # for the closing handshake, and for the server to close TCP
        self._control = memoryview(bytearray(_MAX_CONTROL))  # a frame's header, then a control frame's payload
        self._frame = memoryview(bytearray(_SEND_BUFFER))
        self._sending = asyncio.Lock()
        self._closing = False  # None: close() was called; True: a Close was sent, or the connection dropped
        self._receiving = False
        self._ended = asyncio.Event()

    @property
    def last_received(self):
        """ticks_ms of the last byte."""
        return self.connection.last_received

    async def receive(self):
        """Return the next message: str, or bytes if it is binary. Answers pings. ConnectionClosed at the end."""
        if self._receiving:  # either this is close(), or close() was called and receives what remains
            await self._ended.wait()
            raise ConnectionClosed(_LOST, "closed")
        self._receiving = True
        try:
            while True:
                await self.connection.idle()
                if self._closing is False:  # else a limit is set already
                    self.connection.limit(self.connection.timeout)
                message = await self._receive()
                if self._closing is False:
                    self.connection.limit(None)
                if message is not None and not self._closing:
                    return message
        except ConnectionClosed as error:
            await self._finish(error.code, error.reason)
            raise error
        except MemoryError:
            await self._finish(_TOO_BIG, "no memory")
            raise ConnectionClosed(_TOO_BIG, "no memory")
        except OSError as error:
            self.abort()
            raise ConnectionClosed(_LOST, str(error))
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._receiving = False

    async def send(self, text):
        """Send a text message."""
        await self._send(_TEXT, memoryview(text))  # of a str: its UTF-8, without a copy

    async def ping(self, payload=b""):
        """Send a ping; its answer shows in last_received."""
        await self._send(_PING, payload)

    async def close(self, code=1000, reason=""):
        """Do the closing handshake (7.1.2) as far as the server joins in, and drop the connection."""
        self._closing = self._closing or None
        self.connection.limit(self.patience)
        try:
            await self._send_close(code, reason)
            await self.receive()  # raises once the server's Close has come
        except OSError:
            pass
        finally:
            self.abort()

    def abort(self):
        """Drop the connection at once."""
        self._closing = True
        self.connection.close()
        self._ended.set()

    async def _finish(self, code, reason):
        """Answer with a Close, wait for the server to close TCP, which is its part (7.1.1), and drop the connection."""
        self.connection.limit(self.patience)
        try:
            if not self._closing:
                await self._send_close(code, reason)
            # What comes after a Close doesn't count (5.5.1), however much it is.
            while await self.connection.readinto(self._control):
                await asyncio.sleep_ms(0)
        except OSError:
            pass
        finally:
            self.abort()

    async def _receive(self):
        """Read a message, however many frames that takes (5.4), or one control frame: then the message is None.

        ConnectionClosed for a Close and for what isn't allowed.
        """
        kind = _CONTINUATION
        size = checked = 0
        while True:
            if kind != _CONTINUATION:
                await self.connection.idle()  # which lets others run
            final, opcode, length = await self.header()
            if opcode >= _CLOSE:
                await self._receive_control(opcode, length)
                if kind == _CONTINUATION:
                    return None
                continue
            if (opcode == _CONTINUATION) == (kind == _CONTINUATION):
                raise ConnectionClosed(_PROTOCOL_ERROR, "fragments out of order")
            end = size + length
            if end > self.max_size:
                raise ConnectionClosed(_TOO_BIG, "more than %d bytes" % self.max_size)
            if opcode:
                kind = opcode
                buffer = bytearray(length)
            else:
                buffer.extend(bytes(length))
            view = memoryview(buffer)
            while size < end:
                count = await self.connection.readinto(view[size:end])
                if not count:
                    await self.connection.readexactly(view)  # raises what there is to say about it
                size += count
                if kind == _TEXT:
                    checked = _check_text(buffer, checked, size)
            if final:
                if kind == _BINARY:
                    return bytes(buffer)
                _check_text(buffer, checked, size, True)
                return str(buffer, "utf-8")

    async def header(self):
        """Read the header of a frame (5.2); return whether it is a message's last, opcode, length of its payload."""
        header = self._control
        await self.connection.readexactly(header[:2])
        first = header[0]
        length = header[1]
        final = first >= 0x80
        opcode = first & 0x0F
        if first & 0x70 or opcode > _PONG or _BINARY < opcode < _CLOSE:
            raise ConnectionClosed(_PROTOCOL_ERROR, "reserved bit or opcode")
        if length >= 0x80:
            raise ConnectionClosed(_PROTOCOL_ERROR, "masked")
        if opcode >= _CLOSE and not (final and length <= _MAX_CONTROL):
            raise ConnectionClosed(_PROTOCOL_ERROR, "bad control frame")
        if length > _MAX_CONTROL:
            end, least = (4, 126) if length == 126 else (10, 65536)
            await self.connection.readexactly(header[2:end])
            length = int.from_bytes(header[2:end], "big")
            if length < least or length >> 63:
                raise ConnectionClosed(_PROTOCOL_ERROR, "bad length")
        return final, opcode, length

    async def _receive_control(self, opcode, length):
        """Read the payload of a control frame and do what it asks for (5.5)."""
        payload = self._control[:length]
        await self.connection.readexactly(payload)
        if opcode == _PING:
            await self._send(_PONG, payload)
        elif opcode == _CLOSE:
            if length == 0:
                raise ConnectionClosed(_NO_CODE)
            code = int.from_bytes(payload[:2], "big")  # less than 1000 if it is only half of one
            if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
                raise ConnectionClosed(_PROTOCOL_ERROR, "invalid close code")
            _check_text(payload, 2, length, True)
            raise ConnectionClosed(code, str(payload[2:], "utf-8"))

    async def _send_close(self, code, reason):
        await self._send(_CLOSE, b"" if code == _NO_CODE else code.to_bytes(2, "big") + reason.encode())

    async def _send(self, opcode, payload):
        if opcode >= _CLOSE and len(payload) > _MAX_CONTROL:
            raise ValueError("bad control frame")
        async with self._sending:
            # A pong is due until the server's Close has come (5.5.2), even after ours.
            if self._closing and opcode != _PONG:
                raise ConnectionClosed(_LOST, "closed")
            if opcode == _CLOSE:
                self._closing = True
            try:
                await self._write(opcode, payload)
            except BaseException:
                self.abort()
                raise

    async def _write(self, opcode, payload):
        """Write one frame (5.2), masked (5.3), a bufferful at a time."""
        frame = self._frame
        length = len(payload)
        frame[0] = 0x80 | opcode
        if length < 126:
            frame[1] = 0x80 | length
            end = 2
        elif length < 65536:
            frame[1] = 0x80 | 126
            frame[2:4] = length.to_bytes(2, "big")
            end = 4
        else:
            frame[1] = 0x80 | 127
            frame[2:10] = length.to_bytes(8, "big")
            end = 10
        mask = os.urandom(4)
        frame[end : end + 4] = mask
        end += 4
        start = 0
        while True:
            stop = min(length, start + _SEND_BUFFER - end)
            shift = end - start
            for i in range(start, stop):
                frame[shift + i] = payload[i] ^ mask[i & 3]
            await self.connection.write(frame[: shift + stop])
            if stop == length:
                return
            start = stop
            end = 0


def _check_text(data, start, end, whole=False):
    """Check that data[start:end], starting with a character, is UTF-8 (RFC 3629, 4), as far as it has come or whole.

    Return where the character starts that is still incomplete; `end` if all are complete.
    """
    try:
        if len(str(memoryview(data)[start:end], "utf-8")) == end - start:
            return end  # just ASCII. In what is not, str() lets much pass that isn't allowed.
    except UnicodeError:
        pass
    missing = 0
    for i in range(start, end):
        byte = data[i]
        if missing:
            missing -= 1
        elif byte < 0x80:
            continue
        else:
            start = i
            missing = 1 + (byte >= 0xE0) + (byte >= 0xF0)
            least = 0xC2
            most = 0xF4
        if not least <= byte <= most:
            break
        least = 0xA0 if byte == 0xE0 else 0x90 if byte == 0xF0 else 0x80
        most = 0x9F if byte == 0xED else 0x8F if byte == 0xF4 else 0xBF
    else:
        if not missing:
            return end
        if not whole:
            return start
    raise ConnectionClosed(_NOT_UTF8, "invalid UTF-8")
