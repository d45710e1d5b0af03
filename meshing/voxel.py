"""Voxels become hexahedral cells; graded layers of one more phase may lie in front of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meshing.areas import face_cosines
from meshing.errors import MeshError
from meshing.image import AXES, VoxelImage
from meshing.mesh import Floats, Interface, Ints, Mesh, Patch

_T = TypeVar("_T", bound=np.generic)

PADDING = 2
"""Voxels that stand for the layers when a surface is smoothed.

The smoothing goes on past them unchanged, so two are exact: one beside the image and one for its central difference.
"""


def graded_layers(thickness: float, count: int, finest: float) -> tuple[float, ...]:
    """Thicknesses of layers that grow geometrically away from the image, far end first, m.

    The layer next to the image is `finest` thick; where `count` layers of that size are already thicker than
    `thickness`, all layers are equal.
    """
    if count < 1 or not (0 < thickness < np.inf and 0 < finest < np.inf):
        raise MeshError(
            f"graded layers need count >= 1 and lengths in metres above 0, not count = {count}, "
            f"thickness = {thickness}, finest = {finest}"
        )
    if count == 1 or count * finest >= thickness:
        return (thickness / count,) * count
    powers = np.arange(count)[::-1]
    low, high = 1.0, (thickness / finest) ** (1.0 / (count - 1))
    for _ in range(100):
        ratio = 0.5 * (low + high)
        low, high = (ratio, high) if finest * np.sum(ratio**powers) < thickness else (low, ratio)
    sizes = finest * low**powers
    return tuple(float(size) for size in sizes * (thickness / sizes.sum()))


def voxel_mesh(
    image: VoxelImage,
    *,
    layers: Sequence[float] = (),
    layer_phase: str = "separator",
    inside: str | None = None,
) -> Mesh:
    """The image as cells in C order, every voxel one cell, with `layers` in front of the low end of axis x.

    Faces are ordered by axis: all across x first. Patches are named x-low, x-high, y-low, ... Interfaces are made
    for the pairs that contain the phase `inside`, whose smoothed indicator gives the surface normal; without
    `inside` there are none. Faces whose `cosine` equals `areas.FLOOR` have no reliable normal: count and report them.

    Parameters
    ----------
    image
        The image in cell axes: x is through-plane.
    layers
        Thicknesses, far end first, m; they take the lateral resolution of the image.
    layer_phase
        Name of the phase of the layers.
    inside
        Phase whose surface the interfaces describe, such as "active".

    Raises
    ------
    MeshError
        Where `inside` is no phase of the mesh, a layer has no thickness, or the cells outnumber 32-bit indices.
    """
    phases = image.phases if not layers or layer_phase in image.phases else (*image.phases, layer_phase)
    _check(layers, phases, inside)
    labels = image.labels
    _refuse_too_many((len(layers) + labels.shape[0], *labels.shape[1:]))
    if layers:
        front = np.full((len(layers), *image.shape[1:]), phases.index(layer_phase), np.uint8)
        labels = np.concatenate([front, labels])
    planes = range(len(layers), labels.shape[0])
    surfaces = () if inside is None else (Surface(inside, planes, image.voxel_size),)
    return grid_mesh(labels, _cell_sizes(image, layers), phases, surfaces)


def _refuse_too_many(shape: tuple[int, ...]) -> None:
    """Raises MeshError where the cells of a grid outnumber 32-bit indices."""
    if prod(shape) > np.iinfo(np.int32).max:
        raise MeshError(
            f"{prod(shape)} cells are more than the {np.iinfo(np.int32).max} that 32-bit indices can name; "
            f"crop or coarsen the image, {' x '.join(map(str, shape))} voxels with all layers"
        )


@dataclass(frozen=True, slots=True)
class Surface:
    """A phase whose surface is wanted, the planes of the image that it lies in, and the voxels' edges there (m)."""

    inside: str
    planes: range
    voxel_size: tuple[float, float, float]


def grid_mesh(
    labels: NDArray[np.uint8], sizes: Sequence[Floats], phases: tuple[str, ...], surfaces: Sequence[Surface] = ()
) -> Mesh:
    """Cells in C order on a grid of planes, faces ordered by axis, with interfaces of the given surfaces.

    Parameters
    ----------
    labels
        Index into `phases`, shape (nx, ny, nz).
    sizes
        Edges of the cells along x, y and z, shapes (nx,), (ny,), (nz,), m.
    surfaces
        Each within planes of voxels of one size; it ends where those end.

    Raises
    ------
    MeshError
        Where the cells outnumber 32-bit indices.
    """
    _refuse_too_many(labels.shape)
    faces = _faces(labels.shape, sizes)
    found = [_surface(labels == phases.index(surface.inside), surface, faces) for surface in surfaces]
    return Mesh(
        phases=phases,
        phase=labels.ravel(),
        volume=(sizes[0][:, None, None] * sizes[1][:, None] * sizes[2]).ravel(),
        centre=_grid([np.cumsum(size) - 0.5 * size for size in sizes]),
        owner=faces.owner,
        neighbour=faces.neighbour,
        area=faces.area,
        owner_distance=faces.owner_distance,
        neighbour_distance=faces.neighbour_distance,
        patches=_patches(labels.shape, sizes),
        interfaces=tuple(pair for surface in found for pair in _split(surface, labels.ravel(), phases)),
        position=_grid([np.arange(size.size, dtype=np.int32) for size in sizes]),
        grid_shape=(labels.shape[0], labels.shape[1], labels.shape[2]),
    )


def _check(layers: Sequence[float], phases: tuple[str, ...], inside: str | None) -> None:
    if inside is not None and inside not in phases:
        raise MeshError(
            f"the surface of phase '{inside}' is asked for, but the mesh has the phases {', '.join(phases)}; "
            f"name one of them"
        )
    if not all(0 < thickness < np.inf for thickness in layers):
        raise MeshError(f"every layer needs a thickness above 0 m, not {tuple(layers)}")


def _cell_sizes(image: VoxelImage, layers: Sequence[float]) -> list[Floats]:
    x, y, z = (np.full(n, h) for n, h in zip(image.shape, image.voxel_size, strict=True))
    return [np.concatenate([np.asarray(layers, dtype=float), x]), y, z]


def _along(axis: int, values: NDArray[_T]) -> NDArray[_T]:
    """Values that vary along one axis only, ready to be broadcast over the grid."""
    return values.reshape([-1 if k == axis else 1 for k in range(3)])


def _grid(axes: Sequence[NDArray[_T]]) -> NDArray[_T]:
    """One row per cell with its value along each axis, shape (n_cells, 3)."""
    out = np.empty((*(values.size for values in axes), 3), axes[0].dtype)
    for k, values in enumerate(axes):
        out[..., k] = _along(k, values)
    return out.reshape(-1, 3)


@dataclass(frozen=True, slots=True, eq=False)
class _Faces:
    """Inner faces in the order of the mesh; faces across axis a are those in [start[a], start[a + 1])."""

    owner: Ints
    neighbour: Ints
    area: Floats
    owner_distance: Floats
    neighbour_distance: Floats
    start: tuple[int, ...]


def _faces(shape: tuple[int, ...], sizes: Sequence[Floats]) -> _Faces:
    cells = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    face_shapes = [tuple(n - (k == axis) for k, n in enumerate(shape)) for axis in range(3)]
    start = (0, *(int(n) for n in np.cumsum([np.prod(face_shape) for face_shape in face_shapes])))
    owner, neighbour = np.empty((2, start[-1]), np.int32)
    area, owner_distance, neighbour_distance = np.empty((3, start[-1]))
    for axis, face_shape in enumerate(face_shapes):
        low, high = _pair(axis)
        half = 0.5 * _along(axis, sizes[axis])
        b, c = (k for k in range(3) if k != axis)
        for whole, values in (
            (owner, cells[low]),
            (neighbour, cells[high]),
            (area, _along(b, sizes[b]) * _along(c, sizes[c])),
            (owner_distance, half[low]),
            (neighbour_distance, half[high]),
        ):
            whole[start[axis] : start[axis + 1]].reshape(face_shape)[...] = values
    return _Faces(owner, neighbour, area, owner_distance, neighbour_distance, start)


def _pair(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Windows of the cells on the low and on the high side of the faces across an axis."""
    whole = slice(None)
    low = tuple(slice(None, -1) if k == axis else whole for k in range(3))
    high = tuple(slice(1, None) if k == axis else whole for k in range(3))
    return low, high


def _patches(shape: tuple[int, ...], sizes: Sequence[Floats]) -> dict[str, Patch]:
    cells = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    patches = {}
    for axis, letter in enumerate(AXES):
        lateral = [size for k, size in enumerate(sizes) if k != axis]
        area = np.outer(*lateral).ravel()
        for name, end in (("low", 0), ("high", -1)):
            distance = np.full(area.size, 0.5 * sizes[axis][end])
            patches[f"{letter}-{name}"] = Patch(cells.take(end, axis).ravel(), area, distance)
    return patches


def _surface(within: NDArray[np.bool_], surface: Surface, faces: _Faces) -> Interface:
    """All faces between `inside`, first, and any other phase; areas and distances scaled by abs(n_a)."""
    changes = [np.flatnonzero(within[low] != within[high]) for low, high in map(_pair, range(3))]
    axis = np.repeat(np.arange(3, dtype=np.int8), [found.size for found in changes])
    here = np.concatenate([found + begin for found, begin in zip(changes, faces.start, strict=False)])
    owner, neighbour = faces.owner[here], faces.neighbour[here]
    solid, shift = _padded(within, surface.planes)
    cosine = face_cosines(solid, surface.voxel_size, owner + shift, neighbour + shift, axis).cosine
    owner_first = within.ravel()[owner]
    near, far = faces.owner_distance[here] * cosine, faces.neighbour_distance[here] * cosine
    return Interface(
        phases=(surface.inside, "any other"),
        first=np.where(owner_first, owner, neighbour),
        second=np.where(owner_first, neighbour, owner),
        area=faces.area[here] * cosine,
        first_distance=np.where(owner_first, near, far),
        second_distance=np.where(owner_first, far, near),
        cosine=cosine,
    )


def _padded(within: NDArray[np.bool_], planes: range) -> tuple[NDArray[np.bool_], int]:
    """Some planes, with PADDING copies of the next one on either side where there is one; the shift of flat indices."""
    start, stop = planes.start, planes.stop
    parts, before = [within[start:stop]], 0
    if start > 0:
        parts, before = [np.broadcast_to(within[start - 1], (PADDING, *within.shape[1:])), *parts], PADDING
    if stop < within.shape[0]:
        parts.append(np.broadcast_to(within[stop], (PADDING, *within.shape[1:])))
    solid = within if len(parts) == 1 else np.concatenate(parts)
    return solid, (before - start) * within.shape[1] * within.shape[2]


def _split(surface: Interface, phase: NDArray[np.uint8], phases: tuple[str, ...]) -> tuple[Interface, ...]:
    """The surface by the phase on its second side, in the order of `phases`."""
    other = phase[surface.second]
    return tuple(
        Interface(
            phases=(surface.phases[0], phases[k]),
            first=surface.first[here],
            second=surface.second[here],
            area=surface.area[here],
            first_distance=surface.first_distance[here],
            second_distance=surface.second_distance[here],
            cosine=surface.cosine[here],
        )
        for k in np.flatnonzero(np.bincount(other, minlength=len(phases)))
        for here in [np.flatnonzero(other == k)]
    )
