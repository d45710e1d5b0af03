"""Laser-structured electrodes: channels from the separator's face into the electrode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from meshing.errors import MeshError
from meshing.generate.common import Floats, Made, Mask
from meshing.image import VoxelImage

Pattern = Literal["lines", "square", "hexagonal"]


@dataclass(frozen=True, slots=True)
class ChannelShape:
    """Where the channels are.

    Attributes
    ----------
    pattern
        "lines": grooves along axis 1, side by side along axis 2; "square" and "hexagonal": round holes.
    width
        Of a groove, or diameter of a hole, at the face, m.
    pitch
        From centre to centre, m; of a hexagonal pattern between neighbours in a row along axis 2.
    depth
        From the face, m.
    bottom
        Width at the bottom as a share of that at the face; 1 for straight walls.
    """

    pattern: Pattern
    width: float
    pitch: float
    depth: float
    bottom: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class WithChannels(Made):
    """An image with channels.

    Attributes
    ----------
    channel_fraction
        Share of the image's voxels inside channels.
    removed
        Share of each phase but the pores that was lost to them.
    """

    channel_fraction: float
    removed: dict[str, float]


def cut_channels(image: VoxelImage, shape: ChannelShape) -> WithChannels:
    """The image with all voxels whose centres lie inside a channel turned into pore.

    Axis 0 is through-plane and channels start at its low end, the separator. Lengths along axes 1 and 2 that are
    multiples of the pitch (hexagonal: of sqrt(3) and 1 times it) keep the pattern whole.

    Raises
    ------
    MeshError
        Where no channel fits or channels would touch.
    """
    _check(image, shape)
    inside = channel_mask(image, shape)
    removed = {}
    for name in image.phases:
        own = image.mask(name)
        if name != "pore" and own.any():
            removed[name] = float(np.count_nonzero(own & inside) / np.count_nonzero(own))
    labels = np.where(inside, np.uint8(image.index("pore")), image.labels)
    return WithChannels(replace(image, labels=labels), float(np.mean(inside)), removed)


def channel_mask(image: VoxelImage, shape: ChannelShape) -> Mask:
    """Voxels inside a channel, shape of the image."""
    x, y, z = (
        np.asarray((np.arange(n) + 0.5) * h, np.float64) for n, h in zip(image.shape, image.voxel_size, strict=True)
    )
    half_width = 0.5 * shape.width * (1.0 - (1.0 - shape.bottom) * x / shape.depth)
    half_width = np.where(x < shape.depth, half_width, -1.0)
    return np.asarray(_distance(y, z, shape)[None] < half_width[:, None, None])


def _distance(y: Floats, z: Floats, shape: ChannelShape) -> Floats:
    """Distance from the middle of the nearest channel, shape (ny, nz), m."""
    pitch = shape.pitch
    if shape.pattern == "lines":
        return np.asarray(np.broadcast_to(_offset(z, pitch), (y.size, z.size)))
    if shape.pattern == "square":
        return np.asarray(np.hypot(_offset(y, pitch)[:, None], _offset(z, pitch)))
    rows = np.sqrt(3.0) * pitch  # a hexagonal pattern is two rectangular ones, shifted by half their periods
    even = np.hypot(_offset(y - 0.25 * rows, rows, 0.0)[:, None], _offset(z - 0.25 * pitch, pitch, 0.0))
    odd = np.hypot(_offset(y - 0.75 * rows, rows, 0.0)[:, None], _offset(z - 0.75 * pitch, pitch, 0.0))
    return np.asarray(np.minimum(even, odd))


def _offset(at: Floats, period: float, first: float = 0.5) -> Floats:
    """Distance from the nearest of the points at (first + n) times the period."""
    shifted = at / period - first
    return np.asarray(period * np.abs(shifted - np.round(shifted)))


def _check(image: VoxelImage, shape: ChannelShape) -> None:
    thickness, wide, across = (n * h for n, h in zip(image.shape, image.voxel_size, strict=True))
    if not 0.0 < shape.depth <= thickness * (1.0 + 1e-9):
        raise MeshError(
            f"the channels' depth is {shape.depth:g} m and the electrode {thickness:g} m thick; choose a depth above 0 "
            "and at most the thickness"
        )
    if not 0.0 <= shape.bottom <= 1.0:
        raise MeshError(f"the channels' bottom is {shape.bottom:g}; it must be a share of their width, 0 to 1")
    if not max(image.voxel_size) <= shape.width < shape.pitch:
        raise MeshError(
            f"the channels are {shape.width:g} m wide, {shape.pitch:g} m apart, with voxels of "
            f"{max(image.voxel_size):g} m; their width must be at least a voxel and below the pitch"
        )
    room = across if shape.pattern == "lines" else min(across, wide)
    if shape.pitch > room * (1.0 + 1e-9):
        raise MeshError(
            f"the channels' pitch is {shape.pitch:g} m and the image {room:g} m wide; choose a smaller pitch, or a "
            "wider image, so that it holds at least one period"
        )
