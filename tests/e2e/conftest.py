"""What the end-to-end tests share."""

from __future__ import annotations

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
