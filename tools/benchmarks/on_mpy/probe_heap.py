# mypy: ignore-errors
"""A probe in main.py: the heap in use, at its highest."""

import asyncio
import gc
import sys
import time

import micropython

_peak = 0


def begin():
    """Tell what names take before the application."""
    micropython.qstr_info()


def imported():
    """All that main.py imports at its start is there."""
    gc.collect()
    print("@imported", gc.mem_alloc())


def forgetting():
    """main.py is about to drop modules; or at any other time."""
    global _peak
    gc.collect()
    used = gc.mem_alloc()
    if used > _peak:
        _peak = used
        print("@peak", used, ",".join(sys.modules))
        micropython.qstr_info()
    return used


async def run():
    """Sample at every turn of the event loop, and tell twice a second what is in use and loaded."""
    told = time.ticks_ms()
    while True:
        used = forgetting()
        if time.ticks_diff(time.ticks_ms(), told) > 500:
            told = time.ticks_ms()
            print("@now", used, ",".join(sys.modules))
            micropython.qstr_info()
        await asyncio.sleep_ms(0)
