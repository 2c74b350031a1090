import asyncio
import unittest

from ocpp.charge_point import ChargePoint
from ocpp.rpc import CallError
from scripted import Clock, Store, ended, run


class Outbox:
    """Counts how often it is woken."""

    def __init__(self):
        self.queues = []
        self.woken = 0

    def add(self, queue):
        self.queues.append(queue)

    def wake(self):
        self.woken += 1


class Fixture:
    def __init__(self, connectors=1, seconds=None):
        self.outbox = Outbox()
        self.clock = Clock(seconds)
        self.charge_point = ChargePoint(connectors, self.outbox, self.clock)
        self.charge_point.forget = lambda *names: None
        self.charge_point.log = self.charge_point.contactor = lambda *_: None
        self.charge_point.store = Store()

    def sent(self):
        """Everything that the outbox would send now, as (connectorId, status)."""
        statuses = []
        while self.charge_point.peek():
            action, payload = self.charge_point.peek()
            assert action == "StatusNotification"
            statuses.append((payload["connectorId"], payload["status"]))
            self.charge_point.pop({})
        return statuses


def code_of(function, *arguments):
    """The code of the CallError that the function raises."""
    try:
        function(*arguments)
    except CallError as error:
        return error.code
    return None


class Statuses(unittest.TestCase):
    def test_it_is_a_queue_of_the_outbox_that_is_empty_at_first(self):
        fixture = Fixture()
        self.assertEqual(fixture.outbox.queues, [fixture.charge_point])
        self.assertIsNone(fixture.charge_point.peek())

    def test_every_connector_is_reported_after_an_acceptance(self):
        fixture = Fixture(connectors=2)
        fixture.charge_point.report_all()
        self.assertTrue(fixture.outbox.woken > 0)
        self.assertEqual(fixture.sent(), [(0, "Available"), (1, "Available"), (2, "Available")])
        fixture.charge_point.report_all()
        self.assertEqual(len(fixture.sent()), 3)

    def test_payload_is_that_of_the_standard(self):
        fixture = Fixture(seconds=1787313600)
        self.assertEqual(
            fixture.charge_point.status_notification(1),
            {"connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": "2026-08-21T12:00:00Z"},
        )

    def test_there_is_no_timestamp_while_the_clock_is_not_set(self):
        self.assertFalse("timestamp" in Fixture().charge_point.status_notification(0))

    def test_hold_and_release_report_every_connector_once(self):
        fixture = Fixture()
        fixture.charge_point.hold()
        fixture.charge_point.hold()
        self.assertEqual(fixture.sent(), [(0, "Unavailable"), (1, "Unavailable")])
        fixture.charge_point.release()
        fixture.charge_point.release()
        self.assertEqual(fixture.sent(), [(0, "Available"), (1, "Available")])

    def test_hold_lasts_across_an_acceptance(self):
        fixture = Fixture()
        fixture.charge_point.hold()
        fixture.sent()
        fixture.charge_point.report_all()
        self.assertEqual(fixture.sent(), [(0, "Unavailable"), (1, "Unavailable")])

    def test_unchanged_status_is_not_reported(self):
        fixture = Fixture()
        fixture.charge_point.set_status(1, "Available")
        self.assertEqual((fixture.sent(), fixture.outbox.woken), ([], 0))

    def test_head_stays_the_same_until_it_is_popped(self):
        fixture = Fixture(seconds=1787313600)
        fixture.charge_point.set_status(1, "Unavailable")
        head = fixture.charge_point.peek()
        fixture.clock.seconds += 60
        fixture.charge_point.set_status(1, "Available")
        self.assertEqual(fixture.charge_point.peek(), head)
        self.assertEqual(head[1]["status"], "Unavailable")
        self.assertEqual(head[1]["timestamp"], "2026-08-21T12:00:00Z")
        fixture.charge_point.pop({})
        self.assertEqual(fixture.sent(), [(1, "Available")])

    def test_a_refused_notification_comes_again_after_the_others_but_not_for_ever(self):
        fixture = Fixture(connectors=1)
        fixture.charge_point.report_all()
        order = []
        while fixture.charge_point.peek() and len(order) < 9:
            order.append(fixture.charge_point.peek()[1]["connectorId"])
            fixture.charge_point.pop(None)
        self.assertEqual(order, [0, 1, 0, 1])


class Charging(unittest.TestCase):
    """What the updater uses; test_transactions.py has the transactions themselves."""

    def test_connectors_with_a_transaction_stay_as_they_are_when_they_are_held(self):
        async def test():
            fixture = Fixture(connectors=2)
            charge_point = fixture.charge_point
            charge_point.set_status(2, "Preparing")
            charge_point.set_status(2, "Charging")
            self.assertTrue(charge_point.charging)
            fixture.sent()
            charge_point.hold()
            self.assertEqual(fixture.sent(), [(1, "Unavailable")])

        run(test())

    def test_a_held_connector_goes_from_charging_to_unavailable(self):
        async def test():
            fixture = Fixture(connectors=2)
            charge_point = fixture.charge_point
            charge_point.set_status(2, "Charging")
            charge_point.hold()
            fixture.sent()
            charge_point.set_status(2, "Finishing")
            self.assertFalse(charge_point.charging)
            charge_point.set_status(2, "Available")
            self.assertEqual(sorted(fixture.sent()), [(0, "Unavailable"), (2, "Unavailable")])
            charge_point.release()
            self.assertEqual(fixture.sent(), [(0, "Available"), (1, "Available"), (2, "Available")])

        run(test())

    def test_a_connector_that_is_finishing_when_it_is_held_is_unavailable_at_once(self):
        fixture = Fixture()
        fixture.charge_point.set_status(1, "Finishing")
        fixture.charge_point.hold()
        self.assertEqual(sorted(fixture.sent()), [(0, "Unavailable"), (1, "Unavailable")])
        fixture.charge_point.set_status(1, "Available")  # its StopTransaction was answered
        self.assertEqual(fixture.sent(), [])

    def test_release_leaves_a_transaction_alone(self):
        async def test():
            fixture = Fixture(connectors=2)
            fixture.charge_point.set_status(1, "Charging")
            fixture.charge_point.hold()
            fixture.sent()
            fixture.charge_point.release()
            self.assertEqual(fixture.sent(), [(2, "Available")])

        run(test())

    def test_until_free_waits_for_the_last_transaction(self):
        async def test():
            fixture = Fixture(connectors=2)
            charge_point = fixture.charge_point
            await charge_point.until_free()
            charge_point.set_status(1, "Charging")
            charge_point.set_status(2, "Preparing")
            task = asyncio.create_task(charge_point.until_free())
            for connector in (1, 2):
                for _ in range(5):
                    await asyncio.sleep_ms(0)
                self.assertFalse(task.done())
                charge_point.set_status(connector, "Finishing")
            await ended(task)

        run(test())


if __name__ == "__main__":
    unittest.main()
