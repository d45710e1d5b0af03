"""Steady diffusion on a grid by conjugate gradients that stop on the energy.

    J(u) = sum over all faces of g (difference of u)^2 - 2 sum of source u

is least at the solution and conjugate gradients lower it step by step. The iteration runs in float32 on the correction
to a potential kept in float64; as soon as round-off could show, the residual is computed anew from the potential, and
the iteration goes on with its direction. Energy, residual and dissipation of the result are computed from the
potential alone, in float64, whatever the iteration believed.

Reference for replacing the residual: H. van der Vorst, Q. Ye, Residual replacement strategies for Krylov subspace
iterative methods, SIAM J. Sci. Comput. 22 (2000) 835-852.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from battsim.solvers.grid import uniform_kernels as kernels
from battsim.solvers.grid.finest import FinestLevel
from battsim.solvers.grid.problem import Double, GridProblem, half_resistance
from battsim.solvers.grid.uniform import UniformLevel, uniform_conductance
from battsim.solvers.grid.weighted import WeightedLevel
from battsim.solvers.linear import LinearStatus
from battsim.solvers.ritz import RitzValues
from battsim.threads import Team

SAFETY = 3.0
"""On the estimate of the energy's error: the Ritz value finds a small eigenvalue late. On 2031 hard images (noise,
contrasts and voxels to extremes, five tolerances each) the estimate was below the true error in 1.3 % of the runs
without it, and in 0.14 % with it."""
REPLACE = 1e-2
"""The residual is computed anew when it has fallen by this from its peak, which float32's round-off goes with."""
TRUSTED = 2.0
"""A measured residual this many times the believed one says that the direction of the iteration is lost."""
STALLS = 3
"""Measured residuals that did not fall to a half of the one before: then float64 has nothing left to gain."""
ROUND_OFF = 1e-14
"""Residual relative to what drives it at which float64 has nothing left to gain."""
LEAST = 1e-12
"""Share of the first guess's energy that counts as nothing: where nothing can flow the least energy is 0."""
Progress = Callable[[int, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class GridResult:
    """Potential on a grid and what is known of it.

    Attributes
    ----------
    status
        Why the solve ended; its value is the text.
    iterations
        Preconditioned steps.
    relative_residual
        norm(b - A u) / norm(b), recomputed; b is what fixed potentials, rises and sources drive.
    energy, dissipation
        J(u), and its sum over the faces alone; recomputed.
    error_estimate
        Estimate of (J(u) - least J) / abs(J(u)), from above; infinite where unknown.
    fluxes
        What flows in at the low and the high end of each axis with fixed potentials.
    potential
        u, shape (nx, ny, nz), NaN in insulating voxels; None where not asked for.
    setup_s, solve_s
        Time spent on the multigrid's set-up and on the iteration, s.
    """

    status: LinearStatus
    iterations: int
    relative_residual: float
    energy: float
    dissipation: float
    error_estimate: float
    fluxes: dict[int, tuple[float, float]]
    potential: NDArray[np.float64] | None
    setup_s: float
    solve_s: float

    @property
    def converged(self) -> bool:
        """Whether all tolerances were met by what was recomputed."""
        return self.status is LinearStatus.CONVERGED


def solve_grid(
    problem: GridProblem,
    *,
    tolerance: float,
    residual: float = 1.0,
    guess: Double | None = None,
    threads: int = 2,
    max_iterations: int = 200,
    potential: bool = False,
    progress: Progress | None = None,
) -> GridResult:
    """Potential whose energy is within `tolerance` of the least one.

    The energy's error is second order in that of the potential. What is first order, the relative residual and the
    imbalance of fluxes and sources, must fall below the square root of `tolerance` as well.

    Parameters
    ----------
    tolerance
        On the estimated relative error of the energy, between 0 and 1.
    residual
        On the relative residual, where the square root of `tolerance` is not enough.
    guess
        Shape (nx, ny, nz), float64. By default linear between fixed potentials that are numbers, and along rises.
    threads
        Results do not depend on their number.
    potential
        Whether to return it.
    progress
        Called with the number of steps and the estimated error.
    """
    if not 0 < tolerance < 1 or max_iterations < 1 or residual <= 0:
        raise ValueError(
            f"tolerance {tolerance} must lie in (0, 1), residual {residual} and max_iterations {max_iterations} above 0"
        )
    if guess is not None and guess.shape != problem.voxels.shape:
        raise ValueError(f"guess has shape {guess.shape}, the grid {problem.voxels.shape}")
    with Team(threads) as team:
        started = perf_counter()
        level = finest_level(problem, team)
        setup = perf_counter() - started
        iteration = _Iteration(level, guess)
        status = _iterate(iteration, tolerance, min(residual, np.sqrt(tolerance)), max_iterations, progress)
        return _result(iteration, status, setup, started, potential=potential)


def finest_level(problem: GridProblem, team: Team) -> FinestLevel:
    """Operator and preconditioner of a problem: the leaner kind where all conducting voxels and faces are alike."""
    unit = uniform_conductance(problem, team)
    return WeightedLevel(problem, team) if unit is None else UniformLevel(problem, unit, team)


class _Iteration:
    """Conjugate gradients on a grid, one step at a time; energies and norms in units of the level."""

    def __init__(self, level: FinestLevel, guess: Double | None) -> None:
        self.level = level
        self.r, self.z, self.p = level.vector(), level.vector(), level.vector()
        if guess is None:
            self.x = np.zeros(self.r.shape)
            level.run(kernels.fill, *_guess(level.problem), level.inverse, self.x)
        else:
            self.x = level.split(guess, np.float64)
            level.run(kernels.clear, level.inverse, self.x)
        self.drive = level.drive()
        if self.drive == 0:
            self.x[:] = 0.0
        # a power of two near the residuals: sources and potentials may have units that leave float32's range
        self.scale = 2.0 ** np.floor(np.log2(self.drive)) if 0 < self.drive < np.inf else 1.0
        self.norm = self._measure()
        self.energy = level.energy(self.x, self.r, self.scale)
        self.dissipation = np.inf
        self.least = LEAST * abs(self.energy)
        self.steps, self.error = 0, np.inf
        self.failure: LinearStatus | None = None
        self._ritz, self._rz = RitzValues(), 0.0
        self._peak = self._measured = self.norm
        self.stalls = 0

    @property
    def size(self) -> float:
        """What errors of the energy are relative to: the energy, unless that is nothing."""
        return max(abs(self.energy), self.least)

    def step(self) -> bool:
        """Go one step; False, with `failure` set and the potential as it was, where there is none to go."""
        level = self.level
        level.cycle(self.r, self.z)
        rz = level.dot(self.r, self.z)
        if not (np.isfinite(rz) and rz > 0):
            self.failure = LinearStatus.BREAKDOWN if np.isfinite(rz) else LinearStatus.NOT_FINITE
            return False
        beta = rz / self._rz if self._rz > 0 else 0.0
        level.turn(self.z, beta, self.p)
        curvature = level.curvature(self.p)
        if not (np.isfinite(curvature) and curvature > 0):
            self.failure = LinearStatus.BREAKDOWN if np.isfinite(curvature) else LinearStatus.NOT_FINITE
            return False
        alpha = rz / curvature
        square, total = level.advance(self.p, alpha, self.scale, self.x, self.r)
        self.norm, self.imbalance = self.scale * np.sqrt(square), abs(self.scale * total)
        self._rz = rz
        self.steps += 1
        self._ritz.add(alpha, beta)
        unscaled = self.scale**2
        decrement = unscaled * alpha * rz
        self.energy -= decrement
        # the bound on the error before this step, less what the step has gained
        self.error = max(SAFETY * unscaled * rz / self._ritz.theta() - decrement, 0.0)
        self._peak = max(self._peak, self.norm)
        if self.norm < REPLACE * self._peak:
            self._replace()
        return True

    def measure_error(self) -> None:
        """Bring `error` up to the last step, for one more cycle."""
        self.level.cycle(self.r, self.z)
        self.error = SAFETY * abs(self.scale**2 * self.level.dot(self.r, self.z)) / self._ritz.theta()

    def recompute(self) -> None:
        """Residual and energy from the potential alone."""
        self._replace()
        self.dissipation = self.level.dissipation(self.x)
        self.energy = self.dissipation - 2.0 * self.level.work(self.x)

    def _replace(self) -> None:
        """Go on with a residual computed from the potential, and afresh where it is not what the iteration believed."""
        believed, before = self.norm, self._measured
        self.norm = self._peak = self._measured = self._measure()
        if self.norm > TRUSTED * believed:
            self._rz = 0.0
        self.stalls = self.stalls + 1 if self.norm > 0.5 * before else 0

    def _measure(self) -> float:
        """Norm of the residual, computed from the potential; its sum is left in `imbalance`."""
        self.level.residual(self.x, self.r, self.scale)
        square, total = self.level.sums(self.r)
        self.imbalance = abs(self.scale * total)
        return self.scale * float(np.sqrt(square))


def _iterate(
    iteration: _Iteration, tolerance: float, residual: float, max_iterations: int, progress: Progress | None
) -> LinearStatus:
    """Step until the tolerances are met by what is recomputed from the potential; why it ended."""
    while True:
        if iteration.norm <= ROUND_OFF * iteration.drive:
            iteration.measure_error()
            iteration.recompute()
            return LinearStatus.CONVERGED
        if _fulfilled(iteration, tolerance, residual):
            iteration.recompute()
            if _fulfilled(iteration, tolerance, residual):
                return LinearStatus.CONVERGED
        if iteration.stalls >= STALLS or iteration.steps >= max_iterations or not iteration.step():
            iteration.recompute()
            return iteration.failure or (
                LinearStatus.STAGNATION if iteration.steps < max_iterations else LinearStatus.ITERATIONS
            )
        if progress is not None:
            progress(iteration.steps, iteration.error / iteration.size if iteration.size > 0 else np.inf)


def _fulfilled(iteration: _Iteration, tolerance: float, residual: float) -> bool:
    if iteration.norm > residual * iteration.drive:
        return False
    if abs(iteration.energy) + iteration.error <= iteration.least:
        return True
    balanced = iteration.imbalance * _span(iteration.level) <= np.sqrt(tolerance) * iteration.size
    return balanced and iteration.error <= tolerance * iteration.size


def _result(
    iteration: _Iteration, status: LinearStatus, setup: float, started: float, *, potential: bool
) -> GridResult:
    """What the iteration came to; its numbers are recomputed."""
    level = iteration.level
    flux = [level.unit * level.flux(end, iteration.x) for end in level.ends]
    axes = [end.axis for end in level.ends[::2]]
    field = None
    if potential:
        field = level.joined(iteration.x)
        field[np.isinf(half_resistance(level.problem.voxels, level.problem.half_resistance))] = np.nan
    size = iteration.size
    return GridResult(
        status=status,
        iterations=iteration.steps,
        relative_residual=iteration.norm / iteration.drive if iteration.drive > 0 else 0.0,
        energy=level.unit * iteration.energy,
        dissipation=level.unit * iteration.dissipation,
        error_estimate=iteration.error / size if size > 0 else (0.0 if iteration.drive == 0 else np.inf),
        fluxes={axis: (flux[2 * k], flux[2 * k + 1]) for k, axis in enumerate(axes)},
        potential=field,
        setup_s=setup,
        solve_s=perf_counter() - started - setup,
    )


def _span(level: FinestLevel) -> float:
    """Largest difference of fixed potentials: what an imbalance of fluxes may cost in energy."""
    values = [end.value for end in level.ends]
    return max(map(np.max, values)) - min(map(np.min, values)) if values else 0.0


def _guess(problem: GridProblem) -> tuple[Double, Double, Double]:
    """Terms along x, y, z whose sum is the first potential: what rises, and lines between fixed numbers.

    Zero where fixed potentials vary over an end.
    """
    pairs = [pair for pair in problem.ends if not isinstance(pair, str)]
    if any(np.ndim(fixed.value) > 0 for pair in pairs for fixed in pair):
        x, y, z = (np.zeros(n) for n in problem.voxels.shape)
        return x, y, z
    x, y, z = (_line(problem, axis) for axis in range(3))
    return x, y, z


def _line(problem: GridProblem, axis: int) -> Double:
    """What one axis adds to the first potential, shape (n,)."""
    n, pair = problem.voxels.shape[axis], problem.ends[axis]
    here = np.arange(n) + 0.5
    if isinstance(pair, str):
        rising: Double = problem.rise[axis] * here / n
        return rising
    before, behind = (0.5 if fixed.conductance is None else 1.0 for fixed in pair)
    share = (here - 0.5 + before) / (n - 1 + before + behind)
    low, high = (float(np.asarray(fixed.value)) for fixed in pair)
    line: Double = low + share * (high - low)
    return line
