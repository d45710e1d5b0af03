"""The tortuosity factor of an electrode as impedance between blocking electrodes shows it: nothing flows through.

Ions enter at the separator and charge the double layer on the pore walls; none leave at the collector. Pores that lead
nowhere count as they do in a cell, where through-flow sees the backbone alone. At low frequency the whole wall is at
one potential but for what the electrolyte's resistance takes, so that it charges uniformly. With k the conductivity
and i = I / A_wall the current density at the wall, positive into it,

    div(k grad(phi)) = 0,    phi = 0 at the separator's end,    -k dphi/dn = i on the wall,    no flux elsewhere,
    Re Z = (integral of k grad(phi)^2) / I^2,
    tau_e = 3 Re Z eps A k_bulk / L,

3 since a straight pore whose wall charges uniformly has a third of the resistance that it has to through-flow.

The wall is where conducting voxels meet insulating ones. The sides of the image are cuts through the electrode and do
not charge, nor does the collector behind its far end. In the voxels at the wall the current goes half a voxel to each
of their faces; this is part of Re Z.

A symmetric cell of two such electrodes has them in series: twice Re Z and twice L. By symmetry phi is constant
half-way between them, so that one electrode with a fixed phi tells all, and tau_e is the same.

Reference: T.-T. Nguyen et al., The electrode tortuosity factor, npj Comput. Mater. 6 (2020) 123.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from time import perf_counter
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from battsim.errors import CaseError, ImpossibleError, NotConvergedError
from battsim.post.transport.conductor import Conductivity, Conductor, conductor
from battsim.post.transport.grid import refuse_too_large
from battsim.post.transport.settings import check_numbers
from battsim.post.transport.tensor import Grid, grid_of
from battsim.solvers.grid.problem import Fixed, GridProblem
from battsim.solvers.grid.solve import GridResult, solve_grid
from meshing.areas import face_cosines, faces_between
from meshing.connect import End, conducting
from meshing.image import AXES, Axis, VoxelImage

Double = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Side = Literal["closed", "periodic"] | tuple[Fixed, Fixed]
Ends = tuple[Side, Side, Side]
WallArea = Literal["voxel", "smooth"]


@dataclass(frozen=True, slots=True)
class BlockingElectrode:
    """What low-frequency impedance tells of an electrode. No number stands here whose residual or balance check failed.

    Attributes
    ----------
    tau_e
        Electrode tortuosity factor with the porosity of the whole phase; None where none of it meets the separator.
    tau_e_connected
        The same with the porosity of the part that is connected to the separator.
    k_eff
        L / (3 Re Z A k_bulk), effective over bulk conductivity: eps / tau_e; 0 where none of it meets the separator.
    connected_fraction
        Share of the conducting voxels that are connected to the separator; the others do not charge.
    wall_area
        Area of their wall over the volume of the image, 1/m.
    flux_imbalance
        abs(current at the separator - current at the wall) / current. First order in the potential's error.
    residual
        Relative residual of the linear system, recomputed; also first order.
    error_estimate
        Estimated relative error of Re Z from the iteration, from above; the found Re Z is too small, never too large.
        The voxels' own error is not in it.
    iterations
        Steps of the solver.
    wall_s
        Time from image to numbers, s.
    """

    tau_e: float | None
    tau_e_connected: float | None
    k_eff: float
    connected_fraction: float
    wall_area: float
    flux_imbalance: float
    residual: float
    error_estimate: float
    iterations: int
    wall_s: float


def blocking_electrode(
    image: VoxelImage,
    conductivity: Conductivity,
    *,
    axis: Axis = "x",
    separator: End = "low",
    porosity: Mapping[str, float] | None = None,
    bulk: float = 1.0,
    area: WallArea = "voxel",
    tolerance: float = 1e-4,
    threads: int = 2,
    max_iterations: int = 200,
) -> BlockingElectrode:
    """Electrode tortuosity factor and effective conductivity between blocking electrodes at low frequency.

    Parameters
    ----------
    image
        Segmented electrode; anisotropic voxels are welcome.
    conductivity
        By phase name, 0 or more, in the unit of `bulk`; phases not named insulate. Or of each voxel, shape
        (nx, ny, nz), floating-point. The surface of what insulates is the wall.
    axis, separator
        At which end the separator lies.
    porosity
        By phase name, in (0, 1]: share of the phase that counts in eps; 1 where not named.
    bulk
        Conductivity that `tau_e` and `k_eff` refer to.
    area
        How the wall's area is measured, and with it where the current ends: "voxel" takes each voxel face in full,
        "smooth" as its projection on the smoothed surface (`meshing.areas`), which is also that much nearer.
    tolerance
        On the estimated relative error of Re Z.
    threads
        Of the solver; they change no bit of the result.

    Raises
    ------
    CaseError
        Where a phase, conductivity, porosity, axis or tolerance is not allowed.
    ImpossibleError
        Where the conducting voxels at the separator have no wall to charge.
    ResourceError
        Where memory does not suffice; found before it is taken.
    NotConvergedError
        Where the residual, balance or error check failed.

    Examples
    --------
    A pore that ends half-way: half the resistance and half the volume of one that goes through.

    >>> import numpy as np
    >>> from battsim.post.transport.blocking import blocking_electrode
    >>> from meshing.image import VoxelImage
    >>> labels = np.ones((40, 3, 3), np.uint8)
    >>> labels[:20, 1, 1] = 0
    >>> pore = VoxelImage(labels, (1e-6, 1e-6, 1e-6), ("pore", "active"))
    >>> round(blocking_electrode(pore, {"pore": 1.0}).tau_e, 2)
    0.25
    """
    started = perf_counter()
    _check_settings(axis, separator, bulk, area, tolerance, threads)
    what = _turned(conductor(image, conductivity, porosity), AXES.index(axis), separator)
    found = conducting(what.voxels, what.conducts, axis=0, ends=("low",), how="any", threads=threads)
    if not found.meeting.any():
        return BlockingElectrode(None, None, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, perf_counter() - started)
    grid = grid_of(what, found.meets)
    refuse_too_large(grid.shape, int(found.meeting.sum()), alike=what.alike)
    wall = _wall(what, grid, found.meets, area)
    current = float(wall.area.sum())
    if current == 0:
        raise ImpossibleError(
            f"axis = '{axis}', separator = '{separator}': what conducts at this end meets no insulating voxel, so that "
            f"there is no wall to charge; name fewer phases in the conductivity, or take another image"
        )
    problem = _problem(grid, wall)
    result = solve_grid(problem, tolerance=tolerance, threads=threads, max_iterations=max_iterations)
    imbalance = abs(result.fluxes[0][0] - current) / current
    _check_result(result, imbalance, tolerance)
    resistance = (_half_voxels(wall) - result.energy) / current**2
    length, section = grid.shape[0] * grid.edges[0], grid.shape[1] * grid.edges[1] * grid.shape[2] * grid.edges[2]
    k_eff = length / (3.0 * resistance * section) / bulk
    voxels = what.voxels.size
    return BlockingElectrode(
        tau_e=float(what.weight @ found.voxels) / voxels / k_eff,
        tau_e_connected=float(what.weight @ found.meeting) / voxels / k_eff,
        k_eff=k_eff,
        connected_fraction=float(found.meeting.sum() / found.voxels.sum()),
        wall_area=current / (length * section) / min(image.voxel_size),
        flux_imbalance=float(imbalance),
        residual=float(result.relative_residual),
        error_estimate=float(result.error_estimate),
        iterations=result.iterations,
        wall_s=perf_counter() - started,
    )


def _check_settings(axis: str, separator: str, bulk: float, area: str, tolerance: float, threads: int) -> None:
    for key, value, allowed in (
        ("axis", axis, AXES),
        ("separator", separator, get_args(End)),
        ("area", area, get_args(WallArea)),
    ):
        if value not in allowed:
            raise CaseError(f"{key} = '{value}'; choose from {', '.join(allowed)}")
    check_numbers(bulk, tolerance, threads)


def _turned(what: Conductor, axis: int, separator: End) -> Conductor:
    """With the axis first, and the separator at its low end."""
    order = (axis, *(a for a in range(3) if a != axis))
    voxels = what.voxels.transpose(order)
    x, y, z = (what.voxel_size[a] for a in order)
    turned = np.ascontiguousarray(voxels if separator == "low" else voxels[::-1])
    return replace(what, voxels=turned, voxel_size=(x, y, z))


@dataclass(frozen=True, slots=True, eq=False)
class _Wall:
    """Faces between connected conducting and insulating voxels, lengths in the unit of the grid.

    voxel: flat C-order index of the conducting one. area: of the face, times its cosine to the surface. resistance:
    from the voxel's centre to the wall, times the conductivity unit. Shapes (n,).
    """

    voxel: Indices
    area: Double
    resistance: Double


def _wall(what: Conductor, grid: Grid, connected: Mask, area: WallArea) -> _Wall:
    voxels = what.voxels > 0 if what.conducts is None else what.conducts[what.voxels]
    low, high, axis = faces_between(voxels, ~voxels)
    voxel = np.where(voxels.reshape(-1)[low], low, high)
    kept = connected.reshape(-1)[voxel]
    low, high, axis, voxel = low[kept], high[kept], axis[kept], voxel[kept]
    cosine = np.ones(axis.size)
    if area == "smooth":
        cosine = face_cosines(voxels, what.voxel_size, low, high, axis).cosine
    half = grid.resistance(np.unravel_index(voxel, grid.shape))
    faces = grid.voxel_volume / np.array(grid.edges)
    return _Wall(voxel, faces[axis] * cosine, half * cosine / np.array(grid.face_factor)[axis])


def _problem(grid: Grid, wall: _Wall) -> GridProblem:
    """The low end of axis 0 at phi = 0, and a current density of 1 into the wall."""
    source: Double = np.zeros(grid.shape)
    source.reshape(-1)[:] = -np.bincount(wall.voxel, wall.area, source.size)
    separator, collector = Fixed(0.0), Fixed(0.0, np.zeros(grid.shape[1:]))
    ends: Ends = ((separator, collector), "closed", "closed")
    return GridProblem(grid.voxels, grid.half_resistance, grid.face_factor, ends, source=source)


def _half_voxels(wall: _Wall) -> float:
    """What a current density of 1 dissipates between the voxels' centres and the wall."""
    return float(wall.area**2 @ wall.resistance)


def _check_result(result: GridResult, imbalance: float, tolerance: float) -> None:
    """Raise unless status and balance bear the number out."""
    if result.converged and imbalance <= 2.0 * sqrt(tolerance):
        return
    raise NotConvergedError(
        f"the blocking electrode did not reach tolerance = {tolerance}: {result.status.value}; after "
        f"{result.iterations} steps the relative residual is {result.relative_residual:.1e}, the flux imbalance "
        f"{imbalance:.1e} and the estimated error {result.error_estimate:.1e}. Ask for a larger tolerance"
    )
