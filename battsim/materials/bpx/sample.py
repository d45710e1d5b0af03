"""Closures as tables that straight lines between the entries reproduce."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from battsim.errors import CaseError
from battsim.materials.types import Floats

MOST_ENTRIES = 20_000
"""Of one table."""

TRIED = (0.25, 0.5, 0.75)
"""Places inside an interval at which the straight line is compared."""


def sampled(
    function: Callable[[Floats], Floats], low: float, high: float, *, absolute: float = 0.0, relative: float = 0.0
) -> dict[str, list[float]]:
    """Table of a function from `low` to `high`, x rising, as fine as straight lines between the entries need.

    Intervals are halved until the line misses the function by at most absolute + relative |f| at three places in each.

    Raises
    ------
    CaseError
        Where 20 000 entries do not suffice: the function jumps.
    """
    x = np.linspace(low, high, 17)
    while True:
        y = function(x)
        width = np.diff(x)
        coarse = np.zeros(width.shape, dtype=bool)
        for share in TRIED:
            exact, line = function(x[:-1] + share * width), y[:-1] + share * np.diff(y)
            coarse |= np.abs(exact - line) > absolute + relative * np.abs(exact)
        if not coarse.any():
            return {"x": x.tolist(), "y": y.tolist()}
        if x.size + coarse.sum() > MOST_ENTRIES:
            raise CaseError(
                f"a function cannot be written as a table: near x = {x[:-1][coarse][0]:g} it changes within "
                f"{width[coarse][0]:.1e}, and {MOST_ENTRIES} entries do not suffice; give a smoother function."
            )
        x = np.sort(np.concatenate([x, x[:-1][coarse] + 0.5 * width[coarse]]))


def is_constant(function: Callable[[Floats], Floats], places: Floats) -> bool:
    """Whether a function takes one value at all places."""
    values = function(places)
    return bool(np.all(np.abs(values - values[0]) <= 1e-14 * np.abs(values[0])))
