"""The Wi-Fi station: connects, and connects again."""

import asyncio

import network
from micropython import const

_RETRY = const(20)  # seconds for the driver to connect before it is told again


class Wifi:
    """Keeps the charger in the network `ssid`."""

    def __init__(self, ssid, key, log):
        self._ssid = ssid
        self._key = key
        self._log = log
        self.station = network.WLAN(network.STA_IF)

    async def connected(self):
        """Wait until there is a network."""
        while not self.station.isconnected():
            await asyncio.sleep_ms(200)

    async def run(self):
        """Keep the station connected, for ever."""
        self.station.active(True)
        while True:
            if not self.station.isconnected():
                await self._connect()
            await asyncio.sleep(5)

    async def _connect(self):
        self._log("Connecting to %s" % self._ssid)
        try:
            self.station.connect(self._ssid, self._key)
            await asyncio.wait_for(self.connected(), _RETRY)
        except asyncio.TimeoutError:
            self._log("No connection to %s: check its name, key and signal" % self._ssid)
        except OSError as error:
            self._log("Wi-Fi: %s" % error)
        else:
            self._log("Connected, address %s" % self.station.ifconfig()[0])
            return
        self.station.disconnect()
