"""LiPF6 in three solvents, all four transport properties as functions of concentration and temperature.

J. Landesfeind, H. A. Gasteiger, "Temperature and concentration dependence of the ionic transport properties of
lithium-ion battery electrolytes", J. Electrochem. Soc. 166 (2019) A3079-A3097: EC:EMC (3:7), EC:DMC (1:1) and EMC:FEC
(19:1), by weight, 0.1 to 3 mol/L, -10 to 50 degC. With c in mol/L and T in K, as published:

    kappa  = p1 (1 + (T - p2)) c (1 + p3 c^0.5 + p4 (1 + p5 exp(1000/T)) c) / (1 + p6 exp(1000/T) c^4)     mS/cm
    D_e    = p1 exp(p2 c) exp(p3/T) exp(p4 c/T) 1e-6                                                       cm2/s
    TF and t_plus, each
           = p1 + p2 c + p3 T + p4 c^2 + p5 c T + p6 T^2 + p7 c^3 + p8 c^2 T + p9 c T^2

TF = 1 + dln f/dln c is published itself, not its product with (1 - t_plus).
"""

from dataclasses import dataclass

import numpy as np

from battsim.materials.closures import extend_in_concentration
from battsim.materials.types import ClosureT, Electrolyte, Floats

FITTED = (100.0, 3000.0)
"""Range of c_e, mol/m3."""

MOLAR = 1000.0
"""1 mol/L in mol/m3."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """p1, p2, ... of one solvent, in the order of the module's formulas."""

    conductivity: tuple[float, ...]
    diffusivity: tuple[float, ...]
    thermodynamic_factor: tuple[float, ...]
    transference: tuple[float, ...]


EC_EMC_3_7 = Coefficients(
    conductivity=(5.21e-1, 2.28e2, -1.06, 3.53e-1, -3.59e-3, 1.48e-3),
    diffusivity=(1.01e3, 1.01, -1.56e3, -4.87e2),
    thermodynamic_factor=(2.57e1, -4.51e1, -1.77e-1, 1.94, 2.95e-1, 3.08e-4, 2.59e-1, -9.46e-3, -4.54e-4),
    transference=(-1.28e1, -6.12, 8.21e-2, 9.04e-1, 3.18e-2, -1.27e-4, 1.75e-2, -3.12e-3, -3.96e-5),
)
EC_DMC_1_1 = Coefficients(
    conductivity=(7.98e-1, 2.28e2, -1.22, 5.09e-1, -4.00e-3, 3.79e-3),
    diffusivity=(1.47e3, 1.33, -1.69e3, -5.63e2),
    thermodynamic_factor=(-5.58, 7.17, 3.80e-2, 1.91, -6.65e-2, -5.08e-5, 1.10e-1, -6.10e-3, 1.51e-4),
    transference=(-7.91, 2.45e-1, 5.28e-2, 6.98e-1, -1.08e-2, -8.21e-5, 7.43e-4, -2.22e-3, 3.07e-5),
)
EMC_FEC_19_1 = Coefficients(
    conductivity=(2.51e-2, 1.75e2, 1.23, 2.05e-1, -8.81e-2, 2.83e-3),
    diffusivity=(5.86e2, 1.33, -1.38e3, -5.82e2),
    thermodynamic_factor=(3.22, -1.01e1, -1.58e-2, 6.12, 2.96e-2, 2.42e-5, -2.22e-1, -1.57e-2, 6.30e-6),
    transference=(-1.22e1, -3.05, 8.38e-2, 1.78, 1.51e-3, -1.37e-4, -2.45e-2, -5.15e-3, 2.14e-5),
)


def conductivity(p: tuple[float, ...]) -> ClosureT:
    """Closure of the conductivity, S/m, and its derivative in c_e."""
    p1, p2, p3, p4, p5, p6 = p

    def evaluate(c_e: Floats, T: float) -> tuple[Floats, Floats]:
        c = np.asarray(c_e, dtype=np.float64) / MOLAR
        heat = np.exp(1000.0 / T)
        scale, linear, quartic = 0.1 * p1 * (1.0 + (T - p2)), p4 * (1.0 + p5 * heat), p6 * heat
        root = np.sqrt(c)
        above, below = c * (1.0 + p3 * root + linear * c), 1.0 + quartic * c**4
        d_above, d_below = 1.0 + 1.5 * p3 * root + 2.0 * linear * c, 4.0 * quartic * c**3
        kappa = scale * above / below
        return kappa, (scale * d_above - kappa * d_below) / (below * MOLAR)

    return evaluate


def diffusivity(p: tuple[float, ...]) -> ClosureT:
    """Closure of the salt diffusivity, m2/s, and its derivative in c_e."""
    p1, p2, p3, p4 = p

    def evaluate(c_e: Floats, T: float) -> tuple[Floats, Floats]:
        c = np.asarray(c_e, dtype=np.float64) / MOLAR
        D_e = 1e-10 * p1 * np.exp(p3 / T + (p2 + p4 / T) * c)
        return D_e, D_e * (p2 + p4 / T) / MOLAR

    return evaluate


def polynomial(p: tuple[float, ...]) -> ClosureT:
    """Closure of the polynomial in c and T, for TF and t_plus, and its derivative in c_e."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = p

    def evaluate(c_e: Floats, T: float) -> tuple[Floats, Floats]:
        c = np.asarray(c_e, dtype=np.float64) / MOLAR
        a0, a1, a2 = p1 + p3 * T + p6 * T**2, p2 + p5 * T + p9 * T**2, p4 + p8 * T
        return a0 + c * (a1 + c * (a2 + c * p7)), (a1 + c * (2.0 * a2 + c * 3.0 * p7)) / MOLAR

    return evaluate


def _electrolyte(name: str, solvent: str, p: Coefficients) -> Electrolyte:
    """Electrolyte of one solvent.

    kappa and D_e keep their published form down to 1 mol/m3, where they level off; t_plus and TF, polynomials that mean
    nothing outside their data (TF(c = 0) is not 1), level off outside 0.1 to 3 mol/L. Above 3 mol/L all four do.
    """

    def measured(closure: ClosureT) -> ClosureT:
        return extend_in_concentration(closure, floor=FITTED[0], ceiling=FITTED[1], decay=200.0)

    return Electrolyte(
        name=name,
        source=f"Landesfeind and Gasteiger, J. Electrochem. Soc. 166 (2019) A3079, {solvent}",
        diffusivity=extend_in_concentration(diffusivity(p.diffusivity), ceiling=FITTED[1], decay=200.0),
        conductivity=extend_in_concentration(conductivity(p.conductivity), ceiling=FITTED[1], decay=200.0),
        transference=measured(polynomial(p.transference)),
        thermodynamic_factor=measured(polynomial(p.thermodynamic_factor)),
        fitted=FITTED,
    )


def lipf6_landesfeind2019() -> Electrolyte:
    """Return LiPF6 in EC:EMC (3:7 by weight)."""
    return _electrolyte("lipf6-landesfeind2019", "EC:EMC (3:7)", EC_EMC_3_7)


def lipf6_landesfeind2019_ec_dmc() -> Electrolyte:
    """Return LiPF6 in EC:DMC (1:1 by weight)."""
    return _electrolyte("lipf6-landesfeind2019-ec-dmc", "EC:DMC (1:1)", EC_DMC_1_1)


def lipf6_landesfeind2019_emc_fec() -> Electrolyte:
    """Return LiPF6 in EMC:FEC (19:1 by weight)."""
    return _electrolyte("lipf6-landesfeind2019-emc-fec", "EMC:FEC (19:1)", EMC_FEC_19_1)
