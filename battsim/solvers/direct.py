"""Sparse LU of a whole Jacobian: for systems in one dimension, whose factors stay sparse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from battsim.fvm.blocks import BlockMatrix

Floats = NDArray[np.float64]


class DirectSolver:
    """Solves block Jacobians by LU with columns scaled to the size of their unknowns.

    Parameters
    ----------
    assembled
        Makes the matrix of a Jacobian.
    scale
        Size of each unknown, shape (n,).
    """

    def __init__(self, assembled: Callable[[Any], BlockMatrix], scale: Floats) -> None:
        self._assembled, self._scale = assembled, scale

    def reset(self) -> None:
        """Nothing is kept from one solve to the next."""

    def solve(self, jacobian: Any, rhs: Floats, rtol: float) -> tuple[Floats, int, bool]:  # noqa: ARG002 (direct)
        """The solution of J x = rhs, 1, and True; NaN and False where J is singular or not finite."""
        matrix = self._assembled(jacobian)
        n = len(matrix.slices)
        grid = [[matrix.blocks.get((row, column)) for column in range(n)] for row in range(n)]
        scaled = sp.block_array(grid, format="csc") @ sp.diags_array(self._scale, format="csc")
        try:
            return self._scale * splu(scaled).solve(rhs), 1, True
        except RuntimeError:  # splu's word for a singular matrix
            return np.full(rhs.size, np.nan), 1, False
