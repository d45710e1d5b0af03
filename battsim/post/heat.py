"""The heat that an isothermal cell sets free, in space and in total, and the first law that it closes.

Heat is positive where the cell gives it off. Letters and signs are those of the model: j > 0 where lithium leaves the
active material, I > 0 in discharge, faces from owner o to neighbour n, x_f the stoichiometry at the surface.

    ionic       sum i (phi_o - phi_n)  over faces, and half cells in front of both electrodes' surfaces
    electronic  sum i_s^2 / g          over faces, half cells in front of the reaction, and collectors
    reaction    sum A j (eta + j R_film)
    counter     sum A_Li j_Li eta_Li
    entropic    sum A j T dU/dT(x_f)
    mixing    - sum F N_s (H_o - H_n)  -  sum A j (H(x) - H(x_f)),        H(x) = U - T dU/dT

The first four are what the cell loses by resistance and kinetics: the powers behind `battsim.post.losses`. The entropic
heat is that of the reaction at the surface's composition. H is the enthalpy per charge that leaves lithium metal and
enters the material at composition x; lithium that diffuses from a place of low H to one of high H sets the difference
free, and what mixes after the current has stopped is still heat. With the chemical energy

    dE/dt = - sum F c_max V H(x) dx/dt                  over all cells of active material,

summation by parts of the rows of x, phi_s and phi_e gives, exactly and at every instant, work, heat and energy:

    V I + (ionic + electronic + reaction + counter + entropic)  =  - sum A j H(x_f)
    V I + (all six)                                             =  - dE/dt

The first is what the surfaces' compositions release, the second what the whole of the material does. At rest V I = 0
and the heat is the energy's decline: mixing, and the currents that even out the electrodes.
D. Bernardi, E. Pawlikowski and J. Newman, J. Electrochem. Soc. 132 (1985) 5, for the balance; L. Rao and J. Newman,
J. Electrochem. Soc. 144 (1997) 2697, for its local form; K. E. Thomas and J. Newman, J. Power Sources 119-121 (2003)
844, for mixing.

Two conventions. Lithium metal has no entropy here: dU/dT of a material is measured against it and counts in full at
that material, so that the entropic heat of a whole cell is right and its parts are relative to lithium. And dissolving
the salt sets no heat free (its activity coefficient does not depend on temperature): what a gradient of the salt
stores, T times entropy, is given and taken as heat, so that the whole of i (phi_o - phi_n), diffusion potential
included, is heat. Of its two parts i^2/K alone is positive everywhere, and salt that diffuses without a current is
neither warm nor cold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.materials.types import ActiveMaterial, extend_by_end_slope, open_circuit
from battsim.models.cell.equations import Cell, Evaluation
from battsim.models.cell.network import Faces
from battsim.post.planes import Planes, planes_of
from battsim.post.powers import ElectronicPower, IonicPower, electronic_power, ionic_powers
from meshing.mesh import Mesh

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

HEATS = ("ionic", "electronic", "reaction", "counter", "entropic", "mixing")
IN_PLANES = ("ionic", "electronic", "reaction", "entropic", "mixing")
"""Heats that are set free between the ends of the mesh; the counter electrode is a surface at one of them."""


@dataclass(frozen=True, slots=True, eq=False)
class HeatSources:
    """Heat of every face, W.

    Attributes
    ----------
    ionic, electronic
        By list of faces.
    reaction, counter, entropic
        Of the reactive faces, of the counter electrode's, of the reactive faces.
    mixing, mixing_at_surface
        Of the solid faces, and of the half cells of active material in front of the reaction.
    """

    ionic: IonicPower
    electronic: ElectronicPower
    reaction: Floats
    counter: Floats
    entropic: Floats
    mixing: Floats
    mixing_at_surface: Floats


@dataclass(frozen=True, slots=True)
class Heat:
    """Heat of a cell and the first law that it is part of, W; see the module's equations.

    Attributes
    ----------
    ionic, electronic, reaction, counter, entropic, mixing
        Positive where the cell gives them off.
    work
        V I, electrical, positive in discharge.
    release
        - dE/dt, by the implicit rate of the step that ends in this state; in a state without one (a consistent start)
        what the surfaces release plus the mixing, which leaves the first of the two laws to be checked.
    """

    ionic: float
    electronic: float
    reaction: float
    counter: float
    entropic: float
    mixing: float
    work: float
    release: float

    @property
    def total(self) -> float:
        """All heat, W."""
        return sum(float(getattr(self, name)) for name in HEATS)

    @property
    def mismatch(self) -> float:
        """Work and heat minus release, W: zero but for what Newton and round-off left."""
        return self.work + self.total - self.release


def heat(cell: Cell, u: Floats, reference: float, evaluation: Evaluation) -> Heat:
    """Heat and first law in a converged state.

    Parameters
    ----------
    cell
        The model.
    u, reference
        State, and the potential that its phi_s and V are relative to, V.
    evaluation
        The model's evaluation of this state, with the cell current and the rate of its step.
    """
    H = _enthalpies(cell, u[cell.layout.x])
    sources = _sources(cell, u, evaluation, H)
    mixing = float(sources.mixing.sum() + sources.mixing_at_surface.sum())
    return Heat(
        ionic=sources.ionic.total,
        electronic=sources.electronic.total,
        reaction=float(sources.reaction.sum()),
        counter=float(sources.counter.sum()),
        entropic=float(sources.entropic.sum()),
        mixing=mixing,
        work=(float(u[cell.layout.V]) + reference) * evaluation.current,
        release=_release(cell, u, evaluation, sources, H, mixing),
    )


def heat_sources(cell: Cell, u: Floats, evaluation: Evaluation) -> HeatSources:
    """Heat of every face in a converged state u."""
    return _sources(cell, u, evaluation, _enthalpies(cell, u[cell.layout.x]))


def heat_density(cell: Cell, mesh: Mesh, u: Floats, evaluation: Evaluation) -> Floats:
    """All heat but a counter electrode's reaction in every cell of the mesh, shape (n_cells,), W/m3.

    Each of the two cells beside a face has half of the face's heat, a half cell's heat is its own cell's, and what a
    reaction sets free, entropic heat included, is the active cell's.

    Parameters
    ----------
    cell, mesh
        The model, and the mesh that its network's cells belong to.
    u, evaluation
        A converged state, and the model's evaluation of it.
    """
    sources, network = heat_sources(cell, u, evaluation), cell.network
    reactive, ionic, electronic = network.reactive, sources.ionic, sources.electronic
    at_surface = sources.reaction + sources.entropic + sources.mixing_at_surface
    ions, electrons, solid = network.electrolyte_cells, network.electronic_cells, network.solid_cells
    power = np.zeros(mesh.n_cells)
    for cells, faces, of_faces in (
        (ions, network.ionic_faces, ionic.faces),
        (electrons, network.electronic_faces, electronic.faces),
        (solid, network.solid_faces, sources.mixing),
    ):
        power += np.bincount(cells[faces.owner], 0.5 * of_faces, mesh.n_cells)
        power += np.bincount(cells[faces.neighbour], 0.5 * of_faces, mesh.n_cells)
    for cells, of_cells in (
        (ions[reactive.ionic], ionic.reactive),
        (ions[network.counter.ionic], ionic.counter),
        (electrons[reactive.electronic], electronic.reactive),
        (electrons[network.collector[0]], electronic.collector),
        (electrons[network.ground[0]], electronic.ground),
        (solid[reactive.solid], at_surface),
    ):
        power += np.bincount(cells, of_cells, mesh.n_cells)
    return np.asarray(power / mesh.volume)


def entropic_coefficient(material: ActiveMaterial, x: Floats) -> Floats:
    """dU/dT at stoichiometry x, V/K, continued past the fitted range as U is."""
    return extend_by_end_slope(material.entropic, material.fitted)(x)[0]


def enthalpy_potential(material: ActiveMaterial, x: Floats, T: float) -> Floats:
    """H = U - T dU/dT at stoichiometry x, V."""
    return open_circuit(material, x, T)[0] - T * entropic_coefficient(material, x)


def _sources(cell: Cell, u: Floats, evaluation: Evaluation, H: Floats) -> HeatSources:
    """Heat of every face, with H (V) of every active cell."""
    reactive, reaction, counter = cell.network.reactive, evaluation.reaction, evaluation.counter
    ohmic, concentration = ionic_powers(cell, u, evaluation)
    faces, Aj = cell.network.solid_faces, reactive.area * reaction.j
    film, entropic = np.empty_like(Aj), np.empty_like(Aj)
    for electrode in cell.electrodes:
        part = electrode.reactive
        film[part] = electrode.material.film_resistance
        entropic[part] = cell.materials.temperature * entropic_coefficient(electrode.material, reaction.x_surface[part])
    H_surface = reaction.U - entropic
    return HeatSources(
        ionic=IonicPower(
            ohmic.faces + concentration.faces,
            ohmic.reactive + concentration.reactive,
            ohmic.counter + concentration.counter,
        ),
        electronic=electronic_power(cell, u, evaluation),
        reaction=Aj * (reaction.eta + reaction.j * film),
        counter=cell.network.counter.area * counter.j * counter.eta,
        entropic=Aj * entropic,
        mixing=evaluation.solid.FN * (H[faces.neighbour] - H[faces.owner]),
        mixing_at_surface=Aj * (H_surface - H[reactive.solid]),
    )


def _enthalpies(cell: Cell, x: Floats) -> Floats:
    """H of every active cell, shape (n_solid,), V."""
    H = np.empty_like(x)
    for electrode in cell.electrodes:
        H[electrode.solid] = enthalpy_potential(electrode.material, x[electrode.solid], cell.materials.temperature)
    return H


def _release(cell: Cell, u: Floats, evaluation: Evaluation, sources: HeatSources, H: Floats, mixing: float) -> float:
    """Decline of the chemical energy, W."""
    rate, x = evaluation.rate, cell.layout.x
    if not rate.frozen:
        return float((cell.solid_capacity * H) @ (rate.a * (u[x] - rate.u_star[x])))
    Aj = cell.network.reactive.area * evaluation.reaction.j
    return float(sources.entropic.sum() - Aj @ evaluation.reaction.U) + mixing


class HeatPlanes:
    """Brings the heat of faces to the planes of a mesh.

    The heat of a face between two planes is shared by them by the distances of its cells' centres; that of a face
    within one plane stays there, and that of a face between two merged cells beside each other is halved between their
    planes. A half cell's heat is its own cell's, and what a reaction sets free, entropic heat included, is the active
    cell's; cells at surfaces and at the ends have not merged. The reaction of a counter electrode belongs to no plane.

    Parameters
    ----------
    cell, mesh
        The model, and the mesh that its network's cells belong to; planes lie across its x axis.
    """

    def __init__(self, cell: Cell, mesh: Mesh) -> None:
        planes, network = planes_of(mesh), cell.network
        self._n, self._network = planes.count, network
        self._thickness = planes.volume / planes.volume.sum()
        self._electrolyte = _Spans.of(planes, network.electrolyte_cells)
        self._electronic = _Spans.of(planes, network.electronic_cells)
        self._solid = _Spans.of(planes, network.solid_cells)

    def of(self, sources: HeatSources) -> dict[str, Floats]:
        """Heat in every plane, shape (n_planes,), W, of each kind IN_PLANES."""
        network, ionic, electronic = self._network, sources.ionic, sources.electronic
        reactive, at_surface = network.reactive, self._solid.first[network.reactive.solid]
        of_ions = self._sum(self._electrolyte.first[reactive.ionic], ionic.reactive)
        of_ions += self._sum(self._electrolyte.first[network.counter.ionic], ionic.counter)
        of_electrons = self._sum(self._electronic.first[reactive.electronic], electronic.reactive)
        of_electrons += self._sum(self._electronic.first[network.collector[0]], electronic.collector)
        of_electrons += self._sum(self._electronic.first[network.ground[0]], electronic.ground)
        return {
            "ionic": of_ions + self._shared(self._electrolyte, network.ionic_faces, ionic.faces),
            "electronic": of_electrons + self._shared(self._electronic, network.electronic_faces, electronic.faces),
            "reaction": self._sum(at_surface, sources.reaction),
            "entropic": self._sum(at_surface, sources.entropic),
            "mixing": self._sum(at_surface, sources.mixing_at_surface)
            + self._shared(self._solid, network.solid_faces, sources.mixing),
        }

    def _sum(self, plane: Ints, power: Floats) -> Floats:
        return np.asarray(np.bincount(plane, power, self._n), np.float64)

    def _shared(self, spans: _Spans, faces: Faces, power: Floats) -> Floats:
        """What faces between two unknowns leave in planes."""
        begins = spans.first[faces.owner], spans.first[faces.neighbour]
        ends = spans.last[faces.owner], spans.last[faces.neighbour]
        # the planes that both cells have; of cells in front of each other, the two beside the face
        low, high = np.maximum(*begins), np.minimum(*ends)
        lower, upper = np.minimum(low, high), np.maximum(low, high)
        owner_below = begins[0] <= begins[1]
        of_lower = self._thickness[lower] * spans.width(np.where(owner_below, faces.owner, faces.neighbour))
        of_upper = self._thickness[upper] * spans.width(np.where(owner_below, faces.neighbour, faces.owner))
        share = np.where(low > high, of_lower / (of_lower + of_upper), 0.5)
        to_lower = power * share
        return self._sum(lower, to_lower) + self._sum(upper, power - to_lower)


@dataclass(frozen=True, slots=True, eq=False)
class _Spans:
    """Planes in which the cells of some unknowns begin and end, shape (n,)."""

    first: Ints
    last: Ints

    @classmethod
    def of(cls, planes: Planes, cells: NDArray[np.int32]) -> _Spans:
        """Those of these cells of the mesh."""
        return cls(planes.first[cells], planes.last[cells])

    def width(self, unknowns: NDArray[np.int32]) -> Ints:
        """Number of planes that the cells of these unknowns lie in."""
        return self.last[unknowns] - self.first[unknowns] + 1
