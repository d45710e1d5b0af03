import numpy as np
import pytest

from battsim.materials.lipf6_chen2020 import lipf6_chen2020
from battsim.materials.lipf6_nyman2008 import lipf6_nyman2008

C_E = np.array([0.1, 1.0, 200.0, 1000.0, 2000.0, 4000.0])


@pytest.mark.parametrize("name", ["diffusivity", "conductivity"])
def test_transport_is_that_of_nyman(name):
    mine, theirs = getattr(lipf6_chen2020(), name), getattr(lipf6_nyman2008(), name)
    np.testing.assert_array_equal(mine(C_E, 298.15), theirs(C_E, 298.15))


def test_figures_at_one_molar():
    electrolyte = lipf6_chen2020()
    assert electrolyte.diffusivity(1000.0, 298.15)[0] == pytest.approx(1.7694e-10, rel=1e-12)  # PyBaMM 26.10, Chen2020
    assert electrolyte.conductivity(1000.0, 298.15)[0] == pytest.approx(0.9487, rel=1e-12)


def test_thermodynamic_factor_is_one_and_not_its_product_with_one_minus_t_plus():
    value, slope = lipf6_chen2020().thermodynamic_factor(C_E, 298.15)
    np.testing.assert_array_equal(value, 1.0)
    np.testing.assert_array_equal(slope, 0.0)


def test_transference_number_is_constant():
    value, slope = lipf6_chen2020().transference(C_E, 298.15)
    np.testing.assert_array_equal(value, 0.2594)
    np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.parametrize("name", ["diffusivity", "conductivity"])
def test_derivatives(name, assert_derivative):
    closure = getattr(lipf6_chen2020(), name)
    assert_derivative(lambda c_e: closure(c_e, 298.15), np.array([0.1, 0.9]), step=1e-3, rtol=1e-6)
    assert_derivative(lambda c_e: closure(c_e, 298.15), np.linspace(10.0, 5000.0, 99), step=0.5, rtol=1e-5)
