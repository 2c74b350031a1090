"""FirmwareStatusNotification: the statuses of an update (vocabulary of OCPP 2.0.1) in the terms of OCPP 1.6."""

_STATUSES = ("Downloading", "Downloaded", "DownloadFailed", "Installing", "Installed", "InstallationFailed")
_FAILURES = ("InvalidSignature", "InstallVerificationFailed")


class FirmwareStatuses:
    """The queue for the outbox over the journal of the updates (peek() -> status or None, pop())."""

    def __init__(self, journal):
        self.journal = journal

    def pop(self, answer=None):
        """The status that peek() gave was answered, be it with a CALLERROR."""
        self.journal.pop()

    def peek(self):
        """Return the next FirmwareStatusNotification, or None. Of what 1.6 has no status for only failures are told."""
        while True:
            status = self.journal.peek()
            if status in _FAILURES:
                status = "InstallationFailed"
            if status is None or status in _STATUSES:
                return status and ("FirmwareStatusNotification", {"status": status})
            self.journal.pop()
