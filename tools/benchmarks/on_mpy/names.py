# mypy: ignore-errors
# ruff: noqa: PTH123
"""Loads modules, then tells how many names there are. Arguments: boot.py, main.py, archive.py, the modules."""

import sys

import micropython


class _Empty:
    """Stands for a module of the chip."""

    ADC = NVS = PWM = Partition = Pin = UART = WDT = None


for _name in ("esp32", "machine", "network"):
    sys.modules[_name] = _Empty()
with open("in_flash.txt") as _file:
    for _name in _file.read().split():
        getattr(sys, _name, None)
for _name in sys.argv[4:]:
    __import__(_name)
for _name in sys.argv[1:4]:
    with open(_name) as _file:
        compile(_file.read(), _name, "exec")
micropython.qstr_info()
