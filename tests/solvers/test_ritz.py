import numpy as np
import pytest
from scipy.linalg import eigh

from battsim.solvers.ritz import RITZ_CAP, RitzValues


def system(n=9, seed=0):
    """A positive definite matrix with distinct eigenvalues from 0.01 to 2, and a diagonal preconditioner."""
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    A = Q @ np.diag(np.linspace(0.01, 2.0, n)) @ Q.T
    return A, np.diag(rng.uniform(0.5, 2.0, n)), rng.normal(size=n)


def ritz_of_iteration(A, M, b, steps):
    """What `RitzValues` makes of conjugate gradients for A x = b, preconditioned by M."""
    ritz = RitzValues()
    r, p, old = b.copy(), np.zeros_like(b), 1.0
    for step in range(steps):
        z = np.linalg.solve(M, r)
        rz = r @ z
        beta = rz / old if step else 0.0
        p = z + beta * p
        alpha = rz / (p @ A @ p)
        r -= alpha * (A @ p)
        ritz.add(alpha, beta)
        old = rz
    return ritz


def test_as_many_steps_as_unknowns_give_the_smallest_eigenvalue():
    A, M, b = system()
    smallest = eigh(A, M, eigvals_only=True)[0]
    assert smallest < RITZ_CAP
    # the last steps divide by a residual that has fallen by some decades
    assert ritz_of_iteration(A, M, b, b.size).theta() == pytest.approx(smallest, rel=1e-6)


@pytest.mark.parametrize("steps", [3, 4, 5])
def test_each_step_gives_the_smallest_value_of_its_krylov_space(steps):
    A, M, b = system()
    columns = [np.linalg.solve(M, b)]
    for _ in range(steps - 1):
        columns.append(np.linalg.solve(M, A @ columns[-1]))
    K = np.column_stack([column / np.linalg.norm(column) for column in columns])
    # Lanczos: the least Rayleigh quotient over the space; the basis of powers costs half the digits
    least = eigh(K.T @ A @ K, K.T @ M @ K, eigvals_only=True)[0]
    assert least < RITZ_CAP
    assert ritz_of_iteration(A, M, b, steps).theta() == pytest.approx(least, rel=1e-7)


def test_estimates_come_down_step_by_step():
    A, M, b = system()
    estimates = [ritz_of_iteration(A, M, b, steps).theta() for steps in range(1, b.size + 1)]
    assert (np.diff(estimates) <= 0).all()
    assert estimates[-1] < 0.1 * estimates[0]


def test_no_estimate_exceeds_the_cap():
    assert RitzValues().theta() == RITZ_CAP
    A, M, b = system()
    assert ritz_of_iteration(A + 5 * np.eye(b.size), M, b, b.size).theta() == RITZ_CAP
