"""Which clusters of conducting voxels carry a flux, for what is assumed at the outer faces of an image.

The energy of a gradient that drives no flux is 0: no solver's relative error gets below that, so it is told beforehand,
from how the voxels hang together.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, connected_components

from battsim.errors import ImpossibleError
from battsim.post.transport.conductor import Conductor
from battsim.solvers.grid.problem import Fixed
from meshing.connect import components, reaching
from meshing.image import AXES

Boundary = Literal["periodic", "mirrored", "linear", "uniform-flux"]
"""What the field does at the outer faces of an image: see `battsim.post.transport.tensor`."""
Three = tuple[bool, bool, bool]
Mask = NDArray[np.bool_]


def carrying(what: Conductor, boundary: Boundary, threads: int) -> tuple[Mask, Three]:
    """Voxels of the clusters that carry a flux, shape (nx, ny, nz), and whether there are any along x, y, z."""
    voxels = what.voxels if what.conducts is None else what.conducts[what.voxels]
    labels, count = components(voxels, threads=threads)
    if boundary == "periodic":
        along = _closing(labels, count)
    elif boundary == "mirrored":
        along = np.stack([reaching(labels, count, axis, how="all") for axis in range(3)], axis=1)
    elif boundary == "linear":
        along = np.stack([_spanning(labels, count, axis) for axis in range(3)], axis=1)
    else:
        _check_outer_faces(labels > 0)
        along = np.zeros((count + 1, 3), bool)
        along[labels[0, 0, 0]] = True  # as all other outer voxels
    x, y, z = (bool(along[:, axis].any()) for axis in range(3))
    any_axis: Mask = along[:, 0] | along[:, 1] | along[:, 2]
    return any_axis[labels], (x, y, z)


def _check_outer_faces(conducting: Mask) -> None:
    for axis, name in enumerate(AXES):
        for end, place in (("low", 0), ("high", -1)):
            insulating = np.count_nonzero(~conducting.take(place, axis))
            if insulating:
                raise ImpossibleError(
                    f"boundary = 'uniform-flux': {insulating} voxels at the {end} {name} end insulate, so that no "
                    f"uniform flux can enter; this bound is 0. Use 'mirrored', or 'periodic' for an image that repeats"
                )


def _spanning(labels: NDArray[np.int32], count: int, axis: int) -> Mask:
    """Which clusters meet outer faces with different coordinates along an axis, shape (count + 1,)."""
    low, high = np.full(count + 1, np.inf), np.full(count + 1, -np.inf)
    for across in range(3):
        for place, end in zip((0, -1), linear_ends(labels.shape, (1.0, 1.0, 1.0), axis, across), strict=True):
            cluster = labels.take(place, across).ravel()
            value = np.broadcast_to(np.ravel(end.value), cluster.size)
            np.minimum.at(low, cluster, value)
            np.maximum.at(high, cluster, value)
    spans = high > low
    spans[0] = False
    return np.asarray(spans, bool)


def _closing(labels: NDArray[np.int32], count: int) -> Mask:
    """Along which axes closed paths through each cluster, in an endless row of images, get ahead, shape (count + 1, 3).

    Clusters of one image are nodes, the pairs that meet at a seam are edges with a step of one image. Along a tree the
    steps say in which image each cluster of the tree lies; any other edge that does not fit closes such a path.
    """
    first, second, step = _seams(labels)
    along = np.zeros((count + 1, 3), bool)
    if first.size:
        place, tree = _places(first, second, step, count)
        ahead = place[first] + step != place[second]
        np.logical_or.at(along, tree[first], ahead)
        along = along[tree]
    return along


def _seams(labels: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of clusters that meet at a seam, from high to low end, shape (n,), and the image's step, shape (n, 3)."""
    pairs, steps = [], []
    for axis in range(3):
        meeting = np.stack([labels.take(-1, axis).ravel(), labels.take(0, axis).ravel()]).astype(np.int64)
        pairs.append(np.unique(meeting[:, (meeting > 0).all(axis=0)], axis=1))
        steps.append(np.repeat(np.eye(3, dtype=np.int64)[axis][None], pairs[-1].shape[1], axis=0))
    first, second = np.concatenate(pairs, axis=1)
    return first, second, np.concatenate(steps)


def _places(
    first: NDArray[np.int64], second: NDArray[np.int64], step: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """In which image each cluster lies along a spanning forest, shape (count + 1, 3), and the number of its tree.

    Node 0 is the root of all trees, and is in none.
    """
    n = count + 1
    edges = sp.coo_array((np.ones(first.size), (first, second)), shape=(n, n)).tocsr()
    tree = connected_components(edges, directed=False)[1]
    roots = np.unique(tree[1:], return_index=True)[1] + 1
    rooted = edges + sp.coo_array((np.ones(roots.size), (np.zeros(roots.size, int), roots)), shape=(n, n)).tocsr()
    above = np.maximum(breadth_first_order(rooted, 0, directed=False)[1], 0).astype(np.int64)
    # of the edges that join a node to the one above it, any will do
    keys = np.concatenate([first * n + second, second * n + first])
    known, which = np.unique(keys, return_index=True)
    wanted = above * n + np.arange(n)
    place = np.zeros((n, 3), np.int64)
    inner = above > 0
    place[inner] = np.concatenate([step, -step])[which[np.searchsorted(known, wanted[inner])]]
    while above.any():
        place += place[above]
        above = above[above]
    return place, tree


def linear_ends(
    shape: tuple[int, ...], edges: tuple[float, float, float], axis: int, across: int
) -> tuple[Fixed, Fixed]:
    """The coordinate along `axis` of the centres of both ends' faces across `across`."""
    n, h = shape[axis], edges[axis]
    if axis == across:
        return Fixed(0.0), Fixed(n * h)
    others = [a for a in range(3) if a != across]
    centres = ((np.arange(n) + 0.5) * h)[:, None] if others[0] == axis else (np.arange(n) + 0.5) * h
    value = np.ascontiguousarray(np.broadcast_to(centres, [shape[a] for a in others]))
    return Fixed(value), Fixed(value)
