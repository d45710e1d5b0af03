"""Binder in the pores between particles: films, clusters and fibres that grow into the pores, or bridges.

The morphology goes from 0, where binder spreads over active material as a film, to 1, where it sits on itself and
stands in the pores as fingers. It is the energy of a deposit on binder against one on active material in Mistry, Smith
and Mukherjee, ACS Appl. Mater. Interfaces 10 (2018) 6317: there a number that weighs the sites of a lattice, here the
probability that the next bead of binder lies on binder, so that fingers have on average 1/((1 - w) + w/N) beads, from
one to N.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import ndimage

from meshing.errors import MeshError
from meshing.generate.common import Floats, Lengths, Made, Mask, check_room, smallest_by_depth
from meshing.generate.deposit_kernel import ACTIVE, BINDER, PORE, Labels, Numbers, grow
from meshing.image import VoxelImage, either_side
from meshing.measure import measure_interfaces
from meshing.profile import Profile

BinderForm = Literal["cluster", "fibre", "bridge"]
CURL = 0.35
"""Random part of a fibre's direction from bead to bead, half a thickness apart: it bends within some five of them."""
SLAB = 4.0
"""Thicknesses of the binder in a slab of a graded electrode, within which its fraction is met."""


@dataclass(frozen=True, slots=True)
class BinderShape:
    """How binder lies in the pores.

    Attributes
    ----------
    thickness
        Diameter of a bead, m: of a fibre, and about twice the height of a film; at least one voxel.
    morphology
        0 film to 1 finger.
    form
        What fingers look like: "fibre", a curved rod, or "cluster", a round body; "bridge" knows no morphology and
        fills the narrowest places between particles, as drying leaves it.
    length
        Of a fibre, or diameter of a cluster, at morphology 1, m.
    """

    thickness: float
    morphology: float = 0.0
    form: BinderForm = "cluster"
    length: float = 0.0

    @property
    def beads(self) -> float:
        """Mean number of beads in a finger at morphology 1; neighbours are half a thickness apart."""
        across = max(1.0, self.length / self.thickness)
        return 2.0 * across - 1.0 if self.form == "fibre" else across**3

    @property
    def start_share(self) -> float:
        """Share of the beads that start on active material."""
        return (1.0 - self.morphology) + self.morphology / self.beads


@dataclass(frozen=True, slots=True, eq=False)
class WithBinder(Made):
    """An image with binder.

    Attributes
    ----------
    coverage
        Share of the area of active material that faces binder.
    fingers, beads
        Fingers laid and their beads; 0 for bridges.
    filmed
        Share of the new binder that found no uncovered surface and lies on top, nearest to active material first.
    """

    coverage: float
    fingers: int = 0
    beads: int = 0
    filmed: float = 0.0


def add_binder(image: VoxelImage, binder: Profile, shape: BinderShape, rng: np.random.Generator) -> WithBinder:
    """The image with pore voxels turned into binder, as many as the share of all voxels that is asked for.

    Parameters
    ----------
    image
        With phases "pore" and "active"; "binder" is added where it is missing, and kept where it is there. Axis 0 is
        through-plane.
    binder
        Volume fraction of the new binder.
    shape
        How it lies.
    rng
        Source of all randomness.

    Raises
    ------
    MeshError
        Where there are not enough pores or no active material, or the shape makes no sense on these voxels.
    """
    _check(image, shape)
    labels, codes = _coded(image)
    n_wanted = round(float(np.sum(binder.of_slices(labels.shape[0]))) * labels[0].size)
    check_room(n_wanted, int(np.count_nonzero(labels == PORE)), f"a binder fraction of {binder.mean:g}")
    fingers, beads, filmed = 0, 0, 0.0
    if n_wanted > 0 and shape.form == "bridge":
        labels[_bridges(labels, image.voxel_size, binder, shape.thickness)] = BINDER
    elif n_wanted > 0:
        fingers, beads, filmed = _deposit(labels, image.voxel_size, binder, shape, rng, n_wanted)
    made = _decoded(image, labels, codes)
    return WithBinder(made, coverage(made), fingers, beads, filmed)


def coverage(image: VoxelImage) -> float:
    """Share of the area of active material inside the image that faces binder; 0 where it has none."""
    areas = {name: found.area_per_volume_1_m for name, found in measure_interfaces(image).items()}
    own = {name: area for name, area in areas.items() if name.startswith("active|")}
    total = sum(own.values())
    return own.get("active|binder", 0.0) / total if total > 0.0 else 0.0


def _deposit(
    labels: Labels, voxel: Lengths, binder: Profile, shape: BinderShape, rng: np.random.Generator, n_wanted: int
) -> tuple[int, int, float]:
    """Lay beads into `labels`; fingers, beads, and the share laid as a film on top in the end."""
    slab, left = _slabs(labels, voxel, binder, shape.thickness, n_wanted)
    faces = rng.permutation(_faces(labels))
    radius = 0.5 * shape.thickness * (1.0 + 1e-9)  # so that a voxel's centre at exactly this distance is inside
    beads, fingers, _ = grow(
        labels,
        faces,
        np.asarray(voxel),
        radius,
        shape.start_share,
        shape.form == "fibre",
        CURL,
        slab,
        left,
        rng.integers(2**64, size=1, dtype=np.uint64),
    )
    missing = int(left.sum())
    if missing > 0:
        _film(labels, voxel, slab, left, rng)
    return fingers, beads, missing / n_wanted


def _film(labels: Labels, voxel: Lengths, slab: Numbers, left: Numbers, rng: np.random.Generator) -> None:
    """Turn the pore voxels nearest to active material into binder, in each slab as many as are left."""
    distance = ndimage.distance_transform_edt(labels != ACTIVE, sampling=voxel)
    distance += 0.01 * min(voxel) * rng.random(labels.shape)  # ties in no order
    distance[labels != PORE] = np.inf
    more = 0
    for number in range(left.size):
        here = np.flatnonzero(slab == number)
        part = slice(here[0], here[-1] + 1)
        free = int(np.count_nonzero(labels[part] == PORE))
        count = min(int(left[number]), free)
        more += int(left[number]) - count
        _lay_nearest(labels[part], distance[part], count)
    if more > 0:  # slabs without pores: what they want goes where there is room
        distance[labels != PORE] = np.inf
        _lay_nearest(labels, distance, more)


def _lay_nearest(labels: Labels, distance: Floats, count: int) -> None:
    if count > 0:
        order = np.argpartition(distance, count - 1, axis=None)[:count]
        labels[np.unravel_index(order, labels.shape)] = BINDER


def _bridges(labels: Labels, voxel: Lengths, binder: Profile, thickness: float) -> Mask:
    """Pore voxels around which most of a Gaussian of standard deviation `thickness` lies in active material."""
    sigma = [thickness / h for h in voxel]
    solid = ndimage.gaussian_filter((labels == ACTIVE).astype(np.float32), sigma, mode="nearest", truncate=3.0)
    score = np.where(labels == PORE, -solid, np.float32(np.inf)).astype(np.float32)
    window = 0 if binder.uniform else max(1, round(SLAB * thickness / voxel[0]))
    return smallest_by_depth(score, binder, window)


def _slabs(labels: Labels, voxel: Lengths, binder: Profile, thickness: float, n_wanted: int) -> tuple[Numbers, Numbers]:
    """Slab of each slice, shape (nx,), and voxels wanted in each slab; a single slab where depth does not matter."""
    n = labels.shape[0]
    n_slabs = 1 if binder.uniform else max(1, min(n, round(n * voxel[0] / (SLAB * thickness))))
    slab = np.arange(n) * n_slabs // n
    wanted = np.cumsum(np.bincount(slab, binder.of_slices(n))) / float(np.sum(binder.of_slices(n))) * n_wanted
    return slab, np.diff(np.concatenate(([0], np.rint(wanted).astype(np.int64))))


def _faces(labels: Labels) -> Numbers:
    """Pore voxels next to active material: flat index, axis and side of the active one, shape (n, 3)."""
    found = []
    index = np.arange(labels.size, dtype=np.int64).reshape(labels.shape)
    for axis in range(3):
        low, high = either_side(axis)
        for here, there, side in ((low, high, 1), (high, low, -1)):
            flat = index[here][(labels[here] == PORE) & (labels[there] == ACTIVE)]
            found.append(np.column_stack([flat, np.full(flat.size, axis), np.full(flat.size, side)]))
    return np.concatenate(found)


def _coded(image: VoxelImage) -> tuple[Labels, Labels]:
    """Labels as 0 pore, 1 active, 2 binder, 3 + own label for others, and the code of each own label."""
    known = {"pore": PORE, "active": ACTIVE, "binder": BINDER}
    codes = np.array([known.get(name, 3 + k) for k, name in enumerate(image.phases)], np.uint8)
    return codes[image.labels], codes


def _decoded(image: VoxelImage, labels: Labels, codes: Labels) -> VoxelImage:
    """The image with labels from codes; "binder" joins the phases where it was missing."""
    phases = image.phases if "binder" in image.phases else (*image.phases, "binder")
    back = np.zeros(256, np.uint8)
    back[codes] = np.arange(codes.size)
    back[BINDER] = phases.index("binder")
    return replace(image, labels=back[labels], phases=phases)


def _check(image: VoxelImage, shape: BinderShape) -> None:
    for name in ("pore", "active"):
        if name not in image.phases or not image.mask(name).any():
            raise MeshError(
                f"binder needs pores and active material, but the image has no voxel of phase '{name}'; it has "
                f"{', '.join(image.phases)}: correct the labels"
            )
    if not 0.0 <= shape.morphology <= 1.0:
        raise MeshError(f"morphology is {shape.morphology:g}; it must be between 0 (film) and 1 (finger)")
    if not (np.isfinite(shape.thickness) and shape.thickness >= max(image.voxel_size)):
        raise MeshError(
            f"the thickness of the binder is {shape.thickness:g} m with voxels of {max(image.voxel_size):g} m; it must "
            "be at least one voxel: choose smaller voxels or thicker binder"
        )
    if shape.morphology > 0.0 and shape.form != "bridge" and shape.length < shape.thickness:
        raise MeshError(
            f"the length of the binder's fingers is {shape.length:g} m; it must be at least their thickness, "
            f"{shape.thickness:g} m"
        )
