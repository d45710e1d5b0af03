"""Block Gauss-Seidel preconditioner: multigrid on the resistor network inside each diagonal block, inside FGMRES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from battsim.fvm.blocks import BlockJacobian, Network
from battsim.solvers.basis import Basis
from battsim.solvers.krylov import KrylovResult, fgmres
from battsim.solvers.multigrid import AggregationMultigrid, MultigridSettings
from battsim.threads import ALONE, Team

Floats = NDArray[np.float64]
Single = NDArray[np.float32]

COARSE = MultigridSettings(coarsest_size=200)
"""The dense inverse of the coarsest level is made anew with each Jacobian: 200 unknowns keep it out of the profile."""


class BlockSolver:
    """Solves block Jacobians by FGMRES with block Gauss-Seidel, each diagonal block by multigrid.

    Parameters
    ----------
    networks
        Network of each diagonal block.
    order
        Blocks in the order of the Gauss-Seidel sweep.
    cycles
        Multigrid cycles per visit of a block; 1 for blocks not named.
    max_iterations
        Krylov iterations per solve.
    team
        Threads that share the work; no result depends on their number.
    vectors
        Type of the Krylov vectors. Steps ask for one to three digits, and single precision halves the memory; it is at
        its end with six, where a cycle may miss its mark and a second one begin.

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
        cycles: Mapping[int, int] | None = None,
        settings: MultigridSettings | None = None,
        max_iterations: int = 200,
        team: Team = ALONE,
        vectors: type[np.float32 | np.float64] = np.float32,
    ) -> None:
        self._order, self._vectors = tuple(order), vectors
        self._max_iterations = max_iterations
        self._team = team
        wanted = cycles or {}
        self._multigrid = [
            AggregationMultigrid(
                n.first,
                n.second,
                n.n_nodes,
                n.position,
                settings=settings or COARSE,
                cycles=wanted.get(block, 1),
                team=team,
            )
            for block, n in enumerate(networks)
        ]
        self._diagonal: list[Floats | None] = []
        self._fresh = [True] * len(networks)
        self._bases: tuple[Basis, Basis] | None = None
        self._rhs = [np.empty(n.n_nodes) for n in networks]
        self.seconds = {"set-up": 0.0, "application": 0.0, "solve": 0.0}

    def reset(self) -> None:
        """Forget everything that earlier solves left behind: the next one chooses its aggregates anew."""
        self._fresh = [True] * len(self._fresh)

    def solve(self, jacobian: BlockJacobian, rhs: Floats, rtol: float) -> tuple[Floats, int, bool]:
        """The solution of J x = rhs, the Krylov iterations, and whether the true residual fell below rtol.

        Aggregates that were chosen for an earlier Jacobian, and fail, are chosen anew: where a coupling inside of one
        has all but gone, as that of a surface that is full, the cycle may even diverge.

        NaN, and False, for a Jacobian that is not finite.
        """
        started = perf_counter()
        numbers = jacobian.conductance, jacobian.ground
        if not all(np.isfinite(values).all() for kind in numbers for values in kind):
            return np.full(rhs.size, np.nan), 0, False
        lagged = not all(self._fresh)
        self._refresh(jacobian)
        result = self._iterate(jacobian, rhs, rtol)
        iterations = result.iterations
        if not result.converged and lagged:
            self.reset()
            self._refresh(jacobian)
            result = self._iterate(jacobian, rhs, rtol)
            iterations += result.iterations
        self.seconds["solve"] += perf_counter() - started
        return result.x, iterations, result.converged

    def _refresh(self, jacobian: BlockJacobian) -> None:
        """Bring the numbers of a Jacobian to the hierarchies; those that are fresh choose their aggregates by them."""
        started = perf_counter()
        self._diagonal = []
        for block, (conductance, ground) in enumerate(zip(jacobian.conductance, jacobian.ground, strict=True)):
            coupled = bool(conductance.any())
            self._diagonal.append(None if coupled else ground)
            if coupled:
                self._multigrid[block].update(conductance, ground, rebuild=self._fresh[block])
                self._fresh[block] = False
        self.seconds["set-up"] += perf_counter() - started

    def _iterate(self, jacobian: BlockJacobian, rhs: Floats, rtol: float) -> KrylovResult:
        product, z = np.empty(rhs.size), np.empty(rhs.size, np.float32)
        if self._bases is None:
            n, team = rhs.size, self._team
            self._bases = Basis(n, team, self._vectors), Basis(n, team, self._vectors)

        def multiply(v: NDArray[np.floating]) -> Floats:
            jacobian.multiply(v, product)
            return product

        return fgmres(
            multiply,
            rhs,
            lambda r: self._sweep(jacobian, r, z),
            rtol=rtol,
            max_iterations=self._max_iterations,
            bases=self._bases,
        )

    def _sweep(self, jacobian: BlockJacobian, r: NDArray[np.floating], z: Single) -> Single:
        """Write one sweep on J z = r from zero."""
        started = perf_counter()
        z[:] = 0.0
        for position, block in enumerate(self._order):
            here = jacobian.slices[block]
            diagonal, rhs = self._diagonal[block], self._rhs[block]
            if position == 0:
                rhs[:] = r[here]
            else:
                jacobian.coupling(block, z, rhs)
                np.subtract(r[here], rhs, out=rhs)
            if diagonal is None:
                try:
                    self._multigrid[block].apply_to(rhs, z[here])
                except ValueError:  # a block before has left the range of float32
                    z[:] = np.nan
                    break
            else:
                z[here] = rhs / diagonal
        self.seconds["application"] += perf_counter() - started
        return z
