"""Single particles of a phase and their sizes, by a watershed on the distance to its surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from meshing.errors import MeshError

Labels = NDArray[np.int32]
Floats = NDArray[np.float64]
SMALLEST_STEP = 0.5
"""Height by which a maximum of the distance has to stand out to make a particle of its own, in voxels: lower ones come
from the roughness of a voxel surface."""


def particles(voxels: NDArray[np.bool_], voxel_size: tuple[float, float, float]) -> tuple[Labels, int]:
    """Number of the particle of each voxel (0 outside) and the number of particles.

    Particles are the catchment basins of the distance to the phase's surface, which cut at necks. Sides of the image
    are no surface: a particle that an image cuts off is as large as what is seen of it.

    Parameters
    ----------
    voxels
        The phase, shape (nx, ny, nz).
    voxel_size
        m.
    """
    from skimage.morphology import h_maxima  # imported here: it takes a second
    from skimage.segmentation import watershed

    if voxels.all():  # no surface: one body
        return np.ones(voxels.shape, np.int32), 1
    smallest = min(voxel_size)
    distance = ndimage.distance_transform_edt(voxels, sampling=[h / smallest for h in voxel_size])
    distance = ndimage.gaussian_filter(distance, 0.5)
    maxima = np.asarray(h_maxima(distance, SMALLEST_STEP))  # type: ignore[no-untyped-call]
    tops, _ = ndimage.label(maxima * voxels, structure=np.ones((3, 3, 3)))
    basins = watershed(-distance, tops, mask=voxels)  # type: ignore[no-untyped-call]
    lost = voxels & (basins == 0)  # a body without a maximum of its own: smaller than the step
    if lost.any():
        more, _ = ndimage.label(lost)
        basins = np.where(lost, more + basins.max(), basins)
    return basins.astype(np.int32), int(basins.max())


def radii(labels: Labels, count: int, voxel_volume: float) -> Floats:
    """Radius of the sphere of the same volume of each particle, shape (count,), m."""
    voxels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return np.asarray(np.cbrt(3.0 * voxel_volume * voxels / (4.0 * np.pi)))


def size_classes(radius: Floats, n: int, sauter_radius: float) -> tuple[Floats, Floats]:
    """A size distribution as n spheres of equal shares of the volume: their radii (m) and shares, shapes (m,), m <= n.

    Each class has the radius whose surface per volume is that of its particles; all are then scaled by one factor, so
    that together they have the surface per volume of `sauter_radius` (m), 3/R.

    Raises
    ------
    MeshError
        Where there is no particle.
    """
    found = radius[radius > 0.0]
    if found.size == 0:
        raise MeshError("there is no particle to take a size from")
    order = np.sort(found)
    volume = order**3 / np.sum(order**3)
    middle = np.cumsum(volume) - 0.5 * volume
    number = np.minimum((n * middle).astype(np.intp), n - 1)
    share = np.asarray(np.bincount(number, weights=volume, minlength=n), np.float64)
    surface = np.asarray(np.bincount(number, weights=volume / order, minlength=n), np.float64)
    some = share > 0.0
    share, surface = share[some], surface[some]
    factor = sauter_radius * surface.sum()
    return np.asarray(share / surface * factor), np.asarray(share)
