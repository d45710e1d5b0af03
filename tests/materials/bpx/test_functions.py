import math

import numpy as np
import pytest

from battsim.errors import CaseError
from battsim.materials.bpx.functions import believed_range, in_salt, level_off, read_function, with_temperature
from battsim.materials.bpx.section import Range, Section


def section(value):
    return Section("cell.json, Here", {"f": value})


def function(value, *, in_solid=True):
    return read_function(section(value), "f", in_solid=in_solid)


def test_number_formula_and_table():
    x = np.array([0.2, 0.4])
    np.testing.assert_array_equal(function(3).closure(x), ([3.0, 3.0], [0.0, 0.0]))
    np.testing.assert_allclose(function("2*x**2").closure(x), (2 * x**2, 4 * x), rtol=1e-14)
    table = function({"x": [0.0, 0.4, 1.0], "y": [1.0, 3.0, 4.0]})
    np.testing.assert_allclose(table.closure(np.array([0.0, 0.4, 1.0]))[0], [1.0, 3.0, 4.0], rtol=1e-14)
    assert table.domain == (0.0, 1.0)
    assert function(3).domain is None


def test_table_is_monotone_between_its_entries():
    value, slope = function({"x": [0, 0.1, 0.2, 1], "y": [4, 4, 3, 2.9]}).closure(np.linspace(0.0, 1.0, 1001))
    assert np.all(np.diff(value) <= 0)
    assert np.all(slope <= 0)


def test_table_of_the_electrolyte_may_leave_zero_to_one():
    assert function({"x": [0, 2000], "y": [1, 2]}, in_solid=False).domain == (0.0, 2000.0)


def test_where_a_formula_has_no_value_it_is_infinite():
    np.testing.assert_array_equal(np.isinf(function("1/(x - 0.5)").tried(np.array([0.25, 0.5, 0.75]))), [0, 1, 0])


def test_potential_is_believed_as_far_as_it_is_a_potential():
    # 3.5e14 exp(-396 x) of a published LFP cell passes 6 V at x = 0.0823
    ocp = function("3.4 + 3.54866018e14*exp(-395.729493*x)")
    low, high = believed_range(section(0), "f", ocp, (0.0875, 0.95))
    exact = math.log(3.54866018e14 / 2.6) / 395.729493
    assert exact < low < exact + 0.0025  # the grid's step
    assert high == 1.0


def test_potential_of_a_table_is_believed_over_its_range():
    table = function({"x": [0.1, 0.9], "y": [4.2, 3.0]})
    assert believed_range(section(0), "f", table, (0.2, 0.95)) == (0.1, 0.9)


def test_levelled_off_outside():
    closure = level_off(function("x**2"), 0.2, 0.8)
    value, slope = closure(np.array([-1.0, 0.2, 0.5, 0.8, 2.0]))
    np.testing.assert_allclose(value, [0.04, 0.04, 0.25, 0.64, 0.64], rtol=1e-14)
    np.testing.assert_allclose(slope, [0.0, 0.4, 1.0, 1.6, 0.0], rtol=1e-14)


def test_temperature_factor_is_one_at_the_reference_of_the_file():
    closure = with_temperature(function(2.0).closure, 30e3, 290.0)
    assert closure(np.array([0.5]), 290.0)[0] == pytest.approx(2.0, rel=1e-14)
    exact = 2.0 * math.exp(30e3 / 8.31446261815324 * (1 / 290.0 - 1 / 310.0))
    assert closure(np.array([0.5]), 310.0)[0] == pytest.approx(exact, rel=1e-13)


def test_transport_that_turns_negative_levels_off_before(assert_derivative):
    parabola = function("1e-10*(4 - x/1000)", in_solid=False)
    closure, note = in_salt(section(0), "f", parabola, 1000.0)
    assert "not positive at 40" in note
    c = np.geomspace(0.01, 1e4, 500)
    value, _ = closure(c, 298.15)
    assert np.all(value > 0)
    inside = (c > 1.0) & (c < 3000.0)
    np.testing.assert_allclose(value[inside], 1e-10 * (4 - c[inside] / 1000), rtol=1e-12)
    assert_derivative(lambda at: closure(at, 298.15), np.linspace(2.0, 8000.0, 60), step=0.1, rtol=1e-4, floor=1e-22)


def test_transport_with_a_root_has_a_slope_at_zero_salt():
    closure, note = in_salt(section(0), "f", function("1e-3*x**0.5", in_solid=False), 1000.0)
    assert note is None
    assert np.all(np.isfinite(closure(np.array([0.0, 1e-6]), 298.15)))


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [
        (Range(0.0, 1.0, low_open=True), (1e-9, 1.0), (0.0, 1.1, math.nan)),
        (Range(0.0, 1.0, high_open=True), (0.0, 0.99), (1.0, -0.1)),
        (Range(1.0), (1.0, 5.0), (0.9, math.inf)),
        (Range(), (-1e9,), (math.inf, math.nan)),
    ],
)
def test_ranges(allowed, good, bad):
    assert all(allowed.holds(value) for value in good)
    assert not any(allowed.holds(value) for value in bad)
    assert "number" in allowed.text


def test_refusal_says_where():
    with pytest.raises(CaseError, match=r"cell\.json, Here, f: 'yes' found; a finite number is needed\."):
        section("yes").number("f", Range())
