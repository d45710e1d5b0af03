"""Conjugate gradients for FiPy's equations that fail loudly, with pyamg's multigrid kept from solve to solve.

FiPy's traps: without a solver it factorises, which 3-D meshes of more than about 1e4 cells do not survive; its
`JacobiPreconditioner` factorises at every iteration, and its smoothed aggregation is set up at every solve; a solver
that fails to converge only warns.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
from fipy.solvers import SolverConvergenceWarning
from fipy.solvers.convergence import DivergenceWarning
from fipy.solvers.scipy.linearCGSolver import LinearCGSolver
from fipy.solvers.scipy.preconditioners.scipyPreconditioner import ScipyPreconditioner
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from battsim.errors import NotConvergedError
from battsim.solvers.linear import Method, Preconditioner, pyamg_cycle

Vector = NDArray[np.float64]

MAX_ITERATIONS = 400
OUTWORN = 0.6
"""Digits per iteration over those of a hierarchy's first solve, below which the next solve sets up a new one."""
HONEST = 10.0
"""True residual over the tolerance up to which the iteration's own residual is believed."""


class DiagonalPreconditioner(ScipyPreconditioner):  # type: ignore[misc]
    """Division by the diagonal."""

    def _applyToMatrix(self, matrix: Any) -> tuple[LinearOperator, Any]:
        inverse = 1.0 / matrix.diagonal()
        return LinearOperator(matrix.shape, lambda r: inverse * r, dtype=np.float64), matrix


class MultigridPreconditioner(ScipyPreconditioner):  # type: ignore[misc]
    """One V-cycle of pyamg; the hierarchy stays until `renew` is called."""

    def __init__(self, method: Method = "smoothed-aggregation") -> None:
        self._method = method
        self._cycle: Preconditioner | None = None

    def renew(self) -> None:
        """Have the next solve set up a new hierarchy."""
        self._cycle = None

    def _applyToMatrix(self, matrix: Any) -> tuple[LinearOperator, Any]:
        if self._cycle is None:
            self._cycle = pyamg_cycle(sp.csr_array(matrix), self._method)
        if self._cycle is None:
            raise NotConvergedError("the coarsest multigrid level of a FiPy equation is not positive definite")
        return LinearOperator(matrix.shape, self._cycle, dtype=np.float64), matrix


class StrictCG(LinearCGSolver):  # type: ignore[misc]
    """FiPy's conjugate gradients, where a warning is an error and the residual is recomputed from the answer.

    A solve ends when the residual's norm is `tolerance` times the one it began with, or `absolute_tolerance`; both may
    be set between solves.

    Attributes
    ----------
    total
        Iterations of all solves so far.
    """

    def __init__(self, precon: Any, tolerance: float = 1e-6, iterations: int = MAX_ITERATIONS) -> None:
        super().__init__(tolerance=tolerance, criterion="initial", iterations=iterations, precon=precon)
        self.total = 0
        self._first: float | None = None

    def _solve_(self, L: Any, x: Vector, b: Vector) -> Vector:
        if not (np.isfinite(L.data).all() and np.isfinite(b).all() and np.isfinite(x).all()):
            raise NotConvergedError("a FiPy equation holds a value that is not finite")
        diagonal = L.diagonal()
        sign = 1.0 if diagonal[0] > 0.0 else -1.0
        if not np.all(sign * diagonal > 0.0):
            raise NotConvergedError("a FiPy equation has a cell that nothing ties down: its diagonal has no sign")
        L, b = sign * L, sign * np.asarray(b)
        began = float(np.linalg.norm(b - L @ x))
        allowed = max(self.tolerance * began, self.absolute_tolerance)
        if began <= self.absolute_tolerance:
            return x
        try:
            x = self._iterate(L, x.copy(), b)
        except NotConvergedError:
            if self._first is None:
                raise
            self._renew()
            x = self._iterate(L, x, b)
        left = float(np.linalg.norm(b - L @ x))
        self._renew_outworn(began / max(left, np.finfo(float).tiny))
        if not left <= HONEST * allowed:
            raise NotConvergedError(
                f"conjugate gradients report {allowed:.1e} and leave a residual of {left:.1e} of {began:.1e}"
            )
        return x

    def _iterate(self, L: Any, x: Vector, b: Vector) -> Vector:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DivergenceWarning)
            warnings.simplefilter("error", SolverConvergenceWarning)
            try:
                x = super()._solve_(L, x, b)
            except (DivergenceWarning, SolverConvergenceWarning) as warning:
                raise NotConvergedError(f"FiPy's conjugate gradients gave up: {warning}") from warning
        self.total += self.actualIterations
        return x

    def _renew_outworn(self, reduction: float) -> None:
        if not isinstance(self.preconditioner, MultigridPreconditioner) or self.actualIterations == 0:
            return
        digits = np.log10(reduction) / self.actualIterations
        if self._first is None:
            self._first = digits
        elif digits < OUTWORN * self._first:
            self._renew()

    def _renew(self) -> None:
        self.preconditioner.renew()
        self._first = None
