"""What an image is made of: shares, percolation, interface areas, and how its active material is connected.

The fields of the dataclasses are the keys of microstructure.json; `dataclasses.asdict` turns one into its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshing.areas import face_cosines, faces_between
from meshing.connect import AlongAxes, Mask, cluster_sizes, components, percolation, reaching, touching
from meshing.errors import MeshError
from meshing.image import VoxelImage, either_side
from meshing.mesh import Mesh

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class PhaseMeasure:
    """One phase.

    Attributes
    ----------
    volume_fraction
        Share of the image's voxels.
    percolating_fraction
        Share of the phase in clusters that touch both ends of an axis; 0 for a phase without voxels.
    components
        Clusters of voxels that share faces.
    """

    volume_fraction: float
    percolating_fraction: AlongAxes
    components: int


@dataclass(frozen=True, slots=True)
class InterfaceMeasure:
    """The surface between two phases.

    Attributes
    ----------
    area_per_volume_1_m
        True area over the volume of the image, 1/m.
    voxel_faces
        Voxel faces that make it up; their own area is about 1.5 times the true one.
    """

    area_per_volume_1_m: float
    voxel_faces: int


@dataclass(frozen=True, slots=True)
class ActiveMeasure:
    """The active material.

    Attributes
    ----------
    sauter_radius_m
        3 V/A with its whole surface inside the image and towards the separator, m; None where it has no surface.
    connected_fraction
        Share of its volume with an electronic path to the collector.
    wetted_fraction
        Share of its volume in clusters that electrolyte from the separator reaches.
    collector_contact_fraction
        Share of the collector's cross-section that it and the other electronic phases cover.
    binder_coverage, separator_contact_share
        Shares of its surface towards binder and towards the separator.
    """

    sauter_radius_m: float | None
    connected_fraction: float
    wetted_fraction: float
    collector_contact_fraction: float
    binder_coverage: float
    separator_contact_share: float


def measure_phases(image: VoxelImage) -> dict[str, PhaseMeasure]:
    """Volume fraction, percolation and number of clusters of each phase."""
    measures = {}
    for name in image.phases:
        found = percolation(image.mask(name))
        measures[name] = PhaseMeasure(found.voxels / image.labels.size, found.percolating, found.components)
    return measures


def measure_interfaces(
    image: VoxelImage, mesh: Mesh | None = None, *, first: str = "active"
) -> dict[str, InterfaceMeasure]:
    """Surface of each pair of phases that touch, by names such as "active|pore", over the volume of the image.

    A pair's area takes its normal from the smoothed indicator of its first phase. The phase `first` comes first in
    all its pairs, the others keep the order of `image.phases`. Pairs of which the mesh has interfaces, among them
    those with separator layers in front of the image, are read from there; the others are counted on the image.
    """
    volume = image.labels.size * image.voxel_volume
    measures = {
        "|".join(face.phases): InterfaceMeasure(float(face.area.sum()) / volume, face.first.size)
        for face in (mesh.interfaces if mesh is not None else ())
    }
    known = {frozenset(name.split("|")) for name in measures}
    order = sorted(image.phases, key=lambda name: name != first)
    for k, name in enumerate(order):
        others = [other for other in order[k + 1 :] if frozenset((name, other)) not in known]
        for other, (area, count) in _surface(image, name, others).items():
            measures[f"{name}|{other}"] = InterfaceMeasure(area / volume, count)
    return measures


def measure_active(
    image: VoxelImage,
    mesh: Mesh,
    *,
    active: str = "active",
    binder: str = "binder",
    separator: str = "separator",
    electronic: Sequence[str] = ("active", "binder"),
    ionic: Sequence[str] = ("pore", "binder"),
) -> ActiveMeasure:
    """Size, connection and coverage of the active material.

    Parameters
    ----------
    image
        The image in cell axes: x runs from the separator (low end) to the collector (high end).
    mesh
        Its mesh, with the interfaces of `active`; with or without separator layers.
    active, binder, separator
        Names of phases; those that are missing count as empty.
    electronic, ionic
        Phases that carry electrons and those that carry electrolyte; leave binder out of `ionic` if it does not.

    Raises
    ------
    MeshError
        Where the image has no active voxel or the mesh has no interfaces of `active`.
    """
    inside = image.mask(active)
    n_active = int(np.count_nonzero(inside))
    if n_active == 0:
        raise MeshError(f"the image has no voxel of phase '{active}'; check labels and crop")
    areas = _areas_of(mesh, active)
    if not areas and n_active < image.labels.size:
        raise MeshError(f"the mesh has no interfaces of '{active}'; build it with inside='{active}'")
    total = sum(areas.values())
    conducting = _mask(image, electronic)
    return ActiveMeasure(
        sauter_radius_m=3.0 * n_active * image.voxel_volume / total if total > 0.0 else None,
        connected_fraction=_share_reaching_collector(conducting, inside),
        wetted_fraction=_wetted_share(inside, touching(_mask(image, ionic), 0, ("low",))),
        collector_contact_fraction=float(np.mean(conducting[-1])),
        binder_coverage=areas.get(binder, 0.0) / total if total > 0.0 else 0.0,
        separator_contact_share=areas.get(separator, 0.0) / total if total > 0.0 else 0.0,
    )


def _mask(image: VoxelImage, names: Sequence[str]) -> Mask:
    return image.mask(*(name for name in names if name in image.phases))


def _areas_of(mesh: Mesh, phase: str) -> dict[str, float]:
    """Area of the interfaces between `phase` and each other phase, m2."""
    return {
        face.phases[1] if face.phases[0] == phase else face.phases[0]: float(face.area.sum())
        for face in mesh.interfaces
        if phase in face.phases
    }


def _share_reaching_collector(conducting: Mask, inside: Mask) -> float:
    labels, count = components(conducting)
    sizes = cluster_sizes(labels, count, inside)
    return float(sizes[reaching(labels, count, 0, ("high",))].sum() / sizes.sum())


def _wetted_share(inside: Mask, wet: Mask) -> float:
    """Share of the voxels `inside` in clusters that touch wet voxels or, at the low end, the separator itself."""
    labels, count = components(inside)
    sizes = cluster_sizes(labels, count)
    wetted = reaching(labels, count, 0, ("low",))
    for axis in range(3):
        for low, high in (either_side(axis), either_side(axis)[::-1]):
            wetted[labels[low][wet[high]]] = True
    wetted[0] = False
    return float(sizes[wetted].sum() / sizes[1:].sum())


def _surface(image: VoxelImage, first: str, others: Sequence[str]) -> dict[str, tuple[float, int]]:
    """True area, m2, and voxel faces between `first` and each of the `others` that it touches."""
    inside, outside = image.mask(first), image.mask(*others)
    low, high, axis = faces_between(inside, outside)
    if low.size == 0:
        return {}
    cosine = face_cosines(inside, image.voxel_size, low, high, axis).cosine
    face_area = image.voxel_volume / np.asarray(image.voxel_size)
    flat = image.labels.reshape(-1)
    other = np.where(inside.reshape(-1)[low], flat[high], flat[low])
    areas = np.bincount(other, cosine * face_area[axis], minlength=len(image.phases))
    counts = np.bincount(other, minlength=len(image.phases))
    return {name: (float(areas[k]), int(counts[k])) for k, name in enumerate(image.phases) if counts[k]}
