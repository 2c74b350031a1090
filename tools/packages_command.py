"""The command line of tools/build.py."""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import build
import image_command
import packages
import packages_inspect
import packages_keys
import packages_plain
from environment import ProgressLine, bar
from packages_frames import PackageError

T = TypeVar("T")

HELP = """\
Build update files for chargers, sign them, and say what a file is.

  build.py --version 1.2.0 --micropython FILE -o OUT    the plain update file: MicroPython and the application
  build.py image --version 1.2.0 --micropython DIR      the same by a build of MicroPython, the application frozen in
  build.py keygen -o KEY                                a key to sign with; KEY.pub goes to the chargers
  build.py package FILE --key KEY --product NAME -o OUT a plain file signed, and with --compress a quarter smaller
  build.py delta FILE --base OLD --key KEY ...          only what differs from the plain file that runs now
  build.py inspect FILE                                 what a file is, and whether it is sound
"""


def main() -> None:
    """Do what the command line asks for."""
    words = sys.argv[1:]
    if words and words[0].startswith("-") and words[0] not in ("-h", "--help"):
        words.insert(0, "file")
    arguments = _parser().parse_args(words)
    try:
        arguments.run(arguments)
    except (build.BuildError, PackageError) as error:
        sys.exit(f"build.py: {error}")
    except OSError as error:
        sys.exit(f"build.py: {error.filename}: {error.strerror}")


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("build.py", description=HELP, formatter_class=raw)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    file = commands.add_parser("file", help="make the plain update file (also without this word)")
    file.add_argument("--version", required=True, help="version of the application, as BootNotification will tell it")
    file.add_argument("--micropython", type=Path, metavar="FILE", help="MicroPython for ESP32; default: a made image")
    _output(file)
    file.set_defaults(run=make_file)

    image_command.add_to(commands, "build MicroPython with the application frozen in (needs ESP-IDF)")

    keygen = commands.add_parser("keygen", help="make a key to sign packages with")
    keygen.add_argument("--type", choices=("rsa", "ecdsa"), default="rsa", help="default: rsa, of 3072 bits")
    _output(keygen)
    keygen.set_defaults(run=make_key)

    package = commands.add_parser("package", help="sign a plain update file, compress it on request")
    _package_options(package)
    package.add_argument("--compress", action="store_true", help="deflate the frames that this makes smaller")
    package.set_defaults(run=make_package, base=None)

    delta = commands.add_parser("delta", help="sign what differs from the plain update file that runs on the charger")
    _package_options(delta)
    delta.add_argument("--base", type=Path, required=True, metavar="FILE", help="the plain update file that runs now")
    delta.set_defaults(run=make_package, compress=True)

    inspect = commands.add_parser("inspect", help="say what a file is; exit status 1 if something is wrong with it")
    inspect.add_argument("file", type=Path, metavar="FILE")
    inspect.add_argument(
        "--public", "--key", type=Path, metavar="KEY", help="check a package's signature with this key, either half"
    )
    inspect.add_argument("--base", type=Path, metavar="FILE", help="what a delta package is the difference to")
    inspect.set_defaults(run=inspect_file)
    return parser


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")


def _package_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the plain update file")
    parser.add_argument("--key", type=Path, required=True, help="the private key, from build.py keygen")
    parser.add_argument("--product", required=True, metavar="NAME", help='"model" in config.json of the chargers')
    parser.add_argument(
        "--hardware",
        type=_range,
        default=(0, 0xFFFF),
        metavar="MIN-MAX",
        help='"hardware" in config.json; default: any',
    )
    parser.add_argument("--release", type=int, metavar="N", help="grows with every version; default: 1002003 for 1.2.3")
    parser.add_argument(
        "--floor",
        type=int,
        default=0,
        metavar="N",
        help="once it is confirmed no release below this is taken; default: 0",
    )
    parser.add_argument("--version", metavar="TEXT", help="default: that of the application in FILE")
    _output(parser)


def _range(text: str) -> tuple[int, int]:
    if not (found := re.fullmatch(r"(\d+)(?:-(\d+))?", text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number and no range like 2-5")
    return int(found[1]), int(found[2] or found[1])


# ------------------------------------------------------------------------------------------------------------ commands


def make_file(arguments: argparse.Namespace) -> None:
    """Make the plain update file."""
    micropython = arguments.micropython
    image = build.app_image(micropython.read_bytes()) if micropython else build.made_image()
    data = build.update_file(image, build.bundle(build.application(arguments.version), arguments.version))
    arguments.output.write_bytes(data)
    print(f"{arguments.output}: {len(data):,} bytes, image {len(image):,}, SHA-256 {hashlib.sha256(data).hexdigest()}")


def make_key(arguments: argparse.Namespace) -> None:
    """Make a key, in two files that must not exist."""
    private, public = arguments.output, Path(f"{arguments.output}.pub")
    for path in (private, public):
        if path.exists():
            raise PackageError(f"{path} exists, and a lost key is lost: remove it yourself, or choose another name")
    key = packages_keys.make_key(arguments.type)
    # mode 600 from its first byte on, and never another one's file
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(packages_keys.private_pem(key))
    public.write_bytes(packages_keys.public_pem(key.public_key()))
    print(f"{private}: the private key, which signs packages. Keep it secret and keep a copy: it can't be made again.")
    print(f"{public}: the public key, for the chargers. Key {packages_keys.key_id(key.public_key()).hex()}")


def make_package(arguments: argparse.Namespace) -> None:
    """Make a package and decode it again, to be sure of it."""
    key = _named(arguments.key, packages_keys.load_private)
    file = arguments.file.read_bytes()
    plain = _named(arguments.file, _sound)
    base = None
    if arguments.base:
        base = arguments.base.read_bytes()
        running = _named(arguments.base, _sound)
        if running.chip_id != plain.chip_id:
            raise PackageError("the base is for another chip")
    version = plain.version if arguments.version is None else arguments.version
    release = release_of(version) if arguments.release is None else arguments.release
    line = functools.cache(lambda: ProgressLine("Packing", sys.stderr))  # begins when all that can be wrong was right
    data = packages.package(
        file,
        key,
        product=arguments.product,
        hardware=arguments.hardware,
        release=release,
        floor=arguments.floor,
        version=version,
        base=base,
        compress=arguments.compress,
        progress=lambda done, frames: line().show(bar(done, frames)),
    )
    if packages.unpack(data, base or b"", key.public_key()) != file:
        raise PackageError("what was packed does not give the file again: this is a mistake in build.py")
    line().end("done")
    arguments.output.write_bytes(data)
    print(
        f"{arguments.output}: {len(data):,} bytes, {100 * len(data) / len(file):.1f} % of the plain file; "
        f"version {version}, release {release}, SHA-256 {hashlib.sha256(data).hexdigest()}"
    )


def release_of(version: str) -> int:
    """Return the release number that a version 1.2 or 1.2.3 stands for; PackageError for any other version."""
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?", version)
    if not found:
        raise PackageError(f"version {version!r} says nothing of the order of versions: give --release N")
    major, minor, patch = (int(part or 0) for part in found.groups())
    return (major * 1000 + minor) * 1000 + patch


def inspect_file(arguments: argparse.Namespace) -> None:
    """Say what a file is."""
    public_key = _named(arguments.public, packages_keys.load_public) if arguments.public else None
    base = arguments.base.read_bytes() if arguments.base else None
    report = packages_inspect.inspect(arguments.file.read_bytes(), public_key, base)
    print(f"{arguments.file}: {report}")
    if report.problems:
        sys.exit(1)


def _sound(data: bytes) -> packages_plain.Plain:
    if packages.is_package(data):
        raise PackageError("this is a package: give the plain file that it was made from")
    return packages_plain.sound(data)


def _named(path: Path, read: Callable[[bytes], T]) -> T:
    """Read a file's content; what is wrong with it is said with the file's name."""
    try:
        return read(path.read_bytes())
    except PackageError as error:
        raise PackageError(f"{path}: {error}") from error
