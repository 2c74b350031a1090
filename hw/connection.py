"""TCP and TLS connections with a deadline on every wait.

A wait is one yield to asyncio's poller, in the waiting task itself. Each connection has one watcher task; when a
deadline passes, it closes the connection and wakes whoever waits. It wakes them and doesn't cancel them, so that a
CancelledError always comes from outside. A wait that is cancelled closes the connection too, as nobody knows then what
was read or written.
"""

import asyncio
import socket
from asyncio import core  # type: ignore[attr-defined]
from errno import (
    EACCES,
    EALREADY,
    ECONNABORTED,
    ECONNRESET,
    EHOSTUNREACH,
    EINPROGRESS,
    EINVAL,
    ENOMEM,
    ETIMEDOUT,
    errorcode,
)
from time import ticks_add, ticks_diff, ticks_ms

import tls
from micropython import const

# What there is a deadline for, and for the first two of them a task that waits.
_READ = const(0)
_WRITE = const(1)
_WHOLE = const(2)

_FAR = const(0x0FFFFFFF)  # ms, three days: ticks_add takes no more than that
_LINE_PART = const(128)  # bytes
_CACHED_HOSTS = const(4)

# The unix port has no names for these. A frame in several pieces would wait for the peer's delayed acknowledgement.
_IPPROTO_TCP = const(6)
_TCP_NODELAY = const(1)

_BAD_CERTIFICATE = const(-0x7A00)  # of mbedTLS

_EISCONN = (106, 127, 56)  # Linux, ESP32, macOS; the errno module has no name for it


class Dialer:
    """Opens connections.

    ca: the certificate of the authority that signs the servers' ones, as bytes: PEM (or several), or DER. None: no TLS.
    """

    def __init__(self, ca=None):
        self._ca = ca
        self._tls = None
        self._addresses = {}  # peer: answer of getaddrinfo, which blocks everything else while it asks

    async def dial(self, host, port, secure=False, *, timeout=30_000):
        """Connect to a host and return the Connection, with `secure` after a TLS handshake that proved its name.

        timeout: ms for all of that (for each address, if the name stands for several); then the connection's timeout.
        Any failure is an OSError that names the peer; EACCES means TLS can't trust it: no CA, or certificate refused.
        """
        peer = "%s:%d" % ("[%s]" % host if ":" in host else host, port)
        context = self._tls_context(peer) if secure else None
        for address in self._resolve(host, port, peer):
            connection = None
            try:
                connection = Connection(socket.socket(*address[:3]), peer, timeout)
                connection.limit(timeout, "connecting timed out")
                # The ESP32 port gives no address of IPv6, and its connect() takes the host as it is.
                await connection.connect(address[-1] or (host, port))
                if secure:
                    await connection.start_tls(context, host)
                connection.limit(None)
                return connection
            except OSError as error:
                failure = error
            except MemoryError:
                failure = OSError(ENOMEM, peer + ": out of memory")
                if connection:
                    connection.close()
        self._addresses.pop(peer, None)
        raise failure

    def _resolve(self, host, port, peer):
        if peer not in self._addresses:
            if len(self._addresses) >= _CACHED_HOSTS:
                self._addresses.clear()
            try:
                self._addresses[peer] = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
            except OSError:
                raise OSError(EHOSTUNREACH, peer + ": host name not found")
        return self._addresses[peer]

    def _tls_context(self, peer):
        if not self._tls:
            if not self._ca:
                raise OSError(EACCES, peer + ": TLS needs a CA certificate, none is configured")
            context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
            context.verify_mode = tls.CERT_REQUIRED  # type: ignore[attr-defined]
            try:
                context.load_verify_locations(self._ca)
            except ValueError:
                raise OSError(EACCES, "the CA certificate is neither PEM nor DER")
            self._tls = context
            self._ca = None  # mbedTLS has its own copy
        return self._tls


class Connection:
    """One TCP connection, from its first packet on. One task may read and another one write at the same time.

    Once anything failed, or a wait was cancelled or timed out, all of it is closed; who still waits gets an OSError.

    timeout: ms that a single wait may last, None or 0: for ever. last_received: ticks_ms.
    """

    def __init__(self, sock, peer, timeout):
        sock.setblocking(False)
        sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
        self._raw = sock
        self._socket = sock  # what is read and written: the raw socket or the TLS one around it; None once closed
        self._peer = peer
        self._early = None  # a byte that came along with the end of the TLS handshake
        self._end = ()  # type: tuple  # errno and text, once closed
        self._waiting = [None, None, None]  # type: list
        self._deadlines = [None, None, None]  # type: list
        self.timeout = timeout
        self.last_received = ticks_ms()
        self._watcher = asyncio.create_task(self._watch())

    async def connect(self, address):
        """Connect to an address as getaddrinfo gives it. For Dialer."""
        while True:
            try:
                self._raw.connect(address)
                return
            except OSError as error:
                if error.errno in _EISCONN:
                    return
                if error.errno not in (EINPROGRESS, EALREADY):
                    self._fail(error, "can't connect")
            await self._wait(_WRITE, None)

    async def start_tls(self, context, host):
        """Do the TLS handshake and check that the certificate is the host's. For Dialer."""
        first = bytearray(1)
        self._late = "TLS handshake timed out"
        try:
            self._socket = context.wrap_socket(self._raw, server_hostname=host, do_handshake_on_connect=False)
            # Reading is what drives the handshake. The peer's certificate is there once it is over, not before.
            count = self._socket.readinto(first)
            while not self._socket.getpeercert(True):
                await self._wait(_READ, None)
                count = self._socket.readinto(first)
            if count:
                self._early = first
        except (OSError, ValueError) as error:
            text = str(error)
            if isinstance(error, OSError):
                if error.errno != _BAD_CERTIFICATE:
                    self._fail(error, "TLS handshake failed")
                text = "Usage"  # that is what it says of a certificate which is otherwise right
            from .certificate_error import explain

            self.close(EACCES, "certificate refused: " + explain(text))
        self._check()

    async def readinto(self, view):
        """Read what is there, at least one byte, and return how many; 0: the stream has ended.

        While data keeps coming it doesn't let other tasks run: a long loop has to. Over TLS a stream that was cut off
        looks like one that ended, and an end right behind data may show only when the peer closes TCP as well: tls
        reads on until the view is full, and tells of the end (close_notify) only once.
        """
        if self._early:
            view[0] = self._early[0]
            self._early = None
            return 1
        while True:
            self._check()
            try:
                count = self._socket.readinto(view)
            except OSError as error:
                self._fail(error)
            if count is not None:
                self.last_received = ticks_ms()
                return count
            await self._wait(_READ, self.timeout)

    async def readexactly(self, view):
        """Fill a memoryview."""
        while len(view):
            count = await self.readinto(view)
            if not count:
                self.close(ECONNRESET, "closed by the other side")
                self._check()
            view = view[count:]

    async def readline(self, limit):
        """Return a line with its newline as bytes, less at the end of the stream. OSError if longer than `limit`."""
        line = bytes(self._early or b"")
        self._early = None
        while not line.endswith(b"\n"):
            if len(line) >= limit:
                self.close(EINVAL, "line too long")
            self._check()
            try:
                part = self._socket.readline(min(limit - len(line), _LINE_PART))
            except OSError as error:
                self._fail(error)
            if part:
                line += part
                self.last_received = ticks_ms()
            elif part is None:
                await self._wait(_READ, self.timeout)
            else:
                break
        return line

    async def idle(self):
        """Wait without a deadline until there is something to read."""
        if not self._early:
            await self._wait(_READ, None)

    async def write(self, data):
        """Write all of a buffer. It must not change meanwhile."""
        view = memoryview(data)
        while len(view):
            self._check()
            try:
                count = self._socket.write(view)
            except OSError as error:
                self._fail(error)
            if count is None:
                await self._wait(_WRITE, self.timeout)
            else:
                view = view[count:]

    def limit(self, milliseconds, text="timed out: too slow or silent"):
        """End the connection after that time, however busy it is, with that text; None: take the limit off."""
        self._late = text
        self._set_deadline(_WHOLE, milliseconds)

    def close(self, errno=ECONNABORTED, text="closed"):
        """Close the connection. Whoever waits for it, or uses it later, gets an OSError(errno, text with the peer)."""
        if not self._socket:
            return
        self._end = (errno, "%s: %s" % (self._peer, text))
        for task in self._waiting:
            if task and task.data is core._io_queue:  # not if it is due to run already: with data, or cancelled
                core._io_queue.remove(task)
                core._task_queue.push(task)
        if self._watcher is not core.cur_task:
            self._watcher.cancel()
        wrapped = self._socket
        self._socket = None
        # Closing a TLS socket closes the raw one, unless its handshake failed. In this order: later the TLS socket's
        # finaliser would close a descriptor that may be another connection's by then.
        for sock in (wrapped, self._raw):
            try:
                sock.close()
            except OSError:
                pass  # nothing is lost: the descriptor is gone

    def _check(self):
        if not self._socket:
            raise OSError(*self._end)

    def _fail(self, error, text="connection lost"):
        code = error.errno
        what = errorcode.get(code, error.args[-1])  # MicroPython's errors carry no words, only mbedTLS's do
        self.close(code if code in errorcode else ECONNABORTED, "%s (%s)" % (text, what))
        self._check()

    def _wait(self, which, milliseconds):
        """Yield until the socket is ready to read or write."""
        self._check()
        self._set_deadline(which, milliseconds)
        self._waiting[which] = core.cur_task
        try:
            if which == _READ:
                yield core._io_queue.queue_read(self._socket)
            else:
                yield core._io_queue.queue_write(self._socket)
        except asyncio.CancelledError:
            # The poller forgot the socket, and with it the task that waits for the other direction: this wakes it.
            self.close()
            raise
        finally:
            self._waiting[which] = self._deadlines[which] = None
        self._check()

    def _set_deadline(self, which, milliseconds):
        if not milliseconds:
            self._deadlines[which] = None
            return
        deadline = ticks_add(ticks_ms(), min(milliseconds, _FAR))
        self._deadlines[which] = deadline
        if ticks_diff(self._watcher.ph_key, deadline) > 0:  # it sleeps longer than that
            core._task_queue.remove(self._watcher)
            core._task_queue.push(self._watcher, deadline)

    async def _watch(self):
        while True:
            now = ticks_ms()
            pause = _FAR
            for which in range(3):
                deadline, task = self._deadlines[which], self._waiting[which]
                # A task that is due to run already was in time.
                if deadline is not None and (not task or task.data is core._io_queue):
                    left = ticks_diff(deadline, now)
                    if left <= 0:
                        return self.close(ETIMEDOUT, self._late if which == _WHOLE else "timed out")
                    pause = min(pause, left)
            await asyncio.sleep_ms(pause)
