import os
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage as ndi
from scipy.sparse import coo_array, diags_array

from battsim.solvers import multigrid_kernels as kernels
from battsim.solvers.krylov import fgmres
from battsim.solvers.multigrid import AggregationMultigrid, MultigridSettings

PORE, AM, CBD = 0, 1, 2


class Network:
    """A resistor network for the tests: edges, conductances, ground, positions, and its matrix."""

    def __init__(self, first, second, conductance, ground, position):
        self.first, self.second, self.g = np.asarray(first), np.asarray(second), np.asarray(conductance, float)
        self.ground, self.position = np.asarray(ground, float), np.asarray(position)
        self.n = self.ground.size

    def multigrid(self, **settings):
        mg = AggregationMultigrid(
            self.first, self.second, self.n, self.position, settings=MultigridSettings(**settings)
        )
        mg.update(self.g, self.ground)
        return mg

    def matrix(self):
        rows, columns = np.r_[self.first, self.second], np.r_[self.second, self.first]
        w = coo_array((np.r_[self.g, self.g], (rows, columns)), shape=(self.n, self.n)).tocsr()
        w.setdiag(0)
        return (diags_array(self.ground + w.sum(axis=1)) - w).tocsr()

    def iterations(self, rtol=1e-8, mg=None, **settings):
        """Iterations of FGMRES to rtol on a random right-hand side; the residual is checked here, independently."""
        A, mg = self.matrix(), mg or self.multigrid(**settings)
        b = np.random.default_rng(0).normal(size=self.n) * self.g.max()
        result = fgmres(lambda v: A @ v, b, mg.apply, rtol=rtol)
        assert result.converged, result.status
        assert np.linalg.norm(b - A @ result.x) <= 1.001 * rtol * np.linalg.norm(b)
        return result.iterations


def neighbours(shape):
    """Low and high cell of each inner face of a grid, axis by axis."""
    index = np.arange(np.prod(shape)).reshape(shape)
    pairs = [(np.take(index, range(m - 1), a), np.take(index, range(1, m), a)) for a, m in enumerate(shape)]
    return [(low.ravel(), high.ravel()) for low, high in pairs]


def poisson(n, per_axis=(1.0, 1.0, 1.0), conductance=None, ground=None):
    """Unit resistors on n^3 nodes, half-cell resistors from the first layer to the ground."""
    faces = neighbours((n, n, n))
    first, second = (np.concatenate(side) for side in zip(*faces, strict=True))
    g = np.concatenate([np.full(low.size, k) for (low, _), k in zip(faces, per_axis, strict=True)])
    position = np.argwhere(np.ones((n, n, n), bool))
    layer = np.where(position[:, 0] == 0, 2.0, 0.0) if ground is None else np.full(n**3, ground)
    return Network(first, second, g if conductance is None else conductance(g.size), layer, position)


def electrode_phases(n, seed=0):
    """Pore, active material and a patchy binder on its surface, as smoothed random fields."""
    rng = np.random.default_rng(seed)
    field = ndi.gaussian_filter(rng.normal(size=(n, n, n)), 2.0, mode="wrap")
    patches = ndi.gaussian_filter(rng.normal(size=(n, n, n)), 1.0, mode="wrap")
    low, edge, solid = np.quantile(field, [0.25, 0.45, 0.4])
    phases = np.where(field >= solid, AM, PORE)
    phases[(field > low) & (field < edge) & (patches > 0.02)] = CBD
    return phases


def reaching(mask, layer):
    """The part of a mask that is connected to its first (0) or last (-1) layer."""
    labels, _ = ndi.label(mask)
    touching = np.unique(labels[layer])
    return mask & np.isin(labels, touching[touching > 0])


def two_networks(phases, seed=0):
    """Electronic (0.18 and 100) and ionic (1 and 0.35) resistors, coupled by reactions of 1e-4 to 1 on AM's surface.

    The last layer's electrons meet in one node without position (the collector), the first layer's ions in the ground.
    """
    sigma, kappa = np.array([0.0, 0.18, 100.0]), np.array([1.0, 0.0, 0.35])
    solid, ionic = reaching(phases != PORE, -1), reaching(phases != AM, 0)
    n_s, n_e = int(solid.sum()), int(ionic.sum())
    s, e = np.full(phases.size, -1), np.full(phases.size, -1)
    s[solid.ravel()], e[ionic.ravel()] = np.arange(n_s), n_s + np.arange(n_e)
    p, rng = phases.ravel(), np.random.default_rng(seed)
    edges = []
    for low, high in neighbours(phases.shape):
        for node, conductivity in ((s, sigma), (e, kappa)):
            a, b = low[(node[low] >= 0) & (node[high] >= 0)], high[(node[low] >= 0) & (node[high] >= 0)]
            ka, kb = conductivity[p[a]], conductivity[p[b]]
            edges.append((node[a], node[b], 2 * ka * kb / (ka + kb)))
        for here, there in ((low, high), (high, low)):
            reacts = (p[here] == AM) & (s[here] >= 0) & (e[there] >= 0)
            edges.append((s[here[reacts]], e[there[reacts]], 10 ** rng.uniform(-4, 0, reacts.sum())))
    last, first = (np.arange(phases.size).reshape(phases.shape)[k].ravel() for k in (-1, 0))
    last, first = last[s[last] >= 0], first[e[first] >= 0]
    edges.append((s[last], np.full(last.size, n_s + n_e), 2 * sigma[p[last]]))
    ground = np.zeros(n_s + n_e + 1)
    ground[e[first]] = 2 * kappa[p[first]]
    position = np.concatenate([np.argwhere(solid), np.argwhere(ionic), [[-1, -1, -1]]])
    return Network(*(np.concatenate(column) for column in zip(*edges, strict=True)), ground, position)


def random_graph(n=60, seed=3):
    """A connected graph with repeated edges, self-loops and conductances over five decades."""
    rng = np.random.default_rng(seed)
    first = np.r_[np.arange(n - 1), rng.integers(0, n, 3 * n)]
    second = np.r_[np.arange(1, n), rng.integers(0, n, 3 * n)]
    first, second = np.r_[first, second[:n], 5], np.r_[second, first[:n], 5]
    ground = np.where(np.arange(n) % 7 == 0, 0.3, 0.0)
    return Network(first, second, 10 ** rng.uniform(-5, 0, first.size), ground, rng.integers(0, 8, (n, 3)))


# ---- exact cases


def test_a_small_network_is_solved_exactly_with_its_repeated_edges_summed():
    network = random_graph()
    b = np.random.default_rng(1).normal(size=network.n)
    exact = np.linalg.solve(network.matrix().toarray(), b)
    # float32 storage of a matrix whose condition number is some 1e5 leaves about three digits
    np.testing.assert_allclose(network.multigrid().apply(b), exact, rtol=2e-3, atol=1e-4 * np.abs(exact).max())


def test_a_chain_of_resistors_has_the_potential_of_ohms_law():
    n = 1500  # above the dense limit: levels exist; 1 A enters at the far end and leaves by the ground at node 0
    position = np.column_stack([np.arange(n), np.zeros((n, 2), int)])
    chain = Network(np.arange(n - 1), np.arange(1, n), np.full(n - 1, 4.0), np.eye(1, n)[0] * 4.0, position)
    A, mg = chain.matrix(), chain.multigrid()
    assert len(mg.level_sizes) > 1
    # 375 V times 8 S in double precision leave 1e-12 A: the residual cannot fall further
    result = fgmres(lambda v: A @ v, np.eye(1, n, n - 1)[0], mg.apply, rtol=1e-11)
    assert result.converged
    # condition number 1e6 times the residual
    np.testing.assert_allclose(result.x, (1 + np.arange(n)) / 4.0, rtol=1e-5)


def test_an_empty_row_keeps_zero_and_a_floating_part_gets_finite_values_that_solve_it():
    # nodes 0-2 grounded, 3-5 floating, 6 without any edge, 7 with an edge of no conductance
    first, second = [0, 1, 3, 4, 6], [1, 2, 4, 5, 7]
    network = Network(first, second, [1, 2, 3, 4, 0], [1, 0, 0, 0, 0, 0, 0, 0], np.zeros((8, 3), int))
    b = np.array([1.0, -2.0, 3.0, 5.0, -3.0, -2.0, 7.0, 7.0])  # the floating part's sum is 0: solvable
    x = network.multigrid().apply(b)
    assert np.isfinite(x).all()
    np.testing.assert_array_equal(x[6:], 0)
    np.testing.assert_allclose((network.matrix() @ x)[:6], b[:6], atol=1e-5)  # float32


def test_a_right_hand_side_of_zero_gives_zero():
    np.testing.assert_array_equal(random_graph().multigrid().apply(np.zeros(60)), 0)


# ---- aggregates


def aggregate_of(edges, g, position):
    first, second = np.array(edges, np.int32).T.copy()
    pointers, columns, a, b = kernels.adjacency(first, second, len(position))
    weights = np.zeros(columns.size, np.float32)
    for entry in (a, b):
        kernels.accumulate(np.array(g, np.float32), entry, weights)
    return kernels.block_aggregates(pointers, columns, weights, np.array(position, np.int32), 0.25)


def test_strong_couplings_merge_inside_a_block_and_never_across_or_with_a_node_without_position():
    position = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [-1, -1, -1]]
    aggregate, n = aggregate_of([(0, 1), (1, 2), (2, 3), (3, 4)], [1, 1, 1, 1], position)
    np.testing.assert_array_equal(aggregate, [0, 0, 1, 1, 2])
    assert n == 3


def test_a_node_without_mutual_strong_coupling_follows_its_own_strongest_neighbour():
    # node 2 hangs by 1e-3 on a pair joined by 1: strong for itself, weak for them
    aggregate, n = aggregate_of([(0, 1), (1, 2), (0, 3)], [1, 1e-3, 0], [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(aggregate, [0, 0, 0, -1])  # and a node without any coupling has no aggregate
    assert n == 1


def test_the_strength_of_repeated_edges_is_that_of_their_sum():
    # 0.2 is weak beside 1, 0.2 + 0.2 is strong
    position = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    aggregate, n = aggregate_of([(0, 1), (1, 2), (2, 1), (2, 3)], [1, 0.2, 0.2, 1], position)
    np.testing.assert_array_equal(aggregate, 0)
    assert n == 1


def test_without_blocks_aggregates_stay_small_and_leave_nodes_without_position_alone():
    n = 40  # a uniform chain, its last node without position
    pointers, columns, *_ = kernels.adjacency(np.arange(n - 1, dtype=np.int32), np.arange(1, n, dtype=np.int32), n)
    position = np.zeros((n, 3), np.int32)
    position[-1] = -1
    aggregate, n_coarse = kernels.free_aggregates(pointers, columns, np.ones(columns.size, np.float32), position)
    sizes = np.bincount(aggregate)
    assert n_coarse == sizes.size
    assert 2 <= sizes[:-1].min() <= sizes.max() <= kernels.MOST_NODES
    assert sizes[-1] == 1


def test_weakly_coupled_pairs_stay_apart():
    aggregate, _ = aggregate_of([(0, 1), (1, 2), (2, 3)], [1, 0.2, 1], [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(aggregate, [0, 0, 1, 1])


# ---- the operator


def test_one_application_is_linear_symmetric_and_positive():
    network, rng = two_networks(electrode_phases(16)), np.random.default_rng(5)
    mg = network.multigrid(coarsest_size=50)
    assert len(mg.level_sizes) >= 4
    u, v = rng.normal(size=(2, network.n))
    Mu, Mv = mg.apply(u), mg.apply(v)
    # float32 round-off over some hundred operations
    np.testing.assert_allclose(mg.apply(2 * u - 3 * v), 2 * Mu - 3 * Mv, atol=2e-5 * np.abs(Mu).max())
    assert u @ Mv == pytest.approx(v @ Mu, abs=1e-5 * np.linalg.norm(u) * np.linalg.norm(Mv))
    assert u @ Mu > 0
    assert v @ Mv > 0


def test_refreshed_numbers_act_as_a_new_build_with_the_same_aggregates():
    network = two_networks(electrode_phases(16))
    b = np.random.default_rng(2).normal(size=network.n)
    refreshed = network.multigrid()
    before = refreshed.apply(b)
    network.g, network.ground = 3 * network.g, 5 * network.ground  # equal strengths, hence equal aggregates
    refreshed.update(network.g, network.ground)
    np.testing.assert_array_equal(refreshed.apply(b), network.multigrid().apply(b))
    assert np.abs(refreshed.apply(b) - before).max() > 0.1 * np.abs(before).max()


def test_rebuild_follows_couplings_that_turned_around():
    network = poisson(20, per_axis=(1.0, 1.0, 100.0))
    mg = network.multigrid()
    network.g = poisson(20, per_axis=(100.0, 1.0, 1.0)).g
    mg.update(network.g, network.ground)
    stale = network.iterations(mg=mg)
    mg.update(network.g, network.ground, rebuild=True)
    assert network.iterations(mg=mg) == network.iterations() < stale


def test_results_are_the_same_bit_by_bit_each_time():
    network = two_networks(electrode_phases(16))
    b = np.random.default_rng(2).normal(size=network.n)
    np.testing.assert_array_equal(network.multigrid().apply(b), network.multigrid().apply(b))


# ---- convergence: counts measured once (in the comment), with two or three to spare


def test_poisson_iterations_do_not_grow_with_size():
    counts = [poisson(n).iterations() for n in (16, 32, 48)]
    assert max(counts) <= 12, counts  # 10, 10, 10
    assert counts[-1] - counts[0] <= 1


def test_two_networks_over_five_decades_hardly_grow_with_size():
    counts = [two_networks(electrode_phases(n)).iterations() for n in (16, 32, 48)]
    assert max(counts) <= 24, counts  # 17, 20, 21
    assert counts[-1] - counts[1] <= 3


def test_attaching_and_over_correction_are_what_makes_it_converge():
    network = two_networks(electrode_phases(24))
    plain = network.iterations()
    assert network.iterations(over_correction=2.0) > plain + 2
    assert network.iterations(sweeps=2) < plain


@pytest.mark.parametrize("mass", [1e3, 1.0, 1e-2, 1e-4, 1e-6])
def test_diffusion_with_mass_from_short_to_long_steps(mass):
    # mass = cell volume / (step * D * h); no ground but the mass: nearly singular at the long end
    assert poisson(24, ground=mass).iterations() <= 13


@pytest.mark.parametrize("unit", [1e-12, 1e-42, 1e42])  # amperes of micrometre cells, and beyond float32's range
def test_the_unit_of_conductance_changes_nothing(unit):
    network = two_networks(electrode_phases(16))
    count = network.iterations()
    network.g, network.ground = unit * network.g, unit * network.ground
    assert network.iterations() == count


@pytest.mark.parametrize("per_axis", [(100.0, 1.0, 1.0), (1.0, 100.0, 100.0)])
def test_anisotropy_is_coarsened_along_its_strong_axes_at_bounded_cost(per_axis):
    network = poisson(32, per_axis=per_axis)
    mg = network.multigrid()
    assert network.iterations(mg=mg) <= 16
    assert mg.operator_complexity < 2.2
    assert min(mg.level_sizes) > 10  # strong lines that have become one node each are not lumped into one


def test_disorder_that_leaves_no_blocks_still_coarsens():
    rng = np.random.default_rng(1)
    network = poisson(24, conductance=lambda size: 10 ** rng.uniform(-5, 0, size))
    mg = network.multigrid()
    assert network.iterations(mg=mg) <= 45
    assert all(fine >= 2 * coarse for fine, coarse in zip(mg.level_sizes[:-1], mg.level_sizes[1:], strict=True))


def test_nodes_without_positions_fall_back_to_sweeps_in_linear_memory():
    network = poisson(16, ground=0.5)
    network.position = np.full((network.n, 3), -1)
    mg = network.multigrid()
    assert mg.level_sizes == (network.n,)
    assert mg.memory_bytes < 200 * network.n  # a dense inverse would take 16 kB per node
    assert network.iterations(mg=mg) <= 8


def test_poor_coarsening_does_not_let_the_cycle_grow_level_by_level(monkeypatch):
    network = poisson(12)
    network.position[np.random.default_rng(0).permutation(network.n)[:900]] = -1  # these stay on every level
    mg = network.multigrid()
    assert len(mg.level_sizes) > 3
    rows, sweep = [], kernels.sweep

    def count(start, stop, parity, slabs, *_):
        return sum(slabs[2 * t + parity + 1] - slabs[2 * t + parity] for t in range(start, stop))

    monkeypatch.setattr(kernels, "sweep", lambda *arguments: rows.append(count(*arguments)) or sweep(*arguments))
    mg.apply(network.ground)
    assert sum(rows) <= 2 * sum(mg.level_sizes)  # two sweeps per level; two visits each would double per level


def test_memory_stays_below_two_hundred_bytes_per_node_with_its_six_edges():
    network = poisson(32)
    mg = network.multigrid(coarsest_size=100)
    assert mg.memory_bytes < 200 * network.n
    assert 1.1 < mg.operator_complexity < 1.2  # 1 + 1/8 + 1/64 and the boundary


def test_a_real_electrode_converges_as_the_synthetic_one():
    folder = os.environ.get("BATTSIM_DATA")
    if folder is None:
        pytest.skip("BATTSIM_DATA does not name the folder of real images")
    tifffile = pytest.importorskip("tifffile")
    labels = tifffile.imread(Path(folder) / "matbox_nmc1cal_bridgeCBD.tif")[:43, :43, :43]
    network = two_networks(np.choose(labels, [PORE, AM, CBD]))
    assert network.n > 50_000
    assert network.iterations() <= 26


# ---- refusals


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_impossible_numbers_are_named(bad):
    network = random_graph()
    g = network.g.copy()
    g[4] = bad
    with pytest.raises(ValueError, match=r"conductance\[4\]"):
        network.multigrid().update(g, network.ground)
    with pytest.raises(ValueError, match=r"ground\[1\]"):
        network.multigrid().update(network.g, np.where(np.arange(60) == 1, bad, 0.0))


def test_wrong_shapes_are_refused():
    network = random_graph()
    with pytest.raises(ValueError, match="the network needs"):
        network.multigrid().update(network.g[:-1], network.ground)
    with pytest.raises(ValueError, match="allowed are 0 to 59"):
        AggregationMultigrid([0], [60], 60, network.position)
    with pytest.raises(ValueError, match="positions"):
        AggregationMultigrid([0], [1], 60, network.position[:10])
    with pytest.raises(ValueError, match="not finite"):
        network.multigrid().apply(np.full(60, np.nan))


@pytest.mark.parametrize("settings", [{"strength": 0.0}, {"over_correction": -1.0}, {"sweeps": 0}, {"dense_limit": 10}])
def test_settings_that_make_no_cycle_are_refused(settings):
    with pytest.raises(ValueError, match="must"):
        MultigridSettings(**settings)
