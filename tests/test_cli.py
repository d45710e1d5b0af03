import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pyvista
import tifffile
from typer.testing import CliRunner, Result

from battsim import cli
from battsim.case import Case, load_case
from battsim.cli.commands import TEMPLATES
from battsim.cli.guard import Terminated
from battsim.errors import (
    BattsimError,
    CaseError,
    CheckpointError,
    ImpossibleError,
    InputError,
    NotConvergedError,
    ResourceError,
)
from battsim.output.checkpoint import Checkpoint, whole
from battsim.output.checkpoint import save as save_checkpoint
from battsim.output.record import recorded, state_of, write_json
from battsim.run.checkpoint import Found, finished_summary, stands_at
from meshing.errors import ImageError, LabelError, MeshError
from meshing.image import VoxelImage
from meshing.voxel import voxel_mesh

SUMMARY = {
    "kind": "resolved",
    "stop": {"reason": "voltage", "step": 0},
    "capacity_Ah_m2": 12.5,
    "warnings": ["careful"],
}


def battsim(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], prog_name="battsim")


def only_object(result: Result) -> dict[str, Any]:
    """The one JSON object on standard output."""
    assert result.stdout.count("\n") == 1
    content = json.loads(result.stdout, parse_constant=pytest.fail)
    assert isinstance(content, dict)
    return content


def refused(result: Result, code: int, *words: str) -> None:
    """Exit code, one error on standard error, no traceback anywhere."""
    assert result.exit_code == code, result.output
    assert "error: " in result.stderr or "Error" in result.stderr
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.output


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Stands for battsim.run; a test sets what its functions do."""

    def run_case(
        case: Case, *, results: Path, progress: Callable[[float, str], None] | None, checkpoint: Checkpoint | None
    ) -> dict[str, Any]:
        with recorded(results, inputs={}, seed=None, threads=1):
            assert progress is not None
            engine.during()
            progress(0.5, "half way")
            engine.started_from.append(checkpoint)
            write_json(results / "case.resolved.json", case.resolved())
            save_checkpoint(results / "checkpoints", engine.steps, {"time_s": 5.0 * engine.steps}, {})
            if engine.error is not None:
                raise engine.error
            write_json(results / "summary.json", engine.summary)
        return engine.summary

    def find_checkpoint(_: Case, results: Path) -> Found:
        found, wrong = whole(results / "checkpoints")
        return Found(found[0] if found else None, tuple(wrong))

    engine = SimpleNamespace(
        error=None, summary=SUMMARY, images=[], mesh=None, steps=1, started_from=[], during=lambda: None
    )
    module = ModuleType("battsim.run")
    module.run_case = run_case  # type: ignore[attr-defined]
    module.find_checkpoint = find_checkpoint  # type: ignore[attr-defined]
    module.finished_summary = finished_summary  # type: ignore[attr-defined]
    module.stands_at = stands_at  # type: ignore[attr-defined]
    module.check_images = engine.images.append  # type: ignore[attr-defined]
    module.mesh_of = lambda _: engine.mesh  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "battsim.run", module)
    return engine


@pytest.fixture
def case(tmp_path: Path) -> Path:
    assert battsim("init", tmp_path / "case").exit_code == 0
    return tmp_path / "case"


@pytest.fixture
def tortuosity_case(tmp_path: Path) -> Path:
    assert battsim("init", tmp_path / "tau", "--template", "tortuosity").exit_code == 0
    return tmp_path / "tau"


def edit(case: Path, old: str, new: str) -> None:
    text = (case / "case.toml").read_text()
    assert old in text
    (case / "case.toml").write_text(text.replace(old, new, 1))


# help


@pytest.mark.parametrize("command", ["init", "info", "validate", "tortuosity", "mesh", "run"])
def test_every_command_has_help_with_an_example_and_json(command: str) -> None:
    result = battsim(command, "--help")
    assert result.exit_code == 0
    assert f"battsim {command}" in result.stdout.split("Example")[1]
    assert "--json" in result.stdout


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = "import sys; from battsim import cli; print([m for m in sys.modules if m in %r])"
    heavy = ["numpy", "scipy", "numba", "pydantic", "pint", "fipy", "pyvista", "vtk", "matplotlib", "skimage", "rich"]
    found = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_command_is_a_usage_error() -> None:
    assert battsim().exit_code == 2
    refused(battsim("runn"), 2, "runn")
    refused(battsim("run"), 2, "DIR")
    refused(battsim("run", "x", "--frish"), 2, "--frish")


def test_version() -> None:
    from importlib.metadata import version

    assert battsim("--version").stdout == f"battsim {version('battsim')}\n"


# init


@pytest.mark.parametrize("template", TEMPLATES)
def test_init_makes_a_case_that_validates(tmp_path: Path, template: str) -> None:
    result = battsim("init", tmp_path / "a" / "b", "--template", template, "--json")
    assert only_object(result)["template"] == template
    assert battsim("validate", tmp_path / "a" / "b").exit_code == 0


def test_init_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    assert battsim("init", tmp_path).exit_code == 0
    (tmp_path / "case.toml").write_text("mine")
    refused(battsim("init", tmp_path), 2, "has a case.toml already", "name another directory")
    assert (tmp_path / "case.toml").read_text() == "mine"
    refused(battsim("init", tmp_path / "case.toml"), 2, "is a file")
    refused(battsim("init", tmp_path / "b", "--template", "full-cell"), 2, "full-cell", "half-cell, p2d, tortuosity")
    assert not (tmp_path / "b").exists()


# validate


def test_validate_says_what_it_found(case: Path) -> None:
    assert "valid (resolved; image from a recipe; phases pore, active, binder)" in battsim("validate", case).stdout
    content = only_object(battsim("validate", case, "--json"))
    assert content["valid"] is True
    assert content["case"]["materials"]["separator"]["thickness"] == 12e-6


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("through_plane", "thrugh_plane", 3, ["image.thrugh_plane", "did you mean 'through_plane'?"]),
        ('"12 um"', '"12 V"', 3, ['materials.separator.thickness = "12 V"', '"0.4 um"']),
        ('"1 C"', '"fast"', 3, ['protocol.0.rate = "fast"', '"C/5"']),
        ('"1 C"', '"5000 C"', 5, ["protocol.0.rate = 5000 C", "beyond 1000 C"]),
        ("soc = 1.0", "soc = 1.0\nvoltage = 4.2", 3, ["initial", "soc and voltage"]),
        ('kind = "resolved"', 'kind = "p2d"', 3, ['image: is not used by model.kind = "p2d"']),
        ('step = "discharge"', 'step = "hold"', 3, ["protocol.0 is a hold, which takes no rate"]),
        ("schema = 1", "schema == 1", 3, ["not valid TOML", "line 5"]),
    ],
)
@pytest.mark.parametrize("command", ["validate", "run", "mesh"])
@pytest.mark.usefixtures("engine")
def test_bad_cases_are_refused_by_name(
    case: Path, command: str, old: str, new: str, code: int, words: list[str]
) -> None:
    edit(case, old, new)
    refused(battsim(command, case), code, "case.toml", *words)
    assert [p.name for p in case.iterdir()] == ["case.toml"]


def test_missing_case_and_image(case: Path, tmp_path: Path, engine: SimpleNamespace) -> None:
    refused(battsim("validate", tmp_path / "nowhere"), 4, "nowhere", "battsim init")
    edit(
        case,
        "\n[image.generate]",
        '\nfile = "cathode.tif"\nvoxel_size = 1e-6\nlabels = {pore = 0, active = 1}\n[other]',
    )
    text = (case / "case.toml").read_text()
    head, tail = text.split("[other]")
    (case / "case.toml").write_text(head + tail[tail.index("[materials]") :])
    refused(battsim("validate", case), 4, "case.toml", 'image.file = "cathode.tif"', "does not exist")
    (case / "cathode.tif").touch()
    assert battsim("validate", case).exit_code == 0
    assert [found.image_file for found in engine.images] == [(case / "cathode.tif").resolve()]


# run


@pytest.mark.usefixtures("engine")
def test_run_reports_and_logs(case: Path) -> None:
    result = battsim("run", case)
    assert result.exit_code == 0
    assert "capacity_Ah_m2: 12.5" in result.stdout
    assert "stop: reason voltage, step 0" in result.stdout
    assert "warning: careful" in result.stderr
    assert "half way" not in result.stderr
    assert "half way" in (case / "results" / "run.log").read_text()


def test_run_json_is_the_summary_without_nan(case: Path, engine: SimpleNamespace) -> None:
    engine.summary = {"kind": "resolved", "capacity_Ah_m2": np.float64("nan"), "cells": np.int64(3)}
    assert only_object(battsim("run", case, "--json")) == {"kind": "resolved", "capacity_Ah_m2": None, "cells": 3}


@pytest.mark.usefixtures("engine")
def test_a_finished_run_is_kept_unless_fresh(case: Path) -> None:
    assert battsim("run", case).exit_code == 0
    (case / "results" / "notes.txt").write_text("mine")
    (case / "results" / "report.html").write_text("old")
    refused(battsim("run", case), 2, "finished run", "--fresh")
    assert (case / "results" / "report.html").exists()
    assert battsim("run", case, "--fresh").exit_code == 0
    assert (case / "results" / "notes.txt").read_text() == "mine"
    assert not (case / "results" / "report.html").exists()


@pytest.mark.usefixtures("engine")
def test_a_bad_case_does_not_cost_the_old_results(case: Path) -> None:
    assert battsim("run", case).exit_code == 0
    edit(case, '"12 um"', '"12 V"')
    assert battsim("run", case, "--fresh").exit_code == 3
    assert (case / "results" / "summary.json").exists()


@pytest.mark.usefixtures("engine")
def test_a_running_run_is_left_alone(case: Path) -> None:
    with recorded(case / "results", inputs={}, seed=None, threads=1):
        refused(battsim("run", case), 2, "under way, or was killed", "--fresh")
        assert battsim("run", case, "--fresh").exit_code == 0


# resume


def test_resume_without_results_starts_anew_and_says_so(case: Path, engine: SimpleNamespace) -> None:
    result = battsim("run", case, "--resume")
    assert result.exit_code == 0
    assert "there is nothing to resume, and the run starts anew" in result.stderr
    assert "capacity_Ah_m2: 12.5" in result.stdout
    assert engine.started_from == [None]


def test_resume_goes_on_from_the_last_checkpoint(case: Path, engine: SimpleNamespace) -> None:
    engine.error, engine.steps = KeyboardInterrupt(), 7
    stopped = battsim("run", case)
    refused(stopped, 130, "its last checkpoint is at t = 35 s", f"battsim run {case} --resume goes on from there")
    assert state_of(case / "results") == "stopped"
    # hours may lie in it: it takes a word to throw them away
    refused(battsim("run", case), 2, "holds checkpoints of a run that did not end", "--resume", "--fresh")
    engine.error, engine.steps = None, 8
    result = battsim("run", case, "--resume", "--json")
    assert only_object(result) == SUMMARY
    assert result.stderr == ""
    assert [found and found.number for found in engine.started_from] == [None, 7]


def test_resume_after_a_kill(case: Path, engine: SimpleNamespace) -> None:
    engine.error, engine.steps = KeyboardInterrupt(), 7
    battsim("run", case)
    record = json.loads((case / "results" / "run.json").read_text())
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write_json(case / "results" / "run.json", record | {"state": "running", "pid": other.pid})
    engine.error = None
    refused(battsim("run", case, "--resume"), 2, "under way")
    refused(battsim("run", case), 2, "under way, or was killed; --resume goes on with one that was killed")
    other.communicate()
    assert battsim("run", case, "--resume").exit_code == 0
    assert engine.started_from[-1].number == 7


def test_resume_of_a_finished_run_gives_its_summary_again(case: Path, engine: SimpleNamespace) -> None:
    engine.summary = {**SUMMARY, "capacity_Ah_m2": 11.5}
    assert battsim("run", case).exit_code == 0
    record = (case / "results" / "run.json").read_text()
    write_json(case / "results" / "run.json", json.loads(record) | {"inputs": {"case.toml": "of another comment"}})
    result = battsim("run", case, "--resume", "--json")
    assert only_object(result) == engine.summary
    assert "finished run of this case: there is nothing to resume" in result.stderr
    assert len(engine.started_from) == 1
    edit(case, '"1 C"', '"2 C"')
    refused(battsim("run", case, "--resume"), 9, "case.toml protocol.0.rate was 1.0, and is 2.0", "--fresh")
    assert len(engine.started_from) == 1


def test_a_checkpoint_of_another_case_is_refused(case: Path, engine: SimpleNamespace) -> None:
    def refuse(_: Case, __: Path) -> Found:
        raise CheckpointError("belongs to other inputs")

    sys.modules["battsim.run"].find_checkpoint = refuse  # type: ignore[attr-defined]
    result = battsim("run", case, "--resume", "--json")
    refused(result, 9, "belongs to other inputs")
    assert only_object(result) == {"error": "belongs to other inputs", "exit_code": 9}
    assert engine.started_from == []


def test_a_damaged_checkpoint_is_told(case: Path, engine: SimpleNamespace) -> None:
    engine.error = KeyboardInterrupt()
    battsim("run", case)
    save_checkpoint(case / "results" / "checkpoints", 2, {"time_s": 10.0}, {}).write_bytes(b"")
    engine.error = None
    result = battsim("run", case, "--resume")
    assert result.exit_code == 0
    assert "warning: " in result.stderr
    assert "checkpoint_00000002.npz is damaged" in result.stderr
    assert engine.started_from[-1].number == 1


@pytest.mark.usefixtures("engine")
def test_resume_and_fresh_exclude_each_other(case: Path) -> None:
    refused(battsim("run", case, "--resume", "--fresh"), 2, "choose one")
    assert not (case / "results").exists()


def test_fresh_removes_checkpoints(case: Path, engine: SimpleNamespace) -> None:
    engine.error, engine.steps = KeyboardInterrupt(), 7
    battsim("run", case)
    engine.error, engine.steps = None, 1
    assert battsim("run", case, "--fresh").exit_code == 0
    assert [path.name for path in (case / "results" / "checkpoints").glob("*.npz")] == ["checkpoint_00000001.npz"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CaseError("m"), 3),
        (LabelError("m"), 3),
        (InputError("m"), 4),
        (ImageError("m"), 4),
        (ImpossibleError("m"), 5),
        (MeshError("m"), 5),
        (NotConvergedError("m"), 6),
        (ResourceError("m"), 7),
        (CheckpointError("m"), 9),
        (MemoryError("m"), 7),
        (OSError(28, "No space left on device", "file"), 7),
        (PermissionError(13, "Permission denied", "file"), 4),
        (BattsimError("m"), 70),
        (KeyboardInterrupt(), 130),
        (Terminated(143), 143),
    ],
)
def test_exit_codes(case: Path, engine: SimpleNamespace, error: BaseException, code: int) -> None:
    engine.error = error
    result = battsim("run", case, "--json")
    refused(result, code)
    content = only_object(result)
    assert content["exit_code"] == code
    assert f"error: {content['error']}" in result.stderr
    assert state_of(case / "results") == ("stopped" if code > 100 else "failed")
    assert not (case / "results" / "summary.json").exists()


def test_a_run_that_failed_before_its_first_checkpoint_may_be_repeated(case: Path, engine: SimpleNamespace) -> None:
    engine.error = NotConvergedError("m")
    assert battsim("run", case).exit_code == 6
    shutil.rmtree(case / "results" / "checkpoints")
    engine.error = None
    assert battsim("run", case).exit_code == 0


def test_a_bug_leaves_its_traceback_in_the_log(case: Path, engine: SimpleNamespace) -> None:
    engine.error = ZeroDivisionError("1/0")
    result = battsim("run", case)
    refused(result, 70, "a bug of ours: ZeroDivisionError: 1/0", str(case / "results" / "run.log"))
    assert "Traceback" in (case / "results" / "run.log").read_text()


def test_a_bug_without_results_leaves_a_file(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("1/0")

    monkeypatch.setattr("battsim.case.load_case", broken)
    result = battsim("validate", case)
    refused(result, 70, "a bug of ours")
    log = Path(result.stderr.split()[-1])
    assert "Traceback" in log.read_text()
    log.unlink()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize(
    ("number", "code", "told"),
    [(signal.SIGTERM, 143, "error: terminated\n"), (signal.SIGINT, 130, "error: interrupted\n")],
)
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_ends_a_run_at_its_next_report_and_a_second_one_at_once(
    case: Path, tmp_path: Path, number: signal.Signals, code: int, told: str, times: int
) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, time, types\n"
        "from battsim import cli\n"
        "from battsim.output.record import recorded\n"
        "class Unlucky:\n"
        "    def __del__(self):\n"
        "        time.sleep(3 if %d == 1 else 60)\n"
        "def run_case(case, *, results, progress, checkpoint):\n"
        "    with recorded(results, inputs={}, seed=None, threads=1):\n"
        "        Unlucky()  # an exception that came up in a destructor would be lost\n"
        "        progress(0.5, 'a step')\n"
        "        time.sleep(60)\n"
        "sys.modules['battsim.run'] = types.ModuleType('battsim.run')\n"
        "sys.modules['battsim.run'].run_case = run_case\n"
        "sys.modules['battsim.run'].stands_at = lambda results: ''\n"
        f"sys.argv = ['battsim', 'run', {str(case)!r}]\n"
        "cli.main()\n" % times
    )
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 20
    while state_of(case / "results") != "running" and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.2)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == code
    assert errors.startswith("ends after this step; once more: at once\n")
    assert errors.endswith(told)
    assert state_of(case / "results") == "stopped"


@pytest.mark.usefixtures("engine")
def test_a_signal_that_is_ignored_stays_ignored(case: Path, engine: SimpleNamespace) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        engine.during = lambda: signal.raise_signal(signal.SIGINT)
        assert battsim("run", case).exit_code == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    engine.during = lambda: signal.raise_signal(signal.SIGINT)
    assert battsim("run", case, "--fresh").exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before


# tortuosity of a case


def test_tortuosity_of_a_case_is_its_run(tortuosity_case: Path, case: Path, engine: SimpleNamespace) -> None:
    engine.summary = {
        "kind": "tortuosity",
        "porosity": 0.45,
        "directions": {
            "x": {"percolates": True, "tau": 2.25, "D_eff": 0.2, "percolating_fraction": 1.0, "error_estimate": 1e-3},
            "y": {"percolates": False, "tau": None, "D_eff": 0.0, "percolating_fraction": 0.0, "error_estimate": 0.0},
        },
    }
    result = battsim("tortuosity", tortuosity_case)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2:] == [
        "axis  tau   D_eff  percolating  error of tau",
        "x     2.25  0.2    100.00 %     +- 0.0023 (iteration)",
        "y     -     0      0.00 %       does not percolate",
        f"results in {tortuosity_case / 'results'}",
    ]
    assert state_of(tortuosity_case / "results") == "done"
    refused(battsim("tortuosity", tortuosity_case), 2, "--fresh")
    refused(battsim("tortuosity", case), 2, 'model.kind = "resolved"', "battsim run")
    refused(battsim("tortuosity", tortuosity_case, "--phase", "0"), 2, "--phase", "case.toml")


# an image alone


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A straight channel of 2 along axis 0, in 1, with a plug of 7 that percolates nowhere."""
    labels = np.ones((6, 4, 4), np.uint8)
    labels[:, 1:3, 1] = 2
    labels[2, 3, 3] = 7
    tifffile.imwrite(tmp_path / "image.tif", labels, photometric="minisblack")
    return tmp_path / "image.tif"


def test_info_counts_and_proposes_a_table(image: Path, tmp_path: Path) -> None:
    text = battsim("info", image).stdout
    assert "6 x 4 x 4 voxels of uint8" in text
    assert "value 2: 12 voxels, 0.1250" in text
    info = only_object(battsim("info", image, "--json"))
    assert info["labels"] == [
        {"value": 1, "voxels": 83, "share": 83 / 96},
        {"value": 2, "voxels": 12, "share": 0.125},
        {"value": 7, "voxels": 1, "share": 1 / 96},
    ]
    assert (info["shape"], info["voxels"], info["bytes"]) == ([6, 4, 4], 96, 96)
    snippet = info["case_toml"]
    refusal = tmp_path / "case.toml"
    refusal.write_text(snippet + '[model]\nkind = "tortuosity"\n[transport.conductivity]\nphase_2 = 1.0\n')
    refused(battsim("validate", tmp_path), 3, "image.voxel_size", '"? um"')
    refusal.write_text(refusal.read_text().replace("? um", "1 um"))
    assert load_case(tmp_path).image.labels == {"phase_1": (1,), "phase_2": (2,), "phase_7": (7,)}


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "uint16", "int32", "float32"])
def test_info_reads_any_whole_type(tmp_path: Path, dtype: str) -> None:
    low = 0 if dtype in ("bool", "uint16") else -1
    values = np.array([low, 1, 1, 1, low, 1, 1, 1], dtype).reshape(2, 2, 2)
    np.save(tmp_path / "image.npy", values)
    info = only_object(battsim("info", tmp_path / "image.npy", "--json"))
    assert [(label["value"], label["voxels"]) for label in info["labels"]] == [(low, 2), (1, 6)]
    assert not isinstance(info["labels"][0]["value"], bool)


@pytest.mark.parametrize("odd", [0.5, float("nan"), float("inf")])
def test_info_of_fractions_lists_no_labels(tmp_path: Path, odd: float) -> None:
    np.save(tmp_path / "image.npy", np.array([odd, 1.0]).reshape(2, 1, 1))
    info = only_object(battsim("info", tmp_path / "image.npy", "--json"))
    assert (info["values"], info["labels"]) == (2, [])


def test_info_of_a_grey_image_lists_no_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", np.arange(1000, dtype=np.uint16).reshape(10, 10, 10))
    result = battsim("info", tmp_path / "grey.npy")
    assert "1000 values from 0 to 999: a grey image, to be segmented first" in result.stdout
    assert "labels = {" not in result.stdout


@pytest.mark.parametrize("command", [("info",), ("tortuosity", "--phase", "1")])
def test_images_that_cannot_be_read(tmp_path: Path, image: Path, command: tuple[str, ...]) -> None:
    name, *options = command
    refused(battsim(name, tmp_path / "nothing.tif", *options), 4, "nothing.tif")
    (tmp_path / "text.tif").write_text("no image")
    refused(battsim(name, tmp_path / "text.tif", *options), 4, "text.tif")
    (tmp_path / "cut.tif").write_bytes(image.read_bytes()[:-40])
    refused(battsim(name, tmp_path / "cut.tif", *options), 4, "cut.tif")
    (tmp_path / "odd.xyz").touch()
    refused(battsim(name, tmp_path / "odd.xyz", *options), 4, "odd.xyz", ".tif")
    (tmp_path / "image.raw").touch()
    refused(battsim(name, tmp_path / "image.raw", *options), 2, "image.raw", "shape and dtype in [image]")


def test_tortuosity_of_a_channel_is_one(image: Path) -> None:
    summary = only_object(battsim("tortuosity", image, "--phase", "2", "--axis", "x", "--json"))
    assert (summary["kind"], summary["porosity"], list(summary["directions"])) == ("tortuosity", 0.125, ["x"])
    x = summary["directions"]["x"]
    # the exact answer of a straight channel; the solver's tolerance on D_eff is 1e-4, a guess of it is exact
    assert x["tau"] == pytest.approx(1.0, abs=1e-9)
    assert x["D_eff"] == pytest.approx(0.125, abs=1e-9)
    both = only_object(battsim("tortuosity", image, "--phase", "1,2,7", "--json"))
    assert [both["directions"][axis]["tau"] for axis in "xyz"] == pytest.approx([1.0] * 3, abs=1e-9)


def test_some_axis_suffices(image: Path) -> None:
    result = battsim("tortuosity", image, "--phase", "2")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["x", "1", "0.125", "100.00", "%"] in [line[:5] for line in lines]
    assert ["z", "-", "0", "0.00", "%", "does", "not", "percolate"] in lines


@pytest.mark.parametrize("axis", ["x", "all"])
def test_no_percolation_is_impossible_and_says_so_in_the_answer(image: Path, axis: str) -> None:
    result = battsim("tortuosity", image, "--phase", "7", "--axis", axis, "--json")
    refused(result, 5, "image.tif", "--phase 7 does not percolate along x", "choose another phase")
    x = only_object(result)["directions"]["x"]
    assert (x["tau"], x["D_eff"], x["percolates"]) == (None, 0.0, False)


def test_voxel_size_is_in_array_order(image: Path) -> None:
    def tau(voxel_size: str) -> float:
        options = ("--phase", "1", "--axis", "x", "--voxel-size", voxel_size, "--json")
        return float(only_object(battsim("tortuosity", image, *options))["directions"]["x"]["tau"])

    # a detour around the plug counts less, the longer the voxels are along the axis
    assert tau("1 um") > tau("4 um,1 um,1 um") > 1.0
    assert tau("1 um") == pytest.approx(tau("0.4 um,0.4 um,0.4 um"), rel=1e-9)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, ["--phase is required", "1 (86.5%), 2 (12.5%), 7 (1.0%)"]),
        (("--phase", "3"), 3, ["--phase 3 does not occur", "1 (86.5%), 2 (12.5%), 7 (1.0%)"]),
        (("--phase", "2,x"), 2, ["--phase 2,x", "--phase 0,2"]),
        (("--phase", "2", "--axis", "w"), 2, ["--axis w", "x, y, z or all"]),
        (("--phase", "2", "--voxel-size", "1 V"), 3, ["--voxel-size", "a length is expected"]),
        (("--phase", "2", "--voxel-size", "1 um,1 um"), 2, ["one positive length or three"]),
        (("--phase", "2", "--voxel-size", "0 um"), 2, ["one positive length or three"]),
    ],
)
def test_bad_options_on_an_image(image: Path, options: tuple[str, ...], code: int, words: list[str]) -> None:
    refused(battsim("tortuosity", image, *options), code, *words)


def test_a_folder_of_slices_is_an_image(tmp_path: Path) -> None:
    (tmp_path / "slices").mkdir()
    for k in range(4):
        tifffile.imwrite(tmp_path / "slices" / f"{k:03}.tif", np.ones((3, 3), np.uint8), photometric="minisblack")
    assert "x     1    1      100.00 %" in battsim("tortuosity", tmp_path / "slices", "--phase", "1").stdout
    refused(battsim("tortuosity", tmp_path / "slices"), 4, "contains no case.toml")


def test_real_image() -> None:
    folder = os.environ.get("BATTSIM_DATA")
    if folder is None:
        pytest.skip("set BATTSIM_DATA to the folder of real images")
    blobs = Path(folder) / "openimpala_blobs100.tif"
    assert [label["voxels"] for label in only_object(battsim("info", blobs, "--json"))["labels"]] == [601691, 398309]
    x = only_object(battsim("tortuosity", blobs, "--phase", "1", "--axis", "x", "--json"))["directions"]["x"]
    # an independent conjugate-gradient solver, good to about three digits
    assert x["tau"] == pytest.approx(3.166, rel=2e-3)


# mesh


def test_mesh_counts_and_writes(case: Path, engine: SimpleNamespace) -> None:
    labels = np.zeros((4, 2, 2), np.uint8)
    labels[2:] = 1
    built = voxel_mesh(VoxelImage(labels, (1e-6, 1e-6, 1e-6), ("pore", "active")), inside="active")
    engine.mesh = built
    counts = only_object(battsim("mesh", case, "--json"))
    assert (counts["cells"], counts["phases"]) == (16, {"pore": 8, "active": 8})
    assert counts["interfaces"] == {"active|pore": 4}
    # the surface is flat: its true area is that of the four voxel faces, to rounding
    assert counts["interface_area_m2"]["active|pore"] == pytest.approx(4e-12, rel=1e-6)
    assert pyvista.read(case / "mesh.vtu").n_cells == 16
    assert "cells: 16" in battsim("mesh", case, "--output", case / "other.vtu").stdout
    assert (case / "other.vtu").exists()
    refused(battsim("mesh", case, "--output", case / "x.stl"), 2, "x.stl", ".vtu")
    refused(battsim("mesh", case, "--output", case / "no" / "x.vtu"), 2, "is not a directory")
