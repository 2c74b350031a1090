"""How tools/flash.py shows what it does, and asks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from environment import ProgressLine, bar
from flashing.errors import FlashError


@contextlib.contextmanager
def step(title: str) -> Iterator[ProgressLine]:
    """Show a step; when it fails its line says so before the reason is told."""
    line = ProgressLine(title)
    try:
        yield line
    except BaseException:
        line.end("failed")
        raise


def say(text: str) -> None:
    """Tell something below a step."""
    print(f"  {text}", flush=True)


def percent(done: int, total: int) -> str:
    """Return a bar and how much of it is done."""
    share = 100 * done // max(1, total)
    return f"{bar(share, 100).partition(' ')[0]} {share} %"


def agree(question: str, *, yes: bool) -> None:
    """FlashError unless the user agrees. yes: has done so already."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise FlashError(f"{question} There is no terminal to ask you: --yes says yes")
    if input(f"  {question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise FlashError("nothing was written")
