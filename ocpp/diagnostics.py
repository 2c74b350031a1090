"""The uploads of the log that GetDiagnostics (OCPP 1.6, 5.9) asks for, and DiagnosticsStatusNotification (4.4)."""

import asyncio


def of(charge_point):
    """Return the Diagnostics of a charge point; it comes into being when first needed."""
    found = getattr(charge_point, "diagnostics", None)
    if not found:
        found = charge_point.diagnostics = Diagnostics(charge_point)
        charge_point.outbox.add(found)
    return found


class Diagnostics:
    """Has one upload at a time made, and is a queue of the outbox with the statuses of that.

    `status` is what TriggerMessage gets: "Uploading" or "Idle". A reset ends an upload, and its statuses are lost.
    Of the charge point it uses what main.py put there: identity; open_log()[0] is the length of what there is to
    upload; await upload(location, name, retries, interval, report) does it, and calls report("Uploading"), then
    ("Uploaded") or ("UploadFailed").
    """

    def __init__(self, charge_point):
        self.status = "Idle"
        self._charge_point = charge_point
        self._task = None
        self._unsent = []

    def request(self, location, retries, interval):
        """Return (the name of the file that will come, the function that starts its upload); (None, None) if none will.

        An upload that still runs at its start is superseded: nothing more is heard of it.
        """
        charge_point = self._charge_point
        if not charge_point.open_log()[0]:
            return None, None
        # What a URL and every file system take.
        name = "".join(c if c.isalpha() or c.isdigit() or c in "-_" else "_" for c in charge_point.identity)[:200]
        now = charge_point.clock.now()
        if now is not None:
            from .timestamps import format_time  # not above: this module stays

            name += "-" + format_time(now).replace(":", "")
        name += ".log"

        def start():
            if self._task:
                self._task.cancel()
            self._task = asyncio.create_task(self._upload(location, name, retries, interval))

        return name, start

    async def _upload(self, *request):
        try:
            await self._charge_point.upload(*request, self.report)
        finally:
            if self._task is asyncio.current_task():
                self._task = None  # it would keep all of upload.py in memory

    def report(self, status):
        self.status = status if status == "Uploading" else "Idle"
        # The oldest may be on its way: it stays. Of the others the newest counts.
        self._unsent = self._unsent[:1] + [status]
        self._charge_point.outbox.wake()

    def peek(self):
        """Return the DiagnosticsStatusNotification that is to be sent next, the same until pop(); None if none is."""
        return ("DiagnosticsStatusNotification", {"status": self._unsent[0]}) if self._unsent else None

    def pop(self, answer):
        """The status that peek() gave was answered."""
        self._unsent.pop(0)
