"""What is frozen into the running image, if it is one of build.frozen_image(): an archive behind its descriptor."""

import struct

import esp32

_HEADER = "<8sHHII"
_START = 288  # header of the image, of its first segment, and the application descriptor
_SIZE = 20


def find():
    """Return the archive as a file system, None for any other image."""
    running = esp32.Partition(esp32.Partition.RUNNING)
    header = bytearray(_SIZE)
    running.readblocks(0, header, _START)
    magic, layout, files, length, loader = struct.unpack(_HEADER, header)
    if magic == b"ARUSFRZN" and layout == 1:
        text, names = bytearray(loader), {}
        running.readblocks(0, text, _START + _SIZE)
        exec(bytes(text), names)
        return names["Archive"](running, _START + _SIZE + loader, files, length)
