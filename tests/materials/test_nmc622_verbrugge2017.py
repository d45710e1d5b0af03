import numpy as np
import pytest

from battsim.constants import FARADAY
from battsim.materials.nmc532_mohtat2020 import nmc532_mohtat2020
from battsim.materials.nmc622_verbrugge2017 import SITES, nmc622_verbrugge2017, stoichiometry
from battsim.materials.nmc811_chen2020 import nmc811_chen2020

MATERIAL = nmc622_verbrugge2017()


def test_published_stoichiometry_of_the_potential():
    # the sum of four Fermi functions written out, with 1/f = R T/F = 25.692579 mV at 298.15 K
    exact = sum(X / (1.0 + np.exp((3.9 - U_j) / (0.025692579 * omega))) for X, U_j, omega in SITES)
    assert stoichiometry(np.array([3.9]))[0] == pytest.approx(exact, rel=1e-7)  # digits of R T/F
    assert sum(X for X, _, _ in SITES) == pytest.approx(1.0, abs=1e-12)


def test_stoichiometry_slope(assert_derivative):
    assert_derivative(stoichiometry, np.linspace(3.3, 4.6, 131), step=1e-4, rtol=1e-6)


def test_potential_is_the_inverse():
    U = np.linspace(2.95, 4.65, 5001)
    x, dx_dU = stoichiometry(U)
    value, slope = MATERIAL.ocp(x)
    np.testing.assert_allclose(value, U, atol=3e-11)  # Newton squares 1e-6; x is rounded where the slope is -900 V
    np.testing.assert_allclose(slope * dx_dU, 1.0, rtol=1e-9)


def test_potential_slope(assert_derivative):
    assert_derivative(MATERIAL.ocp, np.linspace(*MATERIAL.fitted, 201)[1:-1], step=2e-5, rtol=1e-6, floor=1e-8)


def test_limits_and_fitted_range_are_the_voltages_that_are_named():
    U, _ = MATERIAL.ocp(np.array([0.19, 0.99, *MATERIAL.fitted]))
    np.testing.assert_allclose(U, [4.2, 3.53, 4.296, 3.412], atol=1e-3)
    assert MATERIAL.fitted[0] < MATERIAL.stoichiometry_soc100 < MATERIAL.stoichiometry_soc0 < MATERIAL.fitted[1]


def test_capacity_is_that_of_noh_2013():
    x = stoichiometry(np.array([4.3, 3.0]))[0]
    capacity = (x[1] - x[0]) * MATERIAL.max_concentration * FARADAY / 3600.0 / MATERIAL.density  # Ah/kg
    assert capacity == pytest.approx(187.0, rel=3e-3)


def test_stand_ins_are_the_ones_named():
    chen, mohtat = nmc811_chen2020(), nmc532_mohtat2020()
    x = np.array([0.3, 0.7])
    np.testing.assert_array_equal(MATERIAL.diffusivity(x, 300.0)[0], chen.diffusivity(x, 300.0)[0])
    ratio = MATERIAL.exchange_current(x, 900.0, 310.0)[0] / chen.exchange_current(x, 900.0, 310.0)[0]
    np.testing.assert_allclose(ratio, MATERIAL.max_concentration / chen.max_concentration, rtol=1e-12)
    assert MATERIAL.conductivity == mohtat.conductivity


def test_density_from_the_lattice():
    volume = 2.867**2 * 14.21 * np.sqrt(3) / 2 * 1e-30
    assert MATERIAL.density == pytest.approx(3 * 96.93e-3 / (6.02214076e23 * volume), rel=2e-3)
