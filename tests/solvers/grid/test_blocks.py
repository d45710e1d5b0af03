import numpy as np
import pytest
from scipy import ndimage

from battsim import threads
from battsim.solvers.grid.blocks import aggregate_blocks, with_edges
from battsim.solvers.grid.layout import joined_planes
from battsim.threads import Team

SHAPES = [(1, 1, 1), (2, 2, 2), (6, 4, 8), (5, 7, 3), (7, 1, 6), (1, 9, 4), (9, 8, 11)]
each_case = pytest.mark.parametrize(
    ("shape", "porosity"), [(shape, porosity) for shape in SHAPES for porosity in (0.3, 0.6, 1.0)]
)


@pytest.fixture
def team(monkeypatch):
    """Three threads that share whatever there is."""
    monkeypatch.setattr(threads, "SMALLEST_SHARE", 1)
    with Team(3) as three:
        yield three


def grid(shape, porosity, seed=0):
    return (np.random.default_rng(seed).random(shape) < porosity).astype(np.uint8)


def parts_of_blocks(conducting):
    """Connected parts of each block, numbered block by block and by their first voxel; -1 where nothing conducts."""
    numbers, n = np.full(conducting.shape, -1), 0
    for block in np.ndindex(*((size + 1) // 2 for size in conducting.shape)):
        inside = tuple(slice(2 * b, 2 * b + 2) for b in block)
        labels, count = ndimage.label(conducting[inside])
        first = [np.flatnonzero(labels == label)[0] for label in range(1, count + 1)]
        for order, label in enumerate(np.argsort(first) + 1):
            numbers[inside][labels == label] = n + order
        n += count
    return numbers, n


def faces_between(numbers, n):
    """Number of faces between any two parts, shape (n, n)."""
    faces = np.zeros((n, n))
    for axis in range(3):
        low, high = (
            np.take(numbers, range(*ends), axis) for ends in ((numbers.shape[axis] - 1,), (1, numbers.shape[axis]))
        )
        joined = (low >= 0) & (high >= 0) & (low != high)
        np.add.at(faces, (low[joined], high[joined]), 1)
    return faces + faces.T


def matrix(level):
    A = np.zeros((level.n_nodes, level.n_nodes))
    rows = np.repeat(np.arange(level.n_nodes), np.diff(level.pointers))
    A[rows, level.columns] = level.weights
    return A


def joined(cells, shape):
    values = np.zeros(shape, np.int32)
    joined_planes(0, shape[0], cells, values)
    return values


def test_every_block_of_eight_voxels_falls_into_its_connected_parts(team):
    # all 256 blocks in one row
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    conducting = np.ascontiguousarray(bits.reshape(256, 2, 2, 2).transpose(1, 2, 0, 3).reshape(2, 2, 512), np.uint8)
    blocks = aggregate_blocks(conducting, team)
    numbers, n = parts_of_blocks(conducting)
    np.testing.assert_array_equal(joined(blocks.cells(2, team), conducting.shape), numbers)
    np.testing.assert_array_equal(matrix(blocks.network), faces_between(numbers, n))


@each_case
def test_cells_are_numbered_by_the_connected_parts_of_their_blocks(team, shape, porosity):
    conducting = grid(shape, porosity)
    blocks = aggregate_blocks(conducting, team)
    numbers, n = parts_of_blocks(conducting)
    cells = blocks.cells(2, team)
    assert blocks.network.n_nodes == n
    np.testing.assert_array_equal(joined(cells, shape), numbers)
    np.testing.assert_array_equal(blocks.cells(1, team), cells[:1])
    assert (cells >= 0).sum() == conducting.sum()  # and none in the padding
    first, at = np.unique(numbers, return_index=True)
    indices = np.column_stack(np.unravel_index(at[first >= 0], shape))
    np.testing.assert_array_equal(blocks.network.position, indices // 2)


@each_case
def test_network_counts_the_faces_between_parts(team, shape, porosity):
    conducting = grid(shape, porosity)
    network = aggregate_blocks(conducting, team).network
    np.testing.assert_array_equal(matrix(network), faces_between(*parts_of_blocks(conducting)))
    rows = np.repeat(np.arange(network.n_nodes), np.diff(network.pointers))
    entries = rows * network.n_nodes + network.columns
    assert (np.diff(entries) > 0).all()  # sorted, and each pair once
    assert (network.weights > 0).all()
    np.testing.assert_array_equal(network.ground, 0)


@each_case
@pytest.mark.parametrize("axis", range(3))
def test_layers_are_those_of_the_cells(team, shape, porosity, axis):
    conducting = grid(shape, porosity)
    blocks = aggregate_blocks(conducting, team)
    numbers, _ = parts_of_blocks(conducting)
    for index in range(shape[axis]):
        there = np.take(conducting, index, axis) == 1
        np.testing.assert_array_equal(blocks.layer(axis, index)[there], np.take(numbers, index, axis)[there])


def test_threads_change_nothing(monkeypatch):
    conducting = grid((23, 10, 9), 0.6)
    monkeypatch.setattr(threads, "SMALLEST_SHARE", 1)
    found = []
    for team_size in (1, 2, 5):
        with Team(team_size) as team:
            blocks = aggregate_blocks(conducting, team)
            network = blocks.network
            found.append((blocks.cells(2, team), network.pointers, network.columns, network.weights, network.position))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_added_edges_add_to_couplings_and_make_new_ones(team):
    network = aggregate_blocks(grid((6, 6, 6), 1.0), team).network  # 27 blocks, 4 faces between two of them
    first, second = np.array([0, 3, 0], np.int32), np.array([1, 26, 18], np.int32)
    more = with_edges(network, first, second, np.array([0.5, 2.0, 3.0], np.float32))
    expected = matrix(network)
    for a, b, g in ((0, 1, 0.5), (3, 26, 2.0), (0, 18, 3.0)):
        expected[a, b] += g
        expected[b, a] += g
    np.testing.assert_array_equal(matrix(more), expected)
    assert expected[0, 1] == 4.5
    np.testing.assert_array_equal(more.position, network.position)
