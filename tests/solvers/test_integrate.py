"""The integrator on a Thevenin cell whose discharge is known in closed form."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import brentq

from battsim.errors import NotConvergedError
from battsim.fvm.blocks import BlockMatrix
from battsim.solvers.integrate import (
    IntegrationSettings,
    Limits,
    consistent_start,
    integrate,
    integrate_from,
    standing_at,
)
from battsim.solvers.newton import NewtonSettings

Q, R0, R1, TAU = 1000.0, 0.05, 0.08, 40.0
"""Charge (C), ohmic resistance (ohm), and one relaxing resistance (ohm) with its time (s)."""


def open_circuit(q):
    return 4.0 - 0.5 * q - 0.1 * q**3


@dataclass
class Control:
    kind: str
    value: float


@dataclass
class Evaluation:
    residual: np.ndarray
    current: float
    q: float
    V: float


class Cell:
    """q' = I/Q, w' = (R1 I - w)/TAU, V = U(q) - w - R0 I; state [q, w, V], V relative to the reference."""

    def __init__(self, broken_after=np.inf, end=None, error_scale=1.0):
        self.broken_after, self.end, self.error_scale, self.modes = broken_after, end, error_scale, []

    def problem(self, a, u_star, reference, control):
        return Problem(self, a, u_star, reference, control)

    def held_at(self, kind, value):
        return Control(kind, value)

    def charge(self, u):
        return Q * float(u[0])

    def meeting(self, control, u, reference):
        out = u.copy()
        if control.kind == "voltage":
            out[2] = control.value - reference
        return out

    def reference_shift(self, u):
        return float(u[2])

    def shifted(self, u, shift):
        return u - np.array([0.0, 0.0, shift])

    def voltage(self, u, reference):
        return float(u[2]) + reference

    def current(self, evaluation):
        return evaluation.current

    def admissible(self, guess, last):  # noqa: ARG002
        return guess

    def conserved(self, u, evaluation):  # noqa: ARG002
        return u

    def error(self, difference):
        return self.error_scale * float(np.abs(difference).max())

    def exhausted(self, u, evaluation):  # noqa: ARG002
        return self.end and (self.end, "the middle")

    def worst(self, evaluation):
        return "qwV"[int(np.abs(evaluation.residual).argmax())]

    def farthest(self, difference):
        return "qwV"[int(np.abs(difference).argmax())]

    def reset(self):
        pass


class Problem:
    def __init__(self, cell, a, u_star, reference, control):
        self.cell, self.a, self.u_star, self.reference, self.control = cell, a, u_star, reference, control

    def evaluate(self, u):
        q, w, V = u
        I = (open_circuit(q) - w - V - self.reference) / R0  # noqa: E741
        self.cell.modes.append(self.control.kind)
        wanted = {"voltage": V + self.reference, "current": I, "power": I * (V + self.reference)}[self.control.kind]
        rows = np.array([q - self.u_star[0], w - self.u_star[1], wanted - self.control.value])
        if self.a > 0.0:
            rows[:2] = self.a * rows[:2] - np.array([I / Q, (R1 * I - w) / TAU])
        if q > self.cell.broken_after:
            rows[2] = 1.0 + abs(rows[2])  # no root here
        return Evaluation(rows, I, q, V + self.reference)

    def jacobian(self, evaluation):
        live = 1.0 if self.a > 0.0 else 0.0
        by = np.array([(-0.5 - 0.3 * evaluation.q**2) / R0, -1.0 / R0, -1.0 / R0])
        J = np.diag([self.a or 1.0, (self.a or 1.0) + live / TAU, 0.0])
        J[0] -= live * by / Q
        J[1] -= live * R1 * by / TAU
        J[2] = [0.0, 0.0, 1.0] if self.control.kind == "voltage" else by
        if self.control.kind == "power":
            J[2] = evaluation.V * by + np.array([0.0, 0.0, evaluation.current])
        return BlockMatrix((slice(0, 3),), {(0, 0): sp.csr_array(J)}, (), ())

    def norm(self, residual):
        return float(np.abs(residual).max())

    def imbalance(self, residual):  # noqa: ARG002
        return 0.0

    def step_limit(self, u, du):  # noqa: ARG002
        return 1.0


class Exact:
    def reset(self):
        pass

    def solve(self, jacobian, rhs, rtol):  # noqa: ARG002
        return np.linalg.solve(jacobian.blocks[0, 0].toarray(), rhs), 1, True


def settings_of(tolerance=1e-4, rtol=1e-13, **changes):
    return IntegrationSettings(tolerance=tolerance, newton=NewtonSettings(rtol=rtol), **changes)


def run(current=1.0, limits=None, cell=None, settings=None, q0=0.1, kind="current"):
    cell, settings, control = cell or Cell(), settings or settings_of(), Control(kind, current)
    state, linear = np.array([q0, 0.0, 0.0]), Exact()
    u, reference, _ = consistent_start(cell, linear, control, settings, state, 4.0)
    return cell, list(integrate(cell, linear, control, limits or Limits(), settings, (0.0, u, reference)))


def exact_voltage(t, current=1.0, q0=0.1):
    return open_circuit(q0 + current * t / Q) - R1 * current * (1.0 - np.exp(-t / TAU)) - R0 * current


def voltages(cell, steps):
    return np.array([cell.voltage(s.u, s.reference) for s in steps])


def test_consistent_start_changes_the_potential_only():
    cell, control = Cell(), Control("current", 2.0)
    u, reference, evaluation = consistent_start(cell, Exact(), control, settings_of(), np.array([0.1, 0.03, 0.0]), 3.0)
    np.testing.assert_allclose(u[:2], [0.1, 0.03], rtol=1e-13)
    assert cell.voltage(u, reference) == pytest.approx(open_circuit(0.1) - 0.03 - 2.0 * R0, abs=1e-13)
    assert u[2] == 0.0  # the terminal is the reference
    assert evaluation.current == pytest.approx(2.0)


def test_steps_follow_the_exact_solution():
    cell, steps = run(limits=Limits(time=500.0))
    exact = exact_voltage(np.array([s.time for s in steps]))
    # 1e-4 V per step, of which the relaxing mode remembers a few: measured 3.2e-4
    assert np.max(np.abs(voltages(cell, steps) - exact)) < 5e-4
    assert len(steps) < 60
    for step in steps:
        assert step.error <= 1.5
        assert step.residual <= 1e-13


def test_time_limit_is_met_exactly():
    _, steps = run(limits=Limits(time=123.456))
    assert steps[-1].time == 123.456
    assert [s.stop for s in steps] == [None] * (len(steps) - 1) + ["time"]
    # no crumb is left for the last step
    assert steps[-1].dt > 0.1 * steps[-2].dt
    assert np.all(np.diff([0.0] + [s.time for s in steps]) > 0.0)


def test_landing_times_are_met_exactly():
    _, steps = run(limits=Limits(time=100.0, every=7.0))
    times = [s.time for s in steps]
    for k in range(1, 15):
        assert 7.0 * k in times
    assert (times[-1], steps[-1].stop) == (100.0, "time")
    assert sum(s.stop is not None for s in steps) == 1


@pytest.mark.parametrize(("current", "limit"), [(1.0, 3.5), (-1.0, 3.95)], ids=["discharge", "charge"])
def test_voltage_limit_is_met_by_current_and_time(current, limit):
    cell, steps = run(current=current, limits=Limits(voltage=limit), q0=0.1 if current > 0 else 0.6)
    last = steps[-1]
    assert last.stop == "voltage"
    assert cell.voltage(last.u, last.reference) == pytest.approx(limit, abs=1e-12)
    assert last.current == pytest.approx(current, rel=1e-7)
    q0 = 0.1 if current > 0 else 0.6
    crossing = brentq(lambda t: exact_voltage(t, current, q0) - limit, 100.0, 900.0)
    # 1e-4 V of error over a slope of 0.5 mV/s and more
    assert last.time == pytest.approx(crossing, abs=0.5)
    assert all(s.stop is None for s in steps[:-1])


def test_voltage_limit_is_approached_with_the_tolerance():
    limit = 3.5
    crossing = brentq(lambda t: exact_voltage(t) - limit, 100.0, 900.0)
    errors = [
        abs(run(limits=Limits(voltage=limit), settings=settings_of(tolerance))[1][-1].time - crossing)
        for tolerance in (1e-3, 1e-5)
    ]
    # error ~ tolerance^(2/3): a factor of 21
    assert errors[1] < errors[0] / 10.0
    assert errors[1] < 0.02


def test_no_voltage_step_is_made_far_from_the_limit():
    cell, _ = run(limits=Limits(time=50.0, voltage=2.0))
    assert set(cell.modes) == {"current"}


def test_order_in_the_number_of_equal_steps_is_two():
    errors = []
    for dt in (4.0, 2.0, 1.0):
        settings = settings_of(1e9, first_step=dt, largest_step=dt)
        cell, steps = run(limits=Limits(time=80.0), settings=settings)
        assert len(steps) == round(80.0 / dt)
        errors.append(abs(voltages(cell, steps)[-1] - exact_voltage(80.0)))
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(np.abs(orders - 2.0) < 0.1)
    assert errors[-1] < 1e-5


def test_error_falls_with_the_tolerance():
    counts, errors = [], []
    for tolerance in (1e-3, 1e-4, 1e-5):
        cell, steps = run(limits=Limits(time=300.0), settings=settings_of(tolerance))
        errors.append(np.max(np.abs(voltages(cell, steps) - exact_voltage(np.array([s.time for s in steps])))))
        counts.append(len(steps))
    # order two in the steps, three per step: error and tolerance fall together, steps grow like tolerance^(-1/3)
    assert errors[0] > 3.0 * errors[1] > 9.0 * errors[2]
    assert 1.5 < counts[2] / counts[1] < 3.0


def test_a_physical_end_is_told_with_the_last_good_state():
    _, steps = run(cell=Cell(broken_after=0.3, end="solid saturation"))
    assert (steps[-1].stop, steps[-1].place) == ("solid saturation", "the middle")
    assert steps[-1].dt == 0.0
    assert np.array_equal(steps[-1].u[:2], steps[-2].u[:2])
    assert steps[-1].time == steps[-2].time
    assert steps[-1].failed > 1
    assert steps[-2].u[0] <= 0.3


class Uphill(Cell):
    """Beyond 0.3 no step of 0.5 ms or more converges: smaller ones do, and the next ones fail again."""

    def problem(self, a, u_star, reference, control):
        problem = super().problem(a, u_star, reference, control)
        if u_star[0] > 0.3 and 0.0 < a < 1.0 / 0.0005:
            problem.control = Control("current", np.nan)
        return problem


def test_at_a_physical_end_an_integration_does_not_crawl_on():
    settings = settings_of(largest_step=1.0, smallest_step=1e-6, rtol=1e-9)
    _, steps = run(cell=Uphill(end="salt depletion"), limits=Limits(time=201.2), settings=settings)
    assert (steps[-1].stop, steps[-1].place) == ("salt depletion", "the middle")
    crept = [step for step in steps if step.time > 200.0 and step.dt < 0.001]
    assert [step.dt > 0.0 for step in crept] == [True] * 10
    # where the state is at no end, or where nothing fails, small steps are taken as long as they help
    _, steps = run(cell=Uphill(), limits=Limits(time=201.2), settings=settings)
    assert steps[-1].stop == "time"
    assert sum(step.dt < 0.001 for step in steps) > 300


def test_small_steps_that_do_not_fail_are_no_crawl():
    cell, steps = run(cell=Cell(end="salt depletion"), limits=Limits(time=100.0))
    standing, limits = steps[-1].standing, Limits(time=100.03, every=0.001)
    assert standing.longest > 5.0
    small = list(integrate_from(cell, Exact(), Control("current", 1.0), limits, settings_of(rtol=1e-9), standing))
    assert len(small) == 30
    assert small[-1].stop == "time"


def test_failing_steps_without_a_physical_reason_raise():
    told = r"at t = 200 s, after \d\d steps, no step of 0.0001 s or more converges \(.*residual is largest in [qwV]\)"
    with pytest.raises(NotConvergedError, match=told):
        run(cell=Cell(broken_after=0.3))


def test_errors_that_no_step_can_meet_raise():
    with pytest.raises(NotConvergedError, match=r"the local error stays too large, most of it in [qV]\)"):
        run(cell=Cell(error_scale=1e9), limits=Limits(time=10.0))


def test_a_start_that_fits_no_potential_raises():
    with pytest.raises(
        NotConvergedError,
        match=r"no potentials fit the initial concentrations under current 1:.* largest in V; check \[initial\]",
    ):
        run(cell=Cell(broken_after=0.0))


@pytest.mark.parametrize("rows", [[0], [2], [0, 1, 2]])
def test_what_is_not_finite_is_a_failed_step_and_then_an_error(rows):
    class Undefined(Cell):
        """No residual beyond a charge."""

        def problem(self, a, u_star, reference, control):
            problem = super().problem(a, u_star, reference, control)
            evaluate = problem.evaluate

            def undefined(u):
                evaluation = evaluate(u)
                evaluation.residual[rows if u[0] > 0.3 else []] = np.nan
                return evaluation

            problem.evaluate = undefined
            return problem

    with pytest.raises(NotConvergedError, match=r"\(.* not finite.* largest in [qwV]\)"):
        run(cell=Undefined(), settings=settings_of(rtol=1e-9))  # round-off of steps of 0.1 ms is above 1e-13


def test_failed_attempts_are_counted_and_recovered_from():
    class Hiccup(Cell):
        """The first two solves of a step fail."""

        def problem(self, a, u_star, reference, control):
            problem = super().problem(a, u_star, reference, control)
            if a > 0.0 and 1.0 / a > 0.3 * 0.02:
                problem.control = Control("current", np.nan)
            return problem

    _, steps = run(cell=Hiccup(), limits=Limits(time=0.015), settings=settings_of(first_step=0.015))
    assert steps[0].failed == 1
    assert steps[-1].time == 0.015


@pytest.mark.parametrize("number", [1, 2, 8])
def test_a_limit_just_below_a_state_is_no_failure(number):
    cell, steps = run(limits=Limits(time=100.0))
    standing, settings = steps[number].standing, settings_of(rtol=1e-9)
    # a microsecond further on, where steps of 0.1 ms are the smallest
    limits = Limits(voltage=standing.voltages[-1] - 1e-9)
    last = list(integrate_from(cell, Exact(), Control("current", 1.0), limits, settings, standing))[-1]
    assert (last.stop, last.time) == ("voltage", pytest.approx(steps[number].time, abs=1e-5))


# between and after steps


def test_states_between_steps_are_those_of_the_solution():
    errors = []
    for dt in (2.0, 1.0, 0.5):
        cell, steps = run(limits=Limits(time=80.0), settings=settings_of(1e9, first_step=dt, largest_step=dt))
        late = [step for step in steps if step.time > 20.0]
        ends = voltages(cell, late) - exact_voltage(np.array([step.time for step in late]))
        times = np.array([step.time - 0.4 * dt for step in late])
        found = [
            cell.voltage(step.standing.at(t), step.standing.reference) for t, step in zip(times, late, strict=True)
        ]
        errors.append((np.abs(ends).max(), np.abs(found - exact_voltage(times)).max()))
    ends, inside = np.array(errors).T
    # what lies between is as good as the ends, whose order is two
    assert np.all(inside < 1.1 * ends)
    assert np.all(np.abs(np.log2(inside[:-1] / inside[1:]) - 2.0) < 0.1)


def test_the_polynomial_between_steps_ends_in_them_and_keeps_what_is_linear():
    cell, steps = run(limits=Limits(time=200.0))
    for before, step in pairwise(steps):
        standing = step.standing
        for time, end in ((before.time, before), (step.time, step)):
            assert cell.voltage(standing.at(time), standing.reference) == pytest.approx(
                cell.voltage(end.u, end.reference), abs=1e-13
            )
        # the charge grows evenly
        middle = 0.5 * (before.time + step.time)
        assert standing.at(middle)[0] == pytest.approx(0.1 + middle / Q, abs=1e-12)
    first = steps[0].standing
    np.testing.assert_allclose(first.at(0.25 * steps[0].time), 0.75 * first.states[0] + 0.25 * first.states[1])


class Forgetful(Exact):
    """A solver whose last digits depend on what it solved before, as those of a lagged preconditioner do."""

    def __init__(self):
        self.memory = 0

    def reset(self):
        self.memory = 0

    def solve(self, jacobian, rhs, rtol):
        self.memory += 1
        x, count, solved = super().solve(jacobian, rhs, rtol)
        return x * (1.0 + 1e-9 * np.sin(self.memory)), count, solved


def stretch(linear, standing=None, number=0, every=7, current=1.0, limits=None):
    """Steps from a start or from where an integration stood after a number of steps; reset at multiples of `every`."""
    cell, control, settings = Cell(), Control("current", current), settings_of()
    if standing is None:
        u, reference, _ = consistent_start(cell, linear, control, settings, np.array([0.1, 0.0, 0.0]), 4.0)
        standing = standing_at(cell, settings, (0.0, u, reference))
        linear.reset()
    for step in integrate_from(cell, linear, control, limits or Limits(voltage=3.5), settings, standing):
        number += 1
        yield step
        if number % every == 0:
            linear.reset()


def test_an_integration_goes_on_from_where_it_stood_bit_for_bit():
    whole = list(stretch(Forgetful()))
    assert len(whole) > 30
    for number in (7, 14, 28):
        standing = whole[number - 1].standing
        copy = replace(standing, states=tuple(state.copy() for state in standing.states))
        for a, b in zip(whole[number:], stretch(Forgetful(), copy, number), strict=True):
            assert (a.time, a.dt, a.reference, a.stop) == (b.time, b.dt, b.reference, b.stop)
            assert a.u.tobytes() == b.u.tobytes()
            assert a.standing.voltages == b.standing.voltages
    # the solver's memory shows: where it is not dropped, the bits differ
    kept = list(stretch(Forgetful(), every=10**9))
    assert any(a.u.tobytes() != b.u.tobytes() for a, b in zip(whole, kept, strict=False))


def test_rest_keeps_the_state():
    cell, steps = run(current=0.0, limits=Limits(time=1e4))
    assert steps[-1].time == 1e4
    assert voltages(cell, steps)[-1] == pytest.approx(open_circuit(0.1), abs=1e-12)
    assert len(steps) < 40


def test_rest_with_a_voltage_limit_ends_by_time():
    # no current: nothing can be met by varying the length of a step
    _, steps = run(current=0.0, limits=Limits(time=50.0, voltage=3.0))
    assert steps[-1].stop == "time"


@pytest.mark.parametrize(("hold", "sign"), [(3.6, 1.0), (4.1, -1.0)])
def test_a_held_voltage_ends_at_a_current(hold, sign):
    q0 = 0.1 if sign > 0 else 0.6
    limits = Limits(current=sign * 0.2)
    # seven ampere to begin with: their round-off is above the 1e-13 of the other tests
    cell, steps = run(hold, limits, kind="voltage", q0=q0, settings=settings_of(rtol=1e-11))
    last = steps[-1]
    assert last.stop == "current"
    assert last.current == pytest.approx(sign * 0.2, abs=1e-12)
    assert cell.voltage(last.u, last.reference) == pytest.approx(hold, abs=2e-7 * hold)
    # the time at which it falls to that is found to the tolerance of the integration
    _, fine = run(hold, limits, kind="voltage", q0=q0, settings=settings_of(1e-6, 1e-11, smallest_step=1e-6))
    assert last.time == pytest.approx(fine[-1].time, rel=1e-2)


def test_a_stretch_ends_at_a_charge():
    for kind, value in (("current", 1.0), ("voltage", 3.6), ("power", 3.5)):
        cell, steps = run(value, Limits(charge=Q * 0.3), kind=kind)
        assert steps[-1].stop == "charge"
        assert cell.charge(steps[-1].u) == pytest.approx(Q * 0.3, rel=1e-7)


def test_a_held_power_ends_at_a_voltage_and_at_a_current():
    cell, steps = run(3.5, Limits(voltage=3.6), kind="power")
    last = steps[-1]
    assert last.stop == "voltage"
    assert cell.voltage(last.u, last.reference) == pytest.approx(3.6, abs=1e-12)
    assert last.current * 3.6 == pytest.approx(3.5, rel=2e-7)
    assert all(s.current * cell.voltage(s.u, s.reference) == pytest.approx(3.5, rel=1e-6) for s in steps)
    _, rising = run(3.5, Limits(current=0.95), kind="power")
    assert (rising[-1].stop, rising[-1].current) == ("current", pytest.approx(0.95, rel=1e-9))


def test_of_several_limits_the_first_one_counts():
    _, steps = run(3.5, Limits(voltage=3.0, current=0.95, charge=Q * 0.9), kind="power")
    alone = run(3.5, Limits(current=0.95), kind="power")[1][-1]
    assert steps[-1].stop == "current"
    assert steps[-1].time == pytest.approx(alone.time, rel=1e-3)
