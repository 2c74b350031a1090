# mypy: ignore-errors
"""A probe in main.py: how deep the stack gets, as an ESP32 counts it.

The frames of MicroPython are as large there as here, within a few percent (measured on an emulated ESP32 with
MicroPython 1.25: a call 288 bytes, a generator 256). But here a path takes 4 KiB of the stack while a module is
imported, and the simulator has frames of its own below main.py: both are measured and taken off.
"""

import asyncio
import builtins
import sys

import esp32
import micropython
from micropython import const

# What micropython.stack_use() gives on that ESP32 in a function that main.py calls, and what one import adds to it.
_BASE = const(992)
_IMPORT = const(720)

_BUILTIN = ("binascii", "gc", "hashlib", "json", "os", "re", "select", "socket", "struct", "tls")
_deepest = {}
_importing = 0
_base = _import = 0
_plain = __import__


class _Module:
    """Stands for a module in C, whose own attributes can't be set."""


def _watched(name, function):
    def watched(*arguments, **keywords):
        look(name)
        return function(*arguments, **keywords)

    return watched


def look(name):
    """Note how deep the stack is here."""
    used = micropython.stack_use() - _base - _importing * _import
    kind = "all" if _importing else "running"
    if used > _deepest.get(kind, (0,))[0]:
        _deepest[kind] = used, name


def _watch(owner, prefix, *names):
    for name in names:
        setattr(owner, name, _watched(prefix + name, getattr(owner, name)))


def _count(*arguments):
    global _importing
    _importing += 1
    try:
        return _plain(*arguments)
    finally:
        _importing -= 1


def begin():
    """Put the probe in everywhere. (probe_level_1.py and 2 are empty but for the depth that they note.)"""
    global _base, _import
    for name in asyncio._attrs:
        getattr(asyncio, name)  # else imported when needed, relative to its package, which _count() doesn't know
    builtins.__import__ = _count
    import probe_level_1
    import probe_level_2

    _base = micropython.stack_use() - _BASE
    _import = probe_level_2.used - probe_level_1.used - _IMPORT
    for name in _BUILTIN:
        module = __import__(name)
        stand_in = _Module()
        for attribute in dir(module):
            value = getattr(module, attribute)
            # Classes that somebody may derive from or compare with stay what they are.
            if callable(value) and (not isinstance(value, type) or name == "hashlib"):
                value = _watched(name + "." + attribute, value)
            setattr(stand_in, attribute, value)
        sys.modules[name] = stand_in
    sys.modules["gc"].threshold = lambda size: None  # all those calls make garbage: there is heap for it
    time = sys.modules["time"]
    _watch(time, "time.", "ticks_ms", "ticks_diff", "ticks_add", "time")
    _watch(esp32.Partition, "Partition.", "readblocks", "writeblocks", "ioctl", "set_boot")
    _watch(esp32.NVS, "NVS.", "get_blob", "set_blob")
    _watch(builtins, "", "print", "open")


def imported():
    """Nothing to do."""


def forgetting():
    """main.py is about to drop modules."""
    look("forget")


async def run():
    """Tell what was found whenever it is more."""
    told = {}
    while True:
        for kind in list(_deepest):
            if _deepest[kind] != told.get(kind):
                told[kind] = _deepest[kind]
                print("@stack", kind, *told[kind])
        await asyncio.sleep_ms(500)
