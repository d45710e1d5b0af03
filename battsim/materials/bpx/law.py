"""Which of BPX's laws a closure follows: an activation energy, a reaction rate constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from battsim.constants import FARADAY, GAS_CONSTANT
from battsim.errors import CaseError
from battsim.materials.bpx import names
from battsim.materials.bpx.sample import is_constant, sampled
from battsim.materials.types import ActiveMaterial, ClosureT, Floats

WARMER = (-15.0, -5.0, 5.0, 15.0)
"""Temperatures at which an Arrhenius law is tried out, K from the reference."""

SITES = np.linspace(0.05, 0.95, 19)
"""Stoichiometries at which an exchange current is tried out."""

AT_THE_ENDS = 1e-3
"""Tolerance of a sampled exchange current, relative to its largest value: at the ends of x it falls like a root."""

SAME = 1e-6
"""Relative difference up to which a law is taken to hold."""


@dataclass(frozen=True, slots=True)
class Law:
    """Quantity at the reference temperature, in the terms of BPX."""

    value: Any
    """Number or table."""
    activation_energy: float = 0.0
    """J/mol; 0 where the quantity does not follow Arrhenius' law."""
    note: str | None = None
    """What other readers will miss."""
    user_defined: dict[str, Any] = field(default_factory=dict)
    """Names of the user-defined block, without their place, and values."""


def activation_energy(values: Callable[[float], Floats], reference: float) -> float | None:
    """E in J/mol of values(T) ~ exp(E/R (1/T_ref - 1/T)), the same for all values; None where there is no such E."""
    at_reference = values(reference)
    energies = np.concatenate(
        [
            GAS_CONSTANT * np.log(values(T) / at_reference) / (1.0 / reference - 1.0 / T)
            for T in (reference + warmer for warmer in WARMER)
        ]
    )
    energy = float(energies.mean())
    same = np.abs(energies - energy).max() <= SAME * max(abs(energy), 1.0)
    return energy if same else None


def property_of(what: str, closure: ClosureT, reference: float, span: tuple[float, float], relative: float) -> Law:
    """Law of a property of transport between the ends of `span`, sampled to a relative tolerance."""
    low, high = span
    places = np.linspace(low, high, 41)
    energy = activation_energy(lambda T: closure(places, T)[0], reference)

    def at_reference(state: Floats) -> Floats:
        return closure(state, reference)[0]

    if is_constant(at_reference, places):
        value: Any = float(at_reference(places[:1])[0])
    else:
        value = sampled(at_reference, low, high, relative=relative)
    note = f"{what} holds at {reference:g} K only: its temperature dependence is no Arrhenius law."
    return Law(value, energy or 0.0, note if energy is None else None)


def exchange_current_of(what: str, material: ActiveMaterial, salt: float, reference: float, relative: float) -> Law:
    """Reaction rate constant K of i0 = F K sqrt(c_e/c_e0) sqrt(x (1 - x)), mol/(m2 s).

    Where i0 has another form, K meets it at x = 1/2 and c_e0, and the user-defined names hold i0(x, c_e0) as a table
    and its exponent of c_e.

    Raises
    ------
    CaseError
        Where i0 is no power of the salt concentration.
    """

    def at(c_e: float, T: float = reference) -> Floats:
        return material.exchange_current(SITES, np.full_like(SITES, c_e), T)[0]

    energy = activation_energy(lambda T: at(salt, T), reference)
    note = f"{what}: the exchange current holds at {reference:g} K only, being no Arrhenius law."
    temperature_note = note if energy is None else None
    exponents = np.concatenate([np.log(at(share * salt) / at(salt)) / np.log(share) for share in (0.25, 0.5, 2.0)])
    exponent = float(exponents.mean())
    if np.abs(exponents - exponent).max() > SAME:
        raise CaseError(
            f"{what}: the exchange current is no power of the salt concentration (exponents from "
            f"{exponents.min():.3f} to {exponents.max():.3f}), which BPX cannot hold; write the "
            "cell without this electrode, or with another law."
        )
    rates = at(salt) / (FARADAY * np.sqrt(SITES * (1.0 - SITES)))
    if abs(exponent - 0.5) <= SAME and np.abs(rates / rates.mean() - 1.0).max() <= SAME:
        return Law(float(rates.mean()), energy or 0.0, temperature_note)

    def of_sites(x: Floats) -> Floats:
        return material.exchange_current(x, np.full_like(x, salt), reference)[0]

    table = sampled(of_sites, 0.0, 1.0, absolute=AT_THE_ENDS * float(at(salt).max()), relative=relative)
    form = (
        f"{what}: the exchange current has a form of its own, in {names.USER_DEFINED}; the rate constant meets it at "
        "x = 0.5."
    )
    middle = float(material.exchange_current(np.array([0.5]), np.array([salt]), reference)[0][0])
    return Law(
        middle / (0.5 * FARADAY),
        energy or 0.0,
        " ".join(filter(None, (form, temperature_note))),
        {names.EXCHANGE_CURRENT: table, names.SALT_EXPONENT: exponent},
    )
