"""The durable record of the update: one small JSON record, replaced as a whole, so that it is never half true."""

import asyncio
import json

_KEY = "update"


class Journal:
    """What is known of the update in hand, and the statuses that the central system has not acknowledged yet.

    store keeps one record (get, set); changed() is called when there is a status to send. The fields of an
    update, by name: location, date (Unix seconds or None), retries, interval, status (as in OCPP 2.0.1), attempt,
    written (bytes on flash), length, validator, slot, sequence, reason.
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

    def _save(self):
        self._store.set(_KEY, json.dumps(self._record).encode())

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
        self._record = fields
        self._save()

    def note(self, **fields):
        """Change fields."""
        self._record.update(fields)
        self._save()

    def report(self, status, **fields):
        """Change fields and queue `status` for the central system, in one write."""
        self._queue(status)
        self.note(status=status, **fields)
        self._changed()

    def finish(self, status, reason=""):
        """The update is over: queue its last status and keep nothing else."""
        self._queue(status)
        self._record = {"unsent": self._record["unsent"], "last": status, "reason": reason}
        self._save()
        self._changed()

    def _queue(self, status):
        self._record["unsent"].append(status)
        self.acknowledged.clear()

    def peek(self):
        """Return the oldest status not acknowledged yet, or None."""
        return self._record["unsent"][0] if self._record["unsent"] else None

    def pop(self):
        """The oldest status was acknowledged: forget it for good."""
        self._record["unsent"].pop(0)
        self._save()
        if not self.unsent:
            self.acknowledged.set()
