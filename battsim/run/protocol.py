"""The steps of a protocol, one after the other: states become rows, fields and checkpoints while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from battsim.case import ResolvedCase
from battsim.case.schema import Step as ProtocolStep
from battsim.constants import SECONDS_PER_HOUR
from battsim.materials.charge import soc_at_stoichiometry
from battsim.models.cell.equations import Evaluation
from battsim.models.cell.transient import CellTransient, Control
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.places import MeshPlaces
from battsim.output.fields import FieldWriter
from battsim.output.tables import TableWriter
from battsim.post.cell import Tally, advance, begin, snapshot, steps_row, timeseries_row
from battsim.run.checkpoint import Inputs, Progress, save_progress
from battsim.run.engine import LONGEST_STEP, Solver
from battsim.run.place import named_after
from battsim.solvers.integrate import consistent_start, integrate_from, standing_at
from battsim.solvers.stepping import IntegrationSettings, Limits, Step
from meshing.mesh import Mesh

Floats = NDArray[np.float64]
Report = Callable[[float, str], None]

FIRST_STEP = 0.02
"""Length of the first step after a jump of the current, s at 1 C and inversely more at other rates."""
PHYSICAL_ENDS = ("salt depletion", "solid saturation")
BETWEEN_CHECKPOINTS = 10
"""Accepted steps of one protocol step; at each synchronisation the next solve chooses its aggregates anew."""
NEAREST = 1e-3
"""Resolution of the names of field files, s."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a run stands: time (s), state vector, and the potential that it is relative to (V)."""

    time: float
    u: Floats
    reference: float


@dataclass(frozen=True, slots=True, eq=False)
class Sinks:
    """Where the numbers of a run go while it goes on; `checkpoints` is a folder."""

    timeseries: TableWriter
    steps: TableWriter
    fields: FieldWriter
    checkpoints: Path
    report: Report


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What stays the same from one step of the protocol to the next."""

    case: ResolvedCase
    inputs: Inputs
    mesh: Mesh
    cell: HalfCell
    linear: Solver
    sinks: Sinks

    @property
    def one_c(self) -> float:
        """What 1 C means, A."""
        declared = self.case.cell.capacity
        charge = self.cell.capacity if declared is None else declared * self.cell.network.cross_section
        return charge / SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """The end of a protocol or of one of its steps: the state, the sums, the step's number, why, and where."""

    state: State
    tally: Tally
    number: int
    reason: str
    place: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    """One step of the protocol as the integrator takes it; `by_capacity`: its time limit is that of a capacity."""

    transient: CellTransient
    control: Control
    settings: IntegrationSettings
    limits: Limits
    by_capacity: bool


def run_protocol(run: Run, x_start: float, progress: Progress | None = None) -> Ended:
    """All steps of the protocol, from a uniform stoichiometry at rest, or from where a checkpoint stands.

    Raises
    ------
    NotConvergedError
        Where a solver gives up without a physical reason.
    """
    ended: Ended | None = None
    first = 0 if progress is None else progress.number
    for number in range(first, len(run.case.protocol)):
        with named_after(run.case, f"protocol.{number}"):
            if progress is None:
                state = State(0.0, *run.cell.uniform_state(x_start)) if ended is None else ended.state
                begun = _begin(run, number, state, None if ended is None else ended.tally)
            else:
                begun, progress = progress, None
            ended = begun if isinstance(begun, Ended) else _go_on(run, begun)
        if ended.reason in PHYSICAL_ENDS:
            break
    assert ended is not None
    return ended


def _begin(run: Run, number: int, state: State, earlier: Tally | None) -> Progress | Ended:
    """The consistent start of a step of the protocol, as its first checkpoint; or its end, where its limit is met."""
    step, cell = run.case.protocol[number], run.cell
    stretch = _stretch(run, step, state.time)
    transient, control, limits = stretch.transient, stretch.control, stretch.limits
    u, reference, evaluation = consistent_start(
        transient, run.linear, control, stretch.settings, state.u, state.reference
    )
    tally = begin(snapshot(cell, state.time, u, reference, evaluation), transient.current_scale, earlier)
    run.sinks.timeseries.append(timeseries_row(cell, number, tally.now, tally))
    if number == 0:  # later steps start at the time of the saved end of the one before: potentials jump there
        run.sinks.fields.save(state.time, u, reference, evaluation)
    if limits.voltage is not None and (tally.now.voltage - limits.voltage) * control.value <= 0.0:
        return Ended(State(state.time, u, reference), tally, number, "voltage")
    target = _target_charge(cell, step, control.value, tally)
    standing = standing_at(transient, stretch.settings, (state.time, u, reference))
    progress = Progress(number, state.time, tally.charge, target, standing, tally, _rows(run), run.sinks.fields.saved)
    _synchronise(run, transient, progress)
    return progress


def _go_on(run: Run, progress: Progress) -> Ended:
    """The rest of a step of the protocol."""
    number, tally, standing = progress.number, progress.tally, progress.standing
    stretch = _stretch(run, run.case.protocol[number], progress.begun)
    transient = stretch.transient
    steps = integrate_from(transient, run.linear, stretch.control, stretch.limits, stretch.settings, standing)
    for taken in steps:
        tally = _record(run, number, taken, tally, transient.current_scale)
        _save_fields(run, transient, standing.times[-1], taken)
        standing = taken.standing
        _tell(run, progress, stretch.limits, taken, tally)
        if taken.stop is not None:
            reason = "capacity" if taken.stop == "time" and stretch.by_capacity else taken.stop
            return Ended(State(taken.time, taken.u, taken.reference), tally, number, reason, taken.place)
        if standing.steps % BETWEEN_CHECKPOINTS == 0:
            reached = replace(progress, standing=standing, tally=tally, rows=_rows(run), fields=run.sinks.fields.saved)
            _synchronise(run, transient, reached)
            del reached
        del taken  # its evaluation is many times as large as the state: not two at a time
    raise AssertionError("the integrator ends with a reason")


def _stretch(run: Run, step: ProtocolStep, begun: float) -> _Stretch:
    """What a step of the protocol that began at a time (s) asks of the integrator."""
    one_c, cell = run.one_c, run.cell
    current = _signed_current(step, one_c, cell.network.cross_section)
    scale = abs(current) or one_c
    limits, by_capacity = _limits(cell, step, current, begun)
    settings = IntegrationSettings(
        tolerance=run.case.solver.time_rtol,
        first_step=FIRST_STEP * min(1.0, one_c / scale),
        smallest_step=1e-5,
        largest_step=LONGEST_STEP[run.case.model.engine] * one_c / scale,
    )
    transient = CellTransient(cell, scale, MeshPlaces(cell.network, cell.layout, run.mesh))
    return _Stretch(transient, Control("current", current), settings, limits, by_capacity)


def _synchronise(run: Run, transient: CellTransient, progress: Progress) -> None:
    """Drop what one solve keeps for the next, since a run that goes on from here has none of it; write a checkpoint."""
    run.linear.reset()
    transient.reset()
    run.sinks.timeseries.to_disk()
    run.sinks.steps.to_disk()
    save_progress(run.sinks.checkpoints, progress, run.inputs)


def _rows(run: Run) -> dict[str, int]:
    return {"timeseries.csv": run.sinks.timeseries.rows, "steps.csv": run.sinks.steps.rows}


def _record(run: Run, number: int, taken: Step[Evaluation], tally: Tally, scale: float) -> Tally:
    """The sums after a time step, whose rows are written."""
    cell, sinks = run.cell, run.sinks
    now = snapshot(cell, taken.time, taken.u, taken.reference, taken.evaluation)
    tally = advance(tally, now, taken.dt)
    if taken.dt > 0.0:
        sinks.timeseries.append(timeseries_row(cell, number, now, tally))
        sinks.steps.append(steps_row(cell, number, taken, now, scale))
    return tally


def _save_fields(run: Run, transient: CellTransient, before: float, taken: Step[Evaluation]) -> None:
    """Fields at the times asked for within a step, interpolated, and those of its end where that is one or the end."""
    fields, standing = run.sinks.fields, taken.standing
    ends_on_one = False
    for time in _asked_for(run.case.output.every, before, taken.time):
        ends_on_one = taken.time - time <= (NEAREST if taken.stop else 0.0)
        if not ends_on_one:
            u, evaluation = transient.between(
                standing.at(time), standing.reference, taken.evaluation, standing.states[-1]
            )
            fields.save(time, u, standing.reference, evaluation)
    if taken.stop or ends_on_one:
        fields.save(taken.time, taken.u, taken.reference, taken.evaluation)


def _asked_for(every: float | None, after: float, until: float) -> Iterator[float]:
    """Multiples of `every` in (after, until], s; one that round-off parts from `until` is `until`."""
    if every is None:
        return
    number = int(np.floor(after / every * (1.0 + 1e-12))) + 1
    while (time := number * every) <= until * (1.0 + 1e-12):
        yield min(time, until)
        number += 1


def _tell(run: Run, progress: Progress, limits: Limits, taken: Step[Evaluation], tally: Tally) -> None:
    """Report how much of the protocol is done: steps of it count alike, and within one its charge or its time does."""
    passed = (taken.time - progress.begun) / (limits.time - progress.begun)
    share = abs(tally.charge - progress.charge) / progress.target if progress.target else passed
    step = run.case.protocol[progress.number]
    run.sinks.report(
        (progress.number + min(share, 1.0)) / len(run.case.protocol),
        f"{step.step} {taken.time:.0f} s, {tally.now.voltage:.4f} V, step {taken.dt:.3g} s",
    )


def _signed_current(step: ProtocolStep, one_c: float, cross_section: float) -> float:
    """Cell current of a protocol step, A: positive in discharge."""
    sign = {"discharge": 1.0, "charge": -1.0, "rest": 0.0}[step.step]
    if step.rate is not None:
        return sign * step.rate * one_c
    return sign * (step.current or 0.0) * cross_section


def _limits(cell: HalfCell, step: ProtocolStep, current: float, begun: float) -> tuple[Limits, bool]:
    """Where the step ends, and whether its time is that of a capacity."""
    time = np.inf if step.until.time is None else step.until.time
    by_capacity = np.inf
    if step.until.capacity is not None:
        by_capacity = step.until.capacity * cell.network.cross_section / abs(current)
    return Limits(begun + min(time, by_capacity), step.until.voltage), by_capacity < time


def _target_charge(cell: HalfCell, step: ProtocolStep, current: float, tally: Tally) -> float:
    """Charge by which progress is measured, C; 0 where time measures it."""
    if step.until.time is not None or step.until.capacity is not None:
        return 0.0
    end = 0.0 if current > 0.0 else 1.0
    return (
        max(abs(end - soc_at_stoichiometry(cell.parameters.active, tally.now.electrodes[0].x_mean)), 1e-3)
        * cell.capacity
    )
