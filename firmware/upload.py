"""The upload of a file from the charger: its course from the first attempt to the last, and how HTTP takes it.

What is uploaded is small, so that a broken attempt is followed by one from the start.
"""

import asyncio
import gc
from binascii import b2a_base64
from errno import ENOMEM

from micropython import const

from . import lines
from .source import Source, SourceError
from .urls import authority, name_of

_ATTEMPTS = const(3)  # when the request does not say
_RETRY_INTERVAL = const(60)  # seconds, likewise
_PIECE = const(512)
_BESIDE = const(24576)  # bytes of heap: what an upload and another attempt of an update may take together
_MAX_HEAD = const(16384)
_NO_PUT = (405, 501)  # such a server may take POST


async def run(
    location, name, retries, interval, report, open_file, dial, busy, forget, *, timeout, log, sleep=asyncio.sleep
):  # fmt: skip
    """Upload a file, in as many attempts as asked for; report("Uploading"), then ("Uploaded") or ("UploadFailed").

    location: the URL of the folder that the file `name` goes to. open_file() gives (length in bytes, read); read(view)
    fills a memoryview and returns the number of bytes, 0 at the end. retries: attempts in all, or None; interval:
    seconds between them, or None. dial, timeout: as in http.open. busy(): whether an update runs, whose memory an
    upload must not take. forget(module name) drops a module. Whatever happens is reported, except a cancellation.
    """
    attempts = _ATTEMPTS if retries is None else max(1, retries)
    attempt = 0
    report("Uploading")
    while True:
        attempt += 1
        try:
            gc.collect()
            if busy() and gc.mem_free() < _BESIDE:
                raise OSError(ENOMEM, "no memory for it while an update runs: try again afterwards")
            from . import sources

            address = sources.parse_url(location)
            del sources
            forget("firmware.sources")
            log("Uploading %s to: %s" % (name, name_of(address)))
            if address[0] == "ftp":
                from . import ftp  # its memory may be needed

                forget("firmware.ftp")
                _, read = open_file()
                await ftp.store(address, name, dial, read, timeout=timeout, log=log)
            else:
                await store(address, name, dial, open_file, timeout=timeout, log=log)
            log("Uploaded")
            report("Uploaded")
            return
        except Exception as error:  # whatever it is, it must end this attempt and not the charger
            text = error.args[-1] if isinstance(error, OSError) and error.args else repr(error)
            if attempt >= attempts or (retries is None and getattr(error, "permanent", False)):
                log("UploadFailed: %s" % text)
                report("UploadFailed")
                return
            log("Attempt %d of %d failed: %s" % (attempt, attempts, text))
        finally:
            # What was imported on the way has imported these again.
            for module in ("sources", "source", "ftp", "lines", "urls"):
                forget("firmware." + module)
        await sleep(_RETRY_INTERVAL if interval is None else interval)


async def store(address, name, dial, open_file, *, timeout=60_000, log=print):
    """Upload a file over HTTP or HTTPS as a new file `name` (text) into the folder `address` (of sources.parse_url).

    Redirects are not followed: the file and the password are for the server that was named. All of it may take twice
    `timeout`. Returns when the server has confirmed the file. Raises SourceError, or OSError when the network fails.
    """
    path, mark, query = address[5].partition("?")
    path += name if path[-1] == "/" else "/" + name
    address = address[:5] + (path + mark + query,)
    status = await _exchange("PUT", address, dial, open_file, timeout)
    if status in _NO_PUT:
        log("The server takes no PUT, only POST perhaps")
        status = await _exchange("POST", address, dial, open_file, timeout)
    if not 200 <= status < 300:
        raise _refusal(name_of(address), status)


async def _exchange(method, address, dial, open_file, timeout):
    """Send a request with the file and return the status of the answer."""
    scheme, user, password, host, port, path = address
    length, read = open_file()
    source = Source(name_of(address), await dial(host, port, scheme == "https", timeout=timeout), timeout)
    try:
        head = [
            "%s %s HTTP/1.1" % (method, path),
            "Host: " + authority(address),
            "User-Agent: Arus",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Length: %d" % length,
            "Connection: close",
        ]
        if user is not None:
            head.append("Authorization: Basic " + b2a_base64(user + b":" + password).decode().strip())
        await source.connection.write("\r\n".join(head + ["\r\n"]).encode())
        piece = memoryview(bytearray(_PIECE))
        while True:
            count = read(piece)
            if not count:
                return await _status(source)
            await source.connection.write(piece[:count])
    finally:
        source.close()


async def _status(source):
    """Read the head of the answer as far as its status. Informational answers are passed over."""
    source.budget = _MAX_HEAD
    while True:
        line = await lines.read(source)
        digits = line[9:12]
        if line[:7] != b"HTTP/1." or not digits.isdigit() or line[12:13].strip():
            raise source.malformed("head")
        if int(digits) >= 200:
            return int(digits)
        while line.strip():
            line = await lines.read(source)


def _refusal(name, status):
    later = status >= 500 or status in (408, 429)
    if status == 401:
        text = "correct user and password in the location"
    elif status == 403:
        text = "no permission to write there, or a signed location has expired"
    elif status == 404 or status == 409 or status == 410:
        text = "no such folder: check the location"
    elif status in _NO_PUT:
        text = "the server takes neither PUT nor POST there: check the location"
    elif status < 400:
        text = "the server is elsewhere: give that location"
    elif later:
        text = "the server has a problem: try again later"
    else:
        text = "check location and server"
    return SourceError(name, "HTTP %d, %s" % (status, text), not later or status == 501)
