# mypy: ignore-errors
"""A probe in main.py: how deep the stack gets."""

import asyncio
import builtins

import esp32
import micropython

_deepest = {"all": 0, "running": 0}


def _watch(kind, owner, *names):
    for name in names:
        setattr(owner, name, _watched(kind, getattr(owner, name)))


def _watched(kind, function):
    def watched(*arguments, **keywords):
        _deepest[kind] = max(_deepest[kind], micropython.stack_use())
        return function(*arguments, **keywords)

    return watched


def begin():
    """Put the probe in everywhere."""
    from hw.connection import Connection
    from hw.slots import Slot

    _watch("all", esp32.Partition, "readblocks", "writeblocks", "ioctl", "set_boot")
    _watch("running", esp32.NVS, "get_blob", "set_blob")
    _watch("running", builtins, "print")
    _watch("running", Slot, "erase", "write", "read", "set_boot")
    _watch("running", Connection, "check", "_set_deadline", "close")


def imported():
    """Nothing to do."""


def forgetting():
    """Nothing to do."""


async def run():
    """Tell what was found whenever it is more."""
    told = {}
    while True:
        for key, depth in _deepest.items():
            if depth > told.get(key, 0):
                told[key] = depth
                print("@stack", key, depth)
        await asyncio.sleep_ms(0)
