"""One figure of the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from simulator.interpreter import Interpreter


@dataclass(frozen=True)
class Row:
    """`name` stays the same from version to version: it is what a comparison goes by."""

    name: str
    what: str
    value: float
    unit: str
    limit: float | None = None  # the goal, if there is one
    is_most: bool = True  # the goal is the highest value allowed, else the lowest

    @property
    def holds(self) -> bool:
        """Whether the goal is met; True without one."""
        return self.limit is None or (self.value <= self.limit if self.is_most else self.value >= self.limit)

    @property
    def goal(self) -> str:
        """The goal in words."""
        return "" if self.limit is None else f"{'≤' if self.is_most else '≥'} {number(self.limit)}"


# What a measure tells while it runs.
Show = Callable[[str], None]
Measure = Callable[[Interpreter, Show], Coroutine[Any, Any, list[Row]]]


def number(value: float) -> str:
    """Return a figure as people read it: three digits behind the point below 2, all in front of it from 100 on."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 2 else f"{value:.1f}"
