"""Pictures of a search: the best so far, what matters, where it looked, and how far a screening is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.output.pictures import INK, VOLTAGE, figure_of
from battsim.output.sweep_pictures import BLUE, GREY, MAP, panels, png_of

Floats = NDArray[np.float64]
SEARCH = VOLTAGE


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Trials in their order.

    Attributes
    ----------
    label
        Whose they are.
    values
        Of each feasible trial, NaN for the others, shape (n,); empty where there is none for a single trial.
    so_far
        What all up to each trial have come to, NaN before the first feasible one, shape (n,).
    """

    label: str
    values: Floats
    so_far: Floats


def best_so_far(courses: Sequence[Course], what: str) -> bytes:
    """PNG of what trials have come to, over their number; the first course is the search, the second is at random."""
    with figure_of((5.4, 4.0)) as figure:
        axes = figure.subplots()
        for course, colour in zip(courses, (SEARCH, BLUE), strict=False):
            number = np.arange(1, course.so_far.size + 1)
            if course.values.size:
                axes.plot(number, course.values, "o", ms=3, color=colour, alpha=0.35, mew=0)
            axes.step(number, course.so_far, where="post", color=colour, lw=1.6, label=course.label)
        axes.set(xlabel="trial", ylabel=what)
        axes.legend()
        return png_of(figure)


def importance(shares: Mapping[str, Mapping[str, float]], names: Mapping[str, str]) -> bytes:
    """PNG of how much each parameter matters, by objective.

    Parameters
    ----------
    shares
        By objective and parameter.
    names
        What the parameters are called.
    """
    first = next(iter(shares.values()))
    order = sorted(first, key=lambda path: sum(each.get(path, 0.0) for each in shares.values()))
    height = 0.8 / len(shares)
    with figure_of((5.4, 1.2 + 0.4 * len(order))) as figure:
        axes = figure.subplots()
        for k, (objective, each) in enumerate(shares.items()):
            at = np.arange(len(order)) + (k - 0.5 * (len(shares) - 1)) * height
            axes.barh(
                at, [each.get(path, 0.0) for path in order], height, color=(BLUE, SEARCH, GREY)[k % 3], label=objective
            )
        axes.set_yticks(range(len(order)), [names[path] for path in order])
        axes.set(xlabel="share of what makes a design one of the best quarter", xlim=(0.0, 1.0))
        if len(shares) > 1:
            axes.legend(loc="lower right")
        return png_of(figure)


def slices(
    parameters: Mapping[str, Floats],
    levels: Mapping[str, Sequence[str]],
    values: Floats,
    feasible: NDArray[np.bool_],
    what: str,
    names: Mapping[str, str],
) -> bytes:
    """PNG of an objective over each parameter, early trials dark, late ones light, infeasible ones as crosses.

    Parameters
    ----------
    parameters
        Values by path, shape (n_trials,).
    levels
        Names of the values of parameters that are no numbers.
    values, feasible
        Of the objective, shape (n_trials,).
    """
    number = np.arange(values.size)
    with panels(len(parameters), 2.4, what) as (figure, grid):
        for axes, (path, x) in zip(grid, parameters.items(), strict=True):
            axes.plot(x[~feasible], values[~feasible], "x", ms=4, color=GREY)
            axes.scatter(x[feasible], values[feasible], c=number[feasible], cmap=MAP, s=14, lw=0)
            axes.set_xlabel(names[path])
            if path in levels:
                axes.set_xticks(range(len(levels[path])), levels[path], rotation=30, ha="right")
        return png_of(figure)


def screening(screened: Floats, case: Floats, check: NDArray[np.bool_], what: str) -> bytes:
    """PNG of what the case says of designs, over what the screening said.

    Parameters
    ----------
    screened, case
        Shape (n,).
    check
        Which are there only to check the screening, shape (n,).
    """
    with figure_of((4.6, 4.2)) as figure:
        axes = figure.subplots()
        low, high = min(screened.min(), case.min()), max(screened.max(), case.max())
        axes.plot([low, high], [low, high], color=INK, lw=0.7)
        axes.plot(screened[~check], case[~check], "o", ms=5, color=SEARCH, label="finalists")
        if check.any():
            axes.plot(screened[check], case[check], "s", ms=4.5, color=BLUE, label="checks")
        axes.set(xlabel=f"{what}, screening", ylabel=f"{what}, as the case says")
        axes.legend()
        return png_of(figure)
