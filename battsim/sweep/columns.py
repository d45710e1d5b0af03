"""Columns of one image: crops of the same width elsewhere in it, or realisations of a recipe with other seeds."""

from __future__ import annotations

from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from battsim.case import FullCellCase, Image, ResolvedCase
from battsim.errors import CaseError
from battsim.run.build import header_of
from battsim.run.place import named_after

Corner: TypeAlias = NDArray[np.int64]
Ranges = tuple[tuple[int, int], ...]

FINEST = 24
"""So many places are tried along an axis of the image."""

ImagedCase = ResolvedCase | FullCellCase


def columns_of(case: ImagedCase, count: int) -> list[ImagedCase]:
    """The case, and `count` - 1 more that differ in the place of each image's crop, or in the seed of its recipe.

    A column keeps the crop's extent through the plane and its widths. The first is the case's own; each further one is
    put where it is farthest from all before and from the image's rim, and none overlap.

    Raises
    ------
    CaseError
        Where the image has no crop, or no room for so many.
    """
    if isinstance(case, ResolvedCase):
        return [case.model_copy(update={"image": image}) for image in _images(case, "image", case.image, count)]
    found = {name: _images(case, f"{name}.image", table.image, count) for name, table in case.electrodes.items()}
    return [
        case.model_copy(
            update={name: table.model_copy(update={"image": found[name][k]}) for name, table in case.electrodes.items()}
        )
        for k in range(count)
    ]


def _images(case: ImagedCase, key: str, image: Image, count: int) -> list[Image]:
    """The image's table once per column; `key` is its path in the case."""
    recipe = image.generate
    if recipe is not None:
        recipes = [recipe.model_copy(update={"seed": recipe.seed + k}) for k in range(count)]
        return [image.model_copy(update={"generate": each}) for each in recipes]
    if count == 1:
        return [image]
    with named_after(case, f"[{key}]"):
        if image.crop is None:
            raise CaseError(
                f"takes the whole of {image.file!r}, which leaves no room for {count} columns; add a crop, whose "
                "extent and widths the others get too, such as crop = [[0, 251], [0, 48], [0, 48]]"
            )
        crops = crops_across(header_of(case, image).shape, image.crop, image.through_axis, count)
    return [image.model_copy(update={"crop": crop}) for crop in crops]


def crops_across(shape: tuple[int, ...], first: Ranges, through: int, count: int) -> list[Ranges]:
    """`first` and further crops of its size, moved across the plane.

    Parameters
    ----------
    shape
        Of the image, voxels.
    first
        Half-open range along each axis.
    through
        Axis along which nothing moves.
    count
        Crops wanted, 1 or more.

    Raises
    ------
    CaseError
        Where fewer fit without overlap.
    """
    across = [axis for axis in range(3) if axis != through]
    size = np.array([first[axis][1] - first[axis][0] for axis in across])
    room = np.array([shape[axis] for axis in across])
    start = np.array([first[axis][0] for axis in across])
    corners = _spread_out(start, count, room, size, room // FINEST)
    if len(corners) < count:  # side by side more of them fit
        corners = _spread_out(start, count, room, size, size)
    if len(corners) < count:
        raise CaseError(
            f"has a crop of {size[0]} x {size[1]} voxels across the plane, of which {len(corners)} fit into "
            f"{room[0]} x {room[1]} without overlap; {count} were asked for: ask for fewer, or crop narrower"
        )
    moved = [dict(zip(across, corner, strict=True)) for corner in corners]
    return [
        tuple(
            first[axis] if axis == through else (int(corner[axis]), int(corner[axis]) + first[axis][1] - first[axis][0])
            for axis in range(3)
        )
        for corner in moved
    ]


def _spread_out(start: Corner, count: int, room: Corner, size: Corner, step: Corner) -> list[Corner]:
    """Up to `count` corners of columns without overlap, each as far from those before it and the rim as can be.

    Parameters
    ----------
    start
        The first.
    room, size
        Of the image and of a column, voxels.
    step
        Corners are tried at whole multiples of it from the first.
    """
    along = [
        np.arange(first % each, n - width + 1, each)
        for first, n, width, each in zip(start, room, size, np.maximum(step, 1), strict=True)
    ]
    tried, corners = np.array(list(product(*along))), [start]
    while len(corners) < count:
        free = np.all([np.any(np.abs(tried - corner) >= size, axis=1) for corner in corners], axis=0)
        if not free.any():
            break
        corners.append(tried[free][np.argmax(_distance(tried[free], corners, room, size))])
    return corners


def _distance(tried: NDArray[np.int64], corners: list[Corner], room: Corner, size: Corner) -> NDArray[np.float64]:
    """How far each place is from the nearest column, centre to centre, or twice as far as from the rim."""
    to_columns = np.min([np.linalg.norm(tried - corner, axis=1) for corner in corners], axis=0)
    to_rim = 2.0 * np.minimum(tried + 0.5 * size, room - tried - 0.5 * size).min(axis=1)
    nearest: NDArray[np.float64] = np.minimum(to_columns, to_rim)
    return nearest
