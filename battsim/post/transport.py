"""Effective transport through an image: tortuosity, effective diffusivity and conductivity, percolation.

With unit difference between two opposite ends at distance L, each of area A, and the flux F that passes,

    D_eff = F L / (A D_bulk),    tau = eps / D_eff,    eps = sum over conducting phases of porosity * volume fraction.

tau is the tortuosity factor; some authors call its square root tortuosity. F is the least energy of the
steady diffusion problem, so that a solution of limited accuracy gives a D_eff that is too large, never too small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from battsim.errors import CaseError, NotConvergedError
from battsim.models.diffusion import Floats, Length, SteadyDiffusion, diffusion_on_image
from battsim.solvers.linear import (
    EnergyResult,
    LinearStatus,
    Preconditioner,
    aggregation_cycle,
    minimise_energy,
    pyamg_cycle,
)
from meshing.image import AXES, Axis, VoxelImage

Solver = Literal["aggregation", "amg"]


@dataclass(frozen=True, slots=True)
class Direction:
    """Transport along one axis. No number stands here whose residual, balance or error check failed.

    Attributes
    ----------
    tau
        Tortuosity factor with the porosity of the whole phase; None where nothing percolates.
    tau_percolating
        The same with the porosity of the percolating part.
    D_eff
        Effective over bulk diffusivity or conductivity; 0 where nothing percolates.
    percolates
        Whether a cluster of conducting voxels joins both ends.
    percolating_fraction
        Share of the conducting voxels that belongs to such clusters.
    flux_imbalance
        abs(inlet - outlet flux) / flux. First order in the potential's error, where D_eff is second order.
    residual
        Relative residual of the linear system, recomputed; also first order.
    error_estimate
        Estimated relative error of D_eff from the iteration, from above; the voxels' own error is not in it.
    iterations
        Steps of the solver.
    wall_s
        Time from image to numbers, s.
    """

    tau: float | None
    tau_percolating: float | None
    D_eff: float
    percolates: bool
    percolating_fraction: float
    flux_imbalance: float
    residual: float
    error_estimate: float
    iterations: int
    wall_s: float


def effective_transport(
    image: VoxelImage,
    conductivity: Mapping[str, float],
    *,
    axis: Axis,
    porosity: Mapping[str, float] | None = None,
    bulk: float = 1.0,
    length: Length = "outer",
    tolerance: float = 1e-4,
    solver: Solver = "aggregation",
) -> Direction:
    """Effective transport of any set of conducting phases along one axis.

    Ionic: `conductivity={"pore": 1.0, "binder": 0.125}, porosity={"binder": 0.5}`; electronic:
    `conductivity={"active": 0.18, "binder": 100.0}, bulk=100.0`, in S/m.

    Parameters
    ----------
    image
        Segmented image; anisotropic voxels are welcome.
    conductivity
        By phase name, 0 or more, in the unit of `bulk`; phases not named insulate.
    axis
        From which end to which the flux goes; the sides let none through.
    porosity
        By phase name, in (0, 1]: share of the phase that counts in eps; 1 where not named.
    bulk
        Conductivity that `D_eff` and `tau` refer to: 1 for relative conductivities, else in their unit.
    length
        "outer": fixed values on the outer faces, over the full length; "centres": in the centres of the end layers,
        over one voxel less.
    tolerance
        On the estimated relative error of D_eff.
    solver
        Preconditioner: the project's own aggregation multigrid, or pyamg's Ruge-Stueben as a second opinion.

    Raises
    ------
    CaseError
        Where a phase, conductivity, porosity, axis or tolerance is not allowed.
    NotConvergedError
        Where the residual, balance or error check failed.
    """
    started = perf_counter()
    k = _by_phase(image, conductivity)
    weight = _weights(image, k, porosity or {})
    _check_settings(image, axis, bulk, length, tolerance, solver)
    problem = diffusion_on_image(image, k, axis=axis, length=length)
    labels = np.moveaxis(image.labels, AXES.index(axis), 0).reshape(-1)
    whole = np.bincount(labels, minlength=k.size) / labels.size
    inside = np.bincount(labels[problem.percolating], minlength=k.size) / labels.size
    share = float(inside.sum() / whole[k > 0].sum()) if whole[k > 0].any() else 0.0
    if share == 0.0:
        return Direction(None, None, 0.0, False, 0.0, 0.0, 0.0, 0.0, 0, perf_counter() - started)
    result = _solve(problem, tolerance, solver)
    imbalance = _imbalance(problem, result)
    _check_result(result, imbalance, axis, tolerance)
    D_eff = result.energy * _length_over_area(image, axis, length) / bulk
    return Direction(
        tau=float(weight @ whole) / D_eff,
        tau_percolating=float(weight @ inside) / D_eff,
        D_eff=D_eff,
        percolates=True,
        percolating_fraction=share,
        flux_imbalance=imbalance,
        residual=result.relative_residual,
        error_estimate=result.error_estimate,
        iterations=result.iterations,
        wall_s=perf_counter() - started,
    )


def tortuosity(
    image: VoxelImage | ArrayLike,
    axis: Axis = "x",
    *,
    phase: str | int | None = None,
    voxel_size: float | tuple[float, float, float] = 1.0,
    length: Length = "outer",
    tolerance: float = 1e-4,
) -> Direction:
    """Tortuosity factor of one phase along one axis.

    Parameters
    ----------
    image
        A VoxelImage, or an array with three axes of bool or integers.
    axis
        "x", "y" or "z": array axis 0, 1 or 2.
    phase
        The phase that conducts: a name of the VoxelImage, or a value of the array. By default "pore", or True.
    voxel_size
        Edge lengths of an array's voxels; only their ratios matter.
    length, tolerance
        As in `effective_transport`.

    Returns
    -------
    Direction
        With `tau`, `D_eff`, `percolates` and the checks behind them.

    Raises
    ------
    CaseError, NotConvergedError
        As `effective_transport`.

    Examples
    --------
    >>> import numpy as np
    >>> from battsim.post.transport import tortuosity
    >>> channel = np.zeros((8, 5, 5), bool)
    >>> channel[:, 2, 2] = True
    >>> round(tortuosity(channel, "x").tau, 12)
    1.0
    """
    if isinstance(image, VoxelImage):
        name = "pore" if phase is None else phase
        if not isinstance(name, str):
            raise CaseError(f"phase = {name}: this image names its phases; choose from {', '.join(image.phases)}")
        return effective_transport(image, {name: 1.0}, axis=axis, length=length, tolerance=tolerance)
    binary = _two_phases(np.asarray(image), phase, voxel_size)
    return effective_transport(binary, {"conducting": 1.0}, axis=axis, length=length, tolerance=tolerance)


def _two_phases(
    array: NDArray[Any], phase: str | int | None, voxel_size: float | tuple[float, float, float]
) -> VoxelImage:
    if array.dtype.kind not in "biu" or array.ndim != 3:
        raise CaseError(
            f"the image is an array of {array.dtype} with {array.ndim} axes; give bool or integers on three axes"
        )
    if isinstance(phase, str):
        raise CaseError(f"phase = '{phase}': an array has values, no names; give one of them, such as phase=0")
    if phase is None and array.dtype.kind != "b":
        raise CaseError(f"phase: say which of the values {_shown(array)} conducts, such as phase=0")
    value = True if phase is None else phase
    mask = array == value
    if not mask.any() and array.dtype.kind != "b":
        raise CaseError(f"phase = {value}: no voxel has this value; the array holds {_shown(array)}")
    hx, hy, hz = (float(h) for h in np.broadcast_to(voxel_size, 3))
    return VoxelImage(mask.astype(np.uint8), (hx, hy, hz), ("insulating", "conducting"))


def _shown(array: NDArray[Any]) -> str:
    values = np.unique(array)
    return ", ".join(str(value) for value in values[:8]) + (", ..." if values.size > 8 else "")


def _by_phase(image: VoxelImage, conductivity: Mapping[str, float]) -> Floats:
    """Conductivity of each phase in the image's order, shape (n_phases,)."""
    k = np.zeros(len(image.phases))
    for name, value in conductivity.items():
        k[_index(image, name, "conductivity")] = value
        if not (isfinite(value) and value >= 0):
            raise CaseError(f"transport.conductivity.{name} = {value}; allowed are finite numbers of 0 or more")
    if not k.any():
        raise CaseError(
            f"transport.conductivity = {dict(conductivity)}: nothing conducts; "
            f"give at least one of {', '.join(image.phases)} a conductivity above 0"
        )
    return k


def _weights(image: VoxelImage, conductivity: Floats, porosity: Mapping[str, float]) -> Floats:
    """What a voxel of each phase counts in eps, shape (n_phases,)."""
    weight = (conductivity > 0).astype(float)
    for name, value in porosity.items():
        index = _index(image, name, "porosity")
        if not 0 < value <= 1:
            raise CaseError(f"transport.porosity.{name} = {value}; allowed are numbers above 0 and up to 1")
        if conductivity[index] == 0:
            raise CaseError(
                f"transport.porosity.{name} = {value}, but the phase does not conduct; "
                f"give it a conductivity above 0, or delete its porosity"
            )
        weight[index] = value
    return weight


def _index(image: VoxelImage, name: str, key: str) -> int:
    if name not in image.phases:
        raise CaseError(
            f"transport.{key}.{name}: the image has no phase named '{name}'; choose from {', '.join(image.phases)}"
        )
    return image.index(name)


def _check_settings(image: VoxelImage, axis: str, bulk: float, length: str, tolerance: float, solver: str) -> None:
    if axis not in AXES:
        raise CaseError(f"transport.axes: '{axis}' is no axis; choose from x, y, z")
    if not (isfinite(bulk) and bulk > 0):
        raise CaseError(f"bulk = {bulk}; the reference conductivity must be a finite number above 0")
    if solver not in get_args(Solver):
        raise CaseError(f"solver = '{solver}'; choose from {', '.join(get_args(Solver))}")
    if length not in get_args(Length):
        raise CaseError(f"transport.length = '{length}'; choose 'outer' or 'centres'")
    if length == "centres" and image.shape[AXES.index(axis)] == 1:
        raise CaseError(
            f"transport.length = 'centres', but along {axis} the image has one voxel, so that both ends coincide; "
            f"use length = 'outer' or another axis"
        )
    if not 1e-11 <= tolerance <= 0.1:
        raise CaseError(f"transport.tolerance = {tolerance}; allowed is 1e-11 (what double precision can tell) to 0.1")


def _length_over_area(image: VoxelImage, axis: Axis, length: Length) -> float:
    """Distance between the fixed values over the cross-section, 1/m."""
    k = AXES.index(axis)
    voxels = image.shape[k] - (1 if length == "centres" else 0)
    area = np.prod([n * h for a, (n, h) in enumerate(zip(image.shape, image.voxel_size, strict=True)) if a != k])
    return float(voxels * image.voxel_size[k] / area)


def _solve(problem: SteadyDiffusion, tolerance: float, solver: Solver) -> EnergyResult:
    if problem.cells.size == 0:  # "centres" on two layers: nothing is unknown
        return EnergyResult(np.zeros(0), LinearStatus.CONVERGED, 0, 0.0, problem.constant, 0.0)
    precondition = _preconditioner(problem, solver)
    return minimise_energy(
        problem.matrix, problem.low, problem.constant, precondition, tolerance=tolerance, x0=problem.guess
    )


def _preconditioner(problem: SteadyDiffusion, solver: Solver) -> Preconditioner:
    if solver == "aggregation":
        return aggregation_cycle(problem.matrix, problem.position)
    cycle = pyamg_cycle(problem.matrix, solver)
    assert cycle is not None, "every cluster meets a fixed value, so the matrix is positive definite"
    return cycle


def _imbalance(problem: SteadyDiffusion, result: EnergyResult) -> float:
    """Difference of inlet and outlet flux over the flux; infinite where the flux is no positive number."""
    difference = abs(problem.flux_in(result.x) - problem.flux_out(result.x))
    return difference / result.energy if result.energy > 0 else np.inf


def _check_result(result: EnergyResult, imbalance: float, axis: Axis, tolerance: float) -> None:
    """Raise unless status and balance bear the number out.

    The solve already held the balance below sqrt(tolerance) by its own residual; twice that allows for round-off.
    """
    if result.converged and imbalance <= 2.0 * np.sqrt(tolerance):
        return
    raise NotConvergedError(
        f"transport along {axis} did not reach tolerance = {tolerance}: {result.status.value}; after "
        f"{result.iterations} steps the relative residual is {result.relative_residual:.1e}, the flux imbalance "
        f"{imbalance:.1e} and the estimated error {result.error_estimate:.1e}. Raise transport.tolerance, or try "
        f"solver = 'amg'"
    )
