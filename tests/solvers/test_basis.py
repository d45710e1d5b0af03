"""Vectors of a Krylov basis: products, Gram-Schmidt and sums, the same for any number of threads."""

import numpy as np
import pytest

from battsim.solvers.basis import Basis
from battsim.threads import Team

N = 20_000
"""Several chunks, the last one incomplete."""


def filled(count, dtype=np.float64, team=None, n=N):
    """A basis of orthonormal vectors, and these as columns."""
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(n, count)))
    basis = Basis(n, team, dtype) if team else Basis(n, dtype=dtype)
    for column in q.T:
        basis.append(2.0 * column, 0.5)
    return basis, q


@pytest.mark.parametrize("count", [1, 8, 9, 19])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_coefficients_remainder_and_sum(count, dtype):
    basis, q = filled(count, dtype)
    w = np.random.default_rng(1).normal(size=N)
    left = w.copy()
    coefficients, before, after = basis.orthogonalise(left)
    tolerance = 1e-13 if dtype is np.float64 else 1e-6
    np.testing.assert_allclose(coefficients, q.T @ w, atol=tolerance * np.linalg.norm(w))
    assert before == pytest.approx(np.linalg.norm(w), rel=tolerance)
    assert after == pytest.approx(np.linalg.norm(left), rel=1e-12)
    assert np.abs(q.T @ left).max() < tolerance * np.linalg.norm(w)
    np.testing.assert_allclose(basis.combine(coefficients), q @ coefficients, atol=tolerance)
    np.testing.assert_allclose(basis.combine(coefficients[:1]), q[:, 0] * coefficients[0], atol=tolerance)


def test_what_is_nearly_in_the_span_is_orthogonalised_twice():
    basis, q = filled(5)
    small = 1e-9 * np.random.default_rng(2).normal(size=N)
    left = q @ np.arange(1.0, 6.0) + small
    _, _, after = basis.orthogonalise(left)
    # one pass would leave round-off of 1e-16 of the vectors, 1e-9 of what is left
    assert np.abs(q.T @ left).max() < 1e-12 * after


def test_an_emptied_basis_is_filled_anew():
    basis, q = filled(3)
    basis.clear()
    basis.append(q[:, 1])
    coefficients, _, _ = basis.orthogonalise(q @ np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(coefficients, [2.0], rtol=1e-12)
    np.testing.assert_array_equal(basis.last, q[:, 1])


def test_results_do_not_depend_on_the_threads():
    results = []
    for threads in (1, 3):
        with Team(threads) as team:
            basis, _ = filled(11, np.float32, team, n=90_000)
            w = np.random.default_rng(1).normal(size=90_000)
            results.append((*basis.orthogonalise(w), w, basis.combine(np.arange(11.0))))
    for one, several in zip(*results, strict=True):
        assert np.array_equal(one, several)
