"""BPX's functions (a number, a formula in x, or a table) as closures with exact derivatives, moved to 298.15 K."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from battsim.errors import CaseError
from battsim.materials.bpx.section import Range, Section
from battsim.materials.closures import SMALLEST_STATE, arrhenius, constant1, extend_in_concentration
from battsim.materials.expression import compile_expression
from battsim.materials.table import interpolate
from battsim.materials.types import Closure1, ClosureT, ExchangeCurrent, Floats

POTENTIALS = Range(-1.0, 6.0)
"""Open-circuit potentials that are believed, V."""

STOICHIOMETRIES = np.linspace(0.0, 1.0, 401)
"""Where a formula in the stoichiometry is tried out."""

SALTS = np.geomspace(1.0, 8000.0, 401)
"""Where a formula in the salt concentration is tried out, mol/m3."""

INSIDE_SITES = (SMALLEST_STATE, 1.0 - SMALLEST_STATE)
"""Stoichiometries between which diffusivity and exchange current are evaluated."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a file."""

    closure: Closure1
    domain: tuple[float, float] | None = None
    """Range of a table; None for a number or a formula."""

    def tried(self, places: Floats) -> Floats:
        """Values at places of shape (n,), clipped to a table's range; infinite where a formula has none."""
        x = places if self.domain is None else np.clip(places, *self.domain)
        try:
            return self.closure(x)[0]
        except CaseError:  # somewhere: find out where
            return x + np.inf if x.size == 1 else np.concatenate([self.tried(half) for half in np.array_split(x, 2)])


def read_function(section: Section, key: str, *, in_solid: bool) -> Function:
    """Function of a key.

    Parameters
    ----------
    in_solid : bool
        Whether its argument is a stoichiometry, so that a table must stay between 0 and 1.

    Raises
    ------
    CaseError
        Where it is no number, formula or table, the formula holds more than arithmetic and the listed functions, or the
        table is not rising in x or leaves [0, 1].
    """
    value = section.required(key, "a number, a formula in x or a table")
    if isinstance(value, str):
        try:
            formula = compile_expression(value, ("x",), "x")
        except CaseError as error:
            raise CaseError(f"{section.where}, {key}: {error}") from None
        return Function(lambda x: formula({"x": x}))
    if isinstance(value, dict):
        x, y = _table(section, key, value)
        if in_solid and not 0.0 <= x[0] <= x[-1] <= 1.0:
            raise section.refuse(key, f"a table from x = {x[0]:g} to {x[-1]:g}", "a stoichiometry between 0 and 1")
        return Function(interpolate(x, y), (float(x[0]), float(x[-1])))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise section.refuse(key, repr(value), 'a finite number, a formula in x or a table {"x": [...], "y": [...]}')
    return Function(constant1(float(value)))


def _table(section: Section, key: str, value: dict[str, Any]) -> tuple[Floats, Floats]:
    """Abscissas, strictly rising, and ordinates of a table, shape (n,) each."""
    if set(value) != {"x", "y"} or not all(isinstance(column, list) for column in value.values()):
        raise section.refuse(
            key, f"an object with {', '.join(map(repr, value)) or 'nothing'}", 'two lists, "x" and "y"'
        )
    for name, column in value.items():
        for number, entry in enumerate(column, start=1):
            if isinstance(entry, bool) or not isinstance(entry, int | float) or not math.isfinite(entry):
                raise section.refuse(f"{key}, {name}", f"{entry!r} as entry {number}", "a finite number")
    x, y = value["x"], value["y"]
    if len(x) != len(y) or len(x) < 2:
        raise section.refuse(key, f"{len(x)} entries of x and {len(y)} of y", "the same number of both, two at least,")
    for number, (before, here) in enumerate(pairwise(x), start=2):
        if here <= before:
            raise section.refuse(f"{key}, x", f"{here:g} as entry {number}, after {before:g},", "a rising order")
    return np.array(x, dtype=np.float64), np.array(y, dtype=np.float64)


def believed_range(section: Section, key: str, ocp: Function, window: tuple[float, float]) -> tuple[float, float]:
    """Range of x in which an open-circuit potential is used as given: the table's, or as far as a formula is believed.

    Raises
    ------
    CaseError
        Where the potential leaves -1 to 6 V inside `window`, the limits of charge.
    """
    tried = np.unique(np.concatenate([STOICHIOMETRIES, window]))
    U = ocp.tried(tried)
    good = np.isfinite(U) & (POTENTIALS.low <= U) & (POTENTIALS.high >= U)
    inside = (tried >= window[0]) & (tried <= window[1])
    for x, potential in zip(tried[inside & ~good], U[inside & ~good], strict=True):
        allowed = f"a potential of {POTENTIALS.low:g} to {POTENTIALS.high:g} V between the limits of charge"
        raise section.refuse(key, f"{potential:g} V at x = {x:g}", allowed)
    if ocp.domain is not None:
        return ocp.domain
    low, high = tried[(tried < window[0]) & ~good], tried[(tried > window[1]) & ~good]
    above = tried > (low[-1] if low.size else -math.inf)
    below = tried < (high[0] if high.size else math.inf)
    return float(tried[above][0]), float(tried[below][-1])


def level_off(function: Function, low: float, high: float) -> Closure1:
    """Closure that is constant below `low` and above `high`, and outside a table's range."""
    if function.domain is not None:
        low, high = max(low, function.domain[0]), min(high, function.domain[1])

    def evaluate(x: Floats) -> tuple[Floats, Floats]:
        x = np.asarray(x, dtype=np.float64)
        inside = np.clip(x, low, high)
        value, slope = function.closure(inside)
        return value, np.where(inside == x, slope, 0.0)

    return evaluate


def check_positive(section: Section, key: str, function: Function, places: Floats) -> None:
    """CaseError where the function is not positive and finite at one of the places."""
    value = function.tried(places)
    for bad in np.flatnonzero(~(np.isfinite(value) & (value > 0.0)))[:1]:
        raise section.refuse(key, f"{value[bad]:g} at x = {places[bad]:g}", "a positive, finite value")


def at_standard(activation_energy: float, reference: float) -> float:
    """Factor from T_ref of the file to 298.15 K, with E in J/mol."""
    return 1.0 / arrhenius(activation_energy, reference)


def with_temperature(closure: Closure1, activation_energy: float, reference: float) -> ClosureT:
    """Closure times exp(E/R (1/T_ref - 1/T))."""
    standard = at_standard(activation_energy, reference)

    def evaluate(state: Floats, T: float) -> tuple[Floats, Floats]:
        factor = standard * arrhenius(activation_energy, T)
        value, slope = closure(state)
        return factor * value, factor * slope

    return evaluate


def in_salt(section: Section, key: str, function: Function, salt: float) -> tuple[ClosureT, str | None]:
    """Closure of a positive property of the electrolyte at T_ref, and a note where it had to be bounded.

    A formula levels off below 1 mol/m3 and, where it turns negative or infinite at high concentration, before that
    place; a table outside its range.

    Raises
    ------
    CaseError
        Where it is not positive from 1 mol/m3 to twice the initial salt concentration.
    """
    check_positive(section, key, function, SALTS[2.0 * salt >= SALTS])
    flat = level_off(function, 0.0, math.inf)
    if function.domain is not None:
        return lambda c_e, T: flat(c_e), None  # noqa: ARG005 (the signature of ClosureT)
    value = function.tried(SALTS)
    bad = SALTS[~(np.isfinite(value) & (value > 0.0))]
    published: ClosureT = lambda c_e, T: function.closure(c_e)  # noqa: ARG005, E731
    if not bad.size:
        return extend_in_concentration(published), None
    end = 0.75 * float(bad[0])
    note = f"{section.where}, {key} is not positive at {bad[0]:.0f} mol/m3; it levels off above {end:.0f} mol/m3."
    return extend_in_concentration(published, ceiling=end, decay=0.2 * float(bad[0])), note


def general_exchange_current(
    function: Function, exponent: float, salt: float, activation_energy: float
) -> ExchangeCurrent:
    """Closure i0 = f(x) (c_e/c_e0)^p exp(E/R (1/298.15 K - 1/T)), A/m2."""
    at_salt = level_off(function, *INSIDE_SITES)

    def evaluate(x: Floats, c_e: Floats, T: float) -> tuple[Floats, Floats, Floats]:
        c = np.maximum(np.asarray(c_e, dtype=np.float64), SMALLEST_STATE)
        value, slope = at_salt(x)
        factor = arrhenius(activation_energy, T) * (c / salt) ** exponent
        i0 = factor * value
        return i0, factor * slope, np.where(c == c_e, exponent * i0 / c, 0.0)

    return evaluate
