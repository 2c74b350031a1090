"""Starts MicroPython on the simulated chip as the port for ESP32 does after a reset: `micropython -m launcher`.

The current directory is the chip's folder. With the name of a file as argument it executes that one instead.
"""

import gc
import os
import sys
from collections import namedtuple

import clock
import esp32
import frozen
import machine
import micropython
import network
import soc
import vfs
from state import CAUSE, INTERRUPTS, RAW, USES_PINS, WATCHDOG

# For the REPL and its messages, which on an ESP32 take next to none of the heap.
_ROOM = 16384 if sys.maxsize >> 32 else 10240
_SPARE = 4096  # what it needs while it reads
_room = bytearray(_ROOM)


class _Sys:
    """The module `sys` with the names of an ESP32."""

    platform = "esp32"
    implementation = namedtuple("implementation", ("name", "version", "_machine", "_mpy", "_build"))(
        *sys.implementation[:2], soc.MACHINE, sys.implementation._mpy, "ESP32_GENERIC"
    )

    def __getattr__(self, name):
        return getattr(sys, name)


def _mount(partition):
    """Mount the file system, or make one on a blank partition (_boot.py and inisetup.py of the port)."""
    try:
        vfs.mount(partition, "/")
    except OSError:
        first = bytearray(4096)
        partition.readblocks(0, first)
        while first != b"\xff" * 4096:
            print("The filesystem appears to be corrupted.")
            clock.sleep(3)
        print("Performing initial setup")
        vfs.VfsLfs2.mkfs(partition)
        vfs.mount(partition, "/")
        with open("boot.py", "w") as file:
            file.write("# Runs first after every reset.\n")


def _run(function, *arguments):
    """Call a function that Ctrl-C may interrupt; return whether it ended well."""
    global _room
    try:
        micropython.kbd_intr(3)
        soc.page[INTERRUPTS[0]] = 1
        try:
            function(*arguments)
        finally:
            soc.page[INTERRUPTS[0]] = 0
        return True
    except SystemExit:
        soc.soft_reset()
    except BaseException as error:
        _room = None
        gc.collect()
        soc.report(error)
    return False


def _execute(name, namespace):
    """Execute a file, if there is one: the frozen one or, if that is not there, the one of the current directory."""
    for path in ("/.frozen/" + name, name):
        try:
            os.stat(path)
        except OSError:
            continue
        return execfile(path, namespace)  # noqa: F821


def _start():
    global _room
    measuring = sys.argv[1] if len(sys.argv) > 1 else None
    partition = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="vfs")[0]
    vfs.umount("/")
    rom = None if measuring else frozen.find()
    if rom:
        vfs.mount(rom, "/.frozen", readonly=True)  # its _boot.py mounts the file system
    else:
        _run(_mount, partition)
    sys.modules.clear()
    sys.modules.update({"esp32": esp32, "machine": machine, "network": network, "sys": _Sys(), "time": clock})
    sys.path[:] = ["", "/.frozen", ".frozen", "/lib"] if rom else ["", ".frozen", "/lib"]
    sys.argv.clear()
    if soc.state.get(CAUSE) == machine.SOFT_RESET and soc.state.get(WATCHDOG):
        machine.WDT(timeout=soc.state.get(WATCHDOG))  # it never stopped
    if soc.state.get(USES_PINS):
        machine.load_pins()
    gc.collect()
    if measuring:
        execfile(measuring, {})  # noqa: F821
        soc.leave(0)
    namespace = __import__("__main__").__dict__
    if rom:
        _run(_execute, "_boot.py", namespace)
    if _run(_execute, "boot.py", namespace) and not soc.page[RAW[0]]:
        _run(_execute, "main.py", namespace)
    _room = None
    gc.collect()
    before = gc.mem_alloc()
    repl = soc.load("repl")
    gc.collect()
    try:
        _room = bytearray(max(0, _ROOM - _SPARE - gc.mem_alloc() + before))
    except MemoryError:
        pass  # the program has left nothing, and the rest is in pieces
    repl.run(namespace)


_start()
