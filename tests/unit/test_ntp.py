import asyncio
import os
import socket
import time
import unittest
from errno import EAGAIN

from hw import ntp
from wire import LOCAL, has_ipv6, run

TIME = 1795243800  # 2026-11-21T06:50:00Z
TEXT = "2026-11-21T06:50:00Z"
FROM_1900 = 2208988800
CHECK = '; check the network, UDP port 123 and "ntp" in /config.json'


class Clock:
    """Takes what the real one takes."""

    seconds = None

    def set(self, seconds):
        if seconds < 1704067200:
            return False
        self.seconds = seconds
        return True


def answer(question, leap=0, mode=4, stratum=2, code=b"\x7f\0\0\1", originate=None, seconds=TIME, fraction=0):
    """What a server says to a question: RFC 4330, 4."""
    packet = bytearray(48)
    packet[0] = leap << 6 | 4 << 3 | mode
    packet[1] = stratum
    packet[12:16] = code
    packet[24:32] = question[40:48] if originate is None else originate
    packet[40:44] = (seconds + FROM_1900 & 0xFFFFFFFF).to_bytes(4, "big")
    packet[44:48] = fraction.to_bytes(4, "big")
    return packet


class Server:
    """An NTP server on loopback; reply(server, question, address) says what is sent, by send()."""

    def __init__(self, reply, host=LOCAL):
        self.reply = reply
        self.questions = []
        self.addresses = []
        self.host = host

    def open(self):
        self.socket, self.port = bound(self.host)

    def send(self, packet, address):
        self.socket.sendto(packet, address)

    async def run(self):
        while True:
            await asyncio.sleep_ms(1)
            try:
                question, address = self.socket.recvfrom(64)
            except OSError as error:
                assert error.errno == EAGAIN
                continue
            self.questions.append(question)
            self.addresses.append(address)
            self.reply(self, question, address)


def bound(host=LOCAL):
    """Return a UDP socket with a port of its own."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    while True:
        port = 20000 + int.from_bytes(os.urandom(2), "big") % 10000
        try:
            sock.bind(socket.getaddrinfo(host, port)[0][-1])
            return sock, port
        except OSError:
            pass


async def sync(server, name="127.0.0.1:%d", second=1000):
    """Return what came of asking that server: (whether the clock was set, to what, the line in the log)."""
    lines = []
    clock = Clock()
    server.open()
    task = asyncio.create_task(server.run())
    try:
        done = await ntp.sync(name % server.port if "%" in name else name, clock, lines.append, second)
    finally:
        task.cancel()
        server.socket.close()
    assert len(lines) == 1
    return done, clock.seconds, lines[0]


def asked(reply, *name):
    return run(sync(Server(reply), *name))


def always(**fields):
    """A server that answers like this."""
    return lambda server, question, address: server.send(answer(question, **fields), address)


class Case(unittest.TestCase):
    def refused(self, why, reply, questions=3, second=200):
        server = Server(reply)
        done, seconds, line = run(sync(server, second=second))
        self.assertEqual(line, "No time from NTP server 127.0.0.1:%d: %s%s" % (server.port, why, CHECK))
        self.assertEqual((done, seconds, len(server.questions)), (False, None, questions))


class Test(Case):
    def test_the_clock_is_set(self):
        self.assertEqual(asked(always()), (True, TIME, "Clock set by NTP: " + TEXT))

    def test_the_question_is_a_clients_and_tells_nothing(self):
        server = Server(lambda server, question, address: None)
        run(sync(server, second=100))
        for question in server.questions:
            self.assertEqual(question[0], 0x23)
            self.assertEqual(question[1:40], bytes(39))
            self.assertEqual(len(question), 48)
        self.assertEqual(len({bytes(question[40:]) for question in server.questions}), 3)

    def test_fractions_are_rounded(self):
        self.assertEqual(asked(always(fraction=0x7FFFFFFF))[1], TIME)
        self.assertEqual(asked(always(fraction=0x80000000))[1], TIME + 1)

    def test_the_count_overflows_in_2036_and_time_goes_on(self):
        for seconds, text in (
            (2085978495, "2036-02-07T06:28:15Z"),  # the last of era 0
            (2085978497, "2036-02-07T06:28:17Z"),
            (2145916800, "2038-01-01T00:00:00Z"),
        ):
            self.assertEqual(asked(always(seconds=seconds)), (True, seconds, "Clock set by NTP: " + text))

    def test_the_moment_of_the_overflow_is_a_time(self):
        self.assertEqual(asked(always(seconds=2085978496, fraction=1))[1], 2085978496)

    def test_a_host_alone_means_port_123(self):
        self.assertEqual(ntp._resolve(LOCAL), [(kind[:3], kind[-1]) for kind in datagrams(LOCAL, 123)])
        self.assertEqual(ntp._resolve(LOCAL + ":1234"), [(kind[:3], kind[-1]) for kind in datagrams(LOCAL, 1234)])

    def test_ipv6_comes_in_brackets_and_alone_without(self):
        if not has_ipv6():
            self.skipTest("no IPv6")
        self.assertEqual(run(sync(Server(always(), "::1"), "[::1]:%d"))[:2], (True, TIME))
        for name in ("::1", "[::1]"):
            self.assertEqual(ntp._resolve(name), [(kind[:3], kind[-1]) for kind in datagrams("::1", 123)])

    def test_a_wrong_name_is_named(self):
        for name, why in (
            ("", "that is no host and port"),
            (":123", "that is no host and port"),
            ("[]:123", "that is no host and port"),
            ("host:0", "that is no host and port"),
            ("host:65536", "that is no host and port"),
            ("host:ntp", "ntp is no port number"),
            ("no.such.host.invalid", "host name not found"),
        ):
            lines = []
            self.assertEqual(run(ntp.sync(name, Clock(), lines.append)), False)
            self.assertEqual(lines, ["No time from NTP server %s: %s%s" % (name, why, CHECK)])

    def test_silence_ends_after_three_questions(self):
        start = time.ticks_ms()
        self.refused("no answer", lambda server, question, address: None, second=1000)
        self.assertTrue(time.ticks_diff(time.ticks_ms(), start) >= 3000)

    def test_a_lost_answer_is_asked_for_again(self):
        def reply(server, question, address):
            if len(server.questions) == 3:
                server.send(answer(question), address)

        self.assertEqual(asked(reply)[:2], (True, TIME))

    def test_a_closed_port_is_told(self):
        sock, port = bound()
        sock.close()
        lines = []
        self.assertEqual(run(ntp.sync("127.0.0.1:%d" % port, Clock(), lines.append)), False)
        self.assertEqual(lines, ["No time from NTP server 127.0.0.1:%d: ECONNREFUSED%s" % (port, CHECK)])

    def test_the_loop_runs_on_while_it_waits(self):
        async def main():
            turns = 0

            async def count():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep_ms(10)

            task = asyncio.create_task(count())
            await sync(Server(lambda server, question, address: None), second=100)
            task.cancel()
            return turns

        self.assertTrue(run(main()) > 5)

    def test_a_cancelled_sync_leaves_no_socket(self):
        async def main():
            server = Server(lambda server, question, address: None)
            server.open()
            task = asyncio.create_task(ntp.sync("127.0.0.1:%d" % server.port, Clock(), print))
            await asyncio.sleep_ms(20)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            server.socket.close()

        run(main())  # which counts descriptors


class Hostile(Case):
    """What does not come from the server that was asked, or what that should not have said."""

    def test_a_short_answer_is_none(self):
        def reply(server, question, address):
            server.send(answer(question)[: 47 if len(server.questions) > 1 else 0], address)

        self.refused("answer too short", reply)

    def test_the_right_answer_counts_also_behind_wrong_ones(self):
        def reply(server, question, address):
            for wrong in (b"x", os.urandom(48), answer(question, mode=3), answer(question, originate=bytes(8))):
                server.send(wrong, address)
            server.send(answer(question), address)

        self.assertEqual(asked(reply)[:2], (True, TIME))

    def test_only_a_server_answers(self):
        for mode in (0, 1, 2, 3, 5, 6, 7):
            self.assertEqual(ntp._mismatch(answer(bytes(48), mode=mode), bytes(48))[:14], "answer of mode")
        why = "answer of mode 3, not of a server"  # an echo
        self.refused(why, lambda server, question, address: server.send(question, address))

    def test_an_answer_to_another_question_is_none(self):
        self.refused("answer to another question", always(originate=b"12345678"))

    def test_a_late_answer_is_none(self):
        def reply(server, question, address):
            if len(server.questions) > 1:
                server.send(answer(server.questions[-2]), address)
                server.send(answer(server.questions[-2]), server.addresses[-2])

        self.refused("answer to another question", reply)

    def test_an_answer_from_another_port_is_none(self):
        other, _ = bound()
        self.refused("no answer", lambda server, question, address: other.sendto(answer(question), address))
        other.close()

    def test_a_server_without_a_time_is_not_believed(self):
        for fields, what in (
            ({"leap": 3}, "it has no time itself (leap 3, stratum 2)"),
            ({"stratum": 16}, "it has no time itself (leap 0, stratum 16)"),
            ({"stratum": 255}, "it has no time itself (leap 0, stratum 255)"),
            ({"seconds": -FROM_1900}, "it sends no time"),
            ({"seconds": 1704067199}, "it tells a time before 2024: 2023-12-31T23:59:59Z"),
        ):
            self.refused(what, always(**fields))

    def test_a_leap_second_is_no_harm(self):
        for leap in (1, 2):
            self.assertEqual(asked(always(leap=leap, stratum=15))[:2], (True, TIME))

    def test_a_kiss_of_death_is_named_and_obeyed(self):
        why = "it refuses, its reason is %s (RATE: too many questions; DENY, RSTR: not for us)"
        self.refused(why % "RATE", always(stratum=0, leap=3, code=b"RATE"), questions=1)
        self.refused(why % "?[?m", always(stratum=0, code=b"\x1b[\nm"), questions=1)

    def test_a_forged_kiss_of_death_is_not(self):
        def reply(server, question, address):
            server.send(answer(question, stratum=0, code=b"DENY", originate=bytes(8)), address)
            server.send(answer(question), address)

        self.assertEqual(asked(reply)[:2], (True, TIME))

    def test_a_flood_is_no_endless_loop(self):
        def reply(server, question, address):
            for _ in range(30):
                server.send(os.urandom(48), address)

        done, _, line = run(sync(Server(reply), second=200))
        self.assertEqual(done, False)
        self.assertTrue(": answer" in line)


def datagrams(host, port):
    return socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)


if __name__ == "__main__":
    unittest.main()
