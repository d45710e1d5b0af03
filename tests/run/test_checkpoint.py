"""A run that is interrupted and goes on ends with the files of one that never was, bit for bit."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from battsim.case import Case, read_case
from battsim.errors import CheckpointError
from battsim.output import checkpoint, fields, tables
from battsim.output.record import state_of
from battsim.output.tables import read_table
from battsim.run import build_image, find_checkpoint, run_case
from battsim.run.checkpoint import progress_of
from battsim.run.protocol import BETWEEN_CHECKPOINTS
from battsim.solvers.block import BlockSolver

RECIPE = {
    "kind": "spheres",
    "shape": [8, 6, 6],
    "voxel_size": "1 um",
    "active_volume_fraction": 0.5,
    "binder_volume_fraction": 0.1,
    "diameter": {"median": "4 um"},
    "seed": 1,
}
PROTOCOL = [
    {"step": "discharge", "rate": "2 C", "until": {"time": "300 s"}},
    {"step": "rest", "until": {"time": "200 s"}},
    {"step": "charge", "rate": "1 C", "until": {"voltage": "4.05 V"}},
]
CASE = {
    "schema": 1,
    "image": {"generate": RECIPE},
    "materials": {
        "active": "nmc811-chen2020",
        "electrolyte": "lipf6-nyman2008",
        "separator": {"thickness": "6 um", "porosity": 0.47, "bruggeman": 1.5, "layers": 3},
    },
    "model": {"kind": "resolved"},
    "initial": {"soc": 0.7},
    "protocol": PROTOCOL,
    "solver": {"threads": 1, "time_rtol": 3e-4},
    "output": {"every": "40 s"},
}


class Interrupted(KeyboardInterrupt):
    """Stands for Ctrl-C."""


@pytest.fixture(autouse=True, scope="module")
def lagging_solver() -> Iterator[None]:
    """A linear solver whose last digits depend on what it solved before, as those of larger cells do."""
    solve, reset = BlockSolver.solve, BlockSolver.reset

    def forget(solver: BlockSolver) -> None:
        solver.memory = 0  # type: ignore[attr-defined]
        reset(solver)

    def lagging(solver: BlockSolver, *args: Any) -> tuple[np.ndarray, int, bool]:
        solver.memory = getattr(solver, "memory", 0) + 1  # type: ignore[attr-defined]
        x, iterations, solved = solve(solver, *args)
        return x * (1.0 + 1e-9 * np.sin(solver.memory)), iterations, solved  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(BlockSolver, "solve", lagging)
        patched.setattr(BlockSolver, "reset", forget)
        yield


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("battsim.run.draw_half_cell", lambda *_: None)


def silent(_: float, __: str) -> None:
    pass


def after(calls: int) -> Callable[[float, str], None]:
    """Progress that interrupts at its call of that number."""
    told = []

    def progress(_: float, __: str) -> None:
        told.append(1)
        if len(told) == calls:
            raise Interrupted

    return progress


def resumed(case: Case, results: Path, progress: Callable[[float, str], None] = silent) -> dict[str, Any]:
    found = find_checkpoint(case, results)
    return run_case(case, results=results, progress=progress, checkpoint=found.checkpoint)


def files_of(results: Path) -> dict[str, bytes]:
    """Every file that tells a number, by its path; not those that tell times of the clock and processes."""
    apart = {"run.json", "run.log"}
    return {
        path.relative_to(results).as_posix(): path.read_bytes()
        for path in sorted(results.rglob("*"))
        if path.is_file() and path.name not in apart and path.suffix != ".png"
    }


def assert_same(one: Path, other: Path) -> None:
    a, b = files_of(one), files_of(other)
    assert a.keys() == b.keys()
    assert [name for name in a if a[name] != b[name]] == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a run that was never interrupted."""
    directory = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("battsim.run.draw_half_cell", lambda *_: None)
        run_case(read_case(CASE, directory), results=directory / "results")
    return directory / "results"


def test_the_run_has_what_a_checkpoint_must_carry(whole: Path) -> None:
    """Otherwise what follows would show little."""
    series, steps = read_table(whole / "timeseries.csv"), read_table(whole / "steps.csv")
    for number in range(3):
        assert np.count_nonzero(steps["step"] == number) > 2 * BETWEEN_CHECKPOINTS
    assert len(series["time_s"]) == len(steps["time_s"]) + 3
    assert len(list((whole / "fields").glob("*.vti"))) > 15
    assert json.loads((whole / "summary.json").read_text())["stop"]["reason"] == "voltage"
    assert len(list((whole / "checkpoints").glob("*.npz"))) == 2


@pytest.mark.parametrize("seed", range(2))
def test_interrupted_anywhere_it_ends_the_same(tmp_path: Path, whole: Path, seed: int) -> None:
    case, results, rng = read_case(CASE, tmp_path), tmp_path / "results", random.Random(seed)
    interruptions = 0
    while state_of(results) != "done":
        assert interruptions < 100
        try:
            resumed(case, results, after(rng.randint(2, 18)) if interruptions < 6 else silent)
        except Interrupted:
            interruptions += 1
            assert state_of(results) == "stopped"
    assert interruptions >= 4
    assert_same(results, whole)


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (tables.TableWriter, "append", 24),
        (tables.TableWriter, "_write", 25),
        (fields, "write_vti", 4),
        (fields, "append_pvd", 4),
        (checkpoint, "sha256", 3),
        (checkpoint, "_folder_to_disk", 3),
    ],
)
def test_stopped_while_it_writes_it_ends_the_same(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int
) -> None:
    case, results, calls, original = read_case(CASE, tmp_path), tmp_path / "results", [], getattr(owner, name)

    def broken(*args: Any, **keys: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise Interrupted
        return original(*args, **keys)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, broken)
        with pytest.raises(Interrupted):
            resumed(case, results)
    assert files_of(results).keys() & {"timeseries.csv", "steps.csv", "fields/fields.pvd"}
    with (results / "timeseries.csv").open("a") as stream:
        stream.write("12.5,0,")  # a line that was under way
    resumed(case, results)
    assert_same(results, whole)


def test_fields_cost_no_steps_and_no_digits(tmp_path: Path, whole: Path) -> None:
    for number, every in enumerate((None, "15 s")):
        directory = tmp_path / str(number)
        run_case(read_case(CASE | {"output": {"every": every}}, directory), results=directory / "results")
        for name in ("timeseries.csv", "steps.csv", "summary.json"):
            assert (directory / "results" / name).read_bytes() == (whole / name).read_bytes()


# what a checkpoint must match


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case with an image of its own, interrupted four steps after its third checkpoint."""
    directory = tmp_path_factory.mktemp("interrupted")
    image = build_image(read_case(CASE, directory))
    tifffile.imwrite(directory / "image.tif", image.labels, photometric="minisblack")
    with pytest.raises(Interrupted):  # two reports come before the first step
        run_case(own_case(directory), results=directory / "results", progress=after(2 * BETWEEN_CHECKPOINTS + 6))
    return directory


@pytest.fixture
def stopped(tmp_path: Path, interrupted: Path) -> Path:
    """A copy of the interrupted case."""
    return shutil.copytree(interrupted, tmp_path / "stopped")


def own_case(directory: Path, **changes: Any) -> Case:
    labels = {"pore": 0, "active": 1, "binder": 2}
    table = {"file": "image.tif", "voxel_size": "1 um", "through_plane": "x", "labels": labels}
    return read_case(CASE | {"image": table} | changes, directory)


def checkpoints(directory: Path) -> list[Path]:
    return sorted((directory / "results" / "checkpoints").glob("*.npz"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conditions": {"temperature": "30 degC"}}, r"case.toml conditions.temperature was 298.15, and is 303.15"),
        ({"protocol": PROTOCOL[:1]}, r"case.toml protocol.1.\w+ was .*, and is absent \(\d+ more differ\)"),
        ({"output": {"every": "50 s"}}, r"case.toml output.every was 40.0, and is 50.0; restore"),
        ({"materials": CASE["materials"] | {"active": "nmc532-mohtat2020"}}, "case.toml materials.active"),  # type: ignore[operator]
    ],
)
def test_another_case_is_refused_by_its_key(stopped: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as refusal:
        find_checkpoint(own_case(stopped, **changes), stopped / "results")
    assert refusal.value.exit_code == 9
    assert str(checkpoints(stopped)[-1]) in str(refusal.value)
    assert "--fresh" in str(refusal.value)


def test_another_image_is_refused_by_its_key(stopped: Path) -> None:
    voxels = tifffile.imread(stopped / "image.tif")
    voxels[4, 3, 3] = 0 if voxels[4, 3, 3] else 2
    tifffile.imwrite(stopped / "image.tif", voxels, photometric="minisblack")
    with pytest.raises(CheckpointError, match=r"sha256 of the file named by image.file was \"\w{64}\", and is"):
        find_checkpoint(own_case(stopped), stopped / "results")


def test_another_version_is_refused(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("battsim.run.checkpoint.battsim_version", lambda: "9.9")
    with pytest.raises(CheckpointError, match=r"battsim was \d+\.\d+.*, and is 9\.9"):
        find_checkpoint(own_case(stopped), stopped / "results")


def test_what_round_off_depends_on_is_told(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkpoint(own_case(stopped), stopped / "results").notes == ()
    monkeypatch.setattr("battsim.run.checkpoint.library_versions", lambda: {"numpy": "9.9"})
    found = find_checkpoint(own_case(stopped), stopped / "results")
    assert found.checkpoint is not None
    assert re.search(r"numpy \d.*, now 9\.9.*not to the bit", found.notes[0])


def test_threads_are_nobodys_business(stopped: Path) -> None:
    case = own_case(stopped, solver={"threads": 2, "time_rtol": 3e-4})
    assert find_checkpoint(case, stopped / "results").checkpoint is not None


def test_a_damaged_checkpoint_leaves_the_one_before(stopped: Path, whole: Path) -> None:
    first, last = checkpoints(stopped)
    last.write_bytes(last.read_bytes()[:-1])
    found = find_checkpoint(own_case(stopped), stopped / "results")
    assert found.checkpoint is not None
    assert found.checkpoint.path == first
    assert len(found.notes) == 1
    assert f"{last} is damaged" in found.notes[0]
    resumed(own_case(stopped), stopped / "results")
    for name in ("timeseries.csv", "steps.csv", "summary.json", "fields/t_000000320.000.vti"):
        assert (stopped / "results" / name).read_bytes() == (whole / name).read_bytes()


def test_damaged_checkpoints_alone_are_refused(stopped: Path) -> None:
    for path in checkpoints(stopped):
        path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"no checkpoint can be gone on from: .*damaged.*; .*damaged.*--fresh"):
        find_checkpoint(own_case(stopped), stopped / "results")


def test_a_table_that_was_cut_leaves_the_checkpoint_before_it(stopped: Path) -> None:
    table = stopped / "results" / "timeseries.csv"
    lines = table.read_text().splitlines(keepends=True)
    rows = [progress_of(found).rows for found in map(only, checkpoints(stopped))]
    table.write_text("".join(lines[: rows[1]["timeseries.csv"]]))
    found = find_checkpoint(own_case(stopped), stopped / "results")
    assert found.checkpoint is not None
    assert found.checkpoint.path == checkpoints(stopped)[0]
    assert "timeseries.csv has" in found.notes[0]
    table.unlink()
    with pytest.raises(CheckpointError, match=r"timeseries.csv is missing"):
        find_checkpoint(own_case(stopped), stopped / "results")


def only(path: Path) -> checkpoint.Checkpoint:
    """The checkpoint in a file."""
    [found] = [one for one in checkpoint.whole(path.parent)[0] if one.path == path]
    return found


def test_a_checkpoint_is_what_was_reached(stopped: Path) -> None:
    series = read_table(stopped / "results" / "timeseries.csv")
    for number, path in enumerate(checkpoints(stopped), start=1):
        progress = progress_of(only(path))
        row = progress.rows["timeseries.csv"] - 1
        # ten digits in the table
        assert progress.standing.times[-1] == pytest.approx(series["time_s"][row], rel=1e-9)
        assert progress.tally.now.voltage == pytest.approx(series["voltage_V"][row], rel=1e-9)
        assert len(progress.standing.states) == 3
        assert progress.standing.steps == number * BETWEEN_CHECKPOINTS
        assert progress.rows["steps.csv"] == progress.standing.steps


# the real thing


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_killed_at_ten_random_moments_it_ends_the_same(tmp_path: Path, number: signal.Signals) -> None:
    case = (Path(__file__).parents[2] / "cases" / "half-cell" / "case.toml").read_text()
    case = case.replace("[60, 20, 20]", "[30, 12, 12]").replace('"300 s"', '"100 s"').replace("8 um", "5 um")
    assert case.count('"100 s"') == case.count("[30, 12, 12]") == case.count('"5 um"') == 1
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "case.toml").write_text(case)
    assert start(tmp_path / "whole").wait() == 0
    rng, kills, results = random.Random(int(number)), 0, tmp_path / "killed" / "results"
    while kills < 10:
        rows = rows_of(results)
        process = start(tmp_path / "killed", *(["--resume"] if kills else []))
        # at once, while it builds or cuts back, or some steps further than ever before
        wait_for_rows(results, process, rows + rng.randint(-3, 6))
        time.sleep(rng.uniform(0.0, 0.2))
        process.send_signal(number)
        code = process.wait()
        if code == 0:
            break
        kills += 1
        assert code in (-signal.SIGKILL, 128 + number)
    assert kills >= 8
    assert start(tmp_path / "killed", "--resume").wait() == 0
    assert_same(results, tmp_path / "whole" / "results")
    assert rows_of(results) > 30


def start(directory: Path, *options: str) -> subprocess.Popen[bytes]:
    """`battsim run` as a process of its own."""
    code = "from battsim.cli import main; main()"
    command = [sys.executable, "-c", code, "run", str(directory), *options]
    log = (directory / "stderr.txt").open("ab")
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})


def rows_of(results: Path) -> int:
    """Lines of the time series so far."""
    table = results / "timeseries.csv"
    return table.read_bytes().count(b"\n") if table.is_file() else 0


def wait_for_rows(results: Path, process: subprocess.Popen[bytes], rows: int) -> None:
    """Returns once the process has begun its work, and the time series has so many lines."""
    while process.poll() is None:
        try:
            if json.loads((results / "run.json").read_text())["pid"] == process.pid and rows_of(results) >= rows:
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.01)
