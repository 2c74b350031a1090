"""esptool in a subprocess: it talks to the loader in the chip's ROM. What its failures mean for people.

The words looked for are those of the esptool that requirements-dev.txt names.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence

from flashing import ports
from flashing.errors import FlashError

BAUD = 460800
SAFE_BAUD = 115200
ATTEMPTS = 0  # to connect; 0: as many as esptool likes, which are 7 of a good second each

OPENING = re.compile(r"Could not open .*?\n\((.*)\)", re.DOTALL)
NUMBER = re.compile(r"\[Errno (-?\d+)\]")
FATAL = re.compile(r"ERROR: (?:A fatal error occurred: |A serial exception error occurred: )?(.*)", re.DOTALL)

HOLD_BOOT = (
    "hold the button BOOT (IO0) of the board down, press EN (RST) shortly, let BOOT go after a second, and run this "
    "again at once"
)


class ChipError(FlashError):
    """The chip can't be reached or written; the text says why and what to do."""


class NoPort(ChipError):
    """There is no such port."""


class PortBusy(ChipError):
    """Another program has the port open."""


class NoPermission(ChipError):
    """The user may not open the port."""


class NoChip(ChipError):
    """Nothing, or nothing sensible, answers at the port."""


class WrongChip(ChipError):
    """What answers is no chip that this can be written to."""


class WriteFailed(ChipError):
    """The chip answered, and then it went wrong."""


def command(port: str, *arguments: str, chip: str = "auto", baud: int = BAUD, after: str = "no-reset") -> list[str]:
    """Return the command line of esptool. `after`: what becomes of the chip; with "no-reset" it waits in its loader."""
    options = ["--chip", chip, "--port", port, "--baud", str(baud), "--after", after]
    if ATTEMPTS:
        options += ["--connect-attempts", str(ATTEMPTS)]
    return [sys.executable, "-m", "esptool", *options, *arguments]


def run(
    port: str, arguments: Sequence[str], seen: Callable[[str], None] = lambda line: None, may_end: str = "\0"
) -> list[str]:
    """Run esptool and return its lines, each handed to `seen` at once. ChipError if it fails.

    `may_end`: words in its last error that make it no failure.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}
    lines = []
    with subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
    ) as process:
        try:
            assert process.stdout
            for line in process.stdout:
                lines.append(line.rstrip())
                seen(line)
        except BaseException:
            process.terminate()  # Ctrl-C: it must not go on writing
            raise
    output = "\n".join(lines)
    if process.returncode and may_end not in output:
        raise failure(port, output)
    return lines


def failure(port: str, output: str) -> ChipError:
    """Return what the output of an esptool that failed means."""
    opening = OPENING.search(output)
    if opening:
        return _not_open(port, opening[1])
    last = output[max(output.rfind("ERROR: "), 0) :]
    fatal = FATAL.search(last)
    text = fatal[1].split("\n")[0].strip() if fatal else output.strip().rpartition("\n")[2]
    for words, kind, advice in MEANINGS:
        if words in last:
            return kind(f"{port}: {advice} (esptool: {text})")
    return ChipError(f"{port}: esptool failed: {text}")


def _not_open(port: str, reason: str) -> ChipError:
    number = NUMBER.search(reason)
    code = abs(int(number[1])) if number else 0
    plain = reason.rpartition("] ")[2].split(": ")[0]
    error = OSError(plain) if "://" in port else OSError(code, reason) if code else OSError(reason)
    text = ports.explain(port, error)
    if "://" in port or code in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return NoPort(text)
    if code in (errno.EAGAIN, errno.EBUSY):
        return PortBusy(text)
    if code == errno.EACCES:
        return NoPermission(text)
    return NoPort(f"{port} is no serial port: {reason}")


# Words in esptool's last error, what they mean, what to do. The first that is found counts.
MEANINGS: tuple[tuple[str, type[ChipError], str], ...] = (
    (
        "Wrong boot mode detected",
        NoChip,
        f"the chip started its program and not its loader; {HOLD_BOOT}",
    ),
    (
        "serial TX path seems to be down",
        NoChip,
        "the chip is in its loader and does not hear this computer: check the wire to its RX, or take another cable",
    ),
    (
        "No serial data received",
        NoChip,
        f"no chip answers. Is it the right port and a cable with data lines? If so, {HOLD_BOOT}",
    ),
    (
        "Invalid head of packet",
        NoChip,
        f"something talks, but not the chip's loader. Is it the right port? If so, {HOLD_BOOT}",
    ),
    (
        "Failed to connect to",
        NoChip,
        f"the chip's loader does not answer; {HOLD_BOOT}",
    ),
    (
        "Wrong chip argument",
        WrongChip,
        "this is another chip than the file is for; take the MicroPython for this one",
    ),
    (
        "requires chip revision",
        WrongChip,
        "this chip is too old or too new for this MicroPython; take another version, or another board",
    ),
    (
        "is not an ESP",
        WrongChip,
        "the file is for another chip; take the MicroPython for this one",
    ),
    (
        "Failed to autodetect chip type",
        WrongChip,
        "a chip answers that esptool does not know; is this a board with an ESP32?",
    ),
    (
        "will not fit in",
        WrongChip,
        "the chip's flash is too small for this; take a board with more flash",
    ),
    (
        "Secure",
        WrongChip,
        "the chip is locked for a product (secure boot or flash encryption); take another board",
    ),
    (
        "Failed to set baud rate",
        NoChip,
        f"the port can't do this speed; run this again with --baud {SAFE_BAUD}",
    ),
    (
        "Failed to start stub flasher",
        NoChip,
        f"the connection is bad; take another cable or USB port, or run this again with --baud {SAFE_BAUD}",
    ),
)
