"""The finest level where couplings differ: several phases, conductivities per voxel, voxels that are no cubes."""

from __future__ import annotations

import numpy as np

from battsim.solvers.grid import strong_kernels, weighted_kernels
from battsim.solvers.grid.finest import FinestLevel
from battsim.solvers.grid.halo import wrap
from battsim.solvers.grid.layout import layer, set_layer, split_shape
from battsim.solvers.grid.problem import GridProblem, half_resistance
from battsim.solvers.grid.uniform_kernels import Double, Index, Single
from battsim.solvers.hierarchy import Level, MultigridSettings
from battsim.threads import Team

SETTINGS = MultigridSettings(strength=0.25, over_correction=1.5, coarsest_size=300)


class WeightedLevel(FinestLevel):
    """Operator and preconditioner of any grid problem.

    Couplings of the iteration are float32 in units of `unit`, near their largest; residual and dissipation take them
    anew from the voxels, in float64.
    """

    def __init__(self, problem: GridProblem, team: Team) -> None:
        super().__init__(problem, _unit(problem), team)
        self.kernels = weighted_kernels
        self._factor = np.array(problem.face_factor) / self.unit
        self._wraps = np.array(self.periodic)
        self.couplings = self._couplings()
        self.inverse, largest = self.vector(), self.vector()
        self.run(weighted_kernels.invert_sums, self.shape[2], self.couplings, self.inverse, largest)
        self.stored = self.operator = (self.couplings,)
        self._aggregate = np.full(split_shape(self.shape), -1, np.int32)
        network = self._network(largest)
        self.aggregate = self._aggregate if self.periodic_axes else self._aggregate[:1]
        self._build(network, SETTINGS)

    def residual(self, x: Double, r: Single, scale: float) -> None:
        """Write (source - what flows out of each voxel) / scale."""
        wrap(x, self.shape, self.periodic, self.problem.rise)
        out = np.zeros(split_shape(self.shape))
        voxels = self.problem.voxels, self.problem.half_resistance
        self.run(weighted_kernels.outflow, *voxels, self._factor, self._wraps, x, out)
        for end in self.ends:
            there = layer(out, self.shape, end.axis, end.layer)
            there += end.conductance * (layer(x, self.shape, end.axis, end.layer) - end.value)
            set_layer(out, self.shape, end.axis, end.layer, there)
        self.run(weighted_kernels.finish_residual, self.shape[2], out, self.source, scale, r)

    def inner_dissipation(self, x: Double) -> float:
        """Sum of g (difference)^2 over the faces inside the grid."""
        voxels = self.problem.voxels, self.problem.half_resistance
        self.run(weighted_kernels.dissipation, *voxels, self._factor, x, self._planes[0])
        return float(self._planes[0].sum())

    def seam_conductance(self, axis: int) -> Double:
        """Conductance of the faces across a periodic axis, shape of its end."""
        voxels, table = self.problem.voxels, self.problem.half_resistance
        first, last = (half_resistance(np.take(voxels, k, axis), table) for k in (0, -1))
        return np.asarray(self._factor[axis] / (first + last), np.float64)

    def aggregates_at(self, axis: int, index: int) -> Index:
        """Aggregates of one layer across an axis, -1 where a cell has none."""
        return np.asarray(layer(self._aggregate, self.shape, axis, index), np.int32)

    def _couplings(self) -> Single:
        """Couplings of the low faces, shape (3, 2, nx + 2, ny + 2, ceil(nz / 2) + 2)."""
        g = np.zeros((3, *split_shape(self.shape)), np.float32)
        voxels = self.problem.voxels, self.problem.half_resistance
        self.run(weighted_kernels.low_faces, *voxels, self._factor, self._wraps, g)
        for axis in self.periodic_axes:
            set_layer(g[axis], self.shape, axis, self.shape[axis] + 1, self.seam_conductance(axis))
        for end in self.ends:
            set_layer(g[end.axis], self.shape, end.axis, max(end.layer, end.padding), end.conductance)
        return g

    def _network(self, largest: Single) -> Level:
        """Write the aggregates; their network, without a ground."""
        size, nz = (self.shape[0] + 1) // 2, self.shape[2]
        per_plane = np.zeros(size, np.int64)
        grid = nz, SETTINGS.strength, self.couplings, largest, self._aggregate
        self.team.run(strong_kernels.aggregate_cells, size, largest.size, *grid, per_plane)
        before = np.cumsum(per_plane) - per_plane
        self.team.run(strong_kernels.shift, size, largest.size, before, self._aggregate)
        n = int(per_plane.sum())
        pointers, position = np.zeros(n + 1, np.int32), np.empty((n, 3), np.int32)
        rows = nz, self.couplings, self._aggregate, pointers
        nothing = np.empty(0, np.int32), np.empty(0, np.float32)
        self.team.run(strong_kernels.couplings, size, largest.size, *rows, *nothing, position)
        np.cumsum(pointers, out=pointers)
        columns, weights = np.empty(pointers[-1], np.int32), np.empty(pointers[-1], np.float32)
        self.team.run(strong_kernels.couplings, size, largest.size, *rows, columns, weights, position)
        return Level(pointers, columns, position, weights)


def _unit(problem: GridProblem) -> float:
    """A power of two near the largest coupling, which keeps float32 in range and divides exactly."""
    if problem.half_resistance is None:
        least = 0.5 / float(np.max(problem.voxels)) if np.max(problem.voxels) > 0 else np.inf
    else:
        used = np.unique(problem.voxels)
        least = float(problem.half_resistance[used].min())
    return float(2.0 ** np.floor(np.log2(max(problem.face_factor) / least))) if np.isfinite(least) else 1.0
