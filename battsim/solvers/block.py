"""Block Gauss-Seidel preconditioner: multigrid on the resistor network inside each diagonal block, inside FGMRES."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from battsim.fvm.blocks import BlockJacobian, Network
from battsim.solvers.krylov import fgmres
from battsim.solvers.multigrid import AggregationMultigrid, MultigridSettings

Floats = NDArray[np.float64]

COARSE = MultigridSettings(coarsest_size=200)
"""The dense inverse of the coarsest level is made anew with each Jacobian: 200 unknowns keep it out of the profile."""


class BlockSolver:
    """Solves block Jacobians by FGMRES with block Gauss-Seidel, each diagonal block by one multigrid cycle.

    Parameters
    ----------
    networks
        Network of each diagonal block.
    order
        Blocks in the order of the Gauss-Seidel sweep.
    max_iterations
        Krylov iterations per solve.

    Attributes
    ----------
    seconds
        Time spent in preconditioner set-up, preconditioner application and in the whole solve.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        order: Sequence[int],
        *,
        settings: MultigridSettings | None = None,
        max_iterations: int = 200,
    ) -> None:
        self._order = tuple(order)
        self._max_iterations = max_iterations
        self._multigrid = [
            AggregationMultigrid(n.first, n.second, n.n_nodes, n.position, settings=settings or COARSE)
            for n in networks
        ]
        self._diagonal: list[Floats | None] = []
        self.seconds = {"set-up": 0.0, "application": 0.0, "solve": 0.0}

    def solve(self, jacobian: BlockJacobian, rhs: Floats, rtol: float) -> tuple[Floats, int, bool]:
        """The solution of J x = rhs, the Krylov iterations, and whether the true residual fell below rtol."""
        started = perf_counter()
        self._diagonal = []
        parts = zip(self._multigrid, jacobian.conductance, jacobian.ground, strict=True)
        for multigrid, conductance, ground in parts:
            coupled = bool(conductance.any())
            self._diagonal.append(None if coupled else ground)
            if coupled:
                multigrid.update(conductance, ground)
        self.seconds["set-up"] += perf_counter() - started
        result = fgmres(
            jacobian.__matmul__,
            rhs,
            lambda r: self._sweep(jacobian, r),
            rtol=rtol,
            max_iterations=self._max_iterations,
        )
        self.seconds["solve"] += perf_counter() - started
        return result.x, result.iterations, result.converged

    def _sweep(self, jacobian: BlockJacobian, r: Floats) -> Floats:
        started = perf_counter()
        x = np.zeros_like(r)
        done: list[int] = []
        for block in self._order:
            rhs = r[jacobian.slices[block]].copy()
            for earlier in done:
                coupling = jacobian.blocks.get((block, earlier))
                if coupling is not None:
                    rhs -= coupling @ x[jacobian.slices[earlier]]
            diagonal = self._diagonal[block]
            x[jacobian.slices[block]] = self._multigrid[block].apply(rhs) if diagonal is None else rhs / diagonal
            done.append(block)
        self.seconds["application"] += perf_counter() - started
        return x
