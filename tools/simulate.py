#!/usr/bin/env python3
"""Shows a charger charge cars and update itself over the air, all of it on this machine.

    simulate.py                          a car charges, and is interrupted by an update
    simulate.py --drive                  you plug in cars, hold cards, break things: type help
    simulate.py --config KEYS.json <COMMANDS
                                         a script does, with OCPP keys of its own
    simulate.py --kind delta             with a signed package that only brings what has changed
    simulate.py --scenario server-dies   what can go wrong with an update, and how it ends
    simulate.py --board                  an empty board at socket://localhost:PORT, to try flash.py and mpremote on
    simulate.py --csms ws://HOST/steve/websocket/CentralSystemService --id CP1
                                         the charger at your own central system

There are a simulated ESP32, electric cars, a central system and a web server.
Commands on standard input work at any time, one a line. The flash is as slow as
a real one: an update with a real MicroPython takes half a minute, and --speed
shortens it. What all that needs is downloaded into .cache once. The exit status
is 0 if everything was as it should be.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import environment


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", metavar="NAME", help="play one of the unhappy courses of events")
    parser.add_argument("--list", action="store_true", help="tell the scenarios and what each proves")
    parser.add_argument(
        "--kind",
        choices=("plain", "package", "compressed", "delta"),
        help="play an update without a car, that comes as the plain file; as a signed package; as one that is "
        "compressed too; as one with only the difference to what runs",
    )
    parser.add_argument("--drive", action="store_true", help="no story: only what the commands on standard input say")
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="OCPP configuration keys as a JSON object; goes with --drive"
    )
    parser.add_argument(
        "--connectors", metavar="N", type=int, choices=(1, 2, 3), help="how many the charger has (default: 1)"
    )
    parser.add_argument("--board", action="store_true", help="an empty board with a serial console at a TCP port")
    parser.add_argument(
        "--port", metavar="N", type=int, default=0, help="that port; goes with --board (default: a free one)"
    )
    parser.add_argument("--micropython", metavar="FILE", type=Path, help="a real MicroPython for ESP32 in the slots")
    parser.add_argument("--tls", action="store_true", help="wss and https, with certificates checked")
    parser.add_argument(
        "--heap", metavar="KIB", type=positive, help="the charger's memory (default: 96; for charging 128)"
    )
    parser.add_argument(
        "--speed", metavar="N", type=positive, help="times that its clock is faster (default: 1, scenarios: 10)"
    )
    own = parser.add_argument_group("attach the charger to another central system, until Ctrl-C")
    own.add_argument("--csms", metavar="URL", help="where it listens: ws:// or wss://, without the charger's identity")
    own.add_argument("--id", metavar="ID", default="CP1", help="the charger's identity (default: CP1)")
    own.add_argument("--password", metavar="P", help="the charger's password, for Basic authentication")
    own.add_argument(
        "--ca", metavar="FILE", type=Path, help="the certificate of who signed the central system's, for wss"
    )
    arguments = parser.parse_args()
    if arguments.csms and not arguments.csms.startswith(("ws://", "wss://")):
        parser.error("--csms takes a URL that starts with ws:// or wss://")
    if arguments.csms and (arguments.scenario or arguments.tls):
        parser.error("--scenario and --tls are for the central system of the desk, not for another one")
    if arguments.board and (arguments.scenario or arguments.kind or arguments.drive or arguments.config):
        parser.error("--board plays nothing: --scenario, --kind, --drive and --config don't go with it")
    if arguments.port and not arguments.board:
        parser.error("--port goes with --board")
    if (arguments.drive or arguments.config) and (arguments.scenario or arguments.kind):
        parser.error("--drive and --config are for charging, not for --scenario and --kind")
    arguments.plays = not (arguments.drive or arguments.config)
    return arguments


def positive(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if number <= 0:
        raise ValueError
    return number


if __name__ == "__main__":
    arguments = parse()
    environment.ensure()
    import show  # needs the packages that ensure() brings

    sys.exit(show.main(arguments))
