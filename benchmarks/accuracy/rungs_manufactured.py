"""Chosen solutions: operators and the coupled system in space, the whole system in time."""

import numpy as np
from manufactured import Chosen, ManufacturedCell, Restricted
from rung import Line
from shared import cells_of_tests

from battsim.models.cell.equations import Rate
from battsim.solvers.bdf import implicit_rate

UNITS = {"x": ("1e-4", 1e4), "c_e": ("mol/m3", 1.0), "phi_s": ("mV", 1e3), "phi_e": ("mV", 1e3), "V": ("mV", 1e3)}
"""Unit of an error, and how many of them are one in SI."""
SPACE = {
    "ion transport": (("c_e", "phi_e"), "nyman2008, migration, b jumps by 10, lithium and film-covered surfaces"),
    "solid diffusion": (("x",), "D_s(x), Butler-Volmer at one end"),
    "electron conduction": (("phi_s",), "sigma jumps by 50 behind a contact resistance"),
    "coupled cell": ((), "all fields, reaction at both electrodes, current control; block solver"),
}
"""Per line: fields that are solved for, all for (), and what takes part."""
LARGEST = {
    "ion transport": {"c_e": 0.55, "phi_e": 0.035},
    "solid diffusion": {"x": 0.21},
    "electron conduction": {"phi_s": 0.13},
    "coupled cell": {"x": 0.15, "c_e": 0.5, "phi_s": 0.4, "phi_e": 0.045, "V": 0.5},
}
"""Errors that pass at 16 cells per width, in UNITS; four times as large with half as many cells."""
FINEST = 16


def manufactured_space(quick):
    """Errors in space of each operator by itself and of the coupled cell."""
    chosen, resolutions = Chosen(), (4, 8) if quick else (4, 8, FINEST)
    cells = [ManufacturedCell(chosen, n) for n in resolutions]
    lines = []
    for what, (fields, described) in SPACE.items():
        errors = [cell.errors(cell.solve(fields)) for cell in cells]
        for name, largest in LARGEST[what].items():
            unit, factor = UNITS[name]
            lines.append(
                Line(
                    f"{what}: {name}",
                    "manufactured",
                    "chosen fields in 3-D",
                    resolutions,
                    [factor * found[name] for found in errors],
                    unit,
                    largest * (FINEST / resolutions[-1]) ** 2,
                    order=2.0,
                    slack=0.4 if quick else 0.2,
                    note=described,
                )
            )
    return lines


PERIOD = 100.0
"""Of the chosen oscillation, s; it is followed over one and a quarter."""
RATIO = 1.5
"""Every other step is this much longer than the ones beside it."""


class Oscillating:
    """A small cell of random voxels in which all fields swing about a state, each cell with a phase of its own."""

    def __init__(self):
        cells, rng = cells_of_tests(), np.random.default_rng(7)
        active = cells.make_active(diffusivity=cells.varying(8e-15, -1.0), film_resistance=2e-3)
        self.cell = cell = cells.make_cell(cells.random_labels((5, 3, 3)), cells.make_parameters(active))
        layout = cell.layout
        self.middle, self.reference = cell.uniform_state(0.5)
        self.middle[layout.c_e] *= rng.uniform(0.8, 1.2, layout.n_electrolyte)
        swing = np.full(layout.size, 0.01)
        swing[layout.x], swing[layout.c_e] = 0.1, 150.0
        self.swing, self.phase = swing * rng.uniform(0.5, 1.0, layout.size), rng.uniform(0.0, np.pi, layout.size)

    def at(self, time):
        """Chosen state."""
        return self.middle + self.swing * np.sin(2.0 * np.pi * time / PERIOD + self.phase)

    def source(self, time):
        """What the equations leave of the chosen state and its exact time derivative."""
        omega = 2.0 * np.pi / PERIOD
        u, du_dt = self.at(time), omega * self.swing * np.cos(omega * time + self.phase)
        return self.cell.evaluate(u, self.reference, Rate(1.0, u - du_dt), 0.0).residual

    def solve(self, a, u_star, source, guess):
        """State at the end of an implicit step."""
        linear, u = Restricted(self.cell, np.arange(guess.size)), guess
        for _ in range(12):
            e = self.cell.evaluate(u, self.reference, Rate(a, u_star), 0.0)
            du = linear.solve(self.cell.jacobian(e), source - e.residual, 0.0)[0]
            u = u + du
            if np.abs(du / self.swing).max() < 1e-9:
                return u
        raise RuntimeError(f"an implicit step of the chosen oscillation (a = {a:g} 1/s) does not converge")

    def march(self, steps):
        """Largest errors on the way, by field, in so many steps, long and short in turn."""
        pairs = 1.25 * PERIOD / (steps // 2)
        lengths = np.tile([pairs * RATIO / (1.0 + RATIO), pairs / (1.0 + RATIO)], steps // 2)
        layout, times, states = self.cell.layout, [0.0], [self.at(0.0)]
        worst = dict.fromkeys(("x", "c_e", "phi_s", "phi_e", "V"), 0.0)
        for dt in lengths:
            time = times[-1] + dt
            a, u_star = implicit_rate(times, states, dt)
            u = self.solve(a, u_star, self.source(time), self.at(time))
            times, states = [*times[-2:], time], [*states[-2:], u]
            error = np.abs(u - self.at(time))
            for name in worst:
                worst[name] = max(worst[name], float(np.max(error[getattr(layout, name)])))
        return worst


LARGEST_IN_TIME = {"x": 8.0, "c_e": 1.2, "V": 0.25}
"""Errors that pass with 80 steps, in UNITS."""


def manufactured_time(quick):
    """Errors of the variable-step formula on the whole system."""
    oscillating, counts = Oscillating(), (20, 40) if quick else (40, 80, 160)
    errors = [oscillating.march(steps) for steps in counts]
    return [
        Line(
            f"time: {name}",
            "manufactured",
            "all fields oscillate, steps 3:2 in turn",
            counts,
            [UNITS[name][1] * found[name] for found in errors],
            UNITS[name][0],
            largest * (80 / counts[-1]) ** 2,
            order=2.0,
            note="BDF2, backward Euler first; random voxels with binder",
        )
        for name, largest in LARGEST_IN_TIME.items()
    ]
