"""First code after reset: finds the application of the running OTA slot, mounts it and changes into it.

This file stays on the VFS for good; no update replaces it. So it needs nothing but MicroPython, always returns, and
whatever the slots (see tools/build.py) hold it never makes the charger reset in circles. How an application's files are
laid out it leaves to the code that comes with them, in the header of the bundle (firmware/archive.py):

- a firmware on trial gets a watchdog from here on, so that a hang before the application's first line ends the trial;
- a missing or damaged application or a soft reset ends the trial at once: a hard reset makes the bootloader go back;
- without a trial the other slot is tried, if all of it checks and it has not failed before, then the copy on the VFS;
- what then remains is MicroPython's prompt on the serial console, no watchdog, and what was found in print;
- a file or folder /dev puts the copy on the VFS in front of what is confirmed: for developers;
- a soft reset means that somebody is at the prompt: the watchdog, which can't be stopped, gives them an hour.
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


def find_bundle(partition):
    """Return the application of a slot as a file system; ValueError when it is missing or damaged."""
    start = (image_end(partition) + 4095) // 4096 * 4096
    if start + 4096 > partition.info()[3]:
        raise ValueError("no application")
    magic, layout, files, length, version, digest = struct.unpack("<8sHHI32s32s", read(partition, start, 80))
    if magic != b"ARUSAPP\0" or layout != 2:
        raise ValueError("no application")
    payload = start + 4096
    if sha256(partition, start, 4064) != read(partition, payload - 32, 32) or payload + length > partition.info()[3]:
        raise ValueError("damaged application header")
    if sha256(partition, payload, length) != digest:
        raise ValueError("damaged application")
    names = {}
    opt_level(3)  # line numbers would stay in memory
    try:
        exec(bytes(read(partition, start + 80, 3984)).rstrip(b"\xff"), names)
        archive = names["Archive"](partition, payload, files, length)
        archive.stat("main.py")
    except Exception:
        raise ValueError("damaged application")
    finally:
        opt_level(0)
    print("[BOOT] %s: application %s" % (partition.info()[4], version.rstrip(b"\0").decode()))
    return archive


def slot_states(slots):
    """Return {slot index: state of its newest otadata record} and the index of the active one (None: no record)."""
    states = {}
    active = None
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
    slots = [p.info()[1] & 0xF for p in Partition.find(Partition.TYPE_APP) if p.info()[1] & 0xF0 == 0x10]
    states, active = slot_states(len(slots))
    index = running.info()[1] - 0x10
    on_trial = index == active and states[index] == 1  # PENDING
    is_soft = machine.reset_cause() == machine.SOFT_RESET
    if on_trial or is_soft:
        machine.WDT(timeout=3600000 if is_soft else 60000)  # ms without a sign of life
    try:
        if on_trial and is_soft:
            raise ValueError("soft reset")
        if not on_trial and "dev" in os.listdir("/"):
            print("[BOOT] /dev: the copy on the VFS runs, whatever %s holds" % running.info()[4])
            return
        import vfs

        vfs.mount(find_bundle(running), "/app", readonly=True)
        os.chdir("/app")
        return
    except Exception as error:  # whatever it is, this slot's application can't run
        print("[BOOT] %s: %s" % (running.info()[4], error))
    if on_trial:
        print("[BOOT] going back to the firmware before this one")
        machine.reset()
    other = running.get_next_update()
    if other.info() == running.info():
        return
    try:
        state = states.get(other.info()[1] - 0x10)
        if state in (1, 3, 4):  # PENDING though it doesn't run: the bootloader refused it
            raise ValueError("failed its trial")
        vfs.mount(find_bundle(other), "/app", readonly=True)
        os.chdir("/app")  # all that it will have to do itself
        other.set_boot()
        if state == 2:  # VALID: it has proved itself, and there is nothing to go back to
            Partition.mark_app_valid_cancel_rollback()
        print("[BOOT] starting it instead")
        machine.reset()
    except Exception as error:
        print("[BOOT] %s: %s" % (other.info()[4], error))
        os.chdir("/")


try:
    start()
except Exception as error:
    print("[BOOT] %r" % error)
nothing = "no application that can run: install one by USB (README.md); machine.reset() looks again"
if os.getcwd() == "/":
    print("[BOOT]", "using the copy on the VFS" if "main.py" in os.listdir() else nothing)
del read, sha256, image_end, find_bundle, slot_states, start, nothing  # main.py gets their memory
