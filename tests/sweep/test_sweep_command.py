"""`battsim sweep` from the command line: plans, refusals, a real sweep and what it leaves."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from battsim import cli
from battsim.case import load_case
from battsim.run import run_case
from battsim.sweep.collect import write_index

TORTUOSITY = 'name = "packed"\n' + Path(__file__).with_name("tortuosity.toml").read_text(encoding="utf-8")
SWEEP = """
schema = 1
method = "grid"
[parameters]
"image.generate.active_volume_fraction" = { low = 0.4, high = 0.6, steps = 3 }
"image.generate.diameter.median" = ["4 um", "5 um"]
"""
ACTIVE, MEDIAN = "image.generate.active_volume_fraction", "image.generate.diameter.median"


def battsim(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], prog_name="battsim")


def case_in(directory: Path, sweep: str = SWEEP, text: str = TORTUOSITY) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "case.toml").write_text(text, encoding="utf-8")
    (directory / "sweep.toml").write_text(sweep, encoding="utf-8")
    return directory


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr.replace("\n", " "), result.stderr


def answer(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exit_code == code, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def without_times(content: Any) -> Any:
    """The same without what a clock said."""
    if isinstance(content, dict):
        return {name: without_times(inner) for name, inner in content.items() if not name.endswith("_s")}
    return content


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Six members on two workers; one more that cannot percolate."""
    directory = case_in(tmp_path_factory.mktemp("sweep"))
    text = SWEEP + '[replicates]\n"image.generate.binder_volume_fraction" = [0.0, 0.399]\n'
    case_in(directory, text.replace("0.6, steps = 3", "0.6, steps = 2"))
    return directory, answer(battsim("sweep", directory, "--workers", 2, "--json"), 8)


def test_members_are_the_cases_run_one_by_one(swept: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    directory, summary = swept
    done = [run for run in summary["runs"] if run["state"] == "done"]
    assert summary["members"] == 8
    assert summary["done"] == len(done) >= 4
    for run in done:
        folder = directory / "runs" / run["folder"]
        run_case(load_case(folder), results=tmp_path / run["member"])
        ours = json.loads((folder / "results" / "summary.json").read_text())
        theirs = json.loads((tmp_path / run["member"] / "summary.json").read_text())
        assert without_times(ours) == without_times(theirs)
        for name in ("microstructure.json",):
            assert (folder / "results" / name).read_bytes() == (tmp_path / run["member"] / name).read_bytes()


def test_what_fails_is_listed(swept: tuple[Path, dict[str, Any]]) -> None:
    directory, summary = swept
    failed = [run for run in summary["runs"] if run["state"] == "failed"]
    assert summary["failed"] == len(failed) >= 1
    # 0.6 active and 0.399 binder leave two voxels of pore
    assert any(run["parameters"][ACTIVE] == 0.6 for run in failed)
    assert all("percolates along none" in run["error"] for run in failed)
    again = battsim("sweep", directory, "--resume", "--workers", 1)
    refused(again, 8, f"{len(failed)} of 8 members failed", failed[0]["member"])
    assert f"{summary['done']} of them before" in again.stdout


def test_the_table_has_inputs_and_numbers(swept: tuple[Path, dict[str, Any]]) -> None:
    directory, summary = swept
    rows = list(csv.DictReader((directory / "runs" / "index.csv").open(newline="")))
    assert [row["member"] for row in rows] == [run["member"] for run in summary["runs"]]
    assert [row["state"] for row in rows] == [run["state"] for run in summary["runs"]]
    for row, run in zip(rows, summary["runs"], strict=True):
        assert float(row[ACTIVE]) == run["parameters"][ACTIVE]
        assert f"{float(row[MEDIAN]) * 1e6:g} um" == run["parameters"][MEDIAN]  # SI
        if run["state"] == "done":
            ours = json.loads((directory / "runs" / run["folder"] / "results" / "summary.json").read_text())
            assert float(row["directions.x.D_eff"]) == ours["directions"]["x"]["D_eff"]
            assert row["kind"] == "tortuosity"
            assert float(row["wall_s"]) > 0.0
            assert float(row["peak_memory_bytes"]) > 1e7
        else:
            assert row["directions.x.D_eff"] == ""
            assert row["error"]
    table = parquet.read_table(directory / "runs" / "index.parquet").to_pylist()
    assert len(table) == len(rows)
    for typed, row in zip(table, rows, strict=True):
        assert typed.keys() == row.keys()
        assert all(str(cell if cell is not None else "") == row[name] for name, cell in typed.items())


def test_a_column_of_the_typed_table_may_mix_kinds_of_values(tmp_path: Path) -> None:
    mixed: dict[str, list[Any]] = {
        "flags": [True, False],
        "numbers": [2, True],
        "reals": [0.5, 2],
        "texts": [1, "C/5"],
        "gaps": [None, 3],
    }
    write_index(tmp_path, [dict(zip(mixed, row, strict=True)) for row in zip(*mixed.values(), strict=True)])
    found = parquet.read_table(tmp_path / "index.parquet").to_pydict()
    assert {name: [repr(cell) for cell in cells] for name, cells in found.items()} == {
        "flags": ["True", "False"],
        "numbers": ["2", "1"],
        "reals": ["0.5", "2.0"],
        "texts": ["'1'", "'C/5'"],
        "gaps": ["None", "3"],
    }


def test_the_page_is_one_file_that_links_its_members(swept: tuple[Path, dict[str, Any]]) -> None:
    directory, summary = swept
    page = (directory / "runs" / "index.html").read_text(encoding="utf-8")
    for run in summary["runs"]:
        assert f'href="{run["member"]}/results/"' in page
    assert page.count("data:image/png;base64,") >= 1
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert "<script src" not in page
    assert "Main effects on D_eff / D of the bulk, x" in page
    assert 'title="directions.x.D_eff"' in page


def test_results_that_are_there_are_not_lost_by_accident(swept: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = swept
    refused(battsim("sweep", directory), 2, "holds a sweep already", "--resume", "--fresh")
    refused(battsim("sweep", directory, "--resume", "--fresh"), 2, "choose one")
    refused(battsim("sweep", directory, "--workers", 2, "--scheduler", "x"), 2, "choose one")


def test_a_dry_run_says_what_there_is_to_run_and_runs_nothing(tmp_path: Path) -> None:
    directory = case_in(tmp_path, SWEEP.replace('["4 um", "5 um"]', '["4 um", "5 um", "0.005 mm"]'))
    found = answer(battsim("sweep", directory, "--dry-run", "--json"))
    assert (found["designs"], found["members"], found["done"]) == (9, 6, 0)
    assert found["parameters"] == [ACTIVE, MEDIAN]
    assert all(run["unknowns"] == 14 * 8 * 8 for run in found["runs"])
    assert 2**26 < found["memory_bytes"] < 2**30
    assert not (directory / "runs").exists()
    shown = battsim("sweep", directory, "--dry-run")
    assert shown.exit_code == 0
    assert "6 members (3 of 9 designs are alike, and are computed once)" in shown.stdout
    assert found["runs"][0]["member"] in shown.stdout


def test_many_members_need_a_yes(tmp_path: Path) -> None:
    directory = case_in(tmp_path, SWEEP + "[limits]\nmembers = 5\n")
    refused(battsim("sweep", directory), 2, "6 members", "limits.members = 5", "--yes")
    assert answer(battsim("sweep", directory, "--dry-run", "--json"))["needs_yes"]
    assert not (directory / "runs").exists()


@pytest.mark.parametrize(
    ("sweep", "code", "words"),
    [
        (SWEEP.replace("active_volume", "active_volum"), 3, ["unknown key", "did you mean 'active_volume_fraction'"]),
        (SWEEP.replace("high = 0.6", "high = 1.6"), 3, ["= 1.6", "must be less than 1"]),
        (SWEEP.replace('"grid"', '"gird"'), 3, ["did you mean 'grid'"]),
    ],
)
def test_bad_sweeps(sweep: str, code: int, words: list[str], tmp_path: Path) -> None:
    refused(battsim("sweep", case_in(tmp_path, sweep)), code, "sweep.toml", *words)
    assert not (tmp_path / "runs").exists()


def test_a_case_without_a_sweep(tmp_path: Path) -> None:
    case_in(tmp_path)
    (tmp_path / "sweep.toml").unlink()
    refused(battsim("sweep", tmp_path), 4, "sweep.toml does not exist")


def test_fresh_removes_what_a_sweep_wrote_and_nothing_else(tmp_path: Path) -> None:
    directory = case_in(tmp_path)
    runs = directory / "runs"
    for name in ("0123456789abcdef", "mine"):
        (runs / name).mkdir(parents=True)
    (runs / "0123456789abcdef" / "member.json").write_text("{}")
    (runs / "mine" / "notes.txt").write_text("kept")
    (runs / "index.csv").write_text("old")
    from battsim.cli.sweeps import SweepOptions, _make_room

    _make_room(runs, SweepOptions(fresh=True))
    assert (runs / "mine" / "notes.txt").read_text() == "kept"
    assert not (runs / "0123456789abcdef").exists()
    assert not (runs / "index.csv").exists()


def test_the_slurm_script_is_a_script(tmp_path: Path) -> None:
    directory = case_in(tmp_path, SWEEP + '[limits]\nmemory = "2 GiB"\ntime = "48 h"\n')
    found = battsim("sweep", directory, "--write-slurm", "--workers", 7)
    assert found.exit_code == 0
    assert "--ntasks=7" in found.stdout
    assert "--time=48:00:00" in found.stdout
    assert "--memory-limit 2048MiB" in found.stdout
    assert f"battsim sweep {directory.resolve()} --scheduler" in found.stdout
    checked = subprocess.run(["/bin/sh", "-n"], input=found.stdout, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
