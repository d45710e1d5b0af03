import numpy as np
import pytest

from battsim.materials.lipf6_valoen2005 import lipf6_valoen2005

PROPERTIES = ("diffusivity", "conductivity", "transference", "thermodynamic_factor")
ELECTROLYTE = lipf6_valoen2005()

# (mol/m3, K) -> D_e, kappa: figures evaluated from PyBaMM 26.10 (electrolyte_*_Valoen2005 of its set Xu2019)
PUBLISHED = {
    (200.0, 298.15): (5.415396094763924e-10, 0.4911000656630936),
    (1000.0, 298.15): (3.222722528605264e-10, 1.194326363775062),
    (2000.0, 298.15): (1.648415841017737e-10, 0.7962969782618301),
    (200.0, 278.15): (2.538076294866586e-10, 0.3672027880545361),
    (1000.0, 278.15): (1.339358820860341e-10, 0.8003831276075497),
    (2000.0, 278.15): (5.632350268402022e-11, 0.4234046822280595),
}


@pytest.mark.parametrize(("state", "published"), PUBLISHED.items())
def test_diffusivity_and_conductivity_as_published(state, published):
    assert ELECTROLYTE.diffusivity(*state)[0] == pytest.approx(published[0], rel=1e-12)
    assert ELECTROLYTE.conductivity(*state)[0] == pytest.approx(published[1], rel=1e-12)


def test_the_published_product_was_divided_by_one_minus_t_plus():
    c_e = np.array([100.0, 1000.0, 3000.0])
    c = c_e / 1000.0
    for T in (294.0, 313.15):
        t_plus, TF = ELECTROLYTE.transference(c_e, T)[0], ELECTROLYTE.thermodynamic_factor(c_e, T)[0]
        product = 0.601 - 0.24 * c**0.5 + 0.982 * (1.0 - 0.0052 * (T - 294.0)) * c**1.5
        np.testing.assert_allclose((1.0 - t_plus) * TF, product, rtol=1e-13)
    assert ELECTROLYTE.thermodynamic_factor(1000.0, 294.0)[0] == pytest.approx(1.343 / 0.62, rel=1e-12)


def test_dilute_limit_of_the_thermodynamic_factor_is_near_one():
    # taken for TF itself, the published 0.601 would miss the ideal solution by 40 %
    assert ELECTROLYTE.thermodynamic_factor(1.0, 298.15)[0] == pytest.approx(1.0, abs=0.05)


def test_transference_number_is_constant():
    value, slope = ELECTROLYTE.transference(np.array([1.0, 1000.0, 5000.0]), 310.0)
    np.testing.assert_array_equal(value, 0.38)
    np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("T", [268.15, 298.15, 328.15])
def test_derivatives_inside_and_outside_the_fit(name, T, assert_derivative):
    closure = getattr(ELECTROLYTE, name)
    at = lambda c_e: closure(c_e, T)  # noqa: E731
    assert_derivative(at, np.array([0.1, 0.5, 0.9]), step=1e-3, rtol=1e-6)
    assert_derivative(at, np.geomspace(2.0, 100.0, 12), step=1e-2, rtol=1e-5)
    assert_derivative(at, np.linspace(100.0, 3500.0, 48), step=1.0, rtol=1e-6)
    assert_derivative(at, np.linspace(3950.0, 8000.0, 48), step=1.0, rtol=1e-6, floor=1e-14)  # levelled off


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("T", [253.15, 263.15, 298.15, 333.15])
def test_positive_and_finite_for_every_concentration(name, T):
    value, slope = getattr(ELECTROLYTE, name)(np.concatenate([[0.0], np.geomspace(1e-12, 1e4, 4001)]), T)
    assert np.all(value > 0)
    assert np.all(np.isfinite(slope))


def test_conductivity_in_the_cold_does_not_rise_again_at_high_concentration():
    # the published q(c, T) passes zero above 3.5 mol/L below -10 degC; squared, it would rise again behind
    unchanged = ELECTROLYTE.conductivity(3700.0, 263.15)[0]
    assert unchanged == pytest.approx(5.655e-4, rel=1e-3)  # the formula itself, at the coldest that was measured
    at_zero = ELECTROLYTE.conductivity(3550.0, 258.15)[0]
    assert np.all(ELECTROLYTE.conductivity(np.linspace(3550.0, 8000.0, 100), 258.15)[0] < 1.3 * at_zero)
