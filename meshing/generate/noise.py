"""Synthetic fields without particles: smoothed noise and site noise."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from meshing.generate.common import Floats, Lengths, Shape, check_share, smallest
from meshing.image import VoxelImage


def blobs(
    shape: Shape,
    porosity: float,
    feature_voxels: float,
    rng: np.random.Generator,
    *,
    voxel_size: Lengths = (1e-6, 1e-6, 1e-6),
) -> VoxelImage:
    """Smoothed noise cut at the exact porosity; phases "pore" and "active", periodic along all axes.

    `feature_voxels` is the standard deviation of the Gaussian that smooths the noise, in voxels.
    """
    check_share("porosity", porosity)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), feature_voxels, mode="wrap")
    return _two_phases(noise, porosity, voxel_size)


def site_noise(
    shape: Shape, fraction: float, rng: np.random.Generator, *, voxel_size: Lengths = (1e-6, 1e-6, 1e-6)
) -> VoxelImage:
    """Voxels drawn at random without regard to their neighbours, `fraction` of them "pore", the others "active"."""
    check_share("fraction", fraction)
    return _two_phases(rng.random(shape), fraction, voxel_size)


def _two_phases(values: Floats, porosity: float, voxel_size: Lengths) -> VoxelImage:
    pore = smallest(values, round(porosity * values.size))
    return VoxelImage((~pore).astype(np.uint8), voxel_size, ("pore", "active"))
