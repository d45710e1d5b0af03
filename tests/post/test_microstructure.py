import json

import numpy as np
import pytest

from battsim.post.microstructure import microstructure
from meshing.image import Orientation, VoxelImage
from meshing.voxel import voxel_mesh

PHASES = ("pore", "active", "binder")


def described(half_cell, labels, voxel_size=(1e-6, 1e-6, 1e-6), orientation=None, **binder):
    image = VoxelImage(np.asarray(labels, np.uint8), voxel_size, PHASES)
    mesh = voxel_mesh(image, layers=(2e-6, 1e-6), inside="active")
    return microstructure(image, mesh, half_cell.make_parameters(**binder), orientation=orientation, tolerance=1e-8)


@pytest.fixture(scope="module")
def laminate(half_cell):
    """Columns along x: 4 of 16 pore, 8 active, 4 binder; one pore voxel is closed off by active material."""
    labels = np.ones((6, 4, 4), int)
    labels[:, 0], labels[:, 1] = 0, 2
    labels[2, 3, 1] = 0
    return described(half_cell, labels)


def test_contract(laminate):
    assert set(laminate) >= {"voxel_size_m", "shape", "phases", "interfaces", "active", "transport", "removed"}
    assert set(laminate["phases"]) == set(PHASES)
    for phase in laminate["phases"].values():
        assert set(phase) == {"volume_fraction", "percolating_fraction", "components"}
        assert set(phase["percolating_fraction"]) == {"x", "y", "z"}
    assert set(laminate["interfaces"]) >= {"active|pore", "active|binder", "active|separator"}
    assert all(set(face) == {"area_per_volume_1_m", "voxel_faces"} for face in laminate["interfaces"].values())
    assert set(laminate["active"]) == {
        *("sauter_radius_m", "connected_fraction", "wetted_fraction", "collector_contact_fraction"),
        *("binder_coverage", "separator_contact_share"),
    }
    for kind in ("ionic", "electronic"):
        assert set(laminate["transport"][kind]) >= {"b", "tau", "eps"}
    json.dumps(laminate, allow_nan=False)


def test_ions_through_parallel_pore_and_binder(laminate):
    """A quarter pore and a quarter binder of b = 1/8 and porosity 1/2 side by side; the closed pore counts nowhere."""
    ionic = laminate["transport"]["ionic"]
    assert ionic["b"] == pytest.approx(0.25 + 0.25 / 8.0, rel=1e-8)
    assert ionic["eps"] == pytest.approx(0.25 + 0.125, rel=1e-12)
    assert ionic["tau"] == pytest.approx(0.375 / (0.25 + 0.25 / 8.0), rel=1e-8)
    assert laminate["phases"]["pore"]["volume_fraction"] == pytest.approx(25 / 96, rel=1e-12)


def test_electrons_through_parallel_solids(half_cell):
    labels = np.ones((6, 4, 4), int)
    labels[:, 0], labels[:, 1] = 0, 2
    electronic = described(half_cell, labels, conductivity=100.0)["transport"]["electronic"]
    sigma = half_cell.make_parameters().active.conductivity
    assert electronic["sigma_eff_S_m"] == pytest.approx(0.5 * sigma + 0.25 * 100.0, rel=1e-8)
    assert (electronic["sigma_bulk_S_m"], electronic["eps"]) == (100.0, pytest.approx(0.75, rel=1e-12))
    assert electronic["b"] == pytest.approx(electronic["sigma_eff_S_m"] / 100.0, rel=1e-12)


def test_an_impermeable_binder_carries_no_ions(half_cell):
    labels = np.ones((6, 4, 4), int)
    labels[:, 0], labels[:, 1] = 0, 2
    found = described(half_cell, labels, transport="impermeable")
    assert found["transport"]["ionic"]["b"] == pytest.approx(0.25, rel=1e-8)
    assert found["transport"]["ionic"]["tau"] == pytest.approx(1.0, rel=1e-8)
    assert found["transport"]["ionic"]["eps"] == pytest.approx(0.25, rel=1e-12)


def test_without_a_path_there_is_no_tortuosity(half_cell):
    """Pores from the separator that end half-way: their volume counts, but nothing passes."""
    labels = np.ones((6, 4, 4), int)
    labels[:3, 0] = 0
    found = described(half_cell, labels)["transport"]["ionic"]
    assert found == {"b": 0.0, "tau": None, "eps": pytest.approx(0.125, rel=1e-12), "error_estimate": 0.0}


def test_axes_are_those_of_the_case(half_cell):
    """A case whose axis y is through-plane, turned into cell axes and back."""
    case = VoxelImage(np.ones((5, 6, 7), np.uint8), (1e-6, 2e-6, 3e-6), PHASES)
    case.labels[0] = 0  # percolates along y and z, not along x
    orientation = Orientation(1, True)
    image = orientation.apply(case)
    mesh = voxel_mesh(image, layers=(1e-6,), inside="active")
    found = microstructure(image, mesh, half_cell.make_parameters(), orientation=orientation)
    assert (found["shape"], found["voxel_size_m"]) == ([5, 6, 7], [1e-6, 2e-6, 3e-6])
    assert found["phases"]["pore"]["percolating_fraction"] == {"x": 0.0, "y": 1.0, "z": 1.0}
    assert found["transport"]["ionic"]["b"] == pytest.approx(1.0 / 5.0, rel=1e-3)


def test_what_the_model_left_out_is_listed(half_cell):
    labels = np.zeros((5, 3, 3), int)
    labels[3:] = 1
    labels[1, 1, 1] = 2
    cell, mesh, image = half_cell.make_cell(labels, half_cell.make_parameters(transport="impermeable"))
    left_out = cell.network.determined.left_out
    removed = microstructure(image, mesh, cell.parameters, left_out=left_out)["removed"]
    assert removed == [{"phase": "binder", "potential": "phi_s", "cells": 1, "volume_share": 1.0}]
