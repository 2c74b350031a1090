"""tools/simulate.py as a newcomer runs it: in a process of its own, its output in a pipe."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path

import pytest
from mpremote.transport_serial import SerialTransport

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
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def run(repository: Path, *arguments: str, commands: str = "") -> tuple[int | None, str]:
    process = await start(repository, *arguments)
    output, _ = await process.communicate(commands.encode())
    return process.returncode, output.decode()


async def test_it_shows_a_car_that_charges_and_an_update_in_the_middle_of_it(repository: Path) -> None:
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
        "The driver holds card 04A2B3C4 to the reader",
        "the car draws 3.68 kW",
        "StopTransaction 1: Reboot",
        "StopTransaction 2: Local",
    ):
        assert words in output
    assert re.search(r"MeterValues, connector 1: [1-9]\d* Wh", output)
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


async def test_a_plain_update_without_a_car(repository: Path) -> None:
    status, output = await run(repository, "--kind", "plain", "--speed", "10")
    assert (status, "As it should be:" in output, "StartTransaction" in output) == (0, True, False), output


async def test_a_script_drives_it(repository: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('{"MeterValueSampleInterval": 1, "LocalPreAuthorize": false}')
    commands = """
plug
card 04A2B3C4     # begins a transaction
wait 5
link down
link up
power cut
call GetConfiguration {"key": ["MeterValueSampleInterval", "LocalPreAuthorize"]}
fault GroundFailure 1
status
unplug
clear
"""
    status, output = await run(repository, "--config", str(keys), "--speed", "10", commands=commands)
    assert status == 0, output
    for words in (
        "StartTransaction, connector 1",
        "MeterValues, connector 1",
        "StopTransaction 1: PowerLoss",
        '"value": "1", "key": "MeterValueSampleInterval"',
        '"value": "false", "key": "LocalPreAuthorize"',
        "connector 1: Faulted, GroundFailure",
        "Connector",
    ):
        assert words in output
    assert "UpdateFirmware" not in output  # the story is over


async def test_wrong_commands_are_told_apart_from_right_ones(repository: Path) -> None:
    wrong = {
        "dance": "there is no command dance; help tells what there is",
        "unplug": "there is no car at connector 1",
        "plug 2": "there is no connector 2, but 1 of them",
        "plug in": "in is no number",
        "card": "it is card TAG [connector]",
        f"card {'7' * 21}": f"a card has 1 to 20 printable characters, which {'7' * 21} has not",
        "fault Rain": "there is no fault Rain, but GroundFailure",
        "link off": "it is link down, or link up",
        "power on": "it is power cut",
        "call Nothing [": "[ is no JSON object",
    }
    commands = "\n".join([*wrong, "help", "plug", "quit", "unplug"])
    status, output = await run(repository, "--drive", "--speed", "10", commands=commands)
    assert status == 0, output
    for command, words in wrong.items():
        assert f"{command}: {words}" in output
    assert "connector 1: Preparing" in output
    assert "connector 1: Available" in output.partition("connector 1: Preparing")[0]
    assert "fault CODE [connector]" in output
    assert "you             unplug\n" not in output.rpartition("quit")[2]


async def test_commands_take_over_from_the_story(repository: Path) -> None:
    status, output = await run(repository, "--speed", "10", commands="plug\nupdate\nwait 30\nquit\n")
    assert status == 0, output
    assert "FirmwareStatusNotification: Installed" in output
    assert "The driver holds card" not in output


@pytest.mark.parametrize(
    ("text", "words"), [("{", "is no JSON"), ("[1]", "is no JSON object of OCPP keys"), (None, "No such")]
)
async def test_keys_that_are_none_are_one_sentence(
    repository: Path, tmp_path: Path, text: str | None, words: str
) -> None:
    keys = tmp_path / "keys.json"
    if text:
        keys.write_text(text)
    status, output = await run(repository, "--config", str(keys))
    assert status == 1
    assert re.fullmatch(rf"(.*\n)?simulate.py: .*{words}.*\n", output), output


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
        assert process.stdin
        process.stdin.write(b"plug\n")
        await central.wait_for("StatusNotification", lambda payload: payload["status"] == "Preparing")
        process.stdin.write(b"card DE*abc*04a2\n")
        begun = await central.wait_for("StartTransaction")
        assert begun.payload["idTag"] == "DE*abc*04a2"
        process.send_signal(signal.SIGINT)
        output, _ = await process.communicate()
        assert (process.returncode, b"Traceback" in output) == (0, False), output.decode()
        assert central.violations == []


async def test_an_empty_board_waits_for_who_makes_a_charger_of_it(repository: Path) -> None:
    process = await start(repository, "--board", "--connectors", "2", "--id", "CP7", "--tls", "--speed", "4")
    assert process.stdout
    shown = ""
    async with asyncio.timeout(60):
        while 'Type "help()"' not in shown:
            shown += (await process.stdout.readline()).decode()
    command = re.search(
        r"python3 tools/flash.py --port (socket://localhost:\d+) --config (\S+) --csms (\S+) (.*)", shown
    )
    assert command, shown
    port, fields, url, others = command.groups()
    assert url.startswith("wss://") and "--id CP7 " in others and "--ssid desk --wifi-key simulated" in others
    assert "/ca.pem " in others
    assert len(json.loads(await asyncio.to_thread(Path(fields).read_text))["connectors"]) == 2

    def install() -> list[str]:
        transport = SerialTransport(port)
        transport.enter_raw_repl()
        names = [entry.name for entry in transport.fs_listdir("/")]
        transport.fs_writefile("/main.py", b"print('it is one')")
        transport.exec_raw_no_follow("import machine; machine.reset()")
        transport.close()
        return names

    assert await asyncio.to_thread(install) == ["boot.py"]
    async with asyncio.timeout(20):
        while "it is one" not in shown:
            shown += (await process.stdout.readline()).decode()
    assert "a tool has taken over" in shown and "OK" not in shown and "\4" not in shown
    process.send_signal(signal.SIGINT)
    output, _ = await process.communicate()
    assert process.returncode == 0 and output.decode().endswith("Switched off.\n")
