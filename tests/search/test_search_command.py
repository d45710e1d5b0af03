"""`battsim search` from the command line: plans, refusals, a real search on workers, killed and gone on with."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from battsim import cli
from battsim.search.designs import check_designs, designer_of
from battsim.search.plan import load_search

SEARCH = """
schema = 1
trials = 6
random = 2
startup = 3
[parameters]
"electrode.thickness" = { low = "40 um", high = "120 um" }
"electrode.porosity" = { low = 0.2, high = 0.5 }
[derived]
"electrode.active_volume_fraction" = "0.95 - electrode.porosity"
[[objective]]
value = "energy_Wh_m2 / (thickness_m + 12e-6)"
direction = "maximise"
[[constraint]]
value = "electrode.porosity"
min = 0.25
"""


def battsim(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], prog_name="battsim")


def search_in(kit: SimpleNamespace, directory: Path, text: str = SEARCH) -> Path:
    kit.case_in(directory)
    (directory / "search.toml").write_text(text, encoding="utf-8")
    return directory


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr.replace("\n", " "), result.stderr


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "search.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_help_has_an_example() -> None:
    result = battsim("search", "--help")
    assert result.exit_code == 0
    assert "Examples: battsim search mycase --dry-run" in " ".join(result.output.split())


def test_dry_run(kit: SimpleNamespace, tmp_path: Path) -> None:
    directory = search_in(kit, tmp_path)
    result = battsim("search", directory, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "tpe: 6 designs, and 2 at random beside them; at most 8 members" in result.stdout
    found = json.loads(battsim("search", directory, "--dry-run", "--trials", 2000, "--json").stdout)
    assert (found["trials"], found["members"], found["needs_yes"]) == (2000, 2002, True)
    assert sorted(path.name for path in directory.iterdir()) == ["case.toml", "search.toml"]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (('electrode.porosity" =', 'electrode.porosiyt" ='), 3, ["electrode.porosiyt", "'porosity'"]),
        (("maximise", "up"), 3, ["objective.0.direction", "maximise"]),
        (("startup = 3", 'sampler = "tpee"'), 3, ["sampler", "tpe"]),
        (("trials = 6", "trials = 6000"), 2, ["6002 members", "limits.members = 1000", "--yes"]),
        (("low = 0.2", "low = 0.6"), 3, ["parameters.electrode.porosity", "low must be less than high"]),
    ],
)
def test_refused(kit: SimpleNamespace, tmp_path: Path, change: tuple[str, str], code: int, words: list[str]) -> None:
    refused(battsim("search", search_in(kit, tmp_path, SEARCH.replace(*change))), code, *words)
    assert not (tmp_path / "search.db").exists()


def test_usage(kit: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(battsim("search", kit.case_in(tmp_path / "a")), 4, "search.toml does not exist")
    directory = search_in(kit, tmp_path / "b")
    refused(battsim("search", directory, "--resume", "--fresh"), 2, "choose one")
    refused(battsim("search", directory, "--workers", 1, "--scheduler", "x"), 2, "choose one")
    (directory / "search.db").touch()
    refused(battsim("search", directory), 2, "holds a search already", "--resume", "--fresh")
    monkeypatch.setattr("battsim.cli.searches.find_spec", lambda _name: None)
    refused(battsim("search", directory), 2, 'pip install "battsim[search]"')


@pytest.mark.usefixtures("on_disk")
def test_fresh_removes_what_a_search_made_and_nothing_else(kit: SimpleNamespace, tmp_path: Path) -> None:
    from battsim.cli.searches import remove_search

    screening = {"model": "same", "set": {"solver.p2d.radial": 5}, "finalists": 1}
    kit.search(kit.case_in(tmp_path), kit.plan_of(trials=3, screening=screening), lambda u, v: {"f": u + v})
    (tmp_path / "runs" / "mine").mkdir()
    (tmp_path / "runs" / "mine" / "note.txt").touch()
    assert len(list((tmp_path / "screening").glob("*/case.toml"))) == 3
    remove_search(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in left if not path.endswith(".lock")} == {"case.toml", "runs/mine/note.txt"}


def command(directory: Path, *options: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", "from battsim.cli import main; main()", "search", str(directory), *options]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def wait_for(directory: Path, done: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 240.0
    while len(list((directory / "runs").glob("*/results/summary.json"))) < done:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
def test_a_real_search_killed_stopped_and_gone_on_with(kit: SimpleNamespace, tmp_path: Path) -> None:
    """Real P2D members on a worker of dask: after kill -9 of everything and after Ctrl-C as if neither had been."""
    whole, parts = search_in(kit, tmp_path / "whole"), search_in(kit, tmp_path / "parts")
    out, err = (ended := command(whole, "--workers", "1", "--json")).communicate(timeout=300)
    assert ended.returncode == 0, err
    expected = json.loads(out)
    first = command(parts, "--workers", "1")
    wait_for(parts, 2, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    second = command(parts, "--workers", "1", "--resume")
    wait_for(parts, 4, second)
    second.send_signal(signal.SIGINT)
    _, err = second.communicate(timeout=120)
    assert second.returncode == 130, err
    assert "--resume" in err
    out, err = (third := command(parts, "--workers", "1", "--resume", "--json")).communicate(timeout=300)
    assert third.returncode == 0, err
    assert without_times(json.loads(out)) == without_times(expected)
    table = rows(parts)
    assert [(row["purpose"], int(row["trial"])) for row in table] == [
        *(("search", k) for k in range(6)),
        *(("random", k) for k in range(2)),
    ]
    assert table == rows(whole)
    assert expected["best"]["constraints"]["electrode.porosity"] >= 0.25
    assert (parts / "search.html").is_file()
    fourth = command(parts, "--workers", "2", "--fresh", "--json")
    out, err = fourth.communicate(timeout=300)
    assert fourth.returncode == 0, err
    assert json.loads(out)["trials"] == 6


def without_times(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: without_times(inner) for name, inner in content.items() if not name.endswith("_s")}
    return content


CASES = sorted((Path(__file__).parents[2] / "cases").glob("*/search.toml"))


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.parent.name)
def test_every_design_of_a_shipped_search_is_a_case(file: Path) -> None:
    plan = load_search(file.parent)
    assert check_designs(designer_of(file.parent, plan, screened=plan.screening is not None)) == []


def test_a_search_is_shipped() -> None:
    assert CASES
