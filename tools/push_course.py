"""The course of one push, for tools/push.py: the file is served and fetched, the charger followed until it is done."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import time
from contextlib import AsyncExitStack, suppress
from typing import Any
from urllib.parse import quote

from environment import ProgressLine, bar
from push_line import Charger, Lost, PushError, Unreachable, Wait
from webserver import WebServer

SILENCE = 15  # seconds without a sign of life before the reader is told what may be the matter
PAUSE = 1  # seconds between two tries to connect
TRIES = 10  # of which the first ones may meet a charger that is busy with another peer
KIB = 1024
FINAL = ("Installed", "InstallationFailed", "DownloadFailed", "Superseded", "Idle")
WORDS = {
    None: "Accepted.",
    "InstallScheduled": "The installation waits until charging ends.",
    "Downloaded": "Downloaded and checked.",
    "Installing": "Installing; the charger restarts.",
}


class Push:
    """One push. `known`: the last that is known of it, in words."""

    def __init__(self, arguments: argparse.Namespace, data: bytes, version: str, key: bytes) -> None:
        self.arguments = arguments
        self.data = data
        self.version = version
        self.key = key
        self.known = "nothing"
        name = quote(arguments.file.name)
        self.path = f"{secrets.token_hex(8)}/{name if len(name) < 100 else 'update.bin'}"
        self.web = WebServer({self.path: data}, host="", port=arguments.listen_port)
        self.url = ""
        self._shown = ""

    async def run(self) -> None:
        """Return when the new firmware has been confirmed; PushError if it will not be, or TimeoutError."""
        async with asyncio.timeout(self.arguments.timeout), AsyncExitStack() as stack:
            charger = await self._reach(TRIES)
            stack.push_async_callback(charger.close)
            brings = f"{self.arguments.file.name} brings {self.version}, {len(self.data):,} bytes"
            print(f"{charger.id} at {self.arguments.host} runs {charger.version}; {brings}")
            await self._serve(stack, charger.local)
            hints = asyncio.create_task(self._hint())
            stack.callback(hints.cancel)
            coming = charger.ask(self.key, self.url, push=True)
            while True:
                try:
                    if self._settled(await coming):
                        return
                except Lost:  # it restarts, most likely
                    await charger.close()
                    charger = await self._again()
                    stack.push_async_callback(charger.close)
                    coming = charger.ask(self.key, self.url, push=False)
                else:
                    coming = self._next(charger)

    async def _serve(self, stack: AsyncExitStack, local: str) -> None:
        """Start the web server, at the address by which the charger has been reached."""
        if not self.arguments.address:
            self.web.host = local  # it need not be seen in other networks
        try:
            await stack.enter_async_context(self.web)
        except OSError as error:
            port = self.arguments.listen_port
            raise PushError(f"can't listen on port {port} for the charger to fetch the file: {error}") from error
        self.url = self.web.url(self.path, host=self.arguments.address)

    async def _reach(self, tries: int) -> Charger:
        """Connect; a charger that is busy with somebody else is asked again."""
        while True:
            try:
                return await Charger.reach(self.arguments.host, self.arguments.port)
            except Wait:
                tries -= 1
                if not tries:
                    raise
            await asyncio.sleep(PAUSE)

    async def _again(self) -> Charger:
        """Connect anew, however long it takes."""
        line = None
        while True:
            with suppress(Unreachable, Wait):
                charger = await self._reach(TRIES)
                if line:
                    line.end(f"back, runs {charger.version}")
                return charger
            line = line or ProgressLine("The charger restarts")
            line.show("")
            await asyncio.sleep(PAUSE)

    async def _next(self, charger: Charger) -> dict[str, Any]:
        """Wait for what the charger tells next and show what it fetches meanwhile; Lost after a silence.

        A chip that resets says nothing to its peers.
        """
        line = ProgressLine("Downloading") if self.known.startswith("Downloading") else None
        coming = asyncio.create_task(charger.next())
        served, since = self.served, time.monotonic()
        try:
            while not coming.done():
                if line:
                    line.show(f"{bar(self.served // KIB, max(1, len(self.data) // KIB))} KiB")
                if served != self.served:
                    served, since = self.served, time.monotonic()
                if time.monotonic() > since + SILENCE:
                    raise Lost
                await asyncio.wait([coming], timeout=0.2)
            return coming.result()
        finally:
            coming.cancel()
            if line:
                line.end(f"{self.served:,} bytes of {len(self.data):,}")

    @property
    def served(self) -> int:
        """How far the charger has fetched the file, in bytes."""
        if not self.web.requests:
            return 0
        last = self.web.requests[-1]
        start = last.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        return min(len(self.data), last.sent + (int(start) if start.isdecimal() else 0))

    async def _hint(self) -> None:
        """Say what may be the matter when the charger fetches nothing."""
        await asyncio.sleep(SILENCE)
        if not self.web.requests:
            print(
                "\nNothing fetched yet. While a car charges the charger may wait (UpdateWhileCharging), and after its "
                "start\nup to a minute for the central system. Or it can't reach this machine: "
                f"does a firewall block TCP port {self.web.port}?"
            )

    def _settled(self, state: dict[str, Any]) -> bool:
        """Show what the charger tells; whether the new firmware is confirmed. PushError if it won't be."""
        if "error" in state:
            raise PushError(f"the charger refuses: {state['error']}")
        status, version = state.get("update"), str(state.get("version"))
        if status in FINAL:
            self._judge(status, version, str(state.get("reason") or ""))
            print(f"Installed: {version} is confirmed.")
            return True
        self.known = f"{status or 'accepted'}, {version} runs"
        text = WORDS.get(status, "")
        if not status and state.get("charging"):
            text += " A car charges: UpdateWhileCharging says what comes of that."
        if state.get("trial"):
            text = f"{version} runs on trial: the central system has to accept it."
        if text and text != self._shown:
            print(text)
        self._shown = text
        return False

    def _judge(self, status: str, version: str, reason: str) -> None:
        """Raise the PushError for an update that ended otherwise than it should."""
        if status == "Installed":
            if version != self.version:
                raise PushError(f"{version} is installed: another update took the place of this one")
            return
        if status == "Superseded":
            raise PushError("another update took the place of this one")
        if status == "Idle":
            raise PushError("the charger knows nothing of this update any more; its log may tell why")
        text = f"{status}: {reason or 'the log of the charger may tell why'} (the charger runs {version})"
        if status == "DownloadFailed" and not self.web.requests:
            text += (
                f"\nThe charger could not reach this machine: let TCP port {self.web.port} through its firewall "
                f"(--listen-port chooses the port),\nor name it as the charger reaches it with --address, now it is "
                f"{self.arguments.address or self.web.host}."
            )
        raise PushError(text)
