import asyncio
import gc
import unittest

from ocpp.rpc import CallError, Rpc
from scripted import CentralSystem, ended, run

STEVE_CALLERROR = (
    '[4,"%s","PropertyConstraintViolation","Message validation failed",{"errorMsg":"Violation of field constraints"}]'
)
ID = "6b8d6a8e-6d5d-4a0c-9a53-3a0e4e1d2f10"


def echo(action, payload):
    return payload, None


class Fixture:
    """An Rpc that runs against a scripted central system."""

    def __init__(self, dispatch=echo, timeout=2000):
        self.central_system = CentralSystem()
        self.log = []
        self.rpc = Rpc(self.central_system, dispatch, timeout=timeout, log=self.log.append)

    async def __aenter__(self):
        self.reader = start(result(self.rpc.run()))
        return self, self.central_system, self.rpc

    async def __aexit__(self, *_):
        self.reader.cancel()
        await ended(self.reader)


async def result(task):
    """What a call (or run()) ended with: its payload or its exception."""
    try:
        return await task
    except (CallError, OSError) as error:
        return error


def start(coroutine):
    return asyncio.create_task(coroutine)


class OwnCalls(unittest.TestCase):
    def test_call_returns_the_payload_of_its_callresult(self):
        async def test():
            async with Fixture() as (_, central_system, rpc):
                call = start(rpc.call("Heartbeat", {"a": 1}))
                message = await central_system.next()
                self.assertEqual(message[0], 2)
                self.assertEqual(message[2:], ["Heartbeat", {"a": 1}])
                central_system.say('[3,"%s",{"currentTime":"2026-08-21T12:00:00.123Z"}]' % message[1])
                self.assertEqual(await call, {"currentTime": "2026-08-21T12:00:00.123Z"})

        run(test())

    def test_null_is_an_empty_payload(self):
        async def test():
            async with Fixture() as (_, central_system, rpc):
                call = start(rpc.call("StatusNotification", {}))
                unique_id, _ = await central_system.expect("StatusNotification")
                central_system.say('[3,"%s",null]' % unique_id)
                self.assertEqual(await call, {})

        run(test())

    def test_callerror_is_raised_with_code_and_description(self):
        async def test():
            async with Fixture() as (_, central_system, rpc):
                call = start(rpc.call("StatusNotification", {}))
                unique_id, _ = await central_system.expect("StatusNotification")
                central_system.say(STEVE_CALLERROR % unique_id)
                error = await result(call)
                self.assertEqual(
                    (error.code, error.description), ("PropertyConstraintViolation", "Message validation failed")
                )

        run(test())

    def test_malformed_answer_is_a_formation_violation(self):
        async def test():
            async with Fixture() as (_, central_system, rpc):
                for answer in (
                    '[3,"%s"]',
                    '[3,"%s",[]]',
                    '[3,"%s","x"]',
                    '[3,"%s",[[1]]]',
                    '[4,"%s"]',
                    '[4,"%s",{}]',
                    '[4,"%s","GenericError"]',
                    '[4,"%s",7,"x",{}]',
                    '[4,"%s","GenericError",[[]],{}]',
                ):
                    call = start(rpc.call("Heartbeat", {}))
                    unique_id, _ = await central_system.expect("Heartbeat")
                    central_system.say(answer % unique_id)
                    self.assertEqual((await result(call)).code, "FormationViolation")

        run(test())

    def test_one_call_is_in_flight_and_the_others_follow_in_order(self):
        async def test():
            async with Fixture() as (_, central_system, rpc):
                calls = [start(rpc.call("DataTransfer", {"number": i})) for i in range(6)]
                for i in range(6):
                    unique_id, payload = await central_system.expect("DataTransfer")
                    self.assertEqual(payload["number"], i)
                    await central_system.quiet(3)
                    central_system.say([3, unique_id, {"number": i}])
                for i in range(6):
                    self.assertEqual(await calls[i], {"number": i})

        run(test())

    def test_ids_are_unique_also_across_connections(self):
        async def test():
            ids = set()
            for _ in range(3):
                async with Fixture() as (_, central_system, rpc):
                    for _ in range(3):
                        call = start(rpc.call("Heartbeat", {}))
                        unique_id, _ = await central_system.expect("Heartbeat")
                        central_system.say([3, unique_id, {}])
                        await call
                        self.assertTrue(0 < len(unique_id) <= 36)
                        ids.add(unique_id)
            self.assertEqual(len(ids), 9)

        run(test())

    def test_no_answer_in_time_is_etimedout(self):
        async def test():
            async with Fixture(timeout=10) as (_, central_system, rpc):
                error = await result(start(rpc.call("Heartbeat", {})))
                self.assertIsInstance(error, OSError)
                self.assertTrue("no answer to Heartbeat" in str(error))

        run(test())

    def test_late_answer_is_not_taken_for_the_next_calls(self):
        async def test():
            async with Fixture(timeout=20) as (fixture, central_system, rpc):
                await result(start(rpc.call("Heartbeat", {})))
                late, _ = await central_system.expect("Heartbeat")
                fixture.rpc._timeout = 2000
                call = start(rpc.call("Heartbeat", {}))
                unique_id, _ = await central_system.expect("Heartbeat")
                central_system.say([3, late, {"late": True}])
                await asyncio.sleep_ms(5)
                central_system.say([3, unique_id, {"late": False}])
                self.assertEqual(await call, {"late": False})
                self.assertEqual(len(fixture.log), 1)

        run(test())

    def test_answer_to_no_call_is_ignored(self):
        async def test():
            async with Fixture() as (fixture, central_system, rpc):
                central_system.say('[3,"unknown",{}]')
                central_system.say('[4,"7","NotImplemented","The action \'Foo\' you are looking for is not found",{}]')
                self.assertEqual(await central_system.call("Echo", {"a": 1}), {"a": 1})
                self.assertEqual(len(fixture.log), 2)

        run(test())

    def test_second_answer_to_the_same_call_is_ignored(self):
        async def test():
            async with Fixture() as (fixture, central_system, rpc):
                call = start(rpc.call("Heartbeat", {}))
                unique_id, _ = await central_system.expect("Heartbeat")
                central_system.say([3, unique_id, {"first": True}])
                central_system.say([3, unique_id, {"first": False}])
                self.assertEqual(await call, {"first": True})
                await asyncio.sleep_ms(3)
                self.assertEqual(len(fixture.log), 1)

        run(test())

    def test_calls_end_at_once_when_the_connection_is_lost(self):
        async def test():
            async with Fixture() as (fixture, central_system, rpc):
                answered = start(rpc.call("Heartbeat", {}))
                await central_system.answer("Heartbeat", {})
                await answered
                calls = [start(rpc.call("Heartbeat", {})) for _ in range(3)]
                await central_system.expect("Heartbeat")
                central_system.drop()
                for call in calls:
                    self.assertTrue("connection lost" in str(await result(call)))
                self.assertIsInstance(await fixture.reader, OSError)
                self.assertTrue("connection lost" in str(await result(rpc.call("Heartbeat", {}))))
                self.assertEqual(len(central_system.sent), 2)

        run(test())

    def test_nothing_is_called_when_nobody_reads_the_answers_any_more(self):
        async def test():
            async with Fixture() as (fixture, central_system, rpc):
                waiting = start(rpc.call("Heartbeat", {}))
                await central_system.expect("Heartbeat")
                fixture.reader.cancel()
                self.assertTrue("connection lost" in str(await result(waiting)))
                self.assertTrue("connection lost" in str(await result(rpc.call("Heartbeat", {}))))
                await central_system.quiet(3)

        run(test())

    def test_cancelled_call_lets_the_next_one_through(self):
        async def test():
            async with Fixture() as (fixture, central_system, rpc):
                first = start(rpc.call("Heartbeat", {}))
                stale, _ = await central_system.expect("Heartbeat")
                first.cancel()
                second = start(rpc.call("Heartbeat", {}))
                unique_id, _ = await central_system.expect("Heartbeat")
                central_system.say([3, stale, {}])
                central_system.say([3, unique_id, {"second": True}])
                self.assertEqual(await second, {"second": True})

        run(test())


class CallsOfTheCentralSystem(unittest.TestCase):
    def test_call_is_answered_with_the_handlers_payload(self):
        async def test():
            async with Fixture() as (_, central_system, rpc):
                central_system.say('[2,"%s","ChangeConfiguration",{"key":"HeartbeatInterval","value":"60"}]' % ID)
                self.assertEqual(await central_system.next(), [3, ID, {"key": "HeartbeatInterval", "value": "60"}])

        run(test())

    def test_call_is_answered_while_our_own_is_in_flight(self):
        async def test():
            async with Fixture() as (_, central_system, rpc):
                call = start(rpc.call("BootNotification", {}))
                unique_id, _ = await central_system.expect("BootNotification")
                self.assertEqual(await central_system.call("GetConfiguration", {"key": []}), {"key": []})
                central_system.say([3, unique_id, {}])
                self.assertEqual(await call, {})

        run(test())

    def test_burst_of_calls_is_answered_in_order(self):
        async def test():
            async with Fixture() as (_, central_system, rpc):
                for i in range(20):
                    central_system.say([2, "id-%d" % i, "Echo", {"number": i}])
                for i in range(20):
                    self.assertEqual(await central_system.next(), [3, "id-%d" % i, {"number": i}])

        run(test())

    def test_handlers_callerror_is_sent(self):
        def dispatch(action, payload):
            raise CallError("NotSupported", "not here")

        async def test():
            async with Fixture(dispatch) as (fixture, central_system, rpc):
                central_system.say([2, "id", "ClearCache", {}])
                self.assertEqual(await central_system.next(), [4, "id", "NotSupported", "not here", {}])
                self.assertEqual(fixture.log, ["answered with NotSupported: not here"])

        run(test())

    def test_failing_handler_is_an_internal_error_that_names_the_reason(self):
        def dispatch(action, payload):
            raise ValueError("an update is being installed" + 300 * "!")

        async def test():
            async with Fixture(dispatch) as (fixture, central_system, rpc):
                central_system.say([2, "id", "UpdateFirmware", {}])
                message = await central_system.next()
                self.assertEqual(message[:3], [4, "id", "InternalError"])
                self.assertTrue(message[3].startswith("an update is being installed"))
                self.assertEqual(len(message[3]), 255)

        run(test())

    def test_answer_that_is_no_json_is_an_internal_error_and_nothing_follows_it(self):
        async def test():
            done = []
            async with Fixture(lambda action, payload: (deep(5000), lambda: done.append(1))) as (
                _,
                central_system,
                rpc,
            ):
                central_system.say([2, "id", "Reset", {}])
                self.assertEqual((await central_system.next())[:3], [4, "id", "InternalError"])
                await asyncio.sleep_ms(3)
                self.assertEqual(done, [])

        run(test())

    def test_what_follows_the_answer_runs_after_it(self):
        async def test():
            order = []

            def dispatch(action, payload):
                order.append("handler")
                return {}, lambda: order.append(len(central_system.sent))

            async with Fixture(dispatch) as (_, central_system, rpc):
                await central_system.call("Reset", {})
                await asyncio.sleep_ms(3)
                self.assertEqual(order, ["handler", 1])

        run(test())

    def test_what_follows_the_answer_runs_also_when_it_could_not_be_sent(self):
        async def test():
            done = []

            def dispatch(action, payload):
                central_system.drop()
                return {}, lambda: done.append(1)

            async with Fixture(dispatch) as (fixture, central_system, rpc):
                central_system.say([2, "id", "Reset", {}])
                self.assertIsInstance(await fixture.reader, OSError)
                self.assertEqual((done, central_system.sent), ([1], []))

        run(test())

    def test_malformed_call_with_an_id_is_a_formation_violation(self):
        async def test():
            async with Fixture() as (_, central_system, rpc):
                for tail in ("", ',"Reset"', ',"Reset",[]', ',"Reset","x"', ",7,{}", ',"Reset",{},{}', ",[[]],{}"):
                    central_system.say('[2,"id"%s]' % tail)
                    self.assertEqual((await central_system.next())[:3], [4, "id", "FormationViolation"])

        run(test())


class HostileMessages(unittest.TestCase):
    def survives(self, *messages):
        async def test():
            async with Fixture() as (fixture, central_system, rpc):
                for message in messages:
                    central_system.say(message)
                self.assertEqual(await central_system.call("Echo", {"alive": True}), {"alive": True})
                self.assertEqual(fixture.log, ["ignored what is no OCPP message"] * len(messages))

        run(test())

    def test_what_is_no_json_is_ignored(self):
        self.survives(
            "", " ", "nonsense", '[2,"id","Reset",{"type":"Soft"}', '[2,"id', "{", "]", b'[2,"id","Reset",{}]'
        )

    def test_what_is_no_array_is_ignored(self):
        self.survives("{}", "null", "7", '"x"', '{"a":[]', "[]", "[2]")

    def test_unknown_message_type_is_ignored(self):
        self.survives('[5,"id","Reset",{}]', '["2","id","Reset",{}]', '[null,"id","Reset",{}]', '[[2],"id","Reset",{}]')

    def test_message_without_a_readable_id_is_ignored(self):
        self.survives('[2,7,"Reset",{}]', '[2,null,"Reset",{}]', '[2,["id"],"Reset",{}]', "[3,{},{}]")

    def test_deep_nesting_is_ignored(self):
        self.survives("[" * 3000 + "]" * 3000, '{"a":' * 1000 + "]")

    def test_a_call_that_does_not_fit_into_memory_is_answered_all_the_same(self):
        async def test():
            async with Fixture() as (_, central_system, rpc):
                gc.collect()
                lists = "[]," * (gc.mem_free() // 25)  # each takes 32 bytes and more
                central_system.say(' [2, "id","Echo",{"a":[%s[]]}]' % lists)
                lists = None
                self.assertEqual((await central_system.next())[:3], [4, "id", "InternalError"])
                self.assertEqual(await central_system.call("Echo", {"alive": True}), {"alive": True})

        run(test())

    def test_deep_nesting_in_a_payload_reaches_no_recursion(self):
        async def test():
            async with Fixture(lambda action, payload: ({}, None)) as (_, central_system, rpc):
                central_system.say('[2,"id","Reset",{"type":' + "[" * 300 + "]" * 300 + "}]")
                self.assertEqual(await central_system.next(), [3, "id", {}])

        run(test())


def deep(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


if __name__ == "__main__":
    unittest.main()
