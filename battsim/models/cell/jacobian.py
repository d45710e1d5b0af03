"""Derivative of a cell's residual: products without a matrix, and the matrix where somebody asks for it.

Each face, reactive face and electrode contributes the derivatives of its flux; a product visits the face lists. The
diagonal blocks' symmetric parts are handed out as resistor networks for multigrid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from battsim.fvm import face_kernels as kernels
from battsim.fvm.blocks import BlockMatrix, Entries, Pattern, face_entries, face_values, point_entries
from battsim.fvm.slabs import over_slabs
from battsim.models.cell.network import CellNetwork
from battsim.models.cell.state import Layout
from battsim.physics.electrolyte import SaltFluxes
from battsim.physics.solid import SolidFluxes
from battsim.threads import Team

Floats = NDArray[np.float64]
X, C, P = 0, 1, 2
"""Blocks: stoichiometry, salt, potentials."""
SWEEP_ORDER = P, X, C
"""Potentials, then the solid, then the salt: each block sees what the ones before it changed."""
CYCLES = {P: 2}
"""Multigrid cycles per visit of a block: a second one on the potentials halves the Krylov iterations."""
GROUNDED = 1e4
"""Conductance g that holds a terminal at a voltage, relative to the collector's: large, so that the network which the
preconditioner sees, collector faces included, has the same solution."""


@dataclass(frozen=True, slots=True, eq=False)
class CellJacobian:
    """All derivatives at one state, rows in ampere.

    Attributes
    ----------
    network, layout, team
        Face lists, where each field lies in the state vector, and the threads that share a product.
    live
        1, or 0 where the concentrations are frozen.
    storage_x, storage_c
        Diagonals of the storage terms, shapes (n_solid,) and (n_electrolyte,).
    salt
        Derivatives of the ionic faces' fluxes.
    solid
        Of the solid faces' F N_s.
    jx, jc, jp
        Of A j on the reactive faces by x, c_e and phi_s - phi_e.
    lc, lp
        Of A_Li j_Li on the counter electrode's faces by c_e and by -phi_e.
    current
        Memory for the reactive faces' share of a product.
    held
        Conductance of the terminal's row under voltage control; 0 under other controls.
    by_voltage
        Derivative of the controlled current by V, A/V: not zero under power control.
    """

    network: CellNetwork
    layout: Layout
    team: Team
    live: float
    storage_x: Floats
    storage_c: Floats
    salt: SaltFluxes
    solid: SolidFluxes
    jx: Floats
    jc: Floats
    jp: Floats
    lc: Floats
    lp: Floats
    current: Floats
    held: float = 0.0
    by_voltage: float = 0.0

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Range of each block in the state vector."""
        return self.layout.x, self.layout.c_e, self.layout.potentials

    @property
    def conductance(self) -> tuple[Floats, Floats, Floats]:
        """Per diagonal block: conductance of each edge of its network (`networks`), not negative."""
        symmetric_x = 0.5 * self.live * (self.solid.dFN_dx_o - self.solid.dFN_dx_n)
        # migration is left out: with the potentials eliminated it follows the current, not the concentration
        symmetric_c = self.live * self.salt.diffusive
        g, g_cc = self.network.electronic_faces.conductance, self.network.collector[1]
        joint = np.concatenate([g, self.salt.K, self.jp, g_cc])
        return np.maximum(symmetric_x, 0.0), np.maximum(symmetric_c, 0.0), np.maximum(joint, 0.0)

    @property
    def ground(self) -> tuple[Floats, Floats, Floats]:
        """Per diagonal block: what the diagonal holds beyond the edges, shape (n_nodes,), not negative."""
        layout, reactive, live = self.layout, self.network.reactive, self.live
        x = self.storage_x + live * np.bincount(reactive.solid, self.jx, layout.n_solid)
        c = self.storage_c - live * np.bincount(reactive.ionic, self.jc, layout.n_electrolyte)
        potentials = np.zeros(layout.size - layout.potentials.start)
        potentials[layout.n_electronic + self.network.counter.ionic] += self.lp
        potentials[self.network.ground[0]] += self.network.ground[1]
        potentials[-1] = self.held + self.by_voltage
        return np.maximum(x, 0.0), np.maximum(c, 0.0), np.maximum(potentials, 0.0)

    def held_at_voltage(self) -> CellJacobian:
        """The Jacobian under voltage control: the terminal's row is g V alone."""
        return replace(self, held=GROUNDED * float(self.network.collector[1].sum()))

    def under_power(self, by_voltage: float) -> CellJacobian:
        """The Jacobian where the current depends on V, with its derivative in A/V."""
        return replace(self, by_voltage=by_voltage)

    def __matmul__(self, u: NDArray[np.floating]) -> Floats:
        """Product with a state vector (float32 or float64)."""
        out = np.empty(u.size)
        self.multiply(u, out)
        return out

    def multiply(self, u: NDArray[np.floating], out: Floats) -> None:
        """Write the product with a state vector (float32 or float64), both shape (n,)."""
        layout, network, team = self.layout, self.network, self.team
        x, c_e, phi_s, phi_e = (u[part] for part in (layout.x, layout.c_e, layout.phi_s, layout.phi_e))
        to_x, to_c, to_s, to_e = (out[part] for part in (layout.x, layout.c_e, layout.phi_s, layout.phi_e))
        for storage, u_part, to in ((self.storage_x, x, to_x), (self.storage_c, c_e, to_c)):
            team.run(kernels.multiplied, to.size, to.size, storage, u_part, to)
        out[layout.potentials] = 0.0
        electronic, solid, ionic = network.electronic_faces, network.solid_faces, network.ionic_faces
        ends = electronic.owner, electronic.neighbour
        over_slabs(team, kernels.add_conduction, electronic.slabs, *ends, electronic.conductance, phi_s, to_s)
        salt, dN = self.salt, (self.salt.dFN_dc_o, self.salt.dFN_dc_n, self.salt.dFN_dphi)
        di = salt.di_dc_o, salt.di_dc_n, salt.K
        if self.live:
            by = self.solid.dFN_dx_o, self.solid.dFN_dx_n
            over_slabs(team, kernels.add_linear, solid.slabs, solid.owner, solid.neighbour, *by, x, to_x)
            rates = *dN, *di, c_e, phi_e, to_c, to_e
            over_slabs(team, kernels.add_salt, ionic.slabs, ionic.owner, ionic.neighbour, *rates)
        else:
            ends = ionic.owner, ionic.neighbour
            over_slabs(team, kernels.add_linear, ionic.slabs, *ends, salt.di_dc_o, salt.di_dc_n, c_e, to_e)
            over_slabs(team, kernels.add_conduction, ionic.slabs, *ends, salt.K, phi_e, to_e)
        self._add_reaction(u, (to_x, to_c, to_s, to_e))
        self._add_electrodes(u, out)

    def coupling(self, row: int, u: NDArray[np.floating], out: Floats) -> None:
        """Write what a state vector whose own part is zero contributes to the rows of one block, shape of the block."""
        layout, team, ionic = self.layout, self.team, self.network.ionic_faces
        salt, counter = self.salt, self.network.counter.ionic
        c_e, phi_e = u[layout.c_e], u[layout.phi_e]
        ends = ionic.owner, ionic.neighbour
        out[:] = 0.0
        if row == X:
            self._add_reaction(u, (out, None, None, None))
        elif row == C:
            if self.live:
                over_slabs(team, kernels.add_conduction, ionic.slabs, *ends, salt.dFN_dphi, phi_e, out)
                out[counter] += self.lp * phi_e[counter]
            self._add_reaction(u, (None, out, None, None))
        else:
            to_s, to_e = out[: layout.n_electronic], out[layout.n_electronic : -1]
            over_slabs(team, kernels.add_linear, ionic.slabs, *ends, salt.di_dc_o, salt.di_dc_n, c_e, to_e)
            to_e[counter] -= self.lc * c_e[counter]
            self._add_reaction(u, (None, None, to_s, to_e))

    def _add_reaction(self, u: NDArray[np.floating], rows: Sequence[Floats | None]) -> None:
        """Add A dj of the reactive faces to the rows of x, c_e, phi_s, phi_e: it leaves the solid, enters the salt."""
        layout, reactive, current = self.layout, self.network.reactive, self.current
        fields = u[layout.x], u[layout.c_e], u[layout.phi_s], u[layout.phi_e]
        cells, by = (reactive.solid, reactive.electronic, reactive.ionic), (self.jx, self.jc, self.jp)
        self.team.run(kernels.reaction_of, current.size, current.size, cells, by, fields, current)
        ends = reactive.solid, reactive.ionic, reactive.electronic, reactive.ionic
        for cell, factor, to in zip(ends, (self.live, -self.live, 1.0, -1.0), rows, strict=True):
            if to is not None and factor:
                over_slabs(self.team, kernels.add_to, reactive.slabs, cell, factor, current, to)

    def _add_electrodes(self, u: NDArray[np.floating], out: Floats) -> None:
        """Add the rows of counter electrode, ground and collector; each of their faces has a cell of its own."""
        layout, counter = self.layout, self.network.counter.ionic
        cells, g = self.network.collector
        c, phi = u[layout.c_e][counter].astype(np.float64), u[layout.phi_e][counter].astype(np.float64)
        at_counter = self.lp * phi - self.lc * c  # phi_s of lithium is zero: j_Li depends on phi_e through 0 - phi_e
        out[layout.c_e][counter] += self.live * at_counter
        out[layout.phi_e][counter] += at_counter
        grounded, g_0 = self.network.ground
        out[layout.phi_s][grounded] += g_0 * u[layout.phi_s][grounded].astype(np.float64)
        V = float(u[layout.V])
        to_collector = g * (u[layout.phi_s][cells].astype(np.float64) - V)
        out[layout.phi_s][cells] += to_collector
        out[layout.V] = self.held * V if self.held else self.by_voltage * V - to_collector.sum()


def assembled(jacobian: CellJacobian, patterns: dict[tuple[int, int], Pattern]) -> BlockMatrix:
    """The same Jacobian as matrices in compressed rows, for direct solvers and for codes that need one."""
    return BlockMatrix(
        slices=jacobian.slices,
        blocks={key: patterns[key].matrix(value) for key, value in block_values(jacobian).items()},
        conductance=jacobian.conductance,
        ground=jacobian.ground,
    )


def matrix_patterns(network: CellNetwork, layout: Layout) -> dict[tuple[int, int], Pattern]:
    """Positions of the entries of `assembled`."""
    sizes = block_sizes(layout)
    return {
        key: Pattern(entries, (sizes[key[0]], sizes[key[1]])) for key, entries in block_entries(network, layout).items()
    }


def block_sizes(layout: Layout) -> tuple[int, int, int]:
    """Number of unknowns of each block."""
    return layout.n_solid, layout.n_electrolyte, layout.size - layout.potentials.start


def block_values(jacobian: CellJacobian) -> dict[tuple[int, int], list[Floats]]:
    """Values of all entries by block, in the order of `block_entries`; those of one position add up."""
    network, live, salt = jacobian.network, jacobian.live, jacobian.salt
    g, g_cc = network.electronic_faces.conductance, network.collector[1]
    jx, jc, jp, lc, lp = jacobian.jx, jacobian.jc, jacobian.jp, jacobian.lc, jacobian.lp
    by_owner, by_neighbour = jacobian.solid.dFN_dx_o, jacobian.solid.dFN_dx_n
    at_terminal = face_values(g_cc, -g_cc)
    if jacobian.held:
        at_terminal[2 * g_cc.size :] = 0.0
    return {
        (X, X): [jacobian.storage_x, live * face_values(by_owner, by_neighbour), live * jx],
        (X, C): [live * jc],
        (X, P): [live * jp, -live * jp],
        (C, X): [-live * jx],
        (C, C): [jacobian.storage_c, live * face_values(salt.dFN_dc_o, salt.dFN_dc_n), -live * jc, -live * lc],
        (C, P): [live * face_values(salt.dFN_dphi, -salt.dFN_dphi), -live * jp, live * jp, live * lp],
        (P, X): [jx, -jx],
        (P, C): [face_values(salt.di_dc_o, salt.di_dc_n), jc, -jc, -lc],
        (P, P): [
            face_values(g, -g),
            face_values(salt.K, -salt.K),
            face_values(jp, -jp),
            lp,
            network.ground[1],
            at_terminal,
            np.array([jacobian.held + jacobian.by_voltage]),
        ],
    }


def block_entries(network: CellNetwork, layout: Layout) -> dict[tuple[int, int], list[Entries]]:
    """Positions of all entries by block, counted within it."""
    sizes = block_sizes(layout)
    solid, ionic, electronic = network.solid_faces, network.ionic_faces, network.electronic_faces
    reactive, shift, V = network.reactive, layout.n_electronic, sizes[P] - 1
    x, c, s, e = reactive.solid, reactive.ionic, reactive.electronic, reactive.ionic + shift
    Li, Li_e = network.counter.ionic, network.counter.ionic + shift
    o, n, o_e, n_e = ionic.owner, ionic.neighbour, ionic.owner + shift, ionic.neighbour + shift
    cc = network.collector[0]
    every_x, every_c = (np.arange(size, dtype=np.int32) for size in sizes[:2])
    terminal, last = np.full_like(cc, V), np.array([V], np.int32)
    return {
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
            point_entries(network.ground[0], network.ground[0]),
            face_entries(cc, terminal, cc, terminal),
            point_entries(last, last),
        ],
    }
