"""What voxels cost: one packing of spheres at several voxels per particle radius, discharged at three rates.

The spheres keep their places and sizes: the packing depends on the box, not on the voxels, and each image meets the
same volume fractions to one voxel. All sizes are discharged at the same current density from the same state to the
same cut-off. The truth is extrapolated from the two finest sizes with order 2; voltages are compared at equal capacity,
between 60 s at 1 C and 95 % of the smallest end capacity. The rule is

    error <= constant(rate) / (voxels per radius)^2,

and what passes is an error within it at every size from three on. It holds for the recipe below and its material:
equal particles of 5 um, D_s = 8e-15 m2/s, so that R^2/D_s is 52 minutes. Two things cause the error: the loss by
diffusion in the particles, which grows with rate times R^2/D_s (a D_s ten times as large takes two thirds of the error
at 3 C away), and surface that voxels lose in the gaps beside contacts, which `area` measures against the spheres
themselves: an error of first order, 17 % with 4 voxels per radius.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rung import Line
from shared import cells_of_tests

from battsim.constants import FARADAY, SECONDS_PER_HOUR
from battsim.solvers.bdf import extrapolate
from battsim.solvers.block import BlockSolver
from meshing.generate import draw_diameters, pack, spheres
from meshing.voxel import graded_layers, voxel_mesh

Floats = NDArray[np.float64]

RADIUS = 5e-6
"""Of the particles, m."""
BOX = (4, 3, 3)
"""Edges of the electrode, radii."""
ACTIVE_SHARE, BINDER_SHARE = 0.5, 0.1
SEED, OVERLAP = 1, 0.05
"""Of the packing; the overlap is that of `spheres` by default."""
POINTS = 400_000
"""Drawn to measure the true volume and area: 0.2 % of either."""
SEPARATOR = 12e-6
"""Thickness, m; ten graded layers."""
SIZES, QUICK = (2, 3, 4, 6, 8, 12), (3, 4, 6)
"""Voxels per radius."""
RULE = {0.2: (50.0, 8.0), 1.0: (190.0, 25.0), 3.0: (460.0, 90.0)}
"""By C-rate: the error of the voltage (mV) and of the capacity (%), each times the square of the voxels per radius.

Measured here, at most: 31 mV and 3 %, 140 mV and 17 %, 330 mV and 56 %; in a box of 8 x 3 x 3 radii 47 mV and 8 %,
180 mV and 24 %, 440 mV and 84 %. Packings differ by that much.
"""
RATES = tuple(RULE)
COARSEST = 3
"""Voxels per radius from which on the rule holds."""
CUT_OFF = 3.5
"""V."""
TOLERANCE = 5e-4
"""Local error per time step, in volts and shares."""
SAMPLES = 400
TARGETS = (10.0, 5.0, 2.0)
"""Voltage errors for which the rule is spelt out, mV."""


@dataclass(frozen=True)
class Curve:
    """Voltage (V) over capacity (Ah/m2) at the time steps, both shape (n,), from the start to the cut-off."""

    capacity: Floats
    voltage: Floats

    def at(self, capacity):
        """Voltage in between, by the integrator's own dense output: the parabola through a step's last three states.

        Straight lines would cost millivolts, since steps are long where the cell is quiet.
        """
        last = np.clip(np.searchsorted(self.capacity, capacity), 2, self.capacity.size - 1)
        nodes = [last - 2, last - 1, last]
        return extrapolate([self.capacity[k] for k in nodes], [self.voltage[k] for k in nodes], capacity)


def electrode_image(size):
    """The packing with so many voxels per radius."""
    h, shape = RADIUS / size, tuple(size * edge for edge in BOX)
    rng = np.random.default_rng(SEED)
    return spheres(shape, (h, h, h), ACTIVE_SHARE, BINDER_SHARE, 2.0 * RADIUS, 0.0, rng)


def electrode(size):
    """The cell with so many voxels per radius."""
    image, h = electrode_image(size), RADIUS / size
    return cells_of_tests().make_cell(image.labels, h=h, layers=graded_layers(SEPARATOR, 10, min(h, SEPARATOR / 10)))


def area_of_spheres():
    """Surface of the particles that no other one covers, per volume, 1/m: by points on the spheres of the recipe.

    Before they are made voxels the spheres are shifted outwards together until they fill their share of the box.
    """
    box, rng = tuple(RADIUS * edge for edge in BOX), np.random.default_rng(SEED)
    packing = pack(0.5 * draw_diameters(box, ACTIVE_SHARE, 2.0 * RADIUS, 0.0, rng), box, OVERLAP, rng)

    def distances(points):
        apart = points[:, None, :] - packing.centre
        apart -= np.array(box) * np.round(apart / box)
        return np.linalg.norm(apart, axis=2) - packing.radius

    draws = np.random.default_rng(0)
    shift = np.quantile(distances(draws.random((POINTS, 3)) * box).min(axis=1), ACTIVE_SHARE)
    directions = draws.normal(size=(POINTS // 10, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    area = 0.0
    for k, radius in enumerate(packing.radius + shift):
        from_others = np.delete(distances(packing.centre[k] + radius * directions), k, axis=1).min(axis=1)
        area += 4.0 * np.pi * radius**2 * float(np.mean(from_others > shift))
    return area / float(np.prod(box))


def area(quick):
    """Error of the interface area of the packing by voxels per radius."""
    true, sizes, errors = area_of_spheres(), QUICK if quick else SIZES, []
    for size in sizes:
        image = electrode_image(size)
        mesh = voxel_mesh(image, inside="active")
        found = sum(float(pair.area.sum()) for pair in mesh.interfaces) / float(mesh.volume.sum())
        errors.append(100.0 * abs(found / true - 1.0))
    return [
        Line(
            "interface area of the packing",
            "exact",
            "points on the spheres",
            sizes,
            errors,
            "%",
            [75.0 / size for size in sizes],
            order=1.0,
            slack=0.3,
            note=f"voxels per radius; too small, by what lies in gaps beside contacts; true {true:.4g} 1/m",
        )
    ]


def one_C(active):
    """Current density of 1 C by the recipe, A/m2."""
    window = abs(active.stoichiometry_soc0 - active.stoichiometry_soc100)
    return FARADAY * active.max_concentration * window * ACTIVE_SHARE * BOX[0] * RADIUS / SECONDS_PER_HOUR


def curve(cell, rate):
    """Discharge from full at a rate to the cut-off."""
    cells, density = cells_of_tests(), rate * one_C(cell.parameters.active)
    run = cells.discharge(
        cell,
        density * cell.network.cross_section,
        limits=cells.limits(voltage=CUT_OFF),
        settings=cells.settings_of(TOLERANCE, rtol=1e-6, balance=2e-9, first_step=0.02 / max(rate, 1.0)),
        linear=BlockSolver(cell.networks, (2, 0, 1)),
    )
    times = np.array([0.0] + [step.time for step in run.steps])
    voltage = np.array([run.transient.voltage(*run.start[:2])] + [run.voltage(step) for step in run.steps])
    return Curve(density * times / SECONDS_PER_HOUR, voltage)


def errors_of(curves, full):
    """Root mean square of the voltage's error (mV) and error of the end capacity (%), by size.

    Parameters
    ----------
    curves
        By voxels per radius, ascending.
    full
        Capacity of one hour at 1 C, Ah/m2.
    """
    coarse, fine = list(curves)[-2:]
    share = 1.0 / ((fine / coarse) ** 2 - 1.0)
    ends = {size: float(each.capacity[-1]) for size, each in curves.items()}
    capacity = np.linspace(full * 60.0 / SECONDS_PER_HOUR, 0.95 * min(ends.values()), SAMPLES)
    voltage = {size: each.at(capacity) for size, each in curves.items()}
    true_voltage = voltage[fine] + share * (voltage[fine] - voltage[coarse])
    true_end = ends[fine] + share * (ends[fine] - ends[coarse])
    rms = {size: 1e3 * float(np.sqrt(np.mean((each - true_voltage) ** 2))) for size, each in voltage.items()}
    return rms, {size: 100.0 * abs(end / true_end - 1.0) for size, end in ends.items()}


def lines_of(rate, curves, full):
    """Lines of one rate from its curves, as in `errors_of`."""
    rms, ends = errors_of(curves, full)
    by_voltage, by_capacity = RULE[rate]
    needed = ", ".join(f"{np.ceil(np.sqrt(by_voltage / target)):.0f} for {target:g} mV" for target in TARGETS)
    held = [size for size in curves if size >= COARSEST]
    return [
        Line(
            f"{what} at {rate:g}C",
            "self-convergence",
            "order-2 extrapolation of the two finest",
            list(curves),
            list(errors.values()),
            unit,
            [constant / size**2 for size in held],
            note=note,
        )
        for what, errors, unit, constant, note in (
            ("voltage", rms, "mV", by_voltage, f"voxels per radius; {by_voltage:g} mV / n^2, so {needed}"),
            ("capacity", ends, "%", by_capacity, f"voxels per radius; {by_capacity:g} % / n^2"),
        )
    ]


def resolution(rate, quick):
    """Errors at one rate by voxels per radius, against the rule."""
    cells = {size: electrode(size) for size in (QUICK if quick else SIZES)}
    curves = {size: curve(cell, rate) for size, cell in cells.items()}
    full = one_C(next(iter(cells.values())).parameters.active)
    return lines_of(rate, curves, full)
