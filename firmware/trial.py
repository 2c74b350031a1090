"""After a reset: what became of the update, and the trial of a firmware that has not been confirmed yet.

A new firmware proves itself by being accepted by the central system. Until then any reset, also the one that a crash or
the watchdog causes, makes the bootloader go back to the old one.
"""

import asyncio

from micropython import const

_RETRY = const(60)  # seconds until something is written to the journal again that could not be
_ROLLED_BACK = "the new firmware did not prove itself; the charger is back on the old one"


async def run(slots, journal, accepted, deadline, reset, log):
    """Settle the update that `journal` tells of. Returns when the running firmware is confirmed.

    accepted: an asyncio.Event that is set when the central system has accepted this charger. deadline: seconds until a
    firmware on trial gives up and goes back by `await reset()`.
    """
    if slots.unconfirmed() and not await _prove(slots, journal, accepted, deadline, reset, log):
        return
    while journal.get("status") == "Installing":
        try:
            if journal.get("slot") == slots.running.index:
                log("New firmware confirmed")
                journal.finish("Installed")
            elif journal.get("tried") and slots.has_record(journal.get("slot")):
                reason = journal.get("reason", _ROLLED_BACK)
                log("InstallationFailed: %s" % reason)
                journal.finish("InstallationFailed", reason)
            else:
                return  # the power failed before set_boot was done or noted, or cost its record: the updater goes on
        except OSError as error:  # a reset would not help, and the next one would come soon
            log("That can't be recorded: %s" % error)
            await asyncio.sleep(_RETRY)


async def _prove(slots, journal, accepted, deadline, reset, log):
    log("New firmware on trial: it has %d s to be accepted by the central system" % deadline)
    try:
        await asyncio.wait_for(accepted.wait(), deadline)
    except asyncio.TimeoutError:
        reason = "the new firmware was not accepted by the central system within %d s" % deadline
        log("%s: going back" % reason)
        if journal.busy:
            journal.note(reason=reason)
        await reset()
        return False
    slots.confirm()
    return True
