"""Updates pushed over the LAN by tools/push.py, for development: runs only if config.json has "development".

This stays in memory. What a peer says is looked into by push_peer.py, and what it is told is put by push_line.py; both
are there for moments only.

A push is what UpdateFirmware is: the same updater fetches the file, with the same checks, trial and way back.
"""

import asyncio
import sys
from asyncio import core  # type: ignore[attr-defined]

from micropython import const

_PAUSE = const(1)  # seconds, after what should not happen


class Push:
    """What is known between one peer and the next; push_peer.start() lists its attributes."""

    def __init__(self, parts):
        self.parts = parts
        self.wake = parts.journal.changed

    def meet(self, sock, address):
        """Turn a peer away, or have it prove that it has the key: one at a time."""
        try:
            if self.guest:
                sock.setblocking(False)
                sock.write(b'{"error": "busy"}\n')
            else:
                self.guest = asyncio.create_task(late(self.parts, "firmware.push_peer").meet(self, sock, address))
                sock = None
        finally:
            if sock:
                sock.close()

    async def follow(self, connection):
        """Keep a peer until it goes, another one comes, or its time is up."""
        try:
            await connection.readinto(bytearray(1))  # it has no more to say: that is its end
        except OSError:
            pass
        connection.close()
        if self.peer is connection:
            self.peer = None

    def changed(self):
        """The journal has one more status: tell it."""
        self.wake()
        if self.peer:
            try:
                late(self.parts, "firmware.push_line").tell(self)
            except Exception:  # an update must not fail for that; the peer comes again and asks
                self.peer.close()


async def serve(parts, wrap, config, version, log):
    """Take pushes, for ever. Return only if config.json or the network don't let it; the log tells why.

    parts: of Updater, and updater. wrap(socket, name, timeout in ms) gives hw/connection.py's Connection. config: of
    config.json, with id and development. version: of this firmware.
    """
    push = late(parts, "firmware.push_peer").start(Push(parts), wrap, config, version, log)
    if not push:
        return
    try:
        while True:
            try:
                await readable(push.listener)
                push.meet(*push.listener.accept())
            except Exception as error:  # no peer, and no want of memory for one, may end the charger
                log("No peer taken: %r" % error)
                await asyncio.sleep(_PAUSE)
    finally:
        push.listener.close()


def late(parts, name):
    """Return a module that is to be forgotten after use."""
    __import__(name)
    module = sys.modules[name]
    parts.forget(name)
    return module


def readable(sock):
    """Wait until a socket can be read from."""
    yield core._io_queue.queue_read(sock)
