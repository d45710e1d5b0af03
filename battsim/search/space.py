"""The values among which a search chooses: ranges and choices, as optuna's distributions and as a case has them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from battsim.case.fields import Table
from battsim.sweep.sampling import Range

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DIGITS = 6
"""Significant digits of a value that optuna chose: more of them change no electrode."""


class Between(Table):
    """Any value from `low` to `high`: numbers, or strings with the same unit.

    `log`: each ratio as likely as any other, instead of each difference. `integer`: whole numbers. `step`: only
    `low`, `low + step`, and so on, up to `high`; a number, in the unit of the ends.
    """

    low: StrictInt | StrictFloat | StrictStr = Field(examples=['"40 um"'])
    high: StrictInt | StrictFloat | StrictStr = Field(examples=['"120 um"'])
    log: StrictBool = False
    integer: StrictBool = False
    step: Annotated[StrictInt | StrictFloat, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Between:
        low, high = self._range().ends  # which checks the ends
        if self.step is not None and self.log:
            raise ValueError("has step and log = true, which exclude each other; delete one")
        if self.step is not None and self.step > high - low:
            raise ValueError(f"has step = {self.step:g}, which is more than from low to high")
        if self.integer and self.step is not None and self.step != int(self.step):
            raise ValueError(f"has integer = true and step = {self.step:g}, which is no whole number")
        return self

    def _range(self) -> Range:
        return Range(low=self.low, high=self.high, log=self.log, integer=self.integer)

    def distribution(self) -> BaseDistribution:
        """The same for optuna, in the unit of the ends."""
        from optuna.distributions import FloatDistribution, IntDistribution

        low, high = self._range().ends
        if self.integer:
            first = math.ceil(low)
            step = int(self.step or 1)
            last = first + (math.floor(high) - first) // step * step
            return IntDistribution(first, last, log=self.log, step=step)
        if self.step is not None:
            high = low + math.floor((high - low) / self.step * (1.0 + 1e-12)) * self.step
        return FloatDistribution(low, high, log=self.log, step=self.step)

    def written(self, value: float) -> Any:
        """What optuna chose, as it would stand in a case, to six significant digits and within the ends."""
        low, high = self._range().ends
        if not self.integer:
            value = min(max(float(f"{value:.{DIGITS}g}"), low), high)
        return self._range().written(value)

    def at(self, share: float) -> Any:
        """The value at a share (0 to 1) of the range, as it would stand in a case."""
        low, high = self._range().ends
        if self.step is None:
            if self.integer:
                return self._range().at(share)
            return self.written(low * (high / low) ** share if self.log else low + share * (high - low))
        first = math.ceil(low) if self.integer else low
        count = math.floor((high - first) / self.step * (1.0 + 1e-12)) + 1
        value = first + self.step * min(int(share * count), count - 1)
        return self.written(round(value) if self.integer else value)

    def ends(self) -> tuple[Any, Any]:
        """Both ends, as they would stand in a case."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values, none of which is nearer to another than any other."""

    values: tuple[Any, ...]

    def distribution(self) -> BaseDistribution:
        """The same for optuna: numbers and text as they are, tables and lists as JSON."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([self._coded(value) for value in self.values])

    def written(self, value: Any) -> Any:
        """What optuna chose, as it would stand in a case."""
        return self.values[[self._coded(each) for each in self.values].index(value)]

    def ends(self) -> tuple[Any, ...]:
        """All values."""
        return self.values

    def _coded(self, value: Any) -> Any:
        plain = isinstance(value, bool | int | float | str)
        return value if plain else json.dumps(value, sort_keys=True, default=str)


Variable: TypeAlias = Between | Choice
Space: TypeAlias = Mapping[str, Variable]
"""By dotted path of the key."""


def sampled_designs(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """Designs at random, as they would stand in a case, for checks before a search."""
    rng = np.random.default_rng(seed)
    return [{path: _at(variable, float(rng.random())) for path, variable in space.items()} for _ in range(count)]


def middle(space: Space) -> dict[str, Any]:
    """The design in the middle of all ranges."""
    return {path: _at(variable, 0.5) for path, variable in space.items()}


def _at(variable: Variable, share: float) -> Any:
    if isinstance(variable, Choice):
        return variable.values[min(int(share * len(variable.values)), len(variable.values) - 1)]
    return variable.at(share)
