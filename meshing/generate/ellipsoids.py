"""Packed ellipsoids: size distribution, shape, orientation, overlap, and gradients through the thickness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from meshing.errors import MeshError
from meshing.generate.common import (
    PHASES,
    Floats,
    Lengths,
    Made,
    Shape,
    Singles,
    check_share,
    smallest_by_depth,
)
from meshing.generate.contact import Numbers
from meshing.generate.packing import Ellipsoids, draw_frames, relax, worst_overlap
from meshing.generate.sizes import check_sizes, draw_graded, median_by_volume
from meshing.image import VoxelImage
from meshing.profile import Profile

LONGEST = 10.0
"""Largest ratio of two own axes of a particle; needles and sheets beyond it do not pack at these fractions."""


@dataclass(frozen=True, slots=True)
class ParticleForm:
    """What a particle looks like.

    Attributes
    ----------
    median_diameter
        Half of the particle volume is in smaller particles; of the sphere of the same volume, m.
    sigma
        Standard deviation of the logarithm of the diameter; 0 for equal particles.
    aspect
        Relative lengths of a particle's own three axes, such as (0.5, 1, 1) for a flattened one.
    order
        Order parameter (3 cos^2 - 1)/2 of the angle between the first own axis and the through-plane axis: 1 all along
        it, 0 no preferred direction, -0.5 all in the plane.
    overlap
        Allowed overlap of two particles as a share of their extents along the contact.
    """

    median_diameter: Profile
    sigma: float = 0.0
    aspect: Lengths = (1.0, 1.0, 1.0)
    order: float = 0.0
    overlap: float = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Packed(Made):
    """Packed particles and what was reached.

    Attributes
    ----------
    particles
        The ellipsoids, in a box that is longer than the image where there is a gradient.
    median_diameter
        Of the particles drawn, by volume, m.
    order
        Order parameter of their orientation, by volume.
    overlap
        That 98 % of the overlapping pairs do not exceed.
    """

    particles: Ellipsoids
    median_diameter: float
    order: float
    overlap: float


def ellipsoids(
    shape: Shape, voxel_size: Lengths, active: Profile, form: ParticleForm, rng: np.random.Generator
) -> Packed:
    """Packed ellipsoids; phases "pore", "active" and "binder", of which the last is still empty.

    The volume fraction is met to one voxel: all surfaces are shifted by one common small distance, or, where there is
    a gradient, by one that changes slowly with the depth. Sides are periodic, and so are the ends where nothing
    changes with the depth.

    Parameters
    ----------
    shape
        Voxels; axis 0 is through-plane.
    voxel_size
        Edges of a voxel, m.
    active
        Volume fraction of active material.
    form
        Sizes, shape, orientation and overlap of the particles.
    rng
        Source of all randomness; the same state gives the same image.

    Raises
    ------
    MeshError
        Where fractions or sizes are impossible.
    PackingError
        Where the packing is too dense to be reached.
    """
    _check(shape, voxel_size, active, form)
    graded = not (active.uniform and form.median_diameter.uniform)
    largest = max(form.median_diameter.values) * float(np.exp(form.sigma))
    margin = int(np.ceil(largest / voxel_size[0])) if graded else 0
    extended = (shape[0] + 2 * margin, shape[1], shape[2])
    box = (extended[0] * voxel_size[0], extended[1] * voxel_size[1], extended[2] * voxel_size[2])
    beyond = margin * voxel_size[0]
    diameter, depth = draw_graded(box, active, form.median_diameter, form.sigma, rng, beyond)
    n = diameter.size
    relative = np.asarray(form.aspect) / np.cbrt(np.prod(form.aspect))
    centre = np.column_stack([depth, rng.random((n, 2)) * box[1:]])
    drawn = Ellipsoids(centre, 0.5 * diameter[:, None] * relative, draw_frames(n, form.order, rng), box, beyond)
    packed = relax(drawn, form.overlap, active)
    reach, n_wanted = 0.25 * min(form.median_diameter.values), active.mean * float(np.prod(shape))
    distance = surface_distance(packed, shape, voxel_size, reach)
    while np.count_nonzero(np.isfinite(distance)) <= n_wanted:  # much overlap is made up for by a large shift
        reach *= 2.0
        distance = surface_distance(packed, shape, voxel_size, reach)
    inside = smallest_by_depth(distance, active, round(largest / voxel_size[0]) if graded else 0)
    image = VoxelImage(inside.astype(np.uint8), voxel_size, PHASES)
    return Packed(image, packed, median_by_volume(diameter), packed.order, worst_overlap(packed))


def surface_distance(particles: Ellipsoids, shape: Shape, voxel_size: Lengths, reach: float) -> Singles:
    """Distance from each voxel's centre to the nearest surface, shape `shape`, m; negative inside.

    To first order in the distance, q (q - 1)/abs(A^-1 x) with q^2 = x.A^-1 x, which is exact for spheres; infinite
    where no surface is within `reach`.
    """
    found = np.full(shape, np.inf, np.float32)
    period = np.rint(np.asarray(particles.box) / voxel_size).astype(np.int64)
    skipped = round(particles.margin / voxel_size[0])
    bounds = np.sqrt(particles.matrix[:, (0, 3, 5)])
    _surface_distance(
        particles.centre, particles.inverse, bounds, np.asarray(voxel_size), period, skipped, reach, found
    )
    return found


# Compiled: every particle updates the voxels of its own neighbourhood, which array operations would visit whole.
@njit(cache=True, error_model="numpy")
def _surface_distance(
    centre: Floats,
    inverse: Floats,
    bounds: Floats,
    voxel: Floats,
    period: Numbers,
    skipped: int,
    reach: float,
    found: Singles,
) -> None:
    nx, ny, nz = found.shape
    for p in range(centre.shape[0]):
        b = inverse[p]
        x, y, z = centre[p, 0] / voxel[0] - 0.5, centre[p, 1] / voxel[1] - 0.5, centre[p, 2] / voxel[2] - 0.5
        wx, wy, wz = (
            (bounds[p, 0] + reach) / voxel[0],
            (bounds[p, 1] + reach) / voxel[1],
            (bounds[p, 2] + reach) / voxel[2],
        )
        for i in range(int(np.ceil(x - wx)), int(np.floor(x + wx)) + 1):
            at_x = i % period[0] - skipped
            if at_x < 0 or at_x >= nx:
                continue
            dx = (i - x) * voxel[0]
            for j in range(int(np.ceil(y - wy)), int(np.floor(y + wy)) + 1):
                dy = (j - y) * voxel[1]
                gx, gy, gz = b[0] * dx + b[1] * dy, b[1] * dx + b[3] * dy, b[2] * dx + b[4] * dy
                row = found[at_x, j % ny]
                for k in range(int(np.ceil(z - wz)), int(np.floor(z + wz)) + 1):
                    dz = (k - z) * voxel[2]
                    ux, uy, uz = gx + b[2] * dz, gy + b[4] * dz, gz + b[5] * dz
                    square = dx * ux + dy * uy + dz * uz
                    steep = np.sqrt(ux * ux + uy * uy + uz * uz)
                    q = np.sqrt(square)
                    distance = q * (q - 1.0) / steep if steep > 0.0 else -np.inf
                    if distance <= reach:
                        at_z = k % nz
                        row[at_z] = min(row[at_z], np.float32(distance))


def _check(shape: Shape, voxel_size: Lengths, active: Profile, form: ParticleForm) -> None:
    for value in active.values:
        check_share("active_volume_fraction", value)
    box = (shape[0] * voxel_size[0], shape[1] * voxel_size[1], shape[2] * voxel_size[2])
    for median in form.median_diameter.values:
        check_sizes(box, voxel_size, median, form.sigma)
    longest, shortest = max(form.aspect), min(form.aspect)
    if not (np.isfinite(longest) and shortest > 0.0 and longest <= LONGEST * shortest):
        raise MeshError(
            f"the aspect of the particles is {', '.join(f'{a:g}' for a in form.aspect)}; it must be three positive "
            f"relative lengths, of which the longest is at most {LONGEST:g} times the shortest"
        )
