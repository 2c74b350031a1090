"""An update file over HTTP/1.1 or HTTPS as a stream (RFC 9110, RFC 9112)."""

from binascii import b2a_base64

from micropython import const

from . import lines
from .source import Source, SourceError
from .urls import authority, name_of

_MAX_REDIRECTS = const(5)
_MAX_HEAD = const(16384)
_MAX_VALIDATOR = const(128)
# The headers we use. Of all others little is kept: release pages send one of more than 4 KiB.
_USED_HEADERS = (
    b"location",
    b"content-length",
    b"content-range",
    b"content-encoding",
    b"transfer-encoding",
    b"etag",
    b"last-modified",
)


async def open(
    address, dial, *, offset=0, validator=None, expected_length=None, connection=None, timeout=60_000, log=print
):
    """Ask for a file from byte ``offset`` on, follow redirects, and return it as a Source.

    address: of sources.parse_url.
    dial: ``await dial(host, port, secure, timeout=ms)`` gives a connection (hw/connection.py).
    validator, expected_length: ``validator`` and ``length`` of the Source that gave the bytes before ``offset``.
    A server that cannot go on exactly there, or has another file by now, is asked for the whole file: the Source's
    ``offset`` is 0 then, and the caller starts over. timeout: ms, for every single wait; the head of an answer, and
    every 16 KiB of the file, may take twice that.
    Raises SourceError, or OSError when the network fails.
    """
    redirects = 0
    while True:
        name = name_of(address)
        scheme, _, _, host, port, _ = address
        connection = connection or await dial(host, port, scheme == "https", timeout=timeout)
        source = Source(name, connection, timeout)
        opened = connection = None
        try:
            await _ask(source.connection, address, offset, validator)
            status, headers = await _head(source)
            total = status == 206 and offset and _total(headers, offset, validator, expected_length)
            if status == 200 or total:
                _start(source, headers, offset, total)
                opened = True
                return source
        finally:
            if not opened:
                source.close()
        location = headers.get(b"location")
        source = headers = None  # the next connection may need their memory
        if location and 300 <= status < 400:
            redirects += 1
            if redirects > _MAX_REDIRECTS:
                raise SourceError(name, "too many redirects: check the location")
            from .redirect import follow  # most files come without

            address = follow(address, location)
            location = None
            log("Redirected to " + name_of(address))
        elif offset and status in (206, 416):
            log("The server cannot resume here: starting over")
            offset = 0
        else:
            raise _refusal(name, status)


async def _head(source):
    """Read the head of the answer: (status, the headers we use). Informational answers are passed over."""
    source.budget = _MAX_HEAD
    status = 0
    while True:
        line = await lines.read(source, _is_used)
        if not status:
            status = ok = _status(line)
            headers = {}
        elif line != b"\r\n" and line != b"\n":
            ok = _keep_header(headers, line)
        elif status >= 200:
            return status, headers
        else:
            status = 0
        if not ok:
            raise source.malformed("head")


def _start(source, headers, offset, total):
    """Make ready for the body. total: the file's length if this is its rest from ``offset`` on, else 0."""
    if headers.get(b"content-encoding", "identity").lower() != "identity":
        raise SourceError(source.name, "has a Content-Encoding: switch that off for this file")
    length = headers.get(b"content-length")
    coding = headers.get(b"transfer-encoding")
    if (coding and (length or coding.lower() != "chunked")) or (length and not _is_number(length)):
        raise source.malformed("length")
    if coding:
        length = None
    else:
        length = total or (int(length) if length else None)
    source.start(offset if total else 0, length, _validator(headers), lines.next_chunk if coding else None)


async def _ask(connection, address, offset, validator):
    """Send the request."""
    _, user, password, _, _, path = address
    head = [
        " HTTP/1.1",
        "Host: " + authority(address),
        "User-Agent: Arus",
        "Accept-Encoding: identity",
        "Connection: close",
    ]
    if user is not None:
        head.append("Authorization: Basic " + b2a_base64(user + b":" + password).decode().strip())
    if offset:
        head.append("Range: bytes=%d-" % offset)
        if validator:
            head.append("If-Range: " + validator)
    await connection.write(b"GET ")
    await connection.write(memoryview(path))  # a signed one is long: no copy of it
    await connection.write("\r\n".join(head + ["\r\n"]).encode())


def _status(line):
    """The three digits of a status line as a number, 0 if it is none."""
    digits = line[9:12]
    if line[:7] != b"HTTP/1." or line[8:9] != b" " or not digits.isdigit() or line[12:13].strip():
        return 0
    return int(digits)


def _is_used(line):
    return bytes(line[: max(line.find(b":"), 0)]).lower() in _USED_HEADERS


def _keep_header(headers, line):
    """Put a header we use into ``headers``; False if the line is malformed or contradicts an earlier one."""
    colon = line.find(b":")
    name = line[: max(colon, 0)].lower()
    # Folded lines and space before the colon: two readers could see two different answers (RFC 9112, 5.1, 5.2).
    if not name or name != name.strip():
        return False
    if name in _USED_HEADERS:
        end = len(line.rstrip())
        start = colon + 1
        while start < end and line[start] in b" \t":
            start += 1
        value = memoryview(line)[start:end]  # a signed URL is long: no copies of it
        if start < end:
            if min(value) < 0x20 or max(value) > 0x7E:
                return False
            value = str(value, "utf-8")
            return headers.setdefault(name, value) == value
    return True


def _is_number(text):
    return text.isdigit() and len(text) <= 10


def _validator(headers):
    """What If-Range may carry: a strong ETag, else the date (RFC 9110, 13.1.5)."""
    validator = headers.get(b"etag", "")
    if validator[:1] != '"':
        validator = headers.get(b"last-modified", "")
    return validator if 0 < len(validator) <= _MAX_VALIDATOR else None


def _total(headers, offset, validator, expected_length):
    """The file's length, from a 206 that carries exactly its rest from ``offset`` on, of the same file; else 0.

    (An answer in several parts has no Content-Range: RFC 9110, 15.3.7.2.)
    """
    content_range = headers.get(b"content-range", "").lower()
    total = content_range.rpartition("/")[2]
    if not _is_number(total):
        return 0
    total = int(total)
    rest = str(total - offset)
    # Some servers ignore If-Range and send the rest of whatever file they have now: hence the validators.
    if (
        total > offset
        and content_range == "bytes %d-%d/%d" % (offset, total - 1, total)
        and headers.get(b"content-length", rest) == rest
        and expected_length in (None, total)
        and (not validator or _validator(headers) in (None, validator))
    ):
        return total
    return 0


def _refusal(name, status):
    later = status >= 500 or status in (408, 429)
    if status == 401:
        text = "correct user and password in the location"
    elif status == 403:
        text = "no permission, or a signed location has expired"
    elif status == 404 or status == 410:
        text = "no such file: check the location"
    elif later:
        text = "the server has a problem: try again later"
    else:
        text = "check location and server"
    return SourceError(name, "HTTP %d, %s" % (status, text), not later)
