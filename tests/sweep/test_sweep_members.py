"""Members of a sweep: their names, their directories, and where they stand."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from battsim.case import load_case
from battsim.errors import CaseError, ImpossibleError
from battsim.sweep.members import (
    BusyError,
    Standing,
    begun,
    ended,
    late_tries,
    locked,
    members_of,
    override,
    put_late,
    put_standing,
    standing_of,
    write_member,
)
from battsim.sweep.plan import read_plan

TORTUOSITY = 'name = "packed"\n' + Path(__file__).with_name("tortuosity.toml").read_text(encoding="utf-8")
HALF_CELL = """
schema = 1
[image]
file = "image/a.tif"
through_plane = "x"
voxel_size = "1 um"
labels = { pore = 0, active = 1 }
[materials]
electrolyte = "lipf6-nyman2008"
separator = { thickness = "6 um", porosity = 0.47, bruggeman = 1.5, layers = 3 }
[materials.active]
base = "nmc811-chen2020"
ocp = { file = "params/ocp.csv" }
[model]
kind = "resolved"
[[protocol]]
step = "discharge"
rate = "1 C"
until = { voltage = "3.5 V" }
"""
ACTIVE = "image.generate.active_volume_fraction"


def case_in(directory: Path, text: str = TORTUOSITY) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "case.toml").write_text(text, encoding="utf-8")
    return directory


def half_cell_in(directory: Path) -> Path:
    case_in(directory, HALF_CELL)
    (directory / "image").mkdir()
    (directory / "params").mkdir()
    tifffile.imwrite(directory / "image" / "a.tif", np.tile(np.array([0, 1], np.uint8), (8, 6, 3)))
    x = np.linspace(0.2, 0.95, 20)
    table = "\n".join(f"{a},{4.4 - 0.9 * a}" for a in x)
    (directory / "params" / "ocp.csv").write_text(f"x,U\n{table}\n")
    return directory


def members(directory: Path, **tables: Any) -> list[Any]:
    return members_of(directory, read_plan({"method": "grid"} | tables))


def keys(directory: Path, **parameters: list[Any]) -> list[str]:
    paths = {path.replace("__", "."): values for path, values in parameters.items()}
    return [member.key for member in members(directory, parameters=paths)]


def test_members_that_compute_the_same_are_one(tmp_path: Path) -> None:
    case_in(tmp_path)
    sizes = [5e-6, "5 um", "0.005 mm", "6 um"]
    assert len(keys(tmp_path, image__generate__diameter__median=sizes)) == 2
    assert len(keys(tmp_path, solver__threads=[1, 2, 3])) == 1  # changes no number
    assert len(keys(tmp_path, name=["a", "b"])) == 1
    # a default that is written out is no difference
    assert keys(tmp_path, image__generate__seed=[1]) == keys(tmp_path, transport__tolerance=[1e-4])


def test_a_member_is_named_by_what_it_reads_and_not_by_where_that_lies(tmp_path: Path) -> None:
    first = half_cell_in(tmp_path / "one")
    base = keys(first, protocol__0__rate=["1 C"])
    (first / "image" / "a.tif").rename(first / "image" / "b.tif")
    case_in(first, HALF_CELL.replace("a.tif", "b.tif"))
    assert keys(first, protocol__0__rate=["1 C"]) == base
    image = tifffile.imread(first / "image" / "b.tif")
    image[0, 0, 0] = 1
    tifffile.imwrite(first / "image" / "b.tif", image)
    other = keys(first, protocol__0__rate=["1 C"])
    assert other != base
    (first / "params" / "ocp.csv").write_text((first / "params" / "ocp.csv").read_text().replace("4.22", "4.21", 1))
    assert keys(first, protocol__0__rate=["1 C"]) not in (base, other)


def test_members_that_share_a_mesh_are_neighbours(tmp_path: Path) -> None:
    directory = half_cell_in(tmp_path)
    found = members(
        directory,
        parameters={
            "protocol.0.rate": ["C/2", "1 C"],
            "materials.separator.thickness": ["6 um", "8 um"],
            "initial.soc": [1.0, 0.9],
        },
    )
    shares = [member.shares for member in found]
    assert len(found) == 8
    assert len(set(shares)) == 2
    assert shares == sorted(shares, key=shares.index)
    assert {member.parameters["materials.separator.thickness"] for member in found[:4]} == {"6 um"}
    assert members(case_in(tmp_path / "tau"), parameters={ACTIVE: [0.5]})[0].shares is None


def test_a_member_is_a_case_of_its_own(tmp_path: Path) -> None:
    directory, runs = half_cell_in(tmp_path), tmp_path / "runs"
    runs.mkdir()
    (member,) = members(directory, parameters={"protocol.0.rate": ["C/3"], "solver.time_rtol": [1e-2]})
    write_member(runs, member)
    case = load_case(runs / member.key, allow_outside=True)
    assert case.name == "protocol.0.rate = C/3, solver.time_rtol = 0.01"
    assert case.locate(case.image.file) == (directory / "image" / "a.tif").resolve()  # type: ignore[attr-defined]
    ours = member.case.resolved()
    theirs = case.resolved()
    assert theirs["image"].pop("file") == "../../image/a.tif"
    assert theirs["materials"]["active"]["ocp"].pop("file") == "../../params/ocp.csv"
    del ours["image"]["file"], ours["materials"]["active"]["ocp"]["file"]
    assert theirs == ours
    told = json.loads((runs / member.key / "member.json").read_text())
    assert told["parameters"] == {"protocol.0.rate": "C/3", "solver.time_rtol": 0.01}
    assert told["values"]["protocol.0.rate"] == pytest.approx(1 / 3)
    assert (told["state"], told["tries"]) == ("pending", 0)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("image.generate.active_volum_fraction", ["unknown key", "did you mean 'active_volume_fraction'"]),
        ("imge.voxel_size", ["imge", "did you mean 'image'"]),
        ("image.generate.shape.3", ["a list with the entries 0 to 2", "no '3'"]),
        ("image.generate.shape.x", ["no 'x'"]),
        ("name.x", ['name is "packed"', "write it as a table"]),
    ],
)
def test_paths_that_are_none(path: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(CaseError) as error:
        members(case_in(tmp_path), parameters={path: [1, 2, 3]})
    assert "sweep.toml" in str(error.value)
    assert str(error.value).count(words[-1]) == 1  # once, not for each member
    for word in words:
        assert word in str(error.value)


def test_values_that_are_not_allowed_are_listed_with_their_members(tmp_path: Path) -> None:
    with pytest.raises(CaseError) as error:
        members(case_in(tmp_path), parameters={ACTIVE: [0.5, 1.5, -1]})
    assert "has 2 problems" in str(error.value)
    assert f"(with {ACTIVE} = 1.5)" in str(error.value)
    with pytest.raises(ImpossibleError, match=r"with protocol\.0\.rate = 1e9"):
        members(half_cell_in(tmp_path / "cell"), parameters={"protocol.0.rate": ["1 C", "1e9 C"]})


def test_an_override_makes_the_tables_on_its_way_and_leaves_the_original() -> None:
    table = {"a": [{"b": 1}]}
    override(table, "c.d.e", [1])
    override(table, "a.0.b", {"x": 1})
    assert table == {"a": [{"b": {"x": 1}}], "c": {"d": {"e": [1]}}}


# where members stand


def test_standings_come_from_the_results_first(tmp_path: Path) -> None:
    assert standing_of(tmp_path) == Standing("pending")
    first = begun(standing_of(tmp_path), "tcp://here")
    put_standing(tmp_path, first)
    assert standing_of(tmp_path) == first
    assert (first.state, first.tries) == ("running", 1)
    put_standing(tmp_path, ended(first, "no"))
    assert standing_of(tmp_path).error == "no"
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "run.json").write_text('{"state": "done"}')
    assert standing_of(tmp_path).state == "failed"  # without a summary nothing is done
    (tmp_path / "results" / "summary.json").write_text("{}")
    assert standing_of(tmp_path).state == "done"
    (tmp_path / "member.json").write_text('{"state": "runn')
    assert standing_of(tmp_path).state == "done"


def test_tries_that_were_late_are_kept(tmp_path: Path) -> None:
    assert late_tries(tmp_path) == ()
    put_late(tmp_path, 1)
    put_late(tmp_path, 3)
    assert late_tries(tmp_path) == (1, 3)


def test_a_lock_keeps_other_processes_out_and_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from battsim.sweep.members import locked\n"
        f"with locked(pathlib.Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BusyError), locked(tmp_path):
            pass
        other.kill()
        other.wait()
    with locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_the_case_file_of_a_member_is_toml_of_the_same_values(tmp_path: Path) -> None:
    directory = case_in(tmp_path)
    runs = tmp_path / "runs"
    runs.mkdir()
    (member,) = members(directory, parameters={ACTIVE: [0.4]})
    write_member(runs, member)
    table = tomllib.loads((runs / member.key / "case.toml").read_text())
    assert table["name"] == f"packed: {ACTIVE} = 0.4"
    table["name"], table["image"]["generate"]["active_volume_fraction"] = "packed", 0.5
    assert table == tomllib.loads(TORTUOSITY)
