import asyncio
import errno
import gc
import unittest

from firmware import http
from firmware.source import SourceError
from firmware.sources import parse_url

FILE = bytes(range(256)) * 4
TOTAL = len(FILE)
URL = "http://host/dir/fw.bin"


class Wire:
    """A connection as hw/connection.py promises it: its peer says ``script``, then ``again`` for ever or hangs up."""

    def __init__(self, script, step=1 << 20, again=b""):
        self.script = script
        self.position = 0
        self.again = again
        self.step = step
        self.sent = b""
        self.closed = 0
        self.limits = []

    async def write(self, data):
        self.sent += bytes(data)

    async def readinto(self, view):
        if isinstance(self.script, OSError):
            raise self.script
        if self.position == len(self.script):
            self.script, self.position = self.again, 0
        start = self.position
        count = min(len(view), len(self.script) - start, self.step)
        view[:count] = self.script[start : start + count]
        self.position += count
        return count

    def limit(self, milliseconds):
        self.limits.append(milliseconds)

    def close(self):
        self.closed += 1


class Net:
    """What is dialled, in order; each script is the answer to one request."""

    def __init__(self, *scripts, **options):
        self.wires = [Wire(script, **options) for script in scripts]
        self.dialled = []
        self.logged = []

    async def dial(self, host, port, secure=False, *, timeout=None):
        self.dialled.append((host, port, secure, timeout))
        return self.wires[len(self.dialled) - 1]

    def log(self, line):
        self.logged.append(line)

    def open(self, url=URL, **options):
        return asyncio.run(http.open(parse_url(url), self.dial, log=self.log, **options))

    def requests(self):
        return [wire.sent.decode() for wire in self.wires[: len(self.dialled)]]


def answer(status, *headers, body=b""):
    head = "\r\n".join(("HTTP/1.1 %s" % status,) + headers + ("\r\n",))
    return head.encode() + body


def whole(*headers, body=FILE):
    return answer("200 OK", "Content-Length: %d" % len(body), *headers, body=body)


def rest(offset, *headers, body=FILE):
    span = "Content-Range: bytes %d-%d/%d" % (offset, len(body) - 1, len(body))
    length = "Content-Length: %d" % (len(body) - offset)
    return answer("206 Partial Content", span, length, *headers, body=body[offset:])


def redirect(location, status="302 Found"):
    return answer(status, "Location: " + location, "Content-Length: 5", body=b"moved")


def chunked(body, *headers):
    return answer("200 OK", "Transfer-Encoding: chunked", *headers, body=body)


async def _read(source, size):
    view = memoryview(bytearray(size))
    result = b""
    while True:
        count = await source.readinto(view)
        if not count:
            return result
        result += view[:count]


def read(source, size=100):
    return asyncio.run(_read(source, size))


class Case(unittest.TestCase):
    def refused(self, *scripts, permanent=None, url=URL, again=b"", **options):
        """The words of the SourceError that opening ends in; every connection is closed then."""
        net = Net(*scripts, again=again)
        try:
            net.open(url, **options)
        except SourceError as error:
            self.check_closed(net)
            if permanent is not None:
                self.assertEqual(error.permanent, permanent)
            return error.args[1]
        self.fail("accepted")

    def check_closed(self, net):
        self.assertEqual([wire.closed for wire in net.wires[: len(net.dialled)]], [1] * len(net.dialled))

    def broken(self, source, size=100):
        """The words of the error that reading ends in."""
        try:
            read(source, size)
        except SourceError as error:
            self.assertFalse(error.permanent)
            return error.args[1]
        self.fail("taken as complete")


class RequestTest(Case):
    def sent(self, url, **options):
        net = Net(whole())
        net.open(url, **options)
        head, end, body = net.requests()[0].partition("\r\n\r\n")
        self.assertEqual((end, body), ("\r\n\r\n", ""))
        return net, head.split("\r\n")

    def test_the_first_request_asks_for_the_plain_file(self):
        net, lines = self.sent(URL + "?a=1&b=%20#part", timeout=1234)
        self.assertEqual(
            lines,
            [
                "GET /dir/fw.bin?a=1&b=%20 HTTP/1.1",
                "Host: host",
                "User-Agent: Arus",
                "Accept-Encoding: identity",
                "Connection: close",
            ],
        )
        self.assertEqual(net.dialled, [("host", 80, False, 1234)])

    def test_https_dials_a_secure_connection(self):
        net, lines = self.sent("https://host/a")
        self.assertEqual(net.dialled[0][:3], ("host", 443, True))
        self.assertEqual(lines[1], "Host: host")

    def test_a_port_of_its_own_is_named_in_the_host(self):
        self.assertEqual(self.sent("http://host:8080/")[1][1], "Host: host:8080")
        self.assertEqual(self.sent("https://host:80/")[1][1], "Host: host:80")

    def test_an_ipv6_address_is_dialled_without_brackets_and_named_with_them(self):
        net, lines = self.sent("http://[::1]:8080/")
        self.assertEqual(net.dialled[0][:2], ("::1", 8080))
        self.assertEqual(lines[1], "Host: [::1]:8080")
        self.assertEqual(self.sent("http://[::1]/")[1][1], "Host: [::1]")

    def test_userinfo_becomes_basic_authentication(self):
        lines = self.sent("http://Aladdin:open%20sesame@host/")[1]
        self.assertEqual(lines[-1], "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        self.assertEqual(lines[1], "Host: host")

    def test_a_long_password_stays_on_one_line(self):
        self.assertEqual(len(self.sent("http://user:%s@host/" % ("p" * 300))[1]), 6)

    def test_resuming_asks_for_the_rest_of_the_same_file(self):
        lines = self.sent(URL, offset=512, validator='"v1"')[1]
        self.assertEqual(lines[-2:], ["Range: bytes=512-", 'If-Range: "v1"'])

    def test_resuming_without_a_validator_sends_no_if_range(self):
        self.assertEqual(self.sent(URL, offset=512)[1][-1], "Range: bytes=512-")

    def test_a_validator_without_an_offset_is_not_sent(self):
        self.assertEqual(self.sent(URL, validator='"v1"')[1][-1], "Connection: close")

    def test_a_bad_url_is_refused_before_anything_is_dialled(self):
        net = Net()
        with self.assertRaises(SourceError):
            net.open("http://host:x/")
        self.assertEqual(net.dialled, [])

    def test_an_error_of_the_network_comes_through_and_nothing_stays_open(self):
        net = Net(OSError(errno.ETIMEDOUT, "stalled"))
        try:
            net.open()
            self.fail("accepted")
        except OSError as error:
            self.assertEqual(error.errno, errno.ETIMEDOUT)
        self.check_closed(net)

    def test_cancelling_while_the_answer_is_awaited_closes_the_connection(self):
        async def scenario():
            waiting = asyncio.Event()

            async def silence(view):
                waiting.set()
                await asyncio.Event().wait()

            net = Net(b"")
            net.wires[0].readinto = silence
            task = asyncio.create_task(http.open(parse_url(URL), net.dial, log=net.log))
            await waiting.wait()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.check_closed(net)
            return True

        self.assertTrue(asyncio.run(scenario()))


class HeadTest(Case):
    def test_length_validator_and_offset_are_those_of_the_answer(self):
        source = Net(whole('ETag: "v1"', "Last-Modified: Sat, 01 Aug 2026 10:00:00 GMT")).open()
        self.assertEqual((source.offset, source.length, source.validator), (0, TOTAL, '"v1"'))

    def test_header_names_have_no_case_and_values_no_space_around(self):
        source = Net(answer("200", "CONTENT-length:\t 4  ", 'etag:"x"', body=b"abcd")).open()
        self.assertEqual((source.length, source.validator, read(source)), (4, '"x"', b"abcd"))

    def test_bare_line_feeds_end_lines_too(self):
        self.assertEqual(read(Net(b"HTTP/1.0 200 OK\nContent-Length: 2\n\nab").open()), b"ab")

    def test_a_weak_etag_gives_way_to_the_date(self):
        date = "Sat, 01 Aug 2026 10:00:00 GMT"
        self.assertEqual(Net(whole('ETag: W/"v1"', "Last-Modified: " + date)).open().validator, date)

    def test_without_a_usable_validator_there_is_none(self):
        for headers in ([], ['ETag: W/"v1"'], ["ETag: bare"], ['ETag: "%s"' % ("x" * 200)]):
            self.assertIsNone(Net(whole(*headers)).open().validator)

    def test_informational_answers_are_passed_over(self):
        script = answer("100 Continue") + answer("103 Early Hints", "Link: </x>", "Content-Length: 9") + whole()
        self.assertEqual(read(Net(script).open()), FILE)

    def test_headers_that_nobody_needs_may_be_long_odd_and_repeated(self):
        headers = ["Set-Cookie: a=1", "Set-Cookie: b=2", "X-Long: " + "x" * 6000, "X-Odd: \xfc\x01", "X-None:"]
        self.assertEqual(read(Net(whole(*headers)).open()), FILE)

    def test_what_is_no_http_is_refused(self):
        lines = (
            "SSH-2.0-OpenSSH_9.2|\x15\x03\x01\x00\x02\x02|HTTP/1.1|HTTP/1.1 |HTTP/1.1 20 OK|200 OK||HTTP/1.1 2000 OK|"
            "HTTP/1.1 -20 OK|HTTP/1.1 2x0 OK|HTTP/2 200 OK|http/1.1 200 OK|HTTP/1.1 000"
        )
        for line in lines.split("|"):
            words = self.refused((line + "\r\nContent-Length: 0\r\n\r\n").encode(), permanent=False)
            self.assertIn("no proper HTTP", words)

    def test_malformed_header_lines_are_refused(self):
        for line in "X: a\r\n folded|X: a\r\n\tfolded: b|no colon|: no name|Content-Length : 4| | X: a".split("|"):
            self.assertIn("no proper HTTP", self.refused(whole(line)))

    def test_a_header_we_use_is_refused_with_characters_that_do_not_belong(self):
        for value in ('"a\rb"', '"a\0b"', '"\xfc"'):
            self.refused(whole("ETag: " + value))

    def test_headers_without_end_are_refused(self):
        self.assertIn("too long", self.refused(b"HTTP/1.1 200 OK\r\n", again=b"X: " + b"x" * 1000 + b"\r\n"))
        self.assertIn("too long", self.refused(b"", again=answer("100 Continue")))

    def test_a_line_without_end_is_refused(self):
        net = Net(b"HTTP/1.1 200 OK\r\nX: ", again=b"x" * 100)
        with self.assertRaises(OSError):
            net.open()
        self.check_closed(net)

    def test_a_repeated_content_length_must_be_the_same(self):
        self.assertEqual(read(Net(whole("Content-Length: %d" % TOTAL)).open()), FILE)
        self.refused(whole("Content-Length: 5"))

    def test_a_content_length_that_is_no_number_is_refused(self):
        for value in ("-1", "+5", "5 5", "5, 5", "0x10", "1e3", "1_0", "99999999999", "five"):
            self.refused(answer("200 OK", "Content-Length: " + value, body=FILE), permanent=False)

    def test_content_length_and_transfer_encoding_together_are_refused(self):
        self.refused(chunked(b"0\r\n\r\n", "Content-Length: 5"))

    def test_a_transfer_encoding_other_than_chunked_is_refused(self):
        for coding in ("gzip", "gzip, chunked", "chunked, chunked", "identity"):
            self.refused(answer("200 OK", "Transfer-Encoding: " + coding, body=FILE))

    def test_a_compressed_body_is_refused_for_good(self):
        self.assertIn("Content-Encoding", self.refused(whole("Content-Encoding: gzip"), permanent=True))
        self.assertEqual(read(Net(whole("Content-Encoding: Identity")).open()), FILE)

    def test_a_head_cut_at_any_byte_is_an_error(self):
        head = whole('ETag: "v1"', body=b"x")[:-1]
        for cut in range(len(head)):
            self.assertIn("closed before", self.refused(head[:cut], permanent=False))
        self.broken(Net(head).open())

    def test_a_head_that_arrives_byte_by_byte_is_understood(self):
        source = Net(whole('ETag: "v1"'), step=1).open()
        self.assertEqual((source.validator, read(source)), ('"v1"', FILE))


class StatusTest(Case):
    def test_refusals_tell_the_operator_what_to_do_and_whether_asking_again_can_help(self):
        for status, permanent, words in (
            (401, True, "password"),
            (403, True, "permission"),
            (404, True, "check the location"),
            (410, True, "check the location"),
            (400, True, "check"),
            (408, False, "later"),
            (429, False, "later"),
            (500, False, "later"),
            (503, False, "later"),
            (204, True, "check"),
            (206, True, "check"),
            (300, True, "check"),
            (304, True, "check"),
            (416, True, "check"),
        ):
            text = self.refused(answer("%d Whatever" % status), permanent=permanent)
            self.assertIn("HTTP %d" % status, text)
            self.assertIn(words, text)
            self.assertIn("http://host/dir/fw.bin", text)

    def test_refusals_show_neither_password_nor_query(self):
        text = self.refused(answer("404"), url="http://me:secret@host/a?sig=secret")
        self.assertIn("http://***@host/a?***", text)
        self.assertFalse("secret" in text)


class RedirectTest(Case):
    def follow(self, url, *locations):
        """The last request (dialled, lines) of a chain of redirects."""
        net = Net(*([redirect(location) for location in locations] + [whole()]))
        self.assertEqual(read(net.open(url)), FILE)
        for wire in net.wires[:-1]:
            self.assertEqual(wire.closed, 1)
        return net.dialled[-1][:3], net.requests()[-1].split("\r\n")

    def path(self, url, location):
        return self.follow(url, location)[1][0].split(" ")[1]

    def test_every_redirecting_status_is_followed(self):
        for status in (300, 301, 302, 303, 307, 308):
            net = Net(redirect("http://other/x", "%d Moved" % status), whole())
            self.assertEqual(read(net.open()), FILE)
            self.assertEqual(net.dialled[1][:2], ("other", 80))

    def test_the_connection_is_closed_before_the_next_is_dialled(self):
        net = Net(redirect("/x"), whole())
        closed = []
        dial = net.dial

        async def watching(*args, **options):
            closed.append(net.wires[0].closed)
            return await dial(*args, **options)

        net.dial = watching
        net.open()
        self.assertEqual(closed, [0, 1])

    def test_locations_of_every_form_are_resolved(self):
        base = "https://host:8443/a/b/c.bin?q=1"
        for location, dialled, path in (
            ("https://other/x?y=1#z", ("other", 443, True), "/x?y=1"),
            ("//other:81/x", ("other", 81, True), "/x"),
            ("/x", ("host", 8443, True), "/x"),
            ("/x?u=http://y/z", ("host", 8443, True), "/x?u=http://y/z"),
            ("x", ("host", 8443, True), "/a/b/x"),
            ("x?u=http://y/z", ("host", 8443, True), "/a/b/x?u=http://y/z"),
            ("x/http://y", ("host", 8443, True), "/a/b/x/http://y"),
            ("./x", ("host", 8443, True), "/a/b/x"),
            ("../x/./y?z=../..", ("host", 8443, True), "/a/x/y?z=../.."),
            ("../../../../x", ("host", 8443, True), "/x"),
            ("?y=2", ("host", 8443, True), "/a/b/c.bin?y=2"),
            ("HTTPS://Other/X", ("other", 443, True), "/X"),
        ):
            where, lines = self.follow(base, location)
            self.assertEqual((where, lines[0]), (dialled, "GET %s HTTP/1.1" % path))

    def test_relative_locations_keep_the_address_of_ipv6_hosts(self):
        self.assertEqual(self.follow("http://[::1]:8080/a", "b")[0], ("::1", 8080, False))
        self.assertEqual(self.follow("http://host/a", "//[2001:db8::1]:8080/b")[0], ("2001:db8::1", 8080, False))

    def test_release_pages_may_redirect_to_long_urls(self):
        path = "/release-asset?sig=" + "x" * 1500
        self.assertEqual(self.path(URL, "https://cdn.example" + path), path)

    def test_five_redirects_are_followed_and_no_sixth(self):
        self.follow(URL, "/1", "/2", "/3", "/4", "/5")
        words = self.refused(*[redirect("/%d" % i) for i in range(6)], permanent=True)
        self.assertIn("redirects", words)

    def test_a_loop_ends(self):
        self.refused(*[redirect(URL)] * 6)

    def test_the_password_stays_with_its_host(self):
        for url, location, kept in (
            ("http://u:p@host/a", "/b", True),
            ("http://u:p@host/a", "http://HOST:80/b", True),
            ("http://u:p@host/a", "//host/b", True),
            ("http://u:p@host/a", "http://other/b", False),
            ("http://u:p@host/a", "http://host:81/b", False),
            ("http://u:p@host/a", "https://host/b", False),
            ("http://u:p@host/a", "https://host:80/b", False),
        ):
            lines = self.follow(url, location)[1]
            self.assertEqual("Authorization: Basic dTpw" in lines, kept)

    def test_a_password_does_not_come_back_after_a_detour(self):
        self.assertFalse("Authorization" in "".join(self.follow("http://u:p@host/a", "http://x/", "http://host/b")[1]))

    def test_a_redirect_may_bring_its_own_password(self):
        self.assertIn("Authorization: Basic dTpw", self.follow(URL, "http://u:p@other/b")[1])

    def test_https_never_leads_to_http(self):
        for location in ("http://host/a", "HTTP://host:443/a"):
            words = self.refused(redirect(location), url="https://host/a", permanent=True)
            self.assertIn("https", words)

    def test_a_redirect_to_nowhere_is_refused(self):
        for location in (
            "",
            "ftp://host/a",
            "http://",
            "http://host:x/",
            "http://host/a b",
            "http://h/\xfc",
            "http://h/\x01",
        ):
            words = self.refused(redirect(location))
            self.assertIn(URL, words)

    def test_the_log_shows_the_way_without_secrets(self):
        net = Net(redirect("https://u:p@cdn.example/a?sig=x"), whole())
        net.open()
        self.assertEqual(net.logged, ["Redirected to https://***@cdn.example/a?***"])

    def test_the_range_is_asked_from_the_target_too(self):
        net = Net(redirect("http://cdn/x"), rest(512))
        source = net.open(offset=512, validator='"v1"')
        self.assertIn('Range: bytes=512-\r\nIf-Range: "v1"\r\n', net.requests()[1])
        self.assertEqual((source.offset, read(source)), (512, FILE[512:]))


class RangeTest(Case):
    def test_the_rest_is_read_from_the_asked_offset(self):
        for offset in (1, 512, TOTAL - 1):
            source = Net(rest(offset, 'ETag: "v1"')).open(offset=offset, validator='"v1"', expected_length=TOTAL)
            self.assertEqual((source.offset, source.length, source.validator), (offset, TOTAL, '"v1"'))
            self.assertEqual(read(source), FILE[offset:])

    def test_the_rest_may_come_without_its_own_length(self):
        script = answer("206", "Content-Range: bytes 1000-1023/1024", body=FILE[1000:] + b"more")
        self.assertEqual(read(Net(script).open(offset=1000)), FILE[1000:])

    def test_the_rest_may_come_in_chunks(self):
        body = b"18\r\n" + FILE[1000:] + b"\r\n0\r\n\r\n"
        script = answer("206", "Content-Range: bytes 1000-1023/1024", "Transfer-Encoding: chunked", body=body)
        source = Net(script).open(offset=1000)
        self.assertEqual((source.offset, read(source)), (1000, FILE[1000:]))

    def test_a_whole_file_in_answer_to_a_range_starts_over(self):
        net = Net(whole('ETag: "v2"'))
        source = net.open(offset=512, validator='"v1"', expected_length=77)
        self.assertEqual((source.offset, source.length, source.validator, read(source)), (0, TOTAL, '"v2"', FILE))

    def starts_over(self, script, offset=512, **options):
        net = Net(script, whole())
        source = net.open(offset=offset, **options)
        self.assertEqual((source.offset, read(source)), (0, FILE))
        self.assertEqual(net.wires[0].closed, 1)
        self.assertFalse("Range" in net.requests()[1])
        self.assertIn("starting over", net.logged[0])

    def test_a_range_that_is_not_satisfiable_starts_over(self):
        self.starts_over(answer("416 Range Not Satisfiable", "Content-Range: bytes */100"))

    def test_starting_over_happens_once(self):
        self.assertIn("HTTP 416", self.refused(answer("416"), answer("416"), offset=512))

    def test_another_range_than_asked_starts_over(self):
        values = (
            "bytes 0-1023/1024|bytes 511-1023/1024|bytes 513-1023/1024|bytes 512-1022/1024|bytes 512-1023/*|"
            "bytes 512-1024/1024|bytes */1024|items 512-1023/1024|bytes 512-1023|bytes 512-511/512|1024||"
            "bytes 512-1023/1024, bytes 0-1/1024|bytes 512--1/0|bytes 512-1023/99999999999|bytes 512-1023/x"
        )
        for value in values.split("|"):
            self.starts_over(answer("206", "Content-Range: " + value, body=FILE[512:]))

    def test_an_answer_in_several_parts_starts_over(self):
        self.starts_over(answer("206", "Content-Type: multipart/byteranges; boundary=x", body=b"--x"))

    def test_a_rest_of_another_length_than_its_range_starts_over(self):
        script = answer("206", "Content-Range: bytes 512-1023/1024", "Content-Length: 511", body=FILE[512:])
        self.starts_over(script)

    def test_a_file_of_another_length_than_before_starts_over(self):
        self.starts_over(rest(512), expected_length=TOTAL + 1)

    def test_a_server_that_ignores_if_range_and_has_another_file_starts_over(self):
        self.starts_over(rest(512, 'ETag: "v2"'), validator='"v1"')
        self.starts_over(rest(512, "Last-Modified: today"), validator="yesterday")

    def test_a_rest_without_a_validator_is_accepted_because_if_range_was_asked(self):
        self.assertEqual(Net(rest(512)).open(offset=512, validator='"v1"').offset, 512)

    def test_redirects_and_starting_over_go_together(self):
        net = Net(redirect("/b"), answer("416"), redirect("/c"), whole())
        self.assertEqual(net.open(offset=512).offset, 0)
        self.assertFalse("Range" in net.requests()[3])


class BodyTest(Case):
    def test_a_body_ends_at_its_length_though_the_connection_goes_on(self):
        source = Net(whole() + b"next").open()
        self.assertEqual(read(source), FILE)
        self.assertEqual(read(source), b"")

    def test_an_empty_body_is_complete_at_once(self):
        self.assertEqual(read(Net(whole(body=b"")).open()), b"")

    def test_a_body_cut_anywhere_is_an_error(self):
        script = whole(body=b"0123456789")
        for missing in range(1, 11):
            self.assertIn("before the end", self.broken(Net(script[:-missing]).open()))

    def test_without_a_length_the_body_goes_until_close(self):
        source = Net(answer("200 OK", body=FILE)).open()
        self.assertIsNone(source.length)
        self.assertEqual(read(source), FILE)

    def test_an_error_of_the_network_comes_through_while_reading(self):
        net = Net(whole())
        source = net.open()
        net.wires[0].script = OSError(errno.ETIMEDOUT, "stalled")
        try:
            read(source)
            self.fail("taken as complete")
        except OSError as error:
            self.assertEqual(error.errno, errno.ETIMEDOUT)

    def test_the_head_and_every_16_kib_have_a_limit_in_time(self):
        net = Net(answer("200 OK", "Content-Length: 40000"), again=bytes(1000))
        source = net.open(timeout=1000)
        self.assertEqual(net.wires[0].limits, [2000, 2000])
        view = memoryview(bytearray(1000))
        for _ in range(40):
            asyncio.run(source.readinto(view))
        self.assertEqual(net.wires[0].limits, [2000] * 4)

    def test_chunks_do_not_prolong_the_time(self):
        net = Net(chunked(b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"))
        read(net.open(timeout=1000))
        self.assertEqual(net.wires[0].limits, [2000, 2000])

    def test_closing_closes_the_connection(self):
        net = Net(whole())
        net.open().close()
        self.assertEqual(net.wires[0].closed, 1)

    def test_bytes_go_straight_into_the_caller_s_view(self):
        net = Net(whole())
        source = net.open()
        seen = []
        readinto = net.wires[0].readinto

        async def watching(view):
            seen.append(view)
            return await readinto(view)

        net.wires[0].readinto = watching
        view = memoryview(bytearray(100))
        for _ in range(3):
            asyncio.run(source.readinto(view))
        self.assertIs(seen[-1], view)

    def test_reading_a_large_body_leaves_little_garbage(self):
        async def count():
            net = Net(b"")
            wire = net.wires[0]

            async def readinto(view):
                return len(view)

            wire.script = whole(body=b"")[:-2].replace(b"Length: 0", b"Length: 4096000") + b"\r\n"
            source = await http.open(parse_url(URL), net.dial, log=net.log)
            wire.readinto = readinto
            view = memoryview(bytearray(4096))
            await source.readinto(view)
            gc.collect()
            gc.disable()
            before = gc.mem_alloc()
            for _ in range(100):
                await source.readinto(view)
            used = gc.mem_alloc() - before
            gc.enable()
            return used

        # Two coroutine objects a call cannot be avoided; a copied buffer would be 4 KiB a call.
        self.assertTrue(asyncio.run(count()) < 100 * 300)


class ChunkedTest(Case):
    BODY = b'5\r\nhello\r\n1;name=value\r\n \r\n0005 ; x="y"\r\nworld\r\n0\r\n\r\n'

    def test_chunks_are_put_together(self):
        for step in (1, 2, 3, 7, 1000):
            for size in (1, 2, 5, 6, 100):
                source = Net(chunked(self.BODY), step=step).open()
                self.assertIsNone(source.length)
                self.assertEqual(read(source, size), b"hello world")
                self.assertEqual(read(source, size), b"")

    def test_sizes_are_hexadecimal_in_both_cases(self):
        body = b"aB\r\n" + FILE[:0xAB] + b"\r\n0\r\n\r\n"
        self.assertEqual(read(Net(chunked(body)).open()), FILE[:0xAB])

    def test_the_coding_s_name_has_no_case(self):
        script = answer("200 OK", "Transfer-Encoding: Chunked", body=self.BODY)
        self.assertEqual(read(Net(script).open()), b"hello world")

    def test_trailers_are_left_alone(self):
        source = Net(chunked(self.BODY[:-2]), again=b"X-Checksum: 1\r\n").open()
        self.assertEqual(read(source), b"hello world")

    def test_an_empty_chunked_body_is_complete_at_once(self):
        self.assertEqual(read(Net(chunked(b"0\r\n\r\n")).open()), b"")

    def test_a_chunked_body_cut_anywhere_before_the_last_chunk_is_an_error(self):
        for cut in range(len(self.BODY) - 2):
            self.broken(Net(chunked(self.BODY[:cut])).open())

    def test_sizes_that_are_none_are_refused(self):
        for size in ("", " ", "-1", "+5", "0x5", "5_0", "g", "5 5", "12345678", "ffffffffffffffff", ";x", "5h"):
            self.assertIn("chunk", self.broken(Net(chunked(size.encode() + b"\r\nhello\r\n0\r\n\r\n")).open()))

    def test_a_chunk_longer_or_shorter_than_its_size_is_refused(self):
        for body in (b"4\r\nhello\r\n0\r\n", b"6\r\nhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n", b"5\r\nhello\n\n0\r\n"):
            self.assertIn("chunk", self.broken(Net(chunked(body)).open()))

    def test_a_size_line_ends_in_cr_lf(self):
        self.assertIn("chunk", self.broken(Net(chunked(b"5\nhello\r\n0\r\n\r\n")).open()))

    def test_an_extension_without_end_is_refused(self):
        source = Net(chunked(b"5;"), again=b"x" * 100).open()
        with self.assertRaises(OSError):
            read(source)


if __name__ == "__main__":
    unittest.main()
