"""Adaptive implicit time integration to an event: a time, a charge, or a voltage or current met exactly.

The integrator knows states, errors and a scalar control, no battery: the model behind `TransientModel` supplies the
non-linear problem of a step, the size of an error, and the reason why a step can shrink no further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from battsim.errors import ImpossibleError, NotConvergedError
from battsim.solvers.bdf import error_factor, extrapolate, implicit_rate
from battsim.solvers.newton import E, LinearSolver, NewtonResult, RootFinder, find_root
from battsim.solvers.stepping import Controlled, IntegrationSettings, Limits, Standing, Step, TransientModel

Floats = NDArray[np.float64]

LARGEST_GROWTH = 2.0
SMALLEST_SHRINK = 0.3
LARGEST_RETRY = 0.7
SAFETY = 0.85
PATIENCE = 7
"""Newton iterations of a step after which a shorter one is tried, unless they gained a digit."""
CONTROL_TOLERANCE = 1e-7
"""Relative deviation of the controlled current, voltage or power in the last step onto a limit."""
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
    ImpossibleError
        Where no potentials fit since surfaces are at a physical end.
    NotConvergedError
        Where no potentials fit without such a reason.
    """
    result = find_root(model.problem(0.0, u, reference, control), u, linear, settings.newton)
    end = None if result.converged else model.exhausted(result.u, result.evaluation)
    if end is not None:
        raise ImpossibleError(
            f"no potentials fit the concentrations at the start under {control.kind} {control.value:.6g}: "
            f"{end[0]}, {end[1]}; such a current passes no surface: lower the rate, or use finer voxels where the "
            "diffusion across half a voxel is the limit"
        )
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
    """One step under the control; where it would pass a limit, a shorter one that ends exactly on it, and its name."""
    attempt: _Attempt[E] | None = None
    if not _passes_voltage(stretch, standing, standing.at(standing.times[-1] + dt)):
        attempt = _solve(stretch, stretch.control, standing, dt)
        if not attempt.result.converged or attempt.error > ACCEPTED_ERROR:
            return attempt, None
    stop = None
    for landing in _landings(stretch, standing):
        if attempt is None or landing.passed(attempt):
            attempt, found = _onto(stretch, landing, standing, dt if attempt is None else attempt.dt)
            if not attempt.result.converged:
                return attempt, None
            stop = found or stop
    assert attempt is not None
    return attempt, stop


def _passes_voltage(stretch: _Stretch[E], standing: Standing, u: Floats) -> bool:
    """Whether a state lies beyond the limit of the voltage."""
    limit, voltage = stretch.limits.voltage, stretch.model.voltage(u, standing.reference)
    if limit is None:
        return False
    return voltage <= limit if stretch.falling else voltage >= limit


@dataclass(frozen=True, slots=True, eq=False)
class _Landing(Generic[E]):
    """A limit other than time, and how a step ends on it.

    The step is taken under `held`, and its length is varied until `excess`, positive in short steps and falling with
    their length, is zero to `tolerance`.
    """

    name: str
    passed: Callable[[_Attempt[E]], bool]
    held: Controlled
    excess: Callable[[_Attempt[E]], float]
    tolerance: float


def _landings(stretch: _Stretch[E], standing: Standing) -> Iterator[_Landing[E]]:
    """The limits of a stretch but its time; the voltage comes first."""
    model, control, limits = stretch.model, stretch.control, stretch.limits

    def current(attempt: _Attempt[E]) -> float:
        return model.current(attempt.result.evaluation)

    def over_control(attempt: _Attempt[E]) -> float:
        """What the control fixes, in the attempt, minus its value."""
        voltage = model.voltage(attempt.result.u, standing.reference)
        factor = {"current": 1.0, "power": voltage}
        measured = voltage if control.kind == "voltage" else factor[control.kind] * current(attempt)
        return measured - control.value

    tolerance = CONTROL_TOLERANCE * abs(control.value)
    if limits.voltage is not None:
        yield _Landing(
            "voltage",
            lambda attempt: _passes_voltage(stretch, standing, attempt.result.u),
            model.held_at("voltage", limits.voltage),
            lambda attempt: float(np.sign(control.value)) * over_control(attempt),
            tolerance,
        )
    if limits.current is not None:
        limit, sign = limits.current, float(np.sign(limits.current))
        falling = control.kind == "voltage"
        yield _Landing(
            "current",
            lambda attempt: sign * (limit - current(attempt)) * (1.0 if falling else -1.0) >= 0.0,
            model.held_at("current", limit),
            lambda attempt: sign * over_control(attempt),
            tolerance,
        )
    if limits.charge is not None:
        target, now = limits.charge, model.charge(standing.states[-1])
        towards = float(np.sign(target - now))
        yield _Landing(
            "charge",
            lambda attempt: towards * (model.charge(attempt.result.u) - target) >= 0.0,
            control,
            lambda attempt: towards * (target - model.charge(attempt.result.u)),
            CONTROL_TOLERANCE * abs(target - now),
        )


def _solve(stretch: _Stretch[E], control: Controlled, standing: Standing, dt: float) -> _Attempt[E]:
    """One step of a given length under a control; non-convergence and errors are told, not acted upon."""
    model, settings, times = stretch.model, stretch.settings, standing.times
    a, u_star = implicit_rate(times, standing.states, dt)
    predicted = extrapolate(times, standing.states, times[-1] + dt)
    first = model.meeting(control, model.admissible(predicted, standing.states[-1]), standing.reference)
    impatient = replace(settings.newton, patience=PATIENCE)
    result = find_root(model.problem(a, u_star, standing.reference, control), first, stretch.linear, impatient)
    if result.converged:
        result = replace(result, u=model.conserved(result.u, result.evaluation))
    change = result.u - predicted
    error = error_factor(times, dt) * model.error(change) / settings.tolerance
    return _Attempt(result, dt, a, u_star, change, error)


def _onto(
    stretch: _Stretch[E], landing: _Landing[E], standing: Standing, longest: float
) -> tuple[_Attempt[E], str | None]:
    """The step no longer than `longest` that ends on a limit, and the limit's name.

    The cell is held at the limit and the step's length is varied until what the control fixes has its value (false
    position, Illinois variant). Held at a voltage the problem stays well posed where the galvanostatic one has no
    solution, beyond the end of the discharge. Where the held cell still exceeds the control after the longest step,
    the limit lies further on, and the step is an ordinary one.
    """
    attempt = _solve(stretch, landing.held, standing, longest)
    if not attempt.result.converged:
        return attempt, None
    excess = landing.excess(attempt)
    if excess > landing.tolerance:
        return _solve(stretch, stretch.control, standing, longest), None
    low, high, f_low, f_high = 0.0, longest, np.inf, excess
    for _ in range(60):
        if abs(excess) <= landing.tolerance:
            return attempt, landing.name
        dt = 0.5 * (low + high) if np.isinf(f_low) else (low * f_high - high * f_low) / (f_high - f_low)
        attempt = _solve(stretch, landing.held, standing, dt)
        if not attempt.result.converged:
            return attempt, None
        previous, excess = excess, landing.excess(attempt)
        if excess > 0.0:
            f_high = 0.5 * f_high if previous > 0.0 else f_high
            low, f_low = dt, excess
        else:
            f_low = 0.5 * f_low if previous < 0.0 else f_low
            high, f_high = dt, excess
    held, control = landing.held, stretch.control
    status = (
        f"no step onto {held.kind} {held.value:g} has the controlled {control.kind} {control.value:g} to "
        f"{CONTROL_TOLERANCE:g}"
    )
    return replace(attempt, result=replace(attempt.result, converged=False, status=status)), None


def _physical_end(stretch: _Stretch[E], standing: Standing, tries: _Tries) -> Step[E]:
    """The last accepted state once more, with the physical reason why it is the last; NotConvergedError without one."""
    model, u, time = stretch.model, standing.states[-1], standing.times[-1]
    evaluation = model.problem(0.0, u, standing.reference, stretch.control).evaluate(u)
    end = model.exhausted(u, evaluation)
    if end is None:
        raise NotConvergedError(
            f"at t = {time:.6g} s, after {standing.steps} steps, no step of {stretch.settings.smallest_step:g} s or "
            f"more converges ({tries.trouble}); {_advice(tries)}check the materials' fitted "
            "ranges against this rate"
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


def _advice(tries: _Tries) -> str:
    """What to try: a looser tolerance helps where steps were too inaccurate, not where they did not converge."""
    return "raise [solver] time_rtol, or " if tries.rejected > tries.failed else ""
