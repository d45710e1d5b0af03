"""Compiled kernels that turn a grid with unequal couplings into the network of its aggregates.

In each 2x2x2 block the voxels that strong couplings join make an aggregate: a coupling is strong from a share of the
largest one of both its ends, where couplings to fixed potentials count too: a voxel that one of these holds hardly
follows its neighbours. A voxel without any strong coupling follows its own strongest neighbour in the block, unless
that one is alone itself. Aggregates are numbered block by block in C order. A block's voxels are t = 4 di + 2 dj + dk.
"""

from typing import Any

import numpy as np
from numba import njit

from battsim.solvers.grid.block_kernels import Index, Long
from battsim.solvers.grid.uniform_kernels import Double, Single

_FAST: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_ROOM = 64  # pairs that one block can have: eight voxels with six faces each, and some to spare


@njit(inline="always")
def _at(i: int, j: int, k: int) -> tuple[int, int]:
    """Colour and place in its row of voxel (i, j, k), from 1."""
    return (i + j + k + 1) & 1, (k + 1) >> 1


@njit(inline="always")
def _face(g: Single, axis: int, i: int, j: int, k: int) -> np.float32:
    """Coupling of a voxel's low face."""
    c, m = _at(i, j, k)
    coupling: np.float32 = g[axis, c, i, j, m]
    return coupling


@njit(inline="always")
def _alone(g: Single, largest: Single, strength: float, i: int, j: int, k: int) -> bool:
    """Whether no coupling of a voxel is strong for both its ends."""
    c, m = _at(i, j, k)
    own = largest[c, i, j, m]
    o = 1 - c
    q = (k + 1) & 1
    sides = (
        (g[0, c, i, j, m], largest[o, i - 1, j, m]),
        (g[0, o, i + 1, j, m], largest[o, i + 1, j, m]),
        (g[1, c, i, j, m], largest[o, i, j - 1, m]),
        (g[1, o, i, j + 1, m], largest[o, i, j + 1, m]),
        (g[2, c, i, j, m], largest[o, i, j, m + q - 1]),
        (g[2, o, i, j, m + q], largest[o, i, j, m + q]),
    )
    for coupling, other in sides:  # noqa: SIM110 - numba compiles no generator in all()
        if coupling > 0 and other > 0 and coupling >= strength * max(own, other):
            return False
    return True


@njit(inline="always")
def _smallest(parent: Index, t: int) -> int:
    """Smallest voxel of t's set."""
    while parent[t] != t:
        t = parent[t]
    return t


@njit(**_FAST)
def aggregate_cells(
    start: int, stop: int, nz: int, strength: float, g: Single, largest: Single, aggregate: Index, total: Long
) -> None:
    """Aggregate of each cell, counted from 0 in each plane of blocks, and the number in each plane.

    largest: largest coupling of each cell, those to fixed potentials included; 0 where it has none. aggregate: both
    colours, -1 beforehand; it stays so where a cell has no coupling. A cell coupled to nothing but a fixed potential is
    an aggregate of its own, a node with a ground and an empty row.
    """
    nx, ny = largest.shape[1] - 2, largest.shape[2] - 2
    parent, number = np.empty(8, np.int32), np.empty(8, np.int32)
    for bi in range(start, stop):
        n = 0
        for j0 in range(1, ny + 1, 2):
            for k0 in range(1, nz + 1, 2):
                i0 = 2 * bi + 1
                for t in range(8):
                    i, j, k = i0 + (t >> 2), j0 + (t >> 1 & 1), k0 + (t & 1)
                    c, m = _at(i, j, k)
                    inside = i <= nx and j <= ny and k <= nz
                    parent[t] = t if inside and largest[c, i, j, m] > 0 else -1
                for t in range(8):
                    for axis in range(3):
                        bit = 4 >> axis
                        u = t ^ bit
                        if t & bit and parent[t] >= 0 and parent[u] >= 0:
                            i, j, k = i0 + (t >> 2), j0 + (t >> 1 & 1), k0 + (t & 1)
                            c, m = _at(i, j, k)
                            d, w = _at(i0 + (u >> 2), j0 + (u >> 1 & 1), k0 + (u & 1))
                            top = max(largest[c, i, j, m], largest[d, i0 + (u >> 2), j0 + (u >> 1 & 1), w])
                            coupling = g[axis, c, i, j, m]
                            if coupling > 0 and coupling >= strength * top:
                                a, b = _smallest(parent, t), _smallest(parent, u)
                                parent[max(a, b)] = min(a, b)
                for t in range(8):
                    i, j, k = i0 + (t >> 2), j0 + (t >> 1 & 1), k0 + (t & 1)
                    if parent[t] < 0 or not _alone(g, largest, strength, i, j, k):
                        continue
                    c, m = _at(i, j, k)
                    best, most = -1, strength * largest[c, i, j, m]
                    for axis in range(3):
                        u = t ^ (4 >> axis)
                        if parent[u] < 0:
                            continue
                        a, b, d = i0 + (u >> 2), j0 + (u >> 1 & 1), k0 + (u & 1)
                        coupling = _face(g, axis, max(i, a), max(j, b), max(k, d))
                        if coupling > 0 and coupling >= most and not _alone(g, largest, strength, a, b, d):
                            best, most = u, coupling
                    if best >= 0:
                        a, b = _smallest(parent, t), _smallest(parent, best)
                        parent[max(a, b)] = min(a, b)
                for t in range(8):
                    if parent[t] < 0:
                        continue
                    root = _smallest(parent, t)
                    if root == t:
                        number[t] = n
                        n += 1
                    i, j, k = i0 + (t >> 2), j0 + (t >> 1 & 1), k0 + (t & 1)
                    c, m = _at(i, j, k)
                    aggregate[c, i, j, m] = number[root]
        total[bi] = n


@njit(**_FAST)
def shift(start: int, stop: int, before: Long, aggregate: Index) -> None:
    """Count on from the planes of blocks before."""
    for i in range(2 * start + 1, min(2 * stop, aggregate.shape[1] - 2) + 1):
        for c in range(2):
            for j in range(1, aggregate.shape[2] - 1):
                row = aggregate[c, i, j]
                for m in range(row.size):
                    if row[m] >= 0:
                        row[m] += before[(i - 1) >> 1]


@njit(inline="always")
def _note(one: int, other: int, coupling: float, n: int, own: Index, theirs: Index, weight: Double) -> int:
    """Add a coupling between two aggregates to the list of n pairs; its new length."""
    if coupling <= 0 or one < 0 or other < 0 or one == other:
        return n
    k = 0
    while k < n and not (own[k] == one and theirs[k] == other):
        k += 1
    if k == n:
        own[n], theirs[n], weight[n] = one, other, 0.0
        n += 1
    weight[k] += coupling
    return n


@njit(inline="always")
def _sort(n: int, own: Index, theirs: Index, weight: Double) -> None:
    """Pairs in ascending order."""
    for k in range(1, n):
        a, b, w = own[k], theirs[k], weight[k]
        h = k - 1
        while h >= 0 and (own[h] > a or (own[h] == a and theirs[h] > b)):
            own[h + 1], theirs[h + 1], weight[h + 1] = own[h], theirs[h], weight[h]
            h -= 1
        own[h + 1], theirs[h + 1], weight[h + 1] = a, b, w


@njit(inline="always")
def _first_of(k: int, own: Index) -> int:
    """First pair of the sorted list with the same row as pair k."""
    while k > 0 and own[k - 1] == own[k]:
        k -= 1
    return k


@njit(**_FAST)
def couplings(
    start: int,
    stop: int,
    nz: int,
    g: Single,
    aggregate: Index,
    pointers: Index,
    columns: Index,
    weights: Single,
    position: Index,
) -> None:
    """Count the entries of each row into pointers[row + 1] or, where `columns` has room, fill the rows, sorted.

    The padding of `aggregate` is -1, so that nothing reaches beyond the grid: couplings to fixed potentials and across
    periodic ends come later. position: block of each aggregate, written with the rows.
    """
    filling = columns.size > 0
    nx, ny = aggregate.shape[1] - 2, aggregate.shape[2] - 2
    own, theirs, weight = np.empty(_ROOM, np.int32), np.empty(_ROOM, np.int32), np.empty(_ROOM, np.float64)
    for bi in range(start, stop):
        for j0 in range(1, ny + 1, 2):
            for k0 in range(1, nz + 1, 2):
                n = 0
                for t in range(8):
                    i, j, k = 2 * bi + 1 + (t >> 2), j0 + (t >> 1 & 1), k0 + (t & 1)
                    if i > nx or j > ny or k > nz:
                        continue
                    c, m = _at(i, j, k)
                    a = aggregate[c, i, j, m]
                    if a < 0:
                        continue
                    o = 1 - c
                    q = (k + 1) & 1
                    if filling:
                        position[a, 0], position[a, 1], position[a, 2] = bi, (j0 - 1) >> 1, (k0 - 1) >> 1
                    n = _note(a, aggregate[o, i - 1, j, m], g[0, c, i, j, m], n, own, theirs, weight)
                    n = _note(a, aggregate[o, i + 1, j, m], g[0, o, i + 1, j, m], n, own, theirs, weight)
                    n = _note(a, aggregate[o, i, j - 1, m], g[1, c, i, j, m], n, own, theirs, weight)
                    n = _note(a, aggregate[o, i, j + 1, m], g[1, o, i, j + 1, m], n, own, theirs, weight)
                    n = _note(a, aggregate[o, i, j, m + q - 1], g[2, c, i, j, m], n, own, theirs, weight)
                    n = _note(a, aggregate[o, i, j, m + q], g[2, o, i, j, m + q], n, own, theirs, weight)
                if not filling:
                    for k in range(n):
                        pointers[own[k] + 1] += 1
                    continue
                _sort(n, own, theirs, weight)
                for k in range(n):
                    entry = pointers[own[k]] + (k - _first_of(k, own))
                    columns[entry], weights[entry] = theirs[k], weight[k]
