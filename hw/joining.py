"""Getting into the Wi-Fi network, however long that takes. Needed for moments only; wifi.py is what lasts.

The driver's own reconnecting is off: it would try without a pause and, as long as it does, tell "connecting" instead of
why it fails. So every attempt begins and ends here.
"""

import asyncio
import time

import network
from micropython import const

_IDLE = const(1000)  # network.STAT_IDLE, also during an attempt after a disconnect()
_CONNECTING = const(1001)
_STEP = const(100)  # ms
_STEPS = const(150)  # of an attempt: with a slow access point and DHCP server it takes 10 s
_PAUSE = const(1000)  # ms after the first failed attempt; doubles
_DOUBLINGS = const(4)  # up to 16 s; with an attempt that is far less than a minute
_RESTART = const(8)  # failures until the radio is switched off and on, in case it is what hangs
_LONGEST_NAME = const(32)

# Reasons of the driver (wifi_err_reason_t of ESP-IDF).
_NO_NETWORK = const(201)
_WRONG_KEY = (202, 204, 15)  # refused, or the handshake that proves the key timed out on either side
_UNFIT = 'its security does not fit: with a "key" in /config.json it has to be WPA2 or WPA3, without one open'
_WORDS = {
    5: "it is full",
    200: "its signal is lost, or too weak",
    203: "it does not take this charger: is it full, or only for certain MAC addresses?",
    210: _UNFIT,
    211: _UNFIT,
    _IDLE: "no answer in time",
    _CONNECTING: "no answer in time",
}


async def join(wifi, seconds=None):
    """Connect a Wifi, however often that fails. seconds: how long the last connection lasted, None: this is the first.

    The first failure is not told: an access point that was missed once is there the next time. Later ones are told more
    and more rarely, so that a day without fills no log.
    """
    log, ssid = wifi.log, wifi.ssid
    since = int(time.time())
    if seconds is not None:
        log("Connection to %s %s after %d s" % (ssid, "given up" if wifi.stale else "lost", seconds))
    log("Connecting to %s" % ssid)
    failures = 0
    while True:
        try:
            if failures % _RESTART == 0 and (failures or seconds is None):
                _start(wifi.station, wifi.hostname, failures)
            signal, why = await _attempt(wifi.station, ssid, wifi.key)
            if not why:
                break
        except (OSError, RuntimeError) as error:
            why = "No connection to %s: %s" % (ssid, error)
        failures += 1
        if failures > 1 and not failures & failures - 1:
            log(why)
        try:
            wifi.station.disconnect()  # else a driver that still tries refuses the next attempt
        except (OSError, RuntimeError):
            pass
        await asyncio.sleep_ms(_PAUSE << min(failures - 1, _DOUBLINGS))
    wifi.stale = False
    text = "Connected, address %s, signal %d dBm" % (wifi.station.ifconfig()[0], signal)
    log(text if seconds is None else "%s, after %d s without" % (text, int(time.time()) - since))


def _start(station, hostname, failures):
    """Switch the radio on, after failures off before."""
    if failures:
        station.active(False)
    network.hostname(fit(hostname))  # the DHCP client sends the name, so it comes first
    station.active(True)
    station.config(reconnects=0)
    quick = getattr(network.WLAN, "PM_NONE", None)
    if quick is not None:
        station.config(pm=quick)  # a radio that sleeps between two beacons takes 100 ms and more to answer


async def _attempt(station, ssid, key):
    """Connect once; return (signal in dBm, None) or (None, why not). OSError, RuntimeError: the driver refuses."""
    if station.isconnected():  # by what ran before a soft reset, or to no good
        station.disconnect()
        await asyncio.sleep_ms(5 * _STEP)
    # The driver forgets most reasons only when it has an address: one that is there now tells nothing of this attempt.
    before = station.status()
    status = _CONNECTING
    station.connect(ssid, key or None)
    for _ in range(_STEPS):
        await asyncio.sleep_ms(_STEP)
        if station.isconnected():
            return station.status("rssi"), None
        status = station.status()
        if status == _CONNECTING:
            before = status
        elif status != before:
            break
    else:
        try:
            station.status("rssi")
            return None, "No connection to %s: it gives no address, check its DHCP server (status %d)" % (ssid, status)
        except OSError:
            pass  # not even associated
    if status == _NO_NETWORK:
        return None, "No network %s in reach: check its name and the distance (ESP32 has 2.4 GHz only)" % ssid
    if status in _WRONG_KEY:
        return None, '%s refuses the key: check "key" in /config.json' % ssid
    why = _WORDS.get(status, "the driver gives no reason but this")
    return None, "No connection to %s: %s (status %d)" % (ssid, why, status)


def fit(name):
    """Make a host name of a text: letters, digits and "-" in between, 32 at most (RFC 1123, 2.1)."""
    name = "".join(c if "0" <= c <= "9" or "A" <= c <= "Z" or "a" <= c <= "z" else "-" for c in name)
    return name.strip("-")[:_LONGEST_NAME].rstrip("-") or "charger"
