"""A slab of pore and a slab of active material against an independent solution in one dimension.

With planes across x the half cell decouples. The ionic current density is i = I/A everywhere, so that the salt obeys
eps dc/dt = -dN/dx with N = -b D dc/dx + t_plus i/F and N = i/F at both ends; the solid obeys dx/dt = d/dy(D_s dx/dy)
with i/F entering at y = 0 and nothing leaving at the collector; the voltage is a sum of quadratures. The reference
holds nodes at the surfaces (finite elements with lumped mass on a graded grid), takes its steps by LSODA and shares no
operator with the model, only the property functions.
"""

import numpy as np
import pytest
from scipy.integrate import solve_ivp, trapezoid

from battsim.constants import FARADAY, GAS_CONSTANT
from battsim.materials.types import open_circuit

T = 298.15
F_RT = FARADAY / (GAS_CONSTANT * T)
SEPARATOR, PORE, SOLID = 6e-6, 6e-6, 6e-6
B = 0.05
"""Transport factor of the separator; its porosity is 0.47."""
DENSITY = 30.0
"""Current density, A/m2."""
SLOW_SOLID = (2e-13, (10.0, 40.0, 160.0))
"""Solid diffusivity (m2/s) at x = 0 and times (s): the salt is steady, the solid is not."""
SLOW_SALT = (2e-11, (0.5, 1.0, 2.0))
"""The other way round."""
X0 = 0.2


def parameters(resolved, diffusivity=SLOW_SOLID[0]):
    # solid diffusion fast enough for the current and not constant; a film; a conductivity that costs millivolts
    active = resolved.make_active(
        diffusivity=resolved.varying(diffusivity, -1.0), film_resistance=1e-4, conductivity=0.05
    )
    return resolved.make_parameters(active, separator=(0.47, B))


def diffuse(nodes, storage, flux_between, flux_in, flux_out, u0, times):
    """Solution at `times` of storage du/dt = -dN/dx on nodes, with half control volumes at both ends."""
    h = np.diff(nodes)
    volume = np.zeros(nodes.size)
    volume[:-1] += 0.5 * h * storage
    volume[1:] += 0.5 * h * storage

    def rate(t, u):  # noqa: ARG001 (the signature of solve_ivp)
        N = np.concatenate([[flux_in], flux_between(u, h), [flux_out]])
        return -np.diff(N) / volume

    out = solve_ivp(
        rate, (0.0, times[-1]), u0, method="LSODA", t_eval=times, rtol=1e-9, atol=1e-9 * u0.max(), lband=1, uband=1
    )
    assert out.success
    return out.y.T


def graded(length, n):
    """Nodes that crowd at both ends, as Chebyshev's do."""
    return 0.5 * length * (1.0 - np.cos(np.pi * np.arange(n + 1) / n))


def reference(p, times, n):
    """Voltage at the times."""
    e, active, i = p.electrolyte, p.active, DENSITY
    separator, pore = graded(SEPARATOR, n), SEPARATOR + graded(PORE, n)
    nodes = np.concatenate([separator, pore[1:]])
    b = np.repeat([B, 1.0], n)

    def salt_flux(c, h):
        middle = 0.5 * (c[1:] + c[:-1])
        return -b * e.diffusivity(middle, T)[0] * np.diff(c) / h + e.transference(middle, T)[0] * i / FARADAY

    c = diffuse(
        nodes, np.repeat([0.47, 1.0], n), salt_flux, i / FARADAY, i / FARADAY, np.full(2 * n + 1, 1000.0), times
    )
    y = graded(SOLID, n)

    def lithium_flux(x, h):
        return -active.diffusivity(0.5 * (x[1:] + x[:-1]), T)[0] * np.diff(x) / h

    x = diffuse(y, 1.0, lithium_flux, i / FARADAY / active.max_concentration, 0.0, np.full(n + 1, X0), times)
    return np.array([voltage(p, nodes, b, c_e, x_s[0]) for c_e, x_s in zip(c, x, strict=True)])


def voltage(p, nodes, b, c, x_surface):
    """Collector against lithium: every term of the way across."""
    e, active, i = p.electrolyte, p.active, DENSITY
    lithium = -2.0 / F_RT * np.arcsinh(0.5 * i / p.counter.exchange_current(c[0], T)[0])
    t_plus, factor = e.transference(c, T)[0], e.thermodynamic_factor(c, T)[0]
    beta = 2.0 * (1.0 - t_plus) * factor / F_RT
    middle = 0.5 * (c[1:] + c[:-1])
    ohmic = -i * np.sum(np.diff(nodes) / b / e.conductivity(middle, T)[0])
    diffusion = trapezoid(beta / c, c)
    i0 = active.exchange_current(x_surface, c[-1], T)[0]
    eta = -2.0 / F_RT * np.arcsinh(0.5 * i / i0)
    U = open_circuit(active, np.array([x_surface]), T)[0][0]
    return lithium + ohmic + diffusion + eta + U - i * active.film_resistance - i * SOLID / active.conductivity


def simulated(resolved, p, times, h, tolerance):
    """Voltage at the times of the voxel model."""
    n = round(PORE / h)
    labels = np.zeros((2 * n, 1, 1), np.uint8)
    labels[n:] = 1
    cell = resolved.make_cell(labels, p, h=h, layers=(h,) * round(SEPARATOR / h))
    settings = resolved.settings_of(tolerance=tolerance, first_step=1e-4, smallest_step=1e-6)
    limits = resolved.limits(time=times[-1], every=times[0])
    run = resolved.discharge(cell, DENSITY * h * h, X0, limits=limits, settings=settings)
    at = {step.time: run.voltage(step) for step in run.steps}
    return np.array([at[time] for time in times])


def exact(p, times):
    """Reference extrapolated to infinitely fine grids; its own error is asserted here."""
    coarse, middle, fine = (reference(p, times, n) for n in (60, 120, 240))
    one, two = middle + (middle - coarse) / 3.0, fine + (fine - middle) / 3.0
    assert np.max(np.abs(one - two)) < 3e-7
    return two


def test_losses_of_the_reference_are_no_small_matter(resolved):
    # otherwise agreement would show nothing: salt, solid, kinetics, film and electrons cost this together
    p, times = parameters(resolved), SLOW_SOLID[1]
    voltages = exact(p, times)
    U = open_circuit(p.active, np.array([X0 + DENSITY * times[0] / (FARADAY * 35380.0 * SOLID)]), T)[0][0]
    assert U - voltages[0] > 0.1
    assert voltages[0] - voltages[-1] > 0.1


TOLERANCE = 3e-6
"""Local error per step, V: what adds up to about 5 to 15 uV in the voltages of this module."""


def test_voltage_agrees_with_the_one_dimensional_solution_with_order_two(resolved):
    p, times = parameters(resolved), SLOW_SOLID[1]
    errors = np.array([simulated(resolved, p, times, h, TOLERANCE) for h in (1e-6, 0.5e-6, 0.25e-6)]) - exact(p, times)
    # measured: -2.87, -1.23, -0.67 mV; -0.71, -0.32, -0.17 mV; -0.19, -0.09, -0.04 mV
    assert np.all(np.abs(errors[0]) < 3.5e-3)
    assert np.all(np.abs(errors[2]) < 2.5e-4)
    # the error in time is worth 0.2 of an order at the smallest of these
    orders = np.log2(errors[:-1] / errors[1:])
    assert np.all(np.abs(orders - 2.0) < 0.25)
    # extrapolated to voxels of no size it is the reference, but for the error in time
    extrapolated = (4.0 * errors[2] - errors[1]) / 3.0
    assert np.max(np.abs(extrapolated)) < 3e-5


def test_voltage_agrees_while_the_salt_builds_up(resolved):
    p, times = parameters(resolved, SLOW_SALT[0]), SLOW_SALT[1]
    voltages = exact(p, times)
    assert voltages[0] - voltages[-1] > 2e-3  # of which the open-circuit potential takes a part
    error = simulated(resolved, p, times, 0.5e-6, TOLERANCE) - voltages
    # measured: -13, -8, -4 uV, of which 5 uV are the error in time; 5 % of salt capacity make ten times this
    assert np.max(np.abs(error)) < 3e-5


def test_a_wide_slab_is_the_same_as_a_column(resolved):
    # nothing varies across: 2 x 3 columns at six times the current
    p = parameters(resolved)
    labels = np.zeros((6, 1, 1), np.uint8)
    labels[3:] = 1
    voltages = []
    for ny, nz in ((1, 1), (2, 3)):
        cell = resolved.make_cell(np.tile(labels, (1, ny, nz)), p, h=2e-6, layers=(3e-6, 3e-6))
        settings = resolved.fixed_steps(1.0)
        limits = resolved.limits(time=5.0)
        voltages.append(
            resolved.discharge(cell, DENSITY * ny * nz * 4e-12, X0, limits=limits, settings=settings).voltage()
        )
    assert voltages[0] == pytest.approx(voltages[1], abs=1e-9)  # Newton leaves 1e-9 of the current
