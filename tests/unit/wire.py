"""What the network tests need: the other end of a connection, on loopback or as a script of bytes."""

import asyncio
import os
import socket
import time
from asyncio import core

import tls

LOCAL = "127.0.0.1"


def run(coroutine):
    """Run one test in an event loop of its own, which must leave no open descriptor; a test that hangs fails."""
    asyncio.new_event_loop()
    before = descriptors()
    asyncio.run(asyncio.wait_for(coroutine, 10))
    assert descriptors() == before, "%d descriptors were left open" % (descriptors() - before)


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


class Listener:
    """A server on loopback that takes what comes, with `name` over TLS as the server with that certificate."""

    def __init__(self, name=None, backlog=5):
        self._context = None
        if name:
            self._context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate(name), certificate("server_key"))
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = self._bind()
        self._socket.listen(backlog)
        self._socket.setblocking(False)

    def _bind(self):
        while True:  # MicroPython can't tell which port the system chose
            port = 20000 + int.from_bytes(os.urandom(2), "big") % 10000
            try:
                self._socket.bind(socket.getaddrinfo(LOCAL, port)[0][-1])
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
            while await self.read(1024):
                pass
        except OSError:
            pass
        self.close()

    def close(self):
        self.s.close()
        self.raw.close()


class Script:
    """A connection (hw/connection.py) whose other end is bytes: `incoming` is read, what is written goes to `sent`."""

    def __init__(self, incoming=b"", chunk=1 << 30):
        self.incoming = incoming
        self.chunk = chunk  # how many bytes arrive at a time
        self.sent = b""
        self.ends = True  # the stream ends after `incoming`; else it falls silent
        self.closed = False
        self.limits = []
        self.timeout = 1000
        self.last_received = time.ticks_ms()

    async def idle(self):
        await asyncio.sleep_ms(0)
        while not (self.incoming or self.ends or self.closed):
            await asyncio.sleep_ms(1)
        if self.closed:
            raise OSError(103, "script: closed")

    async def readinto(self, view):
        await self.idle()
        part = self.incoming[: min(len(view), self.chunk)]
        view[: len(part)] = part
        self.incoming = self.incoming[len(part) :]
        return len(part)

    async def readexactly(self, view):
        while len(view):
            count = await self.readinto(view)
            if not count:
                raise OSError(104, "script: closed by the other side")
            view = view[count:]

    async def readline(self, limit):
        line = bytearray()
        byte = bytearray(1)
        while len(line) < limit:
            if not await self.readinto(memoryview(byte)):
                return bytes(line)
            line.extend(byte)
            if byte == b"\n":
                return bytes(line)
        raise OSError(22, "script: line too long")

    async def write(self, data):
        await asyncio.sleep_ms(0)
        if self.closed:
            raise OSError(103, "script: closed")
        self.sent += bytes(data)

    def limit(self, milliseconds):
        self.limits.append(milliseconds)

    def close(self):
        self.closed = True
