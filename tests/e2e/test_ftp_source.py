"""Downloads and uploads by FTP: firmware/ftp.py against pyftpdlib, and updates of a whole charger by FTP."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from desk import NEW, OLD, Desk, chapter
from scenarios import DOWNLOAD_FAILED, SUCCESS
from simulator.interpreter import Interpreter

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it uses asyncore, up to Python 3.11 from the standard library
    from pyftpdlib.authorizers import DummyAuthorizer  # type: ignore[import-untyped]
    from pyftpdlib.handlers import DTPHandler, FTPHandler  # type: ignore[import-untyped]
    from pyftpdlib.ioloop import IOLoop  # type: ignore[import-untyped]
    from pyftpdlib.servers import FTPServer  # type: ignore[import-untyped]

HEAP = 120 * 1024
FILE = random.Random(1).randbytes(300_000)  # more than the heap holds
USER, PASSWORD = "charger", "p@ss/word"
LOGIN = "charger:p%40ss%2Fword@"


@dataclass
class FtpServer:
    """An FTP server with a folder for `charger`, and for anonymous; it runs in a thread while it is entered.

    `cuts`: after so many bytes of the next transfers their connections, or the data connection alone, are closed.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    without: tuple[str, ...] = ()  # commands that it doesn't know
    wrong_address: bool = False  # PASV names another host
    cuts: list[int] = field(default_factory=list)
    only_data: bool = False
    stall: bool = False  # falls silent instead
    commands: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        owner = self

        class Transfer(DTPHandler):  # type: ignore[misc]
            sent = 0

            def use_sendfile(self) -> bool:
                return False

            def send(self, data: bytes) -> int:
                if not owner.cuts or self.receive:
                    return int(super().send(data))
                room = owner.cuts[0] - self.sent
                if room > 0:
                    count = int(super().send(data[:room]))
                    self.sent += count
                    return count
                if owner.stall:
                    self.del_channel()
                    self._idler.cancel()
                    return 0
                owner.cuts.pop(0)
                channel = self.cmd_channel
                if not owner.only_data:
                    self._resp = None
                self.close()
                if not owner.only_data:
                    channel.close()
                return 0

        class Handler(FTPHandler):  # type: ignore[misc]
            dtp_handler = Transfer
            masquerade_address = "192.0.2.1" if owner.wrong_address else None
            auth_failed_timeout = 0

            def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
                owner.commands.append(line)
                super().pre_process_command(line, cmd, arg)

        known = FTPHandler.proto_cmds.items()
        Handler.proto_cmds = {name: entry for name, entry in known if name not in self.without}
        self.folder.mkdir(exist_ok=True)
        authorizer = DummyAuthorizer()
        authorizer.add_user(USER, PASSWORD, str(self.folder), perm="elrw")
        authorizer.add_anonymous(str(self.folder))
        Handler.authorizer = authorizer
        self._loop = IOLoop()
        self._server = FTPServer((self.host, self.port), Handler, ioloop=self._loop)
        self.port = self._server.socket.getsockname()[1]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self._loop.loop(0.01, blocking=False)
        self._server.close_all()

    def url(self, path: str, login: str = LOGIN) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ftp://{login}{host}:{self.port}/{path}"

    def named(self, name: str) -> list[str]:
        """The commands of that name, as they came."""
        return [line for line in self.commands if line.split()[0] == name]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FtpServer]:
    with FtpServer(tmp_path / "served") as server:
        (server.folder / "fw.bin").write_bytes(FILE)
        yield server


# Downloads as an update does: what breaks off is resumed where it broke off.
DRIVER = """
import asyncio, json, os, sys
from firmware import ftp
from firmware.sources import parse_url
from hw.connection import Dialer

async def download(url, path, timeout, tries, between):
    opened, errors, log = [], [], []
    dial = Dialer().dial
    view = memoryview(bytearray(4096))
    complete = False
    done = 0
    length = validator = None
    with open(path, "wb") as file:
        while tries and not complete:
            tries -= 1
            source = None
            try:
                options = {"validator": validator, "expected_length": length, "timeout": timeout, "log": log.append}
                source = await ftp.open(parse_url(url), dial, offset=done if validator else 0, **options)
                done, length, validator = source.offset, source.length, source.validator
                opened.append((done, length, validator))
                file.seek(done)
                count = await source.readinto(view)
                while count:
                    file.write(view[:count])
                    done += count
                    count = await source.readinto(view)
                complete = True
            except OSError as error:
                errors.append((error.args[-1], getattr(error, "permanent", None)))
                print("broken")
                if between:
                    sys.stdin.readline()
                await asyncio.sleep_ms(20)
            finally:
                if source:
                    source.close()
    return {"opened": opened, "errors": errors, "log": log, "size": done, "complete": complete}

async def upload(url, name, path, timeout):
    log, errors = [], []
    with open(path, "rb") as file:
        try:
            await ftp.store(parse_url(url), name, Dialer().dial, file.readinto, timeout=timeout, log=log.append)
        except OSError as error:
            errors.append((error.args[-1], getattr(error, "permanent", None)))
    return {"errors": errors, "log": log}

before = len(os.listdir("/proc/self/fd"))
options = json.loads(sys.stdin.readline())
result = asyncio.run((upload if "name" in options else download)(**options))
result["leaked"] = len(os.listdir("/proc/self/fd")) - before
print(json.dumps(result))
"""


@dataclass
class Result:
    """What came of a download: how each of its connections began, what broke them, the bytes."""

    opened: list[tuple[int, int | None, str | None]]
    errors: list[tuple[str, bool | None]]
    log: list[str]
    complete: bool
    body: bytes


Run = Callable[..., Awaitable[dict[str, Any]]]
Download = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(interpreter: Interpreter, repository: Path) -> Run:
    """Run DRIVER; `meanwhile` is called whenever a connection broke."""

    async def run(meanwhile: Callable[[], None] | None = None, **options: Any) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *interpreter.command,
            *("-X", f"heapsize={HEAP}", "-c", DRIVER),
            env={**os.environ, "MICROPYPATH": f"{repository}:.frozen"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps(options).encode() + b"\n")
            line = b""
            async with asyncio.timeout(60):
                while piece := await process.stdout.readline():
                    line = piece
                    if line == b"broken\n" and meanwhile:
                        await asyncio.to_thread(meanwhile)
                        process.stdin.write(b"\n")
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, line.decode()
        told: dict[str, Any] = json.loads(line)
        assert told["leaked"] == 0
        return told

    return run


@pytest.fixture
def download(run: Run, tmp_path: Path) -> Download:
    async def download(
        url: str, *, timeout: int = 30_000, tries: int = 1, between: Callable[[], None] | None = None
    ) -> Result:
        target = tmp_path / "downloaded"
        told = await run(between, url=url, path=str(target), timeout=timeout, tries=tries, between=bool(between))
        opened = [tuple(begin) for begin in told["opened"]]
        errors = [tuple(error) for error in told["errors"]]
        return Result(opened, errors, told["log"], told["complete"], target.read_bytes()[: told["size"]])

    return download


@pytest.mark.parametrize("login", ["", LOGIN], ids=["anonymous", "user"])
async def test_a_file_larger_than_the_heap_arrives(login: str, server: FtpServer, download: Download) -> None:
    result = await download(server.url("fw.bin;type=i", login))
    assert (result.complete, result.body == FILE, result.errors) == (True, True, [])
    assert result.opened[0][:2] == (0, len(FILE))


async def test_a_file_in_a_folder_with_odd_names_arrives(server: FtpServer, download: Download) -> None:
    (server.folder / "ä b").mkdir()
    (server.folder / "ä b" / "100%.bin").write_bytes(b"odd")
    for prefix in ("", "%2F"):
        assert (await download(server.url(prefix + "%C3%A4%20b/100%25.bin"))).body == b"odd"


async def test_a_file_arrives_over_ipv6(tmp_path: Path, download: Download) -> None:
    with FtpServer(tmp_path / "served", host="::1") as server:
        (server.folder / "fw.bin").write_bytes(FILE)
        assert (await download(server.url("fw.bin"))).body == FILE
        assert server.commands[5] == "EPSV"


@pytest.mark.parametrize(
    "without", [("EPSV",), ("SIZE", "MDTM"), ("REST", "MDTM"), ("EPSV", "SIZE", "MDTM", "REST")], ids=str
)
async def test_a_file_arrives_from_a_server_that_knows_less(
    without: tuple[str, ...], tmp_path: Path, download: Download
) -> None:
    with FtpServer(tmp_path / "served", without=without, cuts=[100_000]) as server:
        (server.folder / "fw.bin").write_bytes(FILE)
        result = await download(server.url("fw.bin"), tries=2)
        assert (result.complete, result.body == FILE) == (True, True)
        assert result.opened[0][1] == (None if "SIZE" in without else len(FILE))
        assert [begin[0] for begin in result.opened] == [0, 100_000 if without == ("EPSV",) else 0]


async def test_pasv_never_leads_to_another_host(tmp_path: Path, download: Download) -> None:
    with FtpServer(tmp_path / "served", without=("EPSV",), wrong_address=True) as server:
        (server.folder / "fw.bin").write_bytes(FILE)
        assert (await download(server.url("fw.bin"))).body == FILE


@pytest.mark.parametrize("only_data", [False, True], ids=["both connections", "data connection"])
async def test_what_breaks_off_is_resumed_where_it_broke_off(
    only_data: bool, server: FtpServer, download: Download
) -> None:
    server.cuts, server.only_data = [100_000, 100_001], only_data
    result = await download(server.url("fw.bin"), tries=3)
    assert (result.complete, result.body == FILE) == (True, True)
    assert [begin[0] for begin in result.opened] == [0, 100_000, 200_001]
    assert server.named("REST") == ["REST 100000", "REST 200001"]
    assert all("before the end" in text and not permanent for text, permanent in result.errors)


async def test_a_stalled_download_times_out_and_is_resumed(server: FtpServer, download: Download) -> None:
    server.cuts, server.stall = [100_000], True
    result = await download(server.url("fw.bin"), timeout=300, tries=2, between=server.cuts.clear)
    assert (result.complete, result.body == FILE) == (True, True)
    assert "timed out" in result.errors[0][0]
    assert server.named("REST") == ["REST 100000"]


@pytest.mark.parametrize(
    ("new", "seconds"), [(b"new" + FILE[3:], 1_700_000_000), (FILE[:-1], None)], ids=["another date", "another length"]
)
async def test_a_file_replaced_meanwhile_arrives_whole(
    new: bytes, seconds: int | None, server: FtpServer, download: Download
) -> None:
    file = server.folder / "fw.bin"

    def replace() -> None:
        before = file.stat().st_mtime
        file.write_bytes(new)
        os.utime(file, (seconds or before, seconds or before))

    server.cuts = [100_000]
    result = await download(server.url("fw.bin"), tries=2, between=replace)
    assert (result.complete, result.body == new) == (True, True)
    assert [begin[0] for begin in result.opened] == [0, 0]
    assert result.log == ["The server cannot resume here: starting over"]


async def test_a_server_that_restarts_is_waited_for(server: FtpServer, download: Download) -> None:
    def restart() -> None:
        server.__exit__()
        server.__enter__()

    server.cuts = [100_000]
    result = await download(server.url("fw.bin"), tries=2, between=restart)
    assert (result.complete, result.body == FILE) == (True, True)
    assert [begin[0] for begin in result.opened] == [0, 100_000]


@pytest.mark.parametrize(
    ("path", "login", "words"),
    [
        ("other.bin", LOGIN, "FTP 550, no such file"),
        ("fw.bin", "charger:wrong@", "FTP 530, correct user and password"),
        ("", LOGIN, "FTP 501, check location and server"),
    ],
)
async def test_what_cannot_be_had_is_an_error(
    path: str, login: str, words: str, server: FtpServer, download: Download
) -> None:
    result = await download(server.url(path, login))
    assert not result.complete
    assert (words in result.errors[0][0], result.errors[0][1]) == (True, True)
    assert f"ftp://***@127.0.0.1:{server.port}/{path}: " in result.errors[0][0]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_stream_is_stored(host: str, tmp_path: Path, run: Run) -> None:
    source = tmp_path / "source"
    source.write_bytes(FILE)
    with FtpServer(tmp_path / "served", host=host) as server:
        (server.folder / "in").mkdir()
        told = await run(url=server.url("in"), name="log 100%.txt", path=str(source), timeout=30_000)
        assert told["errors"] == []
        assert (server.folder / "in" / "log 100%.txt").read_bytes() == FILE


async def test_what_cannot_be_stored_is_an_error(server: FtpServer, tmp_path: Path, run: Run) -> None:
    for login, path, words in ((LOGIN, "none", "FTP 550"), ("", "", "FTP 550"), ("charger:wrong@", "", "FTP 530")):
        told = await run(url=server.url(path, login), name="log", path=str(server.folder / "fw.bin"), timeout=30_000)
        assert words in told["errors"][0][0]
        assert told["errors"][0][1]


# ---- a whole charger


def story(desk: Desk) -> str:
    return " ".join(chapter(frame) for frame in desk.story)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[FtpServer]:
    with FtpServer(tmp_path / "served") as server:
        yield server


async def update(desk: Desk, server: FtpServer, login: str = LOGIN, name: str = "fw.bin") -> None:
    """Bring the new version by FTP and follow it to its end."""
    (server.folder / "fw.bin").write_bytes(desk.update_file())
    await desk.registered()
    await desk.central.update_firmware(desk.identity, server.url(name, login), retries=3, retry_interval=1)
    await desk.ended()


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
async def test_an_update_by_ftp(tls: bool, served: FtpServer, tmp_path: Path, interpreter: Interpreter) -> None:
    async with Desk(tmp_path / "desk", interpreter, speed=20, tls=tls) as desk:
        await update(desk, served)
        assert story(desk) == SUCCESS, "\n".join(desk.lines)
        assert desk.version == NEW
        assert any(f"download from: ftp://***@127.0.0.1:{served.port}/fw.bin" in line for line in desk.lines)
        assert not any(word in line for line in desk.lines for word in (PASSWORD, "p%40ss"))


async def test_an_update_by_ftp_goes_on_where_it_was(
    served: FtpServer, tmp_path: Path, interpreter: Interpreter
) -> None:
    served.cuts = [50_000, 30_000]
    async with Desk(tmp_path / "desk", interpreter, speed=20) as desk:
        await update(desk, served)
        assert story(desk) == SUCCESS, "\n".join(desk.lines)
        assert [int(line.split()[1]) % 2048 for line in served.named("REST")] == [0, 0]
        assert served.named("REST")[0] == f"REST {50_000 // 2048 * 2048}"


async def test_an_update_by_ftp_gets_over_a_server_that_restarts(
    served: FtpServer, tmp_path: Path, interpreter: Interpreter
) -> None:
    served.cuts, served.stall = [50_000], True
    async with Desk(tmp_path / "desk", interpreter, speed=20) as desk:
        (served.folder / "fw.bin").write_bytes(desk.update_file())
        await desk.registered()
        await desk.central.update_firmware(desk.identity, served.url("fw.bin"), retries=5, retry_interval=10)
        await desk.logged("Progress: 10%")
        served.__exit__()
        served.cuts = []
        with suppress(TimeoutError):
            await asyncio.wait_for(desk.logged("Attempt 1 of 5 failed"), 20)
        served.__enter__()
        await desk.ended()
        assert story(desk) == SUCCESS, "\n".join(desk.lines)
        assert served.named("REST")


@pytest.mark.parametrize(
    ("login", "name", "words"),
    [("charger:wrong@", "fw.bin", "FTP 530, correct user and password"), (LOGIN, "no.bin", "FTP 550, no such file")],
    ids=["password", "file"],
)
async def test_an_update_by_ftp_that_fails_says_why(
    login: str, name: str, words: str, served: FtpServer, tmp_path: Path, interpreter: Interpreter
) -> None:
    async with Desk(tmp_path / "desk", interpreter, speed=20) as desk:
        await update(desk, served, login, name)
        assert story(desk) == DOWNLOAD_FAILED
        assert desk.version == OLD
        assert any("DownloadFailed: ftp://***@127.0.0.1:" in line and words in line for line in desk.lines)
        assert not any("wrong" in line for line in desk.lines)
