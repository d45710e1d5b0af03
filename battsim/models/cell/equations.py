"""Residual and Jacobian of a cell, all rows in ampere.

    x      F c_max V dx/dt   = - sum(F N_s) - A j                      lithium in the active materials
    c_e    F eps V dc_e/dt   = - sum(F N_e) + A j + A_Li j_Li          salt in all that holds electrolyte
    phi_s  0                 = - sum(i_s)   - A j  - g_0 phi_s         electrons in all that conducts them
    phi_e  0                 = - sum(i_e)   + A j + A_Li j_Li          ions
    V      0                 =   sum over collector faces of g (phi_s - V) - I

Sums run over the faces of a cell, fluxes positive outwards. j > 0: lithium leaves the active material; j_Li > 0:
lithium leaves the counter electrode; I > 0: discharge of the cell. Ground is the counter electrode of a half cell, or
the collector g_0 of the negative electrode of a full cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from battsim.constants import FARADAY, GAS_CONSTANT
from battsim.fvm import face_kernels as kernels
from battsim.fvm.slabs import over_slabs
from battsim.materials.charge import potential_at
from battsim.materials.types import open_circuit
from battsim.models.cell.jacobian import GROUNDED, CellJacobian
from battsim.models.cell.network import CellMaterials, CellNetwork, Electrode, Faces, ReactiveFaces
from battsim.models.cell.state import Layout, absolute_phi_s
from battsim.physics.electrolyte import SaltFluxes, salt_fluxes
from battsim.physics.interface import (
    CellValues,
    HalfCellDrops,
    InterfaceCurrent,
    Kinetics,
    SurfaceState,
    interface_current,
)
from battsim.physics.solid import SolidFluxes, solid_fluxes
from battsim.threads import ALONE, Team, joined

Floats = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Rate:
    """An implicit time derivative, du/dt = a (u - u_star), for the first two blocks of the state.

    a = 0 freezes the concentrations at u_star: what a consistent start needs.
    """

    a: float
    u_star: Floats

    @property
    def frozen(self) -> bool:
        """Whether the concentrations are given instead of balanced."""
        return self.a == 0.0

    @property
    def storage(self) -> float:
        """Factor of (u - u_star) in the rows of the concentrations."""
        return 1.0 if self.frozen else self.a


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Residual (A) with all that its Jacobian and the results need."""

    residual: Floats
    rate: Rate
    reaction: InterfaceCurrent
    counter: InterfaceCurrent
    salt: SaltFluxes
    solid: SolidFluxes
    current: float


class Cell:
    """A cell on a network; see the module's equations.

    Parameters
    ----------
    network
        Unknowns, face lists and electrodes.
    materials
        Electrolyte, counter electrode and conditions.
    team
        Threads that share the work; no result depends on their number.

    Attributes
    ----------
    layout
        Where each field lies in the state vector.
    solid_capacity, salt_capacity
        Charge per unit of x, and per mol/m3 of salt, of each unknown, C and C m3/mol.
    """

    def __init__(self, network: CellNetwork, materials: CellMaterials, team: Team = ALONE) -> None:
        self.network, self.materials, self.team = network, materials, team
        self.layout = Layout(
            network.solid_cells.size,
            network.electrolyte_cells.size,
            network.electronic_cells.size,
            network.n_grounded,
        )
        self.f = FARADAY / (GAS_CONSTANT * materials.temperature)
        self._salt = materials.salt_law
        self.solid_capacity = FARADAY * network.solid_volume
        for electrode in network.electrodes:
            self.solid_capacity[electrode.solid] *= electrode.material.max_concentration
        self.salt_capacity = FARADAY * network.electrolyte_volume

    @property
    def electrodes(self) -> tuple[Electrode, ...]:
        """In the order of the through-plane axis; the last one is at the terminal."""
        return self.network.electrodes

    @property
    def capacity(self) -> float:
        """Charge between 100 % and 0 % in the electrode that holds less of it, C."""
        return min(self.electrode_capacity(electrode) for electrode in self.electrodes)

    def electrode_capacity(self, electrode: Electrode) -> float:
        """Charge between the stoichiometries of 100 % and 0 % in connected and wetted active material, C."""
        material = electrode.material
        window = abs(material.stoichiometry_soc0 - material.stoichiometry_soc100)
        return float(window * self.solid_capacity[electrode.solid][electrode.counts_for_capacity].sum())

    def uniform_state(self, *x: float) -> tuple[Floats, float]:
        """State at rest with one stoichiometry per electrode, and its reference potential, V."""
        layout, T = self.layout, self.materials.temperature
        u = np.zeros(layout.size)
        U = [potential_at(electrode.material, value, T) for electrode, value in zip(self.electrodes, x, strict=True)]
        for electrode, value in zip(self.electrodes, x, strict=True):
            u[layout.x][electrode.solid] = value
        u[layout.c_e] = self.materials.salt
        if len(U) == 1:
            return u, U[0]
        u[layout.phi_e] = -U[0]
        return u, U[1] - U[0]

    def evaluate(
        self, u: Floats, reference: float, rate: Rate, current: float, guess: tuple[Floats, Floats] | None = None
    ) -> Evaluation:
        """Residual at state u, relative to `reference` (V), under the cell current (A).

        `guess` holds first guesses of j on the reactive and on the counter faces, A/m2.
        """
        network, layout = self.network, self.layout
        x, c_e, phi_s, phi_e = (u[part] for part in (layout.x, layout.c_e, layout.phi_s, layout.phi_e))
        guess = guess or (np.zeros(network.reactive.area.size), np.zeros(network.counter.area.size))
        reaction = self._reaction(x, c_e, absolute_phi_s(layout, u, reference), phi_e, guess[0])
        counter = self._counter(c_e, phi_e, guess[1])
        salt, solid = self._salt_fluxes(c_e, phi_e), self._solid_fluxes(x)
        r = np.zeros(layout.size)
        r[layout.x] = self.solid_capacity * rate.storage * (x - rate.u_star[layout.x])
        r[layout.c_e] = self.salt_capacity * rate.storage * (c_e - rate.u_star[layout.c_e])
        Aj, Aj_Li = network.reactive.area * reaction.j, network.counter.area * counter.j
        if not rate.frozen:
            self._add_mass(r, solid.FN, salt, Aj, Aj_Li)
        self._add_charge(r, phi_s, float(u[layout.V]), salt, Aj, Aj_Li, current)
        return Evaluation(r, rate, reaction, counter, salt, solid, current)

    def jacobian(self, e: Evaluation) -> CellJacobian:
        """Derivative of the residual by the state."""
        A, A_Li, storage = self.network.reactive.area, self.network.counter.area, e.rate.storage
        return CellJacobian(
            network=self.network,
            layout=self.layout,
            team=self.team,
            live=0.0 if e.rate.frozen else 1.0,
            storage_x=storage * self.solid_capacity,
            storage_c=storage * self.salt_capacity,
            salt=e.salt,
            solid=e.solid,
            jx=A * e.reaction.dj_dx,
            jc=A * e.reaction.dj_dc,
            jp=A * e.reaction.dj_dphi,
            lc=A_Li * e.counter.dj_dc,
            lp=A_Li * e.counter.dj_dphi,
            current=np.empty_like(A),
        )

    def held_at_voltage(self, e: Evaluation, excess: float) -> Evaluation:
        """The evaluation under voltage control: the last row is g (V - held); the current is what the collector takes.

        `excess` is V minus the held voltage, V; e was evaluated at zero current.
        """
        V = self.layout.V
        residual = e.residual.copy()
        current = -float(residual[V])
        residual[V] = GROUNDED * self.network.collector[1].sum() * excess
        return replace(e, residual=residual, current=current)

    def ionic_drop(self, faces: ReactiveFaces, c_e: Floats, current: InterfaceCurrent) -> tuple[Floats, Floats]:
        """phi_e of the surface minus phi_e of the cell, V: the share of the resistance, and of the concentration.

        `faces` are the reactive or the counter faces, c_e (mol/m3) the salt of all electrolyte cells, and `current`
        what flows through the faces in that state.
        """
        c, none = c_e[faces.ionic], np.zeros(faces.area.size)
        drops = self._ionic_drops(faces, c, x=none, dx=none, solid=none)
        return current.j * drops.ionic, drops.beta * np.log(current.c_surface / c)

    def _add_mass(self, r: Floats, FN_s: Floats, salt: SaltFluxes, Aj: Floats, Aj_Li: Floats) -> None:
        network, to_x, to_c = self.network, r[self.layout.x], r[self.layout.c_e]
        reactive = network.reactive
        self._add_flux(network.solid_faces, FN_s, to_x)
        over_slabs(self.team, kernels.add_to, reactive.slabs, reactive.solid, 1.0, Aj, to_x)
        self._add_flux(network.ionic_faces, salt.FN, to_c)
        over_slabs(self.team, kernels.add_to, reactive.slabs, reactive.ionic, -1.0, Aj, to_c)
        to_c[network.counter.ionic] -= Aj_Li

    def _add_charge(
        self, r: Floats, phi_s: Floats, V: float, salt: SaltFluxes, Aj: Floats, Aj_Li: Floats, current: float
    ) -> None:
        network, layout = self.network, self.layout
        to_s, to_e, reactive, electronic = r[layout.phi_s], r[layout.phi_e], network.reactive, network.electronic_faces
        conduction = electronic.owner, electronic.neighbour, electronic.conductance, phi_s, to_s
        over_slabs(self.team, kernels.add_conduction, electronic.slabs, *conduction)
        over_slabs(self.team, kernels.add_to, reactive.slabs, reactive.electronic, 1.0, Aj, to_s)
        to_collector = network.collector[1] * (phi_s[network.collector[0]] - V)
        to_s[network.collector[0]] += to_collector
        to_s[network.ground[0]] += network.ground[1] * phi_s[network.ground[0]]
        self._add_flux(network.ionic_faces, salt.i, to_e)
        over_slabs(self.team, kernels.add_to, reactive.slabs, reactive.ionic, -1.0, Aj, to_e)
        to_e[network.counter.ionic] -= Aj_Li
        r[layout.V] = current - to_collector.sum()

    def _add_flux(self, faces: Faces, flux: Floats, to: Floats) -> None:
        """Add what leaves each cell through its faces."""
        over_slabs(self.team, kernels.add_flux, faces.slabs, faces.owner, faces.neighbour, flux, to)

    def _salt_fluxes(self, c_e: Floats, phi_e: Floats) -> SaltFluxes:
        """Current and salt flux of the ionic faces."""
        faces = self.network.ionic_faces

        def fluxes(part: slice) -> SaltFluxes:
            o, n = faces.owner[part], faces.neighbour[part]
            return salt_fluxes(self._salt, faces.conductance[part], phi_e[o] - phi_e[n], c_e[o], c_e[n])

        return joined(self.team.map(fluxes, faces.owner.size))

    def _over(self, function: Callable[[Electrode, slice], T], ranges: str) -> T:
        """What a function returns for all parts of each electrode's range of a list, as one dataclass of arrays."""
        parts = []
        for electrode in self.electrodes:
            start, stop = getattr(electrode, ranges).start, getattr(electrode, ranges).stop
            parts += self.team.map(
                lambda part, electrode=electrode, start=start: function(  # type: ignore[misc]
                    electrode, slice(start + part.start, start + part.stop)
                ),
                stop - start,
            )
        return joined(parts)

    def _solid_fluxes(self, x: Floats) -> SolidFluxes:
        """F N_s of the solid faces."""
        faces = self.network.solid_faces

        def fluxes(electrode: Electrode, part: slice) -> SolidFluxes:
            material = electrode.material
            x_o, x_n = x[faces.owner[part]], x[faces.neighbour[part]]
            G = FARADAY * material.max_concentration * faces.conductance[part]
            return solid_fluxes(material.diffusivity, G, x_o, x_n, self.materials.temperature)

        return self._over(fluxes, "solid_faces")

    def _reaction(self, x: Floats, c_e: Floats, phi_s: Floats, phi_e: Floats, guess: Floats) -> InterfaceCurrent:
        """Reaction of the active materials with the electrolyte."""
        reactive = self.network.reactive

        def reaction(electrode: Electrode, part: slice) -> InterfaceCurrent:
            faces = reactive.at(part)
            dphi = phi_s[faces.electronic] - phi_e[faces.ionic]
            values = CellValues(x[faces.solid], c_e[faces.ionic], dphi)
            return self._reaction_at(electrode, faces, values, guess[part])

        return self._over(reaction, "reactive")

    def _reaction_at(
        self, electrode: Electrode, faces: ReactiveFaces, values: CellValues, guess: Floats
    ) -> InterfaceCurrent:
        material, T = electrode.material, self.materials.temperature
        D, dD = material.diffusivity(values.x, T)
        per_area = faces.solid_distance / (FARADAY * material.max_concentration)
        drops = self._ionic_drops(
            faces,
            values.c_e,
            x=per_area / D,
            dx=-per_area * dD / D**2,
            solid=faces.resistance + material.film_resistance,
        )

        def surface(x_f: Floats, c_f: Floats) -> SurfaceState:
            i0, di0_dx, di0_dc = material.exchange_current(x_f, c_f, T)
            U, dU = open_circuit(material, x_f, T)
            return SurfaceState(i0, di0_dx, di0_dc, U, dU)

        kinetics = Kinetics(surface, material.alpha_a, material.alpha_c, self.f)
        return interface_current(kinetics, drops, values, guess)

    def _counter(self, c_e: Floats, phi_e: Floats, guess: Floats) -> InterfaceCurrent:
        """Dissolution (positive) of the lithium-metal counter electrode at potential zero."""
        faces, counter, T = self.network.counter, self.materials.counter, self.materials.temperature
        c, zero = c_e[faces.ionic], np.zeros(faces.area.size)
        if counter is None:
            return InterfaceCurrent(zero, zero, zero, zero, zero, zero, zero, zero, np.ones(zero.size, bool))
        drops = self._ionic_drops(faces, c, x=zero, dx=zero, solid=zero)

        def surface(x_f: Floats, c_f: Floats) -> SurfaceState:
            i0, di0_dc = counter.exchange_current(c_f, T)
            none = np.zeros_like(x_f)
            return SurfaceState(i0, none, di0_dc, none, none)

        kinetics = Kinetics(surface, counter.alpha_a, counter.alpha_c, self.f)
        return interface_current(kinetics, drops, CellValues(zero + 0.5, c, -phi_e[faces.ionic]), guess)

    def _ionic_drops(self, faces: ReactiveFaces, c: Floats, *, x: Floats, dx: Floats, solid: Floats) -> HalfCellDrops:
        p = self._salt.at(c)
        per_area = faces.ionic_distance / (FARADAY * faces.b)
        resistance = faces.ionic_distance / (faces.b * p.kappa)
        return HalfCellDrops(
            x=x,
            dx=dx,
            solid=solid,
            c=per_area * (1.0 - p.t_plus) / p.D,
            dc=-per_area * (p.dt_plus / p.D + (1.0 - p.t_plus) * p.dD / p.D**2),
            ionic=resistance,
            dionic=-resistance * p.dkappa / p.kappa,
            beta=p.beta,
            dbeta=p.dbeta,
        )
