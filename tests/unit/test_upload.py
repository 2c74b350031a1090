import asyncio
import errno
import sys
import unittest

from firmware import upload
from scripted import ended, run
from test_http import Wire, answer

LOG = bytes(range(33, 120)) * 10
URL = "http://host/logs"
TAKEN = answer("201 Created")


class Net:
    """What is dialled, in order; each script is the answer to one request, an OSError to the dialling of it."""

    def __init__(self, *scripts, **options):
        self.scripts = list(scripts)
        self.options = options
        self.wires = []
        self.dialled = []
        self.logged = []
        self.statuses = []
        self.slept = []
        self.forgotten = []
        self.busy = False

    async def dial(self, host, port, secure=False, *, timeout=None):
        self.dialled.append((host, port, secure, timeout))
        script = self.scripts.pop(0)
        if isinstance(script, Exception):
            raise script
        self.wires.append(Wire(script, **self.options))
        return self.wires[-1]

    def open_file(self):
        left = memoryview(LOG)

        def read(view):
            nonlocal left
            count = min(len(view), len(left))
            view[:count] = left[:count]
            left = left[count:]
            return count

        return len(LOG), read

    async def sleep(self, seconds):
        self.slept.append(seconds)

    def start(self, url=URL, retries=None, interval=None):
        return upload.run(
            url, "CP1.log", retries, interval, self.statuses.append, self.open_file, self.dial, lambda: self.busy,
            self.forgotten.append, timeout=7, log=self.logged.append, sleep=self.sleep,
        )  # fmt: skip

    def run(self, *arguments, **keywords):
        run(self.start(*arguments, **keywords))
        assert all(wire.closed for wire in self.wires), "a connection was left open"
        return self

    def requests(self):
        return [wire.sent.partition(b"\r\n\r\n")[0].decode().split("\r\n") for wire in self.wires]


class Upload(unittest.TestCase):
    def test_file_is_put_into_the_folder(self):
        net = Net(TAKEN).run()
        self.assertEqual(
            net.requests(),
            [
                [
                    "PUT /logs/CP1.log HTTP/1.1",
                    "Host: host",
                    "User-Agent: Arus",
                    "Content-Type: text/plain; charset=utf-8",
                    "Content-Length: %d" % len(LOG),
                    "Connection: close",
                ]
            ],
        )
        self.assertEqual(net.wires[0].sent.partition(b"\r\n\r\n")[2], LOG)
        self.assertEqual(net.statuses, ["Uploading", "Uploaded"])
        self.assertEqual(net.dialled, [("host", 80, False, 7)])

    def test_where_the_file_goes(self):
        for url, target in (
            ("https://h", "/CP1.log"),
            ("https://h/", "/CP1.log"),
            ("https://h/a/b/", "/a/b/CP1.log"),
            ("https://h/a?sig=1/2&x=y#part", "/a/CP1.log?sig=1/2&x=y"),
            ("https://h?x", "/CP1.log?x"),
        ):
            net = Net(TAKEN).run(url)
            self.assertEqual(net.requests()[0][0], "PUT %s HTTP/1.1" % target)
            self.assertEqual(net.dialled, [("h", 443, True, 7)])

    def test_credentials_are_sent_and_not_logged(self):
        net = Net(answer("401 Unauthorized"), answer("401 Unauthorized")).run("http://us%20er:se%63ret@h/a?token=1", 1)
        self.assertEqual(net.requests()[0][-1], "Authorization: Basic dXMgZXI6c2VjcmV0")
        text = "\n".join(net.logged)
        self.assertTrue("http://***@h/a" in text)
        for secret in ("us", "secret", "se%63ret", "token"):
            self.assertFalse(secret in text.replace("user and password", "").replace("Uploading", ""), text)

    def test_every_success_counts(self):
        for status in ("200 OK", "201 Created", "202 Accepted", "204 No Content"):
            self.assertEqual(Net(answer(status)).run().statuses, ["Uploading", "Uploaded"])

    def test_informational_answers_are_passed_over(self):
        early = answer("100 Continue") + answer("103 Early Hints", "Link: x")
        for step in (1, 7, 1000):
            self.assertEqual(Net(early + TAKEN, step=step).run().statuses[-1], "Uploaded")
            self.assertEqual(Net(early + answer("404 Not Found"), step=step).run().statuses[-1], "UploadFailed")

    def test_post_where_put_is_not_taken(self):
        for status in ("405 Method Not Allowed", "501 Not Implemented"):
            net = Net(answer(status), TAKEN).run()
            self.assertEqual([request[0][:5] for request in net.requests()], ["PUT /", "POST "])
            self.assertEqual([wire.sent.partition(b"\r\n\r\n")[2] for wire in net.wires], [LOG, LOG])
            self.assertEqual(net.statuses, ["Uploading", "Uploaded"])

    def test_neither_put_nor_post(self):
        for status in ("405 Method Not Allowed", "501 Not Implemented"):
            net = Net(answer(status), answer(status)).run()
            self.assertTrue("neither PUT nor POST" in net.logged[-1])
            self.assertEqual(net.statuses, ["Uploading", "UploadFailed"])

    def test_refusals_say_what_to_do(self):
        for status, words in (
            ("401 Unauthorized", "correct user and password"),
            ("403 Forbidden", "no permission"),
            ("404 Not Found", "no such folder"),
            ("409 Conflict", "no such folder"),
            ("413 Content Too Large", "check location and server"),
            ("503 Service Unavailable", "try again later"),
            ("307 Temporary Redirect", "give that location"),
            ("308 Permanent Redirect", "give that location"),
        ):
            net = Net(answer(status, "Location: http://other/")).run(retries=1)
            self.assertTrue("HTTP " + status[:3] in net.logged[-1])
            self.assertTrue(words in net.logged[-1])
            self.assertEqual(net.statuses, ["Uploading", "UploadFailed"])

    def test_attempts_are_as_many_as_asked_for(self):
        broken = OSError(errno.ECONNRESET, "host: connection lost")
        for retries, attempts in ((None, 3), (0, 1), (1, 1), (4, 4)):
            net = Net(*[broken] * attempts).run(retries=retries, interval=5)
            self.assertEqual((len(net.dialled), net.slept), (attempts, [5] * (attempts - 1)))
            self.assertEqual(net.statuses, ["Uploading", "UploadFailed"])
            self.assertEqual(net.logged[-1], "UploadFailed: host: connection lost")

    def test_interval_is_a_minute_when_not_given(self):
        net = Net(OSError(5, "x"), TAKEN).run()
        self.assertEqual(net.slept, [60])
        self.assertEqual(net.statuses, ["Uploading", "Uploaded"])
        self.assertTrue("Attempt 1 of 3 failed: x" in net.logged)

    def test_what_cannot_get_better_is_tried_again_only_when_asked_for(self):
        self.assertEqual(len(Net(answer("401 Unauthorized")).run().dialled), 1)
        self.assertEqual(len(Net(*[answer("401 Unauthorized")] * 2).run(retries=2).dialled), 2)
        self.assertEqual(len(Net(*[answer("503 Busy")] * 3).run().dialled), 3)

    def test_locations_that_are_none_fail(self):
        for url in ("", "gopher://h/", "http://", "http://h:99999/", "http://h/a b"):
            net = Net().run(url)
            self.assertEqual((net.statuses, net.dialled), (["Uploading", "UploadFailed"], []))

    def test_answers_that_are_no_http_fail(self):
        for script in (
            b"",
            b"\r\n",
            b"SSH-2.0\r\n",
            b"HTTP/1.1 xyz\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"x" * 20000,
        ):
            net = Net(script).run(retries=1)
            self.assertEqual(net.statuses, ["Uploading", "UploadFailed"])

    def test_endless_answers_end(self):
        for head in (b"HTTP/1.1 100 Continue\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"):
            net = Net(head, again=b"HTTP/1.1 100 Continue\r\n\r\n").run(retries=1)
            self.assertEqual(net.statuses, ["Uploading", "UploadFailed"])
            self.assertTrue("too long" in net.logged[-1])

    def test_whatever_fails_ends_in_a_report(self):
        for error in (MemoryError("none left"), ValueError("a bug"), OSError(5)):
            net = Net(error).run(retries=1)
            self.assertEqual(net.statuses, ["Uploading", "UploadFailed"])

        def broken():
            raise OSError(errno.EIO, "file system")

        net = Net()
        net.open_file = broken
        self.assertEqual(net.run(retries=1).statuses, ["Uploading", "UploadFailed"])

    def test_an_update_keeps_its_memory(self):
        class Gc:
            free = 20_000

            def collect(self):
                pass

            def mem_free(self):
                return self.free

        before = upload.gc
        upload.gc = Gc()
        try:
            net = Net(TAKEN)
            net.busy = True
            self.assertEqual(net.run(retries=1).statuses[-1], "UploadFailed")
            self.assertTrue("while an update runs" in net.logged[0])
            upload.gc.free = 30_000
            self.assertEqual(net.run(retries=1).statuses[-1], "Uploaded")
        finally:
            upload.gc = before

    def test_cancelling_closes_the_connection(self):
        class Silent(Wire):
            async def readinto(self, view):
                await asyncio.Event().wait()

        async def test():
            net = Net()
            wire = Silent(b"")

            async def dial(*_, timeout):
                return wire

            net.dial = dial
            task = asyncio.create_task(net.start())
            await asyncio.sleep_ms(5)
            task.cancel()
            await ended(task)
            self.assertEqual((net.statuses, wire.closed), (["Uploading"], 1))

        run(test())

    def test_ftp_has_a_module_of_its_own(self):
        class Ftp:
            async def store(self, address, name, dial, read, *, timeout, log):
                view = memoryview(bytearray(10))
                self.stored = (address[:1] + address[3:], name, read(view), timeout)

        import firmware

        before = sys.modules.get("firmware.ftp")
        firmware.ftp = sys.modules["firmware.ftp"] = Ftp()
        try:
            net = Net().run("ftp://h/a")
        finally:
            fake = sys.modules.pop("firmware.ftp")
            if before:
                firmware.ftp = sys.modules["firmware.ftp"] = before
            else:
                del firmware.ftp
        self.assertEqual(fake.stored, (("ftp", "h", 21, "/a"), "CP1.log", 10, 7))
        self.assertEqual(net.statuses, ["Uploading", "Uploaded"])
        self.assertEqual(net.forgotten[:2], ["firmware.sources", "firmware.ftp"])  # before the file is sent
        for module in ("ftp", "lines", "source", "sources", "urls"):
            self.assertIn("firmware." + module, net.forgotten[2:])


if __name__ == "__main__":
    unittest.main()
