"""Block Gauss-Seidel with multigrid: the right solution, an honest answer, and few iterations."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from battsim.fvm.blocks import BlockMatrix, Network
from battsim.solvers.block import BlockSolver
from battsim.solvers.multigrid import AggregationMultigrid

SHAPE = (10, 9, 8)


def grid_network(shape=SHAPE):
    """Neighbours on a grid."""
    cells = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    pairs = [(cells[:-1], cells[1:]), (cells[:, :-1], cells[:, 1:]), (cells[:, :, :-1], cells[:, :, 1:])]
    first, second = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in range(2))
    position = np.indices(shape, dtype=np.int32).reshape(3, -1).T.copy()
    return Network(first, second, position)


def laplacian(network, conductance, ground):
    n = network.n_nodes
    rows = np.concatenate([network.first, network.second, network.first, network.second, np.arange(n)])
    columns = np.concatenate([network.first, network.second, network.second, network.first, np.arange(n)])
    values = np.concatenate([conductance, conductance, -conductance, -conductance, ground])
    return sp.coo_array((values, (rows, columns)), shape=(n, n)).tocsr()


def system(seed=0, coupling=0.5, flat=False):
    """Two diffusing fields that act on each other; `flat` makes the first one a diagonal."""
    rng, network = np.random.default_rng(seed), grid_network()
    n, m = network.n_nodes, network.first.size
    conductance = [np.zeros(m) if flat else 10.0 ** rng.uniform(-1, 1, m), 10.0 ** rng.uniform(-2, 2, m)]
    ground = [rng.uniform(0.5, 1.5, n), np.zeros(n)]
    ground[1][:72] = 1.0
    blocks = {(k, k): laplacian(network, conductance[k], ground[k]) for k in range(2)}
    blocks[0, 1] = sp.csr_array(sp.diags_array(coupling * rng.uniform(-1, 1, n)))
    blocks[1, 0] = sp.csr_array(sp.diags_array(coupling * rng.uniform(-1, 1, n)))
    jacobian = BlockMatrix((slice(0, n), slice(n, 2 * n)), blocks, tuple(conductance), tuple(ground))
    return jacobian, (network, network), rng.normal(size=2 * n)


def dense_solution(jacobian, rhs):
    grid = [[jacobian.blocks.get((r, c)) for c in range(2)] for r in range(2)]
    return np.linalg.solve(sp.block_array(grid).toarray(), rhs)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("flat", [False, True], ids=["networks", "diagonal"])
def test_solution_is_the_dense_one(order, flat):
    jacobian, networks, rhs = system(flat=flat)
    x, iterations, solved = BlockSolver(networks, order).solve(jacobian, rhs, 1e-11)
    exact = dense_solution(jacobian, rhs)
    assert solved
    assert 1 < iterations < 90  # bases in float32 start anew after six digits
    assert BlockSolver(networks, order).solve(jacobian, rhs, 1e-6)[1] < 35
    # residual of 1e-11 times the condition, about 1e4
    np.testing.assert_allclose(x, exact, atol=1e-7 * np.abs(exact).max())


def test_vectors_of_double_precision_need_no_second_cycle():
    jacobian, networks, rhs = system()
    single, double = (
        BlockSolver(networks, (0, 1), vectors=kind).solve(jacobian, rhs, 1e-11) for kind in (np.float32, np.float64)
    )
    assert single[2]
    assert double[2]
    assert double[1] < 0.8 * single[1]


def test_flag_says_whether_the_true_residual_is_small():
    jacobian, networks, rhs = system()
    for iterations, expected in ((100, True), (2, False)):
        x, count, solved = BlockSolver(networks, (0, 1), max_iterations=iterations).solve(jacobian, rhs, 1e-9)
        true = np.linalg.norm(rhs - jacobian @ x) / np.linalg.norm(rhs)
        assert solved is expected
        assert bool(true <= 1e-9) is expected
        assert count <= iterations


def test_the_solver_follows_new_coefficients():
    # its hierarchy is laid out once; coefficients a hundred times larger on one side must still be seen
    jacobian, networks, rhs = system()
    stiff = 10.0 ** (2.0 * networks[0].position[networks[0].first, 0] / (SHAPE[0] - 1))
    conductance = tuple(g * stiff for g in jacobian.conductance)
    blocks = {(k, k): laplacian(networks[k], conductance[k], jacobian.ground[k]) for k in range(2)}
    other = replace(jacobian, blocks={**jacobian.blocks, **blocks}, conductance=conductance)
    solver = BlockSolver(networks, (0, 1))
    solver.solve(jacobian, rhs, 1e-9)
    x, iterations, solved = solver.solve(other, rhs, 1e-9)
    fresh = BlockSolver(networks, (0, 1)).solve(other, rhs, 1e-9)
    assert solved
    assert iterations <= fresh[1] + 5
    np.testing.assert_allclose(x, fresh[0], atol=1e-6 * np.abs(x).max())


@pytest.mark.parametrize("seed", range(3))
def test_couplings_that_all_but_go_are_no_reason_to_fail(seed):
    # as those of surfaces that fill up: aggregates that hang on them let the cycle diverge
    jacobian, networks, rhs = system()
    keep = np.random.default_rng(seed).random(jacobian.conductance[0].size) < 0.5
    conductance = tuple(np.where(keep, g, 1e-6 * g) for g in jacobian.conductance)
    ground = tuple(1e-7 * d for d in jacobian.ground)
    blocks = {(k, k): laplacian(networks[k], conductance[k], ground[k]) for k in range(2)}
    other = replace(jacobian, blocks=blocks, conductance=conductance, ground=ground)
    solver = BlockSolver(networks, (0, 1))
    solver.solve(jacobian, rhs, 1e-6)
    x, iterations, solved = solver.solve(other, rhs, 1e-6)
    assert solved
    assert np.linalg.norm(rhs - other @ x) <= 1e-6 * np.linalg.norm(rhs)
    assert iterations > 25  # a fresh one takes 14 to 20: the failure is counted


def test_a_block_that_leaves_the_range_is_a_failure_and_no_exception(monkeypatch):
    jacobian, networks, rhs = system()
    solver = BlockSolver(networks, (0, 1))
    apply_to = AggregationMultigrid.apply_to

    def overflow(self, rhs, x):
        apply_to(self, rhs, x)
        x[0] = np.nan

    monkeypatch.setattr(AggregationMultigrid, "apply_to", overflow)
    x, _, solved = solver.solve(jacobian, rhs, 1e-6)
    assert not solved
    assert np.isfinite(x).all()


def test_blocks_without_coupling_are_solved_apart():
    jacobian, networks, rhs = system(coupling=0.0, flat=True)
    x, _, solved = BlockSolver(networks, (1, 0)).solve(jacobian, rhs, 1e-11)
    n = networks[0].n_nodes
    assert solved
    np.testing.assert_allclose(x[:n], rhs[:n] / jacobian.ground[0], rtol=1e-8, atol=1e-8)


def test_the_sweep_uses_what_it_has_just_solved():
    # diagonal blocks coupled one way: with the grain the sweep is the inverse, against it a second one is needed
    jacobian, networks, rhs = system(flat=True)
    diagonal = sp.csr_array(sp.diags_array(jacobian.ground[0]))
    blocks = {(0, 0): diagonal, (1, 1): diagonal, (1, 0): jacobian.blocks[1, 0]}
    none = np.zeros_like(jacobian.conductance[0])
    apart = replace(jacobian, blocks=blocks, conductance=(none, none), ground=(jacobian.ground[0],) * 2)
    assert BlockSolver(networks, (0, 1)).solve(apart, rhs, 1e-6)[1] == 1
    assert BlockSolver(networks, (1, 0)).solve(apart, rhs, 1e-6)[1] == 2


def test_time_is_accounted_for():
    jacobian, networks, rhs = system()
    solver = BlockSolver(networks, (0, 1))
    solver.solve(jacobian, rhs, 1e-9)
    assert 0.0 < solver.seconds["application"] < solver.seconds["solve"]
    assert 0.0 < solver.seconds["set-up"] < solver.seconds["solve"]


def test_a_jacobian_that_is_not_finite_is_not_solved():
    jacobian, networks, rhs = system()
    spoiled = tuple(np.where(np.arange(g.size) == 3, np.nan, g) for g in jacobian.conductance)
    x, count, solved = BlockSolver(networks, (0, 1)).solve(replace(jacobian, conductance=spoiled), rhs, 1e-9)
    assert not solved
    assert count == 0
    assert np.isnan(x).all()
