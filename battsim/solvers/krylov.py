"""Flexible GMRES for matrices known by their product only; the answer carries its true residual and its status.

Right-preconditioned, so that the residual it minimises is that of the system itself, and flexible, so that the
preconditioner may change from one iteration to the next.

Reference: Y. Saad, A flexible inner-outer preconditioned GMRES algorithm, SIAM J. Sci. Comput. 14 (1993) 461-469.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import hypot, isfinite

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from battsim.solvers.basis import Basis

Vector = NDArray[np.float64]
Operator = Callable[[NDArray[np.floating]], Vector]
Preconditioner = Callable[[NDArray[np.floating]], NDArray[np.floating]]

_FLOOR = 0.5  # a restart that leaves more than this of a residual thought converged has met round-off
_PROGRESS = 0.99  # a full restart cycle that leaves more than this of the residual goes nowhere


class KrylovStatus(Enum):
    """Why an iteration ended."""

    CONVERGED = "converged"
    ITERATIONS = "the iteration limit was reached: allow more, or strengthen the preconditioner"
    STAGNATION = "the true residual no longer falls: ask for less, or scale the system better"
    BREAKDOWN = "the matrix or the preconditioner is singular on the search space"
    NOT_FINITE = "the matrix, the preconditioner or the right-hand side produced a value that is not finite"


@dataclass(frozen=True, slots=True)
class KrylovResult:
    """Solution, shape (n,), and what is known of it.

    residual_norm: 2-norm of rhs - A x, recomputed from x; relative_residual: that over the norm of rhs (0 for rhs = 0).
    Both are infinite where they cannot be computed; x is always finite.
    """

    x: Vector
    status: KrylovStatus
    iterations: int
    residual_norm: float
    relative_residual: float

    @property
    def converged(self) -> bool:
        """Whether the true relative residual met the tolerance."""
        return self.status is KrylovStatus.CONVERGED


def fgmres(
    apply_matrix: Operator,
    rhs: Vector,
    precondition: Preconditioner,
    *,
    rtol: float,
    max_iterations: int = 300,
    restart: int = 60,
    bases: tuple[Basis, Basis] | None = None,
) -> KrylovResult:
    """Solution of A x = rhs to norm(rhs - A x) <= rtol norm(rhs), from a zero guess.

    apply_matrix, precondition: return A v and an approximation of A^-1 v; neither may change its argument.
    restart: basis vectors kept; two of them are stored per iteration.
    bases: memory for them from an earlier solve of the same size; with float32 ones v has that type, one cycle gains
    six digits at most, and more come from restarts, whose residuals are computed in float64.
    """
    if not 0 < rtol < 1 or max_iterations < 1 or restart < 1:
        raise ValueError(f"rtol {rtol} must lie in (0, 1); max_iterations {max_iterations}, restart {restart} above 0")
    rhs_norm = float(np.linalg.norm(rhs))
    x = np.zeros(rhs.shape, np.float64)
    if not isfinite(rhs_norm):
        return KrylovResult(x, KrylovStatus.NOT_FINITE, 0, np.inf, np.inf)
    if rhs_norm == 0:
        return KrylovResult(x, KrylovStatus.CONVERGED, 0, 0.0, 0.0)
    target = rtol * rhs_norm
    residual, norm, iterations = np.array(rhs, np.float64), rhs_norm, 0
    basis, search = bases or (Basis(rhs.size), Basis(rhs.size))
    while True:
        steps = min(restart, max_iterations - iterations)
        correction, done, ended = _cycle(apply_matrix, residual, norm, precondition, target, steps, basis, search)
        iterations += done
        trial = x + correction
        residual = rhs - apply_matrix(trial)
        new_norm = float(np.linalg.norm(residual))
        if not isfinite(new_norm):
            return KrylovResult(x, KrylovStatus.NOT_FINITE, iterations, norm, norm / rhs_norm)
        if new_norm < norm:
            x = trial
        before, norm = norm, min(new_norm, norm)
        status = _verdict(norm, before, target, ended, out_of_steps=iterations >= max_iterations)
        if status is not None:
            return KrylovResult(x, status, iterations, norm, norm / rhs_norm)


def _verdict(
    norm: float, before: float, target: float, ended: KrylovStatus | None, *, out_of_steps: bool
) -> KrylovStatus | None:
    """Why to stop after a cycle that took the true residual from `before` to `norm`, or None to go on."""
    if norm <= target:
        return KrylovStatus.CONVERGED
    if ended in (KrylovStatus.NOT_FINITE, KrylovStatus.BREAKDOWN):
        return ended
    if out_of_steps:
        return KrylovStatus.ITERATIONS
    stagnant = norm > (_FLOOR if ended is KrylovStatus.CONVERGED else _PROGRESS) * before
    return KrylovStatus.STAGNATION if stagnant else None


def _cycle(
    apply_matrix: Operator,
    residual: Vector,
    norm: float,
    precondition: Preconditioner,
    target: float,
    steps: int,
    basis: Basis,
    search: Basis,
) -> tuple[Vector, int, KrylovStatus | None]:
    """Correction from one Arnoldi cycle, its iterations, and why it ended early (None: it used all its steps)."""
    basis.clear()
    search.clear()
    basis.append(residual, 1.0 / norm)
    H = np.zeros((steps + 1, steps))  # upper triangular once rotated
    cosine, sine, g = np.zeros(steps), np.zeros(steps), np.zeros(steps + 1)
    g[0] = norm
    ended, k = None, 0
    while k < steps and ended is None:
        search.append(precondition(basis.last))
        w = np.array(apply_matrix(search.last), np.float64)
        H[: k + 1, k], size, left = basis.orthogonalise(w)
        if not isfinite(size):
            ended = KrylovStatus.NOT_FINITE
            break
        _rotate(H[:, k], cosine, sine, k)
        length = hypot(H[k, k], left)
        if length <= 1e-14 * size:  # nothing new but round-off
            ended = KrylovStatus.BREAKDOWN
            break
        cosine[k], sine[k], H[k, k] = H[k, k] / length, left / length, length
        g[k], g[k + 1] = cosine[k] * g[k], -sine[k] * g[k]
        k += 1
        if abs(g[k]) <= target:
            ended = KrylovStatus.CONVERGED
        elif k < steps:
            basis.append(w, 1.0 / left)
    return search.combine(solve_triangular(H[:k, :k], g[:k]) if k else g[:0]), k, ended


def _rotate(column: Vector, cosine: Vector, sine: Vector, k: int) -> None:
    """Apply the k earlier Givens rotations to a new Hessenberg column, in place."""
    for i in range(k):
        above = cosine[i] * column[i] + sine[i] * column[i + 1]
        column[i + 1] = cosine[i] * column[i + 1] - sine[i] * column[i]
        column[i] = above
