import unittest

from ocpp.timestamps import format_time, parse_time


class Timestamps(unittest.TestCase):
    def test_zulu_time_becomes_unix_seconds(self):
        self.assertEqual(parse_time("1970-01-01T00:00:00Z"), 0)
        self.assertEqual(parse_time("2026-08-21T12:00:00Z"), 1787313600)

    def test_fraction_is_dropped(self):
        self.assertEqual(parse_time("2026-08-21T12:00:00.123Z"), 1787313600)
        self.assertEqual(parse_time("2026-08-21T12:00:00.999999999Z"), 1787313600)

    def test_offset_is_taken_into_account(self):
        self.assertEqual(parse_time("2026-08-21T14:00:00+02:00"), 1787313600)
        self.assertEqual(parse_time("2026-08-21T08:30:00.5-03:30"), 1787313600)
        self.assertEqual(parse_time("2026-08-21T20:00:00+0800"), 1787313600)
        self.assertEqual(parse_time("2026-08-22T00:45:00+12:45"), 1787313600)

    def test_time_without_zone_is_utc(self):
        self.assertEqual(parse_time("2026-08-21T12:00:00"), 1787313600)

    def test_seconds_beyond_32_bits_are_exact(self):
        self.assertEqual(parse_time("2038-01-19T03:14:08Z"), 2147483648)
        self.assertEqual(parse_time("2106-02-07T06:28:16Z"), 4294967296)
        self.assertEqual(format_time(4294967296), "2106-02-07T06:28:16Z")

    def test_leap_days(self):
        self.assertEqual(parse_time("2028-02-29T00:00:00Z") + 86400, parse_time("2028-03-01T00:00:00Z"))
        self.assertEqual(parse_time("2000-02-29T23:59:59Z") + 1, parse_time("2000-03-01T00:00:00Z"))

    def test_every_day_of_two_centuries_comes_back(self):
        for days in range(0, 73000, 7):
            self.assertEqual(parse_time(format_time(days * 86400 + days)), days * 86400 + days)

    def test_what_is_no_date_time_is_refused(self):
        for text in (
            "",
            "now",
            "2026-08-21",
            "2026-08-21 12:00:00Z",
            "2026-08-21T12:00Z",
            "2026-08-21T12:00:00Zulu",
            "2026-08-21T12:00:00.Z",
            "2026-02-29T12:00:00Z",
            "2026-04-31T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-08-21T24:00:00Z",
            "2026-08-21T12:60:00Z",
            "+026-08-21T12:00:00Z",
        ):
            with self.assertRaises(ValueError):
                parse_time(text)


if __name__ == "__main__":
    unittest.main()
