"""sweep.toml: the designs of each method, and what is said of one that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from battsim.errors import CaseError, InputError
from battsim.sweep.plan import Plan, load_plan, read_plan
from battsim.sweep.sampling import Range, sampled


def designs(**tables: Any) -> list[dict[str, Any]]:
    return list(read_plan(tables).designs())


def test_a_grid_is_every_combination_and_replicates_multiply() -> None:
    plan = read_plan(
        {
            "schema": 1,
            "method": "grid",
            "parameters": {"a.b": {"low": 0.45, "high": 0.65, "steps": 5}, "protocol.0.rate": ["C/5", "1 C", "3 C"]},
            "replicates": {"seed": [1, 2]},
        }
    )
    found = list(plan.designs())
    assert plan.count == len(found) == 30
    assert plan.paths == ("a.b", "protocol.0.rate", "seed")
    # 0.45 + 3 * 0.05 is 0.6000000000000001 in binary: written as it was meant
    assert list(dict.fromkeys(design["a.b"] for design in found)) == [0.45, 0.5, 0.55, 0.6, 0.65]
    assert found[0] == {"a.b": 0.45, "protocol.0.rate": "C/5", "seed": 1}
    assert found[1] == found[0] | {"seed": 2}
    assert len({tuple(design.values()) for design in found}) == 30


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ({"low": "50 um", "high": "100 um", "steps": 3}, ["50 um", "75 um", "100 um"]),
        ({"low": "1 um", "high": "100um", "steps": 3, "log": True}, ["1 um", "10 um", "100 um"]),
        ({"low": "-5 degC", "high": "45 degC", "steps": 3}, ["-5 degC", "20 degC", "45 degC"]),
        ({"low": 1, "high": 4, "steps": 4, "integer": True}, [1, 2, 3, 4]),
        ({"low": 1, "high": 3, "steps": 9, "integer": True}, [1, 2, 3]),
        ({"low": 1, "high": 1000, "steps": 4, "integer": True, "log": True}, [1, 10, 100, 1000]),
        ({"low": 0, "high": 1, "steps": 2}, [0.0, 1.0]),
    ],
)
def test_ranges(written: dict[str, Any], values: list[Any]) -> None:
    assert [design["a"] for design in designs(method="grid", parameters={"a": written})] == values
    assert all(isinstance(v, int) == written.get("integer", False) for v in values if not isinstance(v, str))


def test_zip_goes_through_its_values_together() -> None:
    found = designs(method="zip", parameters={"a": [1, 2, 3], "b": {"low": 0.0, "high": 1.0, "steps": 3}})
    assert found == [{"a": 1, "b": 0.0}, {"a": 2, "b": 0.5}, {"a": 3, "b": 1.0}]


def test_a_list_is_its_members() -> None:
    plan = read_plan({"method": "list", "members": [{"a": 1}, {"b": 2, "c.0": "x"}], "replicates": {"seed": [1, 2]}})
    assert plan.count == 4
    assert list(plan.designs())[2] == {"b": 2, "c.0": "x", "seed": 1}
    assert plan.paths == ("a", "b", "c.0", "seed")


def test_latin_hypercube_meets_every_part_of_every_range_once() -> None:
    found = designs(
        method="latin-hypercube",
        samples=10,
        parameters={
            "a": {"low": 2.0, "high": 4.0},
            "b": {"low": "1 um", "high": "100 um", "log": True},
            "c": ["x", "y"],
            "n": {"low": 1, "high": 5, "integer": True},
        },
    )
    parts = np.floor((np.array([design["a"] for design in found]) - 2.0) / 0.2)
    assert sorted(parts) == list(range(10))
    decades = np.log10([float(design["b"].removesuffix(" um")) for design in found])
    assert sorted(np.floor(decades / 0.2)) == list(range(10))
    assert [design["c"] for design in found].count("x") == 5
    assert sorted(design["n"] for design in found) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_sobol_points_fill_the_square_evenly_and_follow_the_seed() -> None:
    ranges = {"a": {"low": 0.0, "high": 1.0}, "b": {"low": 0.0, "high": 1.0}}
    found = designs(method="sobol", samples=64, seed=3, parameters=ranges)
    cells = {(int(8 * design["a"]), int(8 * design["b"])) for design in found}
    assert len(cells) == 64  # a (0, 6, 2)-net: one point in each of the 8 x 8 boxes
    assert found == designs(method="sobol", samples=64, seed=3, parameters=ranges)
    assert found != designs(method="sobol", samples=64, seed=4, parameters=ranges)


def test_a_sobol_sequence_that_is_not_balanced_is_said() -> None:
    assert read_plan({"method": "sobol", "samples": 64, "parameters": {"a": [1]}}).notes == ()
    (note,) = read_plan({"method": "sobol", "samples": 60, "parameters": {"a": [1]}}).notes
    assert "64" in note


def test_every_value_between_the_ends_is_met_by_samples() -> None:
    rows = sampled([Range(low=3, high=5, integer=True), (True, False)], "sobol", 64, 1)
    assert {row[0] for row in rows} == {3, 4, 5}
    assert {row[1] for row in rows} == {True, False}


def refused(table: dict[str, Any], *words: str) -> None:
    with pytest.raises(CaseError) as error:
        read_plan(table)
    assert str(error.value).startswith("sweep.toml")
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"method": "gird"}, ["method", "did you mean 'grid'"]),
        ({"method": "grid", "parametres": {}}, ["parametres", "did you mean 'parameters'"]),
        ({"method": "grid"}, ["needs [parameters]"]),
        ({"method": "list", "parameters": {"a": [1]}}, ["needs [[members]]"]),
        ({"method": "sobol", "parameters": {"a": [1]}}, ["needs samples"]),
        ({"method": "grid", "samples": 4, "parameters": {"a": [1]}}, ["has no samples"]),
        ({"method": "grid", "parameters": {"a": 3}}, ["parameters.a = 3", "list of values, or a range"]),
        ({"method": "grid", "parameters": {"a": []}}, ["parameters.a", "is empty"]),
        ({"method": "grid", "parameters": {"a": {"low": 1, "hihg": 2}}}, ["parameters.a.hihg", "did you mean 'high'"]),
        ({"method": "grid", "parameters": {"a": {"low": 1, "high": 2}}}, ["parameters.a", "has no steps"]),
        ({"method": "grid", "parameters": {"a": {"low": 2, "high": 1, "steps": 2}}}, ["low must be less than high"]),
        ({"method": "grid", "parameters": {"a": {"low": "1 um", "high": "2 mm", "steps": 2}}}, ["units differ"]),
        ({"method": "grid", "parameters": {"a": {"low": "few", "high": "2 mm", "steps": 2}}}, ["'few'", "with a unit"]),
        ({"method": "grid", "parameters": {"a": {"low": 0, "high": 1, "steps": 2, "log": True}}}, ["above 0"]),
        ({"method": "grid", "parameters": {"a": {"low": 0.1, "high": 0.9, "steps": 2, "integer": True}}}, ["whole"]),
        ({"method": "zip", "parameters": {"a": [1, 2], "b": [1]}}, ["same number of values", "a has 2, b has 1"]),
        ({"method": "grid", "parameters": {"a.b": [1], "a": [1]}}, ['"a.b"', '"a"', "keep one"]),
        ({"method": "grid", "parameters": {"a": [1]}, "replicates": {"a": [1]}}, ["keep one"]),
        ({"method": "grid", "parameters": {"a..b": [1]}}, ["a..b", "no dotted path"]),
        ({"method": "grid", "parameters": {"a": [1]}, "limits": {"memory": 4}}, ["limits.memory"]),
        ({"method": "grid", "parameters": {"a": [1]}, "limits": {"time": "2 parsec"}}, ["limits.time", "a time"]),
    ],
)
def test_bad_plans(table: dict[str, Any], words: list[str]) -> None:
    refused(table, *words)


def test_limits_are_si() -> None:
    plan = read_plan(
        {"method": "grid", "parameters": {"a": [1]}, "limits": {"time": "2 h", "memory": "4 GiB", "tries": 2}}
    )
    assert (plan.limits.time, plan.limits.memory, plan.limits.tries) == (7200.0, 4 * 2**30, 2)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sweep\.toml does not exist"):
        load_plan(tmp_path)
    (tmp_path / "sweep.toml").write_text("method = grid")
    with pytest.raises(CaseError, match="not valid TOML"):
        load_plan(tmp_path)
    (tmp_path / "sweep.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(CaseError, match="not UTF-8"):
        load_plan(tmp_path)
    (tmp_path / "sweep.toml").write_text('method = "grid"\n[parameters]\n"a.0" = [1]\n')
    assert isinstance(load_plan(tmp_path), Plan)
