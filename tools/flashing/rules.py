"""Pins and OCPP keys in config.json, judged by the charger's own modules, with pins that do nothing."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import sys
import time
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any
from unittest import mock

from environment import REPOSITORY
from flashing.config import refuse
from flashing.fields import SECRET_KEYS, nested

PARTS = ("connectors", "reader", "emergency_stop")
OTHERS = ("led", "maintenance")  # pins that hw/fitting.py does not know

# By chip id of the image header: the pins that it has.
PINS = {
    0: {*range(6), *range(12, 24), *range(25, 28), *range(32, 40)},
    2: {*range(22), *range(26, 47)},
    5: {*range(22)},
    9: {*range(22), *range(26, 49)},
    13: {*range(31)},
}


class _Part:
    """Stands for a pin, or what is made of it."""

    IN = OUT = PULL_DOWN = PULL_UP = IRQ_RISING = IRQ_FALLING = ATTN_11DB = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def irq(self, *_: Any, **__: Any) -> None:
        pass

    def value(self, *_: Any) -> int:
        return 0

    __call__ = duty_u16 = read_uv = on = off = init = value


# What MicroPython's time has besides.
TICKS: dict[str, Any] = {"ticks_ms": lambda: 0, "ticks_us": lambda: 0, "ticks_diff": lambda a, b: a - b}


class _Store:
    """A charger without a past."""

    def get(self, _: str) -> None:
        return None


def check(fields: Mapping[str, Any], chip: int) -> list[str]:
    """FlashError if a pin or key is wrong for this chip (its id). Return what can't be judged here, as remarks."""
    remarks, wrong = [], []
    for judge in (_pins, _keys):
        try:
            wrong += judge(fields, chip)
        except Exception as error:  # whatever the rules need that there is not on this machine
            remarks.append(f"not all of config.json is checked here, but by the charger when it starts ({error!r})")
    refuse(wrong)
    return remarks


def _pins(fields: Mapping[str, Any], chip: int) -> list[str]:
    there = PINS.get(chip)
    taken: set[int] = set()

    class Pin(_Part):
        def __init__(self, number: int, *_: Any, **__: Any) -> None:
            if there and number not in there:
                raise ValueError("this chip has no such pin")
            taken.add(number)

    config = {name: value for name, value in nested(fields).items() if name in PARTS}
    if "connectors" in config:
        with _firmware("hw.fitting", Pin) as fitting:
            try:
                fitting.build(config, chip, _Store(), lambda *_: None)
            except ValueError as error:
                return [str(error)]
    wrong = []
    for name in OTHERS:
        number = fields.get(name)
        if number is not None and there and number not in there:
            wrong.append(f'"{name}" is {number}: this chip has no such pin')
        elif number in taken:
            wrong.append(f'"{name}" takes pin {number}, which is taken by a connector or what belongs to it')
    return wrong


def _keys(fields: Mapping[str, Any], _: int) -> list[str]:
    wrong: list[str] = []
    configured = fields.get("configuration", {})
    with _firmware("ocpp.keys", _Part) as keys:
        for key, value in configured.items():
            if key not in keys.KEYS:
                close = difflib.get_close_matches(key, keys.KEYS, 1)
                wrong.append(f'"configuration" has "{key}", which is no key{f"; {close[0]} perhaps?" if close else ""}')
            else:
                keys.load(_Store(), {key: value}, wrong.append)
    ignored = "ignored the configured value of "
    return [
        f'"configuration" has {masked_key(text.removeprefix(ignored), configured)}, which this key can\'t have'
        if text.startswith(ignored)
        else text
        for text in wrong
    ]


def masked_key(key: str, configured: Mapping[str, Any]) -> str:
    """Return a key and its value as they may be shown."""
    return key if key in SECRET_KEYS else f"{key} {configured[key]!r}"


@contextlib.contextmanager
def _firmware(name: str, pin: type) -> Iterator[Any]:
    """Give a module of the firmware, imported on this machine."""
    machine, micropython = ModuleType("machine"), ModuleType("micropython")
    vars(machine).update(dict.fromkeys(("ADC", "PWM", "UART", "Timer", "Signal"), _Part), Pin=pin)
    vars(micropython).update(const=lambda number: number)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(sys.modules, {"machine": machine, "micropython": micropython}))
        stack.enter_context(mock.patch.object(sys, "path", [str(REPOSITORY), *sys.path]))
        for function, stand_in in TICKS.items():
            stack.enter_context(mock.patch.object(time, function, stand_in, create=True))
        for package in [loaded for loaded in sys.modules if loaded.partition(".")[0] == name.partition(".")[0]]:
            del sys.modules[package]  # on this machine there is a package `ocpp`, which is another one
        yield importlib.import_module(name)
