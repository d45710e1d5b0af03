import numpy as np
import pytest

from battsim.constants import FARADAY, GAS_CONSTANT
from battsim.materials.closures import constant
from battsim.materials.library import electrolyte
from battsim.physics.electrolyte import SaltLaw, salt_fluxes

T = 298.15
F_RT = FARADAY / (GAS_CONSTANT * T)


def law_of(name):
    e = electrolyte(name)
    return SaltLaw(e.diffusivity, e.conductivity, e.transference, e.thermodynamic_factor, T)


def linear(slope):
    return lambda c, T: (slope * c, np.full(np.shape(c), slope))  # noqa: ARG005


def nernst_planck(D_plus, D_minus):
    """The closure of an ideal solution of two ions, as a concentrated electrolyte."""
    return SaltLaw(
        constant(2 * D_plus * D_minus / (D_plus + D_minus)),
        linear(FARADAY**2 * (D_plus + D_minus) / (GAS_CONSTANT * T)),
        constant(D_plus / (D_plus + D_minus)),
        constant(1.0),
        T,
    )


def random_faces(n=200, seed=0):
    rng = np.random.default_rng(seed)
    c_o, c_n = rng.uniform(5.0, 2800.0, (2, n))  # past the fitted range at both ends
    return rng.uniform(1e-7, 1e-5, n), rng.uniform(-0.2, 0.2, n), c_o, c_n


def central(function, at, step):
    """Central difference of fourth order."""
    near, far = function(at + step) - function(at - step), function(at + 2 * step) - function(at - 2 * step)
    return (8.0 * near - far) / (12.0 * step)


@pytest.mark.parametrize("name", ["lipf6-nyman2008", "lipf6-chen2020"])
def test_derivatives_are_those_of_the_fluxes(name):
    law, (G, dphi, c_o, c_n) = law_of(name), random_faces()
    fluxes = salt_fluxes(law, G, dphi, c_o, c_n)
    step = 2e-4
    # truncation 1e-16 relative; round-off 1e-16 of the value over a relative step of 2e-4
    for value, by_phi, by_o, by_n in (
        ("i", fluxes.K, fluxes.di_dc_o, fluxes.di_dc_n),
        ("FN", fluxes.dFN_dphi, fluxes.dFN_dc_o, fluxes.dFN_dc_n),
    ):

        def at_phi(s, value=value):
            return getattr(salt_fluxes(law, G, dphi + s, c_o, c_n), value)

        def at_o(s, value=value):
            return getattr(salt_fluxes(law, G, dphi, c_o * (1 + s), c_n), value)

        def at_n(s, value=value):
            return getattr(salt_fluxes(law, G, dphi, c_o, c_n * (1 + s)), value)

        scale = np.abs(getattr(fluxes, value)) + np.abs(by_phi) / F_RT
        for function, analytic, unit in ((at_phi, by_phi, 1.0), (at_o, by_o * c_o, 1.0), (at_n, by_n * c_n, 1.0)):
            numeric = central(function, 0.0, step) * unit
            assert np.max(np.abs(numeric - analytic) / (scale + np.abs(analytic))) < 1e-9


@pytest.mark.parametrize("name", ["lipf6-nyman2008", "lipf6-chen2020"])
def test_swapping_owner_and_neighbour_changes_the_sign_and_nothing_else(name):
    law, (G, dphi, c_o, c_n) = law_of(name), random_faces()
    one, other = salt_fluxes(law, G, dphi, c_o, c_n), salt_fluxes(law, G, -dphi, c_n, c_o)
    tight = {"rtol": 1e-12, "atol": 1e-20}  # ln(c_o/c_n) against -ln(c_n/c_o), cancelled against dphi
    for name_, sign in (("i", -1), ("FN", -1), ("K", 1), ("ohmic", 1), ("concentration", 1), ("diffusive", 1)):
        np.testing.assert_allclose(getattr(other, name_), sign * getattr(one, name_), **tight)
    # the other's owner is this one's neighbour
    np.testing.assert_allclose(other.di_dc_o, -one.di_dc_n, **tight)
    np.testing.assert_allclose(other.dFN_dc_o, -one.dFN_dc_n, **tight)


def test_power_of_a_face_is_the_sum_of_its_parts_and_ohmic_loss_is_positive():
    law, (G, dphi, c_o, c_n) = law_of("lipf6-nyman2008"), random_faces()
    fluxes = salt_fluxes(law, G, dphi, c_o, c_n)
    np.testing.assert_allclose(fluxes.ohmic + fluxes.concentration, fluxes.i * dphi, rtol=1e-12, atol=1e-18)
    np.testing.assert_allclose(fluxes.ohmic, fluxes.i**2 / fluxes.K, rtol=1e-12)
    assert np.all(fluxes.ohmic > 0.0)


def test_uniform_salt_gives_ohms_law_and_migration():
    law, (G, dphi, c, _) = law_of("lipf6-nyman2008"), random_faces()
    fluxes, p = salt_fluxes(law, G, dphi, c, c), law_of("lipf6-nyman2008").at(c)
    np.testing.assert_allclose(fluxes.i, G * p.kappa * dphi, rtol=1e-15)
    np.testing.assert_allclose(fluxes.FN, p.t_plus * fluxes.i, rtol=1e-15)


def test_nernst_planck_diffusion_potential_without_current():
    D_plus, D_minus = 1.3e-10, 4.1e-10
    c_o, c_n = np.array([900.0, 400.0]), np.array([1300.0, 20.0])
    # both ions move together where the potential difference is R T/F (D_minus - D_plus)/(D_plus + D_minus) ln(c_o/c_n)
    dphi = (D_minus - D_plus) / (D_plus + D_minus) / F_RT * np.log(c_o / c_n)
    # against lithium in the solution the chemical potential of Li+ adds R T/F ln c
    measured = dphi + np.log(c_o / c_n) / F_RT
    fluxes = salt_fluxes(nernst_planck(D_plus, D_minus), np.full(2, 1e-6), measured, c_o, c_n)
    assert np.max(np.abs(fluxes.i) / (fluxes.K / F_RT)) < 1e-14
    salt = 2 * D_plus * D_minus / (D_plus + D_minus)
    np.testing.assert_allclose(fluxes.FN, FARADAY * 1e-6 * salt * (c_o - c_n), rtol=1e-12)


def test_nernst_planck_fluxes_of_both_ions():
    # exact two-ion fluxes in the limit of a small difference: kappa at the mean, ln c linearised
    D_plus, D_minus, c, dc, dphi = 1.3e-10, 4.1e-10, 1000.0, 1e-3, 1e-4
    G = np.array([1e-6])
    fluxes = salt_fluxes(
        nernst_planck(D_plus, D_minus), G, np.array([dphi + dc / c / F_RT]), *np.array([[c + dc], [c]])
    )
    plus = G * (D_plus * dc + D_plus * F_RT * c * dphi)
    minus = G * (D_minus * dc - D_minus * F_RT * c * dphi)
    # neglected: terms of dc/c = 1e-6 relative
    np.testing.assert_allclose(fluxes.FN, FARADAY * plus, rtol=5e-6)
    np.testing.assert_allclose(fluxes.i, FARADAY * (plus - minus), rtol=5e-6)


def test_a_nearly_empty_cell_does_not_close_its_face():
    law = law_of("lipf6-nyman2008")
    fluxes = salt_fluxes(law, np.array([1e-6]), np.array([0.0]), np.array([1e-6]), np.array([1000.0]))
    # arithmetic mean of the state: the salt of 500 mol/m3 conducts
    assert fluxes.K[0] == pytest.approx(1e-6 * law.at(np.array([500.0])).kappa[0], rel=1e-6)
    assert np.isfinite(fluxes.di_dc_o[0])
