"""Which serial port the board is at, and why it can't be opened."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import serial
from serial.tools import list_ports

from flashing.errors import FlashError

NOTHING = """\
no USB serial port is there. Check these, from the likely to the rare:
  - the cable: many only charge and have no data lines; take another one
  - the board's own LED is lit, and the plug is in the right socket: boards with two have UART or COM beside one of them
  - the driver of its USB chip (CP210x, CH34x, FTDI): Linux and macOS bring it, Windows may need the maker's.
    On Ubuntu the package brltty takes CH340 chips away: sudo apt remove brltty
  - in a virtual machine or a container: hand the USB device on to it
Then run this again, or name the port: --port PORT"""


class Found(Protocol):
    """What pyserial tells of a port."""

    device: str
    description: str
    vid: int | None


def choose(found: Iterable[Found]) -> tuple[str, str]:
    """Return (port, what it is) if there is one USB serial port; FlashError otherwise."""
    usb = sorted((port.device, port.description) for port in found if port.vid is not None)
    if not usb:
        raise FlashError(NOTHING)
    if len(usb) > 1:
        rows = "\n".join(f"  --port {device:<16} {description}" for device, description in usb)
        raise FlashError(f"there are {len(usb)} USB serial ports; say which one the board is at:\n{rows}")
    return usb[0]


def find(named: str | None) -> tuple[str, str]:
    """Return (port, what it is): the one that was named, or the only one of this machine."""
    if not named:
        return choose(list_ports.comports())
    if "://" in named and not named.startswith(("socket://", "rfc2217://")):
        raise FlashError(f"--port {named}: a port is a device (/dev/ttyUSB0, COM3) or socket://HOST:PORT")
    for port in list_ports.comports():
        if port.device == named:
            return named, str(port.description)
    return named, ""


def is_real(port: str) -> bool:
    """Whether there may be a real board at this port, and not a simulated or emulated one."""
    return "://" not in port and not port.startswith("/dev/pts/")


def check(port: str) -> None:
    """Open the port and close it again; FlashError says why it can't be opened."""
    try:
        serial.serial_for_url(port, exclusive=True).close()
    except (OSError, ValueError) as error:
        raise FlashError(explain(port, error)) from None


def explain(port: str, error: OSError | ValueError) -> str:
    """Why a port can't be opened, and what to do."""
    number = getattr(error, "errno", None)
    text = str(error)
    plain = re.sub(r"^.*\[Errno -?\d+\] ", "", text)
    if "://" in port:
        return f"{port} can't be opened: {plain}. Is the board, or what simulates it, switched on?"
    if number in (errno.EAGAIN, errno.EBUSY) or "exclusively lock" in text:
        holder = _holder(port)
        return (
            f"{port} is in use by {holder}: end that program (a serial monitor, an IDE, mpremote?) and run this again"
        )
    if number == errno.EACCES and sys.platform == "linux":
        group = _group(port)
        return (
            f"this user may not open {port}: sudo usermod -aG {group} $USER, then log out and in again "
            f"(or for once: sudo chmod a+rw {port})"
        )
    if number == errno.EACCES or "Access is denied" in text or "PermissionError" in text:
        return f"{port} can't be opened, another program has it: end that one and run this again"
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV) or "FileNotFoundError" in text:
        return f"there is no port {port}: without --port the ports that are there are looked at. {_others(port)}"
    return f"{port} can't be opened: {plain}"


def _others(port: str) -> str:
    others = [found.device for found in list_ports.comports() if found.vid is not None and found.device != port]
    return f"There are: {', '.join(others)}" if others else "There is none now: check the cable"


def _group(port: str) -> str:
    """Return the group that may open a device."""
    try:
        return Path(port).group()
    except (OSError, KeyError):
        return "dialout"


def _holder(port: str) -> str:
    """Return which program has the port open, as far as this user may know."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()) == port and int(link.parts[2]) != os.getpid():
                return f"{Path('/proc', link.parts[2], 'comm').read_text().strip()} (process {link.parts[2]})"
        except OSError:
            continue  # another user's, or it has just ended
    return "another program"
