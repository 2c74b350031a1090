"""One desk with everything an update needs: a simulated charger, a central system, a web server, and update files."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import build
import packages
import packages_keys
from central_system import CentralSystem, Frame
from environment import REPOSITORY
from simulator import manufacture
from simulator.chip import Chip, SimulatorError, Timing
from simulator.interpreter import Interpreter
from simulator.manufacture import OTA_4MIB
from webserver import Request, WebServer

BEFORE, OLD, NEW = "0.9.0", "1.0.0", "2.0.0"
IDENTITY = "CP1"
PRODUCT = "Desk"
FILE = f"arus-{NEW}.bin"
KEY_FILE = "firmware_key.pem"
# An ampersand, which SteVe sends as &amp;
QUERY = "?charger=1&channel=stable"
FINAL = ("Installed", "InstallationFailed", "DownloadFailed")
HEAP = 96 * 1024  # what a board without EVSE needs for every kind of update, not frozen
CHARGING_HEAP = 128 * 1024  # likewise for one with an EVSE, and some room
TRIAL_DEADLINE = 60  # seconds of the chip's time; on a busy desk whose time is sped up, that is little
SLOT = next(size for label, _, _, _, size in OTA_4MIB if label == "ota_0")
WIFI = ("desk", "simulated")
# For localhost and 127.0.0.1; the keys are no secret and protect nothing.
CERTIFICATES = REPOSITORY / "tests" / "certificates"

# Pins of an ESP32 module as the sockets of a charger could be wired to them: ADC1 for the pilots, as Wi-Fi needs ADC2.
PILOT_MV = [300, 3000]
METER = {"type": "pulse", "pulses_per_kwh": 1000}
RATED = {"max_current": 16, "phases": 1, "voltage": 230, "ventilation": False}
CONNECTORS: list[dict[str, Any]] = [
    {
        "pilot": {"pwm": 25, "adc": 34, "mv": PILOT_MV},
        "contactor": 26,
        "feedback": 27,
        "ground_fault": 32,
        "overcurrent": 33,
        "meter": {**METER, "pin": 35},
        "led": 2,
        "lock": 14,
        **RATED,
    },
    {
        "pilot": {"pwm": 4, "adc": 39, "mv": PILOT_MV},
        "contactor": 13,
        "feedback": 5,
        "ground_fault": 18,
        "overcurrent": 19,
        "meter": {**METER, "pin": 21},
        "led": 22,
        "lock": 23,
        **RATED,
    },
    # Pins are scarce: this one has no inputs for faults of its own, no LED and no lock.
    {"pilot": {"pwm": 15, "adc": 37, "mv": PILOT_MV}, "contactor": 12, "meter": {**METER, "pin": 38}, **RATED},
]
SHARED = {"reader": {"type": "serial", "uart": 2, "rx": 16}, "emergency_stop": 36}


class Desk:
    """Use it with `async with`: the charger, with version OLD in its first slot, is switched on when that is entered.

    In its other slot is BEFORE, `slot1`: what an update finds there.

    `chip`, `central` and `web` are there to be watched and disturbed; `web.files[FILE]` is what an update brings.
    `lines` is the serial log. `tls` makes it wss and https. `key` signs the packages. `csms`, `identity`, `password`
    and `ca` (PEM or DER) attach the charger to another central system than the desk's own. `record` keeps what
    simulator/recording.py needs. `connectors`: how many the charger has with all that belongs to one (CONNECTORS), and
    with them a card reader and an emergency stop; with 0 it is a bare board where nobody ever plugs in. `others`:
    further fields of config.json. `is_blank`: MicroPython is in the first slot and nothing else on the board.
    """

    def __init__(
        self,
        folder: Path,
        interpreter: Interpreter,
        *,
        image: bytes | None = None,
        heap: int = HEAP,
        speed: float = 1,
        timing: Timing | None = None,
        record: bool = False,
        tls: bool = False,
        ca: bytes | None = None,
        csms: str | None = None,
        identity: str = IDENTITY,
        password: str | None = None,
        configuration: Mapping[str, int | str] | None = None,
        connectors: int = 0,
        key: packages_keys.PrivateKey | None = None,
        others: Mapping[str, Any] | None = None,
        is_blank: bool = False,
        serial: Callable[[str], None] = lambda _: None,
        request: Callable[[Request], None] = lambda _: None,
    ) -> None:
        self.image = image or build.made_image()
        self.identity = identity
        self.speed = speed
        self.connectors = connectors
        self.lines: list[str] = []
        self.central = CentralSystem(tls=_tls() if tls else None, password=password)
        self.web = WebServer({}, tls=_tls() if tls else None, log=request)
        self.chip = Chip(
            folder,
            interpreter,
            heap=heap,
            speed=speed,
            timing=timing or Timing(),
            serial=self._serial,
            record=record,
            air=WIFI,
        )
        self._key = key
        self._ca = (CERTIFICATES / "ca.pem").read_bytes() if tls else ca
        self._is_blank = is_blank
        self._csms = csms
        self._show = serial
        self._config = {
            "id": identity,
            "wifi": {"ssid": WIFI[0], "key": WIFI[1]},
            "ntp": "",  # no desk needs one, and not every desk has the internet
            "vendor": "Arus",
            "model": PRODUCT,
            "configuration": {"TrialDeadline": TRIAL_DEADLINE, **(configuration or {})},
            **({"firmware_key": KEY_FILE} if key else {}),
            **({"password": password} if password else {}),
            **({"ca": "ca.pem"} if self._ca else {}),
            **({"connectors": CONNECTORS[:connectors], **SHARED} if connectors else {}),
            **(others or {}),
        }
        self.chip.wire(self._config)

    async def __aenter__(self) -> Self:
        slot0 = self.image if self._is_blank else self.update_file(OLD)
        self.slot1 = b"" if self._is_blank else self.update_file(BEFORE)
        if len(slot0) > SLOT:
            raise build.BuildError(
                f"MicroPython and the application have {len(slot0):,} bytes, an OTA slot {SLOT:,}: "
                "take MicroPython's OTA variant, it is smaller"
            )
        if not self._csms:
            await self.central.start()
        await self.web.start()
        self._config["csms"] = self._csms or self.central.url
        files = {
            "boot.py": (REPOSITORY / "boot.py").read_bytes(),
            "config.json": json.dumps(self._config).encode(),
            **({"ca.pem": self._ca} if self._ca else {}),
            **({KEY_FILE: packages_keys.public_pem(self._key.public_key())} if self._key else {}),
        }
        self.chip.insert(manufacture.flash(slot0, None if self._is_blank else files, slot1=self.slot1))
        self._running = asyncio.create_task(self.chip.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.web.stop()
        await self.central.stop()

    async def start_from(self, flash: bytes) -> None:
        """Switch the charger on with this flash, and forget everything seen so far.

        The charger has to be quiet: what it sent last would be taken for the first that it says now.
        """
        await self.chip.power_off()
        await self._running
        self.chip.insert(flash)
        self.chip.boots.clear()
        self.lines.clear()
        self.central.frames.clear()
        self.web.requests.clear()
        self._running = asyncio.create_task(self.chip.run())

    def _serial(self, line: str) -> None:
        self.lines.append(line)
        self._show(line)

    def update_file(self, version: str = NEW, extra: dict[str, bytes] | None = None) -> bytes:
        """An update file with this version of the application, some of its files replaced."""
        return build.update_file(self.image, build.bundle(build.application(version, extra), version))

    def package(self, file: bytes | None = None, **options: Any) -> bytes:
        """That update file as a package for this charger; options as for packages.package."""
        assert self._key
        options = {"product": PRODUCT, "release": 2, **options}
        return packages.package(file or self.update_file(), self._key, **options)

    async def update(
        self,
        path: str = FILE + QUERY,
        retries: int | None = 3,
        retry_interval: int | None = 10,
        date: datetime | None = None,
    ) -> None:
        """Have the central system send UpdateFirmware."""
        await self.central.update_firmware(self.identity, self.web.url(path), date, retries, retry_interval)

    # ---- what became of it

    @property
    def story(self) -> list[Frame]:
        """What tells the course of an update, in the order in which the central system received it."""
        return [frame for frame in self.central.frames if tells(frame)]

    @property
    def version(self) -> str:
        """The version that registered last."""
        return str(self.central.calls("BootNotification")[-1].payload["firmwareVersion"])

    @property
    def in_service(self) -> bool:
        """Whether every connector is Available, as far as the central system knows."""
        statuses = {
            frame.payload["connectorId"]: frame.payload["status"] for frame in self.central.calls("StatusNotification")
        }
        return len(statuses) > 1 and set(statuses.values()) == {"Available"}

    async def until_off(self) -> None:
        """Wait until the charger is switched off."""
        await asyncio.shield(self._running)

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 200) -> None:
        """Wait for a condition; TimeoutError with `what` in its text after so many seconds of the chip's time."""
        patience = 20 + seconds / self.speed
        deadline = time.monotonic() + patience
        while not condition():
            if self._running.done():
                self._running.result()
                raise SimulatorError(f"the chip was switched off while waiting for this: {what}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {patience:.0f} s in vain for this: {what}; the serial log may tell why")
            await asyncio.sleep(0.01)

    async def logged(self, words: str) -> None:
        """Wait for words on the serial console."""
        await self.until(lambda: any(words in line for line in self.lines), f'"{words}" in the serial log')

    async def registered(self) -> None:
        """Wait until the charger is registered and ready to charge."""
        await self.until(lambda: self.in_service, "the charger is registered and all connectors are Available", 60)

    async def ended(self, since: int = 0) -> None:
        """Wait until an update has ended and the charger serves again: connectors Available, calls answered.

        since: the chapters of the story up to there belong to an earlier update.
        """
        await self.until(
            lambda: any(chapter(frame) in FINAL for frame in self.story[since:]), "the last status of the update"
        )
        await self.registered()
        heartbeats = len(self.central.calls("Heartbeat"))
        await self.central.call(self.identity, "TriggerMessage", {"requestedMessage": "Heartbeat"})
        await self.until(lambda: len(self.central.calls("Heartbeat")) > heartbeats, "a triggered Heartbeat")


def tells(frame: Frame) -> bool:
    """Whether this frame tells the course of an update: a status of it, or a restart."""
    return frame.asks("FirmwareStatusNotification") or frame.asks("BootNotification")


def chapter(frame: Frame) -> str:
    """A frame of a story in one word: the status, or the version that registered."""
    return str(frame.payload.get("status") or frame.payload.get("firmwareVersion"))


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server_key.pem")
    return context
