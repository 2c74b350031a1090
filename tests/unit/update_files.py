"""Small but whole update files for the tests, as tools/build.py lays them out."""

import struct
from hashlib import sha256

CAPACITY = 64 * 1024


def image(chip_id=0, project=b"", version=b"", body=200, has_digest=1, magic=0xE9, descriptor=0xABCD5432):
    """Return an application image with two segments."""
    description = struct.pack("<II8s32s32s176s", descriptor, 0, b"", version, project, b"")
    segments = [description, bytes(i & 0xFF for i in range(body & ~3))]
    header = struct.pack("<BBBBIB3sHBHH4sB", magic, 2, 2, 0x20, 0, 0, b"", chip_id, 0, 0, 0xFFFF, b"", has_digest)
    data = header + b"".join(struct.pack("<II", 0, len(segment)) + segment for segment in segments)
    data += bytes(15 - len(data) % 16)
    checksum = 0xEF
    for segment in segments:
        for byte in segment:
            checksum ^= byte
    data += bytes([checksum])
    return data + sha256(data).digest() if has_digest else data


def bundle(version=b"2.0", payload=b"application" * 300):
    """Return an application bundle; its payload is no archive, which only boot.py would mind."""
    payload = payload + bytes(-len(payload) % 4096)
    header = struct.pack("<8sHHI32s32s", b"ARUSAPP\0", 2, 1, len(payload), version, sha256(payload).digest())
    header += b"\xff" * (4096 - 32 - len(header))
    return header + sha256(header).digest() + payload


def join(application_image, application_bundle):
    """Return the update file."""
    return application_image + b"\xff" * (-len(application_image) % 4096) + application_bundle


def update_file(**keywords):
    """Return an update file of about 12 KB, or more with body=…"""
    return join(image(**keywords), bundle())
