"""TRIAL.md says which test proves what of the trial: nothing in it is made up, and nothing is without a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REFERENCE = re.compile(r"`(test_\w+|…)(?:\[([^\]]+)\])?`")


@pytest.fixture(scope="module")
def rows(repository: Path) -> list[str]:
    lines = (repository / "tests/e2e/TRIAL.md").read_text().splitlines()
    return [line for line in lines if line.startswith("| ") and not line.startswith("| what")]


def existing_tests(folder: Path) -> dict[str, str]:
    """Return {name of a test: text of its file}."""
    found = {}
    for path in sorted(folder.glob("*/test_*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found[node.name] = text
    return found


def test_every_clause_has_a_test(rows: list[str]) -> None:
    assert len(rows) > 45
    for row in rows:
        assert REFERENCE.search(row.strip("|").split("|")[-1]), row


def test_every_test_of_the_table_exists(rows: list[str], repository: Path) -> None:
    existing = existing_tests(repository / "tests")
    scenarios = (repository / "tools/scenarios.py").read_text()
    for row in rows:
        name = ""
        for reference, case in REFERENCE.findall(row):
            name = name if reference == "…" else reference
            assert name in existing, f"{name}: no such test"
            source = existing[name] + (scenarios if name == "test_scenario" else "")
            assert not case or f'"{case}"' in source, f"{name}[{case}]: no such case"


def test_every_test_of_the_trial_is_in_the_table(rows: list[str], repository: Path) -> None:
    files = [repository / "tests/e2e" / name for name in ("test_trial_boot.py", "test_trial_update.py", "test_boot.py")]
    named = {name for row in rows for name, _ in REFERENCE.findall(row)}
    written = {name for file in files for name in re.findall(r"def (test_\w+)\(", file.read_text())}
    assert written - named == {"test_the_application_of_the_running_slot_runs"}
