"""What a member will take, told before it runs: unknowns, memory, and roughly how long."""

from __future__ import annotations

import math
from dataclasses import dataclass

from battsim.case import Case, FullCellCase, Image, P2DCase, ResolvedCase, images_of
from battsim.post.transport.grid import BYTES_PER_CONDUCTING_VOXEL, BYTES_PER_VOXEL
from battsim.run.build import header_of
from battsim.run.homogenised import p2d_grid
from battsim.run.memory import BYTES_BEFORE, memory_of

CLASSES = ((3e4, "seconds"), (4e5, "minutes"), (3e6, "up to an hour"), (math.inf, "hours"))
"""Unknowns of a cell up to which one discharge takes so long on one thread: measured, 43 s at 170 000, 2 min at
315 000, 19 min at 1 260 000."""
OF_WORKER = 350 * 2**20
"""Bytes of a worker's process beside those of a run by itself: dask, what draws, what earlier members left."""
STEADY_CLASSES = ((2e6, "seconds"), (1e8, "minutes"), (math.inf, "up to an hour"))
"""The same for voxels of a tortuosity, with all its axes."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a member takes at most.

    Attributes
    ----------
    unknowns
        Of the cell, or voxels of a tortuosity, were every voxel to take part; None where the case leaves them open.
    memory
        Of the worker that runs it, bytes.
    time
        Roughly how long, in words.
    """

    unknowns: int | None
    memory: int
    time: str


def cost_of(case: Case) -> Cost:
    """What a case takes; its images are not read but for their headers. Raises ImageError as `header_of`."""
    voxels = {key: _voxels(case, image) for key, image in images_of(case).items()}
    if isinstance(case, P2DCase):
        unknowns = _of_line(case)
        return Cost(unknowns, OF_WORKER + memory_of(unknowns or 0), "seconds")
    total = sum(math.prod(shape) for shape in voxels.values())
    if isinstance(case, ResolvedCase | FullCellCase):
        binders = (
            [case.materials.binder]
            if isinstance(case, ResolvedCase)
            else [each.materials.binder for each in case.electrodes.values()]
        )
        each = 3 if any(binder.transport == "nanoporous" for binder in binders) else 2
        across = max(math.prod(shape) // max(shape[0], 1) for shape in voxels.values())
        unknowns = each * total + 2 * case.materials.separator.layers * across + 1
        return Cost(unknowns, OF_WORKER + memory_of(unknowns), _class(unknowns, CLASSES))
    memory = OF_WORKER + BYTES_BEFORE + total * (max(BYTES_PER_VOXEL) + max(BYTES_PER_CONDUCTING_VOXEL))
    return Cost(total, memory, _class(total, STEADY_CLASSES))


def _voxels(case: Case, image: Image) -> tuple[int, int, int]:
    """Shape of an image as it is computed on, the axis through the plane first."""
    if image.generate is not None:
        shape: tuple[int, ...] = image.generate.shape
    elif image.crop is None:
        shape = header_of(case, image).shape
    if image.crop is not None:
        shape = tuple(stop - start for start, stop in image.crop)
    first = shape[image.through_axis]
    others = [n for axis, n in enumerate(shape) if axis != image.through_axis]
    coarse = [max(n // image.coarsen, 1) for n in (first, *others)]
    return coarse[0], coarse[1], coarse[2]


def _of_line(case: P2DCase) -> int | None:
    """Unknowns of a homogenised cell: c_e and phi_e along the line, phi_s and shells in the electrodes."""
    grid = p2d_grid(case)
    if grid is None:  # chosen by its accuracy
        return None
    points = {"electrode": grid.positive, "positive": grid.positive, "negative": grid.negative}
    electrodes = sum(points[name] for name in case.electrodes)
    return 2 * (electrodes + grid.separator) + electrodes * (1 + grid.radial) + 1


def _class(unknowns: int, classes: tuple[tuple[float, str], ...]) -> str:
    return next(name for most, name in classes if unknowns <= most)
