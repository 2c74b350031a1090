"""Answering a call of the central system: which module does it, and whether the payload is what the standard says.

A profile's module has HANDLERS, {action: (fields, function)}: fields as check() takes them; function(charge_point,
payload) returns the answer, or (answer, what to do once it was sent), or raises CallError. It is imported for a call
that needs it and not before, since most calls come once in a long while and heap is the scarcest thing a charger has.
In place of the function may stand the name of a module, whose function answer() does it while the profile's is gone.
"""

from .rpc import CallError

_PROFILES = {  # what does which actions
    "core": "ChangeAvailability ChangeConfiguration ClearCache DataTransfer GetConfiguration RemoteStartTransaction "
    "RemoteStopTransaction Reset UnlockConnector",
    "firmware_management": "GetDiagnostics UpdateFirmware",
    "local_auth_list": "GetLocalListVersion SendLocalList",
    "remote_trigger": "TriggerMessage",
    "reservation": "CancelReservation ReserveNow",
    "smart_charging": "ClearChargingProfile GetCompositeSchedule SetChargingProfile",
    # Calls of the security extension: known, but not done here.
    "": "CertificateSigned DeleteCertificate ExtendedTriggerMessage GetInstalledCertificateIds GetLog "
    "InstallCertificate SignedUpdateFirmware",
}


def answer(charge_point, action, payload):
    """Return (answer, function to be called when it was sent, or None), or raise CallError."""
    profile = None
    for name, actions in _PROFILES.items():
        if action in actions.split():
            profile = name
    if not profile:
        code = "NotImplemented" if profile is None else "NotSupported"
        raise CallError(code, "no handler for %r" % action[:50])
    fields, function = getattr(__import__("ocpp." + profile), profile).HANDLERS[action]
    check(payload, fields)
    if isinstance(function, str):
        del fields
        charge_point.forget()
        result = charge_point.call(function, "answer", payload)
    else:
        result = function(charge_point, payload)
    return result if isinstance(result, tuple) else (result, None)


def check(payload, fields):
    """Raise the CallError due for a payload that doesn't match.

    fields: {name: (type, limit, required)}. What the limit is depends on the type:
        str         the greatest length, a tuple of the allowed values, or "date-time"
        int, float  the greatest value (the lowest is 0), or (lowest, greatest); a float may be written as an int
        list        (type, limit, most) of its items and how many there may be
        dict        its fields, likewise
    or None: any.
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
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise CallError("TypeConstraintViolation", name + " has the wrong type")
    if kind is float and value - value != 0:
        raise CallError("TypeConstraintViolation", name + " is not finite")  # infinite, or no number at all
    if limit is None:
        return
    if kind is dict:
        check(value, limit)
    elif kind is list:
        kind, limit, most = limit
        if len(value) > most:
            raise CallError("OccurenceConstraintViolation", "%s has more than %d items" % (name, most))
        for item in value:
            _check_value(name, item, kind, limit)
    elif not _fits(value, kind, limit):
        raise CallError("PropertyConstraintViolation", name + " is out of bounds")


def _fits(value, kind, limit):
    if kind is not str:
        lowest, greatest = limit if isinstance(limit, tuple) else (0, limit)
        return lowest <= value <= greatest
    if limit == "date-time":
        from .timestamps import parse_time

        try:
            parse_time(value)
        except ValueError:
            return False
        return True
    return value in limit if isinstance(limit, tuple) else len(value) <= limit
