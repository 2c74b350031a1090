"""Why a board does not come to its prompt, from what it says instead."""

from __future__ import annotations

import re

DAMAGED = b"filesystem appears to be corrupted"


def clean(line: bytes) -> str:
    """Return a line of the serial log without what would disturb a terminal."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", line.decode(errors="replace"))
    return "".join(char for char in text if char.isprintable() or char == "\t").rstrip()


def why_silent(seen: bytes, port: str) -> str:
    """Why there is no prompt, from what the board said instead."""
    download = "waiting for download" in seen.decode(errors="replace")
    if b"invalid header: 0xffffffff" in seen:
        return "the flash of this board is empty: write MicroPython first, with --micropython FILE"
    if b"invalid header" in seen or b"No bootable app partitions" in seen or b"flash read err" in seen:
        return "there is no program on this board that starts: write MicroPython first, with --micropython FILE"
    if DAMAGED in seen:
        return (
            "the file system of this board is damaged, and its MicroPython waits there for ever: --micropython FILE "
            "--anew makes the board as good as new; all that the charger kept is lost"
        )
    if download:
        return "the board waits for a download: let go of BOOT (GPIO 0), press EN or RESET, and run this again"
    if not seen.strip():
        return (
            f"nothing comes from the board at {port}: press EN or RESET and run this again. If it stays silent this "
            "may be another device's port, or there is no MicroPython on the board: then use --micropython FILE"
        )
    if b"Brownout" in seen:
        return "the board's voltage breaks down (brownout): take another cable, or a USB port or supply that gives more"
    readable = sum(32 <= byte < 127 or byte in b"\r\n\t\x1b" for byte in seen)
    if readable < 0.8 * len(seen):
        return (
            f"what comes from {port} is no text at 115200 baud: another device, or a program that is not MicroPython. "
            "With --micropython FILE it is written anew"
        )
    if seen.count(b"rst:") > 2:
        reason = "the board resets again and again, before it can be interrupted"
    else:
        reason = "the program on the board does not let itself be interrupted, or it is not MicroPython"
    last = "\n".join(f"  | {clean(line)}" for line in seen.split(b"\n")[-6:] if line.strip())
    return (
        f"{reason}. Press EN or RESET and run this again at once, with the charger's maintenance pin held low if it "
        f"has one; the last way is --micropython FILE --anew. It said:\n{last}"
    )
