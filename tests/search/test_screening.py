"""The homogenised cell that judges a resolved case."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from battsim.case import ResolvedCase, read_case
from battsim.errors import ImpossibleError
from battsim.homogenise import BASELINES, ladder
from battsim.output.tables import read_table
from battsim.run import baselines, run_case
from battsim.search.screening import finalists, run_screening
from battsim.search.study import Answer, Finished

CASE: dict[str, Any] = {
    "schema": 1,
    "image": {
        "through_plane": "x",
        "generate": {
            "kind": "spheres",
            "shape": [10, 5, 5],
            "voxel_size": "1 um",
            "active_volume_fraction": 0.55,
            "binder_volume_fraction": 0.1,
            "diameter": {"median": "4 um"},
            "seed": 1,
        },
    },
    "materials": {
        "active": "nmc811-chen2020",
        "electrolyte": "lipf6-nyman2008",
        "counter": "lithium-xu2019",
        "binder": {"transport": "nanoporous", "porosity": 0.5, "tortuosity": 4.0, "conductivity": "100 S/m"},
        "separator": {"thickness": "5 um", "porosity": 0.47, "bruggeman": 1.5, "layers": 4},
    },
    "model": {"kind": "resolved", "cell": "half", "baseline": True},
    "protocol": [{"step": "discharge", "rate": "2 C", "until": {"voltage": "3.6 V"}}],
    "solver": {"time_rtol": 1e-2, "threads": 1},
    "output": {"fields": []},
}


def case_of(directory: Path, **recipe: Any) -> ResolvedCase:
    generate = CASE["image"]["generate"] | recipe
    case = read_case(CASE | {"image": CASE["image"] | {"generate": generate}}, directory)
    assert isinstance(case, ResolvedCase)
    return case


def test_it_is_the_image_based_baseline_without_the_resolved_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_of(tmp_path)
    monkeypatch.setattr(baselines, "ladder", lambda found: [r for r in ladder(found) if r[0] in BASELINES.values()])
    whole = run_case(case, results=tmp_path / "whole")
    found = run_screening(case, results=tmp_path / "alone")
    curve, expected = (
        read_table(tmp_path / "alone" / "timeseries.csv"),
        read_table(tmp_path / "whole" / "timeseries_p2d_image.csv"),
    )
    assert len(curve["time_s"]) > 10
    for name in ("time_s", "voltage_V", "capacity_Ah_m2", "c_e_min_mol_m3"):
        np.testing.assert_array_equal(curve[name], expected[name])
    baseline = whole["baselines"]["p2d_image"]["capacity_Ah_m2"]  # from the table, which has ten digits
    assert found["capacity_Ah_m2"] == pytest.approx(baseline, rel=1e-9)
    for name in ("current_1C_A_m2", "thickness_m", "active_disconnected_fraction"):
        assert found[name] == pytest.approx(whole[name], rel=1e-12)
    assert found["kind"] == "p2d"
    measured = [json.loads((tmp_path / name / "microstructure.json").read_text()) for name in ("alone", "whole")]
    assert measured[0] == measured[1]


def test_without_a_path_there_is_nothing_homogenised(tmp_path: Path) -> None:
    """Active material at the collector alone: the resolved cell runs, and no solid crosses the electrode."""
    labels = np.zeros((10, 4, 4), dtype=np.uint8)
    labels[6:, :3, :] = 1
    np.save(tmp_path / "image.npy", labels)
    image = {"file": "image.npy", "voxel_size": "1 um", "through_plane": "x", "labels": {"pore": 0, "active": 1}}
    case = read_case(CASE | {"image": image}, tmp_path)
    assert isinstance(case, ResolvedCase)
    with pytest.raises(ImpossibleError, match="no path of conducting solid leads through the working electrode"):
        run_screening(case, results=tmp_path / "results")
    assert not (tmp_path / "results" / "summary.json").exists()


def trial(number: int, *told: float, members: tuple[str, ...] = (), state: Any = "done") -> Finished:
    objectives = {
        name: {"mean": value, "std": 0.0, "count": 1, "told": value} for name, value in zip("fg", told, strict=False)
    }
    answer = Answer(members or (str(number),), True, None, objectives, {})
    return Finished(number, "search", state, {}, answer)


def test_who_goes_on(kit: SimpleNamespace) -> None:
    trials = [
        trial(0, 1.0),
        trial(1, 5.0, members=("same",)),
        trial(2, 9.0, state="infeasible"),
        trial(3, 5.0, members=("same",)),
        trial(4, 4.0),
        *(trial(k, 0.1 * k) for k in range(5, 10)),
    ]
    chosen, checks = finalists(trials, kit.plan_of(screening={"finalists": 3, "checks": 2}))
    assert [each.number for each in chosen] == [1, 4, 0]  # of equal designs the first, none outside the limits
    assert [each.number for each in checks] == [9, 5]
    down = kit.plan_of(screening={"finalists": 2}, objective=[{"value": "f", "direction": "minimise"}])
    assert [each.number for each in finalists(trials, down)[0]] == [5, 6]
    many, none = finalists(trials, kit.plan_of(screening={"finalists": 99, "checks": 3}))
    assert (len(many), none) == (8, [])


def test_of_several_objectives_the_front_goes_on_spread_out(kit: SimpleNamespace) -> None:
    both = [{"value": "f", "direction": "maximise"}, {"value": "g", "direction": "minimise"}]
    plan = kit.plan_of(screening={"finalists": 3}, objective=both)
    front = [trial(0, 10.0, 10.0), trial(1, 9.9, 9.8), trial(2, 5.0, 4.0), trial(3, 1.0, 1.0), trial(4, 1.2, 1.3)]
    beaten = [trial(5, 9.0, 12.0), trial(6, 0.5, 2.0)]
    chosen, _ = finalists([*beaten, *front], plan)
    assert {each.number for each in chosen} == {0, 2, 3}  # both ends and the middle
