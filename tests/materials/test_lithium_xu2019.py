import numpy as np
import pytest

from battsim.constants import FARADAY
from battsim.materials.lithium_xu2019 import exchange_current, lithium_xu2019

# figures evaluated from PyBaMM 26.10, parameter set Xu2019, at c_Li = 76900 mol/m3
PUBLISHED = {200.0: 43.54986138520609, 1000.0: 70.57937013898965, 2000.0: 86.89339724402011}


def test_exchange_current_as_published():
    np.testing.assert_allclose(exchange_current(np.array([*PUBLISHED]), 298.15)[0], [*PUBLISHED.values()], rtol=1e-12)


def test_exchange_current_formula():
    exact = 3.5e-8 * FARADAY * 76900**0.7 * 1000**0.3
    assert lithium_xu2019().exchange_current(1000.0, 298.15)[0] == pytest.approx(exact, rel=1e-14)


def test_derivative(assert_derivative):
    for c_e in (0.01, 1.0, 1000.0, 4000.0):
        assert_derivative(lambda at: exchange_current(at, 298.15), np.array([c_e]), step=1e-3 * c_e)


def test_finite_without_salt():
    i0, slope = exchange_current(np.array([0.0, -1.0]), 298.15)
    assert np.all(i0 > 0)
    np.testing.assert_array_equal(slope, 0.0)


def test_transfer_coefficients():
    assert (lithium_xu2019().alpha_a, lithium_xu2019().alpha_c) == (0.5, 0.5)
