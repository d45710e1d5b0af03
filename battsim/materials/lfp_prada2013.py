"""Lithium iron phosphate of an A123 26650 cell.

E. Prada, D. Di Domenico, Y. Creff, J. Bernard, V. Sauvant-Moynot, F. Huet, "A simplified electrochemical and thermal
aging model of LiFePO4-graphite Li-ion batteries", J. Electrochem. Soc. 160 (2013) A616; the numbers of its parameter
file in PyBaMM (`Prada2013`). That paper gives no formula for the potential, which is the one of S. Afshar, K. Morris,
A. Khajepour (arXiv 1709.03970, 2017), and the file takes its exchange current from A. G. Kashkooli et al., J. Appl.
Electrochem. 47 (2017) 281.
"""

import numpy as np

from battsim.materials.closures import constant, constant1, square_root_exchange_current
from battsim.materials.types import ActiveMaterial, Floats

MAX_CONCENTRATION = 22806.0
"""c_max, mol/m3."""

RATE_CONSTANT = 6e-7
"""m of i0 = m sqrt(c_e c_s (c_max - c_s)), (A/m2) (m3/mol)^1.5."""


def ocp(x: Floats) -> tuple[Floats, Floats]:
    """Open-circuit potential and its slope, V: a plateau of slope -0.02 V between two exponentials."""
    x = np.asarray(x, dtype=np.float64)
    rise, drop = 0.5 * np.exp(-150.0 * x), 0.9 * np.exp(-30.0 * (1.0 - x))
    return 3.4077 - 0.020269 * x + rise - drop, -0.020269 - 150.0 * rise - 30.0 * drop


def lfp_prada2013() -> ActiveMaterial:
    """Return the lithium iron phosphate set that goes by the name of Prada et al. (2013).

    c_max, D_s and sigma = 0.338 S/m, a bulk value there, as in the file, at 298 K. D_s = 5.9e-18 m2/s belongs to
    particles of 50 nm radius: resolved particles of a micrometre would take days. The plateau is a coexistence of two
    phases; here, as in most models of porous electrodes, it is a solid solution with a nearly flat potential. m and
    its activation energy are those of lithium cobalt oxide in `lco-marquis2019`, a stand-in of the file. x = 0.0038
    and 0.7035 are the full cell's 3.6 V and 2.0 V against the graphite of Chen et al. (2020), with the electrodes and
    the lithium of the file. No fitted range is stated; the formula is in use, finite and falling from 0 to 1. The
    density is that of the crystal (Pnma, a = 10.33, b = 6.01, c = 4.69 Angstrom, four formula units of 157.76 g/mol).
    """
    return ActiveMaterial(
        name="lfp-prada2013",
        source="Prada et al., J. Electrochem. Soc. 160 (2013) A616, as in PyBaMM's Prada2013",
        max_concentration=MAX_CONCENTRATION,
        stoichiometry_soc100=0.0038,
        stoichiometry_soc0=0.7035,
        fitted=(0.0, 1.0),
        ocp=ocp,
        entropic=constant1(0.0),
        diffusivity=constant(5.9e-18),
        exchange_current=square_root_exchange_current(RATE_CONSTANT, MAX_CONCENTRATION, 39570.0),
        alpha_a=0.5,
        alpha_c=0.5,
        conductivity=0.33795074,
        density=3600.0,
        film_resistance=0.0,
    )
