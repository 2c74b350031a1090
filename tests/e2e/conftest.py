"""What the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import environment
from simulator.interpreter import Interpreter


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="no sampling: try each and every case (takes long)")


@pytest.fixture(scope="session")
def everything(request: pytest.FixtureRequest) -> bool:
    """Whether a suite is to try every case it knows and not only some."""
    return bool(request.config.getoption("--all"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what tests had to tell."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            properties = report.user_properties if getattr(report, "when", "") == "call" else ()
            for text in [text for name, text in properties if name == "told"]:
                terminalreporter.write_line(text)


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Have something said at the end of the run, in whatever process the test runs."""
    return lambda text: record_property("told", text)


@pytest.fixture(scope="session")
def repository() -> Path:
    return environment.REPOSITORY


@pytest.fixture(scope="session")
def interpreters() -> list[Interpreter]:
    """The unix ports of MicroPython, the 32-bit one first."""
    return environment.interpreters()


@pytest.fixture(scope="session")
def interpreter(interpreters: list[Interpreter]) -> Interpreter:
    """The one most like an ESP32: with 32-bit words if this machine can have it."""
    return interpreters[0]
