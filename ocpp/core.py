"""The Core profile, as far as it is here."""

from .configuration import KEYS
from .rpc import CallError

# Fields of BootNotification.req and the length that the standard allows.
_BOOT_FIELDS = (
    ("chargePointVendor", 20),
    ("chargePointModel", 20),
    ("chargePointSerialNumber", 25),
    ("firmwareVersion", 50),
)


def boot_notification(fields):
    """Return the payload of BootNotification.req made of `fields` (by the standard's names); others are left out."""
    return {name: str(fields[name])[:length] for name, length in _BOOT_FIELDS if fields.get(name)}


def register(charge_point, configuration, reset):
    """Put the handlers of this profile into the table. reset(kind) restarts the charger: "Soft" or "Hard"."""

    def get_configuration(payload):
        asked = payload.get("key") or sorted(KEYS)  # an empty list asks for all, too (SteVe)
        if len(asked) > configuration.get("GetConfigurationMaxKeys"):
            raise CallError("OccurenceConstraintViolation", "more keys than GetConfigurationMaxKeys")
        items = [configuration.item(key) for key in asked if key in KEYS]
        return {"configurationKey": items, "unknownKey": [key for key in asked if key not in KEYS]}

    def change_configuration(payload):
        return {"status": configuration.set(payload["key"], payload["value"])}

    def reset_charger(payload):
        return {"status": "Accepted"}, lambda: reset(payload["type"])

    charge_point.handlers.update(
        {
            "ChangeConfiguration": ({"key": (str, 50, True), "value": (str, 500, True)}, change_configuration),
            "GetConfiguration": ({"key": (list, (str, 50), False)}, get_configuration),
            "Reset": ({"type": (str, ("Hard", "Soft"), True)}, reset_charger),
        }
    )
