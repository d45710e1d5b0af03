"""Adaptive implicit time integration to an event: a time, or a voltage met by a last step under voltage control.

The integrator knows states, errors and a scalar control, no battery: the model behind `TransientModel` supplies the
non-linear problem of a step, the size of an error, and the reason why a step can shrink no further.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from battsim.errors import NotConvergedError
from battsim.solvers.bdf import error_factor, extrapolate, implicit_rate
from battsim.solvers.newton import E, LinearSolver, NewtonResult, RootFinder, find_root
from battsim.solvers.stepping import Controlled, IntegrationSettings, Limits, Standing, Step, TransientModel

Floats = NDArray[np.float64]

LARGEST_GROWTH = 2.0
SMALLEST_SHRINK = 0.3
LARGEST_RETRY = 0.7
SAFETY = 0.85
CURRENT_TOLERANCE = 1e-7
"""Relative deviation of the current in the last step onto a voltage."""
ACCEPTED_ERROR = 1.5
"""Local error over tolerance up to which a step is kept; the controller aims at SAFETY."""
CRAWL, CRAWLED, FAILING = 10, 0.01, 5
"""So many steps that together pass less than this share of the longest step, with so many failed attempts between them,
get nowhere: a state at a physical end is then the last."""


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch(Generic[E]):
    """What stays the same from step to step."""

    model: TransientModel[E]
    linear: LinearSolver | RootFinder[E]
    control: Controlled
    limits: Limits
    settings: IntegrationSettings

    @property
    def falling(self) -> bool:
        """Whether the voltage limit is met from above."""
        return self.control.value > 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt(Generic[E]):
    """A step that was tried; `change` is the solution minus its prediction, whose share is the local error."""

    result: NewtonResult[E]
    dt: float
    a: float
    u_star: Floats
    change: Floats
    error: float


@dataclass(slots=True)
class _Tries:
    """Attempts since the last accepted step, and what was wrong with the latest."""

    rejected: int = 0
    failed: int = 0
    trouble: str = ""


def consistent_start(
    model: TransientModel[E],
    linear: LinearSolver | RootFinder[E],
    control: Controlled,
    settings: IntegrationSettings,
    u: Floats,
    reference: float,
) -> tuple[Floats, float, E]:
    """The state with potentials that fit its concentrations under a control, its reference, and its evaluation.

    Raises
    ------
    NotConvergedError
        Where no potentials fit.
    """
    result = find_root(model.problem(0.0, u, reference, control), u, linear, settings.newton)
    if not result.converged:
        raise NotConvergedError(
            f"no potentials fit the initial concentrations under {control.kind} {control.value:.6g}: {result.status}; "
            f"the residual is largest in {model.worst(result.evaluation)}; "
            "check [initial], the rate, and the conductivities in [materials]"
        )
    shift = model.reference_shift(result.u)
    return model.shifted(result.u, shift), reference + shift, result.evaluation


def integrate(
    model: TransientModel[E],
    linear: LinearSolver | RootFinder[E],
    control: Controlled,
    limits: Limits,
    settings: IntegrationSettings,
    start: tuple[float, Floats, float],
) -> Iterator[Step[E]]:
    """Accepted steps from a consistent start (time, state, reference) until a limit or a physical end.

    Raises
    ------
    NotConvergedError
        Where steps shrink below the smallest one without a physical reason.
    """
    return integrate_from(model, linear, control, limits, settings, standing_at(model, settings, start))


def standing_at(
    model: TransientModel[E], settings: IntegrationSettings, start: tuple[float, Floats, float]
) -> Standing:
    """Where an integration stands at its consistent start: time (s), state, reference (V)."""
    time, u, reference = start
    return Standing((time,), (u,), (model.voltage(u, reference),), reference, settings.first_step)


def integrate_from(
    model: TransientModel[E],
    linear: LinearSolver | RootFinder[E],
    control: Controlled,
    limits: Limits,
    settings: IntegrationSettings,
    standing: Standing,
) -> Iterator[Step[E]]:
    """Accepted steps from where an integration stands, as `integrate` goes on from there; raises as that does.

    Whoever resets the model and the linear solver at a step's `standing` gets the steps that a fresh model and a fresh
    linear solver give from a copy of it, bit for bit.
    """
    if control.value == 0.0:
        limits = replace(limits, voltage=None)
    stretch, tries = _Stretch(model, linear, control, limits, settings), _Tries()
    wanted = standing.dt
    while True:
        landing = limits.next_landing(standing.times[-1])
        dt, lands = _next_step(stretch, standing, landing, wanted)
        if wanted < settings.smallest_step and not lands:
            yield _physical_end(stretch, standing, tries)
            return
        attempt, stop = _attempt(stretch, standing, dt)
        factor = SAFETY * (1.0 / max(attempt.error, 1e-6)) ** (1.0 / 3.0)
        if not attempt.result.converged:
            tries.failed += 1
            tries.trouble = (
                f"{attempt.result.status}; the residual is largest in {model.worst(attempt.result.evaluation)}"
            )
            wanted = dt * SMALLEST_SHRINK
            continue
        if attempt.error > ACCEPTED_ERROR:
            tries.rejected += 1
            tries.trouble = f"the local error stays too large, most of it in {model.farthest(attempt.change)}"
            wanted = attempt.dt * min(max(factor, SMALLEST_SHRINK), LARGEST_RETRY)
            continue
        time = standing.times[-1] + attempt.dt
        if stop is None and lands:
            time, stop = landing, "time" if landing == limits.time else None
        wanted = attempt.dt * min(max(factor, SMALLEST_SHRINK), LARGEST_GROWTH)
        step = _ended_if_crawling(model, _accepted(model, standing, attempt, time, tries, stop, wanted))
        standing, tries = step.standing, _Tries()
        del attempt  # vectors as long as the state, many of them: none is kept that the next step does not need
        yield step
        if step.stop is not None:
            return
        del step


def _next_step(stretch: _Stretch[E], standing: Standing, landing: float, wanted: float) -> tuple[float, bool]:
    """Length of the next step, and whether it lands on a time; no step before a landing is tiny."""
    gap = landing - standing.times[-1]
    dt = min(wanted, stretch.settings.largest_step, _before_crossing(stretch, standing))
    if dt >= gap * (1.0 - 1e-9):
        return gap, True
    return min(dt, max(0.5 * gap, 0.7 * dt)), False


def _accepted(
    model: TransientModel[E],
    standing: Standing,
    attempt: _Attempt[E],
    time: float,
    tries: _Tries,
    stop: str | None,
    dt: float,
) -> Step[E]:
    """The step, after which the next one wants to be dt long (s)."""
    result = attempt.result
    return Step(
        time=time,
        dt=attempt.dt,
        u=result.u,
        reference=standing.reference,
        a=attempt.a,
        u_star=attempt.u_star,
        evaluation=result.evaluation,
        current=model.current(result.evaluation),
        newton_iterations=result.iterations,
        linear_iterations=result.linear_iterations,
        residual=result.norm,
        error=attempt.error,
        rejected=tries.rejected,
        failed=tries.failed,
        stop=stop,
        place="",
        standing=_moved(model, standing, attempt, time, tries, dt),
    )


def _ended_if_crawling(model: TransientModel[E], step: Step[E]) -> Step[E]:
    """The step; the last one where the physics ends and steps have shrunk so far that they get nowhere."""
    recent = step.standing.recent
    crawls = len(recent) == CRAWL and sum(dt for dt, _ in recent) < CRAWLED * step.standing.longest
    if step.stop is not None or not crawls or sum(failed for _, failed in recent) < FAILING:
        return step
    end = model.exhausted(step.u, step.evaluation)
    return step if end is None else replace(step, stop=end[0], place=end[1])


def _moved(
    model: TransientModel[E], standing: Standing, attempt: _Attempt[E], time: float, tries: _Tries, dt: float
) -> Standing:
    """Where the integration stands with a new state, whose potentials become the reference."""
    u = attempt.result.u
    shift = model.reference_shift(u)
    return Standing(
        times=(*standing.times, time)[-3:],
        states=tuple(model.shifted(state, shift) for state in (*standing.states, u)[-3:]),
        voltages=(*standing.voltages, model.voltage(u, standing.reference))[-3:],
        reference=standing.reference + shift,
        dt=dt,
        steps=standing.steps + 1,
        longest=max(standing.longest, attempt.dt),
        recent=(*standing.recent, (attempt.dt, tries.failed))[-CRAWL:],
    )


def _before_crossing(stretch: _Stretch[E], standing: Standing) -> float:
    """Step to somewhat beyond the extrapolated crossing of the voltage limit, s."""
    times, voltages, limit = standing.times, standing.voltages, stretch.limits.voltage
    if limit is None or len(times) < 2:
        return np.inf
    slope = (voltages[-1] - voltages[-2]) / (times[-1] - times[-2])
    slope = -slope if stretch.falling else slope
    gap = abs(voltages[-1] - limit)
    return 1.5 * gap / slope if slope > 0.0 else np.inf


def _attempt(stretch: _Stretch[E], standing: Standing, dt: float) -> tuple[_Attempt[E], str | None]:
    """One step under the control; where it would cross the voltage limit, a shorter one that ends exactly on it."""
    model, limit = stretch.model, stretch.limits.voltage
    if limit is None:
        return _solve(stretch, stretch.control, standing, dt), None

    def beyond(u: Floats) -> bool:
        voltage = model.voltage(u, standing.reference)
        return voltage <= limit if stretch.falling else voltage >= limit

    if not beyond(standing.at(standing.times[-1] + dt)):
        attempt = _solve(stretch, stretch.control, standing, dt)
        if not attempt.result.converged or not beyond(attempt.result.u):
            return attempt, None
        if attempt.error > ACCEPTED_ERROR:
            return attempt, None
    return _onto_voltage(stretch, limit, standing, dt)


def _solve(stretch: _Stretch[E], control: Controlled, standing: Standing, dt: float) -> _Attempt[E]:
    """One step of a given length under a control; non-convergence and errors are told, not acted upon."""
    model, settings, times = stretch.model, stretch.settings, standing.times
    a, u_star = implicit_rate(times, standing.states, dt)
    predicted = extrapolate(times, standing.states, times[-1] + dt)
    first = model.meeting(control, model.admissible(predicted, standing.states[-1]), standing.reference)
    result = find_root(model.problem(a, u_star, standing.reference, control), first, stretch.linear, settings.newton)
    if result.converged:
        result = replace(result, u=model.conserved(result.u, result.evaluation))
    change = result.u - predicted
    error = error_factor(times, dt) * model.error(change) / settings.tolerance
    return _Attempt(result, dt, a, u_star, change, error)


def _onto_voltage(
    stretch: _Stretch[E], voltage: float, standing: Standing, longest: float
) -> tuple[_Attempt[E], str | None]:
    """The step no longer than `longest` that ends at the voltage with the controlled current.

    The terminal is held at the voltage and the step's length is varied until the current is the controlled one (false
    position, Illinois variant). Held at a voltage the problem stays well posed where the galvanostatic one has no
    solution, beyond the end of the discharge. Where the held cell still gives more than the controlled current after
    the longest step, the limit lies further on, and the step is an ordinary one.
    """
    model, control = stretch.model, stretch.control
    held, sign = model.held_at(voltage), np.sign(control.value)
    tolerance = CURRENT_TOLERANCE * abs(control.value)
    attempt = _solve(stretch, held, standing, longest)
    if not attempt.result.converged:
        return attempt, None
    excess = sign * (model.current(attempt.result.evaluation) - control.value)
    if excess > tolerance:
        return _solve(stretch, control, standing, longest), None
    low, high, f_low, f_high = 0.0, longest, np.inf, excess
    for _ in range(60):
        if abs(excess) <= tolerance:
            return attempt, "voltage"
        dt = 0.5 * (low + high) if np.isinf(f_low) else (low * f_high - high * f_low) / (f_high - f_low)
        attempt = _solve(stretch, held, standing, dt)
        if not attempt.result.converged:
            return attempt, None
        previous, excess = excess, sign * (model.current(attempt.result.evaluation) - control.value)
        if excess > 0.0:
            f_high = 0.5 * f_high if previous > 0.0 else f_high
            low, f_low = dt, excess
        else:
            f_low = 0.5 * f_low if previous < 0.0 else f_low
            high, f_high = dt, excess
    status = f"no step onto {voltage:g} V carries the current to {CURRENT_TOLERANCE:g}"
    return replace(attempt, result=replace(attempt.result, converged=False, status=status)), None


def _physical_end(stretch: _Stretch[E], standing: Standing, tries: _Tries) -> Step[E]:
    """The last accepted state once more, with the physical reason why it is the last; NotConvergedError without one."""
    model, u, time = stretch.model, standing.states[-1], standing.times[-1]
    evaluation = model.problem(0.0, u, standing.reference, stretch.control).evaluate(u)
    end = model.exhausted(u, evaluation)
    if end is None:
        raise NotConvergedError(
            f"at t = {time:.6g} s, after {standing.steps} steps, no step of {stretch.settings.smallest_step:g} s or "
            f"more converges ({tries.trouble}); raise [solver] time_rtol, or check the materials' fitted ranges "
            "against this rate"
        )
    return Step(
        time=time,
        dt=0.0,
        u=u,
        reference=standing.reference,
        a=0.0,
        u_star=u,
        evaluation=evaluation,
        current=model.current(evaluation),
        newton_iterations=0,
        linear_iterations=0,
        residual=0.0,
        error=0.0,
        rejected=tries.rejected,
        failed=tries.failed,
        stop=end[0],
        place=end[1],
        standing=standing,
    )
