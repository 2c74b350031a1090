"""What tools/flash.py ends with when something is wrong."""

from __future__ import annotations


class FlashError(Exception):
    """The charger can't be set up like this; the text says what is wrong and what to do."""
