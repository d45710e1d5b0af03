"""What a resolved cell takes in memory, told before it is taken."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

import numpy as np
import psutil

from battsim.case import FullCellCase, ResolvedCase
from battsim.errors import ResourceError
from battsim.models.resolved.network import ACTIVE, BINDER, PORE
from meshing.image import VoxelImage

BYTES_PER_UNKNOWN = 1050
"""Mesh, face lists, hierarchies, Krylov bases and states, measured at 75 000 to 1 260 000 unknowns."""
BYTES_BEFORE = 235 * 2**20
"""Libraries and compiled kernels."""


def most_unknowns(case: ResolvedCase, image: VoxelImage) -> int:
    """Unknowns of a cell in which every voxel takes part.

    x and phi_s in the active material, phi_s in the binder, c_e and phi_e in pore, separator and nano-porous binder, V.
    """
    layers = case.materials.separator.layers * image.shape[1] * image.shape[2]
    return _of_electrode(image, case.materials.binder.transport) + 2 * layers + 1


def _of_electrode(image: VoxelImage, binder: str) -> int:
    """Unknowns of an electrode, its binder read in one of the ways."""
    count = {name: int(np.count_nonzero(image.labels == k)) for k, name in enumerate(image.phases)}
    per_voxel = {ACTIVE: 2, PORE: 2, BINDER: 3 if binder == "nanoporous" else 1}
    return sum(n * count.get(name, 0) for name, n in per_voxel.items())


def memory_of(unknowns: int) -> int:
    """Bytes that a process with so many unknowns takes at its peak."""
    return BYTES_BEFORE + BYTES_PER_UNKNOWN * unknowns


def refuse_too_large(case: ResolvedCase, image: VoxelImage) -> None:
    """Raise where the cell would not fit.

    Raises
    ------
    ResourceError
        With the estimate, what is free, and the largest crop of full thickness that fits.
    """
    unknowns, available = most_unknowns(case, image), psutil.virtual_memory().available
    needed = memory_of(unknowns)
    if needed <= available:
        return
    raise ResourceError(
        f"[image]: a cell on {' x '.join(map(str, image.shape))} voxels has about {unknowns / 1e6:.1f} million "
        f"unknowns and needs about {needed / 2**30:.1f} GiB; {available / 2**30:.1f} GiB are free. "
        f"{_advice(image.shape, unknowns, available)}"
    )


def refuse_too_large_stack(case: FullCellCase, images: Mapping[str, VoxelImage]) -> None:
    """Raise where a full cell on these images, by electrode, would not fit.

    Raises
    ------
    ResourceError
        With the estimate, what is free, and the largest crop of full thickness that fits.
    """
    shapes = [image.shape for image in images.values()]
    width, height = shapes[0][1:]
    parts = (_of_electrode(image, case.electrodes[name].materials.binder.transport) for name, image in images.items())
    unknowns = sum(parts) + 2 * case.materials.separator.layers * width * height + 1
    needed, available = memory_of(unknowns), psutil.virtual_memory().available
    if needed <= available:
        return
    advice = _advice((sum(shape[0] for shape in shapes), width, height), unknowns, available)
    raise ResourceError(
        f"[negative.image] and [positive.image]: a cell on {' and '.join(' x '.join(map(str, s)) for s in shapes)} "
        f"voxels has about {unknowns / 1e6:.1f} million unknowns and needs about {needed / 2**30:.1f} GiB; "
        f"{available / 2**30:.1f} GiB are free. {advice}"
    )


def _advice(shape: tuple[int, int, int], unknowns: int, available: int) -> str:
    """The widest crop of full thickness that fits, and what else helps."""
    share = max(available - BYTES_BEFORE, 0) / BYTES_PER_UNKNOWN / unknowns
    width = min(isqrt(int(share * shape[1] * shape[2])), shape[1], shape[2])
    crop = (
        f"A crop of {shape[0]} x {width} x {width} fits ([image] crop; the first axis is through-plane)"
        if width >= 1
        else "Not even a column of one voxel fits"
    )
    return f"{crop}; [image] coarsen = 2 takes an eighth, and a machine with more memory all of it"
