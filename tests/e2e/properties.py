"""What the property-based tests share: a MicroPython process that takes hostile cases and stays well, and mutations.

The process has 32-bit words and an ESP32-sized heap with the firmware in it as .mpy. It reads one case after the other
from its stdin and answers each on its stdout. A case fails if the process dies of it or does not answer in time, or if
memory or tasks are left behind; hypothesis then reduces it, with a new process each time.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, configuration, given, settings
from hypothesis import strategies as st

import environment
from simulator.interpreter import Interpreter

Case = TypeVar("Case")

configuration.set_hypothesis_home_dir(environment.CACHE / "hypothesis")  # the tree stays as it is

HEAP = 120 * 1024  # two buffers of the harness take 32 to 80 KiB of it
PATIENCE = 20  # seconds for an answer that takes milliseconds, on a machine that does something else as well
SLACK = 512  # bytes in use that may come and go between two cases
EVERYTHING = 20  # times as many examples with --all

# The case comes as two lengths, its options as JSON and its bytes; the answer goes as one line of JSON, which tells how
# many bytes follow it. `answer(options, data)` is what a test adds. Peer is a socket for hw/connection.py.
DRIVER = """
import asyncio, gc, io, json, struct, sys
from asyncio import core as _loop

_in = sys.stdin.buffer
_out = sys.stdout.buffer
_case = bytearray(MOST)
_sent = bytearray(MOST)
_sent_length = 0
_ready = open("/dev/null", "r+b")

def sent(data):
    # keeps what the firmware says, without memory of its own
    global _sent_length
    end = _sent_length + len(data)
    assert end <= MOST, "the firmware says too much"
    _sent[_sent_length:end] = data
    _sent_length = end

class Peer(io.IOBase):
    # What a connection reads arrives in pieces of `splits` bytes (over and over); between two there is a wait.
    def __init__(self, data, splits, said=sent):
        self.data = data
        self.splits = splits
        self.said = said
        self.position = self.arrived = self.turn = 0
        self.open = True
        self.full = False

    def setblocking(self, flag):
        pass

    def setsockopt(self, *options):
        pass

    def ioctl(self, request, argument):
        # What asks for a file descriptor to poll (10) gets one that is always ready: otherwise each wait takes 1 ms.
        return _ready.fileno() if request == 10 else -22

    def _there(self):
        count = self.arrived - self.position
        if count == 0 and self.arrived < len(self.data):
            self.arrived = min(len(self.data), self.arrived + self.splits[self.turn % len(self.splits)])
            self.turn += 1
            return None
        return count

    def readinto(self, view):
        count = self._there()
        if not count:
            return count
        count = min(count, len(view))
        view[:count] = self.data[self.position : self.position + count]
        self.position += count
        return count

    def readline(self, limit):
        line = b""
        byte = bytearray(1)
        while len(line) < limit and line[-1:] != b"\\n":
            count = self.readinto(byte)
            if count is None and not line:
                return None
            if not count:
                break
            line += byte
        return line

    def write(self, data):
        self.full = not self.full
        if self.full:
            return None
        self.said(data)
        return len(data)

    def close(self):
        self.open = False

def _read(view):
    while len(view):
        count = _in.readinto(view)
        if not count:
            sys.exit()
        view = view[count:]

async def _whole(options, data):
    result = {}
    if "idle" not in options:
        result = await asyncio.wait_for(answer(options, data), 10)
    for _ in range(5):
        await asyncio.sleep_ms(0)
    return result

def serve():
    global _sent_length
    lengths = bytearray(8)
    while True:
        result = None
        gc.collect()
        memory = gc.mem_alloc()
        _read(memoryview(lengths))
        size, length = struct.unpack("<II", lengths)
        view = memoryview(_case)
        _read(view[: size + length])
        _sent_length = 0
        try:
            result = asyncio.run(_whole(json.loads(bytes(view[:size])), view[size : size + length]))
            if _loop._task_queue.peek() or _loop._io_queue.map:
                result = {"crash": "a task is left"}
        except Exception as error:
            text = io.StringIO()
            sys.print_exception(error, text)
            result = {"crash": text.getvalue()}
            asyncio.new_event_loop()
        result["memory"] = memory
        result["length"] = _sent_length
        _out.write(json.dumps(result).encode())
        _out.write(b"\\n")
        _out.write(memoryview(_sent)[:_sent_length])
"""


@dataclass
class Answer:
    """What the firmware made of a case: the test's own findings and the bytes that it sent."""

    result: dict[str, Any]
    sent: bytes = b""


@dataclass
class Firmware:
    """A MicroPython process with the firmware, started when there is a case for it."""

    interpreter: Interpreter
    compiled: Path
    code: str
    most: int = 24 * 1024  # bytes of a case, and of what the firmware says to it
    heap: int = HEAP
    slack: int = SLACK
    _process: subprocess.Popen[bytes] | None = None
    _errors: Any = None
    _memory: int = 0  # in use after the first known-good case
    _rest: bytearray = field(default_factory=bytearray)

    def ask(self, data: bytes = b"", **options: Any) -> Answer:
        """Let the firmware have one case; AssertionError if that is its end, or if it crashes inside."""
        answer = self._ask(options, data)
        assert "crash" not in answer.result, answer.result["crash"]
        return answer

    def rest(self, good: Callable[[], None]) -> None:
        """Check that after the case before a good one is answered as ever, with as much memory in use as ever."""
        try:
            for attempt in range(3):
                good()
                memory = self._ask({"idle": True}, b"").result["memory"]
                self._memory = self._memory or memory
                if memory <= self._memory + self.slack:
                    return
                # A collector that takes any word on the stack for a pointer may keep a piece until the next time.
                assert attempt < 2, f"{memory - self._memory} bytes more in use than at the beginning"
        except AssertionError:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None
            self._errors.close()

    def _start(self) -> subprocess.Popen[bytes]:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._rest.clear()
        self._memory = 0
        code = f"MOST = {self.most}\n{DRIVER}\n{self.code}\nserve()\n"
        heap = self.heap * self.interpreter.word_bits // 32
        self._process = subprocess.Popen(
            [*self.interpreter.command, "-X", f"heapsize={heap}", "-c", code],
            cwd=self.compiled,
            env={**os.environ, "MICROPYPATH": f"{self.compiled}:.frozen"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
        )
        return self._process

    def _ask(self, options: dict[str, Any], data: bytes) -> Answer:
        process = self._process or self._start()
        head = json.dumps(options).encode()
        assert len(head) + len(data) <= self.most, "the case is too large"
        assert process.stdin
        try:
            process.stdin.write(struct.pack("<II", len(head), len(data)) + head + data)
            line = self._take(process, b"\n")
            try:
                result = json.loads(line)
            except ValueError:
                raise AssertionError(f"MicroPython says {line[:2000]!r}") from None
            answer = Answer(result, self._take(process, result["length"]))
        except (BrokenPipeError, AssertionError) as error:
            ended = process.poll()
            self._errors.seek(0)
            told = self._errors.read()[-2000:].decode(errors="replace")
            self.stop()
            raise AssertionError(f"{error or 'it is gone'} (exit status {ended}) {told}") from None
        if "crash" in result:
            self.stop()
        return answer

    def _take(self, process: subprocess.Popen[bytes], until: bytes | int) -> bytes:
        """Read up to a byte or as many bytes from the process, with patience but not for ever."""
        assert process.stdout
        deadline = time.monotonic() + PATIENCE
        while True:
            end = until if isinstance(until, int) else self._rest.find(until) + 1
            if len(self._rest) >= end and (end or until == 0):
                taken = bytes(self._rest[:end])
                del self._rest[:end]
                return taken
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no answer in {PATIENCE} s"
            data = process.stdout.read(65536)
            assert data, "MicroPython has ended"
            self._rest += data


def compiled_firmware() -> Path:
    """Compile the firmware and return the folder that it is in."""
    sources = {
        path.relative_to(environment.REPOSITORY).with_suffix("").as_posix(): path
        for package in ("ocpp", "firmware", "hw")
        for path in (environment.REPOSITORY / package).glob("*.py")
    }
    compiled = environment.CACHE / "mpy" / "properties"
    environment.compile_mpy(sources, compiled)
    return compiled


def hold(
    cases: st.SearchStrategy[Case], check: Callable[[Case], None], examples: int, everything: bool = False
) -> None:
    """Check a property with as many examples, the same in each run; with `everything` with many more."""

    @settings(
        max_examples=examples * (EVERYTHING if everything else 1),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        print_blob=False,
    )
    @given(cases)
    def holds(case: Case) -> None:
        check(case)

    holds()


# ------------------------------------------------------------------------------------------------------------ mutations

splits = st.one_of(
    st.just([1 << 20]),
    st.just([1] * 150 + [64]),
    st.lists(st.integers(1, 300), min_size=1, max_size=8),
)


@st.composite
def mutations(draw: st.DrawFn, valid: Sequence[bytes], words: Sequence[bytes] = (b"\0",), most: int = 4) -> bytes:
    """Bytes that were valid, after some flips, cuts, insertions, repetitions and swaps."""
    data = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(0, most))):
        start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        what = draw(st.sampled_from(("flip", "change", "insert", "word", "cut", "end", "repeat", "swap")))
        if what == "flip" and data:
            at = min(start, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
        elif what == "change" and data:
            at = min(start, len(data) - 1)
            data = data[:at] + draw(st.binary(min_size=1, max_size=1)) + data[at + 1 :]
        elif what == "insert":
            data = data[:start] + draw(st.binary(max_size=40)) + data[start:]
        elif what == "word":
            data = data[:start] + draw(st.sampled_from(words)) + data[start:]
        elif what == "cut":
            data = data[:start] + data[min(end, start + 64) :]
        elif what == "end":
            data = data[:end]
        elif what == "repeat":
            data = data[:end] + data[start:]
        elif what == "swap":
            middle = draw(st.integers(start, end))
            data = data[:start] + data[middle:end] + data[start:middle] + data[end:]
    return data[: 1 << 14]
