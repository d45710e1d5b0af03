"""One sphere of active material under uniform flux against the analytic series.

J. Crank, The Mathematics of Diffusion, 2nd ed., equation 6.45: with a constant flux F0 into a sphere of radius a,
(C - C0) D / (F0 a) = 3 tau + (5 r^2 - 3 a^2)/(10 a^2) - 2 (a/r) sum sin(alpha_n r)/(alpha_n^2 a^2 sin(alpha_n a))
exp(-alpha_n^2 a^2 tau), tau = D t/a^2, a alpha_n cot(a alpha_n) = 1. At r = a the surface lies 1/5 above the mean once
the series has died out.

The flux is uniform because nothing makes it differ: U and i0 do not depend on concentration and both conductors are
excellent. The sphere hangs on a thin post of binder whose pores are open (b = 1), so that no surface is hidden.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from battsim.constants import FARADAY
from battsim.materials.closures import constant, constant1
from battsim.materials.library import electrolyte
from battsim.models.resolved.parameters import IonicPhase
from battsim.solvers.block import BlockSolver

RADIUS, DIFFUSIVITY, X0 = 5e-6, 1e-14, 0.3
DROP = 0.05
"""Mean to surface in the long run, as stoichiometry: j R / (5 F c_max D)."""


def series(tau, terms=40):
    """Surface rise in units of F0 a/D."""
    roots = np.array([brentq(lambda z: np.sin(z) - z * np.cos(z), n * np.pi, (n + 0.5) * np.pi) for n in range(1, terms)])
    return 3.0 * tau + 0.2 - 2.0 * np.sum(np.exp(-(roots**2) * tau) / roots**2)


def test_series_has_its_limits():
    # planar limit 2 sqrt(tau/pi) with its next term tau for a sphere; then 3 tau + 1/5
    assert series(1e-3) == pytest.approx(2.0 * np.sqrt(1e-3 / np.pi) + 1e-3, rel=1e-3)
    assert series(1.0) == pytest.approx(3.2, abs=1e-8)


def sphere_cell(resolved, n, centre):
    """n voxels per radius; `centre` is the offset of the sphere's centre in voxels."""
    active = resolved.make_active(
        diffusivity=constant(DIFFUSIVITY),
        ocp=constant1(4.0),
        exchange_current=lambda x, c, T: (np.full(x.shape, 1.0), np.zeros(x.shape), np.zeros(x.shape)),  # noqa: ARG005
        conductivity=10.0,
    )
    # good enough for differences of 0.1 mV and 0.1 mol/m3; better ones would let round-off grow
    salt = replace(electrolyte("lipf6-chen2020"), diffusivity=constant(1e-8), conductivity=constant(10.0))
    size = 2 * n + 4
    middle = 0.5 * size + np.asarray(centre)
    grid = np.indices((size, size, size)).reshape(3, -1).T + 0.5
    inside = (np.sum((grid - middle) ** 2, axis=1) < n**2).reshape(size, size, size)
    labels = np.zeros((size, size, size), np.uint8)
    labels[size // 2 :, size // 2, size // 2] = 2
    labels[inside] = 1
    parameters = resolved.make_parameters(active, salt, ionic=IonicPhase(1.0, 1.0), conductivity=100.0)
    return resolved.make_cell(labels, parameters, h=RADIUS / n, layers=())


def surface_rise(resolved, n, centre, times):
    """Measured rise of the surface over F0 a/D at the given tau, and the spread of j."""
    cell = sphere_cell(resolved, n, centre)
    active = cell.parameters.active
    F0 = 5.0 * DROP * FARADAY * active.max_concentration * DIFFUSIVITY / RADIUS
    area = 4.0 * np.pi * RADIUS**2
    scale = RADIUS**2 / DIFFUSIVITY
    settings = resolved.settings_of(tolerance=3e-4, rtol=1e-7)
    limits = resolved.limits(time=times[-1] * scale, every=times[0] * scale)
    run = resolved.discharge(
        cell, F0 * area, X0, limits=limits, settings=settings, linear=BlockSolver(cell.networks, (2, 0, 1))
    )
    weight = cell.network.reactive.area / cell.network.reactive.area.sum()
    by_time = {round(step.time / scale, 6): step.evaluation.reaction for step in run.steps}
    rises = [(weight @ by_time[time].x_surface - X0) / (5.0 * DROP) for time in times]
    j = run.last.evaluation.reaction.j
    return np.array(rises), np.ptp(j) / abs(j.mean()), weight.size, cell, run

if __name__=="__main__": pass
