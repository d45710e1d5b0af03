import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from meshing import clusters, connect
from meshing.connect import (
    NOT_PERIODIC,
    cluster_sizes,
    components,
    conducting,
    conducting_component,
    percolation,
    touching,
)
from meshing.errors import LabelError, MeshError

# rows of one bit, rows that end just before, at and behind a word of 64 voxels, and rows of several words
ROWS = st.sampled_from([1, 2, 3, 63, 64, 65, 128, 150])
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5), ROWS).flatmap(st.permutations).map(tuple)
FRACTIONS = st.sampled_from([0.0, 0.1, 0.4, 0.6, 0.9, 1.0])
SEEDS = st.integers(0, 2**32 - 1)
AXES_THAT_ARE_PERIODIC = st.tuples(*[st.booleans()] * 3)


@pytest.fixture(autouse=True, scope="module")
def _threads_share_small_images():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "SMALLEST_SHARE", 1)
        yield


def noise(shape, fraction, seed):
    return np.random.default_rng(seed).random(shape) < fraction


def flood(mask, starts, periodic=NOT_PERIODIC):
    """Voxels reached from `starts` over shared faces, one voxel at a time: the slow definition."""
    seen = np.zeros(mask.shape, bool)
    stack = [start for start in starts if mask[start]]
    while stack:
        here = stack.pop()
        if seen[here]:
            continue
        seen[here] = True
        for axis, step in itertools.product(range(3), (-1, 1)):
            there = list(here)
            there[axis] += step
            if periodic[axis]:
                there[axis] %= mask.shape[axis]
            if 0 <= there[axis] < mask.shape[axis] and mask[tuple(there)]:
                stack.append(tuple(there))
    return seen


def flooded_components(mask, periodic):
    """Cluster numbers by flooding from each voxel in turn that is not yet numbered."""
    labels = np.zeros(mask.shape, int)
    for start in np.argwhere(mask):
        if labels[tuple(start)] == 0:
            labels[flood(mask, [tuple(start)], periodic)] = labels.max() + 1
    return labels


def end_voxels(shape, axis, end):
    at = 0 if end == "low" else shape[axis] - 1
    return [index for index in np.ndindex(*shape) if index[axis] == at]


def example():
    """Along x: a bar from end to end, a dead end at the low side, a floating voxel, a corner-only neighbour."""
    mask = np.zeros((5, 6, 3), bool)
    mask[:, 0, 0] = True
    mask[:2, 2, 1] = True
    mask[2, 4, 1] = True
    mask[3, 5, 1] = True  # shares only an edge with the floating voxel
    return mask


def test_faces_connect_and_edges_do_not():
    labels, count = components(example())
    assert count == 4
    assert labels.dtype == np.int32
    assert labels[2, 4, 1] != labels[3, 5, 1]


def test_named_ends_select_their_clusters():
    mask = example()
    percolating = touching(mask, 0, how="all")
    assert percolating.sum() == 5
    assert percolating[:, 0, 0].all()
    assert touching(mask, 0, ("low",)).sum() == 7
    assert touching(mask, 0, ("high",)).sum() == 5
    assert np.array_equal(conducting_component(mask, 0), touching(mask, 0, how="any"))
    assert conducting_component(mask, 0).sum() == 7


def test_percolation_of_the_example_by_hand():
    found = percolation(example())
    assert (found.voxels, found.components) == (9, 4)
    assert (found.percolating.x, found.percolating.y, found.percolating.z) == (5 / 9, 0.0, 0.0)
    assert found.removed == (4, 9, 9)
    # the voxel at y = 5 touches the high face of y; the dead end touches x-low; only (2, 4, 1) floats
    assert (found.island_voxels, found.island_fraction) == (1, 1 / 9)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    fraction=st.sampled_from([0.2, 0.4, 0.6, 0.9]),
    seed=st.integers(0, 2**32 - 1),
    axis=st.integers(0, 2),
)
def test_touching_agrees_with_flood_filling(shape, fraction, seed, axis):
    mask = np.random.default_rng(seed).random(shape) < fraction
    low, high = (flood(mask, end_voxels(shape, axis, end)) for end in ("low", "high"))
    assert np.array_equal(touching(mask, axis, ("low",)), low)
    assert np.array_equal(touching(mask, axis, ("high",)), high)
    assert np.array_equal(conducting_component(mask, axis), low | high)
    assert np.array_equal(touching(mask, axis, how="all"), low & high)


@settings(max_examples=20, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 5)] * 3), seed=st.integers(0, 2**32 - 1))
def test_percolation_agrees_with_flood_filling(shape, seed):
    mask = np.random.default_rng(seed).random(shape) < 0.6
    found = percolation(mask)
    reached = [[flood(mask, end_voxels(shape, axis, end)) for end in ("low", "high")] for axis in range(3)]
    kept = [int((low & high).sum()) for low, high in reached]
    assert found.removed == tuple(int(mask.sum()) - n for n in kept)
    outside = np.logical_or.reduce([side for pair in reached for side in pair])
    assert found.island_voxels == int((mask & ~outside).sum())


def test_an_axis_of_one_voxel_percolates_wherever_the_phase_is():
    mask = np.zeros((4, 4, 1), bool)
    mask[1, 2, 0] = mask[2, 3, 0] = True
    found = percolation(mask)
    assert (found.percolating.x, found.percolating.y, found.percolating.z) == (0.0, 0.0, 1.0)
    assert found.island_voxels == 0


def test_an_empty_phase_has_no_clusters_and_no_shares():
    found = percolation(np.zeros((3, 4, 5), bool))
    assert (found.voxels, found.components, found.removed) == (0, 0, (0, 0, 0))
    assert (found.percolating.x, found.island_fraction) == (0.0, 0.0)
    assert not touching(np.zeros((3, 4, 5), bool), 1, how="all").any()


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_cluster_sizes_do_not_depend_on_the_chunk(monkeypatch, chunk):
    mask = noise((6, 7, 8), 0.5, seed=3)
    labels, count = components(mask)
    within = noise(mask.shape, 0.5, seed=4)
    monkeypatch.setattr(connect, "CHUNK", chunk)
    assert np.array_equal(cluster_sizes(labels, count), np.bincount(labels.ravel(), minlength=count + 1))
    assert np.array_equal(cluster_sizes(labels, count, within), np.bincount(labels[within], minlength=count + 1))


@settings(max_examples=150, deadline=None)
@given(shape=SHAPES, fraction=FRACTIONS, seed=SEEDS, threads=st.sampled_from([1, 2, 3, 8]))
def test_components_have_the_numbers_of_scipy_with_any_threads(shape, fraction, seed, threads):
    mask = noise(shape, fraction, seed)
    expected, expected_count = ndimage.label(mask)
    labels, count = components(mask, threads=threads)
    assert labels.dtype == np.int32
    assert count == expected_count
    assert np.array_equal(labels, expected)


@pytest.mark.parametrize("fraction", [0.25, 0.32, 0.4, 0.7])
def test_winding_clusters_of_a_larger_image_agree_with_scipy(fraction):
    # around the percolation threshold of the cubic lattice, 0.3116, clusters are large and ramified
    mask = noise((40, 50, 130), fraction, seed=11)
    expected, expected_count = ndimage.label(mask)
    for threads in (1, 2, 3):
        labels, count = components(mask, threads=threads)
        assert count == expected_count
        assert np.array_equal(labels, expected)


@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    fraction=st.sampled_from([0.2, 0.4, 0.6]),
    seed=SEEDS,
    periodic=AXES_THAT_ARE_PERIODIC,
    threads=st.integers(1, 3),
)
def test_clusters_go_on_through_periodic_sides(shape, fraction, seed, periodic, threads):
    mask = noise(shape, fraction, seed)
    labels, count = components(mask, periodic=periodic, threads=threads)
    expected = flooded_components(mask, periodic)
    assert count == expected.max()
    assert np.array_equal(labels, expected)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, seed=SEEDS, periodic=AXES_THAT_ARE_PERIODIC)
def test_periodic_clusters_do_not_depend_on_where_the_image_is_cut(shape, seed, periodic):
    mask = noise(shape, 0.35, seed)
    shift = [n // 2 if wraps else 0 for n, wraps in zip(shape, periodic, strict=True)]
    labels, count = components(mask, periodic=periodic)
    moved, moved_count = components(np.roll(mask, shift, axis=(0, 1, 2)), periodic=periodic, threads=2)
    back = np.roll(moved, [-step for step in shift], axis=(0, 1, 2))
    assert moved_count == count == np.unique(np.stack([labels[mask], back[mask]]), axis=1).shape[1]


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    seed=SEEDS,
    axis=st.integers(0, 2),
    sides=st.tuples(st.booleans(), st.booleans()),
    order=st.permutations(range(3)),
    threads=st.integers(1, 3),
)
def test_what_conducts_between_the_ends_agrees_with_flood_filling(shape, seed, axis, sides, order, threads):
    labels = np.random.default_rng(seed).integers(0, 4, shape, np.uint8).transpose(order)
    conducts = np.isin(np.arange(256), [1, 3, 200])
    periodic = list(sides)
    periodic.insert(axis, False)
    found = conducting(labels, conducts, axis=axis, periodic=tuple(periodic), threads=threads)
    mask = conducts[labels]
    low, high = (flood(mask, end_voxels(labels.shape, axis, end), periodic) for end in ("low", "high"))
    assert np.array_equal(found.meets, low & high)
    assert found.clusters == flooded_components(mask, periodic).max()
    assert np.array_equal(found.voxels, np.bincount(labels[mask], minlength=256))
    assert np.array_equal(found.meeting, np.bincount(labels[low & high], minlength=256))
    for ends, how, expected in [(("low",), "all", low), (("high",), "any", high), (connect.BOTH, "any", low | high)]:
        one = conducting(labels, conducts, axis=axis, ends=ends, how=how, periodic=tuple(periodic), threads=threads)
        assert np.array_equal(one.meets, expected)


@settings(max_examples=40, deadline=None)
@given(shape=SHAPES, fraction=FRACTIONS, seed=SEEDS, axis=st.integers(0, 2), threads=st.integers(1, 3))
def test_long_rows_conduct_as_their_labels_say(shape, fraction, seed, axis, threads):
    mask = noise(shape, fraction, seed)
    labels, count = ndimage.label(mask)
    both = np.intersect1d(labels.take(0, axis), labels.take(-1, axis))
    expected = np.isin(labels, both[both > 0])
    found = conducting(mask, axis=axis, threads=threads)
    assert np.array_equal(found.meets, expected)
    assert (found.clusters, found.voxels[1], found.meeting[1]) == (count, mask.sum(), expected.sum())
    assert percolation(mask, threads=threads).removed[axis] == mask.sum() - expected.sum()


def test_a_periodic_side_makes_two_dead_ends_percolate():
    mask = np.zeros((4, 5, 70), bool)
    mask[:2, 2, 0] = mask[2:, 2, -1] = True  # two halves of a bar, at opposite sides of z
    assert conducting(mask).meeting.sum() == 0
    wrapped = conducting(mask, periodic=(False, True, True))
    # the halves meet at opposite corners only: (1, 2, 0) and (2, 2, 69) share no face even across the side
    assert (wrapped.clusters, wrapped.meeting.sum()) == (2, 0)
    mask[2, 2, 0] = True
    wrapped = conducting(mask, periodic=(False, True, True))
    assert (wrapped.clusters, wrapped.meeting.sum()) == (1, 5)
    assert touching(mask, 0, how="all", periodic=(False, False, True)).sum() == 5
    assert conducting_component(mask, 1, periodic=(False, False, True)).sum() == 0


@pytest.mark.parametrize(("fill", "count"), [(False, 0), (True, 1)])
def test_empty_and_full_images(fill, count):
    image = np.full((3, 4, 65), fill)
    for threads in (1, 2):
        found = conducting(image, threads=threads)
        assert found.clusters == count
        assert found.meeting.sum() == found.voxels.sum() == found.meets.sum() == image.sum()
        assert components(image, threads=threads)[1] == count


def test_any_number_above_zero_says_where_the_phase_is():
    conductivity = np.random.default_rng(6).random((6, 7, 8)) - 0.4
    conductivity[0, 0, 0] = np.nan
    mask = conductivity > 0
    expected = conducting(mask)
    for voxels in (conductivity, conductivity.astype(np.float32), mask.astype(np.int64) * 1000, mask.astype(np.uint8)):
        found = conducting(voxels)
        assert np.array_equal(found.meets, expected.meets)
        assert (found.voxels[1], found.meeting[1]) == (mask.sum(), expected.meets.sum())
        assert np.array_equal(components(voxels)[0], components(mask)[0])
        assert percolation(voxels) == percolation(mask)


def test_labels_without_a_table_conduct_unless_they_are_zero():
    labels = np.random.default_rng(7).integers(0, 3, (5, 6, 7), np.uint8)
    found = conducting(labels, ends=("low",))
    assert np.array_equal(found.voxels[:4], [0, (labels == 1).sum(), (labels == 2).sum(), 0])
    assert np.array_equal(found.meets, touching(labels > 0, 0, ("low",)))


VIEWS = {
    "whole": lambda a: a,
    "turned": lambda a: a.transpose(2, 0, 1),
    "backwards": lambda a: a[::-1, :, ::-1],
    "turned backwards": lambda a: a[:, ::-1].transpose(1, 2, 0),
    "with gaps": lambda a: a[1:, ::2, 3:-1],
    "thin": lambda a: a[:, :, 2:3],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
def test_views_are_labelled_as_their_copies(view, dtype):
    image = view(noise((6, 9, 12), 0.4, seed=5).astype(dtype))
    copied = np.array(image, order="C")
    image.flags.writeable = False
    assert np.array_equal(components(image)[0], ndimage.label(copied)[0])
    assert percolation(image) == percolation(copied)
    for axis, end in itertools.product(range(3), connect.BOTH):
        expected = flood(copied > 0, end_voxels(copied.shape, axis, end))
        assert np.array_equal(conducting(image, axis=axis, ends=(end,)).meets, expected)


def test_the_mask_lies_in_memory_as_the_image_does():
    labels = np.ones((3, 4, 5), np.uint8).transpose(2, 0, 1)
    assert conducting(labels).meets.strides == labels.strides


def test_arrays_that_are_no_image_are_refused():
    for shape in [(4, 4), (2, 0, 3), (2, 2, 2, 2)]:
        with pytest.raises(LabelError, match="three axes"):
            conducting(np.ones(shape, bool))


def test_the_ends_of_a_periodic_axis_are_refused():
    with pytest.raises(ValueError, match="axis 1 is periodic"):
        conducting(np.ones((2, 2, 2), bool), axis=1, periodic=(False, True, False))


@pytest.mark.parametrize(
    ("dtype", "table"), [(bool, np.ones(256, bool)), (np.uint8, np.ones(4, bool)), (np.uint8, np.ones(256))]
)
def test_a_table_that_does_not_fit_the_labels_is_refused(dtype, table):
    with pytest.raises(ValueError, match="256 labels"):
        conducting(np.ones((2, 2, 2), dtype), table)


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="threads = 0"):
        components(np.ones((2, 2, 2), bool), threads=0)


def test_more_runs_than_can_be_numbered_are_refused(monkeypatch):
    monkeypatch.setattr(clusters, "LARGEST", 3)
    stripes = np.zeros((2, 2, 3), bool)
    stripes[..., 0] = True
    with pytest.raises(MeshError, match=r"4 runs .* more than the 3"):
        components(stripes)
    assert components(stripes[:1])[1] == 1
