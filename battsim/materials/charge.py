"""From a state of charge or a voltage to a stoichiometry, and back."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from battsim.errors import CaseError
from battsim.materials.types import ActiveMaterial, open_circuit


def stoichiometry_at_soc(material: ActiveMaterial, soc: float) -> float:
    """Stoichiometry at a state of charge in [0, 1], linear between the material's limits."""
    return material.stoichiometry_soc0 + soc * (material.stoichiometry_soc100 - material.stoichiometry_soc0)


def soc_at_stoichiometry(material: ActiveMaterial, x: float) -> float:
    """State of charge of a mean stoichiometry; below 0 or above 1 outside the material's limits."""
    return (x - material.stoichiometry_soc0) / (material.stoichiometry_soc100 - material.stoichiometry_soc0)


def potential_at(material: ActiveMaterial, x: float, temperature: float) -> float:
    """Open-circuit potential at one stoichiometry, V."""
    return float(open_circuit(material, np.array([x]), temperature)[0][0])


def stoichiometry_at_voltage(material: ActiveMaterial, voltage: float, temperature: float) -> float:
    """Stoichiometry whose open-circuit potential is `voltage`, inside the fitted range.

    Raises
    ------
    CaseError
        Where the open-circuit potential does not take that value there.
    """
    low, high = material.fitted
    U_low, U_high = (potential_at(material, x, temperature) for x in (low, high))
    if not min(U_low, U_high) <= voltage <= max(U_low, U_high):
        raise CaseError(
            f"initial.voltage = {voltage:g} V is outside the open-circuit potential of {material.name}, "
            f"{min(U_low, U_high):.3f} to {max(U_low, U_high):.3f} V over its fitted range; choose a voltage in it, "
            "or give soc or stoichiometry"
        )

    return float(brentq(lambda x: potential_at(material, x, temperature) - voltage, low, high, xtol=1e-14))


def soc_at_cell_voltage(
    negative: ActiveMaterial, positive: ActiveMaterial, voltage: float, temperature: float
) -> float:
    """State of charge of a full cell at rest at a voltage, both electrodes between their limits.

    Raises
    ------
    CaseError
        Where the open-circuit voltage does not take that value between 0 and 100 %.
    """

    def excess(soc: float) -> float:
        U = [potential_at(m, stoichiometry_at_soc(m, soc), temperature) for m in (negative, positive)]
        return U[1] - U[0] - voltage

    low, high = excess(0.0), excess(1.0)
    if not low <= 0.0 <= high:
        raise CaseError(
            f"initial.voltage = {voltage:g} V is outside the open-circuit voltage of {negative.name} and "
            f"{positive.name}, {voltage + low:.3f} V at 0 % to {voltage + high:.3f} V at 100 %; choose a voltage in "
            "it, or give soc"
        )
    return float(brentq(excess, 0.0, 1.0, xtol=1e-14))
