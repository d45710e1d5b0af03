"""Compiled kernels of the finest level where all conducting voxels are alike: every coupling is 1, and none is stored.

Vectors are split by colour (layout.py): ``x[c, i, j, m]``. An insulating voxel holds 0 and has the inverse diagonal 0.
The diagonal counts the conducting neighbours, a fixed potential half a voxel away as two, and so is a whole number
that its float32 inverse gives back exactly. Where cells of one colour are written only the other one is read.

Each kernel works on the planes start + 1 ... stop; sums are left per plane, so that they do not depend on the threads.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Index = NDArray[np.int32]
Single = NDArray[np.float32]
Double = NDArray[np.float64]

_FAST: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz"},
}


@njit(**_FAST)
def used_phases(start: int, stop: int, voxels: NDArray[np.uint8], used: NDArray[np.bool_]) -> None:
    """Which phases occur in each plane, shape (nx, 256)."""
    for i in range(start, stop):
        for j in range(voxels.shape[1]):
            for k in range(voxels.shape[2]):
                used[i, voxels[i, j, k]] = True


@njit(**_FAST)
def count_neighbours(start: int, stop: int, nz: int, conducting: Single, diagonal: Single) -> None:
    """Conducting neighbours of each conducting voxel; `conducting` holds 1 or 0, in its padding too."""
    for i in range(start + 1, stop + 1):
        for j in range(1, conducting.shape[2] - 1):
            for c in range(2):
                q = (i + j + c) & 1
                o = 1 - c
                here, out, z = conducting[c, i, j], diagonal[c, i, j], conducting[o, i, j]
                xm, xp = conducting[o, i - 1, j], conducting[o, i + 1, j]
                ym, yp = conducting[o, i, j - 1], conducting[o, i, j + 1]
                s = 2 * q - 1
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    out[m] = here[m] * (((xm[m] + xp[m]) + (ym[m] + yp[m])) + (z[m] + z[m + s]))


@njit(**_FAST)
def invert(start: int, stop: int, diagonal: Single) -> None:
    """Inverse of each entry above 0, in place."""
    for i in range(start + 1, stop + 1):
        for c in range(2):
            for j in range(1, diagonal.shape[2] - 1):
                d = diagonal[c, i, j]
                for m in range(d.size):
                    d[m] = np.float32(1) / d[m] if d[m] > 0 else np.float32(0)


@njit(**_FAST)
def start_from_zero(start: int, stop: int, inverse: Single, b: Single, x: Single) -> None:
    """Red half of a sweep from x = 0."""
    for i in range(start + 1, stop + 1):
        for j in range(1, x.shape[2] - 1):
            d, v, out = inverse[0, i, j], b[0, i, j], x[0, i, j]
            for m in range(1, x.shape[3] - 1):
                out[m] = d[m] * v[m]


@njit(**_FAST)
def sweep_colour(start: int, stop: int, c: int, nz: int, inverse: Single, b: Single, x: Single) -> None:
    """Gauss-Seidel on the cells of one colour."""
    for i in range(start + 1, stop + 1):
        for j in range(1, x.shape[2] - 1):
            q = (i + j + c) & 1
            d, v, out = inverse[c, i, j], b[c, i, j], x[c, i, j]
            xm, xp, ym, yp = x[1 - c, i - 1, j], x[1 - c, i + 1, j], x[1 - c, i, j - 1], x[1 - c, i, j + 1]
            z = x[1 - c, i, j]
            s = 2 * q - 1
            for m in range(1, (nz + 1 - q) // 2 + 1):
                out[m] = d[m] * (v[m] + ((xm[m] + xp[m]) + (ym[m] + yp[m])) + (z[m] + z[m + s]))


@njit(**_FAST)
def restrict_red(start: int, stop: int, nz: int, x: Single, aggregate: Index, coarse_b: Single) -> None:
    """Sum the residual of the red cells over aggregates, after a sweep from zero; start, stop count pairs of planes.

    What the red half made of b is its diagonal times x, so that only the black neighbours are left.
    """
    for i in range(2 * start + 1, min(2 * stop, x.shape[1] - 2) + 1):
        for j in range(1, x.shape[2] - 1):
            q = (i + j) & 1
            to = aggregate[0, i, j]
            xm, xp, ym, yp, z = x[1, i - 1, j], x[1, i + 1, j], x[1, i, j - 1], x[1, i, j + 1], x[1, i, j]
            s = 2 * q - 1
            for m in range(1, (nz + 1 - q) // 2 + 1):
                if to[m] >= 0:
                    coarse_b[to[m]] += ((xm[m] + xp[m]) + (ym[m] + yp[m])) + (z[m] + z[m + s])


@njit(**_FAST)
def prolong_colour(start: int, stop: int, c: int, factor: float, coarse_x: Single, aggregate: Index, x: Single) -> None:
    """Add `factor` times each aggregate's correction to its cells of one colour."""
    f = np.float32(factor)
    for i in range(start + 1, stop + 1):
        for j in range(1, x.shape[2] - 1):
            of, out = aggregate[c, i, j], x[c, i, j]
            for m in range(1, x.shape[3] - 1):
                if of[m] >= 0:
                    out[m] += f * coarse_x[of[m]]


@njit(**_FAST)
def curvature(start: int, stop: int, nz: int, inverse: Single, p: Single, total: Double) -> None:
    """Write p.A p by planes, in float64."""
    for i in range(start + 1, stop + 1):
        plane = 0.0
        for c in range(2):
            for j in range(1, p.shape[2] - 1):
                q = (i + j + c) & 1
                d, here = inverse[c, i, j], p[c, i, j]
                xm, xp, ym, yp = p[1 - c, i - 1, j], p[1 - c, i + 1, j], p[1 - c, i, j - 1], p[1 - c, i, j + 1]
                z = p[1 - c, i, j]
                s = 2 * q - 1
                row = 0.0
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    around = ((np.float64(xm[m]) + xp[m]) + (np.float64(ym[m]) + yp[m])) + (np.float64(z[m]) + z[m + s])
                    row += here[m] * (np.rint(np.float32(1) / d[m]) * here[m] - around) if d[m] > 0 else 0.0
                plane += row
        total[i - 1] = plane


@njit(**_FAST)
def advance(
    start: int,
    stop: int,
    nz: int,
    inverse: Single,
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
            for j in range(1, p.shape[2] - 1):
                q = (i + j + c) & 1
                d, here, out, res = inverse[c, i, j], p[c, i, j], x[c, i, j], r[c, i, j]
                xm, xp, ym, yp = p[1 - c, i - 1, j], p[1 - c, i + 1, j], p[1 - c, i, j - 1], p[1 - c, i, j + 1]
                z = p[1 - c, i, j]
                s = 2 * q - 1
                row = plain = 0.0
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    around = ((np.float64(xm[m]) + xp[m]) + (np.float64(ym[m]) + yp[m])) + (np.float64(z[m]) + z[m + s])
                    product = np.rint(np.float32(1) / d[m]) * here[m] - around if d[m] > 0 else 0.0
                    out[m] += step * scale * here[m]
                    left = res[m] - step * product
                    res[m] = left
                    row += left * left
                    plain += left
                plane += row
                total += plain
        sums[0, i - 1], sums[1, i - 1] = plane, total


@njit(**_FAST)
def residual(
    start: int, stop: int, nz: int, inverse: Single, x: Double, source: Double, scale: float, r: Single
) -> None:
    """Write r = (source + neighbours - diagonal x) / scale, computed in float64.

    The padding of x holds the fixed potentials times their conductances, and the values across periodic ends.
    source: split like x, or of size 0.
    """
    sourced = source.size > 0
    for i in range(start + 1, stop + 1):
        for c in range(2):
            for j in range(1, x.shape[2] - 1):
                q = (i + j + c) & 1
                d, here, res, z = inverse[c, i, j], x[c, i, j], r[c, i, j], x[1 - c, i, j]
                xm, xp, ym, yp = x[1 - c, i - 1, j], x[1 - c, i + 1, j], x[1 - c, i, j - 1], x[1 - c, i, j + 1]
                s = 2 * q - 1
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    around = ((xm[m] + xp[m]) + (ym[m] + yp[m])) + (z[m] + z[m + s])
                    left = around - np.rint(np.float32(1) / d[m]) * here[m] if d[m] > 0 else 0.0
                    res[m] = (left + (source[c, i, j, m] if sourced else 0.0)) / scale


@njit(**_FAST)
def dissipation(start: int, stop: int, nz: int, inverse: Single, x: Double, total: Double) -> None:
    """Sum of the squared differences across the faces inside the grid, by planes: each cell with those before it.

    The padding of `inverse` is 0, so that nothing beyond the grid counts.
    """
    zero, one = np.float64(0), np.float64(1)
    for i in range(start + 1, stop + 1):
        plane = 0.0
        for c in range(2):
            o = 1 - c
            for j in range(1, x.shape[2] - 1):
                q = (i + j + c) & 1
                here, xm, ym, z = x[c, i, j], x[o, i - 1, j], x[o, i, j - 1], x[o, i, j]
                d, dx, dy, dz = inverse[c, i, j], inverse[o, i - 1, j], inverse[o, i, j - 1], inverse[o, i, j]
                s = q - 1  # the voxel before along z
                row = 0.0
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    along_x = (here[m] - xm[m]) * (one if dx[m] > 0 else zero)
                    along_y = (here[m] - ym[m]) * (one if dy[m] > 0 else zero)
                    along_z = (here[m] - z[m + s]) * (one if dz[m + s] > 0 else zero)
                    weight = one if d[m] > 0 else zero
                    row += weight * (along_x * along_x + along_y * along_y + along_z * along_z)
                plane += row
        total[i - 1] = plane


@njit(**_FAST)
def dot(start: int, stop: int, a: Single, b: Single, sums: Double) -> None:
    """a.b and the sum of a by planes; paddings that are not 0 in both count too, so one must have none."""
    for i in range(start + 1, stop + 1):
        plane = total = 0.0
        for c in range(2):
            for j in range(1, a.shape[2] - 1):
                one, two = a[c, i, j], b[c, i, j]
                row = plain = 0.0
                for m in range(one.size):
                    row += np.float64(one[m]) * two[m]
                    plain += one[m]
                plane += row
                total += plain
        sums[0, i - 1], sums[1, i - 1] = plane, total


@njit(**_FAST)
def turn(start: int, stop: int, z: Single, beta: float, p: Single) -> None:
    """New direction: p = z + beta p."""
    f = np.float32(beta)
    for i in range(start + 1, stop + 1):
        for c in range(2):
            for j in range(1, p.shape[2] - 1):
                new, old = z[c, i, j], p[c, i, j]
                for m in range(old.size):
                    old[m] = new[m] + f * old[m]


@njit(**_FAST)
def fill(start: int, stop: int, a: Double, b: Double, c: Double, inverse: Single, x: Double) -> None:
    """Write x = a[i] + b[j] + c[k], i, j, k from 0, where voxels have neighbours, and 0 elsewhere."""
    nz = c.size
    for i in range(start + 1, stop + 1):
        for colour in range(2):
            for j in range(1, x.shape[2] - 1):
                q = (i + j + colour) & 1
                d, here = inverse[colour, i, j], x[colour, i, j]
                line = a[i - 1] + b[j - 1]
                for m in range(1, (nz + 1 - q) // 2 + 1):
                    here[m] = line + c[2 * m - 2 + q] if d[m] > 0 else 0.0


@njit(**_FAST)
def clear(start: int, stop: int, inverse: Single, x: Double) -> None:
    """Zeros in insulating voxels."""
    for i in range(start + 1, stop + 1):
        for c in range(2):
            for j in range(1, x.shape[2] - 1):
                d, here = inverse[c, i, j], x[c, i, j]
                for m in range(here.size):
                    here[m] = here[m] if d[m] > 0 else 0.0
