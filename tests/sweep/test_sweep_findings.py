"""What the table of a sweep is read as: objectives, curves, effects, and pictures of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from battsim.output import sweep_pictures
from battsim.output.labels import labels_of
from battsim.sweep.findings import Findings, findings_of
from battsim.sweep.sweep import _pictures

RATE, POROSITY, MATERIAL = "protocol.0.rate", "electrode.porosity", "electrode.material"
SEED, CROP = "image.generate.seed", "image.crop"
PATHS = (POROSITY, RATE, MATERIAL)


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "member": f"{p}{rate}{material}",
            "state": "done",
            POROSITY: p,
            RATE: rate,
            MATERIAL: material,
            "energy_Wh_m2": 100.0 * (1.0 - p) * (1.0 - rate * (0.6 - p)),
            "mean_power_W_m2": 100.0 * rate * (1.0 - p),
            "capacity_Ah_m2": 30.0 * (1.0 - p) * (1.0 - rate * (0.6 - p)),
        }
        for p in (0.2, 0.3, 0.4)
        for rate in (1.0, 0.2, 0.5)
        for material in ("nmc", "lfp")
    ]
    return [*found, {"member": "x", "state": "failed", "error": "no", POROSITY: 0.9, RATE: 1.0, MATERIAL: "nmc"}]


def test_curves_are_of_one_design_each_in_the_order_of_their_rate() -> None:
    found = findings_of(rows(), PATHS, (), 1)
    assert len(found.ragone) == len(found.rated) == 6
    assert found.rated[0].label == "porosity 0.2, material nmc"
    assert list(found.rated[0].x) == [0.2, 0.5, 1.0]
    assert np.all(np.diff(found.rated[0].y) < 0.0)
    assert np.all(np.diff(found.ragone[0].x) > 0.0)


def of_one_material() -> list[dict[str, Any]]:
    return [row for row in rows() if row[MATERIAL] == "nmc" and row["state"] == "done"]


def repeated() -> list[dict[str, Any]]:
    """Three replicates of each: 1 below, 1 above, 3 above."""
    return [
        row | {"member": f"{row['member']}{seed}", SEED: seed} | {"energy_Wh_m2": row["energy_Wh_m2"] + more}
        for row in of_one_material()
        for seed, more in ((1, -1.0), (2, 1.0), (3, 3.0))
    ]


def front_text(found: Findings) -> str:
    (told,) = (each.text for each in _pictures(found, labels_of((*PATHS, SEED))) if each.title == "Best compromises")
    return told


def test_effects_of_the_default_objectives() -> None:
    found = findings_of(rows(), PATHS, (), 1)
    assert list(found.effects) == ["energy_Wh_m2", "mean_power_W_m2", "capacity_Ah_m2"]
    power = found.effects["mean_power_W_m2"]
    assert list(power[RATE].at) == [0.2, 0.5, 1.0]
    assert power[RATE].mean == pytest.approx([14.0, 35.0, 70.0])
    assert found.levels == {MATERIAL: ("nmc", "lfp")}
    assert power[MATERIAL].mean[0] == power[MATERIAL].mean[1]


def test_sensitivity_of_the_default_objectives() -> None:
    found = findings_of(of_one_material(), PATHS, (), 1)
    indices = found.sensitivities["mean_power_W_m2"]
    assert indices is not None
    assert indices.r2 > 0.95
    assert indices.first_order is not None
    assert set(indices.first_order) == {POROSITY, RATE}
    assert indices.first_order[RATE] > 0.9
    assert found.notes == ()


def test_no_indices_where_a_parameter_is_no_number_and_the_page_says_why() -> None:
    found = findings_of(rows(), PATHS, (), 1)
    assert set(found.sensitivities.values()) == {None}
    (note,) = found.notes
    assert "energy (Wh/m²), mean power (W/m²), capacity (Ah/m²): material is no number" in note
    assert found.numbers()["sensitivity"]["energy_Wh_m2"] is None
    few = findings_of(of_one_material()[:5], PATHS, (), 1)
    assert set(few.sensitivities.values()) == {None}
    assert "at least 8 designs" in few.notes[0]


@pytest.mark.parametrize(("path", "replicates"), [(SEED, ()), (SEED, (SEED,)), (CROP, (CROP,))])
def test_replicates_are_no_parameter_but_scatter(path: str, replicates: tuple[str, ...]) -> None:
    table = [{path if name == SEED else name: cell for name, cell in row.items()} for row in repeated()]
    found = findings_of(table, (*PATHS, path), ("energy_Wh_m2",), 1, replicates)
    alone = findings_of(of_one_material(), PATHS, ("energy_Wh_m2",), 1)
    indices, without = found.sensitivities["energy_Wh_m2"], alone.sensitivities["energy_Wh_m2"]
    assert indices is not None
    assert without is not None
    assert indices.total == pytest.approx(without.total)  # a mean that is 1 higher everywhere has the same
    assert (indices.members, indices.designs) == (27, 9)
    assert set(found.effects["energy_Wh_m2"]) == {POROSITY, RATE}
    scatter = found.scatters["energy_Wh_m2"]
    assert scatter is not None
    assert scatter.deviation == pytest.approx(2.0)
    assert found.numbers()["replicates"]["energy_Wh_m2"]["members"] == 27
    assert "scatter in energy (Wh/m²) with a standard deviation of 2, " in found.notes[0]
    assert alone.scatters == {"energy_Wh_m2": None}


def test_a_seed_that_is_listed_as_parameter_only_scatters() -> None:
    found = findings_of(repeated()[:3], (SEED,), (), 1)
    assert found.effects == {"energy_Wh_m2": {}}
    assert found.notes == (
        "Replicates of one design scatter in energy (Wh/m²) with a standard deviation of 2 (3 members).",
    )


def test_a_curve_is_the_mean_of_its_replicates_with_their_deviation() -> None:
    found = findings_of(repeated(), (*PATHS, SEED), (), 1)
    alone = findings_of(of_one_material(), PATHS, (), 1)
    assert len(found.ragone) == len(found.rated) == 3
    for curve, single in zip(found.ragone, alone.ragone, strict=True):
        assert curve.label == single.label
        assert curve.x == pytest.approx(single.x)
        assert curve.y == pytest.approx(single.y + 1.0)
        assert curve.spread_y == pytest.approx([2.0] * 3)
        assert curve.spread_x == pytest.approx([0.0] * 3, abs=1e-12)


def test_curves_are_told_apart_by_what_matters_most_first() -> None:
    found = findings_of(rows(), (MATERIAL, POROSITY, RATE), (), 1)
    assert list(found.ragone[0].design.items()) == [("porosity", 0.2), ("material", "nmc")]


def test_the_front_is_of_the_first_two_objectives() -> None:
    found = findings_of(rows(), PATHS, ("-" + POROSITY, "energy_Wh_m2"), 1)
    assert found.front is not None
    assert found.front.names == ("-" + POROSITY, "energy_Wh_m2")
    best = [member for member, on in zip(found.front.members, found.front.best, strict=True) if on]
    assert best
    # 0.3 and 0.4 are beaten by 0.2 at the slowest rate in both
    assert all(member.startswith("0.2") for member in best)
    assert found.numbers()["pareto"]["members"] == best


def test_a_single_best_member_is_named_and_no_front() -> None:
    table = of_one_material()
    told = front_text(findings_of(table, PATHS, ("-" + RATE, "energy_Wh_m2"), 1))
    assert (
        told
        == "Best in both is 0.20.2nmc (porosity 0.2, C-rate (1/h) 0.2, material nmc): there is no compromise to make."
    )
    assert "joined" in front_text(findings_of(table, PATHS, ("mean_power_W_m2", "energy_Wh_m2"), 1))
    again = findings_of(repeated(), (*PATHS, SEED), ("mean_power_W_m2", "energy_Wh_m2"), 1)
    assert "by chance" in front_text(again)
    assert "by chance" not in told


def test_nothing_is_told_of_nothing() -> None:
    found = findings_of(rows()[-1:], PATHS, (), 1)
    assert (found.effects, found.sensitivities, found.front, found.ragone, found.rated) == ({}, {}, None, (), ())


def test_pictures_are_drawn() -> None:
    found = findings_of(of_one_material(), PATHS, ("energy_Wh_m2", "mean_power_W_m2"), 1)
    names = {path: path for path in PATHS}
    assert found.front is not None
    indices = found.sensitivities["energy_Wh_m2"]
    assert indices is not None
    assert indices.first_order is not None
    assert indices.total is not None
    for picture in (
        sweep_pictures.ragone(found.ragone),
        sweep_pictures.rated_capacity(found.rated),
        sweep_pictures.main_effects(found.effects["energy_Wh_m2"], "energy", found.levels, names),
        sweep_pictures.sensitivity(indices.first_order, indices.total, indices.r2, "energy", names),
        sweep_pictures.front(found.front.x, found.front.y, found.front.best, found.front.names),
    ):
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 10_000
