"""The serial console of the simulated chip, seen from outside: what comes out of it, and what is typed.

A chip has one Uart for all its life. serial_port() and serial_pty() are the two kinds of cables to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
import tty
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from simulator import state
from simulator.state import State

CTRL_C = 3
PATIENCE = 0.2  # s for the chip to read what was typed before a Ctrl-C
TRIES = 1000  # about one ms each, for a good moment to interrupt
STANDSTILL = 0.05  # s that the kernel may take to stop a process
LOST = 64 * 1024  # bytes that wait for a reader that does not read; then the older ones go
LOOK = 0.02  # s between two looks whether somebody has opened the pty


class Uart:
    """The chip's end of the cable. `page` opens the page that the chip shares with the desk."""

    def __init__(self, page: Callable[[], contextlib.AbstractContextManager[State]]) -> None:
        self.listener: Callable[[bytes], None] | None = None
        self.is_taken = False
        self.process: Process | None = None
        self.stdin = -1
        self._page = page
        self._keys = -1
        self._typed = bytearray()
        self._typist: asyncio.Task[None] | None = None
        self._last = b""

    # ------------------------------------------------------------------------------------------- the chip's side of it

    def open(self) -> None:
        """The chip is switched on."""
        self.stdin, self._keys = os.pipe()
        os.set_blocking(self._keys, False)

    def close(self) -> None:
        """The chip is switched off."""
        os.close(self.stdin)
        os.close(self._keys)
        self.stdin = self._keys = -1
        self._typed.clear()

    def forget(self) -> None:
        """Forget what was typed and not read, as in a hard reset."""
        self._typed.clear()
        if unread := self._unread():
            os.read(self.stdin, unread)

    def print(self, output: bytes) -> None:
        """Put out what the chip prints, with line ends as on a serial line."""
        if self.listener and output:
            text = (self._last + output).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            self.listener(text[len(self._last) :])
        self._last = b"\r" if output.endswith(b"\r") else b""

    # --------------------------------------------------------------------------------------------- the other side of it

    def type(self, keys: bytes) -> None:
        """Send bytes to the chip. Without power they go nowhere."""
        if self._keys < 0:
            return
        self._typed += keys
        if not self._typist or self._typist.done():
            self._typist = asyncio.create_task(self._feed())

    async def _feed(self) -> None:
        while self._typed:
            if self._typed[0] == CTRL_C and await self._interrupts():
                del self._typed[:1]
                await self._interrupt()
                continue
            end = self._typed.find(CTRL_C, 1)
            keys = self._typed[: end if end > 0 else None]
            with contextlib.suppress(BlockingIOError):  # nobody reads: the chip's buffer would overflow, too
                os.write(self._keys, keys)
            del self._typed[: len(keys)]

    async def _interrupts(self) -> bool:
        """Whether a Ctrl-C would interrupt a program now that the chip has read what was typed before."""
        ends = asyncio.get_running_loop().time() + PATIENCE
        while self._unread() and not self._runs_program() and asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.002)
        return self._runs_program() and self._catches_interrupts()

    async def _interrupt(self) -> None:
        """Interrupt the program: note a KeyboardInterrupt where the interpreter looks for it, and wake it up.

        But not in the midst of what is C on an ESP32 and Python here.
        """
        for _ in range(TRIES):
            process = self.process
            if not process or process.returncode is not None or not self._runs_program():
                return
            if self._stop(process):
                is_noted = self._note(process)
                process.send_signal(signal.SIGCONT)
                if is_noted:
                    await self._wake(process)
                    return
            await asyncio.sleep(0.001)

    def _stop(self, process: Process) -> bool:
        """Let the interpreter stand still; return whether it does."""
        process.send_signal(signal.SIGSTOP)
        patience = time.monotonic() + STANDSTILL
        while not self._status("State").startswith("T"):
            if time.monotonic() > patience:
                process.send_signal(signal.SIGCONT)
                return False
        return True

    def _note(self, process: Process) -> bool:
        """Note the interrupt; return whether that was possible."""
        if self._field(state.BUSY) or not self._runs_program():
            return False
        noted, interrupt = self._field(state.NOTED), self._field(state.INTERRUPT)
        word = "<Q" if interrupt >> 32 else "<I"
        traceback = interrupt + 2 * struct.calcsize(word)  # of the last time
        try:
            if not noted:
                raise OSError
            with _memory(process) as memory:
                os.pwrite(memory, bytes(struct.calcsize(word)), traceback)
                os.pwrite(memory, struct.pack(word, interrupt), noted)
        except OSError:  # the interpreter is not as expected, or the kernel does not permit it
            process.send_signal(signal.SIGINT)
        return True

    async def _wake(self, process: Process) -> None:
        """End the system call that the interpreter waits in; it may just be about to make one."""
        noted = self._field(state.NOTED)
        with contextlib.suppress(OSError):
            while noted and process.returncode is None:
                with _memory(process) as memory:
                    if not any(os.pread(memory, 4, noted)):
                        return
                process.send_signal(signal.SIGUSR1)
                await asyncio.sleep(0.002)

    def _runs_program(self) -> bool:
        return self._field(state.INTERRUPTS) == 1

    def _catches_interrupts(self) -> bool:
        """False after micropython.kbd_intr(-1)."""
        return bool(int(self._status("SigCgt") or "2", 16) & 1 << signal.SIGINT - 1)

    def _field(self, field: tuple[int, str]) -> int:
        with self._page() as page:
            return int(page.get(field))

    def _status(self, name: str) -> str:
        """Return what Linux says of the process, "" where there is no Linux."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.process.pid if self.process else 0}/status").read_text().splitlines():
                if line.startswith(name + ":"):
                    return line.split(":")[1].strip()
        return ""

    def _unread(self) -> int:
        """How many bytes the chip has not read yet."""
        if self.stdin < 0:
            return 0
        return int(struct.unpack("i", fcntl.ioctl(self.stdin, termios.FIONREAD, bytes(4)))[0])


@contextlib.contextmanager
def _memory(process: Process) -> Iterator[int]:
    memory = os.open(f"/proc/{process.pid}/mem", os.O_RDWR)
    try:
        yield memory
    finally:
        os.close(memory)


@contextlib.asynccontextmanager
async def _taken(uart: Uart) -> AsyncIterator[None]:
    if uart.is_taken:
        raise RuntimeError("the serial console is open already")
    uart.is_taken = True
    try:
        yield
    finally:
        uart.is_taken = False
        uart.listener = None


@contextlib.asynccontextmanager
async def serial_port(uart: Uart, port: int = 0) -> AsyncIterator[str]:
    """Offer the console at a TCP port, one connection at a time; gives the URL that pyserial knows such a port by."""
    line = asyncio.Lock()
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        connections.add(task)
        try:
            async with asyncio.timeout(1):  # for the one before, who may have left
                await line.acquire()
        except TimeoutError:
            writer.close()
            return
        try:
            uart.listener = writer.write
            while keys := await reader.read(4096):
                uart.type(keys)
        except (OSError, asyncio.CancelledError):
            pass  # asyncio takes neither well of what serves a connection
        finally:
            uart.listener = None
            line.release()
            writer.close()
            connections.discard(task)

    async with _taken(uart):
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        try:
            yield f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)


@contextlib.asynccontextmanager
async def serial_pty(uart: Uart) -> AsyncIterator[str]:
    """Offer the console at a pseudo-terminal; gives its path."""
    async with _taken(uart):
        master, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        path = os.ttyname(slave)
        os.close(slave)
        line = _Line(uart, master)
        uart.listener = line.send
        watching = asyncio.create_task(line.watch())
        try:
            yield path
        finally:
            watching.cancel()
            line.close()
            os.close(master)


class _Line:
    """The master's side of a pty. Without anybody at the other side what is sent is lost."""

    def __init__(self, uart: Uart, master: int) -> None:
        self._uart = uart
        self._master = master
        self._poll = select.poll()
        self._poll.register(master, 0)
        self._waiting = bytearray()
        self._loop = asyncio.get_running_loop()
        self._left = asyncio.Event()

    async def watch(self) -> None:
        while True:
            self._waiting.clear()
            while self._is_alone():
                await asyncio.sleep(LOOK)
            self._left.clear()
            self._loop.add_reader(self._master, self._receive)
            await self._left.wait()
            self.close()

    def close(self) -> None:
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)

    def send(self, output: bytes) -> None:
        if self._is_alone():
            return
        self._waiting += output
        self._flush()

    def _is_alone(self) -> bool:
        return any(event & select.POLLHUP for _, event in self._poll.poll(0))

    def _receive(self) -> None:
        try:
            self._uart.type(os.read(self._master, 4096))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._left.set()

    def _flush(self) -> None:
        self._loop.remove_writer(self._master)
        with contextlib.suppress(OSError):
            while self._waiting:
                del self._waiting[: os.write(self._master, self._waiting)]
        if self._waiting and not self._is_alone():
            del self._waiting[:-LOST]
            self._loop.add_writer(self._master, self._flush)
