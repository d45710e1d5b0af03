"""Anderson's mixing: the next guess of a fixed-point iteration from its last few, as GMRES would choose it.

For x = G(x) with residuals f_k = G(x_k) - x_k, the weights w of the last m + 1 iterates that minimise abs(sum w f)
under sum w = 1 give the next guess sum w G(x). H. F. Walker, P. Ni, SIAM J. Numer. Anal. 49 (2011) 1715-1735.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CUT_OFF = 1e-6
"""Singular value over the largest, below which a direction is left out."""


class Anderson:
    """Mixes the results of a fixed-point iteration.

    Parameters
    ----------
    depth
        How many earlier iterates take part, m.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._residuals: list[Floats] = []
        self._results: list[Floats] = []

    def mix(self, residual: Floats, result: Floats) -> Floats:
        """The next guess from the latest residual and the latest result.

        Parameters
        ----------
        residual
            G(x_k) - x_k, in units in which its 2-norm is what should fall, shape (n,).
        result
            G(x_k), shape (n,).
        """
        self._residuals = [*self._residuals, residual][-self._depth - 1 :]
        self._results = [*self._results, result][-self._depth - 1 :]
        if len(self._results) == 1:
            return result
        df = np.diff(self._residuals, axis=0).T
        share, *_ = np.linalg.lstsq(df, residual, rcond=_CUT_OFF)
        mixed: Floats = result - share @ np.diff(self._results, axis=0)
        return mixed
