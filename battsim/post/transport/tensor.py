"""Effective transport through an image in all directions at once: the 3 x 3 tensor of diffusivity or conductivity.

With u_a the potential under a unit gradient along axis a, and J u its jumps over the faces of conductance g,

    K_ab = sum over faces of g (J u_a) (J u_b) / V,    mean flux = -K . mean gradient.

A solution that is off by e_a makes K_ab too large by sum g (J e_a) (J e_b) / V: second order, symmetric, and what is
found minus what is exact is positive semidefinite. What the field does at the outer faces is a choice:

    "periodic"      the image is one period of an endless medium
    "mirrored"      the medium goes on as the mirror image at each outer face; then no off-diagonal is left, and each
                    diagonal entry is the D_eff of `effective_transport` between two fixed ends with closed sides
    "linear"        the potential e_a . x on all outer faces; never below the periodic tensor of the same image
    "uniform-flux"  the flux of a uniform field through all outer faces; never above the periodic tensor

in the sense of quadratic forms, v . K v for every v. All four come together as the image grows.

Reference: T. Kanit, S. Forest, I. Galliet, V. Mounoury, D. Jeulin, Int. J. Solids Struct. 40 (2003) 3647-3679, who
compare the periodic, linear and uniform-flux conditions for the thermal conductivity of random composites.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from battsim.errors import CaseError, NotConvergedError
from battsim.post.transport.carrying import Boundary, Three, carrying, linear_ends
from battsim.post.transport.conductor import Conductivity, Conductor, conductor
from battsim.post.transport.grid import kept_voxels, refuse_too_large
from battsim.post.transport.settings import check_numbers
from battsim.solvers.grid.problem import Fixed, GridProblem, half_resistance
from battsim.solvers.grid.solve import GridResult, solve_grid
from meshing.image import AXES, VoxelImage

Double = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class EffectiveTensor:
    """Transport in all directions. No tensor stands here whose residual, error or flux check failed.

    Attributes
    ----------
    tensor
        Effective over bulk diffusivity or conductivity, shape (3, 3), symmetric; rows and columns are x, y, z.
    boundary
        What was assumed at the outer faces.
    conducts
        Along x, y, z: whether any cluster of conducting voxels carries a flux. Where it is False, row and column are 0.
    error_estimate
        Largest estimated relative error, from above, of the diagonal; that of entry ab is this times sqrt(K_aa K_bb).
        For "uniform-flux" all this refers to the inverse, the resistivity, which is too small where K is too large.
        The error that the voxels and the size of the image bring is not in it.
    asymmetry
        Largest difference of K_ab and K_ba as the mean fluxes have them, over the largest entry of K. These do not know
        of one another and are first order in the potential's error; `tensor` is symmetric by itself.
    residual
        Largest relative residual of the linear systems, recomputed.
    iterations
        Steps of the solver along x, y, z.
    wall_s
        Time from image to numbers, s.
    """

    tensor: Double
    boundary: Boundary
    conducts: Three
    error_estimate: float
    asymmetry: float
    residual: float
    iterations: tuple[int, int, int]
    wall_s: float

    @property
    def principal(self) -> tuple[Double, Double]:
        """Principal values in ascending order, shape (3,), and their unit directions as columns, shape (3, 3)."""
        values, directions = np.linalg.eigh(self.tensor)
        return np.asarray(values, np.float64), np.asarray(directions, np.float64)


def effective_tensor(
    image: VoxelImage,
    conductivity: Conductivity,
    *,
    boundary: Boundary = "periodic",
    bulk: float = 1.0,
    tolerance: float = 1e-4,
    threads: int = 2,
    max_iterations: int = 200,
) -> EffectiveTensor:
    """Effective transport tensor of an image.

    Parameters
    ----------
    image
        Segmented image; anisotropic voxels are welcome.
    conductivity
        By phase name, 0 or more, in the unit of `bulk`; phases not named insulate. Or of each voxel, shape
        (nx, ny, nz), floating-point.
    boundary
        What happens at the outer faces: see this module. "periodic" fits images that repeat, "mirrored" all others.
    bulk
        Conductivity that the tensor refers to.
    tolerance
        On the estimated relative error of the diagonal (of its inverse for "uniform-flux").
    threads
        Of the solver; they change no bit of the result.

    Raises
    ------
    CaseError
        Where a phase, conductivity, boundary or tolerance is not allowed.
    ImpossibleError
        For "uniform-flux" where voxels at the outer faces insulate: no uniform flux enters through them, and the bound
        is 0.
    ResourceError
        Where memory does not suffice; found before it is taken.
    NotConvergedError
        Where a solve, or the check of the fluxes, failed.

    Examples
    --------
    >>> import numpy as np
    >>> from battsim.post.transport.tensor import effective_tensor
    >>> from meshing.image import VoxelImage
    >>> layers = np.zeros((4, 4, 4), np.uint8)
    >>> layers[:2] = 1
    >>> image = VoxelImage(layers, (1e-6, 1e-6, 1e-6), ("a", "b"))
    >>> effective_tensor(image, {"a": 1.0, "b": 3.0}, tolerance=1e-10).tensor.round(8)
    array([[1.5, 0. , 0. ],
           [0. , 2. , 0. ],
           [0. , 0. , 2. ]])
    """
    started = perf_counter()
    _check_settings(boundary, bulk, tolerance, threads)
    what = conductor(image, conductivity)
    kept, conducts = carrying(what, boundary, threads)
    grid = grid_of(what, kept)
    refuse_too_large(grid.shape, int(np.count_nonzero(kept)), alike=what.alike)
    chosen = [axis for axis in range(3) if conducts[axis]]
    problems = [_problem(grid, boundary, axis) for axis in chosen]
    results = [
        solve_grid(
            problem,
            tolerance=tolerance,
            threads=threads,
            max_iterations=max_iterations,
            potential=boundary != "mirrored",
        )
        for problem in problems
    ]
    for axis, result in zip(chosen, results, strict=True):
        _check_result(result, AXES[axis], boundary, tolerance)
    part, asymmetry = _tensor_of(grid, boundary, chosen, problems, results)
    tensor = np.zeros((3, 3))
    tensor[np.ix_(chosen, chosen)] = part / bulk
    steps = dict(zip(chosen, (result.iterations for result in results), strict=True))
    return EffectiveTensor(
        tensor=tensor,
        boundary=boundary,
        conducts=conducts,
        error_estimate=float(max((result.error_estimate for result in results), default=0.0)),
        asymmetry=asymmetry,
        residual=float(max((result.relative_residual for result in results), default=0.0)),
        iterations=(steps.get(0, 0), steps.get(1, 0), steps.get(2, 0)),
        wall_s=perf_counter() - started,
    )


def _check_settings(boundary: str, bulk: float, tolerance: float, threads: int) -> None:
    if boundary not in get_args(Boundary):
        raise CaseError(f"boundary = '{boundary}'; choose from {', '.join(get_args(Boundary))}")
    check_numbers(bulk, tolerance, threads)


# the image in the unit of its shortest edge


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Voxels as the solver takes them, lengths over the shortest edge of a voxel.

    Attributes
    ----------
    voxels, half_resistance
        As in GridProblem.
    edges
        Of a voxel along x, y, z.
    """

    voxels: NDArray[Any]
    half_resistance: Double | None
    edges: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        nx, ny, nz = self.voxels.shape
        return nx, ny, nz

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel."""
        return self.edges[0] * self.edges[1] * self.edges[2]

    @property
    def face_factor(self) -> tuple[float, float, float]:
        """Area of a face over the distance of two centres, across x, y, z."""
        x, y, z = (self.voxel_volume / h**2 for h in self.edges)
        return x, y, z

    def resistance(self, index: Any) -> Double:
        """Half resistances of some voxels, infinite where they insulate."""
        return half_resistance(self.voxels[index], self.half_resistance)


def grid_of(what: Conductor, kept: Mask) -> Grid:
    """An image as a grid in which only the kept voxels conduct, shape (nx, ny, nz)."""
    voxels, table = kept_voxels(what, kept)
    shortest = min(what.voxel_size)
    x, y, z = (h / shortest for h in what.voxel_size)
    return Grid(voxels, table, (x, y, z))


# what happens at the outer faces


def _problem(grid: Grid, boundary: Boundary, axis: int) -> GridProblem:
    """The linear system for a unit gradient (uniform flux: a unit flux) along one axis."""
    ends: list[Literal["closed", "periodic"] | tuple[Fixed, Fixed]] = ["closed"] * 3
    rise, source = [0.0, 0.0, 0.0], None
    length = grid.shape[axis] * grid.edges[axis]
    if boundary == "periodic":
        ends, rise[axis] = ["periodic"] * 3, length
    elif boundary == "mirrored":
        ends[axis] = Fixed(0.0), Fixed(length)
    elif boundary == "linear":
        ends = [linear_ends(grid.shape, grid.edges, axis, across) for across in range(3)]
    else:
        source = np.zeros(grid.shape)
        flux = grid.voxel_volume / grid.edges[axis]
        np.moveaxis(source, axis, 0)[0] += flux
        np.moveaxis(source, axis, 0)[-1] -= flux
    (a, b, c), (x, y, z) = ends, rise
    return GridProblem(grid.voxels, grid.half_resistance, grid.face_factor, (a, b, c), (x, y, z), source)


# the tensor from the potentials


def _tensor_of(
    grid: Grid,
    boundary: Boundary,
    chosen: Sequence[int],
    problems: Sequence[GridProblem],
    results: Sequence[GridResult],
) -> tuple[Double, float]:
    """The tensor among the chosen axes, shape (n, n), and the asymmetry of the fluxes."""
    volume = float(np.prod(grid.shape)) * grid.voxel_volume
    if boundary == "mirrored":
        return np.diag([result.dissipation / volume for result in results]), 0.0
    if not results:
        return np.zeros((0, 0)), 0.0
    fields = [result.potential for result in results if result.potential is not None]
    gram, flux, straight = (form / volume for form in _forms(grid, chosen, problems, fields))
    if boundary == "uniform-flux":
        flux = _work(grid, fields) / volume
        gram = flux + flux.T - gram
    own = gram.diagonal()
    # u*_a and x_a - u_a, what the mean flux of field b is the product of with the error of that field
    reach = own if boundary == "uniform-flux" else np.maximum(straight - own, 0.0)
    asymmetry = _check_fluxes(flux, reach, own * [result.error_estimate for result in results], boundary)
    if boundary == "uniform-flux":
        gram = gram + np.diag([_outer_resistance(grid, axis) / volume for axis in range(3)])
    tensor = np.linalg.inv(gram) if boundary == "uniform-flux" else gram
    return 0.5 * (tensor + tensor.T), asymmetry / float(np.abs(gram).max())


def _check_fluxes(flux: Double, reach: Double, error: Double, boundary: Boundary) -> float:
    """Largest asymmetry of the mean fluxes; raise where it is more than fields with errors of that energy can have."""
    asymmetry = np.abs(flux - flux.T)
    limit = np.sqrt(np.outer(reach, error))
    # twice, since the errors are estimates; and round-off
    if (asymmetry > 2.0 * (limit + limit.T) + 1e-12 * np.abs(flux).max()).any():
        raise NotConvergedError(
            f"boundary = '{boundary}': the mean fluxes differ from symmetry by {asymmetry.max():.1e}, more than the "
            f"estimated errors allow, which are therefore too small. Ask for a smaller tolerance"
        )
    return float(asymmetry.max())


def _forms(
    grid: Grid, chosen: Sequence[int], problems: Sequence[GridProblem], fields: Sequence[Double]
) -> tuple[Double, Double, Double]:
    """Sums over all faces of g (J u_a) (J u_b), g (J x_a) (J u_b) and g (J x_a)^2, shapes (n, n), (n, n) and (n,)."""
    n = len(chosen)
    gram, flux, straight = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n)
    for axis in range(3):
        for g, jumps, step in _faces(grid, axis, problems, fields):
            gram += np.einsum("m,am,bm->ab", g, jumps, jumps)
            if axis in chosen:
                flux[list(chosen).index(axis)] += step * (jumps @ g)
                straight[list(chosen).index(axis)] += step**2 * g.sum()
    return gram, flux, straight


def _faces(
    grid: Grid, axis: int, problems: Sequence[GridProblem], fields: Sequence[Double]
) -> Iterator[tuple[Double, Double, float]]:
    """Faces across an axis, plane by plane: g, shape (m,), jumps of all fields, shape (n, m), length of the jump."""
    n, h, factor = grid.shape[axis], grid.edges[axis], grid.face_factor[axis]

    def plane(index: int) -> Double:
        return np.stack([np.moveaxis(field, axis, 0)[index].ravel() for field in fields])

    def half(index: int) -> Double:
        return grid.resistance((*[slice(None)] * axis, index)).ravel()

    for k in range(n - 1):
        yield factor / (half(k) + half(k + 1)), np.nan_to_num(plane(k + 1) - plane(k)), h
    if problems[0].ends[axis] == "periodic":
        rise = np.array([[problem.rise[axis]] for problem in problems])
        yield factor / (half(n - 1) + half(0)), np.nan_to_num(plane(0) + rise - plane(n - 1)), h
    for place, sign in ((0, 1.0), (n - 1, -1.0)):
        ends = [problem.ends[axis] for problem in problems]
        values = [np.ravel(end[0 if sign > 0 else 1].value) for end in ends if isinstance(end, tuple)]
        if values:
            here = plane(place)
            yield factor / half(place), np.nan_to_num(sign * (here - _rows(values, here.shape[1]))), 0.5 * h


def _rows(values: Sequence[Double], length: int) -> Double:
    """Numbers and arrays as rows of one array."""
    return np.stack([np.broadcast_to(value, length) for value in values])


def _work(grid: Grid, fields: Sequence[Double]) -> Double:
    """Sum of source_a u_b for unit fluxes, shape (3, 3)."""
    ends = [[np.moveaxis(u, axis, 0)[0].sum() - np.moveaxis(u, axis, 0)[-1].sum() for u in fields] for axis in range(3)]
    return np.array([[grid.voxel_volume / h] for h in grid.edges]) * np.array(ends)


def _outer_resistance(grid: Grid, axis: int) -> float:
    """What a unit flux dissipates in the outer halves of the voxels at both ends of an axis."""
    flux = grid.voxel_volume / grid.edges[axis]
    halves = sum(grid.resistance((*[slice(None)] * axis, place)).sum() for place in (0, -1))
    return float(flux**2 * halves / grid.face_factor[axis])


def _check_result(result: GridResult, axis: str, boundary: Boundary, tolerance: float) -> None:
    if not result.converged:
        raise NotConvergedError(
            f"transport along {axis} with boundary = '{boundary}' did not reach tolerance = {tolerance}: "
            f"{result.status.value}; after {result.iterations} steps the relative residual is "
            f"{result.relative_residual:.1e} and the estimated error {result.error_estimate:.1e}"
        )
