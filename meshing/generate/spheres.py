"""Packed spheres bridged by binder.

The spheres are packed in a periodic box, so that a particle cut by one face goes on at the opposite one: as in a
piece cut from a real electrode, no wall orders the packing, and volume fractions hold up to the faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from meshing.errors import MeshError, PackingError
from meshing.generate.common import Floats, Lengths, Shape, Singles, check_fractions, smallest
from meshing.generate.sizes import check_sizes, draw_diameters
from meshing.image import VoxelImage

STEPS = 240
"""Moves of every particle while packing: at 0.65 active, 98 % of the overlaps are then within 0.005 of the allowed."""
REBUILD = 8
"""Moves between two searches for neighbours."""
NEAR = 1.25
"""Pairs within this many times the sum of their radii are neighbours; it also bounds spreading and drawing together."""
DENSE = 0.64
"""Volume fraction of random close packing: the spheres are spread out until, swollen, they would fill it. Random places
have clumps and caverns, which close the pore or cut the electrons off in one small image of ten."""
PULL = 0.05
"""Gaps up to this share of the contact distance, beyond those opened by spreading, are closed again."""
SLACK = 0.03
"""Overlap beyond the allowed one, as a share of the sum of radii, at which a packing counts as not reached."""


@dataclass(frozen=True, slots=True, eq=False)
class Spheres:
    """Spheres in a periodic box.

    Attributes
    ----------
    centre
        Shape (n, 3), m, inside the box.
    radius
        Shape (n,), m.
    box
        Edges of the box, m.
    """

    centre: Floats
    radius: Floats
    box: Lengths


def spheres(
    shape: Shape,
    voxel_size: Lengths,
    active_volume_fraction: float,
    binder_volume_fraction: float,
    median_diameter: float,
    sigma: float,
    rng: np.random.Generator,
    *,
    overlap: float = 0.05,
) -> VoxelImage:
    """Packed spheres with binder where two of them are near; phases "pore", "active", "binder".

    Both volume fractions are met to one voxel: the surface of all particles is shifted by one common small distance,
    and binder takes the pore voxels with the smallest sum of distances to the nearest and second-nearest particle.

    Parameters
    ----------
    shape
        Voxels along x, y, z.
    voxel_size
        Edges of a voxel, m.
    active_volume_fraction, binder_volume_fraction
        Shares of the image; their sum is below 1.
    median_diameter
        Half of the particle volume is in smaller particles, m.
    sigma
        Standard deviation of the logarithm of the diameter; 0 for equal spheres.
    rng
        Source of all randomness; the same state gives the same image.
    overlap
        Allowed overlap of two particles as a share of the sum of their radii: contacts become necks. Each hides half
        of that share of a particle's surface; at the default the Sauter radius is 10-15 % above that of the spheres.

    Raises
    ------
    MeshError
        Where the fractions or sizes are impossible, or the packing is too dense to be reached.
    """
    box = (shape[0] * voxel_size[0], shape[1] * voxel_size[1], shape[2] * voxel_size[2])
    check_fractions(active_volume_fraction, binder_volume_fraction)
    check_sizes(box, voxel_size, median_diameter, sigma)
    diameter = draw_diameters(box, active_volume_fraction, median_diameter, sigma, rng)
    packing = pack(0.5 * diameter, box, overlap, rng)
    total = int(np.prod(shape))
    n_active, n_binder = round(active_volume_fraction * total), round(binder_volume_fraction * total)
    labels = np.zeros(shape, np.uint8)
    reach = 0.5 * median_diameter
    while True:
        nearest, second = surface_distances(packing, shape, reach)
        active = smallest(nearest, n_active)
        score = np.where(active, np.float32(np.inf), nearest + second)
        if np.count_nonzero(np.isfinite(score)) >= n_binder:
            break
        reach *= 2.0
    labels[active] = 1
    labels[smallest(score, n_binder)] = 2
    return VoxelImage(labels, voxel_size, ("pore", "active", "binder"))


def pack(radius: Floats, box: Lengths, overlap: float, rng: np.random.Generator) -> Spheres:
    """Spheres from random places, moved until none overlap by more than `overlap` and near ones touch.

    One third of the moves spreads the spheres out, one draws near ones together to (1 - overlap)(r_i + r_j), as binder
    and calendering do, and one pushes those apart that are closer than that; of a pair the lighter one moves more.
    """
    if not 0.0 <= overlap < 0.5:
        raise MeshError(f"overlap is {overlap:g}; it must be a share of the sum of two radii, at least 0 and below 0.5")
    edges = np.asarray(box)
    fraction = 4.0 / 3.0 * np.pi * float(np.sum(radius**3)) / float(np.prod(edges))
    spread = max(0.0, (DENSE / fraction) ** (1.0 / 3.0) - 1.0)
    centre = rng.random((radius.size, 3)) * edges
    pairs = _near_pairs(centre, radius, edges)
    for step in range(STEPS):
        if step % REBUILD == 0:
            pairs = _near_pairs(centre, radius, edges)
        stage = 3 * step // STEPS
        closest = 1.0 + spread if stage == 0 else 1.0 - overlap
        centre = _moved(centre, radius, edges, pairs, closest, spread + PULL if stage == 1 else 0.0)
    _check_packing(centre, radius, edges, overlap, fraction)
    return Spheres(centre, radius, box)


def surface_distances(packing: Spheres, shape: Shape, reach: float) -> tuple[Singles, Singles]:
    """Distance from each voxel's centre to the nearest and second-nearest sphere surface, shape `shape`, m.

    Negative inside a sphere, infinite where no surface is within `reach`.
    """
    nearest, second = np.full(shape, np.inf, np.float32), np.full(shape, np.inf, np.float32)
    voxel = np.asarray(packing.box) / shape
    _surface_distances(packing.centre, packing.radius, voxel, reach, nearest, second)
    return nearest, second


# Compiled: every sphere updates the voxels of its own neighbourhood, which array operations would visit whole.
@numba.njit(cache=True)
def _surface_distances(
    centre: Floats, radius: Floats, voxel: Floats, reach: float, nearest: Singles, second: Singles
) -> None:
    nx, ny, nz = nearest.shape
    for p in range(radius.size):
        cut = radius[p] + reach
        x, y, z = centre[p, 0] / voxel[0] - 0.5, centre[p, 1] / voxel[1] - 0.5, centre[p, 2] / voxel[2] - 0.5
        wx, wy, wz = cut / voxel[0], cut / voxel[1], cut / voxel[2]
        for i in range(int(np.ceil(x - wx)), int(np.floor(x + wx)) + 1):
            dx = (i - x) * voxel[0]
            for j in range(int(np.ceil(y - wy)), int(np.floor(y + wy)) + 1):
                dy = (j - y) * voxel[1]
                for k in range(int(np.ceil(z - wz)), int(np.floor(z + wz)) + 1):
                    dz = (k - z) * voxel[2]
                    square = dx * dx + dy * dy + dz * dz
                    if square > cut * cut:
                        continue
                    distance = np.sqrt(square) - radius[p]
                    a, b, c = i % nx, j % ny, k % nz
                    if distance < nearest[a, b, c]:
                        second[a, b, c] = nearest[a, b, c]
                        nearest[a, b, c] = distance
                    elif distance < second[a, b, c]:
                        second[a, b, c] = distance


def _near_pairs(centre: Floats, radius: Floats, edges: Floats) -> NDArray[np.intp]:
    """Pairs that touch or nearly do, shape (n_pairs, 2), in a fixed order, so that sums round the same every time."""
    tree = cKDTree(centre, boxsize=edges)
    pairs = tree.query_pairs(NEAR * 2.0 * float(radius.max()), output_type="ndarray")
    pairs = pairs[_separation(centre, edges, pairs)[1] < NEAR * (radius[pairs[:, 0]] + radius[pairs[:, 1]])]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _separation(centre: Floats, edges: Floats, pairs: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Vector from first to second by the nearest periodic image, shape (n_pairs, 3), and its length, m."""
    vector = centre[pairs[:, 1]] - centre[pairs[:, 0]]
    vector -= edges * np.round(vector / edges)
    return vector, np.sqrt(np.einsum("ij,ij->i", vector, vector))


def _moved(
    centre: Floats, radius: Floats, edges: Floats, pairs: NDArray[np.intp], closest: float, pull: float
) -> Floats:
    """Centres after one move of all pairs at once towards `closest` times the sum of their radii."""
    first, second = pairs[:, 0], pairs[:, 1]
    vector, distance = _separation(centre, edges, pairs)
    contact = closest * (radius[first] + radius[second])
    gap = distance - contact
    approach = np.where(gap < 0.0, 0.5 * gap, np.where(gap < pull * contact, 0.1 * gap, 0.0))
    step = vector * (approach / np.maximum(distance, 1e-12 * contact))[:, None]
    mass = radius**3
    share = (mass[second] / (mass[first] + mass[second]))[:, None]
    forward, backward = step * share, step * (share - 1.0)
    n = radius.size
    shift = np.stack(
        [
            np.bincount(first, forward[:, a], minlength=n) + np.bincount(second, backward[:, a], minlength=n)
            for a in range(3)
        ],
        axis=1,
    )
    moved = np.mod(centre + shift, edges)
    # a tiny negative number's remainder rounds to the edge itself, which is outside the box
    return np.where(moved < edges, moved, 0.0)


def _check_packing(centre: Floats, radius: Floats, edges: Floats, overlap: float, fraction: float) -> None:
    """Raise MeshError where more than 2 % of the touching pairs overlap too much."""
    pairs = _near_pairs(centre, radius, edges)
    _, distance = _separation(centre, edges, pairs)
    overlaps = 1.0 - distance / (radius[pairs[:, 0]] + radius[pairs[:, 1]])
    overlaps = overlaps[overlaps > 0.0]
    found = float(np.quantile(overlaps, 0.98)) if overlaps.size else 0.0
    if found <= overlap + SLACK:
        return
    reached = fraction * ((1.0 - found) / (1.0 - overlap)) ** 3
    raise PackingError(
        f"spheres filling {fraction:.3g} of the image still overlap by {found:.3f} of the sum of their radii, beyond "
        f"the allowed {overlap:g}; with that overlap about {reached:.2f} was reached: lower the active volume fraction "
        f"to it, widen the size distribution (sigma), or allow an overlap of {found:.2f}",
        reached=reached,
    )
