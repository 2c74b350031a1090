"""tools/simulate.py as a newcomer runs it: in a process of its own, its output in a pipe."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest

import build
from central_system import CentralSystem
from desk import QUERY
from scenarios import SCENARIOS


async def start(repository: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "tools/simulate.py",
        *arguments,
        cwd=repository,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def run(repository: Path, *arguments: str) -> tuple[int | None, str]:
    process = await start(repository, *arguments)
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_it_shows_an_update_from_the_request_to_installed(repository: Path) -> None:
    status, output = await run(repository, "--speed", "10")
    assert status == 0, output
    shown = re.findall(r"FirmwareStatusNotification: (\w+)|BootNotification, version ([\d.]+)$|(rst:)", output, re.M)
    for words in (
        "UpdateFirmware http://127.0.0.1",
        QUERY.replace("&", "&amp;"),
        "[FW-OCPP] Progress: 100%",
        "FirmwareStatusNotification: Installed",
        "What the central system received",
        "As it should be:",
    ):
        assert words in output
    order = ["Downloading", "Downloaded", "Installing", "rst:", "2.0.0", "Installed"]
    assert ["".join(match) for match in shown][2 : 2 + len(order)] == order
    assert "\033" not in output


@pytest.mark.parametrize(
    ("kind", "options"), (("package", ()), ("compressed", ("--scenario", "server-dies")), ("delta", ("--tls",)))
)
async def test_it_shows_what_a_package_is_and_what_is_checked(
    kind: str, options: tuple[str, ...], repository: Path, tmp_path: Path
) -> None:
    micropython = tmp_path / "micropython.bin"
    micropython.write_bytes(build.made_image(100_000))
    options += ("--kind", kind, "--micropython", str(micropython), "--speed", "10")
    status, output = await run(repository, *options)
    assert status == 0, output
    assert re.search(
        r"The plain update file would be [\d,]+ bytes. The package: [\d,]+ bytes, [\d.]+ % of that", output
    )
    for words in (
        "public half, firmware_key.pem",
        *("RSA-3072-PSS", "decoded, its SHA-256 is right"),
        *(("the difference to a base", "that version 1.0.0 runs") if kind == "delta" else ()),
        "FirmwareStatusNotification: Installed",
        *("What was checked", "before anything was erased", "here, at the desk"),
        "As it should be:",
    ):
        assert words in output
    assert "WRONG" not in output


async def test_kind_does_not_go_with_every_scenario(repository: Path) -> None:
    status, output = await run(repository, "--kind", "delta", "--scenario", "too-large")
    assert status == 1
    assert re.fullmatch(r"simulate.py: too-large brings a file of its own; --kind goes with .*server-dies.*\n", output)


async def test_a_package_for_another_key_is_shown_as_that(repository: Path) -> None:
    status, output = await run(repository, "--scenario", "wrong-key")
    assert status == 0, output
    assert "WRONG: it is signed with another key" in output
    assert "InstallationFailed: signed with another key" in output


async def test_it_plays_a_scenario(repository: Path) -> None:
    status, output = await run(repository, "--scenario", "file-not-found")
    assert (status, "DownloadFailed" in output) == (0, True), output


async def test_it_lists_the_scenarios(repository: Path) -> None:
    status, output = await run(repository, "--list")
    assert status == 0
    assert [line.split()[0] for line in output.splitlines() if line[0] != " "] == list(SCENARIOS)
    assert max(map(len, output.splitlines())) <= 80


async def test_an_unknown_scenario_is_one_sentence(repository: Path) -> None:
    status, output = await run(repository, "--scenario", "nonsense")
    assert status == 1
    assert output == "simulate.py: there is no scenario nonsense; --list tells what there is\n"


async def test_a_micropython_that_is_none_is_one_sentence(repository: Path) -> None:
    for file in ("LICENSE", "nowhere.bin"):
        status, output = await run(repository, "--micropython", file)
        assert status == 1
        assert re.search(r"simulate.py: .*\n$", output)
        assert "Traceback" not in output


async def test_it_attaches_to_another_central_system_until_ctrl_c(repository: Path) -> None:
    async with CentralSystem(password="sixteen letters!") as central:
        options = ("--csms", central.url, "--id", "DESK-7", "--password", "sixteen letters!", "--speed", "10")
        process = await start(repository, *options)
        assert process.stdout
        location = ""
        while not location:
            line = (await process.stdout.readline()).decode()
            assert line, "it ended"
            location = "".join(re.findall(r"https?://\S+\.bin", line))
        boot = await central.wait_for("BootNotification")
        assert boot.identity == "DESK-7"
        await central.update_firmware("DESK-7", location)
        await central.wait_for("FirmwareStatusNotification", lambda payload: payload["status"] == "Installed")
        process.send_signal(signal.SIGINT)
        output, _ = await process.communicate()
        assert (process.returncode, b"Traceback" in output) == (0, False), output.decode()
        assert central.violations == []
