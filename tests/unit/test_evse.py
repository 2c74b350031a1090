import asyncio
import gc
import unittest

import hw.meter
from electrics import HIGH, LOW, Contactor, Line, Wire
from hw.evse import PERIOD, Evse, Outlet
from hw.pilot import Pilot

TOO_MUCH = "Car draws more than it is offered"


class Meter:
    """A meter with a current; another driver than the pulse counter, so to speak."""

    def __init__(self):
        self.milliamps = 0
        self.kept = self.rested = 0

    def current(self, now):
        self.begun = now
        return self.milliamps

    def rest(self):
        self.rested += 1

    def energy(self):
        return 4711

    def values(self, now):
        return {"Energy.Active.Import.Register": 4711, "Current.Import": self.milliamps / 1000}

    def keep(self):
        self.kept += 1


class Reader:
    tag = None

    def poll(self):
        tag, self.tag = self.tag, None
        return tag


class Case(unittest.TestCase):
    """One outlet with everything, its car, and the time."""

    def setUp(self):
        self.wire = Wire()
        self.contactor = Contactor()
        self.outlet = outlet = Outlet(1, Pilot(self.wire, self.wire, LOW, HIGH), self.contactor, 32)
        outlet.feedback = self.contactor.feedback
        outlet.ground_fault, outlet.overcurrent, outlet.emergency, outlet.lock = Line(), Line(), Line(1), Line()
        outlet.meter = Meter()
        self.logged = []
        self.evse = Evse([outlet], Reader(), self.logged.append)
        self.changes = []
        self.evse.on_change = self.change
        self.cards = []
        self.evse.on_card = self.cards.append
        self.now = outlet.now

    def change(self, number):
        self.changes.append((self.outlet.state, self.outlet.error, self.outlet.closed))

    def turns(self, count=1):
        for _ in range(count):
            self.contactor.settle()
            self.now = (self.now + PERIOD) & 0x3FFFFFFF
            self.evse.turn(self.now)

    def seconds(self, count):
        self.turns(int(count * 1000) // PERIOD)

    def charging(self, amps=16):
        """Let a car charge."""
        self.wire.car = "C"
        self.turns(3)
        self.outlet.permit(amps)
        self.seconds(3)
        self.assertTrue(self.contactor.level)
        self.changes.clear()

    def assertError(self, error, info=None):
        self.assertEqual((self.outlet.error, self.outlet.info), (error, info))


class ChargingTest(Case):
    def test_a_car_charges_from_its_plug_to_its_unplugging(self):
        self.turns(3)
        self.assertEqual((self.outlet.state, self.changes), ("A", []))
        self.wire.car = "B"
        self.turns(3)
        self.assertEqual(self.changes, [("B", "NoError", False)])
        self.outlet.permit(16)
        self.assertEqual((self.outlet.permitted, self.wire.duty), (16, 17476))
        self.seconds(5)
        self.assertEqual(self.contactor.level, 0)
        self.wire.car = "C"
        self.seconds(3)
        self.assertEqual((self.contactor.level, self.outlet.closed), (1, True))
        self.wire.car = "B"
        self.turns(1)
        self.assertEqual(self.contactor.level, 0)
        self.turns(2)
        self.wire.car = "A"
        self.turns(3)
        self.assertEqual(
            self.changes[1:],
            [
                ("C", "NoError", True),
                ("C", "NoError", False),
                ("B", "NoError", False),
                ("A", "NoError", False),
            ],
        )
        self.assertEqual((self.outlet.permitted, self.wire.duty, self.contactor.closings), (0, 65535, 1))

    def test_a_state_counts_after_three_samples(self):
        for _ in range(4):
            self.wire.car = "B"
            self.turns(2)
            self.wire.car = "C"
            self.turns(2)
        self.assertEqual((self.outlet.state, self.changes), ("A", []))
        self.turns(1)
        self.assertEqual((self.outlet.state, self.changes), ("C", [("C", "NoError", False)]))

    def test_the_contactor_closes_for_three_samples_and_opens_for_one(self):
        self.wire.car = "B"
        self.turns(3)
        self.outlet.permit(16)
        self.wire.car = "C"
        self.turns(2)
        self.assertEqual(self.contactor.level, 0)
        self.turns(1)
        self.assertEqual(self.contactor.level, 1)
        for car in "ABEF":
            self.charging()
            self.wire.car = car
            self.turns(1)
            self.assertEqual(self.contactor.level, 0, car)
            self.wire.car = "C"
            self.turns(1)
            self.assertEqual(self.contactor.level, 0, car)

    def test_a_chattering_pilot_does_not_wear_the_contactor(self):
        self.charging()
        for _ in range(100):
            self.wire.car = "B"
            self.turns(5)
            self.wire.car = "C"
            self.turns(5)
        self.assertTrue(self.contactor.closings < 50 / 2 + 2, self.contactor.closings)

    def test_a_car_that_needs_ventilation_charges_only_where_there_is_some(self):
        self.wire.car = "B"
        self.turns(3)
        self.outlet.permit(16)
        self.wire.car = "D"
        self.seconds(3)
        self.assertEqual((self.contactor.level, self.outlet.state), (0, "D"))
        self.assertError("NoError", "Car needs ventilation")
        self.outlet.ventilation = True
        self.seconds(3)
        self.assertEqual(self.contactor.level, 1)
        self.assertError("NoError")

    def test_a_permission_ends_with_the_car_that_it_was_for(self):
        self.charging()
        self.wire.car = "A"
        self.turns(3)
        self.wire.car = "C"
        self.seconds(10)
        self.assertEqual((self.contactor.level, self.outlet.permitted), (0, 0))

    def test_the_contactor_stays_open_for_a_moment_after_each_opening(self):
        self.charging()
        self.wire.car = "B"
        self.turns(1)
        self.wire.car = "C"
        self.turns(39)
        self.assertEqual(self.contactor.level, 0)
        self.turns(1)
        self.assertEqual(self.contactor.level, 1)

    def test_a_loop_that_was_held_up_for_days_is_well(self):
        # ticks_ms begins anew after 12 days, and differences of more than six turn negative.
        self.charging()
        self.wire.car = "B"
        self.turns(3)
        for _ in range(10):
            self.now = (self.now + 300_000_000) & 0x3FFFFFFF
            self.turns(1)
        self.wire.car = "C"
        self.seconds(3)
        self.assertEqual(self.contactor.level, 1)


class PermissionTest(Case):
    def test_more_than_the_installation_bears_is_never_permitted(self):
        self.charging(80)
        self.assertEqual((self.outlet.permitted, self.wire.duty), (32, 34952))
        self.outlet.permit(10)
        self.assertEqual((self.outlet.permitted, self.wire.duty, self.contactor.level), (10, 10922, 1))
        self.outlet.permit(6.5)
        self.assertEqual((self.outlet.permitted, self.wire.duty), (6.5, 7099))

    def test_a_car_that_is_to_stop_has_6_seconds_and_is_cut_off_then(self):
        for amps in (0, 5.9):
            self.charging()
            self.outlet.permit(amps)
            self.assertEqual((self.outlet.permitted, self.wire.duty), (0, 65535))
            self.turns(119)
            self.outlet.permit(0)  # said again: no more time for that
            self.assertEqual(self.contactor.level, 1)
            self.turns(2)
            self.assertEqual(self.contactor.level, 0)
            self.seconds(10)
            self.assertEqual(self.contactor.level, 0)

    def test_a_car_that_stops_in_time_is_not_connected_again(self):
        self.charging()
        self.outlet.permit(0)
        self.seconds(1)
        self.wire.car = "B"
        self.turns(1)
        self.assertEqual(self.contactor.level, 0)
        self.wire.car = "C"
        self.seconds(10)
        self.assertEqual(self.contactor.level, 0)

    def test_a_car_that_is_permitted_again_in_time_stays_connected(self):
        self.charging()
        self.outlet.permit(0)
        self.seconds(5)
        self.outlet.permit(6)
        self.seconds(10)
        self.assertEqual((self.contactor.level, self.contactor.closings), (1, 1))

    def test_nothing_permitted_closes_nothing(self):
        self.wire.car = "C"
        self.seconds(10)
        self.assertEqual(self.contactor.closings, 0)
        self.outlet.permit(16)
        self.seconds(3)
        self.assertEqual(self.contactor.closings, 1)

    def test_cut_opens_at_once(self):
        self.charging()
        self.outlet.cut()
        self.assertEqual((self.contactor.level, self.outlet.closed, self.outlet.permitted), (0, False, 0))
        self.assertEqual(self.wire.duty, 65535)
        self.turns(1)
        self.assertEqual(self.changes, [("C", "NoError", False)])


class FaultTest(Case):
    def test_ground_fault_and_overcurrent_open_at_once_and_last_until_the_car_is_gone_and_the_input_is_well(self):
        for line, error in (
            (self.outlet.ground_fault, "GroundFailure"),
            (self.outlet.overcurrent, "OverCurrentFailure"),
        ):
            self.charging()
            line.level = 1
            self.turns(1)
            self.assertEqual((self.contactor.level, self.outlet.permitted), (0, 0))
            self.assertError(error)
            self.assertEqual(self.changes, [("C", error, False)])
            line.level = 0
            self.outlet.permit(16)
            self.seconds(3)
            self.assertEqual((self.contactor.level, self.outlet.permitted), (0, 0))
            self.assertError(error)
            line.level = 1
            self.wire.car = "A"
            self.seconds(3)
            self.assertError(error)
            line.level = 0
            self.turns(2)
            self.assertError("NoError")
            self.assertEqual(self.changes[-1], ("A", "NoError", False))

    def test_an_interrupt_opens_without_the_loop_and_even_a_short_fault_counts(self):
        self.outlet.ground_fault.irq(self.outlet.trip_ground, Line.IRQ_RISING)
        self.outlet.overcurrent.irq(self.outlet.trip_overcurrent, Line.IRQ_RISING)
        for line, error in (
            (self.outlet.ground_fault, "GroundFailure"),
            (self.outlet.overcurrent, "OverCurrentFailure"),
        ):
            self.charging()
            line.set(1)
            self.assertEqual(self.contactor.level, 0)
            line.set(0)
            self.outlet.permit(16)
            self.seconds(3)
            self.assertEqual(self.contactor.level, 0)
            self.assertError(error)
            self.wire.car = "A"
            self.turns(4)
            self.assertError("NoError")

    def test_an_interrupt_just_before_the_contactor_closes_keeps_it_open(self):
        self.wire.car = "C"
        self.turns(3)
        self.outlet.permit(16)
        closing = self.contactor.value

        def value(level=None):
            self.contactor.value = closing
            self.outlet.ground_fault.level = 1
            self.outlet.trip_ground(self.outlet.ground_fault)
            closing(level)

        self.contactor.value = value
        self.turns(1)
        self.assertEqual((self.contactor.level, self.outlet.closed), (0, False))
        self.turns(1)
        self.assertError("GroundFailure")

    def test_the_emergency_stop_ends_with_its_release_and_nothing_starts_by_itself(self):
        self.charging()
        self.outlet.emergency.level = 0
        self.turns(1)
        self.assertEqual((self.contactor.level, self.outlet.permitted), (0, 0))
        self.assertError("OtherError", "EmergencyStop")
        self.outlet.permit(16)
        self.assertEqual(self.outlet.permitted, 0)
        self.outlet.emergency.level = 1
        self.seconds(3)
        self.assertError("NoError")
        self.assertEqual(self.contactor.level, 0)
        self.outlet.permit(16)
        self.turns(1)
        self.assertEqual(self.contactor.level, 1)

    def test_the_emergency_stop_opens_by_interrupt_and_is_told(self):
        self.outlet.emergency.irq(self.outlet.trip_emergency, Line.IRQ_FALLING)
        self.charging()
        self.outlet.emergency.set(0)
        self.assertEqual((self.contactor.level, self.outlet.permitted), (0, 0))
        self.outlet.emergency.set(1)
        self.turns(1)
        self.assertEqual(self.changes, [("C", "NoError", False)])

    def test_a_welded_contactor_is_found_and_the_fault_lasts(self):
        self.charging()
        self.contactor.welded = True
        self.wire.car = "B"
        self.turns(4)
        self.assertError("NoError")  # it may take its time to open
        self.turns(1)
        self.assertError("PowerSwitchFailure", "Contactor is closed and should be open")
        self.contactor.welded = False
        self.wire.car = "A"
        self.seconds(3)
        self.assertEqual(self.outlet.error, "PowerSwitchFailure")
        self.outlet.clear()
        self.turns(1)
        self.assertError("NoError")

    def test_a_contactor_that_does_not_close_is_found(self):
        self.contactor.stuck = True
        self.wire.car = "C"
        self.turns(3)
        self.outlet.permit(16)
        self.turns(5)
        self.assertError("PowerSwitchFailure", "Contactor is open and should be closed")
        self.assertEqual((self.contactor.level, self.outlet.permitted), (0, 0))

    def test_a_slow_contactor_is_none_that_fails(self):
        self.charging()
        for car in "BCBC":
            self.wire.car = car
            for _ in range(60):
                before = self.contactor.level
                self.now += PERIOD
                self.evse.turn(self.now)
                if self.contactor.level == before:
                    self.contactor.settle()
        self.assertError("NoError")

    def test_pilot_errors_open_at_once_and_are_told_after_three_samples_and_end_by_themselves(self):
        for car, diode, info in (
            ("E", True, "Pilot at 0 V"),
            ("F", True, "Pilot negative"),
            ("C", False, "Car without a diode"),
        ):
            self.charging()
            self.wire.car, self.wire.diode = car, diode
            self.turns(1)
            self.assertEqual(self.contactor.level, 0)
            self.assertError("NoError")
            self.turns(2)
            self.assertError("EVCommunicationError", info)
            self.assertEqual(self.outlet.state, "F" if car == "F" else "E")
            self.assertEqual(self.outlet.permitted, 16)
            self.wire.car, self.wire.diode = "C", True
            self.turns(3)
            self.assertError("NoError")
            self.seconds(3)
            self.assertEqual(self.contactor.level, 1)

    def test_a_car_that_draws_too_much_is_cut_off_after_10_seconds(self):
        self.charging(16)
        self.outlet.meter.milliamps = 18600
        self.seconds(60)
        self.assertError("NoError")
        self.outlet.permit(6)  # the car has time to follow
        self.seconds(5)
        self.outlet.meter.milliamps = 7600
        self.seconds(60)
        self.assertError("NoError")
        self.outlet.meter.milliamps = 7601
        self.seconds(10)
        self.assertEqual(self.contactor.level, 1)
        self.turns(1)
        self.assertEqual(self.contactor.level, 0)
        self.assertError("OverCurrentFailure", TOO_MUCH)
        self.wire.car = "A"
        self.turns(4)
        self.assertError("NoError")

    def test_a_coarse_meter_accuses_no_car_that_follows_in_time_and_finds_one_that_does_not(self):
        for after in range(0, 5000, 450):
            for follows in (True, False):
                self.setUp()
                self.outlet.meter = meter = hw.meter.Meter(0, 100, 1, 230, None, "meter1")
                hw.meter.ticks_ms = lambda: self.now
                work = after * 7360  # of this pulse so far, in W ms
                self.charging(32)
                for i in range(3000):  # 150 s
                    if i == 600:
                        self.outlet.permit(6)
                    work += PERIOD * (1380 if i >= 700 and follows else 7360) * self.contactor.level
                    if work >= 36000000:
                        work -= 36000000
                        meter.pulse(None)
                    self.turns()
                self.assertError(*(("NoError",) if follows else ("OverCurrentFailure", TOO_MUCH)))

    def test_the_gravest_of_several_faults_is_told(self):
        self.outlet.overcurrent.level = self.outlet.ground_fault.level = 1
        self.outlet.emergency.level = 0
        self.turns(1)
        self.assertError("OtherError", "EmergencyStop")
        self.outlet.emergency.level = 1
        self.turns(1)
        self.assertError("GroundFailure")


class PartsTest(Case):
    def test_a_lock_gets_current_for_half_a_second_and_nothing_is_unlocked_under_load(self):
        self.charging()
        self.assertEqual(self.outlet.unlock(), True)
        self.assertEqual((self.contactor.level, self.outlet.lock.level), (0, 1))
        self.turns(9)
        self.assertEqual(self.outlet.lock.level, 1)
        self.turns(1)
        self.assertEqual(self.outlet.lock.level, 0)

    def test_no_lock_and_a_welded_contactor_are_told(self):
        self.charging()
        self.contactor.welded = True
        self.outlet.cut()
        self.turns(5)
        self.assertEqual(self.outlet.unlock(), False)
        self.outlet.lock = None
        self.assertEqual(self.outlet.unlock(), None)

    def test_the_meter_gives_values_and_rests_while_the_contactor_is_open(self):
        self.charging()
        self.outlet.meter.milliamps = 16000
        self.assertEqual(self.outlet.values(), {"Energy.Active.Import.Register": 4711, "Current.Import": 16.0})
        self.assertEqual(self.outlet.energy, 4711)
        self.outlet.keep()
        self.outlet.cut()
        self.assertEqual((self.outlet.meter.kept, self.outlet.meter.rested), (1, 1))

    def test_without_a_meter_there_is_a_register_of_0_only(self):
        self.outlet.meter = None
        self.charging()
        self.outlet.cut()
        self.outlet.keep()
        self.assertEqual((self.outlet.values(), self.outlet.energy), ({"Energy.Active.Import.Register": 0}, 0))

    def test_a_bare_outlet_charges(self):
        outlet = self.outlet
        outlet.feedback = outlet.ground_fault = outlet.overcurrent = outlet.emergency = outlet.lock = outlet.meter = (
            None
        )
        self.evse.reader = None
        outlet.show("Charging")
        self.charging()

    def test_cards_are_told(self):
        self.evse.reader.tag = "0100E3F2A1"
        self.turns(2)
        self.assertEqual(self.cards, ["0100E3F2A1"])


class LoopTest(Case):
    def test_errors_of_the_protocol_are_logged_and_stop_nothing(self):
        def fail(what):
            raise ValueError("no such thing")

        self.evse.on_change = self.evse.on_card = fail
        self.evse.reader.tag = "0100E3F2A1"
        self.charging()
        self.assertEqual([str(error) for error in self.logged], ["no such thing"] * 3)

    def test_the_loop_runs_until_it_is_cancelled_and_opens_the_contactor_then(self):
        async def main():
            closed = asyncio.Event()
            self.wire.car = "C"

            def change(number):
                if self.outlet.closed:
                    closed.set()
                else:
                    self.outlet.permit(16)

            self.evse.on_change = change
            self.outlet.feedback = None
            task = asyncio.create_task(self.evse.run())
            await asyncio.wait_for(closed.wait(), 10)
            self.assertEqual(self.contactor.level, 1)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            self.assertEqual((self.contactor.level, self.outlet.permitted), (0, 0))

        asyncio.run(main())

    def test_a_part_that_fails_ends_the_loop_with_all_contactors_open(self):
        other = Contactor()
        wire = Wire()
        self.evse.outlets.append(Outlet(2, Pilot(wire, wire, LOW, HIGH), other, 16))
        self.charging()
        other.value(1)

        def fail():
            raise OSError(5)

        self.outlet.pilot.read_uv = fail
        with self.assertRaises(OSError):
            asyncio.run(self.evse.run())
        self.assertEqual((self.contactor.level, other.level), (0, 0))

    def test_a_thousand_turns_leave_no_memory_behind(self):
        self.charging()
        now = self.now
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        for _ in range(1000):
            now += 50
            self.evse.turn(now)
        after = gc.mem_alloc()
        gc.enable()
        self.assertEqual(after - before, 0)


if __name__ == "__main__":
    unittest.main()
