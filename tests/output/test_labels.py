"""Names of keys and columns on axes, with their units."""

from __future__ import annotations

import pytest

from battsim.output.labels import can_be_negative, label_of, labels_of


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("energy_Wh_m2", "energy (Wh/m²)"),
        ("energy_Wh_kg_active", "energy (Wh/kg of active material)"),
        ("homogenised.area_per_volume_1_m", "area per volume (1/m)"),
        ("image.generate.active_volume_fraction", "active volume fraction"),
        ("image.generate.shape.0", "size, x (voxels)"),
        ("image.generate.shape.2", "size, z (voxels)"),
        ("protocol.0.rate", "C-rate (1/h)"),
        ("homogenised.salt_limited.p2d_image.rate_C", "C-rate (1/h)"),
        ("baselines.p2d_image.losses.kinetics.mean_V", "kinetics mean (V)"),
        ("image.generate.radius.median", "radius median"),
        ("directions.x.D_eff", "D_eff / D of the bulk, x"),
        ("homogenised.eps_s", "active volume fraction"),  # its end is no second
        ("mean", "mean"),
    ],
)
def test_a_name_has_its_unit(path: str, label: str) -> None:
    assert label_of(path) == label


def test_no_two_names_are_alike() -> None:
    paths = ("baselines.p2d_image.mean_V", "baselines.p2d_bruggeman.mean_V", "cells", "a.x.cells")
    found = labels_of(paths)
    assert tuple(found) == paths
    assert list(found.values()) == ["p2d image mean (V)", "p2d bruggeman mean (V)", "cells", "cells, x"]
    far = labels_of(("electrodes.negative.image.porosity", "electrodes.positive.image.porosity", "rate"))
    assert list(far.values()) == ["negative image porosity", "positive image porosity", "C-rate (1/h)"]
    assert labels_of(()) == {}


def test_what_can_be_negative() -> None:
    positive = ("energy_Wh_m2", "capacity_Ah_m2", "homogenised.b", "mean_power_W_m2", "directions.x.D_eff")
    assert not any(map(can_be_negative, positive))
    signed = ("heat_Wh_m2", "baselines.p2d_image.voltage_rms_V", "baselines.p2d_image.losses.kinetics.difference_V")
    assert all(map(can_be_negative, signed))
