"""TLS: what makes a server's certificate good, and how a handshake fails."""

import asyncio
import binascii
import socket
import unittest
from errno import EACCES, ECONNABORTED, ETIMEDOUT

import hw.dialing as module
from hw.connection import Dialer
from wire import (
    LOCAL,
    Listener,
    Resolver,
    certificate,
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


class TlsTest(unittest.TestCase):
    def test_a_server_whose_certificate_is_right_is_accepted(self):
        async def test(connection, peer):
            await connection.write(b"ping")
            self.assertEqual(await peer.readexactly(4), b"ping")
            await peer.say(b"pong\n")
            self.assertEqual(await connection.readline(9), b"pong\n")

        run(with_pair(test, name="server"))

    @unittest.skipUnless(has_ipv6(), "no IPv6 on this machine")
    def test_an_ipv6_address_has_to_be_in_the_certificate(self):
        async def test():
            listener = Listener("server", host="::1")
            dialing = asyncio.create_task(Dialer(certificate("ca")).dial("::1", listener.port, True))
            handshake = asyncio.create_task((await listener.accept()).end())
            (await dialing).close()
            await handshake
            listener.close()
            listener = Listener("wrong_name", host="::1")
            dialing = asyncio.create_task(failure(Dialer(certificate("ca")).dial("::1", listener.port, True)))
            await (await listener.accept()).end()
            self.assertIn("another host name", str(await dialing))
            listener.close()

        run(test())

    def test_the_name_that_was_dialled_has_to_be_in_the_certificate(self):
        async def test():
            listener = Listener("wrong_name")
            module.socket = Resolver(listener.port)
            dialer = Dialer(certificate("ca"))
            dialing = asyncio.create_task(dialer.dial("elsewhere.example", 443, True))
            peer = await listener.accept()
            handshake = asyncio.create_task(peer.end())
            connection = await dialing
            connection.close()
            await handshake
            dialing = asyncio.create_task(failure(dialer.dial("localhost", 443, True)))
            peer = await listener.accept()
            await peer.end()
            self.assertEqual((await dialing).errno, EACCES)
            listener.close()

        try:
            run(test())
        finally:
            module.socket = socket

    def test_the_ca_may_be_der(self):
        async def test(connection, peer):
            pass

        body = certificate("ca").split(b"-----")[2]
        run(with_pair(test, name="server", dialer=Dialer(binascii.a2b_base64(body))))

    def refused(self, words, name, ca="ca"):
        async def test():
            listener = Listener(name)
            dialer = Dialer(certificate(ca))
            for _ in range(3):
                dialing = asyncio.create_task(failure(dialer.dial(LOCAL, listener.port, True)))
                peer = await listener.accept()
                await peer.end()
                error = await dialing
                self.assertEqual(error.errno, EACCES)
                for word in words:
                    self.assertIn(word, str(error))
            listener.close()

        run(test())

    def test_a_certificate_for_another_host_is_refused(self):
        self.refused(["127.0.0.1:", "certificate refused", "another host name"], "wrong_name")

    def test_an_expired_certificate_is_refused(self):
        self.refused(["certificate refused", "expired", "clock"], "expired")

    def test_a_certificate_that_is_not_valid_yet_is_refused(self):
        self.refused(["certificate refused", "not valid yet", "clock"], "future")

    def test_a_certificate_of_an_unknown_issuer_is_refused(self):
        self.refused(["certificate refused", "not issued by the configured CA"], "untrusted")

    def test_a_self_signed_certificate_is_refused(self):
        self.refused(["certificate refused", "not issued by the configured CA"], "self_signed")

    def test_a_certificate_with_a_broken_signature_is_refused(self):
        self.refused(["certificate refused", "not issued by the configured CA"], "bad_signature")

    def test_a_certificate_that_a_server_issued_is_refused(self):
        self.refused(["certificate refused", "not issued by the configured CA"], "issued_by_server")

    def test_all_that_is_wrong_with_a_certificate_is_named(self):
        self.refused(["another host name", "not issued by"], "wrong_name", ca="other_ca")

    def test_without_a_ca_tls_is_refused_before_anything_is_sent(self):
        async def test():
            error = await failure(Dialer().dial(LOCAL, unused_port(), True))
            self.assertEqual(error.errno, EACCES)
            self.assertIn("none is configured", str(error))

        run(test())

    def test_a_ca_that_is_no_certificate_is_refused(self):
        async def test():
            error = await failure(Dialer(b"-----BEGIN CERTIFICATE-----\n?").dial(LOCAL, unused_port(), True))
            self.assertEqual(error.errno, EACCES)
            self.assertIn("neither PEM nor DER", str(error))

        run(test())

    def handshake(self, serve, timeout=5000):
        """Dial a server that does `serve(peer)`; return the error."""
        errors = []

        async def test():
            listener = Listener()
            dialing = asyncio.create_task(
                failure(Dialer(certificate("ca")).dial(LOCAL, listener.port, True, timeout=timeout))
            )
            peer = await listener.accept()
            listener.close()
            await serve(peer)
            errors.append(await dialing)
            await peer.end()

        run(test())
        return errors[0]

    def test_a_server_without_tls_is_an_error_of_the_handshake(self):
        async def serve(peer):
            await peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        error = self.handshake(serve)
        self.assertEqual(error.errno, ECONNABORTED)
        self.assertIn("TLS handshake failed", str(error))

    def test_a_server_that_closes_is_an_error_of_the_handshake(self):
        async def serve(peer):
            await peer.read(1024)
            peer.close()

        self.assertIn("TLS handshake failed", str(self.handshake(serve)))

    def test_a_server_that_says_nothing_is_given_up_after_the_timeout(self):
        async def serve(peer):
            pass

        error = self.handshake(serve, timeout=SOON)
        self.assertEqual(error.errno, ETIMEDOUT)
        self.assertIn("TLS handshake timed out", str(error))

    def test_a_server_that_dribbles_is_given_up_after_the_timeout(self):
        async def serve(peer):
            try:
                for byte in b"\x16\x03\x03\x40\x00" + bytes(1000):
                    await peer.say(bytes([byte]))
                    await asyncio.sleep_ms(1)
            except OSError:
                pass

        error = self.handshake(serve, timeout=SOON)
        self.assertEqual(error.errno, ETIMEDOUT)
        self.assertIn("TLS handshake timed out", str(error))

    def test_cancelling_the_handshake_leaves_nothing_open(self):
        async def test():
            listener = Listener()
            dialing = asyncio.create_task(Dialer(certificate("ca")).dial(LOCAL, listener.port, True))
            peer = await listener.accept()
            await settle()
            dialing.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await dialing
            await peer.end()
            listener.close()

        run(test())

    def test_a_byte_that_comes_with_the_handshake_is_not_lost(self):
        class Tls:  # MicroPython's own server never sends that early
            def wrap_socket(self, sock, **options):
                self.close = sock.close
                return self

            def readinto(self, view):
                view[0] = 65
                return 1

            def getpeercert(self, binary):
                return b"certificate"

            def readline(self, limit):
                return b"BC\n"

        async def test(connection, peer):
            for _ in range(2):
                await module.start_tls(connection, Tls(), LOCAL)
                await connection.idle()
                self.assertEqual(await read(connection, 1), b"A")

        run(with_pair(test))

    def test_a_waiting_reader_and_writer_end_together_over_tls(self):
        async def test(connection, peer):
            reading = asyncio.create_task(failure(read(connection, 1)))
            connection.timeout = SOON
            self.assertEqual((await failure(flood(connection))).errno, ETIMEDOUT)
            self.assertEqual((await reading).errno, ETIMEDOUT)

        run(with_pair(test, name="server"))


if __name__ == "__main__":
    unittest.main()
