"""The hardware watchdog: it resets the charger when the event loop stands still."""

import asyncio

import machine
from micropython import const

_TIMEOUT = const(60000)  # ms; longer than a TLS handshake, a DNS time-out or the slowest flash operation
_HOUR = const(3600000)  # ms
_SETTLED = const(60)  # feeds, 10 minutes


async def run(settled=None):
    """Start the watchdog, and feed it for as long as the event loop runs. It can't be stopped.

    settled(), if given, is called once the event loop has run for ten minutes.
    """
    watchdog = machine.WDT(timeout=_TIMEOUT)
    feeds = 0
    while True:
        watchdog.feed()
        await asyncio.sleep_ms(_TIMEOUT // 6)
        feeds += 1
        if feeds == _SETTLED and settled:
            settled()


def leave_an_hour():
    """Let somebody work at the prompt; a charger that they forget there is back in service after an hour."""
    machine.WDT(timeout=_HOUR)
