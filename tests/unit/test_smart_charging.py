import json
import unittest

from ocpp.rpc import CallError
from station import NOON, Station

ACCEPTED = {"status": "Accepted"}
REJECTED = {"status": "Rejected"}
UNKNOWN = {"status": "Unknown"}
DAY = 86400


def profile(limit=10, purpose="TxDefaultProfile", **fields):
    """A ChargingProfile; limit: a number or a list of (startPeriod, limit). fields: of it and of its schedule."""
    periods = limit if isinstance(limit, list) else [(0, limit)]
    schedule = {
        "chargingRateUnit": fields.pop("unit", "A"),
        "chargingSchedulePeriod": [{"startPeriod": start, "limit": limit} for start, limit in periods],
    }
    for name in ("duration", "startSchedule", "minChargingRate"):
        if name in fields:
            schedule[name] = fields.pop(name)
    result = {
        "chargingProfileId": fields.pop("id", 1),
        "stackLevel": fields.pop("level", 0),
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative",
        "chargingSchedule": schedule,
    }
    result.update(fields)
    return result


def give(station, number, *arguments, **fields):
    one = profile(*arguments, **fields)
    return station.call("SetChargingProfile", connectorId=number, csChargingProfiles=one)


def limits(station):
    return [connector.limit for connector in station.point.connectors[1:]]


def stop(station, number=1):
    connector = station.point.connectors[number]
    station.point.call("charging", "stop_now", connector, "Local")
    station.outlets[number - 1].becomes("A")


def composite(station, number=1, duration=3600, **fields):
    """The schedule that the charge point reports, as [(startPeriod, limit)], and the end of it."""
    answer = station.call("GetCompositeSchedule", connectorId=number, duration=duration, **fields)
    assert answer["status"] == "Accepted" and answer["connectorId"] == number, answer
    schedule = answer["chargingSchedule"]
    assert schedule["chargingRateUnit"] == fields.get("chargingRateUnit", "A")
    periods = [(period["startPeriod"], period["limit"]) for period in schedule["chargingSchedulePeriod"]]
    return periods + [schedule["duration"]]


class Limits(unittest.TestCase):
    def test_without_profiles_there_is_none(self):
        station = Station()
        station.charge()
        self.assertEqual((limits(station), station.outlets[0].permitted), ([None], 16))

    def test_a_default_profile_limits_the_transactions_of_all_connectors(self):
        station = Station(connectors=2)
        self.assertEqual(give(station, 0, 10), ACCEPTED)
        station.charge(1)
        self.assertEqual([outlet.permitted for outlet in station.outlets], [10, 0])
        station.charge(2, "OTHER")
        self.assertEqual([outlet.permitted for outlet in station.outlets], [10, 10])

    def test_a_new_profile_counts_at_once(self):
        station = Station()
        station.charge()
        give(station, 1, 10.5)
        self.assertEqual(station.outlets[0].permitted, 10.5)
        give(station, 1, 8)
        self.assertEqual(station.outlets[0].permitted, 8)

    def test_less_than_6_A_is_a_pause(self):
        station = Station()
        station.charge()
        station.statuses()
        give(station, 1, 5.9)
        self.assertEqual((station.outlets[0].permitted, station.statuses()), (0, ["1 SuspendedEVSE"]))
        give(station, 1, 6)
        self.assertEqual((station.outlets[0].permitted, station.statuses()), (6, ["1 Charging"]))

    def test_a_limit_in_watts_counts_for_the_phases_of_the_outlet(self):
        station = Station()
        give(station, 1, 3000, unit="W")
        self.assertEqual(limits(station), [13.0])
        station.outlets[0].phases = 3
        give(station, 1, 3000.5, unit="W")
        self.assertEqual(limits(station), [4.3])

    def test_the_connectors_own_default_profile_overrules_the_one_for_all(self):
        station = Station(connectors=2)
        give(station, 1, 12, id=1)
        give(station, 0, 8, id=2)
        self.assertEqual(limits(station), [12.0, 8.0])
        give(station, 0, 7, id=3, level=1)
        self.assertEqual(limits(station), [7.0, 7.0])

    def test_a_transactions_profile_overrules_the_default_for_that_transaction(self):
        station = Station()
        give(station, 1, 8, id=1)
        station.charge()
        self.assertEqual(give(station, 1, 14, "TxProfile", id=2), ACCEPTED)
        self.assertEqual(limits(station), [14.0])
        stop(station)
        self.assertEqual(limits(station), [8.0])
        station.charge()
        self.assertEqual(limits(station), [8.0])

    def test_where_it_has_ended_the_default_counts_again(self):
        station = Station()
        give(station, 1, 8, id=1)
        station.charge()
        give(station, 1, 14, "TxProfile", id=2, duration=600)
        station.advance(599)
        self.assertEqual(limits(station), [14.0])
        station.advance(1)
        self.assertEqual((limits(station), station.outlets[0].permitted), ([8.0], 8))

    def test_a_higher_stack_level_prevails_as_long_as_it_lasts(self):
        station = Station()
        give(station, 1, [(0, 12), (60, 14)], id=1, level=1, duration=100)
        give(station, 1, 8, id=2)
        station.charge()
        course = []
        for _ in range(12):
            course += limits(station)
            station.advance(10)
        self.assertEqual(course, [12.0] * 6 + [14.0] * 4 + [8.0] * 2)

    def test_a_daily_profile_changes_the_limit_every_day(self):
        station = Station()
        start = "2026-08-01T13:00:00Z"
        recurring = {"chargingProfileKind": "Recurring", "recurrencyKind": "Daily", "startSchedule": start}
        give(station, 1, [(0, 16), (3600, 6)], **recurring)
        self.assertEqual(limits(station), [6.0])
        for _ in range(2):
            for _ in range(24):
                step(station, 3600)
                if station.clock.seconds % DAY == 13 * 3600:
                    self.assertEqual(limits(station), [16.0])
                else:
                    self.assertEqual(limits(station), [6.0])

    def test_a_validity_that_begins_in_days_is_not_forgotten(self):
        station = Station()
        give(station, 1, 6, validFrom="2026-08-23T12:00:00Z", validTo="2026-08-23T13:00:00Z")
        self.assertEqual(limits(station), [None])
        for hour in range(1, 50):
            step(station, 3600)
            self.assertEqual(limits(station), [6.0 if hour == 48 else None])

    def test_what_cannot_be_read_is_tried_again_and_stops_nothing(self):
        station = Station()
        give(station, 1, [(0, 8), (600, 10)])
        station.charge()
        readable = station.files.lines

        def lines(name):
            if name == "profiles":
                raise OSError(5, "flash")
            return readable(name)

        station.files.lines = lines
        step(station, 600)
        self.assertEqual(limits(station), [8.0])
        self.assertTrue("can't be read" in station.log[-1])
        stop(station)
        self.assertIsNone(station.point.connectors[1].transaction)
        station.charge()
        station.files.lines = readable
        step(station, 600)
        self.assertEqual(limits(station), [10.0])

    def test_without_profiles_there_is_no_timer(self):
        station = Station()
        give(station, 1, 8)
        station.call("ClearChargingProfile")
        self.assertEqual([timer for timer in station.point._timers if timer[1] == "smart_charging"], [])


def step(station, seconds):
    """Let time pass in one step."""
    station.clock.passed += seconds
    if station.clock.seconds is not None:
        station.clock.seconds += seconds
    station.settle()


class Shared(unittest.TestCase):
    """ChargePointMaxProfile: the limit of all connectors together."""

    def test_the_one_that_charges_has_all_of_it(self):
        station = Station(connectors=2)
        give(station, 0, 16, "ChargePointMaxProfile")
        station.charge(1)
        self.assertEqual(station.outlets[0].permitted, 16)

    def test_two_have_half_of_it_each(self):
        station = Station(connectors=2)
        give(station, 0, 16, "ChargePointMaxProfile")
        station.charge(1)
        station.charge(2, "OTHER")
        self.assertEqual([outlet.permitted for outlet in station.outlets], [8, 8])
        stop(station, 1)
        self.assertEqual([outlet.permitted for outlet in station.outlets], [0, 16])

    def test_where_there_is_not_enough_for_all_who_came_first_charges_first(self):
        station = Station(connectors=3)
        give(station, 0, 14, "ChargePointMaxProfile")
        for number in (3, 1):
            station.charge(number, "TAG%d" % number)
            step(station, 5)
        station.outlets[1].becomes("B")
        station.card("TAG2")
        self.assertEqual([outlet.permitted for outlet in station.outlets], [7, 0, 7])
        stop(station, 3)
        self.assertEqual([outlet.permitted for outlet in station.outlets], [7, 7, 0])

    def test_the_lower_one_of_it_and_of_the_connectors_profile_counts(self):
        station = Station()
        give(station, 0, 10, "ChargePointMaxProfile", id=1)
        give(station, 0, 12, id=2)
        self.assertEqual(limits(station), [10.0])
        station.charge()
        give(station, 1, 7, "TxProfile", id=3)
        self.assertEqual(limits(station), [7.0])
        give(station, 1, 16, "TxProfile", id=3)
        self.assertEqual(limits(station), [10.0])

    def test_watts_are_shared_too(self):
        station = Station(connectors=2)
        station.outlets[1].phases = 3
        give(station, 0, 9200, "ChargePointMaxProfile", unit="W")
        station.charge(1)
        station.charge(2, "OTHER")
        self.assertEqual(limits(station), [10.0, 10.0])


class Installing(unittest.TestCase):
    def rejects(self, station, number, *arguments, **fields):
        before = dict(station.files.contents)
        lines = len(station.log)
        self.assertEqual(give(station, number, *arguments, **fields), REJECTED)
        self.assertEqual(station.files.contents, before)
        self.assertTrue(any(" rejected: " in line for line in station.log[lines:]))

    def test_the_same_id_or_the_same_level_and_purpose_replaces(self):
        station = Station()
        give(station, 1, 10, id=1)
        give(station, 1, 11, id=2)
        self.assertEqual(limits(station), [11.0])
        give(station, 1, 12, id=2, level=1)
        self.assertEqual(limits(station), [12.0])
        station.call("ClearChargingProfile", stackLevel=1)
        self.assertEqual(limits(station), [None])

    def test_the_same_id_replaces_whatever_it_was(self):
        station = Station()
        station.charge()
        give(station, 1, 10, "TxProfile", id=1)
        give(station, 0, 9, "ChargePointMaxProfile", id=1)
        self.assertEqual(limits(station), [9.0])
        give(station, 1, 11, "TxProfile", id=1)
        self.assertEqual((limits(station), "profiles" in station.files.names()), ([11.0], False))

    def test_a_transactions_profile_needs_a_transaction_and_its_id(self):
        station = Station()
        self.rejects(station, 1, 10, "TxProfile")
        station.charge()
        station.deliver()
        transaction = station.point.connectors[1].transaction
        self.rejects(station, 0, 10, "TxProfile")
        self.rejects(station, 1, 10, "TxProfile", transactionId=transaction.id + 1)
        self.assertEqual(give(station, 1, 10, "TxProfile", transactionId=transaction.id), ACCEPTED)
        self.assertEqual(limits(station), [10.0])

    def test_a_maximum_of_the_charge_point_is_for_connector_0(self):
        self.rejects(Station(), 1, 10, "ChargePointMaxProfile")

    def test_there_are_bounds(self):
        station = Station()
        self.rejects(station, 1, 10, level=9)
        self.rejects(station, 1, [(i, 10) for i in range(25)])
        for i in range(10):
            self.assertEqual(give(station, i % 2, 10 + i, id=i, level=i // 2), ACCEPTED)
        self.rejects(station, 1, 10, id=10, level=5)
        self.assertEqual(give(station, 1, 10, id=10, level=4), ACCEPTED)

    def test_what_makes_no_sense_is_rejected(self):
        station = Station()
        self.rejects(station, 1, [(1, 10)])
        self.rejects(station, 1, [(0, 10), (0, 11)])
        self.rejects(station, 1, 10, chargingProfileKind="Recurring")
        self.rejects(station, 1, 10, validFrom="2026-08-21T12:00:00Z", validTo="2026-08-21T11:00:00Z")

    def test_expired_profiles_make_room(self):
        station = Station()
        for i in range(10):
            give(station, i % 2, 10, id=i, level=i // 2, validTo="2026-08-21T13:00:00Z")
        self.rejects(station, 1, 10, id=10, level=5)
        step(station, 3600)
        self.assertEqual(give(station, 1, 10, id=10, level=5), ACCEPTED)
        self.assertEqual(len(list(station.files.lines("profiles"))), 1)

    def test_they_survive_a_reset_but_those_of_a_transaction_do_not(self):
        station = Station()
        give(station, 0, 15, "ChargePointMaxProfile", id=1)
        give(station, 1, 10, id=2)
        station.charge()
        give(station, 1, 8, "TxProfile", id=3)
        station.reset()
        self.assertEqual(limits(station), [10.0])
        station.call("ClearChargingProfile", id=2)
        self.assertEqual(limits(station), [15.0])

    def test_a_transactions_profiles_wear_no_flash(self):
        station = Station()
        station.charge()
        writes = station.files.writes
        for limit in range(6, 16):
            give(station, 1, limit, "TxProfile")
        self.assertEqual((station.files.writes, "profiles" in station.files.names()), (writes, False))

    def test_nor_does_a_profile_that_comes_again_as_it_is(self):
        station = Station()
        give(station, 1, 10)
        writes = station.files.writes
        self.assertEqual(give(station, 1, 10), ACCEPTED)
        self.assertEqual(station.files.writes, writes)

    def test_what_cannot_be_written_is_rejected_and_all_is_as_before(self):
        station = Station()
        give(station, 1, 10, id=1)
        station.files.full = True
        self.rejects(station, 1, 8, id=2)
        self.assertEqual(limits(station), [10.0])

    def test_a_transactions_profiles_are_bounded_in_memory(self):
        station = Station()
        station.charge()
        for level in range(8):
            many = [(i * 100000, 1000.1) for i in range(24)]
            answer = give(station, 1, many, "TxProfile", id=level, level=level)
            if answer == REJECTED:
                break
        self.assertTrue(level >= 3)
        self.assertEqual(answer, REJECTED)

    def test_a_damaged_line_is_passed_over(self):
        station = Station()
        give(station, 1, 10, id=1)
        give(station, 1, 12, id=2, level=1)
        first, second = station.files.lines("profiles")
        station.files.contents["profiles"] = first + "\n" + second[:-9] + "\n"
        station.reset()
        self.assertEqual(limits(station), [10.0])
        give(station, 1, 8, id=3, level=2)
        self.assertEqual(len(list(station.files.lines("profiles"))), 2)


class Clearing(unittest.TestCase):
    def station(self):
        station = Station()
        give(station, 0, 15, "ChargePointMaxProfile", id=1)
        give(station, 0, 14, id=2, level=1)
        give(station, 1, 13, id=3, level=1)
        give(station, 1, 12, id=4, level=2)
        station.charge()
        give(station, 1, 11, "TxProfile", id=5, level=1)
        return station

    def left(self, **criteria):
        """The ids of those that a ClearChargingProfile leaves, and its answer."""
        station = self.station()
        answer = station.call("ClearChargingProfile", **criteria)
        lines = list(station.files.lines("profiles")) + list(station.point.connectors[1].profiles or ())
        return [json.loads(line)[3] for line in lines], answer

    def test_all_that_is_given_has_to_match(self):
        self.assertEqual(self.left(), ([], ACCEPTED))
        self.assertEqual(self.left(connectorId=0), ([3, 4, 5], ACCEPTED))
        self.assertEqual(self.left(connectorId=1, stackLevel=1), ([1, 2, 4], ACCEPTED))
        self.assertEqual(self.left(chargingProfilePurpose="TxDefaultProfile"), ([1, 5], ACCEPTED))
        self.assertEqual(self.left(stackLevel=2, chargingProfilePurpose="TxProfile"), ([1, 2, 3, 4, 5], UNKNOWN))
        self.assertEqual(self.left(stackLevel=0), ([2, 3, 4, 5], ACCEPTED))

    def test_by_id_the_rest_is_ignored(self):
        self.assertEqual(self.left(id=3), ([1, 2, 4, 5], ACCEPTED))
        self.assertEqual(self.left(id=5, connectorId=0), ([1, 2, 3, 4], ACCEPTED))
        self.assertEqual(self.left(id=6), ([1, 2, 3, 4, 5], UNKNOWN))

    def test_what_is_cleared_limits_no_longer(self):
        station = self.station()
        course = []
        for number in (5, 4, 3, 2, 1):
            course += limits(station)
            station.call("ClearChargingProfile", id=number)
        self.assertEqual(course + limits(station), [11.0, 12.0, 13.0, 14.0, 15.0, None])
        self.assertEqual(station.outlets[0].permitted, 16)


class Composite(unittest.TestCase):
    def test_without_profiles_it_is_what_the_outlet_can(self):
        station = Station()
        self.assertEqual(composite(station), [(0, 16.0), 3600])
        self.assertEqual(composite(station, chargingRateUnit="W"), [(0, 3680.0), 3600])

    def test_it_merges_the_profiles(self):
        station = Station()
        give(station, 0, 13, "ChargePointMaxProfile", id=1)
        give(station, 1, [(0, 8), (600, 14), (1200, 20)], id=2, duration=1800)
        expected = [(0, 8.0), (600, 13.0), 3600]
        self.assertEqual(composite(station), expected)
        station.call("ClearChargingProfile", id=1)
        self.assertEqual(composite(station), [(0, 8.0), (600, 14.0), (1200, 16.0), 3600])

    def test_it_begins_now(self):
        station = Station()
        give(station, 1, [(0, 8), (600, 14)])
        station.charge()
        step(station, 100)
        answer = station.call("GetCompositeSchedule", connectorId=1, duration=1000)
        self.assertEqual(answer["scheduleStart"], "2026-08-21T12:01:40Z")
        self.assertEqual(composite(station, duration=1000), [(0, 8.0), (500, 14.0), 1000])

    def test_watts_stay_what_they_are(self):
        station = Station()
        give(station, 1, 2000.5, unit="W")
        self.assertEqual(composite(station, chargingRateUnit="W"), [(0, 2000.5), 3600])
        self.assertEqual(composite(station), [(0, 8.6), 3600])

    def test_for_connector_0_it_is_what_all_of_them_may_draw(self):
        station = Station(connectors=2)
        self.assertEqual(composite(station, 0), [(0, 32.0), 3600])
        give(station, 1, [(0, 10), (600, 12)], id=1)
        self.assertEqual(composite(station, 0), [(0, 26.0), (600, 28.0), 3600])
        give(station, 0, 27, "ChargePointMaxProfile", id=2)
        self.assertEqual(composite(station, 0), [(0, 26.0), (600, 27.0), 3600])

    def test_it_has_no_more_periods_than_a_profile_may_have_and_ends_there(self):
        station = Station()
        daily = {"chargingProfileKind": "Recurring", "recurrencyKind": "Daily", "startSchedule": "2026-08-01T12:00:00Z"}
        give(station, 1, [(i * 600, 6 + i % 2) for i in range(24)], **daily)
        periods = composite(station, duration=7 * DAY)
        self.assertEqual((len(periods), periods[23], periods[24]), (25, (23 * 600, 7.0), DAY))

    def test_an_unknown_connector_is_rejected(self):
        station = Station()
        self.assertEqual(station.call("GetCompositeSchedule", connectorId=2, duration=60), REJECTED)

    def test_durations_are_bounded(self):
        station = Station()
        self.assertEqual(composite(station, duration=0), [(0, 16.0), 1])
        self.assertEqual(composite(station, duration=0x7FFFFFFF), [(0, 16.0), 7 * DAY])


class UnknownTime(unittest.TestCase):
    def test_the_lowest_limit_counts_until_the_time_is_known(self):
        station = Station()
        daily = {"chargingProfileKind": "Recurring", "recurrencyKind": "Daily", "startSchedule": "2026-08-01T12:00:00Z"}
        give(station, 1, [(0, 16), (3600, 6)], **daily)
        station.reset(clock=False)
        self.assertEqual(limits(station), [6.0])
        answer = station.call("GetCompositeSchedule", connectorId=1, duration=7200)
        self.assertFalse("scheduleStart" in answer)
        station.clock.set(NOON)
        step(station, 60)
        self.assertEqual(limits(station), [16.0])

    def test_what_needs_no_time_counts_as_ever(self):
        station = Station()
        give(station, 1, [(0, 16), (60, 8)])
        give(station, 0, 15, "ChargePointMaxProfile", id=2)
        station.reset(clock=False)
        station.charge()
        self.assertEqual(limits(station), [15.0])
        step(station, 60)
        self.assertEqual(limits(station), [8.0])


class RemoteStart(unittest.TestCase):
    def start(self, station, **fields):
        one = profile(9, "TxProfile", **fields)
        return station.call("RemoteStartTransaction", connectorId=1, idTag="TAG", chargingProfile=one)

    def test_its_profile_is_for_the_transaction_that_begins(self):
        station = Station()
        self.assertEqual(self.start(station), ACCEPTED)
        station.run()
        station.outlets[0].becomes("C")
        self.assertEqual((limits(station), station.outlets[0].permitted), ([9.0], 9))
        stop(station)
        self.assertEqual(limits(station), [None])

    def test_if_nobody_plugs_in_it_is_gone(self):
        station = Station()
        self.start(station)
        station.run()
        step(station, station.point.configuration.get("ConnectionTimeOut"))
        station.charge()
        self.assertEqual(limits(station), [None])

    def test_only_a_transactions_profile_can_be_used(self):
        station = Station()
        connector = station.point.connectors[1]
        self.assertFalse(station.point.call("smart_charging", "begin_profile", connector, profile(9)))
        self.assertIsNone(connector.profiles)


def refusal(action, payload):
    """The code of the CALLERROR for a call."""
    try:
        return Station().call(action, **payload)
    except CallError as error:
        return error.code


class Payloads(unittest.TestCase):
    def code(self, change):
        """The error code for a SetChargingProfile that `change` has spoilt."""
        payload = {"connectorId": 1, "csChargingProfiles": profile(10, duration=60, minChargingRate=6.5)}
        change(payload, payload["csChargingProfiles"], payload["csChargingProfiles"]["chargingSchedule"])
        return refusal("SetChargingProfile", payload)

    def put(self, place, name, value):
        def change(*parts):
            where = parts[2]["chargingSchedulePeriod"][0] if place == 3 else parts[place]
            where[name] = value

        return self.code(change)

    def test_wrong_types(self):
        for place, name, value in (
            (0, "csChargingProfiles", []),
            (1, "chargingProfileId", "1"),
            (1, "stackLevel", 1.5),
            (1, "transactionId", "7"),
            (1, "validFrom", 5),
            (1, "chargingSchedule", None),
            (2, "chargingSchedulePeriod", {}),
            (2, "minChargingRate", "6"),
            (2, "duration", True),
            (3, "limit", "10"),
            (3, "numberPhases", 1.0),
        ):
            self.assertEqual(self.put(place, name, value), "TypeConstraintViolation")

    def test_values_that_cannot_be(self):
        for place, name, value in (
            (0, "connectorId", 2),
            (1, "chargingProfilePurpose", "Default"),
            (1, "chargingProfileKind", "Sometimes"),
            (1, "recurrencyKind", "Monthly"),
            (1, "stackLevel", -1),
            (1, "validTo", "tomorrow"),
            (2, "chargingRateUnit", "VA"),
            (2, "duration", -1),
            (2, "startSchedule", "2026-02-30T00:00:00Z"),
            (2, "minChargingRate", 6.25),
            (3, "limit", -0.1),
            (3, "limit", 10.25),
            (3, "limit", 10000000),
            (3, "numberPhases", 0),
            (3, "numberPhases", 4),
            (3, "startPeriod", -1),
        ):
            self.assertEqual(self.put(place, name, value), "PropertyConstraintViolation")

    def test_what_is_missing_or_too_much(self):
        for name in ("chargingProfileId", "stackLevel", "chargingProfilePurpose", "chargingProfileKind"):
            self.assertEqual(
                self.code(lambda _, one, schedule, name=name: one.pop(name)), "OccurenceConstraintViolation"
            )
        for name in ("chargingRateUnit", "chargingSchedulePeriod"):
            code = self.code(lambda _, one, schedule, name=name: schedule.pop(name))
            self.assertEqual(code, "OccurenceConstraintViolation")
        self.assertEqual(self.put(2, "chargingSchedulePeriod", []), "OccurenceConstraintViolation")
        for place in (1, 2, 3):
            self.assertEqual(self.put(place, "colour", "red"), "FormationViolation")

    def test_a_remote_start_with_a_bad_profile_is_answered_so_too(self):
        bad = profile(10, "TxProfile")
        bad["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"] = "much"
        code = refusal("RemoteStartTransaction", {"idTag": "TAG", "chargingProfile": bad})
        self.assertEqual(code, "TypeConstraintViolation")


if __name__ == "__main__":
    unittest.main()
