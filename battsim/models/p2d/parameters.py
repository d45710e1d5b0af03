"""What the homogenised cell needs to know: porous electrodes, the separator between them, and the grid."""

from __future__ import annotations

from dataclasses import dataclass

from battsim.materials.types import ActiveMaterial
from battsim.models.cell.network import CellMaterials


@dataclass(frozen=True, slots=True)
class Particles:
    """Spheres of one radius.

    Attributes
    ----------
    radius
        m.
    share
        Of the active material's volume; those of an electrode sum to 1.
    """

    radius: float
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class PorousElectrode:
    """An electrode as the homogenised model knows it.

    Attributes
    ----------
    thickness
        m.
    porosity
        Volume fraction of electrolyte.
    b
        Transport factor D_eff / D_bulk of the electrolyte: porosity / tortuosity factor.
    active_volume_fraction
        Of material that takes part.
    particles
        Its spheres, by size.
    area_per_volume
        Electroactive area per volume of electrode, 1/m; None: that of the spheres, 3 active_volume_fraction / radius.
    conductivity
        Effective electronic, S/m.
    """

    material: ActiveMaterial
    thickness: float
    porosity: float
    b: float
    active_volume_fraction: float
    particles: tuple[Particles, ...]
    conductivity: float
    area_per_volume: float | None = None

    @property
    def area_of_spheres(self) -> float:
        """Surface of the spheres per volume of electrode, 1/m."""
        return sum(3.0 * self.active_volume_fraction * each.share / each.radius for each in self.particles)

    @property
    def area_ratio(self) -> float:
        """Electroactive area over the surface of the spheres."""
        return 1.0 if self.area_per_volume is None else self.area_per_volume / self.area_of_spheres


@dataclass(frozen=True, slots=True)
class PorousSeparator:
    """The separator: thickness (m), porosity and transport factor."""

    thickness: float
    porosity: float
    b: float


@dataclass(frozen=True, slots=True)
class P2DParameters:
    """The homogenised cell.

    Attributes
    ----------
    negative
        None in a half cell, whose counter electrode is lithium metal at the separator.
    positive
        The positive electrode, or the working electrode of a half cell.
    """

    positive: PorousElectrode
    separator: PorousSeparator
    materials: CellMaterials
    negative: PorousElectrode | None = None

    @property
    def electrodes(self) -> tuple[PorousElectrode, ...]:
        """The porous electrodes, from the negative end on."""
        return (self.positive,) if self.negative is None else (self.negative, self.positive)


@dataclass(frozen=True, slots=True)
class P2DGrid:
    """Cells of the homogenised model.

    Attributes
    ----------
    negative, separator, positive
        Across each layer.
    radial
        Shells of each particle.
    surface_ratio
        Thickness of the outermost shell over that of the innermost.
    """

    negative: int = 40
    separator: int = 20
    positive: int = 40
    radial: int = 40
    surface_ratio: float = 0.1
