"""Aggregation multigrid for resistor networks, as a preconditioner.

The matrix is symmetric with non-positive couplings, ``A = diag(ground) + sum_k g_k (e_a - e_b)(e_a - e_b)^T``: nodes
joined by conductances g_k >= 0, and to a common ground by ground_i >= 0. The joint potentials of a cell, salt diffusion
and solid diffusion (mass on the ground) are of this kind.

Nodes are merged into the connected components of strong couplings inside 2x2x2 blocks of positions, level by level; the
coarse network is the sum of the conductances between two aggregates (Galerkin with piecewise constants), which is too
stiff, hence an over-correction. One W-cycle with Gauss-Seidel forward before and backward after the coarse correction
is a fixed, symmetric operator up to float32 round-off.

References: Y. Notay, An aggregation-based algebraic multigrid method, Electron. Trans. Numer. Anal. 37 (2010) 123-146;
over-correction: D. Braess, Towards algebraic multigrid for elliptic problems of second order, Computing 55 (1995) 379.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from battsim.solvers import multigrid_kernels as kernels
from battsim.solvers.hierarchy import Hierarchy, Level, MultigridSettings
from battsim.threads import ALONE, Team

Double = NDArray[np.float64]

__all__ = ["AggregationMultigrid", "MultigridSettings"]


class AggregationMultigrid:
    """Multigrid preconditioner of one network; its pattern is fixed, its numbers are refreshed by `update`.

    first, second: nodes that each edge joins, shape (n_edges,); several edges between two nodes add up.
    position: grid indices of each node, shape (n_nodes, 3); a node with a negative one is never merged. Nodes are
    kept in the order of their positions, which lets threads sweep plane by plane, whatever their numbers are.
    cycles: per application.
    """

    def __init__(
        self,
        first: ArrayLike,
        second: ArrayLike,
        n_nodes: int,
        position: ArrayLike,
        *,
        settings: MultigridSettings | None = None,
        cycles: int = 1,
        team: Team = ALONE,
    ) -> None:
        a, b = np.array(first, np.int32, order="C"), np.array(second, np.int32, order="C")
        where = np.array(position, np.int32, order="C")
        if a.ndim != 1 or a.shape != b.shape or where.shape != (n_nodes, 3):
            raise ValueError(
                f"edges {a.shape} and {b.shape} must be equally long lists, positions {where.shape} be ({n_nodes}, 3)"
            )
        if a.size and not 0 <= min(a.min(), b.min()) <= max(a.max(), b.max()) < n_nodes:
            raise ValueError(
                f"edges name nodes {min(a.min(), b.min())} to {max(a.max(), b.max())}; allowed are 0 to {n_nodes - 1}"
            )
        where[(where < 0).any(axis=1)] = -1
        self._team, self._cycles, self._node = team, cycles, _by_position(where)
        number = np.empty_like(self._node)
        number[self._node] = np.arange(n_nodes, dtype=np.int32)
        a, b, where = number[a], number[b], where[self._node]
        pointers, columns, self._entry_of_first, self._entry_of_second = kernels.adjacency(a, b, n_nodes)
        self._hierarchy = Hierarchy(Level(pointers, columns, where), settings or MultigridSettings())
        self._ready = False
        self._scale = 1.0

    @property
    def settings(self) -> MultigridSettings:
        """Choices of the cycle."""
        return self._hierarchy.settings

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Nodes per level, finest first."""
        return tuple(level.n_nodes for level in self._hierarchy.levels)

    @property
    def operator_complexity(self) -> float:
        """Matrix entries of all levels over those of the finest."""
        levels = self._hierarchy.levels
        return sum(level.n_entries for level in levels) / levels[0].n_entries

    @property
    def memory_bytes(self) -> int:
        """Bytes held by all levels, the maps between them and the dense inverse."""
        maps = self._entry_of_first.nbytes + self._entry_of_second.nbytes + self._node.nbytes
        return maps + self._hierarchy.memory_bytes

    def update(self, conductance: ArrayLike, ground: ArrayLike, *, rebuild: bool = False) -> None:
        """Take new numbers; the first call, and each with `rebuild`, also chooses the aggregates by their strengths.

        conductance: shape (n_edges,); ground: shape (n_nodes,); any unit, the same for both; finite, 0 or more.
        """
        finest = self._hierarchy.levels[0]
        g = _checked(conductance, "conductance", self._entry_of_first.size)
        d = _checked(ground, "ground", finest.n_nodes)
        largest = max(g.max(initial=0.0), d.max(initial=0.0))
        # a power of two divides exactly and keeps float32 in range
        self._scale = 2.0 ** np.floor(np.log2(largest)) if largest > 0 else 1.0
        g32 = (g / self._scale).astype(np.float32)
        finest.weights[:] = 0
        kernels.accumulate(g32, self._entry_of_first, finest.weights)
        kernels.accumulate(g32, self._entry_of_second, finest.weights)
        finest.ground[:] = d[self._node] / self._scale
        if rebuild or not self._ready:
            self._hierarchy.build()
        else:
            self._hierarchy.refresh()
        self._ready = True

    def apply(self, rhs: ArrayLike) -> Double:
        """The cycles from zero on A x = rhs, shape (n_nodes,); an unknown with an empty row stays 0."""
        b = np.asarray(rhs, np.float64)
        x: Double = np.empty_like(b)
        self.apply_to(b, x)
        return x

    def apply_to(self, rhs: NDArray[np.floating], x: NDArray[np.floating]) -> None:
        """Write the cycles from zero on A x = rhs, both shape (n_nodes,); an unknown with an empty row becomes 0."""
        assert self._ready, "update() brings the numbers before apply() can use them"
        size = float(max(rhs.max(initial=0.0), -rhs.min(initial=0.0)))
        if not np.isfinite(size):
            raise ValueError("the right-hand side holds a value that is not finite")
        if size == 0:
            x[:] = 0.0
            return
        finest, n = self._hierarchy.levels[0], self._node.size
        # scaled to 1: amperes of micrometre cells leave float32's range
        self._team.run(kernels.gather, n, n, self._node, rhs, 1.0 / size, finest.b)
        self._hierarchy.solve(self._cycles, self._team)
        self._team.run(kernels.scatter, n, n, self._node, finest.x, size / self._scale, x)


def _by_position(position: NDArray[np.int32]) -> NDArray[np.int32]:
    """Nodes sorted by their positions, those without one last, shape (n_nodes,)."""
    nowhere = position[:, 0] < 0
    return np.lexsort((*position.T[::-1], nowhere)).astype(np.int32)


def _checked(values: ArrayLike, name: str, size: int) -> Double:
    """The values as float64, refused unless finite, 0 or more and as many as the network needs."""
    v = np.asarray(values, np.float64)
    if v.shape != (size,):
        raise ValueError(f"{name} has shape {v.shape}; the network needs ({size},)")
    if size and not (v.min() >= 0 and v.max() < np.inf):
        bad = int(np.flatnonzero(~((v >= 0) & (v < np.inf)))[0])
        raise ValueError(f"{name}[{bad}] = {v[bad]}; a resistor network needs finite values of 0 or more")
    return v
