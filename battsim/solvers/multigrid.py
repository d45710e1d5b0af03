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

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from battsim.solvers import multigrid_kernels as kernels
from battsim.solvers.multigrid_kernels import Index, Single

Double = NDArray[np.float64]

_SHARE = 0.04, 0.5  # of aggregates per node that blocks may leave: 1/25 to 1/2; otherwise the level does without them


@dataclass(frozen=True, slots=True)
class MultigridSettings:
    """Choices of the cycle; the defaults hold for couplings over five decades.

    strength: a coupling counts as strong from this share of the largest coupling of both its ends.
    over_correction: factor on each coarse correction, since piecewise-constant Galerkin coarsening is too stiff.
    sweeps: Gauss-Seidel sweeps before and after each coarse correction.
    coarsest_size: nodes below which a level is solved by its dense inverse.
    dense_limit: nodes up to which a level that cannot be coarsened gets a dense inverse; above it `coarsest_sweeps`.
    """

    strength: float = 0.25
    over_correction: float = 1.5
    sweeps: int = 1
    coarsest_size: int = 800
    dense_limit: int = 2000
    coarsest_sweeps: int = 20

    def __post_init__(self) -> None:
        """Refuse what no cycle can be made of."""
        if not 0 < self.strength <= 1 or not 0 < self.over_correction < 3:
            raise ValueError(
                f"strength {self.strength} must lie in (0, 1], over_correction {self.over_correction} in (0, 3)"
            )
        if min(self.sweeps, self.coarsest_size, self.coarsest_sweeps) < 1 or self.dense_limit < self.coarsest_size:
            raise ValueError(f"sweeps and sizes must be 1 or more, and dense_limit at least coarsest_size: {self}")


def _nothing() -> Index:
    return np.empty(0, np.int32)


@dataclass(slots=True)
class _Level:
    """One network and the cycle's vectors on it (kernels' layout); `aggregate`, `entry_map` lead to the next level."""

    pointers: Index
    columns: Index
    position: Index
    aggregate: Index = field(default_factory=_nothing)
    entry_map: Index = field(default_factory=_nothing)
    middle: Index = field(init=False)
    weights: Single = field(init=False)
    ground: Single = field(init=False)
    inverse: Single = field(init=False)
    b: Single = field(init=False)
    x: Single = field(init=False)

    def __post_init__(self) -> None:
        self.middle = kernels.middle_of_rows(self.pointers, self.columns)
        self.weights = np.zeros(self.columns.size, np.float32)
        self.ground, self.inverse, self.b, self.x = (np.zeros(self.n_nodes, np.float32) for _ in range(4))

    @property
    def n_nodes(self) -> int:
        return self.pointers.size - 1

    @property
    def n_entries(self) -> int:
        """Matrix entries, the diagonal included."""
        return self.columns.size + self.n_nodes

    @property
    def memory_bytes(self) -> int:
        return sum(getattr(self, name).nbytes for name in self.__slots__)

    def sweep(self, *, backward: bool) -> None:
        """Gauss-Seidel on A x = b, in place."""
        rows = self.pointers[:-1], self.pointers[1:], self.columns
        kernels.sweep(*rows, self.weights, self.ground, self.inverse, self.b, self.x, backward)

    def sweep_from_zero(self) -> None:
        """Forward Gauss-Seidel from x = 0: the entries behind the diagonal meet zeros."""
        self.x[:] = 0
        rows = self.pointers[:-1], self.middle, self.columns
        kernels.sweep(*rows, self.weights, self.ground, self.inverse, self.b, self.x, False)

    def restrict_residual(self, coarse_b: Single, *, swept_from_zero: bool) -> None:
        """Write this level's residual summed over aggregates."""
        rows = self.middle if swept_from_zero else self.pointers[:-1], self.pointers[1:], self.columns
        numbers = self.weights, self.ground, self.b, self.x
        kernels.restrict_residual(*rows, *numbers, self.aggregate, coarse_b, swept_from_zero)


class AggregationMultigrid:
    """Multigrid preconditioner of one network; its pattern is fixed, its numbers are refreshed by `update`.

    first, second: nodes that each edge joins, shape (n_edges,); several edges between two nodes add up.
    position: grid indices of each node, shape (n_nodes, 3); a node with a negative one is never merged.
    """

    def __init__(
        self,
        first: ArrayLike,
        second: ArrayLike,
        n_nodes: int,
        position: ArrayLike,
        *,
        settings: MultigridSettings | None = None,
    ) -> None:
        self.settings = settings or MultigridSettings()
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
        pointers, columns, self._entry_of_first, self._entry_of_second = kernels.adjacency(a, b, n_nodes)
        self._levels = [_Level(pointers, columns, where)]
        self._ready = False
        self._scale = 1.0
        self._inverse: Single | None = None

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Nodes per level, finest first."""
        return tuple(level.n_nodes for level in self._levels)

    @property
    def operator_complexity(self) -> float:
        """Matrix entries of all levels over those of the finest."""
        return sum(level.n_entries for level in self._levels) / self._levels[0].n_entries

    @property
    def memory_bytes(self) -> int:
        """Bytes held by all levels, the maps between them and the dense inverse."""
        maps = self._entry_of_first.nbytes + self._entry_of_second.nbytes
        dense = 0 if self._inverse is None else self._inverse.nbytes
        return maps + dense + sum(level.memory_bytes for level in self._levels)

    def update(self, conductance: ArrayLike, ground: ArrayLike, *, rebuild: bool = False) -> None:
        """Take new numbers; the first call, and each with `rebuild`, also chooses the aggregates by their strengths.

        conductance: shape (n_edges,); ground: shape (n_nodes,); any unit, the same for both; finite, 0 or more.
        """
        finest = self._levels[0]
        g = _checked(conductance, "conductance", self._entry_of_first.size)
        d = _checked(ground, "ground", finest.n_nodes)
        largest = max(g.max(initial=0.0), d.max(initial=0.0))
        # a power of two divides exactly and keeps float32 in range
        self._scale = 2.0 ** np.floor(np.log2(largest)) if largest > 0 else 1.0
        g32 = (g / self._scale).astype(np.float32)
        finest.weights[:] = 0
        kernels.accumulate(g32, self._entry_of_first, finest.weights)
        kernels.accumulate(g32, self._entry_of_second, finest.weights)
        finest.ground[:] = d / self._scale
        kernels.invert_diagonal(finest.pointers, finest.weights, finest.ground, finest.inverse)
        if rebuild or not self._ready:
            self._coarsen()
        else:
            for fine, coarse in zip(self._levels[:-1], self._levels[1:], strict=True):
                _refresh(fine, coarse)
        coarsest = self._levels[-1]
        self._inverse = _dense_inverse(coarsest) if coarsest.n_nodes <= self.settings.dense_limit else None
        self._ready = True

    def apply(self, rhs: ArrayLike) -> Double:
        """One cycle from zero on A x = rhs, shape (n_nodes,); an unknown with an empty row stays 0."""
        assert self._ready, "update() brings the numbers before apply() can use them"
        b = np.asarray(rhs, np.float64)
        size = max(b.max(initial=0.0), -b.min(initial=0.0))
        if not np.isfinite(size):
            raise ValueError("the right-hand side holds a value that is not finite")
        if size == 0:
            return np.zeros_like(b)
        # scaled to 1: amperes of micrometre cells leave float32's range
        np.divide(b, size, out=self._levels[0].b, casting="same_kind")
        self._cycle(0, from_zero=True)
        x: Double = self._levels[0].x * (size / self._scale)
        return x

    def _coarsen(self) -> None:
        """Levels below the finest, until a dense inverse is cheap or nothing merges any more."""
        del self._levels[1:]
        while (fine := self._levels[-1]).n_nodes > self.settings.coarsest_size:
            aggregate, n_coarse = _aggregates(fine, self.settings.strength)
            if n_coarse in (0, fine.n_nodes):
                break
            pattern = kernels.coarse_pattern(fine.pointers, fine.columns, aggregate, n_coarse)
            pointers, columns, fine.entry_map = pattern
            fine.aggregate = aggregate
            position = np.empty((n_coarse, 3), np.int32)
            position[aggregate[aggregate >= 0]] = fine.position[aggregate >= 0] >> 1  # -1 stays -1
            coarse = _Level(pointers, columns, position)
            _refresh(fine, coarse)
            self._levels.append(coarse)

    def _cycle(self, k: int, *, from_zero: bool) -> None:
        """Improve level k's x for its b: sweeps, coarse correction by two cycles below (W), sweeps backward."""
        level = self._levels[k]
        if k == len(self._levels) - 1:
            self._solve_coarsest(level)
            return
        sweeps, coarse = self.settings.sweeps, self._levels[k + 1]
        if from_zero:
            level.sweep_from_zero()
        for _ in range(sweeps - 1 if from_zero else sweeps):
            level.sweep(backward=False)
        level.restrict_residual(coarse.b, swept_from_zero=from_zero and sweeps == 1)
        self._cycle(k + 1, from_zero=True)
        if k + 1 < len(self._levels) - 1 and 2 * coarse.n_entries <= level.n_entries:  # else work grows level by level
            self._cycle(k + 1, from_zero=False)
        kernels.prolong(coarse.x, level.aggregate, self.settings.over_correction, level.x)
        for _ in range(sweeps):
            level.sweep(backward=True)

    def _solve_coarsest(self, level: _Level) -> None:
        """The coarsest level's x: exact by its dense inverse, or symmetric sweeps where that would be too large."""
        if self._inverse is not None:
            np.dot(self._inverse, level.b, out=level.x)
            return
        level.x[:] = 0
        for _ in range(self.settings.coarsest_sweeps):
            level.sweep(backward=False)
            level.sweep(backward=True)


def _checked(values: ArrayLike, name: str, size: int) -> Double:
    """The values as float64, refused unless finite, 0 or more and as many as the network needs."""
    v = np.asarray(values, np.float64)
    if v.shape != (size,):
        raise ValueError(f"{name} has shape {v.shape}; the network needs ({size},)")
    if size and not (v.min() >= 0 and v.max() < np.inf):
        bad = int(np.flatnonzero(~((v >= 0) & (v < np.inf)))[0])
        raise ValueError(f"{name}[{bad}] = {v[bad]}; a resistor network needs finite values of 0 or more")
    return v


def _aggregates(level: _Level, strength: float) -> tuple[Index, int]:
    """Aggregate of each node and their number; without blocks where these fall to pieces or have all become one."""
    network = level.pointers, level.columns, level.weights, level.position
    aggregate, n_coarse = kernels.block_aggregates(*network, strength)
    if not _SHARE[0] * level.n_nodes <= n_coarse <= _SHARE[1] * level.n_nodes:
        aggregate, n_coarse = kernels.free_aggregates(*network)
    return aggregate, n_coarse


def _refresh(fine: _Level, coarse: _Level) -> None:
    """Sum the fine network's numbers into the coarse one."""
    coarse.weights[:] = 0
    kernels.accumulate(fine.weights, fine.entry_map, coarse.weights)
    coarse.ground[:] = 0
    kernels.accumulate(fine.ground, fine.aggregate, coarse.ground)
    kernels.invert_diagonal(coarse.pointers, coarse.weights, coarse.ground, coarse.inverse)


def _dense_inverse(level: _Level) -> Single:
    """Inverse of the level's matrix, shape (n_nodes, n_nodes); an empty row's unknown stays 0.

    A component without ground is singular, its constant being free. Adding c 1 1^T over its nodes makes an ordinary
    mode of that constant and leaves the rest as it is.
    """
    n = level.n_nodes
    couplings = csr_array((level.weights.astype(np.float64), level.columns, level.pointers), shape=(n, n))
    matrix = -couplings.toarray()
    diagonal = level.ground.astype(np.float64) - matrix.sum(axis=1)
    empty = diagonal <= 0
    np.fill_diagonal(matrix, np.where(empty, 1.0, diagonal))
    couplings.eliminate_zeros()
    n_parts, part = connected_components(couplings, directed=False)
    floating = np.bincount(part, weights=level.ground, minlength=n_parts) <= 0
    for p in np.flatnonzero(floating):
        nodes = np.flatnonzero(part == p)
        matrix[np.ix_(nodes, nodes)] += diagonal[nodes].mean() / nodes.size
    inverse = np.linalg.inv(matrix).astype(np.float32)
    inverse[empty] = 0
    return inverse
