"""network: the Wi-Fi station. It connects, after a moment, when the access point is in the air and the key is right.

Sockets are the desk's own, whatever the station's state: on the chip, too, they only time out when the link dies, or
end when the address is lost.
"""

import time

from soc import libc, state
from state import (
    ASSOCIATED,
    CAUSE,
    DHCP_NAME,
    HOSTNAME,
    KEY,
    LINK,
    REFUSAL,
    SETTINGS,
    SSID,
    UNIQUE_ID,
)

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_BEACON_TIMEOUT = 200
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_ASSOC_FAIL = STAT_CONNECT_FAIL = 203
STAT_HANDSHAKE_TIMEOUT = 204

_LEFT = 8  # the reason after disconnect()
_CONNECTION_FAIL = 205
_TOLD = 201, 202, 210, 211, 212  # reasons that status() tells while the driver goes on trying
_SOFT_RESET = 5
_SIGNAL = -55  # dBm
_DESCRIPTORS = 64  # more than the chip has sockets and the simulator files
_MOMENT = 300  # ms to associate and to get an address


def hostname(name=None):
    """Return or set the host name, which the DHCP server is told by the next connect()."""
    if name is None:
        return _text(HOSTNAME)
    if len(name) > 32:
        raise ValueError
    state.set(HOSTNAME, name.encode())


class WLAN:
    """The station; all objects are one and the same, as on the chip."""

    IF_STA = STA_IF
    IF_AP = AP_IF
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2
    _active = _connected = state.get(CAUSE) == _SOFT_RESET and state.get(ASSOCIATED) == 1
    _wanted = "", ""  # what connect() was given
    _requested = _connected  # connect() came later than disconnect()
    _trying = False
    _since = 0  # when the attempt began
    _failures = 0
    _reason = 0  # why it failed or why the connection ended; 0 again with an address
    _settings = {"reconnects": -1, "pm": PM_PERFORMANCE}

    def __init__(self, interface=STA_IF):
        if interface != STA_IF:
            raise ValueError("the simulated chip has a station only")

    def active(self, is_active=None):
        """Return or set whether the radio is on."""
        if is_active is not None:
            WLAN._active = bool(is_active)
            WLAN._failures = 0
            if not is_active:
                self._leave()
        return WLAN._active

    def connect(self, ssid=None, key=None):
        """Connect; again and again until it succeeds and when the link is lost, as far as "reconnects" permits."""
        _check_started()
        self._look()
        if WLAN._trying:
            raise OSError("Wifi Internal State Error")  # the driver takes no new settings meanwhile
        if ssid is not None:
            WLAN._wanted = ssid, key or ""
        state.set(DHCP_NAME, state.get(HOSTNAME))
        if not WLAN._connected:
            WLAN._failures = 0
            self._try()
        WLAN._requested = True

    def disconnect(self):
        """Leave the network."""
        _check_started()
        WLAN._requested = False
        self._leave()

    def isconnected(self):
        """Return whether the station has an address."""
        self._look()
        return WLAN._connected

    def status(self, param=None):
        """Return STAT_* or another reason of the driver's, or with "rssi" the signal strength in dBm."""
        self._look()
        if param == "rssi":
            if not WLAN._connected:
                raise OSError("Wifi Not Connected")
            return _SIGNAL
        if param is not None:
            raise ValueError("unknown status param")
        reason = WLAN._reason
        if WLAN._connected:
            return STAT_GOT_IP
        if reason in _TOLD:
            return reason
        if reason == _CONNECTION_FAIL:
            return STAT_WRONG_PASSWORD
        if reason == _LEFT:
            return STAT_IDLE
        if WLAN._requested and (self._settings["reconnects"] < 0 or WLAN._failures <= self._settings["reconnects"]):
            return STAT_CONNECTING
        return reason or STAT_IDLE

    def ifconfig(self):
        """Return (address, mask, gateway, name server)."""
        if self.isconnected():
            return "127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1"
        return ("0.0.0.0",) * 4

    def scan(self):
        """Return [(ssid, bssid, channel, dBm, security, hidden)] of what is in the air."""
        _check_started()
        return [(_text(SSID).encode(), b"\x02\0\0\0\0\1", 6, _SIGNAL, 3, False)] if state.get(LINK) == 1 else []

    def config(self, *param, **settings):
        """Return a setting, or change some."""
        if not settings:
            if param == ("mac",):
                return state.get(UNIQUE_ID)
            if param == ("ssid",):
                return WLAN._wanted[0]
            if param == ("hostname",):
                return hostname()
            if param[0] not in WLAN._settings:
                raise ValueError("unknown config param")
            return WLAN._settings[param[0]]
        for name, value in settings.items():
            if name in ("ssid", "key", "hidden", "security", "max_clients"):
                raise OSError("AP required")
            if name == "hostname":
                hostname(value)
            elif name not in ("channel", "mac", "pm", "protocol", "reconnects", "txpower"):
                raise ValueError("unknown config param")
            WLAN._settings[name] = value
        state.set(SETTINGS, repr(WLAN._settings).encode())

    def _try(self):
        WLAN._trying = True
        WLAN._since = time.ticks_ms()

    def _look(self):
        """Bring the state to what it is by now."""
        link = state.get(LINK)
        if WLAN._connected and link != 1:
            if link == 2:
                _end_connections()
            self._set(False)
            self._fail(STAT_BEACON_TIMEOUT)
        elif WLAN._trying and time.ticks_diff(time.ticks_ms(), WLAN._since) >= _MOMENT:
            reason = state.get(REFUSAL)
            if link != 1 or WLAN._wanted[0] != _text(SSID):
                reason = STAT_NO_AP_FOUND
            elif WLAN._wanted[1] != _text(KEY):
                reason = reason or STAT_WRONG_PASSWORD
            if reason:
                self._fail(reason)
            else:
                self._set(True)

    def _fail(self, reason):
        WLAN._reason = reason
        WLAN._failures += 1
        WLAN._trying = False
        if WLAN._requested and not 0 <= self._settings["reconnects"] < WLAN._failures:
            self._try()

    def _set(self, is_connected):
        WLAN._connected = is_connected
        WLAN._trying = False
        if is_connected:
            WLAN._reason = 0
        state.set(ASSOCIATED, is_connected + 0)

    def _leave(self):
        if WLAN._connected or WLAN._trying:
            self._set(False)
            WLAN._reason = _LEFT


def _check_started():
    if not WLAN._active:
        raise OSError("Wifi Not Started")


def _end_connections():
    shutdown = libc.func("i", "shutdown", "ii")
    for descriptor in range(3, _DESCRIPTORS):
        shutdown(descriptor, 2)  # most are no sockets, and it says so


def _text(field):
    return state.get(field).rstrip(b"\0").decode()
