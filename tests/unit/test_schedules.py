import unittest

from ocpp.schedules import combine, flat, lay, lower, part, record

NOW = 1787313600  # 2026-08-21T12:00:00Z
DAY = 86400


def profile(*periods, purpose="TxDefaultProfile", kind="Absolute", unit="A", level=0, **fields):
    """A ChargingProfile with periods (startPeriod, limit); fields: of the profile and of its schedule."""
    schedule = {
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [{"startPeriod": start, "limit": limit} for start, limit in periods],
    }
    for name in ("duration", "startSchedule"):
        if name in fields:
            schedule[name] = fields.pop(name)
    named = {"chargingProfileId": 1, "stackLevel": level, "chargingProfilePurpose": purpose}
    return dict(named, chargingProfileKind=kind, chargingSchedule=schedule, **fields)


def same(limit):
    return limit


def laid(*profiles, length=4 * 3600, now=NOW, age=0):
    """The timeline of profiles that overrule one another in this order."""
    timeline = flat(length)
    for one in profiles:
        lay(timeline, record(1, one, NOW), now, age, same)
    return timeline


class Record(unittest.TestCase):
    def test_it_has_everything_in_short(self):
        one = profile((0, 16), (3600, 6.1), kind="Recurring", recurrencyKind="Daily", duration=7200, level=3)
        one["chargingSchedule"]["startSchedule"] = "2026-08-21T12:00:00Z"
        one["validTo"] = "2026-08-21T12:00:01+00:00"
        expected = [1, 3, 2, 1, DAY, NOW, None, NOW + 1, 7200, "A", [0, 160, 3600, 61]]
        self.assertEqual(record(2, one, NOW), expected)

    def test_a_relative_one_has_no_start_of_its_own(self):
        one = profile((0, 16), kind="Relative", startSchedule="2026-08-21T12:00:00Z")
        self.assertIsNone(record(1, one, NOW)[5])

    def test_what_makes_no_sense_is_refused(self):
        for one in (
            profile((1, 16)),
            profile((0, 16), (60, 10), (60, 8)),
            profile((0, 16), (60, 10), (30, 8)),
            profile((0, 16), kind="Recurring"),
            profile((0, 16), validFrom="2026-08-21T12:00:00Z", validTo="2026-08-21T12:00:00Z"),
        ):
            with self.assertRaises(ValueError):
                record(1, one, NOW)

    def test_a_charge_point_has_no_start_of_charging_and_so_its_schedule_starts_when_it_comes(self):
        one = profile((0, 16), (60, 10), purpose="ChargePointMaxProfile", kind="Relative")
        self.assertEqual(record(0, one, NOW)[5], NOW)
        with self.assertRaises(ValueError):
            record(0, one, None)
        always = profile((0, 16), purpose="ChargePointMaxProfile", kind="Relative")
        self.assertIsNone(record(0, always, None)[5])


class Lay(unittest.TestCase):
    def test_an_absolute_schedule_has_its_periods_and_ends_by_its_duration(self):
        one = profile((0, 16), (600, 10), duration=1800, startSchedule="2026-08-21T12:10:00Z")
        self.assertEqual(laid(one), [[0, None], [600, 160], [1200, 100], [2400, None], [14400, None]])

    def test_without_a_duration_the_last_period_lasts(self):
        one = profile((0, 16), (600, 10), startSchedule="2026-08-21T11:55:00Z")
        self.assertEqual(laid(one), [[0, 160], [300, 100], [14400, None]])

    def test_it_counts_from_validFrom_until_validTo(self):
        one = profile((0, 16), (600, 10), startSchedule="2026-08-21T12:00:00Z")
        one["validFrom"], one["validTo"] = "2026-08-21T12:05:00Z", "2026-08-21T12:20:00Z"
        self.assertEqual(laid(one), [[0, None], [300, 160], [600, 100], [1200, None], [14400, None]])

    def test_a_relative_schedule_begins_with_the_transaction(self):
        one = profile((0, 16), (600, 10), kind="Relative")
        self.assertEqual(laid(one, age=500), [[0, 160], [100, 100], [14400, None]])
        self.assertEqual(laid(one), [[0, 160], [600, 100], [14400, None]])

    def test_so_does_an_absolute_one_without_a_start(self):
        self.assertEqual(laid(profile((0, 16), (600, 10)), age=500), [[0, 160], [100, 100], [14400, None]])

    def test_a_daily_schedule_comes_every_day_from_its_start_on(self):
        one = profile((0, 16), (3600, 8), kind="Recurring", recurrencyKind="Daily", duration=7200)
        one["chargingSchedule"]["startSchedule"] = "2026-08-20T11:30:00Z"
        expected = [[0, 160], [1800, 80], [5400, None], [DAY - 1800, 160], [DAY + 1800, 80], [DAY + 5400, None]]
        self.assertEqual(laid(one, length=DAY + 7200), expected + [[DAY + 7200, None]])
        one["chargingSchedule"]["startSchedule"] = "2026-08-22T11:30:00Z"
        self.assertEqual(laid(one, length=DAY), [[0, None], [DAY - 1800, 160], [DAY, None]])

    def test_a_weekly_one_every_week_and_no_longer_than_one(self):
        one = profile((0, 16), (6 * DAY, 8), (8 * DAY, 6), kind="Recurring", recurrencyKind="Weekly", duration=9 * DAY)
        one["chargingSchedule"]["startSchedule"] = "2026-08-07T12:00:00Z"
        expected = [[0, 160], [6 * DAY, 80], [7 * DAY, 160], [8 * DAY, None]]
        self.assertEqual(laid(one, length=8 * DAY), expected)

    def test_a_higher_one_overrules_a_lower_one_where_it_has_a_limit(self):
        high = profile((0, 16), duration=600, startSchedule="2026-08-21T12:10:00Z")
        self.assertEqual(
            laid(profile((0, 10), kind="Relative"), high), [[0, 100], [600, 160], [1200, 100], [14400, None]]
        )

    def test_while_the_time_is_unknown_the_lowest_limit_counts(self):
        high = profile((0, 16), (60, 8), duration=600, startSchedule="2026-08-21T12:10:00Z")
        low = profile((0, 10), kind="Relative")
        self.assertEqual(laid(low, high, now=None), [[0, 80], [14400, None]])
        self.assertEqual(laid(high, now=None), [[0, 80], [14400, None]])
        self.assertEqual(laid(profile((0, 6), kind="Relative"), high, now=None), [[0, 60], [14400, None]])

    def test_what_surely_overrules_an_uncertain_one_does_so_still(self):
        low = profile((0, 8), validTo="2026-08-21T12:10:00Z")
        high = profile((0, 16), kind="Relative")
        self.assertEqual(laid(low, high, now=None), [[0, 160], [14400, None]])

    def test_a_timeline_with_too_many_items_ends_earlier(self):
        one = profile(*[(i * 60, 6 + i % 2) for i in range(200)], kind="Relative")
        timeline = laid(one, length=DAY)
        self.assertEqual(timeline[:-1], [[i * 60, 60 + 10 * (i % 2)] for i in range(47)])
        self.assertEqual(timeline[-1][0], 47 * 60)


class Combine(unittest.TestCase):
    def test_the_lower_limit_counts_at_any_time(self):
        first = [[0, None], [10, 100], [20, 60], [40, None]]
        second = [[0, 80], [15, None], [30, 50], [50, None]]
        expected = [[0, 80], [15, 100], [20, 60], [30, 50], [40, None]]
        self.assertEqual(combine(first, second, lower), expected)
        self.assertEqual(combine(second, first, lower), expected)

    def test_what_is_the_same_is_one_item(self):
        self.assertEqual(combine([[0, 90], [10, 95], [20, None]], flat(20, 80), lower), flat(20, 80))


class Part(unittest.TestCase):
    def test_one_alone_has_all_of_it(self):
        self.assertEqual(part(55, [1], 0, 1), 55)
        self.assertEqual(part(70000, [690], 0, 1), 101)  # 7 kW in three phases
        self.assertEqual(part(70000, [690], 0, 690), 70000)
        self.assertEqual(part(100, [1], 0, 690), 69000)

    def test_several_have_the_same_current(self):
        self.assertEqual([part(200, [1, 1, 1], place, 1) for place in range(3)], [66, 66, 66])
        self.assertEqual([part(70000, [230, 690], place, 1) for place in range(2)], [76, 76])

    def test_where_there_is_not_enough_the_first_have_it(self):
        self.assertEqual([part(179, [1, 1, 1], place, 1) for place in range(3)], [89, 89, 0])
        self.assertEqual([part(119, [1, 1], place, 1) for place in range(2)], [119, 0])
        self.assertEqual([part(40, [1, 1], place, 1) for place in range(2)], [40, 0])
        self.assertEqual([part(0, [1, 1], place, 1) for place in range(2)], [0, 0])


if __name__ == "__main__":
    unittest.main()
