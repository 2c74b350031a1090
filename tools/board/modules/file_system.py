"""Mounts the file system. A charger is alone at the roadside: nobody would answer a question.

A file system that can't be mounted three times in a row is formatted: nothing on it can be read any more, not by the
firmware before this one either. What the charger needs to connect is put back from its copy in another partition
(config_copy.py), so it is in service again by itself. Lost are the transactions and the log that were on it, which
nobody could have read; what the central system has configured is in NVS.

Only a firmware on trial does not format. It may be what is wrong, as a new MicroPython can come with a new driver: it
goes back, and the firmware before it sees for itself.
"""

import os
import time

import starting
import vfs
from esp32 import Partition


def mount():
    """Mount the file system, or a new one in its place, and put back config.json if it is missing."""
    partition = Partition.find(Partition.TYPE_DATA, label="vfs")[0]
    for _ in range(3):
        try:
            vfs.mount(vfs.VfsLfs2(partition), "/")
            break
        except OSError as error:
            reason = error.errno
            time.sleep_ms(100)
    else:
        _make(partition, reason)
    if "config.json" not in os.listdir("/"):
        import config_copy

        names = config_copy.restore()
        if names:
            print("[BOOT] put back from the copy: %s" % ", ".join(names))


def _make(partition, reason):
    if _is_blank(partition):
        print("[BOOT] there is no file system yet: making one")
    else:
        print("[BOOT] the file system can't be read (error %d)" % reason)
        if starting.on_trial():
            starting.go_back("a firmware on trial does not format it")
        print("[BOOT] formatting it; transactions and log are lost")
    vfs.VfsLfs2.mkfs(partition)
    vfs.mount(vfs.VfsLfs2(partition), "/")


def _is_blank(partition):
    """Return whether the first two sectors, which a file system begins with, are erased."""
    part = bytearray(64)
    for position in range(0, 8192, 64):
        partition.readblocks(0, part, position)
        if part != b"\xff" * 64:
            return False
    return True
