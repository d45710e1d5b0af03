"""Slabs, sweeps and levels of the hierarchy; what the whole cycle does for a network is in test_multigrid.py."""

from itertools import pairwise

import numpy as np
import pytest

from battsim import threads
from battsim.solvers import hierarchy as module
from battsim.solvers import multigrid_kernels as kernels
from battsim.solvers.hierarchy import Hierarchy, Level, MultigridSettings
from battsim.threads import Team


@pytest.fixture
def small_slabs(monkeypatch):
    """Slabs and shares of work in networks of a few hundred nodes, as otherwise in large ones."""
    monkeypatch.setattr(module, "_SMALLEST_SLAB", 20)
    monkeypatch.setattr(threads, "SMALLEST_SHARE", 1)


def grid_edges(shape, periodic=False):
    """Low and high node of each face of a grid, those across the first axis's ends too where it is periodic."""
    index = np.arange(np.prod(shape)).reshape(shape)
    pairs = [(np.take(index, range(n - 1), a), np.take(index, range(1, n), a)) for a, n in enumerate(shape)]
    if periodic:
        pairs.append((index[0], index[-1]))
    first, second = (np.concatenate([side.ravel() for side in sides]) for sides in zip(*pairs, strict=True))
    return first.astype(np.int32), second.astype(np.int32)


def make_level(first, second, position, seed=0, ground=None):
    """A network with conductances between 0.1 and 1, with a ground at some nodes unless given."""
    rng, n = np.random.default_rng(seed), len(position)
    pointers, columns, entry_of_first, entry_of_second = kernels.adjacency(first, second, n)
    level = Level(pointers, columns, np.asarray(position, np.int32, order="C"))
    g = rng.uniform(0.1, 1.0, first.size).astype(np.float32)
    for entries in (entry_of_first, entry_of_second):
        kernels.accumulate(g, entries, level.weights)
    level.ground[:] = rng.choice([0.0, 0.3], n) if ground is None else ground
    level.invert_diagonal()
    level.b[:] = rng.standard_normal(n)
    return level


def grid_level(shape, *, periodic=False, extra=(), **options):
    first, second = grid_edges(shape, periodic)
    more = np.array(extra, np.int32).reshape(-1, 2)
    first, second = np.append(first, more[:, 0]), np.append(second, more[:, 1])
    return make_level(first, second, np.argwhere(np.ones(shape, bool)), **options)


def dense(level):
    """The level's matrix, float64."""
    n = level.n_nodes
    A = np.zeros((n, n))
    for i in range(n):
        for p in range(level.pointers[i], level.pointers[i + 1]):
            A[i, level.columns[p]] -= level.weights[p]
    return A + np.diag(level.ground - A.sum(axis=1))


def columns_of(operator, n):
    """The matrix of a linear operator, by unit vectors."""
    return np.column_stack([operator(e) for e in np.eye(n, dtype=np.float32)])


# ---- slabs


@pytest.mark.usefixtures("small_slabs")
@pytest.mark.parametrize("planes", [4, 5, 7, 16, 17, 40])
@pytest.mark.parametrize("periodic", [False, True])
def test_slabs_of_a_grid_are_an_even_number_of_pairs_of_planes(planes, periodic):
    level = grid_level((planes, 5, 4), periodic=periodic)
    assert level.slabs[0] == 0
    assert level.slabs[-1] == level.n_nodes
    assert (level.slabs[:-1] % (2 * 5 * 4) == 0).all()  # each begins with an even plane
    assert (np.diff(level.slabs) > 0).all()
    assert level.slabs.size - 1 == {4: 2, 5: 2, 7: 4, 16: 8, 17: 8, 40: 8}[planes]


@pytest.mark.parametrize("nodes", [9_000, 11_000, 41_000])
def test_slabs_need_some_thousand_nodes_each(nodes):
    level = grid_level((nodes // 500, 25, 20))
    assert level.slabs.size - 1 == {9_000: 1, 11_000: 2, 41_000: 8}[nodes]


@pytest.mark.usefixtures("small_slabs")
def test_networks_that_are_no_grid_have_one_slab():
    shape = (16, 5, 4)
    assert grid_level(shape).slabs.size - 1 == 8
    assert grid_level(shape, extra=[(0, 2 * 20)]).slabs.size - 1 == 8  # to the slab behind
    np.testing.assert_array_equal(grid_level(shape, extra=[(0, 4 * 20)]).slabs, [0, 320])  # to the one after that
    first, second = grid_edges(shape)
    position = np.argwhere(np.ones(shape, bool))
    collector = np.where(position[:, :1] == 0, -1, position)
    shuffled = np.concatenate([position[:60], position[80:100], position[60:80], position[100:]])
    for where in (collector, shuffled):
        np.testing.assert_array_equal(make_level(first, second, where).slabs, [0, 320])


@pytest.mark.usefixtures("small_slabs")
def test_aggregates_that_cross_slabs_leave_one():
    level = grid_level((16, 5, 4))
    assert level.slabs.size - 1 == 8
    # strong couplings across blocks only: these fall to pieces, and nodes merge freely, from one slab to the next
    rows = np.repeat(np.arange(level.n_nodes), np.diff(level.pointers))
    level.weights[:] = 1e-6
    along = np.abs(level.columns - rows) == 20
    level.weights[along] = np.where(
        np.minimum(rows, level.columns)[along] // 20 % 2, 1.0, 1e-6
    )  # odd planes to the next
    level.invert_diagonal()
    levels = Hierarchy(level, MultigridSettings(coarsest_size=10))
    levels.build()
    assert len(levels.levels) > 1
    np.testing.assert_array_equal(level.slabs, [0, level.n_nodes])
    b = level.b.copy()
    levels.solve(1)
    alone = level.x.copy()
    with Team(3) as team:
        level.b[:] = b
        levels.solve(1, team)
    np.testing.assert_array_equal(level.x, alone)


# ---- sweeps


def slab_order(level):
    """Rows in the order of a forward sweep."""
    slabs = [range(level.slabs[k], level.slabs[k + 1]) for k in range(level.slabs.size - 1)]
    return [i for parity in (0, 1) for slab in slabs[parity::2] for i in slab]


@pytest.mark.usefixtures("small_slabs")
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_a_sweep_is_gauss_seidel_in_even_and_then_odd_slabs(periodic, backward):
    level = grid_level((17, 4, 3), periodic=periodic)
    assert level.slabs.size - 1 > 2
    A, x = dense(level), np.random.default_rng(1).standard_normal(level.n_nodes)
    level.x[:] = x
    level.sweep(None, backward=backward)
    order = slab_order(level)
    for i in order[::-1] if backward else order:
        x[i] += (level.b[i] - A[i] @ x) / A[i, i]
    np.testing.assert_allclose(level.x, x, atol=2e-6)  # float32


@pytest.mark.usefixtures("small_slabs")
@pytest.mark.parametrize("planes", [3, 7, 16, 17])
@pytest.mark.parametrize("periodic", [False, True])
def test_from_zero_is_the_same_sweep_and_leaves_the_same_residual(planes, periodic):
    level = grid_level((planes, 4, 3), periodic=periodic)
    aggregate, n = kernels.block_aggregates(level.pointers, level.columns, level.weights, level.position, 0.01)
    aggregate[aggregate == 1] = -1  # as a node that is not coarsened
    level.aggregate = aggregate
    level.x[:] = 0
    level.sweep(None, backward=False)
    swept = level.x.copy()
    level.x[:] = np.nan
    level.sweep_from_zero(None)
    np.testing.assert_allclose(level.x, swept, atol=2e-6)
    full, short = np.full((2, n), np.nan, np.float32)
    level.restrict_residual(None, full, swept_from_zero=False)
    level.restrict_residual(None, short, swept_from_zero=True)
    residual = level.b - dense(level) @ level.x
    expected = np.bincount(aggregate[aggregate >= 0], residual[aggregate >= 0], n)
    # sums of up to eight rows with values of order 1, in float32
    np.testing.assert_allclose(full, expected, atol=1e-5)
    np.testing.assert_allclose(short, expected, atol=1e-5)
    assert np.abs(expected).max() > 0.1


@pytest.mark.usefixtures("small_slabs")
@pytest.mark.parametrize("periodic", [False, True])
def test_threads_change_no_bit_of_a_cycle(periodic):
    def cycled(team):
        level = grid_level((20, 7, 6), periodic=periodic)
        levels = Hierarchy(level, MultigridSettings(coarsest_size=10))
        levels.build()
        assert [one.slabs.size - 1 for one in levels.levels[:2]] == [8, 4]
        levels.solve(2, team)
        return level.x

    alone = cycled(None)
    for team_size in (1, 2, 3):
        with Team(team_size) as team:
            np.testing.assert_array_equal(cycled(team), alone)


@pytest.mark.usefixtures("small_slabs")
@pytest.mark.parametrize("cycles", [1, 2])
@pytest.mark.parametrize("sweeps", [1, 2])
@pytest.mark.parametrize("periodic", [False, True])
def test_cycle_is_symmetric_and_positive(cycles, sweeps, periodic):
    level = grid_level((9, 6, 4), periodic=periodic)
    levels = Hierarchy(level, MultigridSettings(coarsest_size=4, sweeps=sweeps))
    levels.build()
    assert len(levels.levels) > 2
    assert level.slabs.size - 1 > 2

    def solve(b):
        level.b[:] = b
        levels.solve(cycles)
        return level.x.astype(float)

    B = columns_of(solve, level.n_nodes)
    np.testing.assert_allclose(B, B.T, atol=2e-6 * np.abs(B).max())  # float32
    eigenvalues = np.linalg.eigvalsh((B + B.T) / 2)
    assert eigenvalues[0] > 1e-2 * eigenvalues[-1]


def test_second_cycle_improves_on_the_first():
    level = grid_level((12, 10, 9))
    levels = Hierarchy(level, MultigridSettings(coarsest_size=20))
    levels.build()
    A = dense(level)
    size = []
    for cycles in range(1, 5):
        levels.solve(cycles)
        size.append(np.linalg.norm(level.b - A @ level.x))
    assert all(after < 0.5 * before for before, after in pairwise(size)), size


# ---- aggregates and the coarsest level


def test_dead_ends_join_their_neighbour_across_blocks_in_the_same_planes():
    #            a pair in one block, its dead ends in the blocks beside, above and in the planes behind
    position = [[0, 0, 0], [0, 1, 0], [0, 2, 0], [1, 1, 2], [2, 1, 0]]
    first, second = np.array([[0, 1], [1, 2], [1, 3], [1, 4]], np.int32).T.copy()
    level = make_level(first, second, position)
    level.weights[:] = 1
    aggregate, n = kernels.block_aggregates(level.pointers, level.columns, level.weights, level.position, 0.25)
    np.testing.assert_array_equal(aggregate, [0, 0, 0, 0, 1])
    assert n == 2


def test_inverse_of_a_grounded_component_is_exact_and_of_a_floating_one_answers_nothing_to_a_constant():
    # a grounded chain of 3, a floating chain of 4, a node with nothing, a node with nothing but a ground
    first, second = np.array([[0, 1], [1, 2], [3, 4], [4, 5], [5, 6]], np.int32).T.copy()
    level = make_level(first, second, np.zeros((9, 3), int), ground=[0.5, 0, 0, 0, 0, 0, 0, 0, 0.25])
    A, B = dense(level), module._dense_inverse(level)
    np.testing.assert_allclose(B[:3, :3] @ A[:3, :3], np.eye(3), atol=1e-5)  # float32
    np.testing.assert_allclose(B @ np.array([0, 0, 0, 1, 1, 1, 1, 0, 0]), 0, atol=1e-5)
    np.testing.assert_allclose(B[3:7, 3:7] @ A[3:7, 3:7], np.eye(4) - 0.25, atol=1e-5)  # the identity less the mean
    np.testing.assert_array_equal(B[7], 0)
    assert B[8, 8] == 4.0
    np.testing.assert_array_equal(B[:3, 3:], 0)


@pytest.mark.parametrize("coarsest_size", [1000, 4], ids=["dense inverse", "several levels"])
def test_node_with_no_coupling_but_a_ground_is_solved_exactly(coarsest_size):
    first, second = grid_edges((5, 4, 4))
    position = np.append(np.argwhere(np.ones((5, 4, 4), bool)), [[5, 0, 0], [5, 2, 0]], axis=0)
    ground = np.r_[np.full(80, 0.5), 0.25, 0.0]
    level = make_level(first, second, position, ground=ground)
    level.b[:] = 1.0
    levels = Hierarchy(level, MultigridSettings(coarsest_size=coarsest_size))
    levels.build()
    if coarsest_size == 4:
        assert level.aggregate[80] == level.aggregate[81] == -1
    levels.solve(2)
    assert level.x[80] == 4.0
    assert level.x[81] == 0.0
