"""The opening handshake of RFC 6455, section 4, and the URLs of section 3."""

import asyncio
import unittest
from binascii import a2b_base64

import ocpp.handshake as module
from ocpp.handshake import HandshakeError, connect
from wire import Upgrade, failure, frame, run, settle

URL = "ws://central.example/steve/CP1"


def opened(server, url=URL, **options):
    """Connect to a scripted server; return the WebSocket."""
    return run(connect(url, server.dial, **options))


def refused(server, url=URL, **options):
    """Connect to a scripted server that is refused or refuses; return the error."""
    error = run(failure(connect(url, server.dial, **options)))
    assert server.closed or not hasattr(server, "dialled"), "left open"
    return error


class UrlTest(unittest.TestCase):
    def requested(self, url):
        server = Upgrade()
        opened(server, url)
        return server.dialled[:3], server.request.split(b" ")[1].decode(), server.asked()["Host"]

    def test_ws_is_port_80_and_wss_is_port_443_with_tls(self):
        self.assertEqual(self.requested("ws://host/a"), (("host", 80, False), "/a", "host"))
        self.assertEqual(self.requested("wss://host/a"), (("host", 443, True), "/a", "host"))
        self.assertEqual(self.requested("WSS://host/a"), (("host", 443, True), "/a", "host"))

    def test_another_port_is_named_in_the_host_header_and_the_usual_one_is_not(self):
        self.assertEqual(self.requested("ws://host:8080/a"), (("host", 8080, False), "/a", "host:8080"))
        self.assertEqual(self.requested("ws://host:443/a"), (("host", 443, False), "/a", "host:443"))
        self.assertEqual(self.requested("wss://host:443/a"), (("host", 443, True), "/a", "host"))
        self.assertEqual(self.requested("ws://host:80/a"), (("host", 80, False), "/a", "host"))
        self.assertEqual(self.requested("ws://host:/a"), (("host", 80, False), "/a", "host"))

    def test_an_ipv6_address_is_dialled_without_brackets_and_named_with_them(self):
        self.assertEqual(self.requested("ws://[::1]/a"), (("::1", 80, False), "/a", "[::1]"))
        self.assertEqual(self.requested("wss://[fe80::1]:8443"), (("fe80::1", 8443, True), "/", "[fe80::1]:8443"))

    def test_the_resource_is_the_path_with_its_query(self):
        for rest, resource in (
            ("", "/"),
            ("/", "/"),
            ("/steve/websocket/CentralSystemService/CP%2F1", "/steve/websocket/CentralSystemService/CP%2F1"),
            ("/a?b=c/d?e", "/a?b=c/d?e"),
            ("?b=c/d", "/?b=c/d"),
            ("/a@b:c]", "/a@b:c]"),
        ):
            self.assertEqual(self.requested("ws://host" + rest)[1:], (resource, "host"))

    def test_what_is_no_websocket_url_is_refused_without_repeating_it(self):
        for url in (
            "",
            "secret",
            "http://secret/",
            "ws:secret",
            "ws://",
            "ws:///secret",
            "ws://:80/secret",
            "ws://user:secret@host/",
            "ws://secret@host/",
            "ws://host:secret/",
            "ws://host:0/secret",
            "ws://host:65536/secret",
            "ws://host:-1/secret",
            "ws://host/secret#fragment",
            "ws://host#secret",
            "ws://host?secret#fragment",
            "ws://[::1/secret",
            "ws://::1]/secret",
            "ws://[::1]secret/",
            "ws://[]/secret",
            "ws://]/secret",
            "ws://host/se cret",
            "ws://host/secret\r\nEvil: header",
            "ws://host\r\n/secret",
            "ws://host/secret\0",
            "ws://host/secret\x7f",
            "ws://host/secretü",
        ):
            server = Upgrade()
            error = refused(server, url)
            self.assertFalse(hasattr(server, "dialled"), url)
            self.assertIn("URL", str(error))
            self.assertFalse("secret" in str(error), url)


class RequestTest(unittest.TestCase):
    def test_the_request_is_a_get_of_http_1_1_that_ends_with_an_empty_line(self):
        server = Upgrade()
        opened(server)
        self.assertTrue(server.request.startswith(b"GET /steve/CP1 HTTP/1.1\r\n"))
        self.assertTrue(server.request.endswith(b"\r\n\r\n"))
        self.assertEqual(server.request.count(b"\r\n\r\n"), 1)

    def test_the_request_has_exactly_the_headers_of_an_upgrade(self):
        server = Upgrade()
        opened(server)
        asked = server.asked()
        self.assertEqual(len(a2b_base64(asked.pop("Sec-WebSocket-Key"))), 16)
        self.assertEqual(
            asked,
            {
                "Host": "central.example",
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Protocol": "ocpp1.6",
            },
        )

    def test_every_connection_has_a_key_of_its_own(self):
        servers = [Upgrade(), Upgrade()]
        keys = []
        for server in servers:
            opened(server)
            keys.append(server.asked()["Sec-WebSocket-Key"])
        self.assertNotEqual(keys[0], keys[1])

    def test_the_key_of_section_1_3_is_answered_with_the_value_of_section_1_3(self):
        system = module.os
        module.os = SameNonce
        try:
            for accept, good in (("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", True), ("s3pPLMBiTxaQ9kYGzzhZRbK+xOO=", False)):
                server = Upgrade(headers={"Sec-WebSocket-Accept": accept})
                if good:
                    opened(server)
                else:
                    refused(server)
                self.assertEqual(server.asked()["Sec-WebSocket-Key"], "dGhlIHNhbXBsZSBub25jZQ==")
        finally:
            module.os = system

    def test_nothing_is_sent_before_the_whole_answer_has_come(self):
        server = Upgrade(ends=False)
        good = server.answer
        server.answer = lambda: b""

        async def test():
            task = asyncio.create_task(connect(URL, server.dial))
            await settle()
            server.incoming = good()[:-1]
            while server.incoming:
                await asyncio.sleep_ms(0)
            await settle()
            self.assertFalse(task.done())
            self.assertEqual(server.sent, b"")
            server.incoming = b"\n"
            await task
            self.assertEqual(server.sent, b"")

        run(test())

    def test_subprotocols_are_offered_in_order_of_preference(self):
        server = Upgrade()
        opened(server, subprotocols=("ocpp2.0.1", "ocpp1.6"))
        self.assertEqual(server.asked()["Sec-WebSocket-Protocol"], "ocpp2.0.1, ocpp1.6")

    def test_without_subprotocols_there_is_no_such_header(self):
        server = Upgrade(headers={"Sec-WebSocket-Protocol": None})
        self.assertEqual(opened(server, subprotocols=()).subprotocol, None)
        self.assertFalse("Sec-WebSocket-Protocol" in server.asked())

    def test_credentials_go_into_basic_authentication(self):
        server = Upgrade()
        opened(server, user="Aladdin", password=b"open sesame")
        self.assertEqual(server.asked()["Authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")

    def test_a_password_may_be_any_bytes_and_long(self):
        server = Upgrade()
        password = b"\xff\0\xfc" * 40
        opened(server, user="CP1", password=password)
        self.assertEqual(a2b_base64(server.asked()["Authorization"][6:]), b"CP1:" + password)

    def test_the_whole_handshake_is_limited_in_time_and_what_follows_is_not(self):
        server = Upgrade()
        opened(server, timeout=777)
        self.assertEqual(server.dialled[3], 777)
        self.assertEqual(server.limits, [777, None])

    def test_cancelling_the_handshake_closes_the_connection(self):
        server = Upgrade(ends=False)
        server.answer = lambda: b"HTTP/1.1 101 Swi"

        async def test():
            task = asyncio.create_task(connect(URL, server.dial))
            await asyncio.sleep_ms(5)
            self.assertFalse(server.closed)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        run(test())
        self.assertTrue(server.closed)


class SameNonce:
    """The random numbers of section 1.3."""

    @staticmethod
    def urandom(count):
        return b"the sample nonce"


class ResponseTest(unittest.TestCase):
    def accepted(self, **headers):
        return opened(Upgrade(headers={name.replace("_", "-"): value for name, value in headers.items()}))

    def rejected(self, word, **headers):
        error = refused(Upgrade(headers={name.replace("_", "-"): value for name, value in headers.items()}))
        self.assertIsInstance(error, HandshakeError)
        self.assertEqual(error.status, 101)
        self.assertIn(word, str(error))

    def test_the_subprotocol_that_the_server_chose_is_known(self):
        server = Upgrade(headers={"Sec-WebSocket-Protocol": "ocpp2.0.1"})
        self.assertEqual(opened(server, subprotocols=("ocpp1.6", "ocpp2.0.1")).subprotocol, "ocpp2.0.1")

    def test_a_frame_that_comes_with_the_answer_is_not_lost(self):
        for chunk in (1, 7, 1 << 20):
            websocket = opened(Upgrade(frame(1, b"early"), chunk=chunk))
            self.assertEqual(run(websocket.receive()), "early")

    def test_names_of_headers_and_the_upgrade_s_values_have_no_case(self):
        headers = {"Upgrade": None, "Connection": None, "UPGRADE": "WebSocket", "connection": "keep-alive, uPgrade"}
        opened(Upgrade(headers=headers))

    def test_connection_is_a_list_of_tokens(self):
        for value in ("Upgrade", "keep-alive, Upgrade", "keep-alive,upgrade,x", " , upgrade ,"):
            self.accepted(Connection=value)
        for value in ("keep-alive", "Upgraded", "Up grade", "", None):
            self.rejected("connection", Connection=value)

    def test_lists_may_come_as_several_headers(self):
        self.accepted(connection="keep-alive", Connection="Upgrade")

    def test_upgrade_has_to_be_websocket(self):
        for value in ("http/2", "websockets", "", None):
            self.rejected("upgrade", Upgrade=value)

    def test_sec_websocket_accept_has_to_fit_the_key(self):
        for value in ("", None, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "x"):
            self.rejected("sec-websocket-accept", Sec_WebSocket_Accept=value)
        for change in (str.lower, str.upper, lambda accept: accept[:-1], lambda accept: accept + "="):
            server = Upgrade()
            self.reworded(server, "Sec-WebSocket-Accept", change)
            self.assertIn("sec-websocket-accept", str(refused(server)))

    def reworded(self, server, header, change):
        """Let the server change the value of a good answer's header."""
        good = server.answer

        def answer():
            good()
            server.headers[header] = change(server.headers[header])
            return good()

        server.answer = answer

    def test_upgrade_and_the_subprotocol_must_not_come_twice(self):
        self.rejected("upgrade", UPGRADE="websocket")
        self.rejected("sec-websocket-protocol", SEC_WEBSOCKET_PROTOCOL="ocpp1.6")

    def test_sec_websocket_accept_must_not_come_twice(self):
        server = Upgrade()
        good = server.answer

        def twice():
            answer = good()
            accept = server.headers["Sec-WebSocket-Accept"].encode()
            return answer[:-2] + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"

        server.answer = twice
        self.assertIn("sec-websocket-accept", str(refused(server)))

    def test_white_space_around_values_does_not_count(self):
        self.accepted(Upgrade="  websocket\t ", Sec_WebSocket_Protocol="\tocpp1.6  ")

    def test_an_extension_that_was_not_asked_for_is_refused(self):
        for value in ("permessage-deflate", "x; y=1", "", ","):
            self.rejected("sec-websocket-extensions", Sec_WebSocket_Extensions=value)

    def test_a_subprotocol_that_was_not_offered_is_refused(self):
        for value in ("ocpp2.0", "OCPP1.6", "ocpp1.6, ocpp2.0.1", "ocpp1.6\xff", "", None):
            self.rejected("sec-websocket-protocol", Sec_WebSocket_Protocol=value)
        for value in ("ocpp1.6", ""):
            server = Upgrade(headers={"Sec-WebSocket-Protocol": value})
            self.assertIn("sec-websocket-protocol", str(refused(server, subprotocols=())))

    def test_a_refusal_says_what_it_means_to_an_operator(self):
        for status, words in (
            ("301 Moved Permanently", "new address"),
            ("302 Found", "new address"),
            ("400 Bad Request", "identity"),
            ("401 Unauthorized", "AuthorizationKey"),
            ("401", "AuthorizationKey"),
            ("403 Forbidden", "forbidden"),
            ("404 Not Found", "identity unknown"),
            ("426 Upgrade Required", "check the URL"),
            ("500 Internal Server Error", "fault"),
            ("502 Bad Gateway", "proxy"),
            ("503 Service Unavailable", "not available"),
            ("200 OK", "no WebSocket"),
            ("418 I'm a teapot", "check the URL"),
            ("999 ?", "check the URL"),
            ("100 Continue", "check the URL"),
        ):
            error = refused(Upgrade(status=status), user="CP1", password=b"secret")
            self.assertIsInstance(error, HandshakeError)
            self.assertEqual(error.status, int(status[:3]))
            self.assertIn("HTTP " + status[:3], str(error))
            self.assertIn(words, str(error))
            self.assertFalse("secret" in str(error))

    def answered(self, *answer, **options):
        server = Upgrade(**options)
        server.answer = lambda: b"".join(answer)
        return refused(server)

    def test_an_answer_that_is_not_http_is_refused(self):
        for line in (
            b"",
            b"SSH-2.0-x",
            b"HTTP/2 101",
            b"HTTP/1.1x101 y",
            b"HTTP/1.1 1o1",
            b"HTTP/1.1 1011",
            b"HTTP/1.1 10",
            b"HTTP/1.1 -01",
            b"HTTP/1.x 101 y",
            b"HTTP/1. 101",
            b"http/1.1 101",
            b" HTTP/1.1 101",
        ):
            error = self.answered(line, b"\r\n\r\n")
            self.assertIsInstance(error, HandshakeError)
            self.assertIn("not HTTP", str(error))

    def test_http_1_0_cannot_upgrade(self):
        server = Upgrade()
        good = server.answer
        server.answer = lambda: good().replace(b"HTTP/1.1", b"HTTP/1.0")
        self.assertIsInstance(refused(server), HandshakeError)

    def test_an_error_of_http_1_0_is_told_as_well(self):
        self.assertEqual(self.answered(b"HTTP/1.0 404 Not Found\r\n\r\n").status, 404)

    def test_a_malformed_header_is_refused(self):
        first_folded = (b" Upgrade: websocket", b"\tfolded: x", b" ")
        for header in (b"Upgrade", b"Upgrade : websocket", b": x", b"a b: c", b"\r", b"\0") + first_folded:
            error = self.answered(b"HTTP/1.1 101 x\r\n", header, b"\r\n\r\n")
            self.assertIn("malformed header", str(error))

    def test_a_header_may_be_folded(self):
        server = Upgrade()
        good = server.answer
        server.answer = lambda: (
            good()
            .replace(b"Upgrade: websocket", b"Upgrade:\r\n websocket")
            .replace(b"Connection: Upgrade", b"Connection: keep-alive,\r\n\t Upgrade \r\n ,x\r\n  \r\n\t")
        )
        opened(server)

    def test_folding_does_not_join_words(self):
        server = Upgrade()
        good = server.answer
        server.answer = lambda: good().replace(b"Upgrade: websocket", b"Upgrade: web\r\n socket")
        self.assertIn("upgrade", str(refused(server)))

    def test_what_follows_the_answer_is_frames_and_garbage_is_refused(self):
        for garbage in (b"<html>", b"HTTP/1.1 200 OK\r\n\r\n", b"\r\n"):
            server = Upgrade(garbage)
            websocket = opened(server)
            self.assertEqual(run(failure(websocket.receive())).code, 1002)
            self.assertTrue(server.closed)

    def test_the_reason_phrase_does_not_matter(self):
        for phrase in ("101", "101 ", "101 x", "101 Web Socket Protocol Handshake: 404"):
            opened(Upgrade(status=phrase))

    def test_an_answer_that_is_cut_off_anywhere_is_an_error(self):
        server = Upgrade()
        opened(server)
        answer = server.answer()
        for end in range(len(answer)):
            error = self.answered(answer[:end])
            self.assertIn("closed during the upgrade", str(error))

    def test_lines_may_end_without_a_carriage_return(self):
        server = Upgrade()
        good = server.answer
        server.answer = lambda: good().replace(b"\r\n", b"\n")
        opened(server)

    def test_an_answer_without_end_is_refused(self):
        self.assertIn("too long", str(self.answered(b"HTTP/1.1 101 ", b"x" * 5000)))
        self.assertIn("too long", str(self.answered(b"HTTP/1.1 101 x\r\n", b"A: b\r\n" * 1000)))
        self.assertIn("too long", str(self.answered(b"HTTP/1.1 101 x\r\n", b"A: " + b"b" * 5000)))

    def test_an_answer_may_have_4096_bytes_and_not_one_more(self):
        plain = Upgrade()
        opened(plain)
        room = 4096 - len(plain.answer()) - len("Padding: \r\n")
        self.accepted(Padding="x" * room)
        error = refused(Upgrade(headers={"Padding": "x" * (room + 1)}))
        self.assertIn("too long", str(error))

    def test_names_and_values_in_any_encoding_do_not_disturb(self):
        server = Upgrade()
        good = server.answer
        server.answer = lambda: good()[:-2] + b"\xe4: \xff\xfe\r\n\r\n"
        opened(server)


if __name__ == "__main__":
    unittest.main()
