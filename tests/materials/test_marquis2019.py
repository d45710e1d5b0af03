"""The two electrodes of Marquis et al. (2019), whose limits of charge are one balance."""

import numpy as np
import pytest
from scipy.optimize import brentq

from battsim.materials import graphite_marquis2019 as graphite_set
from battsim.materials import lco_marquis2019 as lco_set

GRAPHITE, LCO = graphite_set.graphite_marquis2019(), lco_set.lco_marquis2019()

# figures evaluated from PyBaMM 26.10, parameter set Marquis2019
PUBLISHED_U = {
    "graphite": {
        0.1: 0.3010253838084232,
        0.3: 0.21599336376463288,
        0.5: 0.19537693109161006,
        0.7: 0.17787138644137995,
        0.9: 0.1303148618039498,
    },
    "lco": {
        0.1: 4.6747629210091635,
        0.3: 4.462044731546701,
        0.5: 4.1860357631780065,
        0.7: 3.939086833029508,
        0.9: 3.906243163314692,
    },
}
PUBLISHED_I0 = {
    "graphite": (7.240837238030899, 3.351856327075287, 22.387951794936804),
    "lco": (0.4453309547551323, 0.20614817448160097, 1.451864351355038),
}
STATES = ((0.3, 1000.0, 298.15), (0.9, 500.0, 298.15), (0.5, 1200.0, 318.15))
PUBLISHED_D = {"graphite": (3.9e-14, 1.1537162595608104e-13), "lco": (1e-13, 1.600644149509335e-13)}
PYBAMM_ENTROPIC = {
    "graphite": {0.1: -5.049457413375208e-06, 0.5: -1.84416291071142e-05, 0.9: -7.768424296853602e-05},
    "lco": {0.1: -1.106692505740638e-05, 0.5: -3.489166756992731e-05, 0.9: -2.2578518335693612e-06},
}
SETS = {"graphite": GRAPHITE, "lco": LCO}
LITHIUM_SITES = (0.6 * 24983.2619938437, 0.5 * 51217.9257309275)  # eps_s c_max of the file; both 100 um thick
START = (19986.609595075 / 24983.2619938437, 30730.7554385565 / 51217.9257309275)


@pytest.mark.parametrize("name", SETS)
def test_open_circuit_potential_as_published(name):
    x, U = np.array([*PUBLISHED_U[name].items()]).T
    np.testing.assert_allclose(SETS[name].ocp(x)[0], U, rtol=1e-13)


@pytest.mark.parametrize("name", SETS)
def test_potential_slope(name, assert_derivative):
    assert_derivative(SETS[name].ocp, np.linspace(0.01, 0.99, 197), step=5e-5, rtol=2e-6, floor=1e-8)


@pytest.mark.parametrize("name", SETS)
def test_exchange_current_and_diffusivity_as_published(name):
    for state, i0 in zip(STATES, PUBLISHED_I0[name], strict=True):
        assert SETS[name].exchange_current(*state)[0] == pytest.approx(i0, rel=1e-9)  # digits of R
    for T, D_s in zip((298.15, 318.15), PUBLISHED_D[name], strict=True):
        assert SETS[name].diffusivity(np.array([0.4]), T)[0] == pytest.approx(D_s, rel=1e-9)


def test_limits_are_the_balance_of_the_published_cell():
    n_sites, p_sites = LITHIUM_SITES
    lithium = START[0] * n_sites + START[1] * p_sites

    def voltage(x, y):
        return float(LCO.ocp(y)[0] - GRAPHITE.ocp(x)[0])

    for V, soc in ((4.1, "stoichiometry_soc100"), (3.105, "stoichiometry_soc0")):
        x = brentq(lambda x, V=V: voltage(x, (lithium - x * n_sites) / p_sites) - V, 0.05, 0.99)
        # PyBaMM 26.10 gives 0.18322, 0.94932 and 0.51260, 0.96102 for the same balance
        assert getattr(GRAPHITE, soc) == pytest.approx(x, abs=5e-5)
        assert getattr(LCO, soc) == pytest.approx((lithium - x * n_sites) / p_sites, abs=5e-5)


def test_what_the_file_calls_an_entropic_coefficient_is_the_slope_of_the_potential_over_c_max():
    for name, stretch, rtol in (("graphite", 1.0, 1e-12), ("lco", lco_set.STRETCH, 1e-4)):  # 19.854 against 19.8543
        x, theirs = np.array([*PYBAMM_ENTROPIC[name].items()]).T
        dU_dc = SETS[name].ocp(x)[1] / (stretch * SETS[name].max_concentration)
        np.testing.assert_allclose(theirs, dU_dc, rtol=rtol)
        np.testing.assert_array_equal(SETS[name].entropic(x)[0], 0.0)


def test_potentials_fall_with_lithiation():
    x = np.linspace(0.0, 1.0, 5001)
    assert np.all(LCO.ocp(x)[1] < 0)
    rises = np.maximum(np.diff(GRAPHITE.ocp(x)[0]), 0.0)
    assert 0 < rises.sum() < 5e-5  # the fit's own bump, stated in the docstring


def test_constants_as_published():
    assert (GRAPHITE.conductivity, LCO.conductivity) == (100.0, 10.0)
    assert LCO.fitted == (0.4, 0.99)


def test_density_of_the_oxide_from_the_lattice():
    volume = 2.816**2 * 14.05 * np.sqrt(3) / 2 * 1e-30
    assert LCO.density == pytest.approx(3 * 97.87e-3 / (6.02214076e23 * volume), rel=2e-3)
