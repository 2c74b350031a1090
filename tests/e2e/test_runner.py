"""The test runner: whatever is wrong with a test file, it counts as a failure and says what."""

from __future__ import annotations

from pathlib import Path

import pytest

import environment
import test as suite
import unit_tests
from simulator.interpreter import Interpreter
from unit_tests import Outcome

CASE = """\
import unittest
class Case(unittest.TestCase):
    def test_it(self):
        {body}
    def test_nothing(self):
        pass
if __name__ == "__main__":
    unittest.main()
"""


def case(body: str) -> str:
    return CASE.format(body=body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with no test yet."""
    for name in ("ocpp", "tests/unit"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def run(interpreter: Interpreter, folder: Path, text: str, timeout: float = 60) -> Outcome:
    """Run `text` as a unit test."""
    (folder / "tests" / "unit" / "test_it.py").write_text(text)
    (outcome,) = unit_tests.run(interpreter, unit_tests.compile_tests(folder), ["test_it"], timeout=timeout)
    return outcome


def counts(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.passed, outcome.failed, outcome.skipped


def test_passing_tests_are_counted(interpreters: list[Interpreter], folder: Path) -> None:
    for interpreter in interpreters:
        outcome = run(interpreter, folder, case("self.assertEqual(1 + 1, 2)"))
        assert (counts(outcome), outcome.trouble) == ((2, 0, 0), "")


def test_skipped_tests_are_counted(interpreter: Interpreter, folder: Path) -> None:
    outcome = run(interpreter, folder, case("raise unittest.SkipTest('not today')"))
    assert (counts(outcome), outcome.trouble) == ((1, 0, 1), "")


@pytest.mark.parametrize(
    ("text", "trouble", "output", "passed"),
    [
        (case("self.assertEqual(1 + 1, 3)"), "1 of 2 tests failed", "2 vs (expected) 3", 1),
        (case("assert 1 + 1 == 3"), "1 of 2 tests failed", "AssertionError", 1),
        (case("bytearray(300 * 1024)"), "1 of 2 tests failed", "MemoryError", 1),
        ("import nowhere\n", "exit status 1", "no module named 'nowhere'", 0),
        (case("unittest.sys.exit(3)"), "exit status 3", "test_it", 0),
        (case("__import__('os').system('kill -KILL $PPID')"), "killed by signal 9", "test_it", 0),
        (case("unittest.sys.exit(0)"), "ran no test", "test_it", 0),
        ("import unittest\n", "ran no test", "", 0),
        ("import unittest\nunittest.main()\n", "ran no test", "Ran 0 tests", 0),
    ],
)
def test_what_is_wrong_counts_as_one_failure(
    interpreter: Interpreter, folder: Path, text: str, trouble: str, output: str, passed: int
) -> None:
    outcome = run(interpreter, folder, text)
    assert counts(outcome) == (passed, 1, 0)
    assert trouble in outcome.trouble
    assert output in outcome.output


def test_a_hanging_test_is_stopped(interpreter: Interpreter, folder: Path) -> None:
    outcome = run(interpreter, folder, case("print('so far')\n        while True: pass"), timeout=1)
    assert counts(outcome) == (0, 1, 0)
    assert "still running after 1 s" in outcome.trouble
    assert "so far" in outcome.output


def test_tests_import_the_application_and_their_helpers(interpreter: Interpreter, folder: Path) -> None:
    (folder / "ocpp" / "answer.py").write_text("ANSWER = 42\n")
    (folder / "tests" / "unit" / "helper.py").write_text("from ocpp.answer import ANSWER\n")
    outcome = run(interpreter, folder, case("import helper, ocpp.answer; self.assertEqual(helper.ANSWER, 42)"))
    assert counts(outcome) == (2, 0, 0)


def test_a_syntax_error_is_named_with_file_and_line(interpreter: Interpreter, folder: Path) -> None:
    with pytest.raises(environment.SetupError, match=r"(?s)test_it\.py.*line 2"):
        run(interpreter, folder, "import unittest\ndef wrong(:\n")


def test_the_last_line_and_the_exit_status_sum_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["test.py"])
    monkeypatch.setattr(environment, "ensure", lambda: None)
    results = [
        suite.Result(passed=3),
        suite.Result(passed=2, skipped=1),
        suite.Result(failed=1, output="why it failed"),
    ]
    for used, closing, status in ((1, "3 passed, 0 failed", 0), (3, "5 passed, 1 failed, 1 skipped", 1)):
        stages = {str(number): lambda _, result=result: result for number, result in enumerate(results[:used])}
        monkeypatch.setattr(suite, "plan", lambda *_, stages=stages: stages)
        assert suite.main() == status
        printed = capsys.readouterr().out
        assert printed.splitlines()[-1] == closing
        assert ("why it failed" in printed) == (used == 3)


def test_what_can_not_be_set_up_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROPYTHON", "/nowhere/micropython")
    result = suite.run("unit", lambda progress: suite.unit(32, [], False, progress))
    assert (result.failed, result.passed) == (1, 0)
    assert "/nowhere/micropython" in result.output


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("def test_one(): pass\ndef test_two(): assert 1 + 1 == 3\n", (1, 1)),
        ("import nowhere\n", (0, 1)),
        ("", (0, 1)),
    ],
)
def test_end_to_end_tests_are_counted(tmp_path: Path, text: str, counted: tuple[int, int]) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(text)
    result = suite.e2e([file], False, lambda *_: None)
    assert (result.passed, result.failed) == counted


def test_names_choose_stages_and_files() -> None:
    assert list(suite.plan([], everything=False)) == [
        "ruff",
        "codespell",
        "mypy",
        "unit, 32-bit",
        "unit, 64-bit",
        "e2e",
    ]
    assert list(suite.plan(["mypy", "ruff"], everything=False)) == ["ruff", "mypy"]
    assert list(suite.plan(["tests/e2e/test_runner.py"], everything=False)) == ["e2e"]
    with pytest.raises(ValueError, match="no such stage"):
        suite.plan(["unti"], everything=False)
