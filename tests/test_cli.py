import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from battsim import cli
from battsim.case import Case
from battsim.cli.commands import TEMPLATES
from battsim.cli.guard import Terminated
from battsim.errors import BattsimError, CaseError, ImpossibleError, InputError, NotConvergedError, ResourceError
from battsim.output.record import recorded, state_of
from meshing.errors import ImageError, LabelError, MeshError

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

    def run_case(_: Case, *, results: Path, progress: Callable[[float, str], None] | None) -> dict[str, Any]:
        with recorded(results, inputs={}, seed=None, threads=1):
            assert progress is not None
            progress(0.5, "half way")
            if engine.error is not None:
                raise engine.error
            (results / "summary.json").write_text("{}")
        return engine.summary

    engine = SimpleNamespace(error=None, summary=SUMMARY, images=[], meshes=[])
    module = ModuleType("battsim.run")
    module.run_case = run_case  # type: ignore[attr-defined]
    module.build_image = engine.images.append  # type: ignore[attr-defined]
    module.build_mesh = engine.meshes.append  # type: ignore[attr-defined]
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
    refused(battsim("init", tmp_path / "b", "--template", "full-cell"), 2, "full-cell", "half-cell, tortuosity")
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
        ('kind = "resolved"', 'kind = "p2d"', 3, ['model.kind = "p2d" is not available in this version']),
        ('step = "discharge"', 'step = "hold"', 3, ['protocol.0.step = "hold" is not available']),
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


@pytest.mark.usefixtures("engine")
def test_resume_is_refused_by_name(case: Path) -> None:
    refused(battsim("run", case, "--resume"), 2, "--resume is not available in this version", "--fresh")
    assert not (case / "results").exists()


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


def test_a_failed_run_may_be_repeated(case: Path, engine: SimpleNamespace) -> None:
    engine.error = NotConvergedError("m")
    assert battsim("run", case).exit_code == 6
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
def test_sigterm_ends_a_run_with_its_record(case: Path, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, time, types\n"
        "from battsim import cli\n"
        "from battsim.output.record import recorded\n"
        "def run_case(case, *, results, progress):\n"
        "    with recorded(results, inputs={}, seed=None, threads=1):\n"
        "        time.sleep(60)\n"
        "sys.modules['battsim.run'] = types.ModuleType('battsim.run')\n"
        "sys.modules['battsim.run'].run_case = run_case\n"
        f"sys.argv = ['battsim', 'run', {str(case)!r}]\n"
        "cli.main()\n"
    )
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 20
    while state_of(case / "results") != "running" and time.monotonic() < until:
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 143
    assert errors == "error: terminated\n"
    assert state_of(case / "results") == "stopped"


# tortuosity of a case


def test_tortuosity_of_a_case_is_its_run(tortuosity_case: Path, case: Path, engine: SimpleNamespace) -> None:
    engine.summary = {
        "kind": "tortuosity",
        "porosity": 0.45,
        "directions": {"x": {"percolates": True, "tau": 2.0, "D_eff": 0.2}, "y": {"percolates": False}},
    }
    result = battsim("tortuosity", tortuosity_case)
    assert result.exit_code == 0
    assert "x: tau 2, D_eff 0.2\n" in result.stdout
    assert "y: does not percolate" in result.stdout
    assert state_of(tortuosity_case / "results") == "done"
    refused(battsim("tortuosity", tortuosity_case), 2, "--fresh")
    refused(battsim("tortuosity", case), 2, 'model.kind = "resolved"', "battsim run")
    refused(battsim("tortuosity", tortuosity_case, "--phase", "0"), 2, "--phase", "case.toml")
