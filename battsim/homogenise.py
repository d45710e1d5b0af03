"""Parameters of the homogenised cell from an image: the one home of eps, b, sigma, a and R.

    eps_e    connected pore plus the porosity of connected binder
    b        D_eff / D_bulk of one through-plane solve over pore (1) and binder (b of its nano-pores)
    sigma    effective conductivity of one through-plane solve over active material and binder, S/m
    eps_s    active material that the collector and the electrolyte reach
    R        3 V / A with the whole surface of the active material, towards pore, binder and separator, m
    a        electroactive area per volume, 1/m, independent of R

Two homogenised cells follow: the textbook's, which knows eps_e, eps_s and R and estimates the rest with exponents of
3/2 (D. A. G. Bruggeman, Ann. Phys. 416 (1935) 636), and the one with all that was measured. Between them the rungs of
a ladder take over one measured quantity after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from battsim.models.p2d.parameters import P2DParameters, Particles, PorousElectrode, PorousSeparator
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.network import ACTIVE, BINDER, SEPARATOR
from battsim.models.resolved.parameters import HalfCellParameters
from meshing.image import VoxelImage
from meshing.mesh import Mesh
from meshing.particles import particles, radii, size_classes

BRUGGEMAN = 1.5
"""Exponent of the textbook."""
SIZES = 5
"""Classes of a size distribution."""


@dataclass(frozen=True, slots=True)
class Homogenised:
    """An electrode's image in the terms of the homogenised model; see the module for each.

    Attributes
    ----------
    thickness, separator_thickness
        m.
    porosity, b, conductivity, active_volume_fraction, radius, area_per_volume
        eps_e, b, sigma (S/m), eps_s, R (m), a (1/m).
    conductivity_bruggeman
        sigma_AM eps_AM^1.5 + sigma_CBD eps_CBD^1.5, S/m.
    sizes
        Size distribution of the particles, with the surface per volume of R.
    """

    thickness: float
    separator_thickness: float
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


def homogenise(cell: HalfCell, mesh: Mesh, image: VoxelImage, b: float, conductivity: float) -> Homogenised:
    """What an electrode is to the homogenised model.

    Parameters
    ----------
    cell, mesh, image
        The resolved cell, its mesh and its image in cell axes.
    b, conductivity
        Through-plane transport factor of the electrolyte, and electronic conductivity (S/m), from the image.
    """
    network, p = cell.network, cell.parameters
    (electrode,) = network.electrodes
    in_electrode = ~mesh.in_phase(SEPARATOR)
    volume = float(mesh.volume[in_electrode].sum())
    electrolyte = in_electrode[network.electrolyte_cells] & network.determined.at_counter[network.electrolyte_cells]
    counted, faces = electrode.counts_for_capacity, network.reactive
    reacting = counted[faces.solid] & network.determined.at_counter[network.electrolyte_cells[faces.ionic]]
    surface = sum(float(pair.area.sum()) for pair in mesh.interfaces if pair.phases[0] == ACTIVE)
    active = mesh.in_phase(ACTIVE)
    radius = 3.0 * float(mesh.volume[active].sum()) / surface
    found, count = particles(image.mask(ACTIVE), image.voxel_size)
    sizes, shares = size_classes(radii(found, count, image.voxel_volume), SIZES, radius)
    return Homogenised(
        thickness=volume / network.cross_section,
        separator_thickness=float(mesh.volume[~in_electrode].sum()) / network.cross_section,
        porosity=float(network.electrolyte_volume[electrolyte].sum()) / volume,
        b=b,
        conductivity=conductivity,
        active_volume_fraction=float(network.solid_volume[counted].sum()) / volume,
        radius=radius,
        area_per_volume=float(faces.area[reacting].sum()) / volume,
        conductivity_bruggeman=_bruggeman_conductivity(image, p),
        sizes=tuple(Particles(float(R), float(share)) for R, share in zip(sizes, shares, strict=True)),
    )


def _bruggeman_conductivity(image: VoxelImage, p: HalfCellParameters) -> float:
    """Both solids in parallel, each with its volume fraction to the power 3/2, S/m."""
    sigma = {ACTIVE: p.active.conductivity, BINDER: p.binder.conductivity}
    present = [name for name in sigma if name in image.phases]
    return float(sum(sigma[name] * image.volume_fraction(name) ** BRUGGEMAN for name in present))


def ladder(h: Homogenised, p: HalfCellParameters) -> Iterator[tuple[str, P2DParameters]]:
    """Homogenised cells from the textbook's to the measured one, each with one more measured quantity, and their names.

    The first is `p2d_bruggeman`, the fourth, with everything but the size distribution, is `p2d_image`.
    """
    textbook = PorousElectrode(
        material=p.active,
        thickness=h.thickness,
        porosity=h.porosity,
        b=h.b_bruggeman,
        active_volume_fraction=h.active_volume_fraction,
        particles=(Particles(h.radius),),
        conductivity=h.conductivity_bruggeman,
    )
    rungs = {
        "bruggeman": textbook,
        "+b": (with_b := replace(textbook, b=h.b)),
        "+sigma": (with_sigma := replace(with_b, conductivity=h.conductivity)),
        "+a": (with_area := replace(with_sigma, area_per_volume=h.area_per_volume)),
        "+radius distribution": replace(with_area, particles=h.sizes),
    }
    for name, electrode in rungs.items():
        yield name, _half_cell(electrode, h, p)


BASELINES = {"p2d_bruggeman": "bruggeman", "p2d_image": "+a"}
"""Rung of the ladder that each baseline is."""


def _half_cell(electrode: PorousElectrode, h: Homogenised, p: HalfCellParameters) -> P2DParameters:
    separator = PorousSeparator(h.separator_thickness, p.separator.porosity, p.separator.b)
    return P2DParameters(electrode, separator, p.materials)
