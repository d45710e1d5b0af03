"""The levels of an aggregation multigrid below a given network, and its cycle.

A level is a resistor network in compressed rows (multigrid_kernels.py). Its rows are cut into slabs of planes where
the network is that of a grid: couplings reach the next slab at most, so that first all even and then all odd slabs can
be swept side by side. Where the slabs lie depends on the network alone, and so does the result.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from battsim.solvers import multigrid_kernels as kernels
from battsim.solvers.multigrid_kernels import Index, Single
from battsim.threads import Team

_SHARE = 0.04, 0.5  # of aggregates per node that blocks may leave: 1/25 to 1/2; otherwise the level does without them
_SLABS = 8  # an even number, enough for as many threads
_OWN_INVERSE = 500  # nodes up to which BLAS, whose threads wait for each other busily, costs more than it saves
_SMALLEST_SLAB = 5000  # nodes; below, waiting for each other costs more than sweeping side by side saves


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


def _no_weights() -> Single:
    return np.empty(0, np.float32)


@dataclass(slots=True)
class Level:
    """One network and the cycle's vectors on it; `aggregate`, `entry_map` lead to the next level.

    pointers, columns: rows as in multigrid_kernels.py. position: grid indices of each node, shape (n_nodes, 3).
    weights: of the entries; zeros unless given. ground: shape (n_nodes,), zeros until written.
    """

    pointers: Index
    columns: Index
    position: Index
    weights: Single = field(default_factory=_no_weights)
    aggregate: Index = field(default_factory=_nothing)
    entry_map: Index = field(default_factory=_nothing)
    middle: Index = field(init=False)
    slabs: Index = field(init=False)
    ground: Single = field(init=False)
    inverse: Single = field(init=False)
    b: Single = field(init=False)
    x: Single = field(init=False)

    def __post_init__(self) -> None:
        self.middle = kernels.middle_of_rows(self.pointers, self.columns)
        self.slabs = _slabs(self.pointers, self.columns, self.position)
        if self.weights.size != self.columns.size:
            self.weights = np.zeros(self.columns.size, np.float32)
        self.ground, self.inverse, self.b, self.x = (np.zeros(self.n_nodes, np.float32) for _ in range(4))

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return self.pointers.size - 1

    @property
    def n_entries(self) -> int:
        """Matrix entries, the diagonal included."""
        return self.columns.size + self.n_nodes

    @property
    def memory_bytes(self) -> int:
        """Bytes held by all arrays."""
        return sum(getattr(self, name).nbytes for name in self.__slots__)

    def invert_diagonal(self) -> None:
        """Bring the inverse diagonal up to the weights and the ground."""
        kernels.invert_diagonal(self.pointers, self.weights, self.ground, self.inverse)

    def sweep(self, team: Team | None, *, backward: bool) -> None:
        """Gauss-Seidel on A x = b, in place: even slabs before odd ones, and the other way round backward."""
        rows = self.slabs, self.pointers, self.columns, self.weights, self.ground, self.inverse, self.b, self.x
        for parity in (1, 0) if backward else (0, 1):
            _share(team, kernels.sweep, (self.slabs.size - parity) // 2, self.columns.size, parity, *rows, backward)

    def sweep_from_zero(self, team: Team | None) -> None:
        """Forward Gauss-Seidel from x = 0: entries that meet zeros are passed over."""
        self.x[:] = 0
        rows = self.slabs, self.pointers, self.middle, self.columns
        numbers = self.weights, self.inverse, self.b, self.x
        for parity in (0, 1):
            count = (self.slabs.size - parity) // 2
            _share(team, kernels.sweep_from_zero, count, self.columns.size, parity, *rows, *numbers)

    def restrict_residual(self, team: Team | None, coarse_b: Single, *, swept_from_zero: bool) -> None:
        """Write this level's residual summed over aggregates."""
        coarse_b[:] = 0
        count, size = self.slabs.size - 1, self.columns.size
        rows, to = (self.slabs, self.pointers), (self.aggregate, coarse_b)
        if swept_from_zero:
            entries = self.middle, self.columns, self.weights, self.x
            _share(team, kernels.restrict_after_zero, count, size, *rows, *entries, *to)
        else:
            numbers = self.columns, self.weights, self.ground, self.b, self.x
            _share(team, kernels.restrict_residual, count, size, *rows, *numbers, *to)

    def prolong(self, team: Team | None, coarse_x: Single, factor: float) -> None:
        """Add `factor` times the coarse correction."""
        _share(team, kernels.prolong, self.n_nodes, self.n_nodes, coarse_x, self.aggregate, factor, self.x)


class Hierarchy:
    """A network, the levels below it, and the cycle on them; without a team it runs in the calling thread.

    finest: with its weights and ground; call `build` to choose aggregates, and `refresh` when only its numbers change.
    """

    def __init__(self, finest: Level, settings: MultigridSettings) -> None:
        self.settings = settings
        self.levels = [finest]
        self._inverse: Single | None = None

    @property
    def memory_bytes(self) -> int:
        """Bytes held by all levels and the dense inverse."""
        dense = 0 if self._inverse is None else self._inverse.nbytes
        return dense + sum(level.memory_bytes for level in self.levels)

    def build(self) -> None:
        """Levels below the finest, until a dense inverse is cheap or nothing merges any more."""
        del self.levels[1:]
        self.levels[0].invert_diagonal()
        while (fine := self.levels[-1]).n_nodes > self.settings.coarsest_size:
            coarse = _coarsened(fine, self.settings.strength)
            if coarse is None:
                break
            self.levels.append(coarse)
        self._invert_coarsest()

    def refresh(self) -> None:
        """Bring the finest network's numbers down to all levels, aggregates as they are."""
        self.levels[0].invert_diagonal()
        for fine, coarse in zip(self.levels[:-1], self.levels[1:], strict=True):
            _refresh(fine, coarse)
        self._invert_coarsest()

    def solve(self, cycles: int = 1, team: Team | None = None) -> None:
        """Approximate solution for the finest level's b, into its x, from zero."""
        for cycle in range(cycles if len(self.levels) > 1 else 1):
            self._cycle(0, team, from_zero=cycle == 0)

    def _invert_coarsest(self) -> None:
        coarsest = self.levels[-1]
        self._inverse = _dense_inverse(coarsest) if coarsest.n_nodes <= self.settings.dense_limit else None

    def _cycle(self, k: int, team: Team | None, *, from_zero: bool) -> None:
        """Improve level k's x for its b: sweeps, coarse correction by two cycles below (W), sweeps backward."""
        level = self.levels[k]
        if k == len(self.levels) - 1:
            self._solve_coarsest(level)
            return
        sweeps, coarse = self.settings.sweeps, self.levels[k + 1]
        if from_zero:
            level.sweep_from_zero(team)
        for _ in range(sweeps - 1 if from_zero else sweeps):
            level.sweep(team, backward=False)
        level.restrict_residual(team, coarse.b, swept_from_zero=from_zero and sweeps == 1)
        self._cycle(k + 1, team, from_zero=True)
        exact = k + 1 == len(self.levels) - 1
        twice = not exact and 4 * coarse.n_entries <= 3 * level.n_entries  # else work grows too fast, level by level
        if twice:
            self._cycle(k + 1, team, from_zero=False)
        # one cycle alone corrects too far already; too far once more, and two cycles of that are not positive definite
        level.prolong(team, coarse.x, self.settings.over_correction if exact or twice else 1.0)
        for _ in range(sweeps):
            level.sweep(team, backward=True)

    def _solve_coarsest(self, level: Level) -> None:
        """The coarsest level's x: exact by its dense inverse, or symmetric sweeps where that would be too large."""
        if self._inverse is not None:
            kernels.multiply(self._inverse, level.b, level.x)
            return
        level.x[:] = 0
        for _ in range(self.settings.coarsest_sweeps):
            level.sweep(None, backward=False)
            level.sweep(None, backward=True)


def _share(team: Team | None, kernel: kernels.Kernel, count: int, size: int, *arguments: object) -> None:
    """Run a kernel on range(count), which holds `size` elements, with the team or alone."""
    if team is None:
        kernel(0, count, *arguments)
    else:
        team.run(kernel, count, size, *arguments)


def _slabs(pointers: Index, columns: Index, position: Index) -> Index:
    """First row of each slab and the end of the last: an even number of slabs, of pairs of planes, or one for all."""
    n_nodes = pointers.size - 1
    whole = np.array([0, n_nodes], np.int32)
    count = min(_SLABS, n_nodes // _SMALLEST_SLAB) & ~1
    if count < 2:
        return whole
    nowhere = position[:, 0] < 0  # such nodes come last, and belong to the last plane
    plane = np.where(nowhere, position[:, 0].max(), position[:, 0])
    if (nowhere[:-1] > nowhere[1:]).any() or (np.diff(plane) < 0).any():
        return whole
    pairs = (int(plane[-1]) >> 1) + 1
    count = min(count, pairs & ~1)
    if count < 2:
        return whole
    edges = [2 * (pairs * slab // count) for slab in range(count)]
    slabs = np.append(np.searchsorted(plane, edges), n_nodes).astype(np.int32)
    return slabs if kernels.only_adjacent(pointers, columns, slabs) else whole


def _coarsened(fine: Level, strength: float) -> Level | None:
    """The next level, with its numbers; None where nothing merges. Leaves the way to it in `fine`."""
    aggregate, n_coarse = _aggregates(fine, strength)
    if n_coarse in (0, fine.n_nodes):
        return None
    if fine.slabs.size > 2 and not kernels.inside_slabs(aggregate, fine.slabs, n_coarse):
        fine.slabs = fine.slabs[[0, -1]]
    pointers, columns, fine.entry_map = kernels.coarse_pattern(fine.pointers, fine.columns, aggregate, n_coarse)
    fine.aggregate = aggregate
    coarse = Level(pointers, columns, kernels.coarse_position(fine.position, aggregate, n_coarse))
    _refresh(fine, coarse)
    return coarse


def _aggregates(level: Level, strength: float) -> tuple[Index, int]:
    """Aggregate of each node and their number; without blocks where these fall to pieces or have all become one."""
    network = level.pointers, level.columns, level.weights, level.position
    aggregate, n_coarse = kernels.block_aggregates(*network, strength)
    if not _SHARE[0] * level.n_nodes <= n_coarse <= _SHARE[1] * level.n_nodes:
        aggregate, n_coarse = kernels.free_aggregates(*network)
    return aggregate, n_coarse


def _refresh(fine: Level, coarse: Level) -> None:
    """Sum the fine network's numbers into the coarse one."""
    coarse.weights[:] = 0
    kernels.accumulate(fine.weights, fine.entry_map, coarse.weights)
    coarse.ground[:] = 0
    kernels.accumulate(fine.ground, fine.aggregate, coarse.ground)
    coarse.invert_diagonal()


def _dense_inverse(level: Level) -> NDArray[np.float32]:
    """Inverse of the level's matrix, shape (n_nodes, n_nodes); an empty row's unknown stays 0.

    A component without ground is singular, its constant being free. Adding c 1 1^T over its nodes makes an ordinary
    mode of that constant and leaves the rest as it is; taken out of the inverse again, the mode answers to nothing, so
    that round-off in the sum of b cannot feed it.
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
    parts = [np.flatnonzero(part == p) for p in np.flatnonzero(floating)]
    modes = [diagonal[nodes].mean() for nodes in parts]
    for nodes, mode in zip(parts, modes, strict=True):
        matrix[np.ix_(nodes, nodes)] += mode / nodes.size
    if n <= _OWN_INVERSE:
        kernels.invert(matrix)
        inverse = matrix
    else:
        inverse = np.asarray(np.linalg.inv(matrix), np.float64)
    for nodes, mode in zip(parts, modes, strict=True):
        if mode > 0:
            inverse[np.ix_(nodes, nodes)] -= 1.0 / (nodes.size * mode)
    inverse[empty] = 0
    return inverse.astype(np.float32)
