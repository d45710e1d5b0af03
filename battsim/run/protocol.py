"""The steps of a protocol, one after the other: states become rows, fields and checkpoints while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from battsim.case import CellCase
from battsim.case.protocol import Step as ProtocolStep
from battsim.constants import SECONDS_PER_HOUR
from battsim.errors import ImpossibleError
from battsim.materials.charge import soc_at_stoichiometry
from battsim.models.cell.equations import Cell, Evaluation
from battsim.models.cell.places import Places
from battsim.models.cell.transient import CellTransient, Control
from battsim.post.profiles import Profiles
from battsim.post.rows import limiting_electrode, steps_row, timeseries_row
from battsim.post.tally import Tally, advance, begin, snapshot
from battsim.run.checkpoint import Inputs, Progress, save_progress
from battsim.run.engine import Solver
from battsim.run.place import named_after
from battsim.run.sinks import Sinks
from battsim.solvers.integrate import consistent_start, integrate_from, standing_at
from battsim.solvers.stepping import IntegrationSettings, Limits, Standing, Step

Floats = NDArray[np.float64]
RunCase: TypeAlias = CellCase

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
class Run:
    """What stays the same from one step of the protocol to the next.

    Attributes
    ----------
    case
        Protocol, tolerance and output.
    inputs
        What a checkpoint must match to be gone on from.
    cell, linear
        The model and what solves for its states.
    profiles, places
        Of the model on its mesh.
    sinks
        Where numbers go.
    one_c
        What 1 C means, A.
    longest_step
        s at 1 C and inversely more at other rates.
    """

    case: RunCase
    inputs: Inputs
    cell: Cell
    linear: Solver
    profiles: Profiles
    places: Places
    sinks: Sinks
    one_c: float
    longest_step: float = np.inf


def one_c_of(case: RunCase, cell: Cell) -> float:
    """What 1 C means, A: as the case declares it, or what the electrode that holds less can take up or give off."""
    declared = case.cell.capacity
    charge = cell.capacity if declared is None else declared * cell.network.cross_section
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
    """One step of the protocol as the integrator takes it."""

    transient: CellTransient
    control: Control
    settings: IntegrationSettings


def run_protocol(run: Run, x_start: tuple[float, ...], progress: Progress | None = None) -> Ended:
    """All steps of the protocol, from uniform stoichiometries at rest, or from where a checkpoint stands.

    Raises
    ------
    ImpossibleError
        Where a step cannot begin, since one of its limits is passed already.
    NotConvergedError
        Where a solver gives up without a physical reason.
    """
    ended: Ended | None = None
    first = 0 if progress is None else progress.number
    for number in range(first, len(run.case.protocol)):
        with named_after(run.case, f"protocol.{number}"):
            if progress is None:
                state = State(0.0, *run.cell.uniform_state(*x_start)) if ended is None else ended.state
                begun = _begin(run, number, state, None if ended is None else ended.tally)
            else:
                begun, progress = progress, None
            ended = _go_on(run, begun)
        if ended.reason in PHYSICAL_ENDS:
            break
    assert ended is not None
    return ended


def _begin(run: Run, number: int, state: State, earlier: Tally | None) -> Progress:
    """The consistent start of a step of the protocol, as its first checkpoint."""
    step, cell, sinks = run.case.protocol[number], run.cell, run.sinks
    control = _control(run, step)
    stretch = _stretch(run, control, _current_scale(run, control, state.reference))
    transient = stretch.transient
    u, reference, evaluation = consistent_start(
        transient, run.linear, control, stretch.settings, state.u, state.reference
    )
    tally = begin(snapshot(cell, state.time, u, reference, evaluation), transient.current_scale, earlier)
    sinks.timeseries.append(timeseries_row(cell, number, tally.now, tally))
    if number == 0:  # later steps start at the time of the saved end of the one before: potentials jump there
        _save(run, state.time, u, reference, evaluation)
    target = _target_charge(cell, step, tally)
    standing = standing_at(transient, stretch.settings, (state.time, u, reference))
    progress = Progress(
        number=number,
        begun=state.time,
        charge=tally.charge,
        inventory=transient.charge(u),
        current=tally.now.current,
        target=target,
        standing=standing,
        tally=tally,
        rows=sinks.rows,
        fields=sinks.saved,
    )
    _refuse_passed(run, step, progress, control)
    _synchronise(run, transient, progress)
    return progress


def _go_on(run: Run, progress: Progress) -> Ended:
    """The rest of a step of the protocol."""
    number, tally, standing = progress.number, progress.tally, progress.standing
    step = run.case.protocol[number]
    control, limits = _control(run, step), _limits(run, step, progress)
    stretch = _stretch(run, control, tally.current_scale)
    transient = stretch.transient
    for taken in integrate_from(transient, run.linear, control, limits, stretch.settings, standing):
        tally = _record(run, number, taken, tally, transient.current_scale)
        _save_asked_for(run, transient, standing.times[-1], taken)
        standing = taken.standing
        _tell(run, progress, limits, taken, tally)
        if taken.stop is not None:
            reason = _reason(step, taken.stop)
            return Ended(State(taken.time, taken.u, taken.reference), tally, number, reason, taken.place)
        if standing.steps % BETWEEN_CHECKPOINTS == 0:
            reached = replace(progress, standing=standing, tally=tally, rows=run.sinks.rows, fields=run.sinks.saved)
            _synchronise(run, transient, reached)
            del reached
        del taken  # its evaluation is many times as large as the state: not two at a time
    raise AssertionError("the integrator ends with a reason")


def _control(run: Run, step: ProtocolStep) -> Control:
    """What a step of the protocol holds the cell at: currents and powers are positive in discharge."""
    area, sign = run.cell.network.cross_section, {"discharge": 1.0, "charge": -1.0}.get(step.step, 0.0)
    if step.voltage is not None:
        return Control("voltage", step.voltage)
    if step.power is not None:
        return Control("power", sign * step.power * area)
    if step.rate is not None:
        return Control("current", sign * step.rate * run.one_c)
    return Control("current", sign * (step.current or 0.0) * area)


def _current_scale(run: Run, control: Control, voltage: float) -> float:
    """Current against which residuals of a step are measured, A."""
    if control.kind == "voltage" or control.value == 0.0:
        return run.one_c
    return abs(control.value) / (voltage if control.kind == "power" else 1.0)


def _stretch(run: Run, control: Control, scale: float) -> _Stretch:
    """What a step of the protocol asks of the integrator."""
    settings = IntegrationSettings(
        tolerance=run.case.solver.time_rtol,
        first_step=FIRST_STEP * min(1.0, run.one_c / scale),
        smallest_step=1e-5,
        largest_step=run.longest_step * run.one_c / scale,
    )
    return _Stretch(CellTransient(run.cell, scale, run.places), control, settings)


def _limits(run: Run, step: ProtocolStep, progress: Progress) -> Limits:
    """Where a step of the protocol ends."""
    until, area = step.until, run.cell.network.cross_section
    direction = float(np.sign(progress.current))
    currents = [until.current * area] if until.current is not None else []
    currents += [until.rate * run.one_c] if until.rate is not None else []
    # of two currents, the one that is met first: a held voltage lets it fall, a held power lets it rise
    nearest = {"hold": max}.get(step.step, min)
    return Limits(
        time=progress.begun + (np.inf if until.time is None else until.time),
        voltage=until.voltage,
        current=direction * nearest(currents) if currents else None,
        charge=None if until.capacity is None else progress.inventory + direction * until.capacity * area,
    )


def _refuse_passed(run: Run, step: ProtocolStep, progress: Progress, control: Control) -> None:
    """ImpossibleError where a limit is passed before the step begins."""
    limits, now, area = _limits(run, step, progress), progress.tally.now, run.cell.network.cross_section
    if limits.voltage is not None and (now.voltage - limits.voltage) * control.value <= 0.0:
        raise ImpossibleError(
            f"this {step.step} cannot begin: under its current of {now.current / area:.4g} A/m2 the voltage is "
            f"{now.voltage:.4f} V, which is past until.voltage = {limits.voltage:g} V already; lower the rate, move "
            "the limit, or begin from another state"
        )
    if limits.current is None:
        return
    beyond = (abs(now.current) - abs(limits.current)) * (-1.0 if control.kind == "voltage" else 1.0)
    if beyond >= 0.0:
        raise ImpossibleError(
            f"this {step.step} cannot begin: its current is {abs(now.current) / area:.4g} A/m2, which is past its "
            f"limit of {abs(limits.current) / area:.4g} A/m2 ({abs(limits.current) / run.one_c:.4g} C) already; move "
            "the limit, or leave the step out"
        )


def _reason(step: ProtocolStep, stop: str) -> str:
    """The integrator's stop in the words of the protocol."""
    if stop == "charge":
        return "capacity"
    if stop == "current" and step.until.current is None:
        return "rate"
    return stop


def _synchronise(run: Run, transient: CellTransient, progress: Progress) -> None:
    """Drop what one solve keeps for the next, since a run that goes on from here has none of it; write a checkpoint."""
    run.linear.reset()
    transient.reset()
    sinks = run.sinks
    if sinks.checkpoints is None:
        return
    for table in (sinks.timeseries, sinks.steps, sinks.profiles):
        table.to_disk()
    save_progress(sinks.checkpoints, progress, run.inputs)


def _record(run: Run, number: int, taken: Step[Evaluation], tally: Tally, scale: float) -> Tally:
    """The sums after a time step, whose rows are written."""
    cell, sinks = run.cell, run.sinks
    now = snapshot(cell, taken.time, taken.u, taken.reference, taken.evaluation)
    tally = advance(tally, now, taken.dt)
    if taken.dt > 0.0:
        sinks.timeseries.append(timeseries_row(cell, number, now, tally))
        sinks.steps.append(steps_row(cell, number, taken, now, scale))
    return tally


def _save(run: Run, time: float, u: Floats, reference: float, evaluation: Evaluation) -> None:
    """Fields and profiles of a state."""
    if run.sinks.fields is not None:
        run.sinks.fields.save(time, u, reference, evaluation)
    for row in run.profiles.rows(time, u, reference, evaluation):
        run.sinks.profiles.append(row)


def _save_asked_for(run: Run, transient: CellTransient, before: float, taken: Step[Evaluation]) -> None:
    """Fields at the times asked for within a step, interpolated, and those of its end where that is one or the end."""
    standing: Standing = taken.standing
    ends_on_one = False
    for time in _asked_for(run.case.output.every, before, taken.time):
        ends_on_one = taken.time - time <= (NEAREST if taken.stop else 0.0)
        if not ends_on_one:
            u, evaluation = transient.between(
                standing.at(time), standing.reference, taken.evaluation, standing.states[-1]
            )
            _save(run, time, u, standing.reference, evaluation)
    if taken.stop or ends_on_one:
        _save(run, taken.time, taken.u, taken.reference, taken.evaluation)


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


def _target_charge(cell: Cell, step: ProtocolStep, tally: Tally) -> float:
    """Charge by which progress is measured, C; 0 where time measures it."""
    if step.until.capacity is not None:
        return step.until.capacity * cell.network.cross_section
    if step.until.time is not None:
        return 0.0
    limiting, current = limiting_electrode(cell), tally.now.current
    soc = soc_at_stoichiometry(cell.electrodes[limiting].material, tally.now.electrodes[limiting].x_mean)
    return max(abs((0.0 if current > 0.0 else 1.0) - soc), 1e-3) * cell.capacity
