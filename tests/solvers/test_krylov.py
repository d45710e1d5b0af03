import tracemalloc

import numpy as np
import pytest
from scipy.sparse.linalg import gmres

from battsim.solvers.krylov import KrylovStatus, fgmres


def identity(v):
    return v


def random_system(n=80, seed=0):
    """A nonsymmetric matrix with its eigenvalues around 3, and a right-hand side."""
    rng = np.random.default_rng(seed)
    return 3 * np.eye(n) + rng.normal(size=(n, n)) / np.sqrt(n), rng.normal(size=n)


@pytest.mark.parametrize("restart", [60, 7])
def test_the_solution_is_the_dense_one(restart):
    A, b = random_system()
    result = fgmres(lambda v: A @ v, b, identity, rtol=1e-12, restart=restart)
    assert result.converged
    assert result.iterations > 7
    np.testing.assert_allclose(result.x, np.linalg.solve(A, b), rtol=1e-10, atol=1e-11)


def test_the_reported_residual_is_the_true_one():
    A, b = random_system()
    result = fgmres(lambda v: A @ v, b, identity, rtol=1e-6)
    true = np.linalg.norm(b - A @ result.x)
    assert result.residual_norm == pytest.approx(true, rel=1e-12)
    assert result.relative_residual == pytest.approx(true / np.linalg.norm(b), rel=1e-12)
    assert 1e-8 < result.relative_residual <= 1e-6


def test_as_many_iterations_as_scipys_gmres_with_the_preconditioner_on_the_right():
    A, b = random_system()
    inverse = np.linalg.inv(A + 0.3 * np.diag(np.sin(np.arange(80))))
    count = []
    gmres(A @ inverse, b, rtol=1e-10, restart=80, callback=count.append, callback_type="pr_norm")
    result = fgmres(lambda v: A @ v, b, lambda v: inverse @ v, rtol=1e-10)
    assert result.iterations == len(count)


def test_an_exact_preconditioner_needs_one_iteration_and_a_tiny_space_ends_in_it():
    A, b = random_system()
    inverse = np.linalg.inv(A)
    assert fgmres(lambda v: A @ v, b, lambda v: inverse @ v, rtol=1e-10).iterations == 1
    result = fgmres(lambda v: 2 * v, b, identity, rtol=1e-15)
    assert result.iterations == 1
    assert result.converged


def test_the_preconditioner_may_change_and_both_may_reuse_one_buffer():
    A, b = random_system()
    buffer_a, buffer_m, calls = np.empty(80), np.empty(80), [0]

    def apply_matrix(v):
        return np.matmul(A, v, out=buffer_a)

    def precondition(v):
        calls[0] += 1
        return np.multiply(v, 1.0 / (2 + calls[0] % 3 + np.arange(80) / 80), out=buffer_m)

    given = b.copy()
    result = fgmres(apply_matrix, b, precondition, rtol=1e-10)
    assert result.converged
    np.testing.assert_allclose(A @ result.x, b, atol=1e-9)
    np.testing.assert_array_equal(b, given)


def test_a_right_hand_side_of_zero_needs_no_iteration():
    result = fgmres(lambda v: 2 * v, np.zeros(5), identity, rtol=1e-10)
    assert result.converged
    assert result.iterations == 0
    assert result.relative_residual == 0
    np.testing.assert_array_equal(result.x, 0)


def test_the_limit_of_iterations_is_kept_and_said():
    A, b = random_system()
    result = fgmres(lambda v: A @ v, b, identity, rtol=1e-12, max_iterations=9, restart=4)
    assert result.status is KrylovStatus.ITERATIONS
    assert not result.converged
    assert result.iterations == 9
    assert result.relative_residual == pytest.approx(np.linalg.norm(b - A @ result.x) / np.linalg.norm(b))
    assert 1e-12 < result.relative_residual < 0.1  # the best x so far is handed back


def test_stagnation_between_restarts_is_said():
    # a cyclic shift: GMRES makes no progress at all in fewer than n iterations
    result = fgmres(lambda v: np.roll(v, 1), np.eye(1, 30)[0], identity, rtol=1e-8, restart=10)
    assert result.status is KrylovStatus.STAGNATION
    assert result.iterations == 10
    assert fgmres(lambda v: np.roll(v, 1), np.eye(1, 30)[0], identity, rtol=1e-8, restart=30).converged


def test_round_off_that_keeps_the_residual_up_is_said_and_not_hidden():
    A, b = random_system()
    rng = np.random.default_rng(4)

    def noisy(v):  # every product is good to six digits only
        w = A @ v
        return w * (1 + 1e-6 * rng.normal(size=w.size))

    result = fgmres(noisy, b, identity, rtol=1e-12)
    assert result.status is KrylovStatus.STAGNATION
    assert 1e-9 < np.linalg.norm(b - A @ result.x) / np.linalg.norm(b) < 1e-4


def test_a_singular_matrix_breaks_down_or_solves_what_can_be_solved():
    singular = np.diag([1.0, 2.0, 0.0])
    result = fgmres(lambda v: singular @ v, np.array([0.0, 0.0, 1.0]), identity, rtol=1e-8)
    assert result.status is KrylovStatus.BREAKDOWN
    assert result.relative_residual == 1
    np.testing.assert_array_equal(result.x, 0)
    assert not fgmres(lambda v: singular @ v, np.ones(3), identity, rtol=1e-8).converged
    assert fgmres(lambda v: singular @ v, np.array([3.0, 1.0, 0.0]), identity, rtol=1e-12).converged


def test_a_search_space_complete_but_for_round_off_breaks_down_instead_of_following_noise():
    # three distinct eigenvalues, one of them 0: the space is complete after three vectors
    q, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(60, 60)))
    A = q @ np.diag(np.repeat([0.0, 1.0, 3.0], 20)) @ q.T
    result = fgmres(lambda v: A @ v, q @ np.ones(60), identity, rtol=1e-8)
    assert result.status is KrylovStatus.BREAKDOWN
    assert result.iterations <= 3
    assert result.relative_residual == pytest.approx(np.sqrt(20 / 60))  # the part outside the range


@pytest.mark.parametrize("culprit", ["matrix", "preconditioner", "rhs"])
def test_values_that_are_not_finite_end_it_at_once_with_a_finite_answer(culprit):
    A, b = random_system()
    calls = [0]

    def spoil(v):
        calls[0] += 1
        return np.full_like(v, np.nan) if calls[0] == 4 else v

    if culprit == "rhs":
        b = b * np.nan
    result = fgmres(
        (lambda v: spoil(A @ v)) if culprit == "matrix" else (lambda v: A @ v),
        b,
        spoil if culprit == "preconditioner" else identity,
        rtol=1e-10,
    )
    assert result.status is KrylovStatus.NOT_FINITE
    assert np.isfinite(result.x).all()
    assert not np.isnan(result.residual_norm)
    if culprit != "rhs":
        assert result.iterations == 3
        assert result.relative_residual == pytest.approx(np.linalg.norm(b - A @ result.x) / np.linalg.norm(b))
        assert result.relative_residual < 0.5  # three good iterations are kept


def test_memory_follows_the_iterations_done_and_not_the_restart_length():
    n = 200_000
    d = np.linspace(1, 2, n)
    tracemalloc.start()
    result = fgmres(lambda v: d * v, np.ones(n), identity, rtol=1e-3, restart=200)
    peak = tracemalloc.get_traced_memory()[1] / (8 * n)
    tracemalloc.stop()
    assert result.converged
    assert result.iterations <= 8
    assert peak < 32  # vectors: two blocks of eight, x, residual and temporaries


@pytest.mark.parametrize("wrong", [{"rtol": 0.0}, {"rtol": 1.0}, {"max_iterations": 0}, {"restart": 0}])
def test_impossible_limits_are_refused(wrong):
    with pytest.raises(ValueError, match="above 0"):
        fgmres(identity, np.ones(3), identity, **{"rtol": 1e-6, **wrong})
