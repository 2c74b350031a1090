"""Properties of packages: a changed one is refused for a reason, or gives exactly the file that was signed.

First the header, then the frames, then whole updates: over HTTP, from the request to set_boot.
"""

from __future__ import annotations

import functools
import hashlib
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st

import build
import packages
import packages_delta
import packages_frames
import packages_keys
from packages_frames import ADD, COPY, DEFLATED, FRAME, HEAD, LITERAL, OPERATIONS, PackageError
from packages_keys import PrivateKey
from properties import Firmware, compiled_firmware, hold, mutations, splits
from simulator.interpreter import Interpreter

CAPACITY = 20 * 1024
PRODUCT, HARDWARE, CHIP, FLOOR = "Desk", 3, 0, 20
KEYS: dict[str, PrivateKey] = {
    "rsa": packages_keys.make_key("rsa"),
    "ecdsa": ec.derive_private_key(0xA1B2C3D4E5F6, ec.SECP256R1()),
}
SLACK = 2048  # a number of RSA, or a module, may look as if it were still in use
PRINTABLE = re.compile(r"[ -~]{10,200}")
REASON = re.compile(r"(?!.*(Error\(|Exception|Traceback))[ -~]{5,250}")  # told by us, not by Python


def made_file(version: str, words: bytes) -> bytes:
    return build.update_file(build.made_image(2048), build.bundle({"main.py": words * 20}, version))


RUNNING = made_file("1.0.0", b"print('old')\n")
NEW = made_file("1.1.0", b"print('new')\n")
NEWER = made_file("1.2.0", b"print('newer')\n")
GAP = (len(build.made_image(2048)), build.SECTOR)  # what no hash of a plain file covers

# `charger` and `running` are what a package is compared with; `file` holds what stands in the running slot.
CHARGER = f"""
class Charger:
    product, hardware, chip_id, floor = {PRODUCT!r}, {HARDWARE}, {CHIP}, {FLOOR}

class Running:
    index = 0
    capacity = {CAPACITY}

    def __init__(self, name):
        self.file = open(name, "rb")

    def read(self, position, buffer):
        assert position + len(buffer) <= self.capacity, "beyond the slot"
        for i in range(len(buffer)):
            buffer[i] = 0xFF
        self.file.seek(position)
        self.file.readinto(buffer)
"""


def package(file: bytes = NEW, key: PrivateKey = KEYS["rsa"], **options: Any) -> bytes:
    options = {"hardware": (2, 4), "release": 21, "floor": 19, "product": PRODUCT, **options}
    return packages.package(file, key, **options)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the running slot has in it."""
    path = tmp_path_factory.mktemp("running") / "slot"
    path.write_bytes(RUNNING)
    return path


# ------------------------------------------------------------------------------------------------------------- headers

HEADERS_CODE = """
from firmware import ecdsa, header, package, refusals, rsa_pss
from firmware.errors import ImageError

async def answer(options, data):
    charger = Charger()
    charger.key = KEYS[options["key"]]
    try:
        return {"accepted": await package.check(data, charger, Running(FILE))}
    except ImageError as error:
        return {"refused": str(error)}
"""

VALID = {
    kind: [
        package(key=key)[: packages.HEADER],
        package(NEWER, key, release=0xFFFFFFFF, floor=22, compress=True)[: packages.HEADER],
        package(key=key, base=RUNNING)[: packages.HEADER],
    ]
    for kind, key in KEYS.items()
}


@pytest.fixture(scope="module")
def header_firmware(interpreter: Interpreter, running: Path) -> Iterator[Firmware]:
    public = {kind: packages_keys.public_der(key.public_key()) for kind, key in KEYS.items()}
    code = f"KEYS = {public}\nFILE = {str(running)!r}\n{CHARGER}\n{HEADERS_CODE}"
    firmware = Firmware(interpreter, compiled_firmware(), code, most=2048, heap=56 * 1024, slack=SLACK)
    yield firmware
    firmware.stop()


def check_header(firmware: Firmware, kind: str, header: bytes) -> dict[str, Any] | None:
    """Return what the firmware reads out of a header, None if it refuses it; afterwards a good one is accepted."""
    result = firmware.ask(header, key=kind).result

    def good() -> None:
        assert "accepted" in firmware.ask(VALID["rsa"][0], key="rsa").result

    firmware.rest(good)
    assert ("accepted" in result) != ("refused" in result)
    assert "refused" not in result or PRINTABLE.fullmatch(result["refused"]), result["refused"]
    accepted: dict[str, Any] | None = result.get("accepted")
    return accepted


@st.composite
def spliced(draw: st.DrawFn, kind: str) -> bytes:
    """Parts of headers that are all signed properly, also with other keys."""
    headers = [header for valid in VALID.values() for header in valid] + VALID[kind]
    places = st.sampled_from((8, 10, 12, 20, 24, 28, 36, 40, 72, 104, 112, 144, 176, 256, 288, 320, 639))
    cuts = sorted(draw(st.lists(st.one_of(places, st.integers(0, packages.HEADER)), min_size=1, max_size=3)))
    ends = [*cuts, packages.HEADER]
    return b"".join(
        draw(st.sampled_from(headers))[start:end] for start, end in zip([0, *cuts], ends, strict=True) if end > start
    )


@pytest.mark.parametrize("kind", KEYS)
def test_a_header_is_accepted_only_as_it_was_signed(header_firmware: Firmware, everything: bool, kind: str) -> None:
    changed = mutations(VALID[kind], (b"\xff" * 8, bytes(8), bytes(384), PRODUCT.encode()))
    noise = st.binary(max_size=packages.HEADER).map(lambda data: VALID[kind][0][:12] + data)

    def check(data: bytes) -> None:
        header = data[: packages.HEADER].ljust(packages.HEADER, b"\0")  # transfer.py takes no less for a package
        assert (check_header(header_firmware, kind, header) is not None) == (header in VALID[kind])

    hold(st.one_of(changed, changed, spliced(kind), noise), check, 120, everything)


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of a header in which a few are not what they should be; key: of whom it claims to be signed."""
    small = st.one_of(st.integers(0, 4), st.sampled_from((0x7FFF, 0xFFFF)), st.integers(0, 0xFFFF))
    large = st.one_of(st.sampled_from((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)), st.integers(0, 0xFFFFFFFF))
    digest = st.one_of(st.just("right"), st.binary(min_size=32, max_size=32))
    base = st.one_of(st.integers(1, CAPACITY + 1), st.integers(CAPACITY - 1, CAPACITY + 1), large)
    wild: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(("layout", "chip", "first", "last"), small),
        **dict.fromkeys(("floor", "frames"), large),
        "release": st.one_of(st.integers(FLOOR - 1, FLOOR + 1), large),
        "length": st.one_of(st.sampled_from((0, 1, CAPACITY, CAPACITY + 1)), large),
        "algorithm": st.integers(0, 255),
        "base": base,
        "base_digest": digest,
        "product": st.one_of(st.sampled_from((b"", b"Desk\0x", b"desk", b"Desk ")), st.binary(max_size=32)),
        "key": st.sampled_from(("rsa", "ecdsa")),
        "reserved": st.binary(min_size=80, max_size=80),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(wild)), max_size=3, unique=True))
    return {name: draw(wild[name]) for name in chosen}


def signed(kind: str, changes: dict[str, Any], **other: Any) -> tuple[bytes, bool]:
    """Return a header with these fields, rightly signed, and whether it is for this charger."""
    key = KEYS[kind]
    values: dict[str, Any] = {
        "layout": 1,
        "algorithm": packages_keys.algorithm(key),
        "chip": CHIP,
        "first": 2,
        "last": 4,
        "release": 21,
        "floor": 19,
        "length": len(NEW),
        "frames": 500,
        "base": 0,
        "base_digest": "right",
        "key": kind,
        "product": PRODUCT.encode(),
        "reserved": bytes(80),
        "sha256": hashlib.sha256(NEW).digest(),
        **other,
        **changes,
    }
    slot = RUNNING.ljust(CAPACITY, b"\xff")
    right = hashlib.sha256(slot[: values["base"]]).digest()
    digest = right if values["base_digest"] == "right" else values["base_digest"]
    numbers = [values[name] for name in ("release", "floor", "length", "frames", "base")]
    header = packages.FIELDS.pack(
        packages.MAGIC,
        *(values[name] for name in ("layout", "algorithm", "chip", "first", "last")),
        *numbers,
        values["sha256"],
        digest,
        packages_keys.key_id(KEYS[values["key"]].public_key()),
        values["product"],
        b"1.1.0",
    )
    header = header[:176] + values["reserved"]
    fits = (
        (values["layout"], values["chip"], values["key"]) == (1, CHIP, kind)
        and values["algorithm"] == packages_keys.algorithm(key)
        and values["first"] <= HARDWARE <= values["last"]
        and values["release"] >= FLOOR
        and 0 < values["length"] <= CAPACITY
        and values["base"] <= CAPACITY
        and (not values["base"] or digest == right)
        and values["product"].rstrip(b"\0") == PRODUCT.encode()
    )
    return header + packages_keys.sign(key, header), fits


@pytest.mark.parametrize("kind", KEYS)
def test_of_signed_headers_those_for_this_charger_are_accepted(
    header_firmware: Firmware, everything: bool, kind: str
) -> None:
    def check(changes: dict[str, Any]) -> None:
        header, fits = signed(kind, changes)
        accepted = check_header(header_firmware, kind, header)
        assert (accepted is not None) == fits
        if accepted:
            names = ("release", "floor", "length", "frames", "base")
            told = [accepted[name] for name in names] + [bytes.fromhex(accepted["sha256"])]
            assert told == [*struct.unpack_from("<5I", header, 20), header[40:72]]

    edges: list[dict[str, Any]] = [
        *({"release": release} for release in (FLOOR - 1, FLOOR, 0xFFFFFFFF)),
        *({"length": length} for length in (0, 1, CAPACITY, CAPACITY + 1)),
        *({"base": base} for base in (1, CAPACITY, CAPACITY + 1)),
        *({"first": first, "last": last} for first, last in ((3, 3), (4, 9), (0, 2), (4, 2))),
    ]
    for changes in edges:
        check(changes)
    hold(fields(), check, 90, everything)


# -------------------------------------------------------------------------------------------------------------- frames

FRAMES_CODE = """
from hashlib import sha256
from firmware.errors import ImageError
from firmware.frames import Frames

class Pieces:
    def __init__(self, data, splits):
        self.data = data
        self.splits = splits
        self.position = self.turn = 0

    async def readinto(self, view):
        count = min(len(view), self.splits[self.turn % len(self.splits)], len(self.data) - self.position)
        self.turn += 1
        view[:count] = self.data[self.position : self.position + count]
        self.position += count
        return count

class Base:
    def __init__(self, data):
        self.data = data

    def read(self, position, buffer):
        assert position + len(buffer) <= len(self.data), "beyond the base"
        buffer[:] = self.data[position : position + len(buffer)]

_room = bytearray(16 + 2048 + 16)

async def decode(frames, length, take):
    left = length
    while left:
        for i in range(len(_room)):
            _room[i] = 0xA5
        count = min(left, 2048)
        view = memoryview(_room)[16 : 16 + count]
        try:
            assert await frames.readinto(view) == count
        finally:
            for i in range(16):
                assert _room[i] == 0xA5 and _room[16 + count + i] == 0xA5, "beyond the buffer"
        take(view)
        left -= count

async def answer(options, data):
    base = options["base"]
    end = len(data) - options["good"]
    source = Pieces(data[base:end], options["splits"])
    frames = Frames(source, Base(data[:base]), base)
    result = {}
    try:
        await decode(frames, options["length"], sent)
    except ImageError as error:
        result["refused"] = str(error)
    except OSError as error:
        result["lost"] = str(error)
    result["taken"] = frames.taken
    # whatever that left behind does not reach the next frames
    digest = sha256()
    frames.source = Pieces(data[end:], [1000])
    await decode(frames, options["good_length"], digest.update)
    result["good"] = digest.digest().hex()
    return result
"""

WORDS = [b"contactor", b"meter", b"pilot", b"cable", b"open", b"closed", b"\0\0\0\0", b"\xff"]
TEXT = b" ".join(WORDS[number * number % 7] for number in range(500))[:FRAME]
OPERATED = struct.pack("<BH", LITERAL, FRAME - 77) + TEXT[77:]
GOOD = (
    packages_frames.frame(DEFLATED, packages_frames.deflate(TEXT))
    + packages_frames.frame(DEFLATED | OPERATIONS, packages_frames.deflate(OPERATED + b"\0\x4d\0" + TEXT[:77]))
    + packages_frames.frame(0, TEXT[:48])
)
GOOD_OUTPUT = TEXT + TEXT[77:] + TEXT[:77] + TEXT[:48]


@pytest.fixture(scope="module")
def frames_firmware(interpreter: Interpreter) -> Iterator[Firmware]:
    # with all that it is given there is little room left
    firmware = Firmware(interpreter, compiled_firmware(), FRAMES_CODE, most=20 * 1024, heap=76 * 1024)
    yield firmware
    firmware.stop()


def decode(firmware: Firmware, base: bytes, frames: bytes, length: int, splits: list[int]) -> tuple[bytes | None, int]:
    """Return the file that the firmware makes of frames (None: it refuses them) and the bytes of those that it took."""
    data = base + frames + GOOD
    options = {"base": len(base), "good": len(GOOD), "good_length": len(GOOD_OUTPUT), "splits": splits}
    answer = firmware.ask(data, length=length, **options)

    def good() -> None:
        assert firmware.ask(GOOD, length=0, **{**options, "base": 0}).result["good"] == digest

    digest = hashlib.sha256(GOOD_OUTPUT).hexdigest()
    firmware.rest(good)
    result = answer.result
    assert result["good"] == digest, "something is left of the frames before"
    assert "refused" not in result or PRINTABLE.fullmatch(result["refused"])
    assert result.get("lost", "closed too early").endswith("closed too early")  # and nothing else is an OSError
    assert len(answer.sent) <= length
    whole = "refused" not in result and "lost" not in result
    assert whole == (len(answer.sent) == length)
    return (answer.sent if whole else None), result["taken"]


@functools.cache
def noise(seed: int, length: int) -> bytes:
    return hashlib.shake_128(bytes([seed])).digest(length)


@st.composite
def content(draw: st.DrawFn, base: bytes = b"", most: int = 4 * FRAME + 99) -> bytes:
    """Any content of an update file: noise, runs, text, and what is in the base, a little changed."""
    data = b""
    for _ in range(draw(st.integers(1, 8))):
        size = draw(st.one_of(st.integers(1, 60), st.integers(1, 3000)))
        kind = draw(st.sampled_from(("noise", "run", "text", "base", "changed") if base else ("noise", "run", "text")))
        start = draw(st.integers(0, max(0, len(base) - 1)))
        if kind == "noise":
            data += noise(draw(st.integers(0, 255)), size)
        elif kind == "run":
            data += draw(st.binary(min_size=1, max_size=3)) * (size // 2)
        elif kind == "text":
            data += (TEXT * 2)[draw(st.integers(0, 500)) :][:size]
        elif kind == "base":
            data += base[start : start + size]
        else:
            step = draw(st.integers(2, 90))
            data += bytes(
                byte + (at % step == 0) * 7 & 255 for at, byte in enumerate(base[start : start + min(size, 900)])
            )
    return (data or b"x")[:most]


bases = st.one_of(
    content(most=6000), st.builds(noise, st.integers(0, 255), st.integers(1, 6000)), st.just(RUNNING[-6000:])
)


@st.composite
def packed(draw: st.DrawFn) -> tuple[bytes, bytes, list[tuple[int, bytes]]]:
    """A base, a file and the frames that give it: flags and body, any of those that are possible."""
    base = draw(bases)
    file = draw(content(base))
    found = list(packages_delta.pieces(base, file))
    frames = []
    for number, start in enumerate(range(0, len(file), FRAME)):
        output = file[start : start + FRAME]
        bodies = [(0, output)]
        bodies += [(OPERATIONS, body) for body in packages_frames.operation_lists(found[number], file, base)]
        bodies += [(flags | DEFLATED, packages_frames.deflate(body)) for flags, body in bodies]
        frames.append(draw(st.sampled_from([each for each in bodies if len(each[1]) <= len(output)])))
    return base, file, frames


def joined(frames: list[tuple[int, bytes]]) -> bytes:
    return b"".join(packages_frames.frame(flags, body) for flags, body in frames)


def test_frames_of_each_kind_give_the_file_again(frames_firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[tuple[bytes, bytes, list[tuple[int, bytes]]], list[int]]) -> None:
        (base, file, frames), splits = case
        data = joined(frames)
        assert decode(frames_firmware, base, data, len(file), splits) == (file, len(data))

    hold(st.tuples(packed(), splits), check, 120, everything)


@pytest.mark.parametrize("kind", ["literal", "compressed", "delta"])
def test_a_package_of_any_content_gives_it_again(frames_firmware: Firmware, everything: bool, kind: str) -> None:
    def check(case: tuple[bytes, bytes, list[int]]) -> None:
        base, file, splits = case
        options = {"base": base if kind == "delta" else None, "compress": kind != "literal"}
        data = package(file, KEYS["ecdsa"], version="1", chip_id=CHIP, **options)[packages.HEADER :]
        assert decode(frames_firmware, base, data, len(file), splits) == (file, len(data))

    cases = bases.flatmap(lambda base: st.tuples(st.just(base), content(base), splits))
    hold(cases, check, 40, everything)


@st.composite
def operations(draw: st.DrawFn, base: bytes, length: int) -> bytes:
    """Operations that give a frame, but for one of them that is wrong."""
    wrong = draw(st.sampled_from(("nothing", "size", "position", "code")))
    at = draw(st.integers(0, 2))
    data, left = b"", length
    while left > 0 and len(data) < 4000:
        code = draw(st.sampled_from((LITERAL, COPY, COPY, ADD)))
        size = draw(st.one_of(st.just(left), st.integers(1, left)))
        size = min(size, len(base) if code == COPY else 300, len(base) or 300)
        position = draw(st.integers(0, max(0, len(base) - size)))
        if at == 0 and wrong == "size":
            size = draw(st.sampled_from((0, 0, left + 1, FRAME, FRAME + 1, 0x7FFF, 0xFFFF)))
        elif at == 0 and wrong == "position":
            edge = len(base) - size
            position = draw(st.sampled_from((edge, edge + 1, len(base), 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)))
        elif at == 0 and wrong == "code":
            code = draw(st.sampled_from((3, 4, 255)))
        at -= 1
        data += struct.pack("<BH", code, size)
        data += b"" if code == LITERAL else struct.pack("<I", position)
        data += b"" if code == COPY else noise(size & 255, min(size, FRAME + 1))
        left -= size
    return data


@st.composite
def deflated(draw: st.DrawFn, data: bytes) -> bytes:
    """Deflated data that gives other than what it should, or never ends, or looks back further than a charger can."""
    kind = draw(
        st.sampled_from(("right", "wide", "more", "bomb", "less", "endless", "tail", "stored", "fixed", "back"))
    )
    if kind == "more":
        data += draw(st.sampled_from((b"x", bytes(FRAME))))
    elif kind == "bomb":
        data = bytes(1 << 19)
    elif kind == "less":
        data = data[: draw(st.integers(0, len(data)))]
    window = draw(st.sampled_from((10, 11, 15))) if kind == "wide" else 10
    strategy = zlib.Z_FIXED if kind == "fixed" else zlib.Z_DEFAULT_STRATEGY
    compressor = zlib.compressobj(0 if kind == "stored" else 9, zlib.DEFLATED, -window, 9, strategy)
    coded = compressor.compress(data)
    coded += compressor.flush(zlib.Z_FULL_FLUSH if kind == "endless" else zlib.Z_FINISH)
    if kind == "tail":
        coded += draw(st.binary(min_size=1, max_size=3))
    elif kind == "back":  # a copy from before the beginning: fixed codes, then whatever it is
        coded = struct.pack("<I", draw(st.integers(0, (1 << 29) - 1)) << 3 | 0b011) + coded
    return coded


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, bytes, int, bool]:
    """A base, frames of which one was changed with its CRC made right again, and the length of the file.

    And whether something that zlib did not make is inflated.
    """
    base, file, frames = draw(packed())
    at = draw(st.integers(0, len(frames) - 1))
    flags, body = frames[at]
    output = file[at * FRAME : (at + 1) * FRAME]
    kind = draw(st.sampled_from(("body", "body", "operations", "operations", "deflated", "flags", "noise", "head")))
    if kind == "body":
        body = draw(mutations([body], (b"\0", b"\xff", b"\1", b"\2")))
    elif kind == "operations":
        flags, body = OPERATIONS, draw(operations(base, len(output)))
        if draw(st.booleans()) or len(body) > FRAME:
            flags, body = flags | DEFLATED, packages_frames.deflate(body)
    elif kind == "deflated":
        flags, body = draw(st.sampled_from(((DEFLATED, output), (OPERATIONS | DEFLATED, b"\1\1\0" * 9))))
        body = draw(deflated(body))
    elif kind == "flags":
        flags ^= draw(st.sampled_from((DEFLATED, OPERATIONS, DEFLATED | OPERATIONS, 0x1000, 0x2000)))
    elif kind == "noise":
        flags = draw(st.sampled_from((DEFLATED, OPERATIONS, DEFLATED | OPERATIONS)))
        body = draw(st.binary(max_size=300))
    told = len(body)
    if kind == "head":
        told = draw(
            st.one_of(st.sampled_from((0, 1, told - 1, told + 1, FRAME, FRAME + 1, 0xFFF)), st.integers(0, 999))
        )
    told = min(max(told, 0), 0xFFF)
    rest = joined(frames[at + 1 :])
    follows = body + rest
    body = body[:FRAME] if kind != "head" else follows[:told]
    word = flags | (told if kind == "head" else len(body))
    changed = HEAD.pack(word, zlib.crc32(body, zlib.crc32(word.to_bytes(2, "little")))) + body
    rest = follows[told:] if kind == "head" else rest
    length = draw(st.sampled_from((len(file), len(file), len(file), len(file) - 1, len(file) + 1, FRAME)))
    is_inflated = kind != "operations" and flags & ~OPERATIONS == DEFLATED
    return base, joined(frames[:at]) + changed + rest, max(1, length), is_inflated


def expected(frames: bytes, length: int, base: bytes) -> bytes | None:
    try:
        return packages_frames.decode(frames, length, base)
    except PackageError:
        return None


def test_damaged_frames_with_right_crcs_are_refused_or_give_what_they_say(
    frames_firmware: Firmware, everything: bool
) -> None:
    def check(case: tuple[tuple[bytes, bytes, int, bool], list[int]]) -> None:
        (base, frames, length, is_inflated), splits = case
        output, taken = decode(frames_firmware, base, frames, length, splits)
        right = expected(frames[:taken] if output else frames, length, base)
        if is_inflated:
            # from before the beginning or out of a larger window: one of the two refuses what the other one takes
            assert output is None or right is None or output == right
        else:
            assert output == right

    hold(st.tuples(damaged(), splits), check, 350, everything)


def test_changed_frames_are_refused(frames_firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[tuple[bytes, bytes, list[tuple[int, bytes]]], bytes, list[int]]) -> None:
        (base, file, _), data, splits = case
        output, _ = decode(frames_firmware, base, data[:8200], len(file), splits)
        assert output in (None, file)

    cases = packed().flatmap(
        lambda case: st.tuples(st.just(case), mutations([joined(case[2])], (b"\0", b"\xff", GOOD)), splits)
    )
    hold(cases, check, 150, everything)


# ------------------------------------------------------------------------------------------------------------- updates

UPDATE_CODE = """
from errno import ECONNREFUSED
from hashlib import sha256
from firmware import http, opening, update
from firmware.journal import Journal
from hw.connection import Connection

Updater = update.Updater
_flash = bytearray(CAPACITY)
_blank = b"\\xff" * 2048
_reply = bytearray(18 * 1024)

def forget(*names):
    # as main.py does
    for name in names:
        if name in sys.modules:
            package, _, module = name.rpartition(".")
            sys.modules[name] = None
            del sys.modules[name]
            setattr(sys.modules[package], module, None)
            delattr(sys.modules[package], module)

class Flash:
    index = 1
    capacity = CAPACITY
    boots = 0

    def erase(self, position, size=4096):
        assert position % 4096 == 0 and 0 <= position <= CAPACITY - size
        for i in range(position, position + size, 256):
            _flash[i : i + 256] = b"\\xff" * 256

    def erase_block(self, position):
        if position % 8192 or position + 8192 > CAPACITY:
            return 0
        self.erase(position, 8192)
        return 8192

    def write(self, position, data):
        end = position + len(data)
        assert end <= CAPACITY and len(data) <= 2048
        assert memoryview(_flash)[position:end] == memoryview(_blank)[: len(data)], "not erased"
        _flash[position:end] = data

    def read(self, position, buffer):
        assert position + len(buffer) <= CAPACITY
        buffer[:] = memoryview(_flash)[position : position + len(buffer)]

    def set_boot(self):
        self.boots += 1

class Server(Peer):
    # One connection. `answer`: what it gives whatever is asked for; `file`: of that it gives what is asked for.
    def __init__(self, data, entry, splits):
        super().__init__(b"", splits, self.heard)
        self.all = data
        self.entry = entry
        self.request = b""

    def heard(self, data):
        self.request += bytes(data)
        if self.request[-4:] != b"\\r\\n\\r\\n":
            return
        entry = self.entry
        if "answer" in entry:
            start, end = entry["answer"]
            self.data = self.all[start:end]
            return
        start, end = entry["file"]
        length = end - start
        offset = 0
        tag = b"" if entry["tag"] is None else b"ETag: \\"%d\\"\\r\\n" % entry["tag"]
        if b"Range: bytes=" in self.request and entry["ranges"]:
            if not tag or b"If-Range: " + tag[6:] in self.request or entry["ranges"] == "always":
                offset = int(self.request.split(b"bytes=")[1].split(b"-")[0])
        if offset >= length:
            self.data = b"HTTP/1.1 416 Range Not Satisfiable\\r\\n\\r\\n"
            return
        left = length - offset
        head = b"HTTP/1.1 200 OK\\r\\n"
        body = (self.all[start + offset : end],)
        if offset:
            head = b"HTTP/1.1 206 Partial Content\\r\\n"
            head += b"Content-Range: bytes %d-%d/%d\\r\\n" % (offset, length - 1, length)
        if offset or entry["how"] == "length":
            head += b"Content-Length: %d\\r\\n" % left
        elif entry["how"] == "chunked":
            head += b"Transfer-Encoding: chunked\\r\\n"
            body = b"%x\\r\\n" % left, body[0][: left // 2], body[0][left // 2 :], b"\\r\\n0\\r\\n\\r\\n"
        at = self._put(0, head + tag + b"\\r\\n")
        most = len(_reply) if entry["cut"] is None else at + entry["cut"]
        for part in body:
            at = self._put(at, part)
        self.data = memoryview(_reply)[: min(at, most)]

    def _put(self, at, part):
        _reply[at : at + len(part)] = part
        assert len(_reply) == 18 * 1024
        return at + len(part)

class Parts:
    held = charging = False
    told = None
    forget = staticmethod(forget)

    def __init__(self, options, data, journal):
        self.slots = self.clock = self.station = self
        self.chip_id, self.frozen, self.running = CHIP, False, Running(FILE)
        self.flash = Flash()
        self.entries = options["connections"]
        self.options, self.data, self.journal = options, data, journal
        self.peers = []
        self.ended = None
        self.event = asyncio.Event()
        self.statuses = []

    def begin(self):
        return self.flash

    def get(self, key):
        return {"FirmwareDownloadTimeout": 5, "UpdateWhileCharging": "stop",
                "RequireSignedFirmware": self.options["signed"]}[key]

    def identity(self):
        charger = Charger()
        charger.key = KEY
        return charger

    def hold(self):
        self.held = True

    def release(self):
        self.held = False

    def log(self, text):
        view = text.encode()
        assert len(view) < 500 and min(view) >= 0x20 and max(view) < 0x7F, "not fit for a log"
        assert b"memory" not in view, text

    def progress(self, status, percent):
        assert percent is None or 0 < percent <= 100

    def now(self):
        return 1_800_000_000

    async def sleep(self, seconds):
        await asyncio.sleep_ms(0)

    async def end(self, how):
        self.ended = how
        await self.event.wait()

    async def reset(self):
        await self.end("reset")

    async def dial(self, host, port, secure=False, *, timeout=None):
        if not self.entries:
            raise OSError(ECONNREFUSED, "nobody is there")
        entry = self.entries.pop(0)
        if entry == "power cut":
            await self.end(entry)
        self.peers.append(Server(self.data, entry, self.options["splits"]))
        return Connection(self.peers[-1], host, 5000)

    async def open_source(self, location, **options):
        return await opening.source(self, location, **options)

    async def open_package(self, header):
        return await opening.package(self, header)

    async def frames(self, source, base):
        return await opening.frames(self, source, base)

class Store(dict):
    def set(self, key, value):
        self[key] = bytes(value)

async def answer(options, data):
    for i in range(0, CAPACITY, 256):
        _flash[i : i + 256] = b"\\x5a" * 256
    store = Store()
    parts = Parts(options, data, None)
    first = True
    while first or parts.ended == "power cut":
        parts.ended = None
        parts.journal = journal = Journal(store, lambda: None)
        parts.updater = updater = Updater(parts)
        if first:
            updater.request("http://host/fw.bin", None, len(options["connections"]) + 1, 0)
        first = False
        task = asyncio.create_task(updater.run())
        while journal.busy and not parts.ended:
            if journal.peek():
                parts.statuses.append(journal.peek())
                journal.pop()
            await asyncio.sleep_ms(0)
        while journal.peek():
            parts.statuses.append(journal.peek())
            journal.pop()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
    package = journal.get("package")
    written = journal.get("written", 0)
    if parts.flash.boots:
        sent(memoryview(_flash)[:written])
    return {
        "boots": parts.flash.boots, "reset": parts.ended == "reset", "statuses": parts.statuses, "held": parts.held,
        "last": journal.get("last"), "reason": journal.get("reason"), "package": package and package["sha256"],
        "open": sum([peer.open for peer in parts.peers]),
    }
"""

PACKAGES = [
    package(release=21),
    package(compress=True),
    package(base=RUNNING),
    package(NEWER, compress=True),
    package(NEWER, base=RUNNING, release=30, floor=22),
]
UNFIT = [
    package(release=FLOOR - 1, floor=0, compress=True),
    package(product="Desk Two", compress=True),
    package(hardware=(4, 9), compress=True),
    package(chip_id=9, compress=True),
    package(base=RUNNING[:-1] + b"?"),
    package(key=KEYS["ecdsa"], compress=True),
    NEW[:5000],
]


@pytest.fixture(scope="module")
def update_firmware(interpreter: Interpreter, running: Path) -> Iterator[Firmware]:
    key = packages_keys.public_der(KEYS["rsa"].public_key())
    code = f"KEY = {key!r}\nFILE = {str(running)!r}\nCAPACITY = {CAPACITY}\nCHIP = {CHIP}\n{CHARGER}\n{UPDATE_CODE}"
    firmware = Firmware(interpreter, compiled_firmware(), code, most=56 * 1024, heap=320 * 1024, slack=2 * SLACK)
    yield firmware
    firmware.stop()


Connections = list[dict[str, Any] | str]


def connection(file: bytes, how: str = "length", tag: int | None = 1, ranges: str = "", cut: int | None = None) -> Any:
    """A connection to a server that has this file."""
    return {"file": file, "how": how, "tag": tag, "ranges": ranges, "cut": cut}


FAILURES = (["Downloading", "DownloadFailed"], ["Downloading", "Downloaded", "InstallationFailed"])


def ask(firmware: Firmware, connections: Connections, splits: list[int], signed: bool = False) -> tuple[Any, bytes]:
    data = b""
    places: dict[bytes, tuple[int, int]] = {}
    entries: Connections = []
    for each in connections:
        if isinstance(each, dict):
            each = dict(each)
            for name in ("file", "answer"):
                if name in each:
                    piece = each[name]
                    if piece not in places:
                        places[piece] = len(data), len(data) + len(piece)
                        data += piece
                    each[name] = places[piece]
        entries.append(each)
    answer = firmware.ask(data, connections=entries, splits=splits, signed=signed)
    return answer.result, answer.sent


def same(data: bytes, file: bytes) -> bool:
    """Whether two plain files are the same in what hashes cover."""
    start, end = GAP
    return len(data) == len(file) and data[:start] == file[:start] and data[end:] == file[end:]


def update(firmware: Firmware, connections: Connections, splits: list[int], signed: bool = False) -> bytes | None:
    """Return what an update makes the firmware boot, checked to be what is signed or hashed; None if it fails."""
    result, flash = ask(firmware, connections, splits, signed)

    def good() -> None:
        result, flash = ask(firmware, [connection(PACKAGES[2])], [1 << 20])
        assert (result["boots"], flash) == (1, NEW)

    firmware.rest(good)
    assert result["open"] == 0, "a connection was left open"
    assert set(result["statuses"]) <= {
        "Downloading",
        "Downloaded",
        "Installing",
        "DownloadFailed",
        "InstallationFailed",
    }
    if not result["boots"]:
        assert not result["reset"] and not result["held"]
        assert result["statuses"] in FAILURES
        assert result["last"] == result["statuses"][-1]
        assert REASON.fullmatch(result["reason"]), result["reason"]
        return None
    assert result["boots"] == 1 and result["reset"]
    assert result["statuses"] == ["Downloading", "Downloaded", "Installing"]
    if result["package"]:
        assert hashlib.sha256(flash).hexdigest() == result["package"]
        assert flash in (NEW, NEWER)
    else:
        assert not signed and (same(flash, NEW) or same(flash, NEWER))
    return flash


# Single bytes are for the tests above: a whole file of them takes long.
some = st.lists(st.integers(1, 2000), min_size=2, max_size=6).map(lambda sizes: [*sizes, 900])
arrivals = st.one_of(st.just([1 << 20]), some)
cuts = st.one_of(st.none(), st.integers(0, 1000), st.integers(600, 2700), st.integers(2000, len(NEW) + 900))


@st.composite
def served(draw: st.DrawFn, files: st.SearchStrategy[bytes]) -> Connections:
    """Connections one after the other to servers that have one of few files."""
    few = draw(st.lists(files, min_size=1, max_size=2))
    tags = st.sampled_from((1, 1, 1, 1, 2, None))
    each = st.builds(
        connection,
        st.sampled_from(few),
        st.sampled_from(("length", "length", "chunked", "close")),
        tags,
        st.sampled_from(("", "properly", "properly", "properly", "always")),
        cuts,
    )
    found: Connections = draw(st.lists(st.one_of(each, each, each, each, st.just("power cut")), max_size=4))
    return [*found, connection(few[0], ranges="properly")]


def test_a_file_arrives_whole_over_any_connections_or_not_at_all(update_firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[Connections, bytes, list[int]]) -> None:
        connections, file, splits = case
        whole = update(update_firmware, [*connections, connection(file, ranges="properly")], splits)
        files = {each["file"] for each in connections if isinstance(each, dict)} | {file}
        if len(files) == 1 and not any(each["how"] == "close" for each in connections if isinstance(each, dict)):
            assert whole == (file if file in (NEW, NEWER) else NEW if file in PACKAGES[:3] else NEWER)

    for file in (NEW, *PACKAGES):
        for cut in (700, len(file) * 2 // 3):
            check(([connection(file, cut=cut)], file, [900]))
    sound = st.sampled_from([NEW, NEWER, *PACKAGES])
    one = sound.flatmap(lambda file: st.tuples(served(st.just(file)), st.just(file), arrivals))
    hold(st.one_of(one, st.tuples(served(sound), sound, arrivals)), check, 100, everything)


def test_a_changed_file_is_not_booted(update_firmware: Firmware, everything: bool) -> None:
    words = (b"\xe9", packages.MAGIC, b"\0" * 16, b"\xff" * 64, PACKAGES[2])
    changed = mutations([NEW, NEW, *PACKAGES, *PACKAGES], words)
    files = st.one_of(changed, changed, st.binary(max_size=2000), st.sampled_from(UNFIT))

    def check(case: tuple[Connections, list[int], bool]) -> None:
        update(update_firmware, *case)

    hold(st.tuples(served(files), arrivals, st.booleans()), check, 110, everything)


@st.composite
def lying(draw: st.DrawFn) -> bytes:
    """A package of the right person that is wrong nevertheless."""
    if draw(st.integers(0, 2)):
        base, frames, length = RUNNING, draw(st.sampled_from(PACKAGES))[packages.HEADER :], len(NEW)
        if draw(st.booleans()):
            frames = draw(mutations([frames], (b"\0", GOOD)))
    else:
        base, frames, length, _ = draw(damaged())
    told = draw(st.sampled_from([*[len(frames)] * 12, 0, len(frames) + 1, 0xFFFFFFFF]))
    length = draw(st.sampled_from((length, length, length, 1, len(NEW) - 1, len(NEW) + 1, CAPACITY)))
    changes = draw(fields()) if draw(st.integers(0, 3)) == 0 else {}
    changes.pop("reserved", None)
    based = len(RUNNING) if base == RUNNING and draw(st.booleans()) else draw(st.sampled_from((0, 6000)))
    sha256 = hashlib.sha256(draw(st.sampled_from((NEW, NEWER, b"x")))).digest()
    numbers = {"frames": told, "length": length, "base": based, "sha256": sha256}
    return signed("rsa", changes, **numbers)[0] + frames


def test_a_signed_package_that_lies_is_not_booted(update_firmware: Firmware, everything: bool) -> None:
    def check(case: tuple[Connections, list[int]]) -> None:
        update(update_firmware, *case, signed=True)

    hold(st.tuples(served(lying()), arrivals), check, 110, everything)


HTTP_WORDS = (
    b"\r\n",
    b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 206 Partial Content\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /fw.bin\r\n",
    b"Content-Length: 845\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 9999999999\r\n",
    b"Content-Range: bytes 640-12287/12288\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b'ETag: "1"\r\n',
    b"280\r\n",
)


def test_a_changed_answer_brings_a_right_file_or_none(update_firmware: Firmware, everything: bool) -> None:
    answers = []
    for file in (NEW, *PACKAGES[1:4]):
        size = b"Content-Length: %d\r\n" % len(file)
        answers += [
            b"HTTP/1.1 200 OK\r\n" + size + b'ETag: "1"\r\n\r\n' + file,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(file), file),
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 640-%d/%d\r\n\r\n" % (len(file) - 1, len(file))
            + file[640:],
            b"HTTP/1.1 200 OK\r\n\r\n" + file,
        ]
    whole = mutations(answers, HTTP_WORDS, most=2)
    heads = st.builds(
        lambda answer, word, at: answer[:at] + word + answer[at:],
        st.sampled_from(answers),
        st.sampled_from(HTTP_WORDS),
        st.integers(0, 60),
    )
    changed = st.one_of(whole, heads).map(lambda answer: {"answer": answer[:13000]})
    proper = st.builds(connection, st.sampled_from([NEW, *PACKAGES[1:4]]), ranges=st.just("always"), cut=cuts)
    cases = st.lists(st.one_of(changed, changed, proper), min_size=1, max_size=3)

    def check(case: tuple[Connections, list[int]]) -> None:
        update(update_firmware, *case)

    hold(st.tuples(cases, arrivals), check, 110, everything)
