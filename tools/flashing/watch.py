"""The serial log of a charger that starts: what its lines mean, and what to do about them."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

DAMAGED = "the file system of the board is damaged: run flash.py with --micropython FILE --anew; all on it is lost"
REFUSED = r"\[OCPP\] no connection: (?:\[Errno -?\d+\] \w+: )?"
REGISTERED = re.compile(r"\[OCPP\] registered")
# What the chip's own loaders say of every start; what goes wrong there is among SIGNS.
CHATTER = re.compile(
    r"ets [A-Z]|configsip:|clk_drv:|mode:|load:0x|ho \d|entry 0x|ESP-ROM:|Build:|SPIWP:|Saved PC:|I boot:"
)
RUNS = re.compile(r"\[OCPP\] Arus (\S+) on (\S+)")


class Source(Protocol):
    """What gives lines, as Board does."""

    def lines(self, until: Callable[[], float]) -> Iterator[str | None]: ...


@dataclass(frozen=True)
class Sign:
    """A line that tells of trouble. advice: what is missing and what to do; {1} is the first group of the pattern.

    final: it does not get better by waiting.
    """

    pattern: str
    advice: str
    final: bool = False


SIGNS = (
    Sign(
        r"\[BOOT\] no application that can run|\[BOOT\] safe mode",
        "there is no application on the charger: run flash.py without --only-config",
        True,
    ),
    Sign(r"^there is no /config\.json", "the charger has no config.json: run flash.py without --only-app", True),
    Sign(r"^there is no certificate file /(\S+)", "the charger lacks {1}: run flash.py with --ca FILE", True),
    Sign(
        r"^(/config\.json.*)", "config.json is wrong: {1}. Run flash.py --only-config with that field put right", True
    ),
    Sign(r"\[MAIN\] safe mode", "the application fails again and again; the lines above tell why. This is safe mode"),
    Sign(
        r"\[MAIN\] stopped",
        "the application was stopped: let go of the maintenance pin, and end other programs at this port",
        True,
    ),
    Sign(r"\[MAIN\] restarting in", "the application has failed; the line above it tells why", True),
    Sign(
        r"\[WIFI\] No network (.+) in reach",
        "the charger sees no Wi-Fi network {1}. Check the name letter by letter (--ssid), that it has 2.4 GHz, and the "
        "distance",
    ),
    Sign(r"\[WIFI\] (.+) refuses the key", "the key of the Wi-Fi {1} is wrong: run flash.py --only-config --wifi-key"),
    Sign(
        r"\[WIFI\] No connection to ([^:]+)",
        "no connection to the Wi-Fi {1}: check its name and key (--ssid, --wifi-key), and the signal",
    ),
    Sign(
        REFUSED + r"(\S+): host name not found",
        'nobody knows the host of {1}: check "csms" (--csms), and the name server of that network',
    ),
    Sign(
        REFUSED + r"(\S+): (?:can't connect|connecting timed out)",
        "nothing answers at {1}: check that the central system runs, host and port of --csms, and that a firewall lets "
        "the charger's network in",
    ),
    Sign(
        r"\[OCPP\] no connection: HTTP 401",
        "the central system refuses identity or password: run flash.py --only-config --password, with the one that it "
        "has for this charger",
    ),
    Sign(
        r"\[OCPP\] no connection: HTTP 404",
        "the central system does not know this charger, or the path of --csms is wrong. In SteVe: Data Management, "
        "Charge Points, Add, with exactly this identity as ChargeBox ID; the charger tries again by itself",
    ),
    Sign(
        r"\[OCPP\] no connection: HTTP 403", "the central system forbids it: is this charger allowed or blocked there?"
    ),
    Sign(r"\[OCPP\] no connection: HTTP 3\d\d", "the central system has moved: give the new address as --csms"),
    Sign(r"\[OCPP\] no connection: (HTTP .*)", "the central system answers {1}"),
    Sign(
        r"\[CLOCK\] No time from NTP server ([^:]+)",
        "the time server {1} does not answer, and wss needs the time: give one that the charger reaches (--ntp)",
    ),
    Sign(
        r"certificate refused: .*not issued by the configured CA",
        "the certificate of the central system comes from another CA than that of --ca: give the right one. This shows "
        "who issued it: openssl s_client -connect HOST:PORT -showcerts",
    ),
    Sign(
        r"certificate refused: .*clock is",
        "the charger's clock and the certificate disagree: has the charger found a time server (--ntp)? Otherwise the "
        "certificate has expired",
    ),
    Sign(
        r"certificate refused: .*another host name",
        "the certificate is for another name than the host in --csms: use the name that is in the certificate",
    ),
    Sign(r"certificate refused: (.*)", "the central system's certificate is refused: {1}"),
    Sign(
        r"TLS needs a CA certificate|neither PEM nor DER", "wss needs the CA's certificate: run flash.py with --ca FILE"
    ),
    Sign(
        r"TLS handshake (?:failed|timed out)",
        "the other end does not speak TLS: is that the port for wss, or should --csms begin with ws://?",
    ),
    Sign(
        r"the server's answer is not HTTP|closed during the upgrade",
        "what listens there is no central system for ws: check the port, and whether --csms should begin with wss://",
    ),
    Sign(
        r"upgrade with a wrong sec-websocket-protocol",
        "the server does not take OCPP 1.6 at that path: SteVe's ends with /websocket/CentralSystemService",
    ),
    Sign(r"upgrade with a wrong", "what answers there is no central system: check the path of --csms"),
    Sign(
        r"\[OCPP\] registration (Pending|Rejected)",
        "the central system answers {1}: accept the charger there (SteVe: its page under Data Management, Charge "
        "Points, registration status Accepted)",
    ),
    Sign(REFUSED + "(.*)", "the charger does not reach the central system: {1}"),
    Sign(r"[Bb]rownout", "the voltage breaks down: another cable, USB port or supply is needed"),
    Sign(r"invalid header: 0x|No bootable app", "MicroPython does not start: write it with --micropython FILE"),
    Sign(
        r"Guru Meditation", "MicroPython itself has crashed: check its supply, and write it anew (--micropython FILE)"
    ),
    Sign(r"^MemoryError|: out of memory", "the charger ran out of memory; the README has what fits under Memory"),
    Sign(r"filesystem appears to be corrupted", DAMAGED, True),
    Sign(r"^Traceback", "the application has a fault; the lines behind this one tell where"),
)


@dataclass
class Outcome:
    """What was seen. advice: the last one. version, slot: of the application that runs. deadline: monotonic time."""

    registered: bool = False
    advice: str = ""
    version: str = ""
    slot: str = ""
    heard: bool = False
    deadline: float = 0
    told: set[str] = field(default_factory=set)


def sign(line: str) -> tuple[str, bool] | None:
    """Return (what to do, whether waiting is in vain) for a line that tells of trouble."""
    for known in SIGNS:
        if found := re.search(known.pattern, line):
            return known.advice.replace("{1}", found[1] if found.re.groups else ""), known.final
    return None


def follow(source: Source, patience: float, show: Callable[[str], None], advise: Callable[[str], None]) -> Outcome:
    """Show the lines until the charger is registered, or won't be, or the patience (s) or Ctrl-C ends it."""
    outcome = Outcome()
    outcome.deadline = time.monotonic() + patience
    with contextlib.suppress(KeyboardInterrupt):
        _follow(source, outcome, show, advise)
    return outcome


def _follow(source: Source, outcome: Outcome, show: Callable[[str], None], advise: Callable[[str], None]) -> None:
    for line in source.lines(lambda: outcome.deadline):
        if not line:
            continue
        outcome.heard = True
        known = sign(line)
        if known or not CHATTER.match(line):
            show(line)
        if found := RUNS.search(line):
            outcome.version, outcome.slot = found[1], found[2]
        if REGISTERED.search(line):
            outcome.registered = True
            break
        if not known:
            continue
        advice, final = known
        outcome.advice = advice
        if advice not in outcome.told:
            outcome.told.add(advice)
            advise(advice)
        if final:
            # What else it says belongs to it, such as the rest of a traceback.
            outcome.deadline = min(outcome.deadline, time.monotonic() + 1)
