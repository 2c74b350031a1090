import asyncio
import unittest

from ocpp.configuration import Configuration
from ocpp.outbox import Outbox
from ocpp.session import Session
from scripted import CentralSystem, Clock, Store, ended, run


class Queue:
    """Messages in memory."""

    def __init__(self, *payloads):
        self.payloads = list(payloads)

    def peek(self):
        return ("DataTransfer", self.payloads[0]) if self.payloads else None

    def pop(self, refused):
        self.payloads.pop(0)


class Fixture:
    """An Outbox and the session that it sends on."""

    def __init__(self, *queues, connections=1, pause=60_000, second=20):
        self.connections = [CentralSystem() for _ in range(connections)]
        self.waiting = list(self.connections)
        self.log = []
        self.outbox = Outbox(self.log.append, pause)
        for queue in queues:
            self.outbox.add(queue)
        configuration = Configuration(Store(), {"WebSocketPingInterval": 0})
        self.session = Session(self.connect, None, {}, configuration, Clock(), lambda text: None, second)
        self.session.on_accepted.append(self.outbox.wake)

    async def connect(self):
        return self.waiting.pop(0)

    async def __aenter__(self):
        self.tasks = [asyncio.create_task(self.session.run()), asyncio.create_task(self.outbox.run(self.session))]
        return self.outbox, self.connections

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
            await ended(task)


class Sending(unittest.TestCase):
    def test_nothing_is_sent_before_the_registration(self):
        async def test():
            async with Fixture(Queue({"number": 1})) as (_, (central_system,)):
                unique_id, _ = await central_system.expect("BootNotification")
                await central_system.quiet()
                central_system.say([3, unique_id, {"status": "Pending", "interval": 1}])
                await central_system.accept()
                self.assertEqual(await central_system.answer("DataTransfer", {}), {"number": 1})

        run(test())

    def test_queues_are_sent_in_the_order_they_were_added_one_message_at_a_time(self):
        async def test():
            first, second = Queue({"number": 1}, {"number": 2}), Queue({"number": 3})
            async with Fixture(first, second) as (_, (central_system,)):
                await central_system.accept()
                for number in (1, 2, 3):
                    unique_id, payload = await central_system.expect("DataTransfer")
                    self.assertEqual(payload["number"], number)
                    await central_system.quiet(5)
                    central_system.say([3, unique_id, {}])
                await central_system.quiet(5)
                self.assertEqual(first.payloads + second.payloads, [])

        run(test())

    def test_message_is_forgotten_only_when_it_was_answered(self):
        async def test():
            queue = Queue({"number": 1})
            async with Fixture(queue) as (_, (central_system,)):
                await central_system.accept()
                unique_id, _ = await central_system.expect("DataTransfer")
                await asyncio.sleep_ms(5)
                self.assertEqual(len(queue.payloads), 1)
                central_system.say([3, unique_id, {}])
                await asyncio.sleep_ms(5)
                self.assertEqual(queue.payloads, [])

        run(test())

    def test_new_message_is_sent_when_the_outbox_is_woken(self):
        async def test():
            queue = Queue()
            async with Fixture(queue) as (outbox, (central_system,)):
                await central_system.accept()
                await central_system.quiet(5)
                queue.payloads.append({"number": 1})
                outbox.wake()
                await central_system.answer("DataTransfer", {})

        run(test())

    def test_message_that_comes_while_another_is_in_flight_is_sent_next(self):
        async def test():
            queue = Queue({"number": 1})
            async with Fixture(queue) as (outbox, (central_system,)):
                await central_system.accept()
                unique_id, _ = await central_system.expect("DataTransfer")
                queue.payloads.append({"number": 2})
                outbox.wake()
                central_system.say([3, unique_id, {}])
                self.assertEqual(await central_system.answer("DataTransfer", {}), {"number": 2})

        run(test())

    def test_callerror_counts_as_an_answer(self):
        async def test():
            fixture = Fixture(Queue({"number": 1}, {"number": 2}))
            async with fixture as (_, (central_system,)):
                await central_system.accept()
                unique_id, _ = await central_system.expect("DataTransfer")
                central_system.say([4, unique_id, "InternalError", "Internal services failed", {}])
                self.assertEqual(await central_system.answer("DataTransfer", {}), {"number": 2})
            self.assertEqual(fixture.log, ["DataTransfer was answered with InternalError: Internal services failed"])

        run(test())


class SendingAgain(unittest.TestCase):
    def test_queue_may_keep_what_was_refused_and_others_are_sent_until_it_gives_it_again(self):
        class Patient(Queue):
            waits = False

            def peek(self):
                return None if self.waits else super().peek()

            def pop(self, answer):
                if answer is None:
                    self.waits = True
                else:
                    super().pop(answer)

        async def test():
            patient = Patient({"number": 1})
            async with Fixture(patient, Queue({"number": 2})) as (outbox, (central_system,)):
                await central_system.accept()
                unique_id, _ = await central_system.expect("DataTransfer")
                central_system.say([4, unique_id, "InternalError", "later", {}])
                self.assertEqual(await central_system.answer("DataTransfer", {}), {"number": 2})
                await central_system.quiet(5)
                patient.waits = False
                outbox.wake()
                self.assertEqual(await central_system.answer("DataTransfer", {}), {"number": 1})
                await central_system.quiet(5)
                self.assertEqual(patient.payloads, [])

        run(test())

    def test_message_without_an_answer_is_sent_again_after_a_pause_identical(self):
        async def test():
            fixture = Fixture(Queue({"number": 1}, {"number": 2}), pause=20, second=3)
            async with fixture as (_, (central_system,)):
                await central_system.accept()
                await central_system.expect("DataTransfer")
                self.assertEqual(await central_system.answer("DataTransfer", {}), {"number": 1})
                self.assertEqual(await central_system.answer("DataTransfer", {}), {"number": 2})
            self.assertEqual(len(fixture.log), 1)
            self.assertTrue("DataTransfer will be sent again: " in fixture.log[0])

        run(test())

    def test_message_in_flight_when_the_link_is_lost_is_sent_again_after_the_next_acceptance(self):
        async def test():
            async with Fixture(Queue({"number": 1}), connections=2) as (_, (first, second)):
                await first.accept()
                await first.expect("DataTransfer")
                first.drop()
                unique_id, _ = await second.expect("BootNotification")
                await second.quiet()
                second.say([3, unique_id, {"status": "Accepted"}])
                self.assertEqual(await second.answer("DataTransfer", {}), {"number": 1})
                await second.quiet()

        run(test())

    def test_message_that_comes_while_the_link_is_down_waits_for_the_next_acceptance(self):
        async def test():
            queue = Queue()
            async with Fixture(queue, connections=2) as (outbox, (first, second)):
                await first.accept()
                await first.quiet(5)
                first.drop()
                queue.payloads.append({"number": 1})
                outbox.wake()
                await second.accept()
                await second.answer("DataTransfer", {})

        run(test())


if __name__ == "__main__":
    unittest.main()
