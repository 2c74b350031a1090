import unittest

from electrics import Line
from hw.led import PATTERNS, Led


def seen(status):
    """What one sees in 1.6 s."""
    led = Led(Line())
    led.show(status)
    levels = []
    for _ in range(32):
        led.turn()
        levels.append(led.pin.level)
    return levels


class Test(unittest.TestCase):
    def test_each_status_of_a_charge_point_has_a_pattern(self):
        statuses = "Available Preparing Charging SuspendedEV SuspendedEVSE Finishing Reserved Unavailable Faulted"
        self.assertEqual(sorted(PATTERNS), sorted(statuses.split()))

    def test_available_is_steady_and_unavailable_is_dark(self):
        self.assertEqual(seen("Available"), [1] * 32)
        self.assertEqual(seen("Unavailable"), [0] * 32)
        self.assertEqual(seen("Whatever"), [0] * 32)

    def test_charging_is_mostly_on_and_a_fault_blinks_fast(self):
        self.assertEqual(sum(seen("Charging")), 24)
        levels = seen("Faulted")
        self.assertEqual(sum(levels), 16)
        self.assertEqual(sum(1 for i in range(32) if levels[i] != levels[i - 1]), 8)


if __name__ == "__main__":
    unittest.main()
