"""OCA.md says which test proves which case of the OCA's list: nothing in it is made up, and nothing is left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

REFERENCE = re.compile(r"`(test_\w+)(?:\[([^\]]+)\])?`")
CASE = re.compile(r"TC_\d\d\d(?:_\d)?\b")
NOT_PROVED = ("does not apply: ", "later")


@pytest.fixture(scope="module")
def table(repository: Path) -> dict[str, list[list[str]]]:
    """{heading: rows, each a list of its cells}."""
    found: dict[str, list[list[str]]] = {}
    for line in (repository / "tests/e2e/OCA.md").read_text().splitlines():
        if line.startswith("## "):
            found[line[3:]] = []
        elif line.startswith("| ") and not line.startswith(("| case ", "| what ")):
            list(found.values())[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return found


@pytest.fixture(scope="module")
def cases(table: dict[str, list[list[str]]]) -> dict[str, tuple[str, str]]:
    """{id: (what it shows, what proves it)} of the cases of the six profiles."""
    others = ("Security extension", "Beyond the list")
    chosen = [row for heading, rows in table.items() if heading not in others for row in rows]
    assert all(len(row) == 3 for row in chosen)
    return {row[0]: (row[1], row[2]) for row in chosen}


def defined_in(path: Path) -> dict[str, str]:
    """{name of a test: source of it and its parameters}."""
    text = path.read_text()
    return {
        node.name: ast.get_source_segment(text, node, padded=True) or ""
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_the_list_has_the_cases_of_the_six_profiles(cases: dict[str, tuple[str, str]]) -> None:
    assert all(CASE.fullmatch(case) for case in cases)
    numbers = {int(case[3:6]) for case in cases}
    unused = {6, 9, 20, 22, 25, 29, 33, 35, 63, 64, 65, *range(73, 82)}  # of the central system, of security, or none
    assert numbers == set(range(1, 83)) - unused
    assert len(cases) == 87


def test_every_case_has_a_test_or_a_reason_for_having_none(cases: dict[str, tuple[str, str]]) -> None:
    for case, (_, proof) in cases.items():
        assert REFERENCE.search(proof) or proof.startswith(NOT_PROVED), case


def test_every_test_of_the_table_exists(table: dict[str, list[list[str]]], repository: Path) -> None:
    existing: dict[str, str] = {}
    for path in sorted((repository / "tests/e2e").glob("test_*.py")):
        existing |= {name: path.read_text() for name in defined_in(path)}
    scenarios = (repository / "tools/scenarios.py").read_text()
    for row in [row for rows in table.values() for row in rows]:
        for name, parameter in REFERENCE.findall(row[-1]):
            assert name in existing, f"{name}: no such test"
            source = existing[name] + (scenarios if name == "test_scenario" else "")
            assert (
                not parameter or f'"{parameter}"' in source or f"[{parameter}" in source or f" {parameter}]" in source
            )


def test_every_test_of_these_files_is_in_the_table(table: dict[str, list[list[str]]], repository: Path) -> None:
    named = {name for rows in table.values() for row in rows for name, _ in REFERENCE.findall(row[-1])}
    files = [*(repository / "tests/e2e").glob("test_oca_*.py"), repository / "tests/e2e/test_charging.py"]
    written = {name for path in files if path.name != Path(__file__).name for name in defined_in(path)}
    assert written - named == set()


def test_the_list_and_its_coverage_are_printed(
    table: dict[str, list[list[str]]], cases: dict[str, tuple[str, str]], tell: Callable[[str], None]
) -> None:
    proved = [case for case, (_, proof) in cases.items() if REFERENCE.search(proof)]
    others = [f"{case} {proof}" for case, (_, proof) in cases.items() if case not in proved]
    [security] = table["Security extension"]
    lines = [f"OCA 1.6 scenarios: {len(proved)} of {len(cases)} proved by tests, {len(others)} do not apply"]
    for heading, rows in table.items():
        here = [row[0] for row in rows if row[0] in proved]
        if here:
            lines.append(f"  {heading}:")
            lines += [f"    {row[0]:<9} {row[1]}" for row in rows if row[0] in proved]
    lines += ["  not proved:", *(f"    {line}" for line in others), f"  {security[2]}: {security[0]}"]
    tell("\n".join(lines))
    assert len(proved) + len(others) == len(cases)
