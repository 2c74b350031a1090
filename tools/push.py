#!/usr/bin/env python3
"""Pushes an update file over the LAN to a charger in development mode, and follows it until it is confirmed.

    python3 tools/push.py HOST FILE [--key-file FILE]

The charger fetches the file from a small web server that runs here meanwhile, as if it had been sent UpdateFirmware:
the same slots, checks and trial. So the central system has to accept the new firmware, or the charger goes back.

Development mode is off until /config.json on the charger has "development": {"key": "at least 16 characters"}.
The key is taken from --key-file, --key, or the environment variable ARUS_PUSH_KEY; else it is asked for.
Exit status: 0 when the new firmware has been confirmed, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from pathlib import Path

import environment

if __name__ == "__main__":
    environment.ensure()

import build
import packages
import packages_inspect
import packages_plain
from packages_frames import PackageError
from push_course import Push
from push_line import PORT, PushError

KEY_VARIABLE = "ARUS_PUSH_KEY"
TIMEOUT = 900  # seconds


def main() -> None:
    """Do what the command line asks for."""
    arguments = _parser().parse_args()
    try:
        data, version = read(arguments.file)
        push = Push(arguments, data, version, _key(arguments))
        asyncio.run(push.run())
    except PushError as error:
        sys.exit(f"push.py: {error}")
    except TimeoutError:
        sys.exit(f"push.py: not confirmed within {arguments.timeout:.0f} s; last known: {push.known}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. What the charger has not fetched yet, it can't fetch any more.")


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("push.py", description=__doc__, formatter_class=raw)
    parser.add_argument("host", metavar="HOST", help="address or name of the charger")
    parser.add_argument("file", type=Path, metavar="FILE", help="an update file of tools/build.py, or a package")
    parser.add_argument("--key", help="other users of this machine can see it: better one of the other ways")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="a file with the key in its first line")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the charger; default: {PORT}")
    parser.add_argument("--listen-port", type=int, default=0, metavar="PORT", help="for the charger to fetch FILE from")
    parser.add_argument("--address", help="of this machine, as the charger reaches it; default: found out")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, metavar="SECONDS", help=f"default: {TIMEOUT}")
    return parser


def _key(arguments: argparse.Namespace) -> bytes:
    if arguments.key_file:
        try:
            key = arguments.key_file.read_text().partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise PushError(f"{arguments.key_file}: {getattr(error, 'strerror', 'is no text')}") from error
    else:
        key = arguments.key or os.environ.get(KEY_VARIABLE) or ""
    if not key and sys.stdin.isatty():
        key = getpass.getpass('Key ("development" in /config.json of the charger): ')
    if not key:
        raise PushError(f'no key: give --key-file or {KEY_VARIABLE}, the "key" of "development" in its /config.json')
    return str(key).encode()


def read(path: Path) -> tuple[bytes, str]:
    """Return an update file and the version that it brings; PushError if no charger would take it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PushError(f"{path}: {error.strerror}") from error
    try:
        report = packages_inspect.inspect(data)
        if report.problems or not packages.is_package(data):
            return data, packages_plain.sound(data).version
        return data, packages.parse(data).version
    except (PackageError, build.BuildError) as error:
        problem = str(error)
    raise PushError(f"{path} is no update file: {problem}")


if __name__ == "__main__":
    main()
