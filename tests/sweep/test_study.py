"""Several rates and columns of one case: the same numbers as single runs, and what is done stays done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from battsim import cli
from battsim.output.tables import read_table
from battsim.run.build import full_cell_mesh

HALF_CELL = """
schema = 1
[image.generate]
kind = "spheres"
shape = [12, 6, 6]
voxel_size = "1 um"
active_volume_fraction = 0.5
binder_volume_fraction = 0.1
diameter = { median = "5 um" }
seed = SEED
[materials]
active = "nmc811-chen2020"
electrolyte = "lipf6-nyman2008"
separator = { thickness = "6 um", porosity = 0.47, bruggeman = 1.5, layers = 3 }
[model]
kind = "resolved"
baseline = BASELINE
[[protocol]]
step = "discharge"
rate = "RATE"
until = { voltage = "4.0 V", time = "120 s" }
[solver]
threads = 1
"""
P2D = """
schema = 1
[model]
kind = "p2d"
cell = "half"
[electrode]
material = "nmc811-chen2020"
thickness = "75.6 um"
porosity = 0.335
active_volume_fraction = 0.665
particle_radius = "5.22 um"
bruggeman = 1.5
conductivity = "0.18 S/m"
[materials]
electrolyte = "lipf6-chen2020"
separator = { thickness = "12 um", porosity = 0.47, bruggeman = 1.5 }
[solver.p2d]
points = [4, 8]
radial = 8
[[protocol]]
step = "discharge"
rate = "1 C"
until = { time = "60 s" }
"""
FULL_CELL = """
schema = 1
[negative.image.generate]
kind = "spheres"
shape = [8, 6, 6]
voxel_size = "1 um"
active_volume_fraction = 0.55
diameter = { median = "5 um" }
[negative.materials]
active = "graphite-chen2020"
[positive.image.generate]
kind = "spheres"
shape = [8, 6, 6]
voxel_size = "1 um"
active_volume_fraction = 0.45
diameter = { median = "5 um" }
[positive.materials]
active = "nmc811-chen2020"
[materials]
electrolyte = "lipf6-chen2020"
separator = { thickness = "6 um", porosity = 0.47, bruggeman = 1.5, layers = 3 }
[model]
kind = "resolved"
cell = "full"
[[protocol]]
step = "discharge"
rate = "RATE"
until = { time = "60 s" }
[solver]
threads = 1
"""
TORTUOSITY = Path(__file__).with_name("tortuosity.toml").read_text(encoding="utf-8")


def battsim(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], prog_name="battsim")


def case_in(directory: Path, text: str = HALF_CELL, rate: str = "1 C", seed: int = 1, baseline: bool = False) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    words = {"SEED": str(seed), "BASELINE": str(baseline).lower(), "RATE": rate}
    for word, value in words.items():
        text = text.replace(word, value)
    (directory / "case.toml").write_text(text, encoding="utf-8")
    return directory


def study(directory: Path, *arguments: object, code: int = 0) -> dict[str, Any]:
    result = battsim("run", directory, *arguments, "--json")
    assert result.exit_code == code, result.output
    assert result.stdout.count("\n") == 1
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr.replace("\n", " "), result.stderr


def numbers(results: Path) -> list[bytes]:
    """The tables of a run, and its first fields."""
    return [(results / name).read_bytes() for name in ("timeseries.csv", "steps.csv", "profiles.csv")]


@pytest.fixture(scope="module")
def two_by_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two rates on two columns, with baselines."""
    directory = case_in(tmp_path_factory.mktemp("study"), baseline=True)
    return directory, study(directory, "--rates", "1C,2", "--columns", 2)


def test_every_run_is_the_single_run_of_its_case_to_the_byte(
    two_by_two: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    directory, found = two_by_two
    assert [(run["column"], run["rate_C"]) for run in found["runs"]] == [(1, 1.0), (1, 2.0), (2, 1.0), (2, 2.0)]
    for run in found["runs"][1:3]:  # the second on a mesh, and the first on the next one
        alone = case_in(tmp_path / run["folder"], rate=f"{run['rate_C']} C", seed=run["column"], baseline=True)
        assert battsim("run", alone).exit_code == 0
        together = directory / "results" / run["folder"]
        assert numbers(together) == numbers(alone / "results")
        ours, theirs = (json.loads((place / "summary.json").read_text()) for place in (together, alone / "results"))
        assert ours == theirs
        assert run["capacity_Ah_m2"] == theirs["capacity_Ah_m2"]
        assert (together / "microstructure.json").read_bytes() == (
            alone / "results" / "microstructure.json"
        ).read_bytes()


def test_the_spread_is_that_of_the_runs(two_by_two: tuple[Path, dict[str, Any]]) -> None:
    directory, found = two_by_two
    slow = next(each for each in found["spread"] if each["rate_C"] == 1.0)
    gaps = [run["baselines"]["p2d_image"]["mean_voltage_difference_V"] for run in found["runs"] if run["rate_C"] == 1.0]
    mean = slow["baselines"]["p2d_image"]["mean_voltage_difference_V"]
    assert mean["count"] == 2
    assert mean["mean"] == pytest.approx(sum(gaps) / 2, rel=1e-12)
    assert mean["std"] == pytest.approx(abs(gaps[1] - gaps[0]) / 2**0.5, rel=1e-9)
    # the rungs, from the textbook's cell to the resolved one, add up to the gap over the window that all share
    assert set(slow["ladder"]) == {"+b", "+sigma", "+a", "+radius distribution", "resolved"}
    assert json.loads((directory / "results" / "summary.json").read_text()) == found
    table = read_table(directory / "results" / "runs.csv")
    assert list(table["rate_C"]) == [1.0, 2.0, 1.0, 2.0]
    assert table["p2d_image_mean_voltage_difference_V"][0] == pytest.approx(gaps[0], rel=1e-8)
    assert (directory / "results" / "study.png").stat().st_size > 10_000


def test_what_is_done_is_kept_and_more_rates_can_be_added(tmp_path: Path) -> None:
    directory = case_in(tmp_path)
    study(directory, "--rates", "1C")
    kept = (directory / "results" / "rates" / "1C" / "run.json").read_bytes()
    refused(battsim("run", directory, "--rates", "1C,2C"), 2, "holds a study already", "--resume", "--fresh")
    found = study(directory, "--rates", "1C,2C", "--resume")
    assert [run["state"] for run in found["runs"]] == ["done", "done"]
    assert (directory / "results" / "rates" / "1C" / "run.json").read_bytes() == kept
    case_in(directory, seed=2)
    refused(battsim("run", directory, "--rates", "1C,2C", "--resume"), 9, "image.generate.seed", "was 1, and is 2")
    found = study(directory, "--rates", "2C", "--fresh")
    assert len(found["runs"]) == 1
    assert not (directory / "results" / "rates" / "1C").exists()


def test_a_run_that_fails_leaves_the_others(tmp_path: Path) -> None:
    directory = case_in(tmp_path)
    found = study(directory, "--rates", "1C,5000C", code=8)
    assert [run["state"] for run in found["runs"]] == ["done", "failed"]
    assert found["failed"] == 1
    assert "rates/5000C" in battsim("run", directory, "--rates", "1C,5000C", "--resume").stderr.replace("\n", "")
    assert found["runs"][1]["error"]
    assert found["runs"][1]["capacity_Ah_m2"] is None


def test_a_single_run_and_a_study_do_not_overwrite_each_other(tmp_path: Path) -> None:
    directory = case_in(tmp_path)
    study(directory, "--rates", "1C")
    for option in ([], ["--resume"]):
        refused(battsim("run", directory, *option), 2, "holds a study", "--fresh")
    assert battsim("run", directory, "--fresh").exit_code == 0
    assert not (directory / "results" / "rates").exists()
    for option in ([], ["--resume"]):
        refused(battsim("run", directory, "--rates", "1C", *option), 2, "holds a single run", "--fresh")
    (directory / "results" / "mine.txt").write_text("kept")
    study(directory, "--rates", "1C", "--fresh")
    assert (directory / "results" / "mine.txt").read_text() == "kept"
    assert not (directory / "results" / "timeseries.csv").exists()


def test_rates_of_a_full_cell_share_its_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = case_in(tmp_path / "alone", FULL_CELL, rate="2 C")
    assert battsim("run", alone).exit_code == 0
    meshes = []
    monkeypatch.setattr(
        "battsim.run.full_cell.full_cell_mesh", lambda *given: meshes.append(full_cell_mesh(*given)) or meshes[-1]
    )
    directory = case_in(tmp_path / "both", FULL_CELL, rate="1 C")
    study(directory, "--rates", "1C,2C")
    assert numbers(directory / "results" / "rates" / "2C") == numbers(alone / "results")
    assert len(meshes) == 1


def test_rates_of_a_homogenised_cell(tmp_path: Path) -> None:
    directory = case_in(tmp_path, P2D)
    found = study(directory, "--rates", "C/2,2C")
    assert [run["folder"] for run in found["runs"]] == ["rates/0.5C", "rates/2C"]
    currents = [read_table(directory / "results" / run["folder"] / "timeseries.csv") for run in found["runs"]]
    assert currents[1]["current_A_m2"][-1] == pytest.approx(4.0 * currents[0]["current_A_m2"][-1], rel=1e-9)
    refused(battsim("run", directory, "--columns", 2, "--fresh"), 3, "p2d", "no image to take columns from")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ('step = "discharge"\ncurrent = "10 A/m^2"\nuntil = { time = "60 s" }', "has no rate"),
        (
            'step = "discharge"\nrate = 1\nuntil = { time = "60 s" }\n[[protocol]]\nstep = "charge"\nrate = 2\n'
            'until = { time = "60 s" }',
            "is held at several rates (1 C, 2 C)",
        ),
    ],
)
def test_a_protocol_without_one_rate(step: str, words: str, tmp_path: Path) -> None:
    directory = case_in(tmp_path, P2D.split("[[protocol]]")[0] + f"[[protocol]]\n{step}\n")
    refused(battsim("run", directory, "--rates", "1C"), 3, "case.toml: protocol:", words, "rate = ")


def test_rates_that_are_none(tmp_path: Path) -> None:
    directory = case_in(tmp_path)
    refused(battsim("run", directory, "--rates", "1C,fast"), 3, '"fast"', "not a rate")
    refused(battsim("run", directory, "--rates", "1C,1"), 2, "twice")
    refused(battsim("run", case_in(tmp_path / "tau", TORTUOSITY), "--rates", "1C"), 2, "tortuosity", "no rates")
