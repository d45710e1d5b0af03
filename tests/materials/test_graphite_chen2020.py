import numpy as np
import pytest

from battsim.materials.graphite_chen2020 import graphite_chen2020, ocp

# figures evaluated from PyBaMM 26.10, parameter set Chen2020 (its transcription of the publication)
PUBLISHED_U = {
    0.02: 1.3047179040670476,
    0.05: 0.6785705946108305,
    0.3: 0.16297315514849509,
    0.5: 0.1330855128593352,
    0.9: 0.09202000165294127,
}
PUBLISHED_I0 = {
    (0.3, 1000.0, 298.15): 0.3111325251540086,
    (0.9, 500.0, 298.15): 0.144026372740285,
    (0.5, 1200.0, 318.15): 0.9033546088384214,
}
# measured by Chen et al. (2020), from the table that PyBaMM 26.10 carries (graphite_LGM50_ocp_Chen2020.csv)
MEASURED_U = {0.04610736: 0.73354429, 0.06091845: 0.5670836, 0.9014468: 0.08503284}


def test_open_circuit_potential_as_published():
    np.testing.assert_allclose(ocp(np.array([*PUBLISHED_U]))[0], [*PUBLISHED_U.values()], rtol=1e-13)


def test_open_circuit_potential_is_near_the_measurement():
    # the fit's own misfit, up to 13 mV at these places; a wrong sign or shift of a step is 20 mV and more
    np.testing.assert_allclose(ocp(np.array([*MEASURED_U]))[0], [*MEASURED_U.values()], atol=0.014)


def test_potential_slope(assert_derivative):
    assert_derivative(ocp, np.linspace(0.01, 0.99, 197), step=1e-4, rtol=1e-6)


def test_potential_falls_with_lithiation():
    assert np.all(ocp(np.linspace(0.0, 1.0, 2001))[1] < 0)


@pytest.mark.parametrize(("state", "i0"), PUBLISHED_I0.items())
def test_exchange_current_as_published(state, i0):
    assert graphite_chen2020().exchange_current(*state)[0] == pytest.approx(i0, rel=1e-9)  # digits of R


def test_constants_as_published():
    material = graphite_chen2020()
    assert material.max_concentration == 33133.0
    assert (material.stoichiometry_soc100, material.stoichiometry_soc0) == (0.9014, 0.0279)
    assert material.stoichiometry_soc100 == pytest.approx(29866 / 33133, abs=1e-4)  # the initial concentration
    assert material.conductivity == 215.0
    assert (material.alpha_a, material.alpha_c, material.film_resistance) == (0.5, 0.5, 0.0)
    np.testing.assert_array_equal(material.diffusivity(np.array([0.3, 0.9]), 310.0)[0], 3.3e-14)
    np.testing.assert_array_equal(material.entropic(np.array([0.3, 0.9]))[0], 0.0)


def test_the_cells_window_lies_in_the_fitted_range():
    material = graphite_chen2020()
    low, high = material.fitted
    assert low < material.stoichiometry_soc0 < material.stoichiometry_soc100 < high


def test_density_from_the_lattice():
    volume = 2.461**2 * 6.708 * np.sqrt(3) / 2 * 1e-30
    assert graphite_chen2020().density == pytest.approx(4 * 12.011e-3 / (6.02214076e23 * volume), rel=5e-3)
