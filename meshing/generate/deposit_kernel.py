"""Compiled growth of binder, bead after bead: data-dependent from voxel to voxel, which array operations are not."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Labels = NDArray[np.uint8]
Words = NDArray[np.uint64]

PORE, ACTIVE, BINDER = 0, 1, 2
TRIES = 24
"""Directions that a finger tries before it ends in front of active material or at a face of the image."""
BESIDE = 1.5
"""Radii from bead to bead in a cluster, so that the next one lies mostly outside its parent; in a fibre it is one."""
MOST_BEADS = 8192
"""Beads of one cluster among which the next one finds its parent."""


@njit(inline="always")
def _random(state: Words) -> float:
    """Uniform in [0, 1), by splitmix64 (Steele, Lea, Flood, OOPSLA 2014); numpy's takes long to compile."""
    state[0] += np.uint64(0x9E37_79B9_7F4A_7C15)
    word = state[0]
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    word ^= word >> np.uint64(31)
    return float(word >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True, error_model="numpy")
def grow(
    labels: Labels,
    faces: Numbers,
    voxel: Floats,
    radius: float,
    start_share: float,
    fibre: bool,
    curl: float,
    slab: Numbers,
    left: Numbers,
    state: Words,
) -> tuple[int, int, int]:
    """Lay binder into the pores of `labels` until nothing is left to lay or no uncovered face is left to start from.

    Parameters
    ----------
    labels
        0 pore, 1 active, 2 binder, others inert; changed in place.
    faces
        Flat index of a pore voxel, axis and side (-1 or 1) on which active material lies, shape (n, 3), in the order
        in which they are tried.
    radius
        Of a bead, m.
    start_share
        Share of the beads that start on active material; the others continue the finger before them.
    fibre
        True: the next bead lies before the last one; False: beside any of the finger.
    curl
        Of a fibre: random part of its direction from bead to bead; 0 is straight.
    slab
        Number of the slab of each slice, shape (nx,).
    left
        Voxels still to lay in each slab; changed in place.
    state
        Of the random numbers, one word; changed in place.

    Returns
    -------
    n_beads, n_fingers, n_faces
        Beads and fingers laid, and faces used up.
    """
    n1, n2 = labels.shape[1], labels.shape[2]
    beads, fingers, used = 0, 0, 0
    chain = np.empty((MOST_BEADS, 3))
    along = np.empty(3)
    while used < faces.shape[0]:
        flat, axis, side = faces[used, 0], faces[used, 1], faces[used, 2]
        used += 1
        i, j, k = flat // (n1 * n2), flat // n2 % n1, flat % n2
        if labels[i, j, k] != PORE or left[slab[i]] <= 0:
            continue
        chain[0, 0], chain[0, 1], chain[0, 2] = (i + 0.5) * voxel[0], (j + 0.5) * voxel[1], (k + 0.5) * voxel[2]
        chain[0, axis] += 0.5 * side * voxel[axis]
        along[0], along[1], along[2] = 0.0, 0.0, 0.0
        along[axis] = -side
        _lay(labels, chain, 0, voxel, radius, slab, left)
        if labels[i, j, k] == PORE and left[slab[i]] > 0:
            labels[i, j, k] = BINDER
            left[slab[i]] -= 1
        fingers, length = fingers + 1, 1
        while _random(state) >= start_share:
            if not _next(labels, chain, length, along, voxel, radius, fibre, curl, slab, left, state):
                break
            _lay(labels, chain, length % MOST_BEADS, voxel, radius, slab, left)
            length += 1
        beads += length
    return beads, fingers, used


@njit(error_model="numpy")
def _next(
    labels: Labels,
    chain: Floats,
    length: int,
    along: Floats,
    voxel: Floats,
    radius: float,
    fibre: bool,
    curl: float,
    slab: Numbers,
    left: Numbers,
    state: Words,
) -> bool:
    """Write a finger's next bead behind the others in `chain`, and its direction to `along`; False where it ends."""
    step = radius if fibre else BESIDE * radius
    for attempt in range(TRIES):
        x, y, z = _direction(state)
        parent = length - 1
        if fibre and attempt < TRIES // 2:
            x, y, z = _unit(along[0] + curl * x, along[1] + curl * y, along[2] + curl * z)
        elif not fibre:
            parent = int(_random(state) * min(length, MOST_BEADS))
        parent %= MOST_BEADS
        px, py, pz = chain[parent, 0] + step * x, chain[parent, 1] + step * y, chain[parent, 2] + step * z
        i, j, k = int(np.floor(px / voxel[0])), int(np.floor(py / voxel[1])), int(np.floor(pz / voxel[2]))
        if i < 0 or j < 0 or k < 0 or i >= labels.shape[0] or j >= labels.shape[1] or k >= labels.shape[2]:
            continue
        free = labels[i, j, k] == PORE or (fibre and labels[i, j, k] == BINDER)
        if free and left[slab[i]] > 0:
            at = length % MOST_BEADS
            chain[at, 0], chain[at, 1], chain[at, 2] = px, py, pz
            along[0], along[1], along[2] = x, y, z
            return True
    return False


@njit(error_model="numpy")
def _direction(state: Words) -> tuple[float, float, float]:
    """A direction, all equally likely."""
    z = 2.0 * _random(state) - 1.0
    around = 2.0 * np.pi * _random(state)
    s = np.sqrt(1.0 - z * z)
    return s * np.cos(around), s * np.sin(around), z


@njit(error_model="numpy")
def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    length = np.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


@njit(error_model="numpy")
def _lay(labels: Labels, chain: Floats, n: int, voxel: Floats, radius: float, slab: Numbers, left: Numbers) -> None:
    """Turn the pore voxels of bead n into binder, as far as their slabs still want some."""
    x, y, z = chain[n, 0] / voxel[0] - 0.5, chain[n, 1] / voxel[1] - 0.5, chain[n, 2] / voxel[2] - 0.5
    wx, wy, wz = radius / voxel[0], radius / voxel[1], radius / voxel[2]
    for i in range(max(0, int(np.ceil(x - wx))), min(labels.shape[0] - 1, int(np.floor(x + wx))) + 1):
        dx = (i - x) * voxel[0]
        for j in range(max(0, int(np.ceil(y - wy))), min(labels.shape[1] - 1, int(np.floor(y + wy))) + 1):
            dy = (j - y) * voxel[1]
            for k in range(max(0, int(np.ceil(z - wz))), min(labels.shape[2] - 1, int(np.floor(z + wz))) + 1):
                dz = (k - z) * voxel[2]
                inside = dx * dx + dy * dy + dz * dz <= radius * radius
                if inside and labels[i, j, k] == PORE and left[slab[i]] > 0:
                    labels[i, j, k] = BINDER
                    left[slab[i]] -= 1
