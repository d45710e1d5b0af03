"""What the summary of a resolved half cell says of its mesh."""

from __future__ import annotations

import numpy as np

from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.network import ACTIVE, SEPARATOR
from battsim.post.cell import Geometry
from meshing.areas import FLOOR
from meshing.mesh import Mesh


def mesh_geometry(cell: HalfCell, mesh: Mesh) -> Geometry:
    """Sizes of a half cell on a mesh, and warnings about what the mesh could not represent."""
    (electrode,) = cell.electrodes
    active_volume = float(mesh.volume[mesh.in_phase(ACTIVE)].sum())
    connected = float(cell.network.solid_volume[electrode.counts_for_capacity].sum())
    return Geometry(
        kind="resolved",
        cells=mesh.n_cells,
        thickness=float(mesh.volume[~mesh.in_phase(SEPARATOR)].sum()) / cell.network.cross_section,
        active_mass=active_volume * electrode.material.density,
        active_disconnected_fraction=1.0 - connected / active_volume,
        warnings=(*_left_out(cell), *_floored(mesh)),
    )


def _left_out(cell: HalfCell) -> list[str]:
    return [
        f"{part.potential} of {part.cells} {part.phase} cells ({part.volume_share:.2%} of the phase) has no path to "
        "the counter electrode; they were left out"
        for part in cell.network.determined.left_out
    ]


def _floored(mesh: Mesh) -> list[str]:
    floored = sum(int(np.count_nonzero(pair.cosine == FLOOR)) for pair in mesh.interfaces)
    if not floored:
        return []
    faces = sum(pair.cosine.size for pair in mesh.interfaces)
    return [
        f"{floored} of {faces} interface faces ({floored / faces:.2%}) lie almost along the surface that they "
        f"stand for; their area was raised to {FLOOR:g} of the voxel face"
    ]
