"""Size distributions of particles, and whether an image can hold them."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from meshing.errors import MeshError
from meshing.generate.common import Floats, Lengths
from meshing.profile import Profile

OVERSIZE_SHARE = 0.05
"""Largest share of the particle volume, in the wanted distribution, that may be wider than the image."""
VOXELS_ACROSS = 2.0
"""Voxels across the median particle below which its shape is noise."""


def draw_diameters(
    box: Lengths, volume_fraction: float, median_diameter: float, sigma: float, rng: np.random.Generator
) -> Floats:
    """Diameters, shape (n,), m, ascending, whose spheres fill `volume_fraction` of the box.

    Lognormal by volume with the given median is lognormal by number with median d exp(-3 sigma^2) (Hatch and Choate,
    J. Franklin Inst. 207 (1929) 369). One diameter is drawn from each of n equal parts of the distribution, which
    keeps small samples close to it; sizes wider than the box are cut off; one common factor meets the volume.
    """
    by_number = median_diameter * np.exp(-3.0 * sigma**2)
    mean_cube = by_number**3 * np.exp(4.5 * sigma**2)
    wanted = 6.0 / np.pi * volume_fraction * float(np.prod(box))
    n = round(wanted / mean_cube)
    if n == 0:
        raise _too_few(volume_fraction, median_diameter, box)
    diameter = _lognormal(n, by_number, sigma, min(box), rng)
    return np.asarray(diameter * np.cbrt(wanted / np.sum(diameter**3)))


def draw_graded(
    box: Lengths, fraction: Profile, median: Profile, sigma: float, rng: np.random.Generator, margin: float = 0.0
) -> tuple[Floats, Floats]:
    """Diameters and depths of spheres that fill the box as two profiles say, shapes (n,), m.

    One depth is drawn from each of n equal parts of the distribution of the number over the depth, fraction(depth)/
    median(depth)^3, and the quantiles of the sizes, as in `draw_diameters`, are dealt out to them at random.

    Parameters
    ----------
    box
        Edges, m; the profiles run along the first, from `margin` after its start to `margin` before its end.
    fraction
        Volume fraction of the spheres.
    median
        Median diameter by volume, m.
    sigma
        Standard deviation of the logarithm of the diameter.
    """
    n_layers = 1000
    depth = (np.arange(n_layers) + 0.5) / n_layers * box[0]
    relative = (depth - margin) / (box[0] - 2.0 * margin)
    volume, typical = fraction.at(relative), median.at(relative)
    number = 6.0 / np.pi * volume * float(np.prod(box)) / n_layers / (typical * np.exp(-1.5 * sigma**2)) ** 3
    n = round(float(np.sum(number)))
    if n == 0:
        raise _too_few(fraction.mean, median.mean, box)
    below = np.concatenate(([0.0], np.cumsum(number)))
    place = np.interp(
        (np.arange(n) + rng.random(n)) / n * below[-1], below, np.arange(n_layers + 1) / n_layers * box[0]
    )
    of_place = median.at((place - margin) / (box[0] - 2.0 * margin))
    by_number = float(np.exp(-3.0 * sigma**2))
    widest = min(box) / float(np.max(of_place))
    diameter = of_place * rng.permutation(_lognormal(n, by_number, sigma, widest, rng))
    wanted = 6.0 / np.pi * float(np.sum(volume)) / n_layers * float(np.prod(box))
    return np.asarray(diameter * np.cbrt(wanted / np.sum(diameter**3))), np.asarray(place)


def median_by_volume(diameter: Floats) -> float:
    """The diameter that half of the volume lies below, m."""
    order = np.sort(diameter)
    below = np.cumsum(order**3)
    return float(order[np.searchsorted(below, 0.5 * below[-1])])


def _lognormal(n: int, by_number: float, sigma: float, widest: float, rng: np.random.Generator) -> Floats:
    """One diameter from each of n equal parts of the distribution by number, ascending; none wider than `widest`."""
    largest = ndtr(np.log(widest / by_number) / sigma) if sigma > 0 else 1.0
    quantile = largest * (np.arange(n) + rng.random(n)) / n
    return by_number * np.exp(sigma * ndtri(quantile)) if sigma > 0 else np.full(n, by_number)


def _too_few(fraction: float, diameter: float, box: Lengths) -> MeshError:
    return MeshError(
        f"an active volume fraction of {fraction:g} is less than one particle of {diameter:g} m "
        f"in a box of {_lengths(box)}; enlarge shape or choose a smaller diameter"
    )


def check_sizes(box: Lengths, voxel_size: Lengths, median_diameter: float, sigma: float) -> None:
    """MeshError where a size distribution makes no sense, or voxels or box cannot show it."""
    if not (np.isfinite(sigma) and sigma >= 0.0):
        raise MeshError(f"sigma of the diameters is {sigma:g}; it must be 0 (equal spheres) or positive")
    if not (np.isfinite(median_diameter) and median_diameter >= VOXELS_ACROSS * max(voxel_size)):
        raise MeshError(
            f"the median diameter is {median_diameter:g} m with voxels of {max(voxel_size):g} m; it must be at least "
            f"{VOXELS_ACROSS:g} voxels: choose smaller voxels or larger particles"
        )
    wider = np.log(median_diameter / min(box))
    oversize = float(ndtr(wider / sigma)) if sigma > 0.0 else float(wider > 0.0)
    if oversize > OVERSIZE_SHARE:
        raise MeshError(
            f"{oversize:.0%} of the particle volume would be in particles wider than the image, whose edges are "
            f"{_lengths(box)}; at most {OVERSIZE_SHARE:.0%} may be: enlarge shape, or lower the diameter "
            f"({median_diameter:g} m) or sigma ({sigma:g})"
        )


def _lengths(box: Lengths) -> str:
    return " x ".join(f"{edge:g}" for edge in box) + " m"
