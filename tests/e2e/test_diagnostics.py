"""GetDiagnostics: the log of a simulated charger arrives on a web server, and tells what happened."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from central_system import Frame
from desk import FILE, Desk
from simulator.interpreter import Interpreter
from test_ftp_source import PASSWORD, FtpServer
from webserver import Fault, WebServer

SPEED = 20
SECRET = "operator:verysecret@"


def make_desk(folder: Path, interpreter: Interpreter, **options: Any) -> Desk:
    return Desk(folder, interpreter, **{"speed": SPEED, **options})


def statuses(desk: Desk) -> list[str]:
    return [frame.payload["status"] for frame in desk.central.calls("DiagnosticsStatusNotification")]


async def get_diagnostics(desk: Desk, url: str, **request: Any) -> str:
    """Send GetDiagnostics; return the name that the charger gives the file, once the upload has ended."""
    before = len(statuses(desk))
    answer = await desk.central.call(desk.identity, "GetDiagnostics", {"location": url, **request})
    await desk.until(lambda: statuses(desk)[before:][-1:] in (["Uploaded"], ["UploadFailed"]), "the upload's end")
    assert statuses(desk)[before:][0] == "Uploading"
    assert desk.central.violations == []
    return str(answer["fileName"])


async def uploaded(desk: Desk, folder: str = "/logs/", **request: Any) -> str:
    """Have the log uploaded; return it."""
    name = await get_diagnostics(desk, desk.web.url(folder), **request)
    assert statuses(desk)[-1] == "Uploaded", "\n".join(desk.lines)
    return stored(desk, name)


def stored(desk: Desk, name: str) -> str:
    assert isinstance(desk.web.files, dict)
    return bytes(desk.web.files[f"logs/{name}"]).decode()


async def fails(desk: Desk, url: str, **request: Any) -> str:
    """Have an upload fail; return why, as the charger's console tells it."""
    seen = len(desk.lines)
    await get_diagnostics(desk, url, **{"retries": 1, **request})
    assert statuses(desk)[-1] == "UploadFailed"

    def told() -> list[str]:
        return [line for line in desk.lines[seen:] if "UploadFailed: " in line]

    await desk.until(lambda: told() != [], "the reason on the console")
    return told()[0]


async def test_the_log_tells_of_this_boot_and_the_one_before_and_why_an_update_failed(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        await desk.registered()
        await desk.update(retries=1)  # there is no such file
        await desk.ended()
        await desk.central.call(desk.identity, "Reset", {"type": "Hard"})
        await desk.until(lambda: len(desk.central.calls("BootNotification")) == 2, "the registration")
        desk.web.files = {FILE: b"no firmware at all"}
        seen = len(desk.story)
        await desk.update(retries=1)
        await desk.ended(seen)
        log = await uploaded(desk)
        before, _, after = log.partition("Boot 2.0, reset cause: ")
        assert re.match(r"Boot 1.0, reset cause: power on\n", before)
        assert "DownloadFailed: http://127.0.0.1" in before
        assert "HTTP 404, no such file: check the location" in before
        assert after.startswith("hard reset\n")
        assert "InstallationFailed: " in after
        assert all(re.match(r"(\d+ \[[A-Z-]+\]|Boot) ", line) for line in log.splitlines())
        assert int(log.splitlines()[-1].split()[0]) > 1_700_000_000


async def test_the_log_of_a_whole_update_arrives_over_tls(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter, tls=True) as desk:
        desk.web.files = {FILE: desk.update_file()}
        await desk.registered()
        await desk.update()
        await desk.ended()
        log = await uploaded(desk)
        for words in ("Progress: 100%", "Firmware ready, restarting", "New firmware confirmed"):
            assert words in log
        assert (log.count("Boot "), log.count("Boot 2.0, ")) == (2, 1)


async def test_a_server_that_takes_no_put_gets_a_post(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        await desk.registered()
        for status in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
            desk.web.faults = [Fault("*", method="PUT", status=status)]
            desk.web.requests.clear()
            assert "registered" in await uploaded(desk, "/logs")
            assert [request.method for request in desk.web.requests] == ["PUT", "POST"]


async def test_location_has_html_entities_and_a_query_and_neither_it_nor_a_password_is_in_the_log(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with make_desk(tmp_path, interpreter, password="sixteen letters!") as desk:
        await desk.registered()
        url = desk.web.url("/logs?a=1&token=abcdef").replace("//", "//" + SECRET, 1)
        await get_diagnostics(desk, url)
        name = await get_diagnostics(desk, url)
        request = desk.web.requests[-1]
        assert request.path == f"/logs/{name}?a=1&token=abcdef"
        assert request.headers["authorization"] == "Basic b3BlcmF0b3I6dmVyeXNlY3JldA=="
        log = stored(desk, name)
        assert "Uploading CP1" in log
        for secret in ("verysecret", "token", "sixteen"):
            assert secret not in log
            assert not any(secret in line for line in desk.lines)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": HTTPStatus.UNAUTHORIZED}, "HTTP 401, correct user and password in the location"),
        ({"status": HTTPStatus.NOT_FOUND}, "HTTP 404, no such folder"),
        ({"status": HTTPStatus.INSUFFICIENT_STORAGE}, "HTTP 507, the server has a problem"),
        ({"location": "http://127.0.0.1/"}, "HTTP 302, the server is elsewhere: give that location"),
        ({"take": 100}, "connection"),
    ],
    ids=str,
)
async def test_an_upload_that_fails_says_why(
    tmp_path: Path, interpreter: Interpreter, fault: dict[str, Any], words: str
) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        await desk.registered()
        desk.web.faults = [Fault("*", **fault)]
        assert words in await fails(desk, desk.web.url("/logs"))
        desk.web.faults = []
        assert "UploadFailed: " in await uploaded(desk)


async def test_a_server_that_is_away_for_a_while_gets_the_log_in_another_attempt(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        await desk.registered()
        desk.web.faults = [Fault("*", take=100, times=2)]
        interval = {"startTime": "2026-08-21T12:00:00Z", "stopTime": "2026-08-22T12:00:00.000Z"}  # all is sent
        assert "Attempt 2 of 3 failed: " in await uploaded(desk, retries=3, retryInterval=5, **interval)
        assert statuses(desk) == ["Uploading", "Uploaded"]


async def test_places_that_are_not_there_end_in_upload_failed(tmp_path: Path, interpreter: Interpreter) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        await desk.registered()
        assert "no.such.host.invalid" in await fails(desk, "http://no.such.host.invalid/logs")
        assert "ECONNREFUSED" in await fails(desk, "http://127.0.0.1:1/logs")
        assert "does not start with http://" in await fails(desk, "gopher://127.0.0.1/logs")


async def test_trigger_tells_whether_an_upload_runs_and_a_second_request_supersedes_the_first(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    async with make_desk(tmp_path, interpreter) as desk:
        await desk.registered()
        trigger = {"requestedMessage": "DiagnosticsStatusNotification"}

        async def triggered() -> str:
            before = len(statuses(desk))
            assert await desk.central.call(desk.identity, "TriggerMessage", trigger) == {"status": "Accepted"}
            await desk.until(lambda: len(statuses(desk)) > before, "the triggered status")
            return statuses(desk)[-1]

        assert await triggered() == "Idle"
        desk.web.faults = [Fault("*", status=HTTPStatus.SERVICE_UNAVAILABLE)]
        location = {"location": desk.web.url("/first"), "retries": 2, "retryInterval": 3600}
        await desk.central.call(desk.identity, "GetDiagnostics", location)
        await desk.logged("Attempt 1 of 2 failed")
        assert await triggered() == "Uploading"
        desk.web.faults = []
        assert "registered" in await uploaded(desk)
        assert await triggered() == "Idle"
        assert statuses(desk) == ["Idle", "Uploading", "Uploading", "Uploading", "Uploaded", "Idle"]
        answers = [frame for frame in desk.central.frames if answers_get_diagnostics(frame)]
        assert len(answers) == 2


def answers_get_diagnostics(frame: Frame) -> bool:
    return frame.incoming and frame.action == "GetDiagnostics" and "fileName" in frame.payload


async def test_the_log_goes_to_an_ftp_server_too(tmp_path: Path, interpreter: Interpreter) -> None:
    with FtpServer(tmp_path / "served") as server:
        (server.folder / "in").mkdir()
        async with make_desk(tmp_path / "desk", interpreter) as desk:
            await desk.registered()
            assert "FTP 550" in await fails(desk, server.url("nowhere"))
            name = await get_diagnostics(desk, server.url("in"))
            log = (server.folder / "in" / name).read_text()
            assert "FTP 550" in log
            assert PASSWORD not in log
            assert "p%40ss" not in log


async def test_the_server_stores_uploads_in_a_folder_and_nowhere_else(tmp_path: Path, interpreter: Interpreter) -> None:
    files, uploads = tmp_path / "files", tmp_path / "uploads"
    for folder in (files, uploads, uploads / "depot"):
        folder.mkdir()
    async with (
        make_desk(tmp_path / "desk", interpreter) as desk,
        WebServer(files) as closed,
        WebServer(files, uploads=uploads) as server,
    ):
        await desk.registered()
        assert "HTTP 405" in await fails(desk, closed.url("/"))
        assert "HTTP 404" in await fails(desk, server.url("/nowhere/"))
        assert "HTTP 404" in await fails(desk, server.url("/depot/%2e%2e/%2e%2e/files/"))
        name = await get_diagnostics(desk, server.url("/depot"))
        assert b"registered" in (uploads / "depot" / name).read_bytes()
        assert not list(files.iterdir())
