"""The finest level where all conducting voxels are alike and all faces too: couplings of 1, none stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from battsim.solvers.grid import uniform_kernels as kernels
from battsim.solvers.grid.blocks import aggregate_blocks
from battsim.solvers.grid.finest import FinestLevel
from battsim.solvers.grid.halo import wrap
from battsim.solvers.grid.layout import layer, set_layer
from battsim.solvers.grid.problem import GridProblem, half_resistance
from battsim.solvers.grid.uniform_kernels import Double, Index, Single
from battsim.solvers.hierarchy import MultigridSettings
from battsim.threads import Team

SETTINGS = MultigridSettings(strength=1e-6, over_correction=1.8, coarsest_size=300)
"""All couplings are strong: aggregates are the connected parts of blocks, which are twice too stiff in 3-D.

Where they are exact, at dead ends, an over-correction of 2 would be one step from an indefinite cycle.
"""
_TABLE_SIZE = 256
_LARGEST_END = 2**22  # couplings: up to here a float32 inverse gives the whole diagonal back; the limit is 5.9e6


def uniform_conductance(problem: GridProblem, team: Team) -> float | None:
    """Conductance of a face between two conducting voxels where all such faces are alike; None where they differ."""
    if problem.half_resistance is None or len(set(problem.face_factor)) > 1:
        return None
    planes = np.zeros((problem.voxels.shape[0], _TABLE_SIZE), np.bool_)
    team.run(kernels.used_phases, planes.shape[0], problem.voxels.size, problem.voxels, planes)
    used = planes.any(axis=0)
    values = np.unique(problem.half_resistance[used & np.isfinite(problem.half_resistance)])
    if values.size != 1:
        return None
    unit = problem.face_factor[0] / (2.0 * float(values[0]))
    for pair in problem.ends:
        for fixed in () if isinstance(pair, str) else pair:
            g = np.zeros(1) if fixed.conductance is None else fixed.conductance / unit
            if (g != np.rint(g)).any() or g.max() > _LARGEST_END:
                return None
    return unit


def _conducting(voxels: NDArray[np.uint8], finite: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """1 where a voxel conducts and 0 elsewhere, shape of `voxels`: these themselves where they are just that."""
    binary = finite[1] and not finite[0] and voxels.max() <= 1
    return voxels if binary else finite.astype(np.uint8)[voxels]


class UniformLevel(FinestLevel):
    """Operator and preconditioner of a grid whose conducting voxels and faces are all alike."""

    def __init__(self, problem: GridProblem, unit: float, team: Team) -> None:
        super().__init__(problem, unit, team)
        assert problem.half_resistance is not None
        conducting = _conducting(problem.voxels, np.isfinite(problem.half_resistance))
        self.kernels = kernels
        self.inverse = self._inverse_diagonal(self.split(conducting, np.float32))
        self.stored, self.operator = (), (self.inverse,)
        self._blocks = aggregate_blocks(conducting, team)
        self.aggregate = self._blocks.cells(2 if self.periodic_axes else 1, team)
        self._build(self._blocks.network, SETTINGS)

    def residual(self, x: Double, r: Single, scale: float) -> None:
        """Write (source - what flows out of each voxel) / scale."""
        wrap(x, self.shape, self.periodic, self.problem.rise)
        for axis in self.periodic_axes:  # a rise must not show where an insulating voxel stands
            for padding in (0, self.shape[axis] + 1):
                there = layer(x, self.shape, axis, padding)
                set_layer(x, self.shape, axis, padding, there * self.seam_conductance(axis))
        for end in self.ends:
            set_layer(x, self.shape, end.axis, end.padding, end.conductance * end.value)
        self.run(kernels.residual, self.shape[2], self.inverse, x, self.source, scale, r)

    def inner_dissipation(self, x: Double) -> float:
        """Sum of (difference)^2 over the faces inside the grid."""
        self.run(kernels.dissipation, self.shape[2], self.inverse, x, self._planes[0])
        return float(self._planes[0].sum())

    def seam_conductance(self, axis: int) -> Double:
        """1 where both voxels at a face across a periodic axis conduct, else 0; shape of the end."""
        voxels, table = self.problem.voxels, self.problem.half_resistance
        ends = (half_resistance(np.take(voxels, k, axis), table) for k in (0, -1))
        return np.where(np.isfinite(sum(ends)), 1.0, 0.0)

    def aggregates_at(self, axis: int, index: int) -> Index:
        """Aggregates of one layer across an axis, any number where nothing conducts."""
        return self._blocks.layer(axis, index - 1)

    def _inverse_diagonal(self, conducting: Single) -> Single:
        """Inverse of the number of conducting neighbours, fixed potentials included."""
        wrap(conducting, self.shape, self.periodic)
        diagonal = self.vector()
        self.team.run(kernels.count_neighbours, self.shape[0], diagonal.size, self.shape[2], conducting, diagonal)
        for end in self.ends:
            there = layer(diagonal, self.shape, end.axis, end.layer)
            set_layer(diagonal, self.shape, end.axis, end.layer, there + end.conductance)
        self.team.run(kernels.invert, self.shape[0], diagonal.size, diagonal)
        return diagonal
