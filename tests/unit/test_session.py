import asyncio
import unittest

from ocpp.configuration import Configuration
from ocpp.session import Session
from scripted import CentralSystem, Clock, Store, boot_answer, ended, run

BOOT = {"chargePointVendor": "Arus", "chargePointModel": "Desk", "firmwareVersion": "1.0.0"}
SECOND = 10  # ms


class Fixture:
    """A Session whose connections are made by the test: each is a CentralSystem, or an error for a failed attempt."""

    def __init__(self, connections=(), dispatch=None, second=SECOND, **configuration):
        self.log = []
        self.clock = Clock()
        self.configuration = Configuration(Store(), configuration, log=self.log.append)
        self.connections = list(connections)
        self.attempts = 0
        self.session = Session(
            self.connect, dispatch or self.dispatch, BOOT, self.configuration, self.clock, self.log.append, second
        )

    async def connect(self):
        self.attempts += 1
        connection = self.connections.pop(0) if self.connections else OSError(111, "nobody listens")
        if isinstance(connection, Exception):
            raise connection
        return connection

    def dispatch(self, action, payload):
        return {"status": "Accepted"}, None

    async def __aenter__(self):
        self.task = asyncio.create_task(self.session.run())
        return self.session

    async def __aexit__(self, *_):
        self.task.cancel()
        await ended(self.task)

    def logged(self, text):
        return [line for line in self.log if text in line]


class Registration(unittest.TestCase):
    def test_first_message_is_the_boot_notification(self):
        async def test():
            central_system = CentralSystem()
            async with Fixture([central_system]) as session:
                self.assertEqual(await central_system.accept(), BOOT)
                await session.accepted.wait()
                self.assertTrue(session.registered)

        run(test())

    def test_acceptance_is_told_and_calls_go_through(self):
        async def test():
            central_system = CentralSystem()
            fixture = Fixture([central_system])
            told = []
            fixture.session.on_accepted.append(lambda: told.append(fixture.session.registered))
            async with fixture as session:
                await central_system.accept()
                await session.accepted.wait()
                self.assertEqual(told, [True])
                call = asyncio.create_task(session.call("StatusNotification", {"connectorId": 0}))
                self.assertEqual(await central_system.answer("StatusNotification", {}), {"connectorId": 0})
                self.assertEqual(await call, {})

        run(test())

    def test_nothing_can_be_called_before_the_acceptance(self):
        async def test():
            central_system = CentralSystem()
            async with Fixture([central_system]) as session:
                for status in (None, "Pending", "Rejected"):
                    with self.assertRaises(OSError):
                        await session.call("StatusNotification", {})
                    if status:
                        await central_system.answer("BootNotification", boot_answer(status, 1))
                    await asyncio.sleep_ms(2)
                await central_system.accept()
                await session.accepted.wait()

        run(test())

    def test_boot_notification_is_repeated_after_the_interval(self):
        async def test():
            for status in ("Pending", "Rejected", "Nonsense", None, [[]]):
                central_system = CentralSystem()
                fixture = Fixture([central_system])
                async with fixture as session:
                    answer = boot_answer(status, 7)
                    await central_system.answer("BootNotification", answer)
                    await central_system.quiet(3 * SECOND)
                    self.assertFalse(session.registered)
                    await central_system.accept()
                    await session.accepted.wait()
                text = "registration %s, asking again in 7 s" % ("Pending" if status == "Pending" else "Rejected")
                self.assertEqual(len(fixture.logged(text)), 1)

        run(test())

    def test_no_interval_or_a_bad_one_is_a_minute(self):
        async def test():
            for interval in (0, -5, "5", None, 1.5, [[]]):
                central_system = CentralSystem()
                fixture = Fixture([central_system], second=1)
                async with fixture:
                    await central_system.answer("BootNotification", boot_answer("Rejected", interval))
                    await central_system.quiet(20)
                    await central_system.accept()
                self.assertEqual(len(fixture.logged("registration Rejected, asking again in 60 s")), 1)

        run(test())

    def test_endless_interval_is_bounded(self):
        async def test():
            central_system = CentralSystem()
            fixture = Fixture([central_system])
            async with fixture:
                await central_system.answer("BootNotification", boot_answer("Pending", 10**12))
                await central_system.quiet()
            self.assertEqual(len(fixture.logged("asking again in 86400 s")), 1)

        run(test())

    def test_callerror_to_the_boot_notification_is_a_rejection(self):
        async def test():
            central_system = CentralSystem()
            fixture = Fixture([central_system], second=1)
            async with fixture as session:
                unique_id, _ = await central_system.expect("BootNotification")
                central_system.say([4, unique_id, "InternalError", "Internal services failed", {}])
                await central_system.quiet(20)
                self.assertFalse(session.registered)
                await central_system.accept()
            self.assertEqual(len(fixture.logged("InternalError: Internal services failed")), 1)

        run(test())

    def test_unanswered_boot_notification_ends_the_connection(self):
        async def test():
            first, second = CentralSystem(), CentralSystem()
            fixture = Fixture([first, second])
            async with fixture:
                await first.expect("BootNotification")
                await second.accept()
                self.assertTrue(first.aborted)
            self.assertEqual(len(fixture.logged("no answer to BootNotification")), 1)

        run(test())

    def test_calls_are_answered_before_and_between_boot_notifications(self):
        async def test():
            central_system = CentralSystem()
            async with Fixture([central_system]):
                unique_id, _ = await central_system.expect("BootNotification")
                self.assertEqual(await central_system.call("GetConfiguration", {"key": []}), {"status": "Accepted"})
                for status in ("Pending", "Rejected"):
                    central_system.say([3, unique_id, boot_answer(status, 5)])
                    await asyncio.sleep_ms(2)
                    self.assertEqual(await central_system.call("Reset", {}), {"status": "Accepted"})
                    unique_id, _ = await central_system.expect("BootNotification")

        run(test())

    def test_rejection_is_honoured_across_a_lost_connection(self):
        async def test():
            first, second = CentralSystem(), CentralSystem()
            fixture = Fixture([first, second])
            async with fixture:
                await first.answer("BootNotification", boot_answer("Rejected", 20))
                await asyncio.sleep_ms(2)
                first.drop()
                await second.quiet(10 * SECOND)
                await second.accept()
            self.assertEqual(fixture.attempts, 2)

        run(test())

    def test_registration_can_be_withdrawn(self):
        async def test():
            central_system = CentralSystem()
            async with Fixture([central_system]) as session:
                await central_system.accept()
                await session.accepted.wait()
                session.request("BootNotification", [session.boot_payload])
                await central_system.answer("BootNotification", boot_answer("Pending", 3))
                await asyncio.sleep_ms(2)
                self.assertFalse(session.registered)
                await central_system.accept()
                await session.accepted.wait()

        run(test())


class Triggered(unittest.TestCase):
    def test_triggered_messages_are_sent_while_pending(self):
        async def test():
            central_system = CentralSystem()
            async with Fixture([central_system]) as session:
                self.assertFalse(session.takes_requests)
                await central_system.answer("BootNotification", boot_answer("Pending", 1000))
                await asyncio.sleep_ms(2)
                self.assertTrue(session.takes_requests)
                session.request("StatusNotification", [{"connectorId": 0}, {"connectorId": 1}])
                session.request("Heartbeat", [{}])
                session.request("BootNotification", [session.boot_payload])
                self.assertEqual(await central_system.answer("StatusNotification", {}), {"connectorId": 0})
                self.assertEqual(await central_system.answer("StatusNotification", {}), {"connectorId": 1})
                await central_system.answer("Heartbeat", {"currentTime": "2026-08-21T12:00:01.123Z"})
                self.assertEqual(await central_system.accept(), BOOT)
                await session.accepted.wait()

        run(test())

    def test_nothing_triggered_is_sent_when_rejected(self):
        async def test():
            central_system = CentralSystem()
            async with Fixture([central_system]) as session:
                await central_system.answer("BootNotification", boot_answer("Pending", 1000))
                await asyncio.sleep_ms(2)
                session.request("BootNotification", [session.boot_payload])
                session.request("Heartbeat", [{}])
                await central_system.answer("BootNotification", boot_answer("Rejected", 1000))
                await central_system.quiet()
                self.assertFalse(session.takes_requests)

        run(test())

    def test_number_of_waiting_requests_is_bounded(self):
        async def test():
            central_system = CentralSystem()
            async with Fixture([central_system]) as session:
                await central_system.accept()
                await session.accepted.wait()
                taken = 0
                while session.takes_requests:
                    session.request("Heartbeat", [{}])
                    taken += 1
                self.assertEqual(taken, 16)

        run(test())

    def test_requests_of_a_lost_connection_are_forgotten(self):
        async def test():
            first, second = CentralSystem(), CentralSystem()
            async with Fixture([first, second]) as session:
                await first.accept()
                await session.accepted.wait()
                session.request("Heartbeat", [{}, {}])
                await first.expect("Heartbeat")
                first.drop()
                await second.accept()
                await second.quiet()

        run(test())

    def test_callerror_to_a_triggered_message_is_tolerated(self):
        async def test():
            central_system = CentralSystem()
            async with Fixture([central_system]) as session:
                await central_system.accept()
                await session.accepted.wait()
                session.request("StatusNotification", [{}])
                unique_id, _ = await central_system.expect("StatusNotification")
                central_system.say([4, unique_id, "GenericError", "", {}])
                await asyncio.sleep_ms(2)
                self.assertTrue(session.registered)

        run(test())


class Heartbeats(unittest.TestCase):
    def test_heartbeat_comes_at_the_interval_of_the_boot_notification(self):
        async def test():
            central_system = CentralSystem()
            fixture = Fixture([central_system])
            async with fixture:
                await central_system.accept(interval=3)
                for _ in range(3):
                    await central_system.quiet(SECOND)
                    self.assertEqual(await central_system.answer("Heartbeat", {}), {})
            self.assertEqual(fixture.configuration.get("HeartbeatInterval"), 3)
            self.assertEqual(len(fixture.logged("heartbeat every 3 s")), 1)

        run(test())

    def test_interval_zero_or_out_of_bounds_leaves_the_configured_one(self):
        async def test():
            for interval in (0, -1, 10**9, "7", None):
                central_system = CentralSystem()
                fixture = Fixture([central_system], HeartbeatInterval=2)
                async with fixture:
                    await central_system.accept(interval)
                    await central_system.answer("Heartbeat", {})
                self.assertEqual(fixture.configuration.get("HeartbeatInterval"), 2)

        run(test())

    def test_changed_interval_applies_at_once(self):
        async def test():
            central_system = CentralSystem()
            fixture = Fixture([central_system])
            async with fixture:
                await central_system.accept(interval=14400)
                await central_system.quiet()
                fixture.configuration.set("HeartbeatInterval", "2")
                await central_system.answer("Heartbeat", {})
                await central_system.answer("Heartbeat", {})

        run(test())

    def test_changed_interval_brings_no_boot_notification_forward_or_back(self):
        async def test():
            central_system = CentralSystem()
            fixture = Fixture([central_system])
            async with fixture:
                await central_system.answer("BootNotification", boot_answer("Pending", 10))
                await asyncio.sleep_ms(2)
                fixture.configuration.set("HeartbeatInterval", "1")
                await central_system.quiet(5 * SECOND)
                fixture.configuration.set("HeartbeatInterval", "80000")
                await central_system.accept()

        run(test())

    def test_unanswered_heartbeat_ends_the_connection(self):
        async def test():
            first, second = CentralSystem(), CentralSystem()
            async with Fixture([first, second]):
                await first.accept(interval=1)
                await first.expect("Heartbeat")
                await second.accept()

        run(test())

    def test_clock_is_set_from_both_answers(self):
        async def test():
            central_system = CentralSystem()
            fixture = Fixture([central_system])
            seen = []
            fixture.session.on_accepted.append(lambda: seen.append(fixture.clock.now()))
            async with fixture:
                await central_system.accept(interval=1)
                await central_system.answer("Heartbeat", {"currentTime": "2026-08-21T14:00:07+02:00"})
                await central_system.expect("Heartbeat")
            self.assertEqual(seen, [1787313600])
            self.assertEqual(fixture.clock.now(), 1787313607)

        run(test())

    def test_what_is_needed_for_an_answer_only_is_forgotten(self):
        async def test():
            central_system = CentralSystem()
            forgotten = []
            fixture = Fixture([central_system])
            fixture.session = Session(
                fixture.connect,
                fixture.dispatch,
                BOOT,
                fixture.configuration,
                fixture.clock,
                fixture.log.append,
                forget=forgotten.append,
            )
            async with fixture as session:
                await central_system.accept()
                await session.accepted.wait()
                self.assertEqual(forgotten, ["ocpp.registration", "ocpp.timestamps"])

        run(test())

    def test_bad_time_is_logged_and_changes_nothing(self):
        async def test():
            central_system = CentralSystem()
            fixture = Fixture([central_system])
            async with fixture:
                await central_system.accept(interval=1)
                for time in ("yesterday", "2026-08-21T12:00:00." + "1" * 2000 + "Z", 7, None):
                    await central_system.answer("Heartbeat", {"currentTime": time})
                await central_system.expect("Heartbeat")
            self.assertEqual(fixture.clock.now(), 1787313600)
            self.assertEqual(len(fixture.logged("not a date-time")), 2)

        run(test())


class Liveness(unittest.TestCase):
    def test_link_is_pinged_at_the_interval(self):
        async def test():
            central_system = CentralSystem()
            async with Fixture([central_system], WebSocketPingInterval=5) as session:
                await central_system.accept()
                while central_system.pings < 3:
                    await asyncio.sleep_ms(1)
                self.assertTrue(session.registered)

        run(test())

    def test_silent_link_is_dropped_and_made_anew(self):
        async def test():
            first, second = CentralSystem(), CentralSystem()
            first.answers_pings = False
            fixture = Fixture([first, second], WebSocketPingInterval=0)
            async with fixture:
                await first.accept()
                fixture.configuration.set("WebSocketPingInterval", "2")
                await second.accept()
                self.assertTrue(first.aborted)
            self.assertEqual(len(fixture.logged("silent")), 1)

        run(test())

    def test_interval_zero_means_no_pings_and_can_be_changed_at_once(self):
        async def test():
            central_system = CentralSystem()
            fixture = Fixture([central_system], WebSocketPingInterval=0)
            async with fixture:
                await central_system.accept()
                await central_system.quiet()
                self.assertEqual(central_system.pings, 0)
                fixture.configuration.set("WebSocketPingInterval", "1")
                while central_system.pings < 2:
                    await asyncio.sleep_ms(1)

        run(test())


class Reconnecting(unittest.TestCase):
    def test_lost_connection_is_told_and_made_anew(self):
        async def test():
            first, second = CentralSystem(), CentralSystem()
            fixture = Fixture([first, second])
            async with fixture as session:
                await first.accept()
                await session.accepted.wait()
                first.drop()
                while session.registered:
                    await asyncio.sleep_ms(0)
                with self.assertRaises(OSError):
                    await session.call("Heartbeat", {})
                unique_id, boot = await second.expect("BootNotification")
                self.assertEqual(boot, BOOT)
                self.assertFalse(session.takes_requests)
                second.say([3, unique_id, boot_answer("Accepted")])
                await session.accepted.wait()
            self.assertEqual(len(fixture.logged("connection lost")), 1)
            self.assertEqual(len(fixture.logged("connecting again in ")), 1)

        run(test())

    def test_call_in_flight_fails_at_once_when_the_connection_is_lost(self):
        async def test():
            central_system = CentralSystem()
            async with Fixture([central_system]) as session:
                await central_system.accept()
                await session.accepted.wait()
                call = asyncio.create_task(session.call("StatusNotification", {}))
                await central_system.expect("StatusNotification")
                central_system.drop()
                with self.assertRaises(OSError):
                    await call

        run(test())

    def test_pauses_double_up_to_two_minutes_with_jitter(self):
        async def test():
            fixture = Fixture(second=1)
            async with fixture:
                while fixture.attempts < 9:
                    await asyncio.sleep_ms(1)
            pauses = [int(line.split()[-2]) for line in fixture.logged("connecting again")]
            bases = [2, 4, 8, 16, 32, 64, 120, 120, 120]
            self.assertEqual(len(pauses), len(bases))
            for pause, base in zip(pauses, bases):
                self.assertTrue(base <= pause <= base * 3 // 2, "%d s instead of %d s" % (pause, base))
            self.assertNotEqual(pauses, bases)

        run(test())

    def test_pause_is_short_again_after_an_acceptance(self):
        async def test():
            refused = [OSError(111, "nobody listens") for _ in range(4)]
            central_system = CentralSystem()
            fixture = Fixture(refused + [central_system], second=2)
            async with fixture as session:
                await central_system.accept()
                await session.accepted.wait()
                central_system.drop()
                while len(fixture.logged("connecting again")) < 5:
                    await asyncio.sleep_ms(1)
            self.assertTrue(int(fixture.logged("connecting again")[-1].split()[-2]) <= 3)

        run(test())

    def test_too_little_memory_to_connect_is_a_failed_attempt(self):
        async def test():
            central_system = CentralSystem()
            async with Fixture([MemoryError(), central_system]):
                await central_system.accept()

        run(test())

    def test_tasks_of_a_connection_end_with_it(self):
        async def test():
            running = []

            class Counted(CentralSystem):
                async def receive(self):
                    running.append(1)
                    try:
                        return await super().receive()
                    finally:
                        running.pop()

            first, second = Counted(), Counted()
            fixture = Fixture([first, second])
            async with fixture:
                await first.accept()
                first.drop()
                await second.accept()
                self.assertEqual(len(running), 1)
            self.assertEqual(running, [])
            self.assertTrue(first.aborted and second.aborted)

        run(test())

    def test_cancelled_session_ends_whatever_it_is_doing(self):
        async def test():
            for moment in range(12):
                central_system = CentralSystem()
                fixture = Fixture([central_system])
                async with fixture as session:
                    for _ in range(moment):
                        await asyncio.sleep_ms(0)
                    if moment == 8:
                        await central_system.accept()
                    if moment > 9:
                        central_system.drop()
                    await asyncio.sleep_ms(moment % 3)
                self.assertFalse(session.registered)
                self.assertTrue(central_system.aborted or not fixture.attempts)

        run(test())


if __name__ == "__main__":
    unittest.main()
