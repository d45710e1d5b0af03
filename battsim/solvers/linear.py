"""Symmetric positive definite systems by preconditioned conjugate gradients that say what they know of their answer.

pyamg returns without a word when it has not converged or was handed NaN. Here it is only ever a preconditioner; the
iteration, its stopping rules and the residual, recomputed from the answer in float64, are our own.

For A x = b the energy E(x) = x.A x - 2 b.x + constant is least at the solution and conjugate gradients lower it step by
step, so that each E is an upper bound. Its distance to the least one is r.A^-1 r <= r.M^-1 r / theta, with M the
preconditioner and theta the smallest eigenvalue of M^-1 A, which the iteration approaches from above (Ritz value).

References: G. Meurant, P. Tichy, On computing quadrature-based bounds for the A-norm of the error in conjugate
gradients, Numer. Algorithms 62 (2013) 163-191; pyamg: J. Open Source Softw. 8 (2023) 5495.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
import pyamg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from battsim.solvers.multigrid import AggregationMultigrid, MultigridSettings
from battsim.solvers.ritz import RitzValues

Vector = NDArray[np.float64]
Preconditioner = Callable[[Vector], Vector]
Method = Literal["amg", "smoothed-aggregation", "direct"]

DIRECT_SIZE = 300
"""Unknowns up to which a dense factorisation is faster than setting up a hierarchy."""
COARSEST_SIZE = 500
"""Unknowns below which pyamg's levels end; the last is factorised densely."""
ROUND_OFF = 1e-14
"""Residual relative to b at which float64 has nothing left to gain."""
_SYMMETRY = 1e-12  # largest difference of mirrored entries over the largest entry; summation order alone makes 1e-16
_RESTARTS = 3  # true residuals recomputed and iterated upon before a solve counts as stagnant
_PROGRESS = 0.5  # a restart that leaves more than this of the true residual goes nowhere
_SEED = 20111  # of pyamg's smoothed aggregation, which draws a vector to estimate a spectral radius


class LinearStatus(Enum):
    """Why a solve ended."""

    CONVERGED = "converged"
    ITERATIONS = "the iteration limit was reached: allow more, or ask for less"
    STAGNATION = "the true residual no longer falls: ask for less, or scale the system better"
    BREAKDOWN = "the matrix or the preconditioner is not positive definite"
    NOT_FINITE = "the matrix, the right-hand side or the initial guess holds a value that is not finite"
    NOT_SYMMETRIC = "the matrix is not symmetric: use a solver for general matrices"
    NOT_POSITIVE = "the matrix has a diagonal entry that is not positive: take unknowns without a coupling out"


@dataclass(frozen=True, slots=True, eq=False)
class LinearResult:
    """Solution and what is known of it.

    Attributes
    ----------
    x
        Shape (n,); always finite, the best known where not converged.
    status
        Why the solve ended; its value is the text.
    iterations
        Preconditioned steps.
    relative_residual
        norm(b - A x) / norm(b), recomputed from x; 0 for b = 0, infinite where it cannot be computed.
    """

    x: Vector
    status: LinearStatus
    iterations: int
    relative_residual: float

    @property
    def converged(self) -> bool:
        """Whether the tolerance was met by the recomputed residual."""
        return self.status is LinearStatus.CONVERGED


@dataclass(frozen=True, slots=True, eq=False)
class EnergyResult(LinearResult):
    """Solution that is as good as the energy needs it.

    Attributes
    ----------
    energy
        E(x), recomputed from x: an upper bound of the least one.
    error_estimate
        Estimate of (E(x) - least E) / E(x), from above; infinite where unknown.
    """

    energy: float
    error_estimate: float


def solve_spd(
    matrix: sp.csr_array,
    rhs: Vector,
    *,
    rtol: float,
    x0: Vector | None = None,
    method: Method = "amg",
    max_iterations: int = 200,
) -> LinearResult:
    """Solution of A x = b to norm(b - A x) <= rtol norm(b), with its true residual and status.

    Parameters
    ----------
    matrix
        Symmetric positive definite, shape (n, n).
    rhs
        b, shape (n,).
    rtol
        Between 0 and 1.
    x0
        Initial guess, shape (n,); zero by default.
    method
        "amg" is Ruge-Stueben multigrid, "smoothed-aggregation" the other one of pyamg, "direct" a dense factorisation;
        up to `DIRECT_SIZE` unknowns it is always direct.
    """
    if not 0 < rtol < 1 or max_iterations < 1:
        raise ValueError(f"rtol {rtol} must lie in (0, 1), max_iterations {max_iterations} above 0")
    x, refused = _checked(matrix, rhs, x0)
    if refused is not None:
        return LinearResult(x, refused, 0, np.inf)
    scale = float(np.linalg.norm(rhs))
    if scale == 0:
        return LinearResult(np.zeros_like(x), LinearStatus.CONVERGED, 0, 0.0)
    precondition = pyamg_cycle(matrix, method)
    if precondition is None:
        return LinearResult(x, LinearStatus.BREAKDOWN, 0, _residual(matrix, rhs, x, scale))
    iterations, before = 0, np.inf
    status = LinearStatus.STAGNATION
    for _ in range(_RESTARTS):
        iteration = ConjugateGradients(matrix, rhs, x, precondition)
        while iteration.norm > rtol * scale and iterations < max_iterations and iteration.step():
            iterations += 1
        x = iteration.x
        residual = _residual(matrix, rhs, x, scale)
        status = iteration.failure or (LinearStatus.ITERATIONS if iterations >= max_iterations else status)
        if residual <= rtol or residual > _PROGRESS * before or iteration.failure or iterations >= max_iterations:
            break
        before = residual
    return LinearResult(x, LinearStatus.CONVERGED if residual <= rtol else status, iterations, residual)


def minimise_energy(
    matrix: sp.csr_array,
    rhs: Vector,
    constant: float,
    precondition: Preconditioner,
    *,
    tolerance: float,
    x0: Vector | None = None,
    max_iterations: int = 200,
) -> EnergyResult:
    """Approximate solution of A x = b whose energy x.A x - 2 b.x + constant is within `tolerance` of the least one.

    The energy's error is second order in that of x, so a few steps suffice. What is first order, the relative residual
    and the imbalance abs(sum(b - A x)) / energy, must fall below the square root of `tolerance` as well.

    Parameters
    ----------
    constant
        Makes the least energy positive; relative errors refer to that.
    precondition
        Symmetric approximation of A^-1, a new array at each call.
    tolerance
        On the estimated relative error of the energy, between 0 and 1.
    """
    if not 0 < tolerance < 1 or max_iterations < 1:
        raise ValueError(f"tolerance {tolerance} must lie in (0, 1), max_iterations {max_iterations} above 0")
    x, refused = _checked(matrix, rhs, x0)
    if refused is not None or not np.isfinite(constant):
        return EnergyResult(x, refused or LinearStatus.NOT_FINITE, 0, np.inf, np.inf, np.inf)
    scale, first_order = float(np.linalg.norm(rhs)), np.sqrt(tolerance)
    iteration = ConjugateGradients(matrix, rhs, x, precondition)
    energy = constant - float(rhs @ x) - float(x @ iteration.residual)
    status = LinearStatus.ITERATIONS
    for _ in range(max_iterations):
        if iteration.norm <= ROUND_OFF * scale:
            status = LinearStatus.CONVERGED
            iteration.measure_error()
            break
        if not iteration.step():
            break
        energy -= iteration.decrement
        balanced = abs(float(iteration.residual.sum())) <= first_order * abs(energy)
        if iteration.norm <= first_order * scale and balanced and iteration.error <= tolerance * energy:
            status = LinearStatus.CONVERGED
            break
    return _energy_result(iteration, rhs, constant, tolerance, iteration.failure or status)


def _energy_result(
    iteration: ConjugateGradients, rhs: Vector, constant: float, tolerance: float, status: LinearStatus
) -> EnergyResult:
    """The result with residual and energy recomputed, and converged only if both bear it out."""
    x, scale = iteration.x, float(np.linalg.norm(rhs))
    residual = rhs - iteration.matrix @ x
    energy = constant - float(rhs @ x) - float(x @ residual)
    relative = float(np.linalg.norm(residual)) / scale if scale > 0 else 0.0
    estimate = iteration.error / energy if energy > 0 else np.inf
    if status is LinearStatus.CONVERGED and not (relative <= np.sqrt(tolerance) and estimate <= tolerance):
        status = LinearStatus.STAGNATION
    return EnergyResult(x, status, iteration.steps, relative, energy, estimate)


class ConjugateGradients:
    """Preconditioned conjugate gradients, one step at a time.

    Attributes
    ----------
    x, residual
        Current solution and b - A x by recursion, shape (n,).
    norm
        2-norm of `residual`.
    decrement
        By how much the last step lowered the energy.
    error
        Estimate, from above, of how far the energy still is from the least one; infinite before the first step.
    failure
        Why `step` returned False, if it did.
    """

    def __init__(self, matrix: sp.csr_array, rhs: Vector, x0: Vector, precondition: Preconditioner) -> None:
        self.matrix, self.precondition = matrix, precondition
        self.x = x0.copy()
        self.residual: Vector = rhs - matrix @ x0
        self.norm = float(np.linalg.norm(self.residual))
        self.steps = 0
        self.decrement = 0.0
        self.error = np.inf
        self.failure: LinearStatus | None = None
        self._direction = np.zeros_like(x0)
        self._rz = 1.0
        self._ritz = RitzValues()

    def step(self) -> bool:
        """Go one step; False, with `failure` set and x as it was, where there is none to go."""
        z = self.precondition(self.residual)
        rz = float(self.residual @ z)
        if not (np.isfinite(rz) and rz > 0):
            self.failure = LinearStatus.BREAKDOWN if np.isfinite(rz) else LinearStatus.NOT_FINITE
            return False
        beta = rz / self._rz if self.steps else 0.0
        direction = z + beta * self._direction
        product = self.matrix @ direction
        curvature = float(direction @ product)
        if not (np.isfinite(curvature) and curvature > 0):
            self.failure = LinearStatus.BREAKDOWN if np.isfinite(curvature) else LinearStatus.NOT_FINITE
            return False
        alpha = rz / curvature
        self.x += alpha * direction
        self.residual -= alpha * product
        self.norm = float(np.linalg.norm(self.residual))
        self._direction, self._rz = direction, rz
        self.decrement = alpha * rz
        self.steps += 1
        self._ritz.add(alpha, beta)
        # the bound on the error before this step, less what the step has gained
        self.error = max(rz / self._ritz.theta() - self.decrement, 0.0)
        return True

    def measure_error(self) -> None:
        """Bring `error` up to the last step, for one more application of the preconditioner."""
        self.error = abs(float(self.residual @ self.precondition(self.residual))) / self._ritz.theta()


def pyamg_cycle(matrix: sp.csr_array, method: Method = "amg") -> Preconditioner | None:
    """One V-cycle of pyamg, or the exact inverse of a small matrix; None where it is not positive definite.

    One Gauss-Seidel sweep forward before and one backward after the coarse correction keep the cycle symmetric. Direct
    interpolation sets up a third faster than classical and costs one more iteration in five.
    """
    n = matrix.shape[0]
    if method == "direct" or n <= DIRECT_SIZE:
        return _dense_inverse(matrix)
    smoothers: dict[str, Any] = {
        "presmoother": ("gauss_seidel", {"sweep": "forward"}),
        "postsmoother": ("gauss_seidel", {"sweep": "backward"}),
        "max_coarse": COARSEST_SIZE,
    }
    scale = float(matrix.diagonal().max())  # pyamg compares some values with absolute thresholds
    scaled = sp.csr_matrix((matrix.data / scale, matrix.indices, matrix.indptr), shape=matrix.shape)
    if method == "amg":
        hierarchy = pyamg.ruge_stuben_solver(scaled, interpolation="direct", **smoothers)
    else:
        hierarchy = _seeded_smoothed_aggregation(scaled, smoothers)
    coarsest = _dense_inverse(hierarchy.levels[-1].A)
    return None if coarsest is None else lambda r: _v_cycle(hierarchy.levels, coarsest, r) / scale


def aggregation_cycle(matrix: sp.csr_array, position: NDArray[np.int32]) -> Preconditioner:
    """One W-cycle of aggregation multigrid, for a matrix without positive couplings.

    position: grid indices of each unknown, shape (n, 3).
    """
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    upper = matrix.indices > rows
    multigrid = AggregationMultigrid(
        rows[upper],
        matrix.indices[upper],
        matrix.shape[0],
        position,
        settings=MultigridSettings(over_correction=1.8),  # measured: one step less than 1.5 where couplings are equal
    )
    ground = matrix @ np.ones(matrix.shape[0])
    multigrid.update(-matrix.data[upper], np.maximum(ground, 0.0))
    return multigrid.apply


def _seeded_smoothed_aggregation(matrix: sp.csr_matrix, smoothers: dict[str, Any]) -> Any:
    """The hierarchy from a fixed seed; pyamg draws from numpy's global state, which is put back afterwards."""
    state = np.random.get_state()  # noqa: NPY002 - the state that pyamg draws from
    np.random.seed(_SEED)  # noqa: NPY002
    try:
        return pyamg.smoothed_aggregation_solver(matrix, symmetry="symmetric", **smoothers)
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _dense_inverse(matrix: sp.csr_array) -> Preconditioner | None:
    """Solution with a small matrix by its Cholesky factors; None where it has none."""
    try:
        factor = cho_factor(matrix.toarray())
    except (LinAlgError, ValueError):  # not positive definite; not finite
        return None
    return lambda r: np.asarray(cho_solve(factor, r, check_finite=False), np.float64)


def _v_cycle(levels: list[Any], coarsest: Preconditioner, b: Vector) -> Vector:
    """The first level's x for its b, from zero; pyamg's own preconditioner computes two residuals more per cycle."""
    if len(levels) == 1:
        return coarsest(b)
    level = levels[0]
    x = np.zeros_like(b)
    level.presmoother(level.A, x, b)
    x += level.P @ _v_cycle(levels[1:], coarsest, level.R @ (b - level.A @ x))
    level.postsmoother(level.A, x, b)
    return x


def _checked(matrix: sp.csr_array, rhs: Vector, x0: Vector | None) -> tuple[Vector, LinearStatus | None]:
    """The initial guess, and the reason to refuse the system if there is one."""
    n = rhs.size
    if matrix.shape != (n, n) or rhs.ndim != 1 or n == 0 or (x0 is not None and x0.shape != (n,)):
        guess = "none" if x0 is None else x0.shape
        raise ValueError(f"shapes do not fit: matrix {matrix.shape}, right-hand side {rhs.shape}, guess {guess}")
    x = np.zeros(n) if x0 is None else np.asarray(x0, np.float64)
    if not np.isfinite(x).all():
        return np.zeros(n), LinearStatus.NOT_FINITE
    if not (np.isfinite(matrix.data).all() and np.isfinite(rhs).all()):
        return x, LinearStatus.NOT_FINITE
    if not (matrix.diagonal() > 0).all():
        return x, LinearStatus.NOT_POSITIVE
    return x, None if _symmetric(matrix) else LinearStatus.NOT_SYMMETRIC


def _symmetric(matrix: sp.csr_array) -> bool:
    if matrix.nnz == 0:
        return True
    difference = abs(matrix - matrix.T.tocsr())
    return bool(difference.max() <= _SYMMETRY * np.abs(matrix.data).max())


def _residual(matrix: sp.csr_array, rhs: Vector, x: Vector, scale: float) -> float:
    return float(np.linalg.norm(rhs - matrix @ x)) / scale
