"""Means over several runs of one kind, with what is known of their error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, standard deviation, and half the width of the mean's 95 % interval (Student's t) of independent values.

    Entries without a value are left out; `count` says how many there were. A single value has no deviation (None).
    """
    known = np.array([value for value in values if value is not None], dtype=float)
    n = known.size
    if n == 0:
        return {"count": 0, "mean": None, "std": None, "error_95": None}
    deviation = float(known.std(ddof=1)) if n > 1 else None
    factor = float(stdtrit(n - 1, 0.5 + 0.5 * CONFIDENCE)) / np.sqrt(n) if n > 1 else None
    error = None if deviation is None or factor is None else deviation * factor
    return {"count": n, "mean": float(known.mean()), "std": deviation, "error_95": error}
