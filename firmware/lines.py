"""The lines of a protocol, before a body and within it, read from a Source."""

from micropython import const

_MAX_CHUNK_LINE = const(128)
_PIECE = const(128)
# Of a line that is wanted whole. Release pages redirect to signed URLs of well over a thousand characters.
_MAX_KEPT = const(4096)


async def read(source, is_wanted=None):
    """Read one line with its end. A long one is cut, unless is_wanted(its beginning).

    source.budget, the number of bytes that lines may take, goes down by the whole line.
    """
    line = bytearray()
    newline = b""
    while not newline:
        if not source.early:
            piece = bytearray(_PIECE)
            count = await source.connection.readinto(piece)
            if not count:
                raise source.interrupted()
            source.early = bytes(piece[:count])
        part, newline, source.early = source.early.partition(b"\n")
        source.budget -= len(part) + 1
        if source.budget < 0:
            raise source.malformed("too long")
        if len(line) < _PIECE or (is_wanted and len(line) < _MAX_KEPT and is_wanted(line)):
            line.extend(part)
            line.extend(newline)
    return bytes(line)


async def next_chunk(source):
    """Read the line before a chunk. Trailers stay unread: nothing follows on this connection."""
    source.budget = _MAX_CHUNK_LINE
    if source.left is None or await read(source) == b"\r\n":
        line = await read(source)
        size = line.partition(b";")[0].strip()
        if line[-2:] == b"\r\n" and 0 < len(size) < 8 and not size.strip(b"0123456789abcdefABCDEF"):
            source.left = int(size, 16)
            if not source.left:
                source.next_chunk = None
            return
    raise source.malformed("chunk")
