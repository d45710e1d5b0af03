"""NMC811 of the LG M50 cell.

C.-H. Chen, F. Brosa Planella, K. O'Regan, D. Gastol, W. D. Widanage, E. Kendrick, "Development of experimental
techniques for parameterization of multi-scale lithium-ion battery models", J. Electrochem. Soc. 167 (2020) 080534.
"""

import numpy as np

from battsim.materials.closures import constant, constant1, square_root_exchange_current
from battsim.materials.types import ActiveMaterial, Floats

MAX_CONCENTRATION = 63104.0
"""c_max, mol/m3: fitted to the capacity of the cell, above the crystallographic 49 000."""

RATE_CONSTANT = 3.42e-6
"""m of i0 = m sqrt(c_e c_s (c_max - c_s)), (A/m2) (m3/mol)^1.5."""

ACTIVATION_ENERGY = 17800.0
"""Of the exchange current, J/mol."""


def ocp(x: Floats) -> tuple[Floats, Floats]:
    """Open-circuit potential and its slope, V.

    Chen et al. (2020): a sum of a line and three hyperbolic tangents, fitted to the half-cell measurement of
    the positive electrode, with x from about 0.25 to 0.93.
    """
    x = np.asarray(x, dtype=np.float64)
    U = 4.4875 - 0.8090 * x
    dU_dx = np.full_like(x, -0.8090)
    for height, steepness, centre in (
        (-0.0428, 18.5138, 0.5542),
        (-17.7326, 15.7890, 0.3117),
        (17.5842, 15.9308, 0.3120),
    ):
        step = np.tanh(steepness * (x - centre))
        U = U + height * step
        dU_dx = dU_dx + height * steepness * (1.0 - step * step)
    return U, dU_dx


def nmc811_chen2020() -> ActiveMaterial:
    """Return the NMC811 set of Chen et al. (2020).

    Limits of x, c_max, D_s, m, E and sigma as in the paper's tables; sigma = 0.18 S/m is used there as
    the effective value of the electrode. The paper reports no entropic coefficient and uses zero. The density is
    that of the crystal (R-3m, a = 2.87, c = 14.2 Angstrom, three formula units of 97.28 g/mol), for capacity per gram;
    the 3262 kg/m3 found in parameter files is labelled as the density of the electrode.
    """
    return ActiveMaterial(
        name="nmc811-chen2020",
        source="Chen et al., J. Electrochem. Soc. 167 (2020) 080534",
        max_concentration=MAX_CONCENTRATION,
        stoichiometry_soc100=0.27,
        stoichiometry_soc0=0.9084,
        fitted=(0.25, 0.93),
        ocp=ocp,
        entropic=constant1(0.0),
        diffusivity=constant(4e-15),
        exchange_current=square_root_exchange_current(RATE_CONSTANT, MAX_CONCENTRATION, ACTIVATION_ENERGY),
        alpha_a=0.5,
        alpha_c=0.5,
        conductivity=0.18,
        density=4780.0,
        film_resistance=0.0,
    )
