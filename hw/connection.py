"""TCP and TLS connections with a deadline on every wait.

A wait is one yield to asyncio's poller, in the waiting task itself. Each connection has one watcher task; when a
deadline passes, it closes the connection and wakes whoever waits. It wakes them and doesn't cancel them, so that a
CancelledError always comes from outside. A wait that is cancelled closes the connection too, as nobody knows then what
was read or written.
"""

import asyncio
from asyncio import core  # type: ignore[attr-defined]
from errno import ECONNABORTED, ECONNRESET, EINVAL, ETIMEDOUT, errorcode
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

# What there is a deadline for, and for the first two of them a task that waits.
_READ = const(0)
_WRITE = const(1)
_WHOLE = const(2)

_FAR = const(0x0FFFFFFF)  # ms, three days: ticks_add takes no more than that
_LINE_PART = const(128)  # bytes

# The unix port has no names for these. A frame in several pieces would wait for the peer's delayed acknowledgement.
_IPPROTO_TCP = const(6)
_TCP_NODELAY = const(1)


class Dialer:
    """Opens connections.

    ca: the certificate of the authority that signs the servers' ones, as bytes: PEM (or several), or DER. None: no TLS.
    forget(module name) is called when a module has done its part.
    """

    def __init__(self, ca=None, forget=lambda name: None):
        self.ca = ca
        self.tls_context = None
        self.addresses = {}  # peer: answer of getaddrinfo, which blocks everything else while it asks
        self.forget = forget

    async def dial(self, host, port, secure=False, *, timeout=30_000):
        """Connect to a host and return the Connection, with `secure` after a TLS handshake that proved its name.

        timeout: ms for all of that (for each address, if the name stands for several); then the connection's timeout.
        Any failure is an OSError that names the peer; EACCES means TLS can't trust it: no CA, or certificate refused.
        """
        from . import dialing  # several KB, for a moment

        try:
            return await dialing.dial(self, host, port, secure, timeout)
        finally:
            del dialing
            self.forget("hw.dialing")


class Connection:
    """One TCP connection, from its first packet on. One task may read and another one write at the same time.

    Once anything failed, or a wait was cancelled or timed out, all of it is closed; who still waits gets an OSError.

    timeout: ms that a single wait may last, None or 0: for ever. last_received: ticks_ms.
    """

    def __init__(self, sock, peer, timeout):
        sock.setblocking(False)
        sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
        self.raw = sock
        self.socket = sock  # what is read and written: the raw socket or the TLS one around it; None once closed
        self.peer = peer
        self.early = None  # a byte that came along with the end of the TLS handshake
        self._end = ()  # type: tuple  # errno and text, once closed
        self.waiting = [None, None, None]  # type: list
        self._deadlines = [None, None, None]  # type: list
        self.timeout = timeout
        self.last_received = ticks_ms()
        self._watcher = asyncio.create_task(self._watch())

    async def readinto(self, view):
        """Read what is there, at least one byte, and return how many; 0: the stream has ended.

        While data keeps coming it doesn't let other tasks run: a long loop has to. Over TLS a stream that was cut off
        looks like one that ended, and an end right behind data may show only when the peer closes TCP as well: tls
        reads on until the view is full, and tells of the end (close_notify) only once.
        """
        if self.early:
            view[0] = self.early[0]
            self.early = None
            return 1
        while True:
            self.check()
            try:
                count = self.socket.readinto(view)
            except OSError as error:
                self.fail(error)
            if count is not None:
                self.last_received = ticks_ms()
                return count
            await self.wait(_READ, self.timeout)

    async def readexactly(self, view):
        """Fill a memoryview."""
        while len(view):
            count = await self.readinto(view)
            if not count:
                self.close(ECONNRESET, "closed by the other side")
                self.check()
            view = view[count:]

    async def readline(self, limit):
        """Return a line with its newline as bytes, less at the end of the stream. OSError if longer than `limit`."""
        line = bytes(self.early or b"")
        self.early = None
        while not line.endswith(b"\n"):
            if len(line) >= limit:
                self.close(EINVAL, "line too long")
            self.check()
            try:
                part = self.socket.readline(min(limit - len(line), _LINE_PART))
            except OSError as error:
                self.fail(error)
            if part:
                line += part
                self.last_received = ticks_ms()
            elif part is None:
                await self.wait(_READ, self.timeout)
            else:
                break
        return line

    async def idle(self):
        """Wait without a deadline until there is something to read."""
        if not self.early:
            await self.wait(_READ, None)

    async def write(self, data):
        """Write all of a buffer. It must not change meanwhile."""
        view = memoryview(data)
        while len(view):
            self.check()
            try:
                count = self.socket.write(view)
            except OSError as error:
                self.fail(error)
            if count is None:
                await self.wait(_WRITE, self.timeout)
            else:
                view = view[count:]

    def limit(self, milliseconds, text="timed out: too slow or silent"):
        """End the connection after that time, however busy it is, with that text; None: take the limit off."""
        self.late = text
        self._set_deadline(_WHOLE, milliseconds)

    def close(self, errno=ECONNABORTED, text="closed"):
        """Close the connection. Whoever waits for it, or uses it later, gets an OSError(errno, text with the peer)."""
        if not self.socket:
            return
        self._end = (errno, "%s: %s" % (self.peer, text))
        for task in self.waiting:
            if task and task.data is core._io_queue:  # not if it is due to run already: with data, or cancelled
                core._io_queue.remove(task)
                core._task_queue.push(task)
        if self._watcher is not core.cur_task:
            self._watcher.cancel()
        wrapped = self.socket
        self.socket = None
        # Closing a TLS socket closes the raw one, unless its handshake failed. In this order: later the TLS socket's
        # finaliser would close a descriptor that may be another connection's by then.
        for sock in (wrapped, self.raw):
            try:
                sock.close()
            except OSError:
                pass  # nothing is lost: the descriptor is gone

    def check(self):
        """Raise what closed the connection, if it is."""
        if not self.socket:
            raise OSError(*self._end)

    def fail(self, error, text="connection lost"):
        """Close the connection for an OSError of its socket, and raise what says so."""
        code = error.errno
        what = errorcode.get(code, error.args[-1])  # MicroPython's errors carry no words, only mbedTLS's do
        self.close(code if code in errorcode else ECONNABORTED, "%s (%s)" % (text, what))
        self.check()

    def wait(self, which, milliseconds):
        """Yield until the socket is ready to read or write."""
        self.check()
        self._set_deadline(which, milliseconds)
        self.waiting[which] = core.cur_task
        try:
            if which == _READ:
                yield core._io_queue.queue_read(self.socket)
            else:
                yield core._io_queue.queue_write(self.socket)
        except asyncio.CancelledError:
            # The poller forgot the socket, and with it the task that waits for the other direction: this wakes it.
            self.close()
            raise
        finally:
            self.waiting[which] = self._deadlines[which] = None
        self.check()

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
                deadline, task = self._deadlines[which], self.waiting[which]
                # A task that is due to run already was in time.
                if deadline is not None and (not task or task.data is core._io_queue):
                    left = ticks_diff(deadline, now)
                    if left <= 0:
                        return self.close(ETIMEDOUT, self.late if which == _WHOLE else "timed out")
                    pause = min(pause, left)
            await asyncio.sleep_ms(pause)
