"""The fields of config.json: what each may hold, and in what words a wrong one is refused."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

Check = Callable[[Any], str]
STEVE = "ws://HOST:8080/steve/websocket/CentralSystemService"
BAUDRATES = (1200, 115200)


@dataclass(frozen=True)
class Field:
    """One field. path: its name, with a dot for one in an object. check: "" if a value is right, else what would be.

    option: of flash.py's command line. question: how to ask for it. default: what is proposed then.
    """

    path: str
    check: Check
    option: str = ""
    question: str = ""
    default: str = ""
    needed: bool = False
    secret: bool = False


def text(least: int, most: int, what: str = "characters") -> Check:
    """Check a text by its length in bytes."""

    def check(value: Any) -> str:
        if isinstance(value, str) and value.isprintable() and least <= len(value.encode()) <= most:
            return ""
        return f"right are {least} to {most} {what}"

    return check


def whole(least: int, most: int) -> Check:
    """Check a whole number."""

    def check(value: Any) -> str:
        is_right = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return "" if is_right else f"right is a whole number from {least} to {most}"

    return check


def pattern(expression: str, right: str) -> Check:
    """Check a text by a regular expression."""
    return lambda value: "" if isinstance(value, str) and re.fullmatch(expression, value) else f"right {right}"


def url(value: Any) -> str:
    """Check the address of the central system, as ocpp/handshake.py takes it."""
    right = f"right is ws://HOST:PORT/PATH or wss://…; SteVe's is {STEVE}"
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        return right
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return f"{right}; a port is a number from 1 to 65535"
    if parts.scheme in ("http", "https"):
        return f"right is {value.replace('http', 'ws', 1)}: OCPP-J runs over WebSocket"
    if parts.scheme not in ("ws", "wss") or not parts.hostname or port == 0:
        return right
    if parts.username is not None:
        return 'credentials do not go here: give them as "id" and "password"'
    if parts.fragment or parts.query:
        return "right is a URL without ? and #"
    return ""


def ssid(value: Any) -> str:
    """Check the name of a Wi-Fi network."""
    is_right = isinstance(value, str) and 1 <= len(value.encode()) <= 32
    return "" if is_right else "right are 1 to 32 bytes, the name of the network exactly as it is"


def wifi_key(value: Any) -> str:
    """Check the key of a Wi-Fi network."""
    if isinstance(value, str) and (
        not value or 8 <= len(value.encode()) <= 63 or re.fullmatch("[0-9A-Fa-f]{64}", value)
    ):
        return ""
    return "right are 8 to 63 characters, or none for an open network"


def host(value: Any) -> str:
    """Check "host" or "host:port"."""
    found = re.fullmatch(r"[A-Za-z0-9._-]+(:(\d{1,5}))?", value) if isinstance(value, str) else None
    if value == "" or found and (not found[2] or 0 < int(found[2]) < 65536):
        return ""
    return 'right is HOST or HOST:PORT of a time server, "" for none'


def keys(value: Any) -> str:
    """Check initial values of OCPP keys."""
    if isinstance(value, dict) and all(isinstance(held, str | int | float | bool) for held in value.values()):
        return ""
    return 'right is an object of OCPP keys, such as {"HeartbeatInterval": 300}'


def any_of(kind: type, right: str) -> Check:
    """Check only what kind of value it is: hw/fitting.py knows the rest."""
    return lambda value: "" if isinstance(value, kind) else f"right is {right}"


IDENTITY = pattern(
    r"[A-Za-z0-9._~*+=|@-]{1,48}", "are 1 to 48 letters, digits and . _ ~ * + = | @ -, as it becomes part of a URL"
)
HOSTNAME = pattern(r"(?!-)[A-Za-z0-9-]{1,32}(?<!-)", 'are 1 to 32 letters, digits and "-" between them')
FILE = pattern(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,30}", "is the name of a file, 1 to 31 letters, digits and . _ -")
PIN = whole(0, 48)

FIELDS = (
    Field("csms", url, "--csms", "URL of the central system, without the charger's identity", STEVE, needed=True),
    Field("id", IDENTITY, "--id", "identity of the charger (SteVe: ChargeBox ID)", "CP1", needed=True),
    Field("password", text(1, 64), "--password", "password for the central system (empty: none)", secret=True),
    Field("ca", FILE, "--ca", "file with the certificate of the CA that signed the central system's (PEM or DER)"),
    Field("wifi.ssid", ssid, "--ssid", "name of the Wi-Fi network (2.4 GHz)", needed=True),
    Field("wifi.key", wifi_key, "--wifi-key", "key of that network (empty: it is open)", secret=True),
    Field("vendor", text(1, 20), "--vendor", "vendor, as the central system sees it", "Arus", needed=True),
    Field("model", text(1, 20), "--model", "model; packages of updates are made for one", "Wallbox", needed=True),
    Field("serial", text(1, 25), "--serial", "serial number (empty: none)"),
    Field("hardware", whole(0, 65535), "--hardware"),
    Field("firmware_key", FILE, "--firmware-key"),
    Field("hostname", HOSTNAME, "--hostname"),
    Field("ntp", host, "--ntp"),
    Field("led", PIN, "--led"),
    Field("maintenance", PIN, "--maintenance"),
    Field("development.key", text(16, 64), "--development-key", secret=True),
    Field("development.port", whole(1, 65535)),
    Field("connectors", any_of(list, "a list [{…}], see the README")),
    Field("reader", any_of(dict, "an object, see the README")),
    Field("emergency_stop", PIN),
    Field("configuration", keys),
)
BY_PATH = {field.path: field for field in FIELDS}
GROUPS = ("wifi", "development")  # objects whose fields are fields of their own here
SECRET_KEYS = ("AuthorizationKey",)  # of "configuration"


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields by their paths; what has a wrong form stays as it is."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name in GROUPS and isinstance(value, dict):
            found |= {f"{name}.{inner}": held for inner, held in value.items()}
        else:
            found[name] = value
    return found


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config.json of these fields."""
    config: dict[str, Any] = {}
    for path, value in fields.items():
        group, dot, name = path.partition(".")
        if dot:
            config.setdefault(group, {})[name] = value
        else:
            config[path] = value
    return config


def unknown(path: str) -> str:
    """What is wrong with a field that means nothing."""
    close = difflib.get_close_matches(path, [*BY_PATH, *GROUPS], 1)
    return f'"{path}" means nothing' + (f'; "{close[0]}" perhaps?' if close else "; the README lists the fields")


def problems(fields: Mapping[str, Any], *, complete: bool = True) -> list[str]:
    """Return what is wrong with these fields, each as a sentence that names the field and what would be right.

    complete: all that a charger needs has to be there.
    """
    found = []
    for path, value in fields.items():
        field = BY_PATH.get(path)
        if path in GROUPS:
            found.append(f'"{path}" is no object {{…}}')
        elif not field:
            found.append(unknown(path))
        elif wrong := field.check(value):
            shown = "is wrong" if field.secret else f"is {_shown(value)}"
            found.append(f'"{path}" {shown}: {wrong}{_option(field)}')
    if not complete:
        return found
    for field in FIELDS:
        if field.needed and field.path not in fields:
            found.append(f'"{field.path}" is missing: {field.question}{_option(field)}')
    return found + _together(fields)


def _together(fields: Mapping[str, Any]) -> list[str]:
    """Return what is wrong between one field and another."""
    found = []
    csms, identity = fields.get("csms"), fields.get("id")
    if isinstance(csms, str) and isinstance(identity, str) and not url(csms):
        last = unquote(csms.rstrip("/").rpartition("/")[2])
        if last == identity and "/" in csms.partition("://")[2]:
            right = csms.rstrip("/").rpartition("/")[0]
            found.append(f'"csms" ends with the identity, which the charger appends itself: right is {right} (--csms)')
        if csms.startswith("wss:") and "ca" not in fields:
            found.append(
                '"ca" is missing: wss needs the certificate of the CA that signed the central system\'s; give it by '
                "--ca FILE (for a public one: the root of its chain, as the CA offers it for download)"
            )
    if "wifi.key" in fields and "wifi.ssid" not in fields:
        found.append('"wifi.key" without "wifi.ssid" (--ssid)')
    if "development.port" in fields and "development.key" not in fields:
        found.append('"development" lacks "key" (--development-key)')
    return found


def _shown(value: Any) -> str:
    shown = repr(value) if not isinstance(value, str) else f'"{value}"'
    return shown if len(shown) <= 60 else shown[:57] + "…"


def _option(field: Field) -> str:
    return f" ({field.option})" if field.option else ""


def masked(path: str, value: Any) -> str:
    """Return a value as it may be shown."""
    field = BY_PATH.get(path)
    if field and field.secret:
        return "********" if value else "(empty)"
    if isinstance(value, dict):
        value = {name: "********" if name in SECRET_KEYS else held for name, held in value.items()}
    return _shown(value) if not isinstance(value, str) else value
