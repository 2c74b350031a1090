"""A longer update file, made while the heap still has the room to do it: import this before what is large."""

import update_files

LONG = update_files.join(update_files.image(), update_files.bundle(payload=bytes(8192)))
