"""Ellipsoids in a periodic box: which are near, how far they are from touching, and one move apart or together.

Two ellipsoids with centres a vector r apart touch when both are scaled by mu = max over n of n.r/(h1(n) + h2(n)), where
h(n) = sqrt(n.A n) is the distance of a tangent plane from the centre and A the matrix of an ellipsoid, whose surface is
x.A^-1 x = 1. At the maximum n = Y^-1 r with Y = (1 - w) A1 + w A2 and w = h1/(h1 + h2): the contact function of Perram
and Wertheim, J. Comput. Phys. 58 (1985) 409. A few substitutions solve it, and for spheres the first is exact. n is
then the common normal at the contact, and (mu - 1)(h1 + h2)/abs(n) the gap along it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pairs = NDArray[np.int32]
Numbers = NDArray[np.int64]

SUBSTITUTIONS = 4
"""For the weight w; mu is stationary in it and then within 1e-3 for particles of axes 1:3 (tests)."""

TURNING = 0.5
"""Share of the turn that alone would undo an overlap, which moving undoes too."""
MOST_CELLS = 256
"""Along one axis, of the grid that finds neighbours."""


def packed(full: Floats) -> Floats:
    """Symmetric matrices, shape (n, 3, 3), as (xx, xy, xz, yy, yz, zz), shape (n, 6)."""
    return np.ascontiguousarray(full[:, (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)])


def unpacked(matrix: Floats) -> Floats:
    """The inverse of `packed`."""
    return np.asarray(matrix[:, [[0, 1, 2], [1, 3, 4], [2, 4, 5]]])


@njit(error_model="numpy")
def _contact(a: Floats, b: Floats, x: float, y: float, z: float) -> tuple[float, float, float, float, float]:
    """Normal n, not of unit length, n.r and h1 + h2, from both matrices (xx, xy, xz, yy, yz, zz) and the vector r."""
    ra, rb = np.sqrt(a[0] + a[3] + a[5]), np.sqrt(b[0] + b[3] + b[5])
    w = ra / (ra + rb)
    nx, ny, nz, h = x, y, z, 1.0
    for _ in range(SUBSTITUTIONS):
        v = 1.0 - w
        xx, xy, xz = v * a[0] + w * b[0], v * a[1] + w * b[1], v * a[2] + w * b[2]
        yy, yz, zz = v * a[3] + w * b[3], v * a[4] + w * b[4], v * a[5] + w * b[5]
        # adjugate of Y: the length of n does not matter
        cxx, cxy, cxz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
        cyy, cyz, czz = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
        scale = 1.0 / (cxx + cyy + czz)
        nx = (cxx * x + cxy * y + cxz * z) * scale
        ny = (cxy * x + cyy * y + cyz * z) * scale
        nz = (cxz * x + cyz * y + czz * z) * scale
        h1 = np.sqrt(_form(a, nx, ny, nz))
        h2 = np.sqrt(_form(b, nx, ny, nz))
        h = h1 + h2
        w = h1 / h
    return nx, ny, nz, nx * x + ny * y + nz * z, h


@njit(inline="always", error_model="numpy")
def _form(a: Floats, x: float, y: float, z: float) -> float:
    """x.A x."""
    return float(a[0] * x * x + a[3] * y * y + a[5] * z * z + 2.0 * (a[1] * x * y + a[2] * x * z + a[4] * y * z))


@njit(inline="always", error_model="numpy")
def _nearest(d: float, edge: float) -> float:
    """A distance along one axis by the nearest periodic image."""
    return float(d - edge * np.floor(d / edge + 0.5))


@njit(cache=True, error_model="numpy")
def scales(centre: Floats, matrix: Floats, box: Floats, pairs: Pairs) -> Floats:
    """The factor mu by which each pair would have to be scaled to touch, shape (n_pairs,); below 1 they overlap."""
    found = np.empty(pairs.shape[0])
    for p in range(pairs.shape[0]):
        i, j = pairs[p, 0], pairs[p, 1]
        x = _nearest(centre[j, 0] - centre[i, 0], box[0])
        y = _nearest(centre[j, 1] - centre[i, 1], box[1])
        z = _nearest(centre[j, 2] - centre[i, 2], box[2])
        found[p] = 0.0
        if x * x + y * y + z * z > 0.0:
            _, _, _, reach, h = _contact(matrix[i], matrix[j], x, y, z)
            found[p] = reach / h
    return found


@njit(cache=True, error_model="numpy")
def add_moves(
    centre: Floats,
    matrix: Floats,
    volume: Floats,
    box: Floats,
    pairs: Pairs,
    closest: Floats,
    pull: Floats,
    shift: Floats,
    turn: Floats,
) -> None:
    """Add the moves, m, and turns, rad, of each pair towards `closest` times its contact distance.

    Half of an overlap is undone, and a tenth of a gap of up to `pull` times that distance closed: half along the common
    normal, which frees particles that lie across each other, and half along the line of centres, which is the way for
    parallel ones. Of a pair the lighter one moves more. A particle turns as if its point of contact moved with it.

    Parameters
    ----------
    closest, pull
        Of pairs, shape (n_pairs,).
    shift, turn
        Shape (n, 3), changed in place; a turn is a rotation vector.
    """
    for p in range(pairs.shape[0]):
        i, j = pairs[p, 0], pairs[p, 1]
        x = _nearest(centre[j, 0] - centre[i, 0], box[0])
        y = _nearest(centre[j, 1] - centre[i, 1], box[1])
        z = _nearest(centre[j, 2] - centre[i, 2], box[2])
        if x * x + y * y + z * z == 0.0:
            continue
        nx, ny, nz, reach, h = _contact(matrix[i], matrix[j], x, y, z)
        gap = reach - closest[p] * h
        if gap < 0.0:
            approach = 0.5 * gap
        elif gap < pull[p] * closest[p] * h:
            approach = 0.1 * gap
        else:
            continue
        # gap and approach are in units of 1/abs(n), so that the step along the unit normal divides by its square
        step = approach / (nx * nx + ny * ny + nz * nz)
        line = approach / reach
        mx, my, mz = 0.5 * (step * nx + line * x), 0.5 * (step * ny + line * y), 0.5 * (step * nz + line * z)
        share = volume[j] / (volume[i] + volume[j])
        for k, part in ((i, share), (j, share - 1.0)):
            shift[k, 0] += part * mx
            shift[k, 1] += part * my
            shift[k, 2] += part * mz
        _add_turn(matrix[i], nx, ny, nz, step * share, turn[i])
        _add_turn(matrix[j], nx, ny, nz, step * (1.0 - share), turn[j])


@njit(inline="always", error_model="numpy")
def _add_turn(a: Floats, x: float, y: float, z: float, step: float, turn: Floats) -> None:
    """Add the turn of an ellipsoid whose point of tangent plane normal n is moved by `step` times n.

    That point is A n/h, and the turn its vector product with the step over the mean square of the half-axes.
    """
    px, py, pz = a[0] * x + a[1] * y + a[2] * z, a[1] * x + a[3] * y + a[4] * z, a[2] * x + a[4] * y + a[5] * z
    scale = TURNING * 3.0 * step / (np.sqrt(px * x + py * y + pz * z) * (a[0] + a[3] + a[5]))
    turn[0] += scale * (py * z - pz * y)
    turn[1] += scale * (pz * x - px * z)
    turn[2] += scale * (px * y - py * x)


def bounding_pairs(centre: Floats, radius: Floats, box: Floats, near: float) -> Pairs:
    """Pairs of bounding spheres closer than `near` times the sum of their radii, shape (n_pairs, 2), in a fixed order.

    Each particle looks around itself only for those that are smaller, so that a few large ones cost little.
    """
    edge = 2.0 * near * float(np.median(radius))
    cells = np.clip((box / edge).astype(np.int64), 1, MOST_CELLS)
    where = np.minimum((centre / box * cells).astype(np.int64), cells - 1)
    cell = (where[:, 0] * cells[1] + where[:, 1]) * cells[2] + where[:, 2]
    start = np.concatenate(([0], np.cumsum(np.bincount(cell, minlength=int(np.prod(cells))))))
    content = np.argsort(cell, kind="stable")
    room = np.empty((16 * radius.size, 2), np.int32)
    while True:
        count = _bounding_pairs(centre, radius, box, near, cells, start, content, room)
        if count <= room.shape[0]:
            return room[:count].copy()
        room = np.empty((count, 2), np.int32)


@njit(cache=True, error_model="numpy")
def _bounding_pairs(
    centre: Floats,
    radius: Floats,
    box: Floats,
    near: float,
    cells: Numbers,
    start: Numbers,
    content: Numbers,
    found: Pairs,
) -> int:
    """Write the pairs as far as there is room, and return how many there are."""
    count = 0
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(radius.size):
        look = 2.0 * near * radius[i]
        for axis in range(3):
            low[axis] = int(np.floor((centre[i, axis] - look) / box[axis] * cells[axis]))
            high[axis] = int(np.floor((centre[i, axis] + look) / box[axis] * cells[axis]))
            if high[axis] - low[axis] >= cells[axis]:
                low[axis], high[axis] = 0, cells[axis] - 1
        for cx in range(low[0], high[0] + 1):
            for cy in range(low[1], high[1] + 1):
                for cz in range(low[2], high[2] + 1):
                    cell = ((cx % cells[0]) * cells[1] + cy % cells[1]) * cells[2] + cz % cells[2]
                    for k in range(start[cell], start[cell + 1]):
                        j = content[k]
                        if radius[j] > radius[i] or (radius[j] == radius[i] and j >= i):
                            continue
                        x = _nearest(centre[j, 0] - centre[i, 0], box[0])
                        y = _nearest(centre[j, 1] - centre[i, 1], box[1])
                        z = _nearest(centre[j, 2] - centre[i, 2], box[2])
                        limit = near * (radius[i] + radius[j])
                        if x * x + y * y + z * z < limit * limit:
                            if count < found.shape[0]:
                                found[count, 0], found[count, 1] = i, j
                            count += 1
    return count
