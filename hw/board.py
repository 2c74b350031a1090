"""The parts of this charger, built from config.json."""

import json

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
    return config


def build(config, log):
    """Return the parts of the charger that config.json describes: (clock, store, slots, wifi, dialer)."""
    network = config.pop("wifi")
    wifi = Wifi(network.get("ssid"), network.get("key"), log)
    return Clock(), Store("arus"), Slots(), wifi, Dialer(_certificate(config))


def _certificate(config):
    name = config.get("ca")
    if not name:
        return None
    try:
        with open("/" + name, "rb") as file:
            return file.read()
    except OSError:
        raise ConfigError("there is no certificate file /%s" % name)
