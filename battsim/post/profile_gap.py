"""How far the profiles of two cells are from each other: means over planes, at equal times since a step began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.errors import InputError

Floats = NDArray[np.float64]

COMPARED = ("c_e_mol_m3", "phi_e_V", "x")
"""Fields whose means are compared."""
SAME_TIME = 1e-3
"""s"""
SAME_THICKNESS = 0.01
"""Relative; past it profiles have no common depth."""


def profile_gap(
    reference: Mapping[str, Floats], other: Mapping[str, Floats], spans: tuple[tuple[float, float], ...]
) -> list[dict[str, Any]]:
    """Differences of the means over planes, other minus reference, at the depths of the reference, by time.

    Each entry has `time_s`, since the step began, and per field of COMPARED the `mean_difference` over the thickness,
    the `largest_difference` and where that is, `largest_at_m`; None where the two have no depth in common.

    Parameters
    ----------
    reference, other
        Columns of profiles.csv, by name, shape (n_rows,).
    spans
        Begin and end of the step in each, s. A profile of the very begin counts at the start of a run only: later ones
        belong to the step before.

    Raises
    ------
    InputError
        Where the cells are not equally thick.
    """
    first, second = (_by_time(table, span) for table, span in zip((reference, other), spans, strict=True))
    found = []
    for time, rows in first.items():
        twin = next((rows for other_time, rows in second.items() if abs(other_time - time) <= SAME_TIME), None)
        if twin is not None:
            _refuse_other_thickness(rows["depth_m"], twin["depth_m"])
            found.append({"time_s": time} | {field: _difference(rows, twin, field) for field in COMPARED})
    return found


def _by_time(table: Mapping[str, Floats], span: tuple[float, float]) -> dict[float, dict[str, Floats]]:
    """Rows of each time within a step, by the time since it began, s."""
    begin, end = span
    times = np.unique(table["time_s"])
    kept = [t for t in times if begin - SAME_TIME <= t <= end + SAME_TIME and (t > begin + SAME_TIME or t == times[0])]
    return {float(t - begin): {name: v[table["time_s"] == t] for name, v in table.items()} for t in kept}


def _difference(rows: Mapping[str, Floats], other: Mapping[str, Floats], field: str) -> dict[str, float] | None:
    depth = rows["depth_m"]
    difference = _between(other["depth_m"], other[f"{field}_mean"], depth) - rows[f"{field}_mean"]
    there = np.isfinite(difference)
    if not there.any():
        return None
    widths = np.gradient(depth) if depth.size > 1 else np.ones(1)
    at = int(np.nanargmax(np.abs(difference)))
    return {
        "mean_difference": float(np.average(difference[there], weights=widths[there])),
        "largest_difference": float(difference[at]),
        "largest_at_m": float(depth[at]),
    }


def _between(depth: Floats, values: Floats, wanted: Floats) -> Floats:
    """Values at other depths, linear between neighbours that have one; NaN elsewhere, as across a separator."""
    out = np.full(wanted.size, np.nan)
    has = np.flatnonzero(np.isfinite(values))
    for run in np.split(has, np.flatnonzero(np.diff(has) > 1) + 1):
        if run.size:
            there = np.interp(wanted, depth[run], values[run], left=np.nan, right=np.nan)
            out = np.where(np.isfinite(there), there, out)
    return out


def _refuse_other_thickness(first: Floats, second: Floats) -> None:
    # the last centre and half of the distance before it: both meshes end at the collector
    ends = [float(depth[-1] + 0.5 * (depth[-1] - depth[-2])) if depth.size > 1 else 0.0 for depth in (first, second)]
    if abs(ends[1] - ends[0]) > SAME_THICKNESS * ends[0]:
        raise InputError(
            f"the cells are {1e6 * ends[0]:.4g} and {1e6 * ends[1]:.4g} um thick with their separators: their profiles "
            "have no depth in common; compare cells of one thickness"
        )
