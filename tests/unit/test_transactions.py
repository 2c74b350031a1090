import gc
import json
import unittest

from ocpp.rpc import CallError
from station import NOON, Station

gc.threshold(2048)  # hundreds of messages that stay would be all over the heap
ACCEPTED = {"idTagInfo": {"status": "Accepted"}}
VALUE = {"sampledValue": [{"value": "1", "measurand": "Voltage", "unit": "V"}]}
REFUSED = CallError("InternalError", "no")


class Charger(Station):
    """A charge point that takes no samples by itself."""

    def __init__(self, connectors=1, **keys):
        super().__init__(connectors, **dict(keys, MeterValueSampleInterval=0))
        contents = self.files.contents

        def names(folder=""):
            return [name.split("/")[-1] for name in contents if name.rpartition("/")[0] == folder]

        self.files.names = names

    def begin(self, number=1, tag="TAG", reservation=None):
        return self.point.call("transactions", "begin", self.point.connectors[number], tag, None, reservation)

    def end(self, reason="Local", number=1, tag=None):
        self.point.call("transactions", "end", self.point.connectors[number], reason, tag)

    def values(self, number=1):
        self.point.call("transactions", "meter_values", self.point.connectors[number], VALUE)

    def data(self, context="Sample.Periodic", number=1):
        self.energies = [outlet.energy for outlet in self.outlets]
        value = {"sampledValue": [{"value": str(self.energies[number - 1]), "context": context, "unit": "Wh"}]}
        self.point.call("transactions", "transaction_data", self.point.connectors[number], value)

    def transaction(self, seconds=60, energy=100, number=1):
        assert self.begin(number)
        self.passes(seconds, energy, number)
        self.end(number=number)

    def passes(self, seconds, energy=0, number=1):
        self.advance(seconds)
        self.outlets[number - 1].energy += energy

    def told(self, most=2000):
        """Deliver everything; return what was told of transactions."""
        return [message for message in self.deliver(most) if message[0] != "StatusNotification"]

    def actions(self):
        return [action for action, _ in self.told()]

    def log_has(self, text):
        return any(text in line for line in self.log)


class Messages(unittest.TestCase):
    def test_a_transaction_is_a_start_meter_values_and_a_stop(self):
        charger = Charger()
        charger.outlets[0].energy = 1000
        charger.begin(tag="ABC")
        charger.passes(60, 20)
        charger.values()
        charger.passes(60, 30)
        charger.end("Local", tag="DEF")
        start = {"connectorId": 1, "idTag": "ABC", "meterStart": 1000, "timestamp": "2026-08-21T12:00:00Z"}
        value = dict(VALUE, timestamp="2026-08-21T12:01:00Z")
        stop = {"transactionId": 1, "meterStop": 1050, "timestamp": "2026-08-21T12:02:00Z", "reason": "Local"}
        self.assertEqual(
            charger.told(),
            [
                ("StartTransaction", start),
                ("MeterValues", {"connectorId": 1, "transactionId": 1, "meterValue": [value]}),
                ("StopTransaction", dict(stop, idTag="DEF")),
            ],
        )
        self.assertEqual((charger.point.unsent, charger.point.peek()), (0, None))

    def test_start_names_the_reservation_and_stop_names_only_an_id_tag_that_has_ended_it(self):
        charger = Charger()
        charger.begin(reservation=0)
        charger.end("EVDisconnected")
        start, stop = charger.told()
        self.assertEqual(start[1]["reservationId"], 0)
        self.assertFalse("idTag" in stop[1])

    def test_connector_without_a_meter_measures_nothing(self):
        charger = Charger()
        charger.point.connectors[1].outlet = None
        charger.begin()
        charger.end()
        self.assertEqual([payload.get("meterStart", payload.get("meterStop")) for _, payload in charger.told()], [0, 0])

    def test_central_system_may_choose_any_number_as_transaction_id_and_the_same_one_twice(self):
        for number in (0, -5, 1, 2**31 - 1, 2**40):
            charger = Charger(connectors=2)
            charger.answers["StartTransaction"] = dict(ACCEPTED, transactionId=number)
            for connector in (1, 2):
                charger.begin(connector)
                charger.told()
                self.assertEqual(charger.point.connectors[connector].transaction.id, number)
            for connector in (1, 2):
                charger.end(number=connector)
                self.assertEqual([payload["transactionId"] for _, payload in charger.told()], [number])

    def test_messages_of_several_connectors_are_told_in_the_order_of_what_happened(self):
        charger = Charger(connectors=2)
        for step in (charger.begin, charger.values):
            step(1)
            step(2)
        charger.end(number=2)
        charger.begin(2, "NEXT")
        charger.end(number=1)
        told = charger.told()
        self.assertEqual([action[:3] for action, _ in told], ["Sta", "Sta", "Met", "Met", "Sto", "Sta", "Sto"])
        self.assertEqual([payload.get("transactionId") for _, payload in told], [None, None, 1, 2, 2, None, 1])

    def test_what_the_central_system_says_of_the_id_tags_is_remembered(self):
        charger = Charger(AuthorizationCacheEnabled=True)
        charger.answers["StopTransaction"] = {"idTagInfo": {"status": "Blocked"}}
        charger.begin(tag="ABC")
        charger.end(tag="DEF")
        charger.told()
        cache = charger.files.contents["id_cache"]
        self.assertTrue('"abc"\tAccepted' in cache and '"def"\tBlocked' in cache, cache)

    def test_nothing_is_left_on_the_file_system_of_what_was_told(self):
        charger = Charger()
        names = charger.files.names()
        for _ in range(20):
            charger.begin()
            charger.values()
            charger.data()
            charger.end()
            charger.told()
        left = [name for name in charger.files.names() if name not in names and name != "id_cache"]
        self.assertEqual(left, ["transactions"])
        self.assertTrue(len(charger.files.contents["transactions"]) < 100)

    def test_files_of_usual_messages_are_small_enough_to_take_no_block_of_their_own(self):
        charger = Charger(connectors=2)
        charger.energies = [123456789] * 2
        charger.reset()
        for number in (1, 2):
            charger.begin(number, "x" * 20, 12345)
        sampled = [
            {"value": value, "context": "Sample.Periodic", "measurand": measurand, "unit": unit}
            for value, measurand, unit in (
                ("123456789", "Energy.Active.Import.Register", "Wh"),
                ("11000", "Power.Active.Import", "W"),
                ("16.0", "Current.Import", "A"),
            )
        ]
        charger.point.call("transactions", "meter_values", charger.point.connectors[1], {"sampledValue": sampled})
        charger.end("EVDisconnected", tag="x" * 20)
        for name in charger.files.names():
            self.assertTrue(len(charger.files.contents[name]) <= 128, charger.files.contents[name])


class Resets(unittest.TestCase):
    def test_messages_are_the_same_after_a_reset(self):
        charger = Charger()
        charger.begin()
        charger.values()
        charger.end()
        for _ in range(3):
            head = charger.point.call("transaction_messages", "peek")
            charger.advance(1000)
            charger.reset()
            self.assertEqual(charger.point.call("transaction_messages", "peek"), head)
            charger.point.call("transaction_messages", "pop", dict(ACCEPTED, transactionId=7))
        self.assertEqual(charger.told(), [])

    # The register of the meter may be behind what was noted, or ahead of it.
    def test_transaction_open_at_a_power_cut_ends_with_power_loss_and_what_was_noted_last(self):
        for register, expected in ((0, 500), (500, 500), (700, 700)):
            charger = Charger()
            charger.begin()
            charger.told()
            charger.outlets[0].energy = 500
            charger.advance(300)
            self.assertEqual(charger.outlets[0].kept, 500)
            charger.advance(200)
            charger.outlets[0].energy = register
            charger.reset()
            self.assertFalse(charger.point.charging)
            stop = {"meterStop": expected, "timestamp": "2026-08-21T12:05:00Z", "reason": "PowerLoss"}
            self.assertEqual(charger.told(), [("StopTransaction", dict(stop, transactionId=1))])

    def test_each_sample_notes_time_and_energy_too(self):
        for step in ("values", "data"):
            charger = Charger()
            charger.begin()
            charger.passes(100, 50)
            getattr(charger, step)()
            charger.outlets[0].energy = 0
            charger.reset()
            stop = charger.told()[-1][1]
            self.assertEqual((stop["meterStop"], stop["timestamp"]), (50, "2026-08-21T12:01:40Z"))

    def test_transactions_that_end_by_another_kind_of_reset_say_so(self):
        charger = Charger()
        charger.begin()
        charger.point.call("transactions", "resume", "Reboot")
        self.assertEqual(charger.told()[-1][1]["reason"], "Reboot")

    def test_reset_in_the_midst_of_an_outage_costs_nothing(self):
        charger = Charger(connectors=2)
        for _ in range(5):
            charger.transaction()
            charger.begin(2)
            charger.reset()
        actions = [(action, payload.get("reason")) for action, payload in charger.told()]
        expected = [("StartTransaction", None), ("StopTransaction", "Local")]
        expected += [("StartTransaction", None), ("StopTransaction", "PowerLoss")]
        self.assertEqual(actions, expected * 5)

    def test_connector_that_is_no_longer_there_still_ends_its_transaction(self):
        charger = Charger(connectors=2)
        charger.begin(2)
        charger.connectors = 1
        charger.energies.pop()
        charger.outlets.pop()
        charger.reset()
        self.assertEqual(charger.actions(), ["StartTransaction", "StopTransaction"])


class LateClock(unittest.TestCase):
    def offline(self):
        """A charger that has been on for 1000 s and doesn't know the time."""
        charger = Charger()
        charger.reset(clock=False)
        charger.advance(1000)
        return charger

    def test_transaction_may_begin_and_end_while_the_time_is_not_known_and_is_told_with_the_right_time(self):
        charger = self.offline()
        charger.transaction(60)
        charger.advance(40)
        self.assertEqual(charger.told(), [])
        self.assertEqual(charger.point.unsent, 2)
        charger.clock.set(NOON)
        times = [payload["timestamp"] for _, payload in charger.told()]
        self.assertEqual(times, ["2026-08-21T11:58:20Z", "2026-08-21T11:59:20Z"])

    def test_outbox_is_woken_when_the_time_may_have_come(self):
        charger = self.offline()
        charger.begin()
        woken = []
        charger.point.outbox.wake = lambda: woken.append(charger.clock.passed)
        charger.told()
        charger.advance(61)
        self.assertEqual(woken, [1060])

    def test_date_stays_the_same_when_it_is_repeated_whatever_the_clock_does(self):
        charger = self.offline()
        charger.transaction()
        charger.clock.set(NOON)
        head = charger.point.call("transaction_messages", "peek")
        charger.clock.set(NOON + 5)
        self.assertEqual(charger.point.call("transaction_messages", "peek"), head)
        for clock in (True, False, True):
            charger.reset(clock)
            charger.advance(500)
            self.assertEqual(charger.point.call("transaction_messages", "peek"), head)
            charger.clock.set(NOON + 10000)

    def test_power_loss_without_a_clock_is_dated_by_the_next_one(self):
        charger = self.offline()
        charger.begin()
        charger.advance(300)
        charger.advance(100)
        charger.reset(clock=False)
        charger.advance(50)
        charger.clock.set(NOON)
        # The power may have been off for any time; it was in this order, and not later than this.
        times = [payload["timestamp"] for _, payload in charger.told()]
        self.assertEqual(times, ["2026-08-21T11:54:09Z", "2026-08-21T11:59:09Z"])

    def test_starts_without_a_clock_keep_their_order(self):
        charger = self.offline()
        for _ in range(12):
            charger.transaction(60)
            charger.reset(clock=False)
            charger.advance(10)
        charger.clock.set(NOON)
        times = [payload["timestamp"] for _, payload in charger.told()]
        self.assertEqual(len(times), 24)
        self.assertEqual(times, sorted(times))
        self.assertTrue(times[-1] < "2026-08-21T12:00:00Z")

    def test_each_time_the_clock_comes_late_it_dates_what_happened_since_the_one_before(self):
        charger = self.offline()
        for days in range(12):
            charger.transaction(60)
            charger.clock.set(NOON + days * 86400)
            charger.point.call("transaction_messages", "peek")
            charger.reset(clock=False)
            charger.advance(10)
        charger.clock.set(NOON + 12 * 86400)
        times = [payload["timestamp"] for _, payload in charger.told()]
        self.assertEqual(times[::2][:8], ["2026-08-%02dT11:59:00Z" % day for day in range(21, 29)])
        self.assertEqual(times, sorted(times))  # there is an end to what is noted

    def test_samples_for_the_stop_are_dated_in_the_same_way(self):
        charger = self.offline()
        charger.begin()
        for _ in range(3):
            charger.advance(60)
            charger.data()
        charger.end()
        charger.clock.set(NOON)
        data = charger.told()[-1][1]["transactionData"]
        self.assertEqual([value["timestamp"][11:] for value in data], ["11:58:00Z", "11:59:00Z", "12:00:00Z"])


class Refusals(unittest.TestCase):
    # 3.7.1: after the interval, after twice the interval, ...
    def test_message_that_is_refused_is_sent_again_after_growing_intervals_and_then_dropped(self):
        charger = Charger(TransactionMessageAttempts=3, TransactionMessageRetryInterval=10)
        charger.begin()
        charger.told()
        charger.values()
        charger.end()
        charger.answers["MeterValues"] = REFUSED
        self.assertEqual(charger.actions(), ["MeterValues"])
        charger.advance(9)
        self.assertEqual(charger.actions(), [])
        charger.advance(1)
        self.assertEqual(charger.actions(), ["MeterValues"])
        charger.advance(19)
        self.assertEqual(charger.actions(), [])
        charger.advance(1)
        self.assertEqual(charger.actions(), ["MeterValues", "StopTransaction"])
        self.assertTrue(charger.log_has("dropped"))

    def test_outbox_is_woken_for_the_next_attempt(self):
        charger = Charger(TransactionMessageRetryInterval=10)
        charger.answers["StartTransaction"] = REFUSED
        charger.begin()
        charger.told()
        woken = []
        charger.point.outbox.wake = lambda: woken.append(charger.clock.passed)
        charger.advance(10)
        self.assertEqual(woken, [10])

    def test_attempts_are_counted_over_a_reset_and_for_each_message_anew(self):
        charger = Charger(TransactionMessageAttempts=3, TransactionMessageRetryInterval=0)
        charger.begin()
        charger.told()
        for _ in range(2):
            charger.values()
        charger.answers["MeterValues"] = REFUSED
        charger.point.configuration.set("TransactionMessageRetryInterval", "1000")
        self.assertEqual(charger.actions(), ["MeterValues"])
        charger.reset()
        self.assertEqual(charger.actions(), ["MeterValues"])
        charger.reset()
        self.assertEqual(charger.actions(), ["MeterValues"] * 2)  # the last attempt of one, the first of the other
        self.assertEqual(charger.point.unsent, 2)

    def test_without_an_answer_a_message_stays_the_head_for_ever(self):
        charger = Charger(TransactionMessageAttempts=1)
        charger.begin()
        heads = [charger.point.call("transaction_messages", "peek") for _ in range(10)]
        self.assertTrue(heads[0] and all(head == heads[0] for head in heads))

    def test_when_its_start_is_refused_for_good_a_transaction_ends_and_what_it_cost_is_in_the_log(self):
        charger = Charger(TransactionMessageAttempts=1)
        connector = charger.charge()
        charger.answers["StartTransaction"] = REFUSED
        charger.values()
        charger.outlets[0].energy = 77
        self.assertEqual(charger.actions(), ["StartTransaction"])
        self.assertEqual((connector.transaction, charger.outlets[0].closed, charger.point.unsent), (None, False, 0))
        self.assertTrue(charger.log_has("77 Wh on connector 1 are lost"))
        del charger.answers["StartTransaction"]
        charger.answers["StartTransaction"] = dict(ACCEPTED, transactionId=7)
        charger.transaction()
        self.assertEqual(charger.actions(), ["StartTransaction", "StopTransaction"])

    def test_the_rest_of_a_transaction_whose_start_was_refused_is_dropped(self):
        charger = Charger(TransactionMessageAttempts=1)
        charger.answers["StartTransaction"] = lambda payload: {"transactionId": 9} if payload["idTag"] == "B" else {}
        for tag in "ABC":
            charger.begin(tag=tag)
            charger.values()
            charger.passes(10, 33)
            charger.end()
        told = [(action, payload.get("transactionId")) for action, payload in charger.told()]
        start = ("StartTransaction", None)
        self.assertEqual(told, [start, start, ("MeterValues", 9), ("StopTransaction", 9), start])
        self.assertEqual(sum("33 Wh on connector 1 are lost" in line for line in charger.log), 2)

    def test_start_without_a_proper_transaction_id_counts_as_refused(self):
        for number in (None, "7", 7.0, True, [], {}, 2**70, -(2**70)):
            charger = Charger(TransactionMessageAttempts=2, TransactionMessageRetryInterval=0)
            charger.answers["StartTransaction"] = dict(ACCEPTED, transactionId=number)
            charger.transaction()
            self.assertEqual(charger.actions(), ["StartTransaction"] * 2)
            self.assertEqual(charger.point.unsent, 0)

    def test_answers_of_any_shape_do_no_harm(self):
        for answer in ({}, {"idTagInfo": None}, {"idTagInfo": []}, {"idTagInfo": "x"}, {"idTagInfo": {}}):
            for extra in ({}, {"idTagInfo": {"status": 7, "parentIdTag": {}, "expiryDate": []}}, {"more": [[[]]]}):
                charger = Charger(StopTransactionOnInvalidId=False, AuthorizationCacheEnabled=True)
                answer = dict(answer, **extra)
                charger.answers["StartTransaction"] = dict(answer, transactionId=3)
                charger.answers["StopTransaction"] = charger.answers["MeterValues"] = answer
                charger.begin()
                charger.told()
                charger.values()
                charger.end(tag="DEF")
                self.assertEqual(charger.actions(), ["MeterValues", "StopTransaction"])


class Full(unittest.TestCase):
    def crowded(self, count):
        """A charger with so many messages of transactions that have ended, which take no memory here."""
        charger = Charger(connectors=2)
        charger.files.contents["transactions"] = "[0,%d,[],[],0,0,-1,0,0,[]]" % count
        read = charger.files.read

        def read_or_make_up(name):
            number = int(name[3:]) if name.startswith("tx/") else count
            if number >= count:
                return read(name)
            start = [0, number, NOON, 1, 0, "TAG", None]
            return json.dumps([2, number - 1, NOON, 1, 0, "Local", None, 0] if number % 2 else start).encode()

        charger.files.read = read_or_make_up
        charger.reset()
        self.assertEqual(charger.point.unsent, count)
        return charger

    def test_when_no_further_transaction_fits_those_that_run_can_end(self):
        charger = self.crowded(594)
        charger.begin(2)
        for _ in range(2):
            self.assertTrue(charger.begin())
            charger.end()
        self.assertFalse(charger.begin())
        self.assertTrue(charger.log_has("the charger has to reach it"))
        charger.values(2)
        charger.reset()
        self.assertEqual(charger.point.unsent, 600)
        self.assertFalse(charger.begin())
        charger.told(3)
        self.assertTrue(charger.begin())

    # So that 200 transactions fit in any case.
    def test_meter_values_become_fewer_as_it_fills_and_then_none_are_kept(self):
        for count, samples, kept in ((0, 99, 99), (99, 20, 5), (149, 32, 2), (199, 40, 0)):
            charger = self.crowded(count)
            charger.begin()
            for _ in range(samples):
                charger.values()
            self.assertEqual(charger.point.unsent, count + 1 + kept)

    def test_full_file_system_lets_no_transaction_begin_and_drops_meter_values(self):
        charger = Charger()
        charger.files.full = True
        self.assertFalse(charger.begin())
        self.assertTrue(charger.log_has("no transaction on connector 1"))
        charger.files.full = False
        charger.begin()
        charger.files.full = True
        charger.values()
        charger.data()
        self.assertEqual(charger.point.unsent, 1)

    def test_reserve_makes_room_for_the_end_of_a_transaction(self):
        charger = Charger()
        charger.begin()
        self.assertTrue("reserve" in charger.files.contents)
        remove = charger.files.remove

        def remove_and_make_room(name):
            remove(name)
            charger.files.full = False

        charger.files.full = True
        charger.files.remove = remove_and_make_room
        charger.end()
        self.assertEqual(charger.actions(), ["StartTransaction", "StopTransaction"])
        charger.reset()
        self.assertTrue("reserve" in charger.files.contents)

    def test_end_that_can_not_be_recorded_is_made_up_for_when_it_can_be(self):
        for step in ("note", "begin", "reset"):
            charger = Charger()
            charger.begin()
            charger.passes(100, 50)
            charger.files.full = True
            charger.end()
            self.assertFalse(charger.point.charging)
            self.assertTrue(charger.log_has("can't be recorded"))
            charger.files.full = False
            if step == "note":
                charger.advance(301)
            else:
                getattr(charger, step)()
            told = [(action, payload.get("meterStop")) for action, payload in charger.told()]
            self.assertEqual(told[:2], [("StartTransaction", None), ("StopTransaction", 50)])
            self.assertEqual(len(told), 3 if step == "begin" else 2)

    def test_reserve_makes_room_for_the_end_after_a_power_cut_too(self):
        charger = Charger()
        charger.begin()
        remove = charger.files.remove

        def remove_and_make_room(name):
            remove(name)
            charger.files.full = charger.files.full and name != "reserve"

        charger.files.full = True
        charger.files.remove = remove_and_make_room
        charger.reset()
        self.assertEqual(charger.actions(), ["StartTransaction", "StopTransaction"])

    def test_file_system_that_fails_does_not_stop_the_charger(self):
        charger = Charger()
        charger.begin()
        read = charger.files.read

        def failing(name):
            raise OSError(5, "EIO")

        charger.files.read = failing
        charger.point.call("transactions", "resume")
        self.assertTrue(charger.log_has("the file system fails"))
        self.assertFalse(charger.begin())
        charger.files.read = read
        charger.reset()
        self.assertEqual(charger.actions(), ["StartTransaction", "StopTransaction"])

    def test_answer_that_can_not_be_recorded_changes_nothing(self):
        charger = Charger()
        charger.begin()
        head = charger.point.call("transaction_messages", "peek")
        charger.files.full = True
        self.assertRaises(OSError, charger.point.call, "transaction_messages", "pop", dict(ACCEPTED, transactionId=7))
        self.assertEqual(charger.point.call("transaction_messages", "peek"), head)
        charger.files.full = False
        self.assertEqual(charger.actions(), ["StartTransaction"])


class TransactionData(unittest.TestCase):
    def stop(self, charger):
        charger.data("Transaction.End")
        charger.end()
        return charger.told()[-1][1].get("transactionData")

    def test_few_samples_are_all_told(self):
        charger = Charger()
        charger.begin()
        charger.data("Transaction.Begin")
        for _ in range(8):
            charger.passes(60, 10)
            charger.data()
        data = self.stop(charger)
        self.assertEqual([int(value["sampledValue"][0]["value"]) for value in data], list(range(0, 90, 10)) + [80])
        self.assertEqual(data[0]["timestamp"], "2026-08-21T12:00:00Z")
        self.assertEqual(data[0]["sampledValue"][0]["context"], "Transaction.Begin")

    def test_of_many_the_first_the_last_and_some_evenly_between_are_told(self):
        charger = Charger()
        charger.begin()
        charger.data("Transaction.Begin")
        for _ in range(200):
            charger.passes(60, 1)
            charger.data()
        self.assertTrue(charger.files.writes < 150, charger.files.writes)
        energies = [int(value["sampledValue"][0]["value"]) for value in self.stop(charger)]
        self.assertEqual((energies[0], energies[-1]), (0, 200))
        gaps = [energies[i + 1] - energies[i] for i in range(len(energies) - 2)]
        self.assertTrue(5 <= len(energies) <= 10 and max(gaps) == min(gaps), energies)

    def test_large_samples_become_fewer(self):
        charger = Charger()
        charger.begin()
        value = {"sampledValue": [{"value": "123456", "measurand": "x" * 20, "phase": "L%d" % i} for i in range(6)]}
        for _ in range(10):
            charger.advance(60)
            charger.point.call("transactions", "transaction_data", charger.point.connectors[1], value)
        self.assertTrue(len(charger.files.contents["samples/0"]) < 1000)
        charger.end()
        data = charger.told()[-1][1]["transactionData"]
        self.assertTrue(2 <= len(data) <= 5)
        self.assertEqual(data[0]["sampledValue"], value["sampledValue"])

    def test_while_many_messages_wait_samples_take_no_block_of_flash(self):
        charger = Charger()
        for _ in range(31):
            charger.transaction(1)
        charger.begin()
        number = charger.point.connectors[1].transaction.number
        for _ in range(50):
            charger.passes(60, 1)
            charger.data()
            self.assertTrue(len(charger.files.contents["samples/%d" % number]) <= 128)
        energies = [int(value["sampledValue"][0]["value"]) for value in self.stop(charger)]
        self.assertEqual((energies[0], energies[-1], len(energies)), (3101, 3150, 2))

    def test_samples_survive_a_reset_and_go_with_the_transaction(self):
        charger = Charger()
        charger.begin()
        charger.data()
        charger.reset()
        self.assertEqual(len(charger.told()[-1][1]["transactionData"]), 1)
        self.assertFalse("samples/0" in charger.files.contents)


class Damage(unittest.TestCase):
    def test_damaged_message_is_dropped_and_the_others_are_told(self):
        texts = "", "nonsense", "[]", "7", "{}", '["a","b","c","d"]', "[2,0,1787313600,1]", "[0,0,null,1,1,1,1]"
        start, stop = "StartTransaction", "StopTransaction"
        for damaged in texts:
            for number, before in enumerate(([], [start, stop], [start, "MeterValues"])):
                charger = Charger(connectors=2)
                charger.begin()
                charger.values()
                charger.end()
                charger.files.contents["tx/%d" % number] = damaged
                charger.transaction(number=2)
                self.assertEqual(charger.actions(), before + [start, stop])
                self.assertEqual(charger.point.unsent, 0)
                self.assertTrue(charger.log_has("damaged"), (damaged, number, charger.log))

    def test_running_transaction_whose_start_is_damaged_ends(self):
        charger = Charger()
        connector = charger.charge()
        charger.files.contents["tx/0"] = "nonsense"
        self.assertEqual(charger.actions(), [])
        charger.settle()
        self.assertEqual((connector.transaction, charger.outlets[0].closed), (None, False))

    def test_with_a_damaged_record_the_messages_that_wait_are_still_told(self):
        for damaged in ("nonsense", "[]", "[1,2]", "{}", "7"):
            charger = Charger()
            charger.begin()
            charger.told()
            charger.end()
            charger.transaction()
            charger.files.contents["transactions"] = damaged
            charger.reset()
            self.assertEqual(charger.actions(), ["StartTransaction", "StopTransaction"])
            self.assertEqual(charger.point.unsent, 0)
            charger.transaction()
            self.assertEqual(charger.actions(), ["StartTransaction", "StopTransaction"])


if __name__ == "__main__":
    unittest.main()
