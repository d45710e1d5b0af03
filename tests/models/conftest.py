"""Cells, materials and a direct solver for the tests of the resolved model."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from battsim.materials.library import active_material, counter_electrode, electrolyte
from battsim.models.cell.jacobian import assembled, matrix_patterns
from battsim.models.cell.transient import CellTransient, Control
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.parameters import Binder, HalfCellParameters, IonicPhase
from battsim.solvers.integrate import IntegrationSettings, Limits, consistent_start, integrate
from battsim.solvers.newton import NewtonSettings
from battsim.threads import ALONE
from meshing.image import VoxelImage
from meshing.voxel import voxel_mesh

PHASES = ("pore", "active", "binder", "ignored")


class DirectSolver:
    """Sparse LU of the whole Jacobian, in scaled columns: the linear solves are then not what is tested."""

    def __init__(self, cell):
        self.cell = cell
        self.patterns = matrix_patterns(cell.network, cell.layout)

    def solve(self, jacobian, rhs, rtol):  # noqa: ARG002 (the signature of LinearSolver)
        n, jacobian = len(jacobian.slices), assembled(jacobian, self.patterns)
        grid = [[jacobian.blocks.get((row, column)) for column in range(n)] for row in range(n)]
        scale = np.ones(rhs.size)
        scale[self.cell.layout.c_e] = self.cell.parameters.salt
        matrix = sp.block_array(grid, format="csc") @ sp.diags_array(scale, format="csc")
        return scale * splu(matrix.tocsc()).solve(rhs), 1, True


def varying(value, slope):
    """D(x) = value exp(slope x) and its derivative."""

    def closure(x, T):  # noqa: ARG001 (the signature of a closure)
        D = value * np.exp(slope * np.asarray(x, dtype=float))
        return D, slope * D

    return closure


def make_active(**changes):
    return replace(active_material("nmc532-mohtat2020"), **changes)


def make_parameters(active=None, salt="lipf6-nyman2008", separator=(0.47, 0.3), **binder):
    return HalfCellParameters(
        active or make_active(),
        electrolyte(salt) if isinstance(salt, str) else salt,
        counter_electrode("lithium-xu2019"),
        Binder(**binder),
        IonicPhase(*separator),
        298.15,
        1000.0,
    )


def make_cell(labels, parameters=None, h=1e-6, layers=(3e-6, 2e-6, 1e-6), team=ALONE):
    labels = np.asarray(labels, np.uint8)
    mesh = voxel_mesh(VoxelImage(labels, (h, h, h), PHASES), layers=layers, inside="active")
    return HalfCell(mesh, parameters or make_parameters(), team)


def matrices(cell, evaluation):
    """The Jacobian by blocks, as matrices."""
    return assembled(cell.jacobian(evaluation), matrix_patterns(cell.network, cell.layout))


def random_labels(shape=(6, 4, 4), seed=0, shares=(0.4, 0.45, 0.15)):
    labels = np.random.default_rng(seed).choice(3, shape, p=shares)
    labels[-1] = 1  # the collector touches active material
    return labels


@dataclass
class Run:
    """A started cell and the steps that it took."""

    cell: HalfCell
    transient: CellTransient
    start: tuple
    steps: list

    @property
    def last(self):
        return self.steps[-1]

    def voltage(self, step=None):
        step = step or self.last
        return self.transient.voltage(step.u, step.reference)


def settings_of(tolerance=1e-3, rtol=1e-9, balance=1e-9, **changes):
    # the round-off of x c_max V / dt is 2e-16 of the capacity per step, against the current: 1e-10 for 1C and 10 ms
    newton = NewtonSettings(rtol=rtol, balance=balance)
    return IntegrationSettings(tolerance=tolerance, newton=newton, **changes)


def discharge(cell, current, x0=None, limits=None, settings=None, linear=None, state=None, scale=None):
    """Steps of a stretch at constant current, from rest at x0 or from a state (u, reference)."""
    settings = settings or settings_of()
    linear = linear or DirectSolver(cell)
    transient = CellTransient(cell, scale or abs(current))
    control = Control("current", current)
    x0 = cell.parameters.active.stoichiometry_soc100 if x0 is None else x0
    u, reference = state or cell.uniform_state(x0)
    u, reference, evaluation = consistent_start(transient, linear, control, settings, u, reference)
    steps = list(integrate(transient, linear, control, limits or Limits(), settings, (0.0, u, reference)))
    return Run(cell, transient, (u, reference, evaluation), steps)


def fixed_steps(dt, rtol=1e-9):
    """Settings under which every step is dt long, the first included."""
    return settings_of(tolerance=1e9, rtol=rtol, first_step=dt, largest_step=dt, smallest_step=1e-3 * dt)


@pytest.fixture(scope="session")
def resolved():
    """What the tests of the resolved model share."""
    return SimpleNamespace(
        DirectSolver=DirectSolver,
        varying=varying,
        make_active=make_active,
        make_parameters=make_parameters,
        make_cell=make_cell,
        matrices=matrices,
        random_labels=random_labels,
        settings_of=settings_of,
        discharge=discharge,
        fixed_steps=fixed_steps,
        limits=Limits,
        phases=PHASES,
    )
