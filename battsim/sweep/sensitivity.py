"""What the parameters of a sweep do to a number: main effects, and Sobol indices of a surrogate that is checked.

Replicates, members that differ in their random seed alone, are no input: what they scatter by is told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, inv
from scipy.spatial.distance import cdist
from scipy.special import xlogy
from scipy.stats import sobol_indices, uniform

Floats = NDArray[np.float64]

LEAST_R2 = 0.8
"""Below this share of the variance that the surrogate predicts of points it has not seen, it tells nothing."""
SAMPLES = 4096
"""Of the surrogate, for its indices: a power of 2."""
MOST_LEVELS = 12
"""A parameter with more values than this is told by bins of equal count."""
BINS = 6
SMOOTHING = (0.0, 1e-6, 1e-4, 1e-2, 0.1, 1.0)
"""Tried in turn, for numbers with scatter between replicates; the one that predicts best is taken."""
MOST_POINTS = 2000
"""A surrogate goes through so many designs at most, the first of a sweep; its cost grows with their third power."""
AT_ONCE = 1024
"""Points that a surrogate is evaluated at together, which bounds its memory."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Shares of the variance of a number over the ranges of the parameters, each uniform and independent.

    Attributes
    ----------
    r2
        Share of the variance that the surrogate predicts of each point from the others (leave one out).
    first_order, total
        Sobol indices by parameter: of each by itself, and with all that it takes part in. None where r2 is too low.
    members, designs
        So many it rests on; designs are members that differ in a parameter.
    """

    r2: float
    first_order: Mapping[str, float] | None
    total: Mapping[str, float] | None
    members: int
    designs: int


@dataclass(frozen=True, slots=True, eq=False)
class MainEffect:
    """Mean of a number at each value of a parameter, over all others.

    Attributes
    ----------
    at, mean, spread
        Values (or means of bins of equal count), mean and standard deviation there, shape (n,).
    count
        Members there, shape (n,).
    """

    at: Floats
    mean: Floats
    spread: Floats
    count: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scatter:
    """What is left of the variance of a number between members of one design (replicates).

    Attributes
    ----------
    deviation
        Standard deviation between replicates, pooled over the designs; in the unit of the number.
    share
        s_r^2 / (s_r^2 + s_d^2), with s_r^2 the variance between replicates and s_d^2 that between designs, free of the
        scatter of their means; None where there is one design.
    designs, members
        So many.
    """

    deviation: float
    share: float | None
    designs: int
    members: int


def scatter(result: Floats, design: NDArray[np.int64]) -> Scatter | None:
    """Scatter between replicates: a one-way analysis of variance with random effects; None where there are none.

    s_r^2 = MS_within and s_d^2 = (MS_between - MS_within) / n_0, or 0 where that is below it, with n_0 the members per
    design: Searle, Casella, McCulloch, Variance Components (1992), chapter 3.

    Parameters
    ----------
    result
        Shape (n_members,); finite.
    design
        Which design each member is of, 0, 1, ..., shape (n_members,).
    """
    count = np.bincount(design)
    n, groups = int(result.size), int(count.size)
    if n <= groups:
        return None
    means = np.bincount(design, weights=result) / count
    within = float(np.sum((result - means[design]) ** 2)) / (n - groups)
    if groups == 1:
        return Scatter(within**0.5, None, groups, n)
    between = float(np.sum(count * (means - result.mean()) ** 2)) / (groups - 1)
    each = (n - float(np.sum(count**2)) / n) / (groups - 1)
    of_designs = max(0.0, (between - within) / each)
    whole = within + of_designs
    return Scatter(within**0.5, within / whole if whole > 0.0 else None, groups, n)


def main_effect(values: Floats, result: Floats, *, binned: bool = True) -> MainEffect:
    """Main effect of a parameter.

    Parameters
    ----------
    values, result
        Of the parameter and of the number, shape (n_members,); finite.
    binned
        Whether many values are put together in bins, which needs that their order means something.
    """
    levels = np.unique(values)
    if levels.size <= MOST_LEVELS or not binned:
        at, groups = levels, [np.flatnonzero(values == level) for level in levels]
    else:
        groups = np.array_split(np.argsort(values, kind="stable"), BINS)
        at = np.array([values[g].mean() for g in groups])
    return MainEffect(
        at,
        np.array([result[g].mean() for g in groups]),
        np.array([result[g].std(ddof=1) if g.size > 1 else 0.0 for g in groups]),
        np.array([g.size for g in groups]),
    )


def sensitivity(parameters: Mapping[str, Floats], result: Floats, rng: np.random.Generator) -> Sensitivity | None:
    """Sobol indices of a number, by a surrogate through the members; None where there are too few members.

    The indices are those of Saltelli et al. 2010 as in `scipy.stats.sobol_indices`. Members with the same parameters
    (replicates) count as one, by their mean; `least_designs` of them are needed.

    Parameters
    ----------
    parameters
        Numbers by name, shape (n_members,); those that do not change are left out.
    result
        Shape (n_members,); finite.
    """
    varied = {name: values for name, values in parameters.items() if np.ptp(values) > 0.0}
    if not varied or np.ptp(result) == 0.0:
        return None
    low = np.array([values.min() for values in varied.values()])
    high = np.array([values.max() for values in varied.values()])
    points, means = _without_repeats((np.column_stack(list(varied.values())) - low) / (high - low), result)
    if len(points) < least_designs(len(varied)) or np.ptp(means) == 0.0:
        return None
    size, points, means = (result.size, len(points)), points[:MOST_POINTS], means[:MOST_POINTS]
    found = [fit for smoothing in SMOOTHING if (fit := _fitted(points, means, smoothing)) is not None]
    if not found:
        return None
    best = max(found, key=lambda fit: fit.r2)
    if best.r2 < LEAST_R2:
        return Sensitivity(best.r2, None, None, *size)
    if len(varied) == 1:  # which scipy's estimators do not take
        whole = dict.fromkeys(varied, 1.0)
        return Sensitivity(best.r2, whole, whole, *size)
    dists: list[Any] = [uniform()] * len(varied)
    indices = sobol_indices(func=lambda x: best.at(x.T)[None, :], n=SAMPLES, dists=dists, rng=rng)
    return Sensitivity(
        best.r2,
        dict(zip(varied, np.ravel(indices.first_order).tolist(), strict=True)),
        dict(zip(varied, np.ravel(indices.total_order).tolist(), strict=True)),
        *size,
    )


def least_designs(n_parameters: int) -> int:
    """Designs that a surrogate over so many parameters needs: 3 for each, and 8."""
    return max(8, 3 * n_parameters)


@dataclass(frozen=True, slots=True, eq=False)
class _Surrogate:
    """A thin plate spline with a linear part: sum_k w_k phi(|x - x_k|) + c_0 + c . x, phi(r) = r^2 ln r.

    Attributes
    ----------
    points
        Shape (n, n_parameters).
    weights
        w and then c, shape (n + 1 + n_parameters,).
    r2
        Share of the variance that is predicted of each point from all others.
    """

    points: Floats
    weights: Floats
    r2: float

    def at(self, x: Floats) -> Floats:
        """Values at points, shape (n_x, n_parameters)."""
        parts = np.array_split(x, max(1, len(x) // AT_ONCE))
        values: Floats = np.concatenate(
            [np.hstack([_plate(cdist(part, self.points)), _linear(part)]) @ self.weights for part in parts]
        )
        return values


def _fitted(points: Floats, result: Floats, smoothing: float) -> _Surrogate | None:
    """The surrogate through the points, or with smoothing near them; None where they lie in a plane.

    The error at a point that was left out is w_k / (A^-1)_kk, with A the matrix of the whole system (Rippa 1999).
    """
    n, linear = len(points), _linear(points)
    if np.linalg.matrix_rank(linear) < linear.shape[1] or n <= linear.shape[1]:
        return None
    matrix = np.block(
        [
            [_plate(cdist(points, points)) + smoothing * np.eye(n), linear],
            [linear.T, np.zeros((linear.shape[1], linear.shape[1]))],
        ]
    )
    try:
        inverse = inv(matrix)
    except LinAlgError:
        return None
    weights = inverse[:, :n] @ result
    left_out = weights[:n] / np.diag(inverse)[:n]
    r2 = float(1.0 - np.sum(left_out**2) / np.sum((result - result.mean()) ** 2))
    return _Surrogate(points, weights, r2) if np.isfinite(r2) else None


def _plate(distance: Floats) -> Floats:
    return np.asarray(0.5 * xlogy(distance**2, distance**2), dtype=np.float64)


def _linear(points: Floats) -> Floats:
    return np.concatenate([np.ones((len(points), 1)), points], axis=1, dtype=np.float64)


def _without_repeats(points: Floats, result: Floats) -> tuple[Floats, Floats]:
    """Distinct points in the order of their first, each with the mean of its results (replicates)."""
    distinct, first, which = np.unique(points, axis=0, return_index=True, return_inverse=True)
    which, order = which.ravel(), np.argsort(first)
    return distinct[order], (np.bincount(which, weights=result) / np.bincount(which))[order]


def pareto_front(objectives: Sequence[Floats]) -> NDArray[np.bool_]:
    """Which members no other beats in every number, all to be maximised, shape (n_members,).

    Parameters
    ----------
    objectives
        Each shape (n_members,); finite.
    """
    values = np.column_stack(objectives)
    better = np.all(values[:, None, :] >= values[None, :, :], axis=2) & np.any(
        values[:, None, :] > values[None, :, :], axis=2
    )
    beaten: NDArray[np.bool_] = np.any(better, axis=0)
    return ~beaten
