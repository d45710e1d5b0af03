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
from battsim.solvers.newton import E, LinearSolver, NewtonResult, newton
from battsim.solvers.stepping import Controlled, IntegrationSettings, Limits, Step, TransientModel

Floats = NDArray[np.float64]

LARGEST_GROWTH = 2.0
SMALLEST_SHRINK = 0.3
LARGEST_RETRY = 0.7
SAFETY = 0.85
CURRENT_TOLERANCE = 1e-7
"""Relative deviation of the current in the last step onto a voltage."""
ACCEPTED_ERROR = 1.5
"""Local error over tolerance up to which a step is kept; the controller aims at SAFETY."""


class _History(Generic[E]):
    """The last three states, all relative to one reference."""

    def __init__(self, model: TransientModel[E], time: float, u: Floats, reference: float) -> None:
        self._model = model
        self.times, self.states, self.reference = [time], [u], reference
        self.voltages = [model.voltage(u, reference)]

    def push(self, time: float, u: Floats) -> None:
        self.times = [*self.times, time][-3:]
        self.voltages = [*self.voltages, self._model.voltage(u, self.reference)][-3:]
        states = [*self.states, u][-3:]
        shift = self._model.reference_shift(u)
        self.states = [self._model.shifted(state, shift) for state in states]
        self.reference += shift


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt(Generic[E]):
    result: NewtonResult[E]
    dt: float
    a: float
    u_star: Floats
    error: float


def consistent_start(
    model: TransientModel[E],
    linear: LinearSolver,
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
    result = newton(model.problem(0.0, u, reference, control), u, linear, settings.newton)
    if not result.converged:
        raise NotConvergedError(
            f"no potentials fit the initial concentrations under {control.kind} {control.value:.6g}: {result.status}; "
            "check [initial], the rate, and the conductivities in [materials]"
        )
    shift = model.reference_shift(result.u)
    return model.shifted(result.u, shift), reference + shift, result.evaluation


def integrate(
    model: TransientModel[E],
    linear: LinearSolver,
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
    history, falling = _History(model, *start), control.value > 0.0
    if control.value == 0.0:
        limits = replace(limits, voltage=None)
    dt, rejected, failed, last_failure = settings.first_step, 0, 0, ""
    last_evaluation: E | None = None
    while True:
        landing = limits.next_landing(history.times[-1])
        dt, lands = _next_step(history, limits, settings, falling, landing, dt)
        if dt < settings.smallest_step and not lands:
            yield _physical_end(model, history, settings, last_evaluation, (rejected, failed), last_failure)
            return
        attempt, stop = _attempt(model, linear, control, limits, settings, history, dt, falling)
        if not attempt.result.converged:
            failed, last_failure = failed + 1, attempt.result.status
            last_evaluation = last_evaluation or attempt.result.evaluation
            dt *= SMALLEST_SHRINK
            continue
        factor = SAFETY * (1.0 / max(attempt.error, 1e-6)) ** (1.0 / 3.0)
        if attempt.error > ACCEPTED_ERROR:
            rejected += 1
            dt = attempt.dt * min(max(factor, SMALLEST_SHRINK), LARGEST_RETRY)
            continue
        time = history.times[-1] + attempt.dt
        if stop is None and lands:
            time, stop = landing, "time" if landing == limits.time else None
        step = _accepted(model, history, attempt, time, (rejected, failed), stop)
        yield step
        if stop is not None:
            return
        history.push(time, step.u)
        rejected, failed, last_evaluation = 0, 0, step.evaluation
        dt = attempt.dt * min(max(factor, SMALLEST_SHRINK), LARGEST_GROWTH)


def _next_step(
    history: _History[E], limits: Limits, settings: IntegrationSettings, falling: bool, landing: float, wanted: float
) -> tuple[float, bool]:
    """Length of the next step, and whether it lands on a time; no step before a landing is tiny."""
    gap = landing - history.times[-1]
    dt = min(wanted, settings.largest_step, _before_crossing(history, limits, falling))
    if dt >= gap * (1.0 - 1e-9):
        return gap, True
    return min(dt, max(0.5 * gap, 0.7 * dt)), False


def _accepted(
    model: TransientModel[E],
    history: _History[E],
    attempt: _Attempt[E],
    time: float,
    tries: tuple[int, int],
    stop: str | None,
) -> Step[E]:
    result = attempt.result
    return Step(
        time=time,
        dt=attempt.dt,
        u=result.u,
        reference=history.reference,
        a=attempt.a,
        u_star=attempt.u_star,
        evaluation=result.evaluation,
        current=model.current(result.evaluation),
        newton_iterations=result.iterations,
        linear_iterations=result.linear_iterations,
        residual=result.norm,
        error=attempt.error,
        rejected=tries[0],
        failed=tries[1],
        stop=stop,
    )


def _before_crossing(history: _History[E], limits: Limits, falling: bool) -> float:
    """Step to somewhat beyond the extrapolated crossing of the voltage limit, s."""
    if limits.voltage is None or len(history.times) < 2:
        return np.inf
    slope = (history.voltages[-1] - history.voltages[-2]) / (history.times[-1] - history.times[-2])
    slope = -slope if falling else slope
    gap = abs(history.voltages[-1] - limits.voltage)
    return 1.5 * gap / slope if slope > 0.0 else np.inf


def _attempt(
    model: TransientModel[E],
    linear: LinearSolver,
    control: Controlled,
    limits: Limits,
    settings: IntegrationSettings,
    history: _History[E],
    dt: float,
    falling: bool,
) -> tuple[_Attempt[E], str | None]:
    """One step under the control; where it would cross the voltage limit, a shorter one that ends exactly on it."""
    if limits.voltage is None:
        return _solve(model, linear, control, settings, history, dt), None

    def beyond(voltage: float) -> bool:
        return voltage <= limits.voltage if falling else voltage >= limits.voltage  # type: ignore[operator]

    predicted = model.voltage(extrapolate(history.times, history.states, history.times[-1] + dt), history.reference)
    if not beyond(predicted):
        attempt = _solve(model, linear, control, settings, history, dt)
        if not attempt.result.converged or not beyond(model.voltage(attempt.result.u, history.reference)):
            return attempt, None
        if attempt.error > ACCEPTED_ERROR:
            return attempt, None
    return _onto_voltage(model, linear, control, limits.voltage, settings, history, dt)


def _solve(
    model: TransientModel[E],
    linear: LinearSolver,
    control: Controlled,
    settings: IntegrationSettings,
    history: _History[E],
    dt: float,
) -> _Attempt[E]:
    a, u_star = implicit_rate(history.times, history.states, dt)
    predicted = extrapolate(history.times, history.states, history.times[-1] + dt)
    first = model.meeting(control, model.admissible(predicted, history.states[-1]), history.reference)
    problem = model.problem(a, u_star, history.reference, control)
    result = newton(problem, first, linear, settings.newton)
    if result.converged:
        result = replace(result, u=model.conserved(result.u, result.evaluation))
    error = error_factor(history.times, dt) * model.error(result.u - predicted) / settings.tolerance
    return _Attempt(result, dt, a, u_star, error)


def _onto_voltage(
    model: TransientModel[E],
    linear: LinearSolver,
    control: Controlled,
    voltage: float,
    settings: IntegrationSettings,
    history: _History[E],
    longest: float,
) -> tuple[_Attempt[E], str | None]:
    """The step no longer than `longest` that ends at the voltage with the controlled current.

    The terminal is held at the voltage and the step's length is varied until the current is the controlled one (false
    position, Illinois variant). Held at a voltage the problem stays well posed where the galvanostatic one has no
    solution, beyond the end of the discharge. Where the held cell still gives more than the controlled current after
    the longest step, the limit lies further on, and the step is an ordinary one.
    """
    held, sign = model.held_at(voltage), np.sign(control.value)
    tolerance = CURRENT_TOLERANCE * abs(control.value)
    attempt = _solve(model, linear, held, settings, history, longest)
    if not attempt.result.converged:
        return attempt, None
    excess = sign * (model.current(attempt.result.evaluation) - control.value)
    if excess > tolerance:
        return _solve(model, linear, control, settings, history, longest), None
    low, high, f_low, f_high = 0.0, longest, np.inf, excess
    for _ in range(60):
        if abs(excess) <= tolerance:
            return attempt, "voltage"
        dt = 0.5 * (low + high) if np.isinf(f_low) else (low * f_high - high * f_low) / (f_high - f_low)
        attempt = _solve(model, linear, held, settings, history, dt)
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


def _physical_end(
    model: TransientModel[E],
    history: _History[E],
    settings: IntegrationSettings,
    evaluation: E | None,
    tries: tuple[int, int],
    failure: str,
) -> Step[E]:
    """The last accepted state once more, with the physical reason why it is the last; NotConvergedError without one."""
    u = history.states[-1]
    reason = None if evaluation is None else model.exhausted(u, evaluation)
    if evaluation is None or reason is None:
        raise NotConvergedError(
            f"at t = {history.times[-1]:.6g} s no step of {settings.smallest_step:g} s or more converges "
            f"({failure or 'the local error stays too large'}); raise [solver] time_rtol, or check the materials' "
            "fitted ranges against this rate"
        )
    return Step(
        time=history.times[-1],
        dt=0.0,
        u=u,
        reference=history.reference,
        a=0.0,
        u_star=u,
        evaluation=evaluation,
        current=model.current(evaluation),
        newton_iterations=0,
        linear_iterations=0,
        residual=0.0,
        error=0.0,
        rejected=tries[0],
        failed=tries[1],
        stop=reason,
    )
