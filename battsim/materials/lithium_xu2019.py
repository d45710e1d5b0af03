"""Lithium metal as counter electrode.

S. Xu, K.-H. Chen, N. P. Dasgupta, J. B. Siegel, A. G. Stefanopoulou, "Evolution of dead lithium growth in lithium metal
batteries: experimentally validated model of the apparent capacity loss", J. Electrochem. Soc. 166 (2019) A3456-A3463.
"""

import numpy as np

from battsim.constants import FARADAY
from battsim.materials.closures import SMALLEST_STATE
from battsim.materials.types import CounterElectrode, Floats

LITHIUM_CONCENTRATION = 76900.0
"""c_Li of the metal, mol/m3 (molar volume 1.3e-5 m3/mol)."""


def exchange_current(c_e: Floats, T: float) -> tuple[Floats, Floats]:  # noqa: ARG001 (no temperature dependence given)
    """Exchange current i0 = 3.5e-8 F c_Li^0.7 c_e^0.3, A/m2, and its derivative in c_e; levels off below 1e-12."""
    c_e = np.asarray(c_e, dtype=np.float64)
    salt = np.maximum(c_e, SMALLEST_STATE)
    i0 = 3.5e-8 * FARADAY * LITHIUM_CONCENTRATION**0.7 * salt**0.3
    return i0, np.where(c_e > SMALLEST_STATE, 0.3 * i0 / salt, 0.0)


def lithium_xu2019() -> CounterElectrode:
    """Return the lithium electrode of Xu et al. (2019): 70.6 A/m2 at 1 mol/L."""
    return CounterElectrode(
        name="lithium-xu2019",
        source="Xu et al., J. Electrochem. Soc. 166 (2019) A3456",
        exchange_current=exchange_current,
        alpha_a=0.5,
        alpha_c=0.5,
    )
