"""A homogenised cell through its protocol, with everything that it leaves on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from battsim.case import P2DCase, active_materials, initial_stoichiometries
from battsim.models.p2d.cell import P2DCell
from battsim.models.p2d.places import LinePlaces
from battsim.output import checkpoint as store
from battsim.output.checkpoint import Checkpoint
from battsim.output.pictures import voltage_curve
from battsim.output.tables import read_table
from battsim.post.full_cell import full_cell_entries
from battsim.post.salt_limit import salt_limited_current
from battsim.post.summary import Geometry, summary
from battsim.run.accuracy import as_exact, grid_for_accuracy
from battsim.run.checkpoint import Inputs, progress_of
from battsim.run.drawing import drawing
from battsim.run.homogenised import p2d_grid, p2d_parameters
from battsim.run.line import run_cell
from battsim.run.protocol import Ended, one_c_of
from battsim.run.sinks import Report


def run_p2d(
    case: P2DCase, results: Path, report: Report, inputs: Inputs, checkpoint: Checkpoint | None = None
) -> dict[str, Any]:
    """Summary of a homogenised cell after its protocol, from its start or from a checkpoint.

    Raises
    ------
    ImpossibleError
        Where a step of the protocol cannot begin.
    NotConvergedError
        Where a solver gives up without a physical reason.
    """
    parameters, found, error = p2d_parameters(case), p2d_grid(case), None
    if found is None:
        found, error = grid_for_accuracy(case, parameters, report, inputs)
        case = as_exact(case)
    cell = P2DCell(parameters, found)
    progress = None if checkpoint is None else progress_of(checkpoint)
    if checkpoint is not None:
        store.remove_after(checkpoint)
    start, one_c = initial_stoichiometries(case, active_materials(case)), one_c_of(case, cell)
    ended = run_cell(case, cell, results, report, inputs, start, one_c, progress=progress)
    grid = {"points": _points(cell), "radial": found.radial, "voltage_error_V": error}
    return p2d_summary(cell, ended, one_c) | {"grid": grid}


def _points(cell: P2DCell) -> list[int]:
    """Cells of each layer in the order of the case file."""
    line = cell.network.line
    return [int(n) for n in np.bincount(line.phase, minlength=len(line.phases))]


def p2d_summary(cell: P2DCell, ended: Ended, one_c: float) -> dict[str, Any]:
    """Content of summary.json of a homogenised cell."""
    electrodes = cell.parameters.electrodes
    geometry = Geometry(
        kind="p2d",
        cells=cell.network.line.n_cells,
        thickness=sum(electrode.thickness for electrode in electrodes),
        active_mass=sum(e.thickness * e.active_volume_fraction * e.material.density for e in electrodes),
        active_disconnected_fraction=0.0,
    )
    found = summary(cell, geometry, ended.tally, protocol_step=ended.number, reason=ended.reason, current_1C=one_c)
    found["salt_limited_current_A_m2"] = salt_limited_current(cell.parameters)
    found["stop"]["message"] = f"{ended.reason}: {ended.place}" if ended.place else None
    if len(cell.electrodes) == 2:
        found |= full_cell_entries(cell, ended.tally, LinePlaces(cell.network, cell.layout))
    return found


def draw_p2d(case: P2DCase, results: Path, report: Report) -> None:
    """The voltage curve with its losses; a picture that cannot be drawn is a line in the log, not a failed run."""
    with drawing(report):
        voltage_curve(results / "voltage.png", read_table(results / "timeseries.csv"), title=case.name)
