"""What the summary of a resolved cell says of its mesh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from battsim.models.cell.equations import Cell
from battsim.models.cell.network import Electrode
from battsim.models.resolved.full_cell import FullCell
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.network import ACTIVE, SEPARATOR, phase_prefix
from battsim.post.summary import Geometry
from meshing.areas import FLOOR
from meshing.mesh import Mesh

MUCH_DISCONNECTED = 0.1
"""Share of an electrode's active material that takes no part, above which a warning says so."""


def mesh_geometry(cell: HalfCell | FullCell, mesh: Mesh) -> Geometry:
    """Sizes of a cell on a mesh, and warnings about what the mesh could not represent."""
    network = cell.network
    active = [float(mesh.volume[mesh.in_phase(phase_prefix(network, each) + ACTIVE)].sum()) for each in cell.electrodes]
    connected = [connected_volume(cell, each) for each in cell.electrodes]
    shares = [1.0 - part / whole for part, whole in zip(connected, active, strict=True)]
    return Geometry(
        kind="resolved",
        cells=mesh.n_cells,
        thickness=float(mesh.volume[~mesh.in_phase(SEPARATOR)].sum()) / network.cross_section,
        active_mass=sum(V * each.material.density for V, each in zip(active, cell.electrodes, strict=True)),
        active_disconnected_fraction=1.0 - sum(connected) / sum(active),
        warnings=(*_disconnected(cell, shares), *_left_out(cell), *_floored(mesh)),
    )


def connected_volume(cell: Cell, electrode: Electrode) -> float:
    """Volume of an electrode's active material that counts for its capacity, m3."""
    return float(cell.network.solid_volume[electrode.solid][electrode.counts_for_capacity].sum())


def _disconnected(cell: HalfCell | FullCell, shares: Sequence[float]) -> Iterator[str]:
    """Electrodes so much of whose active material takes no part that the result is that of the rest."""
    for each, share in zip(cell.electrodes, shares, strict=True):
        if share > MUCH_DISCONNECTED:
            phase = phase_prefix(cell.network, each) + ACTIVE
            yield (
                f"{share:.0%} of the phase {phase} has no path for electrons to the collector, or touches no connected "
                "electrolyte, and takes no part: the C-rate, capacity and voltage are those of the rest. An image so "
                "narrow, or so sparse, cuts through what hangs together in the electrode; a wider one tells"
            )


def _left_out(cell: HalfCell | FullCell) -> list[str]:
    ground = "counter electrode" if len(cell.electrodes) == 1 else "grounded collector"
    return [
        f"{part.potential} of {part.cells} {part.phase} cells ({part.volume_share:.2%} of the phase) has no path to "
        f"the {ground}; they were left out"
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
