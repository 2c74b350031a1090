"""FirmwareStatusNotification: the statuses of an update in the terms of OCPP 1.6."""

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
