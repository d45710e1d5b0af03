"""A resolved half cell through its protocol, with everything that it leaves on disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.case import ResolvedCase
from battsim.case.schema import Step as ProtocolStep
from battsim.constants import SECONDS_PER_HOUR
from battsim.materials.charge import soc_at_stoichiometry, stoichiometry_at_soc, stoichiometry_at_voltage
from battsim.models.resolved.equations import Evaluation, HalfCell
from battsim.models.resolved.parameters import HalfCellParameters
from battsim.models.resolved.transient import Control, HalfCellTransient
from battsim.output.fields import FieldWriter
from battsim.output.pictures import field_sections, voltage_curve
from battsim.output.record import write_json
from battsim.output.tables import TableWriter, read_table
from battsim.post.cell import (
    STEPS_COLUMNS,
    TIMESERIES_COLUMNS,
    Tally,
    advance,
    begin,
    snapshot,
    steps_row,
    summary,
    timeseries_row,
)
from battsim.post.microstructure import microstructure
from battsim.run.build import build_mesh, cell_image, fine_image, half_cell_parameters, orientation
from battsim.run.coarsening import coarsening, coarsening_warnings
from battsim.solvers.block import BlockSolver
from battsim.solvers.integrate import consistent_start, integrate
from battsim.solvers.stepping import IntegrationSettings, Limits, Step
from meshing.image import VoxelImage
from meshing.mesh import Mesh

Floats = NDArray[np.float64]
Report = Callable[[float, str], None]

SWEEP_ORDER = (2, 0, 1)
"""Potentials, then the solid, then the salt: each block sees what the ones before it changed."""
FIRST_STEP = 0.02
"""Length of the first step after a jump of the current, s at 1 C and inversely more at other rates."""
PHYSICAL_ENDS = ("salt depletion", "solid saturation")


@dataclass(frozen=True, slots=True)
class State:
    """Where a run stands: time (s), state vector, and the potential that it is relative to (V)."""

    time: float
    u: Floats
    reference: float


@dataclass(frozen=True, slots=True, eq=False)
class Sinks:
    """Where the numbers of a run go while it goes on."""

    timeseries: TableWriter
    steps: TableWriter
    fields: FieldWriter
    report: Report


def run_half_cell(case: ResolvedCase, results: Path, report: Report) -> dict[str, Any]:
    """Summary of a resolved half cell after its protocol.

    Raises
    ------
    ImpossibleError
        Where no current can flow.
    NotConvergedError
        Where a solver gives up without a physical reason.
    """
    report(0.0, "image and mesh")
    parameters = half_cell_parameters(case)
    x_start = initial_stoichiometry(case, parameters)
    fine = fine_image(case)
    image = cell_image(case, fine)
    mesh = build_mesh(case, image)
    cell = HalfCell(mesh, parameters)
    report(0.0, f"microstructure of {image.labels.size} voxels")
    measured = microstructure(
        image, mesh, parameters, orientation=orientation(case), left_out=cell.network.determined.left_out
    )
    coarser = coarsening(case, fine)
    write_json(results / "microstructure.json", measured | coarser)
    with ExitStack() as stack:
        sinks = Sinks(
            stack.enter_context(TableWriter(results / "timeseries.csv", TIMESERIES_COLUMNS)),
            stack.enter_context(TableWriter(results / "steps.csv", STEPS_COLUMNS)),
            _field_writer(case, results, cell, mesh, image),
            report,
        )
        tally, number, reason = _run_protocol(case, cell, sinks, x_start)
    current_1C = _one_c(case, cell) / cell.network.cross_section
    found = summary(cell, mesh, tally, protocol_step=number, reason=reason, current_1C=current_1C)
    return found | {"warnings": [*found["warnings"], *coarsening_warnings(coarser)]}


def _field_writer(case: ResolvedCase, results: Path, cell: HalfCell, mesh: Mesh, image: VoxelImage) -> FieldWriter:
    n_layers = mesh.grid_shape[0] - image.shape[0]
    return FieldWriter(
        results / "fields", case.output.fields, cell, mesh, n_layers=n_layers, orientation=orientation(case)
    )


def draw_half_cell(case: ResolvedCase, results: Path, report: Report) -> None:
    """The voltage curve with its losses, and sections through the last fields where those hold both c_s and c_e.

    The numbers are on disk already: a picture that cannot be drawn is a line in the log, not a failed run.
    """
    report(1.0, "pictures")
    try:
        voltage_curve(results / "voltage.png", read_table(results / "timeseries.csv"), title=case.name)
        saved = sorted((results / "fields").glob("t_*.vti"))
        if saved and {"c_s", "c_e"} <= set(case.output.fields):
            field_sections(
                results / "sections.png",
                saved[-1],
                phases=case.image.phases,
                through_plane=case.image.through_plane,
                flipped=case.image.separator_side == "high",
                title=case.name,
            )
    except Exception as error:  # whatever a drawing library raises on a machine without fonts or a display
        report(1.0, f"pictures were not drawn: {type(error).__name__}: {error}")


def _one_c(case: ResolvedCase, cell: HalfCell) -> float:
    """What 1 C means, A."""
    declared = case.cell.capacity
    charge = cell.capacity if declared is None else declared * cell.network.cross_section
    return charge / SECONDS_PER_HOUR


def initial_stoichiometry(case: ResolvedCase, parameters: HalfCellParameters) -> float:
    """Stoichiometry that `[initial]` asks for.

    Raises
    ------
    CaseError
        Where a voltage is outside the material's open-circuit potential.
    """
    initial = case.initial
    if initial.stoichiometry is not None:
        return initial.stoichiometry
    if initial.voltage is not None:
        return stoichiometry_at_voltage(parameters.active, initial.voltage, parameters.temperature)
    assert initial.soc is not None
    return stoichiometry_at_soc(parameters.active, initial.soc)


def _run_protocol(case: ResolvedCase, cell: HalfCell, sinks: Sinks, x_start: float) -> tuple[Tally, int, str]:
    """All steps of the protocol: sums, number of the last step, and why it ended."""
    linear = BlockSolver(cell.networks, SWEEP_ORDER)
    u, reference = cell.uniform_state(x_start)
    state, tally, reason = State(0.0, u, reference), None, ""
    for number, step in enumerate(case.protocol):
        state, tally, reason = _run_step(case, cell, linear, sinks, number, step, state, tally)
        if reason in PHYSICAL_ENDS:
            break
    assert tally is not None
    return tally, number, reason


def _run_step(
    case: ResolvedCase,
    cell: HalfCell,
    linear: BlockSolver,
    sinks: Sinks,
    number: int,
    step: ProtocolStep,
    state: State,
    earlier: Tally | None,
) -> tuple[State, Tally, str]:
    """One step of the protocol from a state: the state after it, the sums, and why it ended."""
    one_c = _one_c(case, cell)
    current = _signed_current(step, one_c, cell.network.cross_section)
    scale = abs(current) or one_c
    transient, control = HalfCellTransient(cell, scale), Control("current", current)
    settings = IntegrationSettings(
        tolerance=case.solver.time_rtol, first_step=FIRST_STEP * min(1.0, one_c / scale), smallest_step=1e-5
    )
    u, reference, evaluation = consistent_start(transient, linear, control, settings, state.u, state.reference)
    state = State(state.time, u, reference)
    tally = begin(snapshot(cell, state.time, u, reference, evaluation), scale, earlier)
    sinks.timeseries.append(timeseries_row(cell, number, tally.now, tally))
    if number == 0:  # later steps start at the time of the saved end of the one before: potentials jump there
        sinks.fields.save(state.time, u, reference, evaluation)
    limits, by_capacity = _limits(case, cell, step, current, state.time)
    if limits.voltage is not None and (tally.now.voltage - limits.voltage) * current <= 0.0:
        return state, tally, "voltage"
    target = _target_charge(cell, step, current, tally)
    begun, charge = state.time, tally.charge
    for taken in integrate(transient, linear, control, limits, settings, (state.time, u, reference)):
        state = State(taken.time, taken.u, taken.reference)
        tally = _record(cell, sinks, number, taken, tally, scale)
        if taken.stop or _due(taken.time, limits):
            sinks.fields.save(taken.time, taken.u, taken.reference, taken.evaluation)
        passed = (taken.time - begun) / (limits.time - begun)
        share = abs(tally.charge - charge) / target if target else passed
        sinks.report(
            (number + min(share, 1.0)) / len(case.protocol),
            f"{step.step} {taken.time:.0f} s, {tally.now.voltage:.4f} V, step {taken.dt:.3g} s",
        )
        reason = taken.stop or ""
    return state, tally, "capacity" if reason == "time" and by_capacity else reason


def _record(cell: HalfCell, sinks: Sinks, number: int, taken: Step[Evaluation], tally: Tally, scale: float) -> Tally:
    """The sums after a time step, whose rows are written."""
    now = snapshot(cell, taken.time, taken.u, taken.reference, taken.evaluation)
    tally = advance(tally, now, taken.dt)
    if taken.dt > 0.0:
        sinks.timeseries.append(timeseries_row(cell, number, now, tally))
        sinks.steps.append(steps_row(cell, number, taken, now, scale))
    return tally


def _signed_current(step: ProtocolStep, one_c: float, cross_section: float) -> float:
    """Cell current of a protocol step, A: positive in discharge."""
    sign = {"discharge": 1.0, "charge": -1.0, "rest": 0.0}[step.step]
    if step.rate is not None:
        return sign * step.rate * one_c
    return sign * (step.current or 0.0) * cross_section


def _limits(case: ResolvedCase, cell: HalfCell, step: ProtocolStep, current: float, now: float) -> tuple[Limits, bool]:
    """Where the step ends, and whether its time is that of a capacity."""
    time = np.inf if step.until.time is None else step.until.time
    by_capacity = np.inf
    if step.until.capacity is not None:
        by_capacity = step.until.capacity * cell.network.cross_section / abs(current)
    every = np.inf if case.output.every is None else case.output.every
    return Limits(now + min(time, by_capacity), step.until.voltage, every), by_capacity < time


def _target_charge(cell: HalfCell, step: ProtocolStep, current: float, tally: Tally) -> float:
    """Charge by which progress is measured, C; 0 where time measures it."""
    if step.until.time is not None or step.until.capacity is not None:
        return 0.0
    end = 0.0 if current > 0.0 else 1.0
    return max(abs(end - soc_at_stoichiometry(cell.parameters.active, tally.now.x_mean)), 1e-3) * cell.capacity


def _due(time: float, limits: Limits) -> bool:
    """Whether fields are saved at this time."""
    return bool(np.isfinite(limits.every)) and abs(time / limits.every - round(time / limits.every)) < 1e-9
