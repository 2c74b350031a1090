import asyncio
import gc
import unittest

from hw import status_led
from hw.led import PATTERNS

STATES = "registered no_wifi no_csms safe_mode update".split()


class Line:
    """An output pin that remembers its levels, as bits of a number, and for good what it was last."""

    def __init__(self):
        self.seen = self.count = self.level = 0

    def value(self, level):
        if self.count < 24:
            self.seen |= level << self.count
            self.count += 1
        self.level = level


def shown(look, turns=8):
    """Run the LED for some turns; return the pin."""

    async def main():
        pin = Line()
        task = asyncio.create_task(status_led.run(pin, look, 0))
        while pin.count < turns:
            await asyncio.sleep_ms(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        return pin

    asyncio.new_event_loop()
    return asyncio.run(asyncio.wait_for(main(), 10))


def flashes(pattern):
    """How often a pattern goes on in a period, begun where it is off."""
    return sum(1 for i in range(8) if pattern >> i & 1 and not pattern >> (i - 1) % 8 & 1)


class Test(unittest.TestCase):
    def test_each_state_has_a_rhythm_of_its_own(self):
        self.assertEqual(sorted(status_led.PATTERNS), sorted(STATES))
        self.assertEqual(len(set(status_led.PATTERNS.values())), len(STATES))
        for pattern in status_led.PATTERNS.values():
            self.assertTrue(0 < pattern <= 0xFF)  # dark means that nothing runs

    def test_what_is_missing_can_be_counted(self):
        for state, count in (("no_wifi", 1), ("no_csms", 2), ("safe_mode", 3)):
            pattern = status_led.PATTERNS[state]
            self.assertEqual(flashes(pattern), count)
            self.assertEqual(pattern >> 5, 0)  # a pause longer than the gaps

    def test_shared_rhythms_mean_the_same_as_at_a_connector(self):
        self.assertEqual(status_led.PATTERNS["registered"], PATTERNS["Available"])

    def test_the_rhythm_is_shown_bit_by_bit(self):
        for state in STATES:
            pattern = status_led.PATTERNS[state]
            self.assertEqual(shown(lambda: state, 16).seen & 0xFFFF, pattern << 8 | pattern)  # noqa: B023

    def test_a_change_shows_when_the_rhythm_is_over(self):
        states = ["no_wifi", "registered"]
        self.assertEqual(shown(lambda: states.pop(0) if states else "", 24).seen, 0x00FF01)

    def test_it_is_off_when_nothing_runs(self):
        self.assertEqual(shown(lambda: "registered").level, 0)

    def test_it_takes_no_memory(self):
        async def main():
            pin = Line()
            task = asyncio.create_task(status_led.run(pin, lambda: "update", 0))
            for _ in range(50):
                await asyncio.sleep_ms(0)
            gc.collect()
            before = gc.mem_alloc()
            for _ in range(200):
                await asyncio.sleep_ms(0)
            used = gc.mem_alloc() - before
            task.cancel()
            return used

        asyncio.new_event_loop()
        self.assertEqual(asyncio.run(main()), 0)


if __name__ == "__main__":
    unittest.main()
