"""What all generators share: profiles through the thickness, an exact number of voxels, and checks of targets.

Generators that know a thickness take axis 0 for it, from the separator (low end) to the current collector (high end);
`meshing.image.Orientation` turns images of other axes there and back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshing.errors import MeshError
from meshing.image import VoxelImage
from meshing.profile import Profile

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Mask = NDArray[np.bool_]
Shape = tuple[int, int, int]
Lengths = tuple[float, float, float]

PHASES = ("pore", "active", "binder")
"""Phases of a generated image, in the order of its labels 0, 1, 2."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What a generator has made; its subclasses add what else was reached.

    Attributes
    ----------
    image
        Labels 0 pore, 1 active, 2 binder, or the phases of the image that was changed.
    """

    image: VoxelImage

    @property
    def volume_fractions(self) -> dict[str, float]:
        """Share of the image's voxels by phase."""
        return {name: self.image.volume_fraction(name) for name in self.image.phases}

    @property
    def porosity(self) -> float:
        """Share of the image's voxels that are pore."""
        return self.image.volume_fraction("pore")


def smallest(values: Floats | Singles, count: int) -> Mask:
    """The `count` smallest values; equal ones in C order."""
    if count == 0:
        return np.zeros(values.shape, bool)
    limit = np.partition(values, count - 1, axis=None)[count - 1]
    chosen: Mask = np.less(values, limit)
    tied = np.flatnonzero(values == limit)
    chosen.reshape(-1)[tied[: count - int(np.count_nonzero(chosen))]] = True
    return chosen


def smallest_by_depth(values: Singles, profile: Profile, window: int) -> Mask:
    """The smallest values, in total as many as the profile's mean, and about as its value at each depth.

    Around each of several depths, a level is found below which the wanted share of the values within `window` slices
    lies; between these depths the level is a straight line, so that surfaces have no steps from slice to slice.

    Parameters
    ----------
    values
        Shape (nx, ny, nz), depth along axis 0; infinite ones are never chosen.
    profile
        Share of all voxels to choose.
    window
        Slices on either side over which a level is found; 0 for one level at all depths.
    """
    n = values.shape[0]
    wanted = profile.of_slices(n)
    count = round(float(np.sum(wanted)) * values[0].size)
    if window == 0:
        return smallest(values, count)
    knots = np.unique(np.linspace(0, n - 1, max(2, round(n / window) + 1)).round().astype(np.intp))
    levels = []
    for knot in knots:
        near = slice(max(0, knot - window), min(n, knot + window + 1))
        flat = values[near].reshape(-1)
        finite = int(np.count_nonzero(np.isfinite(flat)))
        rank = min(max(round(float(np.mean(wanted[near])) * flat.size) - 1, 0), max(finite - 1, 0))
        levels.append(float(np.partition(flat, rank)[rank]))
    level = np.interp(np.arange(n), knots, levels).astype(np.float32)
    return smallest(values - level[:, None, None], count)


def check_share(name: str, value: float) -> None:
    """MeshError where a volume fraction is not between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise MeshError(f"{name} is {value:g}; it must be between 0 and 1, both excluded")


def check_fractions(active: float, binder: float) -> None:
    """MeshError where the fractions of the solid phases are impossible or leave no pore."""
    check_share("active_volume_fraction", active)
    if not 0.0 <= binder < 1.0:
        raise MeshError(f"binder_volume_fraction is {binder:g}; it must be at least 0 and below 1")
    if active + binder >= 1.0:
        raise MeshError(
            f"active_volume_fraction {active:g} and binder_volume_fraction {binder:g} add up to {active + binder:g}; "
            "their sum must be below 1, so that pores are left"
        )


def check_room(n_wanted: int, n_there: int, what: str) -> None:
    """MeshError where more voxels are asked for than there are to choose from."""
    if n_wanted > n_there:
        raise MeshError(
            f"{what} asks for {n_wanted} voxels, but only {n_there} pore voxels are there; ask for less, or start from "
            "a more porous image"
        )
