"""The time by SNTP (RFC 4330; RFC 5905, 14). Needed for a moment now and then.

Nobody vouches for the answer but the question's 64 random bits, which it has to repeat: enough against who can't read
along. Who can, may set the clock; a charger for which that matters gets its time from the central system over TLS.
"""

import asyncio
import os
import socket
import time
from errno import EAGAIN, errorcode

from micropython import const

_PORT = const(123)
_TRIES = const(3)
_TURNS = const(20)  # of a try
_SIZE = const(48)
_QUESTION = const(0x23)  # leap 0, version 4, mode 3
_ANSWERS = const(4)  # the mode of a server
_UNSYNCHRONISED = const(3)  # a leap indicator
_FROM_1900_TO_1970 = const(2208988800)
_FROM_1970_TO_2000 = const(946684800)
_ERA = const(4294967296)  # seconds: the count overflows on 2036-02-07


async def sync(server, clock, log, second=1000):
    """Set the clock by a server, "host", "host:port" or "[IPv6]:port"; return whether that was done, else log why not.

    clock.set(Unix seconds) returns whether it takes them. second: ms that a try lasts, less than 1000 only in tests.
    Only the name service blocks, for as long as it takes to answer.
    """
    addresses = why = ()
    try:
        addresses = _resolve(server)
    except ValueError as error:
        why = error
    for i in range(_TRIES if addresses else 0):
        try:
            seconds, why = await _ask(addresses[i % len(addresses)], second // _TURNS)
        except OSError as error:
            why = errorcode.get(error.errno, error)
            continue
        if seconds:
            if clock.set(seconds):
                log("Clock set by NTP: " + _text(seconds))
                return True
            why = "it tells a time before 2024: " + _text(seconds)
        if seconds == 0:
            break  # to ask on would be unkind
    log('No time from NTP server %s: %s; check the network, UDP port 123 and "ntp" in /config.json' % (server, why))
    return False


def _resolve(server):
    """Return what getaddrinfo gives, with an address in any case."""
    host, port = server, ""
    if server[:1] == "[":
        host, _, port = server[1:].partition("]")
        port = port[1:]
    elif server.count(":") == 1:
        host, _, port = server.partition(":")
    try:
        port = int(port or _PORT)
    except ValueError:
        raise ValueError("%s is no port number" % port)
    if not host or not 0 < port < 65536:
        raise ValueError("that is no host and port")
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)
    except OSError:
        found = None
    if not found:
        raise ValueError("host name not found")
    # The ESP32 port gives no address of IPv6, and its connect() takes the host as it is.
    return [(kind[:3], kind[-1] or (host, port)) for kind in found]


async def _ask(address, turn):
    """Ask once; return (Unix seconds, None), or (None, why there are none), or (0, why not to ask again)."""
    question = bytearray(_SIZE)
    question[0] = _QUESTION
    question[40:] = os.urandom(8)  # a time to the server, which sends it back; ours is nobody's business
    why = "no answer"
    sock = socket.socket(*address[0])
    try:
        sock.setblocking(False)
        sock.connect(address[1])  # so that it takes datagrams from there only
        sock.send(question)
        for _ in range(_TURNS):
            await asyncio.sleep_ms(turn)
            try:
                answer = sock.recv(_SIZE)
            except OSError as error:
                if error.errno == EAGAIN:
                    continue
                raise
            why = _mismatch(answer, question)
            if not why:
                return _read(answer)
        return None, why
    finally:
        sock.close()


def _mismatch(answer, question):
    """Return why this is no answer to the question, or None. Anybody may have sent it, so the wait for one goes on."""
    if len(answer) < _SIZE:
        return "answer too short"
    if answer[0] & 7 != _ANSWERS:
        return "answer of mode %d, not of a server" % (answer[0] & 7)
    if answer[24:32] != question[40:]:
        return "answer to another question"
    return None


def _read(answer):
    """Return as _ask() what the server's answer says."""
    leap, stratum = answer[0] >> 6, answer[1]
    if stratum == 0:  # a kiss-o'-death
        code = "".join(chr(c) if 32 < c < 127 else "?" for c in answer[12:16])
        return 0, "it refuses, its reason is %s (RATE: too many questions; DENY, RSTR: not for us)" % code
    if leap == _UNSYNCHRONISED or stratum > 15:
        return None, "it has no time itself (leap %d, stratum %d)" % (leap, stratum)
    seconds = int.from_bytes(answer[40:44], "big")
    if not seconds and not int.from_bytes(answer[44:48], "big"):
        return None, "it sends no time"
    if not answer[40] & 0x80:
        seconds += _ERA
    return seconds - _FROM_1900_TO_1970 + (answer[44] >> 7), None  # rounded


def _text(seconds):
    epoch = _FROM_1970_TO_2000 if time.gmtime(0)[0] == 2000 else 0
    return "%04d-%02d-%02dT%02d:%02d:%02dZ" % time.gmtime(seconds - epoch)[:6]
