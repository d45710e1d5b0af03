import numpy as np
import pytest

from battsim.solvers.bdf import error_factor, extrapolate, implicit_rate


def uneven(n, seed=0):
    """n steps over [0, 1] that vary by a factor of up to two from one to the next."""
    ratio = np.random.default_rng(seed).uniform(0.5, 1.0, n)
    return np.concatenate([[0.0], np.cumsum(ratio) / ratio.sum()])


def solve(times, lam=-3.0, start=2):
    """du/dt = lam (u - cos t) - sin t, whose solution is cos t; `start` exact values to begin with."""
    states = [np.array([np.cos(t)]) for t in times[:start]]
    for n in range(start, len(times)):
        dt = times[n] - times[n - 1]
        a, u_star = implicit_rate(times[max(n - 2, 0) : n], states[-2:], dt)
        # a (u - u_star) = lam (u - cos) - sin
        states.append((a * u_star - lam * np.cos(times[n]) - np.sin(times[n])) / (a - lam))
    return abs(float(states[-1][0]) - np.cos(times[-1]))


def test_formula_on_equal_steps_is_the_textbook_one():
    a, u_star = implicit_rate([0.0, 0.1], [np.array([5.0]), np.array([7.0])], 0.1)
    # du/dt = (3 u - 4 u_n + u_{n-1}) / (2 dt)
    assert a == pytest.approx(15.0)
    assert a * u_star[0] == pytest.approx((4 * 7.0 - 5.0) / 0.2)


def test_first_step_is_backward_euler():
    a, u_star = implicit_rate([3.0], [np.array([5.0])], 0.25)
    assert (a, u_star[0]) == (4.0, 5.0)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.0])
def test_a_parabola_is_differentiated_exactly(ratio):
    # the defining property of order two at any step ratio
    times, dt = [1.0, 1.5], 0.5 * ratio

    def u(t):
        return np.array([2.0 - t + 3.0 * t**2])

    a, u_star = implicit_rate(times, [u(t) for t in times], dt)
    t = times[-1] + dt
    assert a * (u(t) - u_star)[0] == pytest.approx(-1.0 + 6.0 * t, rel=1e-13)


def test_order_is_two_with_uneven_steps():
    grid = uneven(20)
    errors = []
    for _ in range(4):
        errors.append(solve(grid))
        grid = np.sort(np.concatenate([grid, 0.5 * (grid[1:] + grid[:-1])]))
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(np.abs(orders - 2.0) < 0.15)  # tends to two; the first refinement is the roughest
    assert errors[-1] < 1e-5


def test_order_is_one_with_backward_euler_alone_and_two_where_it_only_starts():
    def euler(n):
        u = 1.0
        for t in np.linspace(0.0, 1.0, n + 1)[1:]:
            a, u_star = implicit_rate([0.0], [np.array([u])], 1.0 / n)
            u = float(((a * u_star - (-3.0) * np.cos(t) - np.sin(t)) / (a + 3.0))[0])
        return abs(u - np.cos(1.0))

    assert np.log2(euler(40) / euler(80)) == pytest.approx(1.0, abs=0.05)
    started = [solve(np.linspace(0.0, 1.0, n + 1), start=1) for n in (40, 80, 160)]
    assert np.log2(started[1] / started[2]) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_extrapolation_is_exact_for_a_polynomial_through_the_states(n):
    times = [0.3, 0.7, 1.6][:n]
    coefficients = np.array([2.0, -1.0, 0.5])[:n]

    def u(t):
        return np.array([np.polynomial.polynomial.polyval(t, coefficients), 1.0])

    np.testing.assert_allclose(extrapolate(times, [u(t) for t in times], 2.9), u(2.9), rtol=1e-13)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_error_estimate_is_the_local_error_of_a_cubic(ratio):
    # u = t^3 has a constant third derivative: formula and predictor err by their leading terms only
    times = [0.0, 0.4, 1.0]
    dt = 0.6 * ratio
    states = [np.array([t**3]) for t in times]
    t = times[-1] + dt
    a, u_star = implicit_rate(times[-2:], states[-2:], dt)
    stepped = u_star + 3.0 * t**2 / a  # the step taken with the exact derivative
    estimate = error_factor(times, dt) * (stepped - extrapolate(times, states, t))
    assert estimate[0] == pytest.approx((stepped - t**3)[0], rel=1e-12)
    assert abs(estimate[0]) > 1e-3


def test_first_error_estimates_do_not_underestimate():
    # u = exp(t): backward Euler errs by dt^2/2, and the second step by less than a third of its distance to the line
    dt = 0.01
    euler = 1.0 / (1.0 - dt)
    assert error_factor([0.0], dt) * abs(euler - 1.0) >= abs(euler - np.exp(dt))
    times = [0.0, dt]
    states = [np.array([np.exp(t)]) for t in times]
    a, u_star = implicit_rate(times, states, 2 * dt)
    u = a * u_star / (a - 1.0)
    assert error_factor(times, 2 * dt) * abs(u - extrapolate(times, states, 3 * dt)) >= abs(u - np.exp(3 * dt))


def test_first_error_estimate_sees_a_start_like_a_square_root():
    # u = sqrt(t), as a surface under a sudden flux: backward Euler makes half of it, and the estimate is half the error
    dt = 0.04
    stepped = dt * 0.5 / np.sqrt(dt)
    error = abs(stepped - np.sqrt(dt))
    assert 0.4 * error < error_factor([0.0], dt) * stepped < 2.0 * error
