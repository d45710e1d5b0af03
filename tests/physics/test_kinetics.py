import numpy as np
import pytest

from battsim.constants import FARADAY, GAS_CONSTANT
from battsim.physics.kinetics import LARGEST_EXPONENT, butler_volmer

F_RT = FARADAY / (GAS_CONSTANT * 298.15)
COEFFICIENTS = [(0.5, 0.5), (0.3, 0.7)]


def formula(eta, i0, alpha_a, alpha_c):
    return i0 * (np.exp(alpha_a * F_RT * eta) - np.exp(-alpha_c * F_RT * eta))


@pytest.mark.parametrize(("alpha_a", "alpha_c"), COEFFICIENTS)
def test_exact_values_and_complex_step_derivatives(alpha_a, alpha_c):
    eta, i0 = np.meshgrid(np.linspace(-2.0, 2.0, 81), [1e-3, 3.0])
    j, dj_deta, dj_di0 = butler_volmer(eta, i0, alpha_a, alpha_c, F_RT)
    # rounding of an exponent of up to 55, times eps; the formula's own cancellation near zero
    np.testing.assert_allclose(j, formula(eta, i0, alpha_a, alpha_c), rtol=1e-13, atol=1e-15)
    step = 1e-30
    np.testing.assert_allclose(dj_deta, formula(eta + step * 1j, i0, alpha_a, alpha_c).imag / step, rtol=1e-13)
    by_i0 = formula(eta, i0 + step * 1j, alpha_a, alpha_c).imag / step
    np.testing.assert_allclose(dj_di0, by_i0, rtol=1e-13, atol=1e-15)


def test_symmetric_coefficients_give_a_hyperbolic_sine():
    eta = np.linspace(-0.3, 0.3, 13)
    j, _, _ = butler_volmer(eta, 2.0, 0.5, 0.5, F_RT)
    np.testing.assert_allclose(j, 4.0 * np.sinh(0.5 * F_RT * eta), rtol=1e-14)


def test_positive_overpotential_takes_lithium_out():
    assert butler_volmer(0.01, 1.0, 0.5, 0.5, F_RT)[0] > 0 > butler_volmer(-0.01, 1.0, 0.5, 0.5, F_RT)[0]
    assert butler_volmer(0.0, 1.0, 0.5, 0.5, F_RT)[0] == 0


@pytest.mark.parametrize(("alpha_a", "alpha_c"), COEFFICIENTS)
def test_linear_limit_keeps_all_digits(alpha_a, alpha_c):
    eta = np.array([-1e-9, 1e-14, 1e-12, 1e-10])
    j, dj_deta, _ = butler_volmer(eta, 3.0, alpha_a, alpha_c, F_RT)
    slope = 3.0 * (alpha_a + alpha_c) * F_RT
    # the next term of the series is f eta/2 (alpha_a - alpha_c) = 8e-9 of the first at 1e-9 V
    np.testing.assert_allclose(j, slope * eta, rtol=2e-8)
    np.testing.assert_allclose(j[1], slope * eta[1], rtol=1e-12)  # differences of exponentials keep 3 digits here
    np.testing.assert_allclose(dj_deta, slope, rtol=2e-8)


@pytest.mark.parametrize(("alpha_a", "alpha_c"), COEFFICIENTS)
def test_tafel_limits(alpha_a, alpha_c):
    anodic, cathodic = butler_volmer(np.array([0.5, -0.5]), 2.0, alpha_a, alpha_c, F_RT)[0]
    # the other branch is exp(-f 0.5) = 3.5e-9 of this one
    assert anodic == pytest.approx(2.0 * np.exp(alpha_a * F_RT * 0.5), rel=1e-8)
    assert cathodic == pytest.approx(-2.0 * np.exp(alpha_c * F_RT * 0.5), rel=1e-8)
    decade = np.log(10) / (alpha_a * F_RT)
    further = butler_volmer(0.5 + decade, 2.0, alpha_a, alpha_c, F_RT)[0]
    assert further / anodic == pytest.approx(10.0, rel=1e-7)


@pytest.mark.parametrize("eta", [2.0, -2.0, 1e3, -1e3, 1e6, -1e6])
def test_no_overflow_and_still_rising(eta):
    with np.errstate(over="raise", invalid="raise"):
        j, dj_deta, dj_di0 = butler_volmer(np.array([eta]), np.array([10.0]), 0.5, 0.5, F_RT)
        product = j * dj_deta
    assert np.isfinite(product)
    assert np.sign(j) == np.sign(dj_di0) == np.sign(eta)
    assert dj_deta > 0


def test_continuation_far_out_is_the_tangent():
    end = LARGEST_EXPONENT / (0.5 * F_RT)
    at_end, slope, _ = butler_volmer(end, 1.0, 0.5, 0.5, F_RT)
    beyond, slope_beyond, _ = butler_volmer(end + 1.0, 1.0, 0.5, 0.5, F_RT)
    assert beyond == pytest.approx(at_end + slope, rel=1e-12)
    assert slope_beyond == pytest.approx(slope, rel=1e-12)


def test_arguments_broadcast():
    j, dj_deta, dj_di0 = butler_volmer(np.zeros((4, 1)), np.ones(3), 0.5, 0.5, F_RT)
    assert j.shape == dj_deta.shape == (4, 3)
    assert np.broadcast_shapes(dj_di0.shape, (4, 3)) == (4, 3)
