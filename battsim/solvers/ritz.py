"""What conjugate gradients learn of the preconditioned matrix on the way: its smallest eigenvalue.

The coefficients of the iteration make the tridiagonal Lanczos matrix, whose eigenvalues (Ritz values) approach those of
M^-1 A, the smallest from above. Reference: G. Meurant, P. Tichy, Numer. Algorithms 62 (2013) 163-191.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

RITZ_CAP = 0.5
"""Upper limit of theta in the error estimate: a Ritz value comes down to the eigenvalue only after some steps."""


class RitzValues:
    """The Lanczos matrix of a run of preconditioned conjugate gradients, a row a step."""

    def __init__(self) -> None:
        self._diagonal: list[float] = []
        self._off_diagonal: list[float] = []
        self._alpha = 1.0

    def add(self, alpha: float, beta: float) -> None:
        """Append the step with x += alpha p, p = z + beta p."""
        if self._diagonal:
            self._off_diagonal.append(np.sqrt(beta) / self._alpha)
        self._diagonal.append(1.0 / alpha + (beta / self._alpha if self._diagonal else 0.0))
        self._alpha = alpha

    def theta(self) -> float:
        """Estimate of the smallest eigenvalue of M^-1 A, at most `RITZ_CAP`."""
        if not self._diagonal:
            return RITZ_CAP
        ritz = eigvalsh_tridiagonal(self._diagonal, self._off_diagonal, select="i", select_range=(0, 0))
        return min(float(ritz[0]), RITZ_CAP)
