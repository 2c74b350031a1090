"""The configuration keys (OCPP 1.6, 9): their types and limits, and what the central system made of them."""

import json
from binascii import hexlify, unhexlify

from micropython import const

_RECORD = "configuration"
_READ_ONLY = const(1)
_WRITE_ONLY = const(2)

# key: (default, lowest, highest, access). Lowest and highest are lengths where the default is text or bytes; bytes
# travel as hex. Only keys that have an effect are here. Vendor keys: TrialDeadline, seconds that a new firmware has to
# be accepted by the central system; FirmwareDownloadTimeout, seconds without a byte that end a download attempt.
KEYS = {
    "AuthorizationKey": (b"", 16, 20, _WRITE_ONLY),
    "FirmwareDownloadTimeout": (60, 5, 3600, 0),
    "GetConfigurationMaxKeys": (50, 50, 50, _READ_ONLY),
    "HeartbeatInterval": (14400, 1, 86400, 0),
    "NumberOfConnectors": (1, 1, 9, _READ_ONLY),
    "SupportedFeatureProfiles": ("Core,FirmwareManagement,RemoteTrigger", 0, 500, _READ_ONLY),
    "SupportedFileTransferProtocols": ("HTTP,HTTPS", 0, 500, _READ_ONLY),
    "TrialDeadline": (600, 10, 86400, 0),
    "WebSocketPingInterval": (60, 0, 86400, 0),
}


class Configuration:
    """The value of each key.

    store keeps what the central system changed (get, set); overrides: {key: value} that takes the place of defaults.
    """

    def __init__(self, store, overrides, log=print):
        self._store = store
        self._log = log
        self._listeners = []
        self._values = {}  # what differs from the defaults
        self._defaults = self._checked(overrides)
        try:
            self._values = self._checked(json.loads(store.get(_RECORD) or b"{}"))
        except (ValueError, OSError) as error:
            log("the stored configuration is unreadable, using defaults: %s" % error)

    def _checked(self, texts):
        if not isinstance(texts, dict):
            raise ValueError("no object")
        values = {}
        for key, text in texts.items():
            try:
                values[key] = _parse(key, str(text))
            except (KeyError, ValueError):
                self._log("ignored the configured value of %s" % key)
        return values

    def get(self, key):
        """Return an int, a str, or bytes (AuthorizationKey: the password; empty while none is set)."""
        return self._values.get(key, self._default(key))

    def _default(self, key):
        return self._defaults.get(key, KEYS[key][0])

    def item(self, key):
        """Return the KeyValue of GetConfiguration.conf (7.29) of a key, None if there is no such key."""
        if key not in KEYS:
            return None
        access = KEYS[key][3]
        item = {"key": key, "readonly": access == _READ_ONLY}
        if access != _WRITE_ONLY:
            item["value"] = str(self.get(key))
        return item

    def set(self, key, text):
        """Change a key, durably. Return the status of ChangeConfiguration.conf."""
        if key not in KEYS:
            return "NotSupported"
        try:
            if KEYS[key][3] == _READ_ONLY:
                raise ValueError("it is read-only")
            value = _parse(key, text)
            if value != self.get(key):
                self._change(key, value)
        except (ValueError, OSError) as error:
            self._log("%s not changed: %s" % (key, error))
            return "Rejected"
        return "Accepted"

    def _change(self, key, value):
        values = self._values.copy()
        values[key] = value
        if value == self._default(key):
            del values[key]
        texts = {
            key: hexlify(value).decode() if isinstance(value, bytes) else str(value) for key, value in values.items()
        }
        self._store.set(_RECORD, json.dumps(texts).encode())
        self._values = values
        for listened, function in self._listeners:
            if listened == key:
                function()

    def on_change(self, key, function):
        """Have function() called after each change of a key."""
        self._listeners.append((key, function))


def _parse(key, text):
    """Return the value that a text means; ValueError if the key can't have it, KeyError if there is no such key."""
    default, lowest, highest, _ = KEYS[key]
    if isinstance(default, int):
        # int() alone would take " 1_000 ".
        value = size = int(text) if text.isdigit() else -1
    else:
        value = unhexlify(text) if isinstance(default, bytes) else text
        size = len(value)
    if not lowest <= size <= highest:
        raise ValueError("it takes %d to %d" % (lowest, highest))
    return value
