"""The bytes of an update file as they come over a connection, however the protocol marks their end."""

from errno import EIO

from micropython import const

_MAX_CHUNK_LINE = const(128)
_PIECE = const(128)
_WINDOW = const(16384)  # bytes that must come within two timeouts: else a slow drip never ends
# Of a line that is wanted whole. Release pages redirect to signed URLs of well over a thousand characters.
_MAX_KEPT = const(4096)


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
        self.session = None  # the Source of FTP's control connection, where the end of a transfer is told
        self._patience = 2 * timeout
        self.arm()
        self.budget = 0
        self._early = b""  # what came along with a line and follows it

    def start(self, offset, length, validator, chunked):
        """The lines before the body have been read: what readinto() gives from now on is the file from `offset` on."""
        self.offset = offset
        self.length = length
        self.validator = validator
        self._chunked = chunked
        # Of the body, or of the current chunk. None: until close, or before the first chunk.
        self._left = None if length is None else length - offset
        self.arm()

    async def readinto(self, view):
        """Put what has arrived into ``view`` (a memoryview) and return the number of bytes; 0 = complete.

        Raises OSError when the connection ends before the body does.
        """
        if self._chunked and not self._left:
            await self._next_chunk()
        left = self._left
        if left == 0:
            return 0
        if left is not None and left < len(view):
            view = view[:left]
        early = self._early
        if early:
            count = min(len(early), len(view))
            view[:count] = early[:count]
            self._early = early[count:]
        else:
            count = await self.connection.readinto(view)
        # Where the connection ends, a file of unknown length may end too: FTP tells, HTTP leaves it at that.
        if not count and (
            left is not None or (self.session and (await self.session.line())[:3] not in (b"226", b"250"))
        ):
            raise self.interrupted()
        if left is not None:
            self._left = left - count
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
        self.connection.limit(self._patience)

    async def _next_chunk(self):
        """Read the line before a chunk. Trailers stay unread: nothing follows on this connection."""
        self.budget = _MAX_CHUNK_LINE
        if self._left is None or await self.line() == b"\r\n":
            line = await self.line()
            size = line.partition(b";")[0].strip()
            if line[-2:] == b"\r\n" and 0 < len(size) < 8 and not size.strip(b"0123456789abcdefABCDEF"):
                self._left = int(size, 16)
                self._chunked = self._left > 0
                return
        raise self.malformed("chunk")

    async def line(self, is_wanted=None):
        """Read one line with its end. A long one is cut, unless is_wanted(its beginning).

        `budget`, the number of bytes that lines may take, goes down by the whole line.
        """
        line = bytearray()
        newline = b""
        while not newline:
            if not self._early:
                piece = bytearray(_PIECE)
                count = await self.connection.readinto(piece)
                if not count:
                    raise self.interrupted()
                self._early = bytes(piece[:count])
            part, newline, self._early = self._early.partition(b"\n")
            self.budget -= len(part) + 1
            if self.budget < 0:
                raise self.malformed("too long")
            if len(line) < _PIECE or (is_wanted and len(line) < _MAX_KEPT and is_wanted(line)):
                line.extend(part)
                line.extend(newline)
        return bytes(line)

    def interrupted(self):
        """Return the error for a connection that closes too early."""
        return SourceError(self.name, "connection closed before the end of the file", False)

    def malformed(self, what):
        """Return the error for what is not the protocol."""
        scheme = self.name.partition(":")[0].upper()
        return SourceError(self.name, "no proper %s (%s): check port, server and proxies" % (scheme, what), False)
