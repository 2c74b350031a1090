"""Starts MicroPython on the simulated chip as the port for ESP32 does after a reset: `micropython -m launcher`.

The current directory is the chip's folder. With the name of a file as argument it executes that one instead.
"""

import gc
import os
import sys

import clock
import esp32
import machine
import network
import soc
import vfs
from state import CAUSE, SOFT_RESET, WATCHDOG, WIRED


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


def _run(name, namespace):
    """Execute a file of the current directory, if there is one; return whether it ended well."""
    try:
        os.stat(name)
    except OSError:
        return True
    try:
        execfile(name, namespace)  # noqa: F821
        return True
    except SystemExit:
        print("MPY: soft reboot")
        soc.leave(SOFT_RESET)
    except BaseException as error:
        sys.print_exception(error)
    return False


def _start():
    measuring = sys.argv[1] if len(sys.argv) > 1 else None
    partition = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="vfs")[0]
    vfs.umount("/")
    _mount(partition)
    sys.modules.clear()
    sys.modules.update({"esp32": esp32, "machine": machine, "network": network, "time": clock})
    sys.path[:] = ["", ".frozen", "/lib"]
    sys.argv.clear()
    if soc.state.get(CAUSE) == machine.SOFT_RESET and soc.state.get(WATCHDOG):
        machine.WDT(timeout=soc.state.get(WATCHDOG))  # it never stopped
    if soc.state.get(WIRED):
        machine.load_pins()
    gc.collect()
    if measuring:
        execfile(measuring, {})  # noqa: F821
        soc.leave(0)
    namespace = __import__("__main__").__dict__
    if _run("boot.py", namespace):
        _run("main.py", namespace)
    print("MicroPython, simulated ESP32: the REPL, and nobody there to type")
    while True:
        clock.sleep(3600)


_start()
