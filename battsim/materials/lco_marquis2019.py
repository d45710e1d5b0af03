"""Lithium cobalt oxide of a Kokam pouch cell.

S. G. Marquis, V. Sulzer, R. Timms, C. P. Please, S. J. Chapman, "An asymptotic derivation of a single particle model
with electrolyte", J. Electrochem. Soc. 166 (2019) A3693, and references therein; the numbers of its parameter file in
PyBaMM (`Marquis2019`). The potential is that of Dualfoil (J. Newman): measured by O. Garcia (2001) for 0.5 < x < 0.99,
below 0.4 from M. Doyle's thesis (1995).
"""

import numpy as np

from battsim.materials.closures import arrhenius_constant, constant1, square_root_exchange_current
from battsim.materials.types import ActiveMaterial, Floats

MAX_CONCENTRATION = 51217.9257309275
"""c_max, mol/m3."""

RATE_CONSTANT = 6e-7
"""m of i0 = m sqrt(c_e c_s (c_max - c_s)), (A/m2) (m3/mol)^1.5."""

STRETCH = 1.062
"""Dualfoil's factor between x and the argument of the fit."""

STEPS = (
    (0.07645, 30.834, -54.4806),
    (2.1581, 52.294, -50.294),
    (-0.14169, 11.0923, -19.8543),
    (0.2051, 1.4684, -5.4888),
    (0.2531, 0.56478 / 0.1316, -1.0 / 0.1316),
    (-0.02167, -0.525 / 0.006, 1.0 / 0.006),
)
"""Height in V, offset and slope of the argument of each hyperbolic tangent of U, in y = 1.062 x."""


def ocp(x: Floats) -> tuple[Floats, Floats]:
    """Open-circuit potential and its slope, V: a constant and six hyperbolic tangents in y = 1.062 x."""
    y = STRETCH * np.asarray(x, dtype=np.float64)
    U = np.full_like(y, 2.16216)
    dU_dy = np.zeros_like(y)
    for height, offset, slope in STEPS:
        step = np.tanh(offset + slope * y)
        U = U + height * step
        dU_dy = dU_dy + height * slope * (1.0 - step * step)
    return U, STRETCH * dU_dy


def lco_marquis2019() -> ActiveMaterial:
    """Return the lithium cobalt oxide of Marquis et al. (2019).

    D_s, m (each with its activation energy), c_max and sigma = 10 S/m, a bulk value there, as in the file. x = 0.5126
    and 0.9610 are the full cell's 4.1 V and 3.105 V against `graphite-marquis2019`, with the electrodes and the
    lithium of the file. The fitted range is Garcia's down to Doyle's: the gap from 0.4 to 0.5 between both holds the
    formula's ordering step at x = 0.494, in the middle of which a continuation from 0.5 would begin. The entropic
    coefficient is zero here: the function that goes by that name in the file is the slope of the potential divided by
    c_max, a quantity in V m3/mol taken for V/K, and is not repeated. The density is that of the crystal (R-3m,
    a = 2.816, c = 14.05 Angstrom, three formula units of 97.87 g/mol).
    """
    return ActiveMaterial(
        name="lco-marquis2019",
        source="Marquis et al., J. Electrochem. Soc. 166 (2019) A3693, as in PyBaMM's Marquis2019",
        max_concentration=MAX_CONCENTRATION,
        stoichiometry_soc100=0.5126,
        stoichiometry_soc0=0.9610,
        fitted=(0.4, 0.99),
        ocp=ocp,
        entropic=constant1(0.0),
        diffusivity=arrhenius_constant(1e-13, 18550.0),
        exchange_current=square_root_exchange_current(RATE_CONSTANT, MAX_CONCENTRATION, 39570.0),
        alpha_a=0.5,
        alpha_c=0.5,
        conductivity=10.0,
        density=5050.0,
        film_resistance=0.0,
    )
