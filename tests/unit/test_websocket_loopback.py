"""The WebSocket over real sockets, plain and TLS; run() counts every descriptor."""

import asyncio
import unittest

from hw.connection import Dialer
from ocpp.handshake import connect
from wire import LOCAL, Listener, Upgrade, certificate, failure, frame, frames, run, settle, unused_port

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
SOON = 20  # ms


def close_frame(code, reason=b""):
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


class LoopbackTest(unittest.TestCase):
    """The same over real sockets, where every descriptor is counted (by run)."""

    def with_server(self, serve, test, name=None, **options):
        """Run `serve(peer)` against `test(url, dial)`."""

        async def both():
            listener = Listener(name)
            url = "%s://%s:%d/CP1" % ("wss" if name else "ws", LOCAL, listener.port)

            async def server():
                peer = await listener.accept()
                try:
                    await serve(peer)
                except OSError:
                    pass  # the client went away
                await peer.end()

            serving = asyncio.create_task(server())
            await test(url, Dialer(certificate("ca")).dial)
            await serving
            listener.close()

        run(both())

    async def upgrade(self, peer):
        """Answer the upgrade as a good server does."""
        script = Upgrade()
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += await peer.read(1024)
        script.request = request
        await peer.say(script.answer())

    def test_messages_pings_and_the_closing_handshake_over_tcp(self):
        self.with_server(self.converse, self.conversation)

    def test_messages_pings_and_the_closing_handshake_over_tls(self):
        self.with_server(self.converse, self.conversation, "server")

    async def converse(self, peer):
        await self.upgrade(peer)
        await peer.say(frame(TEXT, b"x" * 1000, False) + frame(PING, b"?") + frame(0, "ß".encode() * 500))
        answer = await peer.readexactly(7 + 1008 + 8)
        assert frames(answer) == [(PONG, b"?"), (TEXT, b"y" * 1000), (CLOSE, b"\x03\xe8")]
        await peer.say(close_frame(1000))
        peer.close()

    async def conversation(self, url, dial):
        ws = await connect(url, dial)
        self.assertEqual(await ws.receive(), "x" * 1000 + "ß" * 500)
        await ws.send("y" * 1000)
        await ws.close()

    def test_a_refused_upgrade_leaves_nothing_open(self):
        async def serve(peer):
            await peer.read(10)
            await peer.say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        async def test(url, dial):
            self.assertEqual((await failure(connect(url, dial))).status, 404)

        self.with_server(serve, test)

    def test_an_answer_in_single_bytes_is_understood(self):
        async def serve(peer):
            script = Upgrade()
            script.request = await peer.read(1024)
            for byte in script.answer() + frame(TEXT, b"early"):
                await peer.say(bytes([byte]))
                await settle()

        async def test(url, dial):
            ws = await connect(url, dial)
            self.assertEqual(await ws.receive(), "early")
            ws.abort()

        self.with_server(serve, test)

    def test_a_port_that_nobody_listens_on_is_an_error(self):
        async def test():
            url = "ws://%s:%d/CP1" % (LOCAL, unused_port())
            self.assertIn("can't connect", str(await failure(connect(url, Dialer().dial))))

        run(test())

    def test_tls_names_the_server_before_anything_else(self):
        hello = []

        async def serve(peer):
            hello.append(await peer.read(2048))
            peer.close()

        async def test(url, dial):
            await failure(connect(url.replace(LOCAL, "localhost").replace("ws:", "wss:"), dial))

        self.with_server(serve, test)
        self.assertEqual(hello[0][0], 0x16)  # the record of a handshake, not of HTTP
        self.assertIn(b"\x00\x09localhost", hello[0])

    def test_a_server_that_does_not_answer_the_upgrade_is_given_up(self):
        async def serve(peer):
            await peer.say(b"HTTP/1.1 101 ")

        async def test(url, dial):
            error = await failure(connect(url, dial, timeout=SOON))
            self.assertIn("timed out", str(error))

        self.with_server(serve, test)

    def test_a_server_that_dribbles_its_answer_is_given_up(self):
        async def serve(peer):
            while True:
                await peer.say(b"x")
                await asyncio.sleep_ms(1)

        async def test(url, dial):
            error = await failure(connect(url, dial, timeout=SOON))
            self.assertIn("timed out", str(error))

        self.with_server(serve, test)

    def test_an_idle_websocket_does_not_time_out(self):
        async def serve(peer):
            await self.upgrade(peer)
            await asyncio.sleep_ms(3 * SOON)
            await peer.say(frame(TEXT, b"at last"))

        async def test(url, dial):
            ws = await connect(url, dial, timeout=SOON)
            self.assertEqual(await ws.receive(), "at last")
            ws.abort()

        self.with_server(serve, test)

    def test_a_frame_that_stops_in_its_middle_times_out(self):
        async def serve(peer):
            await self.upgrade(peer)
            await peer.say(frame(TEXT, b"at last")[:5])

        async def test(url, dial):
            ws = await connect(url, dial, timeout=SOON)
            error = await failure(ws.receive())
            self.assertEqual(error.code, 1006)
            self.assertIn("timed out", error.reason)

        self.with_server(serve, test)

    def test_a_send_that_nobody_reads_times_out_and_the_reader_knows(self):
        stop = asyncio.Event()

        async def serve(peer):
            await self.upgrade(peer)
            await stop.wait()

        async def test(url, dial):
            ws = await connect(url, dial, timeout=SOON)
            receiving = asyncio.create_task(failure(ws.receive()))
            error = None
            while not error:
                try:
                    await ws.send("x" * 8192)
                except OSError as e:
                    error = e
            self.assertIn("timed out", str(error))
            self.assertEqual((await receiving).code, 1006)
            stop.set()

        self.with_server(serve, test)

    def test_close_is_over_in_time_whatever_the_server_does(self):
        async def serve(peer):
            await self.upgrade(peer)

        async def test(url, dial):
            ws = await connect(url, dial, timeout=SOON)
            receiving = asyncio.create_task(failure(ws.receive()))
            await settle()
            await ws.close()
            self.assertEqual((await receiving).code, 1006)

        self.with_server(serve, test)

    def test_a_server_that_does_not_close_tcp_is_left(self):
        async def serve(peer):
            await self.upgrade(peer)
            await peer.say(close_frame(1000))

        async def test(url, dial):
            ws = await connect(url, dial, timeout=SOON)
            self.assertEqual((await failure(ws.receive())).code, 1000)

        self.with_server(serve, test)

    def test_a_server_that_sends_on_after_its_close_is_left(self):
        async def serve(peer):
            await self.upgrade(peer)
            await peer.say(close_frame(1000))
            while True:
                await peer.say(bytes(4096))

        async def test(url, dial):
            ws = await connect(url, dial, timeout=SOON)
            self.assertEqual((await failure(ws.receive())).code, 1000)

        self.with_server(serve, test)

    def test_a_close_from_a_server_that_takes_nothing_ends_it_in_time(self):
        async def serve(peer):
            await self.upgrade(peer)
            await peer.say(close_frame(1001))
            await stop.wait()

        async def send(ws):
            while True:
                await ws.send("x" * 8192)

        async def test(url, dial):
            ws = await connect(url, dial, timeout=SOON)
            sending = asyncio.create_task(failure(send(ws)))
            await settle()
            self.assertIn((await failure(ws.receive())).code, (1001, 1006))
            await sending
            stop.set()

        stop = asyncio.Event()
        self.with_server(serve, test)

    def test_a_certificate_that_is_wrong_leaves_nothing_open(self):
        async def serve(peer):
            await peer.read(1)

        async def test(url, dial):
            self.assertIn("certificate refused", str(await failure(connect(url, dial))))

        self.with_server(serve, test, "expired")


if __name__ == "__main__":
    unittest.main()
