"""What comes before the download of an update: waiting for its date, and until nobody charges."""

from micropython import const

_CLOCK_GRACE = const(300)  # seconds to wait for a clock before a retrieveDate is taken as due
_STEPS = const(4)  # erases in a second while it waits
_MOST_RESETS = const(20)  # in one update; more, and the update itself is what resets the charger


def count_resets(parts):
    """Raise OSError when resets have interrupted this update too often. (parts: of Updater)"""
    journal = parts.journal
    status = journal.get("status")
    if status:
        resets = journal.get("resets", 0) + (status != "DownloadScheduled")
        if resets > _MOST_RESETS:
            raise OSError("interrupted by %d resets" % _MOST_RESETS)
        journal.note(resets=resets, cut=True)


async def until_due(updater, transfer):
    """Wait for retrieveDate, which counts as come when nobody has set the clock for a while.

    The slot is erased meanwhile: what is erased before the data comes costs no time.
    """
    parts = updater.parts
    date = parts.journal.get("date")
    if date is None or parts.journal.get("status", "DownloadScheduled") != "DownloadScheduled":
        return
    grace = _CLOCK_GRACE
    eraser = transfer.new_eraser()
    while grace:
        now = parts.clock.now()
        if now is None:
            grace -= 1
        elif now >= date:
            return
        elif parts.journal.get("status") is None:
            updater.report("DownloadScheduled")
            parts.log("Firmware download scheduled in %d s" % (date - now))
        else:
            for _ in range(_STEPS):
                if eraser.end < transfer.slot.capacity and not parts.station.charging:
                    await eraser.step(True)
            transfer.erased = eraser.end
        await parts.sleep(1)


async def free_connectors(parts):
    """See to it that nobody charges during the download, unless UpdateWhileCharging allows it."""
    station = parts.station
    policy = parts.get("UpdateWhileCharging")
    if policy == "download":
        return
    station.hold()
    if station.charging:
        if policy == "stop":
            parts.log("Charging ends for the update")
            await station.stop_charging("Reboot")
        else:
            parts.log("The update waits until charging ends")
        await station.until_free()
