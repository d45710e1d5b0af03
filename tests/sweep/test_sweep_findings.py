"""What the table of a sweep is read as: objectives, curves, effects, and pictures of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from battsim.output import sweep_pictures
from battsim.sweep.findings import findings_of

RATE, POROSITY, MATERIAL = "protocol.0.rate", "electrode.porosity", "electrode.material"
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


def test_effects_and_sensitivity_of_the_default_objectives() -> None:
    found = findings_of(rows(), PATHS, (), 1)
    assert list(found.effects) == ["energy_Wh_m2", "mean_power_W_m2", "capacity_Ah_m2"]
    power = found.effects["mean_power_W_m2"]
    assert list(power[RATE].at) == [0.2, 0.5, 1.0]
    assert power[RATE].mean == pytest.approx([14.0, 35.0, 70.0])
    assert found.levels == {MATERIAL: ("nmc", "lfp")}
    assert power[MATERIAL].mean[0] == power[MATERIAL].mean[1]
    indices = found.sensitivities["mean_power_W_m2"]
    assert indices is not None
    assert indices.r2 > 0.95
    assert indices.first_order is not None
    assert set(indices.first_order) == {POROSITY, RATE}  # numbers alone
    assert indices.first_order[RATE] > 0.9


def test_the_front_is_of_the_first_two_objectives() -> None:
    found = findings_of(rows(), PATHS, ("-" + POROSITY, "energy_Wh_m2"), 1)
    assert found.front is not None
    assert found.front.names == ("-" + POROSITY, "energy_Wh_m2")
    best = [member for member, on in zip(found.front.members, found.front.best, strict=True) if on]
    assert best
    # 0.3 and 0.4 are beaten by 0.2 at the slowest rate in both
    assert all(member.startswith("0.2") for member in best)
    assert found.numbers()["pareto"]["members"] == best


def test_nothing_is_told_of_nothing() -> None:
    found = findings_of(rows()[-1:], PATHS, (), 1)
    assert (found.effects, found.sensitivities, found.front, found.ragone, found.rated) == ({}, {}, None, (), ())


def test_pictures_are_drawn() -> None:
    found = findings_of(rows(), PATHS, (), 1)
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
