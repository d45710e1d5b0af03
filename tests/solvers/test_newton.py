from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp

from battsim.fvm.blocks import BlockMatrix
from battsim.solvers.newton import NewtonSettings, newton


@dataclass
class Evaluation:
    residual: np.ndarray
    u: np.ndarray


class Problem:
    """A system by its residual and dense Jacobian, recording every residual norm that was asked for."""

    def __init__(self, residual, jacobian, limit=1.0, imbalance=None):
        self._residual, self._jacobian, self._limit = residual, jacobian, limit
        self._imbalance = imbalance or (lambda r: 0.0)  # noqa: ARG005
        self.evaluations = 0

    def evaluate(self, u):
        self.evaluations += 1
        return Evaluation(np.asarray(self._residual(u), dtype=float), u)

    def jacobian(self, evaluation):
        matrix = sp.csr_array(np.atleast_2d(self._jacobian(evaluation.u)))
        return BlockMatrix((slice(0, matrix.shape[0]),), {(0, 0): matrix}, (), ())

    def norm(self, residual):
        return float(np.linalg.norm(residual))

    def imbalance(self, residual):
        return self._imbalance(residual)

    def step_limit(self, u, du):  # noqa: ARG002
        return self._limit


class Solver:
    """Exact, or off by the relative residual that it was allowed; remembers what was asked."""

    def __init__(self, loose=False, seed=0):
        self.asked, self._loose, self._rng = [], loose, np.random.default_rng(seed)

    def solve(self, jacobian, rhs, rtol):
        self.asked.append(rtol)
        matrix = jacobian.blocks[0, 0].toarray()
        if self._loose:
            noise = self._rng.normal(size=rhs.size)
            rhs = rhs + 0.9 * rtol * np.linalg.norm(rhs) * noise / np.linalg.norm(noise)
        return np.linalg.solve(matrix, rhs), 3, True


def cubic(u):
    return [u[0] ** 3 + u[1] - 3.0, u[0] - u[1] ** 2 + 0.5]


def cubic_jacobian(u):
    return np.array([[3 * u[0] ** 2, 1.0], [1.0, -2 * u[1]]])


START = np.array([2.0, 3.0])
SETTINGS = NewtonSettings(rtol=1e-10)


def test_finds_the_root_and_reports_what_it_cost():
    solver = Solver()
    result = newton(Problem(cubic, cubic_jacobian), START, solver, SETTINGS)
    assert result.converged
    assert result.status == "converged"
    np.testing.assert_allclose(cubic(result.u), 0.0, atol=1e-10)
    assert result.norm <= 1e-10
    assert result.norm == pytest.approx(np.linalg.norm(cubic(result.u)), abs=1e-16)
    assert np.array_equal(result.evaluation.u, result.u)
    assert result.iterations == len(solver.asked)
    assert result.linear_iterations == 3 * result.iterations


def test_loose_linear_solves_save_no_accuracy():
    # each linear system is solved as badly as allowed; the norm at the end is the same
    solver = Solver(loose=True)
    result = newton(Problem(cubic, cubic_jacobian), START, solver, SETTINGS)
    assert result.converged
    np.testing.assert_allclose(cubic(result.u), 0.0, atol=1e-10)
    assert max(solver.asked) <= 0.1
    # the forcing follows the convergence down, and never asks for more than the end needs
    assert solver.asked[-1] < 1e-2
    assert min(solver.asked) >= 1e-9


def test_a_root_to_begin_with_is_confirmed_and_kept():
    # one iteration is always made; at an exact root the residual is exactly zero
    result = newton(Problem(lambda u: [2.0 * u[0]], lambda u: [[2.0]]), np.zeros(1), Solver(), SETTINGS)  # noqa: ARG005
    assert result.converged
    assert result.u[0] == 0.0


def test_no_root_is_never_reported_as_converged():
    problem = Problem(lambda u: [u[0] ** 2 + 1.0], lambda u: [[2.0 * u[0] + 1e-3]])
    result = newton(problem, np.array([3.0]), Solver(), SETTINGS)
    assert not result.converged
    assert result.norm >= 1.0
    assert "residual" in result.status


def test_running_out_of_iterations_says_what_is_left():
    result = newton(Problem(cubic, cubic_jacobian), START, Solver(), NewtonSettings(rtol=1e-10, max_iterations=2))
    assert not result.converged
    assert result.iterations == 2
    assert result.status.startswith("2 iterations left a residual of")
    assert result.norm > 1e-10


def test_a_small_residual_with_an_open_balance_goes_on():
    # the sum of the residuals must fall below `balance` although each is far below rtol already
    problem = Problem(cubic, cubic_jacobian, imbalance=lambda r: abs(float(r.sum())))
    settings = NewtonSettings(rtol=1e-2, balance=1e-12)
    result = newton(problem, START, Solver(), settings)
    assert result.converged
    assert abs(sum(cubic(result.u))) <= 1e-12
    free = newton(Problem(cubic, cubic_jacobian), START, Solver(), settings)
    assert free.iterations < result.iterations


def test_a_balance_that_cannot_close_is_not_converged():
    problem = Problem(cubic, cubic_jacobian, imbalance=lambda r: 1.0)  # noqa: ARG005
    result = newton(problem, START, Solver(), SETTINGS)
    assert not result.converged
    assert result.norm < 1e-10


def test_line_search_saves_a_step_that_is_too_long():
    # Newton on arctan diverges from 3
    def residual(u):
        return np.arctan(u)

    def slope(u):
        return [[1.0 / (1.0 + u[0] ** 2)]]

    assert newton(Problem(residual, slope), np.array([3.0]), Solver(), SETTINGS).u[0] == pytest.approx(0.0, abs=1e-10)


def test_step_limit_is_obeyed():
    class Logarithm(Problem):
        """ln u = 0 from far away: the full step lands at a negative u."""

        def evaluate(self, u):
            assert u[0] > 0.0
            return super().evaluate(u)

        def step_limit(self, u, du):
            return min(1.0, 0.9 * u[0] / -du[0]) if du[0] < 0.0 else 1.0

    result = newton(Logarithm(np.log, lambda u: [[1.0 / u[0]]]), np.array([50.0]), Solver(), SETTINGS)
    assert result.converged
    assert result.u[0] == pytest.approx(1.0)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_values_that_are_not_finite_are_a_failure_with_a_reason():
    nowhere = newton(Problem(lambda u: u * np.nan, lambda u: [[1.0]]), np.ones(1), Solver(), SETTINGS)  # noqa: ARG005
    assert not nowhere.converged
    assert nowhere.status == "the residual of the first guess is not finite"
    at_edge = Problem(lambda u: np.where(u > 1.0, np.nan, u - 2.0), lambda u: np.ones((1, 1)) + 0.0 * u)
    edge = newton(at_edge, np.ones(1), Solver(), SETTINGS)
    assert not edge.converged
    assert (
        edge.status
        == "no step along the Newton direction reduces the residual of 1.0e+00, which is not finite further on"
    )

    class Broken:
        def solve(self, jacobian, rhs, rtol):  # noqa: ARG002
            return np.full(rhs.size, np.nan), 0, False

    result = newton(Problem(cubic, cubic_jacobian), START, Broken(), SETTINGS)
    assert not result.converged
    assert "not finite" in result.status
    assert np.array_equal(result.u, START)


def test_an_unconverged_linear_solve_is_named_where_newton_fails_by_it():
    class Useless:
        def solve(self, jacobian, rhs, rtol):  # noqa: ARG002
            return -np.linalg.solve(jacobian.blocks[0, 0].toarray(), rhs), 200, False

    result = newton(Problem(cubic, cubic_jacobian), START, Useless(), SETTINGS)
    assert not result.converged
    assert "the linear solver stopped short" in result.status
    assert "200 iterations" in result.status


@pytest.mark.parametrize(("patience", "iterations"), [(None, 15), (4, 4)])
def test_patience_ends_where_next_to_nothing_is_gained(patience, iterations):
    # a step limit of 2 % lets the norm fall by that much each time
    settings = NewtonSettings(rtol=1e-10, max_iterations=15, patience=patience)
    solver = Solver()
    result = newton(Problem(cubic, cubic_jacobian, limit=0.02), START, solver, settings)
    assert not result.converged
    assert result.iterations == iterations == len(solver.asked)
    assert f"{iterations} iterations" in result.status


def test_patience_lasts_where_a_digit_was_gained():
    settings = NewtonSettings(rtol=1e-10, patience=3)
    result = newton(Problem(cubic, cubic_jacobian), START, Solver(), settings)
    assert result.converged
    assert result.iterations > 3
