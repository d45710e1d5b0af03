"""Connected clusters of voxels that share faces: which percolate, which reach an end, which are islands.

Everywhere below, `voxels` is an array of three axes that says where the phase is: True in a bool array, above 0 in any
other, for instance a conductivity per voxel. Images in any memory order are read in place; only a view with gaps in
memory is copied first, at one byte per voxel. No result depends on `threads`. A cluster may leave the image through a
`periodic` side, one flag per axis, and come back through the opposite one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from meshing.clusters import (
    Bytes,
    Clusters,
    Counts,
    PerAxis,
    cluster_labels,
    cluster_mask,
    find_clusters,
    side_bit,
    voxels_by_sides,
    voxels_by_value,
)
from meshing.errors import LabelError

Voxels = NDArray[Any]
Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
End = Literal["low", "high"]
How = Literal["any", "all"]
BOTH: tuple[End, End] = ("low", "high")
NOT_PERIODIC: PerAxis = (False, False, False)
CHUNK = 1 << 21
"""Voxels handled at a time where numpy would copy the labels to 64 bits."""
NOT_ZERO = np.arange(256) > 0
_T = TypeVar("_T", bound=np.generic)


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


@dataclass(frozen=True, slots=True, eq=False)
class Conducting:
    """Which conducting voxels hang together with the ends of an axis.

    Attributes
    ----------
    meets
        Voxels of the clusters that meet the ends asked for, shape and memory order of the image.
    clusters
        Number of clusters, whatever they meet.
    voxels
        Conducting voxels of each value, shape (256,); of an image that is not uint8 all count under 1.
    meeting
        Those of them that are in `meets`, shape (256,).
    """

    meets: Mask
    clusters: int
    voxels: Counts
    meeting: Counts


def conducting(
    voxels: Voxels,
    conducts: Mask | None = None,
    *,
    axis: int = 0,
    ends: Sequence[End] = BOTH,
    how: How = "all",
    periodic: PerAxis = NOT_PERIODIC,
    threads: int = 1,
) -> Conducting:
    """Voxels of the clusters that meet all (percolating) or any (reaching) of the named ends of an axis, and counts.

    Takes about 9/8 byte per voxel, of which `meets` is one, and 4 bytes per run of conducting voxels in memory order
    (at most one run for every two voxels), never a cluster number per voxel. Voxels that are neither uint8 nor bool
    take one byte each on top.

    Parameters
    ----------
    voxels
        Labels (uint8), or anything that says where the phase is.
    conducts
        Which labels conduct, shape (256,); without it all but 0.
    axis
        Along an axis of one voxel the two ends coincide.

    Raises
    ------
    LabelError
        Where `voxels` does not have three axes of at least one voxel.
    MeshError
        Where it holds more than 2^31 - 1 runs of conducting voxels.
    ValueError
        Where `axis` is periodic, so that it has no ends, or where a table comes with voxels that are not uint8.
    """
    values, layout, clusters = _clusters(_bytes(voxels, conducts), conducts, periodic, threads)
    mask = cluster_mask(clusters, _meeting(clusters, layout, axis, ends, how, periodic), threads)
    counts = voxels_by_value(values, mask, threads)
    counts[:, ~(NOT_ZERO if conducts is None else conducts)] = 0
    return Conducting(layout.restored(mask), clusters.count, counts.sum(axis=0), counts[1])


def components(voxels: Voxels, *, periodic: PerAxis = NOT_PERIODIC, threads: int = 1) -> tuple[Labels, int]:
    """Cluster number of each voxel, 0 outside and 1..count inside in C order of first voxels, and the count."""
    _, layout, clusters = _clusters(np.ascontiguousarray(_bytes(voxels)), None, periodic, threads)
    return layout.restored(cluster_labels(clusters, threads)), clusters.count


def reaching(labels: Labels, count: int, axis: int, ends: Sequence[End] = BOTH, how: How = "any") -> Mask:
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


def touching(
    voxels: Voxels,
    axis: int,
    ends: Sequence[End] = BOTH,
    how: How = "any",
    *,
    periodic: PerAxis = NOT_PERIODIC,
    threads: int = 1,
) -> Mask:
    """Voxels of the clusters that touch any (reaching) or all (percolating) of the named ends of an axis.

    Along an axis of one voxel the two ends coincide and everything percolates. Raises as `conducting` does.
    """
    _, layout, clusters = _clusters(_bytes(voxels), None, periodic, threads)
    return layout.restored(cluster_mask(clusters, _meeting(clusters, layout, axis, ends, how, periodic), threads))


def conducting_component(voxels: Voxels, axis: int, *, periodic: PerAxis = NOT_PERIODIC, threads: int = 1) -> Mask:
    """Voxels of the clusters that touch either end of an axis: dead ends stay, floating clusters go.

    What is left makes steady diffusion between the two ends regular, since each cluster meets a fixed value.
    """
    return touching(voxels, axis, periodic=periodic, threads=threads)


def percolation(voxels: Voxels, *, threads: int = 1) -> Percolation:
    """How the voxels of a phase hang together along all three axes, from one labelling."""
    _, layout, clusters = _clusters(_bytes(voxels), None, NOT_PERIODIC, threads)
    by_sides = voxels_by_sides(clusters, threads)
    total, islands = int(by_sides.sum()), int(by_sides[0])
    sides = np.arange(by_sides.size)
    percolating = [int(by_sides[_touch(sides, layout, axis, BOTH, "all")].sum()) for axis in range(3)]
    whole = max(total, 1)
    x, y, z = (n / whole for n in percolating)
    return Percolation(
        voxels=total,
        components=clusters.count,
        percolating=AlongAxes(x, y, z),
        removed=(total - percolating[0], total - percolating[1], total - percolating[2]),
        island_fraction=islands / whole,
        island_voxels=islands,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """How to turn an array so that it lies in memory in C order.

    Attributes
    ----------
    order
        Axes of the array from the outermost in memory to the innermost.
    flipped
        Which axes of the array run backwards in memory.
    """

    order: tuple[int, ...]
    flipped: tuple[bool, ...]

    def turned(self, array: NDArray[_T]) -> NDArray[_T]:
        """The array in memory order; copied where it has gaps."""
        return np.ascontiguousarray(self._flip(array).transpose(self.order))

    def restored(self, array: NDArray[_T]) -> NDArray[_T]:
        """An array in memory order with the axes of the original one."""
        return self._flip(array.transpose(np.argsort(self.order)))

    def side(self, axis: int, end: End) -> int:
        """Bit of an end of an axis of the original array."""
        return side_bit(self.order.index(axis), (end == "high") != self.flipped[axis])

    def _flip(self, array: NDArray[_T]) -> NDArray[_T]:
        return array[tuple(slice(None, None, -1 if backwards else 1) for backwards in self.flipped)]


def _layout(image: Bytes) -> _Layout:
    """Memory order of an image; axes of one voxel come first, so that rows are long."""
    if image.ndim != 3 or image.size == 0:
        raise LabelError(f"an image needs three axes of at least one voxel; this one has shape {image.shape}")
    order = sorted(range(3), key=lambda axis: (image.shape[axis] > 1, -abs(image.strides[axis])))
    return _Layout(tuple(order), tuple(step < 0 for step in image.strides))


def _bytes(voxels: Voxels, conducts: Mask | None = None) -> Bytes:
    """The image as bytes: its labels, or 1 where the phase is."""
    if conducts is not None and (voxels.dtype != np.uint8 or conducts.dtype != bool or conducts.shape != (256,)):
        raise ValueError(
            "a table of what conducts needs one bool for each of 256 labels and labels of uint8; "
            f"it has {conducts.dtype} of shape {conducts.shape}, the labels are {voxels.dtype}"
        )
    if voxels.dtype == np.uint8:
        return voxels
    return (voxels if voxels.dtype == bool else voxels > 0).view(np.uint8)


def _clusters(image: Bytes, conducts: Mask | None, periodic: PerAxis, threads: int) -> tuple[Bytes, _Layout, Clusters]:
    """The image in memory order, that order, and the clusters in it."""
    layout = _layout(image)
    values = layout.turned(image)
    turned = (periodic[layout.order[0]], periodic[layout.order[1]], periodic[layout.order[2]])
    return values, layout, find_clusters(values, NOT_ZERO if conducts is None else conducts, turned, threads)


def _meeting(clusters: Clusters, layout: _Layout, axis: int, ends: Sequence[End], how: How, periodic: PerAxis) -> Mask:
    """Which clusters touch any or all of the named ends of an axis, shape (count + 1,)."""
    if periodic[axis]:
        raise ValueError(f"axis {axis} is periodic and has no ends; ask for the ends of an axis that is not")
    return _touch(clusters.sides, layout, axis, ends, how)


def _touch(sides: NDArray[np.integer], layout: _Layout, axis: int, ends: Sequence[End], how: How) -> Mask:
    """Which entries of `Clusters.sides` contain any or all of the named ends of an axis."""
    wanted = sum(layout.side(axis, end) for end in set(ends))
    found = sides & wanted
    return found == wanted if how == "all" else found > 0


def _chunks(size: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, size, CHUNK))
