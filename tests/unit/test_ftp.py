import asyncio
import errno
import unittest

from firmware import ftp
from firmware.source import SourceError
from firmware.sources import parse_url
from hw.connection import Dialer
from wire import LOCAL, Listener, failure, run, unused_port

FILE = bytes(range(256)) * 4
TOTAL = len(FILE)
URL = "ftp://host/dir/fw.bin"
DATE = "20260821120000"
VALIDATOR = "20260821120000 1024"

ANSWERS = {
    "": "220 ready",
    "USER": "331 password?",
    "PASS": "230 logged in",
    "TYPE": "200 binary",
    "SIZE": "213 %d" % TOTAL,
    "MDTM": "213 " + DATE,
    "EPSV": "229 Entering Extended Passive Mode (|||6446|)",
    "PASV": "227 Entering Passive Mode (10,9,8,7,25,46).",
    "REST": "350 restarting",
    "RETR": "150 here it comes",
    "STOR": "150 go on",
    "end": "226 done",
}
DIALOGUE = ["USER anonymous", "PASS arus@", "TYPE I", "SIZE dir/fw.bin", "MDTM dir/fw.bin", "EPSV", "RETR dir/fw.bin"]


class Wire:
    """A connection as hw/connection.py promises it; `incoming` is read, then the peer hangs up."""

    def __init__(self, incoming=b"", step=1 << 20, end=None, again=b""):
        self.incoming = incoming
        self.position = 0
        self.again = again  # comes without end after that
        self.step = step
        self.end = end  # an OSError instead of the end of the stream
        self.sent = b""
        self.closed = 0
        self.limits = []

    async def write(self, data):
        assert not self.closed
        self.sent += bytes(data)

    async def readinto(self, view):
        if not self.incoming:
            if self.end:
                raise self.end
            self.incoming = self.again
        start = self.position
        count = min(len(view), len(self.incoming) - start, self.step)
        view[:count] = memoryview(self.incoming)[start : start + count]
        self.position += count
        if self.position == len(self.incoming):
            self.incoming, self.position = b"", 0
        return count

    def limit(self, milliseconds):
        self.limits.append(milliseconds)

    def close(self):
        self.closed += 1


class Control(Wire):
    """The server's control connection: it answers each command, and once told to, the end of the transfer."""

    def __init__(self, answers, cut, **options):
        super().__init__(**options)
        self.answers = answers
        self.left = cut  # so many bytes of replies still come
        self.say("")

    def say(self, what):
        answer = self.answers[what]
        answer = answer if isinstance(answer, bytes) else answer.encode() + b"\r\n"
        self.incoming += answer[: self.left]
        self.left = max(self.left - len(answer), 0)
        return answer

    async def write(self, data):
        await super().write(data)
        assert data[-2:] == b"\r\n" and data.count(b"\r") == data.count(b"\n") == 1, data
        command = data.decode().split()[0]
        if self.say(command)[:1] == b"1" and command in ("RETR", "STOR"):
            self.say("end")


class Net:
    """An FTP server: what is dialled first is its control connection, all others data connections."""

    def __init__(self, body=FILE, refuse=(), step=1 << 20, end=None, body_end=None, again=b"", cut=1 << 20, **changes):
        answers = dict(ANSWERS)
        answers.update(changes)
        answers[""] = changes.get("greeting", answers[""])
        self.control = Control(answers, cut, step=step, end=end, again=again)
        self.data = Wire(body, step, body_end)
        self.refuse = list(refuse)  # the ports that nobody listens on
        self.dialled = []
        self.logged = []

    async def dial(self, host, port, secure=False, *, timeout=None):
        self.dialled.append((host, port, secure, timeout))
        if port in self.refuse:
            raise OSError(errno.ECONNREFUSED, "%s:%d: can't connect" % (host, port))
        return self.control if len(self.dialled) == 1 else self.data

    def open(self, url=URL, **options):
        return asyncio.run(ftp.open(parse_url(url), self.dial, log=self.logged.append, **options))

    def store(self, data, url="ftp://me:word@host/in/", name="log.txt", step=700):
        rest = memoryview(data)
        position = 0

        def read(view):
            nonlocal position
            count = min(len(view), len(rest) - position, step)
            view[:count] = rest[position : position + count]
            position += count
            return count

        return asyncio.run(ftp.store(parse_url(url), name, self.dial, read, timeout=500, log=self.logged.append))

    def commands(self):
        return self.control.sent.decode().split("\r\n")[:-1]

    def open_connections(self):
        wires = [self.control, self.data][: len([place for place in self.dialled if place[1] not in self.refuse])]
        return [wire for wire in wires if not wire.closed]


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
    def refused(self, url=URL, permanent=None, net=None, **changes):
        """The words of the SourceError that opening ends in; every connection is closed then."""
        net = net or Net(**changes)
        try:
            net.open(url)
        except SourceError as error:
            if net.dialled:
                self.assertEqual(net.open_connections(), [])
            if permanent is not None:
                self.assertEqual(error.permanent, permanent)
            return error.args[1]
        self.fail("accepted")

    def broken(self, net):
        source = net.open()
        try:
            read(source)
        except SourceError as error:
            self.assertFalse(error.permanent)
            return error.args[1]
        self.fail("taken as complete")


class DialogueTest(Case):
    def test_a_file_arrives(self):
        for step in (1, 3, 1 << 20):
            net = Net(step=step)
            source = net.open(timeout=1234)
            self.assertEqual(net.commands(), DIALOGUE)
            self.assertEqual(net.dialled, [("host", 21, False, 1234), ("host", 6446, False, 1234)])
            self.assertEqual((source.offset, source.length, source.validator), (0, TOTAL, VALIDATOR))
            self.assertEqual(read(source), FILE)
            source.close()
            self.assertEqual((net.control.closed, net.data.closed), (1, 1))

    def test_user_and_password_come_from_the_location(self):
        net = Net()
        net.open("ftp://m%C3%A9:p%40ss%25@host/a")
        self.assertEqual(net.commands()[:2], ["USER mé", "PASS p@ss%"])

    def test_a_user_without_a_password_has_an_empty_one(self):
        net = Net()
        net.open("ftp://me@host/a")
        self.assertEqual(net.commands()[:2], ["USER me", "PASS "])

    def test_a_server_may_want_no_password(self):
        net = Net(USER="230 welcome")
        net.open()
        self.assertEqual(net.commands()[:2], ["USER anonymous", "TYPE I"])

    def test_replies_of_several_lines_are_read_to_their_end(self):
        net = Net(
            greeting="220-Welcome\r\n 220 not yet\r\n221 nor this\r\n220-220\r\n" + "x" * 300 + "\r\n220 now",
            SIZE=b"213-Size\n213 1024\n",
            RETR="150-\r\n150 go",
        )
        self.assertEqual(read(net.open()), FILE)

    def test_a_server_that_is_ready_soon_is_waited_for(self):
        self.assertEqual(read(Net(greeting="120 in 1 minute\r\n220 ready").open()), FILE)

    def test_what_is_allowed_to_take_long_has_a_limit(self):
        net = Net()
        net.open(timeout=500)
        self.assertEqual(net.control.limits, [1000, None])
        self.assertEqual(net.data.limits, [1000, 1000])


class PathTest(Case):
    def path(self, url):
        net = Net()
        net.open(url)
        return net.commands()[-1]

    def test_the_path_begins_at_the_user_s_folder(self):
        self.assertEqual(self.path("ftp://host/a/b.bin"), "RETR a/b.bin")

    def test_an_escaped_slash_begins_at_the_root(self):
        self.assertEqual(self.path("ftp://host/%2Fsrv/b.bin"), "RETR /srv/b.bin")
        self.assertEqual(self.path("ftp://host//srv/b.bin"), "RETR /srv/b.bin")

    def test_escapes_are_decoded(self):
        self.assertEqual(self.path("ftp://host/a%20b%25%C3%BC.bin?v=1"), "RETR a b%ü.bin?v=1")

    def test_the_type_is_left_out(self):
        self.assertEqual(self.path("ftp://host/a.bin;type=i"), "RETR a.bin")
        self.assertEqual(self.path("ftp://host/a.bin;TYPE=A"), "RETR a.bin")
        self.assertEqual(self.path("ftp://host/a.bin%3Btype=i"), "RETR a.bin;type=i")

    def test_no_command_can_be_put_into_the_path(self):
        for bad in ("%0D%0ADELE%20x", "a%0a", "a%0d", "%00", "%1b", "%0a;type=i"):
            net = Net()
            self.assertIn("control character", self.refused("ftp://host/" + bad, True, net))
            self.assertEqual(net.dialled, [])
        net = Net()
        address = parse_url(URL)[:5] + ("/a%0D%0ADELE%20b",)  # not from parse_url
        try:
            asyncio.run(ftp.open(address, net.dial))
            self.fail("sent")
        except SourceError:
            self.assertFalse(b"DELE" in net.control.sent)
            self.assertEqual(net.open_connections(), [])

    def test_a_location_without_a_file_name_is_the_server_s_to_refuse(self):
        self.assertIn("FTP 501, check location", self.refused("ftp://host", True, RETR="501 no name"))

    def test_a_broken_escape_is_refused(self):
        self.assertIn("%25", self.refused("ftp://host/100%", True))

    def test_no_command_can_be_put_into_user_or_password(self):
        for userinfo in ("me%0D%0ADELE%20x:word", "me:word%0aDELE%20x", "m%00e"):
            net = Net()
            self.assertIn("control character", self.refused("ftp://%s@host/a" % userinfo, True, net))
            self.assertEqual(net.dialled, [])


class DataConnectionTest(Case):
    def test_the_address_in_the_answer_to_pasv_is_not_used(self):
        net = Net(EPSV="500 unknown")
        self.assertEqual(read(net.open()), FILE)
        self.assertEqual(net.commands()[5:7], ["EPSV", "PASV"])
        self.assertEqual(net.dialled[1][:2], ("host", 25 * 256 + 46))

    def test_pasv_may_come_without_brackets(self):
        for text in ("227 ok 10,9,8,7,25,46", "227 =10,9,8,7,25,46", "227 (10,9,8,7,25,46)"):
            net = Net(EPSV="502 no", PASV=text)
            net.open()
            self.assertEqual(net.dialled[1][1], 6446)

    def test_pasv_is_tried_when_the_port_of_epsv_cannot_be_reached(self):
        net = Net(refuse=[6446], PASV="227 (10,9,8,7,1,2)")
        self.assertEqual(read(net.open()), FILE)
        self.assertEqual([place[1] for place in net.dialled], [21, 6446, 258])

    def test_ipv6_has_epsv_only(self):
        net = Net(EPSV="500 unknown")
        self.assertIn("FTP 500", self.refused("ftp://[::1]/a", True, net))
        self.assertEqual(net.commands()[-1], "EPSV")
        net = Net()
        net.open("ftp://[::1]:2121/a")
        self.assertEqual([place[:2] for place in net.dialled], [("::1", 2121), ("::1", 6446)])

    def test_a_refused_data_connection_is_no_permanent_error(self):
        for changes in ({}, {"PASV": "500 unknown"}):
            net = Net(refuse=[6446], **changes)
            try:
                net.open()
                self.fail("accepted")
            except OSError as error:
                self.assertEqual(error.errno, errno.ECONNREFUSED)
                self.assertFalse(getattr(error, "permanent", False))
                self.assertEqual(net.control.closed, 1)

    def test_impossible_ports_are_refused(self):
        texts = "229 none|229 (|||0|)|229 (|||65536|)|229 (||||)|229 ()|229 (|||-1|)|229 (|||999999999999|)"
        for text in ["229 (|||1x|)", "229 (!!!"] + texts.replace("|229", "\n229").split("\n"):
            self.assertIn("no proper FTP (port)", self.refused(EPSV=text, permanent=False))
        texts = "? (1,2,3,4,5) (1,2,3,4,256,1) (1,2,3,4,0,0) (1,2,3,4,1,) (1,2,3,4,,1) 1,2,3,4,-1,5 1,2,3,4,1,x"
        for text in texts.split():
            self.assertIn("no proper FTP (port)", self.refused(EPSV="500 no", PASV="227 " + text, permanent=False))


class ResumeTest(Case):
    def resumed(self, offset=100, validator=VALIDATOR, expected_length=TOTAL, rest=True, **changes):
        net = Net(FILE[offset:] if rest else FILE, **changes)
        source = net.open(offset=offset, validator=validator, expected_length=expected_length)
        self.assertEqual(source.offset, offset if rest else 0)
        self.assertEqual(read(source), FILE[offset:] if rest else FILE)
        self.assertEqual(net.logged, [] if rest else ["The server cannot resume here: starting over"])
        return net.commands()[6:-1]

    def test_the_rest_is_asked_for_last(self):
        self.assertEqual(self.resumed(), ["REST 100"])
        self.assertEqual(self.resumed(validator=None), ["REST 100"])
        self.assertEqual(self.resumed(expected_length=None), ["REST 100"])

    def test_another_file_starts_over(self):
        self.assertEqual(self.resumed(validator="20260821120001 1024", rest=False), [])
        self.assertEqual(self.resumed(expected_length=TOTAL + 1, validator=None, rest=False), [])
        self.assertEqual(self.resumed(validator='"etag"', rest=False), [])

    def test_nothing_is_left_to_ask_for_beyond_the_end(self):
        self.assertEqual(self.resumed(offset=TOTAL, rest=False), [])
        self.assertEqual(self.resumed(offset=TOTAL + 1, rest=False), [])

    def test_a_server_without_dates_or_sizes_starts_over(self):
        self.assertEqual(self.resumed(MDTM="500 unknown", rest=False), [])
        self.assertEqual(self.resumed(SIZE="500 unknown", rest=False), [])

    def test_a_server_without_rest_starts_over(self):
        self.assertEqual(self.resumed(REST="502 no", rest=False), ["REST 100"])

    def test_only_a_file_with_date_and_size_has_a_validator(self):
        for changes in (
            {"SIZE": "550 not in this mode"},
            {"SIZE": "213 12345678901"},
            {"SIZE": "213 -1"},
            {"MDTM": "500 unknown"},
            {"MDTM": "213 2026"},
            {"MDTM": "213 2026082112000x"},
            {"MDTM": "213 20260821120000.1234567890123"},
        ):
            self.assertIsNone(Net(**changes).open().validator)
        self.assertEqual(Net(MDTM="213 20260821120000.123").open().validator, "20260821120000.123 1024")


class EndTest(Case):
    def test_a_data_connection_that_closes_early_is_no_end_of_the_file(self):
        for end in ("226 done", "426 aborted", "451 disk", ""):
            for count in (0, 1, TOTAL - 1):
                net = Net(FILE[:count])
                net.control.answers["end"] = end
                self.assertIn("before the end", self.broken(net))

    def test_without_a_size_the_end_is_believed_when_the_server_says_so(self):
        for end in ("226 done", "250 done", "226-\r\n226 done"):
            net = Net(SIZE="502 no")
            net.control.answers["end"] = end
            source = net.open()
            self.assertIsNone(source.length)
            self.assertEqual(read(source), FILE)

    def test_without_a_size_any_other_end_is_an_interruption(self):
        for end in ("426 aborted", "451 disk", "200 ok", "500", b""):
            net = Net(SIZE="502 no")
            net.control.answers["end"] = end
            self.assertIn("before the end", self.broken(net))

    def test_more_than_the_size_is_not_read(self):
        self.assertEqual(read(Net(FILE + b"more").open()), FILE)

    def test_an_empty_file_ends_at_once(self):
        self.assertEqual(read(Net(b"", SIZE="213 0").open()), b"")

    def test_a_broken_data_connection_is_an_error(self):
        net = Net(FILE[:10], body_end=OSError(errno.ECONNRESET, "host:6446: connection lost"))
        source = net.open()
        try:
            read(source)
            self.fail("taken as complete")
        except OSError as error:
            self.assertEqual(error.errno, errno.ECONNRESET)


class RefusalTest(Case):
    def test_each_refusal_says_what_to_do(self):
        for changes, words, permanent in (
            ({"PASS": "530 no"}, "FTP 530, correct user and password", True),
            ({"USER": "530 no"}, "FTP 530, correct user and password", True),
            ({"PASS": "332 account?"}, "FTP 332, check location and server", True),
            ({"RETR": "550 no"}, "FTP 550, no such file", True),
            ({"RETR": "450 busy"}, "FTP 450, the server has a problem: try again", False),
            ({"RETR": "425 no data connection"}, "try again", False),
            ({"RETR": "226 done"}, "FTP 226", True),
            ({"greeting": "421 too many"}, "FTP 421, the server has a problem: try again", False),
            ({"greeting": "554 go away"}, "FTP 554, check location and server", True),
            ({"TYPE": "504 no"}, "FTP 504", True),
            ({"EPSV": "421 idle"}, "FTP 421", False),
            ({"EPSV": "500 no", "PASV": "425 no"}, "FTP 425", False),
        ):
            text = self.refused(permanent=permanent, **changes)
            self.assertIn(words, text)
            self.assertEqual(text.split(": ")[0], "ftp://host:21/dir/fw.bin")

    def test_no_refusal_shows_the_password(self):
        for changes in ({"PASS": "530 secret"}, {"RETR": "550 secret"}, {"PASS": b"secret\r\n"}):
            text = self.refused("ftp://me:secret@host/a", **changes)
            self.assertFalse("secret" in text, text)
            self.assertIn("ftp://***@host:21/a: ", text)


class HostileTest(Case):
    def test_what_is_no_reply_is_refused(self):
        for junk in (b"\n", b"\r\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 400 Bad\r\n", b"22\r\n", b"22x ok\r\n"):
            self.assertIn("no proper FTP (reply)", self.refused(greeting=junk, permanent=False))
        for junk in (b"0123456\r\n", b"020 x\r\n", b"600 x\r\n", b"2200\r\n", b"\xff\xfe\x00\r\n", b"\xb2\xb2\xb2 \n"):
            self.assertIn("no proper FTP (reply)", self.refused(USER=junk, permanent=False))

    def test_an_endless_line_ends(self):
        self.assertIn("too long", self.refused(greeting=b"220 ", again=b"x" * 100, permanent=False))

    def test_an_endless_reply_ends(self):
        self.assertIn("too long", self.refused(greeting=b"220-x\r\n", again=b"220-x\r\n", permanent=False))

    def test_endless_preliminary_replies_end(self):
        self.assertIn("too long", self.refused(greeting=b"120 wait\r\n", again=b"120 wait\r\n", permanent=False))

    def test_many_small_replies_are_bounded_together(self):
        changes = {"greeting": 220, "PASS": 230, "TYPE": 200}
        for command in changes:
            changes[command] = b"%d-%s\r\n%d \r\n" % (changes[command], b"x" * 3500, changes[command])
        Net(**changes).open()
        self.assertIn("too long", self.refused(SIZE=b"213-", again=b"x" * 100, **changes))

    def test_a_server_that_hangs_up_in_any_reply_is_tried_again(self):
        for command in ("", "USER", "PASS", "TYPE", "SIZE", "MDTM", "EPSV", "RETR"):
            for answer in (b"", b"2", b"220-\r\n"):
                changes = {command or "greeting": answer}
                self.assertIn("before the end", self.refused(permanent=False, **changes))

    def test_replies_may_be_cut_off_at_every_byte(self):
        told = ["", "USER", "PASS", "TYPE", "SIZE", "MDTM", "EPSV", "RETR"]
        length = sum([len(ANSWERS[command]) + 2 for command in told])
        for cut in range(length):
            self.assertIn("before the end", self.refused(cut=cut, permanent=False))
        self.assertEqual(read(Net(cut=length).open()), FILE)

    def test_silence_times_out(self):
        late = OSError(errno.ETIMEDOUT, "host:21: timed out")
        for command in ("greeting", "PASS", "SIZE", "RETR"):
            net = Net(**{command: b""})
            net.control.end = late
            try:
                net.open()
                self.fail("accepted")
            except OSError as error:
                self.assertEqual(error.errno, errno.ETIMEDOUT)
                self.assertEqual(net.open_connections(), [])

    def test_an_endless_reply_at_the_end_of_a_file_ends(self):
        net = Net(SIZE="502 no", again=b"2" * 100)
        net.control.answers["end"] = b""
        self.assertIn("too long", self.broken(net))

    def test_a_cancelled_opening_closes_everything(self):
        net = Net(RETR=b"")
        waiting = asyncio.Event()

        async def silent(view):
            if net.control.incoming:
                return await Wire.readinto(net.control, view)
            waiting.set()
            await asyncio.Event().wait()

        async def cancel():
            task = asyncio.create_task(ftp.open(parse_url(URL), net.dial))
            net.control.readinto = silent
            await waiting.wait()
            task.cancel()
            try:
                await task
                self.fail("not cancelled")
            except asyncio.CancelledError:
                pass

        asyncio.run(cancel())
        self.assertEqual(net.open_connections(), [])


class RealConnectionTest(unittest.TestCase):
    """hw/connection.py, and a server that falls silent, drips or has no data connection."""

    def error(self, replies, drip=b""):
        """What opening ends in when the server has only these replies."""

        async def serve(listener):
            peer = await listener.accept()
            try:
                for reply in replies:
                    await peer.say(reply)
                    await peer.readline()
                while drip:
                    await peer.say(drip)
                    await asyncio.sleep_ms(10)
                await peer.end()
            except OSError:
                peer.close()

        async def test():
            listener = Listener()
            server = asyncio.create_task(serve(listener))
            address = parse_url("ftp://%s:%d/fw.bin" % (LOCAL, listener.port))
            error = await failure(ftp.open(address, Dialer().dial, timeout=100))
            await server
            listener.close()
            self.assertFalse(getattr(error, "permanent", False))
            return error.errno

        return run(test())

    def test_silence_ends_with_a_timeout_wherever_it_begins(self):
        replies = [b"220 \r\n", b"331 \r\n", b"230 \r\n", b"200 \r\n", b"213 9\r\n", b"213 20260821120000\r\n"]
        for count in range(len(replies) + 1):
            self.assertEqual(self.error(replies[:count]), errno.ETIMEDOUT)

    def test_a_reply_that_drips_for_ever_ends_with_a_timeout(self):
        self.assertEqual(self.error([], b"220-\r\n"), errno.ETIMEDOUT)
        self.assertEqual(self.error([b"220 \r\n"], b"1"), errno.ETIMEDOUT)

    def test_a_data_connection_that_nobody_takes_is_refused(self):
        port = unused_port()
        replies = [b"220 \r\n", b"331 \r\n", b"230 \r\n", b"200 \r\n", b"500 \r\n", b"500 \r\n"]
        replies += [b"229 (|||%d|)\r\n" % port, b"227 (127,0,0,1,%d,%d)\r\n" % (port >> 8, port & 255)]
        self.assertEqual(self.error(replies), errno.ECONNREFUSED)


class StoreTest(Case):
    def failed(self, net, permanent, **options):
        try:
            net.store(b"some", **options)
            self.fail("stored")
        except SourceError as error:
            self.assertEqual(error.permanent, permanent)
            self.assertEqual(net.open_connections(), [])
            return error.args[1]

    def test_a_stream_is_stored(self):
        net = Net(b"")
        net.store(FILE * 3)
        self.assertEqual(len(net.data.sent), 3072)
        self.assertTrue(net.data.sent == FILE * 3)
        self.assertEqual(net.commands(), ["USER me", "PASS word", "TYPE I", "EPSV", "STOR in/log.txt"])
        self.assertEqual(net.logged, ["3072 bytes are stored as ftp://***@host:21/in/log.txt"])
        self.assertEqual(net.open_connections(), [])

    def test_nothing_can_be_stored_too(self):
        net = Net(b"")
        net.store(b"")
        self.assertEqual(net.data.sent, b"")

    def test_the_folder_may_be_any(self):
        for url, path in (
            ("ftp://host", "log.txt"),
            ("ftp://host/", "log.txt"),
            ("ftp://host/a/b", "a/b/log.txt"),
            ("ftp://host/%2F", "/log.txt"),
            ("ftp://host/%2Fvar/a%20b/", "/var/a b/log.txt"),
        ):
            net = Net(b"")
            net.store(b"x", url=url)
            self.assertEqual(net.commands()[-1], "STOR " + path)

    def test_the_name_is_no_escape_and_no_command(self):
        net = Net(b"")
        net.store(b"x", name="50%41.txt")
        self.assertEqual(net.commands()[-1], "STOR in/50%41.txt")
        net = Net(b"")
        self.failed(net, False, name="a\r\nDELE b")
        self.assertFalse(b"DELE" in net.control.sent)

    def test_only_the_server_s_word_ends_it(self):
        for end, permanent, words in (
            ("426 aborted", False, "FTP 426"),
            ("451 disk", False, "FTP 451"),
            ("452 full", False, "no space left"),
            ("552 full", True, "no space left"),
            (b"", False, "before the end"),
            (b"oops\r\n", False, "no proper FTP"),
        ):
            net = Net(b"")
            net.control.answers["end"] = end
            self.assertIn(words, self.failed(net, permanent))

    def test_a_refusal_says_what_to_do(self):
        self.assertIn("folder, or no permission", self.failed(Net(b"", STOR="550 no"), True))
        self.assertIn("folder, or no permission", self.failed(Net(b"", STOR="553 no"), True))
        self.assertIn("correct user and password", self.failed(Net(b"", PASS="530 no"), True))

    def test_a_server_that_breaks_off_says_why(self):
        net = Net(b"")
        net.control.answers["end"] = "552 full"

        async def write(data):
            raise OSError(errno.ECONNRESET, "host:6446: connection lost")

        net.data.write = write
        self.assertIn("no space left", self.failed(net, True))
        net = Net(b"")
        net.data.write = write
        try:
            net.store(b"x")
            self.fail("stored")
        except OSError as error:
            self.assertEqual(error.errno, errno.ECONNRESET)


if __name__ == "__main__":
    unittest.main()
