"""The promises of a whole charger, tried on a board: it registers, updates itself, goes back from what is broken."""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from typing import Any

import build
from device import images
from device.bench import Bench
from device.service import JOIN, Failed, Progress, Service, address_for
from flashing.errors import FlashError

GOOD, DAMAGED, BROKEN = "2.0.0-test", "2.0.1-damaged", "2.0.2-broken"
BROKEN_MAIN = {"main.py": b'raise RuntimeError("this application is broken on purpose")\n'}
# What the tests' charger does without: packages need the owner's key, and passwords don't travel over plain ws.
WITHOUT = ("password", "ca", "firmware_key", "development")


class Charger:
    """The board as a charger. Each of its tests returns what there is to tell; Failed or FlashError."""

    def __init__(self, board: Bench, options: Namespace) -> None:
        self.board = board
        self.options = options
        self.runner = asyncio.Runner()
        self.service: Service | None = None
        self.version = ""
        self.image = b""
        self.address = ""

    def reason_to_skip(self) -> str:
        """Why this board can't be tried as a charger, if so."""
        found = self.board.facts
        config = config_of(self.board)
        wifi = config.get("wifi") if config else None
        if not config:
            return "no config.json on the board: tools/flash.py makes one"
        if not isinstance(wifi, dict) or not wifi.get("ssid"):
            return "no Wi-Fi in config.json"
        if found.is_production:
            return "a production image takes only updates of its own kind (tools/build.py image), not these"
        if self.board.folder == "/" and not {"main.py", "main.mpy"} & set(found.names):
            return "no application on the board: tools/flash.py puts it on"
        if self.board.waiting:
            return (
                f"{self.board.waiting} transaction messages wait for the charger's own central system, and would go to "
                "the tests': connect it there first"
            )
        room = found.slot_room()
        needed = len(bundle(GOOD))
        if needed > room:
            return f"an update needs {needed // 1024} KiB behind MicroPython, a slot of this board has {room // 1024}"
        return ""

    def wifi(self, _: Progress) -> list[str]:
        """Join the network of config.json from the prompt."""
        config = config_of(self.board)
        network = config["wifi"]
        self.board.enter()
        joined, address, figure = self.board.run(JOIN.format(ssid=network["ssid"], key=network.get("key")), 40).split()
        if joined != "True":
            raise Failed(f'no connection to {network["ssid"]}, status {figure}: check "wifi" in config.json')
        self.address = self.options.address or address_for(address)
        return [f"the board is {address}, signal {figure} dBm; it reaches this machine at {self.address}"]

    def registration(self, progress: Progress) -> list[str]:
        """Point the charger at this machine, and wait until it is registered."""
        config = config_of(self.board)
        self.image = self.image or self._image(progress)
        service = self.service = Service(self.board, self.address, str(config["id"]))
        self.runner.run(service.start())
        config = {name: value for name, value in config.items() if name not in WITHOUT}
        keys = config.get("configuration")
        if isinstance(keys, dict):  # packages would be asked for
            config["configuration"] = {key: value for key, value in keys.items() if key != "RequireSignedFirmware"}
        self.board.configure({**config, "csms": service.url, "ntp": ""})
        told = self._restart()
        return [f"application {self.version}, updates bring {self._origin()}", *told]

    def _restart(self) -> list[str]:
        assert self.service
        since = len(self.service.central.frames)
        self.board.reset()
        self.service.watch()
        self.version = self.runner.run(self.service.registered(since))
        figures = self.runner.run(self.service.wait(self.service.diagnosis()))
        return [f"free heap {figures['heapFree']:,} bytes"]

    def refusal(self, progress: Progress) -> list[str]:
        """Offer a file with one wrong bit at its end: it has to be refused, without a restart."""
        service = self._in_service()
        file = bytearray(self._file(DAMAGED))
        file[-5000] ^= 1
        since = len(service.central.frames)
        told = self._update(bytes(file), progress, "InstallationFailed", "DownloadFailed")
        if service.frames(since, "BootNotification"):
            raise Failed(f"it has restarted for a damaged file:\n{service.log.tail()}")
        return told

    def rollback(self, progress: Progress) -> list[str]:
        """Install an application that fails at its start: the charger has to come back with the one before."""
        service = self._in_service()
        since = len(service.central.frames)
        told = self._update(self._file(BROKEN, BROKEN_MAIN), progress, "InstallationFailed")
        back = self.runner.run(service.registered(since))
        if back != self.version:
            raise Failed(f"{back} runs, and not {self.version} as before:\n{service.log.tail()}")
        if not any(f"application {BROKEN}" in line for line in service.log.lines):
            raise Failed(f"{BROKEN} was never started:\n{service.log.tail(60)}")
        return [*told, f"back at {back}"]

    def update(self, progress: Progress) -> list[str]:
        """Install a sound application: it has to be confirmed."""
        service = self._in_service()
        since = len(service.central.frames)
        told = self._update(self._file(GOOD), progress, "Installed")
        runs = self.runner.run(service.registered(since))
        if runs != GOOD:
            raise Failed(f"{runs} runs, and not {GOOD}:\n{service.log.tail()}")
        figures = self.runner.run(service.wait(service.diagnosis()))
        return [*told, f"{GOOD} runs, free heap {figures['heapFree']:,} bytes"]

    def pause(self) -> None:
        """Leave the port to others; the charger goes on."""
        if self.service:
            self.service.log.stop()

    def close(self) -> None:
        """Stop the servers."""
        self.pause()
        if self.service:
            self.runner.run(self.service.stop())
        self.runner.close()

    def _in_service(self) -> Service:
        assert self.service
        if not self.service.log.is_alive():  # another test was at the prompt
            self._restart()
        return self.service

    def _update(self, file: bytes, progress: Progress, *expected: str) -> list[str]:
        assert self.service
        service = self.service
        statuses, seconds = self.runner.run(service.update(file, progress))
        if statuses[-1] not in expected:
            raise Failed(f"{' '.join(statuses)}, and not {' or '.join(expected)} in the end:\n{service.log.tail(40)}")
        if service.central.violations:
            raise Failed("\n".join(service.central.violations))
        return [
            f"{' '.join(statuses)} after {seconds:.1f} s, {len(file):,} bytes",
            f"longest time for an answer meanwhile {service.longest:.2f} s, least free heap {service.least_heap:,}",
        ]

    def _file(self, version: str, extra: dict[str, bytes] | None = None) -> bytes:
        return build.update_file(self.image, build.bundle(build.application(version, extra), version))

    def _image(self, progress: Progress) -> bytes:
        if self.options.micropython:
            return images.of_file(self.options.micropython, self.board.facts.chip)
        return images.of_board(self.board, progress)

    def _origin(self) -> str:
        name = self.options.micropython.name if self.options.micropython else "as it runs on the board"
        return f"MicroPython {name}, and this folder's application"


def config_of(board: Bench) -> dict[str, Any]:
    """Return the board's config.json, {} if it is none."""
    try:
        config = json.loads(board.facts.config or "{}")
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def bundle(version: str) -> bytes:
    """Return this folder's application as updates bring it."""
    try:
        return build.bundle(build.application(version), version)
    except build.BuildError as error:
        raise FlashError(str(error)) from None
