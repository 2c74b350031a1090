"""The step that writes MicroPython with esptool, laid out for updates if it is not."""

from __future__ import annotations

from pathlib import Path

from environment import CACHE
from flashing import chip, firmware, layout
from flashing.errors import FlashError
from flashing.show import agree, percent, say, step


def put(port: str, path: Path, bundle: int, baud: int, *, anew: bool, yes: bool) -> bool:
    """Write MicroPython unless it is there already; return whether it was written.

    bundle: bytes of the application that updates bring behind it. anew: as on a blank board. yes: agree to everything.
    """
    image = firmware.read(path)
    with step("Chip") as line:
        found = chip.detect(port, baud)
        line.end(str(found))
    with step("Image") as line:
        firmware.check(image, found.name, found.flash_size)
        bundle = 0 if image.production else bundle
        reason = firmware.needs_layout(image, bundle, found.flash_size)
        line.end(image.describe())
    if reason:
        image = lay_out(image, reason, found.flash_size, bundle, yes=yes)
    with step("MicroPython") as line:
        plan = chip.plan(image, chip.state(port, image, baud), anew=anew)
        if not plan.writes:
            chip.reset(port, baud)
            line.end(f"{image.version_text} is there already")
            return False
        line.end(f"{image.version_text} has to be written")
    accept(plan, port, baud, yes=yes)
    with step("Writing") as line:
        chip.write(port, image, plan, lambda done, total: line.show(percent(done, total)), baud)
        line.end(f"done, {sum(len(part.data) for part in plan.writes) // 1024:,} KiB")
    return True


def copy_of(path: Path) -> Path:
    """Return where the image that is laid out anew goes."""
    return CACHE / "flash" / f"{path.stem}-slots.bin"


def lay_out(image: firmware.Firmware, reason: str, flash_size: int, bundle: int, *, yes: bool) -> firmware.Firmware:
    """Make an image of this one that has the slots which updates need."""
    say(f"This image has to be laid out anew: {reason}")
    agree("Make a copy of it with two OTA slots, and write that?", yes=yes)
    target = copy_of(image.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with step("Layout") as line:
        image = layout.with_ota_slots(image, target, flash_size, bundle)
        line.end(image.describe())
    return image


def accept(plan: chip.Plan, port: str, baud: int, *, yes: bool) -> None:
    """Say what will be lost, and ask."""
    for loss in plan.losses:
        say(f"Lost by it: {loss}")
    if not plan.losses:
        return
    try:
        agree("Go on?", yes=yes)
    except FlashError:
        chip.reset(port, baud)
        raise
