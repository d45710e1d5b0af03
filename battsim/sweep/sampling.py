"""Points of a sweep: ranges as lists of values, and samples of the unit cube as values of the parameters."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator
from scipy.stats import qmc

from battsim.case.fields import Count, Table

DIGITS = 12
"""Significant digits of values between the ends of a range, so that 0.45 + 3 * 0.05 is written as 0.6."""
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S.*?)\s*", re.ASCII)

Bound = StrictInt | StrictFloat | StrictStr
SampledMethod = Literal["latin-hypercube", "sobol"]


class Range(Table):
    """Values from `low` to `high`: numbers, or strings with the same unit.

    `steps`: how many, both ends included, for grid, zip and replicates; a sample needs none. `log`: with equal ratios
    instead of equal differences. `integer`: rounded to whole numbers.
    """

    low: Bound = Field(examples=["0.45"])
    high: Bound = Field(examples=["0.65"])
    steps: Annotated[Count, Field(le=100_000)] | None = None
    log: StrictBool = False
    integer: StrictBool = False

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        (low, unit), (high, other) = _split(self.low), _split(self.high)
        if unit != other:
            raise ValueError(
                f"has low = {self.low!r} and high = {self.high!r}, whose units differ; write both in one unit"
            )
        if not low < high:
            raise ValueError(f"has low = {self.low!r} and high = {self.high!r}; low must be less than high")
        if self.log and low <= 0:
            raise ValueError(f"has low = {self.low!r} and log = true; equal ratios need a low end above 0")
        if self.integer and np.ceil(low) > np.floor(high):
            raise ValueError(f"has no whole number between low = {self.low!r} and high = {self.high!r}")
        if self.steps == 1:
            raise ValueError("has steps = 1, which leaves one end out; write a list with the one value instead")
        return self

    def values(self) -> list[Any]:
        """The `steps` values of a grid, as they would stand in a case; ValueError without `steps`."""
        if self.steps is None:
            raise ValueError(
                'has no steps, so that it is known how many values it stands for only with method = "latin-hypercube" '
                'or "sobol"; add steps, such as steps = 5'
            )
        if not self.integer:
            return [self.at(share) for share in np.linspace(0.0, 1.0, self.steps)]
        # a grid has both ends, and whole numbers between them
        (low, _), (high, _) = _split(self.low), _split(self.high)
        between = np.geomspace(low, high, self.steps) if self.log else np.linspace(low, high, self.steps)
        return [self.written(int(value)) for value in dict.fromkeys(np.clip(np.rint(between), low, high).tolist())]

    def at(self, share: float) -> Any:
        """The value at a share (0 to 1) of the range; of whole numbers each takes an equal part of the shares."""
        (low, _), (high, _) = _split(self.low), _split(self.high)
        if self.integer:
            low, high = np.ceil(low), np.floor(high) + 1.0
        value = low * (high / low) ** share if self.log else low + share * (high - low)
        return self.written(min(int(value), int(high) - 1) if self.integer else float(f"{value:.{DIGITS}g}"))

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends, in their unit."""
        return _split(self.low)[0], _split(self.high)[0]

    def written(self, value: float) -> Any:
        """A value as it would stand in a case, with the unit of the range."""
        unit = _split(self.low)[1]
        return f"{value:.{DIGITS}g} {unit}" if unit else value


Parameter: TypeAlias = "tuple[Any, ...] | Range"
"""What a dotted path goes through: a list of values, or a range."""


def values_of(parameter: Parameter) -> list[Any]:
    """The values of a grid. Raises ValueError as `Range.values`."""
    return parameter.values() if isinstance(parameter, Range) else list(parameter)


def sampled(parameters: Sequence[Parameter], method: SampledMethod, samples: int, seed: int) -> list[tuple[Any, ...]]:
    """Values of all parameters, once per sample; of a list each entry takes an equal part of the samples.

    Parameters
    ----------
    method
        Latin hypercube: each parameter's range is cut into `samples` parts, and each part is met once (McKay et al.
        1979). Sobol: a scrambled sequence of low discrepancy (Owen 1998), balanced where `samples` is a power of 2.
    """
    rng = np.random.default_rng(seed)
    if method == "latin-hypercube":
        points = qmc.LatinHypercube(len(parameters), rng=rng).random(samples)
    else:
        with warnings.catch_warnings():  # on numbers that are no power of 2, which the plan says in its own words
            warnings.simplefilter("ignore", UserWarning)
            points = qmc.Sobol(len(parameters), rng=rng).random(samples)
    return [tuple(_at(p, share) for p, share in zip(parameters, point, strict=True)) for point in _floats(points)]


def _at(parameter: Parameter, share: float) -> Any:
    if isinstance(parameter, Range):
        return parameter.at(share)
    return parameter[min(int(share * len(parameter)), len(parameter) - 1)]


def _floats(points: NDArray[Any]) -> list[list[float]]:
    found: list[list[float]] = points.tolist()
    return found


def _split(bound: float | str) -> tuple[float, str]:
    """Number and unit; the unit of a plain number is empty. ValueError for a string that is no number with a unit."""
    if not isinstance(bound, str):
        return float(bound), ""
    match = _QUANTITY.fullmatch(bound)
    if match is None:
        raise ValueError(f'has the end {bound!r}, which is no number with a unit; write such as "50 um" or "1 C"')
    return float(match[1]), match[2]
