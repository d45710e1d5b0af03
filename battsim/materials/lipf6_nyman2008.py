"""LiPF6 in EC:EMC (3:7 by weight) at 25 degC, all four transport properties.

A. Nyman, M. Behm, G. Lindbergh, "Electrochemical characterisation and modelling of the mass transport phenomena in
LiPF6-EC-EMC electrolyte", Electrochim. Acta 53 (2008) 6356-6365. Fitted from 0.2 to 2 mol/L; no temperature
dependence was measured. In the formulas below c is in mol/L, as published.
"""

import numpy as np

from battsim.materials.closures import extend_in_concentration
from battsim.materials.types import Electrolyte, Floats

FITTED = (200.0, 2000.0)
"""Range of c_e, mol/m3."""

MOLAR = 1000.0
"""1 mol/L in mol/m3."""

TRANSFERENCE = np.polynomial.Polynomial([0.4492, -0.4717, 0.4106, -0.1287])
"""t_plus(c)."""

TRANSFERENCE_TIMES_FACTOR = np.polynomial.Polynomial([0.44103, 0.74678, 0.28687])
"""(1 - t_plus) (1 + dln f/dln c), which is what concentration cells measure."""


def diffusivity(c_e: Floats, T: float) -> tuple[Floats, Floats]:  # noqa: ARG001
    """Salt diffusivity (8.794e-11 c^2 - 3.972e-10 c + 4.862e-10) m2/s and its derivative; positive for every c."""
    c = c_e / MOLAR
    D_e = (8.794e-11 * c - 3.972e-10) * c + 4.862e-10
    return D_e, (2 * 8.794e-11 * c - 3.972e-10) / MOLAR


def conductivity(c_e: Floats, T: float) -> tuple[Floats, Floats]:  # noqa: ARG001
    """Conductivity (0.1297 c^3 - 2.51 c^1.5 + 3.329 c) S/m and its derivative; positive for every c > 0."""
    c = c_e / MOLAR
    root = np.sqrt(c)
    kappa = (0.1297 * c * c - 2.51 * root + 3.329) * c
    return kappa, (3 * 0.1297 * c * c - 1.5 * 2.51 * root + 3.329) / MOLAR


def transference(c_e: Floats, T: float) -> tuple[Floats, Floats]:  # noqa: ARG001
    """Transference number 0.4492 - 0.4717 c + 0.4106 c^2 - 0.1287 c^3 and its derivative; 0.2594 at 1 mol/L."""
    c = c_e / MOLAR
    return TRANSFERENCE(c), TRANSFERENCE.deriv()(c) / MOLAR


def thermodynamic_factor(c_e: Floats, T: float) -> tuple[Floats, Floats]:
    """Thermodynamic factor TF = 1 + dln f/dln c and its derivative.

    The publication fits the product (1 - t_plus) TF = 0.44103 + 0.74678 c + 0.28687 c^2; here it is divided by
    (1 - t_plus). At 1 mol/L the product is 1.47, between 1.34 (L. O. Valoen, J. N. Reimers, J. Electrochem. Soc. 152
    (2005) A882, PC:EC:DMC) and 1.70 (J. Landesfeind, H. A. Gasteiger, ibid. 166 (2019) A3079, EC:EMC 3:7). Copies of
    the fit with -0.74678 are in circulation: TF is then negative around 1 mol/L, which no stable solution can have, and
    far from both of these measurements.
    """
    t_plus, dt_plus = transference(c_e, T)
    c = c_e / MOLAR
    product, dproduct = TRANSFERENCE_TIMES_FACTOR(c), TRANSFERENCE_TIMES_FACTOR.deriv()(c) / MOLAR
    TF = product / (1.0 - t_plus)
    return TF, (dproduct + TF * dt_plus) / (1.0 - t_plus)


def lipf6_nyman2008() -> Electrolyte:
    """Return the electrolyte of Nyman et al. (2008).

    Below 1 mol/m3 all four level off. D_e and kappa keep their published form upwards, where both stay positive;
    t_plus, which would turn negative at 2.2 mol/L, and TF level off above the fitted range.
    """
    return Electrolyte(
        name="lipf6-nyman2008",
        source="Nyman et al., Electrochim. Acta 53 (2008) 6356",
        diffusivity=extend_in_concentration(diffusivity),
        conductivity=extend_in_concentration(conductivity),
        transference=extend_in_concentration(transference, ceiling=FITTED[1], decay=200.0),
        thermodynamic_factor=extend_in_concentration(thermodynamic_factor, ceiling=FITTED[1], decay=200.0),
        fitted=FITTED,
    )
