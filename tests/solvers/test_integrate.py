"""The integrator on a Thevenin cell whose discharge is known in closed form."""

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import brentq

from battsim.errors import NotConvergedError
from battsim.fvm.blocks import BlockJacobian
from battsim.solvers.integrate import IntegrationSettings, Limits, consistent_start, integrate
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


class Cell:
    """q' = I/Q, w' = (R1 I - w)/TAU, V = U(q) - w - R0 I; state [q, w, V], V relative to the reference."""

    def __init__(self, broken_after=np.inf, end=None, error_scale=1.0):
        self.broken_after, self.end, self.error_scale, self.modes = broken_after, end, error_scale, []

    def problem(self, a, u_star, reference, control):
        return Problem(self, a, u_star, reference, control)

    def held_at(self, voltage):
        return Control("voltage", voltage)

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
        return self.end


class Problem:
    def __init__(self, cell, a, u_star, reference, control):
        self.cell, self.a, self.u_star, self.reference, self.control = cell, a, u_star, reference, control

    def evaluate(self, u):
        q, w, V = u
        I = (open_circuit(q) - w - V - self.reference) / R0  # noqa: E741
        self.cell.modes.append(self.control.kind)
        wanted = V + self.reference if self.control.kind == "voltage" else I
        rows = np.array([q - self.u_star[0], w - self.u_star[1], wanted - self.control.value])
        if self.a > 0.0:
            rows[:2] = self.a * rows[:2] - np.array([I / Q, (R1 * I - w) / TAU])
        if q > self.cell.broken_after:
            rows[2] = 1.0 + abs(rows[2])  # no root here
        return Evaluation(rows, I, q)

    def jacobian(self, evaluation):
        live = 1.0 if self.a > 0.0 else 0.0
        by = np.array([(-0.5 - 0.3 * evaluation.q**2) / R0, -1.0 / R0, -1.0 / R0])
        J = np.diag([self.a or 1.0, (self.a or 1.0) + live / TAU, 0.0])
        J[0] -= live * by / Q
        J[1] -= live * R1 * by / TAU
        J[2] = [0.0, 0.0, 1.0] if self.control.kind == "voltage" else by
        return BlockJacobian((slice(0, 3),), {(0, 0): sp.csr_array(J)}, (), ())

    def norm(self, residual):
        return float(np.abs(residual).max())

    def imbalance(self, residual):  # noqa: ARG002
        return 0.0

    def step_limit(self, u, du):  # noqa: ARG002
        return 1.0


class Exact:
    def solve(self, jacobian, rhs, rtol):  # noqa: ARG002
        return np.linalg.solve(jacobian.blocks[0, 0].toarray(), rhs), 1, True


def settings_of(tolerance=1e-4, **changes):
    return IntegrationSettings(tolerance=tolerance, newton=NewtonSettings(rtol=1e-13), **changes)


def run(current=1.0, limits=None, cell=None, settings=None, q0=0.1):
    cell, settings, control = cell or Cell(), settings or settings_of(), Control("current", current)
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
    assert steps[-1].stop == "solid saturation"
    assert steps[-1].dt == 0.0
    assert np.array_equal(steps[-1].u[:2], steps[-2].u[:2])
    assert steps[-1].time == steps[-2].time
    assert steps[-1].failed > 1
    assert steps[-2].u[0] <= 0.3


def test_failing_steps_without_a_physical_reason_raise():
    with pytest.raises(NotConvergedError, match=r"at t = \d.* no step of 0.0001 s or more converges \(.*residual"):
        run(cell=Cell(broken_after=0.3))


def test_errors_that_no_step_can_meet_raise():
    with pytest.raises(NotConvergedError, match="the local error stays too large"):
        run(cell=Cell(error_scale=1e9), limits=Limits(time=10.0))


def test_a_start_that_fits_no_potential_raises():
    with pytest.raises(
        NotConvergedError, match=r"no potentials fit the initial concentrations under current 1:.*\[initial\]"
    ):
        run(cell=Cell(broken_after=0.0))


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


def test_rest_keeps_the_state():
    cell, steps = run(current=0.0, limits=Limits(time=1e4))
    assert steps[-1].time == 1e4
    assert voltages(cell, steps)[-1] == pytest.approx(open_circuit(0.1), abs=1e-12)
    assert len(steps) < 40


def test_rest_with_a_voltage_limit_ends_by_time():
    # no current: nothing can be met by varying the length of a step
    _, steps = run(current=0.0, limits=Limits(time=50.0, voltage=3.0))
    assert steps[-1].stop == "time"
