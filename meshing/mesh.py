"""One mesh shape for all models: cells, faces, named patches, reactive interfaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """Boundary faces that share a name.

    Attributes
    ----------
    cells
        Cell behind each face, shape (n,).
    area
        Face areas, shape (n,), m2.
    distance
        From the cell's centre to the face, shape (n,), m.
    """

    cells: Ints
    area: Floats
    distance: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Interface:
    """Faces between cells of two phases, with the area of the surface that they stand for.

    A voxel face is a projection of the true surface: with c = abs(n_a), the cosine between the surface normal and
    the face's axis, `area` is the voxel face times c and both distances are half a cell times c. They belong
    together: a flux density on the true surface then drops over the right distance.

    Attributes
    ----------
    phases
        Names of the first and the second phase.
    first, second
        Cells on either side, shape (n,).
    area
        True area, shape (n,), m2.
    first_distance, second_distance
        From cell centre to surface, scaled by c, shape (n,), m.
    cosine
        c, shape (n,), in (0, 1]; the voxel face's own area is area / cosine.
    """

    phases: tuple[str, str]
    first: Ints
    second: Ints
    area: Floats
    first_distance: Floats
    second_distance: Floats
    cosine: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Cells, faces between them, boundary patches and interfaces of a finite-volume mesh.

    Attributes
    ----------
    phases
        Phase names.
    phase
        Index into `phases`, shape (n_cells,), uint8.
    volume
        Cell volumes, shape (n_cells,), m3.
    centre
        Cell centres, shape (n_cells, 3), m.
    owner, neighbour
        Cells on the low and on the high side of each inner face, shape (n_faces,); owner < neighbour.
    area
        Face areas, shape (n_faces,), m2.
    owner_distance, neighbour_distance
        From either cell's centre to the face, shape (n_faces,), m.
    patches
        Boundary faces by name.
    interfaces
        One per pair of phases that touch.
    position
        Integer grid position of each cell, shape (n_cells, 3): where it sits in a structured grid, and which cells
        a multigrid hierarchy may merge.
    grid_shape
        Extent of `position` along each axis.
    level
        Edges of each cell are 2**level places of the grid long, `position` being the lowest, shape (n_cells,); None
        where every cell has one place.
    """

    phases: tuple[str, ...]
    phase: NDArray[np.uint8]
    volume: Floats
    centre: Floats
    owner: Ints
    neighbour: Ints
    area: Floats
    owner_distance: Floats
    neighbour_distance: Floats
    patches: Mapping[str, Patch]
    interfaces: tuple[Interface, ...]
    position: Ints
    grid_shape: tuple[int, int, int]
    level: NDArray[np.uint8] | None = None

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.volume.size

    @property
    def n_faces(self) -> int:
        """Number of inner faces."""
        return self.owner.size

    @property
    def span(self) -> Ints:
        """Places of the grid that each cell reaches over along every axis, shape (n_cells,)."""
        return np.ones(self.n_cells, np.int32) if self.level is None else np.int32(1) << self.level.astype(np.int32)

    def in_phase(self, *names: str) -> NDArray[np.bool_]:
        """Cells of any of the named phases, shape (n_cells,); names the mesh does not know select nothing."""
        wanted = [k for k, name in enumerate(self.phases) if name in names]
        return np.isin(self.phase, wanted)
