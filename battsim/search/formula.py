"""Formulas over dotted paths: what a search makes large or small, what it keeps within limits, and keys that follow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from battsim.errors import CaseError
from battsim.materials.expression import FUNCTIONS, Formula, compile_expression

_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.[\w|]+)*", re.ASCII)
_UNUSED = "constant"
"""A variable that no formula has: the derivative with respect to it, which nobody wants, is zero."""


@dataclass(frozen=True, slots=True)
class Named:
    """A formula over numbers that have dotted paths.

    Attributes
    ----------
    text
        As it is written.
    names
        The paths in it, each once.
    """

    text: str
    names: tuple[str, ...]
    _compiled: Formula

    def at(self, numbers: Mapping[str, float]) -> float:
        """Its value; `numbers` has one for each of the names. Raises CaseError where that is not finite."""
        variables = {f"_{k}": numbers[name] for k, name in enumerate(self.names)}
        try:
            value, _ = self._compiled(variables | {_UNUSED: 0.0})
        except CaseError:
            told = ", ".join(f"{name} = {numbers[name]:g}" for name in self.names)
            raise CaseError(f"{self.text!r} has no finite value at {told}") from None
        return float(value)


def read_formula(text: str) -> Named:
    """The formula in a text: a path such as `energy_Wh_m2`, or numbers and paths with + - * / **, exp, sqrt and log.

    Raises
    ------
    CaseError
        Where it holds anything else.
    """
    names: dict[str, str] = {}

    def short(match: re.Match[str]) -> str:
        path = match[0]
        return path if path in FUNCTIONS else names.setdefault(path, f"_{len(names)}")

    written = _NAME.sub(short, text)
    try:
        compiled = compile_expression(written, (*names.values(), _UNUSED), _UNUSED)
    except CaseError:
        raise CaseError(
            f"{text!r} is no formula; it may hold numbers, dotted paths such as energy_Wh_m2, the operators + - * / ** "
            f"(power), parentheses, and the functions {', '.join(sorted(FUNCTIONS))}"
        ) from None
    return Named(text, tuple(names), compiled)
