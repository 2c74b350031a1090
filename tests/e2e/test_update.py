"""An update from UpdateFirmware to Installed: simulated charger, real web server, schema-checking central system."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from ocpp.exceptions import InternalError

import build
from central_system import Payload, no_answer, refuse
from desk import FILE, HEAP, NEW, OLD, QUERY, Desk, chapter
from scenarios import ROLLED_BACK, SCENARIOS, SUCCESS, UPDATE
from simulator.interpreter import Interpreter
from webserver import Fault

SPEED = 20
REAL = "ESP32_GENERIC-OTA-20250415-v1.25.0.bin"


def make_desk(folder: Path, interpreter: Interpreter, **options: Any) -> Desk:
    return Desk(folder, interpreter, **{"speed": SPEED, **options})


@pytest.fixture
def real_file(repository: Path) -> bytes:
    """The combined file of a real MicroPython, where it is at hand."""
    file = repository.parent / "shared" / "images" / REAL
    if not file.exists():
        pytest.skip(f"{file} is not at hand")
    return file.read_bytes()


def story(desk: Desk, since: int = 0) -> str:
    return " ".join(chapter(frame) for frame in desk.story[since:])


async def updated(desk: Desk, **request: Any) -> None:
    """Bring the new version and follow it to its end."""
    desk.web.files = {FILE: desk.update_file()}
    await desk.registered()
    await desk.update(**request)
    await desk.ended()


async def check_success(desk: Desk) -> None:
    assert await UPDATE.play(desk) == [], "\n".join(desk.lines)
    assert desk.version == NEW
    assert [(boot.slot, boot.cause) for boot in desk.chip.boots] == [("ota_0", "power on"), ("ota_1", "reset")]
    newest = max(desk.chip.otadata(), key=lambda record: record.sequence or 0)
    assert (newest.sequence, newest.state) == (2, "VALID")


async def test_an_update_in_the_heap_of_a_board_without_evse(tmp_path: Path, interpreter: Interpreter) -> None:
    assert HEAP == 96 * 1024
    async with make_desk(tmp_path, interpreter) as desk:
        await check_success(desk)
        assert desk.web.requests[0].path == f"/{FILE}{QUERY}"


async def test_an_update_over_wss_and_https_in_that_heap(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter, tls=True) as desk:
        assert (desk.central.url[:6], desk.web.url("")[:6]) == ("wss://", "https:")
        await check_success(desk)


@pytest.mark.parametrize("policy", ["stop", "download"])
async def test_an_update_over_wss_and_https_in_a_transaction_in_120_kib(
    tmp_path: Path, interpreter: Interpreter, policy: str
) -> None:
    """What the README says a stock board with an EVSE needs; nothing of it ran out of memory for a moment, either."""
    options: dict[str, Any] = {"connectors": 1, "configuration": {"UpdateWhileCharging": policy}}
    async with make_desk(tmp_path, interpreter, heap=120 * 1024, tls=True, **options) as desk:
        await desk.registered()
        desk.chip.plug()
        desk.chip.card("04A2B3C4")
        await desk.central.wait_for("MeterValues")
        desk.web.files = {FILE: desk.update_file()}
        await desk.update()
        if policy == "download":
            await desk.logged("The installation waits until charging ends")
            assert desk.chip.contactor()
            desk.chip.card("04A2B3C4")
        stop = await desk.central.wait_for("StopTransaction")
        assert stop.payload["reason"] == ("Reboot" if policy == "stop" else "Local")
        await desk.until(lambda: chapter(desk.story[-1]) == "Installed", "the new version is installed")
        assert [line for line in desk.lines if "memory" in line] == []


async def test_an_update_with_a_real_micropython_in_the_slots(
    tmp_path: Path, interpreter: Interpreter, real_file: bytes
) -> None:
    async with make_desk(tmp_path, interpreter, image=build.app_image(real_file), tls=True) as desk:
        await check_success(desk)


async def test_a_real_combined_file_is_refused(tmp_path: Path, interpreter: Interpreter, real_file: bytes) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        assert await replace(SCENARIOS["wrong-file-combined"], file=lambda _: real_file).play(desk) == []


async def test_an_update_on_words_of_64_bits(tmp_path: Path, interpreters: list[Interpreter]) -> None:
    if interpreters[-1].word_bits != 64:
        pytest.skip("no 64-bit MicroPython here")
    async with make_desk(tmp_path, interpreters[-1], heap=2 * HEAP) as desk:
        await check_success(desk)


async def test_a_charger_with_a_password_is_updated(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter, password="sixteen letters!") as desk:
        await check_success(desk)


async def test_the_next_update_goes_back_into_the_first_slot(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        await check_success(desk)
        desk.web.files = {"next.bin": desk.update_file("2.0.1")}
        seen = len(desk.story)
        await desk.update("next.bin")
        await desk.ended(seen)
        assert (
            " ".join(chapter(frame) for frame in desk.story[seen:]) == SUCCESS.replace(NEW, "2.0.1").partition(" ")[2]
        )
        assert desk.chip.boots[-1].slot == "ota_0"


@pytest.mark.parametrize(
    "fault",
    [
        {"chunked": True},
        {"no_length": True},
        {"cut_after": 50_000, "times": 1},
        {"cut_after": 50_000, "times": 1, "ignore_range": True},
        {"cut_after": 50_000, "times": 3, "chunked": True},
        {"stall_after": 50_000, "times": 1},
        {"corrupt_at": 0, "cut_after": 0, "times": 1},
    ],
    ids=str,
)
async def test_a_web_server_with_faults_delays_an_update_and_does_not_fail_it(
    tmp_path: Path, interpreter: Interpreter, fault: dict[str, Any]
) -> None:
    async with make_desk(tmp_path, interpreter, configuration={"FirmwareDownloadTimeout": 10}) as desk:
        desk.web.faults = [Fault(FILE, **fault)]
        await check_success(desk)


async def test_a_broken_download_goes_on_where_it_was(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        desk.web.faults = [Fault(FILE, cut_after=50_000, times=1)]
        await check_success(desk)
        first, second = desk.web.requests
        assert (first.status, second.status) == (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
        assert second.headers["range"] == f"bytes={50_000 // 2048 * 2048}-"
        assert "if-range" in second.headers


async def test_a_location_that_redirects_is_followed(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        signed = desk.web.url(f"/{FILE}?signature={'x' * 1500}", "localhost")
        desk.web.faults = [Fault("latest", location=signed)]
        await updated(desk, path="latest")
        assert story(desk) == SUCCESS


async def test_a_second_request_supersedes_the_first(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        desk.web.files = {"first.bin": desk.update_file("9.9.9"), FILE: desk.update_file()}
        desk.web.faults = [Fault("first.bin", stall_after=20_000)]
        await desk.registered()
        await desk.update("first.bin")
        await desk.logged("Progress: 10%")
        await desk.update()
        await desk.ended()
        assert story(desk) in (SUCCESS, SUCCESS.replace("Downloading", "Downloading Downloading"))


async def test_a_date_in_the_future_survives_a_reset(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        desk.web.files = {FILE: desk.update_file()}
        await desk.registered()
        url = desk.web.url(FILE)
        await desk.central.update_firmware(desk.identity, url, datetime.now(UTC) + timedelta(minutes=2))
        await desk.logged("Firmware download scheduled in")
        await desk.central.call(desk.identity, "Reset", {"type": "Hard"})
        await desk.ended()
        assert story(desk) == f"{OLD} {SUCCESS}"


async def test_statuses_wait_for_a_central_system_that_is_away(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        desk.web.files = {FILE: desk.update_file()}
        desk.web.faults = [Fault(FILE, drip=0.01)]
        await desk.registered()
        await desk.update()
        await desk.logged("Progress: 10%")
        await desk.central.stop()
        await desk.logged("Firmware ready")
        await desk.central.start()
        await desk.ended()
        told = [word for word in story(desk).split() if word not in (OLD, NEW)]
        assert told == ["Downloading", "Downloaded", "Installing", "Installed"]
        assert desk.version == NEW
        assert desk.central.violations == []


async def test_a_callerror_in_answer_to_a_status_does_not_stop_an_update(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        desk.central.answers["FirmwareStatusNotification"] = refuse(InternalError("Internal services failed"))
        await check_success(desk)


async def test_a_status_without_an_answer_is_repeated_and_does_not_stop_an_update(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        answer = desk.central.answers["FirmwareStatusNotification"]
        desk.central.answers["FirmwareStatusNotification"] = no_answer
        desk.web.files = {FILE: desk.update_file()}
        await desk.registered()
        await desk.update()
        await desk.logged("Firmware ready")
        desk.central.answers["FirmwareStatusNotification"] = answer
        await desk.ended()
        first, *rest = [chapter(frame) for frame in desk.central.calls("FirmwareStatusNotification")]
        assert first == "Downloading"
        assert rest[-4:] == ["Downloading", "Downloaded", "Installing", "Installed"]


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
async def test_a_new_firmware_that_is_not_accepted_goes_back(
    tmp_path: Path, interpreter: Interpreter, status: str
) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        accept = desk.central.answers["BootNotification"]

        def answer(payload: Payload) -> Payload | None:
            desk.central.boot_status = status if payload["firmwareVersion"] == NEW else "Accepted"
            return accept(payload)

        desk.central.answers["BootNotification"] = answer
        desk.central.boot_interval = 5
        await updated(desk)
        chapters = [word for word in story(desk).split() if word != NEW]
        assert " ".join(chapters) == ROLLED_BACK
        assert desk.version == OLD
        assert desk.central.violations == []


async def test_what_the_central_system_configured_outlives_an_update(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        await desk.registered()
        change = {"key": "WebSocketPingInterval", "value": "77"}
        assert await desk.central.call(desk.identity, "ChangeConfiguration", change) == {"status": "Accepted"}
        await check_success(desk)
        answer = await desk.central.call(desk.identity, "GetConfiguration", {"key": ["WebSocketPingInterval"]})
        assert answer["configurationKey"] == [{"key": "WebSocketPingInterval", "readonly": False, "value": "77"}]


async def test_a_new_password_comes_as_hex_and_outlives_an_update(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter, password="sixteen letters!") as desk:
        await desk.registered()
        desk.central.password = "sixteen others!!"
        change = {"key": "AuthorizationKey", "value": desk.central.password.encode().hex()}
        assert await desk.central.call(desk.identity, "ChangeConfiguration", change) == {"status": "Accepted"}
        desk.web.files = {FILE: desk.update_file()}
        await desk.update()
        await desk.ended()
        assert story(desk) == SUCCESS


async def test_the_charger_answers_while_it_downloads(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        desk.web.files = {FILE: desk.update_file()}
        desk.web.faults = [Fault(FILE, stall_after=20_000, times=1)]
        await desk.registered()
        await desk.update()
        await desk.logged("Progress: 10%")
        calls = [
            desk.central.call(desk.identity, "TriggerMessage", {"requestedMessage": message})
            for message in ("Heartbeat", "FirmwareStatusNotification", "StatusNotification")
        ]
        assert await asyncio.gather(*calls) == [{"status": "Accepted"}] * 3
        await desk.ended()
        assert desk.version == NEW


async def test_the_progress_goes_to_the_central_system_that_wants_it(tmp_path: Path, interpreter: Interpreter) -> None:
    configuration = {"UpdateProgressDataTransfer": "true"}
    async with Desk(tmp_path, interpreter, speed=SPEED, heap=100 * 1024, configuration=configuration) as desk:
        desk.web.files = {FILE: desk.update_file()}
        await desk.registered()
        await desk.update()
        await desk.ended()
        told = [json.loads(frame.payload["data"]) for frame in desk.central.calls("DataTransfer")]
        percents = [data["percent"] for data in told if data["percent"] is not None]
        assert percents == sorted(set(percents)) and percents[-1] == 100
        assert [data["status"] for data in told][:: len(told) - 1] == ["Downloading", "Installing"]
        assert not desk.central.violations
