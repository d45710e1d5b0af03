"""Concentrated binary electrolyte: current and salt flux across a face, with their derivatives.

With the diffusion potential beta = 2 (1 - t_plus) TF R T / F (TF the thermodynamic factor 1 + dln f/dln c), a face of
geometric conductance G = b A / d (m, transport factor b included), owner o and neighbour n,

    i = G kappa ((phi_o - phi_n) - beta (ln c_o - ln c_n))              A, positive from owner to neighbour
    F N = F G D (c_o - c_n) + t_plus i                                  A

D is the measured salt diffusivity and contains TF already. Newman and Thomas-Alyea, Electrochemical Systems, 3rd ed.,
chapter 12. Functions of state are taken at the arithmetic mean concentration of the face, since a harmonic mean of
kappa(c) would close a face when one cell empties; ln c enters as a difference of logarithms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.constants import FARADAY, GAS_CONSTANT

Floats = NDArray[np.float64]
Property = Callable[[Floats, float], tuple[Floats, Floats]]
"""A property of concentration (mol/m3) and temperature (K): its value and its derivative by concentration."""


@dataclass(frozen=True, slots=True, eq=False)
class SaltProperties:
    """Properties at given concentrations with their derivatives by concentration, each shape (n,).

    D (m2/s), kappa (S/m), t_plus (1), beta (V): the diffusion potential per unit of ln c.
    """

    D: Floats
    dD: Floats
    kappa: Floats
    dkappa: Floats
    t_plus: Floats
    dt_plus: Floats
    beta: Floats
    dbeta: Floats


@dataclass(frozen=True, slots=True, eq=False)
class SaltLaw:
    """The four measured properties of a binary electrolyte at one temperature.

    Attributes
    ----------
    diffusivity, conductivity, transference, thermodynamic_factor
        Property functions: m2/s, S/m, 1, 1.
    temperature
        K.
    """

    diffusivity: Property
    conductivity: Property
    transference: Property
    thermodynamic_factor: Property
    temperature: float

    def at(self, c_e: Floats) -> SaltProperties:
        """Properties at salt concentration c_e, mol/m3."""
        D, dD = self.diffusivity(c_e, self.temperature)
        kappa, dkappa = self.conductivity(c_e, self.temperature)
        t_plus, dt_plus = self.transference(c_e, self.temperature)
        factor, dfactor = self.thermodynamic_factor(c_e, self.temperature)
        thermal = 2.0 * GAS_CONSTANT * self.temperature / FARADAY
        return SaltProperties(
            D=D,
            dD=dD,
            kappa=kappa,
            dkappa=dkappa,
            t_plus=t_plus,
            dt_plus=dt_plus,
            beta=thermal * (1.0 - t_plus) * factor,
            dbeta=thermal * ((1.0 - t_plus) * dfactor - dt_plus * factor),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SaltFluxes:
    """Current i and salt flux F N across faces (A) with their derivatives; o is the owner, n the neighbour.

    K = di/d(phi_o - phi_n), S; `diffusive` is F G D, A per (mol/m3). `ohmic` is i^2 / K and `concentration` is
    i beta (ln c_o - ln c_n): the two parts of the power i (phi_o - phi_n), W.
    """

    i: Floats
    K: Floats
    di_dc_o: Floats
    di_dc_n: Floats
    FN: Floats
    dFN_dphi: Floats
    dFN_dc_o: Floats
    dFN_dc_n: Floats
    diffusive: Floats
    ohmic: Floats
    concentration: Floats


def salt_fluxes(law: SaltLaw, conductance: Floats, dphi: Floats, c_o: Floats, c_n: Floats) -> SaltFluxes:
    """Current and salt flux of faces, positive from owner to neighbour.

    Parameters
    ----------
    law
        The electrolyte.
    conductance
        Geometric conductance b A / d of each face, shape (n_faces,), m.
    dphi
        phi_o - phi_n, V.
    c_o, c_n
        Salt concentration on either side, mol/m3, positive.
    """
    p = law.at(0.5 * (c_o + c_n))
    dlog, dc = np.log(c_o / c_n), c_o - c_n
    drive = dphi - p.beta * dlog
    K = conductance * p.kappa
    i = K * drive
    state = 0.5 * (conductance * p.dkappa * drive - K * p.dbeta * dlog)
    di_dc_o, di_dc_n = state - K * p.beta / c_o, state + K * p.beta / c_n
    G = FARADAY * conductance
    shared = 0.5 * (G * p.dD * dc + p.dt_plus * i)
    return SaltFluxes(
        i=i,
        K=K,
        di_dc_o=di_dc_o,
        di_dc_n=di_dc_n,
        FN=G * p.D * dc + p.t_plus * i,
        dFN_dphi=p.t_plus * K,
        dFN_dc_o=shared + G * p.D + p.t_plus * di_dc_o,
        dFN_dc_n=shared - G * p.D + p.t_plus * di_dc_n,
        diffusive=G * p.D,
        ohmic=i * drive,
        concentration=i * p.beta * dlog,
    )
