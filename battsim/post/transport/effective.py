"""Effective transport through an image: tortuosity, effective diffusivity and conductivity, percolation.

With unit difference between two opposite ends at distance L, each of area A, and the flux F that passes,

    D_eff = F L / (A D_bulk),    tau = eps / D_eff,    eps = sum over conducting phases of porosity * volume fraction.

tau is the tortuosity factor; some authors call its square root tortuosity. F is the least energy of the
steady diffusion problem, so that a solution of limited accuracy gives a D_eff that is too large, never too small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from battsim.errors import CaseError, NotConvergedError
from battsim.models.diffusion import Length
from battsim.post.transport.conductor import Conductivity, Conductor, Floats, conductor
from battsim.post.transport.grid import (
    Sides,
    end_conductance,
    grid_problem,
    natural,
    refuse_too_large,
    with_idle_clusters,
)
from battsim.post.transport.matrix import Preconditioned, solve_by_matrix
from battsim.post.transport.settings import check_numbers
from battsim.solvers.grid.problem import half_resistance
from battsim.solvers.grid.solve import solve_grid
from battsim.solvers.linear import LinearStatus
from meshing.connect import conducting
from meshing.image import AXES, Axis, VoxelImage

Solver = Literal["grid", "aggregation", "amg"]
Progress = Callable[[int, float], None]


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
    labelling_s, setup_s
        Of these, finding what percolates, and building the solver's levels.
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
    labelling_s: float = 0.0
    setup_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Transport:
    """Transport along one axis, and the potential behind it.

    potential: shape (nx, ny, nz), 1 at the low end to 0 at the high end; NaN in insulating voxels and in clusters that
    meet neither end; None where not asked for, or where nothing percolates.
    """

    direction: Direction
    potential: Floats | None


def effective_transport(
    image: VoxelImage,
    conductivity: Conductivity,
    *,
    axis: Axis,
    porosity: Mapping[str, float] | None = None,
    bulk: float = 1.0,
    length: Length = "outer",
    sides: Sides = "no-flux",
    tolerance: float = 1e-4,
    threads: int = 2,
    solver: Solver = "grid",
    progress: Progress | None = None,
) -> Direction:
    """Effective transport of any set of conducting phases along one axis.

    Ionic: `conductivity={"pore": 1.0, "binder": 0.125}, porosity={"binder": 0.5}`; electronic:
    `conductivity={"active": 0.18, "binder": 100.0}, bulk=100.0`, in S/m.

    Parameters
    ----------
    image
        Segmented image; anisotropic voxels are welcome.
    conductivity
        By phase name, 0 or more, in the unit of `bulk`; phases not named insulate. Or of each voxel, shape
        (nx, ny, nz), floating-point.
    axis
        From which end to which the flux goes.
    porosity
        By phase name, in (0, 1]: share of the phase that counts in eps; 1 where not named.
    bulk
        Conductivity that `D_eff` and `tau` refer to: 1 for relative conductivities, else in their unit.
    length
        "outer": fixed values on the outer faces, over the full length; "centres": in the centres of the end layers,
        over one voxel less.
    sides
        "no-flux": the other four sides let nothing through; "periodic": opposite ones meet.
    tolerance
        On the estimated relative error of D_eff.
    threads
        Results do not depend on their number.
    solver
        "grid": matrix-free multigrid on the voxels. As second opinions on an assembled matrix, without periodic sides:
        "aggregation", the same idea, and "amg", pyamg's Ruge-Stueben.
    progress
        Called with the number of steps and the estimated error; of "grid" alone.

    Raises
    ------
    CaseError
        Where a phase, conductivity, porosity, axis, tolerance or combination of settings is not allowed.
    ResourceError
        Where memory does not suffice; found before it is taken.
    NotConvergedError
        Where the residual, balance or error check failed.
    """
    return solve_transport(
        image,
        conductivity,
        axis=axis,
        porosity=porosity,
        bulk=bulk,
        length=length,
        sides=sides,
        tolerance=tolerance,
        threads=threads,
        solver=solver,
        progress=progress,
        potential=False,
    ).direction


def solve_transport(
    image: VoxelImage,
    conductivity: Conductivity,
    *,
    axis: Axis,
    porosity: Mapping[str, float] | None = None,
    bulk: float = 1.0,
    length: Length = "outer",
    sides: Sides = "no-flux",
    tolerance: float = 1e-4,
    threads: int = 2,
    solver: Solver = "grid",
    progress: Progress | None = None,
    potential: bool = True,
) -> Transport:
    """As `effective_transport`, with the potential."""
    started = perf_counter()
    what = conductor(image, conductivity, porosity)
    _check_settings(image, axis, bulk, length, sides, tolerance, threads, solver)
    a = AXES.index(axis)
    periodic = _periodic(sides, a)
    found = conducting(what.voxels, what.conducts, axis=a, how="all", periodic=periodic, threads=threads)
    labelled = perf_counter()
    if not found.meeting.any():
        none = Direction(None, None, 0.0, False, 0.0, 0.0, 0.0, 0.0, 0, perf_counter() - started, labelled - started)
        return Transport(none, None)
    scale = _length_over_area(image, axis, length) / bulk
    if solver == "grid":
        solved = _by_grid(what, found.meets, a, length, sides, tolerance, threads, progress, potential)
    else:
        if what.conductivity is None:
            raise CaseError(
                f"solver = '{solver}' takes conductivities by phase; use solver = 'grid' for those by voxel"
            )
        solved = _by_matrix(what, image, axis, length, tolerance, solver, potential)
    _check_result(solved, axis, tolerance)
    field = solved.potential
    if field is not None and solver == "grid":
        field = with_idle_clusters(field, what, a, length, periodic)
    D_eff = float(solved.energy * scale)
    direction = Direction(
        tau=float(what.weight @ found.voxels) / image.labels.size / D_eff,
        tau_percolating=float(what.weight @ found.meeting) / image.labels.size / D_eff,
        D_eff=D_eff,
        percolates=True,
        percolating_fraction=float(found.meeting.sum() / found.voxels.sum()),
        flux_imbalance=float(solved.imbalance),
        residual=float(solved.residual),
        error_estimate=float(solved.error_estimate),
        iterations=solved.iterations,
        wall_s=perf_counter() - started,
        labelling_s=labelled - started,
        setup_s=solved.setup_s,
    )
    return Transport(direction, field)


def tortuosity(
    image: VoxelImage | ArrayLike,
    axis: Axis = "x",
    *,
    phase: str | int | None = None,
    voxel_size: float | tuple[float, float, float] = 1.0,
    length: Length = "outer",
    sides: Sides = "no-flux",
    tolerance: float = 1e-4,
    threads: int = 2,
) -> Direction:
    """Tortuosity factor of one phase along one axis.

    Parameters
    ----------
    image
        A VoxelImage, or an array with three axes of bool or numbers.
    axis
        "x", "y" or "z": array axis 0, 1 or 2.
    phase
        The phase that conducts: a name of the VoxelImage, or a value of the array. By default "pore", or True.
    voxel_size
        Edge lengths of an array's voxels; only their ratios matter.
    length, sides, tolerance, threads
        As in `effective_transport`.

    Returns
    -------
    Direction
        With `tau`, `D_eff`, `percolates` and the checks behind them.

    Raises
    ------
    CaseError, ResourceError, NotConvergedError
        As `effective_transport`.

    Examples
    --------
    >>> import numpy as np
    >>> from battsim.post.transport.effective import tortuosity
    >>> channel = np.zeros((8, 5, 5), bool)
    >>> channel[:, 2, 2] = True
    >>> round(tortuosity(channel, "x").tau, 12)
    1.0
    """
    settings: dict[str, Any] = {
        "axis": axis,
        "length": length,
        "sides": sides,
        "tolerance": tolerance,
        "threads": threads,
    }
    if isinstance(image, VoxelImage):
        name = "pore" if phase is None else phase
        if not isinstance(name, str):
            raise CaseError(f"phase = {name}: this image names its phases; choose from {', '.join(image.phases)}")
        return effective_transport(image, {name: 1.0}, **settings)
    return effective_transport(_two_phases(np.asarray(image), phase, voxel_size), {"conducting": 1.0}, **settings)


@dataclass(frozen=True, slots=True, eq=False)
class _Solved:
    """What either solver found; the potential in the image's own axes."""

    energy: float
    imbalance: float
    residual: float
    error_estimate: float
    iterations: int
    status: LinearStatus
    setup_s: float
    potential: Floats | None


def _by_grid(
    what: Conductor,
    kept: NDArray[np.bool_],
    axis: int,
    length: Length,
    sides: Sides,
    tolerance: float,
    threads: int,
    progress: Progress | None,
    potential: bool,
) -> _Solved:
    asked = {"potential": potential, "periodic": sides == "periodic"}
    refuse_too_large(kept.shape, int(np.count_nonzero(kept)), alike=what.alike, **asked)
    if length == "centres" and kept.shape[axis] == 2:
        return _two_layers(what, axis)
    problem = grid_problem(what, kept, axis, length, sides)
    result = solve_grid(problem, tolerance=tolerance, threads=threads, progress=progress, potential=potential)
    low, high = result.fluxes[0]
    return _Solved(
        energy=result.energy,
        imbalance=abs(low + high) / result.energy if result.energy > 0 else np.inf,
        residual=result.relative_residual,
        error_estimate=result.error_estimate,
        iterations=result.iterations,
        status=result.status,
        setup_s=result.setup_s,
        potential=None if result.potential is None else natural(result.potential, kept.shape, axis),
    )


def _two_layers(what: Conductor, axis: int) -> _Solved:
    """Two layers whose centres hold the fixed values: nothing is unknown, and the flux is that of their faces."""
    table = None if what.conductivity is None else half_resistance(what.conductivity, None)
    size = what.voxel_size
    layers = np.moveaxis(what.voxels, axis, 0)
    energy = float(end_conductance(layers, table, float(np.prod(size) / size[axis] ** 2)).sum())
    empty = np.zeros([0 if a == axis else n for a, n in enumerate(what.voxels.shape)])
    return _Solved(energy, 0.0, 0.0, 0.0, 0, LinearStatus.CONVERGED, 0.0, empty)


def _by_matrix(
    what: Conductor,
    image: VoxelImage,
    axis: Axis,
    length: Length,
    tolerance: float,
    solver: Preconditioned,
    potential: bool,
) -> _Solved:
    assert what.conductivity is not None
    k = what.conductivity[: len(image.phases)]
    result, imbalance, field = solve_by_matrix(image, k, axis, length, tolerance, solver, potential=potential)
    return _Solved(
        energy=result.energy,
        imbalance=imbalance,
        residual=result.relative_residual,
        error_estimate=result.error_estimate,
        iterations=result.iterations,
        status=result.status,
        setup_s=0.0,
        potential=field,
    )


def _two_phases(
    array: NDArray[Any], phase: str | int | None, voxel_size: float | tuple[float, float, float]
) -> VoxelImage:
    if array.dtype.kind not in "biuf" or array.ndim != 3:
        raise CaseError(
            f"the image is an array of {array.dtype} with {array.ndim} axes; give bool or numbers on three axes"
        )
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise CaseError("the image holds NaN; segment it, or replace NaN by a label of its own")
    if isinstance(phase, str):
        raise CaseError(f"phase = '{phase}': an array has values, no names; give one of them, such as phase=0")
    if phase is None and array.dtype.kind != "b":
        raise CaseError(f"phase: say which of the values {_shown(array)} conducts, such as phase=0")
    value = True if phase is None else phase
    mask = array == value
    if not mask.any() and array.dtype.kind != "b":
        raise CaseError(f"phase = {value}: no voxel has this value; the array holds {_shown(array)}")
    if np.size(voxel_size) not in (1, 3):
        raise CaseError(f"voxel_size = {voxel_size}; give one edge length, or three along x, y, z")
    hx, hy, hz = (float(h) for h in np.broadcast_to(voxel_size, 3))
    return VoxelImage(mask.view(np.uint8), (hx, hy, hz), ("insulating", "conducting"))


def _shown(array: NDArray[Any]) -> str:
    values = np.unique(array)
    return ", ".join(str(value) for value in values[:8]) + (", ..." if values.size > 8 else "")


def _periodic(sides: Sides, axis: int) -> tuple[bool, bool, bool]:
    x, y, z = (sides == "periodic" and a != axis for a in range(3))
    return x, y, z


def _check_settings(
    image: VoxelImage, axis: str, bulk: float, length: str, sides: str, tolerance: float, threads: int, solver: str
) -> None:
    if axis not in AXES:
        raise CaseError(f"axis = '{axis}' is no axis; choose from x, y, z")
    check_numbers(bulk, tolerance, threads)
    if solver not in get_args(Solver):
        raise CaseError(f"solver = '{solver}'; choose from {', '.join(get_args(Solver))}")
    if length not in get_args(Length):
        raise CaseError(f"transport.length = '{length}'; choose 'outer' or 'centres'")
    if sides not in get_args(Sides):
        raise CaseError(f"transport.sides = '{sides}'; choose 'no-flux' or 'periodic'")
    if solver != "grid" and sides == "periodic":
        raise CaseError(f"solver = '{solver}' has no periodic sides; use solver = 'grid', or sides = 'no-flux'")
    if image.shape[AXES.index(axis)] == 1:
        raise CaseError(
            f"transport along {axis}: the image of {' x '.join(map(str, image.shape))} voxels has one voxel there, "
            "which lets no path be crooked; choose another axis, or an image that is longer there"
        )


def _length_over_area(image: VoxelImage, axis: Axis, length: Length) -> float:
    """Distance between the fixed values over the cross-section, 1/m."""
    k = AXES.index(axis)
    voxels = image.shape[k] - (1 if length == "centres" else 0)
    area = np.prod([n * h for a, (n, h) in enumerate(zip(image.shape, image.voxel_size, strict=True)) if a != k])
    return float(voxels * image.voxel_size[k] / area)


def _check_result(solved: _Solved, axis: Axis, tolerance: float) -> None:
    """Raise unless status and balance bear the number out.

    The solve already held the balance below sqrt(tolerance) by its own residual; twice that allows for round-off.
    """
    if solved.status is LinearStatus.CONVERGED and solved.imbalance <= 2.0 * np.sqrt(tolerance):
        return
    raise NotConvergedError(
        f"transport along {axis} did not reach tolerance = {tolerance}: {solved.status.value}; after "
        f"{solved.iterations} steps the relative residual is {solved.residual:.1e}, the flux imbalance "
        f"{solved.imbalance:.1e} and the estimated error {solved.error_estimate:.1e}. Raise the tolerance, or "
        f"try solver = 'amg'"
    )
