"""What push.py needs for moments: to open its port, and to see whether a peer has the key and what it wants.

push_line.py tells what the lines are.
"""

import asyncio
import json
import os
import socket
from binascii import hexlify

from micropython import const

from . import push_line
from .update import Busy

_PORT = const(3232)
_LEAST_KEY = const(16)  # characters
_PROOF = const(5000)  # ms for a peer to prove that it has the key
_FOLLOW = const(600_000)  # ms that one is told what becomes of the update; it may come again
_PAUSE = const(2)  # seconds from a failed proof to the next one
_MAX_LINE = const(1024)
_MARK = const(64)  # characters of an HMAC


def settings(development):
    """Return (key as bytes, port) of "development" in config.json; ValueError says what is wrong there."""
    key = port = None
    if isinstance(development, dict):
        key, port = development.get("key"), development.get("port", _PORT)
    if not isinstance(key, str) or len(key) < _LEAST_KEY:
        raise ValueError('/config.json: "development" needs a "key" of at least %d characters' % _LEAST_KEY)
    if type(port) is not int or not 0 < port < 65536:
        raise ValueError('/config.json: the "port" of "development" is no number from 1 to 65535')
    return key.encode(), port


def start(push, wrap, config, version, log):
    """Open the port that config.json names and return `push`, None if that is not to be. Arguments: of push.serve().

    push has parts and wake, what the journal calls when there is a status to send, and gets wrap, version, log;
    listener; key (bytes); identity; guest, the task of a peer that is about to prove that it has the key, or has just
    failed to; peer, the Connection that is told what becomes of the update from `location`, mark, that of the line
    before, and the task `following`; failures, how often in a row a peer had no proof.
    """
    push.wrap, push.version, push.log = wrap, version, log
    push.identity = config["id"]
    push.guest = push.peer = None
    push.failures = 0
    push.listener = listener = socket.socket()
    try:
        push.key, port = settings(config["development"])
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])
        listener.listen(1)
        listener.setblocking(False)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            error = "can't listen on port %d: %s" % (port, error)
        log("No pushes: %s" % error)
        return listener.close()
    push.parts.journal.changed = push.changed
    log("Development: takes pushes on port %d" % port)
    return push


def same(one, other):
    """Whether two bytes are equal; how long this takes tells nothing about where they differ."""
    difference = len(one) ^ len(other)
    for a, b in zip(one, other):
        difference |= a ^ b
    return not difference


async def meet(push, sock, address):
    """Have a peer prove that it has the key, take its push and leave it to push.follow()."""
    push.parts.forget("firmware.push_line")
    # A desk has the bytes of a sockaddr.
    name = address[0] if isinstance(address, tuple) else "%d.%d.%d.%d" % tuple(address[4:8])
    connection = None
    try:
        connection = push.wrap(sock, name, _PROOF)
        mark, request = await _prove(push, connection)
        _take(push, connection, mark, request)
    except Exception as error:  # whatever it is, it must not end more than this
        _refuse(push, name, connection, error)
        if not connection:
            sock.close()
        await asyncio.sleep(_PAUSE)
    finally:
        push.guest = None


async def _prove(push, connection):
    """Return the mark of the peer's line and what it asks for."""
    connection.limit(_PROOF)
    nonce = hexlify(os.urandom(16))
    greeting = {"arus": 1, "id": push.identity, "version": push.version, "nonce": nonce.decode()}
    await connection.write(json.dumps(greeting) + "\n")
    line = await connection.readline(_MAX_LINE)
    if line[_MARK : _MARK + 1] != b" " or line[-1:] != b"\n":
        raise ValueError("no proper request")
    mark, text = line[:_MARK], line[_MARK + 1 : -1]
    if not same(mark, push_line.mac(push.key, nonce, text)):
        raise ValueError("wrong key")
    request = json.loads(text)
    if not isinstance(request, dict) or not isinstance(request.get("location"), str):
        raise ValueError("no proper request")
    push.failures = 0
    return mark, request


def _take(push, connection, mark, request):
    """Do what a peer asks for that has proved that it may."""
    if push.peer:
        push.peer.close()
    push.peer, push.mark, push.location = connection, mark, request["location"]
    error = None
    if request.get("push"):
        push.log("%s pushes an update" % connection.peer)
        try:
            push.parts.updater.request(push.location, None, 1, None)
        except (Busy, OSError) as reason:
            error = str(reason.args[-1])
    push_line.tell(push, error)
    connection.timeout = None
    connection.limit(_FOLLOW)
    push.following = asyncio.create_task(push.follow(connection))


def _refuse(push, name, connection, error):
    """Log a failed proof, but not each: a thousand lines would be of no use."""
    push.failures += 1
    text = str(error.args[-1]) if error.args else repr(error)
    if not push.failures & (push.failures - 1):
        push.log("%s: refused (%s), failure %d" % (name, text, push.failures))
    if connection and connection.socket:
        try:
            connection.socket.write(json.dumps({"error": text}) + "\n")
        except OSError:
            pass  # it is gone
        connection.close()
