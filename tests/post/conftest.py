"""Half cells on small images for the tests of what is made of a solution."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from battsim.materials.library import active_material, counter_electrode, electrolyte
from battsim.models.cell.transient import CellTransient, Control
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.parameters import Binder, HalfCellParameters, IonicPhase
from battsim.solvers.block import BlockSolver
from battsim.solvers.integrate import IntegrationSettings, Limits, consistent_start, integrate
from battsim.solvers.newton import NewtonSettings
from meshing.image import VoxelImage
from meshing.voxel import voxel_mesh

NEWTON = NewtonSettings(rtol=1e-8, balance=1e-10)
"""Sums of the residual over the current: what the tests' own tolerances rest on."""
PHASES = ("pore", "active", "binder")


def make_parameters(active=None, **binder):
    return HalfCellParameters(
        active or active_material("nmc532-mohtat2020"),
        electrolyte("lipf6-nyman2008"),
        counter_electrode("lithium-xu2019"),
        Binder(**binder),
        IonicPhase(0.47, 0.3),
        298.15,
        1000.0,
    )


def make_active(**changes):
    return replace(active_material("nmc532-mohtat2020"), **changes)


def make_cell(labels, parameters=None, h=1e-6):
    """Cell, mesh and image, with three separator layers of 6 um together."""
    image = VoxelImage(np.asarray(labels, np.uint8), (h, h, h), PHASES)
    mesh = voxel_mesh(image, layers=(3e-6, 2e-6, 1e-6), inside="active")
    return HalfCell(mesh, parameters or make_parameters()), mesh, image


def random_labels(shape=(6, 4, 4), seed=0):
    """A third of each phase, so that some cells are cut off; the collector touches active material."""
    labels = np.random.default_rng(seed).choice(3, shape, p=(0.4, 0.45, 0.15))
    labels[-1] = 1
    return labels


def started(cell, current, state=None):
    """State, reference and evaluation of a consistent start at a current, and what steps from there need."""
    transient = CellTransient(cell, abs(current) or cell.capacity / 3600.0)
    linear, settings = BlockSolver(cell.networks, (2, 0, 1)), IntegrationSettings(tolerance=3e-3, newton=NEWTON)
    u, reference = state or cell.uniform_state(0.3)
    u, reference, e = consistent_start(transient, linear, Control("current", current), settings, u, reference)
    return SimpleNamespace(
        u=u, reference=reference, evaluation=e, transient=transient, linear=linear, settings=settings, current=current
    )


def steps(start, **limits):
    """Steps from a consistent start."""
    control, state = Control("current", start.current), (0.0, start.u, start.reference)
    return integrate(start.transient, start.linear, control, Limits(**limits), start.settings, state)


@pytest.fixture(scope="session")
def half_cell():
    """What the tests of this folder share."""
    return SimpleNamespace(
        make_parameters=make_parameters,
        make_active=make_active,
        make_cell=make_cell,
        random_labels=random_labels,
        started=started,
        steps=steps,
    )
