"""What finds the state at the end of a step: Newton with block multigrid, or sweeps over FiPy's equations."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from battsim.case import FullCellCase, ResolvedCase
from battsim.models.cell.jacobian import CYCLES, SWEEP_ORDER
from battsim.models.p2d.elimination import ParticleElimination
from battsim.models.resolved.full_cell import FullCell
from battsim.models.resolved.half_cell import HalfCell
from battsim.solvers.block import BlockSolver
from meshing.mesh import Mesh

if TYPE_CHECKING:
    from battsim.run.fipy_root import FipyRoot

Solver: TypeAlias = "BlockSolver | ParticleElimination | FipyRoot"

LONGEST_STEP = {"newton": np.inf, "fipy": 120.0}
"""By engine, s at 1 C and inversely more at other rates; FiPy's sweeps converge slowly or not at all in longer ones."""


def solver_of(case: ResolvedCase | FullCellCase, mesh: Mesh, cell: HalfCell | FullCell) -> Solver:
    """The solver that `[model] engine` names."""
    if case.model.engine == "newton":
        return BlockSolver(cell.networks, SWEEP_ORDER, cycles=CYCLES, team=cell.team)
    assert isinstance(cell, HalfCell), "a full cell has the Newton engine alone"
    # imported here: fipy takes seconds and looks at the command line
    from battsim.run.fipy_root import FipyRoot

    return FipyRoot(mesh, cell)
