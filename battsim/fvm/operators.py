"""Finite-volume operators as products of a topology matrix and diagonal geometry.

With J the jump matrix of a face list (one row per face, +1 at the owner, -1 at the neighbour), a conserved flux f that
is positive from owner to neighbour leaves its cells by J^T f, and the driving difference of a cell field u is J u.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from meshing.mesh import Mesh

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


def jump(owner: Ints, neighbour: Ints, n_cells: int) -> sp.csr_array:
    """Matrix J with (J u)_f = u_owner - u_neighbour, shape (n_faces, n_cells)."""
    n = owner.size
    columns = np.stack([owner, neighbour], axis=1).ravel()
    return sp.csr_array((np.tile([1.0, -1.0], n), columns, np.arange(0, 2 * n + 1, 2)), shape=(n, n_cells))


def graph_components(first: Ints, second: Ints, n_nodes: int) -> Ints:
    """Number of the connected component of each node, shape (n_nodes,), of the graph with these edges."""
    graph = sp.coo_array((np.ones(first.size, np.int8), (first, second)), shape=(n_nodes, n_nodes))
    return np.asarray(connected_components(graph.tocsr(), directed=False)[1], dtype=np.int32)


def mesh_conductance(mesh: Mesh, faces: NDArray[np.intp], conductivity: Floats) -> Floats:
    """`face_conductance` of some inner faces of a mesh.

    Parameters
    ----------
    faces
        Indices of the faces, shape (n,).
    conductivity
        Of every cell of the mesh, shape (n_cells,), positive beside these faces.
    """
    return face_conductance(
        mesh.area[faces],
        mesh.owner_distance[faces],
        mesh.neighbour_distance[faces],
        conductivity[mesh.owner[faces]],
        conductivity[mesh.neighbour[faces]],
    )


def face_conductance(
    area: Floats, owner_distance: Floats, neighbour_distance: Floats, owner_value: Floats, neighbour_value: Floats
) -> Floats:
    """Two-point conductance of faces, A / (d_o / k_o + d_n / k_n): the harmonic mean, exact for layers in series.

    Parameters
    ----------
    area
        Face areas, shape (n_faces,), m2.
    owner_distance, neighbour_distance
        Cell centre to face, shape (n_faces,), m.
    owner_value, neighbour_value
        Conductivity k of either cell, shape (n_faces,), positive.
    """
    return area / (owner_distance / owner_value + neighbour_distance / neighbour_value)
