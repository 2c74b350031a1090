"""What follows the download of an update: the slot becomes the one to boot, and the charger restarts."""

import asyncio

from micropython import const

from .errors import ImageError

_ACKNOWLEDGE = const(10)  # seconds to wait for the central system to answer a status
_RESTART = const(2)  # seconds between the last log line and the reset


async def run(updater, slot):
    """Make the slot the one to boot, and reset."""
    parts = updater.parts
    await acknowledged(parts.journal)  # Downloaded, before the connectors' StatusNotification
    parts.station.hold()
    if parts.station.charging:
        if updater.status != "InstallScheduled":
            updater.report("InstallScheduled")
        parts.log("The installation waits until charging ends")
        await parts.station.until_free()
    if updater.status != "Installing":
        updater.report("Installing", slot=slot.index)
    parts.log("Installing firmware...")
    await acknowledged(parts.journal)
    try:
        slot.set_boot()
    except OSError as error:
        raise ImageError("ESP-IDF refuses the image: %s" % error.args[-1])
    try:
        parts.journal.note(tried=True)
    except OSError as error:
        parts.log("Can't record that set_boot was done: %s" % error)  # it was all the same
    parts.log("Firmware ready, restarting ESP32 in %d seconds..." % _RESTART)
    await parts.sleep(_RESTART)
    await parts.reset()


async def acknowledged(journal):
    """Wait until the central system has answered every status, but not for long: it may be out of reach."""
    try:
        await asyncio.wait_for(journal.acknowledged.wait(), _ACKNOWLEDGE)
    except asyncio.TimeoutError:
        pass
