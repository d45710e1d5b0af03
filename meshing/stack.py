"""Two electrodes with layers between them, as one mesh: negative image mirrored, layers, positive image.

Each image has its low end of axis x at the layers, as it has in front of a single electrode. The mesh runs from the far
end of the negative one to the far end of the positive one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from meshing.errors import LabelError, MeshError
from meshing.image import VoxelImage
from meshing.mesh import Mesh
from meshing.voxel import Surface, graded_layers, grid_mesh

NEGATIVE, POSITIVE = "negative", "positive"
SAME_SIZE = 1e-6
"""Relative difference of voxel sizes below which they are the same: what rounding in headers and case files leaves."""


def layers_between(thickness: float, count: int, finest: tuple[float, float]) -> tuple[float, ...]:
    """Thicknesses of layers that are finest at both ends and grow geometrically towards the middle, in order, m.

    `finest` are those of the outermost layers, where the layers are not too thin for that. Of an odd number of layers,
    the middle one is made of the two that would meet there.
    """
    half = (count + 1) // 2
    low = graded_layers(0.5 * thickness, half, min(finest[0], 0.5 * thickness / half))[::-1]
    high = graded_layers(0.5 * thickness, half, min(finest[1], 0.5 * thickness / half))
    if count % 2:
        return (*low[:-1], low[-1] + high[0], *high[1:])
    return (*low, *high)


def with_common_extent(negative: VoxelImage, positive: VoxelImage) -> tuple[VoxelImage, VoxelImage]:
    """Both images, cropped to the voxels across axes y and z that both have, counted from the low end.

    Raises
    ------
    LabelError
        Where their voxels differ along y or z.
    """
    for axis in (1, 2):
        one, two = negative.voxel_size[axis], positive.voxel_size[axis]
        if abs(one - two) > SAME_SIZE * max(one, two):
            raise LabelError(
                f"across the plane of the electrodes the voxels of the negative image are "
                f"{_micrometres(negative.voxel_size[1:])} and those of the positive one "
                f"{_micrometres(positive.voxel_size[1:])}; both must be the same, since their cells meet in the "
                "separator: resample one image (only through the plane may voxel sizes differ)"
            )
    _, width, height = (min(pair) for pair in zip(negative.shape, positive.shape, strict=True))
    cropped = [
        image
        if image.shape[1:] == (width, height)
        else replace(image, labels=np.ascontiguousarray(image.labels[:, :width, :height]))
        for image in (negative, positive)
    ]
    return cropped[0], cropped[1]


def stack_mesh(
    negative: VoxelImage,
    positive: VoxelImage,
    layers: Sequence[float],
    *,
    layer_phase: str = "separator",
    inside: str | None = None,
) -> Mesh:
    """Two images in cell axes as one mesh with layers between them; see the module for their order.

    Phases are called "negative " or "positive " and their name in the image. Cells, faces and patches are as in
    `voxel_mesh`, and so are the interfaces, each image's surface being smoothed by itself.

    Parameters
    ----------
    negative, positive
        Of the same extent and voxel size across y and z, as `with_common_extent` makes them.
    layers
        Thicknesses from the negative to the positive image, at least one, m.
    layer_phase
        Name of the phase of the layers.
    inside
        Phase of both images whose surface the interfaces describe, such as "active"; without it there are none.

    Raises
    ------
    MeshError
        Where the images do not fit together, an image lacks the phase `inside`, there is no layer or one without
        thickness, or the cells outnumber 32-bit indices.
    """
    _check(negative, positive, layers, inside)
    first = (*(f"{NEGATIVE} {name}" for name in negative.phases), layer_phase)
    phases = (*first, *(f"{POSITIVE} {name}" for name in positive.phases))
    between = np.full((len(layers), *negative.shape[1:]), len(first) - 1, np.uint8)
    labels = np.concatenate([negative.labels[::-1], between, positive.labels + np.uint8(len(first))])
    through = [np.full(image.shape[0], image.voxel_size[0]) for image in (negative, positive)]
    lateral = [np.full(n, h) for n, h in zip(negative.shape[1:], negative.voxel_size[1:], strict=True)]
    sizes = [np.concatenate([through[0], np.asarray(layers, dtype=float), through[1]]), *lateral]
    surfaces = [
        Surface(f"{name} {inside}", planes, image.voxel_size)
        for name, image, planes in (
            (NEGATIVE, negative, range(negative.shape[0])),
            (POSITIVE, positive, range(labels.shape[0] - positive.shape[0], labels.shape[0])),
        )
        if inside is not None
    ]
    return grid_mesh(labels, sizes, phases, surfaces)


def _check(negative: VoxelImage, positive: VoxelImage, layers: Sequence[float], inside: str | None) -> None:
    if negative.shape[1:] != positive.shape[1:]:
        raise MeshError(
            f"the negative image has {negative.shape[1]} x {negative.shape[2]} voxels across, the positive one "
            f"{positive.shape[1]} x {positive.shape[2]}; crop both to the same extent"
        )
    if not layers or not all(0 < thickness < np.inf for thickness in layers):
        raise MeshError(f"two electrodes need layers between them, each with a thickness above 0 m, not {layers}")
    for name, image in ((NEGATIVE, negative), (POSITIVE, positive)):
        if inside is not None and inside not in image.phases:
            raise MeshError(
                f"the surface of phase '{inside}' is asked for, but the {name} image has the phases "
                f"{', '.join(image.phases)}; name one that both have"
            )


def _micrometres(sizes: Sequence[float]) -> str:
    return f"{' x '.join(f'{1e6 * size:g}' for size in sizes)} um"
