import numpy as np
import pytest

from battsim.materials.nmc532_mohtat2020 import entropic, nmc532_mohtat2020, ocp
from battsim.materials.types import open_circuit

# figures evaluated from PyBaMM 26.10, parameter set Mohtat2020
PUBLISHED_U = {0.3: 3.962490822, 0.5: 3.8147812500000007, 0.7: 3.7403615979999967, 0.9: 3.650386680645693}
PUBLISHED_I0 = {
    (0.3, 1000.0, 298.15): 2.4732884823676,
    (0.9, 500.0, 298.15): 1.1449100947559367,
    (0.5, 1200.0, 318.15): 8.063394964630263,
}
PUBLISHED_D = {298.15: 8e-15, 318.15: 1.2805153196074681e-14}
PYBAMM_ENTROPIC = {0.1: -0.0011755667958750565, 0.5: -0.0006044222816483398, 0.9: -0.0045744955208133434}


def test_open_circuit_potential_as_published():
    np.testing.assert_allclose(ocp(np.array([*PUBLISHED_U]))[0], [*PUBLISHED_U.values()], rtol=1e-13)


def test_drop_at_full_lithiation_is_part_of_the_fit():
    # sum of the polynomial's coefficients, less the exponential at x = 1
    exact = 4.3452 - 1.6518 + 1.6225 - 2.0843 + 3.5146 - 2.2166 - 0.5623e-4 * np.exp(109.451 - 100.006)
    assert ocp(1.0)[0] == pytest.approx(exact, rel=1e-14)
    drop = ocp(np.array([0.91, 0.99]))[0] - np.polynomial.Polynomial(
        [4.3452, -1.6518, 1.6225, -2.0843, 3.5146, -2.2166]
    )(np.array([0.91, 0.99]))
    assert -1e-4 < drop[0] < 0
    assert drop[1] == pytest.approx(-0.24, abs=0.05)


def test_potential_slope(assert_derivative):
    assert_derivative(ocp, np.linspace(0.0, 1.0, 201), step=1e-4, rtol=1e-6)


def test_limits_are_those_of_the_cell():
    material = nmc532_mohtat2020()
    # PyBaMM's balance of the published cell between 2.8 and 4.2 V; its initial concentration is the discharged state
    assert material.stoichiometry_soc100 == pytest.approx(0.033524, abs=5e-5)
    assert material.stoichiometry_soc0 == pytest.approx(0.890908, abs=5e-4)
    assert material.stoichiometry_soc0 == pytest.approx(31513.0 / 35380.0, abs=1e-4)


@pytest.mark.parametrize(("state", "i0"), PUBLISHED_I0.items())
def test_exchange_current_as_published(state, i0):
    assert nmc532_mohtat2020().exchange_current(*state)[0] == pytest.approx(i0, rel=1e-9)  # digits of R


@pytest.mark.parametrize(("T", "D_s"), PUBLISHED_D.items())
def test_diffusivity_as_published(T, D_s):
    value, slope = nmc532_mohtat2020().diffusivity(np.array([0.2, 0.8]), T)
    np.testing.assert_allclose(value, D_s, rtol=1e-9)
    np.testing.assert_array_equal(slope, 0.0)


def test_entropic_coefficient_is_the_polynomial_of_the_potential(assert_derivative):
    x = np.linspace(0.03, 0.99, 97)
    U = ocp(x)[0]
    exact = (-800 + 779 * U - 284 * U**2 + 46 * U**3 - 2.8 * U**4) * 1e-3
    np.testing.assert_allclose(entropic(x)[0], exact, rtol=1e-9)  # cancellation of 0.8 against 4e-4
    assert_derivative(entropic, x, step=1e-4, rtol=1e-5, floor=1e-9)  # the same cancellation over the step


def test_entropic_coefficient_where_the_transcription_in_pybamm_differs():
    mine = entropic(np.array([*PYBAMM_ENTROPIC]))[0]
    theirs = np.array([*PYBAMM_ENTROPIC.values()])
    np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-4)  # x^5 is still negligible
    assert abs(mine[2]) < 0.1 * abs(theirs[2])
    assert mine[2] == pytest.approx(-3.6e-4, rel=0.02)


def test_potential_at_temperature():
    warm = open_circuit(nmc532_mohtat2020(), np.array([0.5]), 308.15)[0]
    np.testing.assert_allclose(warm, ocp(0.5)[0] + 10 * entropic(0.5)[0], rtol=1e-14)


def test_density_from_the_lattice():
    volume = 2.87**2 * 14.2 * np.sqrt(3) / 2 * 1e-30
    assert nmc532_mohtat2020().density == pytest.approx(3 * 96.55e-3 / (6.02214076e23 * volume), rel=2e-3)
