"""Where the flux goes: local flux and slice by slice balance of a potential on the voxels of an image.

A face between voxels a and b, h apart, lets the flux density

    q = (u_a - u_b) / (h / (2 k_a) + h / (2 k_b))

pass, positive towards the high end of its axis: `fvm.operators.face_conductance` per area, as in the solve itself. A
voxel's flux is the mean of its two opposite faces along each axis. Fluxes are in conductivity times potential per
metre: with u from 1 to 0 and relative conductivities in 1/m, with conductivities in S/m in A/m2 per volt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.fvm.operators import face_conductance
from battsim.models.diffusion import Length
from battsim.post.transport.grid import Sides
from meshing.image import AXES, Axis, VoxelImage, either_side

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
SLAB = 1 << 18
"""Voxels at a time, whole planes: temporary arrays then stay near 10 MB, or a few planes of a wider image."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Means over the n slices normal to the transport axis, and over the n + 1 planes that bound them.

    Attributes
    ----------
    position
        Centres of the slices, from the low end of the image, shape (n,), m.
    potential
        Mean over the voxels that have one, shape (n,); NaN where none has.
    flux
        Through each plane, the inlet first and the outlet last, per area of the whole cross-section, shape (n + 1,),
        conductivity / m, positive towards the high end.
    """

    position: Floats
    potential: Floats
    flux: Floats

    @property
    def mean_flux(self) -> float:
        """Mean over the planes, conductivity / m."""
        return float(self.flux.mean())

    @property
    def deviation(self) -> float:
        """Largest deviation of a plane's flux from the mean, over the mean; 0 at the solution, infinite without flux.

        First order in the potential's error, where D_eff is second order.
        """
        mean = self.mean_flux
        return float(np.abs(self.flux - mean).max() / abs(mean)) if mean else np.inf


def slice_profile(
    potential: Floats,
    image: VoxelImage,
    conductivity: Mapping[str, float] | NDArray[Any],
    *,
    axis: Axis,
    length: Length = "outer",
    sides: Sides = "no-flux",
) -> Profile:
    """Potential and flux slice by slice along the transport axis.

    Parameters
    ----------
    potential
        Shape of the image, 1 at the low end and 0 at the high end; NaN where a voxel insulates or has no potential.
    conductivity
        By phase name, phases not named insulate; or of each voxel, shape of the image; 0 or more.
    axis, length, sides
        As in the solve. With "centres" inlet and outlet are the centres of the end layers, and the planes there repeat
        the flux of the next ones.
    """
    grid = _grid(potential, image, conductivity, axis, length, sides)
    n, across = image.shape[grid.axis], grid.axis
    area = image.labels.size // n
    flux, total, count = np.zeros(n + 1), np.zeros(n), np.zeros(n)
    for start, stop in _windows(image.shape):
        q = _face_flux(grid, start, stop, across)
        u = potential[start:stop]
        defined = np.isfinite(u)
        others = tuple(a for a in range(3) if a != across)
        planes, layers = (slice(start, stop + 1), slice(start, stop)) if across == 0 else (slice(None), slice(None))
        if across == 0:
            flux[planes] = 0.0  # the plane shared with the previous window is the same one
        flux[planes] += q.sum(axis=others) / area
        total[layers] += np.where(defined, u, 0.0).sum(axis=others)
        count[layers] += defined.sum(axis=others)
    mean = np.full(n, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    position = np.asarray((np.arange(n) + 0.5) * image.voxel_size[across], np.float64)
    return Profile(position, mean, flux)


def flux_vectors(
    potential: Floats,
    image: VoxelImage,
    conductivity: Mapping[str, float] | NDArray[Any],
    *,
    axis: Axis,
    length: Length = "outer",
    sides: Sides = "no-flux",
) -> Floats32:
    """Flux of each voxel along x, y, z, shape (nx, ny, nz, 3), conductivity / m; 0 where nothing flows.

    The mean of its component along the transport axis is `Profile.mean_flux`, since every plane's flux enters twice by
    halves. With length = "centres" the end layers have one face along the axis only, and take its flux. x runs fastest
    in memory, as in VTK's files, which are then written without a copy. Parameters as `slice_profile`.
    """
    grid = _grid(potential, image, conductivity, axis, length, sides)
    nx, ny, nz = image.shape
    vectors = np.empty((nz, ny, nx, 3), np.float32).transpose(2, 1, 0, 3)
    for start, stop in _windows(image.shape):
        for across in range(3):
            q = _face_flux(grid, start, stop, across)
            low, high = either_side(across)
            vectors[start:stop, :, :, across] = 0.5 * (q[low] + q[high])
    return vectors


def magnitude(vectors: Floats32) -> Floats32:
    """Length of each vector, shape (nx, ny, nz) from (nx, ny, nz, 3), x fastest in memory."""
    nx, ny, nz = vectors.shape[:3]
    lengths = np.empty((nz, ny, nx), np.float32).transpose(2, 1, 0)
    for start, stop in _windows((nx, ny, nz)):
        part = vectors[start:stop]
        lengths[start:stop] = np.sqrt(np.einsum("ijkc,ijkc->ijk", part, part))
    return lengths


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Potential and conductivity, read window by window: `table` has the conductivity of each number in `voxels`."""

    potential: Floats
    voxels: NDArray[Any]
    table: Floats | None
    voxel_size: tuple[float, float, float]
    axis: int
    length: Length
    sides: Sides

    def read(self, window: tuple[slice, slice, slice]) -> tuple[Floats, Floats]:
        """Potential and conductivity of a window."""
        voxels = self.voxels[window]
        k = voxels.astype(np.float64) if self.table is None else self.table[voxels]
        return self.potential[window], k


def _grid(
    potential: Floats,
    image: VoxelImage,
    conductivity: Mapping[str, float] | NDArray[Any],
    axis: Axis,
    length: Length,
    sides: Sides,
) -> _Grid:
    if potential.shape != image.shape:
        raise ValueError(f"the potential has shape {potential.shape}, the image {image.shape}")
    voxels, table = image.labels, None
    if isinstance(conductivity, Mapping):
        table = np.zeros(len(image.phases))
        for name, value in conductivity.items():
            table[image.index(name)] = value
    else:
        voxels = conductivity
        if voxels.shape != image.shape:
            raise ValueError(f"the conductivities have shape {voxels.shape}, the image {image.shape}")
    return _Grid(potential, voxels, table, image.voxel_size, AXES.index(axis), length, sides)


def _windows(shape: tuple[int, int, int]) -> Iterator[tuple[int, int]]:
    """Ranges of planes across x that are handled at a time."""
    step = max(1, SLAB // (shape[1] * shape[2]))
    return ((start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def _face_flux(grid: _Grid, start: int, stop: int, across: int) -> Floats:
    """Flux density through all faces across one axis of the planes start to stop, one more than voxels along it."""
    u, k = _with_neighbours(grid, start, stop, across)
    low, high = either_side(across)
    area, half = np.float64(1.0), np.float64(0.5 * grid.voxel_size[across])
    with np.errstate(divide="ignore"):  # an insulating voxel: an infinite resistance, and no flux
        q = face_conductance(area, half, half, k[low], k[high])  # type: ignore[arg-type]
    q *= u[low] - u[high]
    q[np.isnan(q)] = 0.0
    if across == grid.axis and grid.length == "centres":
        at_low, at_high = (start == 0, stop == grid.voxels.shape[0]) if across == 0 else (True, True)
        along = np.moveaxis(q, across, 0)
        if at_low:
            along[0] = along[1]
        if at_high:
            along[-1] = along[-2]
    return q


def _with_neighbours(grid: _Grid, start: int, stop: int, across: int) -> tuple[Floats, Floats]:
    """Potential and conductivity of the planes start to stop with one more layer at either end of an axis."""
    n = grid.voxels.shape[0]
    first, last = (max(start - 1, 0), min(stop + 1, n)) if across == 0 else (start, stop)
    layers = [grid.read((slice(first, last), slice(None), slice(None)))]
    if across != 0 or start == 0:
        layers.insert(0, _beyond(grid, slice(start, stop), across, 0))
    if across != 0 or stop == n:
        layers.append(_beyond(grid, slice(start, stop), across, -1))
    u, k = (np.concatenate(parts, axis=across) for parts in zip(*layers, strict=True))
    return u, k


def _beyond(grid: _Grid, planes: slice, across: int, end: int) -> tuple[Floats, Floats]:
    """Potential and conductivity of the layer that stands for what is beyond an end (0: low, -1: high) of an axis.

    A fixed value on the outer face is the mean of the last voxel and its image; a closed end mirrors the voxel itself.
    """
    u, k = _layer(grid, planes, across, end)
    if across == grid.axis:
        fixed = 1.0 if end == 0 else 0.0
        return 2.0 * fixed - u, k
    return _layer(grid, planes, across, -1 - end) if grid.sides == "periodic" else (u, k)


def _layer(grid: _Grid, planes: slice, across: int, end: int) -> tuple[Floats, Floats]:
    """The outermost layer at an end of an axis, among the planes across x."""
    outermost = slice(0, 1) if end == 0 else slice(-1, None)
    x, y, z = (outermost if a == across else planes if a == 0 else slice(None) for a in range(3))
    return grid.read((x, y, z))
