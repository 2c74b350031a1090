"""The configuration keys (OCPP 1.6, 9): their types and limits, and the record of what the central system changed.

It is needed to read and to change them; Configuration has the values.
"""

import json
from binascii import hexlify, unhexlify

from micropython import const

from .rpc import CallError

_RECORD = "configuration"
_READ_ONLY = const(1)
_WRITE_ONLY = const(2)
_ONLY_ON = const(3)  # can be switched on; off again only by config.json

_MEASURANDS = (
    "Current.Import",
    "Current.Offered",
    "Energy.Active.Import.Interval",
    "Energy.Active.Import.Register",
    "Power.Active.Import",
    "Power.Offered",
    "Voltage",
)
_ROTATIONS = ("NotApplicable", "RST", "RTS", "SRT", "STR", "TRS", "TSR", "Unknown")

# key: (default, lowest, highest, access). Lowest and highest are lengths where the default is text or bytes; bytes
# travel as hex. A tuple in place of lowest has the values of a text that has only a few; a text that is a list of them,
# with commas in between, has how many it takes in place of highest. Only keys that have an effect are here, and those
# that the standard requires; all take effect at once. Vendor keys: TrialDeadline, seconds that a new firmware has to be
# accepted by the central system; FirmwareDownloadTimeout, seconds without a byte, or half the time that 16 KiB may
# take, which ends a download attempt; RequireSignedFirmware; UpdateProgressDataTransfer; UpdateWhileCharging, what an
# update does to a transaction.
KEYS = {  # type: dict
    "AllowOfflineTxForUnknownId": (False, 0, 1, 0),
    "AuthorizationCacheEnabled": (True, 0, 1, 0),
    "AuthorizationKey": (b"", 16, 20, _WRITE_ONLY),
    "AuthorizeRemoteTxRequests": (False, 0, 1, 0),
    "ChargeProfileMaxStackLevel": (8, 8, 8, _READ_ONLY),
    "ChargingScheduleAllowedChargingRateUnit": ("Current,Power", 0, 500, _READ_ONLY),
    "ChargingScheduleMaxPeriods": (24, 24, 24, _READ_ONLY),
    "ClockAlignedDataInterval": (0, 0, 86400, 0),
    "ConnectionTimeOut": (60, 1, 86400, 0),
    "ConnectorPhaseRotation": ("0.Unknown", _ROTATIONS, 10, 0),
    "FirmwareDownloadTimeout": (60, 5, 3600, 0),
    "GetConfigurationMaxKeys": (60, 60, 60, _READ_ONLY),
    "HeartbeatInterval": (14400, 1, 86400, 0),
    "LocalAuthListEnabled": (True, 0, 1, 0),
    "LocalAuthListMaxLength": (200, 200, 200, _READ_ONLY),
    "LocalAuthorizeOffline": (True, 0, 1, 0),
    "LocalPreAuthorize": (False, 0, 1, 0),
    "MaxChargingProfilesInstalled": (10, 10, 10, _READ_ONLY),
    "MaxEnergyOnInvalidId": (0, 0, 1000000, 0),
    "MeterValueSampleInterval": (60, 0, 86400, 0),
    "MeterValuesAlignedData": ("Energy.Active.Import.Register,Power.Active.Import", _MEASURANDS, 7, 0),
    "MeterValuesAlignedDataMaxLength": (7, 7, 7, _READ_ONLY),
    "MeterValuesSampledData": ("Energy.Active.Import.Register,Power.Active.Import", _MEASURANDS, 7, 0),
    "MeterValuesSampledDataMaxLength": (7, 7, 7, _READ_ONLY),
    "MinimumStatusDuration": (0, 0, 3600, 0),
    "NumberOfConnectors": (1, 1, 9, _READ_ONLY),
    "RequireSignedFirmware": (False, 0, 1, _ONLY_ON),
    "ReserveConnectorZeroSupported": (True, 0, 1, _READ_ONLY),
    "ResetRetries": (3, 0, 100, 0),
    "SendLocalListMaxLength": (20, 20, 20, _READ_ONLY),
    "StopTransactionOnEVSideDisconnect": (True, 0, 1, 0),
    "StopTransactionOnInvalidId": (True, 0, 1, 0),
    "StopTxnAlignedData": ("", _MEASURANDS, 7, 0),
    "StopTxnAlignedDataMaxLength": (7, 7, 7, _READ_ONLY),
    "StopTxnSampledData": ("", _MEASURANDS, 7, 0),
    "StopTxnSampledDataMaxLength": (7, 7, 7, _READ_ONLY),
    "SupportedFeatureProfiles": (
        "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger",
        0,
        500,
        _READ_ONLY,
    ),
    "SupportedFileTransferProtocols": ("FTP,HTTP,HTTPS", 0, 500, _READ_ONLY),
    "TransactionMessageAttempts": (3, 1, 100, 0),
    "TransactionMessageRetryInterval": (60, 0, 86400, 0),
    "TrialDeadline": (600, 10, 86400, 0),
    "UnlockConnectorOnEVSideDisconnect": (True, 0, 1, 0),
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
            texts = overrides if what == "configured" else _stored(store)
            if not isinstance(texts, dict):
                raise ValueError("no JSON object")
            for key, text in texts.items():
                _apply(values, key, str(text), fixed, log)
        except (ValueError, OSError) as error:
            log("the %s OCPP keys are unusable, they count as not there: %s" % (what, error))
    return values


def _apply(values, key, text, fixed, log):
    try:
        value = _parse(key, text)
        if key not in fixed:
            values[key] = value
        if KEYS[key][3] == _ONLY_ON:
            fixed.append(key)
    except (KeyError, ValueError):
        log("ignored the configured value of %s" % key)


def change(store, key, before, text, log):
    """Change a key, durably. before: its value. Return (status of ChangeConfiguration.conf, its value now)."""
    if key not in KEYS:
        return "NotSupported", None
    try:
        if KEYS[key][3] == _READ_ONLY:
            raise ValueError("it is read-only")
        value = _parse(key, text)
        if value != before:
            if KEYS[key][3] == _ONLY_ON and not value:
                raise ValueError("only config.json can switch it off")
            _record(store, key, hexlify(value).decode() if isinstance(value, bytes) else str(value))
    except (ValueError, OSError) as error:
        log("%s not changed: %s" % (key, error))
        return "Rejected", before
    return "Accepted", value


def _stored(store):
    return json.loads(store.get(_RECORD) or b"{}")


def _record(store, key, text):
    try:
        texts = _stored(store)
    except ValueError:
        texts = None
    texts = {known: texts[known] for known in texts if known in KEYS} if isinstance(texts, dict) else {}
    texts[key] = text
    store.set(_RECORD, json.dumps(texts).encode())


def answer(charge_point, payload):
    """Return the payload of GetConfiguration.conf (5.8); an empty list of keys asks for all, too, as SteVe's does."""
    configuration = charge_point.configuration
    asked = payload.get("key") or sorted(KEYS)
    if len(asked) > configuration.get("GetConfigurationMaxKeys"):
        raise CallError("OccurenceConstraintViolation", "more keys than GetConfigurationMaxKeys")
    items = [_item(configuration, key) for key in asked if key in KEYS]
    return {"configurationKey": items, "unknownKey": [key for key in asked if key not in KEYS]}


def _item(configuration, key):
    """Return the KeyValue (7.29) of a key."""
    access = KEYS[key][3]
    entry = {"key": key, "readonly": access == _READ_ONLY}
    if access != _WRITE_ONLY:
        value = configuration.get(key)
        entry["value"] = str(value).lower() if isinstance(value, bool) else str(value)
    return entry


def _parse(key, text):
    """Return the value that a text means; ValueError if the key can't have it, KeyError if there is no such key."""
    default, lowest, highest, _ = KEYS[key]
    if isinstance(lowest, tuple) and highest:
        return _parse_list(text, lowest, highest)
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


def _parse_list(text, values, most):
    items = [item.strip() for item in text.split(",")] if text.strip() else []
    for item in items:
        if values is _ROTATIONS and item[:1].isdigit() and item[1:2] == ".":
            name = item[2:]  # "1.RST" is for connector 1
        else:
            name = item
        if name not in values or items.count(item) > 1 or len(items) > most:
            raise ValueError("it takes up to %d of these, once each: %s" % (most, ", ".join(values)))
    return ",".join(items)
