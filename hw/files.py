"""Files of the charger's own on the VFS, a littlefs: each change of one happens as a whole or not at all.

littlefs shows what was written to a file when it is closed and not before, and puts a file of up to 128 bytes next to
its name: such a file costs no block of its own, and a change of it costs no erase, mostly.
"""

import errno
import os


class Files:
    """Text files in a folder, which is made if it is not there. A name may have a folder in front: "folder/name"."""

    def __init__(self, folder):
        self.root = folder + "/"
        _make(folder)

    def lines(self, name):
        """Yield the lines of a file without their line feeds; none if there is no such file."""
        file = self._open(name, "r")
        if file:
            with file:
                for line in file:
                    yield line.rstrip("\n")

    def read(self, name):
        """Return the bytes of a file, None if there are none."""
        file = self._open(name, "rb")
        if not file:
            return None
        with file:
            return file.read() or None

    def write(self, name, pieces):
        """Write a file: str as it is, or what an iterable of str gives, for what shall not be in memory at once.

        It is durable on return. After an OSError, a power cut, or an error of the iterable the old file is there as it
        was; one that was not there before may be there, empty, which nobody can tell from none.
        """
        path = self.root + name
        # An iterable may fail, and a file can only be closed: so it is another one that is given up then.
        new = path if isinstance(pieces, str) else path + ".new"
        try:
            file = open(new, "w")  # noqa: SIM115
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            _make(new.rpartition("/")[0])
            file = open(new, "w")  # noqa: SIM115
        with file:
            for piece in (pieces,) if new is path else pieces:
                file.write(piece)
        if new is not path:
            os.rename(new, path)

    def remove(self, name):
        """Remove a file, if it is there."""
        try:
            os.remove(self.root + name)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def names(self, folder=""):
        """Return the names of the files, or of those in a folder in the folder; removes what power cuts left over."""
        names = []
        try:
            for entry in os.ilistdir(self.root + folder):
                if entry[1] == 0x8000:
                    names.append(entry[0])
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        for name in names:
            if name.endswith(".new"):
                self.remove(folder + "/" + name if folder else name)
        return [name for name in names if not name.endswith(".new")]

    def _open(self, name, mode):
        try:
            return open(self.root + name, mode)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return None


def _make(folder):
    try:
        os.mkdir(folder)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
