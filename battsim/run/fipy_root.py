"""The FiPy half cell in Newton's place: same problem in, same result out, its own equations in between."""

from __future__ import annotations

from typing import Protocol

from battsim.models.cell.equations import Evaluation
from battsim.models.cell.transient import Given
from battsim.models.fipy_cell.equations import FipyHalfCell
from battsim.models.fipy_cell.sweeps import Solvers, Sweeps, SweepSettings
from battsim.models.resolved.half_cell import HalfCell
from battsim.solvers.fipy_cg import DiagonalPreconditioner, MultigridPreconditioner, StrictCG
from battsim.solvers.newton import Floats, NewtonProblem, NewtonResult, NewtonSettings
from meshing.mesh import Mesh

DISAGREEMENT = 10.0
"""Newton's norm of the answer over the tolerance, past which the two engines do not solve the same equations."""


class StepProblem(NewtonProblem[Evaluation], Protocol):
    """A non-linear system that tells what it was made from."""

    @property
    def given(self) -> Given:
        """Rate, reference, control and current scale."""
        ...


def fipy_solvers() -> Solvers:
    """Multigrid for the potentials, whose conductances differ by 1e7, and for the salt; the solid needs none.

    Measured on a 40^3 crop: Ruge-Stueben takes a quarter of the iterations of smoothed aggregation for the potentials,
    and half as many again for the salt.
    """
    return Solvers(
        charge=StrictCG(MultigridPreconditioner("amg")),
        salt=StrictCG(MultigridPreconditioner("smoothed-aggregation")),
        solid=StrictCG(DiagonalPreconditioner()),
    )


class FipyRoot:
    """Finds the state of a step by sweeps over FiPy's equations, and has the Newton engine's residual check it.

    Parameters
    ----------
    mesh
        The mesh of `cell`.
    cell
        Unknowns, face lists and parameters.
    """

    def __init__(self, mesh: Mesh, cell: HalfCell) -> None:
        self._fipy, self._solvers = FipyHalfCell(mesh, cell), fipy_solvers()

    def reset(self) -> None:
        """Forget what one solve keeps for the next."""
        self._solvers = fipy_solvers()
        self._fipy.reset()

    def root(self, problem: StepProblem, u: Floats, settings: NewtonSettings) -> NewtonResult[Evaluation]:
        """State of the problem from the guess u; never raises for non-convergence. Iterations are sweeps."""
        given = problem.given
        sweeps = Sweeps(self._fipy, self._solvers, given.current_scale, SweepSettings(rtol=settings.rtol))
        swept = sweeps.step(given.rate.a, given.rate.u_star, u, given.reference, given.control)
        evaluation = problem.evaluate(swept.u)
        norm, status = problem.norm(evaluation.residual), swept.status
        if swept.converged and not norm <= DISAGREEMENT * settings.rtol:
            status = f"FiPy's equations hold, and the Newton engine's have a residual of {norm:.1e} of the current"
        return NewtonResult(
            u=swept.u,
            evaluation=evaluation,
            converged=status == "converged",
            status=status,
            iterations=swept.sweeps,
            linear_iterations=swept.linear_iterations,
            norm=norm,
        )
