#!/usr/bin/env python3
"""Makes a charger of an ESP32 board: MicroPython, application, config.json, until it is registered.

    flash.py --micropython ESP32_GENERIC-OTA.bin     an empty board: it asks for what it has to know
    flash.py                                         the same later: only what differs is changed
    flash.py --config charger.json --id CP7 --wifi-key --no-watch
                                                     many chargers: fields from a file, the rest here
    flash.py --only-config --csms wss://HOST/PATH --ca ca.pem
                                                     another central system
    flash.py --dry-run                               what would be done

Run it again whenever something went wrong: it goes on where it was. The board is
found by itself if it is the only one; --port names it. Secrets: an option without
its value asks for it, and does not show it. An empty value takes a field away.
The exit status is 0 if the charger is registered.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import environment

ASK = "?"  # as in flashing/questions.py


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", help="/dev/ttyUSB0, COM3 or socket://HOST:PORT")
    parser.add_argument(
        "--micropython", metavar="FILE", type=Path, help="MicroPython for this chip, 1.25 or newer, as it is downloaded"
    )
    parser.add_argument("--anew", action="store_true", help="write all of it again; all that is on the board is lost")
    parser.add_argument(
        "--baud", metavar="N", type=int, default=460800, help="speed of that, lower if it fails (default: %(default)s)"
    )
    parser.add_argument("--version", metavar="V", help="of the application (default: what git says)")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done; nothing is touched")
    parser.add_argument("--yes", action="store_true", help="agree to what would be asked")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--only-app", action="store_true", help="leave config.json as it is")
    what.add_argument("--only-config", action="store_true", help="leave the application as it is")
    parser.add_argument(
        "--dev",
        action=argparse.BooleanOptionalAction,
        help="for developers: put the application on as single files, which run in front of what the OTA slots hold",
    )
    parser.add_argument(
        "--format",
        action="store_true",
        help="make a new file system; only config.json is kept, and the files that it names",
    )
    parser.add_argument("--no-watch", action="store_true", help="do not wait until the charger is registered")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=90, help="seconds to wait for that (default: %(default)s)"
    )

    fields = parser.add_argument_group("config.json", "What is not given stays as it is on the board.")
    fields.add_argument(
        "--config", metavar="FILE", type=Path, help="fields as JSON, and the files beside it that it names"
    )
    fields.add_argument("--ask", action="store_true", help="ask for every field, and not only for what is missing")
    fields.add_argument("--csms", metavar="URL", help="of the central system, without the identity: ws://… or wss://…")
    fields.add_argument("--id", help="identity of the charger (SteVe: ChargeBox ID)")
    fields.add_argument("--password", metavar="P", nargs="?", const=ASK, help="for the central system")
    fields.add_argument("--ca", metavar="FILE", help="certificate of the CA that signed the central system's, for wss")
    fields.add_argument("--ssid", metavar="NAME", help="of the Wi-Fi network")
    fields.add_argument("--wifi-key", metavar="KEY", nargs="?", const=ASK, help="of the Wi-Fi network")
    fields.add_argument("--vendor", metavar="V", help="of the charger, 1 to 20 characters")
    fields.add_argument("--model", metavar="M", help="of the charger, 1 to 20 characters")
    fields.add_argument("--serial", metavar="S", help="number of the charger, 1 to 25 characters")
    fields.add_argument("--hardware", metavar="N", type=number, help="revision of the hardware")
    fields.add_argument("--firmware-key", metavar="FILE", help="public key that updates have to be signed with")
    fields.add_argument("--hostname", metavar="NAME", help="in the Wi-Fi network (default: the identity)")
    fields.add_argument("--ntp", metavar="HOST", help="time server")
    fields.add_argument("--led", metavar="PIN", type=number, help="status LED")
    fields.add_argument("--maintenance", metavar="PIN", type=number, help="held low at the start: no application")
    fields.add_argument(
        "--development-key",
        metavar="KEY",
        nargs="?",
        const=ASK,
        help="takes updates from tools/push.py, for developers",
    )
    arguments = parser.parse_args(words)
    if arguments.only_config and arguments.micropython:
        parser.error("--only-config leaves MicroPython as it is: without --micropython, please")
    if arguments.anew and not arguments.micropython:
        parser.error("--anew goes with --micropython FILE")
    if arguments.only_config and arguments.dev is not None:
        parser.error("--only-config leaves the application as it is: without --dev and --no-dev, please")
    if arguments.format and (arguments.only_app or arguments.only_config):
        parser.error(
            "--format takes both application and config.json away: without --only-app and --only-config, please"
        )
    if arguments.timeout <= 0:
        parser.error("--timeout takes a number of seconds above 0")
    return arguments


def number(text: str) -> int | str:
    """A whole number; an empty text, which takes the field away, stays one."""
    return int(text) if text else text


if __name__ == "__main__":
    arguments = parse()
    environment.ensure()
    from flashing import flow  # needs the packages that ensure() brings

    sys.exit(flow.main(arguments))
