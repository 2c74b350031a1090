"""The parts of this charger, built from config.json."""

import json
from binascii import a2b_base64

from .clock import Clock
from .connection import Dialer
from .slots import Slots
from .store import Store
from .wifi import Wifi


class ConfigError(Exception):
    """config.json is missing or wrong; the text says where and what to do."""


def load_config(path="/config.json"):
    """Return the charger's configuration as a dict; the README lists its fields."""
    try:
        with open(path) as file:
            config = json.load(file)
    except OSError:
        raise ConfigError("there is no %s: put one on the charger with mpremote" % path)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise ConfigError("%s is no valid JSON object" % path)
    for field in ("csms", "id", "vendor", "model", "wifi"):
        if not config.get(field):
            raise ConfigError('%s lacks "%s"' % (path, field))
        if not isinstance(config[field], dict if field == "wifi" else str):
            raise ConfigError('%s has a wrong "%s"' % (path, field))
    keys = config.setdefault("configuration", {})
    if config.get("firmware_key") and isinstance(keys, dict):
        keys.setdefault("RequireSignedFirmware", "true")  # whoever gives a charger a key means it
    return config


def pin(config, field, pull_up=False):
    """Return a pin of the charger as a whole, an input if it is pulled up, else an output; None without that field."""
    number = config.get(field)
    if number is None:
        return None
    from machine import Pin

    try:
        return Pin(number, Pin.IN, Pin.PULL_UP) if pull_up else Pin(number, Pin.OUT, value=0)
    except (TypeError, ValueError):
        raise ConfigError('/config.json: "%s" is %r, right is the number of a pin' % (field, number))


def is_stopped(config):
    """Whether somebody holds down the pin for maintenance."""
    button = pin(config, "maintenance", True)
    return button and not button.value()


def build(config, logger, forget):
    """Return the parts of the charger that config.json describes: (clock, store, slots, wifi, dialer, evse).

    evse is None without "connectors". logger(tag) gives a function that logs; forget(module names) drops modules that
    have done their part.
    """
    store, slots = Store("arus"), Slots(forget)
    evse = None
    if config.get("connectors"):
        from . import fitting  # for this only

        try:
            evse = fitting.build(config, slots.chip_id, store, logger("EVSE"))
        except ValueError as error:
            raise ConfigError("/config.json: %s" % error)
        del fitting
        forget("hw.fitting")
    for field in ("connectors", "reader", "emergency_stop"):
        config.pop(field, None)
    network = config.pop("wifi")
    wifi = Wifi(network.get("ssid"), network.get("key"), logger("WIFI"), config.get("hostname") or config["id"], forget)
    return Clock(), store, slots, wifi, Dialer(_certificate(config), forget), evse


def _certificate(config):
    name = config.get("ca")
    if not name:
        return None
    try:
        with open("/" + name, "rb") as file:
            return file.read()
    except OSError:
        raise ConfigError("there is no certificate file /%s" % name)


class Identity:
    """What a package has to be made for: product, hardware (a number) and key (DER SubjectPublicKeyInfo, or None)."""

    def __init__(self, config):
        self.product = config["model"]
        self.hardware = config.get("hardware", 0)
        self.key = None
        name = config.get("firmware_key")
        if name:
            with open("/" + name) as file:
                lines = file.read().split("\n")
            self.key = a2b_base64("".join(line for line in lines if line[:1] != "-"))
