"""A copy of what the charger needs to connect, in the partition "config": for the day when its file system is lost.

That is config.json and the files that it names, ca and firmware_key. The copy is renewed when they have changed, and
only by a config.json with which a charger could connect. It is put back when there is no config.json: whoever wants to
be rid of one for good erases this partition too.

Layout: a header with magic, length and SHA-256; then of each file the lengths of its name and of its content, the name,
the content; config.json last, as it is what tells whether all is there.
"""

import json
import os
import struct
from hashlib import sha256

from esp32 import Partition

_HEADER = "<8sI32s"
_HEADER_SIZE = 44
_MAGIC = b"ARUSCONF"
_FILE = "<BI"
_FILE_SIZE = 5
_ERASE = 6


def _partition():
    found = Partition.find(Partition.TYPE_DATA, label="config")
    return found[0] if found else None


def _read(partition):
    """Return the record without its header, b"" if there is no sound one."""
    header = bytearray(_HEADER_SIZE)
    partition.readblocks(0, header)
    magic, length, digest = struct.unpack(_HEADER, header)
    if magic != _MAGIC or length > partition.info()[3] - _HEADER_SIZE:
        return b""
    record = bytearray(length)
    partition.readblocks(0, record, _HEADER_SIZE)
    return record if sha256(record).digest() == digest else b""


def save():
    """Renew the copy if the files have changed."""
    partition = _partition()
    record = _collect()
    if not partition or not record or record == _read(partition):
        return
    if _HEADER_SIZE + len(record) > partition.info()[3]:
        print("[BOOT] config.json and the files that it names are too large for a copy")
        return
    for sector in range((_HEADER_SIZE + len(record) + 4095) // 4096):
        partition.ioctl(_ERASE, sector)
    partition.writeblocks(0, record, _HEADER_SIZE)
    # Last: without it a record that the power cut short does not count.
    partition.writeblocks(0, struct.pack(_HEADER, _MAGIC, len(record), sha256(record).digest()), 0)
    print("[BOOT] config.json: copy renewed")


def _collect():
    """Return the record of the files as they are now, b"" without a config.json to connect with."""
    try:
        with open("/config.json", "rb") as file:
            content = file.read()
        config = json.loads(content)
    except (OSError, ValueError):
        return b""
    if not isinstance(config, dict) or content.rstrip()[-1:] != b"}":  # MicroPython's json takes half an object, too
        return b""
    if not config.get("csms") or not config.get("wifi"):
        return b""
    record = b""
    for field in ("ca", "firmware_key"):
        name = config.get(field)
        if isinstance(name, str) and name:
            try:
                with open("/" + name, "rb") as file:
                    record += _packed(name, file.read())
            except OSError:
                pass  # the application will say that it is missing
    return record + _packed("config.json", content)


def _packed(name, content):
    name = name.encode()
    return struct.pack(_FILE, len(name), len(content)) + name + content


def restore():
    """Write the files of the copy to the file system, config.json last; return their names."""
    partition = _partition()
    record = memoryview(_read(partition) if partition else b"")
    names = []
    while len(record):
        name_length, length = struct.unpack_from(_FILE, record)
        start = _FILE_SIZE + name_length
        name = bytes(record[_FILE_SIZE:start]).decode()
        folder = name.rpartition("/")[0]
        if folder and folder not in os.listdir("/"):
            os.mkdir("/" + folder)
        with open("/" + name, "wb") as file:
            file.write(record[start : start + length])
        names.append(name)
        record = record[start + length :]
    return names
