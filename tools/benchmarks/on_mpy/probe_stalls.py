# mypy: ignore-errors
"""A probe in main.py: how long the event loop stands still, and for what."""

import asyncio
from time import ticks_diff, ticks_us

import esp32
import processor

_longest = {}
_cause = ""  # what has happened since the last turn, of what blocks by nature
_handshakes = 0
_flash = 0  # us that a real flash would have taken since the last turn


def _apart(owner, name, cause):
    """Account for a function of its own."""
    plain = getattr(owner, name)

    def named(*arguments):
        global _cause
        _cause = cause
        return plain(*arguments)

    setattr(owner, name, named)


def _take(duration):
    global _flash
    _flash += duration


def begin():
    """Put the probe in everywhere."""
    esp32.flash._sleep_us = _take
    from hw.connection import Dialer
    from hw.slots import Slot

    _apart(Slot, "set_boot", "set_boot")
    plain = Dialer.dial

    async def dial(*arguments, **options):
        _watch_dialing()
        return await plain(*arguments, **options)

    Dialer.dial = dial


def _watch_dialing():
    """For each connection anew, as the module is dropped in between."""
    import hw.dialing

    _apart(hw.dialing, "_resolve", "DNS")
    plain = hw.dialing.start_tls

    async def start_tls(*arguments):
        global _cause, _handshakes
        _handshakes += 1
        try:
            await plain(*arguments)
        finally:
            _handshakes -= 1
            _cause = "TLS"

    hw.dialing.start_tls = start_tls


def imported():
    """Nothing to do."""


def forgetting():
    """Nothing to do."""


async def run():
    """Measure the time from turn to turn."""
    global _cause, _flash
    last = ticks_us()
    before = processor.used()
    while True:
        await asyncio.sleep_ms(0)
        gap = processor.used() - before + _flash
        wall = ticks_diff(ticks_us(), last) + _flash
        cause = _cause or ("TLS" if _handshakes else "other")
        _cause = ""
        if gap > _longest.get(cause, 0):
            _longest[cause] = gap
            print("@stall", cause, gap, _flash)
        if cause == "other" and wall > _longest.get("wall", 0):
            _longest["wall"] = wall
            print("@stall wall", wall, _flash)
        _flash = 0
        last = ticks_us()
        before = processor.used()
