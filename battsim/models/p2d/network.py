"""From porous electrodes to the lists of a cell: a line of cells, and the shells of particles at each of them.

All is per square metre of electrode. A line cell of length h holds n = eps_s h / (4/3 pi R^3) particles of each size,
so that the volumes of their shells sum to eps_s h. The electroactive area a h may differ from the surface of the
spheres, 3 eps_s h / R: with r = a R / (3 eps_s) the ratio of both, the flux density at the sphere is r j, and so r
times the distance from the outermost shell's centre to the surface gives the drop for j.

M. Doyle, T. F. Fuller and J. Newman, J. Electrochem. Soc. 140 (1993) 1526.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.fvm.operators import mesh_conductance
from battsim.models.cell.network import (
    CellNetwork,
    Electrode,
    Faces,
    Floats,
    Ints,
    ReactiveFaces,
    metal_faces,
    no_electrode,
)
from battsim.models.p2d.parameters import P2DGrid, P2DParameters, PorousElectrode
from meshing.line import graded_sizes, line_mesh, shell_mesh
from meshing.mesh import Mesh

NEGATIVE, SEPARATOR, POSITIVE = "negative", "separator", "positive"


@dataclass(frozen=True, slots=True, eq=False)
class P2DNetwork(CellNetwork):
    """The homogenised cell's network.

    Attributes
    ----------
    line
        Mesh through the cell, area 1 m2; `electrolyte_cells` and the like are its cells.
    radius
        Of the middle of each unknown's shell, shape (n_solid,), m.
    """

    line: Mesh
    radius: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Shells:
    """The particles of one size in all cells of an electrode; indices count from the electrode's first unknown."""

    volume: Floats
    radius: Floats
    line_cell: Ints
    owner: Ints
    neighbour: Ints
    conductance: Floats
    outermost: Ints
    area: Floats
    distance: Floats


def p2d_network(parameters: P2DParameters, grid: P2DGrid) -> P2DNetwork:
    """Unknowns, faces and electrodes of the homogenised cell, per m2."""
    line = _line(parameters, grid)
    named = {NEGATIVE: parameters.negative, POSITIVE: parameters.positive}
    electrodes = {name: electrode for name, electrode in named.items() if electrode is not None}
    b, porosity = (_per_cell(line, parameters, key) for key in ("b", "porosity"))
    cells = {name: np.flatnonzero(line.in_phase(name)).astype(np.int32) for name in electrodes}
    electronic_cells = np.concatenate(list(cells.values()))
    to_electronic = np.full(line.n_cells, -1, np.int32)
    to_electronic[electronic_cells] = np.arange(electronic_cells.size, dtype=np.int32)
    shells = {
        name: [_shells(line, cells[name], e, k, grid) for k in range(len(e.particles))]
        for name, e in electrodes.items()
    }
    solid = _joined_shells(list(shells.values()))
    ratio = np.concatenate(
        [np.full(part.outermost.size, electrodes[name].area_ratio) for name, parts in shells.items() for part in parts]
    )
    counter, ground = _negative_end(line, parameters, b)
    return P2DNetwork(
        electrodes=_electrodes(electrodes, cells, shells, to_electronic),
        solid_cells=solid.line_cell,
        electrolyte_cells=np.arange(line.n_cells, dtype=np.int32),
        electronic_cells=electronic_cells,
        solid_volume=solid.volume,
        electrolyte_volume=line.volume * porosity,
        solid_faces=_faces(solid.owner, solid.neighbour, solid.conductance),
        ionic_faces=_faces(line.owner, line.neighbour, mesh_conductance(line, np.arange(line.n_faces), b)),
        electronic_faces=_electronic_faces(line, parameters, to_electronic),
        reactive=_reactive_faces(solid, ratio, to_electronic, b),
        counter=counter,
        ground=ground,
        collector=_collector(line, "x-high", parameters.positive.conductivity, to_electronic),
        cross_section=1.0,
        line=line,
        radius=solid.radius,
    )


def _line(parameters: P2DParameters, grid: P2DGrid) -> Mesh:
    separator = parameters.separator
    layers = [
        (SEPARATOR, graded_sizes(separator.thickness, grid.separator, 1.0)),
        (POSITIVE, graded_sizes(parameters.positive.thickness, grid.positive, 1.0)),
    ]
    if parameters.negative is not None:
        layers.insert(0, (NEGATIVE, graded_sizes(parameters.negative.thickness, grid.negative, 1.0)))
    return line_mesh(layers)


def _per_cell(line: Mesh, parameters: P2DParameters, key: str) -> Floats:
    """Porosity or transport factor of every line cell."""
    layers = {NEGATIVE: parameters.negative, SEPARATOR: parameters.separator, POSITIVE: parameters.positive}
    return np.array([getattr(layers[name], key) for name in line.phases])[line.phase]


def _shells(line: Mesh, cells: Ints, electrode: PorousElectrode, number: int, grid: P2DGrid) -> _Shells:
    """All particles of one size, the cells in order and the shells of each from the centre outwards."""
    particles = electrode.particles[number]
    sphere = shell_mesh(graded_sizes(particles.radius, grid.radial, grid.surface_ratio))
    n = sphere.n_cells
    count = electrode.active_volume_fraction * particles.share * line.volume[cells] / sphere.volume.sum()
    first = n * np.arange(cells.size, dtype=np.int32)
    ones = np.ones(n)
    surface = sphere.patches["surface"]
    return _Shells(
        volume=np.outer(count, sphere.volume).ravel(),
        radius=np.tile(sphere.centre[:, 0], cells.size),
        line_cell=np.repeat(cells, n),
        owner=np.add.outer(first, sphere.owner).ravel(),
        neighbour=np.add.outer(first, sphere.neighbour).ravel(),
        conductance=np.outer(count, mesh_conductance(sphere, np.arange(sphere.n_faces), ones)).ravel(),
        outermost=first + surface.cells,
        area=count * surface.area,
        distance=np.full(cells.size, surface.distance[0]),
    )


def _joined_shells(parts: list[list[_Shells]]) -> _Shells:
    """All particles of all electrodes, indices counted through."""
    flat = [part for electrode in parts for part in electrode]
    shift = np.concatenate([[0], np.cumsum([part.volume.size for part in flat])[:-1]]).astype(np.int32)

    def column(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(part, name) for part in flat])

    def index(name: str) -> Ints:
        return np.concatenate([getattr(part, name) + start for part, start in zip(flat, shift, strict=True)])

    return _Shells(
        **{name: column(name) for name in ("volume", "radius", "line_cell", "conductance", "area", "distance")},  # type: ignore[arg-type]
        owner=index("owner"),
        neighbour=index("neighbour"),
        outermost=index("outermost"),
    )


def _electrodes(
    electrodes: dict[str, PorousElectrode],
    cells: dict[str, Ints],
    shells: dict[str, list[_Shells]],
    to_electronic: Ints,
) -> tuple[Electrode, ...]:
    found: list[Electrode] = []
    solid, faces, reactive = 0, 0, 0
    for name, electrode in electrodes.items():
        parts = shells[name]
        n_solid, n_faces, n_reactive = (
            sum(getattr(part, key).size for part in parts) for key in ("volume", "owner", "outermost")
        )
        first = int(to_electronic[cells[name][0]])
        found.append(
            Electrode(
                name=name if len(electrodes) > 1 else "working",
                material=electrode.material,
                sign=-1.0 if name == NEGATIVE else 1.0,
                solid=slice(solid, solid + n_solid),
                electronic=slice(first, first + cells[name].size),
                solid_faces=slice(faces, faces + n_faces),
                reactive=slice(reactive, reactive + n_reactive),
                counts_for_capacity=np.ones(n_solid, bool),
            )
        )
        solid, faces, reactive = solid + n_solid, faces + n_faces, reactive + n_reactive
    return tuple(found)


def _faces(owner: Ints, neighbour: Ints, conductance: Floats) -> Faces:
    return Faces(owner, neighbour, conductance, _one_slab(owner.size))


def _one_slab(n: int) -> Ints:
    return np.array([0, n], np.int32)


def _electronic_faces(line: Mesh, parameters: P2DParameters, to_electronic: Ints) -> Faces:
    """Faces between cells of the same electrode."""
    inner = np.flatnonzero((to_electronic[line.owner] >= 0) & (line.phase[line.owner] == line.phase[line.neighbour]))
    negative = parameters.negative
    sigma = {NEGATIVE: 0.0 if negative is None else negative.conductivity, POSITIVE: parameters.positive.conductivity}
    conductivity = np.array([sigma.get(name, 1.0) for name in line.phases])[line.phase]
    return _faces(
        to_electronic[line.owner[inner]],
        to_electronic[line.neighbour[inner]],
        mesh_conductance(line, inner, conductivity),
    )


def _reactive_faces(solid: _Shells, ratio: Floats, to_electronic: Ints, b: Floats) -> ReactiveFaces:
    """One face per particle size and line cell; the electrolyte of a line cell has no gradient towards a particle."""
    cells = solid.line_cell[solid.outermost]
    none = np.zeros(cells.size)
    return ReactiveFaces(
        solid=solid.outermost,
        electronic=to_electronic[cells],
        ionic=cells,
        area=ratio * solid.area,
        solid_distance=ratio * solid.distance,
        ionic_distance=none,
        resistance=none,
        b=b[cells],
        slabs=_one_slab(cells.size),
    )


def _negative_end(line: Mesh, parameters: P2DParameters, b: Floats) -> tuple[ReactiveFaces, tuple[Ints, Floats]]:
    """Lithium metal at the separator, or the grounded collector of a negative electrode; the other one is empty."""
    patch = line.patches["x-low"]
    if parameters.negative is None:
        return metal_faces(patch.cells, patch.area, patch.distance, b[patch.cells]), no_electrode()
    empty = np.empty(0)
    conductance = parameters.negative.conductivity * patch.area / patch.distance
    return metal_faces(np.empty(0, np.int32), empty, empty, empty), (np.zeros(1, np.int32), conductance)


def _collector(line: Mesh, patch: str, conductivity: float, to_electronic: Ints) -> tuple[Ints, Floats]:
    at = line.patches[patch]
    return to_electronic[at.cells], conductivity * at.area / at.distance
