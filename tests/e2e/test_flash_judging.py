"""How tools/flash.py judges what it finds: ports, silent boards, lines of the serial log, files that differ."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from environment import REPOSITORY
from flashing import facts, files, ports, watch
from flashing.config import fingerprint
from flashing.errors import FlashError
from flashing.facts import Facts
from flashing.silence import clean, why_silent

# What the charger says, which words of that are in which file of the firmware, and words of the advice.
LINES = (
    ("[BOOT] no application that can run", "boot.py", "no application that can run", "without --only-config"),
    (
        "there is no /config.json: put one on the charger with mpremote",
        "hw/board.py",
        "put one on the charger with mpremote",
        "without --only-app",
    ),
    ("there is no certificate file /ca.pem", "hw/board.py", "there is no certificate file", "the charger lacks ca.pem"),
    ('/config.json lacks "csms"', "hw/board.py", "%s lacks", 'config.json is wrong: /config.json lacks "csms"'),
    ("[MAIN] safe mode: crashed three times in a row", "main.py", "safe mode", "fails again and again"),
    (
        "[MAIN] stopped; machine.reset() starts the charger again",
        "main.py",
        "stopped; machine.reset() starts the charger again",
        "was stopped",
    ),
    ("[MAIN] restarting in 10 seconds", "main.py", "restarting in 10 seconds", "the application has failed"),
    ("[WIFI] No network desk in reach: check its name", "hw/joining.py", "No network", "sees no Wi-Fi network desk"),
    (
        '[WIFI] desk refuses the key: check "key" in /config.json',
        "hw/joining.py",
        "refuses the key",
        "key of the Wi-Fi desk is wrong",
    ),
    (
        "[WIFI] No connection to desk: it is full (status 5)",
        "hw/joining.py",
        "No connection to",
        "no connection to the Wi-Fi desk",
    ),
    (
        "[OCPP] no connection: h:80: host name not found",
        "hw/dialing.py",
        "host name not found",
        "nobody knows the host of h:80",
    ),
    (
        "[OCPP] no connection: [Errno 113] EHOSTUNREACH: h:80: host name not found",
        "",
        "",
        "nobody knows the host of h:80",
    ),
    (
        "[OCPP] no connection: h:80: can't connect (ECONNREFUSED)",
        "hw/dialing.py",
        "can't connect",
        "nothing answers at h:80",
    ),
    (
        "[OCPP] no connection: h:80: connecting timed out",
        "hw/dialing.py",
        "connecting timed out",
        "nothing answers at h:80",
    ),
    (
        "[OCPP] no connection: HTTP 401: wrong credentials",
        "ocpp/handshake.py",
        "wrong credentials",
        "identity or password",
    ),
    (
        "[OCPP] no connection: HTTP 404: identity unknown to the server",
        "ocpp/handshake.py",
        "identity unknown to the server",
        "as ChargeBox ID",
    ),
    ("[OCPP] no connection: HTTP 403: forbidden", "ocpp/handshake.py", "forbidden", "forbids it"),
    ("[OCPP] no connection: HTTP 301: redirected", "ocpp/handshake.py", "redirected", "has moved"),
    (
        "[OCPP] no connection: HTTP 503: server not available now",
        "ocpp/handshake.py",
        "server not available now",
        "answers HTTP 503",
    ),
    (
        "[OCPP] no connection: h:443: TLS needs a CA certificate",
        "hw/dialing.py",
        "TLS needs a CA certificate",
        "--ca FILE",
    ),
    (
        "[OCPP] no connection: the CA certificate is neither PEM nor DER",
        "hw/dialing.py",
        "the CA certificate is neither PEM nor DER",
        "--ca FILE",
    ),
    (
        "[OCPP] no connection: h:443: TLS handshake failed (EOF)",
        "hw/dialing.py",
        "TLS handshake failed",
        "does not speak TLS",
    ),
    (
        "certificate refused: not issued by the configured CA",
        "hw/certificate_error.py",
        "not issued by the configured CA",
        "another CA",
    ),
    (
        "certificate refused: not valid yet, or the clock is not set",
        "hw/certificate_error.py",
        "not valid yet, or the clock is not set",
        "--ntp",
    ),
    (
        "certificate refused: issued for another host name than",
        "hw/certificate_error.py",
        "issued for another host name than",
        "another name than the host",
    ),
    (
        "[OCPP] no connection: the server's answer is not HTTP",
        "ocpp/handshake.py",
        "the server's answer is not HTTP",
        "no central system for ws",
    ),
    (
        "[OCPP] no connection: upgrade with a wrong sec-websocket-protocol",
        "ocpp/handshake.py",
        "upgrade with a wrong",
        "OCPP 1.6",
    ),
    (
        "[OCPP] registration Pending, asking again in 60 s",
        "ocpp/registration.py",
        "registration %s, asking again",
        "accept the charger there",
    ),
    (
        "[OCPP] no connection: the central system is silent",
        "ocpp/session.py",
        "the central system is silent",
        "does not reach the central system",
    ),
    (
        "[CLOCK] No time from NTP server pool.ntp.org: host name not found",
        "hw/ntp.py",
        "host name not found",
        "the time server pool.ntp.org",
    ),
    ("Brownout detector was triggered", "", "", "voltage breaks down"),
    ("Guru Meditation Error: Core  1 panic'ed (LoadProhibited)", "", "", "MicroPython itself has crashed"),
    ("invalid header: 0xffffffff", "", "", "--micropython FILE"),
    ("MemoryError: memory allocation failed, allocating 1024 bytes", "", "", "out of memory"),
)


@pytest.mark.parametrize(("line", "source", "spoken", "words"), LINES, ids=[row[0] for row in LINES])
def test_a_line_of_the_log_that_tells_of_trouble_is_explained(line: str, source: str, spoken: str, words: str) -> None:
    known = watch.sign(line)
    assert known, line
    assert words in known[0]
    assert not source or spoken in (REPOSITORY / source).read_text()  # the firmware still says so


@pytest.mark.parametrize(
    "line",
    [
        "[BOOT] ota_0: no application",
        "[WIFI] Connected, address 10.0.0.7, signal -55 dBm",
        "[OCPP] connected",
        "[OCPP] connecting again in 2 s",
        "[OCPP] answered with InternalError: memory allocation failed, allocating 2408 bytes",
        "I boot: Loaded app from partition at offset 0x10000",
    ],
)
def test_an_ordinary_line_is_not_taken_for_trouble(line: str) -> None:
    assert watch.sign(line) is None


@dataclass
class Log:
    """A serial log."""

    text: list[str | None]

    def lines(self, until: object) -> Iterator[str | None]:
        yield from self.text


def test_advice_is_given_once_and_the_version_that_runs_is_noted() -> None:
    refused = "[OCPP] no connection: HTTP 401: wrong credentials"
    shown: list[str] = []
    advised: list[str] = []
    log = Log(
        [
            "entry 0x400805b0",
            "[OCPP] Arus 1.2.0 on ota_1",
            None,
            refused,
            refused,
            "[OCPP] registered, heartbeat every 60 s",
            "later",
        ]
    )
    outcome = watch.follow(log, 5, shown.append, advised.append)
    assert (outcome.registered, outcome.version, outcome.slot) == (True, "1.2.0", "ota_1")
    assert len(advised) == 1
    assert shown[0].startswith("[OCPP] Arus")
    assert shown[-1].startswith("[OCPP] registered")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (b"", "nothing comes from the board"),
        (b"rst:0x10\r\ninvalid header: 0xffffffff\r\n" * 9, "the flash of this board is empty"),
        (b"invalid header: 0x12345678\r\n" * 9, "no program on this board that starts"),
        (b"rst:0x1 (POWERON_RESET),boot:0x3\r\nwaiting for download\r\n", "let go of BOOT"),
        (b"\x81\xfe\x80\x00\xf8" * 99, "no text at 115200 baud"),
        (b"Brownout detector was triggered\r\n", "voltage breaks down"),
        (b"rst:0xc (SW_CPU_RESET)\r\nhello\r\n" * 4, "resets again and again"),
        (b"Arduino sketch says hello\r\n" * 9, "  | Arduino sketch says hello"),
        (b"The filesystem appears to be corrupted.\r\n", "--anew"),
    ],
)
def test_why_there_is_no_prompt(seen: bytes, words: str) -> None:
    assert words in why_silent(seen, "COM3")


def test_what_the_log_shows_does_no_harm_to_a_terminal() -> None:
    assert clean(b"\x1b[0;32mI (31) boot\x1b[0m: \x07\x072J\xff ok\r") == "I (31) boot: 2J\ufffd ok"


@dataclass
class Port:
    """A serial port as pyserial lists it."""

    device: str
    vid: int | None = 0x10C4
    description: str = "CP2102"


def test_the_only_usb_port_is_taken() -> None:
    assert ports.choose([Port("/dev/ttyS0", None), Port("/dev/ttyUSB0")]) == ("/dev/ttyUSB0", "CP2102")
    with pytest.raises(FlashError, match=r"there are 2 USB serial ports(.|\n)*--port COM3(.|\n)*--port COM4"):
        ports.choose([Port("COM4"), Port("COM3")])
    with pytest.raises(FlashError, match="many only charge and have no data lines"):
        ports.choose([Port("/dev/ttyS0", None)])
    with pytest.raises(FlashError, match="a port is a device"):
        ports.find("http://host")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EACCES, "Permission denied"), "sudo usermod -aG"),
        (OSError(errno.EBUSY, "Device or resource busy"), "is in use by another program"),
        (OSError(errno.ENOENT, "No such file"), "there is no port /dev/ttyX"),
        (OSError(errno.EIO, "Input/output error"), "/dev/ttyX can't be opened: Input/output error"),
    ],
)
def test_why_a_port_can_not_be_opened(error: OSError, words: str) -> None:
    assert words in ports.explain("/dev/ttyX", error)


FACTS = Facts(
    version=(1, 26, 1),
    machine="Generic ESP32 module with ESP32",
    table=[
        [0, 16, 0x10000, 0x180000, "ota_0"],
        [0, 17, 0x190000, 0x180000, "ota_1"],
        [1, 129, 0x310000, 0xF0000, "vfs"],
    ],
    running="ota_0",
    slots={"ota_0": (0x15D000, ""), "ota_1": (0, "")},
    project="",
    chip=0,
    room=[4096, 4096, 240, 200, 200],
    names=[],
    config=None,
    keyed=False,
)


def changed(**values: object) -> Facts:
    return Facts(**{**vars(FACTS), **values})


def test_a_board_is_judged_before_anything_is_written() -> None:
    assert facts.judge(FACTS, 0x23000) == []
    assert "an update needs 144 KiB behind MicroPython" in facts.judge(FACTS, 0x24000)[0]
    assert facts.judge(changed(project="Arus"), 0x24000) == []
    for wrong, words in (
        ({"version": (1, 24, 1)}, "MicroPython 1.24.1 is on the board, 1.25 or newer is needed"),
        ({"slots": {}}, "has no two OTA slots"),
        ({"room": [0, 0, 0, 0, 0]}, "the file system of this board is damaged"),
    ):
        with pytest.raises(FlashError, match=words):
            facts.judge(changed(**wrong), 0)


NEW = {"application.bin": b"n" * 100_000, "boot.py": b"b" * 5000}
HERE = {path: (fingerprint(content), len(content)) for path, content in NEW.items()}
OLD = {"main.py": ("m", 9000), "ocpp/rpc.mpy": ("r", 3000)}
PLENTY = 1 << 20


def test_a_plan_has_what_differs_and_nothing_else() -> None:
    assert files.plan(NEW, HERE, 0).is_done
    todo = files.plan(NEW, {**HERE, "boot.py": ("another", 10)}, PLENTY)
    assert (todo.before, todo.write, todo.after) == ([], ["boot.py"], [])
    todo = files.plan({}, {**HERE, **OLD}, 0, ("boot.py",))
    assert todo.write == []
    assert {*todo.before, *todo.after} == {"application.bin", *OLD}


def test_what_is_old_stays_until_the_new_is_there_if_there_is_room() -> None:
    todo = files.plan(NEW, OLD, PLENTY)
    assert (todo.before, todo.write, todo.after) == ([], ["application.bin", "boot.py"], ["main.py", "ocpp/rpc.mpy"])
    todo = files.plan(NEW, {**OLD, "boot.py.new": ("n", 7)}, 130_000)
    assert (todo.before, todo.after) == (["main.py", "boot.py.new", "ocpp/rpc.mpy"], [])
    with pytest.raises(FlashError, match="the file system of the board is full: 140 KiB are needed, 97 KiB are free"):
        files.plan(NEW, {}, 100_000)


def test_a_developers_copy_begins_without_its_main() -> None:
    wanted = {"ocpp/rpc.mpy": b"new", "boot.py": NEW["boot.py"], "main.py": b"import application\n"}
    there = {path: (fingerprint(content), len(content)) for path, content in wanted.items()}
    todo = files.plan(wanted, {**there, "ocpp/rpc.mpy": ("old", 3)}, PLENTY)
    assert (todo.before, todo.write, todo.after) == (["main.py"], ["ocpp/rpc.mpy", "main.py"], [])
    assert todo.removed == 0
    assert files.plan(wanted, there, 0).is_done
