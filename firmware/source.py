"""The bytes of an update file as they come over a connection, however the protocol marks their end."""

from errno import EIO

from micropython import const

_WINDOW = const(16384)  # bytes that must come within two timeouts: else a slow drip never ends


class SourceError(OSError):
    """A location that gives no file: ``args`` is (EIO, words for the operator, without secrets).

    ``permanent`` is True when the same location, asked again, would fail again.
    """

    def __init__(self, name, text, permanent=True):
        super().__init__(EIO, name + ": " + text)
        self.permanent = permanent


class Source:
    """The bytes of one file from ``offset`` on.

    length: of the whole file in bytes, None if the server does not say (chunked, or until it closes).
    validator: strong ETag or Last-Modified, to resume with; None if there is none.
    """

    def __init__(self, name, connection, timeout):
        self.name = name
        self.connection = connection
        self.session = None  # the Source of FTP's control connection
        self.is_end = None
        self.patience = 2 * timeout
        self.arm()
        self.budget = 0
        self.early = b""  # what came along with a line and follows it

    def start(self, offset, length, validator, next_chunk=None, is_end=None):
        """The lines before the body have been read: what readinto() gives from now on is the file from `offset` on.

        next_chunk: of lines.py, for a body in chunks. is_end: ``await is_end()`` tells, where a connection of unknown
        length ends, whether the file does, too; None: it does.
        """
        self.offset = offset
        self.length = length
        self.validator = validator
        self.next_chunk = next_chunk
        self.is_end = is_end
        # Of the body, or of the current chunk. None: until close, or before the first chunk.
        self.left = None if length is None else length - offset
        self.arm()

    async def readinto(self, view):
        """Put what has arrived into ``view`` (a memoryview) and return the number of bytes; 0 = complete.

        Raises OSError when the connection ends before the body does.
        """
        if self.next_chunk and not self.left:
            await self.next_chunk(self)
        left = self.left
        if left == 0:
            return 0
        if left is not None and left < len(view):
            view = view[:left]
        early = self.early
        if early:
            count = min(len(early), len(view))
            view[:count] = early[:count]
            self.early = early[count:]
        else:
            count = await self.connection.readinto(view)
        if not count and (left is not None or (self.is_end and not await self.is_end())):
            raise self.interrupted()
        if left is not None:
            self.left = left - count
        self._window -= count
        if self._window <= 0:
            self.arm()
        return count

    def close(self):
        """Close the connection, and with FTP the control connection too."""
        self.connection.close()
        if self.session:
            self.session.close()

    def arm(self):
        """From now on 16 KiB, or all if it is less, may take two timeouts."""
        self._window = _WINDOW
        self.connection.limit(self.patience)

    def interrupted(self):
        """Return the error for a connection that closes too early."""
        return SourceError(self.name, "connection closed before the end of the file", False)

    def malformed(self, what):
        """Return the error for what is not the protocol."""
        scheme = self.name.partition(":")[0].upper()
        return SourceError(self.name, "no proper %s (%s): check port, server and proxies" % (scheme, what), False)
