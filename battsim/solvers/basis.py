"""The vectors of a Krylov method: kept in blocks, orthogonalised and combined in passes over cached chunks.

Gram-Schmidt, twice where needed: L. Giraud, J. Langou, M. Rozloznik, Comput. Math. Appl. 50 (2005) 1069-1075.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from battsim.solvers import krylov_kernels as kernels
from battsim.threads import ALONE, Team

Vector = NDArray[np.float64]

_BLOCK = 8  # vectors per block: memory follows the iterations done
_LITTLE = 0.03  # share of w left by Gram-Schmidt below which its round-off asks for a second time


class Basis:
    """Growing list of vectors of one size, kept in blocks of rows so that a pass over w serves several of them.

    Its memory is kept when it is emptied. dtype float32 halves memory and traffic; products are summed in float64.
    """

    def __init__(self, n: int, team: Team = ALONE, dtype: type[np.floating] = np.float64) -> None:
        self.n, self.size = n, 0
        self._team, self._dtype = team, dtype
        self._blocks: list[NDArray[np.floating]] = []
        self._chunks = -(-n // kernels.CHUNK)
        self._products = np.empty((self._chunks, _BLOCK))
        self._squares = np.empty(self._chunks)

    @property
    def last(self) -> NDArray[np.floating]:
        """The vector appended last."""
        vector: NDArray[np.floating] = self._blocks[(self.size - 1) // _BLOCK][(self.size - 1) % _BLOCK]
        return vector

    def append(self, v: NDArray[np.floating], factor: float = 1.0) -> None:
        """Add a copy of factor times v."""
        if self.size == _BLOCK * len(self._blocks):
            self._blocks.append(np.empty((_BLOCK, self.n), self._dtype))
        self.size += 1
        self._run(kernels.store, v, factor, self.last)

    def clear(self) -> None:
        """Forget all vectors."""
        self.size = 0

    def orthogonalise(self, w: Vector) -> tuple[Vector, float, float]:
        """Take the vectors' parts out of w, in place: their coefficients, and the norms of w before and after.

        Classical Gram-Schmidt, a second time where little is left of w.
        """
        total, left = self._take_out(w)
        before = float(np.sqrt(total @ total + left**2))
        if left < _LITTLE * before:
            more, left = self._take_out(w)
            total += more
        return total, before, left

    def _take_out(self, w: Vector) -> tuple[Vector, float]:
        coefficients = []
        for rows, count in self._filled():
            self._run(kernels.project, rows, count, w, self._products)
            coefficients.append(self._products[:, :count].sum(axis=0))
        for (rows, count), part in zip(self._filled(), coefficients, strict=True):
            self._run(kernels.subtract, rows, count, part, w, self._squares)
        return np.concatenate(coefficients), float(np.sqrt(self._squares.sum()))

    def combine(self, coefficients: Vector) -> Vector:
        """Sum of coefficient times vector, shape (n,)."""
        total: Vector = np.zeros(self.n)
        for b, (rows, count) in enumerate(self._filled()):
            part = coefficients[b * _BLOCK : b * _BLOCK + count]
            self._run(kernels.add, rows, part.size, part, total)
        return total

    def _filled(self) -> list[tuple[NDArray[np.floating], int]]:
        """The blocks with vectors, and how many each holds."""
        n_blocks = -(-self.size // _BLOCK)
        return [(self._blocks[b], min(_BLOCK, self.size - _BLOCK * b)) for b in range(n_blocks)]

    def _run(self, kernel: Callable[..., None], *arguments: object) -> None:
        self._team.run(kernel, self._chunks, self.n, *arguments)
