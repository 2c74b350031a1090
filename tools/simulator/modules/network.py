"""network: the Wi-Fi station. It connects, after a moment, when the access point is in the air and the key is right.

Sockets are the desk's own, whatever the station's state: on the chip, too, they only time out when the link dies, or
end when the address is lost.
"""

import time

from soc import libc, state
from state import KEY, LINK, SSID, UNIQUE_ID

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202

_DESCRIPTORS = 64  # more than the chip has sockets and the simulator files
_MOMENT = 300  # ms to associate and to get an address

_name = "mpy-esp32"


def hostname(name=None):
    """Return or set the host name."""
    global _name
    if name is not None:
        _name = name
    return _name


class WLAN:
    """The station; all objects are one and the same, as on the chip."""

    IF_STA = STA_IF
    IF_AP = AP_IF
    _active = False
    _wanted = None  # what connect() was given
    _since = 0  # when

    def __init__(self, interface=STA_IF):
        if interface != STA_IF:
            raise ValueError("the simulated chip has a station only")

    def active(self, is_active=None):
        """Return or set whether the radio is on."""
        if is_active is not None:
            WLAN._active = bool(is_active)
            if not is_active:
                WLAN._wanted = None
        return WLAN._active

    def connect(self, ssid=None, key=None):
        """Connect, and connect again whenever the link is lost."""
        if not WLAN._active:
            raise OSError("Wifi Not Started")
        WLAN._wanted = ssid or "", key or ""
        WLAN._since = time.ticks_ms()

    def disconnect(self):
        """Leave the network."""
        if not WLAN._active:
            raise OSError("Wifi Not Started")
        WLAN._wanted = None

    def isconnected(self):
        """Return whether the station has an address."""
        return self.status() == STAT_GOT_IP

    def status(self, param=None):
        """Return one of STAT_*, or with "rssi" the signal strength in dBm."""
        if param == "rssi":
            return -55
        if param is not None:
            raise ValueError("unknown status param")
        if not WLAN._wanted:
            return STAT_IDLE
        if time.ticks_diff(time.ticks_ms(), WLAN._since) < _MOMENT:
            return STAT_CONNECTING
        link = state.get(LINK)
        if link == 2:
            _end_connections()
        if link != 1 or WLAN._wanted[0] != _text(SSID):
            return STAT_NO_AP_FOUND
        if WLAN._wanted[1] != _text(KEY):
            return STAT_WRONG_PASSWORD
        return STAT_GOT_IP

    def ifconfig(self):
        """Return (address, mask, gateway, name server)."""
        if self.isconnected():
            return "127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1"
        return ("0.0.0.0",) * 4

    def config(self, param=None, **settings):
        """Return "mac"; settings are taken and have no effect."""
        if param == "mac":
            return state.get(UNIQUE_ID)
        if param is not None:
            raise ValueError("unknown config param")
        return None


def _end_connections():
    shutdown = libc.func("i", "shutdown", "ii")
    for descriptor in range(3, _DESCRIPTORS):
        shutdown(descriptor, 2)  # most are no sockets, and it says so


def _text(field):
    return state.get(field).rstrip(b"\0").decode()
