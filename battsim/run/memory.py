"""What a resolved cell takes in memory, told before it is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt

import psutil

from battsim.case import FullCellCase, ResolvedCase
from battsim.errors import ResourceError
from battsim.models.resolved.network import ACTIVE, BINDER, PORE
from battsim.run.merging import cells_of_image
from meshing.image import VoxelImage

BYTES_PER_UNKNOWN = 1050
"""Mesh, face lists, hierarchies, Krylov bases and states, measured at 75 000 to 1 260 000 unknowns."""
BYTES_BEFORE = 235 * 2**20
"""Libraries and compiled kernels."""


def most_unknowns(case: ResolvedCase, image: VoxelImage) -> int:
    """Unknowns of a cell in which every voxel takes part, its cells merged as the case says.

    x and phi_s in the active material, phi_s in the binder, c_e and phi_e in pore, separator and nano-porous binder, V.
    """
    layers = case.materials.separator.layers
    unknowns = _of_electrode(image, layers, case.solver.merge, case.materials.binder.transport)
    return unknowns + 2 * layers * image.shape[1] * image.shape[2] + 1


def _of_electrode(image: VoxelImage, start: int, merge: int, binder: str) -> int:
    """Unknowns of an electrode behind so many planes of the mesh, its binder read in one of the ways."""
    count = cells_of_image(image, start, merge)
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
    layers, merge = case.materials.separator.layers, case.solver.merge
    # the mesh holds the negative image mirrored, and first
    negative = replace(images["negative"], labels=images["negative"].labels[::-1])
    places = {"negative": (negative, 0), "positive": (images["positive"], shapes[0][0] + layers)}
    parts = (
        _of_electrode(*place, merge, case.electrodes[name].materials.binder.transport) for name, place in places.items()
    )
    unknowns = sum(parts) + 2 * layers * width * height + 1
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
