"""The durable record of the update: one small JSON record, replaced as a whole, so that it is never half true."""

import asyncio
import json

_KEY = "update"


class Journal:
    """What is known of the update in hand, and the statuses that the central system has not acknowledged yet.

    store keeps one record (get, set); changed() is called when there is a status to send. The fields of an
    update, by name: location, date (Unix seconds or None), retries, interval, status (as in OCPP 2.0.1), attempt,
    written (bytes on flash), length, validator, slot (its index), tried (set_boot was done), resets, reason.
    """

    def __init__(self, store, changed):
        self._store = store
        self._changed = changed
        self._record = self._load()
        self.acknowledged = asyncio.Event()  # set while every status is acknowledged
        if not self.unsent:
            self.acknowledged.set()

    def _load(self):
        try:
            record = json.loads(self._store.get(_KEY) or b"{}")
            if isinstance(record["unsent"], list):
                return record
        except (ValueError, KeyError, TypeError):
            pass  # nothing there, or nothing of use
        return {"unsent": []}

    def _save(self, record):
        self._store.set(_KEY, json.dumps(record).encode())
        self._record = record  # only now: what can't be written has not happened

    @property
    def busy(self):
        """Whether an update is in hand."""
        return "location" in self._record

    @property
    def unsent(self):
        """How many statuses the central system has not acknowledged."""
        return len(self._record["unsent"])

    def get(self, field, default=None):
        """Return a field of the update in hand."""
        return self._record.get(field, default)

    def begin(self, **fields):
        """Start the record of a new update; statuses of the one before that are still unsent are kept."""
        fields["unsent"] = self._record["unsent"]
        self._save(fields)

    def note(self, **fields):
        """Change fields."""
        record = self._record.copy()
        record.update(fields)
        self._save(record)

    def report(self, status, **fields):
        """Change fields and queue `status` for the central system, in one write."""
        self.note(status=status, unsent=self._record["unsent"] + [status], **fields)
        self._tell()

    def finish(self, status, reason=""):
        """The update is over: queue its last status and keep nothing else."""
        self._save({"unsent": self._record["unsent"] + [status], "last": status, "reason": reason})
        self._tell()

    def _tell(self):
        self.acknowledged.clear()
        self._changed()

    def peek(self):
        """Return the oldest status not acknowledged yet, or None."""
        return self._record["unsent"][0] if self._record["unsent"] else None

    def pop(self):
        """The oldest status was acknowledged: forget it for good."""
        self.note(unsent=self._record["unsent"][1:])
        if not self.unsent:
            self.acknowledged.set()
