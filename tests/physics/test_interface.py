from dataclasses import replace

import numpy as np
import pytest

from battsim.constants import FARADAY, GAS_CONSTANT
from battsim.materials.library import active_material, electrolyte
from battsim.materials.types import open_circuit
from battsim.physics.interface import CellValues, HalfCellDrops, Kinetics, SurfaceState, interface_current
from battsim.physics.kinetics import butler_volmer

T = 298.15
F_RT = FARADAY / (GAS_CONSTANT * T)
ALPHAS = (0.4, 0.6)
ACTIVE = active_material("nmc532-mohtat2020")
SALT = electrolyte("lipf6-nyman2008")


def law(x, c):
    i0, di0_dx, di0_dc = ACTIVE.exchange_current(x, c, T)
    U, dU = open_circuit(ACTIVE, x, T)
    return SurfaceState(i0, di0_dx, di0_dc, U, dU)


def drops_at(x, c, distance=1e-6, scale=1.0):
    """Half-cell drops with D_s(x) that falls by half a decade over the window."""
    D = 8e-15 * np.exp(-1.5 * x)
    D_e, dD_e = SALT.diffusivity(c, T)
    kappa, dkappa = SALT.conductivity(c, T)
    t_plus, dt_plus = SALT.transference(c, T)
    factor, dfactor = SALT.thermodynamic_factor(c, T)
    solid = scale * distance / (FARADAY * ACTIVE.max_concentration)
    ionic, b = scale * distance, 0.01  # tight pores, so that the salt at the surface differs
    return HalfCellDrops(
        x=solid / D,
        dx=solid / D * 1.5,
        solid=np.full(x.shape, scale * (distance / 0.1 + 2e-3)),
        c=ionic * (1 - t_plus) / (FARADAY * b * D_e),
        dc=-ionic / (FARADAY * b) * (dt_plus / D_e + (1 - t_plus) * dD_e / D_e**2),
        ionic=ionic / (b * kappa),
        dionic=-ionic * dkappa / (b * kappa**2),
        beta=2 / F_RT * (1 - t_plus) * factor,
        dbeta=2 / F_RT * ((1 - t_plus) * dfactor - dt_plus * factor),
    )


def current(x, c, dphi, scale=1.0, guess=None):
    guess = np.zeros(x.shape) if guess is None else guess
    return interface_current(Kinetics(law, *ALPHAS, F_RT), drops_at(x, c, scale=scale), CellValues(x, c, dphi), guess)


def mismatch(r, x, c, dphi, scale=1.0):
    """j minus Butler-Volmer of surface values written out again, relative to i0 + |j|."""
    d = drops_at(x, c, scale=scale)
    x_f, c_f = x - r.j * d.x, c + r.j * d.c
    surface = law(x_f, c_f)
    eta = dphi - r.j * (d.solid + d.ionic) - d.beta * np.log(c_f / c) - surface.U
    return (r.j - butler_volmer(eta, surface.i0, *ALPHAS, F_RT)[0]) / (surface.i0 + np.abs(r.j)), x_f, c_f


def random_faces(n=300, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.05, 0.9, n)
    return x, rng.uniform(100.0, 2000.0, n), open_circuit(ACTIVE, x, T)[0] + rng.uniform(-0.15, 0.15, n)


def test_j_is_the_root_of_the_balance_at_the_surface():
    x, c, dphi = random_faces()
    r = current(x, c, dphi)
    relative, x_f, c_f = mismatch(r, x, c, dphi)
    assert r.converged.all()
    # the iteration stops at 1e-12 in j
    assert np.max(np.abs(relative)) < 1e-11
    np.testing.assert_allclose(r.x_surface, x_f, rtol=1e-14)
    np.testing.assert_allclose(r.c_surface, c_f, rtol=1e-14)
    assert np.max(np.abs(r.x_surface - x)) > 0.02  # the drops matter in this test
    assert np.max(np.abs(r.c_surface / c - 1)) > 0.02


def test_the_first_guess_does_not_matter():
    x, c, dphi = random_faces()
    free = current(x, c, dphi).j
    for guess in (-1e6, 1e6, 3.0):
        # 1e-12 of j is where the iteration stops
        np.testing.assert_allclose(current(x, c, dphi, guess=np.full(x.shape, guess)).j, free, rtol=1e-11, atol=1e-12)


def test_derivatives_are_those_of_the_root():
    x, c, dphi = random_faces()
    r, step = current(x, c, dphi), 1e-4

    def central(move):
        near, far = move(step).j - move(-step).j, move(2 * step).j - move(-2 * step).j
        return (8.0 * near - far) / (12.0 * step)

    scale = np.abs(r.j) + 0.1
    # fourth order with a relative step of 1e-4: 1e-12 of round-off in j over 1e-4, and truncation of 1e-10
    for numeric, analytic in (
        (central(lambda s: current(x + s, c, dphi)), r.dj_dx),
        (central(lambda s: current(x, c * (1 + s), dphi)), r.dj_dc * c),
        (central(lambda s: current(x, c, dphi + 0.1 * s)) / 0.1, r.dj_dphi),
    ):
        assert np.max(np.abs(numeric - analytic) / (np.abs(analytic) + scale)) < 2e-7


@pytest.mark.parametrize("shift", [-1.0, 1.0])
@pytest.mark.parametrize("salt", [1e-3, 1000.0])
@pytest.mark.parametrize("x", [1e-7, 0.5, 1.0 - 1e-5])
def test_extreme_cells_stay_inside_the_bracket(x, salt, shift):
    x, c = np.array([x]), np.array([salt])
    dphi = open_circuit(ACTIVE, x, T)[0] + shift
    r = current(x, c, dphi)
    assert r.converged.all()
    assert np.all((r.x_surface > 0.0) & (r.x_surface < 1.0) & (r.c_surface > 0.0))
    assert np.sign(r.j) == np.sign(shift)  # 1 V outweighs any shift of U inside the bracket
    for derivative in (r.dj_dx, r.dj_dc, r.dj_dphi):
        assert np.all(np.isfinite(derivative))


def test_without_drops_it_is_butler_volmer():
    x, c, dphi = random_faces()
    surface = law(x, c)
    exact, slope, _ = butler_volmer(dphi - surface.U, surface.i0, *ALPHAS, F_RT)
    errors = []
    for scale in (1e-4, 1e-6):
        r = current(x, c, dphi, scale=scale)
        errors.append(np.max(np.abs(r.j - exact) / (surface.i0 + np.abs(exact))))
    # the drops act in proportion; 1 A/m2 over the full drops changes j by about itself
    assert errors[1] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(100.0, rel=0.2)
    np.testing.assert_allclose(current(x, c, dphi, scale=1e-9).dj_dphi, slope, rtol=1e-5)


def test_linear_limit_is_resistances_in_series():
    x, c = np.array([0.4, 0.7]), np.array([800.0, 1200.0])
    d, surface = drops_at(x, c), law(x, c)
    # half-cell resistance, charge transfer, surface stoichiometry through U, salt through its diffusion potential
    resistance = d.solid + d.ionic + 1.0 / (surface.i0 * F_RT * sum(ALPHAS)) - surface.dU * d.x + d.beta * d.c / c
    over = 1e-7
    r = current(x, c, surface.U + over)
    # second order in the overpotential: F/(R T) times 1e-7 V is 4e-6
    np.testing.assert_allclose(r.j, over / resistance, rtol=2e-5)
    np.testing.assert_allclose(r.dj_dphi, 1.0 / resistance, rtol=2e-5)


def test_salt_limits_the_current_where_kinetics_does_not():
    x, c = np.array([0.5]), np.array([50.0])
    d = replace(drops_at(x, c), x=np.zeros(1), dx=np.zeros(1), solid=np.full(1, 1e-9), ionic=np.full(1, 1e-9))
    limit = -c / d.c
    shares = []
    for volts in (0.1, 0.3, 1.0):
        dphi = open_circuit(ACTIVE, x, T)[0] - volts
        r = interface_current(Kinetics(law, *ALPHAS, F_RT), d, CellValues(x, c, dphi), np.zeros(1))
        shares.append(float(r.j[0] / limit[0]))
    assert shares[0] < shares[1] < shares[2] <= 1.0
    # at 1 V the surface holds exp(-alpha_c f) of the salt, or the bracket's 1e-10
    assert shares[2] == pytest.approx(1.0, abs=1e-6)
    assert shares[0] < 0.999


def test_solid_limits_the_current_where_the_surface_is_full():
    x, c = np.array([0.5]), np.array([1000.0])
    d = replace(drops_at(x, c), c=np.zeros(1), dc=np.zeros(1), ionic=np.full(1, 1e-9), solid=np.full(1, 1e-9))
    full = interface_current(Kinetics(law, *ALPHAS, F_RT), d, CellValues(x, c, np.full(1, -3.0)), np.zeros(1))
    empty = interface_current(Kinetics(law, *ALPHAS, F_RT), d, CellValues(x, c, np.full(1, 8.0)), np.zeros(1))
    assert full.j[0] == pytest.approx(-0.5 / d.x[0], rel=1e-6)
    assert empty.j[0] == pytest.approx(0.5 / d.x[0], rel=1e-6)


@pytest.mark.parametrize(("x", "c_e", "beyond"), [(0.999, 1000.0, -1.2), (0.9999, 1000.0, -1.5), (1e-5, 1000.0, 2.5)])
def test_a_surface_that_mass_transfer_limits_has_the_derivatives_of_its_limit(x, c_e, beyond):
    x, c_e = np.array([x]), np.array([c_e])
    dphi = open_circuit(ACTIVE, x, T)[0] + beyond
    r = current(x, c_e, dphi)
    h = 1e-4 * np.minimum(x, 1.0 - x)
    by_difference = (current(x + h, c_e, dphi).j - current(x - h, c_e, dphi).j) / (2 * h)
    # the limit j(x) is smooth: the difference quotient is off by h^2
    np.testing.assert_allclose(r.dj_dx, by_difference, rtol=1e-6)
    assert r.dj_dphi == 0.0
    assert current(x, c_e, dphi + 1e-3).j == pytest.approx(r.j, rel=1e-9)
