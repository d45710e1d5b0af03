"""Parameters of the homogenised cell from the image of each electrode: the one home of eps, b, sigma, a and R.

    eps_e    connected pore plus the porosity of connected binder
    b        D_eff / D_bulk of one through-plane solve over pore (1) and binder (b of its nano-pores)
    sigma    effective conductivity of one through-plane solve over active material and binder, S/m
    eps_s    active material that its collector and the electrolyte reach
    R        3 V / A with the whole surface of the active material, towards pore, binder and separator, m
    a        electroactive area per volume, 1/m, independent of R

Two homogenised cells follow: the textbook's, which knows eps_e, eps_s and R and estimates the rest with exponents of
3/2 (D. A. G. Bruggeman, Ann. Phys. 416 (1935) 636), and the one with all that was measured. Between them the rungs of
a ladder take over one measured quantity after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from battsim.materials.types import ActiveMaterial
from battsim.models.cell.network import CellMaterials, Electrode
from battsim.models.p2d.parameters import P2DParameters, Particles, PorousElectrode, PorousSeparator
from battsim.models.resolved.full_cell import FullCell
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.network import ACTIVE, BINDER, SEPARATOR, phase_prefix
from battsim.models.resolved.parameters import HalfCellParameters, Solids
from meshing.image import VoxelImage
from meshing.mesh import Mesh
from meshing.particles import particles, radii, size_classes

BRUGGEMAN = 1.5
"""Exponent of the textbook."""
SIZES = 5
"""Classes of a size distribution."""


@dataclass(frozen=True, slots=True)
class Conduction:
    """Through-plane transport of an electrode's image.

    Attributes
    ----------
    b
        Transport factor of the electrolyte.
    conductivity
        Electronic, effective, S/m.
    """

    b: float
    conductivity: float


@dataclass(frozen=True, slots=True)
class Homogenised:
    """An electrode's image in the terms of the homogenised model; see the module for each.

    Attributes
    ----------
    thickness
        m.
    porosity, b, conductivity, active_volume_fraction, radius, area_per_volume
        eps_e, b, sigma (S/m), eps_s, R (m), a (1/m).
    conductivity_bruggeman
        sigma_AM eps_AM^1.5 + sigma_CBD eps_CBD^1.5, S/m.
    sizes
        Size distribution of the particles, with the surface per volume of R.
    """

    material: ActiveMaterial
    thickness: float
    porosity: float
    b: float
    conductivity: float
    active_volume_fraction: float
    radius: float
    area_per_volume: float
    conductivity_bruggeman: float
    sizes: tuple[Particles, ...]

    @property
    def b_bruggeman(self) -> float:
        """eps_e^1.5."""
        return float(self.porosity**BRUGGEMAN)


@dataclass(frozen=True, slots=True)
class HomogenisedCell:
    """A resolved cell in the terms of the homogenised model.

    Attributes
    ----------
    electrodes
        From the negative end on: the one of a half cell, or both.
    separator, materials
        Those of the resolved cell.
    """

    electrodes: tuple[Homogenised, ...]
    separator: PorousSeparator
    materials: CellMaterials


def homogenise(
    cell: HalfCell | FullCell, mesh: Mesh, images: Sequence[VoxelImage], conduction: Sequence[Conduction]
) -> HomogenisedCell:
    """What a resolved cell is to the homogenised model.

    Parameters
    ----------
    cell, mesh
        The resolved cell and its mesh.
    images, conduction
        Image in cell axes and through-plane transport of each electrode, from the negative end on.
    """
    separator = cell.parameters.separator
    thickness = float(mesh.volume[mesh.in_phase(SEPARATOR)].sum()) / cell.network.cross_section
    return HomogenisedCell(
        electrodes=tuple(
            _electrode(cell, mesh, *each)
            for each in zip(cell.electrodes, _solids(cell), images, conduction, strict=True)
        ),
        separator=PorousSeparator(thickness, separator.porosity, separator.b),
        materials=cell.materials,
    )


def _solids(cell: HalfCell | FullCell) -> tuple[Solids, ...]:
    """What each electrode is made of, from the negative end on."""
    p = cell.parameters
    return (p.solids,) if isinstance(p, HalfCellParameters) else (p.negative, p.positive)


def _electrode(
    cell: HalfCell | FullCell,
    mesh: Mesh,
    electrode: Electrode,
    solids: Solids,
    image: VoxelImage,
    conduction: Conduction,
) -> Homogenised:
    """What an electrode is to the homogenised model."""
    network, prefix = cell.network, phase_prefix(cell.network, electrode)
    in_electrode = mesh.in_phase(*(name for name in mesh.phases if name != SEPARATOR and name.startswith(prefix)))
    volume = float(mesh.volume[in_electrode].sum())
    reached = network.determined.at_counter[network.electrolyte_cells]
    counted, faces = electrode.counts_for_capacity, network.reactive.at(electrode.reactive)
    reacting = counted[faces.solid - electrode.solid.start] & reached[faces.ionic]
    active = prefix + ACTIVE
    surface = sum(float(pair.area.sum()) for pair in mesh.interfaces if pair.phases[0] == active)
    radius = 3.0 * float(mesh.volume[mesh.in_phase(active)].sum()) / surface
    return Homogenised(
        material=electrode.material,
        thickness=volume / network.cross_section,
        porosity=float(network.electrolyte_volume[reached & in_electrode[network.electrolyte_cells]].sum()) / volume,
        b=conduction.b,
        conductivity=conduction.conductivity,
        active_volume_fraction=float(network.solid_volume[electrode.solid][counted].sum()) / volume,
        radius=radius,
        area_per_volume=float(faces.area[reacting].sum()) / volume,
        conductivity_bruggeman=_bruggeman_conductivity(image, solids),
        sizes=_sizes(image, radius),
    )


def _sizes(image: VoxelImage, radius: float) -> tuple[Particles, ...]:
    """Size distribution of the particles, with the surface per volume of spheres of a radius (m)."""
    found, count = particles(image.mask(ACTIVE), image.voxel_size)
    sizes, shares = size_classes(radii(found, count, image.voxel_volume), SIZES, radius)
    return tuple(Particles(float(R), float(share)) for R, share in zip(sizes, shares, strict=True))


def _bruggeman_conductivity(image: VoxelImage, solids: Solids) -> float:
    """Both solids in parallel, each with its volume fraction to the power 3/2, S/m."""
    sigma = {ACTIVE: solids.active.conductivity, BINDER: solids.binder.conductivity}
    present = [name for name in sigma if name in image.phases]
    return float(sum(sigma[name] * image.volume_fraction(name) ** BRUGGEMAN for name in present))


def ladder(found: HomogenisedCell) -> Iterator[tuple[str, P2DParameters]]:
    """Homogenised cells from the textbook's to the measured one, each with one more measured quantity, and their names.

    A rung takes the quantity over in all electrodes. The first is `p2d_bruggeman`, the fourth, with everything but the
    size distribution, is `p2d_image`.
    """
    climbed = [_rungs(electrode) for electrode in found.electrodes]
    for name in climbed[0]:
        *negative, positive = (rungs[name] for rungs in climbed)
        yield name, P2DParameters(positive, found.separator, found.materials, *negative)


def _rungs(h: Homogenised) -> dict[str, PorousElectrode]:
    """An electrode on each rung of the ladder."""
    textbook = PorousElectrode(
        material=h.material,
        thickness=h.thickness,
        porosity=h.porosity,
        b=h.b_bruggeman,
        active_volume_fraction=h.active_volume_fraction,
        particles=(Particles(h.radius),),
        conductivity=h.conductivity_bruggeman,
    )
    return {
        "bruggeman": textbook,
        "+b": (with_b := replace(textbook, b=h.b)),
        "+sigma": (with_sigma := replace(with_b, conductivity=h.conductivity)),
        "+a": (with_area := replace(with_sigma, area_per_volume=h.area_per_volume)),
        "+radius distribution": replace(with_area, particles=h.sizes),
    }


BASELINES = {"p2d_bruggeman": "bruggeman", "p2d_image": "+a"}
"""Rung of the ladder that each baseline is."""
