"""VERSION, of the image that this is frozen into: tools/build.py image writes it into the application descriptor."""

from esp32 import Partition

_field = bytearray(32)
Partition(Partition.RUNNING).readblocks(0, _field, 48)
VERSION = bytes(_field).rstrip(b"\0").decode()
