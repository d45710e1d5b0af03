"""NMC622 of an electric vehicle's cell: potential measured, the rest stand-ins.

M. Verbrugge, D. Baker, B. Koch, X. Xiao, W. Gu, "Thermodynamic model for substitutional materials: application to
lithiated graphite, spinel manganese oxide, iron phosphate, and layered nickel-manganese-cobalt oxide", J. Electrochem.
Soc. 164 (2017) E3243, Table 1 as in PyBaMM's `MSMR_Example`, which names the oxide NMC622. The model gives the
stoichiometry as a function of the potential,

    x(U) = sum_j X_j / (1 + exp(f (U - U_j) / omega_j)),    f = F/(R T_ref),

and is inverted here. No complete set for NMC622 was found published: see `nmc622_verbrugge2017` for what stands in.
"""

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from battsim.constants import FARADAY, GAS_CONSTANT
from battsim.materials.closures import constant, constant1, square_root_exchange_current
from battsim.materials.types import REFERENCE_TEMPERATURE, ActiveMaterial, Closure1, Floats

MAX_CONCENTRATION = 38200.0
"""c_max, mol/m3: what makes the capacity between 4.3 and 3.0 V the measured 187 mAh/g."""

RATE_CONSTANT = 3.42e-6
"""m of i0 = m sqrt(c_e c_s (c_max - c_s)), (A/m2) (m3/mol)^1.5: that of `nmc811-chen2020`."""

SITES = (
    (0.13442, 3.62274, 0.96710),
    (0.32460, 3.72645, 1.39712),
    (0.21118, 3.90575, 3.50500),
    (0.32980, 4.22955, 5.52757),
)
"""Occupancy X_j, potential U_j in V and ideality omega_j of each kind of site; the occupancies sum to 1."""

FITTED = (0.13, 0.998)
"""4.30 to 3.41 V."""


def stoichiometry(U: Floats) -> tuple[Floats, Floats]:
    """Stoichiometry x(U) as published, and its slope dx/dU in 1/V."""
    f = FARADAY / (GAS_CONSTANT * REFERENCE_TEMPERATURE)
    x, dx_dU = np.zeros_like(U), np.zeros_like(U)
    for occupancy, potential, ideality in SITES:
        empty = 0.5 * (1.0 + np.tanh(0.5 * f * (U - potential) / ideality))
        x = x + occupancy * (1.0 - empty)
        dx_dU = dx_dU - occupancy * f / ideality * empty * (1.0 - empty)
    return x, dx_dU


def inverted() -> Closure1:
    """Closure U(x), the inverse of the published x(U) to rounding, and its exact slope.

    A cubic through values and slopes 5 mV apart, 1e-6 V from the inverse, and one Newton step from it. Spans
    U = 2.9 to 4.7 V, x = 0.99997 to 0.012; continue it by `open_circuit`.
    """
    U = np.linspace(4.7, 2.9, 361)
    x, dx_dU = stoichiometry(U)
    guess = CubicHermiteSpline(x, U, 1.0 / dx_dU)

    def evaluate(at: Floats) -> tuple[Floats, Floats]:
        U = guess(at)
        x, dx_dU = stoichiometry(U)
        U = U - (x - at) / dx_dU
        return U, 1.0 / stoichiometry(U)[1]

    return evaluate


def nmc622_verbrugge2017() -> ActiveMaterial:
    """Return an NMC622 set: the potential of Verbrugge et al. (2017), with stand-ins for everything else.

    x counts the sites of the fit, which are fewer than the crystal's: with the crystal's 49 200 mol/m3 the oxide would
    hold 241 mAh/g between 4.3 and 3.0 V. c_max is therefore taken such that it holds the 187 mAh/g of H.-J. Noh, S.
    Youn, C. S. Yoon, Y.-K. Sun, J. Power Sources 233 (2013) 121. The range over which the potential was fitted is not
    known; 4.30 to 3.41 V is assumed. The limits of charge are x = 0.19 (4.2 V) and 0.99 (3.53 V, on the drop at the
    end). D_s, m and its activation energy are those of `nmc811-chen2020`, sigma = 0.1 S/m that of `nmc532-mohtat2020`,
    the entropic coefficient zero: none was measured on this oxide. The density is that of the crystal (R-3m, a =
    2.867, c = 14.21 Angstrom, three formula units of 96.93 g/mol).
    """
    return ActiveMaterial(
        name="nmc622-verbrugge2017",
        source="potential: Verbrugge et al., J. Electrochem. Soc. 164 (2017) E3243; the rest stands in, see the module",
        max_concentration=MAX_CONCENTRATION,
        stoichiometry_soc100=0.19,
        stoichiometry_soc0=0.99,
        fitted=FITTED,
        ocp=inverted(),
        entropic=constant1(0.0),
        diffusivity=constant(4e-15),
        exchange_current=square_root_exchange_current(RATE_CONSTANT, MAX_CONCENTRATION, 17800.0),
        alpha_a=0.5,
        alpha_c=0.5,
        conductivity=0.1,
        density=4770.0,
        film_resistance=0.0,
    )
