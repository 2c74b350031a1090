import os
import unittest

import vfs

from hw.files import Files

SIZE = 1024  # of a block: all is smaller than on the chip


class Flash:
    """A block device in memory."""

    def __init__(self):
        self.content = bytearray(32 * SIZE)
        self.erased = 0

    def readblocks(self, block, buffer, offset=0):
        start = block * SIZE + offset
        buffer[:] = memoryview(self.content)[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        start = block * SIZE + offset
        self.content[start : start + len(buffer)] = buffer

    def ioctl(self, command, argument):
        if command == 4:
            return len(self.content) // SIZE
        if command == 5:
            return SIZE
        if command == 6:
            self.erased += 1
        return 0


class OnFlash(unittest.TestCase):
    def setUp(self):
        self.flash = Flash()
        vfs.VfsLfs2.mkfs(self.flash)
        self.mount()

    def tearDown(self):
        vfs.umount("/flash")

    def mount(self):
        vfs.mount(vfs.VfsLfs2(self.flash, readsize=32, progsize=32, lookahead=32), "/flash")
        self.files = Files("/flash/data")

    def reset(self):
        vfs.umount("/flash")
        self.mount()

    def test_file_is_read_back_after_a_reset_as_it_was_written(self):
        self.files.write("text", "one\ntwo\n")
        self.files.write("pieces", (str(number) + "\n" for number in range(1000)))
        self.reset()
        self.assertEqual(self.files.read("text"), b"one\ntwo\n")
        self.assertEqual(list(self.files.lines("text")), ["one", "two"])
        self.assertEqual([int(line) for line in self.files.lines("pieces")], list(range(1000)))

    def test_last_line_needs_no_line_feed_and_lines_may_be_empty(self):
        self.files.write("text", "one\n\nü")
        self.assertEqual(list(self.files.lines("text")), ["one", "", "ü"])

    def test_file_that_is_not_there_has_no_lines_no_content_and_can_be_removed(self):
        for name in ("nothing", "folder/nothing"):
            self.assertEqual((list(self.files.lines(name)), self.files.read(name)), ([], None))
            self.files.remove(name)

    def test_names_are_those_of_a_folder(self):
        self.files.write("one", "1")
        self.files.write("folder/two", "2")
        names = [self.files.names(), self.files.names("folder"), self.files.names("no")]
        self.assertEqual(names, [["one"], ["two"], []])
        self.files.remove("folder/two")
        self.assertEqual(self.files.names("folder"), [])

    def test_new_content_takes_the_place_of_the_old_also_when_it_is_shorter(self):
        for content in ("long " * 500, "short", "", "again"):
            self.files.write("text", content)
            self.files.write("pieces", content.split(" "))
            self.assertEqual(self.files.read("text"), content.encode() or None)
            self.assertEqual(self.files.read("pieces"), content.replace(" ", "").encode() or None)
        self.assertEqual(sorted(self.files.names()), ["pieces", "text"])

    def test_error_of_what_gives_the_pieces_leaves_the_old_file(self):
        def pieces():
            yield "new"
            raise ValueError("no more")

        self.files.write("text", "old")
        self.assertRaises(ValueError, self.files.write, "text", pieces())
        self.assertEqual((self.files.read("text"), self.files.names()), (b"old", ["text"]))
        self.assertEqual(len(list(os.ilistdir("/flash/data"))), 1)  # nothing is left over

    def test_full_flash_is_an_error_and_leaves_the_old_file(self):
        for content in ("x" * 33_000, ("x" * 1000 for _ in range(33))):
            self.files.write("text", "old")
            self.assertRaises(OSError, self.files.write, "text", content)
            self.assertEqual(self.files.read("text"), b"old")
            self.assertEqual(self.files.names(), ["text"])
            self.files.write("other", "there is room again" * 50)
            self.files.remove("other")

    def test_change_of_a_small_file_erases_rarely(self):
        for number in range(100):
            self.files.write("text", "x" * 100 + str(number))
        self.assertTrue(self.flash.erased < 30, self.flash.erased)


if __name__ == "__main__":
    unittest.main()
