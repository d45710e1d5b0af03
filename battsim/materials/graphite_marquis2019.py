"""Graphite (MCMB 2528) of a Kokam pouch cell.

S. G. Marquis, V. Sulzer, R. Timms, C. P. Please, S. J. Chapman, "An asymptotic derivation of a single particle model
with electrolyte", J. Electrochem. Soc. 166 (2019) A3693, and references therein; the numbers of its parameter file in
PyBaMM (`Marquis2019`). The potential is that of Dualfoil (J. Newman), measured in 2000 by C. Bogatu.
"""

import numpy as np

from battsim.materials.closures import arrhenius_constant, constant1, square_root_exchange_current
from battsim.materials.types import ActiveMaterial, Floats

MAX_CONCENTRATION = 24983.2619938437
"""c_max, mol/m3."""

RATE_CONSTANT = 2e-5
"""m of i0 = m sqrt(c_e c_s (c_max - c_s)), (A/m2) (m3/mol)^1.5."""

STEPS = (
    (0.0351, 0.286, 0.083),
    (-0.0045, 0.849, 0.119),
    (-0.035, 0.9233, 0.05),
    (-0.0147, 0.5, 0.034),
    (-0.102, 0.194, 0.142),
    (-0.022, 0.9, 0.0164),
    (-0.011, 0.124, 0.0226),
    (0.0155, 0.105, 0.029),
)
"""Height in V, centre and width in x of each hyperbolic tangent of U(x)."""


def ocp(x: Floats) -> tuple[Floats, Floats]:
    """Open-circuit potential and its slope, V: a constant, an exponential and eight hyperbolic tangents.

    Falls with x, but for a rise by 0.04 mV from x = 0.313 to 0.333 that is the fit's.
    """
    x = np.asarray(x, dtype=np.float64)
    rise = 1.5 * np.exp(-120.0 * x)
    U = 0.194 + rise
    dU_dx = -120.0 * rise
    for height, centre, width in STEPS:
        step = np.tanh((x - centre) / width)
        U = U + height * step
        dU_dx = dU_dx + height / width * (1.0 - step * step)
    return U, dU_dx


def graphite_marquis2019() -> ActiveMaterial:
    """Return the graphite of Marquis et al. (2019).

    D_s, m (each with its activation energy), c_max and sigma = 100 S/m, a bulk value there, as in the file. x = 0.9493
    and 0.1832 are the full cell's 4.1 V and 3.105 V against `lco-marquis2019`, with the electrodes and the lithium of
    the file. No fitted range is stated: the formula is in use and finite from 0 to 1, and its steps around x = 0.9
    show that there were data up to the end. The entropic coefficient is zero here: the function that goes by that name
    in the file is the slope of the potential divided by c_max, a quantity in V m3/mol taken for V/K, and is not
    repeated. The density is that of the graphite crystal (a = 2.461, c = 6.708 Angstrom, four atoms).
    """
    return ActiveMaterial(
        name="graphite-marquis2019",
        source="Marquis et al., J. Electrochem. Soc. 166 (2019) A3693, as in PyBaMM's Marquis2019",
        max_concentration=MAX_CONCENTRATION,
        stoichiometry_soc100=0.9493,
        stoichiometry_soc0=0.1832,
        fitted=(0.0, 1.0),
        ocp=ocp,
        entropic=constant1(0.0),
        diffusivity=arrhenius_constant(3.9e-14, 42770.0),
        exchange_current=square_root_exchange_current(RATE_CONSTANT, MAX_CONCENTRATION, 37480.0),
        alpha_a=0.5,
        alpha_c=0.5,
        conductivity=100.0,
        density=2260.0,
        film_resistance=0.0,
    )
