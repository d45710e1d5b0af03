"""The half cell as lists: unknowns on cells, conductances on faces, areas and distances on reactive faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.errors import ImpossibleError
from battsim.fvm.operators import graph_components, mesh_conductance
from battsim.fvm.slabs import face_slabs, slab_edges, sorted_by_plane
from battsim.models.resolved.parameters import HalfCellParameters
from battsim.models.resolved.potentials import Conductors, Determined, determined_potentials
from meshing.mesh import Floats, Interface, Ints, Mesh

ACTIVE, BINDER, PORE, SEPARATOR = "active", "binder", "pore", "separator"
COUNTER_PATCH, COLLECTOR_PATCH = "x-low", "x-high"


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Inner faces between two unknowns of one field, with a conductance; owner and neighbour are local indices.

    `slabs` cuts the list for threads (fvm/slabs.py).
    """

    owner: Ints
    neighbour: Ints
    conductance: Floats
    slabs: Ints


@dataclass(frozen=True, slots=True, eq=False)
class ReactiveFaces:
    """Faces where lithium leaves or enters the active material.

    Attributes
    ----------
    solid, electronic, ionic
        Local indices of x, phi_s (active side) and c_e, phi_e (electrolyte side), shape (n,).
    area
        True area that reacts, shape (n,), m2.
    solid_distance, ionic_distance
        Cell centre to surface, shape (n,), m.
    b
        Transport factor of the electrolyte side, shape (n,).
    slabs
        Cuts of the list for threads (fvm/slabs.py).
    """

    solid: Ints
    electronic: Ints
    ionic: Ints
    area: Floats
    solid_distance: Floats
    ionic_distance: Floats
    b: Floats
    slabs: Ints

    def at(self, part: slice) -> ReactiveFaces:
        """Some of the faces, without slabs."""
        return ReactiveFaces(
            self.solid[part],
            self.electronic[part],
            self.ionic[part],
            self.area[part],
            self.solid_distance[part],
            self.ionic_distance[part],
            self.b[part],
            slabs=np.empty(0, np.int32),
        )


@dataclass(frozen=True, slots=True, eq=False)
class HalfCellNetwork:
    """Everything about geometry that the equations need.

    Attributes
    ----------
    solid_cells, electrolyte_cells, electronic_cells
        Mesh cells of the unknowns x, c_e (and phi_e), phi_s.
    solid_volume, electrolyte_volume
        Volume of active material, and of electrolyte (porosity included), per unknown, m3.
    solid_faces, ionic_faces, electronic_faces
        Geometric conductance A / d (m), b A / d (m), and sigma A / d (S).
    reactive
        Active material against pore, binder and separator.
    counter
        Electrolyte cells at the counter electrode: local index, area (m2), distance (m), b.
    collector
        Solid cells at the current collector: local index and conductance (S).
    cross_section
        Area of the cell in the plane of the electrode, m2.
    counts_for_capacity
        Active cells connected to the collector and wetted, shape (n_solid,), bool.
    """

    solid_cells: Ints
    electrolyte_cells: Ints
    electronic_cells: Ints
    solid_volume: Floats
    electrolyte_volume: Floats
    solid_faces: Faces
    ionic_faces: Faces
    electronic_faces: Faces
    reactive: ReactiveFaces
    counter: ReactiveFaces
    collector: tuple[Ints, Floats]
    cross_section: float
    counts_for_capacity: NDArray[np.bool_]
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
    return HalfCellNetwork(
        solid_cells=np.flatnonzero(solid).astype(np.int32),
        electrolyte_cells=np.flatnonzero(determined.ionic).astype(np.int32),
        electronic_cells=np.flatnonzero(determined.electronic).astype(np.int32),
        solid_volume=mesh.volume[solid],
        electrolyte_volume=(mesh.volume * porosity)[determined.ionic],
        solid_faces=_faces(mesh, to_solid, ones, 0.0),
        ionic_faces=_faces(mesh, to_ionic, b, 0.0),
        electronic_faces=_faces(mesh, to_electronic, sigma, parameters.binder.contact_resistance),
        reactive=faces_at_active,
        counter=_counter_faces(
            to_ionic[counter.cells[wet]], counter.area[wet], counter.distance[wet], b[counter.cells[wet]]
        ),
        collector=(
            to_electronic[at_collector],
            collector.area[touching] * sigma[at_collector] / collector.distance[touching],
        ),
        cross_section=float(collector.area.sum()),
        counts_for_capacity=_counts_for_capacity(mesh, reactive, determined)[solid],
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
                b[second],
            )
        )
    order, lower = sorted_by_plane(*(np.concatenate(sides) for sides in zip(*planes, strict=True)))
    slabs = face_slabs(lower, slab_edges(mesh.grid_shape[0]))
    solid, electronic, ionic, area, solid_distance, ionic_distance, factor = (
        np.concatenate(columns)[order] for columns in zip(*parts, strict=True)
    )
    return ReactiveFaces(solid, electronic, ionic, area, solid_distance, ionic_distance, factor, slabs)


def _counter_faces(ionic: Ints, area: Floats, distance: Floats, b: Floats) -> ReactiveFaces:
    """The counter electrode as reactive faces whose solid side is lithium metal: no stoichiometry, no resistance."""
    none = np.full_like(ionic, -1)
    slabs = np.array([0, ionic.size], np.int32)
    return ReactiveFaces(none, none, ionic, area, np.zeros_like(area), distance, b, slabs)


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
