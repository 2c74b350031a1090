"""What tools/flash.py takes for a config.json, and how it says what is wrong with one."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

import flash
import packages_keys
from desk import CERTIFICATES, CONNECTORS, SHARED
from environment import REPOSITORY
from flashing import config, flow, questions, rules, show
from flashing.errors import FlashError
from flashing.fields import BY_PATH, FIELDS, nested, problems

RIGHT: dict[str, Any] = {
    "csms": "ws://central.example:8080/steve/websocket/CentralSystemService",
    "id": "CP1",
    "wifi.ssid": "desk",
    "wifi.key": "simulated",
    "vendor": "Arus",
    "model": "Wallbox",
}
CA = (CERTIFICATES / "ca.pem").read_bytes()


def options(**given: Any) -> Namespace:
    return Namespace(
        **{**dict.fromkeys(entry.option[2:].replace("-", "_") for entry in FIELDS), "config": None, **given}
    )


def test_a_charger_can_be_like_this() -> None:
    assert problems(RIGHT) == []
    more = {
        "csms": "wss://[2001:db8::1]/ocpp",
        "ca": "ca.pem",
        "password": "pässword",
        "serial": "A" * 25,
        "hardware": 2,
        "hostname": "cp-1",
        "ntp": "",
        "led": 2,
        "maintenance": 0,
        "development.key": "k" * 16,
        "development.port": 3232,
        "configuration": {"HeartbeatInterval": 300},
        "wifi.key": "",
    }
    assert problems({**RIGHT, **more}) == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("csms", "http://host/path", "right is ws://host/path"),
        ("csms", "https://host/path", "right is wss://host/path"),
        ("csms", "central.example", "right is ws://HOST:PORT/PATH"),
        ("csms", "ws://", "right is ws://HOST:PORT/PATH"),
        ("csms", "ws://host:99999/", "1 to 65535"),
        ("csms", "ws://user:secret@host/", 'give them as "id" and "password"'),
        ("csms", "ws://host/ocpp?x=1", "without ? and #"),
        ("csms", "ws://höst/", "right is ws://HOST:PORT/PATH"),
        ("csms", "ws://host/ocpp/CP1", "right is ws://host/ocpp (--csms)"),
        ("csms", "ws://host/ocpp/CP1/", "right is ws://host/ocpp (--csms)"),
        ("csms", "wss://host/ocpp", '"ca" is missing: wss needs'),
        ("id", "CP 1", "letters, digits"),
        ("id", "CP/1", "letters, digits"),
        ("id", "", "1 to 48"),
        ("id", "C" * 49, "1 to 48"),
        ("id", 7, "1 to 48"),
        ("wifi.ssid", "", "1 to 32 bytes"),
        ("wifi.ssid", "ö" * 17, "1 to 32 bytes"),
        ("wifi.key", "seven77", "8 to 63 characters, or none"),
        ("wifi.key", "k" * 64, "8 to 63"),
        ("vendor", "V" * 21, "1 to 20"),
        ("model", "", "1 to 20"),
        ("serial", "S" * 26, "1 to 25"),
        ("serial", 26, "1 to 25"),
        ("hardware", "2", "whole number"),
        ("hardware", True, "whole number"),
        ("hostname", "-cp", "letters, digits"),
        ("hostname", "c" * 33, "1 to 32"),
        ("ntp", "pool.ntp.org:0", "HOST or HOST:PORT"),
        ("led", 99, "0 to 48"),
        ("development.key", "fifteen letters", "16 to 64"),
        ("development.port", 0, "1 to 65535"),
        ("configuration", {"HeartbeatInterval": None}, "object of OCPP keys"),
        ("connectors", {}, "a list"),
        ("wifi", "desk", "no object"),
        ("pass_word", "x", '"pass_word" means nothing; "password" perhaps?'),
        ("ca", "../ca.pem", "name of a file"),
    ],
)
def test_a_wrong_field_is_named_and_what_would_be_right(field: str, value: Any, words: str) -> None:
    wrong = problems({**RIGHT, field: value})
    assert [one for one in wrong if field.partition(".")[0] in one or '"ca"' in one], wrong
    assert any(words in one for one in wrong), wrong


@pytest.mark.parametrize("entry", [entry for entry in FIELDS if entry.needed], ids=lambda entry: entry.path)
def test_a_missing_field_is_named_with_its_option(entry: Any) -> None:
    fields = {path: value for path, value in RIGHT.items() if path != entry.path}
    wrong = [one for one in problems(fields) if f'"{entry.path}" is missing' in one]
    assert wrong
    assert entry.option in wrong[0]
    assert problems(fields, complete=False) == [] or entry.path == "wifi.ssid"


def test_a_secret_is_never_shown() -> None:
    secret = "secret7"
    fields = {**RIGHT, "wifi.key": secret, "password": secret, "development.key": secret}
    keys = {"configuration": {"AuthorizationKey": secret}}
    assert len(problems(fields)) == 2
    shown = problems(fields) + config.changes({}, {**fields, **keys}) + config.changes({**fields, **keys}, RIGHT)
    assert not [line for line in shown if secret in line]


def test_what_changes_is_told() -> None:
    after = {**RIGHT, "id": "CP2", "wifi.key": "another key", "serial": "7"}
    assert config.changes({**RIGHT, "led": 2}, after) == [
        "id               CP1 -> CP2",
        "wifi.key         ******** -> ******** (another one)",
        "serial           7",
        "led              2 -> removed",
    ]
    assert config.changes(after, after) == []


def test_what_is_given_comes_in_front_of_what_is_on_the_board(tmp_path: Path) -> None:
    file = tmp_path / "charger.json"
    file.write_text(json.dumps({"id": "CP3", "wifi": {"key": "from the file"}, "serial": None}))
    wanted = config.given(options(config=file, model="Post", ssid="", wifi_key=""))
    existing = {**nested(RIGHT), "serial": "7", "connectors": CONNECTORS[:1]}
    merged = config.merged(existing, wanted)
    assert merged == {
        "csms": RIGHT["csms"],
        "id": "CP3",
        "wifi.key": "",
        "vendor": "Arus",
        "model": "Post",
        "connectors": CONNECTORS[:1],
    }
    assert json.loads(config.text(merged)) == nested(merged)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "is no JSON"), ("[]", "no JSON object"), ('{"pass_word": 1}', '"password" perhaps?')],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "charger.json"
    file.write_text(text)
    with pytest.raises(FlashError, match=re.escape(words)):
        config.given(options(config=file))
    with pytest.raises(FlashError, match="No such file"):
        config.given(options(config=tmp_path / "absent.json"))


def test_files_beside_the_config_go_with_it(tmp_path: Path) -> None:
    key = packages_keys.make_key("ecdsa")
    (tmp_path / "company.pem").write_bytes(CA)
    (tmp_path / "updates.pub").write_bytes(packages_keys.public_pem(key.public_key()))
    (tmp_path / "charger.json").write_text('{"ca": "company.pem", "firmware_key": "updates.pub"}')
    wanted = config.given(options(config=tmp_path / "charger.json"))
    assert wanted.fields == {"ca": "company.pem", "firmware_key": "updates.pub"}
    assert wanted.files["company.pem"] == CA
    with pytest.raises(FlashError, match="names a file that the charger does not have"):
        config.check({**RIGHT, "ca": "other.pem"}, ["ca.pem"], wanted)
    assert config.check({**RIGHT, "ca": "ca.pem"}, ["ca.pem"], wanted) == []


def test_the_private_half_of_a_key_stays_at_home(tmp_path: Path) -> None:
    key = packages_keys.make_key("ecdsa")
    (tmp_path / "release.key").write_bytes(packages_keys.private_pem(key))
    wanted = config.given(options(firmware_key=str(tmp_path / "release.key")))
    assert wanted.files == {"firmware_key.pem": packages_keys.public_pem(key.public_key())}


def test_a_certificate_in_der_goes_as_it_is(tmp_path: Path) -> None:
    der = load_pem_x509_certificate(CA).public_bytes(Encoding.DER)
    (tmp_path / "root.cer").write_bytes(der)
    wanted = config.given(options(ca=str(tmp_path / "root.cer")))
    assert (wanted.fields, wanted.files) == ({"ca": "ca.der"}, {"ca.der": der})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no certificate"),
        (b"<html>", "no certificate"),
        (CA[:300], "no certificate"),
        (CA * 20, "more than the charger's memory bears"),
        (CA + (CERTIFICATES / "server_key.pem").read_bytes(), "private key"),
        ((CERTIFICATES / "server.pem").read_bytes(), "server's own certificate"),
        ((CERTIFICATES / "expired.pem").read_bytes(), ""),
        (packages_keys.public_pem(packages_keys.make_key("ecdsa").public_key()), "begins with -----BEGIN CERTIFICATE"),
    ],
    ids=("empty", "web page", "cut off", "a whole bundle", "with a key", "a server's", "expired", "a key"),
)
def test_what_is_no_certificate_of_a_ca_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(content)
    with pytest.raises(FlashError, match=re.escape(f"--ca {file}: ") + ".*" + re.escape(words)):
        config.given(options(ca=str(file)))


def test_pins_are_judged_by_the_rules_of_the_charger() -> None:
    fields = {**RIGHT, "connectors": CONNECTORS, **SHARED}
    assert rules.check(RIGHT, 0) == []
    assert rules.check(fields, 0) == []
    for wrong, chip, words in (
        ({"connectors": [{**CONNECTORS[0], "contactor": 34}]}, 0, 'connector 1: "contactor"'),
        ({"connectors": [{**CONNECTORS[0], "lock": 24}]}, 0, "has no such pin"),
        ({}, 9, "pwm.*has no such pin"),  # an ESP32-S3 lacks 25
        ({"led": 26}, 0, '"led" takes pin 26, which is taken'),
        ({"maintenance": 40}, 0, '"maintenance" is 40: this chip has no such pin'),
    ):
        with pytest.raises(FlashError, match=words):
            rules.check({**fields, **wrong}, chip)


def test_keys_are_judged_by_the_rules_of_the_charger() -> None:
    right = {"HeartbeatInterval": 300, "LocalPreAuthorize": True, "AuthorizationKey": "00" * 16}
    assert rules.check({**RIGHT, "configuration": right}, 0) == []
    for wrong, words in (
        ({"HeartBeatInterval": 300}, '"HeartBeatInterval", which is no key; HeartbeatInterval perhaps?'),
        ({"HeartbeatInterval": 0}, "HeartbeatInterval 0, which this key can't have"),
        ({"AuthorizationKey": "secret"}, "has AuthorizationKey, which this key can't have"),
    ):
        with pytest.raises(FlashError, match=re.escape(words)):
            rules.check({**RIGHT, "configuration": wrong}, 0)


class Typist:
    """Somebody at the terminal."""

    def __init__(self, **answers: str | list[str]) -> None:
        self.answers = {words: [text] if isinstance(text, str) else text for words, text in answers.items()}
        self.asked: list[str] = []

    def __call__(self, question: str) -> str:
        self.asked.append(question)
        for words, texts in self.answers.items():
            if words.replace("_", " ") in question and texts:
                return texts.pop(0)
        return ""


def test_what_is_missing_is_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(CA)
    csms = "wss://central.example/ocpp"
    typist = Typist(
        URL=["central.example", csms],
        identity_of="CP9",
        Wi=["desk"],
        certificate=["absent", str(tmp_path / "root.pem")],
    )
    secret = Typist(password="", key="simulated")
    wanted = config.Given()
    questions.ask({}, wanted, everything=False, read=typist, read_secret=secret)
    assert wanted.fields == {
        "csms": csms, "id": "CP9", "ca": "ca.pem", "wifi.ssid": "desk", "wifi.key": "simulated",
        "vendor": "Arus", "model": "Wallbox",
    }  # fmt: skip
    assert wanted.files == {"ca.pem": CA}
    shown = capsys.readouterr().out
    assert "right is ws://HOST:PORT/PATH" in shown
    assert "absent: No such file" in shown


def test_secrets_are_asked_for_when_their_options_have_no_value() -> None:
    arguments = flash.parse(["--password", "--wifi-key", "--id", "CP1"])
    wanted = config.given(arguments)
    typist = Typist(password="given by the office", key=["short", "simulated"])
    questions.secrets(wanted, typist)
    assert wanted.fields == {"password": "given by the office", "wifi.key": "simulated", "id": "CP1"}


def test_nobody_is_asked_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert flow.main(flash.parse(["--port=socket://127.0.0.1:1", "--wifi-key"])) == 1
    assert "there is no terminal to ask for the password or key" in capsys.readouterr().err
    with pytest.raises(FlashError, match="--yes says yes"):
        show.agree("Go on?", yes=False)
    show.agree("Go on?", yes=True)


@pytest.mark.parametrize(
    "words",
    [
        ["--only-app", "--only-config"],
        ["--only-config", "--micropython", "file.bin"],
        ["--only-config", "--dev"],
        ["--only-app", "--format"],
        ["--anew"],
        ["--timeout", "0"],
        ["--led", "two"],
    ],
    ids=" ".join,
)
def test_options_that_contradict_each_other_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        flash.parse(words)
    assert end.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_nothing_is_asked_when_all_is_there() -> None:
    typist = Typist()
    wanted = config.Given()
    questions.ask(RIGHT, wanted, everything=False, read=typist, read_secret=typist)
    assert (typist.asked, wanted.fields) == ([], {})


def test_everything_can_be_asked_with_what_is_there_as_proposal(capsys: pytest.CaptureFixture[str]) -> None:
    typist, secret = Typist(identity_of="CP9"), Typist()
    wanted = config.Given()
    questions.ask(RIGHT, wanted, everything=True, read=typist, read_secret=secret)
    assert wanted.fields == {"id": "CP9"}
    assert any("[CP1]" in question for question in typist.asked)
    assert any("[********]" in question for question in secret.asked)
    assert not any("simulated" in question for question in typist.asked + secret.asked)


def test_every_field_of_the_readme_is_known() -> None:
    """And none is forgotten when a new one comes."""
    text = (REPOSITORY / "README.md").read_text().partition("\n## Configuration\n")[2].partition("A connector:")[0]
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", text, re.M)
    names = {name for row in rows for name in re.findall("`([a-z_]+)`", row)}
    assert names >= {"csms", "id", "wifi", "connectors"}
    assert names - {path.partition(".")[0] for path in BY_PATH} == set()
