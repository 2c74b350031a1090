"""What MicroPython runs first, before boot.py: the file system is mounted, whatever it takes (file_system.py).

It takes the place of MicroPython's own _boot.py, which waits for ever, without a watchdog, when the file system can't
be read. Files on the file system, such as an older application, never shadow what is frozen: they are looked for last.
"""

import sys

import machine

sys.path.remove("")
sys.path.append("")
try:
    machine.WDT(timeout=60000)  # ms; boot.py sets it anew
    import file_system

    file_system.mount()
except Exception as error:  # such as a flash that can't be written: the application says what it lacks
    print("[BOOT] no file system: %r" % error)
for name in ("file_system", "config_copy"):
    sys.modules.pop(name, None)
del name
