"""The configuration keys (OCPP 1.6, 9): their types and limits, and the record of what the central system changed.

It is needed to read and to change them; Configuration has the values.
"""

import json
from binascii import hexlify, unhexlify

from micropython import const

_RECORD = "configuration"
_READ_ONLY = const(1)
_WRITE_ONLY = const(2)
_ONLY_ON = const(3)  # can be switched on; off again only by config.json

# key: (default, lowest, highest, access). Lowest and highest are lengths where the default is text or bytes; bytes
# travel as hex. In place of lowest stand the values of a text that has only a few. Only keys that have an effect are
# here. Vendor keys: TrialDeadline, seconds that a new firmware has to be accepted by the central system;
# FirmwareDownloadTimeout, seconds without a byte, or half the time that 16 KiB may take, which ends a download attempt;
# RequireSignedFirmware; UpdateProgressDataTransfer; UpdateWhileCharging, what an update does to a transaction.
KEYS = {  # type: dict
    "AuthorizationKey": (b"", 16, 20, _WRITE_ONLY),
    "FirmwareDownloadTimeout": (60, 5, 3600, 0),
    "GetConfigurationMaxKeys": (50, 50, 50, _READ_ONLY),
    "HeartbeatInterval": (14400, 1, 86400, 0),
    "NumberOfConnectors": (1, 1, 9, _READ_ONLY),
    "RequireSignedFirmware": (False, 0, 1, _ONLY_ON),
    "SupportedFeatureProfiles": ("Core,FirmwareManagement,RemoteTrigger", 0, 500, _READ_ONLY),
    "SupportedFileTransferProtocols": ("FTP,HTTP,HTTPS", 0, 500, _READ_ONLY),
    "TrialDeadline": (600, 10, 86400, 0),
    "UpdateProgressDataTransfer": (False, 0, 1, 0),
    "UpdateWhileCharging": ("stop", ("stop", "wait", "download"), None, 0),
    "WebSocketPingInterval": (60, 0, 86400, 0),
}


def load(store, overrides, log):
    """Return {key: value} of all keys: what is stored, else the override, else the default."""
    values = {key: entry[0] for key, entry in KEYS.items()}
    fixed = []  # what config.json says of these has the last word
    for what in ("configured", "stored"):
        try:
            texts = overrides if what == "configured" else json.loads(store.get(_RECORD) or b"{}")
            _apply(values, texts, fixed, log)
        except (ValueError, OSError) as error:
            log("the %s OCPP keys are unusable, they count as not there: %s" % (what, error))
    return values


def _apply(values, texts, fixed, log):
    if not isinstance(texts, dict):
        raise ValueError("no JSON object")
    for key, text in texts.items():
        try:
            value = _parse(key, str(text))
            if key not in fixed:
                values[key] = value
            if KEYS[key][3] == _ONLY_ON:
                fixed.append(key)
        except (KeyError, ValueError):
            log("ignored the configured value of %s" % key)


def change(store, values, key, text, log):
    """Change a key in `values` and, durably, in the record. Return the status of ChangeConfiguration.conf."""
    if key not in KEYS:
        return "NotSupported"
    try:
        if KEYS[key][3] == _READ_ONLY:
            raise ValueError("it is read-only")
        value = _parse(key, text)
        if value != values[key]:
            if KEYS[key][3] == _ONLY_ON and not value:
                raise ValueError("only config.json can switch it off")
            _record(store, key, hexlify(value).decode() if isinstance(value, bytes) else str(value))
            values[key] = value
    except (ValueError, OSError) as error:
        log("%s not changed: %s" % (key, error))
        return "Rejected"
    return "Accepted"


def _record(store, key, text):
    try:
        texts = json.loads(store.get(_RECORD) or b"{}")
    except ValueError:
        texts = None
    texts = {known: texts[known] for known in texts if known in KEYS} if isinstance(texts, dict) else {}
    texts[key] = text
    store.set(_RECORD, json.dumps(texts).encode())


def item(configuration, key):
    """Return the KeyValue of GetConfiguration.conf (7.29) of a key."""
    access = KEYS[key][3]
    answer = {"key": key, "readonly": access == _READ_ONLY}
    if access != _WRITE_ONLY:
        value = configuration.get(key)
        answer["value"] = str(value).lower() if isinstance(value, bool) else str(value)
    return answer


def _parse(key, text):
    """Return the value that a text means; ValueError if the key can't have it, KeyError if there is no such key."""
    default, lowest, highest, _ = KEYS[key]
    if isinstance(default, bool) or isinstance(lowest, tuple):
        values = lowest or ("false", "true")
        text = text.lower()
        if text not in values:
            raise ValueError("it takes one of these: " + ", ".join(values))
        return text if lowest else text == "true"
    if isinstance(default, int):
        # int() alone would take " 1_000 ".
        value = size = int(text) if text.isdigit() else -1
    else:
        value = unhexlify(text) if isinstance(default, bytes) else text
        size = len(value)
    if not lowest <= size <= highest:
        raise ValueError("it takes %d to %d" % (lowest, highest))
    return value
