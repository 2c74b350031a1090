"""How a WebSocket ends (RFC 6455, section 7): closed by either side, lost, timed out or cancelled."""

import asyncio
import unittest

from ocpp.websocket import ConnectionClosed, WebSocket
from wire import Endless, Script, failure, frame, frames, run, settle

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def websocket(script):
    return WebSocket(script, "ocpp1.6", 16384, 1000)


def close_frame(code, reason=b""):
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def ended(*incoming):
    """Receive from a script until it ends; return the error and what was sent."""
    results = []
    for chunk in (1, 1 << 20):
        script = Script(b"".join(incoming), chunk)
        error = run(failure(websocket(script).receive()))
        assert isinstance(error, ConnectionClosed) and script.closed
        results.append((error.code, error.reason, frames(script.sent)))
    assert results[0] == results[1]
    return results[0]


class ClosedByTheServerTest(unittest.TestCase):
    def test_a_close_is_answered_with_its_code_and_tells_code_and_reason(self):
        code, reason, sent = ended(close_frame(1001, "früh".encode()))
        self.assertEqual((code, reason), (1001, "früh"))
        self.assertEqual(sent, [(CLOSE, b"\x03\xe9" + "früh".encode())])

    def test_a_close_without_a_code_is_1005_and_answered_without_a_code(self):
        self.assertEqual(ended(frame(CLOSE)), (1005, "", [(CLOSE, b"")]))

    def test_every_code_that_may_travel_is_accepted(self):
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
            self.assertEqual(ended(close_frame(code)), (code, "", [(CLOSE, code.to_bytes(2, "big"))]))

    def test_every_other_code_is_refused(self):
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
            self.refused(1002, close_frame(code))

    def test_half_a_code_is_refused(self):
        for byte in (b"\0", b"\x03", b"\xff"):
            self.refused(1002, frame(CLOSE, byte))

    def refused(self, expected, incoming):
        code, reason, sent = ended(incoming)
        self.assertEqual(code, expected)
        self.assertEqual(sent, [(CLOSE, code.to_bytes(2, "big") + reason.encode())])

    def test_a_reason_may_fill_the_frame(self):
        self.assertEqual(ended(close_frame(1000, b"x" * 123))[:2], (1000, "x" * 123))

    def test_a_reason_has_to_be_utf_8(self):
        for reason in (b"\xff", b"ab\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\x80", b"x" * 122 + b"\xff"):
            self.refused(1007, close_frame(1000, reason))

    def test_what_comes_after_a_close_does_not_count(self):
        late = frame(TEXT, b"late") + frame(PING, b"late") + close_frame(4000) + frame(3)
        self.assertEqual(ended(close_frame(1000), late), (1000, "", [(CLOSE, b"\x03\xe8")]))

    def test_the_server_is_left_to_close_tcp_but_not_for_ever(self):
        script = Script(close_frame(1000), ends=False)

        async def test():
            task = asyncio.create_task(failure(websocket(script).receive()))
            while not script.sent:
                await asyncio.sleep_ms(0)
            await settle()
            self.assertFalse(script.closed)
            self.assertEqual(script.limits[-1], 1000)
            script.ends = True
            await task
            self.assertTrue(script.closed)

        run(test())

    def test_closing_never_takes_long_however_long_other_waits_may(self):
        for incoming in (b"", close_frame(1000)):
            script = Script(incoming)
            run(WebSocket(script, "ocpp1.6", 16384, 60000).close())
            self.assertEqual(set(script.limits), {5000})

    def test_endless_data_after_a_close_or_a_violation_holds_nobody_up(self):
        run(self.bear_endless_data(close_frame(1000), 1000))
        run(self.bear_endless_data(frame(3), 1002))

    async def bear_endless_data(self, incoming, code):
        script = Endless(incoming)
        task = asyncio.create_task(failure(websocket(script).receive()))
        while not script.sent:
            await asyncio.sleep_ms(0)
        await settle()  # this task gets its turns although there is always more to read
        self.assertFalse(task.done())
        self.assertEqual(script.limits[-1], 1000)
        script.close()  # as the connection does at its limit
        self.assertEqual((await task).code, code)
        self.assertEqual(len(frames(script.sent)), 1)

    def test_a_close_that_comes_while_a_message_is_sent_is_answered_behind_it(self):
        script = Stuck(ends=False)

        async def test():
            ws = websocket(script)
            sending = asyncio.create_task(ws.send("x" * 600))
            receiving = asyncio.create_task(failure(ws.receive()))
            await settle()
            script.incoming = close_frame(1001)
            await settle()
            self.assertEqual(script.sent, b"")
            script.stuck = False
            await sending
            script.ends = True
            self.assertEqual((await receiving).code, 1001)
            self.assertEqual(frames(script.sent), [(TEXT, b"x" * 600), (CLOSE, b"\x03\xe9")])

        run(test())

    def test_nothing_is_sent_after_the_answer_to_a_close(self):
        script = Script(close_frame(1000), ends=False)

        async def test():
            ws = websocket(script)
            receiving = asyncio.create_task(failure(ws.receive()))
            while not script.sent:
                await asyncio.sleep_ms(0)
            for action in (ws.send("late"), ws.ping(b"late")):
                self.assertIsInstance(await failure(action), ConnectionClosed)
            await ws.close(1001)
            script.ends = True
            await receiving

        run(test())
        self.assertEqual(frames(script.sent), [(CLOSE, b"\x03\xe8")])

    def test_a_close_between_fragments_ends_it(self):
        self.assertEqual(ended(frame(TEXT, b"a", False), close_frame(1001))[0], 1001)

    def test_the_end_of_the_stream_without_a_close_is_1006(self):
        for incoming in (b"", b"\x81", b"\x81\x05abc", b"\x88\x02\x03", frame(TEXT, b"a", False)):
            code, reason, sent = ended(incoming)
            self.assertEqual((code, sent), (1006, []))
            self.assertIn("other side", reason)


class ClosedHereTest(unittest.TestCase):
    def test_close_sends_code_and_reason_and_waits_for_the_server_s_close(self):
        script = Script(close_frame(1001) + frame(TEXT, b"late"))
        run(websocket(script).close(1001, "tschüß"))
        self.assertEqual(frames(script.sent), [(CLOSE, b"\x03\xe9" + "tschüß".encode())])
        self.assertEqual(script.incoming, b"")
        self.assertTrue(script.closed)
        self.assertTrue(script.limits)

    def test_close_while_a_message_is_sent_comes_behind_it(self):
        script = Stuck(ends=False)

        async def test():
            ws = websocket(script)
            sending = asyncio.create_task(ws.send("x" * 600))
            await settle()
            closing = asyncio.create_task(ws.close())
            await settle()
            script.stuck = False
            await sending
            script.ends = True
            await closing
            self.assertEqual(frames(script.sent), [(TEXT, b"x" * 600), (CLOSE, b"\x03\xe8")])

        run(test())

    def test_when_both_sides_close_at_once_there_is_one_close_from_each(self):
        script = Stuck(ends=False)

        async def test():
            ws = websocket(script)
            receiving = asyncio.create_task(failure(ws.receive()))
            await settle()
            closing = asyncio.create_task(ws.close(1001))
            script.incoming = close_frame(1012, b"restart")
            await settle()
            script.stuck = False
            while not script.sent:
                await asyncio.sleep_ms(0)
            script.ends = True
            await closing
            self.assertEqual((await receiving).code, 1012)
            self.assertEqual(frames(script.sent), [(CLOSE, b"\x03\xe9")])

        run(test())

    def test_a_connection_that_ends_after_our_close_without_the_server_s_is_1006(self):
        script = Script(ends=False)

        async def test():
            ws = websocket(script)
            receiving = asyncio.create_task(failure(ws.receive()))
            await settle()
            closing = asyncio.create_task(ws.close())
            await settle()
            script.ends = True
            await closing
            self.assertEqual((await receiving).code, 1006)

        run(test())

    def test_close_is_normal_by_default(self):
        script = Script(close_frame(1000))
        run(websocket(script).close())
        self.assertEqual(frames(script.sent), [(CLOSE, b"\x03\xe8")])

    def test_close_lets_the_task_that_receives_get_the_answer(self):
        script = Script(ends=False)

        async def test():
            ws = websocket(script)
            receiving = asyncio.create_task(failure(ws.receive()))
            await settle()
            closing = asyncio.create_task(ws.close(1000, "bye"))
            while not script.sent:
                await asyncio.sleep_ms(0)
            script.ends = True
            script.incoming += close_frame(1000, b"too")
            await closing
            self.assertEqual((await receiving).reason, "too")
            self.assertEqual(len(frames(script.sent)), 1)

        run(test())

    def test_a_message_that_ends_while_another_task_closes_does_not_lift_the_limit_of_that(self):
        script = Script(b"\x81", ends=False)

        async def test():
            ws = websocket(script)
            await ws._sending.acquire()  # as one who sends: the Close has to wait
            receiving = asyncio.create_task(ws.receive())
            await settle()
            closing = asyncio.create_task(ws.close())
            await settle()
            script.incoming += b"\0"
            self.assertEqual(await receiving, "")
            self.assertEqual(script.limits, [script.timeout, 1000])
            ws._sending.release()
            script.ends = True
            await closing

        run(test())

    def test_a_task_that_receives_while_another_one_closes_is_told(self):
        script = Script(b"\x81", ends=False)

        async def test():
            ws = websocket(script)
            closing = asyncio.create_task(ws.close())
            await settle()
            receiving = asyncio.create_task(failure(ws.receive()))
            await settle()
            script.incoming += b"\0" + close_frame(1000)
            await settle()
            late = asyncio.create_task(failure(ws.receive()))  # while close() waits for TCP to be closed
            await settle()
            script.ends = True
            await closing
            for task in (receiving, late):
                self.assertEqual((await task).code, 1006)

        run(test())

    def test_messages_that_come_after_our_close_are_dropped_and_pings_answered(self):
        script = Script(frame(TEXT, b"late") + frame(PING, b"still?") + close_frame(1000))
        run(websocket(script).close())
        self.assertEqual(frames(script.sent), [(CLOSE, b"\x03\xe8"), (PONG, b"still?")])

    def test_nothing_is_sent_after_our_close(self):
        script = Script(ends=False)

        async def test():
            ws = websocket(script)
            closing = asyncio.create_task(ws.close())
            while not script.sent:
                await asyncio.sleep_ms(0)
            for action in (ws.send("late"), ws.ping(b"late")):
                self.assertIsInstance(await failure(action), ConnectionClosed)
            script.ends = True
            await closing
            self.assertEqual(len(frames(script.sent)), 1)

        run(test())

    def test_a_violation_after_our_close_does_not_bring_a_second_one(self):
        script = Script(frame(3))
        run(websocket(script).close())
        self.assertEqual(frames(script.sent), [(CLOSE, b"\x03\xe8")])
        self.assertTrue(script.closed)

    def test_close_of_a_lost_connection_does_no_harm(self):
        script = Script()
        run(websocket(script).close())
        self.assertTrue(script.closed)

    def test_close_and_abort_may_be_repeated(self):
        script = Script(close_frame(1000))
        ws = websocket(script)

        async def test():
            await ws.close()
            await ws.close()
            ws.abort()
            ws.abort()
            await ws.close()

        run(test())
        self.assertEqual(len(frames(script.sent)), 1)

    def test_two_tasks_may_close_at_once(self):
        script = Script(ends=False)

        async def test():
            ws = websocket(script)
            tasks = [asyncio.create_task(ws.close()) for _ in range(2)]
            for task in tasks:
                await task
            self.assertEqual(len(frames(script.sent)), 1)
            self.assertTrue(script.closed)

        run(test())

    def test_abort_drops_the_connection_without_a_close(self):
        script = Script(ends=False)

        async def test():
            ws = websocket(script)
            receiving = asyncio.create_task(failure(ws.receive()))
            await settle()
            ws.abort()
            self.assertEqual((await receiving).code, 1006)
            self.assertEqual(script.sent, b"")
            for action in (ws.receive(), ws.send("late"), ws.ping()):
                self.assertEqual((await failure(action)).code, 1006)

        run(test())

    def test_a_reason_longer_than_a_control_frame_is_refused(self):
        with self.assertRaises(ValueError):
            run(websocket(Script()).close(1000, "x" * 124))


class CancelTest(unittest.TestCase):
    def cancelled(self, script, start):
        """Cancel `start(websocket)` while it waits; return the websocket."""

        async def test():
            ws = websocket(script)
            task = asyncio.create_task(start(ws))
            await settle()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            return ws

        return run(test())

    def test_a_cancelled_receive_ends_the_connection(self):
        for incoming in (b"", b"\x81", b"\x81\x05abc", frame(TEXT, b"a", False)):
            script = Script(incoming, ends=False)
            ws = self.cancelled(script, lambda ws: ws.receive())
            self.assertTrue(script.closed)
            self.assertEqual(run(failure(ws.send("late"))).code, 1006)

    def test_a_cancelled_wait_for_tcp_to_be_closed_ends_the_connection(self):
        script = Script(close_frame(1000), ends=False)
        self.cancelled(script, lambda ws: ws.receive())
        self.assertTrue(script.closed)

    def test_a_cancelled_close_ends_the_connection(self):
        script = Script(ends=False)
        self.cancelled(script, lambda ws: ws.close())
        self.assertTrue(script.closed)

    def test_a_cancelled_send_ends_the_connection(self):
        script = Stuck()
        self.cancelled(script, lambda ws: ws.send("x" * 2000))
        self.assertTrue(script.closed)

    def test_a_cancelled_wait_for_another_sender_does_no_harm(self):
        script = Stuck()

        async def test():
            ws = websocket(script)
            first = asyncio.create_task(ws.send("first"))
            second = asyncio.create_task(ws.send("second"))
            third = asyncio.create_task(ws.send("third"))
            await settle()
            second.cancel()
            script.stuck = False
            await first
            await third
            self.assertFalse(script.closed)
            self.assertEqual(frames(script.sent), [(TEXT, b"first"), (TEXT, b"third")])

        run(test())

    def test_a_failed_send_ends_the_connection(self):
        script = Script()
        script.closed = True

        async def test():
            ws = websocket(script)
            script.closed = False
            script.write = self.fail_to_write
            self.assertIsInstance(await failure(ws.send("a")), OSError)
            self.assertTrue(script.closed)
            self.assertEqual((await failure(ws.send("b"))).code, 1006)

        run(test())

    async def fail_to_write(self, data):
        raise OSError(104, "reset")


class Stuck(Script):
    """A connection that takes nothing until `stuck` is False."""

    stuck = True

    async def write(self, data):
        while self.stuck:
            await asyncio.sleep_ms(1)
        await super().write(data)


if __name__ == "__main__":
    unittest.main()
