import asyncio
import struct
import unittest
from binascii import a2b_base64, crc32

from firmware.errors import ImageError
from firmware.frames import Frames

DEFLATED = 0x8000
OPERATIONS = 0x4000
BASE = bytes(i * i % 251 for i in range(6000))
OUTPUT = bytes(i * 7 & 0xFF for i in range(2048))
ZEROS = a2b_base64("Y2AYBaNgFIyCUTAKRsFIAwA=")  # 2,048 of them, as zlib makes it: fixed codes
NAMES = [b"contactor", b"meter", b"pilot"]
STATES = [b"open", b"closed", b"lost", b"ok"]
TEXT = b"".join(b"%d: the %s is %s;\n" % (i * i % 97, NAMES[i % 3], STATES[i * 7 % 4]) for i in range(100))[:2048]
# TEXT, as zlib makes it with a window of 1 KiB: dynamic codes.
PACKED_TEXT = a2b_base64(
    "fdJRbsIwEIThd06RI8S73rW3nKaCSEVQgkrurwIhlerM5NWRfidfpv/opq+hO4zX6fMwjT/d6d6Nt+G636X5yfcwDfPpeb/L89ntdBmn59llvE/7XYDG"
    "4fFoOD4q3mZecbGm9Kyrg9B8RY4ms/S9faW5XxP6rucdTWfOS1tZ8rlQnyIASCCQpg0hFygUUEipUOmJUBIoZEqEwiFRZkSRKFFWQBR4RNZvGFVI5IhI"
    "CiWqlRAZHpEIIaoBiTwRIjVKlBIgqg6J3DeIMjZSAUapUiMnRKGQqBohKpioGCEqSokKWtEq9O7H1ooMEq0/7fznAIQSW9Ga+pXPlRC5Q6LVz1/6y1QA"
    "kRogWs3x3d8iWibfEFkGRJWvSAoxcsMzIkTWQ6LIhCjzFUUCRDlDovANIlNIlAQQlZ4SqRKiwEQuxEgTNBJCVP53fgE="
)


class Source:
    """Gives `data` in pieces of `step` bytes, then fails or ends."""

    def __init__(self, data, step=700, dies=False):
        self.data = data
        self.step = step
        self.dies = dies

    async def readinto(self, view):
        count = min(len(view), self.step, len(self.data))
        if not count and self.dies:
            raise OSError(104, "connection lost")
        view[:count] = self.data[:count]
        self.data = self.data[count:]
        return count


class Slot:
    """The running slot; behind the base stands something else."""

    def __init__(self):
        self.broken = False
        self.reads = 0

    def read(self, position, buffer):
        assert position + len(buffer) <= len(BASE), "beyond the base"
        if self.broken:
            raise OSError(5, "flash")
        self.reads += 1
        buffer[:] = BASE[position : position + len(buffer)]


def frame(body, flags=0, length=None):
    length = len(body) if length is None else length
    head = struct.pack("<H", flags | length)
    return head + struct.pack("<I", crc32(body[:length], crc32(head))) + body


def stored(data):
    """The longest form of deflated data."""
    return struct.pack("<BHH", 1, len(data), len(data) ^ 0xFFFF) + data


def literal(data):
    return struct.pack("<BH", 0, len(data)) + data


def copy(position, length):
    return struct.pack("<BHI", 1, length, position)


def add(position, data):
    return struct.pack("<BHI", 2, len(data), position) + data


def delta(*operations):
    return frame(b"".join(operations), OPERATIONS)


def packed_delta(*operations):
    return frame(stored(b"".join(operations)), OPERATIONS | DEFLATED)


async def fill(frames, output):
    """Decode frames until `output` is full."""
    view = memoryview(output)
    for start in range(0, len(output), 2048):
        target = view[start : start + 2048]
        count = await frames.readinto(target)
        assert count == len(target)


def decode(data, length, step=700):
    """Return the file of `length` bytes that the frames give; also checks that exactly they were taken."""
    output = bytearray(length)

    async def run():
        frames = Frames(Source(data, step), Slot(), len(BASE))
        await fill(frames, output)
        assert frames.taken == len(data), frames.taken

    asyncio.new_event_loop()
    asyncio.run(run())
    return output


class TestFrames(unittest.TestCase):
    def gives(self, data, expected, **keywords):
        self.assertTrue(decode(data, len(expected), **keywords) == expected)

    def refuse(self, data, length=2048):
        try:
            decode(data, length)
        except ImageError as error:
            self.assertTrue("package is damaged" in str(error), str(error))
        else:
            self.assertTrue(False, "accepted")

    def test_a_literal_frame_is_the_output(self):
        self.gives(frame(OUTPUT), OUTPUT)

    def test_the_last_frame_gives_the_rest(self):
        for rest in (1, 2, 77, 2047):
            self.gives(frame(OUTPUT) + frame(OUTPUT[:rest]), OUTPUT + OUTPUT[:rest])

    def test_deflated_frames_are_inflated_each_by_itself(self):
        self.gives(frame(ZEROS, DEFLATED), bytes(2048))
        self.gives(frame(PACKED_TEXT, DEFLATED), TEXT)
        self.gives(
            frame(ZEROS, DEFLATED) + frame(PACKED_TEXT, DEFLATED) + frame(OUTPUT) + frame(ZEROS, DEFLATED),
            bytes(2048) + TEXT + OUTPUT + bytes(2048),
        )

    def test_operations_copy_and_change_the_base(self):
        self.gives(delta(copy(0, 2048)), BASE[:2048])
        self.gives(delta(copy(len(BASE) - 2048, 2048)), BASE[-2048:])
        self.gives(
            delta(copy(100, 1000), literal(b"new"), copy(5000, 900), add(17, b"\1\xff\0" * 41), copy(3, 22)),
            BASE[100:1100]
            + b"new"
            + BASE[5000:5900]
            + bytes(BASE[17 + i] + (1, 255, 0)[i % 3] & 0xFF for i in range(123))
            + BASE[3:25],
        )

    def test_operations_may_be_deflated(self):
        self.gives(packed_delta(copy(1, 2000), literal(b"x" * 48)), BASE[1:2001] + b"x" * 48)
        self.gives(
            packed_delta(add(9, bytes(1000) + b"\x80" * 500), copy(0, 548)),
            BASE[9:1009] + bytes(BASE[1009 + i] + 128 & 0xFF for i in range(500)) + BASE[:548],
        )

    def test_differences_of_any_length_are_added(self):
        for length in (1, 63, 64, 65, 128, 129, 1000):
            self.gives(
                delta(add(5, b"\3" * length), copy(0, 2048 - length)),
                bytes(BASE[5 + i] + 3 & 0xFF for i in range(length)) + BASE[: 2048 - length],
            )

    def test_a_frame_of_many_operations_lets_others_run(self):
        turns = 0

        async def run():
            nonlocal turns
            data = stored(b"".join(copy(i, 8) for i in range(256)))
            frames = Frames(Source(frame(data, OPERATIONS | DEFLATED)), Slot(), len(BASE))

            async def count():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep_ms(0)

            task = asyncio.create_task(count())
            await frames.readinto(memoryview(bytearray(2048)))
            task.cancel()

        asyncio.run(run())
        self.assertTrue(turns >= 16, turns)

    def test_the_connection_may_bring_single_bytes(self):
        data = frame(PACKED_TEXT, DEFLATED) + delta(copy(7, 2000), literal(b"48" * 24)) + frame(b"end")
        self.gives(data, TEXT + BASE[7:2007] + b"48" * 24 + b"end", step=1)
        self.gives(data, TEXT + BASE[7:2007] + b"48" * 24 + b"end", step=1 << 20)

    def test_after_an_interruption_a_new_decoder_goes_on_at_the_frame(self):
        parts = [frame(PACKED_TEXT, DEFLATED), frame(OUTPUT), delta(copy(7, 2048)), frame(ZEROS, DEFLATED)]
        outputs = [TEXT, OUTPUT, BASE[7:2055], bytes(2048)]
        data = b"".join(parts)
        ends = [sum(len(part) for part in parts[:count]) for count in range(1, 5)]
        view = memoryview(bytearray(2048))

        async def interrupted(end):
            frames = Frames(Source(data[:end], dies=True), Slot(), len(BASE))
            done = 0
            with self.assertRaises(OSError):
                while True:
                    await frames.readinto(view)
                    done += 1
            self.assertEqual(done, sum(1 for each in ends if each <= end))
            self.assertEqual(frames.taken, ([0] + ends)[done])
            frames = Frames(Source(data[frames.taken :]), Slot(), len(BASE))
            for expected in outputs[done:]:
                await frames.readinto(view)
                self.assertTrue(view == expected)

        for end in list(range(0, len(data), 61)) + [each + 1 for each in ends[:-1]] + ends[:-1]:
            asyncio.run(interrupted(end))

    def test_an_end_within_a_frame_is_a_lost_connection(self):
        data = frame(OUTPUT)
        for end in (0, 1, 2, 5, 6, 1000, len(data) - 1):
            with self.assertRaises(OSError):
                decode(data[:end], 2048)

    def test_a_failure_of_the_flash_is_no_damaged_package(self):
        async def run(data):
            slot = Slot()
            slot.broken = True
            frames = Frames(Source(data), slot, len(BASE))
            with self.assertRaises(OSError):
                await frames.readinto(memoryview(bytearray(2048)))
            self.assertEqual(frames.taken, 0)

        asyncio.run(run(delta(copy(0, 2048))))

    def test_a_frame_without_or_with_too_many_bytes_is_refused(self):
        self.refuse(frame(b""))
        self.refuse(frame(b"", DEFLATED))
        for flags in (0, DEFLATED, OPERATIONS):
            self.refuse(frame(bytes(4095), flags, 2049))
            self.refuse(frame(bytes(4095), flags, 4095))
            self.refuse(frame(bytes(101), flags), 100)

    def test_a_frame_that_does_not_fit_is_not_completed_by_what_is_left_of_an_earlier_one(self):
        operations = literal(b"ab") * 50
        self.refuse(delta(operations, copy(0, 1948)) + delta(operations), 2148)

    def test_unknown_kinds_of_frames_are_refused(self):
        self.refuse(frame(OUTPUT, 0x1000))
        self.refuse(frame(OUTPUT, 0x2000))

    def test_a_literal_frame_of_another_length_is_refused(self):
        self.refuse(frame(OUTPUT[:-1]))
        self.refuse(frame(b"x"), 2)

    def test_deflated_data_of_another_length_is_refused(self):
        self.refuse(frame(ZEROS, DEFLATED), 2047)
        self.refuse(frame(ZEROS, DEFLATED), 100)
        self.refuse(frame(stored(OUTPUT[:2040]), DEFLATED))
        self.refuse(frame(PACKED_TEXT + b"\0", DEFLATED))

    def test_deflated_data_without_its_end_is_refused(self):
        for cut in range(1, 20):
            self.refuse(frame(PACKED_TEXT[:-cut], DEFLATED))
        self.refuse(frame(b"\0" + stored(OUTPUT[:2000])[1:], DEFLATED), 2000)

    def test_what_is_left_of_an_earlier_frame_is_not_taken_for_the_end_of_this(self):
        first = frame(PACKED_TEXT, DEFLATED)
        for cut in (1, 2, 5, 100, 300):
            self.refuse(first + frame(PACKED_TEXT[:-cut], DEFLATED), 4096)
        operations = copy(0, 2000) + literal(bytes(48))
        for cut in (1, 30, 50, 54):
            self.refuse(delta(operations) + frame(operations[:-cut], OPERATIONS), 4096)

    def refuse_each_bit(self, parts, length):
        """Change each bit of each frame: it is refused there and then, and the frames before it count as taken."""
        data = bytearray(b"".join(parts) + bytes(2048))  # so that the connection does not end where a frame is too long
        output = bytearray(length)

        async def refuse(start, index, bit):
            data[index] ^= 1 << bit
            frames = Frames(Source(data, len(data)), Slot(), len(BASE))
            with self.assertRaises(ImageError):
                await fill(frames, output)
                print("accepted: byte", index, "bit", bit)
            self.assertEqual(frames.taken, start)
            data[index] ^= 1 << bit

        async def run():
            start = 0
            for part in parts:
                for index in range(start, start + len(part)):
                    for bit in range(8):
                        await refuse(start, index, bit)
                start += len(part)

        self.gives(b"".join(parts), decode(b"".join(parts), length))
        asyncio.new_event_loop()
        asyncio.run(run())

    def test_each_bit_of_a_literal_package_matters(self):
        self.refuse_each_bit([frame(OUTPUT), frame(OUTPUT[:77])], 2125)

    def test_each_bit_of_a_deflated_package_matters(self):
        self.refuse_each_bit([frame(ZEROS, DEFLATED), frame(PACKED_TEXT, DEFLATED)], 4096)

    def test_each_bit_of_a_delta_package_matters(self):
        operations = [copy(100, 1900), copy(247, 1), add(17, b"\1\xff\0" * 20), literal(b"87" + bytes(85))]
        self.refuse_each_bit([delta(*operations), packed_delta(*operations), delta(copy(7, 40))], 4136)

    def test_changes_that_make_no_difference_are_refused_too(self):
        padded = bytearray(PACKED_TEXT)
        padded[-1] ^= 0x80  # behind the end of the stream
        self.assertEqual(BASE[247], BASE[255])
        for good, other, expected in (
            (frame(PACKED_TEXT, DEFLATED), frame(padded, DEFLATED), TEXT),
            (delta(copy(247, 1), copy(0, 20)), delta(copy(255, 1), copy(0, 20)), BASE[255:256] + BASE[:20]),
        ):
            self.gives(good, expected)
            self.gives(other, expected)
            self.refuse(good[:6] + other[6:], len(expected))

    def test_corrupted_deflated_data_never_does_harm(self):
        accepted = 0
        for index in range(len(PACKED_TEXT)):
            damaged = bytearray(PACKED_TEXT)
            damaged[index] ^= 1 << index % 8
            try:
                decode(frame(damaged, DEFLATED), 2048)
                accepted += 1  # another literal: the hash of the whole tells
            except ImageError:
                pass
        self.assertTrue(accepted < 250, accepted)

    def test_noise_is_refused_or_gives_noise(self):
        state = 1
        for length in range(1, 300):
            noise = bytearray(length)
            for index in range(length):
                state = state * 1103515245 + 12345 & 0x7FFFFFFF
                noise[index] = state >> 16 & 0xFF
            for flags in (DEFLATED, OPERATIONS, DEFLATED | OPERATIONS):
                try:
                    decode(frame(noise, flags), 2048)
                except ImageError:
                    pass

    def test_unknown_operations_are_refused(self):
        for code in (3, 4, 255):
            self.refuse(delta(copy(0, 1000), struct.pack("<BHI", code, 1048, 0)))

    def test_operations_without_length_are_refused(self):
        for operation in (literal(b""), copy(0, 0), add(0, b"")):
            self.refuse(delta(copy(0, 1000), operation, copy(0, 1048)))

    def test_operations_beyond_the_frame_are_refused(self):
        for operation in (literal(bytes(49)), copy(0, 49), add(0, bytes(49)), copy(0, 65535)):
            self.refuse(delta(copy(0, 2000), operation))

    def test_operations_that_give_too_little_or_too_much_are_refused(self):
        self.refuse(delta(copy(0, 2047)))
        self.refuse(delta(copy(0, 2048), literal(b"x")))
        self.refuse(delta(copy(0, 2048), b"\0"))
        self.refuse(packed_delta(copy(0, 2048), b"\0"))
        self.refuse(packed_delta(copy(0, 2047)))

    def test_operations_that_end_within_one_are_refused(self):
        operations = copy(0, 2000) + add(0, bytes(48))
        for end in range(1, len(operations)):
            self.refuse(delta(operations[:end]))
            self.refuse(packed_delta(operations[:end]))

    def test_positions_outside_of_the_base_are_refused(self):
        for position in (len(BASE) - 2047, len(BASE), 0x7FFFFFFF, 0xFFFFFFFF):
            self.refuse(delta(copy(position, 2048)))
        for position in (len(BASE) - 99, len(BASE), 0x7FFFFFFF, 0xFFFFFFFF):
            self.refuse(delta(add(position, bytes(100)), copy(0, 1948)))

    def test_a_bomb_is_refused(self):
        self.refuse(frame(ZEROS, DEFLATED | OPERATIONS))  # 682 operations that do nothing


if __name__ == "__main__":
    unittest.main()
