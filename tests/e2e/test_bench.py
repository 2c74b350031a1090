"""tools/bench.py: each measure can be taken, and the command tells, keeps and compares what it finds."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bench
import build
import packages_plain
from benchmarks import chip, everything, installed, memory, profiles, setting, speed, updates
from benchmarks.row import Row, Show, number
from scenarios import KINDS
from simulator.interpreter import Interpreter

KEYS = {"what", "value", "unit", "goal", "holds"}
EXPECTED = {
    "size": {"size.mpy", "size.bundle", "size.main.py", "size.firmware/transfer.mpy"},
    "profiles": {
        *("profile.Core.mpy", "profile.Core.heap", "profile.RemoteTrigger.heap", "profile.updater.mpy"),
        *("profile.shared.heap", "profile.evse.mpy", "profile.evse.heap"),
    },
    "installed": {f"installed.bare.wss.{how}" for how in ("bundle", "vfs", "frozen", "vfs.left", "frozen.left")},
    "heap": {
        *("heap.imported", "heap.connected", "heap.peak", "heap.freezing", "heap.frozen"),
        *("heap.peak.left", "heap.frozen.left"),
    },
    "smallest-heap": {"heap.smallest"},
    "names": {"names", "names.all"},
    "garbage": {"garbage.http", "garbage.https", "garbage.packets"},
    "stack": {"stack.deepest", "stack.running"},
    "throughput": {"throughput.http.plain", "throughput.https", "throughput.https.bare", "throughput.https.code"},
    "stalls": {
        *("stall.longest", "stall.wall", "stall.DNS", "stall.TLS", "stall.set_boot"),
        "stall.charging.plain",
    },
    "calls": {"calls.latency", "calls.rate", "cpython.latency", "cpython.rate"},
    "evse-loop": {"evse.1.turn", "evse.2.idle", "evse.3.garbage", "evse.3.reads"},
    "start": {"start"},
    "wire": {"wire.line.plain", "wire.line.delta.share", "wire.release.compressed", "wire.release.delta"},
    "duration": {"update.network", "update.ahead", "update.ahead.ratio", "update.direct", "update.direct.ratio"},
}

SUPPORTED = "Core FirmwareManagement LocalAuthListManagement Reservation SmartCharging RemoteTrigger".split()
SHARED = "calls charge_point configuration handshake outbox registration rpc session timestamps websocket".split()
CASES = (("plain", ""),)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure less of everything: the figures are of no interest here."""
    for module, name, value in (
        (everything, "everything", lambda desk: setting.updated(desk, "package")),
        (installed, "CASES", ((0, True),)),
        (memory, "CASES", CASES),
        (memory, "KINDS", {kind: KINDS[kind] for kind, _ in CASES}),
        (memory, "LEAST", 126),
        (memory, "PASSES", 1),
        (memory, "IN_PACKETS", memory.IN_BULK),
        (profiles, "TURNS", 20),
        (speed, "CASES", CASES),
        (speed, "DOWNLOAD", 64 * 1024),
        (speed, "TIMES", 1),
        (speed, "STALLS", 1),
        (speed, "LIFE", speed.SPEED),
        (speed, "STARTS", 1),
        (speed, "ROUNDS", 1),
        (speed, "CALLS", 20),
        (updates, "IMAGE", 64 * 1024),
        (updates, "RATE", 900_000),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("name", EXPECTED)
async def test_a_measure_gives_its_figures(name: str, interpreter: Interpreter) -> None:
    rows = await bench.measures()[name](interpreter, lambda _: None)
    names = [row.name for row in rows]
    assert len(names) == len(set(names))
    assert set(names) >= EXPECTED[name]
    assert all(row.what and row.unit and math.isfinite(row.value) for row in rows)
    assert all(row.value > 0 for row in rows if not row.name.endswith(("stall.DNS", ".garbage", ".left")))


@pytest.mark.parametrize(
    ("sessions", "used", "rest", "words"),
    [
        (0, 90_000, 57_000, "without TLS"),
        (1, 55_296, 60_704, "with a TLS session"),
        (1, 55_297, 60_703, "with a TLS session, no room for a second"),
        (1, 99_617, 16_383, "with a TLS session, TOO LITTLE"),
        (1, 116_001, -1, "with a TLS session, DOES NOT FIT"),
        (2, 55_296, 35_704, "with two TLS sessions"),
        (2, 55_297, 35_703, "with two TLS sessions, NO ROOM FOR THE SECOND"),
    ],
)
def test_what_is_left_on_an_esp32_is_told_and_flagged(sessions: int, used: int, rest: int, words: str) -> None:
    (row,) = chip.left("some", sessions, used)
    assert (row.name, row.what, row.value) == ("some.left", f"  left on a stock ESP32 {words}", rest)


def test_no_measure_is_forgotten_here() -> None:
    assert set(bench.measures()) == set(EXPECTED)


def test_every_kind_of_update_is_measured() -> None:
    assert {kind for kind, _ in setting.CASES} == set(KINDS)


def test_every_module_belongs_to_one_profile_or_to_all_of_them() -> None:
    """One that is new is said to be what all profiles share until benchmarks/profiles.py names it."""
    parts = profiles.parts(build.application("1.0.0"))
    modules = [module for modules in parts.values() for module in modules]
    assert len(modules) == len(set(modules))
    assert set(parts) >= set(SUPPORTED)
    assert [name for name in parts["what all profiles share"] if name.removeprefix("ocpp.") not in SHARED] == []


def test_a_module_that_has_gone_is_named() -> None:
    files = build.application("1.0.0")
    del files["ocpp/reservation.mpy"]
    with pytest.raises(setting.BenchError, match=r"has no ocpp.reservation any more"):
        profiles.parts(files)


async def test_a_turn_of_the_loop_leaves_no_garbage(interpreter: Interpreter) -> None:
    rows = {row.name: row for row in await profiles.evse_loop(interpreter, lambda _: None)}
    assert [rows[f"evse.{count}.garbage"].value for count in (1, 2, 3)] == [0, 0, 0]
    assert rows["evse.1.reads"].value >= 32
    assert all(row.holds for row in rows.values())


def test_every_measure_says_how_it_is_taken() -> None:
    assert all(len((measure.__doc__ or "").split()) > 10 for measure in bench.measures().values())


def test_it_runs_as_a_command_and_keeps_its_figures(repository: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, str(repository / "tools" / "bench.py"), "size", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    figures = json.loads(file.read_text())
    assert done.returncode == (0 if all(row["holds"] for row in figures["rows"].values()) else 1)
    assert "all .mpy" in done.stdout
    assert set(figures) == {"date", "micropython", "word_bits", "python", "machine", "rows"}
    assert all(set(row) == KEYS for row in figures["rows"].values())
    sizes = {row["what"]: row["value"] for row in figures["rows"].values()}
    each = {what: size for what, size in sizes.items() if what.endswith(".mpy") and what != "all .mpy"}
    assert sizes["all .mpy"] == sum(each.values())


async def made_up(interpreter: Interpreter, show: Show) -> list[Row]:
    show("half of it")
    return [
        Row("same", "what stays", 5, "B"),
        Row("grown", "what grows", 1500, "B", 2000),
        Row("slow", "what is too slow", 0.5, "x", 1, False),
        Row("added", "what is new", 7, "ms"),
    ]


Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with arguments, in this process, with one measure."""
    monkeypatch.setattr(bench, "measures", lambda: {"made-up": made_up})

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
        return bench.main()

    return run


def test_a_missed_goal_is_told_and_shows_in_the_exit_status(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 1
    assert "1 goals missed: what is too slow" in capsys.readouterr().out


def test_figures_are_compared_with_earlier_ones(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    run("--json", str(file))
    earlier = json.loads(file.read_text())
    earlier["rows"]["grown"]["value"] = 1000
    del earlier["rows"]["added"]
    file.write_text(json.dumps(earlier))
    capsys.readouterr()
    run("made-up", "--compare", str(file))
    lines = {line[1:].split("  ")[0].strip(" │"): line.split() for line in capsys.readouterr().out.splitlines()}
    assert "=" in lines["what stays"]
    assert {"1,500", "1,000", "+50.0"} <= set(lines["what grows"])
    assert "new" in lines["what is new"]


def test_a_file_without_figures_is_refused_before_anything_is_measured(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text("[]")
    with pytest.raises(SystemExit, match="no figures"):
        run("--compare", str(file))


def test_an_unknown_measure_is_refused_with_the_known_ones(run: Run) -> None:
    with pytest.raises(SystemExit, match=r"no nonsense; there are made-up"):
        run("nonsense")


def test_a_micropython_that_is_none_is_refused(run: Run, repository: Path) -> None:
    with pytest.raises(SystemExit, match="LICENSE: this is no ESP32 image"):
        run("--micropython", str(repository / "LICENSE"))


def test_a_micropython_goes_into_the_update_files(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(updates, "micropython", None)
    image = build.made_image(20_000)
    file = tmp_path / "micropython.bin"
    file.write_bytes(image)
    run("--micropython", str(file))
    assert updates.micropython == image
    capsys.readouterr()


def test_an_image_linked_anew_is_sound() -> None:
    image = updates._relinked(build.made_image())
    assert len(image) == len(build.made_image()) + updates.INSERTED
    assert build.app_image(image) == image
    assert packages_plain._image_problems(image, len(image)) == []


def test_the_list_says_what_can_be_measured(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    assert "made-up" in capsys.readouterr().out


def test_figures_are_shown_as_people_read_them() -> None:
    assert [number(value) for value in (1, 0.9986, 2.345, 61.87, 1234.5, 72609)] == [
        "1", "0.999", "2.3", "61.9", "1,234", "72,609"
    ]  # fmt: skip
