"""Residual and Jacobian of the resolved half cell, all rows in ampere.

    x      F c_max V dx/dt   = - sum(F N_s) - A j                      lithium in the active material
    c_e    F eps V dc_e/dt   = - sum(F N_e) + A j + A_Li j_Li          salt in pore, binder, separator
    phi_s  0                 = - sum(i_s)   - A j                      electrons in active material and binder
    phi_e  0                 = - sum(i_e)   + A j + A_Li j_Li          ions
    V      0                 =   sum over collector faces of g (phi_s - V) - I

Sums run over the faces of a cell, fluxes positive outwards. j > 0: lithium leaves the active material; j_Li > 0:
lithium leaves the counter electrode, whose potential is zero; I > 0: discharge of the cell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from battsim.constants import FARADAY, GAS_CONSTANT
from battsim.fvm.blocks import BlockJacobian, Entries, Network, Pattern, face_entries, face_values, point_entries
from battsim.fvm.operators import divergence
from battsim.materials.charge import potential_at
from battsim.materials.types import open_circuit
from battsim.models.resolved.network import HalfCellNetwork, ReactiveFaces, half_cell_network
from battsim.models.resolved.parameters import HalfCellParameters
from battsim.models.resolved.state import Layout
from battsim.physics.electrolyte import SaltFluxes, SaltLaw, salt_fluxes
from battsim.physics.interface import (
    CellValues,
    HalfCellDrops,
    InterfaceCurrent,
    Kinetics,
    SurfaceState,
    interface_current,
)
from meshing.mesh import Mesh

Floats = NDArray[np.float64]
X, C, P = 0, 1, 2
"""Blocks of the Jacobian: stoichiometry, salt, potentials."""
GROUNDED = 1e4
"""Conductance g that holds a terminal at a voltage, relative to the collector's: large, so that the network which the
preconditioner sees, collector faces included, has the same solution."""


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
    solid_by_owner: Floats
    solid_by_neighbour: Floats
    current: float


class HalfCell:
    """The resolved half cell on a mesh; see the module's equations.

    Parameters
    ----------
    mesh
        Voxel mesh with interfaces of the active material; x runs from the counter electrode to the collector.
    parameters
        Materials and conditions.

    Attributes
    ----------
    network
        Unknowns and face lists.
    layout
        Where each field lies in the state vector.
    networks
        Resistor network of each diagonal block, for preconditioning.
    """

    def __init__(self, mesh: Mesh, parameters: HalfCellParameters) -> None:
        self.parameters = parameters
        self.network = network = half_cell_network(mesh, parameters)
        self.layout = Layout(network.solid_cells.size, network.electrolyte_cells.size, network.electronic_cells.size)
        self.f = FARADAY / (GAS_CONSTANT * parameters.temperature)
        electrolyte = parameters.electrolyte
        self._salt = SaltLaw(
            electrolyte.diffusivity,
            electrolyte.conductivity,
            electrolyte.transference,
            electrolyte.thermodynamic_factor,
            parameters.temperature,
        )
        self.solid_capacity = FARADAY * parameters.active.max_concentration * network.solid_volume
        self.salt_capacity = FARADAY * network.electrolyte_volume
        self._patterns = _patterns(network, self.layout)
        self.networks = _networks(mesh, network)

    @property
    def capacity(self) -> float:
        """Charge between the stoichiometries of 100 % and 0 % in the connected and wetted active material, C."""
        active = self.parameters.active
        window = abs(active.stoichiometry_soc0 - active.stoichiometry_soc100)
        return float(window * self.solid_capacity[self.network.counts_for_capacity].sum())

    def uniform_state(self, x: float) -> tuple[Floats, float]:
        """State at rest with stoichiometry x, and its reference potential U(x), V."""
        layout = self.layout
        u = np.zeros(layout.size)
        u[layout.x] = x
        u[layout.c_e] = self.parameters.salt
        return u, potential_at(self.parameters.active, x, self.parameters.temperature)

    def evaluate(
        self, u: Floats, reference: float, rate: Rate, current: float, guess: tuple[Floats, Floats] | None = None
    ) -> Evaluation:
        """Residual at state u, whose phi_s and V are relative to `reference` (V), under the cell current (A).

        `guess` holds first guesses of j on the reactive and on the counter faces, A/m2.
        """
        network, layout = self.network, self.layout
        x, c_e, phi_s, phi_e = (u[part] for part in (layout.x, layout.c_e, layout.phi_s, layout.phi_e))
        guess = guess or (np.zeros(network.reactive.area.size), np.zeros(network.counter.area.size))
        reaction = self._reaction(x, c_e, phi_s + reference, phi_e, guess[0])
        counter = self._counter(c_e, phi_e, guess[1])
        o, n = network.ionic_faces.owner, network.ionic_faces.neighbour
        salt = salt_fluxes(self._salt, network.ionic_faces.conductance, phi_e[o] - phi_e[n], c_e[o], c_e[n])
        FN_s, by_owner, by_neighbour = self._solid_flux(x)
        r = np.zeros(layout.size)
        r[layout.x] = self.solid_capacity * rate.storage * (x - rate.u_star[layout.x])
        r[layout.c_e] = self.salt_capacity * rate.storage * (c_e - rate.u_star[layout.c_e])
        if not rate.frozen:
            self._add_mass(r, FN_s, salt, reaction.j, counter.j)
        self._add_charge(r, phi_s, float(u[layout.V]), salt, reaction.j, counter.j, current)
        return Evaluation(r, rate, reaction, counter, salt, by_owner, by_neighbour, current)

    def jacobian(self, e: Evaluation) -> BlockJacobian:
        """Derivative of the residual by the state, block by block."""
        network, layout = self.network, self.layout
        live, storage = 0.0 if e.rate.frozen else 1.0, e.rate.storage
        A, A_Li = network.reactive.area, network.counter.area
        jx, jc, jp = A * e.reaction.dj_dx, A * e.reaction.dj_dc, A * e.reaction.dj_dphi
        # phi_s of lithium is zero: j_Li depends on phi_e through 0 - phi_e
        lc, lp = A_Li * e.counter.dj_dc, A_Li * e.counter.dj_dphi
        g, g_cc = network.electronic_faces.conductance, network.collector[1]
        ionic = face_values(e.salt.K, -e.salt.K)
        values: dict[tuple[int, int], list[Floats]] = {
            (X, X): [
                storage * self.solid_capacity,
                live * face_values(e.solid_by_owner, e.solid_by_neighbour),
                live * jx,
            ],
            (X, C): [live * jc],
            (X, P): [live * jp, -live * jp],
            (C, X): [-live * jx],
            (C, C): [
                storage * self.salt_capacity,
                live * face_values(e.salt.dFN_dc_o, e.salt.dFN_dc_n),
                -live * jc,
                -live * lc,
            ],
            (C, P): [live * face_values(e.salt.dFN_dphi, -e.salt.dFN_dphi), -live * jp, live * jp, live * lp],
            (P, X): [jx, -jx],
            (P, C): [face_values(e.salt.di_dc_o, e.salt.di_dc_n), jc, -jc, -lc],
            (P, P): [face_values(g, -g), ionic, face_values(jp, -jp), lp, face_values(g_cc, -g_cc)],
        }
        ground = np.zeros(layout.size - layout.potentials.start)
        np.add.at(ground, layout.n_electronic + network.counter.ionic, lp)
        ground_x = storage * self.solid_capacity + live * np.bincount(network.reactive.solid, jx, layout.n_solid)
        ground_c = storage * self.salt_capacity - live * np.bincount(network.reactive.ionic, jc, layout.n_electrolyte)
        symmetric_x = 0.5 * live * (e.solid_by_owner - e.solid_by_neighbour)
        # migration is left out: with the potentials eliminated it follows the current, not the concentration
        symmetric_c = live * e.salt.diffusive
        return BlockJacobian(
            slices=(layout.x, layout.c_e, layout.potentials),
            blocks={key: self._patterns[key].matrix(value) for key, value in values.items()},
            conductance=tuple(
                np.maximum(c, 0.0) for c in (symmetric_x, symmetric_c, np.concatenate([g, e.salt.K, jp, g_cc]))
            ),
            ground=tuple(np.maximum(c, 0.0) for c in (ground_x, ground_c, ground)),
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

    def voltage_row(self, jacobian: BlockJacobian) -> BlockJacobian:
        """The Jacobian under voltage control: the terminal's row is g alone, and multigrid sees it grounded."""
        V, g = jacobian.ground[P].size - 1, GROUNDED * self.network.collector[1].sum()
        block = jacobian.blocks[P, P].copy()
        row = slice(block.indptr[V], block.indptr[V + 1])
        block.data[row] = np.where(block.indices[row] == V, g, 0.0)
        ground = jacobian.ground[P].copy()
        ground[V] += g
        return replace(jacobian, blocks={**jacobian.blocks, (P, P): block}, ground=(*jacobian.ground[:P], ground))

    def ionic_drop(self, faces: ReactiveFaces, c_e: Floats, current: InterfaceCurrent) -> tuple[Floats, Floats]:
        """phi_e of the surface minus phi_e of the cell, V: the share of the resistance, and of the concentration.

        `faces` are the reactive or the counter faces, c_e (mol/m3) the salt of all electrolyte cells, and `current`
        what flows through the faces in that state.
        """
        c, none = c_e[faces.ionic], np.zeros(faces.area.size)
        drops = self._ionic_drops(faces, c, x=none, dx=none, solid=none)
        return current.j * drops.ionic, drops.beta * np.log(current.c_surface / c)

    def _add_mass(self, r: Floats, FN_s: Floats, salt: SaltFluxes, j: Floats, j_Li: Floats) -> None:
        network, layout = self.network, self.layout
        reactive, counter = network.reactive, network.counter
        r[layout.x] += divergence(network.solid_faces.owner, network.solid_faces.neighbour, FN_s, layout.n_solid)
        r[layout.x] += np.bincount(reactive.solid, reactive.area * j, layout.n_solid)
        r[layout.c_e] += divergence(
            network.ionic_faces.owner, network.ionic_faces.neighbour, salt.FN, layout.n_electrolyte
        )
        r[layout.c_e] -= np.bincount(reactive.ionic, reactive.area * j, layout.n_electrolyte)
        r[layout.c_e] -= np.bincount(counter.ionic, counter.area * j_Li, layout.n_electrolyte)

    def _add_charge(
        self, r: Floats, phi_s: Floats, V: float, salt: SaltFluxes, j: Floats, j_Li: Floats, current: float
    ) -> None:
        network, layout = self.network, self.layout
        reactive, counter, electronic = network.reactive, network.counter, network.electronic_faces
        i_s = electronic.conductance * (phi_s[electronic.owner] - phi_s[electronic.neighbour])
        to_collector = network.collector[1] * (phi_s[network.collector[0]] - V)
        r[layout.phi_s] = divergence(electronic.owner, electronic.neighbour, i_s, layout.n_electronic)
        r[layout.phi_s] += np.bincount(reactive.electronic, reactive.area * j, layout.n_electronic)
        r[layout.phi_s] += np.bincount(network.collector[0], to_collector, layout.n_electronic)
        r[layout.phi_e] = divergence(
            network.ionic_faces.owner, network.ionic_faces.neighbour, salt.i, layout.n_electrolyte
        )
        r[layout.phi_e] -= np.bincount(reactive.ionic, reactive.area * j, layout.n_electrolyte)
        r[layout.phi_e] -= np.bincount(counter.ionic, counter.area * j_Li, layout.n_electrolyte)
        r[layout.V] = current - to_collector.sum()

    def _solid_flux(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        """F N_s = F c_max A/d D_s(mean x) (x_o - x_n) of the solid faces (A), and its derivatives by x_o and x_n."""
        faces, active = self.network.solid_faces, self.parameters.active
        x_o, x_n = x[faces.owner], x[faces.neighbour]
        D, dD = active.diffusivity(0.5 * (x_o + x_n), self.parameters.temperature)
        G = FARADAY * active.max_concentration * faces.conductance
        state = 0.5 * G * dD * (x_o - x_n)
        return G * D * (x_o - x_n), state + G * D, state - G * D

    def _reaction(self, x: Floats, c_e: Floats, phi_s: Floats, phi_e: Floats, guess: Floats) -> InterfaceCurrent:
        """Reaction of the active material with the electrolyte."""
        faces, active, T = self.network.reactive, self.parameters.active, self.parameters.temperature
        x, c = x[faces.solid], c_e[faces.ionic]
        D, dD = active.diffusivity(x, T)
        per_area = faces.solid_distance / (FARADAY * active.max_concentration)
        drops = self._ionic_drops(
            faces,
            c,
            x=per_area / D,
            dx=-per_area * dD / D**2,
            solid=faces.solid_distance / active.conductivity + active.film_resistance,
        )

        def surface(x_f: Floats, c_f: Floats) -> SurfaceState:
            i0, di0_dx, di0_dc = active.exchange_current(x_f, c_f, T)
            U, dU = open_circuit(active, x_f, T)
            return SurfaceState(i0, di0_dx, di0_dc, U, dU)

        dphi = phi_s[faces.electronic] - phi_e[faces.ionic]
        kinetics = Kinetics(surface, active.alpha_a, active.alpha_c, self.f)
        return interface_current(kinetics, drops, CellValues(x, c, dphi), guess)

    def _counter(self, c_e: Floats, phi_e: Floats, guess: Floats) -> InterfaceCurrent:
        """Dissolution (positive) of the lithium-metal counter electrode at potential zero."""
        faces, counter, T = self.network.counter, self.parameters.counter, self.parameters.temperature
        c, zero = c_e[faces.ionic], np.zeros(faces.area.size)
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


def _patterns(network: HalfCellNetwork, layout: Layout) -> dict[tuple[int, int], Pattern]:
    """Positions of the Jacobian's entries, in the order in which `HalfCell.jacobian` lists their values."""
    sizes = (layout.n_solid, layout.n_electrolyte, layout.size - layout.potentials.start)
    solid, ionic, electronic = network.solid_faces, network.ionic_faces, network.electronic_faces
    reactive, shift, V = network.reactive, layout.n_electronic, sizes[P] - 1
    x, c, s, e = reactive.solid, reactive.ionic, reactive.electronic, reactive.ionic + shift
    Li, Li_e = network.counter.ionic, network.counter.ionic + shift
    o, n, o_e, n_e = ionic.owner, ionic.neighbour, ionic.owner + shift, ionic.neighbour + shift
    cc = network.collector[0]
    every_x, every_c = (np.arange(size, dtype=np.int32) for size in sizes[:2])
    terminal = np.full_like(cc, V)
    entries: dict[tuple[int, int], list[Entries]] = {
        (X, X): [
            point_entries(every_x, every_x),
            face_entries(solid.owner, solid.neighbour, solid.owner, solid.neighbour),
            point_entries(x, x),
        ],
        (X, C): [point_entries(x, c)],
        (X, P): [point_entries(x, s), point_entries(x, e)],
        (C, X): [point_entries(c, x)],
        (C, C): [
            point_entries(every_c, every_c),
            face_entries(o, n, o, n),
            point_entries(c, c),
            point_entries(Li, Li),
        ],
        (C, P): [face_entries(o, n, o_e, n_e), point_entries(c, s), point_entries(c, e), point_entries(Li, Li_e)],
        (P, X): [point_entries(s, x), point_entries(e, x)],
        (P, C): [face_entries(o_e, n_e, o, n), point_entries(s, c), point_entries(e, c), point_entries(Li_e, Li)],
        (P, P): [
            face_entries(electronic.owner, electronic.neighbour, electronic.owner, electronic.neighbour),
            face_entries(o_e, n_e, o_e, n_e),
            face_entries(s, e, s, e),
            point_entries(Li_e, Li_e),
            face_entries(cc, terminal, cc, terminal),
        ],
    }
    return {key: Pattern(entry, (sizes[key[0]], sizes[key[1]])) for key, entry in entries.items()}


def _networks(mesh: Mesh, network: HalfCellNetwork) -> tuple[Network, Network, Network]:
    """Edges and node positions of the three diagonal blocks, edges in the order of `BlockJacobian.conductance`."""
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
