"""The serial console of the simulated chip, as mpremote and a person with a terminal find it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

import build
import environment
from simulator import manufacture
from simulator.chip import Chip
from simulator.interpreter import Interpreter

IMAGE = build.made_image(2048)
BANNER = b'; Generic ESP32 module with ESP32\r\nType "help()" for more information.\r\n>>> '
DATA = bytes(range(256)) * 12
TICKS = b"""
import time
number = 0
try:
    while True:
        print("tick", number)
        number += 1
        time.sleep_ms(50)
finally:
    print("stopped in order")
"""


class Console:
    """A chip that runs, and the other end of its serial cable."""

    def __init__(self, chip: Chip, port: str, lines: list[str]) -> None:
        self.chip = chip
        self.port = port
        self.lines = lines
        self.seen = b""

    async def open(self) -> None:
        """Connect by TCP, to type by hand."""
        address = urlsplit(self.port)
        self.reader, self.writer = await asyncio.open_connection(address.hostname, address.port)

    async def until(self, end: bytes) -> bytes:
        """Read up to `end`; return all that came since the last time."""
        async with asyncio.timeout(10):
            while end not in self.seen:
                received = await self.reader.read(4096)
                assert received, self.seen
                self.seen += received
        position = self.seen.index(end) + len(end)
        result, self.seen = self.seen[:position], self.seen[position:]
        return result

    async def types(self, keys: bytes, end: bytes) -> bytes:
        self.writer.write(keys)
        return await self.until(end)

    async def says(self, line: str) -> None:
        async with asyncio.timeout(10):
            while line not in self.lines:
                await asyncio.sleep(0.002)


@asynccontextmanager
async def console(
    folder: Path, interpreter: Interpreter, main: bytes | None, kind: str = "tcp", **files: bytes
) -> AsyncIterator[Console]:
    lines: list[str] = []
    chip = Chip(folder / "chip", interpreter, serial=lines.append)
    contents = {f"{name}.py": content for name, content in files.items()}
    chip.insert(manufacture.flash(IMAGE, contents if main is None else {"main.py": main, **contents}))
    running = asyncio.create_task(chip.run())
    try:
        async with chip.serial_port() if kind == "tcp" else chip.serial_pty() as port:
            yield Console(chip, port, lines)
    finally:
        await chip.power_off()
        await running


def by_mpremote(port: str) -> dict[str, Any]:
    """What a tool may do over mpremote's transport, and what came of it."""
    transport = SerialTransport(port)
    seen: dict[str, Any] = {}
    transport.enter_raw_repl()
    seen["names"] = [entry.name for entry in transport.fs_listdir("/")]
    transport.fs_mkdir("/app")
    transport.fs_writefile("/app/data", DATA)
    seen["copy"] = transport.fs_readfile("/app/data") == DATA
    seen["digest"] = transport.fs_hashfile("/app/data", "sha256").hex()
    seen["size"] = transport.fs_stat("/app/data").st_size
    transport.fs_rmfile("/app/data")
    seen["exists"] = transport.fs_exists("/app/data")
    seen["eval"] = transport.eval("[1, 'two', 3.5]")
    seen["exec"] = transport.exec("for i in range(3): print(i)")
    with pytest.raises(TransportExecError) as failure:
        transport.exec("def f():\n  1/0\nprint('before')\nf()")
    seen["error"] = failure.value.error_output
    with pytest.raises(TransportExecError) as failure:
        transport.exec("a = (1")
    seen["syntax"] = failure.value.error_output
    transport.use_raw_paste = False
    transport.exec("x = 1")  # asks nothing back, so that the chip has time to answer
    seen["unpasted"] = transport.exec("print('x' * 600)")
    transport.use_raw_paste = True
    seen["long"] = transport.exec(f"print('{'y' * 5000}')")  # some forty windows
    transport.enter_raw_repl()  # a soft reset
    seen["fresh"] = transport.exec("print('x' in globals(), 'ran' in globals())")
    transport.exit_raw_repl()
    transport.close()
    return seen


@pytest.mark.parametrize("kind", ["tcp", "pty"])
async def test_mpremote_s_transport_interrupts_a_program_and_works(
    tmp_path: Path, interpreter: Interpreter, kind: str
) -> None:
    async with console(tmp_path, interpreter, TICKS, kind, boot=b"ran = 1") as end:
        await end.says("tick 3")
        seen = await asyncio.to_thread(by_mpremote, end.port)
        assert "stopped in order" in end.lines
        assert end.lines.count("MPY: soft reboot") == 2
        assert end.lines.count("tick 0") == 1  # main.py does not run after a soft reset in raw mode
    assert seen == {
        "names": ["boot.py", "main.py"],
        "copy": True,
        "digest": hashlib.sha256(DATA).hexdigest(),
        "size": 3072,
        "exists": False,
        "eval": [1, "two", 3.5],
        "exec": b"0\r\n1\r\n2\r\n",
        "error": 'Traceback (most recent call last):\r\n  File "<stdin>", line 4, in <module>\r\n'
        '  File "<stdin>", line 2, in f\r\nZeroDivisionError: divide by zero\r\n',
        "syntax": 'Traceback (most recent call last):\r\n  File "<stdin>", line 2\r\nSyntaxError: invalid syntax\r\n',
        "unpasted": b"x" * 600 + b"\r\n",
        "long": b"y" * 5000 + b"\r\n",
        "fresh": b"False True\r\n",
    }


async def test_mpremote_itself_resets_and_comes_back(tmp_path: Path, interpreter: Interpreter) -> None:
    async def mpremote(*arguments: str) -> str:
        command = (str(environment.VENV / "bin" / "mpremote"), "connect", end.port, *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0, output
        return output.decode()

    (tmp_path / "script.py").write_text("import machine\nprint(machine.reset_cause())")
    async with console(tmp_path, interpreter, TICKS, "pty") as end:
        await end.says("tick 0")
        assert await mpremote("run", str(tmp_path / "script.py")) == "5\r\n"
        end.lines.clear()
        await mpremote("reset")
        await end.says("rst:0xc (SW_CPU_RESET)")
        await end.says("tick 1")
        assert await mpremote("resume", "exec", "import machine", "+", "eval", "machine.reset_cause()") == "2\r\n"
        await mpremote("soft-reset")
    assert [boot.cause for boot in end.chip.boots] == [
        "power on",
        *("soft reset", "soft reset", "reset", "soft reset"),  # before each command, but for "resume"
    ]


async def test_a_person_at_the_friendly_prompt(tmp_path: Path, interpreter: Interpreter) -> None:
    async with console(tmp_path, interpreter, TICKS) as end:
        await end.open()
        await end.until(b"tick 1\r\n")
        end.writer.write(b"\3")
        last = await end.until(BANNER)
        assert b"KeyboardInterrupt: \r\nMicroPython v1." in last
        assert await end.types(b"1 + 1\r", b">>> ") == b"1 + 1\r\n2\r\n>>> "
        assert await end.types(b"number > 0\r", b">>> ") == b"number > 0\r\nTrue\r\n>>> "
        block = b"for i in (1, 2):\r    i\r\r"
        echo = b"for i in (1, 2):\r\n...     i\r\n... \r\n"
        assert await end.types(block, b">>> ") == echo + b"1\r\n2\r\n>>> "
        assert await end.types(b"max(\r1,\r2)\r", b">>> ") == b"max(\r\n... 1,\r\n... 2)\r\n2\r\n>>> "
        assert await end.types(b"abx\x7f = 7\r", b">>> ") == b"abx\b\x1b[K = 7\r\n>>> "
        assert await end.types(b"ab\r", b">>> ") == b"ab\r\n7\r\n>>> "
        assert await end.types(b"\x1b[A3\r", b">>> ") == b"3\r\n3\r\n>>> "
        assert await end.types(b"12\3", b">>> ") == b"12\r\n>>> "
        assert b"NameError: name 'nowhere' isn't defined\r\n>>> " in await end.types(b"nowhere\r", b">>> ")
        assert b"Error" in await end.types(b"\xc0\xff\r", b"Error")  # as esptool begins
        await end.until(b">>> ")
        pasted = await end.types(b"\5if ab:\r print(ab)\r\4", b">>> ")
        assert pasted.endswith(b"=== if ab:\r\n===  print(ab)\r\n=== \r\n7\r\n>>> ")
        end.writer.write(b"while True: pass\r\r")
        await end.until(b"pass\r\n... \r\n")
        assert b"KeyboardInterrupt" in await end.types(b"\3", b">>> ")
        assert await end.types(b"\4", b"tick 0") == b"\r\nMPY: soft reboot\r\ntick 0"
        end.writer.write(b"\3")
        await end.until(BANNER)
        reset = await end.types(b"import machine\rmachine.reset()\r", b"tick 0")
        assert b"rst:0xc (SW_CPU_RESET)\r\n" in reset
        end.writer.close()


async def test_the_raw_prompt_byte_for_byte(tmp_path: Path, interpreter: Interpreter) -> None:
    async with console(tmp_path, interpreter, b"print('main')", boot=b"print('boot')") as end:
        await end.open()
        await end.types(b"print('up')\r", b"\r\nup\r\n>>> ")
        ready = b"raw REPL; CTRL-B to exit\r\n>"
        assert await end.types(b"\1", b"\n>") == b"\r\n" + ready
        assert await end.types(b"print(1)\n\4", b">") == b"OK1\r\n\4\4>"
        assert await end.types(b"rubbish\3print(2)\4", b">") == b"OK2\r\n\4\4>"
        assert await end.types(b"1/0\4", b"\4>") == (
            b'OK\4Traceback (most recent call last):\r\n  File "<stdin>", line 1, in <module>\r\n'
            b"ZeroDivisionError: divide by zero\r\n\4>"
        )
        assert await end.types(b"\1", b">") == ready
        assert await end.types(b"\5B\1", b">") == b"R\0>"
        assert await end.types(b"\5A\1", b"\x80\0\1") == b"R\1\x80\0\1"
        assert await end.types(b"#" * 127 + b"\n", b"\1") == b"\1"
        assert await end.types(b"print(3)\4", b">") == b"\0043\r\n\4\4>"
        await end.types(b"\5A\1", b"\x80\0\1")
        interrupted = await end.types(b"print(\3", b"\4>")
        assert interrupted.startswith(b"\4\4Traceback") and b"KeyboardInterrupt" in interrupted
        assert await end.types(b"\4", b"\n>") == b"OK\r\nMPY: soft reboot\r\nboot\r\n" + ready
        assert await end.types(b"raise SystemExit\4", b"\n>") == b"OK\4\4MPY: soft reboot\r\nboot\r\n" + ready
        assert await end.types(b"import sys; sys.stdout.write('a\\nb\\r\\n')\4", b">") == b"OKa\r\nb\r\n\4\4>"
        end.writer.write(b"import time; time.sleep(100)\4")
        await end.until(b"OK")
        await asyncio.sleep(0.05)
        assert b"KeyboardInterrupt" in await end.types(b"\3", b"\4>")
        assert (await end.types(b"\2", b">>> ")).endswith(BANNER)
        assert await end.types(b"\4", BANNER) != b""
        end.writer.close()


async def test_a_program_may_read_what_is_typed_and_keep_ctrl_c_to_itself(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    program = b"""
import micropython, sys
print(sys.stdin.readline())
micropython.kbd_intr(-1)
print("ready")
print(sys.stdin.buffer.read(2))
"""
    async with console(tmp_path, interpreter, program) as end:
        await end.open()
        end.writer.write(b"hello\n")
        await end.until(b"hello\r\n\r\nready\r\n")
        assert await end.types(b"\3x", b"\n") == b"b'\\x03x'\r\n"
        end.writer.close()


async def test_ctrl_c_opens_the_way_past_a_corrupt_file_system(tmp_path: Path, interpreter: Interpreter) -> None:
    async with console(tmp_path, interpreter, b"") as end:
        await end.chip.power_off()
        end.chip.insert(manufacture.flash(IMAGE, None, vfs=manufacture.CORRUPT))
        running = asyncio.create_task(end.chip.run())
        await end.says("The filesystem appears to be corrupted.")
        await end.open()
        end.writer.write(b"\3")
        await end.until(BANNER)
        assert b"OSError: [Errno 19] ENODEV" in await end.types(b"open('/boot.py')\r", b">>> ")
        end.writer.close()
        await end.chip.power_off()
        await running


async def test_a_cable_is_for_one_at_a_time_and_stays_in_place(tmp_path: Path, interpreter: Interpreter) -> None:
    async with console(tmp_path, interpreter, TICKS) as end:
        with pytest.raises(RuntimeError, match="open already"):
            async with end.chip.serial_pty():
                pass
        await end.open()
        await end.until(b"tick ")
        address = urlsplit(end.port)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        assert await reader.read() == b""  # hung up on: there is somebody
        writer.close()
        end.chip.cut_power()
        await end.until(b"rst:0x1 (POWERON_RESET)\r\n")
        await end.until(b"tick 0")
        end.writer.close()
        await end.open()
        end.seen = b""
        await end.until(b"tick")
        end.writer.close()
    with pytest.raises(OSError):
        socket.create_connection((address.hostname, address.port), 1)
    with pytest.raises(TransportError):
        await asyncio.to_thread(SerialTransport, end.port)


async def test_nobody_at_the_pty_costs_nothing_and_old_output_is_gone(tmp_path: Path, interpreter: Interpreter) -> None:
    program = b"""
import time
for i in range(200): print('x' * 1000)
print('END')
time.sleep(0.2)
while True:
    print('new')
    time.sleep(0.1)
"""
    async with console(tmp_path, interpreter, program, "pty") as end:
        await end.says("END")
        terminal = os.open(end.port, os.O_RDONLY | os.O_NOCTTY)
        assert await asyncio.to_thread(os.read, terminal, 3) == b"new"
        os.close(terminal)


@pytest.mark.parametrize("word_bits", [32, 64])
async def test_ctrl_c_harms_nothing_whatever_it_interrupts(tmp_path: Path, word_bits: int) -> None:
    """The heap, NVS and the file system are sound after it: none of them is left in the midst of something."""
    program = b"""
from esp32 import NVS
nvs = NVS("test")
number = 0
print("busy")
while True:
    garbage = ["%d" % i for i in range(100)]
    with open("/file%d" % (number % 5), "w") as file:
        file.write(garbage[-1])
    nvs.set_blob("key%d" % (number % 5), bytes(200))
    number += 1
"""
    check = b"from esp32 import NVS; nvs = NVS('test'); nvs.set_blob('key9', b'9'); open('/main.py').read() and 9\r"
    try:
        interpreter = environment.interpreter(word_bits)
    except environment.SetupError as error:
        pytest.skip(str(error))
    async with console(tmp_path, interpreter, program) as end:
        await end.open()
        await end.says("busy")
        for turn in range(8):
            await asyncio.sleep(0.01 + 0.003 * turn)
            end.writer.write(b"\3")
            said = await end.until(BANNER)
            assert b"Traceback" in said and b"\r\nKeyboardInterrupt: \r\n" in said
            assert (await end.types(check, b"\r\n>>> ")).endswith(b"and 9\r\n9\r\n>>> ")
            await end.types(b"\4", b"busy\r\n")
        end.writer.close()


async def test_the_prompt_needs_no_heap_that_a_program_has_not_left(tmp_path: Path, interpreter: Interpreter) -> None:
    greedy = b"kept = []\ntry:\n    while True: kept.append(bytes(16))\nfinally: print('full')"
    async with console(tmp_path, interpreter, greedy) as end:
        await end.says("full")
        await end.open()
        end.writer.write(b"\1")
        await end.until(b"raw REPL; CTRL-B to exit\r\n>")
        assert await end.types(b"kept = 0\4", b"\4>") == b"OK\4\4>"
        free = await end.types(b"import gc; gc.collect(); print(gc.mem_free())\4", b"\4>")
        assert 76 * 1024 < int(free[2:-5]) < 88 * 1024
        end.writer.close()
