"""Where an update file is: the location of UpdateFirmware taken apart."""

from binascii import unhexlify

from micropython import const

from .source import SourceError

# Release pages redirect to signed URLs of well over a thousand characters.
_MAX_URL = const(4000)
_PORTS = {"http": 80, "https": 443, "ftp": 21}


def parse_url(url):
    """Split ``url`` into (scheme, user, password, host, port, path); SourceError if it cannot be used.

    scheme and host: lower case, an IPv6 address without its brackets. user and password: bytes, percent-decoded,
    None without userinfo. path: as it goes into a request, with the query, without the fragment (RFC 3986). Of ftp:
    still percent-encoded, but without a type (RFC 1738, 3.2), and nothing in it, user or password ends a command.
    """
    # Without needless copies: a signed URL is long.
    if len(url) > _MAX_URL:
        raise SourceError("location", "longer than %d characters" % _MAX_URL)
    view = memoryview(url)  # not its characters: MicroPython keeps each one that it has ever given singly
    if url and (min(view) < 0x21 or max(view) > 0x7E):
        raise SourceError("location", "has a space, control or non-ASCII character: percent-encode it")
    start = url.find("://")
    scheme = url[: max(start, 0)].lower()
    if scheme not in _PORTS:
        raise SourceError("location", "does not start with http://, https:// or ftp://")
    start += 3
    end = min([at for at in [url.find(mark, start) for mark in "/?#"] if at >= 0] or [len(url)])
    userinfo, at, place = url[start:end].rpartition("@")
    user = password = None
    if at:
        user, _, password = userinfo.partition(":")
        user, password = unquote(user), unquote(password)
    host, colon, port = place.rpartition(":")
    if not colon or "]" in port:
        host, port = place, ""
    if host[:1] == "[" and host[-1:] == "]":
        host = host[1:-1]
    elif ":" in host:
        host = ""
    port = port or str(_PORTS[scheme])
    if not host or not port.isdigit() or len(port) > 5 or not 0 < int(port) < 65536:
        raise SourceError("location", "host or port is wrong (in a password, percent-encode special characters)")
    path = url[end:]
    if "#" in path:
        path = path[: path.find("#")]
    if path[:1] != "/":
        path = "/" + path
    if scheme == "ftp":
        if path.encode()[-7:-1].lower() == b";type=":  # text that short would stay on the heap for good
            path = path[:-7]
        for part in (user, password, unquote(path)):
            if part and min(part) < 0x20:
                raise SourceError("location", "has a control character in user, password or path")
    return scheme, user, password, host.lower(), int(port), path


def unquote(text):
    """Decode percent-encoded text to bytes."""
    first, *escaped = text.encode().split(b"%")
    for part in escaped:
        try:
            first += unhexlify(part[:2]) + part[2:]
        except ValueError:
            part = b""
        if len(part) < 2:
            raise SourceError("location", "has a % that is no escape: write %25")
    return first
