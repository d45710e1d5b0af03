"""The planes of a mesh across its x axis, and which of them each cell lies in.

A merged cell lies in two planes, half of it in each. A plane's volume is that of its voxels: what merged cells hand
over to their neighbours (`meshing.merge`) is part of the neighbours' weight in a mean, and moves no volume between
planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshing.mesh import Mesh

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

SIDE = "y-low"
"""Patch of a mesh of voxels with one face per place across x and z, x first."""


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Planes of a mesh across its x axis.

    Attributes
    ----------
    volume
        Of each plane, shape (n_planes,), m3.
    depth
        Of the middle of each plane, shape (n_planes,), m.
    first, last
        Plane in which each cell begins and ends, shape (n_cells,); of cells that have not merged they are the same.
    """

    volume: Floats
    depth: Floats
    first: Ints
    last: Ints

    @property
    def count(self) -> int:
        """Number of planes."""
        return self.volume.size


def planes_of(mesh: Mesh) -> Planes:
    """The planes of a mesh of voxels, of which some may have merged once, or of a line."""
    first = mesh.position[:, 0].astype(np.intp)
    n = int(mesh.grid_shape[0])
    if mesh.level is None:
        volume, moment = (
            np.bincount(first, weight, n).astype(np.float64)
            for weight in (mesh.volume, mesh.volume * mesh.centre[:, 0])
        )
        return Planes(volume, moment / volume, first, first)
    assert mesh.level.max() <= 1, "a cell lies in one plane or in two"
    side = mesh.patches[SIDE].area.reshape(n, -1).sum(axis=1)
    volume = side * (mesh.volume.sum() / side.sum())
    thickness = volume / mesh.patches["x-high"].area.sum()
    start = mesh.centre[0, 0] - mesh.patches["x-low"].distance[0]
    return Planes(volume, start + np.cumsum(thickness) - 0.5 * thickness, first, first + (mesh.span - 1))
