"""Compiled kernels that turn a grid into the network of its aggregates, where all couplings are alike.

The aggregates are the connected parts of the conducting voxels in each 2x2x2 block. Which parts eight voxels make is
looked up by the byte of their occupancy, bit t = 4 di + 2 dj + dk. Aggregates are numbered block by block in C order,
so that the network's rows come plane by plane. Each kernel works on the planes start ... stop - 1 of blocks. Indices of
a block are bi, bj, bk, those of a voxel i, j, k.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Byte = NDArray[np.uint8]
Index = NDArray[np.int32]
Single = NDArray[np.float32]
Long = NDArray[np.int64]

_FAST: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def parts_of_blocks() -> tuple[Byte, Byte]:
    """Number of connected parts of each occupancy, shape (256,), and the part of each voxel in it, shape (256, 8)."""
    counts, parts = np.zeros(256, np.uint8), np.zeros((256, 8), np.uint8)
    for byte in range(256):
        left = {t for t in range(8) if byte >> t & 1}
        while left:
            reached = [min(left)]
            for t in reached:  # grows while it is walked
                left.discard(t)
                reached += [t ^ bit for bit in (1, 2, 4) if t ^ bit in left and t ^ bit not in reached]
            parts[byte, reached] = counts[byte]
            counts[byte] += 1
    return counts, parts


def sides_of_blocks(parts: Byte) -> tuple[Byte, Byte, Byte]:
    """Tables of what each occupancy has at its six sides, and the number of bits of 0 ... 15.

    Which of a side's four voxels conduct, as bits, shape (3, 2, 256), and the parts of these voxels, (3, 2, 256, 4).
    Sides count by axis and by low (0) or high (1) end; opposite sides have their voxels in the same order.
    """
    sides, behind = np.zeros((3, 2, 256), np.uint8), np.zeros((3, 2, 256, 4), np.uint8)
    for axis in range(3):
        for high in range(2):
            at_side = [t for t in range(8) if (t >> (2 - axis) & 1) == high]
            for f, t in enumerate(at_side):
                sides[axis, high] |= ((np.arange(256) >> t & 1) << f).astype(np.uint8)
                behind[axis, high, :, f] = parts[:, t]
    bits = np.array([value.bit_count() for value in range(16)], np.uint8)
    return sides, behind, bits


@njit(**_FAST)
def occupy(start: int, stop: int, conducting: Byte, counts: Byte, occupancy: Byte, total: Long) -> None:
    """Occupancy byte of each block, and the number of parts in each plane of blocks."""
    nx, ny, nz = conducting.shape
    for bi in range(start, stop):
        n = 0
        for i in range(2 * bi, min(2 * bi + 2, nx)):
            for j in range(ny):
                row, out = conducting[i, j], occupancy[bi, j >> 1]
                shift = 4 * (i & 1) + 2 * (j & 1)
                for bk in range(nz >> 1):
                    out[bk] |= (row[2 * bk] | (row[2 * bk + 1] << 1)) << shift
                if nz & 1:
                    out[nz >> 1] |= row[nz - 1] << shift
        for bj in range(occupancy.shape[1]):
            for bk in range(occupancy.shape[2]):
                n += counts[occupancy[bi, bj, bk]]
        total[bi] = n


@njit(**_FAST)
def number_blocks(start: int, stop: int, counts: Byte, occupancy: Byte, before: Long, first: Index) -> None:
    """Number of each block's first aggregate; `before` counts the aggregates of the planes before."""
    for bi in range(start, stop):
        n = before[bi]
        for bj in range(occupancy.shape[1]):
            for bk in range(occupancy.shape[2]):
                first[bi, bj, bk] = n
                n += counts[occupancy[bi, bj, bk]]


@njit(**_FAST)
def number_cells(start: int, stop: int, nz: int, parts: Byte, occupancy: Byte, first: Index, aggregate: Index) -> None:
    """Aggregate of each cell, split by colour (of as many colours as the array has); -1 where nothing conducts."""
    for i in range(2 * start + 1, min(2 * stop, aggregate.shape[1] - 2) + 1):
        for j in range(1, aggregate.shape[2] - 1):
            for c in range(aggregate.shape[0]):
                q = (i + j + c) & 1
                t = 4 * ((i - 1) & 1) + 2 * ((j - 1) & 1) + q
                out = aggregate[c, i, j]
                bytes_, numbers = occupancy[(i - 1) >> 1, (j - 1) >> 1], first[(i - 1) >> 1, (j - 1) >> 1]
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    byte = bytes_[m - 1]
                    out[m] = numbers[m - 1] + parts[byte, t] if byte >> t & 1 else -1


@njit(**_FAST)
def place(start: int, stop: int, counts: Byte, occupancy: Byte, first: Index, position: Index) -> None:
    """Block indices of each aggregate, shape (n, 3)."""
    for bi in range(start, stop):
        for bj in range(occupancy.shape[1]):
            for bk in range(occupancy.shape[2]):
                n = first[bi, bj, bk]
                for k in range(n, n + counts[occupancy[bi, bj, bk]]):
                    position[k, 0], position[k, 1], position[k, 2] = bi, bj, bk


@njit(inline="always")
def _pairs(common: int, parts_here: Byte, parts_there: Byte, own: Byte, theirs: Byte, faces: Byte) -> int:
    """Pairs of parts that meet across one side of a block, with the number of their faces; how many pairs there are.

    common: which of the side's four faces conduct; parts_here, parts_there: part behind each of them. Pairs come in
    ascending order of `theirs`.
    """
    n = 0
    for f in range(4):
        if common >> f & 1:
            a, b = parts_here[f], parts_there[f]
            k = 0
            while k < n and not (own[k] == a and theirs[k] == b):
                k += 1
            if k == n:
                while k > 0 and theirs[k - 1] > b:
                    own[k], theirs[k], faces[k] = own[k - 1], theirs[k - 1], faces[k - 1]
                    k -= 1
                own[k], theirs[k], faces[k] = a, b, 0
                n += 1
            faces[k] += 1
    return n


@njit(**_FAST)
def couplings(
    start: int,
    stop: int,
    tables: tuple[Byte, Byte, Byte, Byte],
    occupancy: Byte,
    first: Index,
    pointers: Index,
    columns: Index,
    weights: Single,
) -> None:
    """Count the entries of each row into pointers[row + 1] or, where `columns` has room, fill the rows, sorted.

    tables: the counts of `parts_of_blocks` and all that `sides_of_blocks` returns.
    """
    counts, sides, parts_of_sides, bits = tables
    filling = columns.size > 0
    size = occupancy.shape
    own, theirs, faces, at = np.empty(4, np.uint8), np.empty(4, np.uint8), np.empty(4, np.uint8), np.zeros(4, np.int64)
    for bi in range(start, stop):
        for bj in range(size[1]):
            for bk in range(size[2]):
                byte = occupancy[bi, bj, bk]
                if byte == 0:
                    continue
                row = first[bi, bj, bk]
                for k in range(counts[byte]):
                    at[k] = 0
                for side in range(6):  # columns ascend from the neighbour at low x to the one at high x
                    axis = side if side < 3 else 5 - side
                    high = 0 if side < 3 else 1
                    a = bi + (2 * high - 1 if axis == 0 else 0)
                    b = bj + (2 * high - 1 if axis == 1 else 0)
                    c = bk + (2 * high - 1 if axis == 2 else 0)
                    if a < 0 or b < 0 or c < 0 or a == size[0] or b == size[1] or c == size[2]:
                        continue
                    other = occupancy[a, b, c]
                    common = sides[axis, high, byte] & sides[axis, 1 - high, other]
                    if common == 0:
                        continue
                    if counts[byte] == 1 and counts[other] == 1:
                        own[0], theirs[0], faces[0], n = 0, 0, bits[common], 1
                    else:
                        here, there = parts_of_sides[axis, high, byte], parts_of_sides[axis, 1 - high, other]
                        n = _pairs(common, here, there, own, theirs, faces)
                    for k in range(n):
                        if filling:
                            entry = pointers[row + own[k]] + at[own[k]]
                            columns[entry] = first[a, b, c] + theirs[k]
                            weights[entry] = faces[k]
                        at[own[k]] += 1
                if not filling:
                    for k in range(counts[byte]):
                        pointers[row + k + 1] = at[k]
