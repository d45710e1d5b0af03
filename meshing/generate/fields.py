"""Gaussian random fields of a given spectral density, cut at a level: irregular particles.

The field is white noise whose Fourier amplitudes are multiplied by the square root of the spectral density S(k); its
autocovariance is the Fourier transform of S. It is periodic along all axes. Scaled lengths q_i = k_i l_i make it
anisotropic. A cut at the level of volume fraction p keeps of the correlation coefficient rho, at p = 1/2,
S_2 = 1/4 + arcsin(rho)/(2 pi) (for instance Torquato, Random Heterogeneous Materials, 2002, section 8.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.special import ndtri

from meshing.errors import MeshError
from meshing.generate.common import PHASES, Floats, Lengths, Made, Shape, Singles, check_share, smallest
from meshing.image import VoxelImage
from meshing.profile import Profile

Density = Callable[[Singles], Singles]
"""Spectral density, up to a factor, at squared scaled wave numbers q^2, same shape."""
PERIODS = 2.0
"""Fewest lengths of the field along an edge of the image: below, the image is one or two features."""


def gaussian(square: Singles) -> Singles:
    """Of rho(r) = exp(-(r/l)^2): smooth surfaces, particles of one size."""
    return np.asarray(np.exp(-0.25 * square))


def exponential(square: Singles) -> Singles:
    """Of rho(r) = exp(-r/l): rough surfaces, all sizes (Debye et al., J. Appl. Phys. 28 (1957) 679)."""
    return (1.0 + square) ** -2


def peaked(width: float) -> Density:
    """Waves of length 2 pi l, within a relative `width` (standard deviation): particles at even distances."""

    def density(square: Singles) -> Singles:
        return np.exp(-0.5 * ((np.sqrt(square) - 1.0) / np.float32(width)) ** 2)

    return density


@dataclass(frozen=True, slots=True, eq=False)
class CutField(Made):
    """A random field cut at a level.

    Attributes
    ----------
    level
        Share of the standard deviation at which active material begins, averaged over the depth.
    spread
        Standard deviation of the field on this image over that of the process; small images miss long waves.
    """

    level: float
    spread: float


def random_field(
    shape: Shape, voxel_size: Lengths, lengths: Lengths, density: Density, rng: np.random.Generator
) -> Singles:
    """Gaussian field of expected mean 0 and variance 1, periodic, shape `shape`.

    Parameters
    ----------
    lengths
        l of the spectral density along each axis, m.
    density
        Spectral density at (k_x l_x)^2 + (k_y l_y)^2 + (k_z l_z)^2; only its shape counts.
    rng
        Source of all randomness.

    Raises
    ------
    MeshError
        Where a length is below a voxel or too long for the image, or the density is nowhere positive on its waves.
    """
    _check_lengths(shape, voxel_size, lengths)
    noise = fft.rfftn(rng.standard_normal(shape, dtype=np.float32))
    square = np.zeros(noise.shape, np.float32)
    for axis, (n, h, length) in enumerate(zip(shape, voxel_size, lengths, strict=True)):
        wave = np.fft.rfftfreq(n) if axis == 2 else np.fft.fftfreq(n)
        along = (2.0 * np.pi / h * length * wave) ** 2
        square += along.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    power = np.asarray(density(square), np.float32)
    power[0, 0, 0] = 0.0
    total = _sum_of_all(power, shape[2])
    if not (np.isfinite(total) and total > 0.0 and float(power.min()) >= 0.0):
        raise MeshError(
            f"the spectral density is negative, infinite or zero on all waves of an image of {shape} voxels; "
            "choose one that is positive around wave numbers of 1/length"
        )
    noise *= np.sqrt(power * np.float32(np.prod(shape) / total))
    return np.asarray(fft.irfftn(noise, shape), np.float32)


def cut_field(
    shape: Shape,
    voxel_size: Lengths,
    active: Profile,
    lengths: Lengths,
    rng: np.random.Generator,
    *,
    density: Density = gaussian,
) -> CutField:
    """Irregular particles: the highest values of a Gaussian random field; phases "pore", "active", "binder" (empty).

    The volume fraction is met to one voxel. A gradient moves the level with the depth, to that at which the expected
    share of the field is the wanted one.

    Parameters
    ----------
    shape
        Voxels; axis 0 is through-plane.
    active
        Volume fraction of active material.
    lengths, density, rng
        As for `random_field`.
    """
    for value in active.values:
        check_share("active_volume_fraction", value)
    field = random_field(shape, voxel_size, lengths, density, rng)
    wanted = active.of_slices(shape[0])
    level = -ndtri(wanted)
    excess = level.astype(np.float32)[:, None, None] - field
    inside = smallest(excess, round(float(np.sum(wanted)) * field[0].size))
    image = VoxelImage(inside.astype(np.uint8), voxel_size, PHASES)
    cut = float(np.mean(level)) - float(np.max(excess[inside]))
    return CutField(image, cut, float(np.std(field, dtype=np.float64)))


def correlation(values: Singles | Floats, axis: int) -> Floats:
    """Correlation coefficient of a periodic field with itself along an axis, shape (n // 2 + 1,), from lag 0."""
    deviation = np.asarray(values, np.float64) - float(np.mean(values, dtype=np.float64))
    waves = np.abs(fft.rfft(deviation, axis=axis)) ** 2
    power = waves.sum(axis=tuple(a for a in range(3) if a != axis))
    covariance = fft.irfft(power, values.shape[axis])[: values.shape[axis] // 2 + 1]
    return np.asarray(covariance / covariance[0])


def _sum_of_all(power: Singles, n_last: int) -> float:
    """Sum over all waves, of which the last axis holds half; its first and, where even, last plane stand for one."""
    twice = power[:, :, 1 : (n_last + 1) // 2].sum(dtype=np.float64)
    once = power[:, :, 0].sum(dtype=np.float64)
    last = power[:, :, -1].sum(dtype=np.float64) if n_last % 2 == 0 else 0.0
    return float(once + 2.0 * twice + last)


def _check_lengths(shape: Shape, voxel_size: Lengths, lengths: Lengths) -> None:
    for axis, n, h, length in zip("xyz", shape, voxel_size, lengths, strict=True):
        if not h <= length <= n * h / PERIODS:
            raise MeshError(
                f"the length of the random field along axis {axis} is {length:g} m; it must be at least a voxel "
                f"({h:g} m) and at most 1/{PERIODS:g} of the image's edge ({n * h:g} m): choose another length, or "
                "change shape or voxel_size"
            )
