"""The board at the other end of the cable: its MicroPython's prompt, by mpremote's transport, and its serial log."""

from __future__ import annotations

import contextlib
import struct
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import Self

import serial
from mpremote.transport import TransportError

from flashing import ports
from flashing.errors import FlashError
from flashing.link import SILENCE, Link
from flashing.silence import DAMAGED, clean, why_silent

BAUDRATE = 115200
PATIENCE = 25  # seconds to get at the prompt: a first start makes a file system, and a charger may be in mid-reset
CHUNK = 2048  # bytes of a file that go at once: the board needs about four times that of its memory
BROKEN = (OSError, TransportError, struct.error, TypeError)  # pyserial raises TypeError when its port has vanished

RAW = b"raw REPL; CTRL-B to exit\r\n"
INTERRUPT, RAW_MODE, SOFT_RESET = b"\r\x03", b"\r\x01", b"\x04"
ENDS_TRIAL = b"going back to the firmware before this one"

# What the board is told to know before anything else. open_(path), write(base64), done(path, SHA-256): a file is
# written under another name, read again, and only then takes the place of the one before it.
HELPERS = """
import binascii, hashlib, os
def sha(path):
    digest, part = hashlib.sha256(), bytearray(1024)
    with open(path, "rb") as f:
        while True:
            n = f.readinto(part)
            if not n:
                return binascii.hexlify(digest.digest()).decode()
            digest.update(memoryview(part)[:n])
def open_(path):
    global out
    folder = path.rpartition("/")[0]
    if folder and folder[1:] not in os.listdir("/"):
        os.mkdir(folder)
    out = open(path + ".new", "wb")
def write(text):
    out.write(binascii.a2b_base64(text))
def done(path, digest):
    out.close()
    if sha(path + ".new") != digest:
        raise OSError(5)
    os.rename(path + ".new", path)
"""


class ScriptError(FlashError):
    """What the board was told to do ended with an error. `error`: the last line of its traceback."""

    def __init__(self, output: str) -> None:
        self.error = (output.strip().splitlines() or [""])[-1]
        super().__init__(f"the board answered: {self.error}. {output.strip()}")

    @property
    def is_full(self) -> bool:
        """Whether the file system has no room left."""
        return "ENOSPC" in self.error or self.error.endswith("OSError: 28")


class Board:
    """A board at a serial port. Use it with `with`: it opens the port, and closes it in the end."""

    def __init__(self, port: str, tell: Callable[[str], None] = lambda _: None) -> None:
        """tell: is told what is tried while the board keeps us waiting."""
        self.port = port
        self.tell = tell
        self._link: Link | None = None
        self._rest = b""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Open the port; FlashError says why it can't be opened."""
        try:
            self._link = Link(self.port, BAUDRATE, timeout=SILENCE)
        except (*BROKEN, ValueError):
            ports.check(self.port)  # mpremote doesn't say why
            raise FlashError(f"{self.port} can't be opened: run this again") from None
        self._link.is_pty = False  # its input is counted as that of other ports is

    def close(self) -> None:
        """Close the port."""
        if self._link:
            with contextlib.suppress(*BROKEN):  # it has vanished
                self._link.close()
            self._link = None

    # ---------------------------------------------------------------------------------------------------------- prompt

    def enter(self, patience: float = PATIENCE) -> None:
        """Interrupt whatever runs, and restart MicroPython without main.py, at its raw prompt.

        The soft reset gives back the memory that the application took, and its watchdog an hour (boot.py).
        """
        seen = b""
        deadline = time.monotonic() + patience
        try:
            while time.monotonic() < deadline:
                self._serial.write(INTERRUPT)
                seen += self._listen(0.1)
                self._serial.write(INTERRUPT + RAW_MODE)
                answer = self._until(min(2, patience), RAW + b">")
                seen = (seen + answer)[-4096:]
                if not answer.endswith(RAW + b">"):
                    self.tell("waiting for the prompt")
                    continue
                self._serial.write(SOFT_RESET)
                if self._restarted():
                    self.run(HELPERS)
                    return
        except BROKEN as error:
            raise self._lost(error) from None
        raise FlashError(why_silent(seen, self.port))

    def _restarted(self) -> bool:
        """Whether the soft reset has ended at the raw prompt."""
        answer = self._until(5, b"soft reboot\r\n")
        if answer:
            # A firmware on trial: the board has gone back to the one before it, which is interrupted next.
            answer = self._until(15, RAW, DAMAGED, ENDS_TRIAL)
        if answer.endswith(DAMAGED):
            raise FlashError(why_silent(answer, self.port))
        return answer.endswith(RAW)

    def run(self, script: str, seconds: float = SILENCE) -> str:
        """Run a script on the board and return what it printed; ScriptError if it ended with an error."""
        assert self._link
        try:
            output, errors = self._link.exec_raw(script, timeout=seconds)
        except BROKEN as error:
            raise self._lost(error) from None
        if errors:
            raise ScriptError(errors.decode(errors="replace"))
        return str(output.decode(errors="replace"))

    def put(self, path: str, content: bytes, digest: str, progress: Callable[[int], None] = lambda _: None) -> None:
        """Write a file, read it again, and let it take the place of the one before it. progress: bytes of a piece."""
        script = f"open_({path!r})\n"
        for start in range(0, max(1, len(content)), CHUNK):
            piece = content[start : start + CHUNK]
            script += f"write({b64encode(piece)!r})\n"
            if start + CHUNK >= len(content):
                script += f"done({path!r}, {digest!r})\n"
            self.run(script, 30)
            progress(len(piece))
            script = ""

    def get(self, path: str) -> bytes:
        """Return what is in a file."""
        script = f"with open({path!r}, 'rb') as f:\n    print(binascii.b2a_base64(f.read()).decode())"
        return b64decode(self.run(script))

    def reset(self) -> None:
        """Reset the board as its button does; what it prints then can be read with lines()."""
        assert self._link
        try:
            self._link.exec_raw_no_follow("import machine, time\ntime.sleep_ms(100)\nmachine.reset()")
        except BROKEN as error:
            raise self._lost(error) from None
        self._rest = b""

    def abandon(self) -> None:
        """Leave the board to itself in whatever state it is: it starts what it has."""
        if not self._link:
            return
        with contextlib.suppress(*BROKEN):
            # Out of whatever it was reading, to the friendly prompt, which takes a line as somebody types it.
            self._serial.write(INTERRUPT + INTERRUPT + b"\x02")
            self._listen(0.3)
            self._serial.write(b"import machine; machine.reset()\r\n")
            self._listen(0.3)

    # -------------------------------------------------------------------------------------------------------- listening

    def lines(self, until: Callable[[], float]) -> Iterator[str | None]:
        """Give the lines that the board prints, None when there is none for a moment. until(): monotonic time."""
        while time.monotonic() < until():
            try:
                received = self._listen(0.2)
            except BROKEN:
                self._open_again(until())  # a USB port that is the chip's own goes away with each reset
                continue
            *lines, self._rest = (self._rest + received).split(b"\n")
            for line in lines:
                yield clean(line)
            if not lines:
                yield None

    def _open_again(self, deadline: float) -> None:
        self.close()
        while True:
            try:
                self.open()
                return
            except FlashError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    @property
    def _serial(self) -> serial.SerialBase:
        assert self._link
        return self._link.serial

    def _listen(self, seconds: float) -> bytes:
        """Return what comes within this time, at once if that is something."""
        deadline = time.monotonic() + seconds
        while True:
            count = self._serial.in_waiting
            if count:
                return bytes(self._serial.read(count))
            if time.monotonic() > deadline:
                return b""
            time.sleep(0.005)

    def _until(self, seconds: float, *endings: bytes) -> bytes:
        """Return what comes up to one of these endings, or within this time."""
        deadline = time.monotonic() + seconds
        answer = b""
        while not answer.endswith(endings) and time.monotonic() < deadline:
            if self._serial.in_waiting:
                answer += self._serial.read(1)
            else:
                time.sleep(0.005)
        return answer

    def _lost(self, error: Exception) -> FlashError:
        return FlashError(
            f"the connection to the board was lost ({str(error).strip() or type(error).__name__}): check cable and "
            "plug, then run this again; it goes on where it was"
        )
