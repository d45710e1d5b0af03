"""Erosion and dilation of a phase to a target fraction, on images of any origin."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from meshing.errors import MeshError
from meshing.generate.common import Floats, Lengths, Made, Mask, smallest
from meshing.image import VoxelImage

CURVATURE = 0.3
"""Weight, in voxels, of the smoothed phase against the distance: hollows fill and tips go first among equal distances,
which differ by at least 0.2 voxels."""
DISORDER = 0.01
"""Random part of the distance, in voxels, so that what remains equal is taken in no order."""


@dataclass(frozen=True, slots=True, eq=False)
class Resized(Made):
    """An image with a phase grown or shrunk.

    Attributes
    ----------
    distance
        That its surface has moved at most, m; to the centre of the farthest voxel that changed.
    changed
        Share of the image's voxels that changed.
    """

    distance: float
    changed: float


def dilate(
    image: VoxelImage, phase: str, volume_fraction: float, rng: np.random.Generator, *, other: str = "pore"
) -> Resized:
    """The image with a phase grown into `other` until it has a volume fraction, met to one voxel; nearest voxels first.

    Raises
    ------
    MeshError
        Where the phase is larger already, absent, or `other` is too small for it.
    """
    inside, there, n_wanted = _target(image, phase, other, volume_fraction)
    n_more = n_wanted - int(np.count_nonzero(inside))
    if n_more < 0:
        raise MeshError(
            f"{phase} has a volume fraction of {image.volume_fraction(phase):.4g} already, above {volume_fraction:g}; "
            "dilation only makes it larger: choose a larger volume_fraction, or erode"
        )
    n_there = int(np.count_nonzero(there))
    if n_more > n_there:
        reached = (np.count_nonzero(inside) + n_there) / inside.size
        raise MeshError(
            f"{phase} would need {n_more} voxels of {other}, and only {n_there} are there; with all of them it would "
            f"reach {reached:.4g}: choose a volume_fraction below that"
        )
    return _changed(image, inside, there, n_more, phase, rng)


def erode(
    image: VoxelImage, phase: str, volume_fraction: float, rng: np.random.Generator, *, other: str = "pore"
) -> Resized:
    """The image with a phase worn off, `other` in its place, down to a volume fraction; voxels at its surface first.

    Raises
    ------
    MeshError
        Where the phase is smaller already, absent, or fills the image, so that it has no surface.
    """
    inside, _, n_wanted = _target(image, phase, other, volume_fraction)
    n_less = int(np.count_nonzero(inside)) - n_wanted
    if n_less < 0:
        raise MeshError(
            f"{phase} has a volume fraction of {image.volume_fraction(phase):.4g} only, below {volume_fraction:g}; "
            "erosion only makes it smaller: choose a smaller volume_fraction, or dilate"
        )
    if inside.all():
        raise MeshError(f"{phase} fills the whole image and has no surface to erode; check the labels")
    return _changed(image, ~inside, inside, n_less, other, rng)


def nearest_voxels(
    grown: Mask, candidates: Mask, count: int, voxel_size: Lengths, rng: np.random.Generator
) -> tuple[Mask, float]:
    """The `count` candidates nearest to a phase, and the largest distance among them, m.

    Equal distances go by how much of the phase is around, and then at random.
    """
    if count == 0:
        return np.zeros(grown.shape, bool), 0.0
    h = min(voxel_size)
    distance: Floats = ndimage.distance_transform_edt(~grown, sampling=voxel_size)
    around = ndimage.gaussian_filter(grown.astype(np.float32), [h / edge for edge in voxel_size], mode="nearest")
    score = distance - CURVATURE * h * around + DISORDER * h * rng.random(grown.shape)
    score[~candidates] = np.inf
    chosen = smallest(score, count)
    return chosen, float(distance[chosen].max())


def _target(image: VoxelImage, phase: str, other: str, volume_fraction: float) -> tuple[Mask, Mask, int]:
    if not 0.0 < volume_fraction < 1.0:
        raise MeshError(f"volume_fraction is {volume_fraction:g}; it must be between 0 and 1, both excluded")
    inside, there = image.mask(phase), image.mask(other)
    if phase == other:
        raise MeshError(f"{phase} cannot give way to itself; name another phase than '{other}'")
    if not inside.any():
        raise MeshError(f"the image has no voxel of {phase}, which could grow or shrink; check the labels")
    return inside, there, round(volume_fraction * inside.size)


def _changed(
    image: VoxelImage, grown: Mask, candidates: Mask, count: int, becomes: str, rng: np.random.Generator
) -> Resized:
    chosen, distance = nearest_voxels(grown, candidates, count, image.voxel_size, rng)
    labels = np.where(chosen, np.uint8(image.index(becomes)), image.labels)
    return Resized(replace(image, labels=labels), distance, count / labels.size)
