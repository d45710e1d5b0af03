"""Where a cell stands before its first step: the stoichiometries that `[initial]` asks for, and their voltage."""

from __future__ import annotations

from collections.abc import Sequence

from battsim.case.full import CellCase
from battsim.case.p2d import Stoichiometries
from battsim.materials.charge import potential_at, soc_at_cell_voltage, stoichiometry_at_soc, stoichiometry_at_voltage
from battsim.materials.types import ActiveMaterial


def initial_stoichiometries(case: CellCase, materials: Sequence[ActiveMaterial]) -> tuple[float, ...]:
    """Stoichiometry of each electrode at the start, from the negative end on.

    A state of charge fixes all of them by the limits of their materials, and a voltage of a full cell its state of
    charge.

    Parameters
    ----------
    materials
        One of each porous electrode, as `active_materials(case)` gives them.

    Raises
    ------
    CaseError
        Where a voltage is outside the cell's open-circuit voltage.
    """
    initial, temperature = case.initial, case.conditions.temperature
    if isinstance(initial.stoichiometry, Stoichiometries):
        return initial.stoichiometry.negative, initial.stoichiometry.positive
    if initial.stoichiometry is not None:
        return (initial.stoichiometry,)
    soc = initial.soc
    if initial.voltage is not None:
        if len(materials) == 1:
            return (stoichiometry_at_voltage(materials[0], initial.voltage, temperature),)
        soc = soc_at_cell_voltage(materials[0], materials[1], initial.voltage, temperature)
    assert soc is not None
    return tuple(stoichiometry_at_soc(material, soc) for material in materials)


def open_circuit_voltage(materials: Sequence[ActiveMaterial], x: Sequence[float], temperature: float) -> float:
    """Voltage without current, V: of the positive electrode against the negative one, or against lithium metal.

    Parameters
    ----------
    materials, x
        Material and stoichiometry of each porous electrode, from the negative end on.
    temperature
        K.
    """
    U = [potential_at(material, each, temperature) for material, each in zip(materials, x, strict=True)]
    return U[-1] - (U[0] if len(U) == 2 else 0.0)
