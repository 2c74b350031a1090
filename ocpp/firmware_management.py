"""The FirmwareManagement profile, as far as it is here; FirmwareStatusNotification is in firmware_status.py."""

from .rpc import CallError
from .timestamps import parse_time

# As SteVe encodes every string. The ampersand comes last, so that nothing is decoded twice.
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&#34;", '"'), ("&#39;", "'"), ("&amp;", "&"))


def _update_firmware(charge_point, payload):
    location = payload["location"]
    for entity, character in _ENTITIES:
        location = location.replace(entity, character)
    try:
        date = parse_time(payload["retrieveDate"])
    except ValueError as error:
        raise CallError("PropertyConstraintViolation", "retrieveDate: %s" % error)
    charge_point.updater.request(location, date, payload.get("retries"), payload.get("retryInterval"))
    return {}


HANDLERS = {
    "UpdateFirmware": (
        {
            "location": (str, 2048, True),
            "retrieveDate": (str, 40, True),
            "retries": (int, 1000, False),
            "retryInterval": (int, 86400, False),
        },
        _update_firmware,
    )
}
