"""How a grid of voxels lies in memory for the finest level: split by colour, padded by one voxel.

Voxel (i, j, k), each counted from 1 (0 and n + 1 are padding), has the colour c = (i + j + k + 1) & 1: red 0, black 1.
With q = (i + j + c) & 1 the voxels of one colour in row (i, j) are k = 2 m - 1 + q, and

    x[c, i, j, m],   shape (2, nx + 2, ny + 2, ceil(nz / 2) + 2).

All neighbours of a voxel have the other colour. Those along x and y lie at the same m in the neighbouring rows, those
along z at m and at m + 2 q - 1 of the same row, so that the update of one colour is a loop over contiguous memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Shape = tuple[int, int, int]


def plain(values: NDArray[Any]) -> NDArray[Any]:
    """The values themselves or, where these are not contiguous, writable and in this machine's byte order, a copy.

    Compiled kernels take any layout, but are compiled anew for each.
    """
    return np.require(values, values.dtype.newbyteorder("="), ["C", "W", "E"])


def split_shape(shape: Shape) -> tuple[int, int, int, int]:
    """Shape of a colour-split vector on a grid."""
    nx, ny, nz = shape
    return 2, nx + 2, ny + 2, (nz + 1) // 2 + 2


@njit(cache=True, nogil=True, error_model="numpy")
def split_planes(start: int, stop: int, values: NDArray[Any], x: NDArray[Any]) -> None:
    """Write values, shape (nx, ny, nz), into the cells of x, plane by plane."""
    nz = values.shape[2]
    for i in range(start + 1, stop + 1):
        for j in range(1, values.shape[1] + 1):
            for c in range(2):
                q = (i + j + c) & 1
                out = x[c, i, j]
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    out[m] = values[i - 1, j - 1, 2 * m - 2 + q]


@njit(cache=True, nogil=True, error_model="numpy")
def joined_planes(start: int, stop: int, x: NDArray[Any], values: NDArray[Any]) -> None:
    """Write the cells of x into values, shape (nx, ny, nz), plane by plane."""
    nz = values.shape[2]
    for i in range(start + 1, stop + 1):
        for j in range(1, values.shape[1] + 1):
            for c in range(2):
                q = (i + j + c) & 1
                row = x[c, i, j]
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    values[i - 1, j - 1, 2 * m - 2 + q] = row[m]


def layer(x: NDArray[Any], shape: Shape, axis: int, index: int) -> NDArray[Any]:
    """Values of one padded layer across an axis, index 0 ... n + 1, shape of the two other axes without padding."""
    nx, ny, nz = shape
    i, j, k = np.ogrid[1 : nx + 1, 1 : ny + 1, 1 : nz + 1]
    values: NDArray[Any] = np.take(x[_where(*_at(axis, index, i, j, k))], 0, axis)
    return values


def set_layer(x: NDArray[Any], shape: Shape, axis: int, index: int, values: NDArray[Any] | float) -> None:
    """Write one padded layer across an axis, index 0 ... n + 1; values: shape of the two other axes, or a number."""
    nx, ny, nz = shape
    i, j, k = np.ogrid[1 : nx + 1, 1 : ny + 1, 1 : nz + 1]
    x[_where(*_at(axis, index, i, j, k))] = np.expand_dims(values, axis) if isinstance(values, np.ndarray) else values


def _at(axis: int, index: int, *grid: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The open grid with one axis fixed."""
    fixed = list(grid)
    fixed[axis] = np.full((1, 1, 1), index)
    return fixed


def _where(
    i: NDArray[np.intp], j: NDArray[np.intp], k: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Indices c, i, j, m of voxels."""
    c = (i + j + k + 1) & 1
    return c, i, j, (k + 1) >> 1  # q = (k + 1) & 1, m = (k + 1 - q) / 2
