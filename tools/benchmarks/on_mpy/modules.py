# mypy: ignore-errors
"""Tells what modules take of the heap while they are loaded: their names apart, which stay. Arguments: the modules."""

import gc
import sys


class _Empty:
    """Stands for a module of the chip."""

    ADC = NVS = PWM = Partition = Pin = UART = WDT = None


def _used():
    gc.collect()
    return gc.mem_alloc()


def main(ours):
    for name in ("esp32", "machine", "network"):
        sys.modules[name] = _Empty()
    for name in ours:
        __import__(name)  # and what that imports of others'
    for name in ours:
        package, _, module = name.rpartition(".")
        del sys.modules[name]
        delattr(sys.modules[package], module)
    before = _used()
    for name in ours:
        __import__(name)
    print(_used() - before)


main(sys.argv[1:])
