"""Opening the connection: the WebSocket's handshake (RFC 6455, 4, whose sections are named in brackets).

It is needed for moments only; what is needed for as long as the connection lasts is in websocket.py.
"""

import hashlib
import os
from binascii import b2a_base64
from errno import ECONNRESET, EINVAL

from micropython import const

from .websocket import WebSocket

_MAX_RESPONSE = const(4096)  # of the HTTP header

_MEANINGS = {  # of an HTTP status, or of all that begin with that digit
    3: "redirected; set the URL to the new address",
    400: "bad request; check the identity in the URL and the OCPP version",
    401: "wrong credentials; check the identity and the AuthorizationKey",
    403: "forbidden; check what the server allows this identity",
    404: "identity unknown to the server, or wrong path in the URL",
    5: "fault in the server or a proxy",
    503: "server not available now",
}


class HandshakeError(OSError):
    """The server's answer doesn't open a WebSocket. status: of HTTP; 101 if something else about it is wrong."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


async def connect_station(csms, identity, password, dial):
    """Connect a charge point to its central system. password: bytes; empty: none."""
    user = identity if password else None
    return await connect(station_url(csms, identity), dial, user=user, password=password)


def station_url(csms, identity):
    """Return the URL of this charge point: that of the central system and the identity as last segment (OCPP-J, 3.1.1).

    An identity that the URL ends with already is not put there twice.
    """
    segment = "".join(
        char if char.isalpha() and char < "\x7f" or char.isdigit() or char in "-._~" else "%%%02X" % byte
        for char in identity
        for byte in char.encode()
    )
    csms = csms.rstrip("/")
    return csms if csms.endswith("/" + segment) else csms + "/" + segment


async def connect(url, dial, *, subprotocols=("ocpp1.6",), user=None, password=b"", max_size=16384, timeout=30_000):
    """Open a WebSocket.

    url: ws:// or wss://, percent-encoded. dial: as Dialer.dial in hw/connection.py. subprotocols: those offered; the
    server has to choose one. user (str), password (bytes): for Basic authentication. max_size: bytes of a received
    message. timeout: ms for connecting, for the upgrade, and then for each wait in the middle of a frame.
    Raises HandshakeError for what the server answers, OSError for all else.
    """
    secure, host, port, authority, resource = _parse_url(url)
    connection = await dial(host, port, secure, timeout=timeout)
    try:
        connection.limit(timeout)
        subprotocol = await _upgrade(connection, authority, resource, subprotocols, user, password)
        connection.limit(None)
        return WebSocket(connection, subprotocol, max_size, timeout)
    except BaseException:
        connection.close()
        raise


def _parse_url(url):
    """Return (secure, host, port, Host header, resource name) of a WebSocket URL (3)."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    authority = rest.split("/")[0].split("?")[0]
    resource = rest[len(authority) :]
    address, bracket, name = authority.rpartition("]")  # with a bracket it is an IPv6 address
    name, _, port = name.partition(":")
    host = address[1:] if bracket else name
    default = "443" if scheme == "wss" else "80"
    port = port or default
    if not (
        scheme in ("ws", "wss")
        and host
        and (not bracket or (address[0] == "[" and not name))
        and port.isdigit()
        and 0 < int(port) < 65536
        and "@" not in authority
        and "#" not in rest
        and all("!" <= char <= "~" for char in rest)
    ):
        raise OSError(EINVAL, "the URL must be ws(s)://HOST:PORT/PATH, without credentials")
    if not resource.startswith("/"):
        resource = "/" + resource
    header = "[%s]" % host if bracket else host
    if port != default:
        header += ":" + port
    return scheme == "wss", host, int(port), header, resource


async def _upgrade(connection, authority, resource, subprotocols, user, password):
    """Do the opening handshake (4.1) and return the subprotocol that the server chose."""
    key = _base64(os.urandom(16))
    lines = [
        "GET %s HTTP/1.1" % resource,
        "Host: " + authority,
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: " + key,
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocols:
        lines.append("Sec-WebSocket-Protocol: " + ", ".join(subprotocols))
    if user is not None:
        lines.append("Authorization: Basic " + _base64(user.encode() + b":" + password))
    await connection.write("\r\n".join(lines + ["\r\n"]).encode())

    headers = await _read_response(connection)
    accept = _base64(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    tokens = [token.strip() for token in headers.get(b"connection", b"").lower().split(b",")]
    chosen = headers.get(b"sec-websocket-protocol")
    subprotocol = None
    for offered in subprotocols:
        if offered.encode() == chosen:
            subprotocol = offered
    if headers.get(b"upgrade", b"").lower() != b"websocket":
        wrong = b"upgrade"
    elif b"upgrade" not in tokens:
        wrong = b"connection"
    elif headers.get(b"sec-websocket-accept") != accept.encode():
        wrong = b"sec-websocket-accept"
    elif b"sec-websocket-extensions" in headers:
        wrong = b"sec-websocket-extensions"
    elif not subprotocol and (subprotocols or chosen is not None):
        wrong = b"sec-websocket-protocol"
    else:
        return subprotocol
    raise HandshakeError(101, "upgrade with a wrong " + wrong.decode())


async def _read_response(connection):
    """Read the answer to the upgrade; return its headers, names in lower case. HandshakeError for all but a 101."""
    left = _MAX_RESPONSE
    headers = name = None
    while True:
        line = await connection.readline(left)
        left -= len(line)
        if not line.endswith(b"\n"):
            raise OSError(ECONNRESET, "connection closed during the upgrade")
        if headers is None:
            _check_status(line)
            headers = {}
            continue
        if line in b"\r\n":
            return headers
        if name and line[0] in b" \t":  # the header before goes on
            headers[name] = (headers[name] + line).strip()
            continue
        name, _, value = line.partition(b":")
        if name.split() != [name]:  # so it is too if there is no colon
            raise HandshakeError(101, "malformed header")
        name = name.lower()
        value = value.strip()
        headers[name] = headers[name] + b", " + value if name in headers else value


def _check_status(line):
    """Check that an HTTP status line says 101 Switching Protocols."""
    digits = line[7:8] + line[9:12]  # the version after "1.", and the status
    if line[:7] != b"HTTP/1." or line[8:9] != b" " or line[12:13] not in b" \r\n" or not digits.isdigit():
        raise HandshakeError(0, "the server's answer is not HTTP")
    status = int(digits[1:])
    if status != 101 or digits[:1] == b"0":
        meaning = _MEANINGS.get(status) or _MEANINGS.get(status // 100, "no WebSocket; check the URL")
        raise HandshakeError(status, "HTTP %d: %s" % (status, meaning))


def _base64(data):
    return b2a_base64(data).strip().decode()
