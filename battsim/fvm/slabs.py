"""Face lists cut into slabs of planes, so that several threads can add fluxes to cells without meeting.

Cells are numbered plane by plane, a merged cell by its first plane. A face joins cells of one plane, of neighbouring
ones, or, beside a merged cell, of planes further apart: at most `reach`. Faces sorted by their lower plane are cut into
slabs of two planes or more, and of `reach` planes at least: what the faces of one slab touch ends before the slab after
the next one begins. All even slabs can therefore run side by side, then all odd ones. Where the slabs lie depends on
the mesh alone, and so does the order in which a cell receives its fluxes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.threads import Team

Ints = NDArray[np.int32]

LARGEST_COUNT = 16
"""Slabs of a mesh: enough for a few threads, few enough for a loop over them."""


def slab_edges(n_planes: int, reach: int = 1) -> Ints:
    """First plane of each slab and the end of the last one: an even number of slabs, or one where planes are few.

    No face joins cells whose planes are further apart than `reach`.
    """
    count = min(LARGEST_COUNT, n_planes // max(reach, 2)) & ~1
    if count < 2:
        return np.array([0, n_planes], np.int32)
    return np.array([n_planes * slab // count for slab in range(count + 1)], np.int32)


def in_slabs(first: Ints, second: Ints, n_planes: int) -> tuple[NDArray[np.intp], Ints]:
    """Order that sorts faces by their lower plane, shape (n_faces,), and where the slabs of that order begin and end.

    Parameters
    ----------
    first, second
        Planes of the two cells of each face, below `n_planes`, shape (n_faces,).

    Returns
    -------
    order, slabs
        `slabs` has the first face of each slab and the end of the last one, shape (n_slabs + 1,).
    """
    lower = np.minimum(first, second)
    order = np.argsort(lower, kind="stable")
    reach = int(np.abs(first - second).max(initial=0))
    bounds = np.searchsorted(lower[order], slab_edges(n_planes, reach)[:-1])
    return order, np.append(bounds, lower.size).astype(np.int32)


def over_slabs(team: Team, kernel: Callable[..., None], slabs: Ints, *arguments: Any) -> None:
    """Run `kernel(start, stop, parity, slabs, *arguments)` on all slabs, the even ones before the odd ones.

    The kernel works on slabs 2 k + parity with start <= k < stop.
    """
    for parity in (0, 1):
        team.run(kernel, (slabs.size - parity) // 2, int(slabs[-1]), parity, slabs, *arguments)
