"""Connecting: names, addresses and the TLS handshake. Needed for moments only; connection.py is what lasts."""

import socket
from errno import EACCES, EALREADY, ECONNREFUSED, EHOSTUNREACH, EINPROGRESS, ENOMEM, ENOTCONN

import tls
from micropython import const

from .connection import Connection

_READ = const(0)  # as in connection.py
_WRITE = const(1)

_CACHED_HOSTS = const(4)

_BAD_CERTIFICATE = const(-0x7A00)  # of mbedTLS

_EISCONN = (106, 127, 56)  # Linux, ESP32, macOS; the errno module has no name for it


async def dial(dialer, host, port, secure, timeout):
    """Connect; as Dialer.dial, whose addresses and TLS context are used."""
    peer = "%s:%d" % ("[%s]" % host if ":" in host else host, port)
    context = tls_context(dialer, peer) if secure else None
    for address in _resolve(dialer.addresses, host, port, peer):
        connection = None
        try:
            connection = Connection(socket.socket(*address[:3]), peer, timeout)
            connection.limit(timeout, "connecting timed out")
            # The ESP32 port gives no address of IPv6, and its connect() takes the host as it is.
            await connect(connection, address[-1] or (host, port))
            if secure:
                await start_tls(connection, context, host)
            connection.limit(None)
            return connection
        except OSError as error:
            failure = error
        except MemoryError:
            failure = OSError(ENOMEM, peer + ": out of memory")
            if connection:
                connection.close()
    dialer.addresses.pop(peer, None)
    raise failure


def _resolve(addresses, host, port, peer):
    if peer not in addresses:
        if len(addresses) >= _CACHED_HOSTS:
            addresses.clear()
        try:
            addresses[peer] = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        except OSError:
            raise OSError(EHOSTUNREACH, peer + ": host name not found")
    return addresses[peer]


def tls_context(dialer, peer):
    if not dialer.tls_context:
        if not dialer.ca:
            raise OSError(EACCES, peer + ": TLS needs a CA certificate, none is configured")
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_REQUIRED  # type: ignore[attr-defined]
        try:
            context.load_verify_locations(dialer.ca)
        except ValueError:
            raise OSError(EACCES, "the CA certificate is neither PEM nor DER")
        dialer.tls_context = context
        dialer.ca = None  # mbedTLS has its own copy
    return dialer.tls_context


async def connect(connection, address):
    """Connect to an address as getaddrinfo gives it."""
    while True:
        try:
            connection.raw.connect(address)
            return
        except OSError as error:
            if error.errno in _EISCONN:
                return
            if error.errno == ENOTCONN:  # so ESP32 says that the server has refused
                error = OSError(ECONNREFUSED)
            if error.errno not in (EINPROGRESS, EALREADY):
                connection.fail(error, "can't connect")
        await connection.wait(_WRITE, None)


async def start_tls(connection, context, host):
    """Do the TLS handshake and check that the certificate is the host's."""
    first = bytearray(1)
    connection.late = "TLS handshake timed out"
    try:
        wrapped = context.wrap_socket(connection.raw, server_hostname=host, do_handshake_on_connect=False)
        connection.socket = wrapped
        # Reading is what drives the handshake. The peer's certificate is there once it is over, not before.
        count = wrapped.readinto(first)
        while not wrapped.getpeercert(True):
            await connection.wait(_READ, None)
            count = wrapped.readinto(first)
        if count:
            connection.early = first
    except (OSError, ValueError) as error:
        text = str(error)
        if isinstance(error, OSError):
            if error.errno != _BAD_CERTIFICATE:
                connection.fail(error, "TLS handshake failed")
            text = "Usage"  # that is what it says of a certificate which is otherwise right
        from .certificate_error import explain

        connection.close(EACCES, "certificate refused: " + explain(text))
    connection.check()
