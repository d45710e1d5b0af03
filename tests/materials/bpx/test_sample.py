import numpy as np
import pytest

from battsim.errors import CaseError
from battsim.materials.bpx.sample import is_constant, sampled
from battsim.materials.table import interpolate

FINE = np.linspace(0.0, 1.0, 20001)


def test_straight_lines_stay_within_the_tolerance():
    function = lambda x: np.exp(-40.0 * x) + 0.1 * np.tanh(50.0 * (x - 0.4))  # noqa: E731
    for tolerance in (1e-3, 1e-5):
        table = sampled(function, 0.0, 1.0, absolute=tolerance)
        error = np.abs(np.interp(FINE, table["x"], table["y"]) - function(FINE)).max()
        assert tolerance / 20 < error < 1.1 * tolerance  # tried at three places of each interval
        assert np.all(np.diff(table["x"]) > 0)


def test_monotone_cubics_stay_within_the_tolerance_too():
    kinked = lambda x: np.where(x < 0.5, 3.0 - x, 2.5 - np.tanh(40.0 * (x - 0.5)) / 40.0)  # noqa: E731
    table = sampled(kinked, 0.0, 1.0, absolute=1e-5)
    cubic = interpolate(np.array(table["x"]), np.array(table["y"]))(FINE)[0]
    assert np.abs(cubic - kinked(FINE)).max() < 1.2e-5


def test_entries_lie_where_the_function_bends():
    table = sampled(lambda x: np.exp(-200.0 * x), 0.0, 1.0, absolute=1e-5)
    x = np.array(table["x"])
    assert np.diff(x).min() < 1e-3
    assert np.diff(x).max() > 0.05


def test_relative_tolerance():
    function = lambda c: 1e-10 * np.exp(-c / 500.0)  # noqa: E731
    table = sampled(function, 1.0, 3000.0, relative=1e-4)
    c = np.linspace(1.0, 3000.0, 5001)
    np.testing.assert_allclose(np.interp(c, table["x"], table["y"]), function(c), rtol=1.1e-4)


def test_a_jump_is_refused_with_its_place():
    with pytest.raises(CaseError, match=r"near x = 0\.3 .* within .*20000 entries"):
        sampled(lambda x: np.where(x < 0.3, 1.0, 0.0), 0.0, 1.0, absolute=1e-6)


def test_constant():
    assert is_constant(lambda x: np.full_like(x, 3e-15), FINE)
    assert is_constant(np.zeros_like, FINE)
    assert not is_constant(lambda x: 1.0 + 1e-10 * x, FINE)
