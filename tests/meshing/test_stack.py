"""Two images as one mesh: their order, their surfaces as each has them alone, and the layers between."""

from dataclasses import replace

import numpy as np
import pytest

from meshing.errors import LabelError, MeshError
from meshing.image import VoxelImage
from meshing.stack import layers_between, stack_mesh, with_common_extent
from meshing.voxel import voxel_mesh

LAYERS = (1e-6, 2e-6, 3e-6)
NEGATIVE = VoxelImage(
    np.random.default_rng(1).choice(2, (4, 3, 2)).astype(np.uint8), (2e-6, 1e-6, 3e-6), ("active", "pore")
)
POSITIVE = VoxelImage(
    np.random.default_rng(2).choice(3, (5, 3, 2)).astype(np.uint8), (1e-6, 1e-6, 3e-6), ("pore", "active", "binder")
)


def test_planes_are_collector_negative_separator_positive_collector():
    mesh = stack_mesh(NEGATIVE, POSITIVE, LAYERS, inside="active")
    assert mesh.grid_shape == (4 + 3 + 5, 3, 2)
    names = np.array(mesh.phases)[mesh.phase].reshape(mesh.grid_shape)
    assert (names[4:7] == "separator").all()
    for k in range(4):  # the low end of the negative image is at the separator
        labels = np.array(NEGATIVE.phases)[NEGATIVE.labels[3 - k]]
        assert (names[k] == np.char.add("negative ", labels)).all()
    assert (names[7:] == np.char.add("positive ", np.array(POSITIVE.phases)[POSITIVE.labels])).all()
    depth = mesh.centre[:, 0].reshape(mesh.grid_shape)[:, 0, 0]
    edges = np.cumsum([0.0, *[2e-6] * 4, *LAYERS, *[1e-6] * 5])
    np.testing.assert_allclose(depth, 0.5 * (edges[1:] + edges[:-1]), rtol=1e-12)
    assert mesh.volume.sum() == pytest.approx(edges[-1] * 3e-6 * 6e-6, rel=1e-12)
    assert mesh.patches["x-low"].distance == pytest.approx(1e-6, rel=1e-12)
    assert mesh.patches["x-high"].distance == pytest.approx(0.5e-6, rel=1e-12)


def surface(mesh, prefix=""):
    """Area and both distances of every face of the active material, by partner, sorted so that order cannot matter."""
    out = {}
    for pair in mesh.interfaces:
        if pair.phases[0] == f"{prefix}active":
            rows = np.column_stack([pair.area, pair.first_distance, pair.second_distance])
            out[pair.phases[1].removeprefix(prefix)] = np.sort(rows, axis=0)
    return out


def test_each_surface_is_what_the_image_has_alone():
    mesh = stack_mesh(NEGATIVE, POSITIVE, LAYERS, inside="active")
    alone = {
        "negative ": voxel_mesh(NEGATIVE, layers=LAYERS[::-1], inside="active"),
        "positive ": voxel_mesh(POSITIVE, layers=LAYERS, inside="active"),
    }
    for prefix, half in alone.items():
        found, wanted = surface(mesh, prefix), surface(half)
        assert found.keys() == wanted.keys() >= {"pore", "separator"}
        for partner, rows in wanted.items():
            # the mirrored image is smoothed in single precision from the other end
            np.testing.assert_allclose(found[partner], rows, rtol=2e-5, atol=0.0)


def test_faces_of_a_surface_join_the_phases_that_they_name():
    mesh = stack_mesh(NEGATIVE, POSITIVE, LAYERS, inside="active")
    for pair in mesh.interfaces:
        assert {mesh.phases[k] for k in mesh.phase[pair.first]} == {pair.phases[0]}
        assert {mesh.phases[k] for k in mesh.phase[pair.second]} == {pair.phases[1]}


def test_layers_are_fine_at_both_ends():
    even = layers_between(12e-6, 10, (1e-6, 0.5e-6))
    assert len(even) == 10
    assert sum(even) == pytest.approx(12e-6, rel=1e-12)
    assert (even[0], even[-1]) == (pytest.approx(1e-6, rel=1e-6), pytest.approx(0.5e-6, rel=1e-6))
    assert np.all(np.diff(even[:5]) > 0)
    assert np.all(np.diff(even[5:]) < 0)
    odd = layers_between(12e-6, 7, (1e-6, 1e-6))
    assert len(odd) == 7
    assert sum(odd) == pytest.approx(12e-6, rel=1e-12)
    assert odd == pytest.approx(odd[::-1], rel=1e-12)
    assert layers_between(12e-6, 1, (1e-6, 1e-6)) == pytest.approx((12e-6,))
    assert layers_between(4e-6, 4, (2e-6, 2e-6)) == pytest.approx((1e-6,) * 4)


def test_images_of_different_width_share_what_both_have():
    wide = replace(POSITIVE, labels=np.random.default_rng(3).choice(3, (5, 2, 4)).astype(np.uint8))
    negative, positive = with_common_extent(NEGATIVE, wide)
    np.testing.assert_array_equal(negative.labels, NEGATIVE.labels[:, :2])
    np.testing.assert_array_equal(positive.labels, wide.labels[:, :, :2])
    with pytest.raises(MeshError, match=r"3 x 2 voxels across.*2 x 4"):
        stack_mesh(NEGATIVE, wide, LAYERS)


def test_lateral_voxels_must_agree():
    other = replace(POSITIVE, voxel_size=(1e-6, 1e-6, 2e-6))
    with pytest.raises(LabelError, match=r"negative image are 1 x 3 um and those of the positive one 1 x 2 um"):
        with_common_extent(NEGATIVE, other)
    rounded = replace(POSITIVE, voxel_size=(1e-6, 1e-6 * (1 + 1e-8), 3e-6))
    assert with_common_extent(NEGATIVE, rounded) == (NEGATIVE, rounded)


def test_what_cannot_be_stacked_is_refused():
    with pytest.raises(MeshError, match="layers between them"):
        stack_mesh(NEGATIVE, POSITIVE, ())
    with pytest.raises(MeshError, match=r"'binder' is asked for, but the negative image has the phases active, pore"):
        stack_mesh(NEGATIVE, POSITIVE, LAYERS, inside="binder")
