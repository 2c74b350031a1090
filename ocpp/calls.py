"""Answering a call of the central system: which module does it, and whether the payload is what the standard says.

A profile's module has HANDLERS, {action: (fields, function)}: fields as check() takes them; function(charge_point,
payload) returns the answer, or (answer, what to do once it was sent), or raises CallError. It is imported for a call
that needs it and not before, since most calls come once in a long while and heap is the scarcest thing a charger has.
"""

from .rpc import CallError

_PROFILES = {
    "ChangeConfiguration": "core",
    "GetConfiguration": "core",
    "GetDiagnostics": "firmware_management",
    "RemoteStartTransaction": "transactions",
    "RemoteStopTransaction": "transactions",
    "Reset": "core",
    "TriggerMessage": "remote_trigger",
    "UpdateFirmware": "firmware_management",
}
# Calls of OCPP 1.6 and of its security extension that a charge point may get, whether it has handlers for them or not.
_STANDARD = (
    "CancelReservation CertificateSigned ChangeAvailability ClearCache ClearChargingProfile DataTransfer "
    "DeleteCertificate ExtendedTriggerMessage GetCompositeSchedule GetInstalledCertificateIds GetLocalListVersion "
    "GetLog InstallCertificate ReserveNow SendLocalList SetChargingProfile SignedUpdateFirmware UnlockConnector"
)


def answer(charge_point, action, payload):
    """Return (answer, function to be called when it was sent, or None), or raise CallError."""
    profile = _PROFILES.get(action)
    if not profile:
        known = action in _STANDARD.split()
        raise CallError("NotSupported" if known else "NotImplemented", "no handler for %r" % action[:50])
    fields, function = getattr(__import__("ocpp." + profile), profile).HANDLERS[action]
    check(payload, fields)
    result = function(charge_point, payload)
    return result if isinstance(result, tuple) else (result, None)


def check(payload, fields):
    """Raise the CallError due for a payload that doesn't match.

    fields: {name: (type, limit, required)}. The limit is for str the greatest length or the allowed values, for int the
    greatest value (the lowest is 0), for list (type, limit) of its items; None: any.
    """
    for name, (kind, limit, required) in fields.items():
        if name in payload:
            _check_value(name, payload[name], kind, limit)
        elif required:
            raise CallError("OccurenceConstraintViolation", name + " is missing")  # spelled so in the standard
    for name in payload:
        if name not in fields:
            raise CallError("FormationViolation", "no such field: %r" % str(name)[:50])


def _check_value(name, value, kind, limit):
    if type(value) is not kind:
        raise CallError("TypeConstraintViolation", name + " has the wrong type")
    if limit is None:
        return
    if kind is list:
        for item in value:
            _check_value(name, item, *limit)
        return
    if isinstance(limit, tuple):
        fits = value in limit
    else:
        fits = 0 <= (len(value) if kind is str else value) <= limit
    if not fits:
        raise CallError("PropertyConstraintViolation", name + " is out of bounds")
