"""Closures as tables that both straight lines and monotone cubics between the entries reproduce."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from battsim.errors import CaseError
from battsim.materials.table import interpolate
from battsim.materials.types import Floats

MOST_ENTRIES = 20_000
"""Of one table."""

FINEST = 1e-13
"""Smallest distance of two entries, relative to the range."""

TRIED = (0.25, 0.5, 0.75)
"""Places inside an interval at which the straight line is compared."""


def sampled(
    function: Callable[[Floats], Floats], low: float, high: float, *, absolute: float = 0.0, relative: float = 0.0
) -> dict[str, list[float]]:
    """Table of a function from `low` to `high`, x rising, as fine as its readers need.

    Intervals are halved until both the straight line and the monotone cubic of `battsim.materials.table` miss the
    function by at most absolute + relative |f|, at three places in each.

    Raises
    ------
    CaseError
        Where 20 000 entries do not suffice, or the function jumps.
    """
    x = np.linspace(low, high, 17)
    while True:
        y = function(x)
        width, cubic = np.diff(x), interpolate(x, y)
        coarse = np.zeros(width.shape, dtype=bool)
        for share in TRIED:
            places = x[:-1] + share * width
            exact, line = function(places), y[:-1] + share * np.diff(y)
            worst = np.maximum(np.abs(exact - line), np.abs(exact - cubic(places)[0]))
            coarse |= worst > absolute + relative * np.abs(exact)
        if not coarse.any():
            return {"x": x.tolist(), "y": y.tolist()}
        if x.size + coarse.sum() > MOST_ENTRIES or width[coarse].min() < FINEST * (high - low):
            place = int(np.argmin(np.where(coarse, width, np.inf)))
            raise CaseError(
                f"a function cannot be written as a table: near x = {x[place]:g} it changes within {width[place]:.1e}; "
                f"{MOST_ENTRIES} entries at most, no closer than {FINEST:g} of the range, are written. Give a smoother "
                "function."
            )
        x = np.sort(np.concatenate([x, x[:-1][coarse] + 0.5 * width[coarse]]))


def is_constant(function: Callable[[Floats], Floats], places: Floats) -> bool:
    """Whether a function takes one value at all places."""
    values = function(places)
    return bool(np.all(np.abs(values - values[0]) <= 1e-14 * np.abs(values[0])))
