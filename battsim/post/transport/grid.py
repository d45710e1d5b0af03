"""Steady diffusion along one axis of an image as a grid problem: from what conducts to energy and potential."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from battsim.errors import ResourceError
from battsim.models.diffusion import Length
from battsim.post.transport.conductor import Conductor, Floats
from battsim.solvers.grid.problem import Fixed, GridProblem, half_resistance
from meshing.connect import touching

Sides = Literal["no-flux", "periodic"]
Mask = NDArray[np.bool_]

BYTES_PER_VOXEL = 45, 66
"""Memory of a solve per voxel of the image, where all conducting voxels are alike and where they differ."""
BYTES_PER_CONDUCTING_VOXEL = 5, 24
"""Memory of a solve per conducting voxel, on top, in either case."""
BYTES_OF_POTENTIAL = 17, 9
"""Memory per voxel of the image, on top, where the potential is asked for."""
BYTES_OF_PERIODIC_SIDES = 14, 3
"""Memory per voxel of the image, on top, where sides are periodic."""


def grid_problem(conductor: Conductor, kept: Mask, axis: int, length: Length, sides: Sides) -> GridProblem:
    """Diffusion from 1 behind the low end of an axis to 0 behind its high end, that axis first.

    kept: voxels of the clusters that carry a flux, shape (nx, ny, nz); the others insulate. The other axes keep their
    order, the longer last. With `length` "centres" the end layers hold the fixed potentials and are no unknowns.
    """
    order = _order(kept.shape, axis)
    size = tuple(conductor.voxel_size[a] for a in order)
    x, y, z = (float(np.prod(size) / h**2) for h in size)
    voxels, table = kept_voxels(conductor, kept)
    voxels = np.ascontiguousarray(voxels.transpose(order))
    side: Literal["closed", "periodic"] = "periodic" if sides == "periodic" else "closed"
    if length == "outer":
        return GridProblem(voxels, table, (x, y, z), ((Fixed(1.0), Fixed(0.0)), side, side))
    ends = (
        Fixed(1.0, end_conductance(voxels[:2], table, x)),
        Fixed(0.0, end_conductance(voxels[-2:], table, x)),
    )
    return GridProblem(voxels[1:-1], table, (x, y, z), (ends, side, side))


def end_conductance(layers: NDArray[Any], table: Floats | None, factor: float) -> Floats:
    """Conductance of the faces between two layers, shape of `layers` (2, ny, nz)."""
    first, second = half_resistance(layers, table)
    return np.asarray(factor / (first + second), np.float64)


def natural(potential: Floats, shape: tuple[int, ...], axis: int) -> Floats:
    """A potential with its axes as `grid_problem` turned them, back in the image's own order."""
    return np.ascontiguousarray(potential.transpose(np.argsort(_order(shape, axis))))


def with_idle_clusters(potential: Floats, conductor: Conductor, axis: int, length: Length, periodic: Any) -> Floats:
    """The potential with what carries no flux: clusters that meet one end alone have its value.

    potential: shape (nx, ny, nz) or, with "centres", without the end layers; NaN where not solved for.
    """
    image, table = conductor.voxels, conductor.conducts
    conducting = image > 0 if table is None else table[image]
    low, high = (touching(conducting, axis, (end,), periodic=periodic) for end in ("low", "high"))
    full = np.full(image.shape, np.nan)
    inner = [slice(None)] * 3
    inner[axis] = slice(1, -1) if length == "centres" else slice(None)
    full[tuple(inner)] = potential
    if length == "centres":
        for index, value in ((0, 1.0), (-1, 0.0)):
            at = [slice(None)] * 3
            at[axis] = index  # type: ignore[call-overload]
            full[tuple(at)] = np.where(conducting[tuple(at)], value, np.nan)
    idle = np.isnan(full)
    full[idle & low & ~high] = 1.0
    full[idle & high & ~low] = 0.0
    return full


def transport_memory(
    voxels: int, conducting: int, *, alike: bool = True, potential: bool = False, periodic: bool = False
) -> int:
    """Estimate, from above, of the memory that a solve needs beside the image, bytes.

    Too large by up to 30 % for blobs, spheres, laminates, smooth conductivities by voxel and site noise of one phase.
    Where conductivities differ at random from voxel to voxel more levels are needed, up to twice the estimate.

    alike: whether all conducting voxels have one conductivity, and are cubes.
    """
    kind = 0 if alike else 1
    extra = potential * BYTES_OF_POTENTIAL[kind] + periodic * BYTES_OF_PERIODIC_SIDES[kind]
    return (BYTES_PER_VOXEL[kind] + extra) * voxels + BYTES_PER_CONDUCTING_VOXEL[kind] * conducting


def refuse_too_large(
    shape: tuple[int, ...], conducting: int, *, alike: bool, potential: bool = False, periodic: bool = False
) -> None:
    """ResourceError where the solve would not fit into what is free, before anything is allocated."""
    padded = int(np.prod([n + 2 for n in shape]))  # as the solver's vectors are: three times a thin image
    needed = transport_memory(padded, conducting, alike=alike, potential=potential, periodic=periodic)
    free = psutil.virtual_memory().available
    if needed > free:
        raise ResourceError(
            f"transport through {' x '.join(map(str, shape))} voxels needs about {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB are free; free memory, crop or coarsen the image"
        )


def _order(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """The axis first, then the other two, the longer last: rows along it are what the kernels run through."""
    others = sorted((a for a in range(3) if a != axis), key=lambda a: shape[a])
    return axis, others[0], others[1]


def kept_voxels(conductor: Conductor, kept: Mask) -> tuple[NDArray[Any], Floats | None]:
    """Voxels of which only the kept ones conduct, and the half resistance of each phase, shape (256,)."""
    if conductor.conductivity is None:
        return np.where(kept, conductor.voxels, 0), None
    used = conductor.conductivity > 0
    if np.count_nonzero(used) == 1:  # the mask itself is the image
        table = np.full(256, np.inf)
        table[1] = 0.5 / float(conductor.conductivity[used][0])
        return kept.view(np.uint8), table
    insulating = np.flatnonzero(~used)
    if insulating.size == 0:
        # 256 conducting phases leave no number for what does not: their conductivities, voxel by voxel, do
        return np.where(kept, conductor.conductivity[conductor.voxels], 0.0), None
    return np.where(kept, conductor.voxels, np.uint8(insulating[-1])), half_resistance(conductor.conductivity, None)
