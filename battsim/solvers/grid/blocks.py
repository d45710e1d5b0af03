"""The network of a grid's aggregates: connected parts of its 2x2x2 blocks, where all couplings are alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from battsim.solvers import multigrid_kernels
from battsim.solvers.grid import block_kernels as kernels
from battsim.solvers.grid.block_kernels import Byte, Index, Single
from battsim.solvers.grid.layout import Shape, split_shape
from battsim.solvers.hierarchy import Level
from battsim.threads import Team


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """The aggregates of a grid by blocks of 2x2x2 voxels.

    occupancy: which of a block's voxels conduct, bit 4 di + 2 dj + dk, shape of the blocks. first: number of its first
    aggregate. network: of the aggregates, a coupling being its number of faces, without a ground.
    """

    shape: Shape
    occupancy: Byte
    first: Index
    network: Level

    def cells(self, colours: int, team: Team) -> Index:
        """Aggregate of each red cell (colours = 1) or of all (2), split by colour; -1 where nothing conducts."""
        aggregate = np.full((colours, *split_shape(self.shape)[1:]), -1, np.int32)
        blocks = _tables()[1], self.occupancy, self.first
        team.run(kernels.number_cells, self.first.shape[0], 8 * self.first.size, self.shape[2], *blocks, aggregate)
        return aggregate

    def layer(self, axis: int, index: int) -> Index:
        """Aggregates of one layer across an axis, index 0 ... n - 1, shape of the two other axes.

        Any number where nothing conducts.
        """
        at = list(np.ogrid[: self.shape[0], : self.shape[1], : self.shape[2]])
        at[axis] = np.full((1, 1, 1), index)
        block = at[0] >> 1, at[1] >> 1, at[2] >> 1
        corner = 4 * (at[0] & 1) + 2 * (at[1] & 1) + (at[2] & 1)
        part = _tables()[1][self.occupancy[block], corner]
        numbers: Index = np.take(self.first[block] + part, 0, axis).astype(np.int32)
        return numbers


def aggregate_blocks(conducting: Byte, team: Team) -> Blocks:
    """Connected parts of each block of the conducting voxels, 1 or 0, shape (nx, ny, nz)."""
    counts, _, sides, behind, bits = _tables()
    shape: Shape = conducting.shape
    size: Shape = tuple((n + 1) // 2 for n in shape)  # type: ignore[assignment]
    occupancy, first = np.zeros(size, np.uint8), np.empty(size, np.int32)
    per_plane = np.zeros(size[0], np.int64)
    team.run(kernels.occupy, size[0], conducting.size, conducting, counts, occupancy, per_plane)
    before = np.cumsum(per_plane) - per_plane
    team.run(kernels.number_blocks, size[0], occupancy.size, counts, occupancy, before, first)
    n = int(per_plane.sum())
    pointers, tables = np.zeros(n + 1, np.int32), (counts, sides, behind, bits)
    rows = tables, occupancy, first, pointers
    team.run(kernels.couplings, size[0], conducting.size, *rows, np.empty(0, np.int32), np.empty(0, np.float32))
    np.cumsum(pointers, out=pointers)
    columns, weights = np.empty(pointers[-1], np.int32), np.empty(pointers[-1], np.float32)
    team.run(kernels.couplings, size[0], conducting.size, *rows, columns, weights)
    position = np.empty((n, 3), np.int32)
    team.run(kernels.place, size[0], occupancy.size, counts, occupancy, first, position)
    return Blocks(shape, occupancy, first, Level(pointers, columns, position, weights))


def with_edges(network: Level, first: Index, second: Index, conductance: Single) -> Level:
    """The network with more couplings between its nodes, such as those across periodic ends."""
    rows = np.repeat(np.arange(network.n_nodes, dtype=np.int32), np.diff(network.pointers))
    upper = network.columns > rows
    a, b = np.concatenate([rows[upper], first]), np.concatenate([network.columns[upper], second])
    g = np.concatenate([network.weights[upper], conductance])
    pointers, columns, entry_of_a, entry_of_b = multigrid_kernels.adjacency(a, b, network.n_nodes)
    level = Level(pointers, columns, network.position)
    for entries in (entry_of_a, entry_of_b):
        multigrid_kernels.accumulate(g, entries, level.weights)
    return level


@cache
def _tables() -> tuple[Byte, Byte, Byte, Byte, Byte]:
    """What `parts_of_blocks` and `sides_of_blocks` return, computed once."""
    counts, parts = kernels.parts_of_blocks()
    return counts, parts, *kernels.sides_of_blocks(parts)
