"""From a voxel mesh to the lists of a cell: its unknowns, faces and electrodes.

A half cell is one electrode opposite lithium metal, a full cell two opposite each other. The equations see no
difference but at the low end: lithium metal there, or the grounded collector of a negative electrode.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from battsim.errors import ImpossibleError
from battsim.fvm.blocks import Network
from battsim.fvm.operators import graph_components, mesh_conductance
from battsim.fvm.slabs import in_slabs
from battsim.models.cell.network import CellNetwork, Electrode, Faces, ReactiveFaces, metal_faces, no_electrode
from battsim.models.resolved.parameters import FullCellParameters, HalfCellParameters, IonicPhase, Solids
from battsim.models.resolved.potentials import Conductors, Determined, Ends, determined_potentials
from meshing.mesh import Floats, Interface, Ints, Mesh, Patch
from meshing.stack import NEGATIVE, POSITIVE

Bools = NDArray[np.bool_]
ACTIVE, BINDER, PORE, SEPARATOR = "active", "binder", "pore", "separator"
COUNTER_PATCH, COLLECTOR_PATCH = "x-low", "x-high"


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedNetwork(CellNetwork):
    """A resolved cell's network, and which potentials of the mesh it holds.

    Attributes
    ----------
    determined
        Cells whose potentials a path ties to the ground, and what was left out.
    """

    determined: Determined


@dataclass(frozen=True, slots=True)
class _Part:
    """An electrode on the mesh: its name and sign in the network, what it is made of, and where its phases begin."""

    name: str
    sign: float
    solids: Solids
    prefix: str = ""

    @property
    def active(self) -> str:
        return self.prefix + ACTIVE

    @property
    def binder(self) -> str:
        return self.prefix + BINDER

    @property
    def permeable(self) -> tuple[str, ...]:
        """Its phases that ions cross."""
        nanoporous = self.solids.binder.transport == "nanoporous"
        return (self.prefix + PORE, self.binder) if nanoporous else (self.prefix + PORE,)

    def reactive(self, mesh: Mesh) -> list[Interface]:
        """Where its active material reacts."""
        partners = {*self.permeable, SEPARATOR}
        if self.solids.binder.active_coverage == 0.0:
            partners.discard(self.binder)
        return [pair for pair in mesh.interfaces if pair.phases[0] == self.active and pair.phases[1] in partners]


@dataclass(frozen=True, slots=True, eq=False)
class _Local:
    """Index of each mesh cell among the unknowns x, c_e and phi_s, -1 where it has none."""

    solid: Ints
    ionic: Ints
    electronic: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Properties:
    """Per mesh cell: transport factor, porosity, conductivity (S/m), contact resistance (ohm m2), electrode number."""

    b: Floats
    porosity: Floats
    sigma: Floats
    contact: Floats
    electrode: NDArray[np.int8]


def phase_prefix(network: CellNetwork, electrode: Electrode) -> str:
    """What the names of an electrode's phases begin with on its mesh: in a full cell, its own name."""
    return "" if len(network.electrodes) == 1 else f"{electrode.name} "


def half_cell_network(mesh: Mesh, parameters: HalfCellParameters) -> ResolvedNetwork:
    """Unknowns, faces and electrodes of a half cell on a mesh whose x axis runs from counter electrode to collector.

    Raises
    ------
    ImpossibleError
        Where no current can flow from the collector to the counter electrode.
    """
    return _network(mesh, (_Part("working", 1.0, parameters.solids),), parameters.separator)


def full_cell_network(mesh: Mesh, parameters: FullCellParameters) -> ResolvedNetwork:
    """Unknowns, faces and electrodes of a full cell on a mesh of `meshing.stack`.

    Raises
    ------
    ImpossibleError
        Where no current can flow from one collector to the other.
    """
    parts = (
        _Part(NEGATIVE, -1.0, parameters.negative, f"{NEGATIVE} "),
        _Part(POSITIVE, 1.0, parameters.positive, f"{POSITIVE} "),
    )
    return _network(mesh, parts, parameters.separator)


def _network(mesh: Mesh, parts: tuple[_Part, ...], separator: IonicPhase) -> ResolvedNetwork:
    determined = _determined(mesh, parts)
    solid = determined.electronic & mesh.in_phase(*(part.active for part in parts))
    for part in parts:
        if not (solid & mesh.in_phase(part.active)).any():
            raise ImpossibleError(f"no {part.active} material is connected to the electrolyte; check [image] labels")
    local = _Local(*(_local(cells) for cells in (solid, determined.ionic, determined.electronic)))
    at = _cell_properties(mesh, parts, separator)
    lists = (
        _faces(mesh, local.solid, np.ones(mesh.n_cells)),
        _faces(mesh, local.ionic, at.b),
        _faces(mesh, local.electronic, at.sigma, at.contact),
    )
    reactive = _reactive_faces(mesh, parts, local, at.b)
    counts = _counts_for_capacity(mesh, parts, determined)[solid]
    low, high = mesh.patches[COUNTER_PATCH], mesh.patches[COLLECTOR_PATCH]
    return ResolvedNetwork(
        electrodes=_electrodes(parts, at.electrode, (solid, determined.electronic), (lists[0], reactive), counts),
        solid_cells=np.flatnonzero(solid).astype(np.int32),
        electrolyte_cells=np.flatnonzero(determined.ionic).astype(np.int32),
        electronic_cells=np.flatnonzero(determined.electronic).astype(np.int32),
        solid_volume=mesh.volume[solid],
        electrolyte_volume=(mesh.volume * at.porosity)[determined.ionic],
        solid_faces=lists[0],
        ionic_faces=lists[1],
        electronic_faces=lists[2],
        reactive=reactive,
        counter=_metal(low, local.ionic, at.b, present=len(parts) == 1),
        ground=no_electrode() if len(parts) == 1 else _collector(low, local.electronic, at.sigma),
        collector=_collector(high, local.electronic, at.sigma),
        cross_section=float(high.area.sum()),
        determined=determined,
    )


def _determined(mesh: Mesh, parts: tuple[_Part, ...]) -> Determined:
    """Which potentials the ground reaches."""
    electronic = mesh.in_phase(*(name for part in parts for name in (part.active, part.binder)))
    ionic = mesh.in_phase(SEPARATOR, *(name for part in parts for name in part.permeable))
    conductors = Conductors(electronic, ionic, tuple(pair for part in parts for pair in part.reactive(mesh)))
    low, high = mesh.patches[COUNTER_PATCH].cells, mesh.patches[COLLECTOR_PATCH].cells
    terminal = high[electronic[high]]
    if len(parts) == 1:
        metal = low[ionic[low]]
        return determined_potentials(mesh, conductors, Ends(terminal, metal, "phi_e", metal))
    between = np.flatnonzero(mesh.in_phase(SEPARATOR)).astype(np.int32)
    return determined_potentials(mesh, conductors, Ends(terminal, low[electronic[low]], "phi_s", between))


def _local(cells: Bools) -> Ints:
    """Index of each mesh cell among the chosen ones, -1 elsewhere."""
    index = np.full(cells.size, -1, dtype=np.int32)
    index[cells] = np.arange(np.count_nonzero(cells), dtype=np.int32)
    return index


def _cell_properties(mesh: Mesh, parts: tuple[_Part, ...], separator: IonicPhase) -> _Properties:
    """What the cells of each phase have."""
    ionic = {SEPARATOR: (separator.b, separator.porosity)}
    sigma: dict[str, float] = {}
    contact: dict[str, float] = {}
    number: dict[str, int] = {}
    for k, part in enumerate(parts):
        active, binder = part.solids.active, part.solids.binder
        ionic[part.binder] = (binder.ionic.b, binder.ionic.porosity)
        sigma |= {part.active: active.conductivity, part.binder: binder.conductivity}
        contact |= dict.fromkeys((part.active, part.binder), binder.contact_resistance)
        number |= dict.fromkeys((part.active, part.binder), k)
    b, porosity = (np.array([ionic.get(name, (1.0, 1.0))[k] for name in mesh.phases]) for k in range(2))
    return _Properties(
        b=b[mesh.phase],
        porosity=porosity[mesh.phase],
        sigma=np.array([sigma.get(name, 1.0) for name in mesh.phases])[mesh.phase],
        contact=np.array([contact.get(name, 0.0) for name in mesh.phases])[mesh.phase],
        electrode=np.array([number.get(name, -1) for name in mesh.phases], np.int8)[mesh.phase],
    )


def _faces(mesh: Mesh, local: Ints, conductivity: Floats, contact_resistance: Floats | None = None) -> Faces:
    """Faces between two unknowns; a contact resistance (per cell, ohm m2) lies where the phase changes."""
    owner, neighbour = local[mesh.owner], local[mesh.neighbour]
    inner = np.flatnonzero((owner >= 0) & (neighbour >= 0))
    plane = mesh.position[:, 0]
    order, slabs = in_slabs(plane[mesh.owner[inner]], plane[mesh.neighbour[inner]], mesh.grid_shape[0])
    inner = inner[order]
    conductance = mesh_conductance(mesh, inner, conductivity)
    if contact_resistance is not None and contact_resistance.any():
        low, high = mesh.owner[inner], mesh.neighbour[inner]
        contact = np.where(mesh.phase[low] != mesh.phase[high], contact_resistance[low], 0.0)
        conductance = 1.0 / (1.0 / conductance + contact / mesh.area[inner])
    return Faces(owner[inner], neighbour[inner], conductance, slabs)


def _reactive_faces(mesh: Mesh, parts: tuple[_Part, ...], local: _Local, b: Floats) -> ReactiveFaces:
    """All faces where lithium reacts, sorted by plane, so that each electrode's lie together."""
    columns, planes = [], []
    for part, pair in [(each, pair) for each in parts for pair in each.reactive(mesh)]:
        binder, active = part.solids.binder, part.solids.active
        coverage = binder.active_coverage if pair.phases[1] == part.binder else 1.0
        live = (local.solid[pair.first] >= 0) & (local.ionic[pair.second] >= 0)
        first, second = pair.first[live], pair.second[live]
        planes.append((mesh.position[first, 0], mesh.position[second, 0]))
        columns.append(
            (
                local.solid[first],
                local.electronic[first],
                local.ionic[second],
                coverage * pair.area[live],
                pair.first_distance[live],
                pair.second_distance[live],
                pair.first_distance[live] / active.conductivity,
                b[second],
            )
        )
    first, second = (np.concatenate(side) for side in zip(*planes, strict=True))
    order, slabs = in_slabs(first, second, mesh.grid_shape[0])
    solid, electronic, ionic, area, solid_distance, ionic_distance, resistance, factor = (
        np.concatenate(column)[order] for column in zip(*columns, strict=True)
    )
    return ReactiveFaces(solid, electronic, ionic, area, solid_distance, ionic_distance, resistance, factor, slabs)


def _electrodes(
    parts: tuple[_Part, ...],
    electrode: NDArray[np.int8],
    cells: tuple[Bools, Bools],
    lists: tuple[Faces, ReactiveFaces],
    counts: Bools,
) -> tuple[Electrode, ...]:
    """The electrodes with their ranges of the lists.

    `electrode` is the number of each mesh cell's, `cells` are those that hold x and phi_s, and `counts` tells of each x
    whether it is part of the capacity.
    """
    of_solid = electrode[cells[0]]
    faces, reactive = lists
    solid, electronic, solid_faces, at_surface = (
        _ranges(number, len(parts))
        for number in (of_solid, electrode[cells[1]], of_solid[faces.owner], of_solid[reactive.solid])
    )
    return tuple(
        Electrode(
            name=part.name,
            material=part.solids.active,
            sign=part.sign,
            solid=solid[k],
            electronic=electronic[k],
            solid_faces=solid_faces[k],
            reactive=at_surface[k],
            counts_for_capacity=counts[solid[k]],
        )
        for k, part in enumerate(parts)
    )


def _ranges(number: NDArray[np.int8], n: int) -> list[slice]:
    """Range of each electrode in a list, whose entries tell which one they belong to."""
    # planes of separator part the electrodes, and every list goes plane by plane
    assert np.all(number[1:] >= number[:-1])
    edges = np.searchsorted(number, np.arange(n + 1))
    return [slice(int(start), int(stop)) for start, stop in pairwise(edges)]


def _metal(patch: Patch, to_ionic: Ints, b: Floats, *, present: bool) -> ReactiveFaces:
    """Lithium metal at the electrolyte of a patch, or nothing."""
    wet = (to_ionic[patch.cells] >= 0) & present
    cells = patch.cells[wet]
    return metal_faces(to_ionic[cells], patch.area[wet], patch.distance[wet], b[cells])


def _collector(patch: Patch, to_electronic: Ints, sigma: Floats) -> tuple[Ints, Floats]:
    """Electron conductors at a patch: local index and conductance to it, S."""
    touching = to_electronic[patch.cells] >= 0
    cells = patch.cells[touching]
    return to_electronic[cells], patch.area[touching] * sigma[cells] / patch.distance[touching]


def _counts_for_capacity(mesh: Mesh, parts: tuple[_Part, ...], determined: Determined) -> Bools:
    """Active cells whose electrons reach their collector, in a cluster that ions from the opposite side reach."""
    active = mesh.in_phase(*(part.active for part in parts))
    inner = active[mesh.owner] & active[mesh.neighbour]
    cluster = graph_components(mesh.owner[inner], mesh.neighbour[inner], mesh.n_cells)
    wetted = np.zeros(cluster.max() + 1, dtype=bool)
    for pair in (pair for part in parts for pair in part.reactive(mesh)):
        wetted[cluster[pair.first[determined.at_counter[pair.second]]]] = True
    counts: Bools = active & wetted[cluster] & determined.at_collector
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
