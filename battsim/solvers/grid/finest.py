"""The finest level of a grid: what its operator and its preconditioner do to colour-split vectors.

Two kinds share everything but their kernels: `UniformLevel`, whose couplings are all 1, and `WeightedLevel`, which
stores them. Vectors of the iteration are float32; the potential, its residual and its dissipation are float64, with
couplings that are exact to float64.

The cycle is symmetric: red before black from zero, coarse correction, black before red. What the padding of a
periodic axis holds is brought up to date between sweeps and not between colours, so that ends may meet in any colour.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.solvers.grid import uniform_kernels as shared
from battsim.solvers.grid.blocks import with_edges
from battsim.solvers.grid.halo import unwrap, wrap
from battsim.solvers.grid.layout import Shape, joined_planes, layer, plain, split_planes, split_shape
from battsim.solvers.grid.problem import GridProblem, half_resistance
from battsim.solvers.grid.uniform_kernels import Double, Index, Single
from battsim.solvers.hierarchy import Hierarchy, Level, MultigridSettings
from battsim.threads import Team

_EMPTY: Double = np.zeros((0, 0, 0, 0))
_COARSE_CYCLES = 2  # a W-cycle


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """Fixed potentials behind one end of an axis.

    axis, layer: the voxels in front of them, layer 1 or n. padding: 0 or n + 1. conductance, value: shape of the end,
    conductance in units of the level and 0 where nothing conducts.
    """

    axis: int
    layer: int
    padding: int
    conductance: Double
    value: Double


@dataclass(frozen=True, slots=True, eq=False)
class _SeamCells:
    """Cells at one periodic end: which of its layer, shape of the end, and aggregate and conductance of each."""

    axis: int
    padding: int
    cells: NDArray[np.bool_]
    aggregate: Index
    conductance: Double


class FinestLevel(ABC):
    """Operator and preconditioner of a grid problem.

    Attributes
    ----------
    problem, shape
        As given, and the shape of its grid.
    unit
        Conductance that counts as 1.
    ends, source
        Fixed potentials and sources in units of the level; sources split by colour, of size 0 where there are none.
    inverse
        Inverse diagonal, 0 in insulating voxels and in those without any coupling.
    kernels
        Module with `sweep_colour`, which takes `inverse` and `stored`, `restrict_red`, which takes `stored`, and
        `curvature` and `advance`, which take `operator`.
    stored
        The couplings, where they are stored.
    operator
        From which arrays A p is computed.
    aggregate
        Of red cells, or of both colours where an axis is periodic; split by colour, -1 where a cell has none.
    hierarchy
        The network of the aggregates and the levels below it.
    """

    kernels: Any
    stored: tuple[Single, ...]
    operator: tuple[Single, ...]
    inverse: Single
    aggregate: Index
    hierarchy: Hierarchy

    def __init__(self, problem: GridProblem, unit: float, team: Team) -> None:
        self.problem, self.unit, self.team = problem, unit, team
        self.shape: Shape = problem.voxels.shape
        self.periodic = tuple(end == "periodic" for end in problem.ends)
        self.periodic_axes = [axis for axis in range(3) if self.periodic[axis]]
        self.ends = _ends(problem, unit)
        self.source = _EMPTY if problem.source is None else self.split(problem.source / unit, np.float64)
        self._planes = np.zeros((2, self.shape[0]))

    @abstractmethod
    def residual(self, x: Double, r: Single, scale: float) -> None:
        """Write (source - what flows out of each voxel) / scale, in units of the level, computed in float64."""

    @abstractmethod
    def inner_dissipation(self, x: Double) -> float:
        """Sum of g (difference)^2 over the faces inside the grid, in units of the level, in float64."""

    @abstractmethod
    def seam_conductance(self, axis: int) -> Double:
        """Conductance of the faces across a periodic axis, shape of its end, in units of the level."""

    @abstractmethod
    def aggregates_at(self, axis: int, index: int) -> Index:
        """Aggregates of one layer across an axis, index 1 ... n, shape of the two other axes.

        Any number where a cell has none.
        """

    def drive(self) -> float:
        """Root of the sum of squares of what fixed potentials, rises and sources drive, in units of the level."""
        squares = float(np.vdot(self.source, self.source)) if self.source.size else 0.0
        squares += sum(float(((end.conductance * end.value) ** 2).sum()) for end in self.ends)
        for axis in self.periodic_axes:
            squares += 2.0 * float(((self.seam_conductance(axis) * self.problem.rise[axis]) ** 2).sum())
        return float(np.sqrt(squares))

    def dissipation(self, x: Double) -> float:
        """Sum of g (difference)^2 over all faces, in units of the level."""
        total = self.inner_dissipation(x)
        for end in self.ends:
            total += float((end.conductance * (layer(x, self.shape, end.axis, end.layer) - end.value) ** 2).sum())
        for axis in self.periodic_axes:
            first, last = layer(x, self.shape, axis, 1), layer(x, self.shape, axis, self.shape[axis])
            jump = first + self.problem.rise[axis] - last
            total += float((self.seam_conductance(axis) * jump**2).sum())
        return total

    def work(self, x: Double) -> float:
        """Sum of source u, in units of the level."""
        return float(np.vdot(self.source, x)) if self.source.size else 0.0

    def energy(self, x: Double, r: Single, scale: float) -> float:
        """J of a potential with the residual r scale, in units of the level.

        With A x = b + source - r, J = sum g (difference)^2 - 2 source.x is the work at the ends less source.x and r.x:
        cheaper than the sum over all faces.
        """
        self.run(shared.dot, x, r, self._planes)
        total = -scale * float(self._planes[0].sum()) - self.work(x)
        for end in self.ends:
            total += float(
                (end.conductance * end.value * (end.value - layer(x, self.shape, end.axis, end.layer))).sum()
            )
        for axis, n in enumerate(self.shape):
            rise = self.problem.rise[axis]
            if rise != 0:
                jump = layer(x, self.shape, axis, 1) + rise - layer(x, self.shape, axis, n)
                total += float((self.seam_conductance(axis) * rise * jump).sum())
        return total

    def flux(self, end: End, x: Double) -> float:
        """What flows into the grid through an end, in units of the level."""
        return float((end.conductance * (end.value - layer(x, self.shape, end.axis, end.layer))).sum())

    def vector(self) -> Single:
        """A float32 vector of zeros."""
        return np.zeros(split_shape(self.shape), np.float32)

    def split(self, values: NDArray[Any], dtype: type) -> NDArray[Any]:
        """Values on the grid, shape (nx, ny, nz), as a colour-split vector."""
        x: NDArray[Any] = np.zeros(split_shape(self.shape), dtype)
        self.team.run(split_planes, self.shape[0], values.size, plain(values), x)
        return x

    def joined(self, x: NDArray[Any]) -> NDArray[Any]:
        """A colour-split vector as values on the grid, shape (nx, ny, nz)."""
        values = np.empty(self.shape, x.dtype)
        self.team.run(joined_planes, self.shape[0], values.size, x, values)
        return values

    def cycle(self, r: Single, z: Single) -> None:
        """Write one cycle's approximate solution of A z = r, from zero."""
        network, nz = self.hierarchy.levels[0], self.shape[2]
        diagonal_and_couplings = self.inverse, *self.stored
        unwrap(z, self.shape, self.periodic)
        self.run(shared.start_from_zero, self.inverse, r, z)
        self.run(self.kernels.sweep_colour, 1, nz, *diagonal_and_couplings, r, z)
        wrap(z, self.shape, self.periodic)
        network.b[:] = 0
        pairs = (self.shape[0] + 1) // 2
        red = nz, *self.stored, z, self.aggregate, network.b
        self.team.run(self.kernels.restrict_red, pairs, self.inverse.size, *red)
        self._restrict_across(z, network)
        self.hierarchy.solve(_COARSE_CYCLES, self.team)
        for c in range(self.aggregate.shape[0]):  # black cells are swept next, and need it at periodic ends only
            factor = self.hierarchy.settings.over_correction
            self.run(shared.prolong_colour, c, factor, network.x, self.aggregate, z)
        wrap(z, self.shape, self.periodic)
        self.run(self.kernels.sweep_colour, 1, nz, *diagonal_and_couplings, r, z)
        self.run(self.kernels.sweep_colour, 0, nz, *diagonal_and_couplings, r, z)

    def curvature(self, p: Single) -> float:
        """p.A p, in units of the level."""
        wrap(p, self.shape, self.periodic)
        self.run(self.kernels.curvature, self.shape[2], *self.operator, p, self._planes[0])
        return float(self._planes[0].sum())

    def advance(self, p: Single, step: float, scale: float, x: Double, r: Single) -> tuple[float, float]:
        """Sum of r^2 and of r after x += step scale p, r -= step A p; the padding of p is up to date."""
        self.run(self.kernels.advance, self.shape[2], *self.operator, p, step, scale, x, r, self._planes)
        return float(self._planes[0].sum()), float(self._planes[1].sum())

    def dot(self, a: Single, b: Single) -> float:
        """a.b in float64."""
        self.run(shared.dot, a, b, self._planes)
        return float(self._planes[0].sum())

    def sums(self, a: Single) -> tuple[float, float]:
        """Sum of a^2 and of a in float64."""
        self.run(shared.dot, a, a, self._planes)
        return float(self._planes[0].sum()), float(self._planes[1].sum())

    def turn(self, z: Single, beta: float, p: Single) -> None:
        """New direction: p = z + beta p."""
        self.run(shared.turn, z, beta, p)

    def _build(self, network: Level, settings: MultigridSettings) -> None:
        """Build the levels below on the network of the aggregates."""
        if self.periodic_axes:
            network = self._with_seams(network)
        for end in self.ends:
            here = end.conductance > 0
            nodes = self.aggregates_at(end.axis, end.layer)[here]
            np.add.at(network.ground, nodes, end.conductance[here].astype(np.float32))
        self._seams = self._black_at_seams()
        self.hierarchy = Hierarchy(network, settings)
        self.hierarchy.build()

    def _with_seams(self, network: Level) -> Level:
        """The network with the couplings across periodic ends."""
        first, second, g = [], [], []
        for axis in self.periodic_axes:
            low, high = (self.aggregates_at(axis, k) for k in (1, self.shape[axis]))
            conductance = self.seam_conductance(axis)
            joined = (conductance > 0) & (low != high)
            first.append(low[joined])
            second.append(high[joined])
            g.append(conductance[joined].astype(np.float32))
        return with_edges(network, np.concatenate(first), np.concatenate(second), np.concatenate(g))

    def _black_at_seams(self) -> list[_SeamCells]:
        """Black cells with a coupling across a periodic end, end by end."""
        found = []
        i, j, k = (np.arange(1, n + 1) for n in self.shape)
        for axis in self.periodic_axes:
            n, conductance = self.shape[axis], self.seam_conductance(axis)
            at = [i[:, None, None], j[:, None], k]
            for here, padding in ((1, 0), (n, n + 1)):
                at[axis] = np.full((1, 1, 1), here)
                black = np.take((at[0] + at[1] + at[2] + 1) & 1, 0, axis) == 1
                cells = black & (conductance > 0)
                found.append(
                    _SeamCells(axis, padding, cells, self.aggregates_at(axis, here)[cells], conductance[cells])
                )
        return found

    def _restrict_across(self, z: Single, network: Level) -> None:
        """Add the residual of black cells at periodic ends: what the padding of z brings in, zero until then."""
        for seam in self._seams:
            values = seam.conductance * layer(z, self.shape, seam.axis, seam.padding)[seam.cells]
            np.add.at(network.b, seam.aggregate, values.astype(np.float32))

    def run(self, kernel: Any, *arguments: Any) -> None:
        """Run a kernel over all planes."""
        self.team.run(kernel, self.shape[0], self.problem.voxels.size, *arguments)


def _ends(problem: GridProblem, unit: float) -> list[End]:
    """All ends with fixed potentials."""
    found = []
    for axis, pair in enumerate(problem.ends):
        if isinstance(pair, str):
            continue
        n = problem.voxels.shape[axis]
        for fixed, at, padding in ((pair[0], 1, 0), (pair[1], n, n + 1)):
            conducting = half_resistance(np.take(problem.voxels, at - 1, axis), problem.half_resistance)
            g = problem.face_factor[axis] / conducting if fixed.conductance is None else fixed.conductance
            g = np.where(np.isfinite(conducting), g, 0.0) / unit
            found.append(End(axis, at, padding, g, np.broadcast_to(np.asarray(fixed.value, float), g.shape)))
    return found
