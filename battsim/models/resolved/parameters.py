"""What a resolved cell needs to know besides its mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from battsim.materials.types import ActiveMaterial, CounterElectrode, Electrolyte
from battsim.models.cell.network import CellMaterials

BinderTransport = Literal["nanoporous", "impermeable", "as-pore", "as-solid"]


@dataclass(frozen=True, slots=True)
class IonicPhase:
    """A phase that ions cross: its porosity and its transport factor b = porosity / tortuosity factor."""

    porosity: float
    b: float


@dataclass(frozen=True, slots=True)
class Binder:
    """The carbon-binder domain.

    Attributes
    ----------
    transport
        How its nano-pores are read; `as-pore` and `as-solid` relabel its voxels before the mesh is made.
    ionic
        Porosity and transport factor of the nano-pores.
    conductivity
        Effective electronic conductivity of the domain, S/m.
    active_coverage
        Share of the active|binder area that reacts.
    contact_resistance
        Between active material and binder, ohm m2.
    """

    transport: BinderTransport = "nanoporous"
    ionic: IonicPhase = IonicPhase(0.5, 0.125)
    conductivity: float = 100.0
    active_coverage: float = 1.0
    contact_resistance: float = 0.0


@dataclass(frozen=True, slots=True)
class Solids:
    """What an electrode is made of besides its electrolyte."""

    active: ActiveMaterial
    binder: Binder


@dataclass(frozen=True, slots=True)
class HalfCellParameters:
    """Materials and conditions of a half cell against a lithium counter electrode.

    Attributes
    ----------
    temperature
        K.
    salt
        Initial salt concentration, mol/m3.
    """

    active: ActiveMaterial
    electrolyte: Electrolyte
    counter: CounterElectrode
    binder: Binder
    separator: IonicPhase
    temperature: float
    salt: float

    @property
    def materials(self) -> CellMaterials:
        """What surrounds the electrode."""
        return CellMaterials(self.electrolyte, self.counter, self.temperature, self.salt)

    @property
    def solids(self) -> Solids:
        """Of the electrode."""
        return Solids(self.active, self.binder)


@dataclass(frozen=True, slots=True)
class FullCellParameters:
    """Materials and conditions of a cell of two porous electrodes.

    Attributes
    ----------
    temperature
        K.
    salt
        Initial salt concentration, mol/m3.
    """

    negative: Solids
    positive: Solids
    electrolyte: Electrolyte
    separator: IonicPhase
    temperature: float
    salt: float
