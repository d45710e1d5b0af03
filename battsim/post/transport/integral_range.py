"""Statistical error of a mean over voxels, such as a volume fraction, from the covariance of one image.

The mean over a volume V of a field with covariance C(r) between points r apart differs from the material's by a random
amount of variance (T. Kanit et al., Int. J. Solids Struct. 40 (2003) 3647)

    s^2 = C(0) A / V,    A = integral of C(r) / C(0) over all r,

where A is the integral range. One image shows C(r) for all r at once by Fourier transforms, as A. Dahari et al.,
arXiv:2410.19568, do it. Its finite size is undone twice: its own mean, subtracted instead of the material's, takes s^2
off every C(r); and only a share w(r) of its voxels has a partner at r. So

    s^2 = sum over r of w (C + s^2) / V,    hence    s^2 = sum(w C) / (V - sum(w)),

summed over a ball that ends where the correlation has decayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import stdtrit

from battsim.errors import CaseError
from meshing.image import VoxelImage

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Size = tuple[float, float, float]

WINDOW = 2.0
"""Radius of the ball, over that of a ball of volume A: a smaller one cuts the tail off, a larger one adds noise (a
self-consistent window, in three dimensions, as that for series in N. Madras, A. D. Sokal, J. Stat. Phys. 50 (1988) 109,
app. C)."""
DECAYED = 0.1
"""Correlation that may be left along each axis where the ball ends; it keeps fibres and layers from being cut."""
LARGEST = 200
"""Blocks along an axis whose covariances are found; larger images are averaged over blocks, which keeps the sum."""


@dataclass(frozen=True, slots=True)
class MeanError:
    """How far the mean over the image may lie from the material's; numbers that cannot be had are None.

    Attributes
    ----------
    mean
        Of the image.
    deviation
        Standard deviation of the means of images of this size.
    relative_error
        Half the width of the confidence interval, over the mean.
    integral_range
        A, m3.
    degrees_of_freedom
        Of the deviation, as in a sample with one value more.
    reason
        What was found, in one sentence.
    """

    mean: float
    deviation: float | None
    relative_error: float | None
    integral_range: float | None
    degrees_of_freedom: float | None
    reason: str


def mean_error(image: VoxelImage, weight: Mapping[str, float], *, confidence: float = 0.95) -> MeanError:
    """Error of the mean of a weight per phase, from one image; of a volume fraction where weights are 1 and 0.

    Asked for 95 % confidence, the interval held the true volume fraction in 93 to 98 of 100 images of noise, blobs and
    overlapping spheres. It knows nothing of what varies on lengths beyond the image, such as a gradient: of packed
    spheres in clumps of several diameters, images of five diameters held it in 72 of 100.

    Parameters
    ----------
    image
        Not periodic, and not made to have a given fraction: both bind the mean.
    weight
        By phase name; phases not named count 0.
    confidence
        Probability that the interval holds the material's mean.

    Raises
    ------
    CaseError
        Where the confidence is not between 0 and 1, or the image has no such phase.
    """
    check_share("confidence", confidence)
    field = weighted(image, weight)
    mean, variance = float(field.mean(dtype=np.float64)), float(field.var(dtype=np.float64))
    if variance == 0.0:
        return MeanError(mean, None, None, None, None, "all voxels are the same: nothing tells how they would vary")
    blocks, size = _averaged(field - np.float32(mean), image.voxel_size)
    found = _deviation(blocks, size, variance)
    if found is None:
        reason = "the structure is correlated over half of the image or more: it has too few independent parts"
        return MeanError(mean, None, None, None, None, reason)
    deviation, freedom, radius = found
    volume = field.size * image.voxel_volume
    error = half_width(freedom, confidence) * deviation / abs(mean) if mean != 0.0 else None
    reason = f"covariances up to {radius:.3g} m, {freedom:.0f} degrees of freedom"
    return MeanError(mean, deviation, error, deviation**2 * volume / variance, freedom, reason)


def half_width(freedom: float, confidence: float) -> float:
    """Half the width of the two-sided confidence interval of a mean over its estimated deviation (Student's t)."""
    return float(stdtrit(freedom, 0.5 + 0.5 * confidence))


def weighted(image: VoxelImage, weight: Mapping[str, float]) -> Singles:
    """Weight of each voxel, shape (nx, ny, nz). Raises CaseError where the image has no such phase."""
    missing = [name for name in weight if name not in image.phases]
    if missing:
        raise CaseError(f"the image has no phase named '{missing[0]}'; choose from {', '.join(image.phases)}")
    table = np.array([weight.get(name, 0.0) for name in image.phases], np.float32)
    return table[image.labels]


def check_share(name: str, value: float) -> None:
    """Raise CaseError unless the value is between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise CaseError(f"{name} = {value}; allowed are numbers between 0 and 1, both excluded")


def _averaged(field: Singles, voxel_size: Size) -> tuple[Singles, Size]:
    """Means over blocks, at most LARGEST along an axis, and the edges of a block, m."""
    factors = [ceil(n / LARGEST) for n in field.shape]
    a, b, c = (n // factor for n, factor in zip(field.shape, factors, strict=True))
    whole = field[: a * factors[0], : b * factors[1], : c * factors[2]]
    split = whole.reshape(a, factors[0], b, factors[1], c, factors[2])
    hx, hy, hz = (h * factor for h, factor in zip(voxel_size, factors, strict=True))
    return split.mean(axis=(1, 3, 5), dtype=np.float32), (hx, hy, hz)


def _deviation(field: Singles, size: Size, variance: float) -> tuple[float, float, float] | None:
    """Standard deviation of the field's mean, its degrees of freedom, and the radius of the ball, m.

    Degrees of freedom as of a spectral estimate at frequency zero, V / sum(w^2) (M. B. Priestley, Spectral Analysis
    and Time Series, Academic Press 1981, ch. 6).
    """
    sums, pairs = _lagged(field)
    step = min(h for h, n in zip(size, field.shape, strict=True) if n > 1)
    ring = _rings(sums.shape, size, step)
    radius = step * np.arange(int(ring.max()) + 1, dtype=np.float64)
    w = pairs / field.size
    inside = [np.cumsum(np.bincount(ring, values.reshape(-1))) for values in (sums / field.size, w, w**2)]
    square = inside[0] / (field.size - inside[1])
    block = float(np.prod(size))
    A = np.maximum(square * field.size * block / variance, block)
    farthest = max(h * (n // 2) for h, n in zip(size, field.shape, strict=True))
    enough = (radius >= WINDOW * np.cbrt(3.0 * A / (4.0 * pi))) & (radius <= farthest)
    enough &= (square > 0.0) & _decayed(sums / pairs / variance, size, radius)
    if not enough.any():
        return None
    last = int(np.argmax(enough))
    return sqrt(float(square[last])), field.size / float(inside[2][last]), float(radius[last])


def _lagged(field: Singles) -> tuple[Floats, Floats]:
    """Sums of products at lags up to half the field along each axis, zero in the middle, and the numbers of pairs."""
    lags = [np.arange(-(n // 2), n // 2 + 1) for n in field.shape]
    padded = [fft.next_fast_len(n + n // 2, real=True) for n in field.shape]
    spectrum = fft.rfftn(field, padded)
    sums = fft.irfftn(spectrum.real**2 + spectrum.imag**2, padded)[np.ix_(*lags)]
    nx, ny, nz = ((n - np.abs(lag)).astype(float) for n, lag in zip(field.shape, lags, strict=True))
    return np.asarray(sums, np.float64), nx[:, None, None] * ny[:, None] * nz


def _rings(shape: Sequence[int], size: Size, step: float) -> NDArray[np.int64]:
    """Distance of each lag from zero in steps, rounded, shape (n_lags,)."""
    x, y, z = (((np.arange(n) - n // 2) * h) ** 2 for n, h in zip(shape, size, strict=True))
    distance = np.sqrt(x[:, None, None] + y[:, None] + z).reshape(-1)
    return np.asarray(np.rint(distance / step), np.int64)


def _decayed(correlation: Floats, size: Size, radius: Floats) -> NDArray[np.bool_]:
    """Whether the correlation along every axis is small at each radius, shape (n_rings,)."""
    small = np.ones(radius.size, bool)
    for a, (n, h) in enumerate(zip(correlation.shape, size, strict=True)):
        line: list[Any] = [m // 2 for m in correlation.shape]
        line[a] = slice(n // 2, None)
        if n > 1:
            small &= np.interp(radius, h * np.arange(n - n // 2), correlation[tuple(line)]) <= DECAYED
    return small
