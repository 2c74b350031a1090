"""The Wi-Fi station: keeps the charger in its network. How it gets in is joining.py, which is loaded for that only."""

import asyncio

import network
from micropython import const

_TURN = const(1000)  # ms between two looks at a connection


class Wifi:
    """The station in the network `ssid`; no `key`: an open one. station: network.WLAN.

    hostname: any text, of which a name for the network is made. forget(module name) is called when a module has done
    its part.
    """

    def __init__(self, ssid, key, log, hostname="", forget=lambda name: None):
        self.ssid = ssid
        self.key = key
        self.log = log
        self.hostname = hostname
        self.forget = forget
        self.stale = False  # the connection is not to be trusted
        self.station = network.WLAN(network.STA_IF)

    async def connected(self):
        """Wait until there is a network."""
        while self.stale or not self.station.isconnected():
            await asyncio.sleep_ms(200)

    def renew(self):
        """Leave the network and connect anew: the driver takes the link for good, but nothing comes over it."""
        self.stale = True

    async def run(self):
        """Connect, and connect again whenever the link is lost, for ever."""
        seconds = None
        while True:
            try:
                await self._join(seconds)
            except MemoryError:  # others will need less in a moment
                await asyncio.sleep_ms(_TURN)
                continue
            seconds = 0
            while self.station.isconnected() and not self.stale:
                await asyncio.sleep_ms(_TURN)
                seconds += 1

    def _join(self, seconds):
        from . import joining

        self.forget("hw.joining")  # what runs of it stays until it has ended
        return joining.join(self, seconds)
