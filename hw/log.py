"""The log: every line goes to the console and to a file, whose name and content are in log_files.py.

The lines go into littlefs's own buffer, and in pieces of 128 bytes from there to the flash, where a flush makes them
part of the file. It takes an erase and copies the file (which is why that is short): it happens for a line that tells
a failure, before a reset, and when much would be lost without.
"""

import sys
import time

from micropython import const

_FULL = const(3900)  # bytes in a file: with the line that makes it full it fits into one block of 4,096
_AT_RISK = const(1536)  # bytes that a power cut may cost


def start(file, clock, forget):
    """Return the function line(*words), which prints a line to the console and to the log.

    line(error) prints an exception; line() makes all of the log safe from a reset or power cut. It never fails: when
    the file system does, only the console gets the lines. file: of log_files.begin(). clock.now() gives Unix seconds
    or None. forget(module name) is called when a module has done its part.
    """
    safe = 0

    def line(*words):
        nonlocal file, safe
        text = words[-1] if words else ""
        error = text if isinstance(text, Exception) else None
        if error:
            sys.print_exception(error)
        elif words:
            print(*words)
        if file:
            try:
                if error:
                    sys.print_exception(error, file)
                elif words:
                    print(clock.now() or time.ticks_ms() // 1000, *words, file=file)  # type: ignore[operator]
                position = file.tell()
                if position > _FULL:
                    from . import log_files

                    file.close()
                    file = log_files.following()
                    safe = 0
                    forget("hw.log_files")
                elif (
                    error
                    or not words
                    or position - safe > _AT_RISK
                    # "DownloadFailed: connection lost" and its like; not "no connection: TLS failed", again and again.
                    or (isinstance(text, str) and -1 < text.find("ailed") < text.find(":"))
                ):
                    file.flush()
                    safe = position
            except OSError:
                file = None
            except MemoryError:
                pass  # the line may be in the file in part

    return line
