"""How far an update is and why it failed, told by DataTransfer: OCPP 1.6 has no message for either.

vendorId "Arus", messageId "FirmwareUpdate"; data is JSON: {"status": as in OCPP 2.0.1, "percent": 0 to 100 or null,
"reason": why it failed, or null}. Loaded when UpdateProgressDataTransfer is switched on.
"""

import json


def tell(parts, status, percent):
    """Tell the central system how far an update is. parts has told, which is None at first, get, journal and outbox."""
    if not parts.told:
        parts.told = UpdateProgress(parts.get, parts.journal, parts.outbox)
    parts.told.progress(status, percent)


class UpdateProgress:
    """A queue of the outbox. No more than one message waits, the last; a failure's is kept across resets."""

    def __init__(self, get, journal, outbox):
        self._get = get
        self.journal = journal
        self.outbox = outbox
        self._status = None
        self._shown = None  # percent
        self._head = None
        outbox.add(self)

    def progress(self, status, percent):
        """Tell the central system how far an update is."""
        self._status = status
        self._shown = percent
        self.outbox.wake()

    def peek(self):
        """Return the DataTransfer to be sent, or None."""
        if not self._get("UpdateProgressDataTransfer"):
            self._head = self._status = None
        elif self._head is None:
            reason = None if self.journal.busy else self.journal.get("reason")
            status = self.journal.get("last") if reason else self._status
            if status:
                self._status = None
                data = json.dumps({"status": status, "percent": self._shown, "reason": reason})
                self._head = "DataTransfer", {"vendorId": "Arus", "messageId": "FirmwareUpdate", "data": data}
                self._reason = reason
                if reason:
                    self._shown = None
        return self._head

    def pop(self, answer):
        """The DataTransfer was answered, be it with a CALLERROR."""
        if self._reason and not self.journal.busy and self.journal.get("reason") == self._reason:
            self.journal.note(reason="")
        self._head = None
