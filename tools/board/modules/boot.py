"""What MicroPython runs after _boot.py. The application is frozen into the image, so there is none to be found:

- a firmware on trial has 60 s for its first sign of life, and a soft reset ends its trial;
- else the watchdog has an hour: main.py shortens it, and a person at the prompt is left in peace that long;
- a developer's copy on the file system, main.py included, takes the place of what is frozen if there is a file or
  folder /dev, and no firmware is on trial.
"""

import os
import sys

import machine
import starting
from esp32 import Partition


def start():
    """Set the watchdog and the order in which modules are looked for; keep a copy of config.json."""
    running = Partition(Partition.RUNNING).info()[4]
    on_trial = starting.on_trial()
    if on_trial and machine.reset_cause() == machine.SOFT_RESET:
        starting.go_back("%s: soft reset" % running)
    machine.WDT(timeout=60000 if on_trial else 3600000)  # ms without a sign of life
    if not on_trial and "dev" in os.listdir("/"):
        sys.path.insert(0, sys.path.pop())
        print("[BOOT] /dev: the copy on the VFS runs, whatever %s holds" % running)
        return
    from version import VERSION

    print("[BOOT] %s: application %s" % (running, VERSION))
    if not on_trial:
        import config_copy

        config_copy.save()


try:
    start()
except Exception as error:
    print("[BOOT] %r" % error)
for name in ("config_copy", "starting"):
    sys.modules.pop(name, None)
del name, start, starting  # main.py gets their memory
