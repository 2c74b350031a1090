"""The calls of the FirmwareManagement profile; its notifications are in firmware_status.py and diagnostics.py."""

from .rpc import CallError
from .timestamps import parse_time

# As SteVe encodes every string. The ampersand comes last, so that nothing is decoded twice.
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&#34;", '"'), ("&#39;", "'"), ("&amp;", "&"))


def _request(payload):
    """Return (location, retries, retryInterval) of a request."""
    location = payload["location"]
    for entity, character in _ENTITIES:
        location = location.replace(entity, character)
    return location, payload.get("retries"), payload.get("retryInterval")


def _date(payload, field):
    try:
        return parse_time(payload[field])
    except ValueError as error:
        raise CallError("PropertyConstraintViolation", "%s: %s" % (field, error))


def _update_firmware(charge_point, payload):
    location, retries, interval = _request(payload)
    charge_point.updater.request(location, _date(payload, "retrieveDate"), retries, interval)
    return {}


def _get_diagnostics(charge_point, payload):
    from . import diagnostics  # most chargers are never asked for any

    for field in ("startTime", "stopTime"):  # the log is so short that all of it is sent
        if field in payload:
            _date(payload, field)
    name, start = diagnostics.of(charge_point).request(*_request(payload))
    return {"fileName": name} if name else {}, start


HANDLERS = {
    "GetDiagnostics": (
        {
            "location": (str, 2048, True),
            "retries": (int, 1000, False),
            "retryInterval": (int, 86400, False),
            "startTime": (str, 40, False),
            "stopTime": (str, 40, False),
        },
        _get_diagnostics,
    ),
    "UpdateFirmware": (
        {
            "location": (str, 2048, True),
            "retrieveDate": (str, 40, True),
            "retries": (int, 1000, False),
            "retryInterval": (int, 86400, False),
        },
        _update_firmware,
    ),
}
