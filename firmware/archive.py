"""The application's files as a read-only file system, whose index stays in the slot (tools/UPDATE_FILES.md).

tools/build.py puts this text into the header of the bundle, and boot.py executes it there: so it fits 3,984 bytes,
needs nothing but MicroPython, and comes and goes with what it reads.
"""

import io
import struct


class File(io.IOBase):
    """A file for MicroPython's import: it is read once, from its start to its end."""

    def __init__(self, partition, start, end):
        self.partition, self.start, self.end = partition, start, end

    def readinto(self, buffer):
        if len(buffer) > self.end - self.start:
            buffer = memoryview(buffer)[: self.end - self.start]
        self.partition.readblocks(0, buffer, self.start)
        self.start += len(buffer)
        return len(buffer)

    def ioctl(self, operation, argument):
        return 0 if operation == 4 else 249 if operation == 11 else -22  # close, best size of a buffer, EINVAL


class Archive:
    """What vfs.mount() takes; ValueError if the index is damaged. An IOBase it would take for a file system in C."""

    def __init__(self, partition, start, files, length):
        self.partition, self.start, self.files = partition, start, files
        self.record = bytearray(48)
        path, end = bytes(40), 48 * files
        for i in range(files if end <= length else 0):
            last, (path, offset, size) = path, struct.unpack("<40sII", self.read(i))
            if path <= last or path[39] or offset != end:
                raise ValueError("damaged application")
            end += size
        if not files or end > length:
            raise ValueError("damaged application")

    def mount(self, *_):
        return "/"

    umount = getcwd = mount

    def chdir(self, path):
        if path.strip("/"):
            raise OSError(1)  # EPERM: every path is relative to the root

    def read(self, i):
        """Read a record of the index: path and zeros, u32 position, u32 length."""
        self.partition.readblocks(0, self.record, self.start + 48 * i)
        return self.record

    def find(self, key):
        """Read the first record that is not before `key`; return its number, or -1 if it begins otherwise."""
        start, end = 0, self.files
        while start < end:
            i = (start + end) // 2
            if self.read(i) < key:
                start = i + 1
            else:
                end = i
        return start if start < self.files and self.read(start)[: len(key)] == key else -1

    def stat(self, path):
        path = path.strip("/").encode()
        if self.find(path) >= 0:
            if path and not self.record[len(path)]:
                return 0x8000, 0, 0, 0, 0, 0, struct.unpack_from("<I", self.record, 44)[0], 0, 0, 0
            if self.find(path and path + b"/") >= 0:
                return 0x4000, 0, 0, 0, 0, 0, 0, 0, 0, 0
        raise OSError(2)  # ENOENT

    def open(self, path, mode):
        if mode.strip("rbt"):
            raise OSError(30)  # EROFS
        if self.stat(path)[0] != 0x8000:
            raise OSError(21)  # EISDIR
        start, size = struct.unpack_from("<II", self.record, 40)
        start += self.start
        return File(self.partition, start, start + size)

    def ilistdir(self, path):
        path = path.strip("/").encode()
        path = path and path + b"/"
        i, last = self.find(path), None
        if i < 0:
            raise OSError(2)
        while i < self.files and self.read(i)[: len(path)] == path:
            name, folder, _ = bytes(self.record[len(path) : 40]).partition(b"/")
            if name != last:
                yield name.rstrip(b"\0").decode(), 0x4000 if folder else 0x8000, 0
            last = name
            i += 1
