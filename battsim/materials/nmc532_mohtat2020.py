"""NMC532 of a graphite pouch cell.

P. Mohtat, S. Lee, V. Sulzer, J. B. Siegel, A. G. Stefanopoulou, "Differential expansion and voltage model for Li-ion
batteries at practical charging rates", J. Electrochem. Soc. 167 (2020) 110561; the numbers of its parameter file in
PyBaMM (`Mohtat2020`).
"""

import numpy as np

from battsim.materials.closures import arrhenius_constant, square_root_exchange_current
from battsim.materials.types import ActiveMaterial, Floats

MAX_CONCENTRATION = 35380.0
"""c_max, mol/m3."""

RATE_CONSTANT = 4.824e-6
"""m of i0 = m sqrt(c_e c_s (c_max - c_s)), (A/m2) (m3/mol)^1.5."""

OCP_POLYNOMIAL = np.polynomial.Polynomial([4.3452, -1.6518, 1.6225, -2.0843, 3.5146, -2.2166])
"""Polynomial part of U(x), V."""

ENTROPIC_POLYNOMIAL = np.polynomial.Polynomial([-0.8, 0.779, -0.284, 0.046, -0.0028])
"""dU/dT as a polynomial of U in V, V/K."""


def ocp(x: Floats) -> tuple[Floats, Floats]:
    """Open-circuit potential and its slope, V: a polynomial of degree five and the drop at full lithiation."""
    x = np.asarray(x, dtype=np.float64)
    drop = -0.5623e-4 * np.exp(109.451 * x - 100.006)
    return OCP_POLYNOMIAL(x) + drop, OCP_POLYNOMIAL.deriv()(x) + 109.451 * drop


def entropic(x: Floats) -> tuple[Floats, Floats]:
    """Entropic coefficient dU/dT and its slope in x, V/K.

    W. Lu et al., J. Electrochem. Soc. 153 (2006) A2147 (calorimetry on Li[Ni,Co,Mn]O2), as a polynomial of the
    open-circuit potential. The U to insert is `ocp`. PyBaMM's file inserts a copy of it that lacks the term of fifth
    degree, which makes dU/dT ten times too large at x = 0.9 (-4.6 instead of -0.36 mV/K); that slip is not repeated.
    """
    U, dU_dx = ocp(x)
    return ENTROPIC_POLYNOMIAL(U), ENTROPIC_POLYNOMIAL.deriv()(U) * dU_dx


def nmc532_mohtat2020() -> ActiveMaterial:
    """Return the NMC532 set of Mohtat et al. (2020).

    x = 0.0335 and 0.8907 are the cell's 100 % (4.2 V) and 0 % (2.8 V) of charge. No fitted range is stated. It is taken
    as 0.03 to 0.99: the lower end is where the cell's own window ends; the exponential term is below 0.1 mV up to
    x = 0.91 and reaches 0.24 V at 0.99, so that its coefficients can only come from data inside that drop.
    The file's 100 S/m and 3100 kg/m3 describe the composite electrode, carbon and pores included, and are not used:
    sigma = 0.1 S/m is a constant stand-in for the oxide, whose conductivity rises from 1e-5 to 1 S/m as lithium leaves
    (Li1-xNi0.5Mn0.2Co0.3O2, x = 0 to 0.75; R. Amin, Y.-M. Chiang, J. Electrochem. Soc. 163 (2016) A1512); the density
    is that of the crystal (R-3m, a = 2.87, c = 14.2 Angstrom, three formula units of 96.55 g/mol).
    """
    return ActiveMaterial(
        name="nmc532-mohtat2020",
        source="Mohtat et al., J. Electrochem. Soc. 167 (2020) 110561, as in PyBaMM's Mohtat2020",
        max_concentration=MAX_CONCENTRATION,
        stoichiometry_soc100=0.0335,
        stoichiometry_soc0=0.8907,
        fitted=(0.03, 0.99),
        ocp=ocp,
        entropic=entropic,
        diffusivity=arrhenius_constant(8e-15, 18550.0),
        exchange_current=square_root_exchange_current(RATE_CONSTANT, MAX_CONCENTRATION, 39570.0),
        alpha_a=0.5,
        alpha_c=0.5,
        conductivity=0.1,
        density=4750.0,
        film_resistance=0.0,
    )
