"""Where the measures run: the firmware on the simulated chip with a probe in it, or parts of it on the unix port."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import functools
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import build
import desk
import environment
import packages_keys
from desk import CERTIFICATES, FILE, FINAL, NEW, OLD, Desk, chapter
from scenarios import KINDS
from simulator.interpreter import Interpreter

SCRIPTS = Path(__file__).parent / "on_mpy"
COMPILED = environment.CACHE / "mpy" / "bench"
RESULT = "@"  # begins the lines by which scripts and probes tell their results
# Where the probe comes into main.py: (text that is there once, what it becomes).
PROBED = (
    ("import asyncio\n", "import probe\nprobe.begin()\nimport asyncio\n"),
    ("    for name in names:\n", "    probe.forgetting()\n    for name in names:\n"),
    ("asyncio.run(run())", "(probe.imported(), asyncio.run(run()))"),
    ("asyncio.gather(", "asyncio.gather(probe.run(), "),
)


# What an update can come as, and what it is signed with.
CASES = (("plain", ""), *((kind, algorithm) for kind in list(KINDS)[1:] for algorithm in ("rsa", "ecdsa")))
ALGORITHMS = {"": "", "rsa": ", RSA", "ecdsa": ", ECDSA"}


# The options of a desk for updated_while_charging().
CAR: dict[str, Any] = {"connectors": 1, "configuration": {"UpdateWhileCharging": "download"}}


class BenchError(Exception):
    """A measure could not be taken; the text says why."""


def script(name: str) -> bytes:
    """Return one of the scripts, compiled."""
    sources = {path.stem: path for path in SCRIPTS.glob("*.py")}
    environment.compile_mpy(sources, COMPILED / "scripts", optimisation=3)
    return (COMPILED / "scripts" / f"{name}.mpy").read_bytes()


def probed(name: str) -> dict[str, bytes]:
    """Return the files that put a probe into an application."""
    return {"main.py": changed_main(PROBED), "probe.mpy": script(name)}


def countable() -> dict[str, bytes]:
    """Return the application's modules with absolute imports only: so a function in their place can count them."""
    files = {}
    for package in ("ocpp", "firmware", "hw"):
        for path in (environment.REPOSITORY / package).glob("*.py"):
            name = f"{package}/{path.name}"
            if name != build.LOADER and path.stat().st_size:
                tree = ast.fix_missing_locations(_Absolute(package).visit(ast.parse(path.read_text())))
                files[f"{package}/{path.stem}.mpy"] = build._compile(name, ast.unparse(tree).encode())
    return files


class _Absolute(ast.NodeTransformer):
    """Makes a package's relative imports absolute."""

    def __init__(self, package: str) -> None:
        self._package = package

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        if not node.level:
            return [node]
        if node.module:
            return [ast.ImportFrom(f"{self._package}.{node.module}", node.names, 0)]
        return [ast.Import([ast.alias(f"{self._package}.{one.name}", one.asname or one.name)]) for one in node.names]


def changed_main(changes: Iterable[tuple[str, str]]) -> bytes:
    """Return main.py with each of these texts, which are there once, replaced by another."""
    text = (environment.REPOSITORY / "main.py").read_text()
    for old, new in changes:
        if text.count(old) != 1:
            raise BenchError(f"main.py has changed: {old!r}, where a probe goes, is there {text.count(old)} times")
        text = text.replace(old, new)
    return text.encode()


class ProbedDesk(Desk):
    """A desk whose charger runs with other files in place of its application's."""

    def __init__(self, folder: Path, interpreter: Interpreter, extra: dict[str, bytes], **options: Any) -> None:
        super().__init__(folder, interpreter, **options)
        self._extra = extra

    def update_file(self, version: str = NEW, extra: dict[str, bytes] | None = None) -> bytes:
        """An update file of which both versions carry the probe."""
        return super().update_file(version, self._extra | (extra or {}))

    async def result(self, key: str) -> list[str]:
        """Wait for a line that begins with @key; return the words behind that."""
        await self.until(lambda: bool(self.results(key)), f"the script tells {key!r}")
        return self.results(key)[-1]

    def results(self, key: str) -> list[list[str]]:
        """Return what the lines with @key tell, each in words."""
        return [line.split()[1:] for line in self.lines if line.startswith(f"{RESULT}{key} ")]


@contextlib.asynccontextmanager
async def probed_desk(interpreter: Interpreter, extra: dict[str, bytes], **options: Any) -> AsyncIterator[ProbedDesk]:
    """A desk, switched on, in a folder that goes when it does."""
    with tempfile.TemporaryDirectory() as folder:
        async with ProbedDesk(Path(folder), interpreter, extra, **options) as running:
            yield running


@functools.cache
def key_for(algorithm: str) -> packages_keys.PrivateKey | None:
    """A key to sign with; None for "", which means a plain file."""
    return packages_keys.make_key(algorithm) if algorithm else None


async def updated(running: Desk, kind: str = "plain") -> None:
    """Have a charger that has just been switched on update itself, to Installed; see KINDS."""
    running.web.files = {FILE: KINDS[kind](running, running.update_file(NEW))}
    await running.registered()
    await running.update()
    await until_installed(running)


async def updated_while_charging(running: Desk, kind: str = "plain") -> None:
    """As updated(), in a transaction that ends when the installation waits for that; for a desk with CAR."""
    await running.registered()
    await running.central.call(running.identity, "RemoteStartTransaction", {"idTag": "04A2B3C4", "connectorId": 1})
    running.chip.plug()
    await running.central.wait_for("StatusNotification", lambda payload: payload["status"] == "Charging")
    await running.central.wait_for("MeterValues")
    running.web.files = {FILE: KINDS[kind](running, running.update_file(NEW))}
    await running.update()

    def is_waiting() -> bool:
        return any("The installation waits until charging ends" in line for line in running.lines)

    await running.until(lambda: is_waiting() or chapter(running.story[-1]) in FINAL, "the end of the download")
    if is_waiting():
        stop = {"transactionId": max(running.central.transactions)}
        await running.central.call(running.identity, "RemoteStopTransaction", stop)
    await until_installed(running)


async def until_installed(running: Desk) -> None:
    """Wait for the end of an update; BenchError if it is another one."""
    await running.until(lambda: any(chapter(frame) in FINAL for frame in running.story), "the end of the update")
    if chapter(running.story[-1]) != "Installed":
        raise BenchError("the update failed: " + " / ".join(running.lines[-5:]))


@contextlib.contextmanager
def application() -> Iterator[Path]:
    """The application and the scripts, compiled as build.py does, in a folder that MICROPYPATH can name."""
    script("garbage")  # compiles them all
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        files = build.application(OLD)
        files |= {file.name: file.read_bytes() for file in (COMPILED / "scripts").glob("*.mpy")}
        for name, content in files.items():
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_bytes(content)
        yield path


async def on_micropython(interpreter: Interpreter, folder: Path, heap: int, name: str, *arguments: str) -> str:
    """Run one of the scripts on the unix port; return the last line that it prints."""
    command = [*interpreter.command, "-X", f"heapsize={heap}", "-m", name, *arguments]
    return await answer(command, folder, {"MICROPYPATH": f"{folder}:.frozen"})


async def answer(command: list[str], folder: Path, environ: dict[str, str]) -> str:
    """Run a command; return the last line that it prints."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    text = output.decode(errors="replace").strip()
    if process.returncode:
        raise BenchError(f"{command[-1]} failed: {text[-1000:]}")
    return text.splitlines()[-1]


CA = CERTIFICATES / "ca.pem"
server_tls = desk._tls  # makes the SSL context of the desk's servers
