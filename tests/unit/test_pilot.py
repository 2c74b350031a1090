import gc
import unittest

from electrics import HIGH, LOW, Wire
from hw.pilot import NO_DIODE, STATES, Pilot


def pilot(car="A", amps=0, diode=True):
    wire = Wire(car, diode)
    made = Pilot(wire, wire, LOW, HIGH)
    made.offer(amps)
    return made, wire


class Level:
    """An ADC with one voltage."""

    def __init__(self, volts):
        self.uv = LOW * 1000 + int((volts + 12) * (HIGH - LOW) * 1000 / 24)

    def duty_u16(self, duty):
        pass

    def read_uv(self):
        return self.uv


class Test(unittest.TestCase):
    def test_nothing_is_offered_at_first(self):
        made, wire = pilot()
        self.assertEqual((made.amps, wire.duty), (0, 65535))

    def test_the_duty_cycle_says_the_current(self):
        # IEC 61851-1, Table A.7: 10 % are 6 A, 25 % 15 A, 53.3 % 32 A, 85 % 51 A, 89.2 % 63 A, 96 % 80 A.
        for amps, percent in (
            (6, 10),
            (10, 16.67),
            (15, 25),
            (16.5, 27.5),
            (32, 53.33),
            (51, 85),
            (63, 89.2),
            (80, 96),
        ):
            _, wire = pilot(amps=amps)
            self.assertTrue(abs(wire.duty / 655.35 - percent) < 0.01, (amps, wire.duty))

    def test_less_than_6_amps_are_none(self):
        for amps in (5.9, 1, 0, -3):
            made, wire = pilot(amps=amps)
            self.assertEqual((made.amps, wire.duty), (0, 65535))

    def test_each_state_is_found_with_and_without_the_square_wave(self):
        for amps in (0, 6, 16, 32, 51, 80):
            for car in "ABCDEF":
                made, _ = pilot(car, amps)
                self.assertEqual(STATES[made.read()], car)

    def test_each_state_is_found_whatever_the_phase_of_the_wave(self):
        for amps in (6, 80):
            made, wire = pilot("C", amps)
            for phase in range(0, 65536, 997):
                wire.phase = phase
                self.assertEqual(STATES[made.read()], "C")

    def test_noise_changes_nothing(self):
        for car in "ABCDEF":
            made, wire = pilot(car, 16)
            wire.noise = 75000  # 0.7 V
            self.assertEqual(STATES[made.read()], car)

    def test_a_car_without_a_diode_is_found_while_there_is_the_square_wave(self):
        for car in "BCD":
            for amps in (6, 16, 80):
                made, _ = pilot(car, amps, diode=False)
                self.assertEqual(made.read(), NO_DIODE)
            made, _ = pilot(car, 0, diode=False)
            self.assertEqual(STATES[made.read()], car)

    def test_without_the_wave_a_car_without_a_diode_stays_one_until_it_is_unplugged(self):
        made, wire = pilot("C", 0, diode=False)
        self.assertEqual(made.read(NO_DIODE), NO_DIODE)
        wire.car = "A"
        self.assertEqual(STATES[made.read(NO_DIODE)], "A")

    def test_states_begin_half_way_between_their_voltages(self):
        cases = ((10.6, "A"), (10.4, "B"), (7.6, "B"), (7.4, "C"), (4.6, "C"), (4.4, "D"), (1.6, "D"), (1.4, "E"))
        for volts, state in cases + ((-1.4, "E"), (-1.6, "F"), (-12.5, "F"), (13, "A")):
            level = Level(volts)
            self.assertEqual(STATES[Pilot(level, level, LOW, HIGH).read()], state, volts)

    def test_one_burst_of_reads_is_enough_if_both_halves_were_met(self):
        made, wire = pilot("C", 16)
        made.read()
        self.assertEqual(wire.reads, 33)

    def test_reading_takes_no_memory(self):
        made, _ = pilot("C", 16)
        made.read()
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        for _ in range(100):
            made.read(2)
        after = gc.mem_alloc()
        gc.enable()
        self.assertEqual(after - before, 0)


if __name__ == "__main__":
    unittest.main()
