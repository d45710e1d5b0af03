"""What conducts: tables by phase, arrays by voxel, and what is refused of either."""

import numpy as np
import pytest

from battsim.errors import CaseError
from battsim.post.transport.conductor import conductor, phase_conductivity, phase_weights
from meshing.image import VoxelImage

PHASES = ("pore", "active", "binder")
SIZE = (1e-6, 2e-6, 3e-6)


def image(shape=(4, 3, 5), seed=0):
    labels = np.random.default_rng(seed).choice(3, shape).astype(np.uint8)
    return VoxelImage(labels, SIZE, PHASES)


def test_phases_become_tables_of_all_256_numbers():
    found = conductor(image(), {"binder": 0.1, "pore": 2}, {"binder": 0.5})
    assert found.voxels is not None
    np.testing.assert_array_equal(found.voxels, image().labels)
    np.testing.assert_array_equal(found.conductivity, [2.0, 0.0, 0.1] + [0.0] * 253)
    np.testing.assert_array_equal(found.weight, [1.0, 0.0, 0.5] + [0.0] * 253)
    np.testing.assert_array_equal(found.conducts, [True, False, True] + [False] * 253)
    assert found.voxel_size == SIZE


def test_order_of_the_mapping_does_not_matter_but_that_of_the_image_does():
    k = phase_conductivity(image(), {"active": 3.0, "pore": 1.0})
    np.testing.assert_array_equal(k, [1.0, 3.0, 0.0])
    np.testing.assert_array_equal(phase_weights(image(), k, {"active": 0.25}), [1.0, 0.25, 0.0])


def test_phase_of_zero_conductivity_insulates_and_may_stand_beside_others():
    found = conductor(image(), {"pore": 1.0, "binder": 0.0})
    np.testing.assert_array_equal(found.weight[:3], [1.0, 0.0, 0.0])


def test_conductivity_by_voxel_counts_as_one_phase():
    values = np.random.default_rng(1).random((4, 3, 5))
    found = conductor(image(), values)
    assert found.voxels is values  # no copy of what may be large
    assert found.conductivity is None
    assert found.conducts is None
    assert found.weight[1] == found.weight.sum() == 1.0


@pytest.mark.parametrize(
    ("dtype", "kept"), [("f4", "f4"), ("f8", "f8"), ("f2", "f8"), (">f8", "f8"), (np.longdouble, "f8")]
)
def test_kinds_of_floating_point(dtype, kept):
    values = np.random.default_rng(1).random((4, 3, 5)).astype(dtype)
    found = conductor(image(), values)
    assert found.voxels.dtype == np.dtype(kept)
    assert found.voxels.dtype.isnative
    np.testing.assert_array_equal(found.voxels, values.astype(kept))


@pytest.mark.parametrize("bad", [-1.0, -1e-300, np.nan, np.inf, -np.inf])
def test_bad_conductivity_of_a_phase_is_refused_by_its_key(bad):
    with pytest.raises(CaseError, match=rf"transport\.conductivity\.binder = {bad}; allowed are finite numbers"):
        conductor(image(), {"pore": 1.0, "binder": bad})


@pytest.mark.parametrize("bad", [-1.0, -1e-300, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 0, 0), (3, 1, 2)])
def test_bad_conductivity_of_a_voxel_is_refused_by_its_place(bad, where):
    values = np.ones((4, 3, 5))
    values[where] = bad
    with pytest.raises(CaseError, match=rf"conductivity of voxel \({where[0]}, {where[1]}, {where[2]}\) is {bad}"):
        conductor(image(), values)


@pytest.mark.parametrize("conductivity", [{}, {"pore": 0.0}, {"pore": 0.0, "active": 0, "binder": -0.0}])
def test_phases_of_which_none_conducts_are_refused(conductivity):
    with pytest.raises(CaseError, match=r"nothing conducts.*pore, active, binder"):
        conductor(image(), conductivity)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_voxels_of_which_none_conducts_are_refused(dtype):
    with pytest.raises(CaseError, match="0 in all voxels"):
        conductor(image(), np.zeros((4, 3, 5), dtype))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.ones((4, 3, 5), int), r"array of int64 of shape \(4, 3, 5\).*floating-point"),
        (np.ones((4, 3, 5), bool), "array of bool"),
        (np.ones((4, 3, 5), complex), "array of complex128"),
        (np.ones((3, 4, 5)), r"of shape \(3, 4, 5\); the image of shape \(4, 3, 5\)"),
        (np.ones((4, 3)), r"of shape \(4, 3\)"),
        (np.float64(1.0), r"of shape \(\)"),
    ],
)
def test_arrays_that_do_not_fit_the_image_are_refused(values, match):
    with pytest.raises(CaseError, match=match):
        conductor(image(), values)


@pytest.mark.parametrize("key", ["conductivity", "porosity"])
def test_unknown_phase_is_refused_by_its_key(key):
    named = {"conductivity": {"pore": 1.0}, "porosity": {}}
    named[key] = {**named[key], "void": 0.5}
    with pytest.raises(CaseError, match=rf"transport\.{key}\.void.*choose from pore, active, binder"):
        conductor(image(), **named)


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.5, np.nan])
def test_porosity_is_above_0_and_up_to_1(bad):
    with pytest.raises(CaseError, match=r"transport\.porosity\.pore"):
        conductor(image(), {"pore": 1.0}, {"pore": bad})


def test_porosity_goes_with_phases_that_conduct():
    with pytest.raises(CaseError, match=r"transport\.porosity\.binder = 0\.5, but the phase does not conduct"):
        conductor(image(), {"pore": 1.0}, {"binder": 0.5})
    with pytest.raises(CaseError, match=r"transport\.porosity goes with conductivities by phase"):
        conductor(image(), np.ones((4, 3, 5)), {"pore": 0.5})
