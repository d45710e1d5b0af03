import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshing import connect
from meshing.connect import cluster_sizes, components, conducting_component, percolation, touching


def flood(mask, starts):
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
            if 0 <= there[axis] < mask.shape[axis] and mask[tuple(there)]:
                stack.append(tuple(there))
    return seen


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
def test_results_do_not_depend_on_the_chunk(monkeypatch, chunk):
    mask = np.random.default_rng(3).random((6, 7, 8)) < 0.5
    labels, count = components(mask)
    expected = np.bincount(labels.ravel(), minlength=count + 1)
    within = np.random.default_rng(4).random(mask.shape) < 0.5
    kept = touching(mask, 0)
    monkeypatch.setattr(connect, "CHUNK", chunk)
    assert np.array_equal(cluster_sizes(labels, count), expected)
    assert np.array_equal(cluster_sizes(labels, count, within), np.bincount(labels[within], minlength=count + 1))
    assert np.array_equal(touching(mask, 0), kept)


def test_views_that_are_not_contiguous_are_labelled_alike():
    mask = np.random.default_rng(5).random((6, 7, 8)) < 0.5
    assert percolation(mask.transpose(2, 1, 0)).removed == percolation(mask).removed[::-1]
    assert np.array_equal(conducting_component(mask[::-1], 0)[::-1], conducting_component(mask, 0))
