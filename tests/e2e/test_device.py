"""tools/test.py --device, against a simulated board with what tools/flash.py leaves on it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest

import device_tests
from central_system import CentralSystem
from environment import REPOSITORY
from flash_bench import IMAGE, Result, bench, installed, relay, set_up
from simulator import manufacture
from simulator.interpreter import Interpreter

LOOPBACK = ("--yes", "--address", "127.0.0.1")
LEFT = ("device_tests/config.json", "device_tests/before.json")


async def run_tests(port: str, *arguments: str, until: str = "") -> Result:
    """Run it as a user does. until: words after which Ctrl-C is pressed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(str(REPOSITORY / "tools" / "test.py"), "--device", port, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout
    output = ""
    while part := await process.stdout.read(4096):
        output += part.decode()
        if until and until in output:
            process.send_signal(signal.SIGINT)
            until = ""
    return Result(await process.wait(), output)


def row(result: Result, name: str) -> tuple[int, ...]:
    """What the table says of a test: passed, failed, skipped."""
    found = re.search(rf"^{name} +(\d+) +(\d+) +(\d+) ", result.output, re.MULTILINE)
    assert found, result.output
    return tuple(map(int, found.groups()))


async def test_all_of_it_and_then_the_charger_is_as_it_was(tmp_path: Path, interpreter: Interpreter) -> None:
    async with bench(tmp_path, interpreter, installed) as charger:
        await charger.central.wait_for("BootNotification")
        before, otadata = charger.vfs(), charger.chip.otadata()
        since = len(charger.central.frames)
        result = await run_tests(charger.port, *LOOPBACK)
        assert result.status == 0, result.output
        for name in device_tests.TESTS:
            passed, failed, skipped = row(result, name)
            # Nothing but the stack of a task can't be looked at here, and that is said.
            assert (failed, bool(passed), skipped) == (0, name != "memory", int(name == "memory")), result.output
        assert "skipped: no ESP-IDF here" in result.output
        for figure in ("erase 64 KiB: ", "longest time for an answer", "least free heap", "back at 1.0.0"):
            assert figure in result.output
        boot = await charger.central.wait_for("BootNotification", since=since)
        assert boot.payload["firmwareVersion"] == "1.0.0"
        assert charger.chip.otadata() == otadata
        assert not [name for name in charger.vfs() if name.startswith("device_tests")]
        assert all(charger.vfs()[name] == before[name] for name in ("boot.py", "application.bin", "config.json"))
        statuses = charger.central.calls("FirmwareStatusNotification")
        assert not statuses, "the tests' updates are no news for the charger's own central system"


async def test_ctrl_c_puts_everything_back(tmp_path: Path, interpreter: Interpreter) -> None:
    async with bench(tmp_path, interpreter, installed) as charger:
        config = charger.vfs()["config.json"]
        result = await run_tests(charger.port, *LOOPBACK, "rollback", until="rollback ...")
        assert result.status != 0 and "Interrupted" in result.output
        assert "Putting back config.json and otadata ... done" in result.output, result.output
        assert charger.vfs()["config.json"] == config and "device_tests/config.json" not in charger.vfs()


async def test_a_cable_that_is_pulled_is_told_and_the_next_run_puts_everything_back(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with bench(tmp_path, interpreter, installed) as charger:
        config = charger.vfs()["config.json"]
        pulled = asyncio.Event()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not pulled.is_set() and (first := await reader.read(1)):
                cable = asyncio.create_task(relay(reader, writer, first, charger.port))
                await pulled.wait()
                cable.cancel()
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        run = asyncio.create_task(run_tests(port, *LOOPBACK, "refusal", "rollback"))
        async with asyncio.timeout(60):
            while LEFT[0] not in charger.vfs() or charger.vfs()["config.json"] == config:
                await asyncio.sleep(0.1)
        pulled.set()
        result = await run
        server.close()
        assert result.status == 1
        assert "connection to the board was lost" in result.output or "can't be opened" in result.output
        assert f"The charger's own config.json is /{LEFT[0]} on the board" in result.output, result.output
        assert charger.vfs()[LEFT[0]] == config

        result = await run_tests(charger.port, "restart")
        assert result.status == 0 and "an earlier run was cut off" in result.output, result.output
        assert charger.vfs()["config.json"] == config and not set(LEFT) & set(charger.vfs())


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (lambda files: {"config.json": files["config.json"]}, "no application on the board"),
        (lambda files: {**files, "data/tx/12": b"{}"}, "1 transaction messages wait"),
    ],
    ids=["application", "waiting"],
)
async def test_what_can_not_run_says_why(tmp_path: Path, interpreter: Interpreter, files: object, reason: str) -> None:
    def content(central: CentralSystem) -> bytes:
        assert callable(files)
        return manufacture.flash(IMAGE, files(set_up(central)))

    async with bench(tmp_path, interpreter, content, ready="rst:") as charger:
        result = await run_tests(charger.port, "restart", "update", "partition")
        assert result.status == 0, result.output
        assert row(result, "restart") == (1, 0, 0) and row(result, "update") == (0, 0, 1)
        assert reason in result.output
        assert "it writes over ota_1, and there is no terminal to ask you: --yes agrees" in result.output


async def test_what_is_no_board_says_so(tmp_path: Path, interpreter: Interpreter) -> None:
    result = await run_tests("socket://127.0.0.1:9", "nvs")
    assert result.status == 1 and "can't be opened" in result.output
    result = await run_tests("socket://127.0.0.1:9", "flight")
    assert result.status == 2 and "flight: on a board there are partition, nvs" in result.output
