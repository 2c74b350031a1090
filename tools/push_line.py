"""The lines between tools/push.py and a charger (firmware/push_line.py): each proves that its sender has the key."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import socket
from contextlib import suppress
from typing import Any

PORT = 3232
PATIENCE = 10  # seconds for an answer
LIMIT = 4096  # bytes of a line
MARK = 64  # characters of an HMAC


class PushError(Exception):
    """The push has failed; the text says why and what to do."""


class Unreachable(PushError):
    """Nobody answers there, or not now."""


class Wait(PushError):
    """The charger is busy with another peer."""


class Lost(Exception):
    """The connection is gone."""


class Charger:
    """A connection to a charger in development mode.

    id, version: as it says before anything is proved. local: the address of this machine that it is reached from.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: dict[str, Any]) -> None:
        self._reader = reader
        self._writer = writer
        self._mark = str(greeting["nonce"]).encode()
        self._key = b""
        self.id = printable(greeting.get("id"))
        self.version = printable(greeting.get("version"))
        self.local = str(writer.get_extra_info("sockname")[0])

    @classmethod
    async def reach(cls, host: str, port: int) -> Charger:
        """Connect and read the greeting; Unreachable or PushError if there is none."""
        try:
            opening = asyncio.open_connection(host, port, family=socket.AF_INET, limit=LIMIT)
            reader, writer = await asyncio.wait_for(opening, PATIENCE)
        except ConnectionRefusedError as error:
            raise Unreachable(
                f"{host} refuses port {port}: its development mode is off. To switch it on put "
                '"development": {"key": "at least 16 characters"} into its /config.json and restart it.'
            ) from error
        except socket.gaierror as error:
            raise Unreachable(f"{host}: no such host") from error  # for a name of mDNS, while it restarts
        except (OSError, TimeoutError) as error:
            text = getattr(error, "strerror", None) or "no answer"
            raise Unreachable(f"{host} port {port}: {text}. Is it on, and in this network?") from error
        line = b""
        with suppress(OSError, ValueError, TimeoutError):
            line = await asyncio.wait_for(reader.readline(), PATIENCE)
        greeting = _parsed(line)
        if greeting.get("arus") == 1 and isinstance(greeting.get("nonce"), str):
            return cls(reader, writer, greeting)
        writer.close()
        if not line.endswith(b"\n"):
            raise Unreachable(
                f"{host} port {port}: no greeting. A charger that restarts does that, or it is no charger."
            )
        if greeting.get("error") == "busy":
            raise Wait(f"{host} is busy with another push or a wrong key: try again in a few seconds")
        raise PushError(f"what answers at {host} port {port} is no charger with this firmware")

    async def ask(self, key: bytes, location: str, *, push: bool) -> dict[str, Any]:
        """Push, or only ask about, the update from a location; return the first answer. Errors as of next()."""
        self._key = key
        request = {"location": location, "nonce": secrets.token_hex(16), "push": push}
        text = json.dumps(request).encode()
        self._mark = self._next_mark(text)
        try:
            self._writer.write(self._mark + b" " + text + b"\n")
            await self._writer.drain()
            return await asyncio.wait_for(self.next(), PATIENCE)
        except OSError as error:  # a TimeoutError is one
            raise Lost from error

    async def next(self) -> dict[str, Any]:
        """Return what the charger tells next; Lost at the end, PushError unless it proves that it has the key."""
        try:
            line = await self._reader.readline()
        except (OSError, ValueError) as error:  # ValueError: it is too long
            raise Lost from error
        if not line.endswith(b"\n"):
            raise Lost
        mark, text = line[:MARK], line[MARK + 1 : -1]
        if line.startswith(b"{"):
            raise PushError(f'{self.id} refuses this key: take the "key" of "development" in its /config.json')
        expected = self._next_mark(text)
        if not hmac.compare_digest(mark, expected):
            raise PushError("what answers does not have the key: another charger, or somebody in between")
        self._mark = expected
        return {name: printable(value) if isinstance(value, str) else value for name, value in _parsed(text).items()}

    def _next_mark(self, text: bytes) -> bytes:
        return hmac.new(self._key, self._mark + text, "sha256").hexdigest().encode()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 1)


def printable(value: object) -> str:
    """Return a text from the network, fit for a terminal."""
    return "".join(character if character.isprintable() else "?" for character in str(value)[:300])


def _parsed(text: bytes) -> dict[str, Any]:
    """Return a JSON object, an empty one for anything else."""
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    return fields if isinstance(fields, dict) else {}
