"""One firmware update, from the request to the reset that starts the new firmware.

Updater._update reads from top to bottom like the state table in transitions.py; everything that has to survive a reset
is in the journal before it is acted upon. What comes before the download is in prepare.py, what follows it in
install.py: while a TLS session is opened for the download, neither of them takes any of the heap.
"""

import asyncio

from micropython import const

from .errors import ImageError, Interrupted
from .transfer import PIECE, Transfer

_ATTEMPTS = const(3)  # when the request does not say
_RETRY_INTERVAL = const(60)  # seconds, likewise
_MOST_UNSENT = const(32)


class Busy(Exception):
    """The request can't be taken now; the text says why and what to do."""


class Updater:
    """Carries out one update at a time.

    parts has what that takes, as attributes:
    slots: of hw/slots.py. journal: of journal.py. clock.now() gives Unix seconds or None.
    station.hold() takes the connectors out of service as they become free, station.release() puts them back;
    station.charging tells whether a transaction runs, await station.stop_charging(reason) ends all, await
    station.until_free() waits for their end. get(key) gives the value of a configuration key.
    await open_source(location, offset=, validator=, expected_length=) gives a Source of source.py.
    await open_package(header) checks a package (package.py) and returns what the journal keeps of it, or None for a
    plain file (header None); frames(source, base) gives what decodes it (frames.py).
    await reset() restarts the charger and does not return. log(text) writes one line. progress(status, percent) tells
    who wants to know. forget(module name) is called when a module has done its part. sleep(seconds): tests own time.
    """

    def __init__(self, parts):
        self.parts = parts
        self._requested = asyncio.Event()
        self._task = None
        self._superseded = False
        self._buffer = memoryview(bytearray(PIECE))  # taken now, while the heap is in one piece

    @property
    def status(self):
        """The status of the update in hand (OCPP 2.0.1's vocabulary), "Idle" when there is none."""
        return self.parts.journal.get("status", "Idle") if self.parts.journal.busy else "Idle"

    def request(self, location, date, retries, interval):
        """Take a request: on flash when this returns, carried out by run(). A request before it is superseded.

        date: Unix seconds or None; retries: attempts in all, or None; interval: seconds between them, or None.
        Raises Busy while an update is being installed.
        """
        if self.status == "Installing":
            raise Busy("an update is being installed; send the request again after the restart")
        if self.parts.journal.unsent >= _MOST_UNSENT:
            raise Busy("%d firmware statuses wait to be acknowledged" % self.parts.journal.unsent)
        self.parts.journal.begin(location=location, date=date, retries=retries, interval=interval)
        if self._task:
            self.parts.log("Superseded by a new request")
            self._superseded = True
            self._task.cancel()
        self._requested.set()

    async def run(self):
        """Carry out requests for ever, first the one that a reset interrupted."""
        while True:
            self._requested.clear()
            if self.parts.journal.busy:
                await self._supersedable()
            else:
                await self._requested.wait()

    async def _supersedable(self):
        self._task = asyncio.create_task(self._update())
        try:
            await self._task
        except asyncio.CancelledError:
            if not self._superseded:
                raise
        except OSError as error:  # of the journal: without it nothing can be promised, and a reset would not help
            self.parts.log("The update can't go on, its record can't be written: %s" % error.args[-1])
            await self._requested.wait()
        finally:
            self._task = None
            self._superseded = False

    def report(self, status, **fields):
        """Queue a status for the central system, and change fields of the journal in the same record."""
        self.check(status)
        self.parts.journal.report(status, **fields)
        self.parts.progress(status, None)

    def check(self, status):
        from . import transitions

        self.parts.forget("firmware.transitions")
        transitions.check(self.parts.journal.get("status"), status)

    async def _update(self):
        """The whole update. It can be entered anew after a reset at any line: the journal tells what is done."""
        journal = self.parts.journal
        try:
            slot, transfer = await self._prepare()
            if journal.get("status") in ("Downloaded", "InstallScheduled", "Installing"):
                await transfer.read_back("verify")
            else:
                await self._download(transfer)
                self.report("Downloaded")
                self.parts.log("Firmware download completed successfully")
            await self._install(slot)
        except Interrupted as error:
            self._fail("DownloadFailed", error)
        except ImageError as error:
            if journal.get("status") == "Downloading":
                self.report("Downloaded")  # the file came; it is the firmware that is wrong (TC_044_3)
            self._fail("InstallationFailed", error)
        except Exception as error:  # whatever else it is, it must end this update and not the charger
            downloading = journal.get("status") == "Downloading"
            text = error.args[-1] if isinstance(error, OSError) and error.args else repr(error)
            self._fail("DownloadFailed" if downloading else "InstallationFailed", text)

    async def _prepare(self):
        from . import prepare

        try:
            prepare.count_resets(self.parts)
            slot = self.parts.slots.begin()
            transfer = Transfer(self.parts, slot, self._buffer)
            await prepare.until_due(self, transfer)
            if self.parts.journal.get("status") in (None, "DownloadScheduled", "Downloading"):
                await prepare.free_connectors(self.parts)
            return slot, transfer
        finally:
            del prepare
            self.parts.forget("firmware.prepare")

    async def _download(self, transfer):
        """Bring the file to flash, in as many attempts as asked for."""
        journal = self.parts.journal
        if journal.get("status") != "Downloading":
            self.report("Downloading")
        else:
            await transfer.read_back("resume")
        retries = journal.get("retries")
        attempts = _ATTEMPTS if retries is None else max(1, retries)
        interval = journal.get("interval")
        while True:
            try:
                return await transfer.run()
            except Interrupted as error:
                attempt = journal.get("attempt", 0) + 1
                if attempt >= attempts or (error.permanent and retries is None):
                    raise
                self.parts.log("Attempt %d of %d failed: %s" % (attempt, attempts, error))
                journal.note(attempt=attempt)
            await self.parts.sleep(_RETRY_INTERVAL if interval is None else interval)

    async def _install(self, slot):
        from . import install

        try:
            await install.run(self, slot)
        finally:
            del install
            self.parts.forget("firmware.install")

    def _fail(self, status, error):
        self.check(status)
        self.parts.log("%s: %s" % (status, error))
        self.parts.journal.finish(status, str(error))
        self.parts.progress(status, None)
        self.parts.station.release()
        self.parts.forget("firmware.refusals")
