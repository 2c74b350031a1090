import gc
import os
import unittest

import vfs

from hw import log, log_files
from scripted import Clock

PATH = "/ram/log_%d.txt"
POWER_ON, RESET, WATCHDOG = 1, 2, 3


class Ram:
    """Flash in memory."""

    def __init__(self, blocks):
        self.blocks = [bytearray(4096) for _ in range(blocks)]
        self.operations = 0
        self.broken = False
        self.off = False

    def readblocks(self, block, buffer, offset=0):
        if self.off:
            return -5
        buffer[:] = memoryview(self.blocks[block])[offset : offset + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        self.operations += 1
        if self.broken or self.off:
            return -5
        self.blocks[block][offset : offset + len(buffer)] = buffer

    def ioctl(self, operation, argument):
        if operation == 6:
            self.operations += 1
        return {4: len(self.blocks), 5: 4096}.get(operation, 0)


FLASH = Ram(10)


def quiet(*words, file=None):
    """Print nothing on the console."""
    if file:
        print(*words, file=file)


log.print = quiet
log_files._PATH = PATH


class Log(unittest.TestCase):
    def setUp(self):
        self.flash = FLASH
        self.clock = Clock()
        self.forgotten = []
        vfs.VfsLfs2.mkfs(self.flash)
        vfs.mount(self.flash, "/ram")

    def tearDown(self):
        self.line = self.flush = None
        self.flash.off = True  # files that the garbage collector closes write nothing any more
        gc.collect()
        self.flash.off = False
        vfs.umount("/ram")

    def boot(self, cause=POWER_ON):
        """Start the log as after a reset: what was not flushed is gone."""
        self.tearDown()
        vfs.mount(self.flash, "/ram")
        self.line = self.flush = log.start(log_files.begin(cause), self.clock, self.forgotten.append)

    def lines(self):
        """Yield the lines of the log as an upload reads it."""
        left, read = log_files.reader()
        view = memoryview(bytearray(100))
        text = ""
        while True:
            count = read(view)
            if not count:
                break
            left -= count
            *lines, text = (text + str(view[:count], "utf-8")).split("\n")
            for line in lines:
                yield line
        self.assertEqual((len(text), left), (0, 0))

    def words(self):
        """Return the newest lines without their times."""
        words = []
        for line in self.lines():
            words.append(line.split(" ", 1)[-1])
            words = words[-160:]
        return words

    def test_no_log_is_an_empty_one(self):
        self.assertEqual(self.words(), [])

    def test_log_tells_this_boot_and_the_one_before(self):
        for words, cause in (("one", POWER_ON), ("two", RESET), ("three", WATCHDOG)):
            self.boot(cause)
            self.line("[TEST]", words)
            self.flush()
        self.assertEqual(
            self.words(),
            ["2.0, reset cause: hard reset", "[TEST] two", "3.0, reset cause: watchdog", "[TEST] three"],
        )

    def test_each_line_has_unix_time_or_else_seconds_since_the_reset(self):
        self.boot()
        self.line("[TEST]", "early")
        self.clock.seconds = 1_800_000_000
        self.line("[TEST]", "late", 1, None)
        self.flush()
        _, early, late = self.lines()
        seconds, rest = early.split(" ", 1)
        self.assertTrue(int(seconds) < 1_000_000)
        self.assertEqual((rest, late), ("[TEST] early", "1800000000 [TEST] late 1 None"))

    def test_lines_that_tell_a_failure_are_safe_at_once(self):
        for text, safe in (
            ("DownloadFailed: no such file", True),
            ("Attempt 1 of 3 failed: no such host", True),
            ("no connection: TLS handshake failed: again", False),
            ("failed", False),
        ):
            self.boot()
            self.line("[TEST]", text)
            self.boot()
            self.assertEqual("[TEST] " + text in self.words(), safe)

    def test_watchdog_as_the_reset_cause_is_safe_at_once(self):
        self.boot(WATCHDOG)
        self.boot()
        self.assertEqual(self.words(), ["1.0, reset cause: watchdog"])

    def test_a_cause_of_a_newer_micropython_is_given_as_it_is(self):
        for cause in (6, -1):
            self.boot(cause)
            self.flush()
            self.assertTrue(self.words()[-1].endswith(": %d" % cause))

    def test_exception_is_in_the_log(self):
        self.boot()
        try:
            raise OSError(5, "made to fail")
        except OSError as error:
            self.flush(error)
        self.boot()
        self.assertTrue(any("made to fail" in line for line in self.lines()))

    def test_boots_that_flush_nothing_do_not_cost_the_log_of_others(self):
        self.boot()
        self.line("[TEST] one")
        self.flush()
        for _ in range(5):
            self.boot()
            self.line("[TEST] never flushed")
        self.assertEqual(self.words()[1:], ["[TEST] one"])

    def test_newest_lines_are_never_lost_and_the_log_stays_small(self):
        for before in (0, 1):
            self.boot()
            for number in range(900):
                self.line("[TEST] line number", number)
                if number % 30 == 0:
                    self.flush()
                    self.assertEqual(self.words()[-1], "[TEST] line number %d" % number)
            self.flush()
            numbers = [int(line.rpartition(" ")[2]) for line in self.words() if line[:1] == "["]
            self.assertEqual(numbers[-150:], list(range(750, 900)))
            self.assertTrue(log_files.reader()[0] < (before + 1) * 8192)
        self.assertEqual(set(self.forgotten), {"hw.log_files"})
        sizes = [os.stat(PATH % number)[6] for number in range(4)]
        self.assertTrue(max(sizes) <= 4096)

    def test_a_power_cut_costs_little(self):
        self.boot()
        for number in range(100):
            self.line("[TEST]", number, "x" * 30)
        self.boot()
        lines = self.words()
        self.assertEqual(len(lines) - 1, int(lines[-1].split()[1]) + 1)
        self.assertTrue(len(lines) > 100 - 1200 // 40)

    def test_few_operations_on_the_flash(self):
        self.boot()  # makes the files
        self.flush()
        self.boot()
        self.flush()
        self.boot()
        before = self.flash.operations
        for number in range(20):
            self.line("[FW-OCPP]", "a line of an update, or so", number)
        self.flush()
        self.assertTrue(self.flash.operations - before <= 12)

    def test_a_full_file_system_leaves_the_console(self):
        name = 0
        try:
            while True:
                with open("/ram/fill%d" % name, "wb") as file:
                    file.write(bytes(4096))
                name += 1
        except OSError:
            pass
        self.boot()
        for number in range(200):
            self.line("[TEST]", number)
        self.flush()
        self.flush(ValueError("to the console"))
        self.assertEqual(self.words(), [])

    def test_flash_that_breaks_leaves_the_console(self):
        self.boot()
        self.line("[TEST] sound")
        self.flush()
        self.flash.broken = True
        for number in range(200):
            self.line("[TEST]", number)
        self.flush()
        self.flash.broken = False
        self.assertEqual(self.words()[1:], ["[TEST] sound"])

    def test_no_file_system_at_all_leaves_the_console(self):
        log_files._PATH = "/nowhere/log_%d.txt"
        try:
            line = log.start(log_files.begin(0), self.clock, None)
            line("[TEST]", "DownloadFailed: x")
            line()
            self.assertEqual(log_files.reader()[0], 0)
            self.assertEqual(log_files.following(), None)
        finally:
            log_files._PATH = PATH

    def test_files_that_are_no_log_count_as_not_there(self):
        for number, content in enumerate((b"\xff\xfe\x00", b"", b"Boot one.two, x\n", b"nothing")):
            with open(PATH % number, "wb") as file:
                file.write(content)
        self.assertEqual(self.words(), [])
        self.boot()
        self.flush()
        self.assertEqual(self.words(), ["1.0, reset cause: power on"])

    def test_length_is_kept_when_the_log_goes_on_while_it_is_read(self):
        self.boot()
        for number in range(100):
            self.line("[TEST]", number)
        self.flush()
        length, read = log_files.reader()
        view = memoryview(bytearray(256))
        total = read(view)
        for number in range(1000):
            self.line("[TEST] more", number)
        while True:
            count = read(view)
            if not count:
                break
            total += count
        self.assertEqual(total, length)

    def test_lines_leave_no_garbage_but_what_print_makes(self):
        self.boot()
        text = "Progress: 10%"
        self.line("[TEST]", text)
        gc.collect()
        before = gc.mem_alloc()
        for _ in range(20):
            self.line("[TEST]", text)
        self.assertTrue(gc.mem_alloc() - before < 20 * 300)


if __name__ == "__main__":
    unittest.main()
