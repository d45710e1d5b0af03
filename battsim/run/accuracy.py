"""A grid for a wanted accuracy of the voltage: two coarse runs tell how the error falls, a third is fine enough.

Errors of the line and of the shells fall with the square of the cell size. With d the difference of two runs, the
second with cells half as large, the second is wrong by about d / 3.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np

from battsim.case import P2DCase, active_materials, initial_stoichiometries
from battsim.errors import CaseError
from battsim.models.p2d.cell import P2DCell
from battsim.models.p2d.parameters import P2DGrid, P2DParameters
from battsim.output.tables import read_table
from battsim.post.gap import Curve, common_capacities, curve_of
from battsim.run.checkpoint import Inputs
from battsim.run.line import run_cell
from battsim.run.protocol import one_c_of
from battsim.run.sinks import Report, silent

FIRST = P2DGrid(negative=10, separator=6, positive=10, radial=12)
LARGEST = 640
"""Cells of a layer, and shells."""
OF_SPACE, OF_TIME = 0.7, 1.0
"""Share of the accuracy for the grid, and relative tolerance in time per volt: together they stay within it."""
SAFETY = 1.2
"""On the number of cells."""


def as_exact(case: P2DCase) -> P2DCase:
    """The case with a tolerance in time that suits its accuracy."""
    accuracy = case.solver.p2d.accuracy
    assert accuracy is not None
    solver = case.solver.model_copy(update={"time_rtol": min(case.solver.time_rtol, OF_TIME * accuracy)})
    return case.model_copy(update={"solver": solver})


def grid_for_accuracy(
    case: P2DCase, parameters: P2DParameters, report: Report, inputs: Inputs
) -> tuple[P2DGrid, float]:
    """A grid whose error of the voltage is below `[solver.p2d] accuracy`, and its estimate, V (root mean square).

    The largest error over all steps of the protocol that pass charge counts.

    Raises
    ------
    CaseError
        Where even the finest grid would not do, or no step passes charge.
    """
    accuracy = case.solver.p2d.accuracy
    assert accuracy is not None
    case, wanted = as_exact(case), OF_SPACE * accuracy
    one_c = one_c_of(case, P2DCell(parameters, FIRST))
    grids = [FIRST, _times(FIRST, 2.0)]
    curves = [_curves(case, parameters, grid, report, inputs) for grid in grids]
    while True:
        error = _difference(curves[-2], curves[-1], one_c) / 3.0
        if error <= wanted:
            return grids[-1], error
        factor = max(SAFETY * math.sqrt(error / wanted), 2.0)
        if factor * grids[-1].positive > LARGEST:
            raise CaseError(
                f"solver.p2d.accuracy = {accuracy:g} V needs more than {LARGEST} cells across a layer: with "
                f"{grids[-1].positive} the voltage is wrong by about {error:.2g} V; ask for less"
            )
        if factor > 2.0:  # half of it first, so that the last two differ by a factor of two
            grids.append(_times(grids[-1], 0.5 * factor))
            curves.append(_curves(case, parameters, grids[-1], report, inputs))
        grids.append(_times(grids[-1], 2.0))
        curves.append(_curves(case, parameters, grids[-1], report, inputs))


def _times(grid: P2DGrid, factor: float) -> P2DGrid:
    return P2DGrid(*(math.ceil(factor * n) for n in (grid.negative, grid.separator, grid.positive, grid.radial)))


def _curves(case: P2DCase, parameters: P2DParameters, grid: P2DGrid, report: Report, inputs: Inputs) -> list[Curve]:
    """The steps of the protocol that pass charge, on a grid."""
    report(0.0, f"accuracy: {grid.positive} cells across a layer, {grid.radial} shells")
    cell = P2DCell(parameters, grid)
    start = initial_stoichiometries(case, active_materials(case))
    with tempfile.TemporaryDirectory() as folder:
        run_cell(case, cell, Path(folder), silent, inputs, start, one_c_of(case, cell), checkpoints=False)
        table = read_table(Path(folder) / "timeseries.csv")
    return [curve for k in range(len(case.protocol)) if (curve := curve_of(table, k)) is not None]


def _difference(coarse: list[Curve], fine: list[Curve], one_c: float) -> float:
    """Largest root mean square of the voltage difference over the steps, V; `one_c` is what 1 C means, A/m2."""
    if not fine or len(fine) != len(coarse):
        raise CaseError(
            "solver.p2d.accuracy needs a protocol with a discharge or charge whose voltages can be compared; give "
            "points and radial instead"
        )
    worst = 0.0
    for one, two in zip(coarse, fine, strict=True):
        rate = max(two.mean_current / one_c, 1e-3)
        capacities = common_capacities([two, one], rate)
        worst = max(worst, float(np.sqrt(np.mean((one.at(capacities) - two.at(capacities)) ** 2))))
    return worst
