"""What the network tests need: the other end of a connection, on loopback or as a script of bytes."""

import asyncio
import os
import socket
import time
from asyncio import core
from binascii import b2a_base64
from hashlib import sha1

import tls

from hw.connection import Dialer

LOCAL = "127.0.0.1"


def run(coroutine):
    """Run one test in an event loop of its own, which must leave no open descriptor; a test that hangs fails."""
    asyncio.new_event_loop()
    before = descriptors()
    result = asyncio.run(asyncio.wait_for(coroutine, 10))
    assert descriptors() == before, "%d descriptors were left open" % (descriptors() - before)
    return result


def descriptors():
    """Count the open file descriptors."""
    return len(os.listdir("/proc/self/fd"))


def fails(action, *args):
    """Return the OSError of a plain function."""
    try:
        action(*args)
    except OSError as error:
        return error
    raise AssertionError("no OSError")


async def failure(awaitable):
    """Return the OSError that an awaitable ends with."""
    try:
        await awaitable
    except OSError as error:
        return error
    raise AssertionError("no OSError")


async def settle():
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep_ms(0)


def certificate(name):
    """Read tests/certificates/NAME.pem, from wherever the tests were compiled to."""
    folder = __file__
    while True:
        folder = folder.rpartition("/")[0]
        try:
            with open(folder + "/tests/certificates/" + name + ".pem", "rb") as file:
                return file.read()
        except OSError:
            assert folder, "tests/certificates not found"


def has_ipv6():
    """Whether this machine has IPv6 at all."""
    try:
        probe = socket.socket(socket.AF_INET6)
        try:
            probe.bind(socket.getaddrinfo("::1", 0)[0][-1])
        finally:
            probe.close()
        return True
    except OSError:
        return False


class Listener:
    """A server on loopback that takes what comes, with `name` over TLS as the server with that certificate."""

    def __init__(self, name=None, backlog=5, host=LOCAL):
        self._context = None
        if name:
            self._context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate(name), certificate("server_key"))
        self._host = host
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = self._bind()
        self._socket.listen(backlog)
        self._socket.setblocking(False)

    def _bind(self):
        while True:  # MicroPython can't tell which port the system chose
            port = 20000 + int.from_bytes(os.urandom(2), "big") % 10000
            try:
                self._socket.bind(socket.getaddrinfo(self._host, port)[0][-1])
                return port
            except OSError:
                pass

    async def accept(self):
        """Return the Peer of the next connection."""
        await _readable(self._socket)
        return Peer(self._socket.accept()[0], self._context)

    def close(self):
        self._socket.close()


def _readable(sock):
    yield core._io_queue.queue_read(sock)


class Peer(asyncio.StreamReader):
    """The server's end: a stream of asyncio, whose TLS handshake comes with the first read or write."""

    def __init__(self, sock, context=None):
        sock.setblocking(False)
        self.raw = sock
        if context:
            sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        super().__init__(sock)

    async def say(self, data):
        self.write(data)
        await self.drain()

    async def end(self):
        """Wait until the other end has closed, whatever it sends before, and close too."""
        try:
            while self.raw and await self.read(1024):
                pass
        except OSError:
            pass
        self.close()

    def close(self):
        if self.raw:
            self.s.close()
            self.raw.close()
            self.raw = None


async def pair(timeout=20000, dialer=None, name=None):
    """Return a connection and its Peer; with `name` over TLS."""
    listener = Listener(name)
    accepting = asyncio.create_task(listener.accept())
    dialer = dialer or Dialer(certificate("ca"))
    dialing = asyncio.create_task(dialer.dial(LOCAL, listener.port, bool(name), timeout=timeout))
    peer = await accepting
    listener.close()
    if name:
        handshake = asyncio.create_task(peer.readexactly(1))
        await (await dialing).write(b"!")
        await handshake
    return await dialing, peer


async def with_pair(test, **options):
    connection, peer = await pair(**options)
    await test(connection, peer)
    connection.close()
    peer.close()


async def flood(connection):
    """Write until nothing fits any more, and go on."""
    data = bytes(16384)
    while True:
        await connection.write(data)


async def read(connection, length):
    data = bytearray(length)
    await connection.readexactly(memoryview(data))
    return bytes(data)


def unused_port():
    listener = Listener()
    listener.close()
    return listener.port


class Resolver:
    """The socket module, except that every host name stands for `ports` on loopback."""

    SOCK_STREAM = socket.SOCK_STREAM
    socket = socket.socket

    def __init__(self, *ports):
        self.ports = ports
        self.asked = []

    def getaddrinfo(self, host, *rest):
        self.asked.append(host)
        return [socket.getaddrinfo(LOCAL, port, 0, socket.SOCK_STREAM)[0] for port in self.ports]


class Script:
    """A connection (hw/connection.py) whose other end is bytes: `incoming` is read, what is written goes to `sent`."""

    def __init__(self, incoming=b"", chunk=1 << 20, ends=True):
        self.incoming = incoming
        self.chunk = chunk  # how many bytes arrive at a time
        self.ends = ends  # the stream ends after `incoming`, or falls silent
        self.sent = b""
        self.closed = False
        self.reading = False
        self.limits = []
        self.timeout = 20000
        self.last_received = time.ticks_ms()

    async def idle(self):
        await asyncio.sleep_ms(0)
        while not (self.incoming or self.ends or self.closed):
            await asyncio.sleep_ms(1)
        if self.closed:
            raise OSError(103, "script: closed")

    async def readinto(self, view):
        assert not self.reading, "two tasks read at once"
        self.reading = True
        try:
            await self.idle()
        finally:
            self.reading = False
        count = min(len(view), len(self.incoming), self.chunk)
        view[:count] = self.incoming[:count]
        self.incoming = self.incoming[count:]
        return count

    async def readexactly(self, view):
        while len(view):
            count = await self.readinto(view)
            if not count:
                raise OSError(104, "script: closed by the other side")
            view = view[count:]

    async def readline(self, limit):
        line = b""
        byte = bytearray(1)
        while line[-1:] != b"\n" and await self.readinto(memoryview(byte)):
            line += byte
            if len(line) > limit:
                raise OSError(22, "script: line too long")
        return line

    async def write(self, data):
        await asyncio.sleep_ms(0)
        if self.closed:
            raise OSError(103, "script: closed")
        self.sent += bytes(data)

    def limit(self, milliseconds):
        self.limits.append(milliseconds)

    def close(self):
        self.closed = True


class Upgrade(Script):
    """A server that answers the upgrade with `status` and good headers, changed by `headers`, then sends `incoming`."""

    def __init__(self, incoming=b"", status="101 Switching Protocols", headers=None, **options):
        super().__init__(b"", **options)
        self.rest = incoming
        self.status = status
        self.headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": "ocpp1.6"}
        self.headers.update(headers or {})
        self.request = None

    async def dial(self, host, port, secure=False, *, timeout=None):
        self.dialled = (host, port, secure, timeout)
        return self

    async def write(self, data):
        await super().write(data)
        if not self.request:
            self.request, self.sent = self.sent, b""
            self.incoming = self.answer() + self.rest

    def asked(self):
        """Return the headers of the request."""
        lines = self.request.decode().split("\r\n")[1:-2]
        return dict([line.split(": ", 1) for line in lines])

    def answer(self):
        key = self.asked()["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.headers.setdefault("Sec-WebSocket-Accept", b2a_base64(sha1(key.encode()).digest()).decode().strip())
        lines = ["HTTP/1.1 " + self.status]
        lines += ["%s: %s" % item for item in self.headers.items() if item[1] is not None]
        return "\r\n".join(lines + ["\r\n"]).encode()


class Endless(Script):
    """A connection that always has something to read, without a pause in which other tasks could run."""

    async def idle(self):
        await asyncio.sleep_ms(0)

    async def readinto(self, view):
        if self.closed:
            raise OSError(103, "script: closed")
        count = min(len(view), len(self.incoming)) or len(view)
        view[:count] = self.incoming[:count] or bytes(count)
        self.incoming = self.incoming[count:]
        return count


def frame(opcode, payload=b"", final=True, form=None, flags=0):
    """Return a server's frame. form: 0, 126 or 127 for how the length is written."""
    length = len(payload)
    if form is None:
        form = 127 if length > 65535 else 126 if length > 125 else 0
    first = bytes([(0x80 if final else 0) | flags | opcode])
    if form == 0:
        return first + bytes([length]) + payload
    return first + bytes([form]) + length.to_bytes(2 if form == 126 else 8, "big") + payload


def frames(sent):
    """Return [(opcode, payload)] of what a client sent, after checking that each frame is masked and well formed."""
    found = []
    while sent:
        assert sent[0] & 0xF0 == 0x80 and sent[1] & 0x80, "not final, reserved bits set, or not masked"
        length = sent[1] & 0x7F
        start = 2
        if length >= 126:
            start, least = (4, 126) if length == 126 else (10, 65536)
            length = int.from_bytes(sent[2:start], "big")
            assert length >= least, "length not in its shortest form"
        mask = sent[start : start + 4]
        payload = bytearray(sent[start + 4 : start + 4 + length])
        assert len(payload) == length, "frame cut short"
        for i in range(length):
            payload[i] ^= mask[i & 3]
        found.append((sent[0] & 15, bytes(payload)))
        sent = sent[start + 4 + length :]
    return found
