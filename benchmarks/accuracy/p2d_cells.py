"""The homogenised cells of the comparison with PyBaMM, and their discharge."""

import numpy as np

from battsim.materials.library import active_material, counter_electrode, electrolyte
from battsim.models.cell.network import CellMaterials
from battsim.models.cell.transient import CellTransient, Control
from battsim.models.p2d.cell import P2DCell
from battsim.models.p2d.elimination import ParticleElimination
from battsim.models.p2d.parameters import P2DGrid, P2DParameters, Particles, PorousElectrode, PorousSeparator
from battsim.solvers.integrate import consistent_start, integrate
from battsim.solvers.stepping import IntegrationSettings, Limits

START = {"half": (0.27,), "full": (29866.0 / 33133.0, 17038.0 / 63104.0)}
"""Stoichiometries; those of the full cell are the initial over the largest concentrations of PyBaMM's Chen2020."""


def chen2020(cell, grid=(40, 20, 40, 40)):
    """The LG M50 cell of Chen et al. (2020), or its cathode opposite lithium, on a grid as `P2DGrid` takes it."""
    positive = PorousElectrode(
        active_material("nmc811-chen2020"), 75.6e-6, 0.335, 0.335**1.5, 0.665, (Particles(5.22e-6),), 0.18
    )
    negative = PorousElectrode(
        active_material("graphite-chen2020"), 85.2e-6, 0.25, 0.25**1.5, 0.75, (Particles(5.86e-6),), 215.0
    )
    counter = counter_electrode("lithium-xu2019") if cell == "half" else None
    materials = CellMaterials(electrolyte("lipf6-chen2020"), counter, 298.15, 1000.0)
    separator = PorousSeparator(12e-6, 0.47, 0.47**1.5)
    parameters = P2DParameters(positive, separator, materials, negative if cell == "full" else None)
    return P2DCell(parameters, P2DGrid(*grid))


def discharged(cell, current, cutoff, tolerance):
    """Times (s) and voltages (V) of a discharge at a current density (A/m2) to a voltage (V)."""
    transient, control = CellTransient(cell, current), Control("current", current)
    linear = ParticleElimination(cell.network, cell.layout, cell.materials.salt)
    settings = IntegrationSettings(tolerance=tolerance, first_step=0.1 / current, smallest_step=1e-7)
    start = START["full" if len(cell.electrodes) > 1 else "half"]
    u, reference = cell.uniform_state(*start)
    u, reference, _ = consistent_start(transient, linear, control, settings, u, reference)
    curve = [(0.0, transient.voltage(u, reference))]
    for step in integrate(transient, linear, control, Limits(voltage=cutoff), settings, (0.0, u, reference)):
        curve.append((step.time, transient.voltage(step.u, step.reference)))
    return tuple(np.array(curve).T)
