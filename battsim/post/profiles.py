"""Profiles through the thickness of a cell: mean, spread and extremes of each field in every plane of its mesh.

The same numbers for voxels and for the homogenised model, so that both can be laid over each other. A merged cell
counts in both of its planes with half of its volume: inventories are the sums over planes of mean times weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.models.cell.equations import Cell, Evaluation
from battsim.models.cell.state import absolute_phi_s
from battsim.post.heat import IN_PLANES, HeatPlanes, heat_sources
from battsim.post.planes import Planes, planes_of
from meshing.mesh import Mesh

Floats = NDArray[np.float64]
FIELDS = ("c_e_mol_m3", "phi_e_V", "phi_s_V", "x")
STATISTICS = ("mean", "std", "min", "max")
PROFILE_COLUMNS = (
    "time_s",
    "depth_m",
    *(f"{field}_{statistic}" for field in FIELDS for statistic in STATISTICS),
    "x_surface_mean",
    "reaction_A_m3",
    *(f"heat_{name}_W_m3" for name in IN_PLANES),
    "heat_W_m3",
)
"""`depth_m` counts from the far side of the separator (half cell) or the negative collector (full cell);
`reaction_A_m3` is the current per volume of the plane that leaves the active material in it, `heat_W_m3` the heat per
volume of the plane and the sum of the columns before it; that of a counter electrode's reaction is in no plane."""


@dataclass(frozen=True, slots=True, eq=False)
class _Members:
    """The unknowns of a field by plane: their order, the first of each plane that has any, these planes, weights.

    An unknown in two planes is there twice, with half its weight.
    """

    order: NDArray[np.intp]
    start: NDArray[np.intp]
    planes: NDArray[np.intp]
    weight: Floats
    total: Floats

    def statistics(self, values: Floats, n_planes: int) -> Floats:
        """Mean, standard deviation, minimum and maximum of each plane, shape (4, n_planes); NaN where it has none."""
        out = np.full((4, n_planes), np.nan)
        if not self.planes.size:
            return out
        v = values[self.order]
        mean = np.add.reduceat(self.weight * v, self.start) / self.total
        centred = v - np.repeat(mean, np.diff(np.append(self.start, v.size)))
        variance = np.add.reduceat(self.weight * centred**2, self.start) / self.total
        low, high = np.minimum.reduceat(v, self.start), np.maximum.reduceat(v, self.start)
        out[:, self.planes] = mean, np.sqrt(variance), low, high
        return out


class Profiles:
    """Makes rows of profiles from states of a cell.

    Parameters
    ----------
    cell, mesh
        The model, and the mesh that its network's cells belong to; planes lie across its x axis.
    connected
        Electrolyte that counts in c_e and phi_e, shape (n_electrolyte,): that which reaches the counter electrode, as
        pores that do not are no part of what a homogenised model describes. None: all.
    """

    def __init__(self, cell: Cell, mesh: Mesh, connected: NDArray[np.bool_] | None = None) -> None:
        self._cell = cell
        planes, network = planes_of(mesh), cell.network
        self._n, self._depth, self._volume = planes.count, planes.depth, planes.volume
        electrolyte = _members(planes, network.electrolyte_cells, network.electrolyte_volume, connected)
        electronic = _members(planes, network.electronic_cells, mesh.volume[network.electronic_cells])
        solid = _members(planes, network.solid_cells, network.solid_volume)
        self._members = dict(zip(FIELDS, (electrolyte, electrolyte, electronic, solid), strict=True))
        # cells at a surface have not merged
        self._plane_of_face = planes.first[network.solid_cells][network.reactive.solid]
        self._face_area = np.bincount(self._plane_of_face, network.reactive.area, self._n)
        self._heat = HeatPlanes(cell, mesh)

    def rows(self, time: float, u: Floats, reference: float, evaluation: Evaluation) -> Iterator[dict[str, float]]:
        """One row of PROFILE_COLUMNS per plane, in the order of depth; NaN where a plane has nothing of the kind."""
        layout, area = self._cell.layout, self._cell.network.reactive.area
        values = u[layout.c_e], u[layout.phi_e], absolute_phi_s(layout, u, reference), u[layout.x]
        table = [self._members[field].statistics(value, self._n) for field, value in zip(FIELDS, values, strict=True)]
        of_faces = evaluation.reaction.x_surface, evaluation.reaction.j
        surface, current = (np.bincount(self._plane_of_face, area * value, self._n) for value in of_faces)
        of_planes = self._heat.of(heat_sources(self._cell, u, evaluation))
        heat = np.array([of_planes[name] for name in IN_PLANES]) / self._volume
        with np.errstate(invalid="ignore"):  # no face: 0 / 0
            columns = np.vstack([*table, surface / self._face_area, current / self._volume, heat, heat.sum(axis=0)])
        for depth, row in zip(self._depth, columns.T, strict=True):
            yield dict(zip(PROFILE_COLUMNS, (time, float(depth), *map(float, row)), strict=True))


def _members(
    planes: Planes, cells: NDArray[np.int32], weight: Floats, counted: NDArray[np.bool_] | None = None
) -> _Members:
    first, last = planes.first[cells], planes.last[cells]
    once = np.arange(cells.size) if counted is None else np.flatnonzero(counted)
    wide = first != last
    twice = once[wide[once]]
    plane = np.concatenate([first[once], last[twice]])
    unknown = np.concatenate([once, twice])
    order = np.argsort(plane, kind="stable")
    present, start = np.unique(plane[order], return_index=True)
    unknown = unknown[order]
    weight = np.where(wide, 0.5 * weight, weight)[unknown]
    total = np.add.reduceat(weight, start) if present.size else np.empty(0)
    return _Members(unknown, start, present, weight, total)
