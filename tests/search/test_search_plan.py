"""search.toml: what is read, and what is refused before anything runs."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from battsim.errors import CaseError, InputError
from battsim.search.designs import check_designs, designer_of
from battsim.search.formula import read_formula
from battsim.search.plan import load_search, read_search
from battsim.search.space import Between, Choice
from battsim.search.study import seed_of

OBJECTIVE = [{"value": "energy_Wh_m2", "direction": "maximise"}]
SPACE = {"electrode.porosity": {"low": 0.2, "high": 0.4}}


def refused(tables: dict[str, Any], *words: str) -> None:
    with pytest.raises(CaseError) as caught:
        read_search({"trials": 10, "parameters": SPACE, "objective": OBJECTIVE} | tables)
    for word in words:
        assert word in str(caught.value), caught.value


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"sampler": "tpee"}, ["sampler", "'tpe'", "nsga2"]),
        ({"trails": 3}, ["trails: unknown key", "trials"]),
        ({"objective": [{"value": "f", "direction": "up"}]}, ["objective.0.direction", "maximise", "minimise"]),
        ({"objective": []}, ["objective"]),
        ({"objective": [{"value": "f +", "direction": "maximise"}]}, ["objective.0.value", "no formula"]),
        ({"objective": [{"value": "2", "direction": "maximise"}]}, ["objective.0.value", "names no number"]),
        ({"objective": OBJECTIVE * 2}, ["two objectives"]),
        ({"parameters": {}}, ["parameters"]),
        ({"parameters": {"a": {"low": 2, "high": 1}}}, ["parameters.a", "low must be less than high"]),
        ({"parameters": {"a": {"low": "1 um", "high": "1 m"}}}, ["parameters.a", "units differ"]),
        ({"parameters": {"a": {"low": 0, "high": 1, "log": True}}}, ["parameters.a", "above 0"]),
        (
            {"parameters": {"a": {"low": 1, "high": 2, "log": True, "step": 0.5}}},
            ["parameters.a", "exclude each other"],
        ),
        ({"parameters": {"a": {"low": 0, "high": 1, "step": 2}}}, ["parameters.a", "step = 2"]),
        ({"parameters": {"a": {"low": 0, "high": 1, "step": -1}}}, ["parameters.a.step", "greater than 0"]),
        ({"parameters": {"a": {"low": 0.2, "high": 0.7, "integer": True}}}, ["parameters.a", "no whole number"]),
        ({"parameters": {"a": {"low": 1, "hgih": 2}}}, ["parameters.a.hgih", "'high'"]),
        ({"parameters": {"a": [1]}}, ["parameters.a", "at least two"]),
        ({"parameters": {"a": ["x", "y", "x"]}}, ["parameters.a", "twice"]),
        ({"parameters": {"a": 1}}, ["parameters.a", "must be a range"]),
        ({"parameters": {"a..b": [1, 2]}}, ["parameters", "no dotted path"]),
        ({"derived": {"electrode.porosity": "1"}}, ["sets", "electrode.porosity"]),
        ({"constraint": [{"value": "f"}]}, ["neither min nor max"]),
        ({"constraint": [{"value": "f", "min": 2, "max": 1}]}, ["min must not exceed max"]),
        ({"constraint": [{"value": "f", "max": "3 zork"}]}, ["constraint.0.max", "3 zork"]),
        ({"constraint": [{"value": "f", "max": 1}, {"value": "f", "min": 0}]}, ["two constraints"]),
        ({"screening": {"model": "same"}}, ["screening", "needs set"]),
        ({"screening": {"model": "p3d"}}, ["screening.model", "p2d"]),
        ({"screening": {"finalists": 0}}, ["screening.finalists", "at least 1"]),
        ({"limits": {"failed": 1.5}}, ["limits.failed", "at most 1"]),
        ({"objective": [*OBJECTIVE, {"value": "g", "direction": "minimise"}], "sampler": "sobol"}, ["sobol"]),
    ],
)
def test_refused(tables: dict[str, Any], words: list[str]) -> None:
    refused(tables, *words)


def test_every_problem_is_listed() -> None:
    refused(
        {"parameters": {"a": 1, "b": [1]}, "objective": [{"value": "f +", "direction": "maximise"}]},
        "3 problems",
        "parameters.a",
        "parameters.b",
        "objective.0.value",
    )


def test_a_directory_without_a_plan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"search\.toml does not exist; .*\[parameters\]"):
        load_search(tmp_path)


def test_limits_of_constraints_are_si(kit: SimpleNamespace) -> None:
    written = [{"value": kit.THICKNESS, "max": "120 um"}, {"value": "mean_voltage_V", "min": "3.6 V", "max": 4}]
    thickness, voltage = kit.plan_of(constraint=written).constraints
    assert (thickness.low, thickness.high) == (-math.inf, pytest.approx(1.2e-4, rel=1e-15))
    assert (voltage.low, voltage.high) == (3.6, 4.0)
    assert thickness.excess(1.5e-4) == pytest.approx(0.25)  # relative to the limit
    assert thickness.excess(1.2e-4) == 0.0
    assert voltage.excess(3.24) == pytest.approx(0.1)
    assert voltage.excess(3.8) < 0.0


def test_formulas() -> None:
    found = read_formula("energy_Wh_m2 / (thickness_m + 12e-6)")
    assert found.names == ("energy_Wh_m2", "thickness_m")
    assert found.at({"energy_Wh_m2": 100.0, "thickness_m": 88e-6}) == pytest.approx(1e6)
    interface = read_formula("microstructure.interfaces.active|pore.area_per_volume_1_m")
    assert interface.names == ("microstructure.interfaces.active|pore.area_per_volume_1_m",)
    assert read_formula("0.95 - electrode.porosity - protocol.0.rate").names == (
        "electrode.porosity",
        "protocol.0.rate",
    )
    assert read_formula("1e-3*exp(-a) + sqrt(b)").at({"a": 0.0, "b": 4.0}) == pytest.approx(2.001)
    with pytest.raises(CaseError, match="no finite value at a = 0"):
        read_formula("1 / a").at({"a": 0.0})
    for text in ("__import__('os')", "f(x)", "a if b else c", "a < b", "'text'"):
        with pytest.raises(CaseError, match="no formula"):
            read_formula(text)


def test_ranges_for_optuna() -> None:
    length = Between(low="40 um", high="120 um")
    assert (length.distribution().low, length.distribution().high) == (40.0, 120.0)  # type: ignore[attr-defined]
    assert length.written(71.23456789) == "71.2346 um"
    assert Between(low=0.1234564, high=0.4).written(0.12345641) == 0.1234564  # not below its end
    stepped = Between(low=0.1, high=0.45, step=0.1).distribution()
    assert (stepped.high, stepped.step) == (pytest.approx(0.4), 0.1)  # type: ignore[attr-defined]
    whole = Between(low=3, high=10, integer=True, step=4)
    assert (whole.distribution().low, whole.distribution().high) == (3, 7)  # type: ignore[attr-defined]
    assert whole.written(7) == 7
    assert isinstance(whole.written(7), int)
    assert [whole.at(share) for share in (0.0, 0.6, 1.0)] == [3, 7, 7]
    assert [length.at(share) for share in (0.0, 0.5, 1.0)] == ["40 um", "80 um", "120 um"]
    assert Between(low=1, high=100, log=True).at(0.5) == pytest.approx(10.0)
    assert [Between(low=0.1, high=0.4, step=0.15).at(share) for share in (0.2, 0.4, 0.9)] == [0.1, 0.25, 0.4]
    tables = Choice(({"form": "cluster"}, {"form": "fibre"}))
    assert [tables.written(code) for code in tables.distribution().choices] == list(tables.values)  # type: ignore[attr-defined]


def test_each_trial_has_a_seed_of_its_own() -> None:
    seeds = {seed_of(seed, purpose, k) for seed in (1, 2) for purpose in ("search", "random") for k in range(500)}
    assert len(seeds) == 2000


def test_what_may_change_between_resumes(kit: SimpleNamespace) -> None:
    one = kit.plan_of(screening={"finalists": 2}).identity()
    assert kit.plan_of(screening={"finalists": 3, "checks": 1}, trials=99, random=4).identity() == one
    assert kit.plan_of(screening={"finalists": 2}, seed=2).identity() != one
    assert kit.plan_of(screening={"set": {"a.b": 1}}).identity() != one
    assert kit.plan_of().identity() != one


# against the case


def checked(kit: SimpleNamespace, directory: Path, **tables: Any) -> list[str]:
    return check_designs(designer_of(kit.case_in(directory), kit.plan_of(**tables), screened="screening" in tables))


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"parameters": {"electrode.porosiyt": {"low": 0.1, "high": 0.2}}}, ["electrode.porosiyt", "'porosity'"]),
        ({"parameters": {"electrod.porosity": {"low": 0.1, "high": 0.2}}}, ["electrod: unknown key", "'electrode'"]),
        ({"parameters": {"protocol.3.rate": ["1 C", "2 C"]}}, ["protocol.3.rate", "entries 0 to 0"]),
        ({"parameters": {"electrode.porosity": {"low": 0.1, "high": 1.5}}}, ["electrode.porosity = 1.5", "at most 1"]),
        ({"parameters": {"electrode.thickness": {"low": "1 V", "high": "2 V"}}}, ["1 V", "a length is expected"]),
        ({"parameters": {"electrode.material": ["nmc811-chen2020", "nmc"]}}, ['"nmc"', "no set"]),
        ({"replicates": {"electrode.sed": [1, 2]}}, ["electrode.sed", "unknown key"]),
        ({"screening": {"model": "same", "set": {"solver.p2d.pionts": [4, 4]}}}, ["pionts", "'points'"]),
        ({"screening": {}}, ['screening.model = "p2d"', '"p2d"', 'model = "same"']),
        ({"derived": {"electrode.conductivity": "porosity"}}, ["derived", "porosity", "neither one of"]),
        ({"constraint": [{"value": "electrode.porosty", "max": 1}]}, ["electrode.porosty", "'electrode.porosity'"]),
        ({"objective": [{"value": "electrode.material", "direction": "maximise"}]}, ["no number of the case"]),
        ({"derived": {"electrode.active_volume_fraction": "2 - electrode.porosity"}}, ["none of 33 designs is a case"]),
    ],
)
def test_refused_with_the_case(kit: SimpleNamespace, tmp_path: Path, tables: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(CaseError) as caught:
        checked(kit, tmp_path, **tables)
    for word in words:
        assert word in str(caught.value), caught.value


def test_designs_that_are_no_case_are_a_note(kit: SimpleNamespace, tmp_path: Path) -> None:
    assert checked(kit, tmp_path / "a") == []
    (note,) = checked(kit, tmp_path / "b", parameters={kit.POROSITY: {"low": 0.1, "high": 0.7}})
    assert "of 33 designs at random are no case" in note
    assert "choose fractions whose sum is at most 1" in note


def test_keys_that_follow(kit: SimpleNamespace, tmp_path: Path) -> None:
    plan = kit.plan_of(
        derived={
            "electrode.active_volume_fraction": "0.95 - electrode.porosity",
            "electrode.particle_radius": "electrode.thickness / 10 + 0 * materials.separator.thickness",
        }
    )
    designer = designer_of(kit.case_in(tmp_path), plan, screened=False)
    design = designer.design({kit.THICKNESS: 80.0, kit.POROSITY: 0.31})
    assert design == {
        kit.THICKNESS: "80 um",
        kit.POROSITY: 0.31,
        "electrode.active_volume_fraction": 0.64,
        "electrode.particle_radius": 8e-6,
    }
    (member,) = designer.members(design)
    assert member.case.electrode.active_volume_fraction == 0.64  # type: ignore[attr-defined]
