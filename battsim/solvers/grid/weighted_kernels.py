"""Compiled kernels of the finest level where couplings differ: ``g[axis, c, i, j, m]`` is that of a cell's low face.

The face at the high side of a cell is the low face of its neighbour, so that the padding behind the last layer holds
the couplings of the last faces: to a fixed potential, or across a periodic end. Residuals are sums of differences,
which lose nothing where the potential is smooth. Layout and sums as in uniform_kernels.py.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from battsim.solvers.grid.uniform_kernels import Double, Index, Single

_FAST: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz"},
}


@njit(**_FAST)
def sweep_colour(start: int, stop: int, c: int, nz: int, inverse: Single, g: Single, b: Single, x: Single) -> None:
    """Gauss-Seidel on the cells of one colour."""
    o = 1 - c
    for i in range(start + 1, stop + 1):
        for j in range(1, x.shape[2] - 1):
            q = (i + j + c) & 1
            d, v, out = inverse[c, i, j], b[c, i, j], x[c, i, j]
            xm, xp, ym, yp, z = x[o, i - 1, j], x[o, i + 1, j], x[o, i, j - 1], x[o, i, j + 1], x[o, i, j]
            gxm, gxp, gym, gyp = g[0, c, i, j], g[0, o, i + 1, j], g[1, c, i, j], g[1, o, i, j + 1]
            gzm, gzp = g[2, c, i, j], g[2, o, i, j]
            for m in range(1, (nz + 1 - q) // 2 + 1):
                out[m] = d[m] * (
                    v[m]
                    + ((gxm[m] * xm[m] + gxp[m] * xp[m]) + (gym[m] * ym[m] + gyp[m] * yp[m]))
                    + (gzm[m] * z[m + q - 1] + gzp[m + q] * z[m + q])
                )


@njit(**_FAST)
def restrict_red(start: int, stop: int, nz: int, g: Single, x: Single, aggregate: Index, coarse_b: Single) -> None:
    """Sum the residual of the red cells over aggregates, after a sweep from zero; start, stop count pairs of planes."""
    for i in range(2 * start + 1, min(2 * stop, x.shape[1] - 2) + 1):
        for j in range(1, x.shape[2] - 1):
            q = (i + j) & 1
            to = aggregate[0, i, j]
            xm, xp, ym, yp, z = x[1, i - 1, j], x[1, i + 1, j], x[1, i, j - 1], x[1, i, j + 1], x[1, i, j]
            gxm, gxp, gym, gyp = g[0, 0, i, j], g[0, 1, i + 1, j], g[1, 0, i, j], g[1, 1, i, j + 1]
            gzm, gzp = g[2, 0, i, j], g[2, 1, i, j]
            for m in range(1, (nz + 1 - q) // 2 + 1):
                if to[m] >= 0:
                    coarse_b[to[m]] += ((gxm[m] * xm[m] + gxp[m] * xp[m]) + (gym[m] * ym[m] + gyp[m] * yp[m])) + (
                        gzm[m] * z[m + q - 1] + gzp[m + q] * z[m + q]
                    )


@njit(**_FAST)
def curvature(start: int, stop: int, nz: int, g: Single, p: Single, total: Double) -> None:
    """Write p.A p by planes, in float64."""
    for i in range(start + 1, stop + 1):
        plane = 0.0
        for c in range(2):
            o = 1 - c
            for j in range(1, p.shape[2] - 1):
                q = (i + j + c) & 1
                here = p[c, i, j]
                xm, xp, ym, yp, z = p[o, i - 1, j], p[o, i + 1, j], p[o, i, j - 1], p[o, i, j + 1], p[o, i, j]
                gxm, gxp, gym, gyp = g[0, c, i, j], g[0, o, i + 1, j], g[1, c, i, j], g[1, o, i, j + 1]
                gzm, gzp = g[2, c, i, j], g[2, o, i, j]
                row = 0.0
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    u = np.float64(here[m])
                    row += u * (
                        (gxm[m] * (u - xm[m]) + gxp[m] * (u - xp[m]))
                        + (gym[m] * (u - ym[m]) + gyp[m] * (u - yp[m]))
                        + (gzm[m] * (u - z[m + q - 1]) + gzp[m + q] * (u - z[m + q]))
                    )
                plane += row
        total[i - 1] = plane


@njit(**_FAST)
def advance(
    start: int,
    stop: int,
    nz: int,
    g: Single,
    p: Single,
    step: float,
    scale: float,
    x: Double,
    r: Single,
    sums: Double,
) -> None:
    """Step on: x += step scale p, r -= step A p, and write the sums of r^2 and of r by planes."""
    for i in range(start + 1, stop + 1):
        plane = total = 0.0
        for c in range(2):
            o = 1 - c
            for j in range(1, p.shape[2] - 1):
                q = (i + j + c) & 1
                here, out, res = p[c, i, j], x[c, i, j], r[c, i, j]
                xm, xp, ym, yp, z = p[o, i - 1, j], p[o, i + 1, j], p[o, i, j - 1], p[o, i, j + 1], p[o, i, j]
                gxm, gxp, gym, gyp = g[0, c, i, j], g[0, o, i + 1, j], g[1, c, i, j], g[1, o, i, j + 1]
                gzm, gzp = g[2, c, i, j], g[2, o, i, j]
                row = plain = 0.0
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    u = np.float64(here[m])
                    product = (
                        (gxm[m] * (u - xm[m]) + gxp[m] * (u - xp[m]))
                        + (gym[m] * (u - ym[m]) + gyp[m] * (u - yp[m]))
                        + (gzm[m] * (u - z[m + q - 1]) + gzp[m + q] * (u - z[m + q]))
                    )
                    out[m] += step * scale * u
                    left = res[m] - step * product
                    res[m] = left
                    row += left * left
                    plain += left
                plane += row
                total += plain
        sums[0, i - 1], sums[1, i - 1] = plane, total


@njit(inline="always")
def _half_resistance(voxels: NDArray[Any], table: Double | None, i: int, j: int, k: int) -> np.float64:
    """Half resistance 1/(2 k) of a voxel; i, j, k from 0."""
    # numba drops the branch that does not apply
    r: np.float64 = 0.5 / np.float64(voxels[i, j, k]) if table is None else table[voxels[i, j, k]]
    return r


@njit(**_FAST)
def low_faces(
    start: int,
    stop: int,
    voxels: NDArray[Any],
    table: Double | None,
    factor: Double,
    periodic: NDArray[np.bool_],
    g: Single,
) -> None:
    """Couplings of the low faces of all cells in units of 1 / `factor`; those of outer faces are 0 unless periodic."""
    nx, ny, nz = voxels.shape
    for i in range(start, stop):
        for j in range(ny):
            for c in range(2):
                q = (i + j + c) & 1
                gx, gy, gz = g[0, c, i + 1, j + 1], g[1, c, i + 1, j + 1], g[2, c, i + 1, j + 1]
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    k = 2 * m - 2 + q
                    r = _half_resistance(voxels, table, i, j, k)
                    if i > 0 or periodic[0]:
                        gx[m] = factor[0] / (r + _half_resistance(voxels, table, i - 1 if i > 0 else nx - 1, j, k))
                    if j > 0 or periodic[1]:
                        gy[m] = factor[1] / (r + _half_resistance(voxels, table, i, j - 1 if j > 0 else ny - 1, k))
                    if k > 0 or periodic[2]:
                        gz[m] = factor[2] / (r + _half_resistance(voxels, table, i, j, k - 1 if k > 0 else nz - 1))


@njit(**_FAST)
def invert_sums(start: int, stop: int, nz: int, g: Single, inverse: Single, largest: Single) -> None:
    """Inverse of the sum of each cell's couplings and the largest of them, fixed potentials included; 0 where none."""
    for i in range(start + 1, stop + 1):
        for c in range(2):
            o = 1 - c
            for j in range(1, inverse.shape[2] - 1):
                q = (i + j + c) & 1
                d, top = inverse[c, i, j], largest[c, i, j]
                gxm, gxp, gym, gyp = g[0, c, i, j], g[0, o, i + 1, j], g[1, c, i, j], g[1, o, i, j + 1]
                gzm, gzp = g[2, c, i, j], g[2, o, i, j]
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    a = np.float64(gxm[m]) + gxp[m] + gym[m] + gyp[m] + gzm[m] + gzp[m + q]
                    d[m] = 1.0 / a if a > 0 else 0.0
                    top[m] = max(max(gxm[m], gxp[m]), max(gym[m], gyp[m]), max(gzm[m], gzp[m + q]))


@njit(**_FAST)
def outflow(
    start: int,
    stop: int,
    voxels: NDArray[Any],
    table: Double | None,
    factor: Double,
    periodic: NDArray[np.bool_],
    x: Double,
    r: Double,
) -> None:
    """What flows out of each cell through the faces inside the grid and across periodic ends, with exact couplings.

    The padding of x holds the values across periodic ends.
    """
    nx, ny, nz = voxels.shape
    for i in range(start, stop):
        for j in range(ny):
            for c in range(2):
                o = 1 - c
                q = (i + j + c) & 1
                out, here, z = r[c, i + 1, j + 1], x[c, i + 1, j + 1], x[o, i + 1, j + 1]
                xm, xp, ym, yp = x[o, i, j + 1], x[o, i + 2, j + 1], x[o, i + 1, j], x[o, i + 1, j + 2]
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    k = 2 * m - 2 + q
                    h = _half_resistance(voxels, table, i, j, k)
                    a = 0.0
                    if i > 0 or periodic[0]:
                        n = _half_resistance(voxels, table, i - 1 if i > 0 else nx - 1, j, k)
                        a += factor[0] / (h + n) * (here[m] - xm[m])
                    if i < nx - 1 or periodic[0]:
                        n = _half_resistance(voxels, table, i + 1 if i < nx - 1 else 0, j, k)
                        a += factor[0] / (h + n) * (here[m] - xp[m])
                    if j > 0 or periodic[1]:
                        n = _half_resistance(voxels, table, i, j - 1 if j > 0 else ny - 1, k)
                        a += factor[1] / (h + n) * (here[m] - ym[m])
                    if j < ny - 1 or periodic[1]:
                        n = _half_resistance(voxels, table, i, j + 1 if j < ny - 1 else 0, k)
                        a += factor[1] / (h + n) * (here[m] - yp[m])
                    if k > 0 or periodic[2]:
                        n = _half_resistance(voxels, table, i, j, k - 1 if k > 0 else nz - 1)
                        a += factor[2] / (h + n) * (here[m] - z[m + q - 1])
                    if k < nz - 1 or periodic[2]:
                        n = _half_resistance(voxels, table, i, j, k + 1 if k < nz - 1 else 0)
                        a += factor[2] / (h + n) * (here[m] - z[m + q])
                    out[m] = a


@njit(**_FAST)
def dissipation(
    start: int, stop: int, voxels: NDArray[Any], table: Double | None, factor: Double, x: Double, total: Double
) -> None:
    """Sum of g (difference)^2 over the faces inside the grid, by planes, with exact couplings."""
    _, ny, nz = voxels.shape
    for i in range(start, stop):
        plane = 0.0
        for j in range(ny):
            for c in range(2):
                q = (i + j + c) & 1
                here, xm, ym, z = x[c, i + 1, j + 1], x[1 - c, i, j + 1], x[1 - c, i + 1, j], x[1 - c, i + 1, j + 1]
                row = 0.0
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    k = 2 * m - 2 + q
                    h = _half_resistance(voxels, table, i, j, k)
                    if i > 0:
                        row += factor[0] / (h + _half_resistance(voxels, table, i - 1, j, k)) * (here[m] - xm[m]) ** 2
                    if j > 0:
                        row += factor[1] / (h + _half_resistance(voxels, table, i, j - 1, k)) * (here[m] - ym[m]) ** 2
                    if k > 0:
                        n = _half_resistance(voxels, table, i, j, k - 1)
                        row += factor[2] / (h + n) * (here[m] - z[m + q - 1]) ** 2
                plane += row
        total[i] = plane


@njit(**_FAST)
def finish_residual(start: int, stop: int, nz: int, out: Double, source: Double, scale: float, r: Single) -> None:
    """Write r = (source - out) / scale."""
    sourced = source.size > 0
    for i in range(start + 1, stop + 1):
        for c in range(2):
            for j in range(1, r.shape[2] - 1):
                q = (i + j + c) & 1
                a, res = out[c, i, j], r[c, i, j]
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    res[m] = ((source[c, i, j, m] if sourced else 0.0) - a[m]) / scale
