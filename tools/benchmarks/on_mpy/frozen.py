# mypy: ignore-errors
# ruff: noqa: PTH116, PTH123, SIM105, SIM115
"""What modules take of the heap when they are loaded, and what their statements alone take. Runs as main.py."""

import gc
import json
import os

import micropython


def _used():
    gc.collect()
    return gc.mem_alloc()


def _compiled(name):
    path = "source/" + name + ".py"
    text = bytearray(os.stat(path)[6])
    open(path).readinto(text)
    return compile(bytes(text).decode(), name, "exec")


def _measure():
    lists = json.load(open("frozen.json"))
    for name in lists["others"]:
        try:
            __import__(name)
        except ImportError:
            pass  # the launcher's or the chip's own, gone by now
    before = _used()
    micropython.qstr_info()
    for name in lists["ours"]:
        __import__(name)
    loaded = _used() - before
    micropython.qstr_info()
    micropython.opt_level(3)
    executed = 0
    kept = [None] * len(lists["ours"])
    for i, name in enumerate(lists["ours"]):
        code = _compiled(name)
        before = _used()
        kept[i] = {"__name__": name}
        exec(code, kept[i])
        executed += _used() - before
    micropython.opt_level(0)
    code = None
    before = _used()
    code = _compiled("main")
    print("@frozen", loaded, executed, _used() - before)


_measure()
