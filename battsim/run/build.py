"""From a case to its image, its mesh and its material parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from battsim.case import ImageCase, ResolvedCase
from battsim.case.active import active_material
from battsim.errors import ResourceError
from battsim.materials.library import counter_electrode, electrolyte
from battsim.models.resolved.network import ACTIVE, BINDER, PORE, SEPARATOR
from battsim.models.resolved.parameters import Binder, HalfCellParameters, IonicPhase
from battsim.run.place import named_after
from meshing.generate import spheres
from meshing.image import Orientation, VoxelImage, coarsen, crop
from meshing.mesh import Mesh
from meshing.read import ImageHeader, label_image, memory_estimate, read_header, read_voxels, rename_axes
from meshing.voxel import graded_layers, voxel_mesh

MERGED = {"as-pore": PORE, "as-solid": ACTIVE}
"""Phase that the binder's voxels become, by the reading of the binder."""


def build_image(case: ImageCase) -> VoxelImage:
    """The case's image in cell axes: read or generated, labelled, cropped, coarsened and turned.

    Raises
    ------
    ImageError, LabelError
        Where the file cannot be read, or its values, shape or crop do not fit the case.
    MeshError
        Where a recipe cannot be packed.
    ResourceError
        Where the image does not fit into memory.
    """
    return cell_image(case, fine_image(case))


def fine_image(case: ImageCase) -> VoxelImage:
    """The image as read or generated, and cropped: array axes, before it is coarsened. Raises as `build_image`."""
    with named_after(case, _image_key(case)):
        image = _generated(case) if case.image.generate is not None else _read(case)
        return image if case.image.crop is None else crop(image, case.image.crop)


def cell_image(case: ImageCase, fine: VoxelImage) -> VoxelImage:
    """A fine image coarsened, turned into cell axes, and its binder read as the case says. Raises as `build_image`."""
    with named_after(case, _image_key(case)):
        image = rename_axes(coarsen(fine, case.image.coarsen), case.image.axes)
    image = orientation(case).apply(image)
    if isinstance(case, ResolvedCase) and case.materials.binder.transport in MERGED:
        return _merged(image, BINDER, MERGED[case.materials.binder.transport])
    return image


def _image_key(case: ImageCase) -> str:
    """Where the case describes its image."""
    return "[image.generate]" if case.image.file is None else f'[image] file = "{case.image.file}"'


def orientation(case: ImageCase) -> Orientation:
    """How the case's axes lie in the cell; a tortuosity has no through-plane axis and stays as it is."""
    if not isinstance(case, ResolvedCase):
        return Orientation()
    return Orientation("xyz".index(case.image.through_plane), case.image.separator_side == "high")


def build_mesh(case: ImageCase, image: VoxelImage) -> Mesh:
    """The mesh of an image in cell axes, with the separator's layers in front of it where there is a cell."""
    if not isinstance(case, ResolvedCase):
        return voxel_mesh(image)
    separator = case.materials.separator
    finest = min(image.voxel_size[0], separator.thickness / separator.layers)
    layers = graded_layers(separator.thickness, separator.layers, finest)
    with named_after(case, _image_key(case)):
        return voxel_mesh(image, layers=layers, layer_phase=SEPARATOR, inside=ACTIVE)


def half_cell_parameters(case: ResolvedCase) -> HalfCellParameters:
    """Materials and conditions of the case."""
    materials, conditions = case.materials, case.conditions
    binder = materials.binder
    return HalfCellParameters(
        active=active_material(case),
        electrolyte=electrolyte(materials.electrolyte),
        counter=counter_electrode(materials.counter),
        binder=Binder(
            transport=binder.transport,
            ionic=IonicPhase(binder.porosity, binder.porosity / binder.tortuosity),
            conductivity=binder.conductivity,
            active_coverage=binder.active_coverage,
            contact_resistance=binder.contact_resistance,
        ),
        separator=IonicPhase(materials.separator.porosity, materials.separator.transport_factor),
        temperature=conditions.temperature,
        salt=conditions.salt,
    )


def _generated(case: ImageCase) -> VoxelImage:
    recipe = case.image.generate
    assert recipe is not None
    return spheres(
        recipe.shape,
        recipe.voxel_size,
        recipe.active_volume_fraction,
        recipe.binder_volume_fraction,
        recipe.diameter.median,
        recipe.diameter.sigma,
        np.random.default_rng(recipe.seed),
    )


def _read(case: ImageCase) -> VoxelImage:
    described, path = case.image, case.image_file
    assert path is not None
    assert described.voxel_size is not None
    assert described.labels is not None
    declared = {
        "shape": described.shape,
        "dtype": described.dtype,
        "byte_order": described.byte_order,
        "order": described.order,
        "offset": described.offset,
    }
    header = read_header(path, **declared)  # type: ignore[arg-type]
    _refuse_too_large(path, header)
    values = read_voxels(path, **declared)  # type: ignore[arg-type]
    return label_image(values, described.voxel_size, described.labels, described.ignore)


def _refuse_too_large(path: Path, header: ImageHeader) -> None:
    """ResourceError before anything is allocated, where reading and labelling would not fit."""
    needed, available = memory_estimate(header), psutil.virtual_memory().available
    if needed > available:
        raise ResourceError(
            f"{path}: an image of {' x '.join(map(str, header.shape))} voxels needs about {needed / 2**30:.1f} GiB, "
            f"and {available / 2**30:.1f} GiB are free; free memory, or save a smaller image"
        )


def _merged(image: VoxelImage, phase: str, into: str) -> VoxelImage:
    """The image with the voxels of one phase relabelled as another, where it has that phase."""
    if phase not in image.phases:
        return image
    table = np.arange(256, dtype=np.uint8)
    table[image.index(phase)] = image.index(into)
    return replace(image, labels=table[image.labels])
