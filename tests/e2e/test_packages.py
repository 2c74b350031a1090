"""Packages: what tools/build.py packs is as UPDATE_FILES.md says and gives the file again; what is changed does not."""

from __future__ import annotations

import binascii
import hashlib
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from hypothesis import given, settings
from hypothesis import strategies as st

import build
import packages
import packages_command
import packages_frames
import packages_keys
import packages_plain
import properties  # noqa: F401  # says where hypothesis keeps its examples
from packages_frames import FRAME, PackageError
from packages_keys import PrivateKey

FILES = {"main.py": b"print('hello')\n" * 300, "ocpp/rpc.mpy": bytes(range(256)) * 40}
OLD = build.update_file(build.made_image(8192), build.bundle(FILES, "1.2.3"))
FILE = build.update_file(build.made_image(8192), build.bundle({**FILES, "main.py": b"print(1)\n" * 400}, "1.3.0"))
KEYS = {kind: packages_keys.make_key(kind) for kind in ("rsa", "ecdsa")}
KINDS = {"plain": (None, False), "compressed": (None, True), "delta": (OLD, True)}


def pack(kind: str = "compressed", key: PrivateKey = KEYS["ecdsa"], file: bytes = FILE, release: int = 7) -> bytes:
    base, compress = KINDS[kind]
    return packages.package(
        file, key, product="Desk", hardware=(2, 5), release=release, floor=3, base=base, compress=compress
    )


# ------------------------------------------------------------------------------------------------------ what is packed


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_package_gives_the_file_again(kind: str, algorithm: str) -> None:
    key = KEYS[algorithm]
    data = pack(kind, key)
    assert packages.unpack(data, OLD, key.public_key()) == FILE
    # the charger's slot goes on behind the base
    assert packages.unpack(data, OLD + b"\xff" * 5000, key.public_key()) == FILE


@pytest.mark.parametrize("kind", KINDS)
def test_the_header_stands_where_the_table_says(kind: str) -> None:
    data, base = pack(kind), KINDS[kind][0] or b""
    public = (
        KEYS["ecdsa"]
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    assert data[:8] == b"ARUSPKG\0"
    assert struct.unpack_from("<HBBHHHH", data, 8) == (1, 2, 0, 0, 2, 5, 0)
    assert struct.unpack_from("<IIIII", data, 20) == (7, 3, len(FILE), len(data) - 640, len(base))
    assert data[40:72] == hashlib.sha256(FILE).digest()
    assert data[72:104] == (hashlib.sha256(base).digest() if base else bytes(32))
    assert data[104:112] == hashlib.sha256(public).digest()[:8]
    assert data[112:144] == b"Desk".ljust(32, b"\0")
    assert data[144:176] == b"1.3.0".ljust(32, b"\0")
    assert data[176:256] == bytes(80)


def test_the_signature_is_rsa_pss_with_a_salt_of_32_bytes() -> None:
    data, key = pack(key=KEYS["rsa"]), KEYS["rsa"].public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert data[10] == 1
    key.verify(data[256:640], data[:256], padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())


def test_the_signature_is_ecdsa_as_two_numbers_and_zeros() -> None:
    data, key = pack(key=KEYS["ecdsa"]), KEYS["ecdsa"].public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert data[10] == 2
    r, s = int.from_bytes(data[256:288], "big"), int.from_bytes(data[288:320], "big")
    key.verify(utils.encode_dss_signature(r, s), data[:256], ec.ECDSA(hashes.SHA256()))
    assert data[320:640] == bytes(320)


def test_the_example_of_the_page_is_a_package(repository: Path) -> None:
    page = (repository / "tools" / "UPDATE_FILES.md").read_text()
    listing, key = page.partition("## Example")[2].split("```")[1::2]
    data = b""
    for offset, shown in re.findall(r"^ *(\d+)  (\(\d+ zeros\)|(?:[0-9a-f]{2} ?)+)", listing, re.MULTILINE):
        assert int(offset) == len(data)
        data += bytes(int(shown[1:].split()[0])) if shown[0] == "(" else bytes.fromhex(shown)
    base = bytes(range(256)) * 8
    file = base[:1000] + b"!" + base[1001:] + b"arus " * 409 + b"aru" + b"station"
    assert packages.unpack(data, base, packages_keys.load_public(key.strip().encode())) == file


@pytest.mark.parametrize("kind", KINDS)
def test_each_frame_begins_with_its_length_and_the_crc_32_of_that_and_of_its_bytes(kind: str) -> None:
    data = pack(kind)
    position = 640
    while position < len(data):
        head, crc32 = struct.unpack_from("<HI", data, position)
        end = position + 6 + (head & 0x0FFF)
        assert crc32 == binascii.crc32(data[position : position + 2] + data[position + 6 : end])
        position = end
    assert position == len(data)


@pytest.mark.parametrize("kind", KINDS)
def test_each_frame_gives_2048_bytes_and_is_no_larger(kind: str) -> None:
    frames = list(packages_frames.split(pack(kind)[640:]))
    assert len(frames) == -(-len(FILE) // FRAME)
    for number, (flags, body) in enumerate(frames):
        piece = FILE[number * FRAME : (number + 1) * FRAME]
        assert 1 <= len(body) <= len(piece)
        assert packages_frames.decode(packages_frames.frame(flags, body), len(piece), OLD) == piece


def test_each_kind_has_the_frames_it_is_named_for() -> None:
    plain, compressed, delta = (packages_frames.count(pack(kind)[640:]) for kind in KINDS)
    assert list(plain) == ["literal"]
    assert "literal, deflated" in compressed
    assert "delta" in delta
    assert len(pack("delta")) < len(pack("compressed")) < len(pack("plain"))


def test_what_can_not_be_made_smaller_is_sent_as_it_is() -> None:
    noise = hashlib.shake_128(b"noise").digest(3 * FRAME + 5)
    data = packages.package(noise, KEYS["ecdsa"], product="Desk", version="1", chip_id=0, base=OLD)
    assert len(data) == 640 + len(noise) + 4 * 6
    assert packages.unpack(data, OLD) == noise


def test_one_more_line_of_the_application_takes_less_than_3_percent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = build.made_image(1_400_000)
    old = build.update_file(image, build.bundle(build.application("1.2.0"), "1.2.0"))
    for folder in ("ocpp", "firmware", "hw"):
        shutil.copytree(build.REPOSITORY / folder, tmp_path / folder)
    shutil.copy(build.REPOSITORY / "main.py", tmp_path)
    with (tmp_path / "ocpp" / "rpc.py").open("a") as module:
        module.write('\nprint("one more line")\n')
    monkeypatch.setattr(build, "REPOSITORY", tmp_path)
    new = build.update_file(image, build.bundle(build.application("1.2.1"), "1.2.1"))
    delta = packages.package(new, KEYS["rsa"], product="Desk", base=old)
    assert packages.unpack(delta, old) == new
    assert len(delta) < 0.03 * len(new)


# ---------------------------------------------------------------------------------------------------------- properties

parts = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.builds(lambda data, times: data * times, st.binary(min_size=1, max_size=8), st.integers(1, 2000)),
    st.builds(lambda seed, size: hashlib.shake_128(seed).digest(size), st.binary(max_size=2), st.integers(1, 5000)),
)
contents = st.lists(parts, min_size=1, max_size=6).map(b"".join)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """An older content, and a newer one made from pieces of it, some of them changed, and new ones."""
    base = draw(contents)
    new = b""
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(base) - 1))
        piece = bytearray(base[start : start + draw(st.integers(1, 6000))])
        for position in draw(st.lists(st.integers(0, len(piece) - 1), max_size=8)):
            piece[position] ^= draw(st.integers(1, 255))
        new += bytes(piece) + draw(st.one_of(st.just(b""), parts))
    return base, new


@settings(max_examples=150, deadline=None)
@given(pairs(), st.booleans())
def test_any_content_comes_out_as_it_went_in(pair: tuple[bytes, bytes], compress: bool) -> None:
    base, new = pair
    key = KEYS["ecdsa"]
    full = packages.package(new, key, product="Desk", version="1", chip_id=0, compress=compress)
    delta = packages.package(new, key, product="Desk", version="1", chip_id=0, base=base)
    assert packages.unpack(full, b"", key.public_key()) == new
    assert packages.unpack(delta, base, key.public_key()) == new
    assert len(delta) <= len(full)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_frames_changed_at_any_place_are_refused(kind: str, data: st.DataObject) -> None:
    good = pack(kind)
    package = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        package[data.draw(st.integers(640, len(package) - 1))] = data.draw(st.integers(0, 255))
    if package == good:
        return
    with pytest.raises(PackageError):
        packages.unpack(bytes(package), OLD, KEYS["ecdsa"].public_key())


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("kind", KINDS)
def test_each_bit_of_the_frames_matters(kind: str) -> None:
    """Also one that changes nothing in what comes out, such as those behind the end of deflated data."""
    base, compress = KINDS[kind]
    file = b"arus " * 500 + FILE[8192:10192]
    packed = packages.package(file, KEYS["ecdsa"], product="Desk", version="1", chip_id=0, base=base, compress=compress)
    frames = bytearray(packed[640:])
    assert packages_frames.decode(bytes(frames), len(file), base or b"") == file
    for position in range(len(frames)):
        for bit in range(8):
            frames[position] ^= 1 << bit
            with pytest.raises(PackageError):
                packages_frames.decode(bytes(frames), len(file), base or b"")
            frames[position] ^= 1 << bit


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_header_changed_at_any_byte_is_refused(algorithm: str) -> None:
    key = KEYS[algorithm]
    package = pack("delta", key)
    for position in range(640):
        changed = bytearray(package)
        changed[position] ^= 1 << position % 8
        with pytest.raises(PackageError):
            packages.unpack(bytes(changed), OLD, key.public_key())


def test_another_key_or_base_is_refused() -> None:
    with pytest.raises(PackageError, match="another key"):
        packages.unpack(pack(), OLD, KEYS["rsa"].public_key())
    with pytest.raises(PackageError, match="another base"):
        packages.unpack(pack("delta"), FILE)


@pytest.mark.parametrize("end", [0, 7, 639, 640, 641, -1])
def test_a_package_that_ends_too_early_is_refused(end: int) -> None:
    with pytest.raises(PackageError):
        packages.unpack(pack()[:end])


def test_a_package_that_goes_on_is_refused() -> None:
    with pytest.raises(PackageError, match="should have"):
        packages.unpack(pack() + b"\0")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (struct.pack("<BH", 3, 1), "operation 3"),
        (struct.pack("<BH", 0, 0), "of 0 bytes"),
        (struct.pack("<BHI", 1, 8, 2**32 - 4), "behind the end"),
        (struct.pack("<BHI", 1, 9, 0), "9 bytes"),
        (struct.pack("<BHI", 1, 7, 0), "gives 7"),
        (struct.pack("<BHI", 1, 8, 0)[:5], "damaged"),
        (struct.pack("<BH", 0, 8) + b"four", "damaged"),
    ],
)
def test_an_operation_that_does_not_add_up_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(PackageError, match=words):
        packages_frames.decode(packages_frames.frame(0x4000, body), 8, bytes(1000))


@pytest.mark.parametrize("head", [0, 0x8000, 0x1001, 0x2001, 2049])
def test_a_wrong_head_of_a_frame_is_refused(head: int) -> None:
    with pytest.raises(PackageError, match="wrong head"):
        body = bytes(head & 0x0FFF)
        packages_frames.decode(packages_frames.frame(head - len(body), body) + bytes(9), FRAME, b"")


def test_a_frame_that_inflates_beyond_all_bounds_is_refused() -> None:
    body = packages_frames.deflate(bytes(1_000_000))
    with pytest.raises(PackageError, match="damaged"):
        packages_frames.decode(packages_frames.frame(0x8000, body), FRAME, b"")


@pytest.mark.parametrize(
    "wrong",
    [
        {"product": ""},
        {"product": "x" * 33},
        {"product": "Säule"},
        {"version": "1\n"},
        {"hardware": (5, 2)},
        {"hardware": (0, 65536)},
        {"release": -1},
        {"release": 2**32},
        {"release": 1, "floor": 2},
        {"key": ec.generate_private_key(ec.SECP384R1())},
    ],
    ids=lambda wrong: " ".join(wrong),
)
def test_what_no_header_can_hold_is_refused(wrong: dict[str, object]) -> None:
    options = {"key": KEYS["ecdsa"], "product": "Desk", **wrong}
    with pytest.raises(PackageError):
        packages.package(FILE, **options)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------- command line


Run = Callable[..., tuple[str | int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs build.py in a folder with old.bin, new.bin and a key; gives what it exits with and what it prints."""
    monkeypatch.chdir(tmp_path)
    Path("old.bin").write_bytes(OLD)
    Path("new.bin").write_bytes(FILE)
    Path("key").write_bytes(packages_keys.private_pem(KEYS["ecdsa"]))
    Path("key.pub").write_bytes(packages_keys.public_pem(KEYS["ecdsa"].public_key()))

    def run(*words: str) -> tuple[str | int, str]:
        monkeypatch.setattr(sys, "argv", ["build.py", *words])
        capsys.readouterr()
        try:
            packages_command.main()
        except SystemExit as end:
            return end.code or 0, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def test_the_plain_file_is_made_without_naming_a_command(repository: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.bin"
    command = [sys.executable, str(repository / "tools" / "build.py"), "--version", "1.2.0", "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert packages_plain.sound(path.read_bytes()).version == "1.2.0"
    assert hashlib.sha256(path.read_bytes()).hexdigest() in done.stdout


@pytest.mark.parametrize("kind", KEYS)
def test_keygen_makes_both_halves_of_a_key_in_files_of_their_own(run: Run, kind: str) -> None:
    status, printed = run("keygen", "-o", "mine", "--type", kind)
    private = packages_keys.load_private(Path("mine").read_bytes())
    assert status == 0
    assert Path("mine").stat().st_mode & 0o777 == 0o600
    assert Path("mine").read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert Path("mine.pub").read_bytes() == packages_keys.public_pem(private.public_key())
    assert Path("mine.pub").read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----")
    assert packages_keys.key_id(private.public_key()).hex() in printed


@pytest.mark.parametrize("there", ["mine", "mine.pub"])
def test_keygen_overwrites_nothing(run: Run, there: str) -> None:
    Path(there).write_text("dear")
    status, _ = run("keygen", "-o", "mine")
    assert "exists" in str(status)
    assert Path(there).read_text() == "dear"
    assert sum(Path(name).exists() for name in ("mine", "mine.pub")) == 1


def test_package_and_delta_make_what_a_charger_takes(run: Run) -> None:
    options = ("--key", "key", "--product", "Desk", "-o", "out")
    public = KEYS["ecdsa"].public_key()

    assert run("package", "new.bin", *options)[0] == 0
    plain = Path("out").read_bytes()
    assert packages.unpack(plain, b"", public) == FILE
    header = packages.parse(plain)
    assert (header.product, header.version, header.release, header.floor) == ("Desk", "1.3.0", 1_003_000, 0)
    assert header.hardware == (0, 65535)

    more = ("--compress", "--hardware", "2-5", "--release", "9", "--floor", "8", "--version", "spring")
    assert run("package", "new.bin", *options, *more)[0] == 0
    header = packages.parse(Path("out").read_bytes())
    assert (header.version, header.release, header.floor, header.hardware) == ("spring", 9, 8, (2, 5))
    assert packages.unpack(Path("out").read_bytes(), b"", public) == FILE

    assert run("delta", "new.bin", "--base", "old.bin", *options)[0] == 0
    assert packages.unpack(Path("out").read_bytes(), OLD, public) == FILE


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("package nothing.bin --key key", "nothing.bin"),
        ("package new.bin --key new.bin", "new.bin: this is no private key"),
        ("package new.bin --key key.pub", "key.pub: this is no private key"),
        ("package key --key key", "key: this is no ESP32 image"),
        ("package cut.bin --key key", "cut.bin: the bundle has"),
        ("package image.bin --key key", "image.bin: the image carries no application"),
        ("package combined.bin --key key", "combined.bin: this is a combined file"),
        ("package package.bin --key key", "package.bin: this is a package"),
        ("delta new.bin --base package.bin --key key", "package.bin: this is a package"),
        ("delta new.bin --base s3.bin --key key", "another chip"),
        ("package new.bin --key key --version spring", "give --release"),
        ("package new.bin --key key --floor 2000000", "floor"),
    ],
)
def test_what_can_not_be_packed_is_told_in_one_line(run: Run, words: str, told: str) -> None:
    table = build.TABLE_ADDRESS - 0x1000
    combined = bytearray(table + 0xC00) + build.made_image()
    combined[table : table + 2] = b"\xaa\x50"
    Path("combined.bin").write_bytes(combined)
    Path("cut.bin").write_bytes(FILE[:-1])
    Path("image.bin").write_bytes(build.made_image())
    Path("package.bin").write_bytes(pack())
    Path("s3.bin").write_bytes(build.update_file(build.made_image(8192, chip_id=9), build.bundle(FILES, "1.2.3")))
    status, _ = run(*words.split(), "--product", "Desk", "-o", "out")
    assert isinstance(status, str)  # sys.exit prints it, and makes 1 of it
    assert told in status
    assert "\n" not in status
    assert not Path("out").exists()


# ------------------------------------------------------------------------------------------------------------- inspect


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (FILE, ("Plain update file", "1.3.0", "ESP32", hashlib.sha256(FILE).hexdigest())),
        (
            pack(),
            ("Package", "Desk", "1.3.0", "2 to 5", "7", "none below 3", "deflated", "decoded", "ECDSA", "not checked"),
        ),
        (pack("delta"), ("difference", "delta", "--base")),
        (packages_keys.private_pem(KEYS["rsa"]), ("Private key", "RSA")),
        (packages_keys.public_pem(KEYS["ecdsa"].public_key()), ("Public key", "ECDSA")),
    ],
    ids=["plain", "package", "delta", "private", "public"],
)
def test_inspect_says_what_a_file_is(run: Run, data: bytes, told: tuple[str, ...]) -> None:
    Path("file").write_bytes(data)
    status, printed = run("inspect", "file")
    assert status == 0
    assert [words for words in told if words not in printed] == []


def test_inspect_checks_the_signature_and_the_base_it_is_given(run: Run) -> None:
    Path("file").write_bytes(pack("delta"))
    for key in ("key", "key.pub"):
        status, printed = run("inspect", "file", "--public", key, "--base", "old.bin")
        assert status == 0
        assert re.search("signature +right", printed)
        assert re.search("application +1.3.0", printed)
    assert "another base" in run("inspect", "file", "--base", "new.bin")[1]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "nothing"),
        (b"<!doctype html>", "no ESP32 image"),
        (build.made_image(), "no application"),
        (FILE[:400] + b"\0" + FILE[401:], "image is damaged"),
        (FILE[:-100] + b"\0" + FILE[-99:], "bundle is damaged"),
        (FILE + b"\0", "bundle has"),
        (pack()[:100], "beginning of one"),
        (pack()[:-1], "too early"),
        (pack("delta")[:640], "should have"),
        (packages.package(FILE, KEYS["ecdsa"], product="\x20", chip_id=9), "another chip"),
        (pack()[:20] + b"\1" + pack()[21:], "changed after it was signed"),
        (pack(key=KEYS["rsa"]), "another key"),
        (pack()[:176] + b"\1" + pack()[177:], "have to be zero"),
        (b"-----BEGIN CERTIFICATE-----", "no public key"),
    ],
    ids=range(14),
)
def test_inspect_says_what_is_wrong(run: Run, data: bytes, told: str) -> None:
    Path("file").write_bytes(data)
    status, printed = run("inspect", "file", "--public", "key.pub")
    assert status == 1
    assert told in printed
