"""DataTransfer from the central system (OCPP 1.6, 5.6)."""

import gc
import json


def answer(charge_point, payload):
    """Return the payload of DataTransfer.conf."""
    vendor, message = payload["vendorId"].lower(), payload.get("messageId", "").lower()
    if not any(vendor == known for known, _ in HANDLERS):
        return {"status": "UnknownVendorId"}
    if (vendor, message) not in HANDLERS:
        return {"status": "UnknownMessageId"}
    try:
        return {"status": "Accepted", "data": HANDLERS[vendor, message](charge_point, payload.get("data"))}
    except ValueError as error:
        return {"status": "Rejected", "data": str(error)}


def _diagnosis(charge_point, data):
    """How the charger fares, as JSON: seconds since the start and its cause, free heap in bytes, messages that wait."""
    if data:
        raise ValueError("Diagnosis takes no data")
    gc.collect()
    return json.dumps(
        {
            "uptime": charge_point.clock.uptime(),
            "resetCause": charge_point.cause,
            "heapFree": gc.mem_free(),
            "unsentStatuses": len(charge_point.changed),
            "unsentTransactionMessages": charge_point.unsent,
            "firmwareStatus": charge_point.updater.status,
        }
    )


# (vendorId, messageId), both in small letters as their case doesn't matter: function(charge_point, data or None) that
# returns the data of the answer, or raises ValueError for what it rejects.
HANDLERS = {("arus", "diagnosis"): _diagnosis}
