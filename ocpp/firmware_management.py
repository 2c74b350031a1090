"""The FirmwareManagement profile, as far as it is here."""

from .rpc import CallError
from .timestamps import parse_time

# Statuses that plain 1.6 lacks (vocabulary of OCPP 2.0.1), and what they are in its terms.
_NEAREST = {
    "DownloadScheduled": "Idle",
    "DownloadPaused": "Downloading",
    "SignatureVerified": "Downloaded",
    "InvalidSignature": "InstallationFailed",
    "InstallScheduled": "Downloaded",
    "InstallRebooting": "Installing",
    "InstallVerificationFailed": "InstallationFailed",
}
# As SteVe encodes every string. The ampersand comes last, so that nothing is decoded twice.
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&#34;", '"'), ("&#39;", "'"), ("&amp;", "&"))


def firmware_status(status):
    """Return the payload of FirmwareStatusNotification.req for a status of OCPP 2.0.1."""
    return {"status": _NEAREST.get(status, status)}


class FirmwareStatuses:
    """The queue for the outbox over the journal of the updates (peek() -> status or None, pop())."""

    def __init__(self, journal):
        self._journal = journal
        self.pop = journal.pop

    def peek(self):
        """Return the next FirmwareStatusNotification, or None; what 1.6 has no status for is forgotten."""
        while True:
            status = self._journal.peek()
            if status is None:
                return None
            payload = firmware_status(status)
            # Of the statuses that 1.6 lacks it needs to hear of failures only.
            if payload["status"] in (status, "InstallationFailed"):
                return "FirmwareStatusNotification", payload
            self._journal.pop()


def register(charge_point, outbox, updater, journal):
    """Put the handler of this profile into the table, and its queue into the outbox."""

    def update_firmware(payload):
        location = payload["location"]
        for entity, character in _ENTITIES:
            location = location.replace(entity, character)
        try:
            date = parse_time(payload["retrieveDate"])
        except ValueError as error:
            raise CallError("PropertyConstraintViolation", "retrieveDate: %s" % error)
        updater.request(location, date, payload.get("retries"), payload.get("retryInterval"))
        return {}

    fields = {
        "location": (str, 2048, True),
        "retrieveDate": (str, 40, True),
        "retries": (int, 1000, False),
        "retryInterval": (int, 86400, False),
    }
    charge_point.handlers["UpdateFirmware"] = fields, update_firmware
    outbox.add(FirmwareStatuses(journal))
