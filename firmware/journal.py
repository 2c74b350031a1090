"""The durable record of the update: one small JSON record, replaced as a whole, so that it is never half true."""

import asyncio
import json

_KEY = "update"
_LASTING = ("unsent", "cut", "floor")  # what the end of an update and the next one leave as it is


class Journal:
    """What is known of the update in hand, and the statuses that the central system has not acknowledged yet.

    store keeps one record (get, set); changed() is called when there is a status to send. The fields of an
    update, by name: location, date (Unix seconds or None), retries, interval, status (as in OCPP 2.0.1), attempt,
    written (bytes on flash), taken (bytes of the file that gave those), length and validator (of the file), package
    (see package.py), slot (its index), tried (set_boot was done), resets, reason. And for longer: unsent, cut (a reset
    interrupted an update, and no update since has come without), floor (the lowest release that may be installed).
    """

    def __init__(self, store, changed):
        self.store = store
        self.changed = changed
        self.record = self.load()
        self.acknowledged = asyncio.Event()  # set while every status is acknowledged
        if not self.unsent:
            self.acknowledged.set()

    def load(self):
        try:
            record = json.loads(self.store.get(_KEY) or b"{}")
            if isinstance(record["unsent"], list):
                return record
        except (ValueError, KeyError, TypeError):
            pass  # nothing there, or nothing of use
        return {"unsent": []}

    def _save(self, record):
        self.store.set(_KEY, json.dumps(record).encode())
        self.record = record  # only now: what can't be written has not happened

    @property
    def busy(self):
        """Whether an update is in hand."""
        return "location" in self.record

    @property
    def unsent(self):
        """How many statuses the central system has not acknowledged."""
        return len(self.record["unsent"])

    def get(self, field, default=None):
        """Return a field of the update in hand."""
        return self.record.get(field, default)

    def begin(self, **fields):
        """Start the record of a new update; statuses of the one before that are still unsent are kept."""
        self._save(self._lasting(fields))

    def _lasting(self, fields):
        for field in _LASTING:
            if field in self.record:
                fields.setdefault(field, self.record[field])
        return fields

    def note(self, **fields):
        """Change fields."""
        record = self.record.copy()
        record.update(fields)
        self._save(record)

    def report(self, status, **fields):
        """Change fields and queue `status` for the central system, in one write."""
        self.note(status=status, unsent=self.record["unsent"] + [status], **fields)
        self._tell()

    def finish(self, status, reason=""):
        """The update is over: queue its last status and keep nothing else."""
        fields = {"unsent": self.record["unsent"] + [status], "last": status, "reason": reason}
        if status == "Installed":
            package = self.record.get("package")
            if package:
                fields["floor"] = max(package["floor"], self.record.get("floor", 0))
            if not self.record.get("resets"):
                fields["cut"] = False
        self._save(self._lasting(fields))
        self._tell()

    def _tell(self):
        self.acknowledged.clear()
        self.changed()

    def peek(self):
        """Return the oldest status not acknowledged yet, or None."""
        return self.record["unsent"][0] if self.record["unsent"] else None

    def pop(self):
        """The oldest status was acknowledged: forget it for good."""
        self.note(unsent=self.record["unsent"][1:])
        if not self.unsent:
            self.acknowledged.set()
