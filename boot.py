"""First code after reset: finds the application of the running OTA slot, mounts it and changes into it.

This file stays on the VFS for good; no update replaces it. So it needs nothing but MicroPython, always returns, and
whatever the slots hold it never resets in circles. The code that reads a bundle comes with it (firmware/archive.py).

- A firmware on trial gets a watchdog from here on. A missing or damaged application or a soft reset ends its trial: a
  hard reset makes the bootloader go back.
- Without a trial the other slot is tried, if all of it checks and it has not failed before, then /application.bin, a
  bundle on the VFS, then main.py there; else MicroPython's prompt remains, no watchdog, and what was found in print.
- A file or folder /dev puts main.py of the VFS in front of what is confirmed, for developers. A soft reset means that
  somebody is at the prompt: the watchdog, which can't be stopped, gives them an hour.
"""

import binascii
import os
import struct

import machine
from esp32 import Partition
from micropython import opt_level


def read(partition, position, length):
    """Return `length` bytes of a partition."""
    buffer = bytearray(length)
    partition.readblocks(0, buffer, position)
    return buffer


def sha256(partition, position, length):
    """Return the SHA-256 of a part of a partition that starts on a block."""
    import hashlib  # behind the start of the watchdog, and "vfs" likewise: a new MicroPython may lack it

    digest = hashlib.sha256()
    buffer = memoryview(bytearray(4096))
    for start in range(0, length, 4096):
        part = buffer[: min(4096, length - start)]
        partition.readblocks((position + start) // 4096, part)
        digest.update(part)
    return digest.digest()


def image_end(partition):
    """Return where the application image of a slot ends; ValueError when there is none."""
    header = read(partition, 0, 24)
    if header[0] != 0xE9:
        raise ValueError("no image")
    position = 24
    for _ in range(header[1]):
        position += 8 + struct.unpack("<I", read(partition, position + 4, 4))[0]
        if position >= partition.info()[3]:
            raise ValueError("damaged image")
    return (position // 16 + 1) * 16 + 32 * header[23]


class Copy:
    """The copy of the application on the VFS, as if it were a partition."""

    file = None

    def info(self):
        return 0, 0, 0, 1 << 30, "/application.bin"

    def readblocks(self, block, buffer, offset=0):
        self.file = self.file or open("/application.bin", "rb")  # noqa: SIM115
        self.file.seek(4096 * block + offset)
        self.file.readinto(buffer)


def change_into(partition, path):
    """Mount the application of a slot, or the copy, at `path` and change into it; ValueError: missing or damaged."""
    _, _, _, size, label = partition.info()[:5]
    start = (image_end(partition) + 4095) // 4096 * 4096 if label[0] != "/" else 0
    if start + 4096 > size or read(partition, start, 8) != b"ARUSAPP\0":
        raise ValueError("no application")
    layout, files, length, version, digest = struct.unpack("<HHI32s32s", read(partition, start + 8, 72))
    payload = start + 4096
    if layout != 2 or sha256(partition, start, 4064) != read(partition, payload - 32, 32) or payload + length > size:
        raise ValueError("damaged application header")
    if sha256(partition, payload, length) != digest:
        raise ValueError("damaged application")
    names = {}
    opt_level(3)  # line numbers would stay in memory
    try:
        import vfs

        exec(bytes(read(partition, start + 80, 3984)).rstrip(b"\xff"), names)
        vfs.mount(names["Archive"](partition, payload, files, length), path, readonly=True)
        os.stat(path + "/main.py")
        os.chdir(path)
    except Exception:
        raise ValueError("damaged application")
    finally:
        opt_level(0)
    print("[BOOT] %s: application %s" % (label, version.rstrip(b"\0").decode()))


def slot_states(slots):
    """Return {slot index: state of its newest otadata record} and the index of the active one (None: no record)."""
    states, active = {}, None
    otadata = Partition.find(Partition.TYPE_DATA, 0)[0]
    for sequence, _, state, crc in sorted(struct.unpack("<I20sII", read(otadata, 4096 * i, 32)) for i in range(2)):
        if sequence != 0xFFFFFFFF and crc == binascii.crc32(struct.pack("<I", sequence), 0xFFFFFFFF):
            states[(sequence - 1) % slots] = state
            if state not in (3, 4):  # INVALID, ABORTED
                active = (sequence - 1) % slots
    return states, active


def start():
    """Find the application, or what comes closest to it, and change into it."""
    running = Partition(Partition.RUNNING)
    states, active = slot_states(sum(p.info()[1] >> 4 == 1 for p in Partition.find(Partition.TYPE_APP)))
    on_trial = running.info()[1] - 0x10 == active and states[active] == 1  # PENDING
    is_soft = machine.reset_cause() == machine.SOFT_RESET
    if on_trial or is_soft:
        machine.WDT(timeout=3600000 if is_soft else 60000)  # ms without a sign of life
    if not on_trial and "dev" in os.listdir("/"):
        return print("[BOOT] /dev: the copy on the VFS runs, whatever %s holds" % running.info()[4])
    for number, slot in enumerate((running, running.get_next_update(), Copy())):
        state = states.get(slot.info()[1] - 0x10)
        try:
            if on_trial and is_soft:
                raise ValueError("soft reset")
            if number == 1 and state in (1, 3, 4):  # PENDING though it doesn't run: the bootloader refused it
                raise ValueError("failed its trial")
            change_into(slot, "/app%s" % (number or ""))
            if number != 1:
                return None
            slot.set_boot()
            if state == 2:  # VALID: it has proved itself, and there is nothing to go back to
                Partition.mark_app_valid_cancel_rollback()
            print("[BOOT] starting it instead")
            machine.reset()
        except Exception as error:  # whatever it is, this application can't run
            os.chdir("/")
            print("[BOOT] %s: %s" % (slot.info()[4], error))
        if on_trial:
            print("[BOOT] going back to the firmware before this one")
            machine.reset()


try:
    start()
except Exception as error:
    print("[BOOT] %r" % error)
if os.getcwd() == "/":
    print("[BOOT]", "using the copy on the VFS" if "main.py" in os.listdir() else "no application that can run")
del read, sha256, image_end, change_into, slot_states, start  # main.py gets their memory
