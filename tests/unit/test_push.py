"""Pushes: the key's proof, hostile peers, and what a peer is told of the update. With real sockets."""

import asyncio
import errno
import json
import socket
import sys
import unittest
from binascii import unhexlify

from charger import URL, Charger
from firmware import push, push_peer
from firmware.push_line import mac
from firmware.push_peer import same, settings
from hw.connection import Connection, Dialer
from wire import LOCAL, run, settle, unused_port

KEY = "sixteen letters!"


class TestMac(unittest.TestCase):
    """The test cases of RFC 4231, 4.2 to 4.8; the fifth one is about a shorter result."""

    def test_the_vectors_of_the_standard(self):
        for key, data, result in (
            (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
            (
                b"\xaa" * 131,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                b"\xaa" * 131,
                b"This is a test using a larger than block-size key and a larger than block-size data. "
                b"The key needs to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ):
            self.assertEqual(mac(key, data), result.encode())
            self.assertEqual(mac(key, data[:5], b"", data[5:]), result.encode())
        shorter = mac(b"\x0c" * 20, b"Test With Truncation")
        self.assertEqual(unhexlify(shorter)[:16], unhexlify("a3b6167473100ee06e0c796c2955552b"))

    def test_marks_are_the_same_or_not(self):
        self.assertTrue(same(b"", b"") and same(b"ab", b"ab"))
        for other in (b"", b"a", b"aa", b"bb", b"abc", b"\0ab"):
            self.assertFalse(same(b"ab", other), other)


class TestSettings(unittest.TestCase):
    def test_the_port_has_a_default(self):
        self.assertEqual(settings({"key": KEY}), (KEY.encode(), 3232))
        self.assertEqual(settings({"key": "über 16 Zeichen!", "port": 65535})[1], 65535)

    def test_what_is_wrong_is_named(self):
        for development, words in (
            (None, "key"),
            ([KEY], "key"),
            ({}, "key"),
            ({"key": 1234567890123456}, "key"),
            ({"key": KEY[1:]}, "16 characters"),
            ({"key": KEY, "port": "3232"}, "port"),
            ({"key": KEY, "port": True}, "port"),
            ({"key": KEY, "port": 0}, "port"),
            ({"key": KEY, "port": 65536}, "port"),
        ):
            try:
                settings(development)
                self.fail(development)
            except ValueError as error:
                self.assertIn(words, str(error))
                self.assertFalse(KEY[1:] in str(error))


class Hasty(Connection):
    """A Connection whose time is up soon."""

    def limit(self, milliseconds, *text):
        super().limit(milliseconds // 50, *text)


def narrow(sock, *arguments):
    """Return a Connection that takes few bytes that nobody reads."""
    sock.setsockopt(socket.SOL_SOCKET, 7, 4096)  # SO_SNDBUF of Linux
    return Connection(sock, *arguments)


class Station(Charger):
    """A charger that takes pushes."""

    wrap = Connection

    def __init__(self):
        super().__init__()
        self.port = unused_port()

    async def __aenter__(self):
        parts = self.parts = self.updater.parts
        parts.updater = self.updater
        config = {"id": "CP1", "development": {"key": KEY, "port": self.port}}
        self.woken = 0

        def new(parts):
            self.push = original(parts)
            return self.push

        original, push.Push = push.Push, new
        self.journal.changed = self.wake
        self.task = asyncio.create_task(push.serve(parts, self.wrap, config, "1.0.0", self.log.append))
        await settle()
        push.Push = original
        self.peers = []
        return self

    def wake(self):
        self.woken += 1

    async def __aexit__(self, *error):
        for peer in self.peers:
            peer.connection.close()
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            pass
        for _ in range(3):
            await asyncio.sleep_ms(5)

    async def peer(self):
        """Connect, and return the Peer that has read the greeting."""
        peer = Peer(await Dialer().dial(LOCAL, self.port, timeout=3000))
        self.peers.append(peer)
        peer.greeting = await peer.line()
        return peer

    async def follower(self, **request):
        """Return a Peer that has pushed."""
        peer = await self.peer()
        await peer.ask(**request)
        return peer


class Peer:
    def __init__(self, connection):
        self.connection = connection

    async def line(self):
        return json.loads(await self.connection.readline(1024))

    async def ask(self, key=KEY, location=URL, push=True, **more):
        """Send a request and take the first line of the answer, which is `told`."""
        more.update(location=location, push=push)
        text = json.dumps(more).encode()
        self.mark = mac(key.encode(), self.greeting["nonce"].encode(), text)
        self.request = self.mark + b" " + text + b"\n"
        await self.connection.write(self.request)
        await self.next()

    async def next(self):
        """Take a line that proves that it comes from the charger."""
        line = await self.connection.readline(1024)
        self.told = json.loads(line[65:] if line[:1] != b"{" else line)
        if line[:1] != b"{":
            self.mark = mac(KEY.encode(), self.mark, line[65:-1])
            assert line[:65] == self.mark + b" ", line
        return self.told

    async def ended(self):
        """Wait until the charger has closed the connection."""
        try:
            while await self.connection.readline(1024):
                pass
        except OSError as error:
            assert error.errno == errno.ECONNRESET, error


def on_station(test):
    """Make a test of a coroutine that is given a Station."""

    def tested(self):
        station = Station()  # out here, for a Charger starts the event loop anew

        async def body():
            async with station:
                await test(self, station)

        run(body())

    return tested


class TestPushes(unittest.TestCase):
    @on_station
    async def test_a_push_is_a_request_to_the_updater(self, station):
        peer = await station.peer()
        greeting = dict(peer.greeting)
        self.assertEqual(len(unhexlify(greeting.pop("nonce"))), 16)
        self.assertEqual(greeting, {"arus": 1, "id": "CP1", "version": "1.0.0"})
        await peer.ask()
        self.assertEqual(peer.told, {"version": "1.0.0", "update": None, "charging": False, "trial": False})
        record = station.journal.record
        self.assertEqual((record["location"], record["date"], record["retries"]), (URL, None, 1))
        self.assertIn("127.0.0.1 pushes an update", station.log)
        self.assertFalse([line for line in station.log if KEY in line])

    @on_station
    async def test_a_peer_is_told_each_status_and_the_outbox_is_woken_as_before(self, station):
        peer = await station.follower()
        for status in ("Downloading", "Downloaded"):
            station.journal.report(status)
            self.assertEqual((await peer.next())["update"], status)
        station.journal.finish("InstallationFailed", "r" * 1000)
        await peer.next()
        self.assertEqual((peer.told["update"], peer.told["reason"]), ("InstallationFailed", "r" * 200))
        self.assertEqual(station.woken, 3)

    @on_station
    async def test_a_peer_that_comes_again_is_told_what_became_of_it(self, station):
        station.slots.on_trial = True
        for location, status, known in ((URL, "Installing", "Installing"), ("http://x/y", "Installing", "Superseded")):
            station.journal.begin(location=location, date=None, retries=None, interval=None)
            station.journal.report(status)
            peer = await station.follower(push=False)
            self.assertEqual((peer.told["update"], peer.told["trial"]), (known, known == status))
        station.journal.finish("Installed")
        self.assertEqual((await peer.next())["update"], "Installed")
        self.assertFalse("reason" in peer.told)

    @on_station
    async def test_without_any_update_there_is_none_to_tell_of(self, station):
        peer = await station.follower(push=False)
        self.assertEqual(peer.told["update"], "Idle")
        self.assertFalse(station.journal.busy)

    @on_station
    async def test_a_peer_is_told_when_another_update_takes_the_place_of_its_own(self, station):
        peer = await station.follower()
        station.updater.request("http://central/fw.bin", None, None, None)
        station.journal.report("Downloading")
        self.assertEqual((await peer.next())["update"], "Superseded")

    @on_station
    async def test_an_update_that_is_being_installed_is_not_superseded(self, station):
        station.journal.begin(location=URL)
        station.journal.report("Installing")
        peer = await station.follower(location="http://x/y")
        self.assertIn("an update is being installed", peer.told["error"])
        self.assertEqual(station.journal.get("location"), URL)
        self.assertFalse("refused" in station.log[-1])

    @on_station
    async def test_want_of_memory_for_telling_costs_the_peer_and_not_the_update(self, station):
        def fail():
            raise MemoryError("allocating 80 bytes")

        peer = await station.follower()
        station.slots.unconfirmed = fail
        station.journal.report("Installing")
        self.assertEqual((station.journal.get("status"), station.woken), ("Installing", 1))
        await peer.ended()
        await settle()
        self.assertEqual(station.push.peer, None)

    @on_station
    async def test_the_last_peer_is_the_one_that_is_told(self, station):
        first = await station.follower()
        second = await station.follower(location="http://x/y")
        await first.ended()
        station.journal.report("Downloading")
        self.assertEqual((await second.next())["update"], "Downloading")
        second.connection.close()
        await asyncio.sleep_ms(20)
        station.journal.report("Downloaded")
        self.assertEqual(station.woken, 2)
        self.assertEqual(station.push.peer, None)
        third = await station.follower(push=False, location="http://x/y")
        self.assertEqual(third.told["update"], "Downloaded")

    @on_station
    async def test_a_peer_that_does_not_read_delays_nothing_and_is_dropped(self, station):
        station.task.cancel()
        station.wrap = narrow
        async with station:
            await station.follower()
            told = 0
            while station.push.peer and told < 40_000:
                station.journal.changed()
                told += 1
                await asyncio.sleep_ms(0)
            self.assertEqual((station.push.peer, station.woken), (None, told))

    @on_station
    async def test_modules_are_dropped(self, station):
        peer = await station.follower()
        for name in ("firmware.push_peer", "firmware.push_line"):
            self.assertFalse(name in sys.modules)
        station.journal.report("Downloading")
        await peer.next()


class TestHostilePeers(unittest.TestCase):
    async def refused(self, station, line, words, answer):
        """Send a line; the charger refuses it."""
        peer = await station.peer()
        await peer.connection.write(line(peer) if callable(line) else line)
        if answer:
            self.assertEqual((await peer.line())["error"], answer)
        await peer.ended()
        self.assertFalse(station.journal.busy)
        self.assertIn(words, station.log[-1])
        self.assertIn("127.0.0.1", station.log[-1])
        return peer

    @on_station
    async def test_a_wrong_key_is_refused_and_logged_and_the_next_one_has_to_wait(self, station):
        peer = await station.follower(key="another sixteen!")
        self.assertEqual(peer.told, {"error": "wrong key"})
        await peer.ended()
        self.assertFalse(station.journal.busy)
        self.assertEqual(station.log[-1], "127.0.0.1: refused (wrong key), failure 1")
        hasty = await station.peer()
        self.assertEqual(hasty.greeting, {"error": "busy"})
        await hasty.ended()

    @on_station
    async def test_a_line_that_was_right_once_is_not_right_again(self, station):
        first = await station.follower(push=False)
        await self.refused(station, first.request, "wrong key", "wrong key")

    @on_station
    async def test_a_right_mark_on_other_words_is_wrong(self, station):
        def line(peer):
            mark = mac(KEY.encode(), peer.greeting["nonce"].encode(), b'{"location": "http://a/"}')
            return mark + b' {"location": "http://b/"}\n'

        await self.refused(station, line, "wrong key", "wrong key")

    @on_station
    async def test_the_charger_s_own_line_sent_back_is_wrong(self, station):
        peer = await station.follower(push=False)
        text = json.dumps(peer.told).encode()
        await self.refused(station, peer.mark + b" " + text + b"\n", "wrong key", "wrong key")

    @on_station
    async def test_an_endless_line_is_refused(self, station):
        await self.refused(station, b"x" * 1500, "line too long", None)

    @on_station
    async def test_a_web_browser_is_refused(self, station):
        await self.refused(station, b"GET / HTTP/1.1\r\n", "no proper request", "no proper request")

    @on_station
    async def test_a_port_scanner_is_refused(self, station):
        peer = await station.peer()
        peer.connection.close()
        await asyncio.sleep_ms(50)
        self.assertEqual(station.log[-1], "127.0.0.1: refused (no proper request), failure 1")

    @on_station
    async def test_a_peer_that_says_nothing_or_dawdles_is_dropped(self, station):
        station.wrap = Hasty
        station.task.cancel()
        for words in (b"", b"a" * 66):
            async with station:
                peer = await station.peer()
                await peer.connection.write(words)
                await peer.ended()
                self.assertEqual(
                    station.log[-1], "127.0.0.1: refused (127.0.0.1: timed out: too slow or silent), failure 1"
                )

    @on_station
    async def test_what_is_signed_but_no_request_is_refused(self, station):
        def line(peer):
            text = b'{"location": ["http://a/"]}'
            return mac(KEY.encode(), peer.greeting["nonce"].encode(), text) + b" " + text + b"\n"

        await self.refused(station, line, "no proper request", "no proper request")

    @on_station
    async def test_one_peer_at_a_time(self, station):
        silent = await station.peer()
        for _ in range(20):
            other = await station.peer()
            self.assertEqual(other.greeting, {"error": "busy"})
            await other.ended()
        await silent.ask()
        self.assertEqual(silent.told["update"], None)

    @on_station
    async def test_who_follows_an_update_keeps_nobody_out(self, station):
        await station.follower()
        self.assertIn("nonce", (await station.peer()).greeting)

    @on_station
    async def test_the_next_nonce_is_another_one(self, station):
        first = await station.follower(push=False)
        second = await station.follower(push=False)
        self.assertNotEqual(first.greeting["nonce"], second.greeting["nonce"])


class TestStart(unittest.TestCase):
    @on_station
    async def test_wrong_settings_or_a_taken_port_are_logged_and_harm_nothing(self, station):
        config = {"id": "CP1", "development": {"key": "short", "port": station.port}}
        await push.serve(station.parts, Connection, config, "1.0.0", station.log.append)
        self.assertIn('No pushes: /config.json: "development"', station.log[-1])
        config["development"]["key"] = KEY
        await push.serve(station.parts, Connection, config, "1.0.0", station.log.append)
        self.assertIn("No pushes: can't listen on port %d: " % station.port, station.log[-1])

    def test_the_clearance_of_failed_tries_is_logged_ever_less_often(self):
        log = []
        pushes = push.Push(Charger().updater.parts)
        pushes.failures, pushes.log = 0, log.append
        for _ in range(1000):
            push_peer._refuse(pushes, "10.0.0.7", None, OSError(errno.ETIMEDOUT, "timed out"))
        self.assertEqual(log[:2] + log[9:], ["10.0.0.7: refused (timed out), failure %d" % n for n in (1, 2, 512)])


if __name__ == "__main__":
    unittest.main()
