"""A cell as lists: unknowns on cells, conductances on faces, areas and distances on reactive faces.

The voxels of an image and the line with spherical particles of the homogenised model are both such lists, and share
all equations (`battsim.models.cell.equations`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.materials.types import ActiveMaterial, CounterElectrode, Electrolyte
from battsim.physics.electrolyte import SaltLaw

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CellMaterials:
    """What surrounds the electrodes.

    Attributes
    ----------
    counter
        The lithium metal opposite a single electrode; None in a full cell.
    temperature
        K.
    salt
        Initial salt concentration, mol/m3.
    """

    electrolyte: Electrolyte
    counter: CounterElectrode | None
    temperature: float
    salt: float

    @property
    def salt_law(self) -> SaltLaw:
        """The electrolyte at the cell's temperature."""
        e = self.electrolyte
        functions = e.diffusivity, e.conductivity, e.transference, e.thermodynamic_factor
        return SaltLaw(*functions, temperature=self.temperature)


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
    """Faces where lithium leaves or enters an active material.

    Attributes
    ----------
    solid, electronic, ionic
        Local indices of x, phi_s (active side) and c_e, phi_e (electrolyte side), shape (n,).
    area
        True area that reacts, shape (n,), m2.
    solid_distance, ionic_distance
        Cell centre to surface, shape (n,), m.
    resistance
        Electronic, from the cell centre to the surface, shape (n,), ohm m2.
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
    resistance: Floats
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
            self.resistance[part],
            self.b[part],
            slabs=np.empty(0, np.int32),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Electrode:
    """An electrode of one active material, and where its unknowns and faces lie in the lists.

    Attributes
    ----------
    name
        "working" in a half cell, "negative" or "positive" in a full cell.
    material
        Of its active cells.
    sign
        1 where it takes up lithium in discharge, -1 where it gives it off.
    solid, electronic, solid_faces, reactive
        Ranges of its x, of its phi_s, of the solid faces and of the reactive faces, each counted within its list.
    counts_for_capacity
        Active cells connected to their collector and wetted, shape (n_solid of the electrode,), bool.
    """

    name: str
    material: ActiveMaterial
    sign: float
    solid: slice
    electronic: slice
    solid_faces: slice
    reactive: slice
    counts_for_capacity: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class CellNetwork:
    """Everything about geometry that the equations need.

    Attributes
    ----------
    electrodes
        In the order of the through-plane axis; the last one is at the terminal.
    solid_cells, electrolyte_cells, electronic_cells
        Mesh cells of the unknowns x, c_e (and phi_e), phi_s.
    solid_volume, electrolyte_volume
        Volume of active material, and of electrolyte (porosity included), per unknown, m3.
    solid_faces, ionic_faces, electronic_faces
        Geometric conductance A / d (m), b A / d (m), and sigma A / d (S).
    reactive
        Active material against electrolyte.
    counter
        Electrolyte cells at a lithium counter electrode: local index, area (m2), distance (m), b; empty in a full cell.
    ground
        Electron conductors at the grounded collector of a full cell: local index and conductance (S); empty in a half
        cell, whose counter electrode is the ground.
    collector
        Electron conductors at the collector of the terminal: local index and conductance (S).
    cross_section
        Area of the cell in the plane of the electrodes, m2.
    """

    electrodes: tuple[Electrode, ...]
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
    ground: tuple[Ints, Floats]
    collector: tuple[Ints, Floats]
    cross_section: float

    @property
    def n_grounded(self) -> int:
        """Number of electron conductors whose potential is relative to the ground instead of the terminal."""
        return int(self.electrodes[-1].electronic.start)


def metal_faces(ionic: Ints, area: Floats, distance: Floats, b: Floats) -> ReactiveFaces:
    """The counter electrode as reactive faces whose solid side is lithium metal: no stoichiometry, no resistance."""
    none, zero = np.full_like(ionic, -1), np.zeros_like(area)
    slabs = np.array([0, ionic.size], np.int32)
    return ReactiveFaces(none, none, ionic, area, zero, distance, zero, b, slabs)


def no_electrode() -> tuple[Ints, Floats]:
    """Faces of a collector that is not there."""
    return np.empty(0, np.int32), np.empty(0)
