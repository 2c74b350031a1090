"""The files of the log: the lines of this boot and of the one before it.

Each boot has a number and two files, which the boot after the next one takes over: its log begins in the first of them
and goes on in turns in the second and the first, so that what is lost is what is oldest. Until a file is flushed its
old content stays, so that boots which come to nothing cost nothing.
"""

import os

from micropython import const

_PATH = "/log_%d.txt"
_WATCHDOG = const(3)
_CAUSES = ("unknown", "power on", "hard reset", "watchdog", "deep sleep", "soft reset")  # machine.reset_cause()


def words(cause):
    """Say what machine.reset_cause() gives."""
    return _CAUSES[cause] if 0 <= cause < len(_CAUSES) else str(cause)


def begin(cause):
    """Begin the log of this boot: return its file, None if the file system refuses. cause: machine.reset_cause()."""
    print("[MAIN] reset cause: " + words(cause))
    boot = 1
    for newest, _, _ in _files():
        boot = newest + 1
    file = _begin(boot, 0, words(cause))
    if file and cause == _WATCHDOG:
        file.flush()  # that is worth knowing, even if it happens again at once
    return file


def following():
    """Go on with the log of this boot, whose file is full and closed: return the next one, None if that is refused."""
    files = _files()
    if not files:
        return None
    boot, part, number = files[-1]
    with open(_PATH % number) as file:
        cause = file.readline().strip().rpartition(": ")[2]
    return _begin(boot, part + 1, cause)


def _begin(boot, part, cause):
    try:
        file = open(_PATH % (boot % 2 * 2 + part % 2), "w")  # noqa: SIM115
        print("Boot %d.%d, reset cause: %s" % (boot, part, cause), file=file)
        return file
    except (OSError, MemoryError):
        return None


def reader(flush=lambda: None):
    """Return (length, read) of the log as it is on flash: in bytes, of this boot and the one before it.

    read(view) fills a memoryview as far as it can and returns the number of bytes; 0: that was all. It gives `length`
    bytes, whatever becomes of the files meanwhile: what they lack by then is made up with line feeds. flush() brings
    the lines so far to flash.
    """
    flush()
    files = _files()
    files = [(number, os.stat(_PATH % number)[6]) for boot, _, number in files if boot >= files[-1][0] - 1]
    index = position = 0

    def read(view):
        nonlocal index, position
        while index < len(files) and position == files[index][1]:
            index += 1
            position = 0
        if index == len(files):
            return 0
        number, size = files[index]
        view = view[: min(len(view), size - position)]
        # Opened for each piece: the log goes on, and may even take over the file.
        with open(_PATH % number, "rb") as file:
            file.seek(position)
            count = file.readinto(view)
        for i in range(count, len(view)):
            view[i] = 10
        position += len(view)
        return len(view)

    return sum(size for _, size in files), read


def _files():
    """Return [(boot, part, number of the file)] of the files that are there, the newest last."""
    files = []
    for number in range(4):
        try:
            with open(_PATH % number) as file:
                boot, _, part = file.read(40).split(",")[0].split()[1].partition(".")
            files.append((int(boot), int(part), number))
        except (OSError, ValueError, IndexError):
            pass  # not there yet, or no log of ours
    files.sort()
    return files
