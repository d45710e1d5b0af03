"""From a case to its image, its mesh and its material parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from battsim.case import Binder as BinderTable
from battsim.case import Case, FullCellCase, Image, ImageCase, ResolvedCase, Separator, images_of
from battsim.case.active import active_material, active_materials, electrolyte_of
from battsim.errors import ResourceError
from battsim.materials.library import counter_electrode
from battsim.models.resolved.network import ACTIVE, BINDER, PORE, SEPARATOR
from battsim.models.resolved.parameters import Binder, FullCellParameters, HalfCellParameters, IonicPhase, Solids
from battsim.run.place import named_after
from battsim.run.recipe import generated, modified
from meshing.image import Orientation, VoxelImage, coarsen, crop
from meshing.mesh import Mesh
from meshing.read import ImageHeader, label_image, memory_estimate, read_header, read_voxels, rename_axes
from meshing.stack import layers_between, stack_mesh, with_common_extent
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
    return _fine(case, "image", case.image)


def cell_image(case: ImageCase, fine: VoxelImage) -> VoxelImage:
    """A fine image coarsened, turned into cell axes, and its binder read as the case says. Raises as `build_image`."""
    transport = case.materials.binder.transport if isinstance(case, ResolvedCase) else ""
    return _in_cell_axes(case, "image", case.image, fine, orientation(case), transport)


@dataclass(frozen=True, slots=True, eq=False)
class ElectrodeImage:
    """An image of an electrode of a full cell.

    Attributes
    ----------
    fine
        As read or generated.
    image
        In cell axes, cropped to the common extent.
    across
        Voxels along y and z before that.
    orientation
        How it was turned into cell axes.
    """

    fine: VoxelImage
    image: VoxelImage
    across: tuple[int, int]
    orientation: Orientation


def electrode_images(case: FullCellCase) -> dict[str, ElectrodeImage]:
    """Both images of a full cell by electrode, cropped to what both are wide. Raises as `build_image`."""
    fine = {name: _fine(case, f"{name}.image", each.image) for name, each in case.electrodes.items()}
    turned = {name: orientation_of(each.image) for name, each in case.electrodes.items()}
    whole = {
        name: _in_cell_axes(
            case, f"{name}.image", each.image, fine[name], turned[name], each.materials.binder.transport
        )
        for name, each in case.electrodes.items()
    }
    with named_after(case, "[negative.image] and [positive.image]"):
        cropped = with_common_extent(whole["negative"], whole["positive"])
    return {
        name: ElectrodeImage(fine[name], image, (whole[name].shape[1], whole[name].shape[2]), turned[name])
        for name, image in zip(fine, cropped, strict=True)
    }


def check_images(case: Case) -> None:
    """Read the image files of a case. Raises as `build_image` where one is not what the case says."""
    if all(image.file is None for image in images_of(case).values()):
        return
    if isinstance(case, FullCellCase):
        electrode_images(case)
    elif isinstance(case, ImageCase):
        build_image(case)


def _fine(case: Case, key: str, described: Image) -> VoxelImage:
    """The image of a table, as read or generated, cropped and modified; `key` is the table's path."""
    with named_after(case, _image_key(key, described)):
        image = generated(described) if described.generate is not None else _read(case, described)
        return modified(image if described.crop is None else crop(image, described.crop), described)


def _in_cell_axes(
    case: Case, key: str, described: Image, fine: VoxelImage, turn: Orientation, transport: str
) -> VoxelImage:
    with named_after(case, _image_key(key, described)):
        image = rename_axes(coarsen(fine, described.coarsen), described.axes)
    image = turn.apply(image)
    return _merged(image, BINDER, MERGED[transport]) if transport in MERGED else image


def _image_key(key: str, image: Image) -> str:
    """Where the case describes an image."""
    return f"[{key}.generate]" if image.file is None else f'[{key}] file = "{image.file}"'


def orientation(case: ImageCase) -> Orientation:
    """How the case's axes lie in the cell; a tortuosity has no through-plane axis and stays as it is."""
    if not isinstance(case, ResolvedCase):
        return Orientation()
    return orientation_of(case.image)


def orientation_of(image: Image) -> Orientation:
    """How the axes of an image of an electrode lie in the cell."""
    return Orientation("xyz".index(image.through_plane), image.separator_side == "high")


def build_mesh(case: ImageCase, image: VoxelImage) -> Mesh:
    """The mesh of an image in cell axes, with the separator's layers in front of it where there is a cell."""
    if not isinstance(case, ResolvedCase):
        return voxel_mesh(image)
    with named_after(case, _image_key("image", case.image)):
        return electrode_mesh(image, case.materials.separator)


def electrode_mesh(image: VoxelImage, separator: Separator) -> Mesh:
    """An electrode's image in cell axes, with graded layers of a separator in front of it."""
    finest = min(image.voxel_size[0], separator.thickness / separator.layers)
    layers = graded_layers(separator.thickness, separator.layers, finest)
    return voxel_mesh(image, layers=layers, layer_phase=SEPARATOR, inside=ACTIVE)


def full_cell_mesh(case: FullCellCase, images: Mapping[str, VoxelImage]) -> Mesh:
    """The mesh of both images in cell axes, by electrode, with the separator's layers between them."""
    separator = case.materials.separator
    through = [images[name].voxel_size[0] for name in case.electrodes]
    layers = layers_between(separator.thickness, separator.layers, (through[0], through[1]))
    with named_after(case, "[negative.image] and [positive.image]"):
        return stack_mesh(images["negative"], images["positive"], layers, layer_phase=SEPARATOR, inside=ACTIVE)


def mesh_of(case: ImageCase | FullCellCase) -> Mesh:
    """The mesh of a case, from its images on. Raises as `build_image`."""
    if isinstance(case, FullCellCase):
        return full_cell_mesh(case, {name: each.image for name, each in electrode_images(case).items()})
    return build_mesh(case, build_image(case))


def full_cell_parameters(case: FullCellCase) -> FullCellParameters:
    """Materials and conditions of the case."""
    tables = (electrode.materials for electrode in case.electrodes.values())
    solids = [
        Solids(active, _binder(table.binder)) for active, table in zip(active_materials(case), tables, strict=True)
    ]
    separator = case.materials.separator
    return FullCellParameters(
        negative=solids[0],
        positive=solids[1],
        electrolyte=electrolyte_of(case),
        separator=IonicPhase(separator.porosity, separator.transport_factor),
        temperature=case.conditions.temperature,
        salt=case.conditions.salt,
    )


def half_cell_parameters(case: ResolvedCase) -> HalfCellParameters:
    """Materials and conditions of the case."""
    materials, conditions = case.materials, case.conditions
    return HalfCellParameters(
        active=active_material(case),
        electrolyte=electrolyte_of(case),
        counter=counter_electrode(materials.counter),
        binder=_binder(materials.binder),
        separator=IonicPhase(materials.separator.porosity, materials.separator.transport_factor),
        temperature=conditions.temperature,
        salt=conditions.salt,
    )


def _binder(table: BinderTable) -> Binder:
    return Binder(
        transport=table.transport,
        ionic=IonicPhase(table.porosity, table.porosity / table.tortuosity),
        conductivity=table.conductivity,
        active_coverage=table.active_coverage,
        contact_resistance=table.contact_resistance,
    )


def _read(case: Case, described: Image) -> VoxelImage:
    assert described.file is not None
    assert described.voxel_size is not None
    assert described.labels is not None
    path = case.locate(described.file)
    _refuse_too_large(path, header_of(case, described))
    values = read_voxels(path, **_declared(described))
    return label_image(values, described.voxel_size, described.labels, described.ignore)


def header_of(case: Case, described: Image) -> ImageHeader:
    """What the image's file says of itself. Raises ImageError as `read_header`."""
    assert described.file is not None
    return read_header(case.locate(described.file), **_declared(described))


def _declared(described: Image) -> dict[str, Any]:
    """What the case says of the file, as the readers take it."""
    return {
        "shape": described.shape,
        "dtype": described.dtype,
        "byte_order": described.byte_order,
        "order": described.order,
        "offset": described.offset,
    }


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
