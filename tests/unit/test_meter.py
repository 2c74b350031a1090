import gc
import unittest

import hw.meter
from hw.meter import Meter


class Store:
    def __init__(self):
        self.writes = []

    def set(self, key, value):
        self.writes.append((key, value))


class Test(unittest.TestCase):
    def setUp(self):
        self.now = 5000
        hw.meter.ticks_ms = lambda: self.now
        self.store = Store()

    def meter(self, count=0, pulses=1000, phases=1):
        return Meter(count, pulses, phases, 230, self.store, "meter1")

    def pulses(self, meter, count, interval):
        for _ in range(count):
            self.now += interval
            meter.pulse(None)

    def test_each_pulse_counts(self):
        meter = self.meter()
        self.pulses(meter, 2500, 10)
        self.assertEqual(meter.energy(), 2500)
        meter = self.meter(10, 800)
        self.pulses(meter, 6, 10)
        self.assertEqual(meter.energy(), 20)

    def test_power_and_current_come_from_the_time_between_pulses(self):
        # 3,680 W: a Wh in 978.26 ms
        for pulses, interval in ((1000, 978), (100, 9783), (10000, 98), (10, 97826)):
            meter = self.meter(pulses=pulses)
            self.pulses(meter, 100, interval)
            self.assertTrue(abs(meter.power(self.now) - 3680) < 20, (pulses, meter.power(self.now)))
            self.assertTrue(abs(meter.current(self.now) - 16000) < 100)

    def test_the_phases_share_the_current(self):
        meter = self.meter(phases=3)
        self.pulses(meter, 30, 326)
        self.assertTrue(abs(meter.current(self.now) - 16000) < 100, meter.current(self.now))

    def test_one_pulse_says_nothing_about_power(self):
        meter = self.meter()
        self.assertEqual(meter.power(self.now), 0)
        self.pulses(meter, 1, 0)
        self.assertEqual(meter.power(self.now), 0)

    def test_power_falls_to_0_when_no_pulse_comes_any_more(self):
        meter = self.meter()
        self.pulses(meter, 30, 978)
        seen = []
        for _ in range(400):
            self.now += 1000
            seen.append(meter.power(self.now))
        self.assertEqual(seen, sorted(seen, reverse=True))
        self.assertTrue(seen[9] < 700, seen[9])
        self.assertEqual(seen[-1], 0)
        # The pulse after that is not taken for a very slow one
        self.pulses(meter, 5, 978)
        self.assertTrue(meter.power(self.now) > 3600, meter.power(self.now))

    def test_an_open_contactor_ends_the_power_at_once(self):
        meter = self.meter()
        self.pulses(meter, 30, 978)
        meter.rest()
        self.assertEqual(meter.power(self.now), 0)
        self.assertEqual(meter.energy(), 30)

    def test_what_is_measured_has_the_names_of_measurands(self):
        meter = self.meter(5000)
        self.pulses(meter, 4, 1000)
        self.assertEqual(
            meter.values(self.now),
            {
                "Energy.Active.Import.Register": 5004,
                "Power.Active.Import": 3600,
                "Current.Import": 15.652,
                "Voltage": 230,
            },
        )

    def test_the_register_is_written_only_if_it_changed(self):
        meter = self.meter(7)
        meter.keep()
        self.assertEqual(self.store.writes, [])
        self.pulses(meter, 2, 100)
        meter.keep()
        meter.keep()
        self.assertEqual(self.store.writes, [("meter1", b"9 1000")])

    def test_counting_and_asking_take_no_memory(self):
        meter = self.meter()
        now = 5000
        hw.meter.ticks_ms = lambda: now
        self.pulses(meter, 2, 100)
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        for _ in range(100):
            now += 700
            meter.pulse(None)
            meter.current(now)
        after = gc.mem_alloc()
        gc.enable()
        self.assertEqual(after - before, 0)


if __name__ == "__main__":
    unittest.main()
