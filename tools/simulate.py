#!/usr/bin/env python3
"""Shows a charger update itself over the air, all of it on this machine.

    simulate.py                          from UpdateFirmware to Installed
    simulate.py --kind delta             with a signed package that only brings what has changed
    simulate.py --scenario server-dies   what can go wrong, and how it ends
    simulate.py --csms ws://HOST/steve/websocket/CentralSystemService --id CP1
                                         the charger at your own central system

There are a simulated ESP32, a central system and a web server. The flash is as
slow as a real one: an update with a real MicroPython takes half a minute, and
--speed shortens it. What all that needs is downloaded into .cache once. The
exit status is 0 if everything was as it should be.
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
        default="plain",
        help="what the update comes as: the plain file (default); a signed package; one that is compressed too; one "
        "with only the difference to what runs",
    )
    parser.add_argument("--micropython", metavar="FILE", type=Path, help="a real MicroPython for ESP32 in the slots")
    parser.add_argument("--tls", action="store_true", help="wss and https, with certificates checked")
    parser.add_argument("--heap", metavar="KIB", type=int, default=80, help="the charger's memory (default: 80)")
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
