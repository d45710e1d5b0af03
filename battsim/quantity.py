"""Numbers with units at the case file: `"number unit"` becomes a float in SI, checked for its dimension.

Only that form is read: no arithmetic, no names, no attribute access reach the unit library.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

from battsim.errors import CaseError

if TYPE_CHECKING:
    import pint

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_QUANTITY = re.compile(rf"\s*(?P<number>{_NUMBER})\s*(?P<unit>\S.*?)?\s*", re.ASCII | re.DOTALL)
_FACTOR = re.compile(
    r"\s*(?P<operator>[*·/]?)\s*(?:(?P<name>[a-zA-ZµμΩΩ°%]+)(?:(?:\^|\*\*)?(?P<power>-?\d{1,2}(?:\.\d{1,2})?)(?![\d.]))?|(?P<one>1)(?!\d))"
)
_C_RATE = re.compile(
    rf"\s*(?:(?P<number>{_NUMBER})\s*C|C\s*/\s*(?P<divisor>{_NUMBER}))\s*",
    re.ASCII,
)
_TEMPERATURES = ("degC", "degF", "°C", "°F")
_LONGEST = 100

EXAMPLES = {
    "": ("a plain number", '0.5 or "50 %"'),
    "m": ("a length", '"0.4 um"'),
    "m^2": ("an area", '"1 cm^2"'),
    "1/m": ("an area per volume", '"3.8e5 1/m"'),
    "s": ("a time", '"300 s"'),
    "V": ("a voltage", '"3.5 V"'),
    "K": ("a temperature", '"25 degC"'),
    "A/m^2": ("a current density", '"25 A/m^2"'),
    "W/m^2": ("a power density", '"80 W/m^2"'),
    "C/m^2": ("a capacity per area", '"48.7 Ah/m^2"'),
    "mol/m^3": ("a concentration", '"1000 mol/m^3"'),
    "m^2/s": ("a diffusivity", '"4e-15 m2/s"'),
    "S/m": ("a conductivity", '"100 S/m"'),
    "ohm m^2": ("a contact resistance", '"0 ohm m^2"'),
    "kg/m^3": ("a density", '"4700 kg/m^3"'),
    "V/K": ("an entropic coefficient", '"0 V/K"'),
}
"""Per SI unit of a key: what the key is, and how to write one."""


class QuantityError(CaseError, ValueError):
    """A number with a unit that cannot be read or has another dimension than its key."""


def to_si(value: object, unit: str, key: str = "") -> float:
    """The value in `unit`, which is SI; a number is taken to be in it already.

    Parameters
    ----------
    value
        A number, or a string `"number unit"`.
    unit
        SI unit of the key, such as "mol/m^3"; "" for a plain number.
    key
        Dotted path of the key, for the message.

    Raises
    ------
    QuantityError
        Where the value is neither, is not finite, or has another dimension.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return _finite(float(value), value, unit, key)
        except OverflowError:
            raise _refusal(value, unit, key, "is too large") from None
    if not isinstance(value, str):
        raise _refusal(value, unit, key, f"is {_kind(value)}")
    match = _QUANTITY.fullmatch(value[:_LONGEST])
    if match is None or len(value) > _LONGEST:
        raise _refusal(value, unit, key, "is not of the form number unit")
    if match["unit"] is None:
        raise _refusal(value, unit, key, "is a number in quotes without a unit")
    return _finite(_convert(match["number"], match["unit"], unit, value, key), value, unit, key)


def parse_rate(value: object, key: str = "rate") -> float:
    """The C-rate of `1`, `"1 C"`, `"0.2C"` or `"C/5"`, as a positive number of 1/h."""
    rate = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        rate = float(min(value, 1e99))
    elif isinstance(value, str) and (match := _C_RATE.fullmatch(value[:_LONGEST])):
        divisor = float(match["divisor"] or 1.0)
        rate = float(match["number"]) if match["number"] else (1.0 / divisor if divisor else math.inf)
    if not (math.isfinite(rate) and rate > 0):
        raise QuantityError(
            f'{_named(key, value)} is not a rate; write a positive one as 1, "1 C", "0.2C" or "C/5" '
            "(the word of the step, charge or discharge, gives the sign)"
        )
    return rate


def _convert(number: str, written: str, unit: str, value: str, key: str) -> float:
    """The number in SI, by a decimal product so that 0.398 um is 3.98e-07 to the last digit."""
    import pint

    registry = _registry()
    try:
        expected = registry.parse_units(_rewrite(unit) if unit else "dimensionless")
        parsed = registry.parse_units(_rewrite(written))
        if written in _TEMPERATURES:
            return float(registry.Quantity(float(number), parsed).to(expected).magnitude)
        factor = float(registry.Quantity(1.0, parsed).to(expected).magnitude)
    except pint.DimensionalityError:
        raise _refusal(value, unit, key, f"is in {written}, no unit of that kind") from None
    except (pint.UndefinedUnitError, ValueError):
        raise _refusal(value, unit, key, f"has a unit, {written!r}, that cannot be read") from None
    return float(Decimal(number) * Decimal(f"{factor:.15g}"))


def _rewrite(written: str) -> str:
    """A unit as products of powers, the only form that the unit library gets to see; ValueError for anything else."""
    if written in _TEMPERATURES:
        return written.replace("°", "deg")
    parts: list[str] = []
    end = 0
    while end < len(written):
        match = _FACTOR.match(written, end)
        name = match and (match["name"] or match["one"])
        if match is None or name in _TEMPERATURES or (match["operator"] and not parts):
            raise ValueError(written)
        operator = "/" if match["operator"] == "/" else "*"
        parts.append(f"{operator if parts else ''}{name}{'**' + match['power'] if match['power'] else ''}")
        end = match.end()
    return "".join(parts)


def _finite(number: float, value: object, unit: str, key: str) -> float:
    """The number, or QuantityError where it is infinite or not a number."""
    if not math.isfinite(number):
        raise _refusal(value, unit, key, "is not a finite number")
    return number


def _refusal(value: object, unit: str, key: str, what: str) -> QuantityError:
    """The error that names key, value, what is wrong with it, and how to write it."""
    noun, example = EXAMPLES.get(unit, (f"a quantity in {unit}", f'"1 {unit}"'))
    allowed = (
        f"write a number in {unit}, or a string such as {example}" if unit else f"write a number such as {example}"
    )
    return QuantityError(f"{_named(key, value)} {what}; {noun} is expected: {allowed}")


def _named(key: str, value: object) -> str:
    """`key = value` as it may stand in the case file, cut where it is long."""
    shown = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)
    shown = shown if len(shown) <= _LONGEST else shown[: _LONGEST - 3] + "..."
    return f"{key} = {shown}" if key else shown


def _kind(value: object) -> str:
    """What a value of the wrong type is, in the words of the case file."""
    names = {bool: "true or false", list: "a list", tuple: "a list", dict: "a table"}
    return names.get(type(value), f"of type {type(value).__name__}")


@cache
def _registry() -> pint.UnitRegistry[float]:
    """The unit registry, built at first use: building it takes longer than all of `battsim --help`."""
    import pint

    return pint.UnitRegistry()
