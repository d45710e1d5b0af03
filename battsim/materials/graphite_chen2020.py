"""Graphite (with silicon oxide) of the LG M50 cell.

C.-H. Chen, F. Brosa Planella, K. O'Regan, D. Gastol, W. D. Widanage, E. Kendrick, "Development of experimental
techniques for parameterization of multi-scale lithium-ion battery models", J. Electrochem. Soc. 167 (2020) 080534.
"""

import numpy as np

from battsim.materials.closures import constant, constant1, square_root_exchange_current
from battsim.materials.types import ActiveMaterial, Floats

MAX_CONCENTRATION = 33133.0
"""c_max, mol/m3."""

RATE_CONSTANT = 6.48e-7
"""m of i0 = m sqrt(c_e c_s (c_max - c_s)), (A/m2) (m3/mol)^1.5."""

ACTIVATION_ENERGY = 35000.0
"""Of the exchange current, J/mol."""


def ocp(x: Floats) -> tuple[Floats, Floats]:
    """Open-circuit potential and its slope, V: a constant, an exponential and three hyperbolic tangents.

    Falls with x everywhere between 0 and 1.
    """
    x = np.asarray(x, dtype=np.float64)
    rise = 1.9793 * np.exp(-39.3631 * x)
    U = 0.2482 + rise
    dU_dx = -39.3631 * rise
    for height, steepness, centre in (
        (-0.0909, 29.8538, 0.1234),
        (-0.04478, 14.9159, 0.2769),
        (-0.0205, 30.4444, 0.6103),
    ):
        step = np.tanh(steepness * (x - centre))
        U = U + height * step
        dU_dx = dU_dx + height * steepness * (1.0 - step * step)
    return U, dU_dx


def graphite_chen2020() -> ActiveMaterial:
    """Return the negative electrode's set of Chen et al. (2020), LiC6 with some 10 % of SiOx lumped into one material.

    c_max, D_s, m, E, sigma and the limits (x = 0.9014 at 4.2 V, 0.0279 at 2.5 V) as in the paper's tables; sigma = 215
    S/m is used there as the effective value of the electrode. The paper reports no entropic coefficient and uses zero.
    The potential was measured from x = 0.03 to 0.90; the range is taken as 0.02 to 0.93, in which the formula runs on
    smoothly, so that the cell's own window lies inside. Below x = 0.05 the formula is up to 0.1 V below the
    measurement; towards x = 1 it flattens at 92 mV, where lithiated graphite drops to zero. The density is that of the
    graphite crystal (a = 2.461, c = 6.708 Angstrom, four atoms), for capacity per gram; the 1657 kg/m3 found in
    parameter files is labelled as the density of the electrode.
    """
    return ActiveMaterial(
        name="graphite-chen2020",
        source="Chen et al., J. Electrochem. Soc. 167 (2020) 080534",
        max_concentration=MAX_CONCENTRATION,
        stoichiometry_soc100=0.9014,
        stoichiometry_soc0=0.0279,
        fitted=(0.02, 0.93),
        ocp=ocp,
        entropic=constant1(0.0),
        diffusivity=constant(3.3e-14),
        exchange_current=square_root_exchange_current(RATE_CONSTANT, MAX_CONCENTRATION, ACTIVATION_ENERGY),
        alpha_a=0.5,
        alpha_c=0.5,
        conductivity=215.0,
        density=2260.0,
        film_resistance=0.0,
    )
