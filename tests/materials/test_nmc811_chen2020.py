import numpy as np
import pytest

from battsim.materials.nmc811_chen2020 import nmc811_chen2020, ocp

# figures evaluated from PyBaMM 26.10, parameter set Chen2020 (its transcription of the publication)
PUBLISHED_U = {0.3: 4.205394408383508, 0.5: 3.9719586564036504, 0.7: 3.730402724350217, 0.9: 3.568200281643513}
PUBLISHED_I0 = {
    (0.3, 1000.0, 298.15): 3.1274663266150604,
    (0.9, 500.0, 298.15): 1.4477355932710256,
    (0.5, 1200.0, 318.15): 5.870546287563694,
}


def test_open_circuit_potential_as_published():
    np.testing.assert_allclose(ocp(np.array([*PUBLISHED_U]))[0], [*PUBLISHED_U.values()], rtol=1e-13)


def test_potential_at_the_cells_limits():
    U, _ = ocp(np.array([0.27, 0.9084]))
    np.testing.assert_allclose(U, [4.273, 3.561], atol=5e-4)


def test_potential_slope(assert_derivative):
    assert_derivative(ocp, np.linspace(0.01, 0.99, 197), step=1e-4, rtol=1e-6)


@pytest.mark.parametrize(("state", "i0"), PUBLISHED_I0.items())
def test_exchange_current_as_published(state, i0):
    assert nmc811_chen2020().exchange_current(*state)[0] == pytest.approx(i0, rel=1e-9)  # digits of R


def test_constants_as_published():
    material = nmc811_chen2020()
    assert material.max_concentration == 63104.0
    assert (material.stoichiometry_soc100, material.stoichiometry_soc0) == (0.27, 0.9084)
    assert material.stoichiometry_soc100 == pytest.approx(17038 / 63104, abs=1e-4)  # the initial concentration
    assert material.fitted == (0.25, 0.93)
    assert material.conductivity == 0.18
    np.testing.assert_array_equal(material.diffusivity(np.array([0.3, 0.9]), 310.0)[0], 4e-15)
    np.testing.assert_array_equal(material.entropic(np.array([0.3, 0.9]))[0], 0.0)


def test_density_from_the_lattice():
    volume = 2.87**2 * 14.2 * np.sqrt(3) / 2 * 1e-30
    assert nmc811_chen2020().density == pytest.approx(3 * 97.28e-3 / (6.02214076e23 * volume), rel=2e-3)
