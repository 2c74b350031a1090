"""The Core profile, as far as it is here."""

from .keys import KEYS, item
from .rpc import CallError


def boot_notification(config, version):
    """Return the payload of BootNotification.req (6.3) from the charger's configuration and its firmware's version."""
    payload = {
        "chargePointVendor": config["vendor"][:20],
        "chargePointModel": config["model"][:20],
        "firmwareVersion": version[:50],
    }
    if "serial" in config:
        payload["chargePointSerialNumber"] = config["serial"][:25]
    return payload


def _get_configuration(charge_point, payload):
    configuration = charge_point.configuration
    asked = payload.get("key") or sorted(KEYS)  # an empty list asks for all, too (SteVe)
    if len(asked) > configuration.get("GetConfigurationMaxKeys"):
        raise CallError("OccurenceConstraintViolation", "more keys than GetConfigurationMaxKeys")
    items = [item(configuration, key) for key in asked if key in KEYS]
    return {"configurationKey": items, "unknownKey": [key for key in asked if key not in KEYS]}


def _change_configuration(charge_point, payload):
    return {"status": charge_point.configuration.set(payload["key"], payload["value"])}


def _reset(charge_point, payload):
    return {"status": "Accepted"}, lambda: charge_point.reset(payload["type"])


HANDLERS = {
    "ChangeConfiguration": ({"key": (str, 50, True), "value": (str, 500, True)}, _change_configuration),
    "GetConfiguration": ({"key": (list, (str, 50), False)}, _get_configuration),
    "Reset": ({"type": (str, ("Hard", "Soft"), True)}, _reset),
}
