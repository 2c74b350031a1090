"""The house's rules about who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("ocpp", "firmware", "hw")
CHIP = {"esp32", "machine", "network"}
FIRMWARE = sorted(
    [REPOSITORY / "boot.py", REPOSITORY / "main.py"]
    + [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
)


def imports(path: Path) -> set[str]:
    """Return the first components of what a file imports from outside its own package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("path", FIRMWARE, ids=name)
def test_only_hw_and_boot_know_the_chip(path: Path) -> None:
    allowed = {"boot.py": CHIP, "main.py": {"machine"}}.get(name(path), CHIP if path.parent.name == "hw" else set())
    assert imports(path) & CHIP <= allowed


@pytest.mark.parametrize("path", FIRMWARE, ids=name)
def test_packages_do_not_import_each_other(path: Path) -> None:
    if path.parent != REPOSITORY:
        assert imports(path) & set(PACKAGES) <= {path.parent.name}


@pytest.mark.parametrize("path", FIRMWARE, ids=name)
def test_no_code_asks_which_platform_it_runs_on(path: Path) -> None:
    names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert not names & {"platform", "implementation"}


def test_boot_stays_short_and_alone() -> None:
    boot = REPOSITORY / "boot.py"
    assert len(boot.read_text().splitlines()) < 150
    assert not imports(boot) & set(PACKAGES)
