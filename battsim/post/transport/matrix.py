"""Steady diffusion along one axis of an image with an assembled matrix: the second opinion on the grid's solver."""

from __future__ import annotations

from typing import Literal

import numpy as np

from battsim.models.diffusion import Length, SteadyDiffusion, diffusion_on_image
from battsim.post.transport.conductor import Floats
from battsim.solvers.linear import (
    EnergyResult,
    LinearStatus,
    Preconditioner,
    aggregation_cycle,
    minimise_energy,
    pyamg_cycle,
)
from meshing.image import AXES, Axis, VoxelImage

Preconditioned = Literal["aggregation", "amg"]


def solve_by_matrix(
    image: VoxelImage,
    conductivity: Floats,
    axis: Axis,
    length: Length,
    tolerance: float,
    solver: Preconditioned,
    *,
    potential: bool = False,
) -> tuple[EnergyResult, float, Floats | None]:
    """Energy with its checks, the imbalance of fluxes over the flux, and the potential where asked for.

    conductivity: of each phase, shape (n_phases,). potential: shape (nx, ny, nz), NaN where there is no path to an end.
    """
    problem = diffusion_on_image(image, conductivity, axis=axis, length=length)
    result = _solve(problem, tolerance, solver)
    difference = abs(problem.flux_in(result.x) - problem.flux_out(result.x))
    imbalance = difference / result.energy if result.energy > 0 else np.inf
    return result, imbalance, _field(problem, result, image, conductivity, axis, length) if potential else None


def _solve(problem: SteadyDiffusion, tolerance: float, solver: Preconditioned) -> EnergyResult:
    if problem.cells.size == 0:  # "centres" on two layers: nothing is unknown
        return EnergyResult(np.zeros(0), LinearStatus.CONVERGED, 0, 0.0, problem.constant, 0.0)
    return minimise_energy(
        problem.matrix,
        problem.low,
        problem.constant,
        _preconditioner(problem, solver),
        tolerance=tolerance,
        x0=problem.guess,
    )


def _preconditioner(problem: SteadyDiffusion, solver: Preconditioned) -> Preconditioner:
    if solver == "aggregation":
        return aggregation_cycle(problem.matrix, problem.position)
    cycle = pyamg_cycle(problem.matrix, solver)
    assert cycle is not None, "every cluster meets a fixed value, so the matrix is positive definite"
    return cycle


def _field(
    problem: SteadyDiffusion, result: EnergyResult, image: VoxelImage, conductivity: Floats, axis: Axis, length: Length
) -> Floats:
    a = AXES.index(axis)
    turned = [image.shape[a], *(n for k, n in enumerate(image.shape) if k != a)]
    field = np.full(turned, np.nan)
    field.reshape(-1)[problem.cells] = result.x
    if length == "centres":
        conducting = np.moveaxis((conductivity > 0)[image.labels], a, 0)
        field[0], field[-1] = (np.where(conducting[k], value, np.nan) for k, value in ((0, 1.0), (-1, 0.0)))
    return np.ascontiguousarray(np.moveaxis(field, 0, a))
