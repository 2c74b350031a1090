"""The hardware watchdog: it resets the charger when the event loop stands still."""

import asyncio

import machine
from micropython import const

_TIMEOUT = const(60000)  # ms; longer than a TLS handshake, a DNS time-out or the slowest flash operation


async def run():
    """Start the watchdog, and feed it for as long as the event loop runs. It can't be stopped."""
    watchdog = machine.WDT(timeout=_TIMEOUT)
    while True:
        watchdog.feed()
        await asyncio.sleep_ms(_TIMEOUT // 6)
