"""From a voxel mesh to the lists of a half cell: its unknowns, faces and electrodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.errors import ImpossibleError
from battsim.fvm.blocks import Network
from battsim.fvm.operators import graph_components, mesh_conductance
from battsim.fvm.slabs import face_slabs, slab_edges, sorted_by_plane
from battsim.models.cell.network import CellNetwork, Electrode, Faces, ReactiveFaces, metal_faces, no_electrode
from battsim.models.resolved.parameters import HalfCellParameters
from battsim.models.resolved.potentials import Conductors, Determined, determined_potentials
from meshing.mesh import Floats, Interface, Ints, Mesh

ACTIVE, BINDER, PORE, SEPARATOR = "active", "binder", "pore", "separator"
COUNTER_PATCH, COLLECTOR_PATCH = "x-low", "x-high"


@dataclass(frozen=True, slots=True, eq=False)
class HalfCellNetwork(CellNetwork):
    """A half cell's network, and which potentials of the mesh it holds.

    Attributes
    ----------
    determined
        Cells whose potentials a path ties to the counter electrode, and what was left out.
    """

    determined: Determined


def half_cell_network(mesh: Mesh, parameters: HalfCellParameters) -> HalfCellNetwork:
    """Unknowns, faces and electrodes of a half cell on a mesh whose x axis runs from counter electrode to collector.

    Raises
    ------
    ImpossibleError
        Where no current can flow from the collector to the counter electrode.
    """
    permeable = (PORE, SEPARATOR) + ((BINDER,) if parameters.binder.transport == "nanoporous" else ())
    ionic = mesh.in_phase(*permeable)
    inert = (BINDER,) if parameters.binder.active_coverage == 0.0 else ()
    reactive = tuple(
        pair
        for pair in mesh.interfaces
        if pair.phases[0] == ACTIVE and pair.phases[1] in permeable and pair.phases[1] not in inert
    )
    conductors = Conductors(mesh.in_phase(ACTIVE, BINDER), ionic, reactive)
    determined = determined_potentials(mesh, conductors, COUNTER_PATCH, COLLECTOR_PATCH)
    solid = determined.electronic & mesh.in_phase(ACTIVE)
    if not solid.any():
        raise ImpossibleError("no active material is connected to the electrolyte; check [image] labels")
    to_solid, to_ionic, to_electronic = (_local(cells) for cells in (solid, determined.ionic, determined.electronic))
    b, porosity, sigma = _cell_properties(mesh, parameters)
    ones = np.ones(mesh.n_cells)
    faces_at_active = _reactive_faces(mesh, reactive, parameters, b, to_solid, to_ionic, to_electronic)
    counter = mesh.patches[COUNTER_PATCH]
    wet = determined.ionic[counter.cells]
    collector = mesh.patches[COLLECTOR_PATCH]
    touching = determined.electronic[collector.cells]
    at_collector = collector.cells[touching]
    solid_faces = _faces(mesh, to_solid, ones, 0.0)
    electrode = Electrode(
        name="working",
        material=parameters.active,
        sign=1.0,
        solid=slice(0, int(np.count_nonzero(solid))),
        electronic=slice(0, int(np.count_nonzero(determined.electronic))),
        solid_faces=slice(0, solid_faces.owner.size),
        reactive=slice(0, faces_at_active.area.size),
        counts_for_capacity=_counts_for_capacity(mesh, reactive, determined)[solid],
    )
    return HalfCellNetwork(
        electrodes=(electrode,),
        solid_cells=np.flatnonzero(solid).astype(np.int32),
        electrolyte_cells=np.flatnonzero(determined.ionic).astype(np.int32),
        electronic_cells=np.flatnonzero(determined.electronic).astype(np.int32),
        solid_volume=mesh.volume[solid],
        electrolyte_volume=(mesh.volume * porosity)[determined.ionic],
        solid_faces=solid_faces,
        ionic_faces=_faces(mesh, to_ionic, b, 0.0),
        electronic_faces=_faces(mesh, to_electronic, sigma, parameters.binder.contact_resistance),
        reactive=faces_at_active,
        counter=metal_faces(
            to_ionic[counter.cells[wet]], counter.area[wet], counter.distance[wet], b[counter.cells[wet]]
        ),
        ground=no_electrode(),
        collector=(
            to_electronic[at_collector],
            collector.area[touching] * sigma[at_collector] / collector.distance[touching],
        ),
        cross_section=float(collector.area.sum()),
        determined=determined,
    )


def _local(cells: NDArray[np.bool_]) -> Ints:
    """Index of each mesh cell among the chosen ones, -1 elsewhere."""
    index = np.full(cells.size, -1, dtype=np.int32)
    index[cells] = np.arange(np.count_nonzero(cells), dtype=np.int32)
    return index


def _cell_properties(mesh: Mesh, parameters: HalfCellParameters) -> tuple[Floats, Floats, Floats]:
    """Transport factor b, porosity and electronic conductivity per mesh cell."""
    binder, separator = parameters.binder, parameters.separator
    ionic = {
        PORE: (1.0, 1.0),
        BINDER: (binder.ionic.b, binder.ionic.porosity),
        SEPARATOR: (separator.b, separator.porosity),
    }
    electronic = {ACTIVE: parameters.active.conductivity, BINDER: binder.conductivity}
    b, porosity = (np.array([ionic.get(name, (1.0, 1.0))[k] for name in mesh.phases]) for k in range(2))
    sigma = np.array([electronic.get(name, 1.0) for name in mesh.phases])
    return b[mesh.phase], porosity[mesh.phase], sigma[mesh.phase]


def _faces(mesh: Mesh, local: Ints, conductivity: Floats, contact_resistance: float) -> Faces:
    """Faces between two unknowns; a contact resistance (ohm m2) lies where the phase changes."""
    owner, neighbour = local[mesh.owner], local[mesh.neighbour]
    inner = np.flatnonzero((owner >= 0) & (neighbour >= 0))
    order, lower = sorted_by_plane(mesh.position[mesh.owner[inner], 0], mesh.position[mesh.neighbour[inner], 0])
    inner = inner[order]
    conductance = mesh_conductance(mesh, inner, conductivity)
    if contact_resistance > 0.0:
        low, high = mesh.owner[inner], mesh.neighbour[inner]
        contact = np.where(mesh.phase[low] != mesh.phase[high], contact_resistance, 0.0)
        conductance = 1.0 / (1.0 / conductance + contact / mesh.area[inner])
    slabs = face_slabs(lower, slab_edges(mesh.grid_shape[0]))
    return Faces(owner[inner], neighbour[inner], conductance, slabs)


def _reactive_faces(
    mesh: Mesh,
    reactive: tuple[Interface, ...],
    parameters: HalfCellParameters,
    b: Floats,
    to_solid: Ints,
    to_ionic: Ints,
    to_electronic: Ints,
) -> ReactiveFaces:
    share = {BINDER: parameters.binder.active_coverage}
    parts, planes = [], []
    for pair in reactive:
        coverage = share.get(pair.phases[1], 1.0)
        live = (to_solid[pair.first] >= 0) & (to_ionic[pair.second] >= 0)
        first, second = pair.first[live], pair.second[live]
        planes.append((mesh.position[first, 0], mesh.position[second, 0]))
        parts.append(
            (
                to_solid[first],
                to_electronic[first],
                to_ionic[second],
                coverage * pair.area[live],
                pair.first_distance[live],
                pair.second_distance[live],
                pair.first_distance[live] / parameters.active.conductivity,
                b[second],
            )
        )
    order, lower = sorted_by_plane(*(np.concatenate(sides) for sides in zip(*planes, strict=True)))
    slabs = face_slabs(lower, slab_edges(mesh.grid_shape[0]))
    solid, electronic, ionic, area, solid_distance, ionic_distance, resistance, factor = (
        np.concatenate(columns)[order] for columns in zip(*parts, strict=True)
    )
    return ReactiveFaces(solid, electronic, ionic, area, solid_distance, ionic_distance, resistance, factor, slabs)


def _counts_for_capacity(mesh: Mesh, reactive: tuple[Interface, ...], determined: Determined) -> NDArray[np.bool_]:
    """Active cells whose electrons reach the collector, in a cluster that touches electrolyte joined to the counter."""
    active = mesh.in_phase(ACTIVE)
    inner = active[mesh.owner] & active[mesh.neighbour]
    cluster = graph_components(mesh.owner[inner], mesh.neighbour[inner], mesh.n_cells)
    wetted = np.zeros(cluster.max() + 1, dtype=bool)
    for pair in reactive:
        wetted[cluster[pair.first[determined.at_counter[pair.second]]]] = True
    counts: NDArray[np.bool_] = active & wetted[cluster] & determined.at_collector
    return counts


def networks_of(mesh: Mesh, network: CellNetwork) -> tuple[Network, Network, Network]:
    """Edges and node positions of the three diagonal blocks, edges in the order of `CellJacobian.conductance`."""
    solid, ionic, electronic = network.solid_faces, network.ionic_faces, network.electronic_faces
    shift, n_potentials = network.electronic_cells.size, network.electronic_cells.size + network.electrolyte_cells.size
    position = [mesh.position[cells] for cells in (network.electronic_cells, network.electrolyte_cells)]
    nowhere = np.full((1, 3), -1, dtype=np.int32)
    cc = network.collector[0]
    first = [electronic.owner, ionic.owner + shift, network.reactive.electronic, cc]
    second = [
        electronic.neighbour,
        ionic.neighbour + shift,
        network.reactive.ionic + shift,
        np.full_like(cc, n_potentials),
    ]
    return (
        Network(solid.owner, solid.neighbour, mesh.position[network.solid_cells]),
        Network(ionic.owner, ionic.neighbour, position[1]),
        Network(np.concatenate(first), np.concatenate(second), np.concatenate([*position, nowhere])),
    )
