"""Runs the application: the frozen one, or if boot.py has left the file system in front, the developer's copy there."""

import os
import sys

if sys.path[0] == "" and "main.py" in os.listdir("/"):
    execfile("/main.py")  # noqa: F821
else:
    import application  # noqa: F401  # the repository's main.py, see manifest.py
