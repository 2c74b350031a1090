import gc
import unittest

from hw.line_reader import LineReader
from hw.rdm6300 import Rdm6300


class Serial:
    """A serial line that has received `data`."""

    def __init__(self, data=b""):
        self.data = data

    def any(self):
        return len(self.data)

    def readinto(self, buffer):
        count = min(len(buffer), len(self.data))
        buffer[:count] = self.data[:count]
        self.data = self.data[count:]
        return count


def frame(tag):
    check = 0
    for i in range(0, 10, 2):
        check ^= int(tag[i : i + 2], 16)
    return b"\x02%s%02X\x03" % (tag.encode(), check)


class Common:
    """What holds for every reader. kind: its class. TAG, OTHER: cards. `line` makes what the reader sends for one."""

    def setUp(self):
        self.serial = Serial()
        self.reader = self.kind(self.serial)
        self.reader.poll()

    def polls(self, data=b"", times=1):
        """What polls find, the first of them with data."""
        self.serial.data += data
        found = [self.reader.poll() for _ in range(times)]
        return [tag for tag in found if tag]

    def presented(self, tag, times=1):
        """What polls find, the first of them with a card."""
        return self.polls(self.line(tag), times)

    def assertPassedOver(self, *wrong):
        """What is wrong gives nothing, and the next card is found behind it."""
        for data in wrong:
            self.setUp()
            self.assertEqual(self.polls(data), [], data)
            self.assertEqual(self.presented(self.TAG), [self.TAG], data)

    def test_a_card_may_come_in_pieces(self):
        found = []
        for byte in self.line(self.TAG):
            found += self.polls(bytes([byte]))
        self.assertEqual(found, [self.TAG])

    def test_what_nothing_follows_for_a_turn_is_no_part_of_the_next_card(self):
        for length in range(1, len(self.line(self.TAG)) - 2):
            self.setUp()
            self.assertEqual(self.polls(self.line(self.TAG)[:length], 2), [])
            self.assertEqual(self.presented(self.OTHER), [self.OTHER])

    def test_a_card_that_stays_counts_once(self):
        found = []
        for _ in range(100):
            found += self.presented(self.TAG, 2)
        self.assertEqual(found, [self.TAG])

    def test_a_card_counts_again_when_it_was_away_for_2_seconds(self):
        self.presented(self.TAG)
        self.assertEqual(self.polls(times=39), [])
        self.assertEqual(self.presented(self.TAG), [])
        self.assertEqual(self.polls(times=41), [])
        self.assertEqual(self.presented(self.TAG), [self.TAG])

    def test_another_card_counts_at_once(self):
        self.presented(self.TAG)
        self.assertEqual(self.presented(self.OTHER), [self.OTHER])

    def test_waiting_for_a_card_takes_no_memory(self):
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        for _ in range(100):
            self.reader.poll()
        after = gc.mem_alloc()
        gc.enable()
        self.assertEqual(after - before, 0)


class TestRdm6300(Common, unittest.TestCase):
    kind = Rdm6300
    TAG, OTHER = "0100E3F2A1", "0100000001"

    def line(self, tag):
        return frame(tag)

    def test_a_card_has_the_ten_digits_of_its_frame_as_idtag(self):
        self.assertEqual(self.polls(b"\x020100E3F2A1B1\x03"), ["0100E3F2A1"])
        self.assertEqual(self.presented("0a00abcdef"), ["0A00ABCDEF"])

    def test_damaged_frames_are_passed_over_and_the_next_one_is_found(self):
        good = frame(self.TAG)
        self.assertPassedOver(
            b"\xff\x00\x03garbage",
            good[:7],
            good[:-1] + b"\x04",
            good[:3] + b"7" + good[4:],
            good[:5] + b"G" + good[6:],
            good[:5] + b"+" + good[6:],
            good[:5] + b"\xfc" + good[6:],
            good[1:],
            good[:-1],
            b"\x02" * 30,
            b"\x02" + b"1" * 40,
        )


class TestLineReader(Common, unittest.TestCase):
    kind = LineReader
    TAG, OTHER = "04A2B3C4", "DE*ABC*12345 ~/a"

    def line(self, tag):
        return tag.encode() + b"\r\n"

    def test_a_line_is_the_idtag_as_it_is(self):
        for tag in ("7", "04a2B3c4", "12345678901234567890", " !~"):
            self.setUp()
            self.assertEqual(self.presented(tag), [tag])

    def test_a_line_ends_with_cr_or_lf_or_both(self):
        for end in (b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r\n\n"):
            self.setUp()
            self.assertEqual(self.polls(b"one" + end, 2), ["one"])
            self.assertEqual(self.polls(b"two" + end + b"two" + end), ["two"])

    def test_of_several_cards_at_once_the_last_counts(self):
        self.assertEqual(self.polls(b"one\rtwo\r"), ["two"])

    def test_long_and_unprintable_lines_are_dropped_whole(self):
        self.assertPassedOver(
            b"\r\n\r\n",
            b"123456789012345678901\r\n",
            b"1" * 200 + b"\n",
            b"card\x00\r\n",
            b"\x02card\r\n",
            b"ca\trd\r\n",
            b"card\x7f\r\n",
            b"K\xc3\xb6ln\r\n",
            b"\xff\r\n",
        )

    def test_the_rest_of_a_line_that_began_before_is_no_card(self):
        self.reader = LineReader(self.serial)
        self.assertEqual(self.polls(b"3C4\r\n" + self.line(self.TAG)), [self.TAG])


if __name__ == "__main__":
    unittest.main()
