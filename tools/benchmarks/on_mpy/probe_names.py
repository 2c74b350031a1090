# mypy: ignore-errors
"""A probe in main.py: which modules are loaded, if only for a moment."""

import asyncio
import sys

_seen = set()


def begin():
    """What boot.py has loaded counts, too."""
    print("@start 1")


def imported():
    """All that main.py imports at its start is there."""
    forgetting()


def forgetting():
    """main.py is about to drop modules; or at any other time."""
    for name in sys.modules:
        if name not in _seen:
            _seen.add(name)
            print("@module", name)


async def run():
    """Look at every turn of the event loop."""
    while True:
        forgetting()
        await asyncio.sleep_ms(0)
