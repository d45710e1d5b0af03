"""The volume that the best compromises of several objectives cover, and how it grows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from battsim.sweep.sensitivity import pareto_front

Floats = NDArray[np.float64]


def hypervolume(points: Floats, reference: Floats) -> float:
    """Volume of what some point is at least as good as in all objectives, above a reference (Zitzler & Thiele 1999).

    Exact, by slices along the last objective; fast for two or three objectives and a few hundred points.

    Parameters
    ----------
    points
        Shape (n, n_objectives), all to be large.
    reference
        Shape (n_objectives,); what is worse than it in any objective covers nothing.
    """
    above = points[np.all(points > reference, axis=1)]
    if not len(above):
        return 0.0
    if above.shape[1] == 1:
        return float(above.max() - reference[0])
    front = above[pareto_front(list(above.T))]
    front = front[np.argsort(-front[:, -1], kind="stable")]
    ends = np.append(front[1:, -1], reference[-1])
    slices = [
        (top - end) * hypervolume(front[: k + 1, :-1], reference[:-1])
        for k, (top, end) in enumerate(zip(front[:, -1], ends, strict=True))
        if top > end
    ]
    return float(sum(slices))


def worst_of(points: Sequence[Floats | None]) -> Floats | None:
    """The worst of all points in each objective, all to be large; None where there is no point."""
    there = [point for point in points if point is not None]
    return np.min(there, axis=0) if there else None


def hypervolume_so_far(points: Sequence[Floats | None], reference: Floats | None) -> list[float]:
    """After each trial, that of the feasible ones up to it.

    Parameters
    ----------
    points
        Objectives of each trial, all to be large; None for one that has none or is infeasible.
    reference
        Shape (n_objectives,); None only where no trial has a point.
    """
    found, kept, last = list[float](), list[Floats](), 0.0
    for point in points:
        if point is not None:
            assert reference is not None
            kept = _front([*kept, point])
            last = hypervolume(np.array(kept), reference)
        found.append(last)
    return found


def _front(points: list[Floats]) -> list[Floats]:
    best = pareto_front(list(np.array(points).T))
    return [point for point, is_best in zip(points, best, strict=True) if is_best]
