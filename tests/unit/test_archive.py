import os
import struct
import sys
import unittest

import vfs

from firmware.archive import Archive

START = 8192  # of the archive in the slot
FILES = {
    "empty.py": b"",
    "main.py": b"import parts\n" * 100,
    "parts-old.py": b"OLD = 1\n",
    "parts.py": b"NAME = 'a file'\n",
    "parts/deep/er.py": b"DEEPER = 3\n",
    "parts/deep/est.py": b"DEEPEST = 4\n",
    "parts/one.py": b"ONE = 1\n",
    "partsx.py": bytes(i & 0xFF for i in range(1000)),
}


class Slot:
    """A partition in memory that ends with the archive's last byte."""

    def __init__(self, archive):
        self.data = bytes(START) + archive

    def readblocks(self, block, buffer, offset=0):
        start = 4096 * block + offset
        if start + len(buffer) > len(self.data):
            raise OSError(-260)
        buffer[:] = self.data[start : start + len(buffer)]


def lay_out(files):
    """Return an archive as tools/build.py makes one, but for the padding."""
    index, content = b"", b""
    for path in sorted(files):
        index += struct.pack("<40sII", path.encode(), 48 * len(files) + len(content), len(files[path]))
        content += files[path]
    return index + content


def opened(files):
    data = lay_out(files)
    return Archive(Slot(data), START, len(files), len(data))


def content(archive, path, size=4096):
    """Read a file in pieces of `size`."""
    file = archive.open(path, "rb")
    found, buffer = b"", bytearray(size)
    while True:
        length = file.readinto(buffer)
        if not length:
            return found
        found += buffer[:length]


class TestArchive(unittest.TestCase):
    def refuse(self, number, function, *arguments):
        try:
            function(*arguments)
        except OSError as error:
            self.assertEqual(error.errno, number)
        else:
            self.assertTrue(False, "no error")

    def test_each_file_is_found_among_any_number_of_them(self):
        for number in range(1, 40):
            files = {"f%02d.py" % i: b"%d" % i for i in range(number)}
            archive = opened(files)
            for path in files:
                self.assertEqual(content(archive, path), files[path])
            for path in ("f", "f00", "f00.pyc", "f0", "a", "z", "f%02d.py" % number):
                self.refuse(2, archive.stat, path)

    def test_a_file_is_read_in_pieces_of_any_size(self):
        archive = opened(FILES)
        for size in (1, 7, 48, 249, 255, 999, 1000, 1001):
            self.assertEqual(content(archive, "partsx.py", size), FILES["partsx.py"])

    def test_nothing_is_read_of_an_empty_file(self):
        archive = opened(FILES)
        self.assertEqual(archive.stat("empty.py")[:7], (0x8000, 0, 0, 0, 0, 0, 0))
        self.assertEqual(content(archive, "empty.py"), b"")

    def test_a_file_at_the_end_of_the_slot_is_read_to_its_end(self):
        self.assertEqual(content(opened(FILES), "partsx.py", 4096), FILES["partsx.py"])
        self.assertEqual(content(opened({"last.py": b""}), "last.py"), b"")

    def test_a_path_may_begin_with_a_slash(self):
        archive = opened(FILES)
        self.assertEqual(content(archive, "/parts/one.py"), b"ONE = 1\n")
        self.assertEqual(archive.stat("/parts/deep")[0], 0x4000)

    def test_a_folder_is_one_whatever_lies_between_its_name_and_its_files(self):
        archive = opened({path: FILES[path] for path in FILES if path != "parts.py"})
        self.assertEqual(archive.stat("parts")[0], 0x4000)
        self.assertEqual(archive.stat("parts/deep")[0], 0x4000)
        for path in ("part", "parts/dee", "parts/deep/e", "parts/one", "parts-"):
            self.refuse(2, archive.stat, path)

    def test_the_root_is_a_folder_even_if_nothing_is_in_it(self):
        self.assertEqual(opened(FILES).stat("/")[0], 0x4000)

    def test_missing_files_folders_and_writing_are_refused(self):
        archive = opened(FILES)
        self.refuse(2, archive.open, "nothing.py", "rb")
        self.refuse(21, archive.open, "parts/deep", "rb")
        for mode in ("w", "wb", "a", "x", "r+", "rb+"):
            self.refuse(30, archive.open, "main.py", mode)
        self.refuse(1, archive.chdir, "/parts")
        self.refuse(2, list, archive.ilistdir("main.py"))

    def test_a_folder_is_listed_with_each_name_once(self):
        archive = opened(FILES)
        top = ["empty.py", "main.py", "parts-old.py", "parts.py", "parts", "partsx.py"]
        self.assertEqual([name for name, _, _ in archive.ilistdir("")], top)
        self.assertEqual(list(archive.ilistdir("/parts")), [("deep", 0x4000, 0), ("one.py", 0x8000, 0)])
        self.assertEqual([name for name, _, _ in archive.ilistdir("parts/deep")], ["er.py", "est.py"])

    def test_a_path_longer_than_a_record_is_not_found(self):
        archive = opened({"a" * 39: b"1", "b": b"2"})
        self.assertEqual(content(archive, "a" * 39), b"1")
        for length in (38, 40, 47, 48, 49, 200):
            self.refuse(2, archive.stat, "a" * length)

    def test_an_index_with_nonsense_in_any_field_is_damaged(self):
        good = lay_out(FILES)
        end, last = len(good), 48 * (len(FILES) - 1)
        changes = (
            (0, bytes(40)),  # no path
            (0, b"\xff"),  # not in order
            (48, b"empty.py" + bytes(32)),  # twice the same
            (48 + 8, b"x" * 32),  # a path without an end
            (40, struct.pack("<I", 0)),  # in the index
            (40, struct.pack("<I", 0xFFFFFFFF)),
            (48 + 40, struct.pack("<I", 48 * len(FILES) + 1)),  # a gap
            (44, struct.pack("<I", 1)),
            (last + 40, struct.pack("<I", end)),
            (last + 44, struct.pack("<I", 1001)),  # longer than the archive
            (last + 44, struct.pack("<I", 0xFFFFFFFF)),
        )
        for position, field in changes:
            data = good[:position] + field + good[position + len(field) :]
            with self.assertRaises(ValueError):
                Archive(Slot(data), START, len(FILES), end)

    def test_a_number_of_files_that_the_index_does_not_have_is_damaged(self):
        data = lay_out(FILES)
        data += b"\xff" * (-len(data) % 4096)
        for files in (0, len(FILES) - 1, len(FILES) + 1, len(data) // 48, len(data) // 48 + 1, 0xFFFF):
            with self.assertRaises(ValueError):
                Archive(Slot(data), START, files, len(data))

    def test_micropython_imports_from_it_and_lists_it(self):
        vfs.mount(opened(FILES), "/archive", readonly=True)
        before, path = os.getcwd(), sys.path[:]
        try:
            os.chdir("/archive")
            self.assertEqual(os.getcwd(), "/archive")
            self.assertEqual(os.listdir("parts"), ["deep", "one.py"])
            self.assertEqual(os.listdir(), os.listdir("/archive"))
            self.assertEqual(os.stat("main.py")[6], 1300)
            sys.path[:] = [""]
            import parts.deep.est

            self.assertEqual(parts.deep.est.DEEPEST, 4)
            self.assertEqual(open("main.py").readinto(bytearray(2000)), 1300)  # noqa: SIM115
            with self.assertRaises(ImportError):
                import parts.two
            with self.assertRaises(OSError):
                open("/archive/main.py", "w")  # noqa: SIM115
        finally:
            sys.path[:] = path
            os.chdir(before)
            vfs.umount("/archive")


if __name__ == "__main__":
    unittest.main()
