"""Exact and independent solutions: a sphere, layers in one dimension, Sand's time, the limiting current.

**Sand's time.** A constant current density i leaves the electrolyte (porosity eps, transport factor b) at x = 0 as
lithium; the salt obeys eps dc/dt = b D d2c/dx2 with b D dc/dx = (1 - t_plus) i/F there and c = c0 far away. For a flux
constant in time (Carslaw and Jaeger, Conduction of Heat in Solids, section 2.9)

    c(0, t) = c0 - 2 (1 - t_plus) i / (F b D) sqrt(b D t / (pi eps)),

which reaches zero at t_S = pi eps b D (F c0 / (2 (1 - t_plus) i))^2, and half of c0 at t_S / 4. Eight lengths
sqrt(b D t_S / eps) of electrolyte are infinitely many: of what the
far electrode does sqrt(pi) ierfc(4) = 3e-9 arrives.

**Limiting current.** In the steady state of an electrolyte layer of thickness L the concentration falls linearly by
(1 - t_plus) i L / (F b D) about its mean c0, and is zero at the electrode for i = 2 F b D c0 / ((1 - t_plus) L).
"""

from dataclasses import replace

import numpy as np
from rung import Line
from shared import cells_of_tests, load

from battsim.constants import FARADAY
from battsim.materials.closures import constant, constant1
from battsim.materials.library import electrolyte
from battsim.models.cell.transient import CellTransient, Control
from battsim.solvers.integrate import consistent_start, integrate

POROSITY, B = 0.47, 0.2
"""Of the electrolyte layer."""
D, KAPPA, T_PLUS, SALT = 3e-10, 1.0, 0.3, 1000.0
"""Constant properties, m2/s, S/m, 1, mol/m3."""


SPHERE = {3: 0.15, 4: 0.07, 6: 0.03, 8: 0.02, 12: 0.012}
"""Voxels per radius, and the largest error of the drop that passes."""
CENTRES = ((0.0, 0.0, 0.0), (0.3, 0.2, -0.4))
"""Of the sphere relative to the grid, voxels."""


def sphere(quick):
    """Error of the drop from mean to surface of a sphere under constant flux, by voxels per radius."""
    tests, cells = load("models/test_resolved_sphere.py"), cells_of_tests()
    radii = (3, 4) if quick else tuple(SPHERE)
    exact = np.array([tests.series(tau) - 3.0 * tau for tau in tests.TIMES])
    errors = []
    for n in radii:
        found = []
        for centre in CENTRES:
            run, steps = tests.flux_run(cells, n, centre)
            found.append(np.max(np.abs(tests.drops(run.cell, steps)[0] / exact - 1.0)))
        errors.append(max(found))
    return [
        Line(
            "particle: mean to surface",
            "exact",
            "Crank (6.45), D t/R2 = " + ", ".join(f"{tau:g}" for tau in tests.TIMES),
            radii,
            errors,
            "",
            [SPHERE[n] for n in radii],
            note="voxels per radius; larger of a centred and an off-centre sphere, relative",
        )
    ]


def layers(quick):
    """Voltage of a layered cell against the one-dimensional solution of the tests."""
    tests, cells = load("models/test_resolved_layers.py"), cells_of_tests()
    p, times = tests.parameters(cells), tests.SLOW_SOLID[1]
    sizes = (1e-6, 0.5e-6) if quick else (1e-6, 0.5e-6, 0.25e-6)
    exact = tests.exact(p, times)
    errors = [np.max(np.abs(tests.simulated(cells, p, times, h, tests.TOLERANCE) - exact)) for h in sizes]
    counts = [round(tests.SOLID / h) for h in sizes]
    return [
        Line(
            "layers: voltage",
            "independent code",
            "finite elements on a graded line, LSODA",
            counts,
            [1e3 * error for error in errors],
            "mV",
            3.5 * (6.0 / counts[-1]) ** 2 * 1.2,
            order=2.0,
            note=f"cells per layer; t = {', '.join(f'{t:g}' for t in times)} s at 30 A/m2",
        )
    ]


def constant_cell(n, thickness, density):
    """A column: n layers of electrolyte with constant properties before active material that lasts an hour.

    That is at the current `density`, A/m2. Open-circuit potential and exchange current of the material are constant.
    """
    cells, h = cells_of_tests(), thickness / n
    salt = replace(
        electrolyte("lipf6-chen2020"),
        diffusivity=constant(D),
        conductivity=constant(KAPPA),
        transference=constant(T_PLUS),
        thermodynamic_factor=constant(1.0),
    )
    active = cells.make_active(
        max_concentration=3600.0 * density / (FARADAY * 2.0 * h),
        diffusivity=constant(1e-9),
        ocp=constant1(4.0),
        exchange_current=lambda x, c, T: (np.full(x.shape, 50.0), np.zeros(x.shape), np.zeros(x.shape)),  # noqa: ARG005
        conductivity=10.0,
    )
    parameters = cells.make_parameters(active, salt, separator=(POROSITY, B))
    return cells.make_cell(np.ones((2, 1, 1), int), parameters, h=h, layers=(h,) * n)


SAND_TIME = 100.0
"""s."""
DEPTH = 8.0
"""Thickness of the electrolyte in units of sqrt(b D t_S / eps)."""


def sand(quick):
    """Time at which the salt at the electrode is used up under constant current, and its half-way concentration."""
    cells = cells_of_tests()
    density = FARADAY * SALT / (2.0 * (1.0 - T_PLUS)) * np.sqrt(np.pi * POROSITY * B * D / SAND_TIME)
    thickness = DEPTH * np.sqrt(B * D * SAND_TIME / POROSITY)
    counts = (20, 40) if quick else (40, 80, 160)
    half, ends = [], []
    for n in counts:
        cell = constant_cell(n, thickness, density)
        settings = cells.settings_of(tolerance=1e-6, rtol=1e-7, balance=1e-8, first_step=1e-2, smallest_step=1e-4)
        limits = cells.limits(time=2.0 * SAND_TIME, every=0.25 * SAND_TIME)
        run = cells.discharge(cell, density * cell.network.cross_section, 0.5, limits=limits, settings=settings)
        quarter = next(step for step in run.steps if step.time == 0.25 * SAND_TIME)
        half.append(abs(float(quarter.evaluation.reaction.c_surface.min()) / SALT - 0.5))
        ends.append(abs(run.last.time / SAND_TIME - 1.0) if run.last.stop == "salt depletion" else np.inf)
    note = f"layers of electrolyte, {DEPTH:g} diffusion lengths thick; {density:.1f} A/m2"
    return [
        Line(what, "exact", against, counts, errors, unit, 0.0065 * (40 / counts[-1]) ** 2, order=2.0, note=note)
        for what, against, errors, unit in (
            ("Sand: surface at t_S/4", "c0/2", half, "c0"),
            ("Sand: depletion", f"t_S = {SAND_TIME:g} s", ends, "t_S"),
        )
    ]


def limiting_current(quick):
    """Steady current of a separator that is held at a low voltage, against the limiting current."""
    cells, thickness = cells_of_tests(), 50e-6
    exact = 2.0 * FARADAY * D * B * SALT / ((1.0 - T_PLUS) * thickness)
    counts, errors = (5, 10) if quick else (5, 10, 20, 40), []
    settle = 5.0 * thickness**2 * POROSITY / (B * D)
    for n in counts:
        cell = constant_cell(n, thickness, exact)
        scale = exact * cell.network.cross_section
        transient, control = CellTransient(cell, scale), Control("voltage", 2.5)
        linear, settings = cells.DirectSolver(cell), cells.settings_of(first_step=1e-3, rtol=1e-8)
        u, reference = cell.uniform_state(0.5)
        u, reference, _ = consistent_start(transient, linear, control, settings, u, reference)
        steps = list(integrate(transient, linear, control, cells.limits(time=settle), settings, (0.0, u, reference)))
        errors.append(abs(steps[-1].current / scale - 1.0))
    return [
        Line(
            "limiting current",
            "exact",
            f"2 F b D c0/((1 - t_plus) L) = {exact:.2f} A/m2",
            counts,
            errors,
            "",
            1e-6,
            note="layers of separator; 1.5 V below equilibrium, steady; a straight profile is exact on any grid",
        )
    ]
