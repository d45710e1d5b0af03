"""The segmented image: one phase index per voxel, metres per voxel, a name per phase."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from meshing.errors import LabelError

_T = TypeVar("_T", bound=np.generic)
Axis = Literal["x", "y", "z"]
AXES: tuple[Axis, Axis, Axis] = ("x", "y", "z")
IGNORED = "ignored"
"""Name of the inert phase that voxels listed under `ignore` become."""


@dataclass(frozen=True, slots=True, eq=False)
class VoxelImage:
    """A segmented image; axes x, y, z are array axes 0, 1, 2.

    Attributes
    ----------
    labels
        Index into `phases`, shape (nx, ny, nz), uint8.
    voxel_size
        Edge lengths along x, y, z, m.
    phases
        Phase names, such as ("pore", "active", "binder").
    """

    labels: NDArray[np.uint8]
    voxel_size: tuple[float, float, float]
    phases: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.labels.ndim != 3 or self.labels.size == 0:
            raise LabelError(f"an image needs three axes of at least one voxel; this one has shape {self.labels.shape}")
        if len(self.voxel_size) != 3 or not all(np.isfinite(h) and h > 0 for h in self.voxel_size):
            raise LabelError(
                f"voxel_size must be three positive lengths in metres, along x, y, z, not {self.voxel_size}"
            )
        if len(set(self.phases)) != len(self.phases):
            raise LabelError(f"phase names must differ, not {self.phases}")
        if int(self.labels.max()) >= len(self.phases):
            raise LabelError(f"label index {int(self.labels.max())} has no name among {self.phases}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        nx, ny, nz = self.labels.shape
        return nx, ny, nz

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel, m3."""
        return float(np.prod(self.voxel_size))

    def index(self, phase: str) -> int:
        """Label index of a phase name; raises LabelError when there is none."""
        if phase not in self.phases:
            raise LabelError(f"the image has no phase named '{phase}'; it has {', '.join(self.phases)}")
        return self.phases.index(phase)

    def mask(self, *phases: str) -> NDArray[np.bool_]:
        """Voxels of any of the named phases, shape (nx, ny, nz)."""
        chosen = np.zeros(256, dtype=bool)
        chosen[[self.index(phase) for phase in phases]] = True
        return chosen[self.labels]

    def volume_fraction(self, *phases: str) -> float:
        """Share of the image's voxels in the named phases."""
        return float(np.count_nonzero(self.mask(*phases)) / self.labels.size)


def crop(image: VoxelImage, ranges: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]) -> VoxelImage:
    """The half-open sub-image; raises LabelError where a range leaves the image or is empty."""
    for axis, (start, stop), n in zip(AXES, ranges, image.shape, strict=True):
        if not 0 <= start < stop <= n:
            raise LabelError(
                f"crop along {axis} is [{start}, {stop}), but the image has {n} voxels there; "
                f"choose 0 <= start < stop <= {n}"
            )
    window = tuple(slice(start, stop) for start, stop in ranges)
    return replace(image, labels=np.ascontiguousarray(image.labels[window]))


def either_side(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All but the last and all but the first along one of three axes: the low and the high voxel of its faces."""
    low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
    high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
    return low, high


def coarsen(image: VoxelImage, factor: int) -> VoxelImage:
    """The image with blocks of factor^3 voxels replaced by their most frequent phase.

    Ties go to the phase that is rarest in the whole image, so that thin phases are not the first to vanish;
    voxels that fill no whole block at the high end are dropped.
    """
    if factor == 1:
        return image
    blocks = tuple(n // factor for n in image.shape)
    if factor < 1 or 0 in blocks:
        raise LabelError(f"coarsen = {factor} leaves nothing of an image of {image.shape} voxels; use a smaller factor")
    whole = image.labels[: blocks[0] * factor, : blocks[1] * factor, : blocks[2] * factor]
    split = whole.reshape(blocks[0], factor, blocks[1], factor, blocks[2], factor)
    rarest_first = np.argsort(np.bincount(whole.ravel(), minlength=len(image.phases)), kind="stable")
    votes = np.stack([(split == k).sum(axis=(1, 3, 5), dtype=np.int32) for k in rarest_first])
    labels = rarest_first[votes.argmax(axis=0)].astype(np.uint8)
    hx, hy, hz = image.voxel_size
    return replace(image, labels=labels, voxel_size=(hx * factor, hy * factor, hz * factor))


@dataclass(frozen=True, slots=True)
class Orientation:
    """Turns case axes into cell axes, where axis 0 runs from the separator (low end) to the collector.

    Attributes
    ----------
    axis
        Case axis (0, 1, 2) that is through-plane.
    flipped
        True where the separator is at the high end of that axis.
    """

    axis: int = 0
    flipped: bool = False

    def apply(self, image: VoxelImage) -> VoxelImage:
        """The image with its through-plane axis first and the separator at its low end."""
        order = (self.axis, *(a for a in range(3) if a != self.axis))
        labels = image.labels.transpose(order)
        labels = labels[::-1] if self.flipped else labels
        a, b, c = (image.voxel_size[k] for k in order)
        return replace(image, labels=np.ascontiguousarray(labels), voxel_size=(a, b, c))

    def restore(self, field: NDArray[_T]) -> NDArray[_T]:
        """A field on the turned image, shape (n0, n1, n2), back in case axes."""
        field = field[::-1] if self.flipped else field
        return np.moveaxis(field, 0, self.axis)
