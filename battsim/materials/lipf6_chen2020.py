"""LiPF6 in EC:EMC (3:7 by weight) as Chen et al. (2020) use it.

C.-H. Chen et al., J. Electrochem. Soc. 167 (2020) 080534, and PyBaMM's `Chen2020`: D_e and kappa of Nyman et al.
(Electrochim. Acta 53 (2008) 6356), but t_plus held at its value at 1 mol/L, 0.2594, and a thermodynamic factor of one.
A simplification, kept for comparison with models that make it; `lipf6-nyman2008` is the measured electrolyte.
"""

from battsim.materials.closures import constant, extend_in_concentration
from battsim.materials.lipf6_nyman2008 import FITTED, conductivity, diffusivity
from battsim.materials.types import Electrolyte


def lipf6_chen2020() -> Electrolyte:
    """Return the electrolyte of Chen et al. (2020). TF = 1 is TF itself, not its product with (1 - t_plus)."""
    return Electrolyte(
        name="lipf6-chen2020",
        source="Chen et al., J. Electrochem. Soc. 167 (2020) 080534, with D_e and kappa of Nyman et al. (2008)",
        diffusivity=extend_in_concentration(diffusivity),
        conductivity=extend_in_concentration(conductivity),
        transference=constant(0.2594),
        thermodynamic_factor=constant(1.0),
        fitted=FITTED,
    )
