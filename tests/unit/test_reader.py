import gc
import unittest

from hw.reader import Reader


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


class Test(unittest.TestCase):
    def setUp(self):
        self.serial = Serial()
        self.reader = Reader(self.serial)

    def polls(self, data=b"", times=1):
        """What polls find, the first of them with data."""
        self.serial.data += data
        found = [self.reader.poll() for _ in range(times)]
        return [tag for tag in found if tag]

    def test_a_card_has_the_ten_digits_of_its_frame_as_idtag(self):
        self.assertEqual(self.polls(b"\x020100E3F2A1B1\x03"), ["0100E3F2A1"])
        self.assertEqual(self.polls(frame("0a00abcdef")), ["0A00ABCDEF"])

    def test_a_card_may_come_in_pieces(self):
        found = []
        for byte in frame("0100E3F2A1"):
            found += self.polls(bytes([byte]))
        self.assertEqual(found, ["0100E3F2A1"])

    def test_a_card_that_stays_counts_once(self):
        found = []
        for _ in range(100):
            found += self.polls(frame("0100E3F2A1"), 2)
        self.assertEqual(found, ["0100E3F2A1"])

    def test_a_card_counts_again_when_it_was_away_for_2_seconds(self):
        self.polls(frame("0100E3F2A1"))
        self.assertEqual(self.polls(times=39), [])
        self.assertEqual(self.polls(frame("0100E3F2A1")), [])
        self.assertEqual(self.polls(times=41), [])
        self.assertEqual(self.polls(frame("0100E3F2A1")), ["0100E3F2A1"])

    def test_another_card_counts_at_once(self):
        self.polls(frame("0100E3F2A1"))
        self.assertEqual(self.polls(frame("0100000001")), ["0100000001"])

    def test_damaged_frames_are_passed_over_and_the_next_one_is_found(self):
        good = frame("0100E3F2A1")
        for damaged in (
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
        ):
            self.setUp()
            self.assertEqual(self.polls(damaged), [], damaged)
            self.assertEqual(self.polls(good), ["0100E3F2A1"], damaged)

    def test_waiting_for_a_card_takes_no_memory(self):
        self.reader.poll()
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        for _ in range(100):
            self.reader.poll()
        after = gc.mem_alloc()
        gc.enable()
        self.assertEqual(after - before, 0)


if __name__ == "__main__":
    unittest.main()
