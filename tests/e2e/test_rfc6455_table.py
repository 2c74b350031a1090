"""tests/unit/RFC6455.md says which test holds the WebSocket to which rule: nothing in it is made up or missing."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest


def names_in(folder: Path, pattern: str) -> list[str]:
    """Return the names of all tests in some files, as often as they occur."""
    return [
        node.name
        for path in sorted(folder.glob(pattern))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


@pytest.fixture(scope="module")
def table(repository: Path) -> list[list[str]]:
    """The rows of all tables but the last, which is that of the deviations: section, rule, tests."""
    text, heading, _ = (repository / "tests/unit/RFC6455.md").read_text().partition("\n## Deviations\n")
    assert heading
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row not in (["§", "rule", "tests"], ["---"] * 3)]


def named(rows: list[list[str]]) -> set[str]:
    return {name for row in rows for name in re.findall(r"`(test_\w+)`", row[-1])}


def test_every_rule_has_a_test(table: list[list[str]]) -> None:
    assert len(table) > 80
    for row in table:
        assert len(row) == 3, row
        assert named([row]), row


def test_every_test_of_the_table_exists(table: list[list[str]], repository: Path) -> None:
    existing = set(names_in(repository / "tests", "*/test_*.py"))
    assert named(table) - existing == set()


def test_every_test_of_the_websocket_is_in_the_table(table: list[list[str]], repository: Path) -> None:
    tests = names_in(repository / "tests", "*/test_websocket_*.py")
    assert [name for name, count in Counter(tests).items() if count > 1] == []
    assert set(tests) - named(table) == set()
