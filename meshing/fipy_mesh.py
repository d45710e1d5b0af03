"""The same mesh for FiPy, so that other equations can be written on it in FiPy's own language.

`fipy_mesh` is the block itself. `fipy_sheets` is for fields that live on some cells only, or twice on the same cell:
two currents that both cross a porous solid are two sheets over the same cells, joined where they exchange something.

FiPy's traps, for whoever solves on it: the default solver is a direct factorisation, which 3-D meshes of more than
about 1e4 cells do not survive; a solver that fails to converge only warns; negative coefficients pass silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshing.errors import MeshError
from meshing.image import AXES
from meshing.mesh import Floats, Mesh


def fipy_mesh(mesh: Mesh) -> Any:
    """The mesh as a `fipy.meshes.mesh.Mesh` with the same axes, metres and numbering.

    Cell k is cell k of `mesh`, and face k < n_faces is its inner face k, with the owner as first and the neighbour as
    second cell; boundary faces follow, patch by patch in the order of `mesh.patches`. FiPy's `facesLeft` is x-low,
    `facesBottom` y-low, `facesFront` z-low.

    Raises
    ------
    MeshError
        Where the mesh is no block of boxes, as `voxel_mesh` makes them.
    """
    # imported here: fipy takes seconds and looks at the command line
    from fipy.meshes.mesh import Mesh as FipyMesh

    vertices = _vertices(_box_sizes(mesh))
    low_cells, high_cells, axis = _faces(mesh)
    corner = np.where(low_cells >= 0, mesh.position[low_cells].T, mesh.position[high_cells].T)
    corner = corner + (low_cells >= 0) * (np.arange(3)[:, None] == axis)
    cells = np.empty((6, mesh.n_cells), np.int64)
    faces = np.arange(axis.size)
    for k in range(3):
        for row, side in ((2 * k, high_cells), (2 * k + 1, low_cells)):
            here = (axis == k) & (side >= 0)
            cells[row, side[here]] = faces[here]
    return FipyMesh(vertices, _face_corners(corner, axis, mesh.grid_shape), cells)


def fipy_sheets(
    mesh: Mesh, cells: NDArray[np.integer], pairs: NDArray[np.integer], ends: Mapping[str, NDArray[np.integer]]
) -> Any:
    """A `fipy.meshes.mesh.Mesh` whose cells stand on cells of `mesh`, several on the same one where wanted.

    Cell k has the centre and the volume of mesh cell cells[k], and only the faces that are asked for: face k joins the
    cells pairs[:, k] and has the area and the distances of the face between their boxes; the boundary faces of `ends`
    follow in its order.

    Parameters
    ----------
    mesh
        A whole block of boxes, as `voxel_mesh` makes it.
    cells
        Mesh cell under each cell, shape (n,).
    pairs
        Cells on both sides of each inner face, the lower number first, shape (2, n_inner); their boxes are neighbours.
    ends
        By name of a patch of `mesh`: cells with a boundary face there.

    Raises
    ------
    MeshError
        Where the mesh is no block of boxes, or a pair has no common face.
    """
    vertices = _vertices(_box_sizes(mesh))
    position = mesh.position[cells].T.astype(np.int64)
    low, high = position[:, pairs[0]], position[:, pairs[1]]
    step = np.abs(high - low)
    apart = np.flatnonzero((step.sum(axis=0) != 1) | (pairs[0] >= pairs[1]))
    if apart.size:
        k = apart[0]
        raise MeshError(
            f"a pair names the cells {pairs[0, k]} at {low[:, k]} and {pairs[1, k]} at {high[:, k]} of the grid; "
            "a face needs neighbouring boxes, and the lower number first"
        )
    corner, axis, nodes = [np.maximum(low, high)], [step.argmax(axis=0)], [pairs[0], pairs[1]]
    for name, at in ends.items():
        k = AXES.index(name[0])
        corner.append(position[:, at] + (np.arange(3)[:, None] == k) * (not name.endswith("low")))
        axis.append(np.full(at.size, k))
        nodes.append(at)
    n_inner, n_ends = pairs.shape[1], sum(at.size for at in ends.values())
    faces = np.concatenate([np.arange(n_inner), np.arange(n_inner), n_inner + np.arange(n_ends)])
    return _sheet_mesh(
        vertices,
        _face_corners(np.concatenate(corner, axis=1), np.concatenate(axis), mesh.grid_shape),
        _faces_of_cells(np.concatenate(nodes), faces, cells.size),
        mesh.centre[cells].T,
        mesh.volume[cells],
    )


def _sheet_mesh(
    vertices: Floats, faces: NDArray[np.int64], cells: NDArray[np.int64], centres: Floats, volumes: Floats
) -> Any:
    """A FiPy mesh that is told the centres and volumes of cells whose faces do not close."""
    from fipy.meshes.mesh import Mesh as FipyMesh

    class SheetMesh(FipyMesh):  # type: ignore[misc]
        """Cells whose geometry is not that of their faces."""

        def _calcCellCenters(self) -> Floats:
            return centres

        def _calcCellVolumes(self) -> Floats:
            return volumes

    return SheetMesh(vertices, faces, cells)


def _faces_of_cells(cells: NDArray[np.integer], faces: NDArray[np.int64], n_cells: int) -> NDArray[np.int64]:
    """Faces of each cell from a list of (cell, face), shape (most per cell, n_cells), filled up with -1."""
    order = np.lexsort((faces, cells))
    counts = np.bincount(cells, minlength=n_cells)
    rank = np.arange(cells.size) - np.repeat(np.cumsum(counts) - counts, counts)
    out = np.full((counts.max(), n_cells), -1, np.int64)
    out[rank, cells[order]] = faces[order]
    return out


def _vertices(sizes: list[Floats]) -> Floats:
    """Corners of the boxes in C order, shape (3, n), m."""
    edges = [np.concatenate([[0.0], np.cumsum(size)]) for size in sizes]
    return np.stack([grid.ravel() for grid in np.meshgrid(*edges, indexing="ij")])


def _box_sizes(mesh: Mesh) -> list[Floats]:
    """Edge lengths of the boxes along each axis, m; raises MeshError where they do not make up the mesh."""
    names = [f"{letter}-{end}" for letter in AXES for end in ("low", "high")]
    whole = mesh.n_cells == np.prod(mesh.grid_shape) and list(mesh.patches) == names
    if not whole or not np.array_equal(mesh.position.T, np.indices(mesh.grid_shape).reshape(3, -1)):
        raise MeshError(
            f"only a whole block of boxes in C order with the patches {', '.join(names)} becomes a FiPy mesh; "
            f"this one has {mesh.n_cells} cells on a grid of {mesh.grid_shape} and "
            f"the patches {', '.join(mesh.patches)}; make it with voxel_mesh"
        )
    _, _, axis = _faces(mesh)
    sizes = []
    for k, letter in enumerate(AXES):
        size = np.full(mesh.grid_shape[k], 2 * mesh.patches[f"{letter}-low"].distance[0])
        across = np.flatnonzero(axis[: mesh.n_faces] == k)
        size[mesh.position[mesh.neighbour[across], k]] = 2 * mesh.neighbour_distance[across]
        sizes.append(size)
    return sizes


def _faces(mesh: Mesh) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cell on the low side, cell on the high side (-1: none) and axis of all faces, boundary faces last."""
    low, high = [mesh.owner], [mesh.neighbour]
    step = mesh.position[mesh.neighbour] - mesh.position[mesh.owner]
    axis = [step.argmax(axis=1)]
    for name, patch in mesh.patches.items():
        nothing = np.full_like(patch.cells, -1)
        low.append(nothing if name.endswith("low") else patch.cells)
        high.append(patch.cells if name.endswith("low") else nothing)
        axis.append(np.full(patch.cells.size, AXES.index(name[0])))
    return np.concatenate(low).astype(np.int64), np.concatenate(high).astype(np.int64), np.concatenate(axis)


def _face_corners(
    corner: NDArray[np.integer], axis: NDArray[np.int64], shape: tuple[int, int, int]
) -> NDArray[np.int64]:
    """Vertices of the faces around their rim, shape (4, n_faces), from the lowest corner of each."""
    strides = np.array([(shape[1] + 1) * (shape[2] + 1), shape[2] + 1, 1])
    first = strides @ corner
    b, c = strides[(axis + 1) % 3], strides[(axis + 2) % 3]
    return np.stack([first, first + b, first + b + c, first + c])
