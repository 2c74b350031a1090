"""What ends a transfer."""


class ImageError(Exception):
    """The file is no firmware for this charger; the text says why and what to do."""


class Interrupted(Exception):
    """The file could not be had, or not to its end. `permanent`: trying the same location again can't help."""

    def __init__(self, error):
        super().__init__(str(error.args[-1]) if error.args else repr(error))
        self.permanent = getattr(error, "permanent", False)


def refuse(reason, *details):
    """Raise the ImageError for a reason of refusals.py."""
    from . import refusals  # their words would take much of the heap, and mostly in vain

    raise ImageError(refusals.text(reason, details))
