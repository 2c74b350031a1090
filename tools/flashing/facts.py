"""What is on a board: asked at its prompt, and judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from environment import OLDEST_MICROPYTHON
from flashing.board import Board
from flashing.errors import FlashError

# The image's end is found as boot.py finds it. JSON, as one line: see Facts.
SCRIPT = """
import json, os, sys
def ask():
    import esp32
    P = esp32.Partition
    def read(p, position, n):
        data = bytearray(n)
        p.readblocks(0, data, position)
        return data
    def word(data, at):
        return data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24
    def text(data):
        return bytes(data).split(b"\\0")[0].decode()
    def holds(p):
        size = p.info()[3]
        head = read(p, 0, 24)
        if head[0] != 0xE9:
            return [0, ""]
        at = 24
        for _ in range(head[1]):
            at += 8 + word(read(p, at + 4, 4), 0)
            if at >= size:
                return [0, ""]
        end = ((at // 16 + 1) * 16 + 32 * head[23] + 4095) // 4096 * 4096
        if end + 4096 <= size:
            bundle = read(p, end, 48)
            if bundle[:8] == b"ARUSAPP\\0":
                return [end, text(bundle[16:48])]
        return [end, ""]
    running = P(P.RUNNING)
    table = [list(p.info()[:5]) for p in P.find(P.TYPE_APP) + P.find(P.TYPE_DATA)]
    slots = {p.info()[4]: holds(p) for p in P.find(P.TYPE_APP) if 0x10 <= p.info()[1] < 0x20}
    head = read(running, 0, 0x70)
    return {"table": table, "running": running.info()[4], "slots": slots,
        "project": text(head[0x50:]) if word(head, 0x20) == 0xABCD5432 else "", "chip": head[12] | head[13] << 8}
def nvs():
    try:
        import esp32
        record = bytearray(8192)
        store = esp32.NVS("arus")
        return "AuthorizationKey" in json.loads(bytes(record[:store.get_blob("configuration", record)]))
    except Exception:
        return False
def config():
    try:
        with open("/config.json") as f:
            return f.read()
    except OSError:
        return None
    except ValueError:
        return "no text"
found = {"version": list(sys.implementation[1][:3]), "machine": getattr(sys.implementation, "_machine", "")}
try:
    found.update(ask())
except ImportError:
    pass
found["room"] = list(os.statvfs("/")[:5])
found["names"] = os.listdir("/")
found["config"] = config()
found["keyed"] = nvs()
print(json.dumps(found))
"""

# Removes a key that the central system has set, so that the password of config.json counts again.
FORGET_KEY = """
import esp32, json
record = bytearray(8192)
store = esp32.NVS("arus")
keys = json.loads(bytes(record[:store.get_blob("configuration", record)]))
keys.pop("AuthorizationKey", None)
store.set_blob("configuration", json.dumps(keys))
store.commit()
"""

FORMAT = """
import os, vfs
from esp32 import Partition
partition = Partition.find(Partition.TYPE_DATA, label="vfs")[0]
os.chdir("/")
try:
    vfs.umount("/")
except OSError:
    pass
vfs.VfsLfs2.mkfs(partition)
vfs.mount(partition, "/")
"""


@dataclass(frozen=True)
class Facts:
    """What a board is and has.

    table: (type, subtype, address, size, label) of each partition. slots: label -> (where the image ends, 0: none;
    version of the application behind it, "": none). room: as os.statvfs has it. names: the root of the VFS. config: the
    text of config.json. keyed: the central system has set AuthorizationKey.
    """

    version: tuple[int, ...]
    machine: str
    table: Sequence[Sequence[Any]]
    running: str
    slots: dict[str, tuple[int, str]]
    project: str
    chip: int
    room: Sequence[int]
    names: Sequence[str]
    config: str | None
    keyed: bool

    @property
    def is_production(self) -> bool:
        """Whether the application is frozen into the image."""
        return self.project == "Arus"

    @property
    def is_mounted(self) -> bool:
        """Whether there is a file system that works."""
        return bool(self.room[2])

    @property
    def free(self) -> int:
        """Bytes that are free on the VFS."""
        return self.room[0] * self.room[3]

    @property
    def in_front(self) -> str:
        """Version of the application in the running slot, which runs instead of the copy on the VFS; "" if none."""
        return self.slots.get(self.running, (0, ""))[1]

    def slot_room(self) -> int:
        """Bytes that the smallest slot has behind the image that runs, for the application of an update."""
        end = self.slots.get(self.running, (0, ""))[0]
        return min(int(size) - end for _, _, _, size, label in self.table if label in self.slots)

    def describe(self) -> str:
        """Return it in a line."""
        sizes = [size for _, _, _, size, label in self.table if label in self.slots]
        slots = f", {len(sizes)} OTA slots of {min(sizes) // 1024:,} KiB" if sizes else ""
        kind = "Arus production image, " if self.is_production else ""
        return f"{kind}MicroPython {dotted(self.version)}, {self.machine}{slots}"


def ask(board: Board) -> Facts:
    """Ask the board at its prompt."""
    found = json.loads(board.run(SCRIPT, 30))
    if "running" not in found:
        raise FlashError(
            f"this is MicroPython {dotted(found['version'])} on {found['machine'] or 'some machine'}, but none for "
            "ESP32: is it the right port? (--port)"
        )
    found["slots"] = {label: (end, version) for label, (end, version) in found["slots"].items()}
    return Facts(**{**found, "version": tuple(found["version"])})


def judge(facts: Facts, bundle: int, *, formats: bool = False) -> list[str]:
    """FlashError if no charger can be made of this board as it is; return what else the user should know.

    bundle: bytes that an update brings behind MicroPython's image. formats: there will be a new file system.
    """
    if facts.version < OLDEST_MICROPYTHON:
        raise FlashError(
            f"MicroPython {dotted(facts.version)} is on the board, {dotted(OLDEST_MICROPYTHON)} or newer is needed: "
            "download one for your chip and give it with --micropython FILE"
        )
    if len(facts.slots) < 2:
        raise FlashError(
            "the MicroPython on this board has no two OTA slots, so it could never be updated over the air: give the "
            "file whose name has OTA in it with --micropython FILE, or any other, which is laid out anew then"
        )
    if not facts.is_mounted and not formats:
        raise FlashError(
            "the file system of this board is damaged: --format makes a new one; all that the charger kept is lost"
        )
    if not facts.is_production and facts.slot_room() < bundle:
        return [
            f"an update needs {bundle // 1024} KiB behind MicroPython, and the slots of this board have "
            f"{max(0, facts.slot_room()) // 1024}: it can't be updated over the air until its MicroPython is laid out "
            "anew (--micropython FILE)"
        ]
    return []


def dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
