"""Calendering: an electrode pressed through its thickness to a porosity, its particles moving as rigid bodies.

Every particle of active material (a basin of the distance to its surface) first goes down with the layer it lies in;
then particles that came closer than they were, or than touching, push each other aside, by the ellipsoids of the same
second moments. Binder goes with the nearest particle. Solid volume is kept to one voxel: what two particles would both
occupy is laid again on the nearest surfaces, and how much that was is reported. Particles neither break nor flow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from meshing.errors import MeshError, PackingError
from meshing.generate.common import Floats, Made, Mask
from meshing.generate.contact import add_moves, bounding_pairs, packed, scales, unpacked
from meshing.generate.morphology import nearest_voxels
from meshing.image import VoxelImage
from meshing.particles import particles

MOVES = 160
"""Of every particle; the overlaps left then are within a voxel."""
REBUILD = 8
"""Moves between two searches for neighbours."""
NEAR = 1.3
"""Pairs within this many times their extents are neighbours."""
MOST_LAID_AGAIN = 0.06
"""Share of the active material that may be laid again elsewhere; beyond, particles would have to break or flow."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Calendered(Made):
    """A pressed electrode.

    Attributes
    ----------
    strain
        Share of the thickness that was lost.
    particles
        How many moved.
    laid_again
        Share of the active material that two particles would both have occupied, and that was laid elsewhere.
    sideways
        Root mean square of the particles' moves in the plane, m.
    """

    strain: float
    particles: int
    laid_again: float
    sideways: float


@dataclass(frozen=True, slots=True, eq=False)
class _Bodies:
    """Particles as bodies: number of each active voxel's particle, centres and extents in m, and what they touch."""

    label: NDArray[np.int32]
    centre: Floats
    matrix: Floats
    volume: Floats
    fixed: Mask


def calender(image: VoxelImage, porosity: float, rng: np.random.Generator) -> Calendered:
    """The image pressed along axis 0 to a porosity, with fewer slices and the same volume of every solid phase.

    The porosity is met to half a slice, since the number of slices is whole and solid is neither made nor lost.

    Parameters
    ----------
    image
        With phases "pore" and "active"; all others go with the active material. Axis 0 is through-plane.
    porosity
        Share of pore voxels afterwards.
    rng
        Decides between equally near places for what is laid again.

    Raises
    ------
    MeshError
        Where the porosity is not below the image's, or there are no pores or no active material.
    PackingError
        Where so many particles would overlap that the porosity is out of reach by moving them; it names that reached.
    """
    n_slices = _slices(image, porosity)
    bodies = _bodies(image)
    moved = _rearranged(bodies, image, n_slices)
    shift = np.rint((moved - bodies.centre) / np.asarray(image.voxel_size)).astype(np.int64)
    labels = np.zeros((n_slices, *image.shape[1:]), np.uint8)
    pore, active = image.index("pore"), image.index("active")
    labels[:] = pore
    n_lost = _move(image.mask("active"), bodies.label, shift, labels, active, pore)
    n_active = int(np.count_nonzero(bodies.label))
    if n_lost > MOST_LAID_AGAIN * n_active:
        raise _too_dense(image, porosity, n_lost / n_active)
    _lay(labels, n_lost, active, pore, image, rng)
    nearest = ndimage.distance_transform_edt(
        bodies.label == 0, sampling=image.voxel_size, return_distances=False, return_indices=True
    )
    owner = bodies.label[tuple(nearest)]
    for name in image.phases:
        if name not in ("pore", "active") and image.mask(name).any():
            own = image.index(name)
            lost = _move(image.mask(name), owner, shift, labels, own, pore)
            _lay(labels, lost, own, pore, image, rng)
    affine = bodies.centre * [n_slices / image.shape[0], 1.0, 1.0]
    sideways = np.sqrt(np.mean(np.sum((moved - affine)[:, 1:] ** 2, axis=1)))
    return Calendered(
        replace(image, labels=labels),
        1.0 - n_slices / image.shape[0],
        bodies.volume.size,
        n_lost / n_active,
        float(sideways),
    )


def _slices(image: VoxelImage, porosity: float) -> int:
    """Slices that the solid fills up to the porosity."""
    if "pore" not in image.phases or "active" not in image.phases:
        raise MeshError(
            f"calendering needs phases pore and active; the image has {', '.join(image.phases)}: correct the labels"
        )
    found = image.volume_fraction("pore")
    if not 0.0 < porosity < found:
        raise MeshError(
            f"the porosity to reach by calendering is {porosity:g}, and the image has {found:.4g}; pressing only "
            f"lowers it: choose one above 0 and below {found:.4g}"
        )
    if not image.mask("active").any():
        raise MeshError("the image has no active material, whose particles could move; correct the labels")
    return max(1, round(image.shape[0] * (1.0 - found) / (1.0 - porosity)))


def _bodies(image: VoxelImage) -> _Bodies:
    """The particles of the active material, with the ellipsoids of their second moments and volumes."""
    label, count = particles(image.mask("active"), image.voxel_size)
    where = np.nonzero(label)
    own = label[where] - 1
    n = np.bincount(own, minlength=count)
    at = [(where[a] + 0.5) * image.voxel_size[a] for a in range(3)]
    centre = np.stack([np.bincount(own, x, minlength=count) / n for x in at], axis=1)
    second = np.empty((count, 3, 3))
    for a in range(3):
        for b in range(a, 3):
            product = np.bincount(own, (at[a] - centre[own, a]) * (at[b] - centre[own, b]), minlength=count) / n
            second[:, a, b] = second[:, b, a] = product
    # a voxel has a moment of its own; an ellipsoid's second moment along a half-axis s is s^2/5
    second[:, range(3), range(3)] += np.asarray(image.voxel_size) ** 2 / 12.0
    volume = n * image.voxel_volume
    full = 5.0 * second
    full *= np.cbrt((0.75 * volume / np.pi) ** 2 / np.linalg.det(full))[:, None, None]
    matrix = packed(full)
    fixed = np.zeros((count + 1, 3, 2), bool)
    for axis in range(3):
        for k, end in enumerate((0, -1)):
            fixed[label.take(end, axis), axis, k] = True
    return _Bodies(label, centre, matrix, np.asarray(volume), fixed[1:])


def _rearranged(bodies: _Bodies, image: VoxelImage, n_slices: int) -> Floats:
    """Centres after pressing, shape (n, 3), m.

    A pair keeps the distance, relative to touching, that it had before, but need not stay further than touching.
    What an end or a side of the image cuts off stays at it.
    """
    size = np.asarray(image.shape) * image.voxel_size
    pressed = size * [n_slices / image.shape[0], 1.0, 1.0]
    far = 4.0 * np.max(size) * np.ones(3)  # a box so wide that no particle meets a periodic image
    centre = bodies.centre * (pressed / size)
    centre[:, 0] = np.where(bodies.fixed[:, 0, 0], bodies.centre[:, 0], centre[:, 0])
    centre[:, 0] = np.where(bodies.fixed[:, 0, 1], bodies.centre[:, 0] + pressed[0] - size[0], centre[:, 0])
    held = bodies.fixed.any(axis=2)
    extent = np.sqrt(bodies.matrix[:, (0, 3, 5)])
    low, high = np.minimum(extent, 0.5 * pressed), np.maximum(pressed - extent, 0.5 * pressed)
    reach = np.sqrt(np.linalg.eigvalsh(unpacked(bodies.matrix))[:, -1])
    pairs = np.empty((0, 2), np.int32)
    closest = np.empty(0)
    for step in range(MOVES):
        if step % REBUILD == 0:
            pairs = bounding_pairs(centre, reach, far, NEAR)
            closest = np.minimum(1.0, scales(bodies.centre, bodies.matrix, far, pairs))
        shift, turn = np.zeros_like(centre), np.zeros_like(centre)  # voxels do not turn
        add_moves(centre, bodies.matrix, bodies.volume, far, pairs, closest, np.zeros_like(closest), shift, turn)
        centre = np.where(held, centre, np.clip(centre + shift, low, high))
    return centre


def _move(own: Mask, owner: NDArray[np.int32], shift: Numbers, labels: NDArray[np.uint8], value: int, pore: int) -> int:
    """Write the voxels of a phase, moved with their owners, into free places of `labels`; how many found none."""
    where = np.nonzero(own)
    by = shift[owner[where] - 1]
    target = [where[a] + by[:, a] for a in range(3)]
    inside = np.ones(where[0].size, bool)
    for a in range(3):
        inside &= (target[a] >= 0) & (target[a] < labels.shape[a])
    flat = np.ravel_multi_index([t[inside] for t in target], labels.shape)
    flat = np.unique(flat[labels.reshape(-1)[flat] == pore])
    labels.reshape(-1)[flat] = value
    return int(where[0].size - flat.size)


def _lay(
    labels: NDArray[np.uint8], count: int, value: int, pore: int, image: VoxelImage, rng: np.random.Generator
) -> None:
    """Turn the pore voxels nearest to a phase into it."""
    grown = labels == value
    if not grown.any():
        grown = labels != pore
    chosen, _ = nearest_voxels(grown, labels == pore, count, image.voxel_size, rng)
    labels[chosen] = value


def _too_dense(image: VoxelImage, porosity: float, lost: float) -> PackingError:
    before = image.volume_fraction("pore")
    reached = before - (before - porosity) * MOST_LAID_AGAIN / lost
    return PackingError(
        f"calendering to a porosity of {porosity:g} would make particles share {lost:.0%} of the active volume, beyond "
        f"{MOST_LAID_AGAIN:.0%}: they would have to break or flow, which is not modelled; about {reached:.2f} was "
        "reached: choose a porosity above it",
        reached=reached,
    )
