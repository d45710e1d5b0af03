"""What flows through the faces of a half cell at a given state: the closures of `battsim.physics` on its face lists.

Written apart from the Newton engine, so that agreement of the two engines says something about both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.constants import FARADAY, GAS_CONSTANT
from battsim.materials.types import open_circuit
from battsim.models.cell.network import ReactiveFaces
from battsim.models.resolved.network import ResolvedNetwork
from battsim.models.resolved.parameters import HalfCellParameters
from battsim.physics.electrolyte import SaltFluxes, SaltLaw, salt_fluxes
from battsim.physics.interface import (
    CellValues,
    HalfCellDrops,
    InterfaceCurrent,
    Kinetics,
    SurfaceLaw,
    SurfaceState,
    interface_current,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Closures:
    """Reaction, dissolution and transport of a half cell as functions of its fields.

    x and c_e (mol/m3) are the values of solid and of electrolyte cells, phi_s (absolute) and phi_e (V) those of
    electronic and of electrolyte cells, all in the local order of the network. A guess is of j, A/m2.
    """

    network: ResolvedNetwork
    parameters: HalfCellParameters

    @property
    def salt_law(self) -> SaltLaw:
        """The electrolyte at the cell's temperature."""
        return self.parameters.materials.salt_law

    def ionic(self, c_e: Floats, phi_e: Floats) -> SaltFluxes:
        """Current and salt flux of the faces between electrolyte cells, A."""
        faces = self.network.ionic_faces
        o, n = faces.owner, faces.neighbour
        return salt_fluxes(self.salt_law, faces.conductance, phi_e[o] - phi_e[n], c_e[o], c_e[n])

    def solid_diffusivity(self, x: Floats) -> Floats:
        """D_s at the mean x of the faces between solid cells, m2/s."""
        faces = self.network.solid_faces
        mean = 0.5 * (x[faces.owner] + x[faces.neighbour])
        return self.parameters.active.diffusivity(mean, self.parameters.temperature)[0]

    def reaction(self, x: Floats, c_e: Floats, phi_s: Floats, phi_e: Floats, guess: Floats) -> InterfaceCurrent:
        """Current density of the reactive faces, positive when lithium leaves the active material."""
        faces, active, T = self.network.reactive, self.parameters.active, self.parameters.temperature
        cells = CellValues(x[faces.solid], c_e[faces.ionic], phi_s[faces.electronic] - phi_e[faces.ionic])
        D, dD = active.diffusivity(cells.x, T)
        # x_f = x - j d / (F D_s c_max), and its derivative by x
        drop = faces.solid_distance / (FARADAY * active.max_concentration * D)
        resistance = faces.resistance + active.film_resistance

        def surface(x_f: Floats, c_f: Floats) -> SurfaceState:
            return SurfaceState(*active.exchange_current(x_f, c_f, T), *open_circuit(active, x_f, T))

        drops = self._drops(faces, cells.c_e, drop, -drop * dD / D, resistance)
        return interface_current(self._kinetics(surface, active.alpha_a, active.alpha_c), drops, cells, guess)

    def dissolution(self, c_e: Floats, phi_e: Floats, guess: Floats) -> InterfaceCurrent:
        """Current density of the counter electrode, positive when it dissolves; its potential is zero."""
        faces, counter, T = self.network.counter, self.parameters.counter, self.parameters.temperature
        none = np.zeros(faces.area.size)
        cells = CellValues(none + 0.5, c_e[faces.ionic], -phi_e[faces.ionic])

        def surface(x_f: Floats, c_f: Floats) -> SurfaceState:
            i0, di0_dc = counter.exchange_current(c_f, T)
            nothing = np.zeros_like(x_f)
            return SurfaceState(i0, nothing, di0_dc, nothing, nothing)

        drops = self._drops(faces, cells.c_e, none, none, none)
        return interface_current(self._kinetics(surface, counter.alpha_a, counter.alpha_c), drops, cells, guess)

    def _kinetics(self, surface: SurfaceLaw, alpha_a: float, alpha_c: float) -> Kinetics:
        return Kinetics(surface, alpha_a, alpha_c, FARADAY / (GAS_CONSTANT * self.parameters.temperature))

    def _drops(self, faces: ReactiveFaces, c_e: Floats, x: Floats, dx: Floats, solid: Floats) -> HalfCellDrops:
        """Half-cell drops per A/m2; the electrolyte side is the same for both electrodes."""
        p = self.salt_law.at(c_e)
        share, length = 1.0 - p.t_plus, faces.ionic_distance / faces.b
        # c_f = c_e + (1 - t_plus) j d / (F b D_e)
        salt = length * share / (FARADAY * p.D)
        return HalfCellDrops(
            x=x,
            dx=dx,
            solid=solid,
            c=salt,
            dc=-salt * (p.dt_plus / share + p.dD / p.D),
            ionic=length / p.kappa,
            dionic=-length / p.kappa * p.dkappa / p.kappa,
            beta=p.beta,
            dbeta=p.dbeta,
        )
