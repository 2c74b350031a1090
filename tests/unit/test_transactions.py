import asyncio
import json
import unittest

from ocpp.calls import answer
from ocpp.charge_point import ChargePoint
from ocpp.rpc import CallError
from scripted import Clock, Store, run

START = '{"connectorId":1,"idTag":"ABC"}'  # as SteVe sends them
STOP = '{"transactionId":7}'
NOW = 1787313600
TIME = "2026-08-21T12:00:00Z"
ACCEPTED = {"status": "Accepted"}
REJECTED = {"status": "Rejected"}


def taken(number, status="Accepted"):
    """What the central system says to StartTransaction."""
    return {"transactionId": number, "idTagInfo": {"status": status}}


class Outbox:
    def add(self, queue):
        pass

    def wake(self):
        pass


class CutStore(Store):
    """The power fails at a write: before it, or when it is done."""

    def __init__(self, **records):
        super().__init__(**records)
        self.cut_at = None
        self.done = False

    def set(self, key, value):
        cut = self.cut_at == self.writes + 1
        if not cut or self.done:
            super().set(key, value)
        if cut:
            self.cut_at = None
            raise PowerCut


class PowerCut(BaseException):
    pass


class Charger:
    """A charge point, and what a central system would see of it. reset() makes it anew on the same records."""

    def __init__(self, connectors=1, store=None):
        self.connectors = connectors
        self.store = store or Store()
        self.clock = Clock(NOW)
        self.log = []
        self.reset()

    def reset(self):
        self.closed = set()
        self.charge_point = ChargePoint(self.connectors, Outbox(), self.clock)
        self.charge_point.store = self.store
        self.charge_point.log = self.log.append
        self.charge_point.forget = lambda *names: None
        self.charge_point.contactor = self.switch
        self.charge_point.transactions("resume")

    def switch(self, connector, closed):
        (self.closed.add if closed else self.closed.discard)(connector)

    def call(self, action, payload):
        """Return the answer to a call; payload as text or dict."""
        return answer(self.charge_point, action, json.loads(payload) if isinstance(payload, str) else payload)[0]

    def start(self, connector=1, tag="ABC"):
        return self.call("RemoteStartTransaction", {"connectorId": connector, "idTag": tag})

    def message(self, response):
        """The next message about a transaction, which is answered with `response`; None if there is none."""
        while True:
            head = self.charge_point.peek()
            if head is None:
                return None
            assert self.charge_point.peek() == head
            if head[0] != "StatusNotification":
                self.charge_point.pop(response)
                return head
            self.charge_point.pop({})

    def statuses(self):
        """Those that are told next, up to another message."""
        told = []
        while self.charge_point.peek() and self.charge_point.peek()[0] == "StatusNotification":
            payload = self.charge_point.peek()[1]
            told.append((payload["connectorId"], payload["status"]))
            self.charge_point.pop({})
        return told

    @property
    def status(self):
        return self.charge_point.status(1)


def test(function):
    """A test that needs an event loop."""

    async def coroutine(self):
        function(self)

    return lambda self: run(coroutine(self))


class Course(unittest.TestCase):
    @test
    def test_a_transaction_from_remote_start_to_remote_stop(self):
        charger = Charger()
        self.assertEqual(charger.call("RemoteStartTransaction", START), ACCEPTED)
        self.assertTrue(charger.charge_point.charging)
        self.assertEqual((charger.statuses(), charger.closed), ([(1, "Preparing")], set()))
        payload = {"connectorId": 1, "idTag": "ABC", "meterStart": 0, "timestamp": TIME}
        self.assertEqual(charger.message(taken(7)), ("StartTransaction", payload))
        self.assertEqual((charger.statuses(), charger.closed), ([(1, "Charging")], {1}))
        charger.clock.seconds += 60
        self.assertEqual(charger.call("RemoteStopTransaction", STOP), ACCEPTED)
        self.assertEqual((charger.closed, charger.charge_point.charging), (set(), False))
        self.assertEqual(charger.statuses(), [(1, "Finishing")])
        payload = {"transactionId": 7, "meterStop": 0, "timestamp": "2026-08-21T12:01:00Z", "reason": "Remote"}
        self.assertEqual(charger.message({}), ("StopTransaction", payload))
        self.assertEqual(charger.statuses(), [(1, "Available")])
        self.assertEqual((charger.message({}), charger.charge_point.unsent, charger.log), (None, 0, []))

    @test
    def test_without_a_connector_the_first_free_one_is_taken(self):
        charger = Charger(connectors=3)
        charger.start(1)
        self.assertEqual(charger.call("RemoteStartTransaction", {"idTag": "X"}), ACCEPTED)
        self.assertEqual([charger.charge_point.status(i) for i in (1, 2, 3)], ["Preparing", "Preparing", "Available"])

    @test
    def test_remote_start_is_rejected_where_nothing_can_be_charged(self):
        charger = Charger()
        for connector in (0, 2, 9999):
            self.assertEqual(charger.start(connector), REJECTED)
        self.assertEqual(charger.start(), ACCEPTED)
        self.assertEqual(charger.start(), REJECTED)
        self.assertEqual(charger.call("RemoteStartTransaction", {"idTag": "X"}), REJECTED)

    @test
    def test_remote_start_is_rejected_while_the_connectors_are_held(self):
        charger = Charger()
        charger.charge_point.hold()
        self.assertEqual(charger.start(), REJECTED)
        charger.charge_point.release()
        self.assertEqual(charger.start(), ACCEPTED)

    @test
    def test_remote_start_is_rejected_while_the_time_is_not_known(self):
        charger = Charger()
        charger.clock.seconds = None
        self.assertEqual((charger.start(), charger.store.writes), (REJECTED, 0))
        self.assertTrue("the time is not known" in charger.log[0])

    @test
    def test_a_charging_profile_is_ignored_and_that_is_logged(self):
        charger = Charger()
        payload = {"connectorId": 1, "idTag": "ABC", "chargingProfile": {"chargingProfileId": 1}}
        self.assertEqual(charger.call("RemoteStartTransaction", payload), ACCEPTED)
        self.assertTrue("chargingProfile ignored" in charger.log[0])

    @test
    def test_remote_stop_is_rejected_for_another_transaction(self):
        charger = Charger()
        self.assertEqual(charger.call("RemoteStopTransaction", STOP), REJECTED)
        charger.start()
        self.assertEqual(charger.call("RemoteStopTransaction", STOP), REJECTED)  # it has no id yet
        charger.message(taken(7))
        self.assertEqual(charger.call("RemoteStopTransaction", {"transactionId": 8}), REJECTED)
        self.assertEqual(charger.call("RemoteStopTransaction", STOP), ACCEPTED)
        self.assertEqual(charger.call("RemoteStopTransaction", STOP), REJECTED)

    @test
    def test_calls_with_wrong_fields_are_refused(self):
        charger = Charger()
        for action, payload, code in (
            ("RemoteStartTransaction", {}, "OccurenceConstraintViolation"),
            ("RemoteStartTransaction", {"idTag": "x" * 21}, "PropertyConstraintViolation"),
            ("RemoteStartTransaction", {"idTag": "x", "connectorId": "1"}, "TypeConstraintViolation"),
            ("RemoteStartTransaction", {"idTag": "x", "chargingProfile": []}, "TypeConstraintViolation"),
            ("RemoteStopTransaction", {}, "OccurenceConstraintViolation"),
            ("RemoteStopTransaction", {"transactionId": True}, "TypeConstraintViolation"),
        ):
            try:
                charger.call(action, payload)
                self.fail(payload)
            except CallError as error:
                self.assertEqual(error.code, code, payload)

    @test
    def test_two_connectors_have_their_own_transactions(self):
        charger = Charger(connectors=2)
        charger.start(1)
        charger.start(2)
        charger.message(taken(7))
        charger.message(taken(8))
        self.assertEqual(charger.closed, {1, 2})
        charger.call("RemoteStopTransaction", STOP)
        self.assertEqual((charger.closed, charger.charge_point.charging), ({2}, True))
        self.assertEqual(charger.message({})[1]["transactionId"], 7)


class CentralSystemSaysNo(unittest.TestCase):
    @test
    def test_an_id_tag_that_is_not_accepted_ends_the_transaction(self):
        for status in ("Blocked", "Expired", "Invalid", "ConcurrentTx", None):
            charger = Charger()
            charger.start()
            charger.statuses()
            charger.message(taken(7, status))
            self.assertFalse(charger.charge_point.charging)
            action, payload = charger.message({})
            self.assertEqual(
                (action, payload["reason"], payload["transactionId"]), ("StopTransaction", "DeAuthorized", 7)
            )
            self.assertEqual((charger.message({}), charger.status, charger.closed), (None, "Available", set()))

    @test
    def test_start_that_is_answered_with_an_error_is_no_transaction(self):
        for response in (None, {}, {"transactionId": "7"}, {"transactionId": True, "idTagInfo": ACCEPTED}):
            charger = Charger()
            charger.start()
            charger.message(response)
            self.assertEqual((charger.status, charger.closed), ("Available", set()))
            self.assertEqual((charger.message({}), charger.charge_point.unsent), (None, 0))
            self.assertEqual(charger.start(), ACCEPTED)

    @test
    def test_answer_of_any_shape_ends_well(self):
        for info in (None, [], "Accepted", 1, {}, {"status": ["Accepted"]}):
            charger = Charger()
            charger.start()
            charger.message({"transactionId": 7, "idTagInfo": info})
            self.assertEqual((charger.charge_point.charging, charger.closed), (False, set()))

    @test
    def test_stop_that_is_answered_with_an_error_is_over(self):
        charger = Charger()
        charger.start()
        charger.message(taken(7))
        charger.call("RemoteStopTransaction", STOP)
        charger.message(None)
        self.assertEqual((charger.message({}), charger.status), (None, "Available"))

    @test
    def test_a_refused_start_takes_its_stop_with_it(self):
        charger = Charger()
        charger.start()
        charger.charge_point.transactions("stop_all", "Other")
        self.assertEqual(charger.charge_point.unsent, 2)
        charger.message(None)
        self.assertEqual((charger.message({}), charger.charge_point.unsent, charger.status), (None, 0, "Available"))


class Order(unittest.TestCase):
    @test
    def test_stop_gets_its_transaction_id_when_start_was_answered(self):
        charger = Charger()
        charger.start()
        charger.charge_point.transactions("stop_all", "Other")
        charger.start(tag="DEF")
        self.assertEqual(charger.message(taken(7))[1]["idTag"], "ABC")
        self.assertEqual((charger.status, charger.closed), ("Preparing", set()))  # of the second one
        self.assertEqual(charger.message({})[1]["transactionId"], 7)
        self.assertEqual(charger.message(taken(8))[1]["idTag"], "DEF")
        self.assertEqual((charger.status, charger.closed), ("Charging", {1}))

    @test
    def test_the_same_id_for_each_transaction_does_no_harm(self):
        charger = Charger(connectors=2)
        for connector in (1, 2):
            charger.start(connector)
            charger.message(taken(1))
        charger.charge_point.transactions("stop_all", "Other")
        self.assertEqual([charger.message({})[0] for _ in range(2)], ["StopTransaction"] * 2)
        self.assertIsNone(charger.message({}))

    @test
    def test_when_the_queue_is_full_no_transaction_starts_and_those_that_run_can_end(self):
        charger = Charger(connectors=2)
        charger.start(2)
        while charger.start(1, "x" * 20) == ACCEPTED:
            charger.charge_point.transactions("stop", 1, "Other")
            charger.statuses()
        self.assertEqual(charger.charge_point.unsent, 15)  # one is for the StopTransaction of connector 2
        self.assertTrue("messages of earlier ones" in charger.log[-1])
        charger.charge_point.transactions("stop_all", "Other")
        self.assertEqual(charger.charge_point.unsent, 16)
        self.assertTrue(sum(len(record) for record in charger.store.records.values()) < 4096)
        charger.reset()
        order = []
        while charger.charge_point.unsent:
            action, payload = charger.message(taken(len(order) + 1))
            order.append((action, payload.get("transactionId")))
        expected = [("StartTransaction", None)]
        for number in range(2, 16, 2):
            expected += [("StartTransaction", None), ("StopTransaction", number)]
        self.assertEqual(order, expected + [("StopTransaction", 1)])
        self.assertEqual(charger.start(), ACCEPTED)


class Flash(unittest.TestCase):
    @test
    def test_transaction_open_at_a_power_cut_ends_with_power_loss_at_the_last_time_noted(self):
        charger = Charger()
        charger.start()
        charger.message(taken(7))
        charger.clock.seconds += 300
        charger.charge_point.transactions("note")
        charger.clock.seconds += 200
        charger.clock.seconds = None
        charger.reset()
        self.assertEqual((charger.charge_point.charging, charger.closed, charger.status), (False, set(), "Available"))
        payload = {"transactionId": 7, "meterStop": 0, "timestamp": "2026-08-21T12:05:00Z", "reason": "PowerLoss"}
        self.assertEqual(charger.message({}), ("StopTransaction", payload))
        self.assertIsNone(charger.message({}))

    @test
    def test_messages_are_the_same_after_a_reset(self):
        charger = Charger()
        charger.start()
        charger.message(taken(7))
        charger.call("RemoteStopTransaction", STOP)
        charger.statuses()
        head = charger.charge_point.peek()
        charger.clock.seconds += 1000
        charger.reset()
        self.assertEqual(charger.message({}), head)

    @test
    def test_after_a_power_cut_at_any_write_the_central_system_gets_a_whole_story(self):
        for done in (False, True):
            for cut_at in range(1, 8):
                charger = Charger(store=CutStore())
                charger.store.cut_at = cut_at
                charger.store.done = done
                told = []
                try:
                    charger.start()
                    told.append(charger.message(taken(7)))
                    charger.charge_point.transactions("note")
                    charger.call("RemoteStopTransaction", STOP)
                    told.append(charger.message({}))
                    self.fail("no power cut")
                except PowerCut:
                    if charger.charge_point.peek() and charger.charge_point.peek()[0] != "StatusNotification":
                        told.append(charger.charge_point.peek())  # it was answered, but that is not recorded
                charger.reset()
                while charger.charge_point.unsent:
                    told.append(charger.message(taken(7)))
                # What was repeated was repeated identically.
                told = [message for i, message in enumerate(told) if i == 0 or message != told[i - 1]]
                actions = [message[0] for message in told]
                self.assertTrue(actions in ([], ["StartTransaction", "StopTransaction"]), (done, cut_at, told))
                if told:
                    self.assertEqual(told[1][1]["transactionId"], 7)
                self.assertEqual(charger.start(), ACCEPTED)

    @test
    def test_start_that_cannot_be_recorded_is_rejected(self):
        charger = Charger()
        charger.store.full = True
        self.assertEqual((charger.start(), charger.status, charger.message({})), (REJECTED, "Available", None))

    @test
    def test_stop_that_cannot_be_recorded_opens_the_contactor_and_is_made_up_after_a_reset(self):
        charger = Charger()
        charger.start()
        charger.message(taken(7))
        charger.store.full = True
        charger.call("RemoteStopTransaction", STOP)
        self.assertEqual((charger.closed, charger.charge_point.charging), (set(), False))
        self.assertTrue("can't be recorded" in charger.log[-1])
        charger.store.full = False
        self.assertEqual(charger.start(), REJECTED)
        charger.reset()
        self.assertEqual(charger.message({})[1]["reason"], "PowerLoss")
        self.assertEqual(charger.start(), ACCEPTED)

    @test
    def test_answer_that_cannot_be_recorded_changes_nothing(self):
        charger = Charger()
        charger.start()
        charger.statuses()
        charger.store.full = True
        for _ in range(2):
            head = charger.charge_point.peek()
            self.assertEqual(head[0], "StartTransaction")
            self.assertRaises(OSError, charger.charge_point.pop, taken(7))
        charger.store.full = False
        charger.charge_point.pop(taken(7))
        self.assertEqual(charger.status, "Charging")

    @test
    def test_damaged_records_do_not_stop_the_charger(self):
        for damaged in (b"", b"nonsense", b"[]", b"[1, 2]", b"{}", b"7", b"\xff"):
            charger = Charger(store=Store(transactions=damaged))
            self.assertEqual(charger.start(), ACCEPTED)
            self.assertEqual(charger.message(taken(7))[0], "StartTransaction")
        for damaged in (b"", b"nonsense", b"[]", b"7"):
            charger = Charger()
            charger.start()
            charger.store.records["transaction0"] = damaged
            self.assertIsNone(charger.message({}))
            self.assertEqual((charger.status, charger.charge_point.unsent), ("Available", 0))
            self.assertEqual(charger.start(), ACCEPTED)


class ForTheUpdater(unittest.TestCase):
    def test_stop_charging_ends_all_transactions_durably(self):
        async def test():
            charger = Charger(connectors=2)
            for connector in (1, 2):
                charger.start(connector)
                charger.message(taken(connector))
            await charger.charge_point.stop_charging("Reboot")
            self.assertEqual((charger.charge_point.charging, charger.closed), (False, set()))
            charger.reset()
            for number in (1, 2):
                payload = charger.message({})[1]
                self.assertEqual((payload["transactionId"], payload["reason"]), (number, "Reboot"))

        run(test())

    def test_hold_during_a_transaction_gives_unavailable_without_a_blip(self):
        async def test():
            charger = Charger()
            charger.start()
            charger.message(taken(7))
            charger.statuses()
            charger.charge_point.hold()
            self.assertEqual(charger.statuses(), [])
            charger.call("RemoteStopTransaction", STOP)
            self.assertEqual(sorted(charger.statuses()), [(0, "Unavailable"), (1, "Unavailable")])
            charger.message({})
            self.assertEqual(charger.statuses(), [])
            self.assertEqual(charger.start(), REJECTED)
            charger.charge_point.release()
            self.assertEqual(charger.statuses(), [(0, "Available"), (1, "Available")])

        run(test())

    def test_reset_closes_transactions_first(self):
        async def test():
            for kind in ("Hard", "Soft"):
                charger = Charger()
                charger.start()
                charger.message(taken(7))
                resets = []

                async def restart(resets=resets, charger=charger):
                    resets.append(charger.charge_point.charging)

                task = asyncio.create_task(charger.charge_point.transactions("reset", kind, restart))
                await asyncio.sleep_ms(0)
                self.assertEqual(charger.message({})[1]["reason"], kind + "Reset")
                while not task.done():
                    await asyncio.sleep_ms(10)
                self.assertEqual(resets, [False])

        run(test())


if __name__ == "__main__":
    unittest.main()
