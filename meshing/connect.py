"""Connected clusters of voxels that share faces: which percolate, which reach an end, which are islands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
End = Literal["low", "high"]
BOTH: tuple[End, End] = ("low", "high")
CHUNK = 1 << 21
"""Voxels handled at a time where numpy would copy the labels to 64 bits."""


@dataclass(frozen=True, slots=True)
class AlongAxes:
    """One share along each axis."""

    x: float
    y: float
    z: float


@dataclass(frozen=True, slots=True)
class Percolation:
    """How a phase hangs together; all shares are of its own voxels and 0 where it has none.

    Attributes
    ----------
    voxels
        Voxels of the phase.
    components
        Clusters of voxels that share faces.
    percolating
        Share in clusters that touch both ends of an axis.
    removed
        Voxels outside those clusters, along x, y, z.
    island_fraction, island_voxels
        Share and voxels in clusters that touch no face of the image.
    """

    voxels: int
    components: int
    percolating: AlongAxes
    removed: tuple[int, int, int]
    island_fraction: float
    island_voxels: int


def components(mask: Mask) -> tuple[Labels, int]:
    """Cluster number of each voxel, shape of `mask`, 0 outside and 1..count inside, and the count."""
    labels = np.empty(mask.shape, np.int32)
    count = int(ndimage.label(mask, output=labels))
    return labels, count


def reaching(
    labels: Labels, count: int, axis: int, ends: Sequence[End] = BOTH, how: Literal["any", "all"] = "any"
) -> Mask:
    """Which clusters touch any or all of the named ends of an axis, shape (count + 1,), False for 0."""
    table = np.full(count + 1, how == "all")
    for end in ends:
        touched = np.zeros(count + 1, bool)
        touched[labels.take(0 if end == "low" else -1, axis)] = True
        table = table & touched if how == "all" else table | touched
    table[0] = False
    return table


def cluster_sizes(labels: Labels, count: int, within: Mask | None = None) -> NDArray[np.int64]:
    """Voxels in each cluster, or those of them in `within`, shape (count + 1,); entry 0 counts the voxels outside."""
    sizes = np.zeros(count + 1, np.int64)
    flat, chosen = labels.reshape(-1), None if within is None else within.reshape(-1)
    for part in _chunks(flat.size):
        sizes += np.bincount(flat[part] if chosen is None else flat[part][chosen[part]], minlength=count + 1)
    return sizes


def select(labels: Labels, table: Mask) -> Mask:
    """Voxels of the clusters whose entry in `table`, shape (count + 1,), is True."""
    out = np.empty(labels.shape, bool)
    flat, chosen = labels.reshape(-1), out.reshape(-1)
    for part in _chunks(flat.size):
        chosen[part] = table[flat[part]]
    return out


def touching(mask: Mask, axis: int, ends: Sequence[End] = BOTH, how: Literal["any", "all"] = "any") -> Mask:
    """Voxels of the clusters that touch any (reaching) or all (percolating) of the named ends of an axis.

    Along an axis of one voxel the two ends coincide and everything percolates.
    """
    labels, count = components(mask)
    return select(labels, reaching(labels, count, axis, ends, how))


def conducting_component(mask: Mask, axis: int) -> Mask:
    """Voxels of the clusters that touch either end of an axis: dead ends stay, floating clusters go.

    What is left makes steady diffusion between the two ends regular, since each cluster meets a fixed value.
    """
    return touching(mask, axis)


def percolation(mask: Mask) -> Percolation:
    """How the voxels of `mask` hang together along all three axes, from one labelling."""
    labels, count = components(mask)
    sizes = cluster_sizes(labels, count)
    voxels = int(sizes[1:].sum())
    percolating = [int(sizes[reaching(labels, count, axis, how="all")].sum()) for axis in range(3)]
    outer = np.logical_or.reduce([reaching(labels, count, axis) for axis in range(3)])
    islands = voxels - int(sizes[outer].sum())
    whole = max(voxels, 1)
    x, y, z = (n / whole for n in percolating)
    return Percolation(
        voxels=voxels,
        components=count,
        percolating=AlongAxes(x, y, z),
        removed=(voxels - percolating[0], voxels - percolating[1], voxels - percolating[2]),
        island_fraction=islands / whole,
        island_voxels=islands,
    )


def _chunks(size: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, size, CHUNK))
