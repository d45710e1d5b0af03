"""The same mesh for FiPy, so that other equations can be written on it in FiPy's own language.

FiPy's traps, for whoever solves on it: the default solver is a direct factorisation, which 3-D meshes of more than
about 1e4 cells do not survive; a solver that fails to converge only warns; negative coefficients pass silently.
"""

from __future__ import annotations

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

    sizes = _box_sizes(mesh)
    edges = [np.concatenate([[0.0], np.cumsum(size)]) for size in sizes]
    vertices = np.stack([grid.ravel() for grid in np.meshgrid(*edges, indexing="ij")])
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
