"""LiPF6 in PC:EC:DMC (10:27:63 by volume), all four transport properties, with their temperature dependence.

L. O. Valoen, J. N. Reimers, "Transport properties of LiPF6-based Li-ion battery electrolytes", J. Electrochem. Soc.
152 (2005) A882-A891: D_e by eq. 14, kappa by eq. 17, t_plus = 0.38 throughout, and the product (1 - t_plus) TF.
Measured up to 3.9 mol/L, from -10 to 60 degC. In the formulas below c is in mol/L, as published. PyBaMM's `Xu2019`
takes D_e and kappa from here, but TF = 1.
"""

import math

import numpy as np

from battsim.materials.closures import constant, extend_in_concentration
from battsim.materials.types import Electrolyte, Floats

FITTED = (1.0, 3900.0)
"""Range of c_e, mol/m3; the paper's lower end is 7.7e-6 mol/L, below which nothing changes."""

MOLAR = 1000.0
"""1 mol/L in mol/m3."""

TRANSFERENCE = 0.38
"""t_plus."""

SMALLEST_ABOVE_GLASS = 10.0
"""T - 229 - 5 c is not let below this, K: the pole of D_e; reached at no salt concentration in use above -10 degC."""

SMALLEST_Q = 0.01
"""q(c, T) is not let below this: below -10 degC it turns negative above 3.5 mol/L, and its square would rise."""


def diffusivity(c_e: Floats, T: float) -> tuple[Floats, Floats]:
    """Salt diffusivity and its derivative: log10(D_e in cm2/s) = -4.43 - 54/(T - 229 - 5 c) - 0.22 c."""
    c = np.asarray(c_e, dtype=np.float64) / MOLAR
    above_glass = np.maximum(T - 229.0 - 5.0 * c, SMALLEST_ABOVE_GLASS)
    glass_slope = np.where(above_glass > SMALLEST_ABOVE_GLASS, -5.0, 0.0)
    D_e = 1e-4 * 10.0 ** (-4.43 - 54.0 / above_glass - 0.22 * c)
    return D_e, D_e * math.log(10.0) * (54.0 * glass_slope / above_glass**2 - 0.22) / MOLAR


def conductivity(c_e: Floats, T: float) -> tuple[Floats, Floats]:
    """Conductivity and its derivative: 0.1 c q(c, T)^2 S/m with a quadratic q in c; positive for c > 0."""
    c = np.asarray(c_e, dtype=np.float64) / MOLAR
    q0 = -10.5 + 0.0740 * T - 6.96e-5 * T**2
    q1 = 0.668 - 0.0178 * T + 2.80e-5 * T**2
    q2 = 0.494 - 8.86e-4 * T
    q = np.maximum(q0 + q1 * c + q2 * c * c, SMALLEST_Q)
    dq_dc = np.where(q > SMALLEST_Q, q1 + 2.0 * q2 * c, 0.0)
    return 0.1 * c * q * q, 0.1 * q * (q + 2.0 * c * dq_dc) / MOLAR


def thermodynamic_factor(c_e: Floats, T: float) -> tuple[Floats, Floats]:
    """Thermodynamic factor TF = 1 + dln f/dln c and its derivative.

    The publication fits the product (1 - t_plus) TF = 0.601 - 0.24 c^0.5 + 0.982 (1 - 0.0052 (T - 294)) c^1.5; here it
    is divided by 1 - t_plus = 0.62. TF is 0.97 at infinite dilution.
    """
    c = np.asarray(c_e, dtype=np.float64) / MOLAR
    root, warm = np.sqrt(c), 0.982 * (1.0 - 0.0052 * (T - 294.0))
    product = 0.601 - 0.24 * root + warm * c * root
    slope = (-0.12 / root + 1.5 * warm * root) / MOLAR
    return product / (1.0 - TRANSFERENCE), slope / (1.0 - TRANSFERENCE)


def lipf6_valoen2005() -> Electrolyte:
    """Return the electrolyte of Valoen and Reimers (2005).

    Below 1 mol/m3 and above 3.9 mol/L D_e, kappa and TF level off.
    """
    return Electrolyte(
        name="lipf6-valoen2005",
        source="Valoen and Reimers, J. Electrochem. Soc. 152 (2005) A882",
        diffusivity=extend_in_concentration(diffusivity, ceiling=FITTED[1], decay=200.0),
        conductivity=extend_in_concentration(conductivity, ceiling=FITTED[1], decay=200.0),
        transference=constant(TRANSFERENCE),
        thermodynamic_factor=extend_in_concentration(thermodynamic_factor, ceiling=FITTED[1], decay=200.0),
        fitted=FITTED,
    )
