"""Kinetics of the interface.

Butler-Volmer: j = i0 (exp(alpha_a f eta) - exp(-alpha_c f eta)), f = F/(R T), with eta = phi_s - phi_e - U - j R_film.
j > 0 means that lithium leaves the active material (oxidation), in A per m2 of true interface.
J. Newman, K. E. Thomas-Alyea, Electrochemical Systems, 3rd ed., chapter 8.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LARGEST_EXPONENT = 250.0
"""Argument up to which exponentials are evaluated; beyond it they continue as a straight line.

At 298 K and alpha = 0.5 this is 12.8 V of overpotential: no solution lies there, only iterates that went astray, and
products of two such currents must still be finite."""


def butler_volmer(eta: Floats, i0: Floats, alpha_a: float, alpha_c: float, f: float) -> tuple[Floats, Floats, Floats]:
    """Return the current density and its derivatives in overpotential and exchange current.

    Parameters
    ----------
    eta : array
        Overpotential, V; any value, positive drives lithium out of the active material.
    i0 : array
        Exchange current density, A/m2; broadcasts with `eta`.
    alpha_a, alpha_c : float
        Anodic and cathodic transfer coefficients.
    f : float
        F/(R T), 1/V.

    Returns
    -------
    j, dj_deta, dj_di0
        A/m2, A/(m2 V) and dimensionless. Small eta loses no digits (expm1), large eta does not overflow.
    """
    anodic, danodic = _exponential_minus_one(alpha_a * f * np.asarray(eta, dtype=np.float64))
    cathodic, dcathodic = _exponential_minus_one(-alpha_c * f * np.asarray(eta, dtype=np.float64))
    dj_di0 = anodic - cathodic
    return i0 * dj_di0, i0 * f * (alpha_a * danodic + alpha_c * dcathodic), dj_di0


def _exponential_minus_one(argument: Floats) -> tuple[Floats, Floats]:
    """exp(z) - 1 and its derivative; past LARGEST_EXPONENT the tangent there."""
    inside = np.minimum(argument, LARGEST_EXPONENT)
    value = np.expm1(inside)
    slope = value + 1.0
    return value + slope * (argument - inside), slope
