"""Test images of the tortuosity benchmark: recipes of any size, and real images at full size.

The feature size of a recipe is fixed in voxels, so that a larger image is a larger piece of the same material.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Shape = tuple[int, int, int]

SPHERE_RADIUS = 8
"""Radius of the overlapping spheres, voxels."""
SPHERE_POROSITY = 0.3
"""Expected share that random spheres leave free."""


def overlapping_spheres(shape: Shape, rng: np.random.Generator) -> Mask:
    """The pore between insulating spheres placed at random, periodic along all axes, shape `shape`.

    n spheres of volume v at independent places leave the share exp(-n v / V) of a volume V free on average
    (S. Torquato, Random Heterogeneous Materials (2002), eq. 5.41).
    """
    reach = np.arange(-SPHERE_RADIUS, SPHERE_RADIUS + 1)
    ball = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    ball = ball[(ball**2).sum(axis=1) <= SPHERE_RADIUS**2]
    count = round(-np.log(SPHERE_POROSITY) * np.prod(shape) / len(ball))
    pore = np.ones(shape, bool)
    for centre in rng.integers(0, shape, (count, 3)):
        pore[tuple(np.mod(centre + ball, shape).T)] = False
    return pore


def _blobs(porosity: float, feature_voxels: float) -> Callable[[Shape, np.random.Generator], Mask]:
    def generate(shape: Shape, rng: np.random.Generator) -> Mask:
        from meshing.generate import blobs

        return blobs(shape, porosity, feature_voxels, rng).mask("pore")

    return generate


def _site_noise(shape: Shape, rng: np.random.Generator) -> Mask:
    from meshing.generate import site_noise

    return site_noise(shape, 0.40, rng).mask("pore")


RECIPES: dict[str, Callable[[Shape, np.random.Generator], Mask]] = {
    "blobs 0.50": _blobs(0.50, 2.5),
    "blobs 0.30": _blobs(0.30, 2.5),
    "fine blobs 0.20": _blobs(0.20, 1.5),
    "overlapping spheres 0.30": overlapping_spheres,
    "site noise 0.40": _site_noise,
}

REAL: dict[str, tuple[str, tuple[int, ...]]] = {
    "calendered NMC, pore": ("matbox_nmc1cal_bridgeCBD.tif", (0,)),
    "calendered NMC, pore + binder": ("matbox_nmc1cal_bridgeCBD.tif", (0, 2)),
    "bi-layer, 0": ("matbox_Bi_layer.tif", (0,)),
    "fuel-cell anode, 0": ("superres_SOFC_lr62.tif", (0,)),
    "OpenImpala blobs, True": ("openimpala_blobs100.tif", (1,)),
}
"""File and conducting values by name."""


def recipe_mask(name: str, size: int, seed: int) -> Mask:
    """Conducting voxels of a recipe, shape (size, size, size); the same for the same arguments."""
    rng = np.random.default_rng([seed, size, list(RECIPES).index(name)])
    return RECIPES[name]((size, size, size), rng)


def real_mask(name: str, folder: Path) -> Mask:
    """Conducting voxels of a real image, in the file's shape."""
    import tifffile

    file, values = REAL[name]
    return np.isin(tifffile.imread(folder / file), values)


def images(
    sizes: list[int], seed: int, folder: Path | None, only: list[str]
) -> Iterator[tuple[str, str, Callable[[], Mask]]]:
    """Group ("100^3" ... or "real"), name, and what makes the mask, of each image whose name holds one of `only`."""

    def wanted(name: str) -> bool:
        return not only or any(part in name for part in only)

    for size in sizes:
        for name in filter(wanted, RECIPES):
            yield f"{size}^3", name, lambda name=name, size=size: recipe_mask(name, size, seed)
    for name in filter(wanted, REAL if folder is not None else {}):
        yield "real", name, lambda name=name: real_mask(name, folder)
