"""Cells merged 2 x 2 x 2 away from every change of phase: fewer unknowns behind the same surface.

A block of 2 x 2 x 2 voxels, at even places of the grid, becomes one cell where it and all voxels that share a face with
it are of one phase; at level 2 a block of merged cells becomes one by the same rule, and so on. Cells that touch
therefore differ by one level at most, and every voxel at a change of phase, at an end of the through-plane axis or in a
layer of another thickness stays as it is, with its interface faces.

Fluxes stay two-point fluxes, so that what leaves one cell enters the other: a merged cell meets a smaller one through
the smaller one's face, with half an edge of either as distances. The centres of the two are not opposite each other.
Where the field varies along the face, the merged cell then carries a current from one of its four smaller neighbours
to another, beside the faces between these four:

        +---------+----+      u = y: q enters from above, g h/2 goes round by way of the merged cell, with
        |         | u2 |      g = A_x / (3 h_x/2), and the rest through the face between u1 and u2. That face
        |    U    +----+      therefore gives up the share g h_y/2 / A_y = (h_y/h_x)^2 / 3 of its area.
        |         | u1 |
        +---------+----+

With it every linear field is an exact solution, the matrix stays symmetric and its couplings positive as long as the
share is below one, and merging costs an error of second order. Without it the flux beside a merged cell is wrong by a
third of the gradient along its face, however fine the grid.

A field that fills or empties a particle has sources everywhere, and there second order is not small enough: what a cell
of edge s holds counts by the value in its centre, and the mean lies s^2 u''/8 above it where u'' is the second
derivative along each axis. Merged cells would take four times that, and the difference between a particle's mean and
its surface would be 2 to 3 % too large with 6 to 8 voxels per radius. A merged cell therefore hands a share of a
smaller neighbour's volume over to it at each common face. By Gauss's theorem on the closed surface between merged and
smaller cells this takes the error away: one half since less flows through that surface, the other since the sum over
the volumes weighs larger values less. The share that does so is 1/18 in a sphere, 1/12 in a cylinder and 1/6 in a
plate, which fill from three, two and one directions. That of the cylinder is taken for all: grains that touch, and
grains that fill from one side first, lie between. Every phase keeps its volume.

Reference for the quadtree fluxes and their second order by giving all faces of one side the same gradient, which makes
some couplings negative: F. Losasso, R. Fedkiw, S. Osher, Comput. Fluids 35 (2006) 995-1010, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meshing.errors import MeshError
from meshing.image import AXES, VoxelImage
from meshing.mesh import Floats, Ints, Mesh, Patch

Grid = NDArray[np.uint8]
Indices = NDArray[np.int64]

MERGED_PHASES = ("active", "pore", "binder")
"""Phases whose cells merge unless others are named."""
NOTHING = 255
"""In a grid of phases: what does not merge."""
LOW_END = 127
"""Added to the phases of voxels that are as thick as the low end's and not as the high end's."""
HANDED_OVER = 1.0 / 12.0
"""Share of a cell's volume that it takes over from a larger one at each common face."""
SAME = 1e-9
"""Relative difference up to which two volumes are those of equal voxels."""


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """A mesh with merged cells, and what they were made of.

    Attributes
    ----------
    mesh
        Cells in the order of the first voxel of each, which is also their `position`; the other voxels' positions are
        free. Several faces of a side patch may lie on one cell.
    cell_of
        Merged cell that each cell of the fine mesh belongs to, shape (n_fine,): `values[cell_of]` spreads a field; each
        merged cell's value is that of its centre.
    """

    mesh: Mesh
    cell_of: Ints

    @property
    def level(self) -> NDArray[np.uint8]:
        """Edges of each cell are 2**level voxels long, shape (n_cells,)."""
        return np.zeros(self.mesh.n_cells, np.uint8) if self.mesh.level is None else self.mesh.level

    @property
    def voxels(self) -> Ints:
        """How many cells of the fine mesh each cell is made of, shape (n_cells,)."""
        return self.mesh.span**3


def merged_mesh(mesh: Mesh, levels: int = 1, phases: Sequence[str] = MERGED_PHASES) -> Merged:
    """The mesh with blocks of like cells made one cell each, away from every change of phase; itself where none is.

    Areas of faces between the same two cells add up, but for the share that they give up, and so do volumes, but for
    what merged cells hand over. Faces are in the order of the fine mesh; owners stay below neighbours, so that beside a
    merged cell the owner may lie on the high side. Two cells that share a face lie up to 2**levels planes apart.

    Parameters
    ----------
    mesh
        Voxels and layers, as `voxel_mesh` and `stack_mesh` make them; voxels are what is as thick as the cells at
        either end.
    levels
        How often blocks of two merge along each axis; 0 merges nothing.
    phases
        Names of the phases that merge; names the mesh does not know select nothing.

    Raises
    ------
    MeshError
        Where the mesh is no block of boxes, `levels` is negative, or the voxels are so far from cubes that a merged
        cell would leave some face no area.
    """
    _check(mesh, levels)
    if levels == 0:
        return Merged(mesh, np.arange(mesh.n_cells, dtype=np.int32))
    kind = _kinds(mesh, phases)
    grid = _grid(kind, levels)
    level = grid.level.ravel()
    if not level.any():
        return Merged(mesh, grid.cell_of)
    faces = _faces(mesh, grid, _shares(mesh, kind))
    edge = 2 ** level[grid.first].astype(np.int64)
    last = grid.first + (edge - 1) * (mesh.grid_shape[1] * mesh.grid_shape[2] + mesh.grid_shape[2] + 1)
    cells = replace(
        mesh,
        phase=mesh.phase[grid.first],
        volume=_volumes(mesh.volume[grid.first], level[grid.first], faces),
        centre=0.5 * (mesh.centre[grid.first] + mesh.centre[last]),
        owner=faces.owner,
        neighbour=faces.neighbour,
        area=faces.area,
        owner_distance=faces.owner_distance,
        neighbour_distance=faces.neighbour_distance,
        patches={
            name: Patch(grid.cell_of[patch.cells], patch.area, patch.distance * 2.0 ** level[patch.cells])
            for name, patch in mesh.patches.items()
        },
        interfaces=tuple(
            replace(pair, first=grid.cell_of[pair.first], second=grid.cell_of[pair.second]) for pair in mesh.interfaces
        ),
        position=mesh.position[grid.first],
        level=level[grid.first],
    )
    return Merged(cells, grid.cell_of)


def merged_counts(
    image: VoxelImage, start: int = 0, levels: int = 1, phases: Sequence[str] = MERGED_PHASES
) -> dict[str, int]:
    """Cells of each phase once the image's voxels have merged, without a mesh.

    Parameters
    ----------
    start
        Planes of the mesh in front of the image, which shift where blocks begin.
    levels, phases
        As `merged_mesh` takes them.
    """
    counts = np.array([np.count_nonzero(image.labels == k) for k in range(len(image.phases))])
    kind_of = np.where(np.isin(image.phases, phases), np.arange(len(image.phases)), NOTHING).astype(np.uint8)
    kind = kind_of[image.labels]
    kind = np.concatenate([np.full((start % 2**levels, *kind.shape[1:]), NOTHING, np.uint8), kind])
    for _ in range(levels):
        kind = _merged_blocks(kind)
        counts -= 7 * np.bincount(kind[kind != NOTHING], minlength=counts.size)
    return {name: int(count) for name, count in zip(image.phases, counts, strict=True)}


def _check(mesh: Mesh, levels: int) -> None:
    if levels < 0:
        raise MeshError(f"cells merge 0, 1 or more times along each axis, not {levels} times")
    shape = mesh.grid_shape
    whole = mesh.n_cells == np.prod(shape) and mesh.n_faces == sum(
        int(np.prod([n - (k == axis) for k, n in enumerate(shape)])) for axis in range(3)
    )
    if not whole or not np.array_equal(mesh.position.T, np.indices(shape).reshape(3, -1)):
        raise MeshError(
            f"only a whole block of boxes in C order can merge; this mesh has {mesh.n_cells} cells and {mesh.n_faces} "
            f"faces on a grid of {shape}; make it with voxel_mesh, and merge it once"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Which cell each voxel belongs to.

    level: of the cell, shape of the grid. cell_of: shape (n_fine,). first: first voxel of each cell, shape (n_cells,).
    """

    level: Grid
    cell_of: Ints
    first: Indices


def _kinds(mesh: Mesh, phases: Sequence[str]) -> Grid:
    """What merges with its like: the phase of each voxel, NOTHING in other phases and layers; shape of the grid.

    Voxels as thick as those at the high end and as thick as those at the low end, where these differ, are two kinds.
    """
    assert len(mesh.phases) <= LOW_END
    high, low = (np.abs(mesh.volume - volume) <= SAME * volume for volume in (mesh.volume[-1], mesh.volume[0]))
    merges = mesh.in_phase(*phases) & (high | low)
    kind = np.where(merges, np.where(high, mesh.phase, mesh.phase + np.uint8(LOW_END)), np.uint8(NOTHING))
    return kind.reshape(mesh.grid_shape)


def _grid(kind: Grid, levels: int) -> _Grid:
    shape = kind.shape
    level = np.zeros(shape, np.uint8)
    for k in range(1, levels + 1):
        kind = _merged_blocks(kind)
        if np.all(kind == NOTHING):
            break
        merged = (kind != NOTHING).astype(np.uint8)
        for axis in range(3):
            merged = merged.repeat(2**k, axis).take(range(shape[axis]), axis)
        level += merged  # what merges at level k has merged at all levels before
    first_of = np.zeros(shape, np.int64)
    stride = 1
    for axis in (2, 1, 0):
        first_of += stride * (_index(axis, shape) >> level << level)
        stride *= shape[axis]
    first = np.flatnonzero(first_of.ravel() == np.arange(first_of.size))
    number = np.empty(first_of.size, np.int32)
    number[first] = np.arange(first.size, dtype=np.int32)
    return _Grid(level, number[first_of.ravel()], first)


def _index(axis: int, shape: Sequence[int]) -> Indices:
    """Place along an axis, ready to be broadcast over the grid."""
    return np.arange(shape[axis]).reshape([-1 if k == axis else 1 for k in range(3)])


def _merged_blocks(kind: Grid) -> Grid:
    """Phase of each block of 2 x 2 x 2 that merges, NOTHING for the others; half the shape, rounded up.

    Past the sides along y and z the grid is its own mirror image, since nothing passes there; past the ends of x, and
    past an odd last plane, there is nothing.
    """
    crosses = [_blocks(kind, [4 if k == axis else 2 for k in range(3)]) for axis in range(3)]
    alike = (crosses[0] == crosses[1]) & (crosses[0] == crosses[2])
    return np.where(alike, crosses[0], np.uint8(NOTHING))


def _blocks(kind: Grid, widths: Sequence[int]) -> Grid:
    """Phase of each block of 2 x 2 x 2 where the windows around it are of one phase, NOTHING elsewhere.

    widths: of the window along each axis, 2 for the block alone, 4 for the block and its neighbours.
    """
    low = high = kind
    for axis, width in enumerate(widths):
        low, high = (_over_window(values, axis, width, least) for values, least in ((low, True), (high, False)))
    return np.where(low == high, low, np.uint8(NOTHING))


def _over_window(values: Grid, axis: int, width: int, least: bool) -> Grid:
    """Smallest or largest of the values in a window around each pair of planes."""
    planes = np.moveaxis(values, axis, 0)
    nothing = np.full((1, *planes.shape[1:]), NOTHING, np.uint8)
    before, behind = (nothing, nothing) if axis == 0 else (planes[:1], planes[-1:])
    odd = len(planes) % 2 == 1
    padded = np.concatenate([before, planes, *([nothing, nothing] if odd else [behind])])
    count = (len(planes) + 1) // 2
    chosen = range(4) if width == 4 else (1, 2)
    parts = [padded[k : k + 2 * count - 1 : 2] for k in chosen]
    return np.moveaxis(np.minimum.reduce(parts) if least else np.maximum.reduce(parts), 0, axis)


def given_up(size: Sequence[float]) -> Floats:
    """Share of its area that a face across one axis gives up for a merged cell beside it across another, shape (3, 3).

    Parameters
    ----------
    size
        Edges of a voxel, m.

    Raises
    ------
    MeshError
        Where two merged cells, one across each of the other axes, would leave a face nothing.
    """
    h = np.asarray(size, dtype=float)
    shares: Floats = (h[:, None] / h) ** 2 / 3.0
    np.fill_diagonal(shares, 0.0)
    if shares.sum(axis=1).max() >= 1.0:
        raise MeshError(
            f"voxels of {' x '.join(f'{1e6 * edge:.4g}' for edge in h)} um are too far from cubes to merge: no edge h "
            "may reach (h/a)^2 + (h/b)^2 = 3 with the other two, a and b; do without merging, or resample the image"
        )
    return shares


def _shares(mesh: Mesh, kind: Grid) -> Floats:
    """`given_up` of the voxels in each plane in which any may merge, shape (n_planes, 3, 3). Raises as that."""
    across = [2.0 * float(mesh.patches[f"{axis}-high"].distance[0]) for axis in AXES[1:]]
    thickness = mesh.volume.reshape(mesh.grid_shape)[:, 0, 0] / np.prod(across)
    shares = np.zeros((thickness.size, 3, 3))
    for plane in np.flatnonzero((kind != NOTHING).any(axis=(1, 2))):
        shares[plane] = given_up((thickness[plane], *across))
    return shares


@dataclass(frozen=True, slots=True, eq=False)
class _Faces:
    """Cells, area and distances of inner faces, as in `Mesh`."""

    owner: Ints
    neighbour: Ints
    area: Floats
    owner_distance: Floats
    neighbour_distance: Floats


def _faces(mesh: Mesh, grid: _Grid, shares: Floats) -> _Faces:
    """All inner faces, across x first, each with its owner below its neighbour."""
    shape, parts, start = mesh.grid_shape, [], 0
    for axis in range(3):
        parts.append(_faces_across(axis, mesh, grid, shares, start))
        start += int(np.prod([n - (k == axis) for k, n in enumerate(shape)]))
    low, high, area, low_distance, high_distance = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    turned = low > high
    return _Faces(
        owner=np.where(turned, high, low),
        neighbour=np.where(turned, low, high),
        area=area,
        owner_distance=np.where(turned, high_distance, low_distance),
        neighbour_distance=np.where(turned, low_distance, high_distance),
    )


def _faces_across(
    axis: int, mesh: Mesh, grid: _Grid, shares: Floats, start: int
) -> tuple[Ints, Ints, Floats, Floats, Floats]:
    """Cells on the low and on the high side, area and both distances of the faces across an axis.

    Between two cells there is one face, the size of the smaller cell's: that of its first voxel in the plane. The fine
    mesh's faces across this axis begin at `start`.
    """
    shape, whole = mesh.grid_shape, slice(None)
    sides = [tuple(cut if k == axis else whole for k in range(3)) for cut in (slice(None, -1), slice(1, None))]
    cells = [grid.cell_of.reshape(shape)[side] for side in sides]
    levels = [grid.level[side] for side in sides]
    smaller = np.minimum(*levels)
    kept = cells[0] != cells[1]
    for other in {0, 1, 2} - {axis}:
        place = _index(other, shape)
        kept &= place >> smaller << smaller == place
    found = np.flatnonzero(kept)
    low, high = (side.ravel()[found] for side in cells)
    low_level, high_level = (side.ravel()[found] for side in levels)
    keeps = _kept_area(grid, shares, axis, np.unravel_index(found, kept.shape), (low_level, high_level))
    face = found + start
    return (
        low,
        high,
        mesh.area[face] * 4.0 ** smaller.ravel()[found] * keeps,
        mesh.owner_distance[face] * 2.0**low_level,
        mesh.neighbour_distance[face] * 2.0**high_level,
    )


def _volumes(voxel: Floats, level: NDArray[np.uint8], faces: _Faces) -> Floats:
    """Volume that each cell stands for; what a larger one hands over at a common face is part of the smaller one's."""
    whole = voxel * 8.0**level
    uneven = np.flatnonzero(level[faces.owner] != level[faces.neighbour])
    owner, neighbour = faces.owner[uneven], faces.neighbour[uneven]
    above = level[owner] > level[neighbour]
    smaller, larger = np.where(above, neighbour, owner), np.where(above, owner, neighbour)
    moved = HANDED_OVER * whole[smaller]
    taken, given = (np.bincount(cells, moved, whole.size).astype(np.float64) for cells in (smaller, larger))
    volume: Floats = whole + taken - given
    return volume


def _kept_area(
    grid: _Grid, shares: Floats, axis: int, place: Sequence[NDArray[np.intp]], levels: Sequence[NDArray[np.uint8]]
) -> Floats:
    """Share of its area that each face across an axis keeps beside merged cells.

    shares: of the voxels in each plane. place: the voxel on its low side, per axis. levels: of the cells on its low
    and on its high side.
    """
    keeps = np.ones(levels[0].size)
    # the two cells lie in one block of the next level, so that a larger neighbour of one is the other's too
    together = np.flatnonzero((levels[0] == levels[1]) & ((place[axis] >> levels[0]) & 1 == 0))
    k = levels[0][together].astype(np.int64)
    for other in {0, 1, 2} - {axis}:
        beside = [along[together] for along in place]
        block = beside[other] >> (k + 1)
        upper = (beside[other] >> k) & 1 == 1
        beside[other] = np.where(upper, (block + 1) << (k + 1), (block << (k + 1)) - 1)
        inside = (beside[other] >= 0) & (beside[other] < grid.level.shape[other])
        beside[other] = np.where(inside, beside[other], 0)
        larger = inside & (grid.level[tuple(beside)] == k + 1)
        keeps[together[larger]] -= shares[place[0][together[larger]], axis, other]
    return keeps
