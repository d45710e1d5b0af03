import numpy as np
import pytest
from scipy.optimize import brentq

from battsim.materials.graphite_chen2020 import ocp as graphite_ocp
from battsim.materials.lfp_prada2013 import lfp_prada2013, ocp

# figures evaluated from PyBaMM 26.10, parameter set Prada2013
PUBLISHED_U = {0.1: 3.4056732529494687, 0.5: 3.397565224687912, 0.7: 3.3934006311763225, 0.9: 3.3446495384689223}
PUBLISHED_I0 = {
    (0.3, 1000.0, 298.15): 0.19829420284415777,
    (0.9, 500.0, 298.15): 0.09179237933074835,
    (0.5, 1200.0, 318.15): 0.6464771449541361,
}


def test_open_circuit_potential_as_published():
    np.testing.assert_allclose(ocp(np.array([*PUBLISHED_U]))[0], [*PUBLISHED_U.values()], rtol=1e-13)


def test_potential_slope(assert_derivative):
    assert_derivative(ocp, np.linspace(0.001, 0.999, 333), step=2e-5, rtol=1e-6)


def test_potential_falls_with_lithiation():
    assert np.all(ocp(np.linspace(0.0, 1.0, 2001))[1] < 0)


@pytest.mark.parametrize(("state", "i0"), PUBLISHED_I0.items())
def test_exchange_current_as_published(state, i0):
    assert lfp_prada2013().exchange_current(*state)[0] == pytest.approx(i0, rel=1e-9)  # digits of R


def test_limits_are_the_balance_of_the_published_cell():
    n_sites, p_sites = 0.58 * 34e-6 * 30555.0, 0.374 * 80e-6 * 22806.0  # mol/m2 of the file
    lithium = 0.81 * n_sites + 0.0038 * p_sites
    material = lfp_prada2013()
    assert material.stoichiometry_soc100 == 0.0038
    full = ocp(0.0038)[0] - graphite_ocp(0.81)[0]
    assert full == pytest.approx(3.6, abs=2e-3)
    empty = brentq(lambda y: ocp(y)[0] - graphite_ocp((lithium - y * p_sites) / n_sites)[0] - 2.0, 0.6, 0.715)
    assert material.stoichiometry_soc0 == pytest.approx(empty, abs=5e-5)


def test_constants_as_published():
    material = lfp_prada2013()
    assert (material.max_concentration, material.conductivity) == (22806.0, 0.33795074)
    np.testing.assert_array_equal(material.diffusivity(np.array([0.3]), 310.0)[0], 5.9e-18)


def test_density_from_the_lattice():
    assert lfp_prada2013().density == pytest.approx(4 * 157.76e-3 / (6.02214076e23 * 10.33 * 6.01 * 4.69e-30), rel=2e-3)
