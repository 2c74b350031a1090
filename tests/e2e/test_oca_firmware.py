"""Firmware updates and diagnostics while a car charges; test_update.py and test_diagnostics.py have all the rest.

OCA.md says which cases of the OCA's list are proved here.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from desk import FILE
from oca import TAG, Charger
from simulator.interpreter import Interpreter

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSIONS = (f"2.0.{number}" for number in itertools.count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> AsyncIterator[Charger]:
    async with Charger(tmp_path_factory.mktemp("oca"), interpreter) as charger:
        yield charger


@pytest_asyncio.fixture(loop_scope="module")
async def charger(shared: Charger) -> AsyncIterator[Charger]:
    async with shared.scenario():
        yield shared


async def begin(charger: Charger, policy: str) -> str:
    """Have a car charge, and an update begin under this UpdateWhileCharging; return the new version."""
    version = next(VERSIONS)
    charger.desk.web.files = {FILE: charger.desk.update_file(version)}
    charger.desk.web.requests.clear()
    await charger.configure(UpdateWhileCharging=policy)
    await charger.charge()
    await charger.desk.update()
    return version


def course(charger: Charger) -> list[str]:
    """The statuses of the update."""
    return [payload["status"] for payload in charger.messages("FirmwareStatusNotification")]


async def end(charger: Charger, version: str, reason: str) -> None:
    """Wait for the end of the update, and look at what became of the transaction."""
    await charger.message("FirmwareStatusNotification", status="Installed")
    assert course(charger) == ["Downloading", "Downloaded", "Installing", "Installed"]
    assert charger.messages("BootNotification")[-1]["firmwareVersion"] == version
    [start], [stop] = charger.messages("StartTransaction"), charger.messages("StopTransaction")
    charger.check(start, stop, reason=reason)
    await charger.restarted()
    assert charger.status() == "Preparing"
    await charger.unplug()
    await charger.until_status("Available", 0)


async def test_an_update_that_ends_charging(charger: Charger) -> None:
    version = await begin(charger, "stop")
    await end(charger, version, "Reboot")
    words = charger.story("StopTransaction", "FirmwareStatusNotification")
    assert words[:2] == ["Stop Reboot", "FirmwareStatusNotification Downloading"]
    assert charger.statuses()[:4] == ["Preparing", "Charging", "Finishing", "Unavailable"] or charger.statuses()[
        :3
    ] == [
        "Preparing",
        "Charging",
        "Unavailable",
    ]


async def test_an_update_that_waits_until_charging_ends(charger: Charger) -> None:
    version = await begin(charger, "wait")
    await charger.logged("The update waits until charging ends")
    await charger.draws(wh=10)
    await charger.ask("RemoteStartTransaction", "Rejected", idTag=TAG)
    assert (course(charger), charger.desk.web.requests) == ([], [])
    assert charger.statuses()[-1] == "Charging"
    await charger.card()
    await end(charger, version, "Local")


async def test_an_update_that_downloads_while_a_car_charges_and_installs_when_that_has_ended(charger: Charger) -> None:
    version = await begin(charger, "download")
    await charger.message("FirmwareStatusNotification", status="Downloaded")
    assert charger.chip.contactor()
    assert charger.statuses() == ["Preparing", "Charging"]
    await charger.logged("The installation waits until charging ends")
    await charger.draws(wh=10)
    assert course(charger) == ["Downloading", "Downloaded"]
    await charger.card()
    await end(charger, version, "Local")


async def test_a_download_that_fails_leaves_a_transaction_alone(charger: Charger) -> None:
    charger.desk.web.files = {}
    await charger.configure(UpdateWhileCharging="download")
    await charger.charge()
    await charger.desk.update(retries=0)
    await charger.message("FirmwareStatusNotification", status="DownloadFailed")
    await charger.draws(wh=10)
    assert (course(charger), charger.statuses()) == (["Downloading", "DownloadFailed"], ["Preparing", "Charging"])
    charger.check(charger.messages("StartTransaction")[0], await charger.stop())


async def test_the_log_is_uploaded_while_a_car_charges(charger: Charger) -> None:
    await charger.charge()
    answer = await charger.call("GetDiagnostics", location=charger.desk.web.url("/logs"))
    await charger.message("DiagnosticsStatusNotification", status="Uploaded")
    assert charger.story("DiagnosticsStatusNotification") == [
        "DiagnosticsStatusNotification Uploading",
        "DiagnosticsStatusNotification Uploaded",
    ]
    assert isinstance(charger.desk.web.files, dict)
    assert f"transaction of {TAG} begins" in bytes(charger.desk.web.files[f"logs/{answer['fileName']}"]).decode()
    assert charger.chip.contactor()
    charger.check(charger.messages("StartTransaction")[0], await charger.stop())
