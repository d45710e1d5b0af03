"""Inexact Newton with a line search; one norm serves the forcing, the line search and the stopping test.

Eisenstat and Walker, SIAM J. Sci. Comput. 17 (1996) 16-32, choice 2, sets how exactly each linear system is solved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from battsim.fvm.blocks import BlockJacobian

Floats = NDArray[np.float64]

EXACT = 1e-3
"""Share of the tolerance below which a guess needs no correction at all, such as a cell at rest."""
GAINED = 0.1
"""Share of the first norm that shows, when patience ends, that the iteration gets somewhere."""


class HasResidual(Protocol):
    """What an evaluation must hold."""

    @property
    def residual(self) -> Floats:
        """Residual, shape (n,)."""
        ...


E = TypeVar("E", bound=HasResidual)


class NewtonProblem(Protocol[E]):
    """A non-linear system; its norm is 1 at the scale of the problem."""

    def evaluate(self, u: Floats) -> E:
        """Residual and what the Jacobian needs."""
        ...

    def jacobian(self, evaluation: E) -> BlockJacobian:
        """Derivative of the residual."""
        ...

    def norm(self, residual: Floats) -> float:
        """Size of a residual relative to the problem's scale."""
        ...

    def imbalance(self, residual: Floats) -> float:
        """Largest violated conservation sum relative to the problem's scale."""
        ...

    def step_limit(self, u: Floats, du: Floats) -> float:
        """Largest share of the step du that keeps the state admissible, in (0, 1]."""
        ...


class LinearSolver(Protocol):
    """Solves J du = rhs to a relative residual."""

    def solve(self, jacobian: BlockJacobian, rhs: Floats, rtol: float) -> tuple[Floats, int, bool]:
        """The correction, its iteration count, and whether the tolerance was met."""
        ...


@dataclass(frozen=True, slots=True)
class NewtonSettings:
    """Tolerances of the Newton iteration.

    Attributes
    ----------
    rtol
        Norm of the residual at convergence.
    balance
        Largest conservation sum at convergence.
    max_iterations
        Newton iterations before giving up.
    loosest, tightest
        Range of the relative tolerance of the linear solves.
    patience
        Iterations after which a norm that has not come down to GAINED of the first one ends the attempt: for problems
        that can be posed again nearer to their guess. None: all of max_iterations are spent.
    """

    rtol: float = 1e-6
    balance: float = 2e-9
    max_iterations: int = 15
    loosest: float = 0.1
    tightest: float = 1e-9
    patience: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NewtonResult(Generic[E]):
    """The state, its evaluation and how it was reached; `status` says what went wrong where not converged."""

    u: Floats
    evaluation: E
    converged: bool
    status: str
    iterations: int
    linear_iterations: int
    norm: float


@runtime_checkable
class RootFinder(Protocol[E]):
    """What may stand in Newton's place: another engine that solves the problem by equations of its own."""

    def root(self, problem: Any, u: Floats, settings: NewtonSettings) -> NewtonResult[E]:
        """Root of a problem from the guess u; never raises for non-convergence."""
        ...


def find_root(
    problem: NewtonProblem[E], u: Floats, solver: LinearSolver | RootFinder[E], settings: NewtonSettings
) -> NewtonResult[E]:
    """Root of the problem from the guess u, by Newton with a linear solver, or by what stands in its place."""
    if isinstance(solver, RootFinder):
        return solver.root(problem, u, settings)
    return newton(problem, u, solver, settings)


def newton(problem: NewtonProblem[E], u: Floats, linear: LinearSolver, settings: NewtonSettings) -> NewtonResult[E]:
    """Root of the problem from the guess u; never raises for non-convergence."""
    evaluation = problem.evaluate(u)
    norm, forcing, linear_iterations = problem.norm(evaluation.residual), settings.loosest, 0
    first_norm = norm
    status = "converged"
    for iteration in range(settings.max_iterations + 1):
        if not np.isfinite(norm):
            status = "the residual of the first guess is not finite"
            break
        imbalance = problem.imbalance(evaluation.residual)
        # a guess that only just passes still gets one correction: predictors would otherwise drift within the tolerance
        met = norm <= settings.rtol and imbalance <= settings.balance
        if met and (iteration > 0 or norm <= EXACT * settings.rtol):
            return NewtonResult(u, evaluation, True, status, iteration, linear_iterations, norm)
        if iteration == settings.patience and norm > GAINED * first_norm:
            status = f"{iteration} iterations brought the residual from {first_norm:.1e} to {norm:.1e} only"
            break
        if iteration == settings.max_iterations:
            status = f"{iteration} iterations left a residual of {norm:.1e} and an imbalance of {imbalance:.1e}"
            break
        floor = 0.5 * min(settings.rtol, settings.balance * norm / imbalance if imbalance > 0 else np.inf) / norm
        rtol = min(settings.loosest, max(forcing, floor, settings.tightest))
        du, count, solved = linear.solve(problem.jacobian(evaluation), -evaluation.residual, rtol)
        linear_iterations += count
        if not np.all(np.isfinite(du)):
            status = "the linear solver returned values that are not finite"
            break
        accepted = _line_search(problem, u, du, norm, settings)
        if isinstance(accepted, float):
            solve = "" if solved else f"; the linear solver stopped short of {rtol:.1e} after {count} iterations"
            trial = "" if np.isfinite(accepted) else ", which is not finite further on"
            status = f"no step along the Newton direction reduces the residual of {norm:.1e}{trial}{solve}"
            break
        u, evaluation, new_norm = accepted
        forcing = _forcing(forcing, new_norm / norm, settings)
        norm = new_norm
    return NewtonResult(u, evaluation, False, status, iteration, linear_iterations, norm)


def _line_search(
    problem: NewtonProblem[E], u: Floats, du: Floats, norm: float, settings: NewtonSettings
) -> tuple[Floats, E, float] | float:
    """State, evaluation and norm after a step that reduces the norm; where none does, the norm after the shortest."""
    share = problem.step_limit(u, du)
    for _ in range(8):
        trial = u + share * du
        evaluation = problem.evaluate(trial)
        new_norm = problem.norm(evaluation.residual)
        if new_norm <= norm * (1.0 - 1e-4 * share) or new_norm <= settings.rtol:
            return trial, evaluation, new_norm
        share *= 0.5
    return new_norm


def _forcing(previous: float, reduction: float, settings: NewtonSettings) -> float:
    """Relative tolerance of the next linear solve from the reduction that the last step achieved."""
    wanted = 0.9 * reduction**2
    kept = 0.9 * previous**2
    return float(min(settings.loosest, max(wanted, kept if kept > 0.1 else 0.0)))
