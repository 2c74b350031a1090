#!/usr/bin/env python3
"""A web server for update files, with range requests, and for what chargers upload; tests and scenarios give it faults.

On its own it serves a folder to chargers, for SteVe and the like host no files, and takes their uploads into another:

    python3 tools/webserver.py FOLDER [--port PORT] [--uploads FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote

PIECE = 4096  # bytes sent at a time; the size of a chunk
LARGEST_UPLOAD = 1 << 20


@dataclass
class Fault:
    """What is wrong with the answers for one path; several things may be."""

    path: str  # "*": all
    times: int | None = None  # so many answers, then the path's next fault has its turn; None: all
    method: str = ""  # only requests with this method
    # While it is uploaded
    take: int | None = None  # bytes that are read, then the connection is closed
    # Instead of the file
    status: int = 0
    location: str = ""  # redirects there, with 302 if no status is given
    # In the head
    chunked: bool = False
    no_length: bool = False  # the body ends with the connection
    ignore_range: bool = False  # 200 instead of 206
    ignore_if_range: bool = False  # 206 though the file is another one
    headers: dict[str, str] = field(default_factory=dict)  # instead of the right ones, or more; "" takes one away
    endless_headers: bool = False
    # In the body
    cut_after: int | None = None  # bytes sent, then the connection is closed
    down: float = 0  # seconds that nobody listens after the cut
    stall_after: int | None = None  # bytes sent, then silence
    drip: float = 0  # seconds between pieces of the body
    piece: int = PIECE
    corrupt_at: int | None = None  # position in the file of a byte that arrives inverted
    chunk_size: str | None = None  # what stands before every chunk instead of its size
    endless_body: bool = False


@dataclass
class Request:
    """One request and what came of it; the names of headers are in lower case."""

    method: str
    path: str  # with the query
    headers: dict[str, str]
    status: int = 0
    sent: int = 0  # bytes of the body, or of an upload's body received


class WebServer:
    """Listens from `start()` to `stop()`, on the same port when started again; or use it with `async with`.

    To be changed at any time:
    `files`     name → content (a dict takes uploads, too), or a folder
    `uploads`   the folder for uploads if `files` is one; None: they are refused
    `faults`    what goes wrong; of several for a path the first that is not used up
    `log`       is given each request when its answer has ended, however it did
    To be read: `requests`, all so far.
    """

    def __init__(
        self,
        files: Mapping[str, bytes] | Path,
        faults: Iterable[Fault] = (),
        *,
        uploads: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        log: Callable[[Request], None] = lambda _: None,
    ) -> None:
        self.files = files
        self.uploads = uploads
        self.faults = list(faults)
        self.requests: list[Request] = []
        self.host = host
        self.port = port
        self._tls = tls
        self.log = log
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str, host: str | None = None) -> str:
        """The URL of a file, by another name of this host if given."""
        return f"{'https' if self._tls else 'http'}://{host or self.host}:{self.port}/{path.lstrip('/')}"

    async def start(self) -> None:
        """Listens; a port of 0 becomes the one that the system chose."""
        # As usual, TCP is closed soon after TLS. Else asyncio waits for the client's part of that, for 30 s.
        patience = 0.01 if self._tls else None
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, ssl=self._tls, ssl_shutdown_timeout=patience
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops listening and cuts all connections."""
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._exchange(reader, writer)
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            self._tasks.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and answer it; every connection carries one."""
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, _, target = line.rpartition(" HTTP/1.")[0].partition(" ")
        fields = [line.partition(":") for line in lines if line]
        request = Request(method, target, {name.lower(): value.strip() for name, _, value in fields})
        self.requests.append(request)
        path = unquote(target.partition("?")[0]).lstrip("/")
        fault = self._fault(path, method)
        try:
            upload = method in ("PUT", "POST")
            content = await self._receive(request, reader, fault) if upload else b""
            if content is None:
                return
            headers, body = (self._take if upload else self._answer)(request, path, fault, content)
            writer.write(_head(request.status, headers))
            while fault.endless_headers:
                writer.write(b"X-More: and more\r\n")
                await writer.drain()
            writer.write(b"\r\n")
            if request.method != "HEAD":
                await self._send(request, writer, body, fault)
        finally:
            self.log(request)
        if fault.down and self._server:
            writer.close()
            self._server.close()
            await asyncio.sleep(fault.down)
            await self.start()

    async def _receive(self, request: Request, reader: asyncio.StreamReader, fault: Fault) -> bytes | None:
        """Return the body of an upload, as much of it as is taken; None when the connection is to be closed."""
        length = request.headers.get("content-length", "")
        chunked = request.headers.get("transfer-encoding", "").lower() == "chunked"
        content = b""
        while chunked or len(content) < int(length or 0):
            if fault.take is not None and len(content) >= fault.take:
                return None
            if len(content) > LARGEST_UPLOAD:
                request.status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                break
            if chunked:
                size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
                content += (await reader.readexactly(size + 2))[:-2]
                if not size:
                    break
            else:
                most = int(length) if fault.take is None else min(int(length), fault.take)
                piece = await reader.read(min(fault.piece, most - len(content)))
                if not piece:
                    return None
                content += piece
            request.sent = len(content)
        if not chunked and not length:
            request.status = HTTPStatus.LENGTH_REQUIRED
        return content

    def _take(self, request: Request, path: str, fault: Fault, content: bytes) -> tuple[dict[str, str], bytes]:
        """Store an upload, or decide on another status; return the headers and the body of the answer."""
        request.status = fault.status or request.status or (HTTPStatus.FOUND if fault.location else 0)
        if not request.status and isinstance(self.files, Path):
            folder = self.uploads and self.uploads.resolve()
            file = folder and (folder / path).resolve()
            if not folder or not file:
                request.status = HTTPStatus.METHOD_NOT_ALLOWED
            elif not file.is_relative_to(folder) or not file.parent.is_dir() or file.is_dir():
                request.status = HTTPStatus.NOT_FOUND
            else:
                request.status = HTTPStatus.NO_CONTENT if file.exists() else HTTPStatus.CREATED
                file.write_bytes(content)
        elif not request.status and isinstance(self.files, dict):
            request.status = HTTPStatus.NO_CONTENT if path in self.files else HTTPStatus.CREATED
            self.files[path] = content
        return self._page(request, fault)

    def _page(self, request: Request, fault: Fault) -> tuple[dict[str, str], bytes]:
        """Return an answer that is no file."""
        page = f"<!DOCTYPE html><title>{request.status}</title><h1>{request.status}</h1>\n".encode()
        if request.status == HTTPStatus.NO_CONTENT:
            return fault.headers, b""
        headers = {"Location": fault.location, "Content-Type": "text/html", "Content-Length": str(len(page))}
        return headers | fault.headers, page

    def _answer(self, request: Request, path: str, fault: Fault, _: bytes) -> tuple[dict[str, str], bytes]:
        """Decide on the status; return the headers and the body."""
        file = self._file(path)
        if fault.location or fault.status or not file:
            request.status = fault.status or (HTTPStatus.FOUND if fault.location else HTTPStatus.NOT_FOUND)
            return self._page(request, fault)
        content, modified = file
        tag = hashlib.sha256(content).hexdigest()[:16]
        headers = {"ETag": f'"{tag}"', "Last-Modified": formatdate(modified, usegmt=True), "Accept-Ranges": "bytes"}
        headers |= fault.headers
        start, stop, size = 0, len(content), len(content)
        request.status = HTTPStatus.OK
        asked = None if fault.ignore_range else re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        condition = request.headers.get("if-range")
        same_file = condition in (None, headers["ETag"], headers["Last-Modified"])
        if asked and (same_file or fault.ignore_if_range):
            start, stop = int(asked[1]), min(size, int(asked[2] or size) + 1)
            request.status = HTTPStatus.PARTIAL_CONTENT
            headers = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"} | headers
            if start >= stop:
                request.status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                headers["Content-Range"] = f"bytes */{size}"
                start = stop
        if fault.chunked:
            headers = {"Transfer-Encoding": "chunked"} | headers
        elif not (fault.no_length or fault.endless_body):
            headers = {"Content-Length": str(stop - start)} | headers
        if fault.corrupt_at is not None:
            changed = bytearray(content)
            changed[fault.corrupt_at] ^= 0xFF
            content = bytes(changed)
        return headers, content[start:stop]

    async def _send(self, request: Request, writer: asyncio.StreamWriter, body: bytes, fault: Fault) -> None:
        """Send the body, or as much of it as the fault lets through."""
        ends = [end for end in (fault.cut_after, fault.stall_after) if end is not None]
        if ends:
            body = body[: min(ends)]
        while True:
            for at in range(0, len(body), fault.piece):
                piece = body[at : at + fault.piece]
                if fault.chunked:
                    size = f"{len(piece):x}" if fault.chunk_size is None else fault.chunk_size
                    writer.write(f"{size}\r\n".encode() + piece + b"\r\n")
                else:
                    writer.write(piece)
                await writer.drain()
                request.sent += len(piece)
                await asyncio.sleep(fault.drip)
            if not fault.endless_body:
                break
        if fault.stall_after is not None:
            await asyncio.Event().wait()
        if fault.chunked and fault.cut_after is None:
            writer.write(b"0\r\n\r\n")

    def _fault(self, path: str, method: str) -> Fault:
        for fault in self.faults:
            if fault.path.lstrip("/") in (path, "*") and fault.times != 0 and fault.method in ("", method):
                if fault.times:
                    fault.times -= 1
                return fault
        return Fault(path)

    def _file(self, path: str) -> tuple[bytes, float] | None:
        """The content of a file and when it was changed."""
        if not isinstance(self.files, Path):
            return (self.files[path], 0) if path in self.files else None
        folder = self.files.resolve()
        file = (folder / path).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            return None
        return file.read_bytes(), file.stat().st_mtime


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {responses.get(status, '')}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


async def serve(folder: Path, names: list[str], port: int, uploads: Path | None) -> None:
    """Serve files of a folder to the network, and take uploads into another; show their URLs, and each request."""

    def log(request: Request) -> None:
        asked = request.headers.get("range", "")
        print(f"{request.method} {request.path} {asked} → {request.status}, {request.sent} bytes")

    # No packet is sent: the system only says which of its addresses one would come from.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        with suppress(OSError):
            probe.connect(("192.0.2.1", 9))
        address = probe.getsockname()[0]
    async with WebServer(folder, host="", port=port, uploads=uploads, log=log) as server:
        for name in names:
            print(server.url(quote(name), host=address))
        if uploads:
            print(f"{server.url('', host=address)} takes uploads into {uploads}, from anybody who can reach it")
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve update files to chargers, with range requests, until Ctrl-C.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--uploads", type=Path, metavar="FOLDER", help="take uploads (GetDiagnostics) into this folder")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    if not folder.is_dir():
        parser.error(f"{folder} is not a folder")
    if arguments.uploads and not arguments.uploads.is_dir():
        parser.error(f"{arguments.uploads} is not a folder")
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(folder, names, arguments.port, arguments.uploads))


if __name__ == "__main__":
    main()
