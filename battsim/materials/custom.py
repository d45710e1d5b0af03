"""A material of one's own: a named set with some of its properties replaced, or all of them given.

The fields are those of `[materials.active]` in a case file. A curve is a closure, a formula (text, see
`battsim.materials.expression`) or a table (path of a CSV file, see `battsim.materials.table`).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from battsim.errors import CaseError
from battsim.materials.closures import SMALLEST_STATE, constant, constant1
from battsim.materials.expression import compile_expression
from battsim.materials.table import tabulated
from battsim.materials.types import (
    REFERENCE_TEMPERATURE,
    ActiveMaterial,
    Closure1,
    ClosureT,
    ExchangeCurrent,
    Floats,
)

CHECKED_SALT = 1000.0
"""Salt concentration at which an exchange current is tried out, mol/m3."""


@dataclass(frozen=True, slots=True)
class ExchangeCurrentForm:
    """i0 = rate_constant * form; A/m2 where the form is evaluated with concentrations in mol/m3."""

    rate_constant: float
    form: str = "sqrt(c_e*c_s*(c_max-c_s))"
    """Formula in c_e, c_s, c_max and T."""


@dataclass(frozen=True, slots=True)
class ActiveMaterialOverrides:
    """What a user sets; None keeps the property of the base set. Units as in `ActiveMaterial`."""

    max_concentration: float | None = None
    stoichiometry_soc100: float | None = None
    stoichiometry_soc0: float | None = None
    fitted: tuple[float, float] | None = None
    """Default for an OCP table: the range of its first column."""
    ocp: Closure1 | str | Path | None = None
    """Formula in x, or table of x and U in V."""
    entropic: Closure1 | float | str | Path | None = None
    """Number, formula in x, or table of x and dU/dT in V/K."""
    diffusivity: ClosureT | float | str | None = None
    """Number, or formula in x and T, m2/s."""
    exchange_current: ExchangeCurrent | ExchangeCurrentForm | None = None
    alpha_a: float | None = None
    alpha_c: float | None = None
    conductivity: float | None = None
    density: float | None = None
    film_resistance: float | None = None


def custom_active_material(
    base: ActiveMaterial | None, overrides: ActiveMaterialOverrides, name: str | None = None
) -> ActiveMaterial:
    """Active material with the overrides applied to the base set; without a base every property must be given.

    A base's exchange current is kept as a function of x and c_e when only max_concentration is replaced.

    Raises
    ------
    CaseError
        When properties are missing, out of range, or a curve is not finite (diffusivity and exchange current: not
        positive) over the fitted range.
    InputError
        When a table cannot be read.
    """
    curve, table_range = _ocp(overrides.ocp)
    fitted = overrides.fitted if overrides.fitted is not None else table_range
    max_concentration = overrides.max_concentration
    if max_concentration is None and base is not None:
        max_concentration = base.max_concentration
    if max_concentration is not None:
        _require(max_concentration > 0, "max_concentration", f"{max_concentration:g} mol/m3", "a positive number")
    given = {
        **{field.name: getattr(overrides, field.name) for field in fields(overrides)},
        "ocp": curve,
        "fitted": fitted,
        "entropic": _entropic(overrides.entropic),
        "diffusivity": _diffusivity(overrides.diffusivity),
        "exchange_current": _exchange_current(overrides.exchange_current, max_concentration),
    }
    values = {key: getattr(base, key) if value is None and base is not None else value for key, value in given.items()}
    if overrides.exchange_current is not None and max_concentration is None:
        values["exchange_current"] = overrides.exchange_current  # named below with what is missing, never evaluated
    missing = [key for key, value in values.items() if value is None]
    if missing:
        raise CaseError(
            f"active material without a base set: {', '.join(missing)} missing. Give every property, "
            "or name a set as base and replace what differs."
        )
    material = ActiveMaterial(name=_name(base, name), source=_source(base), **values)
    _check_numbers(material)
    if table_range is not None:
        _check_inside_table(material.fitted, table_range)
    _check_curves(material)
    return material


def _name(base: ActiveMaterial | None, name: str | None) -> str:
    return name or (f"{base.name} (modified)" if base is not None else "custom")


def _source(base: ActiveMaterial | None) -> str:
    return f"{base.source}, modified by the user" if base is not None else "given by the user"


def _formula(text: str) -> Closure1:
    formula = compile_expression(text, ("x",), "x")
    return lambda x: formula({"x": x})


def _ocp(given: Closure1 | str | Path | None) -> tuple[Closure1 | None, tuple[float, float] | None]:
    """Closure of the curve, and the range of its table if it is one."""
    if isinstance(given, Path):
        return _solid_table("ocp", given)
    return (_formula(given) if isinstance(given, str) else given), None


def _solid_table(key: str, path: Path) -> tuple[Closure1, tuple[float, float]]:
    """Closure and range of a table whose first column is a stoichiometry."""
    curve, (low, high) = tabulated(path)
    _require(
        low >= 0.0 and high <= 1.0,
        key,
        f"a table from x = {low:g} to {high:g} ({path})",
        "a first column of stoichiometries, between 0 and 1,",
    )
    return curve, (low, high)


def _entropic(given: Closure1 | float | str | Path | None) -> Closure1 | None:
    if isinstance(given, Path):
        return _solid_table("entropic", given)[0]
    if isinstance(given, str):
        return _formula(given)
    return constant1(float(given)) if isinstance(given, int | float) else given


def _diffusivity(given: ClosureT | float | str | None) -> ClosureT | None:
    if isinstance(given, str):
        formula = compile_expression(given, ("x", "T"), "x")
        return lambda x, T: formula({"x": x, "T": T})
    return constant(float(given)) if isinstance(given, int | float) else given


def _exchange_current(
    given: ExchangeCurrent | ExchangeCurrentForm | None, max_concentration: float | None
) -> ExchangeCurrent | None:
    if not isinstance(given, ExchangeCurrentForm) or max_concentration is None:
        return None if isinstance(given, ExchangeCurrentForm) else given
    _require(given.rate_constant > 0, "exchange_current.rate_constant", f"{given.rate_constant:g}", "a positive number")
    c_max, rate_constant = max_concentration, given.rate_constant
    variables = ("c_e", "c_s", "c_max", "T")
    by_solid = compile_expression(given.form, variables, "c_s")
    by_salt = compile_expression(given.form, variables, "c_e")

    def evaluate(x: Floats, c_e: Floats, T: float) -> tuple[Floats, Floats, Floats]:
        # roots and logarithms have no slope at the limits of x and c_e: level off just before, as the sets do
        inside, salt = np.clip(x, SMALLEST_STATE, 1.0 - SMALLEST_STATE), np.maximum(c_e, SMALLEST_STATE)
        state: dict[str, Floats | float] = {"c_e": salt, "c_s": inside * c_max, "c_max": c_max, "T": T}
        form, dform_dc_s = by_solid(state)
        _, dform_dc_e = by_salt(state)
        di0_dx = np.where(inside == x, rate_constant * c_max * dform_dc_s, 0.0)
        return rate_constant * form, di0_dx, np.where(salt == c_e, rate_constant * dform_dc_e, 0.0)

    return evaluate


def _require(condition: bool, key: str, found: str, allowed: str) -> None:
    if not condition:
        raise CaseError(f"active material, {key}: {found} found; {allowed} is needed.")


def _check_numbers(material: ActiveMaterial) -> None:
    low, high = material.fitted
    _require(0.0 <= low < high <= 1.0, "fitted", f"[{low:g}, {high:g}]", "a rising pair between 0 and 1")
    for key in ("stoichiometry_soc100", "stoichiometry_soc0"):
        x = getattr(material, key)
        _require(0.0 < x < 1.0, key, f"{x:g}", "a number between 0 and 1, without the ends")
    limits = f"{material.stoichiometry_soc100:g} at both"
    different = material.stoichiometry_soc100 != material.stoichiometry_soc0
    _require(different, "stoichiometry", limits, "a different x at soc100 and soc0")
    for key in ("alpha_a", "alpha_c"):
        alpha = getattr(material, key)
        _require(0.0 < alpha < 2.0, key, f"{alpha:g}", "a transfer coefficient between 0 and 2")
    for key, unit in (("conductivity", "S/m"), ("density", "kg/m3")):
        value = getattr(material, key)
        _require(0.0 < value < np.inf, key, f"{value:g} {unit}", "a positive number")
    film = material.film_resistance
    _require(0.0 <= film < np.inf, "film_resistance", f"{film:g} ohm m2", "zero or a positive number")


def _check_inside_table(fitted: tuple[float, float], table: tuple[float, float]) -> None:
    inside = table[0] <= fitted[0] and fitted[1] <= table[1]
    found = f"[{fitted[0]:g}, {fitted[1]:g}]"
    _require(inside, "fitted", found, f"a range inside that of the OCP table, [{table[0]:g}, {table[1]:g}],")


def _check_curves(material: ActiveMaterial) -> None:
    x = np.linspace(*material.fitted, 201)
    T = REFERENCE_TEMPERATURE
    everywhere = np.linspace(0.005, 0.995, 199)
    curves: tuple[tuple[str, Callable[[], Floats], Floats, float], ...] = (
        ("ocp", lambda: material.ocp(x)[0], x, -np.inf),
        ("entropic", lambda: material.entropic(x)[0], x, -np.inf),
        ("diffusivity", lambda: material.diffusivity(everywhere, T)[0], everywhere, 0.0),
        (
            "exchange_current",
            lambda: material.exchange_current(everywhere, np.full_like(everywhere, CHECKED_SALT), T)[0],
            everywhere,
            0.0,
        ),
    )
    for key, evaluate, at, lower in curves:
        try:
            value = evaluate()
        except CaseError as error:
            raise CaseError(f"active material, {key}: {error}") from None
        bad = ~(np.isfinite(value) & (value > lower))
        if bad.any():
            wanted = "a finite value" if lower < 0 else "a positive, finite value"
            _require(False, key, f"{value[bad][0]:g} at x = {at[bad][0]:g}", wanted)
