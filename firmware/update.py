"""One firmware update, from the request to the reset that starts the new firmware.

Updater._update reads from top to bottom like the state table below; everything that has to survive a reset is in the
journal before it is acted upon.
"""

import asyncio

from micropython import const

from .image import ImageError
from .transfer import PIECE, Interrupted, Transfer

_ATTEMPTS = const(3)  # when the request does not say
_RETRY_INTERVAL = const(60)  # seconds, likewise
_CLOCK_GRACE = const(300)  # seconds to wait for a clock before a retrieveDate is taken as due
_ACKNOWLEDGE = const(10)  # seconds to wait for the central system to answer a status
_RESTART = const(2)  # seconds between the last log line and the reset
_MOST_UNSENT = const(32)
_MOST_RESETS = const(20)  # in one update; more, and the update itself is what resets the charger

# Which status may follow which (the vocabulary of OCPP 2.0.1, None: no update). A step that isn't here is a bug.
TRANSITIONS = {
    None: ("DownloadScheduled", "Downloading", "InstallationFailed"),
    "DownloadScheduled": ("Downloading", "InstallationFailed"),
    "Downloading": ("Downloaded", "DownloadFailed"),
    "Downloaded": ("InstallScheduled", "Installing", "InstallationFailed"),
    "InstallScheduled": ("Installing", "InstallationFailed"),
    "Installing": ("Installed", "InstallationFailed"),
}


class Busy(Exception):
    """The request can't be taken now; the text says why and what to do."""


class Updater:
    """Carries out one update at a time.

    slots: hw/slots.py. open_source(location, offset=, validator=, expected_length=) gives a Source of source.py;
    open_package(header) and frames(source, base): see Transfer. clock.now() gives Unix seconds or None.
    station.hold() takes the connectors out of service as they become free, station.release() puts them back;
    station.charging tells whether a transaction runs, await station.stop_charging("Reboot") ends all, await
    station.until_free() waits for their end. policy() gives UpdateWhileCharging: "stop", "wait" or "download".
    await reset() restarts the charger and does not return. log(text) writes one line.
    """

    def __init__(
        self,
        slots,
        journal,
        open_source,
        open_package,
        frames,
        clock,
        station,
        policy,
        reset,
        log,
        sleep=asyncio.sleep,
    ):
        self._slots = slots
        self._journal = journal
        self._open_source = open_source
        self._open_package = open_package
        self._frames = frames
        self._policy = policy
        self._clock = clock
        self._station = station
        self._reset = reset
        self._log = log
        self._sleep = sleep  # seconds; tests own time
        self._requested = asyncio.Event()
        self._task = None
        self._superseded = False
        self._buffer = memoryview(bytearray(PIECE))  # taken now, while the heap is in one piece

    @property
    def status(self):
        """The status of the update in hand (OCPP 2.0.1's vocabulary), "Idle" when there is none."""
        return self._journal.get("status", "Idle") if self._journal.busy else "Idle"

    def request(self, location, date, retries, interval):
        """Take a request: on flash when this returns, carried out by run(). A request before it is superseded.

        date: Unix seconds or None; retries: attempts in all, or None; interval: seconds between them, or None.
        Raises Busy while an update is being installed.
        """
        if self.status == "Installing":
            raise Busy("an update is being installed; send the request again after the restart")
        if self._journal.unsent >= _MOST_UNSENT:
            raise Busy("%d firmware statuses wait to be acknowledged" % self._journal.unsent)
        self._journal.begin(location=location, date=date, retries=retries, interval=interval)
        if self._task:
            self._log("Superseded by a new request")
            self._superseded = True
            self._task.cancel()
        self._requested.set()

    async def run(self):
        """Carry out requests for ever, first the one that a reset interrupted."""
        while True:
            self._requested.clear()
            if self._journal.busy:
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
            self._log("The update can't go on, its record can't be written: %s" % error.args[-1])
            await self._requested.wait()
        finally:
            self._task = None
            self._superseded = False

    def _report(self, status, **fields):
        self._check(status)
        self._journal.report(status, **fields)

    def _check(self, status):
        if status not in TRANSITIONS[self._journal.get("status")]:
            raise RuntimeError("no way from %s to %s" % (self._journal.get("status"), status))

    async def _update(self):
        """The whole update. It can be entered anew after a reset at any line: the journal tells what is done."""
        try:
            self._count_resets()
            slot = self._slots.begin()
            transfer = self._transfer(slot)
            await self._until_due(transfer)
            if self._journal.get("status") in ("Downloaded", "InstallScheduled", "Installing"):
                await transfer.verify()
            else:
                await self._free_connectors()
                await self._download(transfer)
                self._report("Downloaded")
                self._log("Firmware download completed successfully")
            await self._install(slot)
        except Interrupted as error:
            self._fail("DownloadFailed", error)
        except ImageError as error:
            if self._journal.get("status") == "Downloading":
                self._report("Downloaded")  # the file came; it is the firmware that is wrong (TC_044_3)
            self._fail("InstallationFailed", error)
        except Exception as error:  # whatever else it is, it must end this update and not the charger
            downloading = self._journal.get("status") == "Downloading"
            text = error.args[-1] if isinstance(error, OSError) and error.args else repr(error)
            self._fail("DownloadFailed" if downloading else "InstallationFailed", text)

    def _transfer(self, slot):
        def open_source(**keywords):
            return self._open_source(self._journal.get("location"), **keywords)

        return Transfer(
            slot,
            self._slots.chip_id,
            self._journal,
            open_source,
            self._open_package,
            self._frames,
            self._station,
            self._log,
            self._buffer,
        )

    async def _until_due(self, transfer):
        """Wait for retrieveDate, which counts as come when nobody has set the clock for a while.

        The slot is erased meanwhile: what is erased before the data comes costs no time.
        """
        date = self._journal.get("date")
        if date is None or self._journal.get("status", "DownloadScheduled") != "DownloadScheduled":
            return
        grace = _CLOCK_GRACE
        while grace:
            now = self._clock.now()
            if now is None:
                grace -= 1
            elif now >= date:
                return
            elif self._journal.get("status") is None:
                self._report("DownloadScheduled")
                self._log("Firmware download scheduled in %d s" % (date - now))
            else:
                await transfer.erase_ahead()
            await self._sleep(1)

    def _count_resets(self):
        """Raise OSError when resets have interrupted this update too often."""
        status = self._journal.get("status")
        if status:
            resets = self._journal.get("resets", 0) + (status != "DownloadScheduled")
            if resets > _MOST_RESETS:
                raise OSError("interrupted by %d resets" % _MOST_RESETS)
            self._journal.note(resets=resets, cut=True)

    async def _free_connectors(self):
        """See to it that nobody charges during the download, unless UpdateWhileCharging allows it."""
        station = self._station
        policy = self._policy()
        if policy == "download":
            return
        station.hold()
        if station.charging:
            if policy == "stop":
                self._log("Charging ends for the update")
                await station.stop_charging("Reboot")
            else:
                self._log("The update waits until charging ends")
            await station.until_free()

    async def _download(self, transfer):
        """Bring the file to flash, in as many attempts as asked for."""
        journal = self._journal
        if journal.get("status") != "Downloading":
            self._report("Downloading")
        else:
            await transfer.resume()
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
                self._log("Attempt %d of %d failed: %s" % (attempt, attempts, error))
                journal.note(attempt=attempt)
            await self._sleep(_RETRY_INTERVAL if interval is None else interval)

    async def _install(self, slot):
        """Make the slot the one to boot, and reset."""
        await self._acknowledged()  # Downloaded, before the connectors' StatusNotification
        self._station.hold()
        if self._station.charging:
            self._report("InstallScheduled")
            self._log("The installation waits until charging ends")
            await self._station.until_free()
        if self.status != "Installing":
            self._report("Installing", slot=slot.index)
        self._log("Installing firmware...")
        await self._acknowledged()
        try:
            slot.set_boot()
        except OSError as error:
            raise ImageError("ESP-IDF refuses the image: %s" % error.args[-1])
        try:
            self._journal.note(tried=True)
        except OSError as error:
            self._log("Can't record that set_boot was done: %s" % error)  # it was all the same
        self._log("Firmware ready, restarting ESP32 in %d seconds..." % _RESTART)
        await self._sleep(_RESTART)
        await self._reset()

    async def _acknowledged(self):
        """Wait until the central system has answered every status, but not for long: it may be out of reach."""
        try:
            await asyncio.wait_for(self._journal.acknowledged.wait(), _ACKNOWLEDGE)
        except asyncio.TimeoutError:
            pass

    def _fail(self, status, error):
        self._check(status)
        self._log("%s: %s" % (status, error))
        self._journal.finish(status, str(error))
        self._station.release()
