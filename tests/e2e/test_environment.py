"""The developer's environment: which MicroPython is taken, and what is compiled when."""

from __future__ import annotations

from pathlib import Path

import pytest

import environment
from environment import SetupError
from simulator.interpreter import Interpreter


def program(folder: Path, answer: str) -> Path:
    """Return something that answers as if it were a MicroPython."""
    path = folder / "micropython"
    path.write_text(f"#!/bin/sh\necho {answer}\n")
    path.chmod(0o755)
    return path


def test_objects_of_the_32_bit_port_come_first(interpreters: list[Interpreter]) -> None:
    assert [interpreter.word_bits for interpreter in interpreters] in ([32, 64], [64])
    assert all(interpreter.version >= (1, 25) for interpreter in interpreters)


def test_the_micropython_that_the_user_names_comes_before_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = program(tmp_path, f"micropython {2**63 - 1} 1 26 1")
    monkeypatch.setenv("MICROPYTHON", str(own))
    found = environment.interpreter(64)
    assert (found.command, found.word_bits, found.version) == ((str(own),), 64, (1, 26, 1))
    assert environment.interpreter(32).word_bits == 32


def test_the_one_on_path_comes_before_a_downloaded_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = program(tmp_path, f"micropython {2**63 - 1} 1 25 0")
    monkeypatch.delenv("MICROPYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert environment.interpreter(64).command == (str(own),)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (f"micropython {2**63 - 1} 1 24 1", r"is MicroPython 1\.24\.1: 1\.25 is needed"),
        ("cpython 9223372036854775807 3 11 2", "no unix port of MicroPython"),
        ("", "no unix port of MicroPython"),
    ],
)
def test_a_program_that_will_not_do_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, words: str
) -> None:
    monkeypatch.setenv("MICROPYTHON", str(program(tmp_path, answer)))
    with pytest.raises(SetupError, match=words):
        environment.interpreter(64)


def test_one_on_path_that_will_not_do_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = program(tmp_path, f"micropython {2**63 - 1} 1 19 1")
    monkeypatch.delenv("MICROPYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert environment.interpreter(32).command != (str(old),)
    assert "1.19.1" in capsys.readouterr().err


def test_another_kind_of_machine_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MICROPYTHON", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(environment.Unavailable, match="brew install micropython"):
        environment.interpreters()


def test_only_what_changed_is_compiled_again(tmp_path: Path) -> None:
    names = ("one", "folder/two")
    sources = {name: tmp_path / f"{Path(name).name}.py" for name in names}
    for path in sources.values():
        path.write_text("A = 1\n")
    compiled = tmp_path / "compiled"
    environment.compile_mpy(sources, compiled)
    first = {path.relative_to(compiled).as_posix(): path.stat().st_ino for path in compiled.rglob("*.mpy")}
    assert set(first) == {"one.mpy", "folder/two.mpy"}
    sources["one"].write_text("A = 2\n")
    environment.compile_mpy(sources, compiled)
    assert (compiled / "one.mpy").stat().st_ino != first["one.mpy"]
    assert (compiled / "folder" / "two.mpy").stat().st_ino == first["folder/two.mpy"]
    del sources["one"]
    environment.compile_mpy(sources, compiled)
    assert [path.name for path in compiled.rglob("*")] == ["folder", "two.mpy"]
