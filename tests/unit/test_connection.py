"""TCP connections: dialling, reading, writing, deadlines and every way to end."""

import asyncio
import socket
import time
import unittest
from errno import ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EINVAL, ENOMEM, ENOTCONN, ETIMEDOUT

import hw.dialing as module
from hw.connection import Dialer
from wire import (
    LOCAL,
    Listener,
    Resolver,
    descriptors,
    failure,
    flood,
    has_ipv6,
    read,
    run,
    settle,
    unused_port,
    with_pair,
)

SOON = 20  # ms


class FakeSocket:
    """A socket that connects with `outcome`."""

    def __init__(self, *kind):
        FakeSocket.last = self
        self.closed = False

    def setblocking(self, flag):
        pass

    def setsockopt(self, *option):
        pass

    def connect(self, address):
        self.address = address
        raise self.outcome

    def close(self):
        self.closed = True


class DialTest(unittest.TestCase):
    def tearDown(self):
        module.socket = socket

    def test_a_refused_port_is_an_error_that_names_the_peer(self):
        port = unused_port()

        async def test():
            error = await failure(Dialer().dial(LOCAL, port))
            self.assertEqual(error.errno, ECONNREFUSED)
            self.assertIn("127.0.0.1:%d: can't connect (ECONNREFUSED)" % port, str(error))

        run(test())

    def test_an_unknown_host_is_an_error_that_says_so(self):
        async def test():
            error = await failure(Dialer().dial("x" * 300, 80))  # too long to be asked about
            self.assertEqual(error.errno, EHOSTUNREACH)
            self.assertIn("xxx:80: host name not found", str(error))

        run(test())

    def test_a_host_that_does_not_answer_is_given_up_after_the_timeout(self):
        async def test(listener):
            error = await failure(Dialer().dial(LOCAL, listener.port, timeout=SOON))
            self.assertEqual(error.errno, ETIMEDOUT)
            self.assertIn("127.0.0.1:%d: connecting timed out" % listener.port, str(error))

        run(self.with_deaf_listener(test))

    def test_cancelling_while_it_connects_leaves_nothing_open(self):
        async def test(listener):
            before = descriptors()
            task = asyncio.create_task(Dialer().dial(LOCAL, listener.port))
            await settle()
            self.assertEqual(descriptors(), before + 1)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(descriptors(), before)

        run(self.with_deaf_listener(test))

    async def with_deaf_listener(self, test):
        listener = Listener(backlog=0)
        address = socket.getaddrinfo(LOCAL, listener.port)[0][-1]
        queue = [socket.socket() for _ in range(4)]
        for sock in queue:  # more than are kept waiting; the system ignores further ones
            sock.setblocking(False)
            try:
                sock.connect(address)
            except OSError:
                pass  # in progress
        await test(listener)
        for sock in queue:
            sock.close()
        listener.close()

    def test_every_address_of_a_host_is_tried(self):
        async def test():
            listener = Listener()
            module.socket = Resolver(unused_port(), listener.port)
            connection = await Dialer().dial("station.example", 80)
            connection.close()
            listener.close()

        run(test())

    @unittest.skipUnless(has_ipv6(), "no IPv6 on this machine")
    def test_an_ipv6_address_is_dialled_and_stands_in_brackets_in_errors(self):
        async def test():
            listener = Listener(host="::1")
            connection = await Dialer().dial("::1", listener.port)
            peer = await listener.accept()
            await peer.say(b"hello")
            self.assertEqual(await read(connection, 5), b"hello")
            connection.close()
            peer.close()
            listener.close()
            error = await failure(Dialer().dial("::1", listener.port))
            self.assertEqual(error.errno, ECONNREFUSED)
            self.assertIn("[::1]:%d: " % listener.port, str(error))

        run(test())

    def test_a_system_that_gives_no_ipv6_address_gets_the_host_as_it_is(self):
        async def test():
            module.socket = resolver = Resolver()
            resolver.getaddrinfo = lambda *_: [(10, 1, 0, "2001:db8::1", None)]  # the ESP32's
            resolver.socket = FakeSocket
            FakeSocket.outcome = OSError(127)
            (await Dialer().dial("2001:db8::1", 443)).close()
            self.assertEqual(FakeSocket.last.address, ("2001:db8::1", 443))

        run(test())

    def test_an_address_is_asked_for_once_until_connecting_fails(self):
        async def test():
            listener = Listener()
            module.socket = resolver = Resolver(listener.port)
            dialer = Dialer()
            for _ in range(2):
                (await dialer.dial("station.example", 80)).close()
            self.assertEqual(len(resolver.asked), 1)
            listener.close()
            await failure(dialer.dial("station.example", 80))
            self.assertEqual(len(resolver.asked), 1)
            await failure(dialer.dial("station.example", 80))
            self.assertEqual(len(resolver.asked), 2)

        run(test())

    def test_no_memory_is_an_error_like_others(self):
        async def test():
            module.socket = resolver = Resolver(80)
            resolver.socket = FakeSocket
            FakeSocket.outcome = MemoryError()
            error = await failure(Dialer().dial("station.example", 80))
            self.assertEqual(error.errno, ENOMEM)
            self.assertIn("station.example:80", str(error))
            self.assertTrue(FakeSocket.last.closed)

        run(test())

    def test_a_system_that_says_it_is_connected_already_is_connected(self):
        async def test():
            module.socket = resolver = Resolver(80)
            resolver.socket = FakeSocket
            for code in (106, 127, 56):  # EISCONN of Linux, ESP32, macOS
                FakeSocket.outcome = OSError(code)
                connection = await Dialer().dial("station.example", 80)
                connection.close()

        run(test())

    def test_what_esp32_says_of_a_refused_port_is_said_as_elsewhere(self):
        async def test():
            module.socket = resolver = Resolver(80)
            resolver.socket = FakeSocket
            FakeSocket.outcome = OSError(ENOTCONN)
            error = await failure(Dialer().dial("station.example", 80))
            self.assertEqual(error.errno, ECONNREFUSED)
            self.assertIn("station.example:80: can't connect (ECONNREFUSED)", str(error))

        run(test())

    def test_addresses_of_a_few_hosts_are_kept(self):
        async def test():
            listener = Listener()
            module.socket = Resolver(listener.port)
            dialer = Dialer()
            for number in range(6):
                (await dialer.dial("host%d.example" % number, 80)).close()
            self.assertTrue(len(dialer.addresses) <= 4)
            listener.close()

        run(test())


class ReadTest(unittest.TestCase):
    def test_readinto_returns_what_is_there(self):
        async def test(connection, peer):
            buffer = bytearray(8)
            await peer.say(b"abc")
            self.assertEqual(await connection.readinto(memoryview(buffer)), 3)
            self.assertEqual(buffer, b"abc\0\0\0\0\0")

        run(with_pair(test))

    def test_readinto_returns_0_at_the_end_of_the_stream_each_time(self):
        async def test(connection, peer):
            await peer.say(b"a")
            peer.close()
            self.assertEqual(await read(connection, 1), b"a")
            for _ in range(2):
                self.assertEqual(await connection.readinto(memoryview(bytearray(8))), 0)

        run(with_pair(test))

    def test_readexactly_waits_for_all_of_it_and_takes_no_more(self):
        async def test(connection, peer):
            reading = asyncio.create_task(read(connection, 5))
            for part in (b"a", b"bc", b"defg"):
                await settle()
                await peer.say(part)
            self.assertEqual(await reading, b"abcde")
            self.assertEqual(await read(connection, 2), b"fg")

        run(with_pair(test))

    def test_readexactly_at_the_end_of_the_stream_is_an_error(self):
        async def test(connection, peer):
            await peer.say(b"abc")
            peer.close()
            error = await failure(read(connection, 4))
            self.assertEqual(error.errno, ECONNRESET)
            self.assertIn("closed by the other side", str(error))

        run(with_pair(test))

    def test_readline_joins_the_parts_of_a_line_and_takes_no_more(self):
        async def test(connection, peer):
            reading = asyncio.create_task(connection.readline(400))
            for part in (b"a" * 200, b"b" * 100, b"\r\nc\nd"):
                await settle()
                await peer.say(part)
            self.assertEqual(await reading, b"a" * 200 + b"b" * 100 + b"\r\n")
            self.assertEqual(await connection.readline(2), b"c\n")
            self.assertEqual(await read(connection, 1), b"d")

        run(with_pair(test))

    def test_readline_returns_what_came_before_the_end_of_the_stream(self):
        async def test(connection, peer):
            await peer.say(b"ab")
            peer.close()
            self.assertEqual(await connection.readline(400), b"ab")
            self.assertEqual(await connection.readline(400), b"")

        run(with_pair(test))

    def test_a_line_that_is_too_long_is_an_error(self):
        async def test(connection, peer):
            await peer.say(b"a" * 149 + b"\n" + b"b" * 150 + b"\n")
            self.assertEqual(len(await connection.readline(150)), 150)
            error = await failure(connection.readline(150))
            self.assertEqual(error.errno, EINVAL)
            self.assertIn("line too long", str(error))

        run(with_pair(test))

    def test_a_reset_by_the_other_side_is_an_error_that_names_it(self):
        async def test(connection, peer):
            await connection.write(b"unread")
            peer.close()  # with something unread: a reset
            error = await failure(read(connection, 1))
            self.assertEqual(error.errno, ECONNRESET)
            self.assertIn("connection lost (ECONNRESET)", str(error))

        run(with_pair(test))

    def test_last_received_is_when_something_came(self):
        async def test(connection, peer):
            before = connection.last_received
            await asyncio.sleep_ms(5)
            await connection.write(b"a")
            self.assertEqual(connection.last_received, before)
            await peer.say(b"a")
            await read(connection, 1)
            self.assertTrue(time.ticks_diff(connection.last_received, before) >= 5)

        run(with_pair(test))


class WriteTest(unittest.TestCase):
    def test_all_is_written_in_order_however_slowly_it_is_read(self):
        run(with_pair(self.transfer))

    def test_all_is_written_in_order_over_tls(self):
        run(with_pair(self.transfer, name="server"))

    async def transfer(self, connection, peer):
        async def write():
            for number in range(400):
                await connection.write(memoryview(bytes([number % 251]) * 16384))

        writing = asyncio.create_task(write())
        await asyncio.sleep_ms(SOON)  # until it's stuck
        buffer = memoryview(bytearray(8192))
        position = 0
        while position < 400 * 16384:
            count = await peer.readinto(buffer) or 0
            for index in (0, count - 1):
                self.assertEqual(buffer[index], (position + index) // 16384 % 251)
            position += count
        await writing

    def test_two_tasks_may_read_and_write_at_the_same_time(self):
        async def test(connection, peer):
            reading = asyncio.create_task(read(connection, 3))
            writing = asyncio.create_task(flood(connection))
            await asyncio.sleep_ms(SOON)  # now both wait
            for byte in (b"a", b"b", b"c"):
                await peer.say(byte)
                await settle()
            self.assertEqual(await reading, b"abc")
            buffer = bytearray(4096)
            for _ in range(200):
                await peer.readinto(buffer)  # the writer goes on
            writing.cancel()
            await settle()

        run(with_pair(test))
        run(with_pair(test, name="server"))


class DeadlineTest(unittest.TestCase):
    def test_a_read_that_gets_nothing_times_out_and_closes(self):
        async def test(connection, peer):
            before = descriptors()
            error = await failure(read(connection, 1))
            self.assertEqual(error.errno, ETIMEDOUT)
            self.assertIn(LOCAL, str(error))
            self.assertEqual(descriptors(), before - 1)

        run(with_pair(test, timeout=SOON))

    def test_a_write_that_nobody_reads_times_out_and_closes(self):
        async def test(connection, peer):
            before = descriptors()
            self.assertEqual((await failure(flood(connection))).errno, ETIMEDOUT)
            self.assertEqual(descriptors(), before - 1)

        run(with_pair(test, timeout=SOON))

    def test_each_wait_has_a_timeout_of_its_own(self):
        async def test(connection, peer):
            reading = asyncio.create_task(read(connection, 4))
            for _ in range(4):
                await asyncio.sleep_ms(150)
                await peer.say(b"a")
            self.assertEqual(await reading, b"aaaa")

        run(with_pair(test, timeout=500))

    def test_a_wait_that_is_over_has_no_deadline_any_more(self):
        async def test(connection, peer):
            for _ in range(2):
                reading = asyncio.create_task(read(connection, 1))
                await settle()
                await peer.say(b"a")
                self.assertEqual(await reading, b"a")
                await asyncio.sleep_ms(2 * SOON)

        run(with_pair(test, timeout=SOON))

    def test_without_a_timeout_it_waits(self):
        async def test(connection, peer):
            for none in (None, 0):
                connection.timeout = none
                reading = asyncio.create_task(read(connection, 1))
                await asyncio.sleep_ms(2 * SOON)
                await peer.say(b"a")
                self.assertEqual(await reading, b"a")

        run(with_pair(test, timeout=SOON))

    def test_idle_waits_without_a_deadline_and_takes_nothing(self):
        async def test(connection, peer):
            idling = asyncio.create_task(connection.idle())
            await asyncio.sleep_ms(2 * SOON)
            self.assertFalse(idling.done())
            await peer.say(b"a")
            await idling
            self.assertEqual(await read(connection, 1), b"a")

        run(with_pair(test, timeout=SOON))

    def test_a_timeout_is_kept_while_another_task_idles(self):
        async def test(connection, peer):
            idling = asyncio.create_task(failure(connection.idle()))
            self.assertEqual((await failure(flood(connection))).errno, ETIMEDOUT)
            self.assertEqual((await idling).errno, ETIMEDOUT)

        run(with_pair(test, timeout=SOON))

    def test_a_timeout_made_shorter_counts_from_the_next_wait(self):
        async def test(connection, peer):
            reading = asyncio.create_task(failure(read(connection, 1)))
            await settle()
            connection.timeout = SOON
            self.assertEqual((await failure(flood(connection))).errno, ETIMEDOUT)
            self.assertEqual((await reading).errno, ETIMEDOUT)

        run(with_pair(test))

    def test_what_arrived_while_everything_was_blocked_is_not_late(self):
        async def test(connection, peer):
            reading = asyncio.create_task(read(connection, 1))
            await settle()
            peer.write(b"a")
            time.sleep_ms(2 * SOON)
            self.assertEqual(await reading, b"a")

        run(with_pair(test, timeout=SOON))

    def test_a_limit_ends_a_connection_however_busy(self):
        async def test(connection, peer):
            async def talk():
                while True:
                    await peer.say(b"a")
                    await asyncio.sleep_ms(1)

            talking = asyncio.create_task(talk())
            connection.limit(SOON)
            error = await failure(read(connection, 10000))
            self.assertEqual(error.errno, ETIMEDOUT)
            self.assertIn("too slow", str(error))
            talking.cancel()
            await settle()

        run(with_pair(test))

    def test_a_limit_ends_a_connection_that_nobody_uses(self):
        async def test(connection, peer):
            connection.limit(SOON)
            self.assertEqual(await peer.read(1), b"")
            self.assertEqual((await failure(connection.write(b"a"))).errno, ETIMEDOUT)

        run(with_pair(test))

    def test_a_limit_can_be_taken_off(self):
        async def test(connection, peer):
            connection.limit(SOON)
            connection.limit(None)
            await asyncio.sleep_ms(2 * SOON)
            await peer.say(b"a")
            self.assertEqual(await read(connection, 1), b"a")

        run(with_pair(test))


class EndTest(unittest.TestCase):
    async def both_wait(self, connection):
        reading = asyncio.create_task(self.outcome(read(connection, 1)))
        writing = asyncio.create_task(self.outcome(flood(connection)))
        await asyncio.sleep_ms(SOON)
        return reading, writing

    async def outcome(self, awaitable):
        try:
            return await awaitable
        except (OSError, asyncio.CancelledError) as error:
            return error

    def test_close_wakes_whoever_waits_with_an_error(self):
        async def test(connection, peer):
            waiting = await self.both_wait(connection)
            connection.close()
            for task in waiting:
                self.assertEqual((await task).errno, ECONNABORTED)

        run(with_pair(test))

    def test_a_cancelled_reader_stays_cancelled_and_the_writer_gets_an_error(self):
        async def test(connection, peer):
            reading, writing = await self.both_wait(connection)
            reading.cancel()
            self.assertIsInstance(await reading, asyncio.CancelledError)
            self.assertEqual((await writing).errno, ECONNABORTED)

        run(with_pair(test))

    def test_a_cancelled_writer_stays_cancelled_and_the_reader_gets_an_error(self):
        async def test(connection, peer):
            reading, writing = await self.both_wait(connection)
            writing.cancel()
            self.assertIsInstance(await writing, asyncio.CancelledError)
            self.assertEqual((await reading).errno, ECONNABORTED)

        run(with_pair(test))

    def test_both_cancelled_at_once_stay_cancelled(self):
        async def test(connection, peer):
            waiting = await self.both_wait(connection)
            for task in waiting:
                task.cancel()
            for task in waiting:
                self.assertIsInstance(await task, asyncio.CancelledError)

        run(with_pair(test))

    def test_a_cancel_wins_over_a_deadline_that_passes_before_it_takes_effect(self):
        async def test(connection, peer):
            reading = asyncio.create_task(self.outcome(read(connection, 1)))
            await settle()
            reading.cancel()
            time.sleep_ms(2 * SOON)
            self.assertIsInstance(await reading, asyncio.CancelledError)

        run(with_pair(test, timeout=SOON))

    def test_a_cancel_wins_over_a_wake_up_that_comes_first(self):
        async def test(connection, peer):
            reading = asyncio.create_task(self.outcome(read(connection, 1)))
            await settle()
            connection.close(ETIMEDOUT, "timed out")
            reading.cancel()
            self.assertIsInstance(await reading, asyncio.CancelledError)

        run(with_pair(test))

    def test_cancelling_a_reader_that_data_has_just_woken_closes_too(self):
        async def test(connection, peer):
            reading = asyncio.create_task(self.outcome(read(connection, 1)))
            await settle()
            await peer.say(b"a")
            reading.cancel()
            self.assertIsInstance(await reading, asyncio.CancelledError)
            self.assertEqual((await failure(read(connection, 1))).errno, ECONNABORTED)

        run(with_pair(test))

    def test_an_error_of_the_writer_wakes_the_reader(self):
        async def test(connection, peer):
            reading, writing = await self.both_wait(connection)
            peer.close()
            self.assertEqual((await reading).errno, ECONNRESET)
            self.assertEqual((await writing).errno, ECONNRESET)

        run(with_pair(test))

    def test_a_closed_connection_answers_everything_with_why_it_ended(self):
        async def test(connection, peer):
            self.assertEqual((await failure(read(connection, 1))).errno, ETIMEDOUT)
            connection.close()
            connection.close()
            connection.limit(SOON)
            connection.limit(None)
            for action in (read(connection, 1), connection.readline(9), connection.idle(), connection.write(b"a")):
                self.assertEqual((await failure(action)).errno, ETIMEDOUT)

        run(with_pair(test, timeout=SOON))

    def test_a_closed_connection_leaves_no_task_behind(self):
        async def test(connection, peer):
            connection.limit(10000)
            connection.close()
            await settle()
            self.assertTrue(connection._watcher.done())

        run(with_pair(test))


if __name__ == "__main__":
    unittest.main()
