import math

import numpy as np
import pytest

from battsim.materials.closures import (
    arrhenius,
    arrhenius_constant,
    constant,
    constant1,
    extend_in_concentration,
    square_root_exchange_current,
)


def test_constants_have_the_shape_of_their_argument_and_no_slope():
    x = np.ones((2, 3))
    for value, slope in (constant(7.0)(x, 300.0), constant1(7.0)(x)):
        np.testing.assert_array_equal(value, np.full((2, 3), 7.0))
        np.testing.assert_array_equal(slope, np.zeros((2, 3)))


def test_arrhenius_factor():
    assert arrhenius(30e3, 298.15) == 1.0
    exact = math.exp(30e3 / 8.31446261815324 * (1 / 298.15 - 1 / 313.15))
    assert arrhenius(30e3, 313.15) == pytest.approx(exact, rel=1e-14)
    assert arrhenius(30e3, 313.15) > 1 > arrhenius(30e3, 283.15)
    assert arrhenius_constant(2.0, 30e3)(np.zeros(3), 313.15)[0] == pytest.approx(2 * exact, rel=1e-14)


def test_exchange_current_formula_and_derivatives(assert_derivative):
    i0 = square_root_exchange_current(3e-6, 5e4, 2e4)
    x, c_e = np.meshgrid(np.linspace(0.01, 0.99, 50), np.array([5.0, 1000.0, 3000.0]))
    exact = 3e-6 * np.sqrt(c_e * (x * 5e4) * (5e4 - x * 5e4)) * arrhenius(2e4, 310.0)
    np.testing.assert_allclose(i0(x, c_e, 310.0)[0], exact, rtol=1e-13)
    assert_derivative(lambda at: i0(at, c_e, 310.0)[:2], x, step=1e-5)
    assert_derivative(lambda at: i0(x, at, 310.0)[::2], c_e, step=1e-2)


@pytest.mark.parametrize("x", [-0.1, 0.0, 1.0, 1.1])
def test_exchange_current_stays_finite_and_positive_at_the_limits(x):
    i0, di0_dx, di0_dc_e = square_root_exchange_current(3e-6, 5e4)(np.array([x]), np.array([0.0]), 298.15)
    assert i0 > 0
    assert di0_dx == 0
    assert di0_dc_e == 0


def cubic(c, T):
    return c**3 - T, 3 * c**2


def test_continuation_in_concentration_equals_the_fit_in_between():
    c = np.linspace(1.0, 2000.0, 9)
    extended = extend_in_concentration(cubic, floor=1.0, ceiling=2000.0, decay=100.0)
    for mine, published in zip(extended(c, 3.0), cubic(c, 3.0), strict=True):
        np.testing.assert_array_equal(mine, published)


def test_continuation_in_concentration_joins_and_levels_off(assert_derivative):
    extended = extend_in_concentration(cubic, floor=1.0, ceiling=2000.0, decay=100.0)
    for end in (1.0, 2000.0):
        before, after = extended(np.nextafter(end, 0.0), 3.0), extended(np.nextafter(end, 1e9), 3.0)
        np.testing.assert_allclose(before, after, rtol=1e-12)
    assert_derivative(lambda c: extended(c, 3.0), np.array([0.05, 0.3, 0.9]), step=1e-3)
    assert_derivative(lambda c: extended(c, 3.0), np.array([2050.0, 2200.0, 2600.0]), step=1.0)
    higher = extend_in_concentration(cubic, floor=20.0)
    assert_derivative(lambda c: higher(c, 3.0), np.array([0.5, 5.0, 19.0]), step=1e-2)
    np.testing.assert_allclose(extended(np.array([1e6]), 3.0)[0], 2100.0**3 - 3.0)  # ceiling + decay
    np.testing.assert_allclose(extended(np.array([0.0]), 3.0)[0], math.exp(-3) - 3.0)  # floor / e


def test_continuation_without_ceiling_keeps_the_published_form():
    np.testing.assert_array_equal(extend_in_concentration(cubic)(np.array([1e5]), 0.0)[0], [1e15])
